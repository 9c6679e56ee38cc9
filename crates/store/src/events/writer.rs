//! One thread's part of an append.
//!
//! The common case costs nothing per row but the look into the filter: a batch of one month whose rows are all
//! new goes into the encoder as it came. Only a batch with repeats or of several months is taken apart.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{self, FilterBuilder};
use chrono::{Datelike, NaiveDate};
use event::id::Id;
use event::time::{self, Micros};

use super::EVENTS;
use super::append::{Complete, Counts, Shared, lock};
use super::ids::{all_ids, times_of};
use crate::days::Days;
use crate::file::{FileWriter, fit, memory_of, says_one_thing};

/// Months since year 0.
pub(crate) type Month = i32;

/// Rows of a month that wait in memory before a file is begun for them: what a small report has of a month is
/// left for all threads to share one file, and a report over five years does not keep sixty encoders at once.
const WAITING_ROWS: usize = 1 << 15;
const WAITING_BYTES: usize = 8 << 20;

/// Files are ended at this size: one is then merged, read and rewritten in reasonable time.
const FILE_SIZE: usize = 256 << 20;

/// Ids are handed over in such portions.
const IDS: usize = 1 << 12;

/// Writes batches on the thread that calls it.
#[derive(Debug)]
pub struct AppendWriter {
    shared: Arc<Shared>,
    parts: BTreeMap<Month, Part>,
    written: Vec<Id>,
    counts: Counts,
    /// What the shared memory has been told.
    memory: usize,
    closed: bool,
}

/// A month's rows.
#[derive(Debug, Default)]
struct Part {
    waiting: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    file: Option<FileWriter>,
}

impl Part {
    fn memory(&self) -> usize {
        self.bytes + self.file.as_ref().map_or(0, FileWriter::memory)
    }
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    New,
    Suspect,
    /// A repeat, erased, or of another day.
    Dropped,
}

impl AppendWriter {
    pub(crate) fn new(shared: Arc<Shared>) -> AppendWriter {
        shared.writers.fetch_add(1, Ordering::AcqRel);
        AppendWriter { shared, parts: BTreeMap::new(), written: Vec::new(), counts: Counts::default(), memory: 0, closed: false }
    }

