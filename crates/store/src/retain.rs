//! Keeping data only as long as it may be kept: rows, and single fields of rows, expire after a number of days.
//!
//! Sightings of expired days stay as they were counted: they are what figures and findings rest on. So what of a
//! feed has expired is remembered: sightings of such days are never counted anew, and reading them again brings
//! nothing back. But sightings do not name what a field held that has expired, and rejects, which hold whole rows,
//! go with the first of their feed's events or fields.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::compute;
use arrow::compute::kernels::zip::zip;
use bytes::Bytes;
use event::time::{self, Micros};
use event::{Field, Type, value};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::days::FeedDays;
use crate::deliveries::Delivery;
use crate::events::{EVENTS, TIME};
use crate::rejects::{REJECTS, RejectsOf};
use crate::rewrite::{Before, Beside, Reach, Rewrite, day_at, rewrite, with_column};
use crate::sightings::{SIGHTINGS, names_things};
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
    /// Whether the feed's rows may say it: then its rejects, which are rows, go too.
    pub in_rows: bool,
    /// Whether the feed's table says that the column is an event's asset: its sightings may be named by it.
    pub is_asset: bool,
    /// Whether the feed's sightings are counted by the column: without it they would come out otherwise.
    pub is_counted_by: bool,
    /// Kept on so many UTC days before today.
    pub days: u32,
}

/// How many rows were taken out or lost something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    pub events: u64,
    pub rejects: u64,
    pub sightings: u64,
    /// Kept reports that were deleted.
    pub reports: u64,
}

/// What no event is without.
const ALWAYS: [&str; 7] = ["id", "feed", "month", "kind", "asset", "in_scope", TIME];

/// What of each feed has expired: an object of the store.
pub(crate) const EXPIRED: &str = "expired.json";

/// What of a feed has expired, each before a day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Expired {
    /// Whole events.
    rows: Option<i32>,
    /// Columns of events.
    columns: BTreeMap<String, i32>,
    /// Keys of `extra`.
    extra: BTreeMap<String, i32>,
    /// Something that sightings are counted by.
    counted_by: Option<i32>,
    /// Rejects, by the day of their delivery.
    rejects: Option<i32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Remembered {
    /// As it was written once: a day alone, before which something that sightings are counted by has expired.
    Day(i32),
    Each(Expired),
}

impl From<Remembered> for Expired {
    fn from(remembered: Remembered) -> Expired {
        match remembered {
            // Which of the two it was is not known, and that such days are not read again changes nothing.
            Remembered::Day(day) => Expired { rows: Some(day), counted_by: Some(day), ..Expired::default() },
            Remembered::Each(expired) => expired,
        }
    }
}

impl Expired {
    fn remember(&mut self, rule: &Rule) {
        let at = match &rule.retention.what {
            Expiring::Row => self.rows.get_or_insert(rule.before),
            Expiring::Column(column) => self.columns.entry(column.clone()).or_insert(rule.before),
            Expiring::Extra(key) => self.extra.entry(key.clone()).or_insert(rule.before),
        };
        *at = rule.before.max(*at);
        if rule.changes_sightings() {
            self.counted_by = self.counted_by.max(Some(rule.before));
        }
        if rule.retention.in_rows {
            self.rejects = self.rejects.max(Some(rule.before));
        }
    }

    /// The fields that have expired, as rules of the feed.
    fn fields(&self, feed: &str) -> Rules {
        let columns = self.columns.iter().map(|(column, before)| (Expiring::Column(column.clone()), *before));
        let extra = self.extra.iter().map(|(key, before)| (Expiring::Extra(key.clone()), *before));
        let rule = |(what, before)| {
            let retention = Retention { feed: feed.to_owned(), what, in_rows: false, is_asset: false, is_counted_by: false, days: 0 };
            Rule { retention, before }
        };
        Rules(columns.chain(extra).map(rule).collect())
    }
}

