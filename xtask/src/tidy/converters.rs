//! The converters in docs/adding-a-feed.md are those of the table in crates/feed/src/convert.rs: whoever writes a feed reads
//! the one, and gets the other.

use regex::Regex;

use super::{Check, Failure, Tree, failure};

pub(super) const CHECK: Check = Check { name: "converters", about: "docs/adding-a-feed.md lists the converters that there are", run };

const CODE: &str = "crates/feed/src/convert.rs";
const DOCS: &str = "docs/adding-a-feed.md";

fn run(tree: &Tree) -> Vec<Failure> {
    let (Some(code), Some(docs)) = (tree.text(CODE), tree.text(DOCS)) else { return Vec::new() };
    let (built, told) = (built(code), told(docs));
    let untold = built.iter().filter(|(_, name)| !told.iter().any(|(_, other)| other == name));
    let unbuilt = told.iter().filter(|(_, name)| !built.iter().any(|(_, other)| other == name));
    let mut failures: Vec<Failure> =
        untold.map(|(line, name)| failure(CODE, *line, format!("the converter `{name}` is not in {DOCS}: give it a row there"))).collect();
    failures.extend(
        unbuilt.map(|(line, name)| failure(DOCS, *line, format!("{CODE} has no converter `{name}`: take it out, or mend its name"))),
    );
    failures
}

/// The first text of each entry of `CONVERTERS`, with its line.
fn built(code: &str) -> Vec<(usize, String)> {
    let name = Regex::new(r#"(?:^|\w\(|\bname:)\s*"([a-z0-9_]+)""#).expect("a pattern");
    let table = code.lines().enumerate().skip_while(|(_, line)| !line.contains("const CONVERTERS")).take_while(|(_, line)| *line != "];");
    table.filter_map(|(place, line)| Some((place + 1, name.captures(line)?.get(1)?.as_str().to_owned()))).collect()
}

/// The first word of every `code` in the table's first column, with its line.
fn told(docs: &str) -> Vec<(usize, String)> {
    let code = Regex::new(r"`([^`\s]+)[^`]*`").expect("a pattern");
    let table =
        docs.lines().enumerate().skip_while(|(_, line)| !line.starts_with("| converter |")).take_while(|(_, line)| line.starts_with('|'));
    let cells = table.skip(1).map(|(place, line)| (place + 1, line.split('|').nth(1).unwrap_or_default()));
    cells.flat_map(|(line, cell)| code.captures_iter(cell).map(move |word| (line, word[1].to_owned())).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn code_and_reference_list_the_same() {
        let code = "const OTHER: &str = plain(\"x\");
pub const CONVERTERS: &[Definition] = &[
    plain(\"lower\", \"in lower case\", || Converter::Lower),
    with_text(\"before\", \"what stands before\", Converter::Before),
    Definition { name: \"map\", about: \"by [map.NAME]\", parse: Parse::Lookup(Converter::Map) },
    Definition {
        name: \"zone\",
        about: \"a time without a zone\",
    },
    with_text(
        \"long\",
        \"a long one\",
    ),
];
";
        let docs = "| key | meaning |
|---|---|
| `format` | |

| converter | what it does |
|---|---|
| `lower`, `upper` | case |
| `before TEXT` | `x` |
| `zone +08:00`, `long` | |
";
        let expected = [
            "crates/feed/src/convert.rs:5: the converter `map` is not in docs/adding-a-feed.md: give it a row there",
            "docs/adding-a-feed.md:7: crates/feed/src/convert.rs has no converter `upper`: take it out, or mend its name",
        ];
        check(&CHECK, &[(CODE, code), (DOCS, docs)], &expected);
    }
}
