//! Erasing: what a report said, or what was said of a person, is taken out for good.
//!
//! A record of it remains, without what was erased: which events, by their ids, and which report. Every append
//! heeds it, so that neither a repeated delivery nor reading a kept report again brings anything back; and the
//! files and entries of the log that still held it are deleted at once, so that no older version does either.
//!
//! Each step may be done again, and the record comes first: an erasure that was interrupted is repeated whole.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock, Mutex};

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use event::id::{self, Id};
use event::time::Micros;

use crate::events::IdSet;
use crate::file::read;
use crate::rewrite::{Beside, Reach, Rewrite, rewrite};
use crate::small;
use crate::store::Store;
use crate::table::{Definition, LiveFile, Table};

pub(crate) static ERASURES: Definition =
    Definition { name: "erasures", schema, feed: None, time: "time", by_month: false, order: &["time", "id"], transactions: &[] };

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = |name| Field::new(name, DataType::Utf8, true);
        Arc::new(Schema::new(vec![
            text("id"),
            Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            // report, person, or what went with it: event, or bytes, a report that is not kept for a person's sake.
            text("what"),
            // The report's hash; of a person and their events, the values' hash under a key that is thrown away.
            text("subject"),
            Field::new("event_id", DataType::Binary, true),
            text("by"),
            text("reason"),
        ]))
    });
    SCHEMA.clone()
}

/// Makes of a report's bytes as they came what is packed in them; nothing of those that are not packed.
pub type Unpack = fn(Box<dyn Read + Send>) -> io::Result<Option<Box<dyn Read>>>;

/// Who erases, when and why: kept for ever.
#[derive(Clone, Debug)]
pub struct Erasing {
    pub by: String,
    /// How a packed report is read.
    pub unpack: Unpack,
    pub reason: String,
    pub now: Micros,
}

/// What an erasure did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erasure {
    pub events: u64,
    pub rejects: u64,
    pub sightings: u64,
    /// Kept reports that were deleted, or in which the values were made unreadable.
    pub reports: u64,
}

/// What was erased, as appends heed it.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    ids: IdSet,
    reports: HashSet<String>,
    /// Reports that must not be kept, though their other events are.
    bytes: HashSet<String>,
}

impl Erased {
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.reports.is_empty()
    }

    /// Whether the row says what was erased, or comes from a report that was.
    pub(crate) fn holds(&self, id: &Id, reports: Option<&StringArray>, row: usize) -> bool {
        let report = reports.filter(|reports| reports.is_valid(row)).map(|reports| reports.value(row));
        self.ids.contains(id) || report.is_some_and(|report| self.reports.contains(report))
    }
}

impl Store {
    /// Erases a report: its bytes, its events and its rejects. What another report says as well, and was first
    /// read from this one, goes too, and comes back when that one is read again.
    pub async fn erase_report(&self, report_id: &str, erasing: &Erasing) -> Result<Erasure> {
        self.record(vec![Record { what: "report", subject: report_id.to_owned(), event: None }], erasing).await?;
        let meant = Arc::new(Matching {
            columns: vec!["report_id"],
            matches: Matches::Report(report_id.to_owned()),
            ids: Mutex::default(),
            reports: Mutex::default(),
        });
        let kept = u64::from(self.has_report(report_id).await?);
        let mut done = self.take_out(&meant, &[], erasing.now).await?;
        self.delete_report(report_id).await?;
        done.reports = kept;
        self.forget().await?;
        Ok(done)
    }

    /// Whether a report was erased, and all that it said.
    pub async fn is_erased(&self, report_id: &str) -> Result<bool> {
        Ok(self.erased().await?.reports.contains(report_id))
    }

