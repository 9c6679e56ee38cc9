//! What changed for those who run Waglan is written down as it changes, not when it is released.

use super::{Check, Failure, Tree, failure};

pub(super) const CHECK: Check = Check { name: "changelog", about: "CHANGELOG.md has a place for what is not released yet", run };

const PATH: &str = "CHANGELOG.md";

fn run(tree: &Tree) -> Vec<Failure> {
    let is_open = |line: &str| matches!(line.trim(), "## Unreleased" | "## [Unreleased]");
    match tree.text(PATH) {
        Some(text) if text.lines().any(is_open) => Vec::new(),
        Some(_) => vec![failure(PATH, 1, "there is no section \"## Unreleased\": put one on top, for the next change".to_owned())],
        None => vec![failure(PATH, 1, "there is no such file: start it with \"## Unreleased\"".to_owned())],
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn there_is_a_place_for_the_next_change() {
        check(&CHECK, &[(PATH, "# Changes\n\n## Unreleased\n\n- Nothing.\n")], &[]);
        check(
            &CHECK,
            &[(PATH, "## 0.1.0\n")],
            &["CHANGELOG.md:1: there is no section \"## Unreleased\": put one on top, for the next change"],
        );
        check(&CHECK, &[("README.md", "")], &["CHANGELOG.md:1: there is no such file: start it with \"## Unreleased\""]);
    }
}
