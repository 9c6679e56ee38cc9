//! The manifests of our crates, with the lines that their dependencies are on.

use toml::de::{DeTable, DeValue};

use super::{Failure, Tree, failure, line_at};

/// A crate's manifest.
#[derive(Debug)]
pub(super) struct Manifest<'t> {
    pub(super) path: &'t str,
    /// The folder's name, which is the crate's.
    pub(super) name: &'t str,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) line: usize,
    /// For tests and examples only.
    pub(super) is_dev: bool,
}

/// All that can be read, and what is wrong with the others.
pub(super) fn manifests(tree: &Tree) -> (Vec<Manifest<'_>>, Vec<Failure>) {
    let (mut manifests, mut failures) = (Vec::new(), Vec::new());
    for (path, text) in tree.files("/Cargo.toml") {
        let name = path.rsplit('/').nth(1).unwrap_or_default();
        match DeTable::parse(text) {
            Ok(table) => manifests.push(Manifest { path, name, dependencies: dependencies(text, table.get_ref()) }),
            Err(error) => failures.push(failure(path, 1, format!("this is no TOML ({}): mend it", error.message()))),
        }
    }
    (manifests, failures)
}

fn dependencies(text: &str, table: &DeTable<'_>) -> Vec<Dependency> {
    let mut found = Vec::new();
    for (key, value) in table {
        let Some(inner) = value.get_ref().as_table() else { continue };
        match key.get_ref().as_ref() {
            "dependencies" | "build-dependencies" => found.extend(section(text, inner, false)),
            "dev-dependencies" => found.extend(section(text, inner, true)),
            "target" => {
                let platforms = inner.values().filter_map(|platform| platform.get_ref().as_table());
                found.extend(platforms.flat_map(|platform| dependencies(text, platform)));
            }
            _ => (),
        }
    }
    found
}

fn section(text: &str, section: &DeTable<'_>, is_dev: bool) -> Vec<Dependency> {
    let one = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
        // `name = { package = "its real name" }`
        let renamed = value.get_ref().get("package").and_then(|package| package.get_ref().as_str());
        let name = renamed.unwrap_or(key.get_ref()).to_owned();
        Dependency { name, line: line_at(text, key.span().start), is_dev }
    };
    section.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_dependency_is_read() {
        let text = "[package]
name = \"x\"
[dependencies]
a.workspace = true
b = { workspace = true, features = [\"c\"] }
[dependencies.d]
package = \"real\"
[dev-dependencies]
e = \"1\"
[target.'cfg(unix)'.dependencies]
f = \"1\"
[build-dependencies]
g = \"1\"
";
        let tree = Tree::of(&[("crates/x/Cargo.toml", text)]);
        let (manifests, failures) = manifests(&tree);
        assert_eq!(failures, []);
        let show =
            |dependency: &Dependency| format!("{} {}{}", dependency.line, dependency.name, if dependency.is_dev { " dev" } else { "" });
        let mut found: Vec<String> = manifests.iter().flat_map(|manifest| &manifest.dependencies).map(show).collect();
        found.sort_by_key(|line| line.split(' ').next().and_then(|number| number.parse::<usize>().ok()));
        assert_eq!(found, ["4 a", "5 b", "6 real", "9 e dev", "11 f", "13 g"]);
    }
}