    /// Which of these reports must not be taken in, should they arrive again: they were erased, or a person in them.
    pub async fn not_to_be_kept<'r>(&self, reports: impl IntoIterator<Item = &'r str>) -> Result<HashSet<String>> {
        let erased = self.erased().await?;
        let refused = |report: &&str| erased.reports.contains(*report) || erased.bytes.contains(*report);
        Ok(reports.into_iter().filter(refused).map(str::to_owned).collect())
    }

    /// Erases what was said of a person: every event in which one of these values stands as a word, in whatever
    /// column, the rejects and sightings of them, and the values in all kept reports, of which each is read. A report
    /// that is packed, or says it in another way, is deleted whole: its days cannot be read again then.
    pub async fn erase_person(&self, values: &[String], erasing: &Erasing) -> Result<Erasure> {
        let words = words_of(values);
        if words.is_empty() {
            bail!("an erasure needs at least one value, such as an address of mail");
        }
        let found = Arc::new(Matching {
            columns: Vec::new(),
            matches: Matches::Words(words.clone()),
            ids: Mutex::default(),
            reports: Mutex::default(),
        });
        self.find(&found).await?;
        let subject = keyed_hash(&words);
        let mut records = vec![Record { what: "person", subject: subject.clone(), event: None }];
        records.extend(taken(&found.ids).into_iter().map(|id| Record { what: "event", subject: subject.clone(), event: Some(id) }));
        self.record(records, erasing).await?;
        let mut done = self.take_out(&found, &words, erasing.now).await?;
        let spoke = taken(&found.reports);
        for report in self.kept_reports().await? {
            done.reports += u64::from(self.make_unreadable(&report, &words, spoke.contains(&report), erasing).await?);
        }
        self.forget().await?;
        Ok(done)
    }

    /// What was erased, as of the newest record.
    pub(crate) async fn erased(&self) -> Result<Arc<Erased>> {
        let version = self.erasures.latest().await?;
        let number = version.number.unwrap_or(0);
        let mut known = self.erased.lock().await;
        if let Some((of, erased)) = known.as_ref()
            && *of == number
        {
            return Ok(erased.clone());
        }
        let place = self.erasures.place.clone();
        let work = move || {
            let mut erased = Erased::default();
            for live in version.files.values() {
                for batch in read(&place, live)? {
                    add_erased(&batch?, &mut erased)?;
                }
            }
            anyhow::Ok(Arc::new(erased))
        };
        let erased = tokio::task::spawn_blocking(work).await.context("the thread that reads erasures has died")??;
        *known = Some((number, erased.clone()));
        Ok(erased)
    }

    async fn record(&self, records: Vec<Record>, erasing: &Erasing) -> Result<()> {
        let count = records.len();
        let times = TimestampMicrosecondArray::from(vec![erasing.now; count]).with_timezone("UTC");
        let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(std::iter::repeat_n(value, count))) };
        let ids = records.iter().map(|record| {
            let event = record.event.map_or_else(String::new, |event| id::hex(&event));
            Some(id::name(format!("{} {} {event} {}", record.what, record.subject, erasing.now).as_bytes()))
        });
        let columns: Vec<ArrayRef> = vec![
            Arc::new(ids.collect::<StringArray>()),
            Arc::new(times),
            Arc::new(records.iter().map(|record| Some(record.what)).collect::<StringArray>()),
            Arc::new(records.iter().map(|record| Some(record.subject.as_str())).collect::<StringArray>()),
            Arc::new(records.iter().map(|record| record.event.as_ref().map(Id::as_slice)).collect::<BinaryArray>()),
            same(&erasing.by),
            same(&erasing.reason),
        ];
        small::append(&self.erasures, RecordBatch::try_new(schema(), columns)?, "id", erasing.now).await?;
        Ok(())
    }

    /// Finds the ids and reports of the events that are meant, and changes nothing.
    async fn find(&self, found: &Arc<Matching>) -> Result<()> {
        let version = self.events.latest().await?;
        let (place, found) = (self.events.place.clone(), found.clone());
        let work = move || {
            for live in version.files.values() {
                for batch in read(&place, live)? {
                    found.rows(&batch?)?;
                }
            }
            Ok(())
        };
        tokio::task::spawn_blocking(work).await.context("the thread that looks for events has died")?
    }

    async fn take_out(&self, meant: &Arc<Matching>, words: &[String], now: Micros) -> Result<Erasure> {
        let beside = || Beside { operation: "ERASE", ..Beside::default() };
        let events = rewrite(&self.events, meant.clone(), beside(), now).await?.rows;
        let others = Arc::new(match words {
            [] => meant.like(vec!["report_id"]),
            _ => meant.like(Vec::new()),
        });
        let rejects = rewrite(&self.rejects, others.clone(), beside(), now).await?.rows;
        // Of a report, sightings are counted anew by the next refresh; of a person, they must go even where the
        // events of their day have expired.
        let sightings = if words.is_empty() { 0 } else { rewrite(&self.sightings, others, beside(), now).await?.rows };
        Ok(Erasure { events, rejects, sightings, reports: 0 })
    }

    /// Deletes the files and entries of the logs that hold what was erased: to be called again once sightings were
    /// counted anew.
    pub async fn forget(&self) -> Result<()> {
        for table in [&self.events, &self.rejects, &self.sightings] as [&Arc<Table>; 3] {
            self.vacuum_removed(table).await?;
        }
        Ok(())
    }

    /// Writes a kept report anew with the words blotted out; it keeps its name. One in which they stand in another
    /// way, as `spoke` may tell, is deleted. False if they are not in it.
    async fn make_unreadable(&self, report_id: &str, words: &[String], spoke: bool, erasing: &Erasing) -> Result<bool> {
        let work = || -> Result<Found> {
            let read = || self.open_report(report_id);
            let as_it_came = has_words(read()?, words)?;
            // What is packed would not unpack any more, were a word in it blotted out.
            let packed = (erasing.unpack)(read()?)?;
            if as_it_came && packed.is_none() {
                self.rewrite_report(report_id, |out| blot_out(&mut read().map_err(io::Error::other)?, out, words, PIECE).map(|_| ()))?;
                return Ok(Found::BlottedOut);
            }
            let in_another_way = as_it_came || spoke || packed.map_or(Ok(false), |plain| has_words(plain, words))?;
            Ok(if in_another_way { Found::Otherwise } else { Found::Nowhere })
        };
        let found = tokio::task::block_in_place(work).with_context(|| format!("erasing in the report {report_id}"))?;
        if found == Found::Otherwise {
            self.record(vec![Record { what: "bytes", subject: report_id.to_owned(), event: None }], erasing).await?;
            self.delete_report(report_id).await?;
        }
        Ok(found != Found::Nowhere)
    }
}

