//! Which ids the table already holds, of one feed and the days that an append touches.
//!
//! Nothing is read before a day is touched, and then only those row groups whose statistics say that they may
//! hold the feed and the day. While they fit, the ids are kept exactly, so that a list that is delivered again
//! every hour is recognised at once; beyond that, only the filter knows them, and suspects are compared with
//! the files again at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use event::id::Id;

use super::filter::Filter;
use super::ids::{IdFile, IdSet, Wanted};
use crate::days::Days;
use crate::place::Place;
use crate::table::{LiveFile, Version};

#[derive(Debug)]
pub(crate) struct Held {
    feed: String,
    place: Place,
    /// Files that may hold the feed.
    files: Vec<Arc<LiveFile>>,
    /// Row groups whose ids are in the filter.
    read: BTreeMap<String, BTreeSet<usize>>,
    /// Days whose ids are in the filter.
    days: Days,
    /// All ids that were read, while they fit.
    exact: Option<IdSet>,
    most_exact: usize,
}

impl Held {
    /// Of the feed in that version; at most `most_exact` ids are kept exactly.
    pub(crate) fn new(place: &Place, version: &Version, feed: &str, most_exact: usize) -> Held {
        let files = version.files.values().filter(|file| file.may_hold_feed(feed)).cloned().collect();
        Held {
            feed: feed.to_owned(),
            place: place.clone(),
            files,
            read: BTreeMap::new(),
            days: Days::new(),
            exact: Some(IdSet::default()),
            most_exact,
        }
    }

    /// Nothing is held: for rows that replace whatever there was.
    pub(crate) fn nothing(place: &Place, feed: &str) -> Held {
        Held::new(place, &Version::default(), feed, 0)
    }

    pub(crate) fn knows(&self, days: &Days) -> bool {
        self.files.is_empty() || days.is_subset(&self.days)
    }

    /// Reads the ids of days that are not known yet into the filter.
    pub(crate) fn learn(&mut self, days: &Days, filter: &Filter) -> Result<()> {
        let lacking: Days = days.difference(&self.days).copied().collect();
        let wanted = Wanted { feed: &self.feed, days: &lacking };
        for live in self.files.iter().filter(|file| file.may_hold_days(&lacking)) {
            // Footers are not kept: those of a thousand files would take more memory than all ids.
            let file = IdFile::open(&self.place, live)?;
            let read = self.read.entry(live.path.clone()).or_default();
            let row_groups: Vec<usize> = file.row_groups(&wanted).into_iter().filter(|group| read.insert(*group)).collect();
            if row_groups.is_empty() {
                continue;
            }
            let (exact, most) = (&mut self.exact, self.most_exact);
            file.ids(&self.feed, row_groups, |id| {
                filter.add(&id);
                if let Some(ids) = exact {
                    ids.insert(id);
                    if ids.len() > most {
                        *exact = None;
                    }
                }
            })?;
        }
        self.days.extend(lacking);
        Ok(())
    }

    /// Whether the id is surely held; None if only the files can tell.
    pub(crate) fn holds(&self, id: &Id) -> Option<bool> {
        self.exact.as_ref().map(|ids| ids.contains(id))
    }

    /// Reads all ids of the known days again, where they are not kept exactly.
    pub(crate) fn read_again(&self, mut found: impl FnMut(Id)) -> Result<()> {
        if self.exact.is_some() {
            return Ok(());
        }
        for live in &self.files {
            if let Some(row_groups) = self.read.get(&live.path)
                && !row_groups.is_empty()
            {
                IdFile::open(&self.place, live)?.ids(&self.feed, row_groups.iter().copied().collect(), &mut found)?;
            }
        }
        Ok(())
    }
}
