//! Warning lists: values that are seen everywhere and mean little by themselves, in the form that MISP gave them
//! (<https://github.com/MISP/misp-warninglists>). Public resolvers, large sites, networks of a cloud, names that nobody can own.
//! That a value is on one is no verdict; it says whom not to block or to call without a second look.
//!
//! | `type`      | an entry says something of                                                                          |
//! |-------------|-----------------------------------------------------------------------------------------------------|
//! | `string`    | the same value                                                                                      |
//! | `substring` | every value that has it anywhere, in small letters or capitals                                      |
//! | `hostname`  | the same host and every one below it; with a dot at its start, only those below. A URL and a mail   |
//! |             | address have their host, an address is one                                                          |
//! | `cidr`      | every address in it, and every network of which the list's networks hold all                        |
//! | `regex`     | every value in which it finds something; one that looks around or back, as PCRE can, is unusable    |
//!
//! The answers are those of `pymispwarninglists`, which MISP's authors give to whoever has no MISP, asked for its slow search; and a
//! test compares them. They differ where
//! - it compares letters, and ours are values: entries in capitals, in U-labels, with a space or a dot behind, IPv6 or URLs that are written
//!   in another way than at rest are found. IPv4 that is written as IPv6 is IPv4.
//! - a network is found by its text alone there; MISP itself finds it in a larger one, as we do.
//! - a mail address is held against host names there as if it were one: `a@b.example.com` is below `example.com`, and `a@example.com`
//!   is not it. An address has host names above it there: a list with `4` in it would have `192.0.2.4`.
//! - regular expressions find nothing there. They do in MISP.
//! - it ignores `matching_attributes`, which say what a list is to be held against. We ask a list about nothing else, as MISP.
//! - an empty entry, which would be in every value, and a network with bits beyond its prefix are nothing, and are told of.
//!
//! Where it differs from MISP we follow it: MISP has `example.com` itself on a list of host names with `.example.com` on it.

mod entry;
mod list;
mod networks;
mod patterns;
mod subject;
mod words;

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use event::value;

pub use list::{Matching, WarningList};
pub use subject::{Subject, Subjects, Value};

use list::{Entries, MOST_SUBSTRING_BYTES};
use networks::Networks;
use words::{MOST_LISTS, Words};

/// Many lists, asked together: what a look-up costs hardly depends on how many there are.
#[derive(Debug)]
pub struct WarningLists {
    lists: Vec<Arc<WarningList>>,
    words: Words,
    networks: Networks,
    substrings: Substrings,
    /// For each way to match what the lists are about that are matched so: most values need not be tried in every way.
    asked: [Subjects; 5],
}

/// By what they may be in: most are in one of them alone, and a value that is read for ten substrings is read faster than for
/// thousands.
#[derive(Debug)]
struct Substrings {
    hosts: Automaton,
    urls: Automaton,
    mail: Automaton,
    /// Addresses, networks, hashes: only a substring of digits and little else is in one.
    numbers: Automaton,
}

/// Many substrings, for all of which a value is read once.
#[derive(Debug)]
struct Automaton {
    automaton: AhoCorasick,
    /// For each substring its list.
    lists: Vec<u16>,
}

impl WarningLists {
    /// Fails if there are more than 65,535 lists, or together more than 4 MiB of substrings.
    pub fn of(lists: Vec<Arc<WarningList>>) -> Result<WarningLists, String> {
        if lists.len() > MOST_LISTS {
            return Err(format!("there are {} warning lists, and {MOST_LISTS} is the most", lists.len()));
        }
        let mut asked = [Subjects::default(); 5];
        for list in &lists {
            let asked = &mut asked[list.matching as usize];
            *asked = asked.with(list.subjects);
        }
        Ok(WarningLists { words: Words::of(&lists), networks: Networks::of(&lists), substrings: Substrings::of(&lists)?, lists, asked })
    }

    /// Whether any list says something of values of this sort.
    pub fn asks_about(&self, subject: Subject) -> bool {
        self.asked.iter().any(|asked| asked.has(subject))
    }

    /// As they were given.
    pub fn lists(&self) -> &[Arc<WarningList>] {
        &self.lists
    }

    /// The lists that say something of the value: their places in [`WarningLists::lists`], in order, each once. `found` is
    /// overwritten, so that it can serve for a million values.
    pub fn hits<'a>(&self, value: Value<'_>, found: &'a mut Vec<u16>) -> &'a [u16] {
        found.clear();
        if let Some(subject) = value.subject() {
            self.ask(value, &mut Hits { lists: &self.lists, subject, found });
            found.sort_unstable();
        }
        found
    }

    fn ask(&self, value: Value<'_>, hits: &mut Hits<'_>) {
        match value {
            Value::Address(address) => {
                let address = address.to_canonical();
                self.networks.find(address).iter().for_each(|list| hits.add(*list));
                if self.reads_text(hits.subject) {
                    let address = written(address);
                    self.ask_text(&address, hits);
                    self.ask_name(&address, hits);
                }
            }
            Value::Network(network) => {
                self.networks.find_whole(network).into_iter().for_each(|list| hits.add(list));
                if self.reads_text(hits.subject) {
                    self.ask_text(&written(network), hits);
                }
            }
            Value::Host(name) => {
                self.ask_text(name, hits);
                self.ask_host(name, hits);
            }
            Value::Url(url) => {
                self.ask_text(url, hits);
                if let Some(host) = value::url_host(url) {
                    self.ask_host(host, hits);
                }
            }
            Value::Hash(hash) => self.ask_text(hash, hits),
            Value::System(number) => self.ask_text(&written(number), hits),
            Value::Mail(mail) => {
                let mail = in_small_letters(mail);
                self.ask_text(&mail, hits);
                if let Some((_, host)) = mail.rsplit_once('@') {
                    self.ask_host(host, hits);
                }
            }
        }
    }

