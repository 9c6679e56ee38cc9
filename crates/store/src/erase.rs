//! Erasing: what a report said, or what was said of a person, is taken out for good.
//!
//! A record of it remains, without what was erased: which events, by their ids, and which report. Every append
//! heeds it, so that neither a repeated delivery nor reading a kept report again brings anything back; and the
//! files and entries of the log that still held it are deleted at once, so that no older version does either.
//!
//! Each step may be done again, and the record comes first: an erasure that was interrupted is repeated whole, by
//! asking for it once more.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock, Mutex};

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use event::id::{self, Id};
use event::time::Micros;
use serde::{Deserialize, Serialize};

use crate::events::IdSet;
use crate::file::read;
use crate::rewrite::{Beside, Reach, Rewrite, rewrite, with_column};
use crate::small;
use crate::store::Store;
use crate::table::{Definition, LiveFile, Table};
use crate::work::AtWork;

pub(crate) static ERASURES: Definition =
    Definition { name: "erasures", schema, feed: None, time: "time", by_month: false, order: &["time", "id"], transactions: &[] };

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = |name| Field::new(name, DataType::Utf8, true);
        Arc::new(Schema::new(vec![
            text("id"),
            Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            // report, person, or what went with it: event; bytes, a report that is not kept for a person's sake; or words, one in
            // which they are blotted out.
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
    /// Reports in which words are blotted out.
    words: HashSet<String>,
}

impl Erased {
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty() && self.reports.is_empty()
    }

    pub(crate) fn is_report(&self, report_id: &str) -> bool {
        self.reports.contains(report_id)
    }

    /// Whether the report is not kept at all any more.
    pub(crate) fn is_taken_out(&self, report_id: &str) -> bool {
        self.reports.contains(report_id) || self.bytes.contains(report_id)
    }

    pub(crate) fn is_blotted(&self, report_id: &str) -> bool {
        self.words.contains(report_id)
    }

    /// Whether the row says what was erased, or comes from a report that was.
    pub(crate) fn holds(&self, id: &Id, reports: Option<&StringArray>, row: usize) -> bool {
        let report = reports.filter(|reports| reports.is_valid(row)).map(|reports| reports.value(row));
        self.ids.contains(id) || report.is_some_and(|report| self.reports.contains(report))
    }
}

impl Store {
    /// Records that a report is erased: from now on no reading heeds it. Its days are to be read again then, since what
    /// another report says as well may have been first read from this one; and then [`Store::erase_report`] takes out
    /// whatever is left.
    pub async fn record_erasure(&self, report_id: &str, erasing: &Erasing) -> Result<()> {
        let is_known = self.has_report(report_id).await?
            || self.is_erased(report_id).await?
            || self.deliveries(None).await?.iter().any(|delivery| delivery.report_id == report_id);
        if !is_known {
            bail!("there is no report {report_id}: `waglan query \"SELECT * FROM reports\"` shows all");
        }
        self.record(vec![Record { what: "report", subject: report_id.to_owned(), event: None }], erasing).await
    }

    /// Takes out the events and rejects of a report, and its bytes.
    pub async fn erase_report(&self, report_id: &str, erasing: &Erasing) -> Result<Erasure> {
        let meant = Arc::new(Matching {
            columns: vec!["report_id"],
            matches: Matches::Report(report_id.to_owned()),
            ids: Mutex::default(),
            reports: Mutex::default(),
        });
        let kept = u64::from(self.has_report(report_id).await?);
        let done = self.take_out(&meant, &[], erasing.now).await?;
        self.delete_report(report_id).await?;
        Ok(Erasure { reports: kept, ..done })
    }

    /// Whether a report was erased, and all that it said.
    pub async fn is_erased(&self, report_id: &str) -> Result<bool> {
        Ok(self.erased().await?.reports.contains(report_id))
    }

    /// Which of these reports must not be taken in, should they arrive again: they were erased, or a person in them.
    pub async fn not_to_be_kept<'r>(&self, reports: impl IntoIterator<Item = &'r str>) -> Result<HashSet<String>> {
        let erased = self.erased().await?;
        let mut refused = HashSet::new();
        for report in reports {
            // A kept one in which words are blotted out stays as it is; once it has expired it would come with them.
            if erased.is_taken_out(report) || erased.words.contains(report) && !self.has_report(report).await? {
                refused.insert(report.to_owned());
            }
        }
        Ok(refused)
    }

    /// Reports of which a part was erased, for a person's sake.
    pub async fn partly_erased(&self) -> Result<BTreeSet<String>> {
        let erased = self.erased().await?;
        Ok(erased.words.union(&erased.bytes).cloned().collect())
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
        // Reports come first: which of them say it in another way is known from the events alone. Those in which this very
        // erasure, cut short, has blotted the words out do so no more, though their events are still there.
        let (mut same, others): (Vec<Begun>, Vec<Begun>) = self.begun().await?.into_iter().partition(|begun| begun.is_of(&words));
        let mut begun = same.pop().unwrap_or_else(|| Begun::new(&words));
        let mut spoke = taken(&found.reports);
        spoke.retain(|report| !begun.blotted.contains(report));
        let (mut saying, mut failed) = (Vec::new(), Vec::new());
        for report in self.kept_reports().await? {
            self.drop_spare_form(&report).await?;
            match tokio::task::block_in_place(|| self.look(&report, &words, spoke.contains(&report), erasing)) {
                Ok(Some(found)) => saying.push((report, found)),
                Ok(None) => {}
                Err(error) => failed.push(format!("{report}: {error:#}")),
            }
        }
        begun.blotted.extend(saying.iter().filter(|(_, found)| *found == Found::Plain).map(|(report, _)| report.clone()));
        self.put_begun(others.iter().chain([&begun])).await?;
        let record = |(report, found): &(String, Found)| Record { what: found.recorded(), subject: report.clone(), event: None };
        self.record(saying.iter().map(record).collect(), erasing).await?;
        let reports = saying.len() as u64;
        for (report, found) in saying {
            match found {
                Found::Plain => {
                    let blot = |out: &mut dyn Write| -> io::Result<()> {
                        blot_out(&mut self.open_report(&report).map_err(io::Error::other)?, out, &words, PIECE).map(|_| ())
                    };
                    let rewritten = tokio::task::block_in_place(|| self.rewrite_report(&report, blot));
                    rewritten.with_context(|| format!("erasing in the report {report}"))?;
                }
                Found::Otherwise => self.delete_report(&report).await?,
            }
        }
        if !failed.is_empty() {
            bail!(
                "{} kept reports could not be looked through: {}; events and rejects are as they were: mend these reports or erase them \
                 whole, and repeat the erasure",
                failed.len(),
                failed.join("; ")
            );
        }
        let done = self.take_out(&found, &words, erasing.now).await?;
        self.put_begun(others.iter()).await?;
        Ok(Erasure { reports, ..done })
    }

    /// Erasures of persons that were cut short.
    async fn begun(&self) -> Result<Vec<Begun>> {
        match self.place.read(BEGUN).await? {
            Some(bytes) => serde_json::from_slice(&bytes).with_context(|| format!("reading {BEGUN}")),
            None => Ok(Vec::new()),
        }
    }

    async fn put_begun(&self, begun: impl Iterator<Item = &Begun>) -> Result<()> {
        match begun.collect::<Vec<_>>().as_slice() {
            [] => self.place.delete(BEGUN).await,
            some => self.place.put(BEGUN, Bytes::from(serde_json::to_vec(some)?)).await,
        }
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
        if count == 0 {
            return Ok(());
        }
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
        if words.is_empty() {
            return Ok(Erasure { events, rejects, ..Erasure::default() });
        }
        let sightings = rewrite(&self.sightings, others, beside(), now).await?.rows;
        rewrite(&self.deliveries, Arc::new(Origins(words.to_vec())), beside(), now).await?;
        Ok(Erasure { events, rejects, sightings, reports: 0 })
    }

    /// Deletes the files and entries of the logs that hold what was erased, once sightings have been counted anew; and what
    /// processes that died have left, which may hold it too.
    pub async fn forget(&self, at_work: &AtWork, now: Micros) -> Result<()> {
        for table in [&self.events, &self.rejects, &self.sightings, &self.deliveries] as [&Arc<Table>; 4] {
            self.vacuum_removed(table).await?;
        }
        if at_work.is_alone() { self.vacuum_leftovers(now).await } else { Ok(()) }
    }

    /// How words stand in a kept report, if they do. `spoke` tells that an event says them that was read from it. Blocks.
    fn look(&self, report_id: &str, words: &[String], spoke: bool, erasing: &Erasing) -> Result<Option<Found>> {
        let read = || self.open_report(report_id);
        let as_it_came = has_words(read()?, words)?;
        // What is packed would not unpack any more, were a word in it blotted out.
        let packed = (erasing.unpack)(read()?)?;
        if as_it_came && packed.is_none() {
            return Ok(Some(Found::Plain));
        }
        let in_another_way = as_it_came || spoke || packed.map_or(Ok(false), |plain| has_words(plain, words))?;
        Ok(in_another_way.then_some(Found::Otherwise))
    }
}