    /// Takes a batch with `id` and `time_source` for every row, whose columns are, once it is complete, some of the append's.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let days = days_of(times_of(&batch)?);
        self.learn(&days)?;
        self.counts.rows += batch.num_rows() as u64;
        self.counts.days.extend(match &self.shared.only_days {
            Some(only) => days.intersection(only).copied().collect(),
            None => days,
        });
        let fates = self.fates(&batch)?;
        match fates {
            None => self.complete(batch)?,
            Some(fates) => self.divide(&batch, &fates)?,
        }
        if self.written.len() >= IDS {
            self.hand_over_ids()?;
        }
        self.stay_within_memory()
    }

    /// Ends this thread's part.
    pub fn close(mut self) -> Result<()> {
        self.end_files(false)
    }

    /// Ends the last part, in which every row is given a file.
    pub(crate) fn close_with_all(mut self) -> Result<()> {
        self.end_files(true)
    }

    fn refuse_unknown_columns(&self, batch: &RecordBatch) -> Result<()> {
        let unknown = batch
            .schema_ref()
            .fields()
            .iter()
            .find(|field| field.name() != crate::table::MONTH && self.shared.schema.index_of(field.name()).is_err());
        match unknown {
            Some(field) => bail!("the column \"{}\" was not announced when the append of {} began", field.name(), self.shared.feed),
            None => Ok(()),
        }
    }

    /// Makes sure that the ids of these days are in the filter.
    fn learn(&self, days: &Days) -> Result<()> {
        let held = &self.shared.held;
        if held.read().unwrap_or_else(PoisonError::into_inner).knows(days) {
            return Ok(());
        }
        held.write().unwrap_or_else(PoisonError::into_inner).learn(days, &self.shared.filter)
    }

    /// What becomes of each row; None if all are new, as nearly always.
    fn fates(&mut self, batch: &RecordBatch) -> Result<Option<Vec<Fate>>> {
        let shared = self.shared.clone();
        let ids = all_ids(batch)?;
        let times = times_of(batch)?;
        let reports = batch.column_by_name("report_id").and_then(|reports| reports.as_string_opt::<i32>());
        let held = shared.held.read().unwrap_or_else(PoisonError::into_inner);
        let mut fates: Option<Vec<Fate>> = None;
        let first_new = self.written.len();
        shared.filter.fetch(&ids);
        for (row, (id, time)) in ids.iter().zip(times).enumerate() {
            let fate = if shared.only_days.as_ref().is_some_and(|only| !only.contains(&time::day(*time))) {
                self.counts.other_days += 1;
                Fate::Dropped
            } else if !shared.erased.is_empty() && shared.erased.holds(id, reports, row) {
                self.counts.erased += 1;
                Fate::Dropped
            } else if shared.filter.add(id) {
                self.written.push(*id);
                Fate::New
            } else if held.holds(id) == Some(true) {
                self.counts.repeats += 1;
                Fate::Dropped
            } else {
                Fate::Suspect
            };
            if fate != Fate::New || fates.is_some() {
                fates.get_or_insert_with(|| vec![Fate::New; times.len()])[row] = fate;
            }
        }
        let mut recent = lock(&shared.recent);
        recent.add(&self.written[first_new..]);
        for (row, fate) in fates.iter_mut().flatten().enumerate().filter(|(_, fate)| **fate == Fate::Suspect) {
            if recent.holds(&ids[row]) {
                self.counts.repeats += 1;
                *fate = Fate::Dropped;
            }
        }
        Ok(fates)
    }

    fn divide(&mut self, batch: &RecordBatch, fates: &[Fate]) -> Result<()> {
        let of = |wanted: Fate| -> Result<Option<RecordBatch>> {
            let mask: BooleanArray = fates.iter().map(|fate| Some(*fate == wanted)).collect();
            Ok(if mask.true_count() == 0 { None } else { Some(kept(batch, &mask)?) })
        };
        if let Some(suspects) = of(Fate::Suspect)? {
            lock(&self.shared.gathered).suspects.push(suspects)?;
        }
        match of(Fate::New)? {
            Some(new) => self.complete(new),
            None => Ok(()),
        }
    }

    /// Completes new rows and writes them.
    fn complete(&mut self, new: RecordBatch) -> Result<()> {
        let complete = match &self.shared.complete {
            Some(Complete(complete)) => complete(new),
            None => new,
        };
        self.refuse_unknown_columns(&complete)?;
        self.write(self.shared.expired.without_expired(&fit(&complete, &self.shared.schema)?)?)
    }

    /// Counts suspects, of which these turned out to be new, and writes those.
    pub(crate) fn settle_suspects(&mut self, new: &RecordBatch, suspects: usize) -> Result<()> {
        self.counts.repeats += (suspects - new.num_rows()) as u64;
        if new.num_rows() == 0 { Ok(()) } else { self.complete(new.clone()).and_then(|()| self.stay_within_memory()) }
    }

    /// Takes over rows that another writer left, which have been counted.
    pub(crate) fn take_over(&mut self, month: Month, batches: Vec<RecordBatch>) -> Result<()> {
        for batch in batches {
            self.add(month, batch)?;
        }
        self.stay_within_memory()
    }

    fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let times = times_of(&batch)?;
        let days = days_of(times);
        self.counts.events += batch.num_rows() as u64;
        let months = (days.first().map(|day| month_of(*day)), days.last().map(|day| month_of(*day)));
        self.counts.new_days.extend(days);
        match months {
            (Some(first), Some(last)) if first == last => self.add(first, batch),
            _ => self.add_by_month(batch),
        }
    }

    /// Cuts rows where the month changes.
    fn add_by_month(&mut self, batch: RecordBatch) -> Result<()> {
        let sorted = by_time(vec![batch])?;
        let mut start = 0;
        for run in times_of(&sorted)?.chunk_by(|one, next| month_at(*one) == month_at(*next)) {
            self.add(month_at(run[0]), sorted.slice(start, run.len()))?;
            start += run.len();
        }
        Ok(())
    }

    fn add(&mut self, month: Month, batch: RecordBatch) -> Result<()> {
        let part = self.parts.entry(month).or_default();
        if let Some(file) = &mut part.file {
            file.write(&by_time(vec![batch])?)?;
            if file.size() >= FILE_SIZE {
                self.end_file(month)?;
            }
            return Ok(());
        }
        part.rows += batch.num_rows();
        part.bytes += memory_of(&batch);
        part.waiting.push(batch);
        if part.rows >= WAITING_ROWS || part.bytes >= WAITING_BYTES { self.begin_file(month) } else { Ok(()) }
    }

    /// Writes the waiting rows of the month into a new file.
    fn begin_file(&mut self, month: Month) -> Result<()> {
        let part = self.parts.entry(month).or_default();
        let mut file = FileWriter::create(&EVENTS, &self.shared.table.place, self.shared.schema.clone(), Some(&month_name(month)))?;
        if !part.waiting.is_empty() {
            file.write(&by_time(std::mem::take(&mut part.waiting))?)?;
        }
        (part.rows, part.bytes) = (0, 0);
        part.file = Some(file);
        Ok(())
    }

    fn end_file(&mut self, month: Month) -> Result<()> {
        if let Some(file) = self.parts.remove(&month).and_then(|part| part.file) {
            let file = file.finish()?;
            lock(&self.shared.gathered).files.push(file);
        }
        Ok(())
    }

    /// While all writers hold too much, ends the file of the month that holds most here.
    fn stay_within_memory(&mut self) -> Result<()> {
        loop {
            let now: usize = self.parts.values().map(Part::memory).sum();
            let too_much = self.shared.memory.change(self.memory, now);
            self.memory = now;
            let largest = self.parts.iter().max_by_key(|(_, part)| part.memory()).map(|(month, part)| (*month, part.memory()));
            match largest {
                Some((month, held)) if too_much && held > 0 => {
                    if self.parts.get(&month).is_some_and(|part| part.file.is_none()) {
                        self.begin_file(month)?;
                    }
                    self.end_file(month)?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn hand_over_ids(&mut self) -> Result<()> {
        lock(&self.shared.gathered).written.push(&self.written)?;
        self.written.clear();
        Ok(())
    }

    fn end_files(&mut self, all: bool) -> Result<()> {
        self.hand_over_ids()?;
        let months: Vec<Month> = self.parts.keys().copied().collect();
        for month in months {
            if all && self.parts.get(&month).is_some_and(|part| part.file.is_none() && part.rows > 0) {
                self.begin_file(month)?;
            }
            if self.parts.get(&month).is_some_and(|part| part.file.is_some()) {
                self.end_file(month)?;
            } else if let Some(part) = self.parts.remove(&month) {
                lock(&self.shared.gathered).leftover.entry(month).or_default().extend(part.waiting);
            }
        }
        lock(&self.shared.gathered).counts.add(std::mem::take(&mut self.counts));
        self.closed = true;
        Ok(())
    }
}

impl Drop for AppendWriter {
    fn drop(&mut self) {
        self.shared.memory.change(self.memory, 0);
        if self.closed {
            self.shared.writers.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// The rows that the mask keeps. Where these are most of them, a column that says one thing, as many do, is not copied.
fn kept(batch: &RecordBatch, mask: &BooleanArray) -> Result<RecordBatch> {
    let rows = mask.true_count();
    let filter = FilterBuilder::new(mask).optimize().build();
    let keep = |column: &ArrayRef| match 2 * rows > mask.len() && says_one_thing(column) {
        true => Ok(column.slice(0, rows)),
        false => filter.filter(column),
    };
    let columns = batch.columns().iter().map(keep).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

/// One batch of these, of at least one, with its rows by time, as most come.
fn by_time(mut batches: Vec<RecordBatch>) -> Result<RecordBatch> {
    let batch = match batches.len() {
        1 => batches.remove(0),
        _ => compute::concat_batches(&batches[0].schema(), &batches)?,
    };
    let times = times_of(&batch)?;
    if times.is_sorted() {
        return Ok(batch);
    }
    let mut order: Vec<u32> = (0..batch.num_rows() as u32).collect();
    order.sort_by_key(|row| times[*row as usize]);
    Ok(compute::take_record_batch(&batch, &UInt32Array::from(order))?)
}

/// The days of times. Rows come nearly always in runs of one day.
fn days_of(times: &[i64]) -> Days {
    let mut days = Days::new();
    let mut last = None;
    for time in times {
        let day = time::day(*time);
        if last != Some(day) {
            days.insert(day);
            last = Some(day);
        }
    }
    days
}

fn month_at(time: Micros) -> Month {
    month_of(time::day(time))
}

fn month_of(day: i32) -> Month {
    NaiveDate::from_epoch_days(day).map_or(0, |day| day.year() * 12 + day.month0() as i32)
}

fn month_name(month: Month) -> String {
    format!("{:04}-{:02}", month.div_euclid(12), month.rem_euclid(12) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_named_as_the_vocabulary_names_them() {
        for day in (-1000..30_000).step_by(7) {
            assert_eq!(month_name(month_of(day)), time::month_name(day));
        }
    }
}