    /// Whether any list asks more of an address than which network it is in: writing it as text costs more than that.
    fn reads_text(&self, subject: Subject) -> bool {
        [Matching::String, Matching::Substring, Matching::Hostname, Matching::Regex]
            .into_iter()
            .any(|matching| self.asks(matching, subject))
    }

    fn asks(&self, matching: Matching, subject: Subject) -> bool {
        self.asked[matching as usize].has(subject)
    }

    /// All that reads a value as it is written.
    fn ask_text(&self, text: &str, hits: &mut Hits<'_>) {
        if self.asks(Matching::String, hits.subject) {
            self.words.find(&self.lists, text).for_each(|(list, _)| hits.add_if(list, Matching::String));
        }
        if self.asks(Matching::Substring, hits.subject) {
            let substrings = self.substrings.within(hits.subject);
            let found = substrings.automaton.find_overlapping_iter(text);
            found.for_each(|found| hits.add(substrings.lists[found.pattern().as_usize()]));
        }
        if self.asks(Matching::Regex, hits.subject) {
            self.ask_patterns(text, hits);
        }
    }

    fn ask_patterns(&self, text: &str, hits: &mut Hits<'_>) {
        for (number, list) in self.lists.iter().enumerate() {
            if let Entries::Patterns(patterns) = &list.entries
                && list.subjects.has(hits.subject)
                && patterns.is_match(text)
            {
                hits.add(number as u16);
            }
        }
    }

    /// The host, and the names that it is below of. An address is below of none, though it has dots.
    fn ask_host(&self, host: &str, hits: &mut Hits<'_>) {
        self.ask_name(host, hits);
        let is_asked = self.asks(Matching::Hostname, hits.subject);
        if !is_asked || host.ends_with(|end: char| end.is_ascii_digit()) && value::ip(host).is_ok() {
            return;
        }
        let mut rest = host;
        while let Some((_, above)) = rest.split_once('.') {
            self.words.find(&self.lists, above).for_each(|(list, _)| hits.add_if(list, Matching::Hostname));
            rest = above;
        }
    }

    fn ask_name(&self, host: &str, hits: &mut Hits<'_>) {
        if self.asks(Matching::Hostname, hits.subject) {
            let same = self.words.find(&self.lists, host).filter(|(_, entry)| !entry.starts_with('.'));
            same.for_each(|(list, _)| hits.add_if(list, Matching::Hostname));
        }
    }
}

impl Substrings {
    fn of(lists: &[Arc<WarningList>]) -> Result<Substrings, String> {
        let mut all = Vec::new();
        for (number, list) in lists.iter().enumerate() {
            let Entries::Substrings(texts) = &list.entries else { continue };
            let mut texts: Vec<&str> = texts.iter().collect();
            texts.sort_unstable();
            texts.dedup();
            all.extend(texts.into_iter().map(|text| (text, number as u16)));
        }
        if all.iter().map(|(text, _)| text.len()).sum::<usize>() > MOST_SUBSTRING_BYTES {
            return Err(format!("the substrings of all warning lists are more than {} MiB", MOST_SUBSTRING_BYTES >> 20));
        }
        let of = |subject| Automaton::of(all.iter().filter(|(_, list)| lists[usize::from(*list)].subjects.has(subject)));
        let is_in_numbers = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.' | b':' | b'/'));
        Ok(Substrings {
            hosts: of(Subject::Host),
            urls: of(Subject::Url),
            mail: of(Subject::Mail),
            numbers: Automaton::of(all.iter().filter(|(text, _)| is_in_numbers(text))),
        })
    }

    fn within(&self, subject: Subject) -> &Automaton {
        match subject {
            Subject::Host => &self.hosts,
            Subject::Url => &self.urls,
            Subject::Mail => &self.mail,
            _ => &self.numbers,
        }
    }
}

impl Automaton {
    fn of<'a>(substrings: impl Iterator<Item = &'a (&'a str, u16)>) -> Automaton {
        let (texts, lists): (Vec<&str>, Vec<u16>) = substrings.copied().unzip();
        // To look for rare bytes first pays in long texts; these are short, and it would be called again and again.
        let automaton = AhoCorasick::builder().ascii_case_insensitive(true).prefilter(false).build(texts);
        Automaton { automaton: automaton.expect("4 MiB are far from the two billion states that it may have"), lists }
    }
}

/// What has been found of one value.
struct Hits<'a> {
    lists: &'a [Arc<WarningList>],
    subject: Subject,
    found: &'a mut Vec<u16>,
}

impl Hits<'_> {
    /// Counts the list if the value is what it is about.
    fn add(&mut self, list: u16) {
        if self.lists[usize::from(list)].subjects.has(self.subject) && !self.found.contains(&list) {
            self.found.push(list);
        }
    }

    /// Words of lists of values and of names are found together.
    fn add_if(&mut self, list: usize, matching: Matching) {
        if self.lists[list].matching == matching {
            self.add(list as u16);
        }
    }
}

fn written(value: impl Display) -> String {
    // Enough for every network, so that memory is asked for once.
    let mut text = String::with_capacity(48);
    write!(text, "{value}").expect("text can always be written to");
    text
}

fn in_small_letters(mail: &str) -> Cow<'_, str> {
    let is_small = mail.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_small { Cow::Borrowed(mail) } else { Cow::Owned(mail.to_lowercase()) }
}

#[cfg(test)]
mod tests;
