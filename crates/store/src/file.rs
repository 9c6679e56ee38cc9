//! One Parquet file being written, and how its columns are laid out.
//!
//! Encoding is the largest cost of taking a report in, so every choice here was measured, with a million rows of
//! thirty columns: 1.07 core-seconds and 53 MB with the library's defaults and zstd at level 1, 0.62 and 48 MB
//! as it is done here. That is: statistics only on the two columns that prune (they alone are a third), numbers
//! as differences, a dictionary only where values repeat, and an id, which is random, neither compressed nor put
//! in a dictionary. Level 3 costs a tenth more for 2% less; no compression at all would still cost 0.5.

mod column;

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Date32Type, SchemaRef, TimestampMicrosecondType};
use event::time::{self, Micros};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowRowGroupWriterFactory;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

pub(crate) use self::column::says_one_thing;

use self::column::Column;
use crate::place::{Place, Sink};
use crate::table::{Definition, LiveFile};

/// Rows of a row group: the unit of pruning, and what a writer holds in memory.
pub(crate) const ROW_GROUP: usize = 1 << 17;

/// Rows read at a time.
const ROWS_READ: usize = 1 << 13;

/// A file that no version knows yet. Dropped before it is kept, it is deleted.
///
/// It is kept before the commit, not after: who commits may be dropped while the entry is put, or whether it is there may not be
/// known, and what an entry names must stay. What is left so, and named by none, vacuum finds.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) live: LiveFile,
    place: Place,
    is_kept: bool,
}

impl NewFile {
    /// It may be part of a version from now on.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Another writer was first: it is part of none.
    pub(crate) fn let_go(&mut self) {
        self.is_kept = false;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        // In a bucket, vacuum finds it: deleting there is asynchronous, and this may be a program's end.
        if let Some(file) = self.place.file(&self.live.path)
            && let Err(error) = std::fs::remove_file(&file)
        {
            tracing::debug!(file = %file.display(), %error, "an uncommitted file stays until vacuum");
        }
    }
}

/// A file being written.
#[derive(Debug)]
pub(crate) struct FileWriter {
    definition: &'static Definition,
    place: Place,
    path: String,
    month: Option<String>,
    schema: SchemaRef,
    writer: SerializedFileWriter<Sink>,
    groups: ArrowRowGroupWriterFactory,
    /// The columns of the row group under way, and how many rows they have.
    columns: Vec<Column>,
    in_group: usize,
    rows: u64,
    feed: Option<(String, String)>,
    time: Option<(Micros, Micros)>,
}

