//! One list as MISP writes it:
//!
//! ```json
//! {
//!   "name": "List of example networks",
//!   "description": "Networks for documentation",
//!   "version": 20240101,
//!   "type": "cidr",
//!   "matching_attributes": ["ip-src", "ip-dst", "domain|ip"],
//!   "list": ["192.0.2.0/24", "2001:db8::/32"]
//! }
//! ```
//!
//! `list` may also be an object of entries with a comment each.

use std::fmt;

use ipnet::IpNet;
use regex::RegexSet;
use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};

use super::subject::{Subject, Subjects};
use super::{entry, patterns};

/// More entries than any list is known to have.
const MOST_ENTRIES: usize = 10_000_000;

/// How much text substrings may hold: what finds them takes some fifty bytes for each of its bytes, up to three times.
pub(super) const MOST_SUBSTRING_BYTES: usize = 4 << 20;

/// How many unusable entries are told of; the rest are only counted.
const MOST_TOLD: usize = 100;

/// How a list's entries are held against a value.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Matching {
    /// The value is the entry.
    String,
    /// The entry is somewhere in the value.
    Substring,
    /// The value's host is the entry, or below it.
    Hostname,
    /// The address or network is in the entry.
    Cidr,
    /// The entry, a regular expression, finds something in the value.
    Regex,
}

impl Matching {
    /// As MISP calls it.
    pub fn name(self) -> &'static str {
        match self {
            Matching::String => "string",
            Matching::Substring => "substring",
            Matching::Hostname => "hostname",
            Matching::Cidr => "cidr",
            Matching::Regex => "regex",
        }
    }
}

/// A list that has been read. Its entries are in the form in which values are at rest, and agree with `matching`, so they are not public.
#[derive(Debug)]
pub struct WarningList {
    pub name: String,
    pub description: String,
    pub version: u64,
    pub matching: Matching,
    /// What is held against it.
    pub subjects: Subjects,
    /// The first hundred entries that say nothing, each with its place and why. The others work.
    pub unusable: Vec<String>,
    pub unusable_count: usize,
    pub(super) entries: Entries,
}

/// By how they are matched.
#[derive(Debug)]
pub(super) enum Entries {
    /// Of `string`, and of `hostname`, where a dot at the start asks for names below.
    Words(Texts),
    Substrings(Texts),
    Networks(Vec<IpNet>),
    Patterns(RegexSet),
}

#[derive(Deserialize)]
struct Document {
    name: String,
    #[serde(default)]
    description: String,
    version: serde_json::Value,
    #[serde(rename = "type")]
    matching: Matching,
    #[serde(default)]
    matching_attributes: Option<Vec<String>>,
    list: Texts,
}

impl WarningList {
    /// Of JSON as it stands in this file's head. The error says what is wrong, and where.
    pub fn parse(text: &str) -> Result<WarningList, String> {
        if u32::try_from(text.len()).is_err() {
            return Err("longer than 4 GiB".to_owned());
        }
        let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut list = WarningList {
            version: version(&document.version)?,
            name: document.name,
            description: document.description,
            matching: document.matching,
            subjects: Subjects::of(&document.matching_attributes.unwrap_or_default()),
            unusable: Vec::new(),
            unusable_count: 0,
            entries: Entries::Networks(Vec::new()),
        };
        list.entries = list.read(&document.list)?;
        Ok(list)
    }

    /// How many entries can be used.
    pub fn len(&self) -> usize {
        match &self.entries {
            Entries::Words(texts) | Entries::Substrings(texts) => texts.len(),
            Entries::Networks(networks) => networks.len(),
            Entries::Patterns(patterns) => patterns.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&mut self, given: &Texts) -> Result<Entries, String> {
        Ok(match self.matching {
            Matching::String => {
                let about_systems = self.subjects.has(Subject::System);
                Entries::Words(self.texts(given, |given, texts| texts.push(&entry::text(given, about_systems))))
            }
            Matching::Hostname => Entries::Words(self.texts(given, |given, texts| texts.push(&entry::name(given)?))),
            Matching::Substring => {
                let texts = self.texts(given, |given, texts| entry::parts(given).try_for_each(|part| texts.push(&part)));
                if texts.text.len() > MOST_SUBSTRING_BYTES {
                    return Err(format!("its substrings are more than {} MiB", MOST_SUBSTRING_BYTES >> 20));
                }
                Entries::Substrings(texts)
            }
            Matching::Cidr => Entries::Networks(self.each(given, entry::network)),
            Matching::Regex => Entries::Patterns(patterns::together(&self.each(given, patterns::parse))?),
        })
    }

    fn texts(&mut self, given: &Texts, mut read: impl FnMut(&str, &mut Texts) -> Result<(), String>) -> Texts {
        let mut texts = Texts { text: String::with_capacity(given.text.len()), ends: Vec::with_capacity(given.len()) };
        self.each(given, |given| read(given, &mut texts));
        texts.text.shrink_to_fit();
        texts
    }

    /// What every entry says, and what is wrong with those that cannot be read.
    fn each<T>(&mut self, given: &Texts, mut read: impl FnMut(&str) -> Result<T, String>) -> Vec<T> {
        let mut all = Vec::new();
        for (place, given) in given.iter().enumerate() {
            let trimmed = given.trim();
            let outcome = match () {
                () if trimmed.is_empty() => Err("empty".to_owned()),
                () if trimmed.len() > event::value::LONGEST_TEXT => Err("longer than any value".to_owned()),
                () => read(trimmed),
            };
            match outcome {
                Ok(read) => all.push(read),
                Err(wrong) => self.refuse(place, given, &wrong),
            }
        }
        all
    }

    fn refuse(&mut self, place: usize, given: &str, wrong: &str) {
        self.unusable_count += 1;
        if self.unusable.len() < MOST_TOLD {
            let start: String = given.chars().take(100).collect();
            self.unusable.push(format!("entry {} \"{start}\": {wrong}", place + 1));
        }
    }
}

/// A number, which some write as text.
fn version(given: &serde_json::Value) -> Result<u64, String> {
    let number = given.as_u64().or_else(|| given.as_str()?.parse().ok());
    number.ok_or_else(|| format!("version: {given}: not a whole number"))
}

/// Many texts in one piece of memory: most are short, and there may be millions.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, place: usize) -> &str {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start as usize..self.ends[place] as usize).expect("texts end where they were pushed")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|place| self.get(place))
    }

    fn push(&mut self, text: &str) -> Result<(), String> {
        // Names in A-labels are longer than they were in the document.
        let end = u32::try_from(self.text.len() + text.len()).map_err(|_| "beyond the list's 4 GiB".to_owned())?;
        self.text.push_str(text);
        self.ends.push(end);
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: serde::Deserializer<'de>>(given: D) -> Result<Texts, D::Error> {
        given.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut given: A) -> Result<Texts, A::Error> {
        let mut texts = Texts::default();
        while let Some(text) = given.next_element::<String>()? {
            add(&mut texts, &text)?;
        }
        Ok(texts)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<Texts, A::Error> {
        let mut texts = Texts::default();
        while let Some((text, _comment)) = given.next_entry::<String, serde::de::IgnoredAny>()? {
            add(&mut texts, &text)?;
        }
        Ok(texts)
    }
}

