//! Why events of the two systems differ: causes that are known, and how each is told.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use anyhow::Result;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use enrich::Dated;
use event::taxonomy;
use event::time::{self, Micros};
use feed::Catalog;

use super::record::{Record, canonical};

/// Makes the causes: a name, whether it explains, and what it says.
macro_rules! causes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $explained:literal, $about:literal;)*) => {
        /// Why something differs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Cause { $($(#[$doc])* $variant,)* }

        impl Cause {
            pub fn name(self) -> &'static str {
                match self { $(Cause::$variant => $name,)* }
            }

            /// Whether nobody has to look at it.
            pub fn is_explained(self) -> bool {
                match self { $(Cause::$variant => $explained,)* }
            }

            /// What it says, as a sentence.
            pub fn about(self) -> &'static str {
                match self { $(Cause::$variant => $about,)* }
            }
        }
    };
}

causes! {
    OnlyThere = "only there", false, "Nothing here is like it, and no reject either.";
    OnlyHere = "only here", false, "Nothing there is like it: lost, filtered, or deduplicated before it was written.";
    NoFeed = "no feed here", false, "No feed here is known for it: say which with --map.";
    Differs = "differs", false, "Both say something, and not the same.";
    FieldThere = "field only there", false, "Only their event says it.";
    FieldHere = "field only here", false, "Only our event says it.";
    Zone = "hours apart", false, "The times differ by whole quarters of an hour: one side has another time zone.";
    Rejected = "rejected here", true, "The row was read, and rejected for this reason: `waglan rejects list` shows it.";
    NoPlace = "without a place there", true, "It says neither address nor name nor URL: here such a row is a reject, for lack of what somebody could look at.";
    NotDelivered = "not delivered here", true, "The feed was not taken in here on that day.";
    SaidTwice = "said twice there", true, "The same event more than once: here what says the same is stored once.";
    OnceADay = "once a day here", true, "The feed is a list: here an event counts once per day.";
    EachDay = "each day here", true, "The feed is a list: here it counts on each day on which it is listed.";
    ListDay = "day of the list", true, "The feed is a list: here its time is midnight of the delivery's day.";
    Observed = "time of receipt", true, "The row states no time, or none that can be: it is when it was received, on either side.";
    Spelling = "spelling", true, "The same value, written otherwise: defanged, in capitals, not in A-labels, without scheme.";
    Renamed = "type renamed", true, "The same type by another of its names.";
    Family = "family's name", true, "The same family of malware, by the tables of names here.";
    Enrichment = "enrichment", true, "Place, network, suffix or contact, which either side looks up in tables of its own.";
    FromUrl = "out of the URL", true, "Taken out of the URL or the name on one side only.";
    LookedUp = "looked up there", true, "The address that the name had when it was looked up there.";
    Default = "by the table", true, "What the feed's table here says of all its events: severity, label, identifier.";
    InExtra = "kept in extra", true, "The same value stands in extra here: no field wants it, or its field refused it.";
    Stated = "stated", true, "Our tables say otherwise than the feed; what it said is in extra as stated.FIELD.";
    MoreHere = "more in extra here", true, "A column that was not kept there.";
    Elsewhere = "in another field", true, "The same value stands in another field or key here.";
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// Something that differs between two partners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) cause: Cause,
    pub(super) field: String,
    pub(super) there: String,
    pub(super) here: String,
}

/// What is known beside the events.
pub struct Explainer<'a> {
    catalog: &'a Catalog,
    tables: &'a Dated,
    /// Days on which a feed was taken in.
    delivered: HashSet<(String, i32)>,
    rejects: Vec<Reject>,
    /// Subjects of events that have no partner, and the rejects that have them, by their places.
    rejected: HashMap<(String, String), Vec<usize>>,
    /// Rejects for want of anything to look at, which nothing names.
    placeless: HashMap<String, Vec<usize>>,
}

impl fmt::Debug for Explainer<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Explainer with {} rejects", self.rejects.len())
    }
}

/// A reject's row in words, by which it is found.
struct Reject {
    feed: String,
    reason: String,
    line: i64,
    raw: String,
    /// Whether it explains an event already: a row is one event.
    is_taken: bool,
}

/// Rejects are kept in memory, up to so many bytes of their rows.
const MOST_REJECTS: usize = 64 << 20;