impl FileWriter {
    /// Starts a file with these columns, in the month's partition. Blocks: for threads that may.
    pub(crate) fn create(definition: &'static Definition, place: &Place, schema: SchemaRef, month: Option<&str>) -> Result<FileWriter> {
        let name = format!("{}.zstd.parquet", crate::unique_name());
        let path = month.map_or_else(|| name.clone(), |month| format!("{}={month}/{name}", crate::table::MONTH));
        let sink = place.create(&path)?;
        let properties = properties(definition, &schema);
        let (writer, groups) = ArrowWriter::try_new(sink, schema.clone(), Some(properties))
            .and_then(ArrowWriter::into_serialized_writer)
            .with_context(|| format!("starting a file of {}", definition.name))?;
        Ok(FileWriter {
            definition,
            place: place.clone(),
            path,
            month: month.map(str::to_owned),
            schema,
            writer,
            groups,
            columns: Vec::new(),
            in_group: 0,
            rows: 0,
            feed: None,
            time: None,
        })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        if let Some(column) = self.definition.feed
            && let Some((first, last)) = text_bounds(batch.column_by_name(column))
        {
            widen(&mut self.feed, first, last);
        }
        if let Some((first, last)) = time_bounds(batch.column_by_name(self.definition.time)) {
            widen(&mut self.time, first, last);
        }
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = (ROW_GROUP - self.in_group).min(batch.num_rows() - start);
            self.write_to_group(&batch.slice(start, rows)).with_context(|| format!("writing a file of {}", self.definition.name))?;
            start += rows;
        }
        Ok(())
    }

    fn write_to_group(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.columns.is_empty() {
            let group = self.writer.flushed_row_groups().len();
            self.columns = self.groups.create_column_writers(group)?.into_iter().map(Column::new).collect();
        }
        for ((column, field), array) in self.columns.iter_mut().zip(self.schema.fields()).zip(batch.columns()) {
            column.write(field, array).with_context(|| format!("the column {}", field.name()))?;
        }
        self.in_group += batch.num_rows();
        if self.in_group == ROW_GROUP { self.end_group() } else { Ok(()) }
    }

    fn end_group(&mut self) -> Result<()> {
        let descriptions = self.writer.schema_descr().columns().to_vec();
        let properties = self.writer.properties().clone();
        let mut group = self.writer.next_row_group()?;
        for (column, description) in self.columns.drain(..).zip(descriptions) {
            let bounded = properties.statistics_enabled(description.path()) != EnabledStatistics::None;
            column.end(&mut group, description, bounded)?;
        }
        group.close()?;
        self.in_group = 0;
        Ok(())
    }

    /// What it holds in memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.columns.iter().map(Column::memory).sum::<usize>() + self.writer.inner().memory()
    }

    /// Roughly what the file has become so far, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.writer.bytes_written() + self.columns.iter().map(Column::size).sum::<usize>()
    }

    /// Ends the file. A commit sees it onto the disk.
    pub(crate) fn finish(mut self) -> Result<NewFile> {
        if !self.columns.is_empty() {
            self.end_group().with_context(|| format!("ending a file of {}", self.definition.name))?;
        }
        let sink = self.writer.into_inner().with_context(|| format!("ending a file of {}", self.definition.name))?;
        let size = sink.written();
        sink.finish()?;
        let live = LiveFile { path: self.path, size, month: self.month, rows: self.rows, feed: self.feed, time: self.time };
        Ok(NewFile { live, place: self.place, is_kept: false })
    }
}

fn widen<T: PartialOrd>(bounds: &mut Option<(T, T)>, first: T, last: T) {
    *bounds = Some(match bounds.take() {
        None => (first, last),
        Some((least, most)) => (if first < least { first } else { least }, if last > most { last } else { most }),
    });
}

fn text_bounds(column: Option<&ArrayRef>) -> Option<(String, String)> {
    let text = column?.as_string_opt::<i32>()?;
    // Nearly always one feed: the comparison of neighbours ends at their first byte only where they differ.
    Some((compute::min_string(text)?.to_owned(), compute::max_string(text)?.to_owned()))
}

/// The least and greatest time of a column of times or days.
pub(crate) fn time_bounds(column: Option<&ArrayRef>) -> Option<(Micros, Micros)> {
    let column = column?;
    if let Some(times) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        return Some((compute::min(times)?, compute::max(times)?));
    }
    let days = column.as_primitive_opt::<Date32Type>()?;
    Some((Micros::from(compute::min(days)?) * time::DAY, Micros::from(compute::max(days)?) * time::DAY))
}

/// Columns of text whose values seldom come twice in a row group: a dictionary would be built in vain, and given up.
const SELDOM_REPEATED: &[&str] = &[
    "extra",
    "raw",
    "comment",
    "output",
    "event_hash",
    "event_description_text",
    "event_description_url",
    "source_fqdn",
    "source_url",
    "source_ip",
    "destination_url",
    "destination_urlpath",
    "source_urlpath",
    "source_account",
    "source_reverse_dns",
    "malware_hash_md5",
    "malware_hash_sha1",
    "malware_hash_sha256",
    "misp_attribute_uuid",
    "key",
    "value",
];

fn properties(definition: &Definition, schema: &SchemaRef) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("waglan ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("level 1 exists")))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_enabled(true);
    for column in definition.feed.into_iter().chain([definition.time]) {
        properties = properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Chunk);
    }
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        properties = match field.data_type() {
            DataType::Binary => properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column.clone(), Encoding::PLAIN)
                .set_column_compression(column, Compression::UNCOMPRESSED),
            DataType::Int64 | DataType::Int32 | DataType::Date32 | DataType::Timestamp(_, _) if !is_small_set(field.name()) => {
                properties.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column, Encoding::DELTA_BINARY_PACKED)
            }
            DataType::Utf8 if SELDOM_REPEATED.contains(&field.name().as_str()) => properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_LENGTH_BYTE_ARRAY),
            _ => properties,
        };
    }
    properties.build()
}