/// How words stand in a kept report.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    /// As they are: they are blotted out in it.
    Plain,
    /// Packed, or in another encoding: it is deleted.
    Otherwise,
}

impl Found {
    fn recorded(self) -> &'static str {
        match self {
            Found::Plain => "words",
            Found::Otherwise => "bytes",
        }
    }
}

struct Record {
    what: &'static str,
    subject: String,
    event: Option<Id>,
}

/// A hash that tells nobody whether a value they know is meant: its key is thrown away.
fn keyed_hash(words: &[String]) -> String {
    hash_under(&random_key(), words)
}

fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    key.chunks_mut(8).for_each(|part| part.copy_from_slice(&crate::random().to_le_bytes()));
    key
}

fn hash_under(key: &[u8; 32], words: &[String]) -> String {
    blake3::keyed_hash(key, words.join("\n").as_bytes()).to_hex().chars().take(32).collect()
}

/// An erasure of a person that has begun and not ended: by which it is known again when it is repeated. Kept until then, with
/// the key of its hash.
#[derive(Serialize, Deserialize)]
struct Begun {
    key: [u8; 32],
    hash: String,
    /// Reports in which the words are blotted out.
    blotted: BTreeSet<String>,
}

/// Where they are kept.
pub(crate) const BEGUN: &str = "erasing.json";

