//! Deliveries: what arrived, when, from where, and what came of it. A row here is the end of a delivery's way
//! through the house, and the proof that all before it was done.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use event::id;
use event::time::Micros;

use crate::days::{Days, days_of_text, days_text};
use crate::file::{fit, read};
use crate::rewrite::{Beside, Reach, Rewrite, rewrite};
use crate::small;
use crate::store::Store;
use crate::table::{Definition, LiveFile};

pub(crate) static DELIVERIES: Definition = Definition {
    name: "deliveries",
    schema,
    feed: Some("feed"),
    time: "time",
    by_month: false,
    order: &["time", "feed"],
    transactions: &[],
};

/// One arrival, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// [`delivery_id`].
    pub id: String,
    pub feed: String,
    pub provider: String,
    /// When it arrived: given, from the file's name, or the clock's.
    pub time: Micros,
    pub origin: String,
    /// The report's hash; that of the last report, where nothing had changed since.
    pub report_id: String,
    /// Of the report, in bytes.
    pub size: u64,
    /// The feed's table that it was read with.
    pub table_version: String,
    /// The enrichment tables in force, by their hash.
    pub tables: String,
    /// Rows in the report.
    pub rows: u64,
    /// Rows that became events.
    pub events: u64,
    /// Rows that said what was known.
    pub repeats: u64,
    pub rejects: u64,
    /// Rows that the feed's table leaves out.
    pub ignored: u64,
    /// Rows that say what was erased.
    pub erased: u64,
    /// All days that its rows speak of, repeats too: what must be read again together.
    pub days: Days,
    /// Columns that came or went, in words.
    pub drift: Option<String>,
    /// The program that read it.
    pub writer: String,
    /// How long reading it took, in milliseconds.
    pub took_ms: u64,
}

/// The id of a delivery: the same report of a feed at the same time is the same delivery.
pub fn delivery_id(feed: &str, time: Micros, report_id: &str) -> String {
    id::name(format!("{feed}\n{time}\n{report_id}").as_bytes())
}

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = |name| Field::new(name, DataType::Utf8, true);
        let count = |name| Field::new(name, DataType::Int64, true);
        Arc::new(Schema::new(vec![
            text("id"),
            text("feed"),
            text("provider"),
            Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            text("origin"),
            text("report_id"),
            count("size"),
            text("table_version"),
            text("tables"),
            count("rows"),
            count("events"),
            count("repeats"),
            count("rejects"),
            count("ignored"),
            count("erased"),
            text("days"),
            text("drift"),
            text("writer"),
            count("took_ms"),
        ]))
    });
    SCHEMA.clone()
}

impl Store {
    /// Records deliveries whose rejects and events are in the store; those recorded before stay as they are.
    /// Says how many are new.
    pub async fn record_deliveries(&self, deliveries: &[Delivery], now: Micros) -> Result<u64> {
        if deliveries.is_empty() {
            return Ok(0);
        }
        small::append(&self.deliveries, batch_of(deliveries)?, "id", now).await
    }

    /// Records anew what came of deliveries that were read again: each as it was when that began, and as it is now. Of one
    /// that somebody else has revised meanwhile only the days are added.
    pub async fn revise_deliveries(&self, deliveries: Vec<(Delivery, Delivery)>, now: Micros) -> Result<()> {
        if deliveries.is_empty() {
            return Ok(());
        }
        let revision = Revision(deliveries.into_iter().map(|(read, revised)| (read.id.clone(), (read, revised))).collect());
        rewrite(&self.deliveries, Arc::new(revision), Beside { operation: "REVISE", ..Beside::default() }, now).await?;
        Ok(())
    }

    /// Recorded deliveries of a feed, or of all, by time: what to read again, and in which order.
    pub async fn deliveries(&self, feed: Option<&str>) -> Result<Vec<Delivery>> {
        let recorded = self.recorded().await?;
        let mut found: Vec<Delivery> = match feed {
            Some(feed) => recorded.of_feed(feed).cloned().collect(),
            None => recorded.all().cloned().collect(),
        };
        found.sort_by(|one, other| (one.time, &one.id).cmp(&(other.time, &other.id)));
        Ok(found)
    }

    /// All recorded deliveries. What was read is kept, so that the next call reads only the files that have come since.
    pub async fn recorded(&self) -> Result<Recorded> {
        let version = self.deliveries.latest().await?;
        let mut known = self.recorded.lock().await;
        if known.of != version.number {
            let is_new = |file: &&Arc<LiveFile>| !known.files.contains(&file.path);
            let new: Vec<Arc<LiveFile>> = version.files.values().filter(is_new).cloned().collect();
            known.recorded.add(self.deliveries_in(new).await?);
            let rows: u64 = version.files.values().map(|file| file.rows).sum();
            // Files that are new hold what is in those they replaced; unless rows were taken out.
            if known.recorded.count() != rows {
                known.recorded = Recorded::default();
                known.recorded.add(self.deliveries_in(version.files.values().cloned().collect()).await?);
            }
            known.files = version.files.keys().cloned().collect();
            known.of = version.number;
        }
        Ok(known.recorded.clone())
    }

    async fn deliveries_in(&self, files: Vec<Arc<LiveFile>>) -> Result<Vec<Delivery>> {
        let place = self.deliveries.place.clone();
        let work = move || {
            let mut found = Vec::new();
            for live in files {
                for batch in read(&place, &live)? {
                    found.extend(deliveries_of(&batch?)?);
                }
            }
            Ok(found)
        };
        tokio::task::spawn_blocking(work).await.context("the thread that reads deliveries has died")?
    }
}

