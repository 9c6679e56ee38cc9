//! An event's id is what it says: saying the same thing again changes nothing.
//!
//! The id is the first 128 bits of BLAKE3 over a message of the feed, the source time, and every field that
//! the feed's table maps, before enrichment. The message is a persisted format, version 1:
//!
//! ```text
//! 1  feed as text  time in µs, or the day's midnight  then for each field that has a value, in the order of
//! FIELDS: its place + 1 as one byte, and the value.  Zeros up to a multiple of 64 bytes.
//! ```
//!
//! Text is its length (LEB128) and its bytes; numbers are eight bytes, little-endian. Since places start at
//! 1, the zeros end the message unmistakably. They are there so that many rows can be hashed side by side.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};

use crate::field::Field;
use crate::texts::push_piece;
use crate::time::Micros;

const VERSION: u8 = 1;
const BLOCK: usize = 64;

/// A message of at most so many blocks is one chunk of BLAKE3, and many of them are hashed side by side.
const SIDE_BY_SIDE: usize = 16;

// Sections 2.1 and 2.2 of the specification: a chunk that is a whole message begins and ends in itself, and is the root.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;
const INITIAL: [u32; 8] = [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];

/// 128 bits.
pub type Id = [u8; 16];

/// What of a batch's rows goes into their ids.
#[derive(Debug)]
pub struct Said<'a> {
    pub feed: &'a str,
    /// The time that counts, in µs: the source time; of a list, and of a row without a time of its own, the
    /// midnight of the delivery's day, since every row of the day says the same.
    pub when: &'a [Micros],
    /// The fields that count, in the order of [`crate::field::FIELDS`]; neither `time.source` nor `extra`.
    pub fields: &'a [Field],
    /// `extra` less what is volatile.
    pub extra: Option<&'a StringArray>,
}

