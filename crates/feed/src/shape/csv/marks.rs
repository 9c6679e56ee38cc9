//! Where separators, quotes and line ends stand: 64 bytes are looked at together, and each is asked for once.

use event::chunk::{Chunk, is};

const CHUNK: usize = Chunk::LENGTH;

/// The marks of a text, found as they are asked for.
pub(super) struct Marks<'t> {
    bytes: &'t [u8],
    /// What separators begin with.
    separator: u8,
    quote: Option<u8>,
    /// Of the chunk at `start`, a bit for each byte.
    start: usize,
    ends: u64,
    quotes: u64,
    breaks: u64,
}

impl<'t> Marks<'t> {
    pub(super) fn new(bytes: &'t [u8], separator: u8, quote: Option<u8>) -> Marks<'t> {
        let mut marks = Marks { bytes, separator, quote, start: 0, ends: 0, quotes: 0, breaks: 0 };
        marks.load(0);
        marks
    }

    /// Where the next separator, or what begins like one, or line end stands.
    #[inline]
    pub(super) fn next_end(&mut self, from: usize) -> Option<usize> {
        let ahead = self.reach(from);
        let mut found = self.ends & ahead;
        while found == 0 {
            self.advance()?;
            found = self.ends;
        }
        Some(self.start + found.trailing_zeros() as usize)
    }

    /// Where the next quote stands, and how many line ends before it.
    #[inline]
    pub(super) fn next_quote(&mut self, from: usize) -> Option<(usize, u32)> {
        let ahead = self.reach(from);
        let (mut quotes, mut breaks, mut passed) = (self.quotes & ahead, self.breaks & ahead, 0);
        while quotes == 0 {
            if breaks != 0 {
                passed += breaks.count_ones();
            }
            self.advance()?;
            (quotes, breaks) = (self.quotes, self.breaks);
        }
        if breaks != 0 {
            passed += (breaks & (quotes & quotes.wrapping_neg()).wrapping_sub(1)).count_ones();
        }
        Some((self.start + quotes.trailing_zeros() as usize, passed))
    }

    /// Goes to the chunk of a place, and marks what of it lies ahead.
    #[inline]
    fn reach(&mut self, place: usize) -> u64 {
        if place.wrapping_sub(self.start) >= CHUNK {
            self.load(place - place % CHUNK);
        }
        u64::MAX << (place % CHUNK)
    }

    #[inline]
    fn advance(&mut self) -> Option<()> {
        let next = self.start + CHUNK;
        if next >= self.bytes.len() {
            return None;
        }
        self.load(next);
        Some(())
    }

    #[inline]
    fn load(&mut self, start: usize) {
        self.start = start;
        let chunk = Chunk::of(self.bytes.get(start..).unwrap_or_default());
        self.breaks = chunk.places(|bytes| is(bytes, b'\n'));
        self.ends = chunk.places(|bytes| is(bytes, self.separator) | is(bytes, b'\n'));
        self.quotes = self.quote.map_or(0, |quote| chunk.places(|bytes| is(bytes, quote)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_where_the_bytes_are() {
        // Of every length around a chunk's, with marks at places that no period meets.
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).map(|place| [b'x', b'"', b',', b'\n', b'y', b'\0', b'z'][place * place % 61 % 7]).collect();
            let mut marks = Marks::new(&bytes, b',', Some(b'"'));
            let find = |from: usize, words: &[u8]| (from..length).find(|place| words.contains(&bytes[*place]));
            for from in (0..length).chain((0..length).rev()) {
                assert_eq!(marks.next_end(from), find(from, b",\n"), "from {from} of {length}");
                let quote = find(from, b"\"");
                let breaks = quote.map(|quote| bytes[from..quote].iter().filter(|byte| **byte == b'\n').count() as u32);
                assert_eq!(marks.next_quote(from), quote.zip(breaks), "from {from} of {length}");
            }
        }
    }
}
