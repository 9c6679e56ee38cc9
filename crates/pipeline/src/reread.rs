//! Reading kept reports again, with today's tables of feeds and the enrichment tables that they were read with before.
//!
//! Whole days of a feed are read again, from every delivery that touched them, and replaced in one commit; so a day
//! is never of two readings. A delivery that is read in another way than before takes all its days along, since its
//! rows may move between them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use enrich::{Dated, Defaults};
use event::time::{self, Micros};
use store::{Complete, Days, Overtaken};

use crate::count::with_events;
use crate::ingest::{Intake, Kept};
use crate::read::Tally;

/// What is to be read again.
#[derive(Clone, Debug)]
pub enum What {
    /// A feed's days from this one on, or all.
    Feed { feed: String, since: Option<i32> },
    /// The days that some reports touched, of a feed or of all.
    Reports { feed: Option<String>, report_ids: BTreeSet<String> },
}

/// Which tables rows are enriched with when they are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrichment {
    /// Those that they were read with before: what is known of the world since then moves no event.
    AsRead,
    /// Those that there are today.
    Anew,
}

/// Where the enrichment tables are that reports were read with.
pub trait KeptTables: std::fmt::Debug + Sync {
    /// The tables that go by this name. Blocks.
    fn named(&self, name: &str) -> Result<Arc<Dated>>;
}

/// What reading again came to.
#[derive(Clone, Debug, Default)]
pub struct Reread {
    pub feed: String,
    pub days: Days,
    pub reports: usize,
    pub events: u64,
    pub rejects: u64,
}

