//! Writing a delivery's events into files that no version knows yet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{Schema, SchemaRef};
use event::batch;
use event::id::Id;

use super::filter::Filter;
use super::held::Held;
use super::ids::{IdSet, all_ids};
use super::recent::Recent;
use super::spill::{IdSpill, RowSpill};
use super::writer::{AppendWriter, Month};
use super::{ID, TIME};
use crate::days::Days;
use crate::erase::Erased;
use crate::file::NewFile;
use crate::retain::Rules;
use crate::table::{MONTH, Table, Version};

/// What is known of an append before it starts.
#[derive(Clone, Debug)]
pub struct AppendSettings<'a> {
    /// All rows are of this feed.
    pub feed: &'a str,
    /// About how many rows will come. Too few only means that more rows are put aside and compared at the end.
    pub expected_rows: usize,
    /// The columns that files of this feed have, in any order; every other is empty to all readers.
    pub columns: &'a [&'a str],
    /// For reading again: rows of other days are left out, and what the table holds is not looked at, since
    /// [`crate::Store::replace_days`] takes it away.
    pub only_days: Option<&'a Days>,
}

/// About so many suspects are compared at a time; their ids take 32 bytes each.
const COMPARED: usize = 1 << 20;

/// An append under way. It makes a writer for each thread; when all are closed, [`Append::finish`] compares
/// what is suspected of being a repeat, and the outcome can be committed.
#[derive(Debug)]
pub struct Append {
    pub(crate) shared: Arc<Shared>,
}

/// What is done to rows once they are known to be new: they get the columns that an append's other rows have.
#[derive(Clone)]
pub struct Complete(pub Arc<dyn Fn(RecordBatch) -> RecordBatch + Send + Sync>);

impl std::fmt::Debug for Complete {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Complete")
    }
}

/// What the writers of an append have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) table: Arc<Table>,
    pub(crate) version: Arc<Version>,
    pub(crate) feed: String,
    pub(crate) schema: SchemaRef,
    pub(crate) filter: Filter,
    pub(crate) held: RwLock<Held>,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) only_days: Option<Days>,
    pub(crate) complete: Option<Complete>,
    /// What has expired of rows that are read again.
    pub(crate) expired: Rules,
    /// What was erased and must not come back.
    pub(crate) erased: Arc<Erased>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) writers: AtomicUsize,
    pub(crate) gathered: Mutex<Gathered>,
}

/// What writers leave behind.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) files: Vec<NewFile>,
    /// Rows too few for a file of their own.
    pub(crate) leftover: BTreeMap<Month, Vec<RecordBatch>>,
    pub(crate) written: IdSpill,
    pub(crate) suspects: Suspects,
    pub(crate) counts: Counts,
}

/// Rows that may be repeats, and, to be compared first, their ids.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    rows: RowSpill,
    ids: IdSpill,
}

impl Suspects {
    pub(crate) fn push(&mut self, rows: RecordBatch) -> Result<()> {
        self.ids.push(&all_ids(&rows)?)?;
        self.rows.push(rows)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) events: u64,
    pub(crate) repeats: u64,
    pub(crate) erased: u64,
    pub(crate) other_days: u64,
    /// Days of all rows, repeats too.
    pub(crate) days: Days,
    /// Days that gained an event.
    pub(crate) new_days: Days,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Counts) {
        self.rows += other.rows;
        self.events += other.events;
        self.repeats += other.repeats;
        self.erased += other.erased;
        self.other_days += other.other_days;
        self.days.extend(other.days);
        self.new_days.extend(other.new_days);
    }
}

/// Memory that all writers of a store share.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) most: usize,
    pub(crate) used: AtomicUsize,
}

impl Memory {
    pub(crate) fn new(most: usize) -> Memory {
        Memory { most, used: AtomicUsize::new(0) }
    }

