//! Taking rows out of a table, or changing them, and putting others in, in one commit.
//!
//! Files are never edited: one that holds some of the rows is written anew without them, one that holds
//! nothing else is taken out whole, and only then does an entry in the log exchange them. What was done to a
//! file is kept while the commit is tried again, since other writers seldom touch the same one.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use event::time::{self, Micros};

use crate::days::{Days, FeedDays};
use crate::events::{Overtaken, pause};
use crate::file::{self, FileWriter, NewFile};
use crate::place::Place;
use crate::table::{Change, Definition, Entry, LiveFile, Table, Version};

/// Which rows of a table are meant, and what is done to them.
pub(crate) trait Rewrite: Send + Sync + 'static {
    /// What the statistics of a file say about its rows.
    fn reach(&self, file: &LiveFile) -> Reach;

    /// The columns that [`Rewrite::rows`] needs.
    fn columns(&self) -> Vec<&str>;

    /// The rows that are meant, of a batch with at least those columns.
    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray>;

    /// The batch without these rows, or with them changed.
    fn apply(&self, batch: &RecordBatch, rows: &BooleanArray) -> Result<RecordBatch> {
        Ok(compute::filter_record_batch(batch, &compute::not(rows)?)?)
    }
}

/// The rows of some days of some feeds.
pub(crate) struct FeedDaysRows {
    pub(crate) of: FeedDays,
    /// The column of times or days.
    pub(crate) time: &'static str,
}

impl Rewrite for FeedDaysRows {
    fn reach(&self, file: &LiveFile) -> Reach {
        let may_hold = |(feed, days): (&String, &Days)| file.may_hold_feed(feed) && file.may_hold_days(days);
        if !self.of.0.iter().any(may_hold) {
            return Reach::Nothing;
        }
        let holds_only = |(feed, days): (&String, &Days)| {
            let within = |(first, last)| (time::day(first)..=time::day(last)).all(|day| days.contains(&day));
            file.is_only_of(feed) && file.time.is_some_and(within)
        };
        if self.of.0.iter().any(holds_only) { Reach::Everything } else { Reach::Something }
    }

    fn columns(&self) -> Vec<&str> {
        Vec::new()
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let feeds = batch.column_by_name("feed").and_then(|feeds| feeds.as_string_opt::<i32>());
        let (Some(feeds), Some(times)) = (feeds, batch.column_by_name(self.time)) else { bail!("rows without feed and time") };
        let meant = |row: usize| {
            let days = if feeds.is_valid(row) { self.of.0.get(feeds.value(row)) } else { None };
            Some(days?.contains(&day_at(times, row)?))
        };
        Ok((0..batch.num_rows()).map(|row| Some(meant(row).unwrap_or(false))).collect())
    }
}

/// The rows of each of some feeds before its day.
pub(crate) struct Before {
    pub(crate) days: BTreeMap<String, i32>,
    /// The column of times or days.
    pub(crate) time: &'static str,
}

impl Before {
    fn may_be_in(&self, file: &LiveFile) -> bool {
        let may = |(feed, day): (&String, &i32)| file.may_hold_feed(feed) && file.time.is_none_or(|(first, _)| time::day(first) < *day);
        self.days.iter().any(may)
    }
}

impl Rewrite for Before {
    fn reach(&self, file: &LiveFile) -> Reach {
        if self.may_be_in(file) { Reach::Something } else { Reach::Nothing }
    }

    fn columns(&self) -> Vec<&str> {
        Vec::new()
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let feeds = batch.column_by_name("feed").and_then(|feeds| feeds.as_string_opt::<i32>());
        let (Some(feeds), Some(times)) = (feeds, batch.column_by_name(self.time)) else { bail!("rows without feed and time") };
        let is_before = |row: usize| {
            let day = if feeds.is_valid(row) { self.days.get(feeds.value(row)) } else { None };
            Some(day_at(times, row)? < *day?)
        };
        Ok((0..batch.num_rows()).map(|row| Some(is_before(row).unwrap_or(false))).collect())
    }
}

/// All other rows.
pub(crate) struct AllBut(pub(crate) Before);

impl Rewrite for AllBut {
    fn reach(&self, file: &LiveFile) -> Reach {
        if self.0.may_be_in(file) { Reach::Something } else { Reach::Everything }
    }

