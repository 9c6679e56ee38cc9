//! Heavy dependencies have one owner, so that the other rooms build and test without them, and one room knows their ways.

use super::manifest::manifests;
use super::{Check, Failure, Tree, failure};

pub(super) const CHECK: Check = Check { name: "owners", about: "a heavy dependency is used by its owner alone", run };

/// A crate, with all whose names begin with its name and a dash, and the rooms that own them.
const OWNERS: &[(&str, &[&str])] = &[
    ("datafusion", &["store"]),
    ("deltalake", &["store"]),
    ("parquet", &["store"]),
    ("object_store", &["store"]),
    ("reqwest", &["pipeline", "notify"]),
    ("ureq", &["pipeline"]),
    // Of others' databases too.
    ("sqlx", &["records", "pipeline"]),
    ("sea-orm", &["records"]),
    ("rusqlite", &["records"]),
    ("tokio-postgres", &["records"]),
    ("apalis", &["records"]),
    ("lettre", &["notify"]),
    ("axum", &["web"]),
    ("typst", &["figure"]),
];

fn run(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for manifest in manifests(tree).0 {
        for dependency in &manifest.dependencies {
            if let Some(owners) = owners(&dependency.name).filter(|owners| !owners.contains(&manifest.name)) {
                let owner = owners.join(" and ");
                let what = format!("{} is {owner}'s alone: let {owner} do it, and ask {owner}", dependency.name);
                failures.push(failure(manifest.path, dependency.line, what));
            }
        }
    }
    failures
}

fn owners(dependency: &str) -> Option<&'static [&'static str]> {
    let is_of = |name: &str| dependency.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']));
    OWNERS.iter().find(|(name, _)| is_of(name)).map(|(_, owners)| *owners)
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn only_the_owner_has_it_in_tests_too() {
        let store = ("crates/store/Cargo.toml", "[dependencies]\ndatafusion.workspace = true\nparquet.workspace = true\n");
        let desk = (
            "crates/desk/Cargo.toml",
            "[dependencies]\ndatafusion-common = \"1\"\nparqueting = \"1\"\n[dev-dependencies]\nreqwest = \"1\"\n",
        );
        let expected = [
            "crates/desk/Cargo.toml:2: datafusion-common is store's alone: let store do it, and ask store",
            "crates/desk/Cargo.toml:5: reqwest is pipeline and notify's alone: let pipeline and notify do it, and ask pipeline and notify",
        ];
        check(&CHECK, &[store, desk], &expected);
    }
}
