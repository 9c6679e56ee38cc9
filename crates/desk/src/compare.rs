//! What another system made of the same feeds, beside what is stored here: which events both have, what differs in them and why,
//! and what only one has.
//!
//! Both sides are put aside on disk in parts, by what an event is about, so that memory holds one part at a time however many
//! there are. What finds no partner in its part goes into the next round, by something weaker, until nothing is left to go by.

mod explain;
mod matching;
mod record;
mod spill;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use event::Delivers;
use event::time::{self, Micros};
use feed::Catalog;
use serde_json::{Map, Value};

use self::matching::{Matched, match_group};
use self::record::{ROUNDS, Record};
use self::spill::Spill;
use crate::actor::{Action, Actor};
use crate::desk::Desk;
use crate::queries::{Sql, each_batch};

pub use self::explain::{Cause, Explainer};

/// Which feed of ours an event of theirs is of.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By `PROVIDER/NAME`, as whoever compares says it; `-` leaves events out.
    pub said: BTreeMap<String, String>,
    /// By the same, as the program knows it.
    pub known: BTreeMap<String, String>,
}

/// How many of a feed's events there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub there: u64,
    pub here: u64,
    /// Both have them, and they say the same.
    pub same: u64,
    /// Both have them, and something in them differs.
    pub differing: u64,
    pub only_there: u64,
    pub only_here: u64,
}

/// Why something differs, and how often.
#[derive(Clone, Debug)]
pub struct Difference {
    pub feed: String,
    pub cause: Cause,
    /// The field, where it is one; a reject's reason.
    pub what: String,
    pub count: u64,
    /// One of them: what it says there, and here.
    pub there: String,
    pub here: String,
}

#[derive(Debug, Default)]
pub struct Comparison {
    pub feeds: BTreeMap<String, Counts>,
    /// The commonest first, feed by feed.
    pub differences: Vec<Difference>,
    /// Lines that are no events, and the first of them.
    pub unreadable: u64,
    pub first_unreadable: Option<String>,
    /// The span of time that was compared.
    pub span: Option<(Micros, Micros)>,
}

impl Comparison {
    pub fn unexplained(&self) -> u64 {
        self.differences.iter().filter(|difference| !difference.cause.is_explained()).map(|difference| difference.count).sum()
    }
}

/// Two sides on their way.
pub struct Comparing<'a> {
    catalog: &'a Catalog,
    names: &'a Names,
    /// What somebody chose: events outside of it are left out.
    since: Option<Micros>,
    until: Option<Micros>,
    spills: [Spill; 2],
    known: HashMap<(String, String, String), String>,
    /// The span of a feed's events there.
    spans: BTreeMap<String, (Micros, Micros)>,
    comparison: Comparison,
    found: HashMap<(String, Cause, String), Difference>,
}

impl std::fmt::Debug for Comparing<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Comparing {:?}", self.spans)
    }
}

const THERE: usize = 0;
const HERE: usize = 1;

/// As far as the clocks of two zones are apart.
const ZONES: Micros = 14 * 3600 * time::SECOND;

/// Queries of one feed's events.
const MOST_QUERIES: i32 = 100;

/// So many events of one side that are about the same thing are compared with each other.
const MOST_TOGETHER: usize = 200_000;

/// Causes are kept apart by field up to so many.
const MOST_CAUSES: usize = 20_000;