/// Numbers that come from a small set, and so are shorter as places in a dictionary.
fn is_small_set(column: &str) -> bool {
    column.ends_with("_asn") || column.ends_with("_allocated")
}

/// Writes a file anew with only those rows that `keep` keeps; None if it keeps none. Blocks.
pub(crate) fn rewrite(
    definition: &'static Definition,
    place: &Place,
    live: &LiveFile,
    mut keep: impl FnMut(&RecordBatch) -> Result<BooleanArray>,
) -> Result<Option<NewFile>> {
    let mut writer = None;
    for batch in read(place, live)? {
        let batch = batch?;
        let kept = compute::filter_record_batch(&batch, &keep(&batch)?)?;
        if kept.num_rows() > 0 {
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(FileWriter::create(definition, place, batch.schema(), live.month.as_deref())?),
            };
            writer.write(&kept)?;
        }
    }
    writer.map(FileWriter::finish).transpose()
}

/// The rows of a file, in order, with the columns that it has. Blocks.
pub(crate) fn read(place: &Place, live: &LiveFile) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let path = live.path.clone();
    let reader = ParquetRecordBatchReaderBuilder::try_new(place.blob(&live.path, live.size)?)
        .and_then(|builder| builder.with_batch_size(ROWS_READ).build())
        .with_context(|| format!("opening {path}"))?;
    Ok(reader.map(move |batch| batch.with_context(|| format!("reading {path}"))))
}

/// The same, of these columns alone: the others are not read.
pub(crate) fn read_columns(place: &Place, live: &LiveFile, columns: &[&str]) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let path = live.path.clone();
    let reader = ParquetRecordBatchReaderBuilder::try_new(place.blob(&live.path, live.size)?)
        .and_then(|builder| {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder.with_batch_size(ROWS_READ).with_projection(mask).build()
        })
        .with_context(|| format!("opening {path}"))?;
    Ok(reader.map(move |batch| batch.with_context(|| format!("reading {path}"))))
}

