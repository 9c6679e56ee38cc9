//! One Parquet file being written, and how its columns are laid out.
//!
//! Encoding is the largest cost of taking a report in, so every choice here was measured, with a million rows of
//! thirty columns: 1.07 core-seconds and 53 MB with the library's defaults and zstd at level 1, 0.62 and 48 MB
//! as it is done here. That is: statistics only on the two columns that prune (they alone are a third), numbers
//! as differences, a dictionary only where values repeat, and an id, which is random, neither compressed nor put
//! in a dictionary. Level 3 costs a tenth more for 2% less; no compression at all would still cost 0.5.

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Date32Type, SchemaRef, TimestampMicrosecondType};
use event::time::{self, Micros};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::place::{Place, Sink};
use crate::table::{Definition, LiveFile};

/// Rows of a row group: the unit of pruning, and what a writer holds in memory.
pub(crate) const ROW_GROUP: usize = 1 << 17;

/// Rows read at a time.
const ROWS_READ: usize = 1 << 13;

/// A file that no version knows yet. Dropped before it is committed, it is deleted.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) live: LiveFile,
    place: Place,
    committed: bool,
}

impl NewFile {
    /// It is part of a version now.
    pub(crate) fn keep(&mut self) {
        self.committed = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if self.committed {
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
    writer: ArrowWriter<Sink>,
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
        let writer =
            ArrowWriter::try_new(sink, schema, Some(properties)).with_context(|| format!("starting a file of {}", definition.name))?;
        Ok(FileWriter { definition, place: place.clone(), path, month: month.map(str::to_owned), writer, rows: 0, feed: None, time: None })
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
        self.writer.write(batch).with_context(|| format!("writing a file of {}", self.definition.name))
    }

    /// What it holds in memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().memory()
    }

    /// Roughly what the file has become so far, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Ends the file. A commit sees it onto the disk.
    pub(crate) fn finish(self) -> Result<NewFile> {
        let sink = self.writer.into_inner().with_context(|| format!("ending a file of {}", self.definition.name))?;
        let size = sink.written();
        sink.finish()?;
        let live = LiveFile { path: self.path, size, month: self.month, rows: self.rows, feed: self.feed, time: self.time };
        Ok(NewFile { live, place: self.place, committed: false })
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
        .set_max_row_group_row_count(Some(ROW_GROUP))
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
