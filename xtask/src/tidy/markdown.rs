//! Markdown as a check wants to read it: prose without code, the anchors that headings make, and where links point.

use std::sync::LazyLock;

use regex::Regex;

/// A link, as it is written.
#[derive(Debug, PartialEq)]
pub(super) struct Link<'t> {
    pub(super) line: usize,
    pub(super) target: &'t str,
}

/// Lines that are not in fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    text.lines().enumerate().filter_map(move |(place, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((place + 1, line))
    })
}

/// `[text](target)`, `![text](target)` and `[name]: target`.
pub(super) fn links(text: &str) -> Vec<Link<'_>> {
    static LINK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"`[^`]*`|\]\(<?([^)>\s]+)>?(?:\s+"[^"]*")?\)|^\[[^\]]+\]:\s*<?([^>\s]+)"#).expect("a pattern"));
    let of_line = |(line, text)| {
        LINK.captures_iter(text).filter_map(|found| found.get(1).or(found.get(2))).map(move |target| Link { line, target: target.as_str() })
    };
    prose(text).flat_map(of_line).collect()
}

/// What `#...` may point to: headings as they are turned into names, and names that are given.
pub(super) fn anchors(text: &str) -> Vec<String> {
    static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"<a (?:id|name)="([^"]+)""#).expect("a pattern"));
    let mut anchors: Vec<String> = Vec::new();
    for (_, line) in prose(text) {
        anchors.extend(NAMED.captures_iter(line).map(|found| found[1].to_owned()));
        let Some(heading) = heading(line) else { continue };
        let name = anchor(heading);
        // A second heading of that name is `name-1`.
        let is_there = |name: &String| anchors.contains(name);
        let numbered = (1..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !is_there(name));
        anchors.extend(free);
    }
    anchors
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let depth = line.len() - text.len();
    (1..=6).contains(&depth).then_some(text.strip_prefix(' ')).flatten()
}

fn anchor(heading: &str) -> String {
    static LINK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\[([^\]]*)\]\([^)]*\)").expect("a pattern"));
    let text = LINK.replace_all(heading.trim(), "$1").to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code() {
        let text = "See [a](a.md), ![b](b.png \"B\") and `[c](c.md)`.\n```\n[d](d.md)\n```\n[e]: <e.md#x>\n[f][e]\n";
        let found: Vec<(usize, &str)> = links(text).iter().map(|link| (link.line, link.target)).collect();
        assert_eq!(found, [(1, "a.md"), (1, "b.png"), (5, "e.md#x")]);
    }

    #[test]
    fn headings_become_anchors() {
        let text =
            "# What is it?\n## `waglan run` and [more](x.md)\n## 術語\n## Same\n## Same\n#hash\n```\n# code\n```\n<a id=\"given\"></a>\n";
        assert_eq!(anchors(text), ["what-is-it", "waglan-run-and-more", "術語", "same", "same-1", "given"]);
    }
}
