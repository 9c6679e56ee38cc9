//! Providers, feeds, vendors and countries are data: whoever names one in code has put there what belongs into feeds/ or into
//! the configuration, and the next country cannot use it.
//!
//! Providers are known from the folders of feeds/ and from their tables.

use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::countries::COUNTRIES;
use super::{Check, Failure, Tree, failure, line_at, rust};

pub(super) const CHECK: Check = Check { name: "names", about: "no provider, feed or country is named in code that is shipped", run };

/// Feeds with names of their own. Most are called by words that code needs: "block list", "daily", "Open-SSH".
const FEEDS: &[&str] = &["Feodo Tracker", "URLhaus", "ThreatFox", "ASN-DROP"];

/// Providers' names that code may say.
const FORMATS: &[(&str, &str)] = &[
    ("intelmq", "its data format is our events' vocabulary, and one of the shapes"),
    ("misp", "its events are one of the shapes"),
    ("stix", "a standard, and one of the shapes"),
    ("tor", "a network, whose nodes a field of our events tells"),
    ("team cymru", "a field of our events has what its service says"),
    ("team-cymru", "a field of our events has what its service says"),
];

/// Files that may name one, by how their paths begin, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("crates/feed/src/vendor_schema.rs", "it reads the schema document that a vendor publishes of its reports"),
    ("crates/waglan/src/commands/demo", "it says which of the demo's feeds is real, and names one to look at"),
];

fn run(tree: &Tree) -> Vec<Failure> {
    let names: Vec<Regex> = providers(tree).iter().map(String::as_str).chain(FEEDS.iter().copied()).map(pattern).collect();
    let countries = Regex::new(&format!(r"\b(?:{COUNTRIES})\b")).expect("a pattern");
    let mut failures = Vec::new();
    for (path, text) in tree.files(".rs").filter(|(path, _)| is_shipped(path)) {
        let shipped = format!("{path}\n{}", rust::shipped(text));
        let named = names.iter().flat_map(|name| name.find_iter(&shipped)).filter(|found| stands_alone(&shipped, found));
        for found in named {
            let what = format!("names \"{}\": a feed or its provider is data; say what makes it special instead", found.as_str());
            failures.push(failure(path, line_of(&shipped, found.start()), what));
        }
        for found in countries.find_iter(&shipped) {
            let what = format!("names \"{}\": a country is configuration; take it as an argument", found.as_str());
            failures.push(failure(path, line_of(&shipped, found.start()), what));
        }
    }
    failures
}

fn is_shipped(path: &str) -> bool {
    !rust::is_for_tests(path) && EXCEPTIONS.iter().all(|(exception, _)| !path.starts_with(exception))
}

/// A file's own name stands before its text, and counts as its first line.
fn line_of(shipped: &str, place: usize) -> usize {
    line_at(shipped, place).saturating_sub(1).max(1)
}

/// The providers' folders, and the names in their tables.
fn providers(tree: &Tree) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, text) in tree.files(".toml").filter(|(path, _)| path.starts_with("feeds/")) {
        names.extend(path.split('/').nth(1).map(str::to_owned));
        if path.ends_with("/provider.toml") {
            let table: toml::Table = text.parse().unwrap_or_default();
            names.extend(table.get("name").and_then(toml::Value::as_str).map(str::to_owned));
        }
    }
    names.retain(|name| FORMATS.iter().all(|(format, _)| !name.eq_ignore_ascii_case(format)));
    names
}

/// The name's words, joined in any way that code joins words.
fn pattern(name: &str) -> Regex {
    let words: Vec<String> = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(regex::escape).collect();
    RegexBuilder::new(&words.join(r"[\s._-]?")).case_insensitive(true).build().expect("words make a pattern")
}

/// Whether this is a word by itself, as `snake_case` and `CamelCase` have words.
fn stands_alone(text: &str, found: &regex::Match<'_>) -> bool {
    let before = text.get(..found.start()).and_then(|text| text.chars().next_back());
    let after = text.get(found.end()..).and_then(|text| text.chars().next());
    let starts_upper = found.as_str().starts_with(char::is_uppercase);
    let starts = before.is_none_or(|c| !c.is_alphanumeric() || c.is_lowercase() && starts_upper);
    starts && after.is_none_or(|c| !c.is_alphanumeric() || c.is_uppercase())
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const FOLDER: &[(&str, &str)] = &[
        ("feeds/light-house/provider.toml", "name = \"The Light House\""),
        ("feeds/cod/provider.toml", "name = \"Cod Watch\""),
        ("feeds/cod/daily.toml", "name = \"Daily\""),
        ("feeds/intelmq/provider.toml", "name = \"IntelMQ\""),
    ];

    #[track_caller]
    fn check_code(path: &str, text: &str, expected: &[&str]) {
        check(&CHECK, &[FOLDER, &[(path, text)]].concat(), expected);
    }

    #[test]
    fn providers_and_feeds_are_data() {
        let code = "//! IntelMQ's events.
fn daily() { code() }
if id == \"light-house/x\" {}
struct ReadCodRow;
// Like URLhaus does.
let lighthouses = codec();
";
        let expected = [
            "crates/feed/src/a.rs:3: names \"light-house\": a feed or its provider is data; say what makes it special instead",
            "crates/feed/src/a.rs:4: names \"Cod\": a feed or its provider is data; say what makes it special instead",
            "crates/feed/src/a.rs:5: names \"URLhaus\": a feed or its provider is data; say what makes it special instead",
        ];
        check_code("crates/feed/src/a.rs", code, &expected);
        let expected =
            "crates/feed/src/light_house.rs:1: names \"light_house\": a feed or its provider is data; say what makes it special instead";
        check_code("crates/feed/src/light_house.rs", "fn f() {}", &[expected]);
    }

    #[test]
    fn countries_are_configuration() {
        let expected = [
            "crates/enrich/src/a.rs:1: names \"Hong Kong\": a country is configuration; take it as an argument",
            "crates/enrich/src/a.rs:2: names \"Norway\": a country is configuration; take it as an argument",
        ];
        check_code("crates/enrich/src/a.rs", "const OURS: &str = \"Hong Kong\";\n// As in Norway, not as in chad.\n", &expected);
    }

    #[test]
    fn tests_and_exceptions_may_name_them() {
        let code = "#[cfg(test)]\nmod tests {\n    // Cod, of Norway\n}\n";
        check_code("crates/feed/src/a.rs", code, &[]);
        let named = "// Cod, of Norway\n";
        check_code("crates/feed/tests/feeds.rs", named, &[]);
        check_code("testkit/src/country.rs", named, &[]);
        check_code("crates/feed/src/vendor_schema.rs", named, &[]);
    }
}
