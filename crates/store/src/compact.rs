//! Merging small files: every commit adds some, and every reader pays for each of them.
//!
//! Files of one month are merged into ones of up to 256 MB, sorted so that a question about one feed, or some
//! days, reads few row groups. Which files are merged follows their sizes: a large one only together with about
//! as much in small ones, so that a row is rewritten a few times in its life and not with every merge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use event::time::Micros;
use futures::StreamExt;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use crate::events::pause;
use crate::file::{FileWriter, NewFile};
use crate::query::{LiveTable, plain};
use crate::store::Store;
use crate::table::{Change, LiveFile, Table, Version};

/// When and how far files are merged.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// So many small files of one month are let be.
    pub small_files: usize,
    /// Files of a table beyond which the months with most small files are merged, whatever their number.
    pub all_files: usize,
}

impl Compaction {
    /// What a writer does as it goes.
    pub const AS_IT_GOES: Compaction = Compaction { small_files: 32, all_files: 500 };
    /// Whatever can be merged is merged.
    pub const WHOLLY: Compaction = Compaction { small_files: 1, all_files: 0 };
}

/// What was merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    pub files_before: usize,
    pub files_after: usize,
    pub rows: u64,
}

/// Merged files end at this size, in bytes.
const FILE_SIZE: usize = 256 << 20;
/// A file is not small any more at a part of its table's size, within these bounds. So there are some hundreds of
/// large files, however large the table, and a large report's rows are not written twice in a table of a few
/// gigabytes: merging costs 3 core-seconds a million rows, four times what appending them does.
const LARGE_PART: u64 = 400;
const LARGE_AT_LEAST: u64 = 16 << 20;
const LARGE_AT_MOST: u64 = 128 << 20;
/// Files of up to this size are merged whatever the size of the others.
const TINY: u64 = 4 << 20;
/// Merged at once, in bytes of files: more would only sort longer.
const AT_ONCE: u64 = 1 << 30;

impl Store {
    /// Merges files where there are too many. What others take away meanwhile is left alone.
    pub async fn compact(&self, compaction: Compaction, now: Micros) -> Result<Compacted> {
        let mut all = Compacted::default();
        for table in self.tables() {
            let version = table.latest().await?;
            for files in too_many(&version, compaction) {
                let merged =
                    self.merge(table, &version, files, now).await.with_context(|| format!("merging files of {}", table.definition.name))?;
                all.files_before += merged.files_before;
                all.files_after += merged.files_after;
                all.rows += merged.rows;
            }
        }
        Ok(all)
    }