    /// Tells of a change; true if all writers together now hold too much.
    pub(crate) fn change(&self, before: usize, after: usize) -> bool {
        self.used.fetch_add(after, Ordering::Relaxed);
        let used = self.used.fetch_sub(before, Ordering::Relaxed);
        used.saturating_sub(before) > self.most
    }
}

/// How much memory an append may take for what.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) filter: usize,
    pub(crate) exact_ids: usize,
    pub(crate) temporary: Option<PathBuf>,
}

impl Append {
    pub(crate) fn new(
        table: Arc<Table>,
        version: Arc<Version>,
        settings: &AppendSettings<'_>,
        room: &Room,
        memory: Arc<Memory>,
        erased: Arc<Erased>,
        expired: Rules,
    ) -> Result<Append> {
        let held = match settings.only_days {
            Some(_) => Held::nothing(&table.place, settings.feed),
            None => Held::new(&table.place, &version, settings.feed, room.exact_ids),
        };
        let schema = file_schema(settings.columns)?;
        // Rows that are read again may come from several versions of a feed's table, with other columns each.
        let of_suspects = settings.only_days.map(|_| schema.clone());
        let gathered = Gathered {
            written: IdSpill::new(room.temporary.clone()),
            suspects: Suspects { rows: RowSpill::new(room.temporary.clone(), of_suspects), ids: IdSpill::new(room.temporary.clone()) },
            ..Gathered::default()
        };
        Ok(Append {
            shared: Arc::new(Shared {
                table,
                version,
                feed: settings.feed.to_owned(),
                schema,
                filter: Filter::new(settings.expected_rows, room.filter),
                held: RwLock::new(held),
                recent: Mutex::default(),
                only_days: settings.only_days.cloned(),
                complete: None,
                expired,
                erased,
                memory,
                writers: AtomicUsize::new(0),
                gathered: Mutex::new(gathered),
            }),
        })
    }

    /// Only rows that are new are completed so, and repeats, of which most reports have many, cost nothing.
    pub fn completed_by(mut self, complete: Complete) -> Append {
        Arc::get_mut(&mut self.shared).expect("said before there is a writer").complete = Some(complete);
        self
    }

    /// A writer for one thread. It works on the thread that calls it and blocks there, so that thread must not
    /// be one of an asynchronous runtime's own (`spawn_blocking` or a plain thread).
    pub fn writer(&self) -> AppendWriter {
        AppendWriter::new(self.shared.clone())
    }

    /// Whether rows of a kept report say [`crate::MARK`] where they said what was erased: they are neither events nor rejects.
    pub fn is_blotted(&self, report_id: &str) -> bool {
        self.shared.erased.is_blotted(report_id)
    }

    /// Ends the append: all writers must be closed. Works on a thread that may block.
    pub async fn finish(self) -> Result<Prepared> {
        tokio::task::spawn_blocking(move || self.finish_blocking()).await.context("the thread that ends an append has died")?
    }

    fn finish_blocking(self) -> Result<Prepared> {
        let open = self.shared.writers.load(Ordering::Acquire);
        if open > 0 {
            bail!("{open} writers of an append were not closed");
        }
        let (suspects, mut written, leftover) = {
            let mut gathered = lock(&self.shared.gathered);
            (std::mem::take(&mut gathered.suspects), std::mem::take(&mut gathered.written), std::mem::take(&mut gathered.leftover))
        };
        let mut writer = self.writer();
        for (month, batches) in leftover {
            writer.take_over(month, batches)?;
        }
        self.compare(suspects, &mut written, &mut writer)?;
        writer.close_with_all()?;
        let shared = Arc::try_unwrap(self.shared).map_err(|_| anyhow!("an append is finished while a writer is open"))?;
        let gathered = shared.gathered.into_inner().unwrap_or_else(PoisonError::into_inner);
        if gathered.files.iter().any(|file| !file.live.is_only_of(&shared.feed)) {
            bail!("rows that name another feed, or none, were appended to {}", shared.feed);
        }
        let only_days = shared.only_days;
        Ok(Prepared {
            feed: shared.feed,
            table: shared.table,
            version: shared.version,
            filter: shared.filter,
            files: gathered.files,
            counts: gathered.counts,
            only_days,
        })
    }

