//! Keeping data only as long as it may be kept: rows, and single fields of rows, expire after a number of days.
//!
//! Sightings of expired days stay as they were counted: they are what figures and findings rest on. So the day
//! up to which a feed has expired is remembered, and sightings before it are never counted anew.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::compute;
use arrow::compute::kernels::zip::zip;
use bytes::Bytes;
use event::time::{self, Micros};
use serde_json::Value;

use crate::days::FeedDays;
use crate::deliveries::Delivery;
use crate::events::{EVENTS, TIME};
use crate::rewrite::{Beside, Reach, Rewrite, day_at, rewrite};
use crate::store::Store;
use crate::table::LiveFile;

/// What of a feed expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiring {
    /// The whole event.
    Row,
    /// One column of it, such as `source_account`.
    Column(String),
    /// One key of `extra`.
    Extra(String),
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub feed: String,
    pub what: Expiring,
    /// Kept on so many UTC days before today.
    pub days: u32,
}

/// What no event is without.
const ALWAYS: [&str; 4] = ["id", "feed", "month", TIME];

/// The first day that is still whole, of each feed of which something has expired: an object of the store.
const EXPIRED: &str = "expired.json";

impl Store {
    /// Applies rules; says how many events were taken out or lost a field.
    pub async fn retain(&self, rules: &[Retention], now: Micros) -> Result<u64> {
        if let Some(unknown) = rules.iter().find_map(|rule| match &rule.what {
            Expiring::Column(column) if ALWAYS.contains(&column.as_str()) || (EVENTS.schema)().index_of(column).is_err() => Some(column),
            _ => None,
        }) {
            bail!("events have no column \"{unknown}\" that could expire");
        }
        let today = time::day(now);
        let rules: Vec<Rule> =
            rules.iter().map(|rule| Rule { retention: rule.clone(), before: today.saturating_sub_unsigned(rule.days) }).collect();
        // Remembered before it is done: sightings of days that are about to be taken must not be counted anew.
        self.remember_expired(&rules).await?;
        let beside = Beside { operation: "RETAIN", ..Beside::default() };
        Ok(rewrite(&self.events, Arc::new(Rules(rules)), beside, now).await?.rows)
    }

    /// Deletes reports whose deliveries all came more days ago than their feed's reports are kept; says how many.
    /// Their days cannot be read again then.
    pub async fn retain_reports(&self, days: &BTreeMap<String, u32>, now: Micros) -> Result<u64> {
        self.require_write()?;
        let today = time::day(now);
        let has_expired = |delivery: &Delivery| {
            days.get(&delivery.feed).is_some_and(|days| time::day(delivery.time) < today.saturating_sub_unsigned(*days))
        };
        let (old, young): (Vec<Delivery>, Vec<Delivery>) = self.deliveries(None).await?.into_iter().partition(has_expired);
        let needed: HashSet<String> = young.into_iter().map(|delivery| delivery.report_id).collect();
        let old: BTreeSet<String> = old.into_iter().map(|delivery| delivery.report_id).filter(|id| !needed.contains(id)).collect();
        let mut deleted = 0;
        for id in old {
            if self.has_report(&id).await? {
                self.delete_report(&id).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }

    /// The first whole day of each feed that has expired.
    pub async fn expired(&self) -> Result<BTreeMap<String, i32>> {
        match self.place.read(EXPIRED).await? {
            Some(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("reading {EXPIRED}")),
            None => Ok(BTreeMap::new()),
        }
    }

    async fn remember_expired(&self, rules: &[Rule]) -> Result<()> {
        let known = self.expired().await?;
        let mut expired = known.clone();
        // A day that lost a field is not whole either: its sightings may hang on that field.
        for rule in rules {
            let before = expired.entry(rule.retention.feed.clone()).or_insert(i32::MIN);
            *before = rule.before.max(*before);
        }
        if expired == known { Ok(()) } else { self.place.put(EXPIRED, Bytes::from(serde_json::to_vec_pretty(&expired)?)).await }
    }

    /// The days less those that have expired.
    pub(crate) async fn unexpired(&self, mut days: FeedDays) -> Result<FeedDays> {
        for (feed, whole_from) in self.expired().await? {
            if let Some(days) = days.0.get_mut(&feed) {
                days.retain(|day| *day >= whole_from);
            }
        }
        days.0.retain(|_, days| !days.is_empty());
        Ok(days)
    }
}

#[derive(Debug)]
struct Rule {
    retention: Retention,
    /// Earlier days expire.
    before: i32,
}

impl Rule {
    fn reaches(&self, file: &LiveFile) -> bool {
        file.may_hold_feed(&self.retention.feed) && file.time.is_none_or(|(first, _)| time::day(first) < self.before)
    }

    /// The rows that expire by this rule and have not yet.
    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let feeds = batch.column_by_name("feed").and_then(|feeds| feeds.as_string_opt::<i32>());
        let (Some(feeds), Some(times)) = (feeds, batch.column_by_name(TIME)) else { bail!("events without feed and time") };
        let value = match &self.retention.what {
            Expiring::Row => None,
            Expiring::Column(column) => Some(batch.column_by_name(column)),
            Expiring::Extra(_) => Some(batch.column_by_name("extra")),
        };
        let expires = |row: usize| {
            let is_old =
                feeds.is_valid(row) && feeds.value(row) == self.retention.feed && day_at(times, row).is_some_and(|day| day < self.before);
            is_old
                && match (&self.retention.what, value) {
                    (Expiring::Extra(key), Some(Some(extra))) => extra_at(extra, row).is_some_and(|extra| extra.get(key).is_some()),
                    (_, Some(column)) => column.is_some_and(|column| column.is_valid(row)),
                    (_, None) => true,
                }
        };
        Ok((0..batch.num_rows()).map(|row| Some(expires(row))).collect())
    }
}

fn extra_at(extra: &ArrayRef, row: usize) -> Option<Value> {
    let extra = extra.as_string_opt::<i32>()?;
    if extra.is_valid(row) { serde_json::from_str(extra.value(row)).ok() } else { None }
}

#[derive(Debug)]
struct Rules(Vec<Rule>);

impl Rewrite for Rules {
    fn reach(&self, file: &LiveFile) -> Reach {
        if self.0.iter().any(|rule| rule.reaches(file)) { Reach::Something } else { Reach::Nothing }
    }