impl Begun {
    fn new(words: &[String]) -> Begun {
        let key = random_key();
        Begun { hash: hash_under(&key, words), key, blotted: BTreeSet::new() }
    }

    fn is_of(&self, words: &[String]) -> bool {
        self.hash == hash_under(&self.key, words)
    }
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
            "words" => {
                erased.words.insert(subject.value(row).to_owned());
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

/// Where deliveries came from: a file may be named after a person.
struct Origins(Vec<String>);

impl Origins {
    fn blotted(&self, origin: &str) -> Result<String> {
        let mut blotted = Vec::new();
        blot_out(&mut origin.as_bytes(), &mut blotted, &self.0, PIECE)?;
        Ok(String::from_utf8_lossy(&blotted).into_owned())
    }
}

impl Rewrite for Origins {
    fn reach(&self, _file: &LiveFile) -> Reach {
        Reach::Something
    }

    fn columns(&self) -> Vec<&str> {
        vec!["origin"]
    }

    fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let origins = batch.column_by_name("origin").and_then(|origins| origins.as_string_opt::<i32>());
        let Some(origins) = origins else { bail!("deliveries without origin") };
        Ok(origins.iter().map(|origin| Some(origin.is_some_and(|origin| has_word(origin.as_bytes(), &self.0)))).collect())
    }

    fn apply(&self, batch: &RecordBatch, _rows: &BooleanArray) -> Result<RecordBatch> {
        with_column(batch, "origin", |origins| {
            let blotted = origins.as_string::<i32>().iter().map(|origin| origin.map(|origin| self.blotted(origin)).transpose());
            Ok(Arc::new(blotted.collect::<Result<StringArray>>()?))
        })
    }
}

/// How a value is written in reports, in lower case: as it is, as addresses of web pages carry it along, and as mail and
/// JSON do.
fn spellings(value: &str) -> BTreeSet<String> {
    let lower = value.to_lowercase();
    // In these, a letter beyond ASCII looks another in upper case.
    let upper = value.to_uppercase();
    let encoded = [&lower, &upper].into_iter().flat_map(|text| {
        let with_signs_as = |sign: fn(u8) -> String| -> String {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
            text.bytes().map(|byte| if is_plain(byte) { char::from(byte).to_string() } else { sign(byte) }).collect()
        };
        let escaped = with_signs_as(|byte| format!("%{byte:02x}"));
        let form = escaped.replace("%20", "+");
        let mail = with_signs_as(|byte| format!("={byte:02x}"));
        let ascii = text.encode_utf16().map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => json_escaped(char::from(byte)),
            _ => format!("\\u{unit:04x}"),
        });
        [escaped, form, mail, ascii.collect()]
    });
    let json = lower.chars().map(json_escaped).collect();
    encoded.chain([lower.clone(), json]).map(|word| word.to_lowercase()).filter(|word| !word.is_empty()).collect()
}

