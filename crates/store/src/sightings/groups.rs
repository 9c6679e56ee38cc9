//! Rows of events gathered by thing, day and feed. A thing goes by its key, which is 128 random bits, so that no text
//! is compared, and a group costs its few numbers and the text of its asset.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::compute;
use arrow::datatypes::{DataType, Int32Type, TimeUnit, TimestampMicrosecondType};
use event::id::{self, Id};
use event::time::{self, Micros};

use super::SIGHTINGS;
use crate::days::FeedDays;

/// What the group of one thing takes in memory, about, in bytes.
pub(super) const GROUP: usize = 160;

/// Rows of a batch that is written.
const BATCH: usize = 1 << 14;

/// The columns of the rows, in this order.
const COLUMNS: [&str; 7] = ["feed", "kind", "asset", "port", "identifier", "time_source", "in_scope"];

#[derive(Default)]
pub(super) struct Groups {
    /// Each thing's place among the groups: small, since a table that grows is copied.
    places: HashMap<Key, u32, BuildHasherDefault<KeyHasher>>,
    groups: Vec<Group>,
    words: Words,
    /// The assets, one after the other.
    assets: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    thing: Id,
    day: i32,
    /// A word's number.
    feed: u32,
}

impl std::hash::Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.thing);
        state.write_u64(u64::from(self.feed) << 32 | u64::from(self.day as u32));
    }
}

/// A key is random but for day and feed.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 ^= bytes.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Group {
    key: Key,
    kind: u32,
    identifier: u32,
    /// Among the assets.
    asset: Range<u32>,
    port: Option<i32>,
    first: Micros,
    last: Micros,
    count: i64,
    in_scope: bool,
}

/// Words that come again and again, by number.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Words {
    fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = self.words.len() as u32;
        self.words.push(word.to_owned());
        self.numbers.insert(word.to_owned(), number);
        number
    }

    fn get(&self, number: u32) -> &str {
        &self.words[number as usize]
    }
}

/// A column of words, of which the same comes often after itself.
struct WordColumn<'a> {
    texts: &'a StringViewArray,
    last: Option<(&'a str, u32)>,
}

impl<'a> WordColumn<'a> {
    fn number(&mut self, row: usize, words: &mut Words) -> (&'a str, u32) {
        let text = if self.texts.is_valid(row) { self.texts.value(row) } else { "" };
        match self.last {
            Some(last) if last.0 == text => last,
            _ => *self.last.insert((text, words.number(text))),
        }
    }
}

impl Groups {
    /// Adds rows of [`COLUMNS`], those of the days that are wanted.
    pub(super) fn add(&mut self, batch: &RecordBatch, wanted: &FeedDays) -> Result<()> {
        let text = |place: usize| batch.column(place).as_string_view_opt().ok_or_else(|| anyhow!("{} is no text", COLUMNS[place]));
        let micros = compute::cast(batch.column(5), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
        let (assets, ports) = (text(2)?, batch.column(3).as_primitive::<Int32Type>());
        let (times, scopes) = (micros.as_primitive::<TimestampMicrosecondType>(), batch.column(6).as_boolean());
        let word = |place: usize| text(place).map(|texts| WordColumn { texts, last: None });
        let (mut feeds, mut kinds, mut identifiers) = (word(0)?, word(1)?, word(4)?);
        let mut message = Vec::new();
        for row in 0..batch.num_rows() {
            let (feed_name, feed) = feeds.number(row, &mut self.words);
            let time = times.value(row);
            let day = time::day(time);
            if assets.is_null(row) || !wanted.0.get(feed_name).is_some_and(|days| days.contains(&day)) {
                continue;
            }
            let (kind_name, kind) = kinds.number(row, &mut self.words);
            let (identifier_name, identifier) = identifiers.number(row, &mut self.words);
            let (asset, port) = (assets.value(row), ports.is_valid(row).then(|| ports.value(row)));
            message.clear();
            push_part(&mut message, kind_name);
            push_part(&mut message, asset);
            push_part(&mut message, &port.map(|port| port.to_string()).unwrap_or_default());
            push_part(&mut message, identifier_name);
            let key = Key { thing: id::of(&message), day, feed };
            let in_scope = scopes.is_valid(row) && scopes.value(row);
            match self.places.entry(key) {
                Entry::Occupied(place) => self.groups[*place.get() as usize].see(time, in_scope),
                Entry::Vacant(place) => {
                    place.insert(self.groups.len() as u32);
                    let start = self.assets.len() as u32;
                    self.assets.push_str(asset);
                    let asset = start..self.assets.len() as u32;
                    self.groups.push(Group { key, kind, identifier, asset, port, first: time, last: time, count: 1, in_scope });
                }
            }
        }
        Ok(())
    }

    /// Hands out the sightings, sorted, in batches that each lie in one month.
    pub(super) fn finish(mut self, mut each: impl FnMut(&str, RecordBatch) -> Result<()>) -> Result<()> {
        self.places = HashMap::default();
        let mut groups = std::mem::take(&mut self.groups);
        groups.sort_unstable_by(|one, other| {
            (self.words.get(one.key.feed), one.key.day, one.key.thing).cmp(&(
                self.words.get(other.key.feed),
                other.key.day,
                other.key.thing,
            ))
        });
        for day in groups.chunk_by(|one, other| one.key.day == other.key.day) {
            let month = time::month_name(day[0].key.day);
            for part in day.chunks(BATCH) {
                each(&month, self.batch(part)?)?;
            }
        }
        Ok(())
    }

    fn batch(&self, groups: &[Group]) -> Result<RecordBatch> {
        let texts = |of: &dyn Fn(&Group) -> u32| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(groups.iter().map(|group| self.words.get(of(group)))))
        };
        let times = |of: &dyn Fn(&Group) -> Micros| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(groups.iter().map(of)).with_timezone("UTC"))
        };
        let assets = groups.iter().map(|group| self.assets.get(group.asset.start as usize..group.asset.end as usize).unwrap_or_default());
        let columns: [(&str, ArrayRef); 11] = [
            ("key", Arc::new(StringArray::from_iter_values(groups.iter().map(|group| id::hex(&group.key.thing))))),
            ("feed", texts(&|group| group.key.feed)),
            ("kind", texts(&|group| group.kind)),
            ("asset", Arc::new(StringArray::from_iter_values(assets))),
            ("port", Arc::new(groups.iter().map(|group| group.port).collect::<Int32Array>())),
            ("identifier", texts(&|group| group.identifier)),
            ("day", Arc::new(Date32Array::from_iter_values(groups.iter().map(|group| group.key.day)))),
            ("first", times(&|group| group.first)),
            ("last", times(&|group| group.last)),
            ("count", Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| group.count)))),
            ("in_scope", Arc::new(BooleanArray::from_iter(groups.iter().map(|group| Some(group.in_scope))))),
        ];
        let schema = SIGHTINGS.file_schema();
        debug_assert!(schema.fields().iter().map(|field| field.name().as_str()).eq(columns.iter().map(|(name, _)| *name)));
        Ok(RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect())?)
    }
}

impl Group {
    fn see(&mut self, time: Micros, in_scope: bool) {
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.count += 1;
        self.in_scope |= in_scope;
    }
}

/// Lengths keep apart what would run together. What a thing is known by is a persisted format.
fn push_part(message: &mut Vec<u8>, part: &str) {
    message.extend_from_slice(&(part.len() as u64).to_le_bytes());
    message.extend_from_slice(part.as_bytes());
}