/// Recorded deliveries by feed and id. A copy costs little, and stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Recorded(HashMap<String, Arc<HashMap<String, Arc<Delivery>>>>);

impl Recorded {
    pub fn get(&self, feed: &str, id: &str) -> Option<&Delivery> {
        self.0.get(feed)?.get(id).map(|delivery| &**delivery)
    }

    pub fn of_feed(&self, feed: &str) -> impl Iterator<Item = &Delivery> {
        self.0.get(feed).into_iter().flat_map(|by_id| by_id.values().map(|delivery| &**delivery))
    }

    pub fn all(&self) -> impl Iterator<Item = &Delivery> {
        self.0.values().flat_map(|by_id| by_id.values().map(|delivery| &**delivery))
    }

    fn count(&self) -> u64 {
        self.0.values().map(|by_id| by_id.len() as u64).sum()
    }

    /// Adds deliveries, in the place of those that are there.
    fn add(&mut self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let of_feed = self.0.entry(delivery.feed.clone()).or_default();
            Arc::make_mut(of_feed).insert(delivery.id.clone(), Arc::new(delivery));
        }
    }
}

/// What is known of the table of deliveries.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Its version.
    of: Option<u64>,
    /// The files that were read.
    files: HashSet<String>,
    recorded: Recorded,
}

/// By id, deliveries as they were and as they are now.
struct Revision(HashMap<String, (Delivery, Delivery)>);

impl Rewrite for Revision {
    fn reach(&self, file: &LiveFile) -> Reach {
        if self.0.values().any(|(read, _)| file.may_hold_feed(&read.feed)) { Reach::Something } else { Reach::Nothing }
    }

    fn columns(&self) -> Vec<&str> {
        vec!["id"]
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let ids = batch.column_by_name("id").and_then(|ids| ids.as_string_opt::<i32>());
        let Some(ids) = ids else { bail!("deliveries without id") };
        Ok((0..batch.num_rows()).map(|row| Some(ids.is_valid(row) && self.0.contains_key(ids.value(row)))).collect())
    }

    fn apply(&self, batch: &RecordBatch, _rows: &BooleanArray) -> Result<RecordBatch> {
        let revise = |mut recorded: Delivery| match self.0.get(&recorded.id) {
            Some((read, revised)) if *read == recorded => revised.clone(),
            Some((_, revised)) => {
                recorded.days.extend(&revised.days);
                recorded
            }
            None => recorded,
        };
        batch_of(&deliveries_of(batch)?.into_iter().map(revise).collect::<Vec<_>>())
    }
}

fn batch_of(deliveries: &[Delivery]) -> Result<RecordBatch> {
    let text = |part: fn(&Delivery) -> &str| -> ArrayRef {
        Arc::new(deliveries.iter().map(|delivery| Some(part(delivery))).collect::<StringArray>())
    };
    let count = |part: fn(&Delivery) -> u64| -> ArrayRef {
        Arc::new(deliveries.iter().map(|delivery| Some(part(delivery) as i64)).collect::<Int64Array>())
    };
    let times: TimestampMicrosecondArray = deliveries.iter().map(|delivery| Some(delivery.time)).collect();
    let days: StringArray = deliveries.iter().map(|delivery| Some(days_text(&delivery.days))).collect();
    let drift: StringArray = deliveries.iter().map(|delivery| delivery.drift.as_deref()).collect();
    let columns: Vec<ArrayRef> = vec![
        text(|delivery| &delivery.id),
        text(|delivery| &delivery.feed),
        text(|delivery| &delivery.provider),
        Arc::new(times.with_timezone("UTC")),
        text(|delivery| &delivery.origin),
        text(|delivery| &delivery.report_id),
        count(|delivery| delivery.size),
        text(|delivery| &delivery.table_version),
        text(|delivery| &delivery.tables),
        count(|delivery| delivery.rows),
        count(|delivery| delivery.events),
        count(|delivery| delivery.repeats),
        count(|delivery| delivery.rejects),
        count(|delivery| delivery.ignored),
        count(|delivery| delivery.erased),
        Arc::new(days),
        Arc::new(drift),
        text(|delivery| &delivery.writer),
        count(|delivery| delivery.took_ms),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn deliveries_of(batch: &RecordBatch) -> Result<Vec<Delivery>> {
    let batch = fit(batch, &schema())?;
    let column = |name: &str| batch.column_by_name(name).expect("the batch was given the schema's columns");
    let text = |name: &str, row: usize| {
        let column = column(name).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let count = |name: &str, row: usize| {
        let column = column(name).as_primitive::<Int64Type>();
        if column.is_valid(row) { column.value(row) as u64 } else { 0 }
    };
    let times = column("time").as_primitive::<TimestampMicrosecondType>();
    (0..batch.num_rows())
        .map(|row| {
            let named = |name: &str| text(name, row).unwrap_or_default();
            let days = named("days");
            Ok(Delivery {
                id: named("id"),
                feed: named("feed"),
                provider: named("provider"),
                time: times.value(row),
                origin: named("origin"),
                report_id: named("report_id"),
                size: count("size", row),
                table_version: named("table_version"),
                tables: named("tables"),
                rows: count("rows", row),
                events: count("events", row),
                repeats: count("repeats", row),
                rejects: count("rejects", row),
                ignored: count("ignored", row),
                erased: count("erased", row),
                days: days_of_text(&days).ok_or_else(|| anyhow!("a delivery says that its days are \"{days}\""))?,
                drift: text("drift", row),
                writer: named("writer"),
                took_ms: count("took_ms", row),
            })
        })
        .collect()
}
