//! A bit a row, appended one after the other: which rows have a value, or what is true of each.

use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

const WORD: usize = 64;

/// Whole words, and the one that is being filled: most columns have a bit appended for each of their rows.
#[derive(Debug, Default)]
pub struct Bits {
    words: Vec<u64>,
    last: u64,
    length: usize,
}

impl Bits {
    pub fn with_capacity(rows: usize) -> Bits {
        Bits { words: Vec::with_capacity(rows / WORD + 1), ..Bits::default() }
    }

    #[inline]
    pub fn push(&mut self, bit: bool) {
        self.last |= u64::from(bit) << (self.length % WORD);
        self.length += 1;
        if self.length.is_multiple_of(WORD) {
            self.words.push(std::mem::take(&mut self.last));
        }
    }

    /// The row's bit.
    pub fn get(&self, row: usize) -> bool {
        self.words.get(row / WORD).unwrap_or(&self.last) >> (row % WORD) & 1 == 1
    }

    /// Whether no row's bit is unset.
    pub fn all(&self) -> bool {
        self.words.iter().all(|word| *word == u64::MAX) && self.last.count_ones() as usize == self.length % WORD
    }

    pub fn finish(mut self) -> BooleanBuffer {
        self.words.push(self.last);
        BooleanBuffer::new(Buffer::from_vec(self.words), 0, self.length)
    }

    /// As an array has it: nothing where every row has a value.
    pub fn into_validity(self) -> Option<NullBuffer> {
        (!self.all()).then(|| NullBuffer::new(self.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_that_were_pushed() {
        for length in [0, 1, 63, 64, 65, 128, 200] {
            let expected: Vec<bool> = (0..length).map(|row| row % 3 != 1).collect();
            let mut bits = Bits::with_capacity(length);
            expected.iter().for_each(|bit| bits.push(*bit));
            assert!((0..length).map(|row| bits.get(row)).eq(expected.iter().copied()), "of {length}");
            assert_eq!(bits.all(), length < 2);
            assert_eq!(bits.finish(), BooleanBuffer::from(expected));
        }
        let mut full = Bits::default();
        (0..64).for_each(|_| full.push(true));
        assert!(full.all() && full.into_validity().is_none());
    }
}