    fn columns(&self) -> Vec<&str> {
        fn column(rule: &Rule) -> Option<&str> {
            match &rule.retention.what {
                Expiring::Row => None,
                Expiring::Column(column) => Some(column),
                Expiring::Extra(_) => Some("extra"),
            }
        }
        self.0.iter().filter_map(column).collect()
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let mut all = BooleanArray::from(vec![false; batch.num_rows()]);
        for rule in &self.0 {
            all = compute::or(&all, &rule.rows(batch)?)?;
        }
        Ok(all)
    }

    fn apply(&self, batch: &RecordBatch, _rows: &BooleanArray) -> Result<RecordBatch> {
        let mut batch = batch.clone();
        for rule in &self.0 {
            let rows = rule.rows(&batch)?;
            batch = match &rule.retention.what {
                Expiring::Row => compute::filter_record_batch(&batch, &compute::not(&rows)?)?,
                Expiring::Column(column) => {
                    with_column(&batch, column, |values| Ok(zip(&rows, &new_null_array(values.data_type(), values.len()), values)?))?
                }
                Expiring::Extra(key) => with_column(&batch, "extra", |values| Ok(without_key(values, key, &rows)))?,
            };
        }
        Ok(batch)
    }
}

fn with_column(batch: &RecordBatch, name: &str, change: impl FnOnce(&ArrayRef) -> Result<ArrayRef>) -> Result<RecordBatch> {
    let Ok(place) = batch.schema_ref().index_of(name) else { return Ok(batch.clone()) };
    let mut columns = batch.columns().to_vec();
    columns[place] = change(&columns[place])?;
    Ok(RecordBatch::try_new(batch.schema(), columns)?)
}

fn without_key(extra: &ArrayRef, key: &str, rows: &BooleanArray) -> ArrayRef {
    let text = extra.as_string::<i32>();
    let changed = |row: usize| -> Option<String> {
        let mut value = extra_at(extra, row)?;
        // Order is kept: `extra` is text, and should differ only where something is gone.
        value.as_object_mut()?.shift_remove(key);
        Some(value.to_string())
    };
    let all: StringArray = (0..text.len())
        .map(|row| match rows.value(row) {
            true => changed(row),
            false => text.is_valid(row).then(|| text.value(row).to_owned()),
        })
        .collect();
    Arc::new(all)
}