impl Store {
    /// Applies rules of events and their fields.
    pub async fn retain(&self, rules: &[Retention], now: Micros) -> Result<Retained> {
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
        let mut days: BTreeMap<String, i32> = BTreeMap::new();
        for rule in rules.iter().filter(|rule| rule.retention.in_rows) {
            let before = days.entry(rule.retention.feed.clone()).or_insert(rule.before);
            *before = rule.before.max(*before);
        }
        let rejects = rewrite(&self.rejects, Arc::new(Before { days, time: REJECTS.time }), beside(), now).await?.rows;
        let sightings = rewrite(&self.sightings, Arc::new(Unnamed(rules.clone())), beside(), now).await?.rows;
        let events = rewrite(&self.events, Arc::new(Rules(rules)), beside(), now).await?.rows;
        Ok(Retained { events, rejects, sightings, reports: 0 })
    }

    /// Deletes reports whose deliveries all came more days ago than their feed's reports are kept, and the rejects of
    /// them. Their days cannot be read again then.
    pub async fn retain_reports(&self, days: &BTreeMap<String, u32>, now: Micros) -> Result<Retained> {
        self.require_write()?;
        let before: BTreeMap<String, i32> =
            days.iter().map(|(feed, days)| (feed.clone(), time::day(now).saturating_sub_unsigned(*days))).collect();
        let has_expired = |delivery: &Delivery| before.get(&delivery.feed).is_some_and(|day| time::day(delivery.time) < *day);
        let (old, young): (Vec<Delivery>, Vec<Delivery>) = self.deliveries(None).await?.into_iter().partition(has_expired);
        // What waits to be read needs its report too.
        let waiting = self.arrivals().await?.into_iter().map(|arrival| arrival.report_id);
        let needed: HashSet<String> = young.into_iter().map(|delivery| delivery.report_id).chain(waiting).collect();
        let old: BTreeSet<String> = old.into_iter().map(|delivery| delivery.report_id).filter(|id| !needed.contains(id)).collect();
        let mut reports = 0;
        for id in &old {
            if self.has_report(id).await? {
                self.delete_report(id).await?;
                reports += 1;
            }
        }
        let rejects = RejectsOf { column: "report_id", ids: old.into_iter().collect() };
        let rejects = rewrite(&self.rejects, Arc::new(rejects), beside(), now).await?.rows;
        Ok(Retained { rejects, reports, ..Retained::default() })
    }

    async fn expired(&self) -> Result<BTreeMap<String, Expired>> {
        match self.place.read(EXPIRED).await? {
            Some(bytes) => {
                let expired: BTreeMap<String, Remembered> = serde_json::from_slice(&bytes).with_context(|| format!("reading {EXPIRED}"))?;
                Ok(expired.into_iter().map(|(feed, remembered)| (feed, remembered.into())).collect())
            }
            None => Ok(BTreeMap::new()),
        }
    }

    async fn remember_expired(&self, rules: &[Rule]) -> Result<()> {
        let known = self.expired().await?;
        let mut expired = known.clone();
        for rule in rules {
            expired.entry(rule.retention.feed.clone()).or_default().remember(rule);
        }
        if expired == known { Ok(()) } else { self.place.put(EXPIRED, Bytes::from(serde_json::to_vec_pretty(&expired)?)).await }
    }

    /// The first day of which a feed's events have not expired, if any have. Earlier ones are not read again.
    pub async fn first_unexpired(&self, feed: &str) -> Result<Option<i32>> {
        Ok(self.expired().await?.get(feed).and_then(|expired| expired.rows))
    }

    /// Of each feed, the first day of whose deliveries the rejects have not expired.
    pub(crate) async fn first_rejects(&self) -> Result<BTreeMap<String, i32>> {
        Ok(self.expired().await?.into_iter().filter_map(|(feed, expired)| Some((feed, expired.rejects?))).collect())
    }

    /// The fields of a feed that have expired, as rules for what is read again.
    pub(crate) async fn expired_fields(&self, feed: &str) -> Result<Rules> {
        Ok(self.expired().await?.get(feed).map(|expired| expired.fields(feed)).unwrap_or_default())
    }

    /// Of each feed, the first day whose sightings can be counted anew.
    pub(crate) async fn counted_anew_from(&self) -> Result<BTreeMap<String, i32>> {
        Ok(self.expired().await?.into_iter().filter_map(|(feed, expired)| Some((feed, expired.counted_by?))).collect())
    }