impl Intake<'_> {
    /// Reads again, feed by feed.
    pub async fn reread(&self, what: &What, enrichment: Enrichment, now: Micros) -> Result<Vec<Reread>> {
        let deliveries = self.store.deliveries(match what {
            What::Feed { feed, .. } => Some(feed),
            What::Reports { feed, .. } => feed.as_deref(),
        });
        let mut by_feed: Vec<(String, Days)> = Vec::new();
        for delivery in deliveries.await? {
            let days: Days = match what {
                What::Feed { since, .. } => days_of(&delivery).into_iter().filter(|day| since.is_none_or(|since| *day >= since)).collect(),
                What::Reports { report_ids, .. } if report_ids.contains(&delivery.report_id) => days_of(&delivery),
                What::Reports { .. } => continue,
            };
            match by_feed.iter_mut().find(|(feed, _)| *feed == delivery.feed) {
                Some((_, all)) => all.extend(days),
                None => by_feed.push((delivery.feed.clone(), days)),
            }
        }
        by_feed.retain(|(_, days)| !days.is_empty());
        if by_feed.is_empty() {
            bail!(match what {
                What::Feed { feed, since: Some(since) } =>
                    format!("no delivery of {feed} speaks of {} or a later day", time::day_name(*since)),
                What::Feed { feed, since: None } => format!("no delivery of {feed} has been stored"),
                What::Reports { report_ids, .. } => {
                    let report_ids: Vec<&str> = report_ids.iter().map(String::as_str).collect();
                    format!("no delivery with the report {} has been stored", report_ids.join(" or "))
                }
            });
        }
        let mut done = Vec::new();
        for (feed, days) in by_feed {
            done.push(self.reread_days(&feed, days, enrichment, now).await?);
        }
        Ok(done)
    }

    /// Reads these days of a feed again, and those that hang together with them. Days that have expired are let be.
    pub async fn reread_days(&self, feed: &str, mut days: Days, enrichment: Enrichment, now: Micros) -> Result<Reread> {
        let first = self.store.first_unexpired(feed).await?;
        let (mut tries, mut grown, mut may_widen) = (TRIES, 0, true);
        loop {
            let otherwise = self.days_read_otherwise(feed, enrichment).await?;
            let together = from(first, hanging_together(days.clone(), &otherwise));
            if together.is_empty() {
                bail!("{} of {feed} have expired and cannot be read again", store::days_text(&days));
            }
            // Where rows keep moving to days of yet another delivery, all that are read otherwise are taken, if they can be read.
            let widens = may_widen && grown > 1;
            days = together.clone();
            if widens {
                days.extend(from(first, otherwise.into_iter().flatten().collect()));
            }
            let mut attempt = match self.read_days(feed, &days, enrichment).await {
                Err(error) if widens && error.is::<NotKept>() => {
                    (days, may_widen) = (together, false);
                    continue;
                }
                read => read?,
            };
            let touched = from(first, std::mem::take(&mut attempt.found.touched));
            if !touched.is_subset(&days) {
                days.extend(touched);
                grown += 1;
                continue;
            }
            match self.replace(feed, &days, attempt, now).await {
                Err(error) if error.is::<Overtaken>() && tries > 0 => tries -= 1,
                done => return done,
            }
        }
    }

    /// These days less those whose events have expired.
    pub async fn unexpired(&self, feed: &str, days: Days) -> Result<Days> {
        Ok(if days.is_empty() { days } else { from(self.store.first_unexpired(feed).await?, days) })
    }

    /// The days of each delivery that is read in another way than before: its rows may have moved from any of them to any other.
    async fn days_read_otherwise(&self, feed: &str, enrichment: Enrichment) -> Result<Vec<Days>> {
        let mut otherwise = Vec::new();
        for delivery in self.store.deliveries(Some(feed)).await? {
            if self.reads_otherwise(&delivery, enrichment)? && !self.store.is_erased(&delivery.report_id).await? {
                otherwise.push(days_of(&delivery));
            }
        }
        Ok(otherwise)
    }

    /// Whether a delivery would be read with other tables than those it was read with.
    pub(crate) fn reads_otherwise(&self, delivery: &store::Delivery, enrichment: Enrichment) -> Result<bool> {
        let table = self.feed(&delivery.feed, delivery.time)?;
        Ok(table.version != delivery.table_version || enrichment == Enrichment::Anew && delivery.tables != self.tables.name())
    }

    /// Reads every delivery that touched one of these days, in the order in which they came.
    async fn read_days(&self, feed: &str, days: &Days, enrichment: Enrichment) -> Result<Attempt> {
        let touching = async || -> Result<Vec<store::Delivery>> {
            Ok(self.store.deliveries(Some(feed)).await?.into_iter().filter(|delivery| !days_of(delivery).is_disjoint(days)).collect())
        };
        let first = touching().await?;
        if first.is_empty() {
            bail!("no delivery of {feed} speaks of {}", store::days_text(days));
        }
        let size = first.iter().map(|delivery| delivery.size).sum();
        let append = self.append(feed, self.catalog.versions(feed), size, Some(days)).await?;
        // What others have committed by now is replaced: so its deliveries must be among those that are read.
        self.store.others_recorded(feed, PATIENCE).await?;
        let deliveries = touching().await?;
        let mut kept = Vec::new();
        let mut readings = BTreeMap::new();
        for delivery in deliveries {
            if self.store.is_erased(&delivery.report_id).await? {
                continue;
            }
            if !self.store.has_report(&delivery.report_id).await? {
                bail!(NotKept::Report(delivery));
            }
            let tables = match enrichment {
                Enrichment::AsRead => delivery.tables.clone(),
                Enrichment::Anew => self.tables.name().to_owned(),
            };
            let table = self.feed(feed, delivery.time)?;
            let reading = format!("{tables} {}", table.version);
            if !readings.contains_key(&reading) {
                match tokio::task::block_in_place(|| self.kept_tables.named(&tables)) {
                    Ok(tables) => {
                        let defaults = Defaults { severity: table.severity };
                        readings.insert(reading.clone(), enrich::Reading { tables, defaults });
                    }
                    Err(error) => bail!(NotKept::Tables(delivery, error)),
                }
            }
            kept.push((delivery, table, tables, reading));
        }
        let append = append.completed_by(Complete(Arc::new(move |events| enrich::enrich_as_read(&readings, &events))));
        let mut found = Found::default();
        for (delivery, table, tables, reading) in kept {
            let (tally, rejects, seen) = self.understand(table, &Kept::of_delivery(&delivery, &reading), &append)?;
            if self.reads_otherwise(&delivery, enrichment)? {
                found.touched.extend(seen.union(&delivery.days));
            }
            found.rejected += tally.rejected;
            found.rejects.push(rejects);
            found.read.push(Read { delivery, version: table.version.clone(), tables, tally, seen });
        }
        Ok(Attempt { found, events: append.finish().await? })
    }

    async fn replace(&self, feed: &str, days: &Days, attempt: Attempt, now: Micros) -> Result<Reread> {
        let Attempt { found, events } = attempt;
        // First that a delivery may speak of more days: should this end here, they are read once too often and not too seldom.
        let moved = found.read.iter().filter_map(|read| Some((read.delivery.clone(), read.with_all_days()?)));
        self.store.revise_deliveries(moved.collect(), now).await?;
        let recorded = self.store.deliveries(Some(feed)).await?.into_iter().map(|delivery| delivery.report_id).collect();
        let committed = self.store.replace_days(feed, days, events, recorded, now).await?;
        let reports = found.read.iter().map(|read| &read.delivery.report_id).collect::<HashSet<_>>().len();
        self.store.replace_rejects(found.rejects, now).await?;
        self.record_reading(feed, days, found.read, now).await?;
        Ok(Reread {
            feed: feed.to_owned(),
            days: days.clone(),
            reports,
            events: committed.outcomes.iter().map(|outcome| outcome.events).sum(),
            rejects: found.rejected,
        })
    }

    /// Records what came of deliveries whose days were read again, and counts anew whose events are whose.
    async fn record_reading(&self, feed: &str, days: &Days, read: Vec<Read>, now: Micros) -> Result<()> {
        let revised = read.into_iter().map(|read| (read.delivery.id.clone(), read.revised(days, self.writer)));
        let mut revised: HashMap<String, (store::Delivery, store::Delivery)> = revised.collect();
        let mut all = self.store.deliveries(Some(feed)).await?;
        for delivery in &mut all {
            if let Some((_, revised)) = revised.get(&delivery.id) {
                delivery.clone_from(revised);
            }
        }
        let reports = revised.values().map(|(_, revised)| revised.report_id.as_str()).collect();
        for (recorded, counted) in self.counted_anew(feed, &all, &reports).await? {
            let (_, revised) = revised.entry(counted.id.clone()).or_insert_with(|| (recorded, store::Delivery::default()));
            *revised = counted;
        }
        let changed = revised.into_values().filter(|(before, now)| before != now);
        self.store.revise_deliveries(changed.collect(), now).await
    }
}

