//! Bytes looked at together: where one of a kind stands is a bit for each of 64. What is decided by masks costs the
//! same for every text, while a branch on each byte is guessed wrong at every dot and dash.

use std::ops::RangeInclusive;

use wide::u8x32;

/// The first 64 bytes of a text, or fewer.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    halves: [u8x32; 2],
    /// A bit for each byte that there is.
    inside: u64,
}

impl Chunk {
    pub const LENGTH: usize = 64;

    #[inline]
    pub fn of(bytes: &[u8]) -> Chunk {
        match bytes.first_chunk() {
            Some(chunk) => Chunk::whole(chunk, u64::MAX),
            None => {
                let mut padded = [0; Chunk::LENGTH];
                padded[..bytes.len()].copy_from_slice(bytes);
                Chunk::whole(&padded, first(bytes.len()))
            }
        }
    }

    #[inline]
    fn whole(bytes: &[u8; Chunk::LENGTH], inside: u64) -> Chunk {
        let halves = [0, Chunk::LENGTH / 2].map(|at| u8x32::new(*bytes[at..].first_chunk().expect("a chunk has two halves")));
        Chunk { halves, inside }
    }

    /// Where what is asked of all bytes is so. Questions are joined before they become places: that is where the machine
    /// does it for all at once.
    #[inline]
    pub fn places(&self, are: impl Fn(u8x32) -> u8x32) -> u64 {
        let [low, high] = self.halves.map(|half| u64::from(are(half).to_bitmask()));
        (low | high << 32) & self.inside
    }
}

/// Which bytes are this one.
#[inline]
pub fn is(bytes: u8x32, byte: u8) -> u8x32 {
    bytes.simd_eq(u8x32::splat(byte))
}

/// Which bytes are among these.
#[inline]
pub fn among(bytes: u8x32, range: RangeInclusive<u8>) -> u8x32 {
    let above = bytes - u8x32::splat(*range.start());
    above.simd_eq(above.min(u8x32::splat(range.end() - range.start())))
}

/// The first so many places.
#[inline]
pub fn first(places: usize) -> u64 {
    if places < Chunk::LENGTH { (1 << places) - 1 } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_where_the_bytes_are() {
        let bytes: Vec<u8> = (0..=255).collect();
        for (start, length) in [(0, 64), (40, 64), (80, 7), (200, 56), (255, 1), (10, 0)] {
            let bytes = &bytes[start..start + length];
            let expected =
                |is: &dyn Fn(u8) -> bool| (0..length).filter(|place| is(bytes[*place])).fold(0u64, |all, place| all | 1 << place);
            let chunk = Chunk::of(bytes);
            assert_eq!(chunk.inside, expected(&|_| true));
            for byte in [0, b'.', 0x80, 0xff] {
                assert_eq!(chunk.places(|bytes| is(bytes, byte)), expected(&|other| other == byte));
            }
            for range in [0..=0, b'0'..=b'9', b'a'..=b'z', 0x80..=0xff, 0..=0xff] {
                assert_eq!(chunk.places(|bytes| among(bytes, range.clone())), expected(&|byte| range.contains(&byte)), "{range:?}");
            }
        }
    }
}
