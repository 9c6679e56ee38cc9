//! A feed is three files: its table, a sample in the feed's real form, and what must come of it. Whether they agree is for
//! crates/feed/tests/feeds.rs; here is whether they are there.

use std::collections::BTreeMap;

use super::{Check, Failure, Tree, failure};

pub(super) const CHECK: Check =
    Check { name: "feeds", about: "every feed has its table, sample and expected events, and says where it is from", run };

fn run(tree: &Tree) -> Vec<Failure> {
    let (mut tables, mut failures) = (BTreeMap::new(), Vec::new());
    for (path, text) in files(tree, ".toml") {
        match text.parse::<toml::Table>() {
            Ok(table) => drop(tables.insert(path, table)),
            Err(error) => failures.push(unreadable(path, text, &error)),
        }
    }
    for (path, table) in tables.iter().filter(|(path, _)| !is_provider(path)) {
        let base = path.trim_end_matches(".toml");
        check_companions(tree, base, path, &mut failures);
        let provider = tables.get(format!("{}/provider.toml", folder(path)).as_str());
        if !states_origin(table) && !provider.is_some_and(states_origin) {
            failures.push(failure(
                path,
                1,
                "neither it nor its provider.toml says where the feed is from: state `docs` or `home`".to_owned(),
            ));
        }
    }
    for end in [".sample", ".expected"] {
        failures.extend(files(tree, end).filter_map(|(path, _)| orphan(tree, path, end)));
    }
    failures
}

fn files<'t>(tree: &'t Tree, end: &str) -> impl Iterator<Item = (&'t str, &'t str)> {
    tree.files(end).filter(|(path, _)| path.starts_with("feeds/"))
}

fn is_provider(path: &str) -> bool {
    path.ends_with("/provider.toml")
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn states_origin(table: &toml::Table) -> bool {
    ["docs", "home"].iter().any(|key| table.get(*key).and_then(toml::Value::as_str).is_some_and(|text| !text.is_empty()))
}

fn unreadable(path: &str, text: &str, error: &toml::de::Error) -> Failure {
    let line = error.span().map_or(1, |span| super::line_at(text, span.start));
    failure(path, line, format!("this is no TOML ({}): mend it", error.message().trim()))
}

fn check_companions(tree: &Tree, base: &str, path: &str, failures: &mut Vec<Failure>) {
    for (end, how) in
        [(".sample", "write a report in the feed's real form"), (".expected", "let `cargo xtask bless` write it, and proofread it")]
    {
        let companion = format!("{base}{end}");
        if !tree.has(&companion) {
            failures.push(failure(path, 1, format!("there is no {companion}: {how}")));
        }
    }
}

fn orphan(tree: &Tree, path: &str, end: &str) -> Option<Failure> {
    let table = format!("{}.toml", path.trim_end_matches(end));
    let what = format!("there is no {table}: write the table, or take this file away");
    (!tree.has(&table)).then(|| failure(path, 1, what))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn a_feed_is_three_files_with_an_origin() {
        let files = [
            ("feeds/a/provider.toml", "name = \"A\""),
            ("feeds/a/whole.toml", "home = \"https://a.example/\""),
            ("feeds/a/whole.sample", ""),
            ("feeds/a/whole.expected", ""),
            ("feeds/a/half.toml", "# Who knows?\nhome = \"\""),
            ("feeds/a/half.sample", ""),
            ("feeds/a/torn.toml", "home = \"https://a.example/\"\nhome ="),
            ("feeds/b/provider.toml", "docs = \"https://b.example/\""),
            ("feeds/b/inherits.202601.toml", ""),
            ("feeds/b/inherits.202601.sample", ""),
            ("feeds/b/inherits.202601.expected", ""),
            ("feeds/b/inherits.expected", ""),
        ];
        let expected = [
            "feeds/a/half.toml:1: neither it nor its provider.toml says where the feed is from: state `docs` or `home`",
            "feeds/a/half.toml:1: there is no feeds/a/half.expected: let `cargo xtask bless` write it, and proofread it",
            "feeds/a/torn.toml:2: this is no TOML (string values must be quoted, expected literal string): mend it",
            "feeds/b/inherits.expected:1: there is no feeds/b/inherits.toml: write the table, or take this file away",
        ];
        check(&CHECK, &files, &expected);
    }
}
