//! Making prepared appends part of the table, exactly once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arrow::array::BooleanArray;
use event::time::Micros;

use super::EVENTS;
use super::append::{Counts, Prepared};
use super::ids::{IdSet, Wanted, id_at, ids_of, read_ids};
use crate::days::{Days, FeedDays};
use crate::file::{NewFile, rewrite};
use crate::table::{Change, Entry, LiveFile, Table, Version};

/// Tries before a commit gives up; each failure means that somebody else succeeded.
const TRIES: u32 = 200;

/// Ids compared at a time.
const COMPARED: usize = 1 << 20;

/// What became of a commit.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The table's version that holds the events.
    pub version: u64,
    /// For each prepared append, in order.
    pub outcomes: Vec<Outcome>,
}

/// What became of one append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows pushed.
    pub rows: u64,
    /// Rows that are events of the table now and were not before.
    pub events: u64,
    /// Rows that the table had, or that came twice.
    pub repeats: u64,
    /// Rows that say what was erased.
    pub erased: u64,
    /// Rows of days that are not read again, where only some are.
    pub other_days: u64,
    /// The days of all rows, repeats too: what a delivery touched.
    pub days: Days,
}

impl Outcome {
    pub(crate) fn of(counts: &Counts) -> Outcome {
        Outcome {
            rows: counts.rows,
            events: counts.events,
            repeats: counts.repeats,
            erased: counts.erased,
            other_days: counts.other_days,
            days: counts.days.clone(),
        }
    }
}

/// While rows were being read, another commit replaced days that they belong to: what the reading took for
/// present may be gone, or its rows may have been read with an older table. It must be done again.
#[derive(Debug)]
pub struct Overtaken;

impl fmt::Display for Overtaken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("days of this feed were changed by another writer while they were being read; they must be read again")
    }
}

impl std::error::Error for Overtaken {}

/// Commits appends, several in one entry of the log.
pub(crate) async fn commit(table: &Arc<Table>, prepared: Vec<Prepared>, now: Micros) -> Result<Committed> {
    let mut prepared = among_themselves(prepared).await?;
    for attempt in 0..TRIES {
        let base = table.latest().await?;
        prepared = catch_up(table, prepared, &base).await?;
        let mut change = Change { operation: "WRITE", now, ..Change::default() };
        for append in &prepared {
            change.add.extend(append.files.iter().map(|file| file.live.clone()));
            change.touched.add_all(&FeedDays::of(&append.feed, &append.counts.new_days));
        }
        if change.add.is_empty() {
            return Ok(committed(base.number.unwrap_or(0), prepared));
        }
        new_files(&mut prepared).for_each(NewFile::keep);
        if let Some(version) = table.commit(&base, change).await.context("committing events")? {
            return Ok(committed(version.number.unwrap_or(0), prepared));
        }
        new_files(&mut prepared).for_each(NewFile::let_go);
        tokio::time::sleep(pause(attempt)).await;
    }
    bail!("events could not be committed: {TRIES} times another writer was first");
}

/// A pause that differs from that of other writers.
pub(crate) fn pause(attempt: u32) -> Duration {
    Duration::from_micros(crate::random() % (1000 * u64::from(attempt.min(50)) + 1))
}

fn new_files(prepared: &mut [Prepared]) -> impl Iterator<Item = &mut NewFile> {
    prepared.iter_mut().flat_map(|append| &mut append.files)
}

fn committed(version: u64, prepared: Vec<Prepared>) -> Committed {
    Committed { version, outcomes: prepared.iter().map(|append| Outcome::of(&append.counts)).collect() }
}

/// Takes out of each append what one before it brings too: deliveries of one feed may wait together.
async fn among_themselves(mut prepared: Vec<Prepared>) -> Result<Vec<Prepared>> {
    for place in 1..prepared.len() {
        let feed = prepared[place].feed.clone();
        let earlier: Vec<Arc<LiveFile>> = prepared[..place]
            .iter()
            .filter(|append| append.feed == feed)
            .flat_map(|append| append.files.iter().map(|file| Arc::new(file.live.clone())))
            .filter(|file| may_share(file, &prepared[place]))
            .collect();
        if !earlier.is_empty() {
            let append = prepared.remove(place);
            let append = blocking(append, move |append| drop_ids_in(append, &earlier)).await?;
            prepared.insert(place, append);
        }
    }
    Ok(prepared)
}

