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
use futures::StreamExt;
use serde_json::{Map, Value};

use self::explain::Explainer;
use self::matching::{Matched, match_group};
use self::record::{ROUNDS, Record};
use self::spill::Spill;
use crate::actor::{Action, Actor};
use crate::desk::Desk;
use crate::queries::Sql;

pub use self::explain::Cause;

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

/// Queries of one feed's events.
const MOST_QUERIES: i32 = 100;

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
        if !self.is_meant(&record) || !self.is_within(&record) {
            return Ok(());
        }
        let Some(counts) = self.comparison.feeds.get_mut(&record.feed) else { return Ok(()) };
        counts.here += 1;
        self.spills[HERE].push(&record, 0)
    }

    /// The feeds that they have and we know, with the first and the last day of their events.
    fn asks_for(&self) -> Vec<(String, i32, i32)> {
        let known = self.spans.iter().filter(|(feed, _)| self.catalog.feed(feed).is_some());
        known.map(|(feed, (first, last))| (feed.clone(), time::day(*first), time::day(*last))).collect()
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

    fn is_meant(&self, record: &Record) -> bool {
        let Some(at) = record.at else { return true };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    /// Whether it lies between their first and last; by days where ours counts by days.
    fn is_within(&self, record: &Record) -> bool {
        let (Some(at), Some((first, last))) = (record.at, self.spans.get(&record.feed).copied()) else { return true };
        match self.is_list(&record.feed) {
            true => (time::day(first)..=time::day(last)).contains(&time::day(at)),
            false => (first..=last).contains(&at),
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
                    spill.read(part, |key, record| groups.entry((record.feed.clone(), key)).or_default()[side].push(record))?;
                }
                for ((feed, key), sides) in groups {
                    // Without anything to go by there is nobody to be a partner.
                    let matched =
                        if key.is_empty() { Matched::nobody(sides) } else { match_group(sides, round, self.is_list(&feed), explainer) };
                    self.count(&feed, matched, round, &mut next)?;
                }
            }
            self.spills = next;
        }
        self.leftovers(explainer)?;
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
        let mut found = Vec::new();
        let mut subjects = BTreeSet::new();
        for part in 0..spill::PARTS {
            theirs.read(part, |_, record| explainer.wants(&record, &mut subjects))?;
        }
        explainer.look_for(subjects);
        for part in 0..spill::PARTS {
            theirs.read(part, |_, record| {
                let (cause, what) = explainer.only_there(&record);
                found.push((record.feed.clone(), cause, what, record.shown(), String::new(), THERE));
            })?;
            ours.read(part, |_, record| {
                found.push((record.feed.clone(), Cause::OnlyHere, String::new(), String::new(), record.shown(), HERE));
            })?;
            for (feed, cause, what, there, here, side) in found.drain(..) {
                let counts = self.comparison.feeds.entry(feed.clone()).or_default();
                match side {
                    THERE => counts.only_there += 1,
                    _ => counts.only_here += 1,
                }
                self.add(&feed, cause, &what, &there, &here);
            }
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
    /// Beside what `comparing` was given of theirs, what the store has of the same feeds and days; or what else was given as ours.
    pub async fn compare(&self, actor: &Actor, mut comparing: Comparing<'_>, with_store: bool) -> Result<Comparison> {
        actor.require(Action::Query)?;
        let mut explainer = Explainer::new(&self.catalog, &self.tables);
        if !with_store {
            return comparing.finish(&mut explainer);
        }
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
            let from = time::day_name(first - 1);
            let sql = format!("SELECT feed, line, reason, raw FROM rejects WHERE feed = {feed} AND time >= '{from}'");
            self.each(actor, &sql, |batch| explainer.rejects(&batch)).await?;
        }
        comparing.finish(&mut explainer)
    }

    async fn each(&self, actor: &Actor, sql: &str, mut each: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let mut answer = self.query(actor, &Sql { text: sql, rows: None }).await?;
        while let Some(batch) = answer.batches.next().await {
            each(batch?)?;
        }
        Ok(())
    }
}