    fn columns(&self) -> Vec<&str> {
        self.0.columns()
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        Ok(compute::not(&self.0.rows(batch)?)?)
    }
}

/// How much of a file is meant, as far as its statistics tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reach {
    Nothing,
    Something,
    /// All rows, and they are taken out.
    Everything,
}

/// What became of a file.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each file that is rewritten")]
enum Fate {
    Untouched,
    Rewritten { new: Option<NewFile>, rows: u64, touched: FeedDays },
}

/// What a rewriting did.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    pub(crate) version: Arc<Version>,
    /// Rows that were taken out or changed.
    pub(crate) rows: u64,
}

/// What goes into the commit beside the rewriting.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) operation: &'static str,
    pub(crate) add: Vec<NewFile>,
    /// Days that count as changed besides those of rewritten rows.
    pub(crate) touched: FeedDays,
    pub(crate) transaction: Option<(&'static str, i64)>,
    /// Days that nobody else may have changed after that version: then what is beside was made from too little.
    pub(crate) unless_touched: Option<(u64, FeedDays)>,
    /// If set, the commit is given up once the table's transaction of that name has come as far.
    pub(crate) only_if_behind: bool,
}

const TRIES: u32 = 200;

/// Rewrites a table and commits it, with what is beside.
pub(crate) async fn rewrite(table: &Arc<Table>, rewriting: Arc<dyn Rewrite>, mut beside: Beside, now: Micros) -> Result<Rewritten> {
    let mut done: BTreeMap<String, Fate> = BTreeMap::new();
    for attempt in 0..TRIES {
        let base = table.latest().await?;
        if beside.only_if_behind && beside.transaction.is_some_and(|(name, reached)| base.transactions.get(name) >= Some(&reached)) {
            return Ok(Rewritten { version: base, ..Rewritten::default() });
        }
        if let Some((since, days)) = &beside.unless_touched
            && touched_since(table, *since, &base, days).await?
        {
            return Err(Overtaken.into());
        }
        done.retain(|path, _| base.files.contains_key(path));
        done = prepare(table, &rewriting, &base, done).await?;
        let (change, rows) = change(&base, &done, &beside, now);
        if change.add.is_empty() && change.remove.is_empty() && change.transaction.is_none() {
            return Ok(Rewritten { version: base, ..Rewritten::default() });
        }
        new_files(&mut done, &mut beside.add).for_each(NewFile::keep);
        let committed = table.commit(&base, change).await;
        if let Some(version) = committed.with_context(|| format!("committing a change of {}", table.definition.name))? {
            return Ok(Rewritten { version, rows });
        }
        new_files(&mut done, &mut beside.add).for_each(NewFile::let_go);
        tokio::time::sleep(pause(attempt)).await;
    }
    bail!("a change of {} could not be committed: {TRIES} times another writer was first", table.definition.name);
}

async fn touched_since(table: &Table, since: u64, base: &Version, days: &FeedDays) -> Result<bool> {
    let Some(entries) = table.entries(since, base.number.unwrap_or(0)).await? else { return Ok(true) };
    let touched = |entry: &Entry| entry.changed_rows && entry.touched.as_ref().is_none_or(|touched| touched.meets(days));
    Ok(entries.iter().any(touched))
}

fn new_files<'n>(done: &'n mut BTreeMap<String, Fate>, beside: &'n mut [NewFile]) -> impl Iterator<Item = &'n mut NewFile> {
    let rewritten = done.values_mut().filter_map(|fate| match fate {
        Fate::Rewritten { new, .. } => new.as_mut(),
        Fate::Untouched => None,
    });
    rewritten.chain(beside)
}

fn change(base: &Version, done: &BTreeMap<String, Fate>, beside: &Beside, now: Micros) -> (Change, u64) {
    let mut change =
        Change { operation: beside.operation, touched: beside.touched.clone(), transaction: beside.transaction, now, ..Change::default() };
    change.add.extend(beside.add.iter().map(|file| file.live.clone()));
    let mut all = 0;
    for (path, fate) in done {
        if let Fate::Rewritten { new, rows, touched } = fate {
            change.remove.extend(base.files.get(path).cloned());
            change.add.extend(new.as_ref().map(|file| file.live.clone()));
            change.touched.add_all(touched);
            all += rows;
        }
    }
    (change, all)
}

