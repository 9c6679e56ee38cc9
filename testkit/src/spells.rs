//! Things that begin, last and end: an infected machine, an open port, a phishing page. That the same ones are seen
//! day after day is what makes findings of events.

use crate::chance::Chance;

/// No spell lasts longer, in days: whoever asks for a day need not look further back.
pub(crate) const LONGEST: i32 = 150;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Spell {
    /// Its own, whence all else about it is drawn.
    pub(crate) seed: u64,
    /// The first day, in days since 1970.
    pub(crate) born: i32,
    /// The first day on which it is no more.
    pub(crate) ends: i32,
}

impl Spell {
    pub(crate) fn chance(&self, about: &str) -> Chance {
        Chance::from_seed(self.seed ^ Chance::of(about).draw())
    }

    pub(crate) fn is_on(&self, day: i32) -> bool {
        self.born <= day && day < self.ends
    }
}

/// What begins on this day, under this name: `hundredths` of a spell, `mean` days long.
pub(crate) fn born(name: &str, day: i32, hundredths: u64, mean: u64) -> impl Iterator<Item = Spell> {
    let mut chance = Chance::of(name).at(day);
    let count = hundredths / 100 + u64::from(chance.percent(hundredths % 100));
    (0..count).map(move |_| Spell { seed: chance.draw(), born: day, ends: day + chance.days(mean, LONGEST) })
}

/// What is on this day, where as much begins every day, the oldest first.
pub(crate) fn steady(name: &str, day: i32, hundredths: u64, mean: u64) -> Vec<Spell> {
    (day - LONGEST..=day).flat_map(|from| born(name, from, hundredths, mean)).filter(|spell| spell.is_on(day)).collect()
}
