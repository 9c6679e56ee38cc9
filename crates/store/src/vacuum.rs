//! Deleting what no version refers to: files that were replaced, and what a process left that died.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use event::time::{self, Micros};

use crate::place::{Listed, is_unfinished};
use crate::store::Store;
use crate::table::{Table, Version};

/// What was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    pub files: usize,
    /// In bytes.
    pub size: u64,
    /// Entries and checkpoints of tables' logs.
    pub log_entries: usize,
}

/// A file that no version ever named may belong to an append that is under way: so long is it let be.
const UNDER_WAY: Micros = time::DAY;

/// Entries of a log are kept at least so long, for readers of older versions and for sightings.
const LOG_KEPT: Micros = 7 * time::DAY;

impl Store {
    /// Deletes data files that no version has referred to for as long as `keep`, leftovers of writers that died, reports
    /// of nobody's, and entries of the logs that a checkpoint stands for. Reading older versions then ends at `keep` ago.
    pub async fn vacuum(&self, keep: Duration, now: Micros) -> Result<Vacuumed> {
        self.require_write()?;
        let cutoff = now.saturating_sub(i64::try_from(keep.as_micros()).unwrap_or(i64::MAX));
        let mut done = Vacuumed::default();
        for table in self.tables() {
            let context = || format!("vacuuming {}", table.definition.name);
            done.add(vacuum_table(table, cutoff, cutoff.min(now - UNDER_WAY)).await.with_context(context)?);
            done.log_entries += table.cut_log(cutoff.min(now - LOG_KEPT)).await.with_context(context)?;
        }
        let oldest = now - UNDER_WAY;
        done.files += self.delete_strays(cutoff.min(oldest)).await?;
        done.files += self.delete_unfinished(oldest).await?;
        Ok(done)
    }

    /// Deletes at once what processes that died have left behind: only where nobody else is at work.
    pub(crate) async fn vacuum_leftovers(&self, now: Micros) -> Result<()> {
        for table in self.tables() {
            vacuum_table(table, Micros::MAX, Micros::MAX).await?;
        }
        self.delete_strays(Micros::MAX).await?;
        self.delete_unfinished(now + UNDER_WAY).await.map(|_| ())
    }

    /// Deletes what was not finished before then, in the store's own folders: what else lies beside them is others'.
    async fn delete_unfinished(&self, before: Micros) -> Result<usize> {
        let Some(folder) = self.place.folder().map(Path::to_path_buf) else { return Ok(0) };
        let own = self.own_names();
        let work = move || delete_unfinished(&folder, before, &|name| own.contains(&name));
        tokio::task::spawn_blocking(work).await.context("the thread that deletes files has died")?
    }

    /// Deletes at once whatever files of the table the log says were removed, and then that log.
    pub(crate) async fn vacuum_removed(&self, table: &Arc<Table>) -> Result<()> {
        let version = table.latest().await?;
        let removed = removed_since(table, &version, Micros::MIN).await?;
        for path in removed.iter().filter(|path| !version.files.contains_key(*path)) {
            table.place.delete(path).await?;
        }
        table.checkpoint().await.with_context(|| format!("summing up the log of {}", table.definition.name))?;
        table.cut_log(Micros::MAX).await?;
        Ok(())
    }
}

impl Vacuumed {
    fn add(&mut self, other: Vacuumed) {
        self.files += other.files;
        self.size += other.size;
        self.log_entries += other.log_entries;
    }
}

/// Deletes data files that are older than that, and that no version since `cutoff` refers to.
async fn vacuum_table(table: &Arc<Table>, cutoff: Micros, oldest: Micros) -> Result<Vacuumed> {
    // Listed before the version is read: a file that is committed in between is then not taken for a leftover.
    let listed = table.place.list("").await?;
    let version = table.latest().await?;
    let removed_lately = removed_since(table, &version, cutoff).await?;
    let is_garbage = |file: &&Listed| {
        file.name.ends_with(".parquet")
            && !file.name.starts_with("_delta_log/")
            && !version.files.contains_key(&file.name)
            && !removed_lately.contains(&file.name)
            && file.modified < oldest
    };
    let mut done = Vacuumed::default();
    for file in listed.iter().filter(is_garbage) {
        table.place.delete(&file.name).await?;
        done.files += 1;
        done.size += file.size;
    }
    Ok(done)
}

/// Files that commits since then removed, as far as the log goes back.
async fn removed_since(table: &Table, version: &Version, since: Micros) -> Result<HashSet<String>> {
    let mut removed = HashSet::new();
    for number in (0..=version.number.unwrap_or(0)).rev() {
        match table.entry(number).await? {
            Some(entry) if entry.time.is_none_or(|time| time >= since) => removed.extend(entry.removed),
            _ => break,
        }
    }
    Ok(removed)
}

fn delete_unfinished(folder: &Path, before: Micros, goes_into: &dyn Fn(&str) -> bool) -> Result<usize> {
    let mut deleted = 0;
    let Some(listed) = there(std::fs::read_dir(folder)).with_context(|| format!("reading the folder {}", folder.display()))? else {
        return Ok(0);
    };
    for entry in listed {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            deleted += if goes_into(&name) { delete_unfinished(&entry.path(), before, &|_| true)? } else { 0 };
        } else if is_unfinished(&name) {
            // Whoever writes it may give it its name meanwhile.
            let Some(metadata) = there(entry.metadata())? else { continue };
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            if (modified.as_micros() as i64) < before {
                let gone = there(std::fs::remove_file(entry.path())).with_context(|| format!("deleting {}", entry.path().display()))?;
                deleted += usize::from(gone.is_some());
            }
        }
    }
    Ok(deleted)
}

/// Nothing, of what is not there any more.
fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