impl<'a> Explainer<'a> {
    pub fn new(catalog: &'a Catalog, tables: &'a Dated) -> Explainer<'a> {
        Explainer { catalog, tables, delivered: HashSet::new(), rejects: Vec::new(), rejected: HashMap::new(), placeless: HashMap::new() }
    }

    pub(super) fn delivered(&mut self, feed: &str, at: Micros) {
        self.delivered.insert((feed.to_owned(), time::day(at)));
    }

    pub(super) fn rejects(&mut self, batch: &RecordBatch) -> Result<()> {
        let text = |column: usize| batch.column(column).as_string::<i32>();
        let (feeds, lines, reasons, raws) = (text(0), batch.column(1).as_primitive::<Int64Type>(), text(2), text(3));
        let mut held: usize = self.rejects.iter().map(|reject| reject.raw.len()).sum();
        for row in 0..batch.num_rows() {
            held += raws.value(row).len();
            if held > MOST_REJECTS {
                break;
            }
            let text = |column: &arrow::array::StringArray| if column.is_null(row) { String::new() } else { column.value(row).to_owned() };
            let (feed, reason, raw) = (text(feeds), text(reasons), text(raws));
            self.rejects.push(Reject { feed, reason, line: lines.value(row), raw, is_taken: false });
        }
        Ok(())
    }

    /// What a reject would have in it, of an event that has no partner.
    pub(super) fn wants(&self, record: &Record, subjects: &mut BTreeSet<(String, String)>) {
        const MOST: usize = 1_000_000;
        if !self.rejects.is_empty() && subjects.len() < MOST {
            subjects.extend(words_of(record).into_iter().map(|word| (record.feed.clone(), word)));
        }
    }

    pub(super) fn look_for(&mut self, subjects: &BTreeSet<(String, String)>) {
        for (place, reject) in self.rejects.iter().enumerate().rev() {
            // As a reading says it of a row without any of the fields that can be an asset.
            if reject.reason.starts_with("no ") || reject.reason.contains("\" gives no ") {
                self.placeless.entry(reject.feed.clone()).or_default().push(place);
            }
            let pieces = reject
                .raw
                .split(|sign: char| sign.is_whitespace() || [',', ';', '"', '|', '\'', '<', '>', '{', '}', '[', ']'].contains(&sign));
            for piece in pieces.filter(|piece| piece.len() > 3) {
                let key = (reject.feed.clone(), piece.to_lowercase());
                if subjects.contains(&key) {
                    self.rejected.entry(key).or_default().push(place);
                }
            }
        }
    }

    /// A reject that has it and explains no other event.
    fn take(&mut self, record: &Record) -> Option<(Cause, &Reject)> {
        let rejects = &mut self.rejects;
        let mut free = |places: &mut Vec<usize>| {
            std::iter::from_fn(|| places.pop()).find(|place| !std::mem::replace(&mut rejects[*place].is_taken, true))
        };
        let words = words_of(record);
        let (cause, place) = if words.is_empty() {
            (Cause::NoPlace, self.placeless.get_mut(&record.feed).and_then(free))
        } else {
            let mut of_word = |word| self.rejected.get_mut(&(record.feed.clone(), word)).and_then(&mut free);
            (Cause::Rejected, words.into_iter().find_map(&mut of_word))
        };
        Some((cause, &self.rejects[place?]))
    }

    /// Why there is nothing like it here.
    pub(super) fn only_there(&mut self, record: &Record) -> (Cause, String) {
        if self.catalog.feed(&record.feed).is_none() {
            return (Cause::NoFeed, String::new());
        }
        if let Some((cause, reject)) = self.take(record) {
            return (cause, format!("{}, such as line {}", reject.reason, reject.line));
        }
        let day = record.observed.or(record.at).map(time::day);
        let was_delivered = |day: i32| [day - 1, day, day + 1].iter().any(|day| self.delivered.contains(&(record.feed.clone(), *day)));
        match day {
            Some(day) if !self.delivered.is_empty() && !was_delivered(day) => (Cause::NotDelivered, time::day_name(day)),
            _ => (Cause::OnlyThere, String::new()),
        }
    }

    /// All that differs between two events, with the cause of each.
    pub(super) fn differences(&self, there: &Record, here: &Record, is_list: bool) -> Vec<Found> {
        let mut found = Vec::new();
        if let Some(cause) = times(there, here, is_list) {
            let said = |time: Option<Micros>| time.map(time::iso).unwrap_or_default();
            found.push(Found { cause, field: "time.source".into(), there: said(there.said.or(there.at)), here: said(here.at) });
        }
        for (name, text) in &there.fields {
            let other = here.get(name);
            if other != Some(text)
                && let Some(cause) = self.field(name, Some(text), other, there, here)
            {
                found.push(Found { cause, field: name.clone(), there: text.clone(), here: other.unwrap_or_default().to_owned() });
            }
        }
        for (name, text) in here.fields.iter().filter(|(name, _)| !there.fields.contains_key(*name)) {
            if let Some(cause) = self.field(name, None, Some(text), there, here) {
                found.push(Found { cause, field: name.clone(), there: String::new(), here: text.clone() });
            }
        }
        found
    }

    /// Why a field differs; nothing where it says the same.
    fn field(&self, name: &str, one: Option<&str>, other: Option<&str>, there: &Record, here: &Record) -> Option<Cause> {
        let last = name.rsplit_once("source.").or_else(|| name.rsplit_once("destination.")).map_or(name, |(_, last)| last);
        if let (Some(one), Some(other)) = (one, other) {
            return self.both(name, last, one, other, here);
        }
        if ENRICHED.iter().any(|field| last.starts_with(field)) && !name.starts_with("extra.") {
            return Some(Cause::Enrichment);
        }
        let is_of_url = |text: &str| [there, here].iter().any(|record| of_url(record, name, last, &canonical(name, text)));
        match (one, other) {
            (Some(text), None) => {
                let value = canonical(name, text);
                let in_extra = |key: &str| here.get(key).is_some_and(|kept| kept == text || canonical(name, kept) == value);
                if !name.starts_with("extra.") && is_in_extra(here, name, text, &value) {
                    return Some(Cause::InExtra);
                }
                if in_extra(&format!("extra.stated.{name}")) {
                    return Some(Cause::Stated);
                }
                if is_of_url(text) {
                    return Some(Cause::FromUrl);
                }
                // Of the same side: a host's name says nothing of where it led to.
                if last == "ip" && has_name(there, name.trim_end_matches("ip")) {
                    return Some(Cause::LookedUp);
                }
                // Under another name, and no common word.
                let elsewhere = text.len() > 3 && here.fields.values().any(|kept| kept.eq_ignore_ascii_case(text));
                Some(if elsewhere { Cause::Elsewhere } else { Cause::FieldThere })
            }
            (None, Some(text)) => {
                if name.starts_with("extra.stated.") {
                    return Some(Cause::Stated);
                }
                if name == "extra.time_stated" {
                    return Some(Cause::Observed);
                }
                if name.starts_with("extra.") {
                    return Some(Cause::MoreHere);
                }
                if ["severity", "tlp", "classification.identifier", "classification.taxonomy"].contains(&name)
                    || self.is_constant(here, name, text)
                {
                    return Some(Cause::Default);
                }
                if is_of_url(text) {
                    return Some(Cause::FromUrl);
                }
                let elsewhere = text.len() > 3 && there.fields.values().any(|kept| kept.eq_ignore_ascii_case(text));
                Some(if elsewhere { Cause::Elsewhere } else { Cause::FieldHere })
            }
            _ => None,
        }
    }

    fn both(&self, name: &str, last: &str, one: &str, other: &str, here: &Record) -> Option<Cause> {
        if name == "classification.type"
            && let (Some(one), Some(other)) = (taxonomy::classification(one), taxonomy::classification(other))
            && one.name == other.name
        {
            return Some(Cause::Renamed);
        }
        let value = canonical(name, one);
        if value == canonical(name, other) {
            // A label's case and a number's form say nothing.
            let trivial = name == "tlp" || one.parse::<f64>().is_ok() || ["true", "false"].contains(&other);
            return (!trivial).then_some(Cause::Spelling);
        }
        if name == "malware.name" {
            let tables = self.tables.on(here.at.map_or(0, time::day));
            let lower = one.to_lowercase();
            if tables.family(&lower) == Some(other) {
                return Some(Cause::Family);
            }
        }
        if here.get(&format!("extra.stated.{name}")).is_some_and(|stated| canonical(name, stated) == value) {
            return Some(Cause::Stated);
        }
        if ENRICHED.iter().any(|field| last.starts_with(field)) && !name.starts_with("extra.") {
            return Some(Cause::Enrichment);
        }
        if is_in_extra(here, name, one, &value) {
            return Some(Cause::InExtra);
        }
        Some(Cause::Differs)
    }

    /// Whether the feed's table says it of all its events.
    fn is_constant(&self, here: &Record, name: &str, text: &str) -> bool {
        let feed = self.catalog.feed(&here.feed);
        feed.is_some_and(|feed| feed.always.iter().any(|(field, value)| field.name() == name && canonical(name, value) == text))
    }
}