    /// Whether [`Store::compact`] would find anything to merge.
    pub async fn needs_compaction(&self, compaction: Compaction) -> Result<bool> {
        for table in self.tables() {
            if !too_many(&*table.latest().await?, compaction).is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn merge(&self, table: &Arc<Table>, version: &Arc<Version>, files: Vec<Arc<LiveFile>>, now: Micros) -> Result<Compacted> {
        let mut merged = self.merged(table, version, &files).await?;
        let rows: u64 = merged.iter().map(|file| file.live.rows).sum();
        if rows != files.iter().map(|file| file.rows).sum::<u64>() {
            bail!("merging gave {rows} rows where there were others; nothing was changed");
        }
        let done = Compacted { files_before: files.len(), files_after: merged.len(), rows };
        for attempt in 0.. {
            let base = table.latest().await?;
            if files.iter().any(|file| !base.files.contains_key(&file.path)) {
                tracing::debug!(table = table.definition.name, "files that were merged are gone; the merged ones are dropped");
                return Ok(Compacted::default());
            }
            let change = Change {
                operation: "OPTIMIZE",
                add: merged.iter().map(|file| file.live.clone()).collect(),
                remove: files.clone(),
                same_rows: true,
                now,
                ..Change::default()
            };
            merged.iter_mut().for_each(NewFile::keep);
            if table.commit(&base, change).await?.is_some() {
                return Ok(done);
            }
            merged.iter_mut().for_each(NewFile::let_go);
            tokio::time::sleep(pause(attempt)).await;
        }
        Ok(Compacted::default())
    }

    /// The rows of these files, sorted, in new ones.
    async fn merged(&self, table: &Arc<Table>, version: &Arc<Version>, files: &[Arc<LiveFile>]) -> Result<Vec<NewFile>> {
        let schema = union_schema(table, files).await?;
        let month = files.first().and_then(|file| file.month.clone());
        let session = self.sorting_session(self.query_memory())?;
        let source = LiveTable::of_files(table.definition, table.place.clone(), version.clone(), files.to_vec());
        session.register_table("source", Arc::new(source))?;
        let quoted = |names: &mut dyn Iterator<Item = &str>| names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let columns = quoted(&mut schema.fields().iter().map(|field| field.name().as_str()));
        let order = quoted(&mut table.definition.order.iter().copied());
        let mut rows = session.sql(&format!("select {columns} from source order by {order}")).await?.execute_stream().await?;
        let mut writer = MergeWriter { table: table.clone(), month, schema, file: None, done: Vec::new() };
        while let Some(batch) = rows.next().await {
            writer = writer.write(batch?).await?;
        }
        writer.finish().await
    }
}

/// Sets of files that are to be merged, each into as few as may be.
fn too_many(version: &Version, compaction: Compaction) -> Vec<Vec<Arc<LiveFile>>> {
    let size: u64 = version.files.values().map(|file| file.size).sum();
    let large = if compaction.small_files <= 1 { LARGE_AT_MOST } else { (size / LARGE_PART).clamp(LARGE_AT_LEAST, LARGE_AT_MOST) };
    let mut months: BTreeMap<Option<&str>, Vec<Arc<LiveFile>>> = BTreeMap::new();
    for file in version.files.values().filter(|file| file.size < large) {
        months.entry(file.month.as_deref()).or_default().push(file.clone());
    }
    let mut months: Vec<Vec<Arc<LiveFile>>> = months.into_values().collect();
    months.sort_by_key(|files| std::cmp::Reverse(files.len()));
    let mut left = version.files.len();
    let mut chosen = Vec::new();
    for files in months {
        // Beyond the limit of files it is better to write rows once more than to keep them apart. Below it, a merge of
        // few files is put off: it would be done again with the next commit.
        let (merged, few) = if left > compaction.all_files { (files, 1) } else { (smallest(files), compaction.small_files) };
        let much = merged.iter().map(|file| file.size).sum::<u64>() > AT_ONCE;
        if merged.len() > few || much && merged.len() > 1 {
            left -= merged.len() - 1;
            chosen.push(merged);
        }
    }
    chosen
}

/// The smaller files, up to one that is more than twice as large as what is already to be merged.
fn smallest(mut files: Vec<Arc<LiveFile>>) -> Vec<Arc<LiveFile>> {
    files.sort_by_key(|file| file.size);
    let mut sum = 0;
    let count = files
        .iter()
        .take_while(|file| {
            let fits = (sum == 0 || file.size <= (2 * sum).max(TINY)) && sum <= AT_ONCE;
            sum += file.size;
            fits
        })
        .count();
    files.truncate(count);
    files
}

/// The table's columns that any of the files has.
async fn union_schema(table: &Arc<Table>, files: &[Arc<LiveFile>]) -> Result<SchemaRef> {
    let (table, files) = (table.clone(), files.to_vec());
    let work = move || {
        let mut names = BTreeSet::new();
        for file in files {
            let blob = table.place.blob(&file.path, file.size)?;
            let metadata = ArrowReaderMetadata::load(&blob, ArrowReaderOptions::new()).with_context(|| format!("opening {}", file.path))?;
            names.extend(metadata.schema().fields().iter().map(|field| field.name().clone()));
        }
        let all = table.definition.file_schema();
        Ok(Arc::new(Schema::new(all.fields().iter().filter(|field| names.contains(field.name())).cloned().collect::<Vec<_>>())))
    };
    tokio::task::spawn_blocking(work).await.context("the thread that reads schemas has died")?
}

struct MergeWriter {
    table: Arc<Table>,
    month: Option<String>,
    schema: SchemaRef,
    file: Option<FileWriter>,
    done: Vec<NewFile>,
}

impl MergeWriter {
    async fn write(mut self, batch: RecordBatch) -> Result<MergeWriter> {
        let work = move || {
            let batch = plain(&batch, &self.schema)?;
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(FileWriter::create(
                    self.table.definition,
                    &self.table.place,
                    self.schema.clone(),
                    self.month.as_deref(),
                )?),
            };
            file.write(&batch)?;
            if file.size() >= FILE_SIZE {
                self.done.extend(self.file.take().map(FileWriter::finish).transpose()?);
            }
            Ok(self)
        };
        tokio::task::spawn_blocking(work).await.context("the thread that merges files has died")?
    }

    async fn finish(mut self) -> Result<Vec<NewFile>> {
        let work = move || {
            self.done.extend(self.file.take().map(FileWriter::finish).transpose()?);
            Ok(self.done)
        };
        tokio::task::spawn_blocking(work).await.context("the thread that merges files has died")?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of these sizes in MB, and how many of the smaller ones are merged.
    #[track_caller]
    fn check(sizes: &[u64], merged: usize) {
        let file = |size: &u64| LiveFile { path: String::new(), size: size << 20, month: None, rows: 1, feed: None, time: None };
        let files = sizes.iter().map(|size| Arc::new(file(size))).collect();
        assert_eq!(smallest(files).len(), merged, "{sizes:?}");
    }

    #[test]
    fn a_large_file_is_merged_only_with_as_much_in_small_ones() {
        check(&[1, 1, 1, 1], 4);
        check(&[100, 1, 1], 2);
        check(&[6, 6, 6, 6, 6], 5);
        check(&[5, 20], 1);
        check(&[2, 4, 8, 10, 100], 4);
        check(&[600, 600, 600, 600], 2);
        check(&[], 0);
    }

    /// Files of a month with these sizes in MB among 15 GB of large ones, and how many a writer merges as it goes.
    #[track_caller]
    fn check_as_it_goes(sizes: &[u64], merged: usize) {
        let file = |(place, size): (usize, &u64)| {
            let path = place.to_string();
            (path.clone(), Arc::new(LiveFile { path, size: size << 20, month: None, rows: 1, feed: None, time: None }))
        };
        let files = sizes.iter().chain(&[1000; 15]).enumerate().map(file).collect();
        let mut version = Version::default();
        version.files = files;
        let chosen = too_many(&version, Compaction::AS_IT_GOES);
        assert_eq!(chosen.iter().map(Vec::len).sum::<usize>(), merged, "{sizes:?}");
    }

    #[test]
    fn a_merge_of_few_files_is_put_off() {
        check_as_it_goes(&[1; 32], 0);
        check_as_it_goes(&[1; 33], 33);
        // One that was merged before is not merged again with the next small one.
        check_as_it_goes(&[[33, 1].as_slice(), &[6; 30]].concat(), 0);
        // So many large ones are not merged at once, but what is merged at once is.
        check_as_it_goes(&[36; 60], 29);
    }
}
