//! A file of code opens by saying what it is.

use super::{Check, Failure, Tree, failure};

pub(super) const CHECK: Check = Check { name: "headers", about: "every file of code opens with what it is", run };

fn run(tree: &Tree) -> Vec<Failure> {
    let ours = tree.files(".rs").filter(|(path, _)| ["crates/", "testkit/", "xtask/"].iter().any(|folder| path.starts_with(folder)));
    let silent = ours.filter(|(_, text)| !text.starts_with("//! "));
    silent.map(|(path, _)| failure(path, 1, "the file does not open with `//!`: say what it is, and why it is so".to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn a_file_says_what_it_is() {
        let files = [
            ("crates/a/src/lib.rs", "//! The letter.\n"),
            ("crates/a/src/b.rs", "// The other letter.\nfn b() {}\n"),
            ("crates/a/tests/a.rs", ""),
            ("elsewhere/c.rs", ""),
        ];
        let expected = [
            "crates/a/src/b.rs:1: the file does not open with `//!`: say what it is, and why it is so",
            "crates/a/tests/a.rs:1: the file does not open with `//!`: say what it is, and why it is so",
        ];
        check(&CHECK, &files, &expected);
    }
}