/// A batch with exactly these columns: what it lacks is empty.
pub(crate) fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(batch.schema_ref(), schema) {
        return Ok(batch.clone());
    }
    let columns = schema.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
        Some(column) => compute::cast(column, field.data_type()).with_context(|| format!("the column {}", field.name())),
        None => Ok(arrow::array::new_null_array(field.data_type(), batch.num_rows())),
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// The bytes that a batch takes, where it is a slice only those of the slice.
pub(crate) fn memory_of(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Schema;
    use event::batch;
    use parquet::file::statistics::Statistics;

    use super::*;
    use crate::events::EVENTS;

    const COLUMNS: [&str; 7] =
        ["feed", "time_source", "source_asn", "source_port", "source_geolocation_latitude", "in_scope", "malware_name"];

    /// A column of so many rows, of which each says what `say` says of it.
    fn column(name: &str, rows: usize, say: impl Fn(usize) -> Option<i64>) -> ArrayRef {
        let said = (0..rows).map(say);
        match name {
            "time_source" => Arc::new(said.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            "source_asn" => Arc::new(said.collect::<Int64Array>()),
            "source_port" => Arc::new(said.map(|port| port.map(|port| port as i32)).collect::<Int32Array>()),
            "source_geolocation_latitude" => Arc::new(said.map(|one| one.map(|one| one as f64 / 4.0)).collect::<Float64Array>()),
            "in_scope" => Arc::new(said.map(|one| one.map(|one| one % 2 == 0)).collect::<BooleanArray>()),
            // Of several lengths, none among them.
            _ => Arc::new(said.map(|one| one.map(|one| "x".repeat(one as usize % 5))).collect::<StringArray>()),
        }
    }

    /// One thing, another, nothing, or this and that, for batches on end: more and fewer rows than a row group has.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_says_one_thing_reads_as_what_says_many() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::open(&folder.path().display().to_string(), &[]).expect("a place");
        let all = batch::schema();
        let schema = Arc::new(Schema::new(COLUMNS.map(|name| all.field_with_name(name).expect("a column").clone()).to_vec()));
        let mut random = 7_u64;
        let mut below = |most: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % most
        };
        for file in 0..12 {
            let mut writer = FileWriter::create(&EVENTS, &place, schema.clone(), Some("2026-03")).expect("a file");
            let mut written = Vec::new();
            let (batches, longest) = if file % 2 == 0 { (4, 9) } else { (60, 9000) };
            for _ in 0..batches {
                let rows = 1 + below(longest) as usize;
                let columns = COLUMNS.map(|name| {
                    let constant = below(30) as i64 / 28;
                    match below(40) {
                        0 if name != "feed" && name != "time_source" => column(name, rows, |_| None),
                        1 => column(name, rows, |row| (row % 3 > 0 || name == "feed" || name == "time_source").then_some(row as i64)),
                        _ => column(name, rows, |_| Some(constant)),
                    }
                });
                let batch = RecordBatch::try_new(schema.clone(), columns.to_vec()).expect("a batch");
                // A slice, as a batch of several months is cut.
                let start = below(rows as u64) as usize;
                written.push(batch.slice(start, rows - start));
                writer.write(&written[written.len() - 1]).expect("writable");
            }
            let new = writer.finish().expect("finished");
            let written = concat_batches(&schema, &written).expect("one batch");
            let read: Vec<RecordBatch> = read(&place, &new.live).expect("readable").map(|batch| batch.expect("rows")).collect();
            assert_eq!(concat_batches(&schema, &read).expect("one batch"), written);

            let blob = place.blob(&new.live.path, new.live.size).expect("readable");
            let footer = ParquetRecordBatchReaderBuilder::try_new(blob).expect("a footer").metadata().clone();
            assert_eq!(footer.num_row_groups(), written.num_rows().div_ceil(ROW_GROUP));
            for (group, start) in footer.row_groups().iter().zip((0..).step_by(ROW_GROUP)) {
                let rows = written.slice(start, group.num_rows() as usize);
                let (first, last) = text_bounds(rows.column_by_name("feed")).expect("feeds");
                let Some(Statistics::ByteArray(bounds)) = group.column(0).statistics() else { panic!("no bounds of the feed") };
                let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.expect("a bound").to_vec()).expect("text");
                assert_eq!((text(bounds.min_bytes_opt()), text(bounds.max_bytes_opt())), (first, last));
                let Some(Statistics::Int64(bounds)) = group.column(1).statistics() else { panic!("no bounds of the time") };
                assert_eq!(bounds.min_opt().copied().zip(bounds.max_opt().copied()), time_bounds(rows.column_by_name("time_source")));
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn long_texts_that_were_one_are_encoded_in_portions() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::open(&folder.path().display().to_string(), &[]).expect("a place");
        let all = batch::schema();
        let schema =
            Arc::new(Schema::new(["feed", "time_source", "extra"].map(|name| all.field_with_name(name).expect("one").clone()).to_vec()));
        let mut writer = FileWriter::create(&EVENTS, &place, schema.clone(), Some("2026-03")).expect("a file");
        let long = "x".repeat(300_000);
        let rows = |text: &str, rows: usize| {
            let columns = vec![
                column("feed", rows, |_| Some(1)),
                column("time_source", rows, |_| Some(1)),
                Arc::new(StringArray::new_repeated(text, rows)),
            ];
            RecordBatch::try_new(schema.clone(), columns).expect("a batch")
        };
        let written = [rows(&long, 4), rows(&long, 6), rows("y", 3), rows(&long, 1)];
        written.iter().for_each(|batch| writer.write(batch).expect("writable"));
        let new = writer.finish().expect("finished");
        let read: Vec<RecordBatch> = read(&place, &new.live).expect("readable").map(|batch| batch.expect("rows")).collect();
        assert!(concat_batches(&schema, &read).expect("one batch") == concat_batches(&schema, &written).expect("one batch"));
    }
}
