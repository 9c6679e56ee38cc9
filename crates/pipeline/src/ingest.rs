//! Deliveries into the store: kept first, then understood.
//!
//! The order is report, arrival, rejects, events, delivery, and the arrival taken away. Each step may be done twice
//! and the last one ends it, so a start repeats whatever has an arrival and no delivery, and comes to the same.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use enrich::{Dated, Defaults};
use event::time::{self, Micros};
use event::{Field, batch};
use feed::unpack::{Caps, unpack};
use feed::{Catalog, Feed, Piece};
use store::{
    Append, AppendSettings, AppendWriter, Compaction, Complete, Days, Overtaken, Prepared, PreparedRejects, Recorded, RejectSource,
    RejectWriter, Store,
};
use tracing::{info, instrument, warn};

use crate::accept::HandedIn;
use crate::read::{Tally, Worker, read};
use crate::reread::{Enrichment, KeptTables, NotKept};

/// What became of a report.
#[derive(Debug)]
pub enum Outcome {
    /// It is stored; `drifted` if its columns are not the table's and not those of the feed's delivery before.
    Stored { delivery: store::Delivery, drifted: bool },
    /// It was in the store already, and nothing was done.
    Known(store::Delivery),
    /// It is not stored.
    Refused { origin: String, why: anyhow::Error },
}

/// Everything that taking deliveries in needs.
#[derive(Debug)]
pub struct Intake<'a> {
    pub store: &'a Store,
    pub catalog: &'a Catalog,
    pub tables: &'a Arc<Dated>,
    pub kept_tables: &'a dyn KeptTables,
    /// Threads that understand rows; one more cuts them.
    pub threads: usize,
    /// What the program calls itself in a delivery's row.
    pub writer: &'a str,
}

/// What goes along while deliveries are taken in.
pub(crate) struct Run<'a> {
    pub(crate) known: Recorded,
    pub(crate) waiting: Vec<Waiting>,
    /// Whether these are deliveries that a process left which died.
    pub(crate) takes_up: bool,
    pub(crate) now: Micros,
    /// Hears what became of each.
    pub(crate) each: &'a mut (dyn FnMut(Outcome) + Send),
}

/// Deliveries that wait to be committed share one entry of the log, up to so many rows or deliveries.
const SHARED_ROWS: u64 = 200_000;
const SHARED_DELIVERIES: usize = 64;

impl Run<'_> {
    fn is_full(&self) -> bool {
        self.waiting.len() >= SHARED_DELIVERIES || self.waiting.iter().map(|one| one.tally.rows).sum::<u64>() >= SHARED_ROWS
    }
}

/// A delivery that has been read and waits to be committed.
pub(crate) struct Waiting {
    arrival: store::Arrival,
    version: String,
    tally: Tally,
    events: Prepared,
    rejects: PreparedRejects,
}