/// Looks at every file that was not looked at before.
async fn prepare(
    table: &Arc<Table>,
    rewriting: &Arc<dyn Rewrite>,
    base: &Arc<Version>,
    mut done: BTreeMap<String, Fate>,
) -> Result<BTreeMap<String, Fate>> {
    let (table, rewriting, base) = (table.clone(), rewriting.clone(), base.clone());
    let work = move || {
        for (path, live) in &base.files {
            if !done.contains_key(path) {
                let fate = fate(table.definition, &table.place, live, rewriting.as_ref()).with_context(|| format!("rewriting {path}"))?;
                done.insert(path.clone(), fate);
            }
        }
        Ok(done)
    };
    tokio::task::spawn_blocking(work).await.context("the thread that rewrites files has died")?
}

fn fate(definition: &'static Definition, place: &Place, live: &LiveFile, rewriting: &dyn Rewrite) -> Result<Fate> {
    match rewriting.reach(live) {
        Reach::Nothing => return Ok(Fate::Untouched),
        Reach::Everything => return Ok(Fate::Rewritten { new: None, rows: live.rows, touched: FeedDays::default() }),
        Reach::Something => {}
    }
    let (rows, touched) = meant(definition, place, live, rewriting)?;
    if rows == 0 {
        return Ok(Fate::Untouched);
    }
    let mut writer: Option<FileWriter> = None;
    for batch in file::read(place, live)? {
        let batch = batch?;
        let applied = rewriting.apply(&batch, &rewriting.rows(&batch)?)?;
        if applied.num_rows() > 0 {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(FileWriter::create(definition, place, applied.schema(), live.month.as_deref())?),
            };
            writer.write(&applied)?;
        }
    }
    Ok(Fate::Rewritten { new: writer.map(FileWriter::finish).transpose()?, rows, touched })
}

/// How many rows of the file are meant, and whose days they are. Reads only the columns that tell.
fn meant(definition: &Definition, place: &Place, live: &LiveFile, rewriting: &dyn Rewrite) -> Result<(u64, FeedDays)> {
    let mut columns = rewriting.columns();
    columns.extend(definition.feed);
    columns.push(definition.time);
    let mut all = 0;
    let mut touched = FeedDays::default();
    for batch in file::read_columns(place, live, &columns)? {
        let batch = batch?;
        let rows = rewriting.rows(&batch)?;
        all += rows.true_count() as u64;
        touched.add_all(&feed_days(definition, &compute::filter_record_batch(&batch, &rows)?));
    }
    Ok((all, touched))
}

/// The days of each feed in a batch.
fn feed_days(definition: &Definition, batch: &RecordBatch) -> FeedDays {
    let mut found = FeedDays::default();
    let feeds = definition.feed.and_then(|feed| batch.column_by_name(feed)?.as_string_opt::<i32>());
    let times = batch.column_by_name(definition.time);
    let (Some(feeds), Some(times)) = (feeds, times) else { return found };
    let mut last: Option<(&str, i32)> = None;
    for row in 0..batch.num_rows() {
        let Some(day) = day_at(times, row) else { continue };
        if feeds.is_valid(row) && last != Some((feeds.value(row), day)) {
            found.0.entry(feeds.value(row).to_owned()).or_default().insert(day);
            last = Some((feeds.value(row), day));
        }
    }
    found
}

/// The batch with this column changed, if it has it.
pub(crate) fn with_column(batch: &RecordBatch, name: &str, change: impl FnOnce(&ArrayRef) -> Result<ArrayRef>) -> Result<RecordBatch> {
    let Ok(place) = batch.schema_ref().index_of(name) else { return Ok(batch.clone()) };
    let mut columns = batch.columns().to_vec();
    columns[place] = change(&columns[place])?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// The day of a row, of a column of times or days.
pub(crate) fn day_at(column: &dyn Array, row: usize) -> Option<i32> {
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        return times.is_valid(row).then(|| time::day(times.value(row)));
    }
    let days = column.as_primitive_opt::<Date32Type>()?;
    days.is_valid(row).then(|| days.value(row))
}
