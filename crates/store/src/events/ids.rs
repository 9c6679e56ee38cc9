//! The ids of files, read without anything else of their rows.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use arrow::array::{Array, AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use event::id::Id;
use event::time;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::{ID, TIME};
use crate::days::Days;
use crate::place::Place;
use crate::table::LiveFile;

/// Ids, which are random, so that a part of one is its hash.
pub(crate) type IdSet = HashSet<Id, BuildHasherDefault<IdHasher>>;

#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Which rows' ids are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) feed: &'a str,
    pub(crate) days: &'a Days,
}

/// An opened file: its footer is read once, however often its ids are.
#[derive(Clone, Debug)]
pub(crate) struct IdFile {
    place: Place,
    live: Arc<LiveFile>,
    metadata: ArrowReaderMetadata,
}

const BATCH: usize = 1 << 16;

impl IdFile {
    pub(crate) fn open(place: &Place, live: &Arc<LiveFile>) -> Result<IdFile> {
        let blob = place.blob(&live.path, live.size)?;
        let metadata = ArrowReaderMetadata::load(&blob, ArrowReaderOptions::new()).with_context(|| format!("opening {}", live.path))?;
        Ok(IdFile { place: place.clone(), live: live.clone(), metadata })
    }

    /// The row groups that may hold wanted rows.
    pub(crate) fn row_groups(&self, wanted: &Wanted<'_>) -> Vec<usize> {
        let groups = self.metadata.metadata().row_groups().iter().enumerate();
        groups.filter(|(_, group)| may_hold_feed(group, wanted.feed) && may_hold_days(group, wanted.days)).map(|(place, _)| place).collect()
    }

    /// Every id of the feed in these row groups, whatever its day.
    pub(crate) fn ids(&self, feed: &str, row_groups: Vec<usize>, mut found: impl FnMut(Id)) -> Result<()> {
        let context = || format!("reading the ids of {}", self.live.path);
        let only = self.live.is_only_of(feed);
        let columns: &[&str] = if only { &[ID] } else { &[ID, "feed"] };
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), columns.iter().copied());
        let blob = self.place.blob(&self.live.path, self.live.size)?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(blob, self.metadata.clone())
            .with_projection(mask)
            .with_row_groups(row_groups)
            .with_batch_size(BATCH)
            .build()
            .with_context(context)?;
        for batch in reader {
            let batch = batch.with_context(context)?;
            let ids = ids_of(&batch)?;
            let feeds = if only { None } else { batch.column_by_name("feed").and_then(|feeds| feeds.as_string_opt::<i32>()) };
            for row in 0..batch.num_rows() {
                if only || feeds.is_some_and(|feeds| feeds.is_valid(row) && feeds.value(row) == feed) {
                    found(id_at(ids, row)?);
                }
            }
        }
        Ok(())
    }
}

/// Every id of the feed in those row groups of a file that may hold one of the days.
pub(crate) fn read_ids(place: &Place, live: &Arc<LiveFile>, wanted: &Wanted<'_>, found: impl FnMut(Id)) -> Result<()> {
    let file = IdFile::open(place, live)?;
    let row_groups = file.row_groups(wanted);
    if row_groups.is_empty() { Ok(()) } else { file.ids(wanted.feed, row_groups, found) }
}

/// The column of ids.
pub(crate) fn ids_of(batch: &RecordBatch) -> Result<&BinaryArray> {
    batch.column_by_name(ID).and_then(|ids| ids.as_binary_opt::<i32>()).ok_or_else(|| anyhow!("a batch of events has no column of ids"))
}

pub(crate) fn id_at(ids: &BinaryArray, row: usize) -> Result<Id> {
    ids.value(row).try_into().map_err(|_| anyhow!("an id has {} bytes, not 16", ids.value(row).len()))
}

/// The ids of a batch.
pub(crate) fn all_ids(batch: &RecordBatch) -> Result<Vec<Id>> {
    let ids = ids_of(batch)?;
    (0..batch.num_rows()).map(|row| id_at(ids, row)).collect()
}

/// The column of source times.
pub(crate) fn times_of(batch: &RecordBatch) -> Result<&[i64]> {
    let times = batch
        .column_by_name(TIME)
        .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| anyhow!("a batch of events has no source times"))?;
    if times.null_count() > 0 {
        return Err(anyhow!("an event has no source time"));
    }
    Ok(times.values())
}

fn may_hold_feed(group: &RowGroupMetaData, feed: &str) -> bool {
    match statistics(group, "feed") {
        Some(Statistics::ByteArray(bounds)) => {
            let feed = feed.as_bytes();
            bounds.min_opt().is_none_or(|first| first.data() <= feed) && bounds.max_opt().is_none_or(|last| feed <= last.data())
        }
        _ => true,
    }
}

fn may_hold_days(group: &RowGroupMetaData, days: &Days) -> bool {
    match statistics(group, TIME) {
        Some(Statistics::Int64(bounds)) => match (bounds.min_opt(), bounds.max_opt()) {
            (Some(first), Some(last)) => days.range(time::day(*first)..=time::day(*last)).next().is_some(),
            _ => true,
        },
        _ => true,
    }
}

fn statistics<'a>(group: &'a RowGroupMetaData, column: &str) -> Option<&'a Statistics> {
    group.columns().iter().find(|chunk| chunk.column_path().string() == column)?.statistics()
}