fn add<E: serde::de::Error>(texts: &mut Texts, text: &str) -> Result<(), E> {
    if texts.len() == MOST_ENTRIES {
        return Err(E::custom("more than ten million entries"));
    }
    texts.push(text).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(matching: &str, list: &str) -> String {
        format!(r#"{{"name": "a", "version": 1, "type": "{matching}", "list": {list}}}"#)
    }

    #[test]
    fn a_document_is_read() {
        let text = r#"{
            "description": "of things", "list": {"a.example": "since ever", "b.example": ""}, "matching_attributes": ["domain"],
            "name": "Things", "type": "hostname", "version": "20240101", "category": "known"
        }"#;
        let list = WarningList::parse(text).expect("a list");
        assert_eq!((list.name.as_str(), list.description.as_str(), list.version), ("Things", "of things", 20240101));
        assert_eq!((list.matching, list.len(), list.unusable_count), (Matching::Hostname, 2, 0));
    }

    #[track_caller]
    fn check_wrong(text: &str, expected: &str) {
        let error = WarningList::parse(text).expect_err("a mistake");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        check_wrong("[", "at line 1 column 1");
        check_wrong(r#"{"name": "a", "version": 1, "list": []}"#, "missing field `type` at line 1");
        check_wrong(&document("wildcard", "[]"), "unknown variant `wildcard`, expected one of `string`, `substring`");
        check_wrong(&document("string", "\"a\""), "invalid type: string \"a\", expected a list of entries at line 1 column");
        check_wrong(&document("string", "[\"a\", 5]"), "invalid type: integer `5`, expected a string at line 1 column");
        check_wrong(r#"{"name": "a", "version": "new", "type": "cidr", "list": []}"#, "version: \"new\": not a whole number");
        let list: Vec<String> = (0..100).map(|number| format!("{number}{}", "x".repeat(60_000))).collect();
        check_wrong(&document("substring", &format!("{list:?}")), "its substrings are more than 4 MiB");
    }

    #[track_caller]
    fn check_unusable(matching: &str, list: &[&str], expected: &[&str]) {
        let list = WarningList::parse(&document(matching, &serde_json::to_string(list).expect("JSON"))).expect("a list");
        assert_eq!(list.unusable, expected);
    }

    #[test]
    fn an_unusable_entry_is_told_and_the_others_work() {
        check_unusable(
            "cidr",
            &["192.0.2.0/24", "192.0.2.1/24", "example.com", "192.0.2.0/33", ""],
            &[
                "entry 2 \"192.0.2.1/24\": an address with a prefix, not a network",
                "entry 3 \"example.com\": not a network",
                "entry 4 \"192.0.2.0/33\": not a network",
                "entry 5 \"\": empty",
            ],
        );
        check_unusable(
            "hostname",
            &["example.com", "*.example.com", "example.com/a", ".", "-a.example"],
            &["entry 2 \"*.example.com\": not a host name", "entry 3 \"example.com/a\": not a host name", "entry 4 \".\": not a host name"],
        );
        check_unusable(
            "regex",
            &["/a/i", "(?=a)", "(", "/a/e", "(a{1000}){1000}"],
            &[
                "entry 2 \"(?=a)\": look-around, including look-ahead and look-behind, is not supported",
                "entry 3 \"(\": unclosed group",
                "entry 4 \"/a/e\": the flag 'e' is unknown",
                "entry 5 \"(a{1000}){1000}\": it is too large",
            ],
        );
        check_unusable("substring", &["a", " "], &["entry 2 \" \": empty"]);
    }

    #[test]
    fn of_many_unusable_entries_some_are_told() {
        let list = WarningList::parse(&document("cidr", &format!("{:?}", vec!["x"; 1000]))).expect("a list");
        assert_eq!((list.unusable.len(), list.unusable_count), (100, 1000));
    }
}
