//! Tables kept by date: an event is enriched with those in force on its day, so that reading it again in a year
//! says what it said then. Countries of addresses change by the percent each year.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use event::{Field, batch, time};

use crate::tables::{self, Part, Tables};
use crate::{Defaults, enrich};

/// The tables of every day.
#[derive(Clone, Debug)]
pub struct Dated {
    parts: Vec<Arc<Part>>,
    /// From each day on, until the next one; the first counts for all days before too.
    sets: Vec<(i32, Tables)>,
    list: String,
    name: String,
}

impl Dated {
    /// Parts of one kind and name are one table as time passed: on a day, its latest part until then is in force,
    /// else its earliest. Tables of a kind are asked in the order in which they first come here.
    pub fn of<P: Into<Arc<Part>>>(parts: impl IntoIterator<Item = P>) -> Dated {
        let mut parts: Vec<Arc<Part>> = parts.into_iter().map(P::into).collect();
        parts.sort_by_key(|part| part.kind);
        let mut days: Vec<i32> = parts.iter().map(|part| part.day).collect();
        days.sort_unstable();
        days.dedup();
        let mut sets: Vec<(i32, Tables)> = days.into_iter().map(|day| (day, in_force(&parts, day))).collect();
        for place in 1..sets.len() {
            let (before, rest) = sets.split_at_mut(place);
            if let (Some((_, before)), Some((_, tables))) = (before.last(), rest.first_mut()) {
                tables.share_warnings(before);
            }
        }
        if sets.is_empty() {
            sets.push((0, Tables::default()));
        }
        let list = tables::list(&parts);
        Dated { parts, sets, name: event::id::name(list.as_bytes()), list }
    }

    /// One short name for all of them, as a delivery that was read with them has it. It is the hash of their list.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tables, each in a line: its kind, name, day and hash.
    pub fn list(&self) -> &str {
        &self.list
    }

    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// The tables in force on this day, in days since 1970, UTC.
    pub fn on(&self, day: i32) -> &Tables {
        &self.sets[self.place(day)].1
    }

    /// The sets, each with the day from which it is in force, the earliest first.
    pub fn sets(&self) -> &[(i32, Tables)] {
        &self.sets
    }

    /// The set with this name, as an event's `tables` has it.
    pub fn named(&self, name: &str) -> Option<&Tables> {
        self.sets.iter().map(|(_, tables)| tables).find(|tables| tables.name() == name)
    }

    fn place(&self, day: i32) -> usize {
        self.sets.partition_point(|(from, _)| *from <= day).saturating_sub(1)
    }
}

fn in_force(parts: &[Arc<Part>], day: i32) -> Tables {
    let mut chosen: Vec<Arc<Part>> = Vec::new();
    for part in parts {
        match chosen.iter_mut().find(|other| (other.kind, &other.name) == (part.kind, &part.name)) {
            Some(other) => {
                if is_better(part.day, other.day, day) {
                    *other = part.clone();
                }
            }
            None => chosen.push(part.clone()),
        }
    }
    Tables::of(chosen)
}

/// Whether a table of `one` rather than of `other` is in force on the day.
fn is_better(one: i32, other: i32, day: i32) -> bool {
    match (one <= day, other <= day) {
        (true, true) => one > other,
        (true, false) => true,
        (false, true) => false,
        (false, false) => one < other,
    }
}

/// As [`enrich`], each row with the tables in force on the day of its `time_source`. Rows keep their order.
///
/// Panics if the batch has no `time_source`: every event has a time.
pub fn enrich_by_day(dated: &Dated, defaults: &Defaults, batch: &RecordBatch) -> RecordBatch {
    let sets = sets_of(batch, |_| dated);
    enrich_each(&sets, |set| (&dated.sets[set].1, *defaults), batch)
}

/// How a delivery's rows are enriched when they are read again.
#[derive(Clone, Debug)]
pub struct Reading {
    pub tables: Arc<Dated>,
    pub defaults: Defaults,
}

/// The same, each row by the reading that its column `tables` names; from then on it names the tables, as ever.
///
/// Panics if it names others than are given.
pub fn enrich_as_read(readings: &BTreeMap<String, Reading>, batch: &RecordBatch) -> RecordBatch {
    let names = batch::text(batch, "tables").expect("a row says how it is read");
    let all: Vec<(&String, &Reading)> = readings.iter().collect();
    let places = |row: usize| all.binary_search_by(|(name, _)| name.as_str().cmp(names.value(row))).expect("the reading was given");
    let mut last = (None, 0);
    let of: Vec<usize> = (0..batch.num_rows())
        .map(|row| {
            if last.0 != Some(names.value(row)) {
                last = (Some(names.value(row)), places(row));
            }
            last.1
        })
        .collect();
    let sets = sets_of(batch, |row| &all[of[row]].1.tables);
    let keys: Vec<(usize, usize)> = of.iter().copied().zip(sets).collect();
    enrich_each(&keys, |(of, set)| (&all[of].1.tables.sets[set].1, all[of].1.defaults), batch)
}

/// Enriches rows of a batch together that share tables and defaults, by a key for these.
fn enrich_each<'t, K: Copy + Ord>(keys: &[K], with: impl Fn(K) -> (&'t Tables, Defaults), batch: &RecordBatch) -> RecordBatch {
    let enrich = |key: K, batch: &RecordBatch| {
        let (tables, defaults) = with(key);
        enrich(tables, &defaults, batch)
    };
    let Some(first) = keys.first() else {
        return crate::enrich(&Tables::default(), &Defaults::default(), batch);
    };
    if keys.iter().all(|key| key == first) {
        return enrich(*first, batch);
    }
    let distinct: BTreeSet<K> = keys.iter().copied().collect();
    let mut enriched = Vec::new();
    let mut places = vec![(0, 0); keys.len()];
    for key in distinct {
        let rows: Vec<usize> = (0..keys.len()).filter(|row| keys[*row] == key).collect();
        rows.iter().enumerate().for_each(|(place, row)| places[*row] = (enriched.len(), place));
        let rows = UInt32Array::from_iter_values(rows.into_iter().map(|row| row as u32));
        let part = take_record_batch(batch, &rows).expect("rows are the batch's own");
        enriched.push(enrich(key, &part));
    }
    let enriched: Vec<&RecordBatch> = enriched.iter().collect();
    interleave_record_batch(&enriched, &places).expect("one feed's columns do not depend on tables")
}

/// For each row the place of the set in force on its day.
fn sets_of<'d>(batch: &RecordBatch, dated: impl Fn(usize) -> &'d Dated) -> Vec<usize> {
    let times = batch::times(batch, Field::TIME_SOURCE.column()).expect("every event has a time");
    let mut last = None;
    let mut sets = Vec::with_capacity(times.len());
    for (row, time) in times.values().iter().enumerate() {
        let key = (std::ptr::from_ref(dated(row)), time::day(*time));
        let set = match last {
            Some((before, set)) if before == key => set,
            _ => dated(row).place(key.1),
        };
        last = Some((key, set));
        sets.push(set);
    }
    sets
}
