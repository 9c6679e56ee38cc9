//! Chance that is none: numbers that look drawn, and are the same on every machine.
//!
//! SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), started from a name. It
//! counts in whole numbers only, since logarithms differ in their last digit from one machine to the next.

/// A row of numbers with a name of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn of(name: &str) -> Chance {
        // FNV-1a.
        Chance(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
    }

    pub(crate) fn from_seed(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The row that belongs to this number within this one.
    pub(crate) fn at(self, number: impl Into<i64>) -> Chance {
        Chance(mix(self.0 ^ mix(number.into() as u64)))
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Any number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        scale(self.draw(), bound)
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// How many days something lasts that ends on each with the same chance: `mean` in the long run, at least one,
    /// at most `longest`.
    pub(crate) fn days(&mut self, mean: u64, longest: i32) -> i32 {
        (1..longest).find(|_| self.below(mean.max(1)) == 0).unwrap_or(longest)
    }

    /// So many lower-case hexadecimal digits.
    pub(crate) fn hex(&mut self, digits: usize) -> String {
        let mut text = String::with_capacity(digits + 16);
        while text.len() < digits {
            text += &format!("{:016x}", self.draw());
        }
        text.truncate(digits);
        text
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Every bit of what comes out depends on every bit that went in; no two numbers become one.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A drawn number brought below `bound`.
pub(crate) fn scale(drawn: u64, bound: u64) -> u64 {
    ((u128::from(drawn) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_as_they_are() {
        let mut chance = Chance::of("a name").at(7);
        assert_eq!([chance.draw(), chance.draw()], [11_742_972_090_471_588_754, 6_411_390_078_078_854_122]);
    }

    #[test]
    fn days_last_as_long_as_asked_for() {
        let mut chance = Chance::of("days");
        let total: i32 = (0..10_000).map(|_| chance.days(10, 200)).sum();
        assert!((9_500..10_500).contains(&(total / 10)), "{total}");
    }
}
