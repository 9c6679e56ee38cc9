//! What a page points to in this repository is there: links, and files that are named by their path.

use std::sync::LazyLock;

use regex::Regex;

use super::{Check, Failure, Tree, failure, line_at, markdown};

pub(super) const CHECK: Check = Check { name: "links", about: "what a page points to in this repository is there", run };

/// They tell what was: files that they name may be gone.
const HISTORY: &[&str] = &["CHANGELOG.md", "docs/decisions/"];

fn run(tree: &Tree) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (path, text) in tree.files(".md") {
        let wrong = |link: &markdown::Link<'_>| wrong(tree, path, link.target).map(|what| failure(path, link.line, what));
        failures.extend(markdown::links(text).iter().filter_map(wrong));
        if !HISTORY.iter().any(|history| path.starts_with(history)) {
            failures.extend(missing_files(tree, path, text));
        }
    }
    failures
}

/// What is wrong with a link on this page.
fn wrong(tree: &Tree, page: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let Some(path) = resolved(page, file) else {
        return Some(format!("\"{target}\" points out of the repository: name what is meant"));
    };
    if !path.is_empty() && !tree.has(&path) {
        return Some(format!("\"{target}\" points to nothing: there is no {path}; mend the link"));
    }
    let is_there = anchor.is_empty() || tree.text(&path).is_none_or(|text| markdown::anchors(text).iter().any(|name| name == anchor));
    (!is_there).then(|| format!("\"{target}\" points to no heading of {path}: mend what follows the #"))
}

/// The path from the repository's top: of the page itself, where nothing stands before the `#`.
fn resolved(page: &str, file: &str) -> Option<String> {
    if file.is_empty() {
        return Some(page.to_owned());
    }
    let mut parts: Vec<&str> = match file.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => page.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in file.split('/') {
        match part {
            "" | "." => (),
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Paths in the text, such as crates/feed/src/convert.rs, that are not there. One in capitals is a pattern for many.
fn missing_files<'t>(tree: &'t Tree, page: &'t str, text: &'t str) -> impl Iterator<Item = Failure> + 't {
    static PATH: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = r"(?:^|[\s`(\x22'])((?:crates|docs|feeds|tables|testkit|xtask)/[A-Za-z0-9_./-]+\.(?:rs|md|toml|sample|expected))\b";
        Regex::new(pattern).expect("a pattern")
    });
    let paths = PATH.captures_iter(text).filter_map(|found| found.get(1));
    // What a link points to has been looked at already.
    let is_link = |path: &regex::Match<'_>| text.get(..path.start()).is_some_and(|before| before.ends_with("]("));
    let missing = paths.filter(move |path| !is_link(path) && !path.as_str().contains(char::is_uppercase) && !tree.has(path.as_str()));
    missing
        .map(move |path| failure(page, line_at(text, path.start()), format!("there is no {}: name the file that is meant", path.as_str())))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn links_within_the_repository_are_followed() {
        let readme = "# Top\n[a](docs/a.md) [b](docs/a.md#one-two) [c](docs/) [d](https://x.example/y#z) [e](#top)
[f](docs/b.md) [g](docs/a.md#three) [h](#bottom)
[i](../x.md)
";
        let a = "## One, two\n[up](../README.md#top) [root](/docs/a.md) [self](a.md)\n[lost](README.md)\n";
        let expected = [
            "README.md:3: \"#bottom\" points to no heading of README.md: mend what follows the #",
            "README.md:3: \"docs/a.md#three\" points to no heading of docs/a.md: mend what follows the #",
            "README.md:3: \"docs/b.md\" points to nothing: there is no docs/b.md; mend the link",
            "README.md:4: \"../x.md\" points out of the repository: name what is meant",
            "docs/a.md:3: \"README.md\" points to nothing: there is no docs/README.md; mend the link",
        ];
        check(&CHECK, &[("README.md", readme), ("docs/a.md", a)], &expected);
    }

    #[test]
    fn files_that_are_named_are_there() {
        let style =
            "Read `crates/feed/src/convert.rs` and feeds/PROVIDER/FEED.toml.\n| crates/feed/src/old.rs |\nhttps://x.example/crates/y.rs\n";
        let files = [("STYLE.md", style), ("CHANGELOG.md", style), ("docs/decisions/0001-x.md", style), ("crates/feed/src/convert.rs", "")];
        check(&CHECK, &files, &["STYLE.md:2: there is no crates/feed/src/old.rs: name the file that is meant"]);
    }
}