/// What either side fills by tables of its own.
const ENRICHED: [&str; 10] =
    ["geolocation.", "asn", "as_name", "network", "registry", "allocated", "domain_suffix", "reverse_dns", "abuse_contact", "tor_node"];

/// Whether a URL of the record's gives this field of the same side this value.
fn of_url(record: &Record, name: &str, last: &str, value: &str) -> bool {
    let sides: &[&str] = match name.split_once('.') {
        Some(("source", _)) => &["source.url"],
        Some(("destination", _)) => &["destination.url"],
        _ => &["source.url", "destination.url"],
    };
    sides.iter().filter_map(|side| Some(canonical(side, record.get(side)?))).any(|url| {
        let Some((scheme, rest)) = url.split_once("://") else { return false };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        match last {
            "fqdn" | "ip" => event::value::url_host(&url) == Some(value),
            "port" => {
                let usual = || PORTS.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port);
                let stated = server.rsplit_once(':').map(|(_, port)| port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
                stated.or_else(usual) == Some(value)
            }
            "urlpath" => path == value || path.split(['?', '#']).next() == Some(value),
            "account" => login == value || login.split(':').next().is_some_and(|user| !user.is_empty() && user == value),
            "protocol.application" => scheme.eq_ignore_ascii_case(value),
            "protocol.transport" => value == "tcp" && PORTS.iter().any(|(name, _)| *name == scheme),
            _ => false,
        }
    })
}