impl Intake<'_> {
    /// Takes deliveries in, one after another; `each` hears of every one when it is stored.
    pub async fn ingest(
        &self,
        deliveries: impl IntoIterator<Item = HandedIn>,
        now: Micros,
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> Result<()> {
        let done = self.ingest_all(deliveries, now, each).await;
        match (done, self.store.settle_reports().await) {
            (Ok(()), settled) => settled,
            (Err(error), settled) => {
                if let Err(also) = settled {
                    warn!(error = format!("{also:#}"), "a report that was being kept is not kept");
                }
                Err(error)
            }
        }
    }

    async fn ingest_all(
        &self,
        deliveries: impl IntoIterator<Item = HandedIn>,
        now: Micros,
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> Result<()> {
        let mut run = Run { known: self.store.recorded().await?, waiting: Vec::new(), takes_up: false, now, each };
        for handed in deliveries {
            for arrival in self.accept(handed, &mut run).await? {
                match run.known.get(&arrival.feed, &arrival.id) {
                    Some(recorded) => (run.each)(Outcome::Known(recorded.clone())),
                    None => self.take(arrival, &mut run).await?,
                }
            }
        }
        self.commit(&mut run).await
    }

    pub(crate) fn feed(&self, id: &str, at: Micros) -> Result<&Feed> {
        self.catalog.feed_at(id, at).ok_or_else(|| anyhow!("there is no feed \"{id}\""))
    }

    /// Reads one delivery and lets it wait for company.
    pub(crate) async fn take(&self, arrival: store::Arrival, run: &mut Run<'_>) -> Result<()> {
        let mut read = self.read_arrival(arrival).await?;
        let days = self.read_otherwise(&read, &run.known).await?;
        if !days.is_empty() {
            // Days are read with one version of the table: the old ones first, with today's.
            self.commit(run).await?;
            let arrival = read.arrival;
            info!(feed = %arrival.feed, days = %store::days_text(&days), "the feed's table has changed: its days are read again");
            match self.reread_days(&arrival.feed, days, Enrichment::AsRead, run.now).await {
                Err(error) if error.is::<NotKept>() || error.is::<Overtaken>() => {
                    // A day is never of two readings. The arrival stays, and every start tries again.
                    let why = error.context(
                        "it waits, for the feed's table has changed and its days must be read again; beside a table as it was, a version \
                         with \"since\" holds for what comes from then on",
                    );
                    (run.each)(Outcome::Refused { origin: arrival.origin, why });
                    return Ok(());
                }
                done => drop(done?),
            }
            run.known = self.store.recorded().await?;
            read = self.read_arrival(arrival).await?;
        }
        run.waiting.push(read);
        if run.is_full() { self.commit(run).await } else { Ok(()) }
    }

    /// The days of deliveries that share a day with a reading, and were read with another version of the feed's table than the
    /// one that holds for them: all their days, so that they are of one reading afterwards.
    async fn read_otherwise(&self, read: &Waiting, known: &Recorded) -> Result<Days> {
        let mut days = Days::new();
        let shares_a_day = |delivery: &&store::Delivery| !delivery.days.is_disjoint(read.events.days());
        for delivery in known.of_feed(&read.arrival.feed).filter(shares_a_day) {
            // An erased report is read no more.
            if self.reads_otherwise(delivery, Enrichment::AsRead)? && !self.store.is_erased(&delivery.report_id).await? {
                days.extend(&delivery.days);
            }
        }
        self.unexpired(&read.arrival.feed, days).await
    }

    #[instrument(skip_all, fields(feed = %arrival.feed, report = %arrival.report_id, size = arrival.size))]
    async fn read_arrival(&self, mut arrival: store::Arrival) -> Result<Waiting> {
        let feed = self.feed(&arrival.feed, arrival.time)?;
        let (tables, defaults) = (self.tables_of(&mut arrival).await?, Defaults { severity: feed.severity });
        let enrich = Complete(Arc::new(move |events| enrich::enrich_by_day(&tables, &defaults, &events)));
        let append = self.append(&feed.id, [feed], arrival.size, None).await?.completed_by(enrich);
        let (tally, rejects, _) = self.understand(feed, &Kept::of_arrival(&arrival), &append)?;
        Ok(Waiting { version: feed.version.clone(), arrival, tally, events: append.finish().await?, rejects })
    }

    /// The tables that an arrival is read with, which it names from then on: those it came with, for a process that died may
    /// have committed its events; today's where they cannot be had.
    async fn tables_of(&self, arrival: &mut store::Arrival) -> Result<Arc<Dated>> {
        if arrival.tables == self.tables.name() {
            return Ok(self.tables.clone());
        }
        match tokio::task::block_in_place(|| self.kept_tables.named(&arrival.tables)) {
            Ok(tables) => Ok(tables),
            Err(error) => {
                warn!(
                    origin = %arrival.origin, tables = %arrival.tables, error = format!("{error:#}"),
                    "the enrichment tables with which a delivery came cannot be had; it is read with today's"
                );
                arrival.tables = self.tables.name().to_owned();
                self.store.put_arrival(arrival).await?;
                Ok(self.tables.clone())
            }
        }
    }

    /// Begins an append of a feed's events, with the columns that some versions of its table have; or one that reads some days
    /// again.
    pub(crate) async fn append<'f>(
        &self,
        feed: &str,
        versions: impl IntoIterator<Item = &'f Feed>,
        size: u64,
        only_days: Option<&Days>,
    ) -> Result<Append> {
        const BYTES_A_ROW: u64 = 200;
        let columns = columns(versions);
        let settings = AppendSettings { feed, expected_rows: (size / BYTES_A_ROW) as usize + 1000, columns: &columns, only_days };
        self.store.append(settings).await
    }

    /// Reads a kept report into an append; says also which days its rows are of.
    pub(crate) fn understand(&self, feed: &Feed, kept: &Kept<'_>, append: &Append) -> Result<(Tally, PreparedRejects, Days)> {
        let source = RejectSource {
            delivery_id: kept.delivery_id.to_owned(),
            report_id: kept.report_id.to_owned(),
            feed: feed.id.clone(),
            time: kept.at,
        };
        let shared = Shared {
            rejects: Mutex::new(self.store.rejects(source)),
            days: Mutex::default(),
            blotted: append.is_blotted(kept.report_id).then(Mutex::default),
        };
        let mut tally = tokio::task::block_in_place(|| {
            let input = unpack(self.store.open_report(kept.report_id)?, kept.size, Caps::default())?;
            read(feed, feed::Arrival { at: kept.at }, input, self.threads, || {
                Ok(StoreWorker { feed, kept, writer: append.writer(), shared: &shared })
            })
        })
        .with_context(|| format!("reading report {} of {}", kept.report_id, feed.id))?;
        if let Some(blotted) = shared.blotted {
            let blotted = blotted.into_inner().unwrap_or_else(PoisonError::into_inner);
            tally.erased = blotted.events + blotted.rejects;
            tally.events -= blotted.events;
            tally.rejected -= blotted.rejects;
        }
        let days = shared.days.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((tally, shared.rejects.into_inner().unwrap_or_else(PoisonError::into_inner).finish()?, days))
    }

    /// Commits what waits: rejects, then events, then deliveries.
    #[instrument(skip_all, fields(deliveries = run.waiting.len()))]
    pub(crate) async fn commit(&self, run: &mut Run<'_>) -> Result<()> {
        let now = run.now;
        let mut group = std::mem::take(&mut run.waiting);
        while !group.is_empty() {
            for one in &group {
                self.store.settle_report(&one.arrival.report_id).await?;
            }
            // Somebody may have erased one while it was read.
            let erased = self.store.not_to_be_kept(group.iter().map(|one| one.arrival.report_id.as_str())).await?;
            let mut events = Vec::new();
            let mut rejects = Vec::new();
            let mut rest = Vec::new();
            for one in group {
                if erased.contains(&one.arrival.report_id) {
                    self.store.delete_report(&one.arrival.report_id).await?;
                    (run.each)(Outcome::Refused { origin: one.arrival.origin, why: store::WasErased.into() });
                    self.store.remove_arrival(&one.arrival.id).await?;
                    continue;
                }
                events.push(one.events);
                rejects.push(one.rejects);
                rest.push((one.arrival, one.version, one.tally));
            }
            match run.takes_up {
                // Those that the process left which died may be of another reading.
                true => self.store.replace_rejects(rejects, now).await?,
                false => self.store.commit_rejects(rejects, now).await?,
            }
            match self.store.commit(events, now).await {
                Ok(committed) => {
                    let row = |((arrival, version, tally), outcome)| self.row(arrival, version, tally, outcome);
                    let mut deliveries: Vec<store::Delivery> = rest.into_iter().zip(committed.outcomes).map(row).collect();
                    if run.takes_up {
                        deliveries = self.with_own_events(deliveries, &run.known).await?;
                    }
                    self.store.record_deliveries(&deliveries, now).await?;
                    let known = std::mem::replace(&mut run.known, self.store.recorded().await?);
                    let drift = |(place, delivery): (usize, &store::Delivery)| {
                        drifts_anew(delivery, || known.of_feed(&delivery.feed).chain(deliveries.iter().take(place)))
                    };
                    let drifted: Vec<bool> = deliveries.iter().enumerate().map(drift).collect();
                    for (delivery, drifted) in deliveries.into_iter().zip(drifted) {
                        self.store.remove_arrival(&delivery.id).await?;
                        info!(feed = %delivery.feed, rows = delivery.rows, events = delivery.events, rejects = delivery.rejects, "report stored");
                        (run.each)(Outcome::Stored { delivery, drifted });
                    }
                    // Many small deliveries make many small files: they are merged as they come.
                    if self.store.needs_compaction(Compaction::AS_IT_GOES).await? {
                        self.store.compact(Compaction::AS_IT_GOES, now).await?;
                    }
                    return Ok(());
                }
                Err(error) if error.is::<Overtaken>() => {
                    group = Vec::new();
                    for (arrival, _, _) in rest {
                        group.push(self.read_arrival(arrival).await?);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(crate) fn row(&self, arrival: store::Arrival, table_version: String, tally: Tally, outcome: store::Outcome) -> store::Delivery {
        store::Delivery {
            id: arrival.id,
            feed: arrival.feed,
            provider: arrival.provider,
            time: arrival.time,
            origin: arrival.origin,
            report_id: arrival.report_id,
            size: arrival.size,
            table_version,
            tables: arrival.tables,
            rows: tally.rows,
            events: outcome.events,
            repeats: outcome.repeats,
            rejects: tally.rejected,
            ignored: tally.ignored,
            erased: outcome.erased + tally.erased,
            days: outcome.days,
            drift: tally.drift.map(|drift| drift.to_string()),
            writer: self.writer.to_owned(),
            took_ms: u64::try_from(tally.took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A kept report, as a delivery has it.
pub(crate) struct Kept<'a> {
    pub(crate) delivery_id: &'a str,
    pub(crate) report_id: &'a str,
    pub(crate) size: u64,
    pub(crate) at: Micros,
    /// What names the way in which its rows are to be enriched, where they are not all enriched in the same.
    pub(crate) reading: Option<&'a str>,
}

impl<'a> Kept<'a> {
    fn of_arrival(arrival: &'a store::Arrival) -> Kept<'a> {
        Kept { delivery_id: &arrival.id, report_id: &arrival.report_id, size: arrival.size, at: arrival.time, reading: None }
    }

    pub(crate) fn of_delivery(delivery: &'a store::Delivery, reading: &'a str) -> Kept<'a> {
        let store::Delivery { id, report_id, size, time, .. } = delivery;
        Kept { delivery_id: id, report_id, size: *size, at: *time, reading: Some(reading) }
    }
}

/// Whether a delivery's columns are neither those of the table nor, in the last delivery or any of the week before this, the feed's.
fn drifts_anew<'k, K: Iterator<Item = &'k store::Delivery>>(delivery: &store::Delivery, known: impl Fn() -> K) -> bool {
    const RECENT: Micros = 7 * time::DAY;
    if delivery.drift.is_none() {
        return false;
    }
    let others = || known().filter(|known| known.feed == delivery.feed && known.id != delivery.id);
    let last = others().map(|known| known.time).max().unwrap_or_default();
    let is_recent = |known: &&store::Delivery| known.time == last || (known.time - delivery.time).abs() < RECENT;
    others().filter(is_recent).all(|known| known.drift != delivery.drift)
}

/// The columns of a feed's events at rest, by some versions of its table.
fn columns<'f>(versions: impl IntoIterator<Item = &'f Feed>) -> Vec<&'static str> {
    let mut all = BTreeSet::from(["feed", "provider", "report_id", "in_scope", "suppressed", "tables", "warnings"]);
    for feed in versions {
        let read = feed::reading::columns(feed);
        let fields: Vec<Field> = Field::all().filter(|field| read.contains(&field.column())).collect();
        all.extend(enrich::can_fill(&fields).into_iter().map(Field::column));
        all.extend(read);
    }
    let schema = batch::schema();
    let place = |name: &&str| schema.index_of(name).unwrap_or(usize::MAX);
    let mut columns: Vec<&'static str> = all.into_iter().collect();
    columns.sort_by_key(place);
    columns
}

/// The days of a batch's rows.
fn days_of(events: &RecordBatch) -> Days {
    let times = batch::times(events, Field::TIME_SOURCE.column()).expect("every event has a time");
    let mut last = None;
    let mut days = Days::new();
    for time in times.values() {
        let day = time::day(*time);
        if last.replace(day) != Some(day) {
            days.insert(day);
        }
    }
    days
}

/// Appends, on one thread.
struct StoreWorker<'a> {
    feed: &'a Feed,
    kept: &'a Kept<'a>,
    writer: AppendWriter,
    shared: &'a Shared,
}

/// What the threads of one report have in common.
struct Shared {
    rejects: Mutex<RejectWriter>,
    days: Mutex<Days>,
    /// Of how many rows words are blotted out, in a report of which they are.
    blotted: Option<Mutex<Blotted>>,
}

#[derive(Default)]
struct Blotted {
    events: u64,
    rejects: u64,
}

/// Takes out what says the mark of an erasure.
fn drop_blotted(piece: &mut Piece, blotted: &Mutex<Blotted>) -> Result<()> {
    let says = |text: &str| text.to_ascii_lowercase().contains(store::MARK);
    let (events, rejects) = (piece.events.num_rows(), piece.rejects.len());
    piece.rejects.retain(|reject| !says(&reject.raw));
    let mut keep = vec![true; events];
    for column in piece.events.columns() {
        let Some(text) = column.as_string_opt::<i32>() else { continue };
        for (keep, value) in keep.iter_mut().zip(text) {
            *keep &= !value.is_some_and(says);
        }
    }
    piece.events = filter_record_batch(&piece.events, &BooleanArray::from(keep))?;
    let mut blotted = blotted.lock().unwrap_or_else(PoisonError::into_inner);
    blotted.events += (events - piece.events.num_rows()) as u64;
    blotted.rejects += (rejects - piece.rejects.len()) as u64;
    Ok(())
}

impl Worker for StoreWorker<'_> {
    fn take(&mut self, mut piece: Piece) -> Result<()> {
        if let Some(blotted) = &self.shared.blotted {
            drop_blotted(&mut piece, blotted)?;
        }
        if !piece.rejects.is_empty() {
            self.shared.rejects.lock().unwrap_or_else(PoisonError::into_inner).push(&piece.rejects)?;
        }
        let rows = piece.events.num_rows();
        if rows == 0 {
            return Ok(());
        }
        self.shared.days.lock().unwrap_or_else(PoisonError::into_inner).extend(days_of(&piece.events));
        let constant = |text: &str| -> ArrayRef { Arc::new(StringArray::new_repeated(text, rows)) };
        let mut said = vec![("feed", self.feed.id.as_str()), ("provider", &self.feed.provider), ("report_id", self.kept.report_id)];
        said.extend(self.kept.reading.map(|reading| ("tables", reading)));
        let said = said.into_iter().map(|(column, text)| (column, constant(text))).collect();
        self.writer.push(batch::with_columns(&piece.events, said))
    }

    fn end(self) -> Result<()> {
        self.writer.close()
    }
}
