//! A Bloom filter of ids, which several threads fill at once and which is right about what is new.
//!
//! All bits of an id lie in one word of 64, so that setting them is one atomic operation that also tells what
//! was there: of two threads that bring the same id, exactly one is told that it is new. Ids are random
//! already and are not hashed again. A filter that is fuller than planned only suspects more.

use std::sync::atomic::{AtomicU64, Ordering};

use event::id::Id;

/// Bits of an id in its word. With two ids a word, one new id in 2,000 is suspected.
const BITS: usize = 4;

#[derive(Debug)]
pub(crate) struct Filter {
    words: Vec<AtomicU64>,
    /// A power of two less one.
    mask: u64,
}

impl Filter {
    /// For about so many ids, in at most so much memory.
    pub(crate) fn new(ids: usize, most_bytes: usize) -> Filter {
        let most = 1 << (most_bytes / 8).max(1024).ilog2();
        let words = (ids / 2).next_power_of_two().clamp(1024, most);
        // Written one by one: memory that the system gives as zeros, and which is looked at before it is written to, costs a fault
        // twice, and the second makes all processors forget where it was.
        let zeros = (0..words).map(|_| AtomicU64::new(std::hint::black_box(0)));
        Filter { words: zeros.collect(), mask: words as u64 - 1 }
    }

    /// Adds the id. True if it surely was not there.
    pub(crate) fn add(&self, id: &Id) -> bool {
        let (word, bits) = self.bits_of(id);
        // Nothing but this word is published by it: no other order is needed.
        self.words[word].fetch_or(bits, Ordering::Relaxed) & bits != bits
    }

    /// Has the processor fetch what [`Filter::add`] will look at: many words at a time, while adding waits for each.
    pub(crate) fn fetch(&self, ids: &[Id]) {
        let found = ids.iter().map(|id| self.words[self.bits_of(id).0].load(Ordering::Relaxed)).fold(0, |all, word| all ^ word);
        std::hint::black_box(found);
    }

    /// Whether the id may be there.
    pub(crate) fn may_hold(&self, id: &Id) -> bool {
        let (word, bits) = self.bits_of(id);
        self.words[word].load(Ordering::Relaxed) & bits == bits
    }

    fn bits_of(&self, id: &Id) -> (usize, u64) {
        let number = u128::from_le_bytes(*id);
        let (place, rest) = (number as u64, (number >> 64) as u64);
        let bits = (0..BITS).fold(0, |bits, turn| bits | 1 << (rest >> (turn * 6) & 63));
        ((place & self.mask) as usize, bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> Id {
        *blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes")
    }

    #[test]
    fn nothing_is_forgotten_and_little_is_suspected() {
        let filter = Filter::new(100_000, 1 << 20);
        let suspects = (0..100_000).filter(|number| !filter.add(&id(*number))).count();
        assert!((0..100_000).all(|number| filter.may_hold(&id(number))));
        assert!(suspects < 100, "{suspects} of 100,000");
        let strangers = (100_000..200_000).filter(|number| filter.may_hold(&id(*number))).count();
        assert!(strangers < 200, "{strangers} of 100,000");
    }

    #[test]
    fn of_many_threads_one_is_told_that_an_id_is_new() {
        let filter = Filter::new(10_000, 1 << 20);
        let new: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..10_000).filter(|number| filter.add(&id(*number))).count())).collect();
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum()
        });
        let alone = Filter::new(10_000, 1 << 20);
        let suspects = 10_000 - (0..10_000).filter(|number| alone.add(&id(*number))).count();
        assert!(new <= 10_000 && new + 10 * suspects.max(2) >= 10_000, "{new} told, {suspects} suspected");
    }

    #[test]
    fn memory_is_bounded() {
        assert_eq!(Filter::new(1 << 40, 1 << 20).words.len(), (1 << 20) / 8);
        assert_eq!(Filter::new(0, 0).words.len(), 1024);
    }
}