/// What is spoken at which port, where a URL does not say it.
const PORTS: [(&str, &str); 4] = [("http", "80"), ("https", "443"), ("ftp", "21"), ("ssh", "22")];

/// Whether a name stands on this side that somebody can have looked up.
fn has_name(record: &Record, side: &str) -> bool {
    let url = || record.get(&format!("{side}url")).map(|url| canonical("source.url", url));
    let of_url = || url().and_then(|url| event::value::url_host(&url).map(|host| host.parse::<std::net::IpAddr>().is_err()));
    record.get(&format!("{side}fqdn")).is_some() || of_url().unwrap_or(false)
}

/// Whether the value stands in extra: under any key where it says enough to be known again, else under the field's own name.
fn is_in_extra(here: &Record, name: &str, text: &str, value: &str) -> bool {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let is_kept = |key: &str, kept: &str| {
        let is_told = text.chars().count() > 3 || last(key) == last(name);
        key.starts_with("extra.") && key != name && is_told && (kept == text || kept == value)
    };
    here.fields.iter().any(|(key, kept)| is_kept(key, kept))
}

/// Why the times differ, if they do.
fn times(there: &Record, here: &Record, is_list: bool) -> Option<Cause> {
    let (one, other) = (there.at?, here.at?);
    const QUARTER: Micros = 15 * 60 * 1_000_000;
    const SECOND: Micros = 1_000_000;
    let apart = (one - other).abs();
    if apart < SECOND {
        return None;
    }
    if is_list {
        // Which day it is listed on is what a list says.
        return Some(if time::day(one) == time::day(other) { Cause::ListDay } else { Cause::Differs });
    }
    let received = |record: &Record| record.observed.is_some_and(|observed| record.at == Some(observed));
    if received(there) || received(here) || here.get("extra.time_stated").is_some() {
        return Some(Cause::Observed);
    }
    Some(if apart % QUARTER == 0 && apart <= 56 * QUARTER { Cause::Zone } else { Cause::Differs })
}

/// By what a reject's row would be known: what the event is about, as it stands there and as we would write it.
fn words_of(record: &Record) -> Vec<String> {
    let Some((name, text)) = record.about() else { return Vec::new() };
    let mut words = vec![text.to_lowercase(), canonical(name, text).to_lowercase()];
    words.dedup();
    words
}