/// Takes out what was committed since the appends last looked.
async fn catch_up(table: &Arc<Table>, prepared: Vec<Prepared>, base: &Arc<Version>) -> Result<Vec<Prepared>> {
    let mut current = Vec::with_capacity(prepared.len());
    for append in prepared {
        if append.version.number == base.number {
            current.push(append);
            continue;
        }
        let (after, up_to) = (append.version.number.unwrap_or(0), base.number.unwrap_or(0));
        let entries = table.entries(after, up_to).await?.ok_or(Overtaken)?;
        if entries.iter().any(|entry| takes_away_from(entry, &append)) {
            return Err(Overtaken.into());
        }
        let added = entries.iter().filter(|entry| entry.changed_rows).flat_map(|entry| &entry.added);
        let added: Vec<Arc<LiveFile>> = added.filter(|file| may_share(file, &append)).cloned().collect();
        let mut append = match added.is_empty() {
            true => append,
            false => blocking(append, move |append| drop_ids_in(append, &added)).await?,
        };
        append.version = base.clone();
        current.push(append);
    }
    Ok(current)
}

fn takes_away_from(entry: &Entry, append: &Prepared) -> bool {
    let ours = FeedDays::of(&append.feed, &append.counts.days);
    entry.changed_rows && !entry.removed.is_empty() && entry.touched.as_ref().is_none_or(|touched| touched.meets(&ours))
}

fn may_share(file: &LiveFile, append: &Prepared) -> bool {
    file.may_hold_feed(&append.feed) && file.may_hold_days(&append.counts.days)
}

async fn blocking(mut append: Prepared, work: impl FnOnce(&mut Prepared) -> Result<()> + Send + 'static) -> Result<Prepared> {
    tokio::task::spawn_blocking(move || work(&mut append).map(|()| append)).await.context("the thread that compares appends has died")?
}

/// Rewrites those of the append's files that hold ids of the given files.
fn drop_ids_in(append: &mut Prepared, files: &[Arc<LiveFile>]) -> Result<()> {
    let place = append.table.place.clone();
    let days = append.counts.days.clone();
    let mut shared = IdSet::default();
    for file in files {
        let mut found = IdSet::default();
        // The append's filter knows all its ids, so that this set stays as small as what is truly shared.
        read_ids(&place, file, &Wanted { feed: &append.feed, days: &days }, |id| {
            if append.may_hold(&id) {
                found.insert(id);
            }
        })?;
        shared.extend(found);
        if shared.len() >= COMPARED {
            drop_ids(append, &std::mem::take(&mut shared))?;
        }
    }
    if shared.is_empty() { Ok(()) } else { drop_ids(append, &shared) }
}

fn drop_ids(append: &mut Prepared, ids: &IdSet) -> Result<()> {
    let place = append.table.place.clone();
    let days = append.counts.days.clone();
    let mut files = Vec::with_capacity(append.files.len());
    for file in std::mem::take(&mut append.files) {
        let mut repeats = 0;
        let live = Arc::new(file.live.clone());
        read_ids(&place, &live, &Wanted { feed: &append.feed, days: &days }, |id| repeats += u64::from(ids.contains(&id)))?;
        if repeats == 0 {
            files.push(file);
            continue;
        }
        append.counts.repeats += repeats;
        append.counts.events -= repeats;
        let rewritten = rewrite(&EVENTS, &place, &live, |batch| {
            let column = ids_of(batch)?;
            let keep: Result<Vec<bool>> = (0..batch.num_rows()).map(|row| Ok(!ids.contains(&id_at(column, row)?))).collect();
            Ok(BooleanArray::from(keep?))
        })?;
        files.extend(rewritten);
    }
    append.files = files;
    Ok(())
}
