//! `cargo xtask tidy`: what a program can check of what ARCHITECTURE.md and STYLE.md promise.
//!
//! A check looks at the files as they lie and names what is wrong, a line each: `path:line: what is wrong, what to do`. A new
//! one is a file in tidy/ and a line in [`CHECKS`].

mod changelog;
mod converters;
mod countries;
mod edges;
mod feeds;
mod headers;
mod layout;
mod links;
mod manifest;
mod markdown;
mod names;
mod owners;
mod pure;
mod rust;
mod tree;
mod whitespace;
mod wording;

use std::fmt;

use crate::{Outcome, cargo};
pub(crate) use tree::Tree;

struct Check {
    name: &'static str,
    about: &'static str,
    run: fn(&Tree) -> Vec<Failure>,
}

const CHECKS: &[Check] = &[
    edges::CHECK,
    owners::CHECK,
    names::CHECK,
    pure::CHECK,
    feeds::CHECK,
    converters::CHECK,
    links::CHECK,
    headers::CHECK,
    layout::CHECK,
    whitespace::CHECK,
    wording::CHECK,
    changelog::CHECK,
];

/// Ordered as a person goes through them: file by file, downwards.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Failure {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.what)
    }
}

fn failure(path: &str, line: usize, what: String) -> Failure {
    Failure { path: path.to_owned(), line, what }
}

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<Outcome> {
    let is_known = |name: &&String| CHECKS.iter().any(|check| check.name == *name);
    if let Some(unknown) = arguments.iter().find(|name| !is_known(name)) {
        return Ok(Outcome::Misused(format!("There is no check \"{unknown}\". There are:\n{}", list().trim_end())));
    }
    let tree = Tree::read(cargo::root())?;
    let chosen = CHECKS.iter().filter(|check| arguments.is_empty() || arguments.iter().any(|name| name == check.name));
    let mut failures = 0;
    for check in chosen {
        let found = check.failures(&tree);
        found.iter().for_each(|failure| println!("{failure}"));
        if !found.is_empty() {
            eprintln!("tidy {}: {} to mend: {}", check.name, found.len(), check.about);
        }
        failures += found.len();
    }
    Ok(if failures == 0 { Outcome::Done } else { Outcome::Failed })
}

impl Check {
    fn failures(&self, tree: &Tree) -> Vec<Failure> {
        let mut failures = (self.run)(tree);
        failures.sort();
        failures.dedup();
        failures
    }
}

fn list() -> String {
    CHECKS.iter().map(|check| format!("  {:<12}{}\n", check.name, check.about)).collect()
}

/// The line, counted from 1, that the byte at `place` is in.
fn line_at(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1
}

/// What a check says of these files, against what it should say.
#[cfg(test)]
#[track_caller]
fn check(check: &Check, files: &[(&str, &str)], expected: &[&str]) {
    let found: Vec<String> = check.failures(&Tree::of(files)).iter().map(Failure::to_string).collect();
    assert_eq!(found, expected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one() {
        assert_eq!([0, 1, 2, 3].map(|place| line_at("a\nb\n", place)), [1, 1, 2, 2]);
    }

    #[test]
    fn a_folder_on_disk_is_checked() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, bytes: &[u8]| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("below the folder")).expect("writable");
            std::fs::write(path, bytes).expect("writable");
        };
        write("crates/event/src/lib.rs", b"//! Words.\nfn f() {} \n");
        write("crates/event/src/old.rs", b"fn f() {}\n");
        write("feeds/a/b.sample", b"caf\xe9 \n");
        write("target/debug/mod.rs", b" \n");
        let tree = Tree::read(folder.path()).expect("readable");
        let failures: Vec<String> = [headers::CHECK, layout::CHECK, whitespace::CHECK, feeds::CHECK]
            .iter()
            .flat_map(|check| check.failures(&tree))
            .map(|failure| failure.to_string())
            .collect();
        let expected = [
            "crates/event/src/old.rs:1: the file does not open with `//!`: say what it is, and why it is so",
            "crates/event/src/lib.rs:2: the line ends in blanks: take them away",
            "feeds/a/b.sample:1: there is no feeds/a/b.toml: write the table, or take this file away",
        ];
        assert_eq!(failures, expected);
    }
}