    /// The days whose sightings can be counted anew.
    pub(crate) async fn countable(&self, mut days: FeedDays) -> Result<FeedDays> {
        for (feed, from) in self.counted_anew_from().await? {
            if let Some(days) = days.0.get_mut(&feed) {
                days.retain(|day| *day >= from);
            }
        }
        days.0.retain(|_, days| !days.is_empty());
        Ok(days)
    }
}

fn beside() -> Beside {
    Beside { operation: "RETAIN", ..Beside::default() }
}

#[derive(Clone, Debug)]
struct Rule {
    retention: Retention,
    /// Earlier days expire.
    before: i32,
}

impl Rule {
    /// Whether counting the days again would come to something else.
    fn changes_sightings(&self) -> bool {
        match &self.retention.what {
            Expiring::Row => true,
            Expiring::Column(_) => self.retention.is_asset || self.retention.is_counted_by,
            Expiring::Extra(_) => false,
        }
    }

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

#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

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
        self.without_expired(batch)
    }
}

impl Rules {
    /// The events without what expires by these rules.
    pub(crate) fn without_expired(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut batch = batch.clone();
        for rule in &self.0 {
            let rows = rule.rows(&batch)?;
            batch = match &rule.retention.what {
                Expiring::Row => compute::filter_record_batch(&batch, &compute::not(&rows)?)?,
                Expiring::Column(column) => with_column(&batch, column, |values| without(values, &rows))?,
                Expiring::Extra(key) => with_column(&batch, "extra", |values| Ok(without_key(values, key, &rows)))?,
            };
        }
        Ok(batch)
    }
}

/// Sightings that tell what a field held, which has expired.
struct Unnamed(Vec<Rule>);

impl Rewrite for Unnamed {
    fn reach(&self, file: &LiveFile) -> Reach {
        let reaches = |rule: &Rule| matches!(rule.retention.what, Expiring::Column(_)) && rule.reaches(file);
        if self.0.iter().any(reaches) { Reach::Something } else { Reach::Nothing }
    }

    fn columns(&self) -> Vec<&str> {
        vec!["kind", "asset"]
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let (Some(feeds), Some(kinds), Some(assets)) = (text("feed"), text("kind"), text("asset")) else {
            bail!("sightings without feed, kind and asset")
        };
        let Some(days) = batch.column_by_name(SIGHTINGS.time) else { bail!("sightings without day") };
        let mut scratch = String::new();
        let mut expires = |row: usize, rule: &Rule| {
            let Expiring::Column(column) = &rule.retention.what else { return false };
            let Some(field) = Field::all().find(|field| field.column() == column) else { return false };
            feeds.value(row) == rule.retention.feed
                && day_at(days, row).is_some_and(|day| day < rule.before)
                && (rule.retention.is_asset || names_things(kinds.value(row), column))
                // Of a feed with several sorts of asset, this is one that the field could have held.
                && could_be(field, assets.value(row), &mut scratch)
        };
        Ok((0..batch.num_rows()).map(|row| Some(assets.is_valid(row) && self.0.iter().any(|rule| expires(row, rule)))).collect())
    }

    fn apply(&self, batch: &RecordBatch, rows: &BooleanArray) -> Result<RecordBatch> {
        with_column(batch, "asset", |values| without(values, rows))
    }
}

/// Whether a text may be what this field held.
fn could_be(field: Field, text: &str, scratch: &mut String) -> bool {
    match field.kind() {
        Type::Asn => text.bytes().all(|byte| byte.is_ascii_digit()),
        Type::Integer | Type::Float | Type::Percent | Type::Boolean | Type::Port | Type::Time => false,
        _ => value::text(field, text, scratch).is_ok_and(|canonical| canonical == text),
    }
}

/// A column without its values in these rows.
fn without(values: &ArrayRef, rows: &BooleanArray) -> Result<ArrayRef> {
    Ok(zip(rows, &new_null_array(values.data_type(), values.len()), values)?)
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