/// How words stood in a kept report.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    /// As they are, and do no more.
    BlottedOut,
    /// Packed, or in another encoding.
    Otherwise,
    Nowhere,
}

struct Record {
    what: &'static str,
    subject: String,
    event: Option<Id>,
}

/// A hash that tells nobody whether a value they know is meant: its key is thrown away.
fn keyed_hash(words: &[String]) -> String {
    let mut key = [0; 32];
    key.chunks_mut(8).for_each(|part| part.copy_from_slice(&crate::random().to_le_bytes()));
    blake3::keyed_hash(&key, words.join("\n").as_bytes()).to_hex().chars().take(32).collect()
}

fn add_erased(batch: &RecordBatch, erased: &mut Erased) -> Result<()> {
    let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let ids = batch.column_by_name("event_id").and_then(|ids| ids.as_binary_opt::<i32>());
    let (Some(what), Some(subject), Some(ids)) = (text("what"), text("subject"), ids) else { bail!("an erasure lacks its columns") };
    for row in 0..batch.num_rows() {
        match what.value(row) {
            "report" => {
                erased.reports.insert(subject.value(row).to_owned());
            }
            "bytes" => {
                erased.bytes.insert(subject.value(row).to_owned());
            }
            "event" => {
                erased.ids.insert(ids.value(row).try_into().map_err(|_| anyhow!("an erased id is not one of 16 bytes"))?);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Rows that are to be erased.
#[derive(Debug)]
struct Matching {
    /// None stands for all: the words may stand anywhere.
    columns: Vec<&'static str>,
    matches: Matches,
    /// The events that were found.
    ids: Mutex<BTreeSet<Id>>,
    /// The reports that they were read from.
    reports: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Debug)]
enum Matches {
    Report(String),
    Words(Vec<String>),
}

fn taken<T: Ord + Clone>(found: &Mutex<BTreeSet<T>>) -> BTreeSet<T> {
    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

impl Matching {
    fn like(&self, columns: Vec<&'static str>) -> Matching {
        Matching { columns, matches: self.matches.clone(), ids: Mutex::default(), reports: Mutex::default() }
    }

    fn matches(&self, name: &str, value: &str) -> bool {
        match &self.matches {
            Matches::Report(report) => name == "report_id" && value == report,
            Matches::Words(words) => has_word(value.as_bytes(), words),
        }
    }

    /// Remembers which events of which reports are meant, where the batch has both.
    fn remember(&self, batch: &RecordBatch, rows: &[bool]) -> Result<()> {
        let ids = batch.column_by_name("id").and_then(|ids| ids.as_binary_opt::<i32>());
        let reports = batch.column_by_name("report_id").and_then(|reports| reports.as_string_opt::<i32>());
        for row in (0..rows.len()).filter(|row| rows[*row]) {
            if let Some(ids) = ids {
                let id = ids.value(row).try_into().map_err(|_| anyhow!("an event's id is not one of 16 bytes"))?;
                self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(id);
            }
            if let Some(reports) = reports.filter(|reports| reports.is_valid(row)) {
                self.reports.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(reports.value(row).to_owned());
            }
        }
        Ok(())
    }
}

impl Rewrite for Matching {
    fn reach(&self, _file: &LiveFile) -> Reach {
        Reach::Something
    }

    fn columns(&self) -> Vec<&str> {
        match self.columns.is_empty() {
            true => event::field::FIELDS
                .iter()
                .map(|field| field.column)
                .chain(event::batch::HOUSE.iter().map(|(name, _, _)| *name))
                .chain(["column", "line", "reason", "raw", "asset", "identifier", "key"])
                .collect(),
            false => self.columns.clone(),
        }
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let mut rows = vec![false; batch.num_rows()];
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let Some(text) = column.as_string_opt::<i32>() else { continue };
            for (row, value) in text.iter().enumerate() {
                rows[row] |= value.is_some_and(|value| self.matches(field.name(), value));
            }
        }
        self.remember(batch, &rows)?;
        Ok(BooleanArray::from(rows))
    }
}

/// How a value is written in reports, in lower case: as it is, as addresses of web pages carry it along, and as mail does.
fn spellings(value: &str) -> BTreeSet<String> {
    let lower = value.to_ascii_lowercase();
    let with_signs_as = |sign: fn(u8) -> String| -> String {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        lower.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { sign(byte) }).collect()
    };
    let escaped = with_signs_as(|byte| format!("%{byte:02x}"));
    let form = escaped.replace("%20", "+");
    let mail = with_signs_as(|byte| format!("={byte:02x}"));
    [lower, escaped, form, mail].into_iter().filter(|word| !word.is_empty()).collect()
}

/// Whether a text says one of these values, in any spelling.
pub fn says(text: &str, values: &[String]) -> bool {
    has_word(text.as_bytes(), &words_of(values))
}

fn words_of(values: &[String]) -> Vec<String> {
    values.iter().flat_map(|value| spellings(value.trim())).collect()
}

/// Whether one of the words stands in the text by itself: `192.0.2.1` is not in `192.0.2.10`, nor `example.org`
/// in `www.example.org`. Words are in lower case, the text in any.
fn has_word(text: &[u8], words: &[String]) -> bool {
    words.iter().any(|word| next_word(text, word.as_bytes(), 0).is_some())
}

/// Where the word next stands by itself.
fn next_word(text: &[u8], word: &[u8], from: usize) -> Option<usize> {
    let last = text.len().checked_sub(word.len())?;
    (from..=last).find(|start| {
        let (before, there) = text.split_at(*start);
        let (there, after) = there.split_at(word.len());
        there.eq_ignore_ascii_case(word) && (ends_with_escape(before) || !runs_on(before.iter().rev())) && !runs_on(after.iter())
    })
}

/// Whether a text ends with a sign in hexadecimal, `%3D`, whose digits are no part of what follows.
fn ends_with_escape(text: &[u8]) -> bool {
    matches!(text, [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// Whether a word goes on in this direction: with a letter or digit, or with one behind a joining sign.
fn runs_on<'a>(mut beside: impl Iterator<Item = &'a u8>) -> bool {
    match beside.next() {
        Some(byte) if byte.is_ascii_alphanumeric() || *byte >= 0x80 => true,
        Some(b'.' | b'-' | b'_') => beside.next().is_some_and(u8::is_ascii_alphanumeric),
        _ => false,
    }
}

/// Read at a time, in bytes.
const PIECE: usize = 1 << 20;

/// What beside a word tells whether it goes on, in bytes.
const BESIDE: usize = 3;

fn has_words(from: impl Read, words: &[String]) -> Result<bool> {
    Ok(blot_out(&mut UpToDamage(from), &mut io::sink(), words, PIECE)?)
}

/// Bytes that end where they do not unpack: they do so for every reader.
struct UpToDamage<R>(R);

impl<R: Read> Read for UpToDamage<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).or_else(|error| if error.kind() == io::ErrorKind::InvalidData { Ok(0) } else { Err(error) })
    }
}

/// Copies text with every word replaced by as many `x`; whether there was any.
fn blot_out(from: &mut dyn Read, to: &mut dyn Write, words: &[String], piece: usize) -> io::Result<bool> {
    let margin = words.iter().map(String::len).max().unwrap_or(0) + BESIDE;
    let (mut text, mut written, mut any) = (Vec::new(), 0, false);
    loop {
        let ended = (&mut *from).take(piece as u64).read_to_end(&mut text)? == 0;
        // Of words that start before here, what follows them is known.
        let known = if ended { text.len() } else { text.len().saturating_sub(margin).max(written) };
        for word in words {
            let mut at = written;
            while let Some(start) = next_word(&text, word.as_bytes(), at).filter(|start| *start < known) {
                at = start + word.len();
                text[start..at].fill(b'x');
                any = true;
            }
        }
        to.write_all(&text[written..known])?;
        if ended {
            return Ok(any);
        }
        let done = known.saturating_sub(BESIDE);
        text.drain(..done);
        written = known - done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_as_the_web_and_mail_write_it() {
        let expected = [
            "jane doe <j@example.org>",
            "jane%20doe%20%3cj%40example.org%3e",
            "jane+doe+%3cj%40example.org%3e",
            "jane=20doe=20=3cj=40example.org=3e",
        ];
        assert!(spellings("Jane Doe <j@example.org>").iter().eq(expected.iter().copied().collect::<BTreeSet<_>>()));
        assert!(spellings("").is_empty());
    }

    #[track_caller]
    fn check(text: &str, word: &str, expected: &str) {
        for piece in (1..12).chain([PIECE]) {
            let mut blotted = Vec::new();
            blot_out(&mut text.as_bytes(), &mut blotted, &[word.to_owned()], piece).expect("memory takes it");
            assert_eq!(String::from_utf8_lossy(&blotted), expected, "read {piece} bytes at a time");
        }
    }

    #[test]
    fn words_are_blotted_out_where_they_stand_by_themselves() {
        check("1,192.0.2.1,192.0.2.10", "192.0.2.1", "1,xxxxxxxxx,192.0.2.10");
        check("to Jane@Example.org.", "jane@example.org", "to xxxxxxxxxxxxxxxx.");
        check("www.example.org example.org", "example.org", "www.example.org xxxxxxxxxxx");
        check("{\"mail\":\"jane@example.org\"}", "jane@example.org", "{\"mail\":\"xxxxxxxxxxxxxxxx\"}");
        check("janet", "jane", "janet");
        check("?u%3Djane%26x", "jane", "?u%3Dxxxx%26x");
        check("3djane", "jane", "3djane");
        check("", "jane", "");
    }
}
