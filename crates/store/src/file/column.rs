//! One column of a row group being written.
//!
//! Of a report's rows, many columns say the same everywhere: the feed, the kind, whatever the report lacks. The
//! library's encoder hashes and looks up each value; here a column that has said one thing so far is only
//! compared with itself and counted, and becomes a dictionary of one entry and a single run. From the first row
//! that differs it is the library's.

use anyhow::{Result, ensure};
use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, Field};
use bytes::Bytes;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, compute_leaves};
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::file::metadata::{ColumnChunkMetaData, OffsetIndexBuilder};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use crate::place::Sink;

#[derive(Debug)]
pub(crate) struct Column {
    said: Said,
    writer: ArrowColumnWriter,
}

/// What the rows have said so far.
#[derive(Debug)]
enum Said {
    Nothing,
    OneThing { value: Value, row: ArrayRef, rows: usize },
    ManyThings,
}

/// The bytes of a value as a dictionary has them, but for a text's length; None for null.
type Value = Option<Vec<u8>>;

/// A column that says another thing after all is encoded from its start, in arrays of about so many bytes.
const PORTION: usize = 1 << 20;

impl Column {
    pub(crate) fn new(writer: ArrowColumnWriter) -> Column {
        Column { said: Said::Nothing, writer }
    }

    pub(crate) fn write(&mut self, field: &Field, array: &ArrayRef) -> Result<()> {
        ensure!(array.data_type() == field.data_type(), "it is {}, not {}", array.data_type(), field.data_type());
        if matches!(self.said, Said::ManyThings) {
            return self.encode(field, array);
        }
        match (&mut self.said, only_value(array)) {
            (Said::Nothing, Some(value)) => {
                // A copy: a slice would keep the whole array.
                let row = compute::take(array, &UInt32Array::from(vec![0]), None)?;
                self.said = Said::OneThing { value, row, rows: array.len() };
                return Ok(());
            }
            (Said::OneThing { value, rows, .. }, Some(again)) if *value == again => {
                *rows += array.len();
                return Ok(());
            }
            _ => {}
        }
        if let Said::OneThing { value, row, rows } = std::mem::replace(&mut self.said, Said::ManyThings) {
            let portion = (PORTION / value.map_or(1, |value| value.len().max(1))).clamp(1, rows);
            let many = compute::take(&row, &UInt32Array::from(vec![0; portion]), None)?;
            for start in (0..rows).step_by(portion) {
                self.encode(field, &many.slice(0, portion.min(rows - start)))?;
            }
        }
        self.encode(field, array)
    }

    fn encode(&mut self, field: &Field, array: &ArrayRef) -> Result<()> {
        for leaf in compute_leaves(field, array)? {
            self.writer.write(&leaf)?;
        }
        Ok(())
    }

    pub(crate) fn memory(&self) -> usize {
        self.writer.memory_size()
    }

    /// Roughly what it has become so far, in bytes.
    pub(crate) fn size(&self) -> usize {
        self.writer.get_estimated_total_bytes()
    }

    /// Ends the column as the group's next. `bounded` says that readers prune by its least and greatest value.
    pub(crate) fn end(self, group: &mut SerializedRowGroupWriter<'_, Sink>, description: ColumnDescPtr, bounded: bool) -> Result<()> {
        match self.said {
            Said::OneThing { value, rows, .. } => {
                let (chunk, close) = chunk_of_one(value.as_deref(), rows, description, bounded)?;
                group.append_column(&chunk, close)?;
            }
            _ => self.writer.close()?.append_to_row_group(group)?,
        }
        Ok(())
    }
}

/// Whether every row has the same value, or none.
pub(crate) fn says_one_thing(array: &ArrayRef) -> bool {
    only_value(array).is_some()
}

/// The value that all rows have, if it is one.
fn only_value(array: &ArrayRef) -> Option<Value> {
    if array.is_empty() {
        return None;
    }
    match array.null_count() {
        0 => {}
        all if all == array.len() => return Some(None),
        _ => return None,
    }
    match array.data_type() {
        DataType::Utf8 => {
            let texts = array.as_string::<i32>();
            let offsets = texts.value_offsets();
            let (first, last) = (*offsets.first()?, *offsets.last()?);
            let length = offsets[1] - first;
            let bytes = texts.value_data().get(first as usize..last as usize)?;
            let same = offsets.windows(2).all(|pair| pair[1] - pair[0] == length) && repeats(bytes, length as usize);
            same.then(|| Some(bytes[..length as usize].to_vec()))
        }
        number @ (DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Date32 | DataType::Timestamp(_, _)) => {
            let width = number.primitive_width()?;
            let data = array.to_data();
            let bytes = data.buffers().first()?.as_slice().get(data.offset() * width..(data.offset() + data.len()) * width)?;
            repeats(bytes, width).then(|| Some(bytes[..width].to_vec()))
        }
        _ => None,
    }
}

