//! A column of text being filled. Cells are short, and so what it costs is calls, not bytes: a piece of a larger
//! text is copied at a fixed length and then cut, which the compiler writes without a call.

use std::ops::Range;

use arrow::array::StringArray;
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::bits::Bits;

/// Values one after the other, and where each ends.
#[derive(Debug)]
pub struct Texts {
    bytes: Vec<u8>,
    /// One more than there are values.
    ends: Vec<i32>,
    valid: Bits,
}

impl Texts {
    pub fn with_capacity(rows: usize, bytes: usize) -> Texts {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Texts { bytes: Vec::with_capacity(bytes), ends, valid: Bits::with_capacity(rows) }
    }

    #[inline]
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.end();
    }

    /// A piece of a larger text.
    #[inline]
    pub fn push_piece(&mut self, of: &str, piece: Range<usize>) {
        push_piece(&mut self.bytes, of.as_bytes(), piece);
        self.end();
    }

    #[inline]
    pub fn push_null(&mut self) {
        self.ends.push(self.bytes.len() as i32);
        self.valid.push(false);
    }

    /// The value that is being written; [`Texts::end`] ends it.
    #[inline]
    pub fn open(&mut self) -> OpenText<'_> {
        OpenText { bytes: &mut self.bytes }
    }

    /// Ends what was written since the last value.
    #[inline]
    pub fn end(&mut self) {
        self.ends.push(self.bytes.len() as i32);
        self.valid.push(true);
    }

    /// Which rows have a value.
    pub fn valid(&self) -> &Bits {
        &self.valid
    }

    /// The value in this row, if there is one.
    pub fn get(&self, row: usize) -> Option<&str> {
        let range = self.ends[row] as usize..self.ends[row + 1] as usize;
        self.valid.get(row).then(|| std::str::from_utf8(&self.bytes[range]).expect("only texts are pushed"))
    }

    pub fn finish(self) -> StringArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        StringArray::new(offsets, Buffer::from_vec(self.bytes), self.valid.into_validity())
    }
}

/// A value on its way.
#[derive(Debug)]
pub struct OpenText<'t> {
    bytes: &'t mut Vec<u8>,
}

impl OpenText<'_> {
    #[inline]
    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    #[inline]
    pub fn push_piece(&mut self, of: &str, piece: Range<usize>) {
        push_piece(self.bytes, of.as_bytes(), piece);
    }
}

/// Appends a piece of some bytes.
#[inline]
pub(crate) fn push_piece(to: &mut Vec<u8>, of: &[u8], piece: Range<usize>) {
    const SHORT: usize = 32;
    let length = piece.len();
    match of.get(piece.start..).and_then(<[u8]>::first_chunk::<SHORT>) {
        Some(chunk) if length <= SHORT => {
            let end = to.len() + length;
            to.extend_from_slice(chunk);
            to.truncate(end);
        }
        _ => to.extend_from_slice(&of[piece]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_was_pushed() {
        let long = "a text of more than thirty-two bytes, and 香港";
        let mut texts = Texts::with_capacity(2, 0);
        texts.push("");
        texts.push_null();
        texts.push_piece(long, 2..6);
        texts.push_piece(long, 0..long.len());
        texts.push_piece(long, long.len() - 3..long.len());
        texts.open().push("{");
        texts.open().push_piece(long, 0..1);
        texts.end();
        assert_eq!(texts.get(2), Some("text"));
        assert_eq!(texts.get(1), None);
        let expected = [Some(""), None, Some("text"), Some(long), Some("港"), Some("{a")];
        assert_eq!(texts.finish(), StringArray::from_iter(expected));
    }
}
