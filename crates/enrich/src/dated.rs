//! Tables kept by date: an event is enriched with those in force on its day, so that reading it again in a year
//! says what it said then. Countries of addresses change by the percent each year.

use std::sync::Arc;

use arrow::array::{RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{interleave_record_batch, take_record_batch};
use event::{Field, batch, time};

use crate::tables::{Part, Tables};
use crate::{Defaults, enrich};

/// The tables of every day.
#[derive(Clone, Debug)]
pub struct Dated {
    /// From each day on, until the next one; the first counts for all days before too.
    sets: Vec<(i32, Tables)>,
}

impl Dated {
    /// Parts of one kind and name are one table as time passed: on a day, its latest part until then is in force,
    /// else its earliest. Tables of a kind are asked in the order in which they first come here.
    pub fn of(parts: Vec<Part>) -> Dated {
        let parts: Vec<Arc<Part>> = parts.into_iter().map(Arc::new).collect();
        let mut days: Vec<i32> = parts.iter().map(|part| part.day).collect();
        days.sort_unstable();
        days.dedup();
        if days.is_empty() {
            return Dated { sets: vec![(0, Tables::default())] };
        }
        Dated { sets: days.into_iter().map(|day| (day, in_force(&parts, day))).collect() }
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
    let times = batch::times(batch, Field::TIME_SOURCE.column()).expect("every event has a time");
    let sets = sets_of(dated, times);
    let Some(first) = sets.first() else {
        return enrich(dated.on(0), defaults, batch);
    };
    if sets.iter().all(|set| set == first) {
        return enrich(&dated.sets[*first].1, defaults, batch);
    }
    let mut enriched = Vec::new();
    let mut places = vec![(0, 0); sets.len()];
    for (set, (_, tables)) in dated.sets.iter().enumerate() {
        let rows: Vec<usize> = (0..sets.len()).filter(|row| sets[*row] == set).collect();
        if rows.is_empty() {
            continue;
        }
        rows.iter().enumerate().for_each(|(place, row)| places[*row] = (enriched.len(), place));
        let rows = UInt32Array::from_iter_values(rows.into_iter().map(|row| row as u32));
        let part = take_record_batch(batch, &rows).expect("rows are the batch's own");
        enriched.push(enrich(tables, defaults, &part));
    }
    let enriched: Vec<&RecordBatch> = enriched.iter().collect();
    interleave_record_batch(&enriched, &places).expect("one feed's columns do not depend on tables")
}

fn sets_of(dated: &Dated, times: &TimestampMicrosecondArray) -> Vec<usize> {
    let mut last = (i32::MIN, dated.place(i32::MIN));
    let mut sets = Vec::with_capacity(times.len());
    for time in times.values() {
        let day = time::day(*time);
        if day != last.0 {
            last = (day, dated.place(day));
        }
        sets.push(last.1);
    }
    sets
}