    /// Writes those suspects that are no repeats after all: a portion of them at a time, compared with all that was written.
    fn compare(&self, suspects: Suspects, written: &mut IdSpill, writer: &mut AppendWriter) -> Result<()> {
        let (mut row, mut compared, mut new) = (0, 0, IdSet::default());
        for batch in suspects.rows.read()? {
            let batch = batch?;
            let next = row + batch.num_rows();
            if next > compared {
                compared = next.max(suspects.ids.len().min(row + COMPARED));
                new = self.not_written(suspects.ids.range(row..compared)?, written)?;
            }
            // Taking an id out as its row is kept leaves only the first of two equal suspects.
            let ids = all_ids(&batch)?;
            let keep: Vec<bool> = ids.iter().map(|id| new.remove(id)).collect();
            let kept: Vec<Id> = ids.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(id, _)| *id).collect();
            written.push(&kept)?;
            writer.settle_suspects(&compute::filter_record_batch(&batch, &BooleanArray::from(keep))?, batch.num_rows())?;
            row = next;
        }
        Ok(())
    }

    /// Those of the suspected ids that nobody has written, neither this append nor one before.
    fn not_written(&self, suspects: Vec<Id>, written: &IdSpill) -> Result<IdSet> {
        // Nearly all that was written is suspected by nobody, which a filter of the suspects knows more quickly than the set.
        let few = Filter::new(4 * suspects.len(), usize::MAX);
        for id in &suspects {
            few.add(id);
        }
        let mut suspected: IdSet = suspects.into_iter().collect();
        let mut found = |id: &Id| {
            if few.may_hold(id) {
                suspected.remove(id);
            }
        };
        for ids in written.portions() {
            ids?.iter().for_each(&mut found);
        }
        let held = self.shared.held.read().unwrap_or_else(PoisonError::into_inner);
        held.read_again(|id| found(&id))?;
        suspected.retain(|id| held.holds(id) != Some(true));
        Ok(suspected)
    }
}

/// The schema of the files: the given columns in the order of the table, with those that no event lacks.
fn file_schema(columns: &[&str]) -> Result<SchemaRef> {
    let all = batch::schema();
    if let Some(unknown) = columns.iter().find(|column| all.index_of(column).is_err()) {
        bail!("events have no column \"{unknown}\"");
    }
    let always = [ID, "feed", TIME];
    let fields = all.fields().iter().filter(|field| {
        let name = field.name().as_str();
        name != MONTH && (columns.contains(&name) || always.contains(&name))
    });
    Ok(Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>())))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A thread that panicked while it held the lock has left counts and files that are whole in themselves,
    // and its own writer open, which finishing an append refuses.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An append that is written and waits to be committed. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) feed: String,
    pub(crate) table: Arc<Table>,
    /// The version whose ids are known not to be among ours.
    pub(crate) version: Arc<Version>,
    pub(crate) filter: Filter,
    pub(crate) files: Vec<NewFile>,
    pub(crate) counts: Counts,
    pub(crate) only_days: Option<Days>,
}

impl Prepared {
    pub fn feed(&self) -> &str {
        &self.feed
    }

    /// Rows that were pushed.
    pub fn rows(&self) -> u64 {
        self.counts.rows
    }

    /// Rows that are new, as far as is known before the commit.
    pub fn events(&self) -> u64 {
        self.counts.events
    }

    /// The days of all rows, repeats too.
    pub fn days(&self) -> &Days {
        &self.counts.days
    }

    /// Whether it holds this id or, seldom, another.
    pub(crate) fn may_hold(&self, id: &Id) -> bool {
        self.filter.may_hold(id)
    }
}
