//! The ids that an append wrote last. Most repeats of a report follow soon on what they repeat: those are known at once,
//! and need not be put aside and compared.

use event::id::Id;

use super::ids::IdSet;

/// Ids of a generation; there are two, so that memory stays small.
const GENERATION: usize = 1 << 15;

#[derive(Debug, Default)]
pub(crate) struct Recent {
    young: IdSet,
    old: IdSet,
}

impl Recent {
    pub(crate) fn add(&mut self, ids: &[Id]) {
        self.young.extend(ids);
        if self.young.len() >= GENERATION {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
    }

    /// Whether the id was surely added.
    pub(crate) fn holds(&self, id: &Id) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }
}