fn json_escaped(sign: char) -> String {
    match sign {
        '"' | '\\' => format!("\\{sign}"),
        _ => sign.to_string(),
    }
}

/// Whether a text says one of these values, in any spelling.
pub fn says(text: &str, values: &[String]) -> bool {
    saying(values)(text.as_bytes())
}

/// What tells whether bytes say one of these values, in any spelling.
pub fn saying(values: &[String]) -> impl Fn(&[u8]) -> bool + use<> {
    let words = words_of(values);
    move |text| has_word(text, &words)
}

/// The longest first: a value may be part of another, whose rest would be left.
fn words_of(values: &[String]) -> Vec<String> {
    let words: BTreeSet<String> = values.iter().flat_map(|value| spellings(value.trim())).collect();
    let mut words: Vec<String> = words.into_iter().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
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
        is_word(there, word) && (ends_with_escape(before) || !runs_on(before.iter().rev())) && !runs_on(after.iter())
    })
}

/// Whether a text is a word, which is in lower case.
fn is_word(text: &[u8], word: &[u8]) -> bool {
    let mut pairs = text.iter().zip(word);
    pairs.all(|(byte, of_word)| byte.eq_ignore_ascii_case(of_word) || !byte.is_ascii() && !of_word.is_ascii())
        && (text.eq_ignore_ascii_case(word) || std::str::from_utf8(text).is_ok_and(|text| text.to_lowercase().as_bytes() == word))
}

/// Whether a text ends with a sign that is written with letters or digits, which are no part of what follows: `%3D`, `\n`, `\u003d`.
fn ends_with_escape(text: &[u8]) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    matches!(text, [.., b'%', high, low] if is_hex(&[*high, *low]))
        || matches!(text, [.., b'\\', b'u', a, b, c, d] if is_hex(&[*a, *b, *c, *d]))
        || matches!(text, [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f'])
}

/// Whether a word goes on in this direction: with a letter or digit, or with one behind a joining sign.
fn runs_on<'a>(mut beside: impl Iterator<Item = &'a u8>) -> bool {
    match beside.next() {
        Some(byte) if byte.is_ascii_alphanumeric() || *byte >= 0x80 => true,
        Some(b'.' | b'-' | b'_') => beside.next().is_some_and(u8::is_ascii_alphanumeric),
        _ => false,
    }
}

