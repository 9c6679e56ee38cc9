//! No blanks at the ends of lines: they show in every diff and say nothing.

use super::{Check, Failure, Tree, failure};

pub(super) const CHECK: Check = Check { name: "whitespace", about: "no line that we write ends in blanks", run };

/// Reports as others send them, and what comes of them: there blanks are part of what is tested.
const THEIRS: &[&str] = &[".sample", ".expected", ".snap", ".csv"];

fn run(tree: &Tree) -> Vec<Failure> {
    let ours = tree.files("").filter(|(path, _)| !THEIRS.iter().any(|end| path.ends_with(end)));
    ours.flat_map(|(path, text)| lines_ending_in_blanks(text).map(|line| blanks(path, line))).collect()
}

fn lines_ending_in_blanks(text: &str) -> impl Iterator<Item = usize> {
    text.lines().enumerate().filter(|(_, line)| line.ends_with([' ', '\t'])).map(|(place, _)| place + 1)
}

fn blanks(path: &str, line: usize) -> Failure {
    failure(path, line, "the line ends in blanks: take them away".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn lines_end_where_they_end() {
        let files = [("a.md", "one\ntwo \n\nthree\t\n"), ("feeds/a/b.sample", "one \n")];
        check(&CHECK, &files, &["a.md:2: the line ends in blanks: take them away", "a.md:4: the line ends in blanks: take them away"]);
    }
}