/// Whether bytes are the same portion over and over: whether they equal themselves, a portion on.
fn repeats(bytes: &[u8], length: usize) -> bool {
    bytes[length..] == bytes[..bytes.len() - length]
}

/// A column chunk in which every row has the same value: a dictionary of that value unless it is null, and a page
/// that is one run. See the format's "Data Pages" and "Run Length Encoding / Bit-Packing Hybrid":
/// <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.
fn chunk_of_one(value: Option<&[u8]>, rows: usize, description: ColumnDescPtr, bounded: bool) -> Result<(Bytes, ColumnCloseResult)> {
    let mut chunk = TrackedWrite::new(Vec::new());
    let mut pages = SerializedPageWriter::new(&mut chunk);
    let mut write = |page: Page| -> Result<PageWriteSpec> {
        let size = page.buffer().len();
        Ok(pages.write_page(CompressedPage::new(page, size))?)
    };
    let dictionary = match value {
        Some(value) => {
            let buf = in_dictionary(value, description.physical_type()).into();
            Some(write(Page::DictionaryPage { buf, num_values: 1, encoding: Encoding::PLAIN, is_sorted: false })?)
        }
        None => None,
    };
    let encoding = if value.is_some() { Encoding::RLE_DICTIONARY } else { Encoding::PLAIN };
    let data = write(Page::DataPage {
        buf: page_of_one(value.is_some(), rows, description.max_def_level() > 0).into(),
        num_values: u32::try_from(rows)?,
        encoding,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    })?;
    let chunk = Bytes::from(chunk.into_inner()?);

    let mut metadata = ColumnChunkMetaData::builder(description.clone())
        .set_compression(Compression::UNCOMPRESSED)
        .set_encodings(dictionary.iter().map(|_| Encoding::PLAIN).chain([Encoding::RLE, encoding]).collect())
        .set_num_values(i64::try_from(rows)?)
        .set_total_compressed_size(i64::try_from(chunk.len())?)
        .set_total_uncompressed_size(i64::try_from(chunk.len())?)
        .set_data_page_offset(i64::try_from(data.offset)?)
        .set_dictionary_page_offset(dictionary.map(|page| i64::try_from(page.offset)).transpose()?);
    if bounded && let Some(bounds) = bounds(value, rows, description.physical_type()) {
        metadata = metadata.set_statistics(bounds);
    }
    let mut index = OffsetIndexBuilder::new();
    index.append_row_count(i64::try_from(rows)?);
    index.append_offset_and_size(i64::try_from(data.offset)?, i32::try_from(data.compressed_size)?);
    let close = ColumnCloseResult {
        bytes_written: chunk.len() as u64,
        rows_written: rows as u64,
        metadata: metadata.build()?,
        bloom_filter: None,
        column_index: None,
        offset_index: Some(index.build()),
    };
    Ok((chunk, close))
}

fn in_dictionary(value: &[u8], physical: Type) -> Vec<u8> {
    match physical {
        Type::BYTE_ARRAY => [&(value.len() as u32).to_le_bytes(), value].concat(),
        _ => value.to_vec(),
    }
}

/// A page's levels and places in the dictionary, of which each is one run.
fn page_of_one(present: bool, rows: usize, nullable: bool) -> Vec<u8> {
    let run = varint((rows as u64) << 1);
    let mut page = Vec::new();
    if nullable {
        page.extend((run.len() as u32 + 1).to_le_bytes());
        page.extend(&run);
        page.push(u8::from(present));
    }
    if present {
        // The only place is 0, which takes no bit.
        page.push(0);
        page.extend(&run);
    }
    page
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn bounds(value: Option<&[u8]>, rows: usize, physical: Type) -> Option<Statistics> {
    let nulls = Some(if value.is_some() { 0 } else { rows as u64 });
    match physical {
        Type::BYTE_ARRAY => {
            let value = value.map(|value| ByteArray::from(value.to_vec()));
            Some(Statistics::byte_array(value.clone(), value, None, nulls, false))
        }
        Type::INT64 => {
            let value = value.and_then(|value| value.try_into().ok()).map(i64::from_le_bytes);
            Some(Statistics::int64(value, value, None, nulls, false))
        }
        Type::INT32 => {
            let value = value.and_then(|value| value.try_into().ok()).map(i32::from_le_bytes);
            Some(Statistics::int32(value, value, None, nulls, false))
        }
        _ => None,
    }
}
