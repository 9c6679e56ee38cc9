//! What was said to be taken and is not stored yet, on disk: whoever sent it has forgotten it.
//!
//! Parts of some messages each, each message with its length before it. A part is deleted once all that is in it is stored; what a
//! process that died has left is read at the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

pub(super) struct Journal {
    folder: PathBuf,
    /// The part that is written, its number and its length.
    part: Option<(u64, File, usize)>,
    next: u64,
    /// How many messages of each part are not stored.
    left: BTreeMap<u64, usize>,
    /// Parts with messages that were refused: they are put aside, whole.
    refused: BTreeSet<u64>,
}

/// A part that is longer is closed, in bytes.
const LONGEST_PART: usize = 8 << 20;

impl Journal {
    /// With the numbers of the parts that are left, the oldest first.
    pub(super) fn open(folder: PathBuf) -> Result<(Journal, Vec<u64>)> {
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("looking into {}", folder.display()))? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".part")?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |last| last + 1);
        Ok((Journal { folder, part: None, next, left: BTreeMap::new(), refused: BTreeSet::new() }, numbers))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.part"))
    }

    /// What a part that was left holds. What was cut off at its end nobody was promised.
    pub(super) fn read(&mut self, number: u64) -> Result<Vec<Vec<u8>>> {
        let path = self.path(number);
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let (mut messages, mut rest) = (Vec::new(), bytes.as_slice());
        while let Some((message, more)) =
            rest.split_first_chunk::<4>().and_then(|(length, rest)| rest.split_at_checked(u32::from_be_bytes(*length) as usize))
        {
            messages.push(message.to_vec());
            rest = more;
        }
        self.left.insert(number, messages.len());
        self.settle(number, 0, false)?;
        Ok(messages)
    }

    /// Writes messages down, to the disk; says in which part.
    pub(super) fn write(&mut self, messages: &[&[u8]]) -> Result<u64> {
        let mut bytes = Vec::new();
        for message in messages {
            let length = u32::try_from(message.len()).map_err(|_| anyhow!("a message is longer than a journal can hold"))?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(message);
        }
        let failed = || "writing down what was sent";
        let mut part = match self.part.take() {
            Some(part) => part,
            None => {
                let number = self.next;
                let file = File::create_new(self.path(number)).with_context(failed)?;
                // That it is there must be on the disk as well.
                File::open(&self.folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
                self.next += 1;
                (number, file, 0)
            }
        };
        part.1.write_all(&bytes).and_then(|()| part.1.sync_data()).with_context(failed)?;
        part.2 += bytes.len();
        let number = part.0;
        *self.left.entry(number).or_default() += messages.len();
        if part.2 < LONGEST_PART {
            self.part = Some(part);
        }
        Ok(number)
    }

    /// So many messages of a part are stored, or refused. The one that is written goes too, so that nothing lies about that is
    /// stored.
    pub(super) fn settle(&mut self, number: u64, messages: usize, is_refused: bool) -> Result<()> {
        if is_refused {
            self.refused.insert(number);
        }
        let left = self.left.entry(number).or_default();
        *left = left.saturating_sub(messages);
        if *left > 0 {
            return Ok(());
        }
        self.left.remove(&number);
        if self.part.as_ref().is_some_and(|(own, ..)| *own == number) {
            self.part = None;
        }
        let path = self.path(number);
        match self.refused.remove(&number) {
            true => fs::rename(&path, path.with_extension("refused")).context("putting aside what was refused"),
            false => fs::remove_file(path).context("deleting what is stored"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> (Journal, Vec<u64>) {
        Journal::open(folder.path().join("a.d")).expect("readable")
    }

    #[test]
    fn what_is_not_stored_is_left() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (mut journal, left) = open(&folder);
        assert!(left.is_empty());
        let first = journal.write(&[b"a", b""]).expect("writable");
        journal.settle(first, 1, false).expect("writable");
        let (mut again, left) = open(&folder);
        assert_eq!(left, [first]);
        assert_eq!(again.read(first).expect("readable"), [b"a".to_vec(), Vec::new()]);
        let second = again.write(&[b"b"]).expect("writable");
        assert_ne!(first, second);
        again.settle(first, 2, false).expect("writable");
        assert_eq!(open(&folder).1, [second]);
        again.settle(second, 1, true).expect("writable");
        assert_eq!(open(&folder).1, [0; 0]);
        assert!(again.path(second).with_extension("refused").exists());
    }

    #[test]
    fn what_was_cut_off_was_promised_to_nobody() {
        let folder = tempfile::TempDir::new().expect("a folder");
        for (cut, expected) in [(13, 2), (12, 1), (7, 1), (5, 1), (4, 0), (0, 0)] {
            let (mut journal, _) = open(&folder);
            let part = journal.write(&[b"a", b"four"]).expect("writable");
            File::options().write(true).open(journal.path(part)).and_then(|file| file.set_len(cut)).expect("writable");
            let (mut journal, left) = open(&folder);
            assert_eq!(left, [part]);
            let messages = journal.read(part).expect("readable");
            assert_eq!(messages.len(), expected, "cut after {cut}");
            if !messages.is_empty() {
                journal.settle(part, messages.len(), false).expect("writable");
            }
        }
    }
}
