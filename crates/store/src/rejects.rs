//! Rows that could not be read: feed, report, line, column, reason, and the row as it came.
//!
//! The rejects of a delivery are recorded together and once. A report may consist of nothing else, so they are
//! written in a stream.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use event::Reject;
use event::time::{self, Micros};

use crate::events::pause;
use crate::file::{FileWriter, NewFile};
use crate::rewrite::{Beside, Reach, Rewrite, rewrite};
use crate::small::{keys, overlapping};
use crate::store::Store;
use crate::table::{Change, Definition, LiveFile, Table};

pub(crate) static REJECTS: Definition = Definition {
    name: "rejects",
    schema,
    feed: Some("feed"),
    time: "time",
    by_month: false,
    order: &["time", "feed", "line"],
    transactions: &[],
};

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = |name| Field::new(name, DataType::Utf8, true);
        Arc::new(Schema::new(vec![
            text("delivery_id"),
            text("feed"),
            Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            text("report_id"),
            Field::new("line", DataType::Int64, true),
            text("column"),
            text("reason"),
            text("raw"),
        ]))
    });
    SCHEMA.clone()
}

/// Whose rejects are written.
#[derive(Clone, Debug)]
pub struct RejectSource {
    pub delivery_id: String,
    pub feed: String,
    /// The delivery's.
    pub time: Micros,
    pub report_id: String,
}

/// Writes one delivery's rejects on the thread that calls it, which must be one that may block.
#[derive(Debug)]
pub struct RejectWriter {
    table: Arc<Table>,
    source: RejectSource,
    file: Option<FileWriter>,
}

/// A delivery's rejects, written and waiting to be committed. Dropped, they leave nothing behind.
#[derive(Debug)]
pub struct PreparedRejects {
    source: RejectSource,
    file: Option<NewFile>,
}

impl RejectWriter {
    pub fn push(&mut self, rejects: &[Reject]) -> Result<()> {
        if rejects.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(FileWriter::create(&REJECTS, &self.table.place, schema(), None)?),
        };
        file.write(&batch_of(&self.source, rejects)?)
    }

    pub fn finish(self) -> Result<PreparedRejects> {
        Ok(PreparedRejects { source: self.source, file: self.file.map(FileWriter::finish).transpose()? })
    }
}

fn batch_of(source: &RejectSource, rejects: &[Reject]) -> Result<RecordBatch> {
    let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, rejects.len()))) };
    let times = TimestampMicrosecondArray::from(vec![source.time; rejects.len()]).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        same(&source.delivery_id),
        same(&source.feed),
        Arc::new(times),
        same(&source.report_id),
        Arc::new(rejects.iter().map(|reject| Some(reject.line as i64)).collect::<Int64Array>()),
        Arc::new(rejects.iter().map(|reject| reject.column.as_deref()).collect::<StringArray>()),
        Arc::new(rejects.iter().map(|reject| Some(reject.reason.as_str())).collect::<StringArray>()),
        Arc::new(rejects.iter().map(|reject| Some(reject.raw.as_str())).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

const TRIES: u32 = 200;

impl Store {
    /// A writer for one delivery's rejects.
    pub fn rejects(&self, source: RejectSource) -> RejectWriter {
        RejectWriter { table: self.rejects.clone(), source, file: None }
    }

    /// Records rejects, in one entry of the log; those of a delivery that has some already, or that have expired, are dropped.
    pub async fn commit_rejects(&self, prepared: Vec<PreparedRejects>, now: Micros) -> Result<()> {
        let some = prepared.into_iter().filter(|rejects| rejects.file.is_some()).collect();
        let mut prepared = self.unexpired_rejects(some).await?;
        for attempt in 0..TRIES {
            let base = self.rejects.latest().await?;
            prepared = self.unrecorded(prepared, base.files.values().cloned().collect()).await?;
            let add: Vec<LiveFile> = prepared.iter().filter_map(|rejects| Some(rejects.file.as_ref()?.live.clone())).collect();
            if add.is_empty() {
                return Ok(());
            }
            let change = Change { operation: "WRITE", add, now, ..Change::default() };
            prepared.iter_mut().filter_map(|rejects| rejects.file.as_mut()).for_each(NewFile::keep);
            if self.rejects.commit(&base, change).await.context("committing rejects")?.is_some() {
                return Ok(());
            }
            prepared.iter_mut().filter_map(|rejects| rejects.file.as_mut()).for_each(NewFile::let_go);
            tokio::time::sleep(pause(attempt)).await;
        }
        bail!("rejects could not be committed: {TRIES} times another writer was first");
    }

    async fn unexpired_rejects(&self, mut prepared: Vec<PreparedRejects>) -> Result<Vec<PreparedRejects>> {
        if prepared.is_empty() {
            return Ok(prepared);
        }
        let first = self.first_rejects().await?;
        let has_expired = |source: &RejectSource| first.get(&source.feed).is_some_and(|first| time::day(source.time) < *first);
        prepared.retain(|rejects| !has_expired(&rejects.source));
        Ok(prepared)
    }

    async fn unrecorded(&self, prepared: Vec<PreparedRejects>, files: Vec<Arc<LiveFile>>) -> Result<Vec<PreparedRejects>> {
        let place = self.rejects.place.clone();
        let work = move || {
            let mut left = Vec::new();
            let mut among: HashSet<String> = HashSet::new();
            for rejects in prepared {
                let time = rejects.source.time;
                let there = overlapping(files.iter(), Some((time, time)));
                let recorded = keys(&place, &there, "delivery_id")?;
                if !recorded.contains(&rejects.source.delivery_id) && among.insert(rejects.source.delivery_id.clone()) {
                    left.push(rejects);
                }
            }
            Ok(left)
        };
        tokio::task::spawn_blocking(work).await.context("the thread that compares rejects has died")?
    }

    /// Puts rejects in the place of those that their deliveries had: for reading again. Those that have expired stay away.
    pub async fn replace_rejects(&self, prepared: Vec<PreparedRejects>, now: Micros) -> Result<()> {
        let deliveries = prepared.iter().map(|rejects| rejects.source.delivery_id.clone()).collect();
        let add = self.unexpired_rejects(prepared).await?.into_iter().filter_map(|rejects| rejects.file).collect();
        let replaced = RejectsOf { column: "delivery_id", ids: deliveries };
        rewrite(&self.rejects, Arc::new(replaced), Beside { operation: "REREAD", add, ..Beside::default() }, now).await?;
        Ok(())
    }
}

/// The rejects of some reports or deliveries.
pub(crate) struct RejectsOf {
    /// `report_id` or `delivery_id`.
    pub(crate) column: &'static str,
    pub(crate) ids: HashSet<String>,
}

impl Rewrite for RejectsOf {
    fn reach(&self, _file: &LiveFile) -> Reach {
        if self.ids.is_empty() { Reach::Nothing } else { Reach::Something }
    }

    fn columns(&self) -> Vec<&str> {
        vec![self.column]
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let ids = batch.column_by_name(self.column).and_then(|ids| ids.as_string_opt::<i32>());
        let Some(ids) = ids else { bail!("rejects without {}", self.column) };
        Ok((0..batch.num_rows()).map(|row| Some(ids.is_valid(row) && self.ids.contains(ids.value(row)))).collect())
    }
}
