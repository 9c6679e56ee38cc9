//! What the project says must be understood by somebody who has nothing but the project. Who wrote it, where and at what sitting
//! belongs nowhere in it, and neither does a number of somebody's list of tasks.

use regex::Regex;

use super::{Check, Failure, Tree, failure, line_at};

pub(super) const CHECK: Check = Check { name: "wording", about: "nothing speaks of how or where the project was written", run };

/// What must not stand in a file, and why.
const WORDS: &[(&str, &str)] = &[
    (r"\b(?:this|in a|previous) session\b", "the reader was not there: say what is so, not when it came to be"),
    (r"\b(?:helper|sub)[ -]?agents?\b", "the reader does not know who wrote it: say what is so"),
    (r"\bissues? #?\d", "a number means nothing without its list: say what was wrong"),
    (r"\.\./shared\b|/work/(?:main|shared|build|scratch)\b", "this lies outside the repository: name what is in it"),
    (
        r"\b(?:pypi\.org|crates\.io|registry\.npmjs\.org|deb\.debian\.org)\b",
        "a package comes by its ordinary client: name the package, not the host",
    ),
];

/// Lists of packages that their clients write, reports in others' words, and this list.
const PASSED_OVER: &[&str] = &["Cargo.lock", "package-lock.json", ".sample", ".expected", "xtask/src/tidy/wording.rs"];

fn run(tree: &Tree) -> Vec<Failure> {
    let words: Vec<(Regex, &str)> =
        WORDS.iter().map(|(pattern, why)| (Regex::new(&format!("(?i){pattern}")).expect("a pattern"), *why)).collect();
    let mut failures = Vec::new();
    for (path, text) in tree.files("").filter(|(path, _)| !PASSED_OVER.iter().any(|end| path.ends_with(end))) {
        for (pattern, why) in &words {
            let found = pattern.find_iter(text);
            failures.extend(found.map(|found| failure(path, line_at(text, found.start()), format!("\"{}\": {why}", found.as_str()))));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn the_workplace_is_not_spoken_of() {
        let files = [
            ("docs/a.md", "A session of the web ends after an hour.\nAs found in a session, see Issue #12.\nAn issue of the magazine.\n"),
            ("crates/a/src/lib.rs", "// Fetched from crates.io, see ../shared/x.\n// docs.rs is fine.\n"),
            ("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n"),
        ];
        let expected = [
            "crates/a/src/lib.rs:1: \"../shared\": this lies outside the repository: name what is in it",
            "crates/a/src/lib.rs:1: \"crates.io\": a package comes by its ordinary client: name the package, not the host",
            "docs/a.md:2: \"Issue #1\": a number means nothing without its list: say what was wrong",
            "docs/a.md:2: \"in a session\": the reader was not there: say what is so, not when it came to be",
        ];
        check(&CHECK, &files, &expected);
    }
}
