//! Every entry of every list of whole values and of host names, by its hash.
//!
//! The table is open: eight bytes a place, of which a third to two thirds are taken, that say in which list an entry is and where there. The texts
//! stay in their lists. A map of texts would hold them a second time, and a million names are a hundred megabytes then.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use super::list::{Entries, Matching, Texts, WarningList};

#[derive(Debug, Default)]
pub(super) struct Words {
    /// A power of two of them: sixteen bits of the hash, sixteen of the list, thirty-two of the entry's place in it.
    slots: Vec<u64>,
}

const FREE: u64 = u64::MAX;

/// No list has the number that a free slot has.
pub(super) const MOST_LISTS: usize = u16::MAX as usize;

impl Words {
    pub(super) fn of(lists: &[Arc<WarningList>]) -> Words {
        let count: usize = lists.iter().filter_map(|list| words(list)).map(Texts::len).sum();
        if count == 0 {
            return Words::default();
        }
        let mut table = Words { slots: vec![FREE; (count + count / 2 + 1).next_power_of_two()] };
        for (number, list) in lists.iter().enumerate() {
            for (place, word) in words(list).into_iter().flat_map(Texts::iter).enumerate() {
                table.insert(lists, number, place, word);
            }
        }
        table
    }

    fn insert(&mut self, lists: &[Arc<WarningList>], list: usize, place: usize, word: &str) {
        let name = without_dot(&lists[list], word);
        // A list that says one thing a million times would take a million steps for each.
        if self.find(lists, name).any(|found| found == (list, word)) {
            return;
        }
        let hash = hash(name);
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while self.slots[slot] != FREE {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = tag(hash) << 48 | (list as u64) << 32 | place as u64;
    }

    /// The lists that have this name, with how they have it: `.name` in a list of host names asks for those below.
    pub(super) fn find<'a>(&self, lists: &'a [Arc<WarningList>], name: &str) -> impl Iterator<Item = (usize, &'a str)> {
        let hash = hash(name);
        let mask = self.slots.len().wrapping_sub(1);
        let from = hash as usize & mask;
        let slots = (0..self.slots.len()).map(move |step| self.slots[from.wrapping_add(step) & mask]).take_while(|slot| *slot != FREE);
        slots.filter(move |slot| slot >> 48 == tag(hash)).filter_map(move |slot| {
            let (list, place) = ((slot >> 32) as usize & MOST_LISTS, slot as u32 as usize);
            let word = words(&lists[list]).expect("only words are in the table").get(place);
            (without_dot(&lists[list], word) == name).then_some((list, word))
        })
    }
}

fn words(list: &WarningList) -> Option<&Texts> {
    if let Entries::Words(words) = &list.entries { Some(words) } else { None }
}

/// Names below `example.com` are looked for by `example.com`.
fn without_dot<'a>(list: &WarningList, word: &'a str) -> &'a str {
    match list.matching {
        Matching::Hostname => word.strip_prefix('.').unwrap_or(word),
        _ => word,
    }
}

/// The same in every run: what is found does not depend on it, but nothing should.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// The bits that do not say where in the table.
fn tag(hash: u64) -> u64 {
    hash >> 48
}