/// How long somebody may take between committing events and recording the delivery that brought them.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often days are read once more because others changed them meanwhile.
const TRIES: u32 = 5;

/// Something is not kept any more that is needed to read days again.
#[derive(Debug)]
pub enum NotKept {
    Report(store::Delivery),
    /// The enrichment tables that it was read with, and why they cannot be had.
    Tables(store::Delivery, anyhow::Error),
}

impl std::fmt::Display for NotKept {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (NotKept::Report(delivery) | NotKept::Tables(delivery, _)) = self;
        let (report, feed, at) = (&delivery.report_id, &delivery.feed, time::iso(delivery.time));
        match self {
            NotKept::Report(_) => write!(out, "the report {report} of {feed}, {at}, is not kept any more")?,
            NotKept::Tables(_, why) => write!(
                out,
                "the enrichment tables {} with which the report {report} of {feed}, {at}, was read cannot be had ({why:#}; \
                 `waglan reread --new-tables` takes today's)",
                delivery.tables
            )?,
        }
        write!(out, ": the days {} cannot be read again", store::days_text(&delivery.days))
    }
}

impl std::error::Error for NotKept {}

/// What reading a feed's deliveries gathers.
#[derive(Default)]
struct Found {
    /// All days of the deliveries that are read in another way than before: of the old reading and of this one.
    touched: Days,
    rejects: Vec<store::PreparedRejects>,
    rejected: u64,
    read: Vec<Read>,
}

/// A delivery that was read again.
struct Read {
    delivery: store::Delivery,
    version: String,
    /// The enrichment tables with which its rows of these days were read.
    tables: String,
    tally: Tally,
    /// The days that its rows speak of now.
    seen: Days,
}

impl Read {
    /// The delivery with the days of both readings, if they are more than it had.
    fn with_all_days(&self) -> Option<store::Delivery> {
        let mut delivery = self.delivery.clone();
        delivery.days.extend(&self.seen);
        (delivery.days != self.delivery.days).then_some(delivery)
    }

    /// As it is recorded until these days are of the new reading, and then.
    fn revised(self, reread: &Days, writer: &str) -> (store::Delivery, store::Delivery) {
        let before = self.with_all_days().unwrap_or_else(|| self.delivery.clone());
        let Read { version, tables, tally, seen, .. } = self;
        // Days that are not read again are of the same reading, or have expired.
        let others: Days = before.days.difference(reread).copied().collect();
        let after = store::Delivery {
            days: &seen | &others,
            table_version: version,
            tables,
            rows: tally.rows,
            rejects: tally.rejected,
            ignored: tally.ignored,
            erased: before.erased.max(tally.erased),
            writer: if before.writer.is_empty() { writer } else { &before.writer }.to_owned(),
            drift: tally.drift.map(|drift| drift.to_string()),
            ..before.clone()
        };
        // Whose events are whose is counted when all is committed; of days that have expired it cannot be.
        let events = before.events;
        (before, with_events(after, events))
    }
}

/// These days, and all of each delivery with one of them, and of each with one of those.
fn hanging_together(mut days: Days, of_deliveries: &[Days]) -> Days {
    let mut left: Vec<&Days> = of_deliveries.iter().collect();
    loop {
        let (together, apart): (Vec<&Days>, Vec<&Days>) = left.into_iter().partition(|of_one| !of_one.is_disjoint(&days));
        if together.is_empty() {
            return days;
        }
        days.extend(together.into_iter().flatten());
        left = apart;
    }
}

/// The days from this one on, or all.
pub(crate) fn from(first: Option<i32>, mut days: Days) -> Days {
    days.retain(|day| first.is_none_or(|first| *day >= first));
    days
}

/// The days that a delivery touched; of one of which nothing was understood, the day it came.
pub fn days_of(delivery: &store::Delivery) -> Days {
    if delivery.days.is_empty() { Days::from([time::day(delivery.time)]) } else { delivery.days.clone() }
}

/// A reading that waits to take the place of the one before.
struct Attempt {
    found: Found,
    events: store::Prepared,
}