/// What stands in a report where an erased word stood: letters alone, so that it comes through every converter, and none
/// that would be said by chance.
pub const MARK: &str = "xxerasedxx";

/// Read at a time, in bytes.
const PIECE: usize = 1 << 20;

/// What beside a word tells whether it goes on, in bytes.
const BESIDE: usize = 6;

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

/// Copies text with the mark in the place of every word; whether there was any.
fn blot_out(from: &mut dyn Read, to: &mut dyn Write, words: &[String], piece: usize) -> io::Result<bool> {
    let margin = words.iter().map(String::len).max().unwrap_or(0) + BESIDE;
    // Of the text, what comes before `at` is written.
    let (mut text, mut at, mut any) = (Vec::new(), 0, false);
    loop {
        let ended = (&mut *from).take(piece as u64).read_to_end(&mut text)? == 0;
        // Of words that start before here, what follows them is known.
        let known = if ended { text.len() } else { text.len().saturating_sub(margin).max(at) };
        let find = |word: &String, from: usize| next_word(&text, word.as_bytes(), from).filter(|start| *start < known);
        let mut next: Vec<Option<usize>> = words.iter().map(|word| find(word, at)).collect();
        // The first, and of those that start with it the longest, which comes first among the words.
        while let Some((start, word)) = next.iter().enumerate().filter_map(|(word, start)| Some(((*start)?, word))).min() {
            to.write_all(&text[at..start])?;
            to.write_all(MARK.as_bytes())?;
            (at, any) = (start + words[word].len(), true);
            for (word, start) in words.iter().zip(&mut next).filter(|(_, start)| start.is_some_and(|start| start < at)) {
                *start = find(word, at);
            }
        }
        if at < known {
            to.write_all(&text[at..known])?;
            at = known;
        }
        if ended {
            return Ok(any);
        }
        let done = at.saturating_sub(BESIDE);
        text.drain(..done);
        at -= done;
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
            let words = words_of(&word.split('|').map(str::to_owned).collect::<Vec<_>>());
            blot_out(&mut text.as_bytes(), &mut blotted, &words, piece).expect("memory takes it");
            assert_eq!(String::from_utf8_lossy(&blotted), expected, "read {piece} bytes at a time");
        }
    }

    #[test]
    fn words_are_blotted_out_where_they_stand_by_themselves() {
        check("1,192.0.2.1,192.0.2.10", "192.0.2.1", "1,xxerasedxx,192.0.2.10");
        check("to Jane@Example.org.", "jane@example.org", "to xxerasedxx.");
        check("www.example.org example.org", "example.org", "www.example.org xxerasedxx");
        check("{\"mail\":\"jane@example.org\"}", "jane@example.org", "{\"mail\":\"xxerasedxx\"}");
        check("janet", "jane", "janet");
        check("jane jane,jane", "jane", "xxerasedxx xxerasedxx,xxerasedxx");
        check("?u%3Djane%26x", "jane", "?u%3Dxxerasedxx%26x");
        check("from Jane Doe and Doe", "doe|jane doe", "from xxerasedxx and xxerasedxx");
        check("JÜRGEN.Müller@example.org", "jürgen.müller@example.org", "xxerasedxx");
        check("?u=J%C3%9CRGEN%40example.org", "jürgen@example.org", "?u=xxerasedxx");
        check(r#"{"user":"CORP\\jane.doe"}"#, r"CORP\jane.doe", r#"{"user":"xxerasedxx"}"#);
        check(r#"{"by":"J\u00fcrgen","to":"a\njane"}"#, "jürgen|jane", r#"{"by":"xxerasedxx","to":"a\nxxerasedxx"}"#);
        check("3djane", "jane", "3djane");
        check("", "jane", "");
    }
}
