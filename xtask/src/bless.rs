//! `cargo xtask bless`: what tests expect is written anew from what comes out, for a person to read.
//!
//! A test that can be blessed asks for `WAGLAN_BLESS` and lies in a crate's `tests/`: it is found by that word, and needs no
//! line here.

use crate::tidy::Tree;
use crate::{Outcome, cargo};

const VARIABLE: &str = "WAGLAN_BLESS";

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<Outcome> {
    if !arguments.is_empty() {
        return Ok(Outcome::Misused("\"bless\" takes no arguments.".to_owned()));
    }
    let mut outcome = Outcome::Done;
    for Blessed { package, test } in blessed(&Tree::read(cargo::root())?) {
        let mut command = cargo::cargo();
        command.args(["test", "--package", &package, "--test", &test]).env(VARIABLE, "1");
        if !matches!(cargo::finish(&mut command)?, Outcome::Done) {
            outcome = Outcome::Failed;
        }
    }
    println!("\nBlessed is what came out, not what is right: read every line of `git diff` before you commit.");
    Ok(outcome)
}

#[derive(Debug, PartialEq)]
struct Blessed {
    package: String,
    test: String,
}

/// The tests that mention the variable. A crate's folder is its name.
fn blessed(tree: &Tree) -> Vec<Blessed> {
    let mut found = Vec::new();
    for (path, _) in tree.files(".rs").filter(|(_, text)| text.contains(VARIABLE)) {
        let Some((package, test)) = path.split_once("/tests/") else { continue };
        let package = package.rsplit('/').next().unwrap_or(package);
        let test = test.split('/').next().unwrap_or(test).trim_end_matches(".rs");
        let blessed = Blessed { package: package.to_owned(), test: test.to_owned() };
        if !found.contains(&blessed) {
            found.push(blessed);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_by_the_variable() {
        let asks = "let bless = std::env::var_os(\"WAGLAN_BLESS\").is_some();";
        let tree = Tree::of(&[
            ("crates/feed/tests/feeds.rs", asks),
            ("crates/feed/tests/other.rs", "nothing"),
            ("crates/waglan/tests/waglan.rs", asks),
            ("crates/waglan/tests/waglan/demo.rs", asks),
            ("xtask/src/bless.rs", asks),
        ]);
        let names: Vec<String> = blessed(&tree).iter().map(|blessed| format!("{}/{}", blessed.package, blessed.test)).collect();
        assert_eq!(names, ["feed/feeds", "waglan/waglan"]);
    }
}