impl<'a> Comparing<'a> {
    pub fn new(catalog: &'a Catalog, names: &'a Names, since: Option<Micros>, until: Option<Micros>) -> Result<Comparing<'a>> {
        Ok(Comparing {
            catalog,
            names,
            since,
            until,
            spills: [Spill::new()?, Spill::new()?],
            known: HashMap::new(),
            spans: BTreeMap::new(),
            comparison: Comparison::default(),
            found: HashMap::new(),
        })
    }

    /// An event of theirs, a line of IntelMQ's JSON.
    pub fn there(&mut self, line: &str) -> Result<()> {
        let Some(mut record) = self.record(line) else { return Ok(()) };
        if self.is_list(&record.feed) {
            // Here an event of a list is of the day on which the list came, whatever time its row states.
            record.at = record.observed.or(record.at);
        }
        if !self.is_meant(&record) {
            return Ok(());
        }
        if let Some(at) = record.at {
            let span = self.spans.entry(record.feed.clone()).or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
        }
        self.comparison.feeds.entry(record.feed.clone()).or_default().there += 1;
        self.spills[THERE].push(&record, 0)
    }

    /// An event of ours in the same form. Feeds that they do not have are left out.
    pub fn here(&mut self, line: &str) -> Result<()> {
        let Some(record) = self.record(line) else { return Ok(()) };
        self.ours(record)
    }

    /// Events of ours, as the store has them.
    pub fn stored(&mut self, batch: &RecordBatch) -> Result<()> {
        let feeds = batch.column_by_name("feed").context("events say their feed")?.as_string::<i32>().clone();
        for row in 0..batch.num_rows() {
            self.ours(Record::of_row(batch, row, feeds.value(row)))?;
        }
        Ok(())
    }

    fn ours(&mut self, record: Record) -> Result<()> {
        if !self.comparison.feeds.contains_key(&record.feed) || !self.is_within(&record, ZONES) {
            return Ok(());
        }
        self.spills[HERE].push(&record, 0)
    }

    /// The feeds that they have and we know, with the first and the last day on which a partner may be.
    fn asks_for(&self) -> Vec<(String, i32, i32)> {
        let known = self.spans.iter().filter(|(feed, _)| self.catalog.feed(feed).is_some());
        known.map(|(feed, (first, last))| (feed.clone(), time::day(*first - ZONES), time::day(*last + ZONES))).collect()
    }

    fn record(&mut self, line: &str) -> Option<Record> {
        if line.trim().is_empty() {
            return None;
        }
        let event: Map<String, Value> = match serde_json::from_str(line) {
            Ok(event) => event,
            Err(wrong) => {
                self.comparison.unreadable += 1;
                self.comparison.first_unreadable.get_or_insert_with(|| wrong.to_string());
                return None;
            }
        };
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let said = (text("feed.provider"), text("feed.name"), text("feed.url"));
        let feed = match self.known.get(&said) {
            Some(feed) => feed.clone(),
            None => {
                let feed = self.feed_of(&said.0, &said.1, &said.2);
                self.known.insert(said, feed.clone());
                feed
            }
        };
        (feed != "-").then(|| Record::of_json(event, feed))
    }

    /// Our feed for theirs; their own name where we have none.
    fn feed_of(&self, provider: &str, name: &str, url: &str) -> String {
        let both = format!("{provider}/{name}");
        if let Some(feed) = self.names.said.get(&both) {
            return feed.clone();
        }
        let by_name = |feed: &&feed::Feed| feed.provider_name.eq_ignore_ascii_case(provider) && feed.name.eq_ignore_ascii_case(name);
        let known = self.names.known.get(&both).cloned();
        let ours = || self.catalog.feeds().find(by_name).map(|feed| feed.id.clone());
        let fetched = || crate::botnet::by_address(self.catalog, url).map(|feed| feed.id.clone());
        known.or_else(ours).or_else(fetched).unwrap_or(both)
    }

    /// Whether somebody chose its time; by days where ours counts by days.
    fn is_meant(&self, record: &Record) -> bool {
        let Some(at) = record.at else { return true };
        match self.is_list(&record.feed) {
            true => {
                let day = time::day(at);
                self.since.is_none_or(|since| day >= time::day(since)) && self.until.is_none_or(|until| day <= time::day(until - 1))
            }
            false => self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until),
        }
    }

    /// Whether it lies between their first and last, or so far beside it; by days where ours counts by days.
    fn is_within(&self, record: &Record, beside: Micros) -> bool {
        let Some(at) = record.at else { return true };
        let Some((first, last)) = self.spans.get(&record.feed).copied() else { return self.is_meant(record) };
        match self.is_list(&record.feed) {
            true => (time::day(first)..=time::day(last)).contains(&time::day(at)),
            false => (first - beside..=last + beside).contains(&at),
        }
    }

    fn is_list(&self, feed: &str) -> bool {
        self.catalog.feed(feed).is_some_and(|feed| feed.delivers == Delivers::List)
    }

    /// Compares what both sides have; what is known beside the events explains what is left.
    pub fn finish(mut self, explainer: &mut Explainer<'_>) -> Result<Comparison> {
        for (round, _) in ROUNDS.iter().enumerate() {
            let mut next = [Spill::new()?, Spill::new()?];
            let before = std::mem::replace(&mut self.spills, [Spill::new()?, Spill::new()?]);
            let [mut theirs, mut ours] = before;
            for part in 0..spill::PARTS {
                let mut groups: BTreeMap<(String, String), [Vec<Record>; 2]> = BTreeMap::new();
                for (side, spill) in [(THERE, &mut theirs), (HERE, &mut ours)] {
                    spill.read(part, |key, record| {
                        // Without anything to go by there is nobody to be a partner; a list's time is nothing to go by.
                        if key.is_empty() || round + 1 == ROUNDS.len() && self.is_list(&record.feed) {
                            return next[side].push(&record, round + 1);
                        }
                        let group = &mut groups.entry((record.feed.clone(), key)).or_default()[side];
                        if group.len() == MOST_TOGETHER {
                            return next[side].push(&record, round + 1);
                        }
                        group.push(record);
                        Ok(())
                    })?;
                }
                for ((feed, _), sides) in groups {
                    let matched = match_group(sides, round, self.is_list(&feed), explainer);
                    self.count(&feed, matched, round, &mut next)?;
                }
            }
            self.spills = next;
        }
        self.leftovers(explainer)?;
        for counts in self.comparison.feeds.values_mut() {
            counts.here = counts.same + counts.differing + counts.only_here;
        }
        let mut differences: Vec<Difference> = self.found.into_values().collect();
        differences.sort_by(|one, other| {
            (&one.feed, one.cause.is_explained(), std::cmp::Reverse(one.count), one.cause, &one.what).cmp(&(
                &other.feed,
                other.cause.is_explained(),
                std::cmp::Reverse(other.count),
                other.cause,
                &other.what,
            ))
        });
        self.comparison.differences = differences;
        let first = self.spans.values().map(|(first, _)| *first).min();
        self.comparison.span = first.zip(self.spans.values().map(|(_, last)| *last).max());
        Ok(self.comparison)
    }

    fn count(&mut self, feed: &str, matched: Matched, round: usize, next: &mut [Spill; 2]) -> Result<()> {
        let counts = self.comparison.feeds.entry(feed.to_owned()).or_default();
        counts.same += matched.same;
        counts.differing += matched.differing;
        counts.only_there += matched.explained[THERE];
        counts.only_here += matched.explained[HERE];
        for (cause, what, there, here) in matched.differences {
            self.add(feed, cause, &what, &there, &here);
        }
        for (side, records) in matched.left.into_iter().enumerate() {
            for record in records {
                next[side].push(&record, round + 1)?;
            }
        }
        Ok(())
    }

    fn leftovers(&mut self, explainer: &mut Explainer<'_>) -> Result<()> {
        let [mut theirs, mut ours] = std::mem::replace(&mut self.spills, [Spill::new()?, Spill::new()?]);
        let mut subjects = BTreeSet::new();
        for part in 0..spill::PARTS {
            theirs.read(part, |_, record| {
                explainer.wants(&record, &mut subjects);
                Ok(())
            })?;
        }
        explainer.look_for(&subjects);
        for part in 0..spill::PARTS {
            theirs.read(part, |_, record| {
                let (cause, what) = explainer.only_there(&record);
                self.comparison.feeds.entry(record.feed.clone()).or_default().only_there += 1;
                self.add(&record.feed, cause, &what, &record.shown(), "");
                Ok(())
            })?;
            ours.read(part, |_, record| {
                // What lies beside the span was there to be a partner, and only for that.
                if self.is_within(&record, 0) {
                    self.comparison.feeds.entry(record.feed.clone()).or_default().only_here += 1;
                    self.add(&record.feed, Cause::OnlyHere, "", "", &record.shown());
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn add(&mut self, feed: &str, cause: Cause, what: &str, there: &str, here: &str) {
        let what = if self.found.len() < MOST_CAUSES { what } else { "others" };
        let key = (feed.to_owned(), cause, what.to_owned());
        let difference = self.found.entry(key).or_insert_with(|| Difference {
            feed: feed.to_owned(),
            cause,
            what: what.to_owned(),
            count: 0,
            there: there.to_owned(),
            here: here.to_owned(),
        });
        difference.count += 1;
    }
}

impl Desk {
    /// Beside what `comparing` was given of theirs, what the store has of the same feeds and days.
    pub async fn compare(&self, actor: &Actor, mut comparing: Comparing<'_>) -> Result<Comparison> {
        actor.require(Action::Query)?;
        let mut explainer = Explainer::new(&self.catalog, &self.tables);
        for (feed, first, last) in comparing.asks_for() {
            let feed = format!("'{}'", feed.replace('\'', "''"));
            // Some days at a time, so that each answer keeps within a query's limits.
            let step = ((last - first) / MOST_QUERIES + 1).max(1);
            for day in (first..=last).step_by(step as usize) {
                let (from, to) = (time::day_name(day), time::day_name(day.saturating_add(step).min(last + 1)));
                let sql = format!("SELECT * FROM events WHERE feed = {feed} AND time_source >= '{from}' AND time_source < '{to}'");
                self.each(actor, &sql, |batch| comparing.stored(&batch)).await?;
            }
            // When rows were taken in is not when they happened: an older row may come late.
            let sql = format!("SELECT feed, time FROM deliveries WHERE feed = {feed}");
            self.each(actor, &sql, |batch| {
                let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
                let feeds = batch.column(0).as_string::<i32>();
                (0..batch.num_rows()).for_each(|row| explainer.delivered(feeds.value(row), times.value(row)));
                Ok(())
            })
            .await?;
            let (from, to) = (time::day_name(first - 1), time::day_name(last + 2));
            let sql = format!("SELECT feed, line, reason, raw FROM rejects WHERE feed = {feed} AND time >= '{from}' AND time < '{to}'");
            self.each(actor, &sql, |batch| explainer.rejects(&batch)).await?;
        }
        comparing.finish(&mut explainer)
    }

    async fn each(&self, actor: &Actor, sql: &str, each: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        each_batch(self.query(actor, &Sql { text: sql, rows: None }).await?, each).await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use enrich::Dated;
    use feed::catalog::File;

    use super::*;

    const LIST: &str = r#""feed.provider": "CINS Army", "feed.name": "CINS Army List", "classification.type": "blacklist""#;
    const ROWS: &str = r#""feed.provider": "IntelMQ", "feed.name": "Events", "classification.type": "scanner""#;

    fn catalog() -> Catalog {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let files = crate::desk::files_in(&root.join("feeds")).expect("part of the project");
        let wanted = files.into_iter().filter(|file| file.path.starts_with("cins/") || file.path.starts_with("intelmq/"));
        Catalog::read(&wanted.map(|file| File { path: file.path, text: file.text }).collect::<Vec<_>>())
    }

    /// Reasons and rows of rejects.
    fn compared(there: &[String], here: &[String], rejects: &[(&str, &str)]) -> Comparison {
        let (catalog, tables) = (catalog(), Dated::of(Vec::<enrich::Part>::new()));
        let names = Names::default();
        let names = Names { known: [("CINS Army/CINS Army List".to_owned(), "cins/army".to_owned())].into(), ..names };
        let mut comparing = Comparing::new(&catalog, &names, None, None).expect("room");
        there.iter().for_each(|line| comparing.there(line).expect("put aside"));
        here.iter().for_each(|line| comparing.here(line).expect("put aside"));
        let mut explainer = Explainer::new(&catalog, &tables);
        let texts = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
        let lines: Vec<i64> = (1..).take(rejects.len()).collect();
        let batch = RecordBatch::try_from_iter([
            ("feed", texts(vec!["intelmq/events"; rejects.len()])),
            ("line", Arc::new(Int64Array::from(lines)) as ArrayRef),
            ("reason", texts(rejects.iter().map(|(reason, _)| *reason).collect())),
            ("raw", texts(rejects.iter().map(|(_, raw)| *raw).collect())),
        ]);
        explainer.rejects(&batch.expect("a table")).expect("kept");
        comparing.finish(&mut explainer).expect("compared")
    }

    #[track_caller]
    fn check(there: &[String], here: &[String], expected: &[&str]) {
        check_with(there, here, &[], expected);
    }

    #[track_caller]
    fn check_with(there: &[String], here: &[String], rejects: &[(&str, &str)], expected: &[&str]) {
        let comparison = compared(there, here, rejects);
        let said = |row: &Difference| format!("{} {} {}", row.count, row.cause, row.what).trim_end().to_owned();
        let mut found: Vec<String> = comparison.differences.iter().map(said).collect();
        found.sort();
        assert_eq!(found, expected);
    }

    fn at(base: &str, time: &str, rest: &str) -> String {
        format!(r#"{{{base}, "time.source": "{time}", "time.observation": "{time}", {rest}}}"#)
    }

    fn listed(days: std::ops::RangeInclusive<u32>, time: &str) -> Vec<String> {
        days.map(|day| at(LIST, &format!("2026-03-{day:02}T{time}Z"), r#""source.ip": "192.0.2.1""#)).collect()
    }

    #[test]
    fn what_is_said_twice_there_and_never_here_is_missing() {
        // A list that was polled every hour.
        let polled: Vec<String> = (0..24).flat_map(|hour| listed(3..=3, &format!("{hour:02}:10:00"))).collect();
        check(&polled, &[], &["1 only there", "23 once a day here"]);
        check(&polled, &listed(3..=3, "00:00:00"), &["1 day of the list time.source", "23 once a day here"]);
        // Two observations of one moment.
        let twice = vec![at(ROWS, "2026-03-03T06:00:00Z", r#""source.ip": "192.0.2.1""#); 2];
        check(&twice, &[], &["1 only there", "1 said twice there"]);
        check(&twice, &twice[..1], &["1 said twice there"]);
        // On two days, and on one day beside another: there only once, as it deduplicates.
        let other = at(LIST, "2026-03-01T06:00:00Z", r#""source.ip": "192.0.2.9""#);
        let last = at(LIST, "2026-03-09T06:00:00Z", r#""source.ip": "192.0.2.9""#);
        let both = [other.clone(), last.clone()];
        check(&both, &[listed(4..=5, "00:00:00"), both.to_vec()].concat(), &["2 only here"]);
        let there = [vec![other.clone(), last.clone()], listed(4..=4, "06:00:00")].concat();
        let here = [listed(4..=5, "00:00:00"), both.to_vec()].concat();
        check(&there, &here, &["1 day of the list time.source", "1 each day here"]);
    }

    #[test]
    fn days_that_are_missing_of_a_list_are_not_explained_by_other_days() {
        let (there, here) = (listed(1..=30, "06:10:00"), listed(16..=30, "00:00:00"));
        check(&there, &here, &["15 day of the list time.source", "15 only there"]);
        assert_eq!(compared(&there, &here, &[]).unexplained(), 15);
    }

    #[test]
    fn many_of_one_moment_find_their_partners() {
        let of = |status: &str, ports: &mut dyn Iterator<Item = u32>| -> Vec<String> {
            let rest = |port| format!(r#""source.ip": "192.0.2.1", "source.port": {port}, "status": "{status}""#);
            ports.map(|port| at(ROWS, "2026-03-03T06:00:00Z", &rest(port))).collect()
        };
        check(&of("up", &mut (1..=500)), &of("down", &mut (1..=500).rev()), &["500 differs status"]);
        // Nothing but what differs tells them apart.
        let of = |status: &str| -> Vec<String> {
            let rest = |number| format!(r#""source.ip": "192.0.2.1", "extra.number": {number}, "status": "{status}""#);
            (1000..1500).map(|number| at(ROWS, "2026-03-03T06:00:00Z", &rest(number))).collect()
        };
        check(&of("up"), &of("down"), &["500 differs status"]);
    }

    #[test]
    fn a_reject_explains_one_event_that_is_about_what_it_says() {
        let event = |ip: &str| at(ROWS, "2026-03-03T06:00:00Z", &format!(r#""source.ip": "{ip}", "destination.ip": "198.51.100.1""#));
        let there = [event("192.0.2.1"), event("192.0.2.2"), event("192.0.2.1").replace("06:00", "07:00")];
        let rejects = [("\"99999\" not a port", "192.0.2.1,99999,198.51.100.1")];
        check_with(&there, &[], &rejects, &["1 rejected here \"99999\" not a port, such as line 1", "2 only there"]);
        let nowhere = [at(ROWS, "2026-03-03T06:00:00Z", r#""status": "up""#), at(ROWS, "2026-03-03T07:00:00Z", r#""status": "up""#)];
        check_with(&nowhere, &[], &rejects, &["2 only there"]);
        let rejects = [("\"x\" gives no source.url or source.ip", "x,up")];
        check_with(
            &nowhere,
            &[],
            &rejects,
            &["1 only there", "1 without a place there \"x\" gives no source.url or source.ip, such as line 1"],
        );
    }

    #[test]
    fn a_cause_asks_what_the_value_is() {
        let pair = |there: &str, here: &str, expected: &[&str]| {
            check(&[at(ROWS, "2026-03-03T06:00:00Z", there)], &[at(ROWS, "2026-03-03T06:00:00Z", here)], expected);
        };
        let url = r#""source.url": "http://user@bad.example:8080/x?y=1""#;
        pair(
            &format!(r#"{url}, "protocol.application": "http", "source.port": 8080, "source.urlpath": "/x""#),
            url,
            &["1 out of the URL protocol.application", "1 out of the URL source.port", "1 out of the URL source.urlpath"],
        );
        pair(
            &format!(r#"{url}, "protocol.application": "ssh", "source.port": 22, "source.account": "victim""#),
            url,
            &["1 field only there protocol.application", "1 field only there source.account", "1 field only there source.port"],
        );
        let host = r#""source.fqdn": "bad.example""#;
        pair(&format!(r#"{host}, "source.ip": "192.0.2.1""#), host, &["1 looked up there source.ip"]);
        pair(&format!(r#"{host}, "destination.ip": "192.0.2.1""#), host, &["1 field only there destination.ip"]);
        let kept = |key: &str, text: &str| format!(r#"{host}, "extra.{key}": "{text}""#);
        pair(&format!(r#"{host}, "status": "up""#), &kept("link", "up"), &["1 field only there status", "1 more in extra here extra.link"]);
        pair(
            &format!(r#"{host}, "status": "up""#),
            &kept("status", "up"),
            &["1 kept in extra status", "1 more in extra here extra.status"],
        );
        pair(
            &format!(r#"{host}, "status": "open""#),
            &kept("link", "open"),
            &["1 kept in extra status", "1 more in extra here extra.link"],
        );
    }

    #[test]
    fn what_lies_beside_the_span_is_a_partner_and_not_missing_there() {
        let event = |time: &str, ip: &str| format!(r#"{{{ROWS}, "time.source": "{time}", "source.ip": "{ip}"}}"#);
        let there = [event("2026-03-03T06:00:00Z", "192.0.2.1"), event("2026-03-03T07:00:00Z", "192.0.2.2")];
        let here = [
            event("2026-03-02T22:00:00Z", "192.0.2.1"),
            event("2026-03-02T23:00:00Z", "192.0.2.2"),
            event("2026-03-03T01:00:00Z", "192.0.2.3"),
            event("2026-03-03T06:30:00Z", "192.0.2.4"),
        ];
        check(&there, &here, &["1 only here", "2 hours apart time.source"]);
        assert_eq!(compared(&there, &here, &[]).feeds["intelmq/events"].here, 3);
    }
}