/// The ids of a batch's rows.
pub fn ids(batch: &RecordBatch, said: &Said<'_>) -> Vec<Id> {
    let columns: Vec<(u8, Values<'_>)> = said
        .fields
        .iter()
        .filter_map(|field| Some((*field, batch.column_by_name(field.column())?)))
        .filter(|(_, array)| array.null_count() < array.len())
        .map(|(field, array)| (field.place() as u8 + 1, Values::of(array)))
        .chain(said.extra.map(|extra| (Field::EXTRA.place() as u8 + 1, Values::Text(extra))))
        .collect();
    let mut messages = Messages::with_capacity(said.when.len(), columns.iter().map(|(_, values)| values.bytes()).sum());
    for (row, when) in said.when.iter().enumerate() {
        let message = &mut messages.bytes;
        push_text(message, VERSION, said.feed.as_bytes(), 0..said.feed.len());
        message.extend_from_slice(&when.to_le_bytes());
        for (place, values) in &columns {
            values.push(row, *place, message);
        }
        messages.end();
    }
    messages.hash()
}

/// A column, its type known once.
enum Values<'a> {
    Text(&'a StringArray),
    Long(&'a Int64Array),
    Int(&'a Int32Array),
    Float(&'a Float64Array),
    Boolean(&'a BooleanArray),
    Time(&'a TimestampMicrosecondArray),
}

impl<'a> Values<'a> {
    fn of(array: &'a ArrayRef) -> Values<'a> {
        let any = array.as_any();
        any.downcast_ref()
            .map(Values::Text)
            .or_else(|| any.downcast_ref().map(Values::Long))
            .or_else(|| any.downcast_ref().map(Values::Int))
            .or_else(|| any.downcast_ref().map(Values::Float))
            .or_else(|| any.downcast_ref().map(Values::Boolean))
            .or_else(|| any.downcast_ref().map(Values::Time))
            .expect("fields have no other types")
    }

    /// About how many bytes of messages these values become.
    fn bytes(&self) -> usize {
        match self {
            Values::Text(array) => array.value_data().len() + 2 * array.len(),
            Values::Long(array) => 9 * array.len(),
            Values::Int(array) => 9 * array.len(),
            Values::Float(array) => 9 * array.len(),
            Values::Boolean(array) => 9 * array.len(),
            Values::Time(array) => 9 * array.len(),
        }
    }

    fn push(&self, row: usize, place: u8, message: &mut Vec<u8>) {
        let number = match self {
            Values::Text(array) => {
                if array.is_valid(row) {
                    let ends = array.value_offsets();
                    push_text(message, place, array.value_data(), ends[row] as usize..ends[row + 1] as usize);
                }
                return;
            }
            Values::Long(array) => array.is_valid(row).then(|| array.value(row).to_le_bytes()),
            Values::Int(array) => array.is_valid(row).then(|| i64::from(array.value(row)).to_le_bytes()),
            Values::Float(array) => array.is_valid(row).then(|| array.value(row).to_le_bytes()),
            Values::Boolean(array) => array.is_valid(row).then(|| i64::from(array.value(row)).to_le_bytes()),
            Values::Time(array) => array.is_valid(row).then(|| array.value(row).to_le_bytes()),
        };
        if let Some(bytes) = number {
            message.push(place);
            message.extend_from_slice(&bytes);
        }
    }
}

/// A byte that says what follows, and a text.
#[inline(always)]
fn push_text(message: &mut Vec<u8>, what: u8, of: &[u8], piece: Range<usize>) {
    let mut length = piece.len();
    if length < 0x80 {
        message.extend_from_slice(&[what, length as u8]);
    } else {
        message.push(what);
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
    }
    push_piece(message, of, piece);
}

/// Messages end to end, each a whole number of blocks.
#[derive(Default)]
struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    fn with_capacity(rows: usize, bytes: usize) -> Messages {
        Messages { bytes: Vec::with_capacity(bytes + 2 * BLOCK * rows), ends: Vec::with_capacity(rows) }
    }

    fn end(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self.ends.push(self.bytes.len());
    }

    fn hash(&self) -> Vec<Id> {
        let mut ids = vec![Id::default(); self.ends.len()];
        let mut by_blocks: [Vec<(usize, usize)>; SIDE_BY_SIDE + 1] = std::array::from_fn(|_| Vec::new());
        let mut start = 0;
        for (row, end) in self.ends.iter().enumerate() {
            match by_blocks.get_mut((end - start) / BLOCK) {
                Some(rows) => rows.push((row, start)),
                None => ids[row] = short(&blake3::hash(&self.bytes[start..*end])),
            }
            start = *end;
        }
        for (blocks, rows) in by_blocks.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            self.hash_side_by_side(blocks, rows, &mut ids);
        }
        ids
    }

    /// Hashes messages of equally many blocks, given by row and start.
    fn hash_side_by_side(&self, blocks: usize, rows: &[(usize, usize)], ids: &mut [Id]) {
        macro_rules! by_length {
            ($($length:literal)*) => {
                match blocks {
                    $($length => self.hash_many::<{ $length * BLOCK }>(rows, ids),)*
                    _ => unreachable!("rows are told apart by 1 to 16 blocks"),
                }
            };
        }
        by_length!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
    }

    fn hash_many<const LENGTH: usize>(&self, rows: &[(usize, usize)], ids: &mut [Id]) {
        use blake3::IncrementCounter::No;
        let platform = blake3::platform::Platform::detect();
        let messages: Vec<&[u8; LENGTH]> =
            rows.iter().map(|(_, start)| self.bytes[*start..].first_chunk().expect("a message has all its blocks")).collect();
        let mut hashes = vec![0; messages.len() * blake3::OUT_LEN];
        platform.hash_many(&messages, &INITIAL, 0, No, 0, CHUNK_START, CHUNK_END | ROOT, &mut hashes);
        for ((row, _), hash) in rows.iter().zip(hashes.as_chunks::<{ blake3::OUT_LEN }>().0) {
            ids[*row] = *hash.first_chunk().expect("a hash has 32 bytes");
        }
    }
}

fn short(hash: &blake3::Hash) -> Id {
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// The first 128 bits of the BLAKE3 of some bytes.
pub fn of(bytes: &[u8]) -> Id {
    short(&blake3::hash(bytes))
}

/// The name of some bytes: [`of`] them in hexadecimal. Reports and tables go by it.
pub fn name(bytes: &[u8]) -> String {
    hex(&of(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)].into());
        out.push(DIGITS[usize::from(byte & 15)].into());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch;

    fn id_of(address: &str, port: Option<i32>, when: Micros) -> String {
        let batch = batch::from_columns(
            1,
            vec![("source_ip", Arc::new(StringArray::from(vec![address]))), ("source_port", Arc::new(Int32Array::from(vec![port])))],
        );
        let fields = [Field::SOURCE_IP, Field::SOURCE_PORT];
        hex(&ids(&batch, &Said { feed: "example/feed", when: &[when], fields: &fields, extra: None })[0])
    }

    #[test]
    fn ids_are_a_persisted_format() {
        // If this changes, every event ever stored has another id: it must not.
        assert_eq!(id_of("192.0.2.1", Some(443), 1_676_764_870_000_000), "a37e59002eb94f4fbde433f34acdf8a5");
    }

    #[test]
    fn side_by_side_is_as_one_by_one() {
        let mut messages = Messages::default();
        for length in (1..2000_usize).step_by(7).chain([63, 64, 1024, 1025, 5000]) {
            messages.bytes.extend((0..length).map(|place| (place * length) as u8));
            messages.end();
        }
        let starts = std::iter::once(&0).chain(&messages.ends);
        let one_by_one = starts.zip(&messages.ends).map(|(start, end)| short(&blake3::hash(&messages.bytes[*start..*end])));
        assert!(messages.hash().into_iter().eq(one_by_one));
    }

    #[test]
    fn saying_something_else_is_another_event() {
        let one = id_of("192.0.2.1", Some(443), 0);
        assert_eq!(one, id_of("192.0.2.1", Some(443), 0));
        assert_ne!(one, id_of("192.0.2.1", Some(443), 1));
        assert_ne!(one, id_of("192.0.2.1", None, 0));
        assert_ne!(one, id_of("192.0.2.11", Some(443), 0));
    }
}
