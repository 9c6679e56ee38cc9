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

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};

use crate::field::Field;
use crate::time::Micros;

const VERSION: u8 = 1;
const BLOCK: usize = 64;

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
        .map(|(field, array)| (field.place() as u8 + 1, Values::of(array)))
        .chain(said.extra.map(|extra| (Field::EXTRA.place() as u8 + 1, Values::Text(extra))))
        .collect();
    let mut messages = Messages::default();
    for (row, when) in said.when.iter().enumerate() {
        let message = &mut messages.bytes;
        message.push(VERSION);
        push_text(message, said.feed.as_bytes());
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

    fn push(&self, row: usize, place: u8, message: &mut Vec<u8>) {
        let number = match self {
            Values::Text(array) => {
                if array.is_valid(row) {
                    message.push(place);
                    push_text(message, array.value(row).as_bytes());
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

fn push_text(message: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(text);
}

/// Messages end to end, each a whole number of blocks.
#[derive(Default)]
struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    fn end(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
        self.ends.push(self.bytes.len());
    }

    fn hash(&self) -> Vec<Id> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| short(&blake3::hash(&self.bytes[*start..*end]))).collect()
    }
}

fn short(hash: &blake3::Hash) -> Id {
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// The name of some bytes: the first 128 bits of their BLAKE3 in hexadecimal. Reports and tables go by it.
pub fn name(bytes: &[u8]) -> String {
    hex(&short(&blake3::hash(bytes)))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|half| char::from_digit(half.into(), 16).expect("a half byte")).collect()
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
    fn saying_something_else_is_another_event() {
        let one = id_of("192.0.2.1", Some(443), 0);
        assert_eq!(one, id_of("192.0.2.1", Some(443), 0));
        assert_ne!(one, id_of("192.0.2.1", Some(443), 1));
        assert_ne!(one, id_of("192.0.2.1", None, 0));
        assert_ne!(one, id_of("192.0.2.11", Some(443), 0));
    }
}
