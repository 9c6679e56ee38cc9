//! What was said to be taken and is not stored yet, on disk: whoever sent it has forgotten it.
//!
//! Parts of some messages each, each message with its length before it. A part is deleted once all that is in it is stored; what a
//! process that died has left is read at the next start.
//!
//! Whoever writes holds a lock beside the folder. An erasure takes messages out of what nobody writes, and of what was put aside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tempfile::NamedTempFile;

pub(super) struct Journal {
    _lock: File,
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
        let lock = lock(&folder)?.with_context(|| format!("another process is at work in {}", folder.display()))?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("looking into {}", folder.display()))? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".part")?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |last| last + 1);
        Ok((Journal { _lock: lock, folder, part: None, next, left: BTreeMap::new(), refused: BTreeSet::new() }, numbers))
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.part"))
    }

    /// What a part that was left holds. What was cut off at its end nobody was promised.
    pub(super) fn read(&mut self, number: u64) -> Result<Vec<Vec<u8>>> {
        let path = self.path(number);
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let messages: Vec<Vec<u8>> = messages_in(&bytes).map(<[u8]>::to_vec).collect();
        self.left.insert(number, messages.len());
        self.settle(number, 0, false)?;
        Ok(messages)
    }

    /// Writes messages down, to the disk; says in which part.
    pub(super) fn write(&mut self, messages: &[&[u8]]) -> Result<u64> {
        let bytes = bytes_of(messages.iter().copied())?;
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

/// The lock of whoever writes; none if another has it.
fn lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.with_extension("lock");
    let file = File::options().create(true).append(true).open(&path).with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

/// The messages of a part, without what was cut off at its end.
fn messages_in(mut part: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = part.split_first_chunk::<4>()?;
        let (message, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        part = rest;
        Some(message)
    })
}

fn bytes_of<'m>(messages: impl Iterator<Item = &'m [u8]>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for message in messages {
        let length = u32::try_from(message.len()).map_err(|_| anyhow!("a message is longer than a journal can hold"))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(message);
    }
    Ok(bytes)
}

/// What an erasure finds in journals.
#[derive(Debug, Default)]
pub struct Sifted {
    /// Messages that were taken out.
    pub messages: u64,
    /// Parts with such messages that a process at work is about to store: they stay.
    pub in_use: Vec<PathBuf>,
}

/// Takes the messages that are meant out of every journal below a folder, where `take_out` says so, and else only looks.
pub fn sift(memories: &Path, is_meant: &dyn Fn(&[u8]) -> bool, take_out: bool) -> Result<Sifted> {
    let mut sifted = Sifted::default();
    for folder in paths_in(memories)?.into_iter().filter(|path| path.is_dir() && ends(path, "d")) {
        let lock = lock(&folder)?;
        for path in paths_in(&folder)?.into_iter().filter(|path| ends(path, "part") || ends(path, "refused")) {
            let doing = || format!("looking through {}", path.display());
            let bytes = match fs::read(&path) {
                // It is stored meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                bytes => bytes.with_context(doing)?,
            };
            let meant = messages_in(&bytes).filter(|message| is_meant(message)).count() as u64;
            if meant == 0 {
                continue;
            }
            if lock.is_none() && ends(&path, "part") {
                sifted.in_use.push(path);
                continue;
            }
            sifted.messages += meant;
            if take_out {
                let left = bytes_of(messages_in(&bytes).filter(|message| !is_meant(message)))?;
                replace(&path, &left).with_context(|| format!("taking messages out of {}", path.display()))?;
            }
        }
    }
    Ok(sifted)
}

fn ends(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// What lies in a folder, in order; nothing where there is none.
fn paths_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let doing = || format!("looking into {}", folder.display());
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.with_context(doing)?,
    };
    let mut paths: Vec<PathBuf> = listed.map(|entry| Ok(entry?.path())).collect::<Result<_>>().with_context(doing)?;
    paths.sort();
    Ok(paths)
}

/// Puts bytes in a file's place, whole or not at all; where there are none left it goes.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    if bytes.is_empty() {
        fs::remove_file(path)?;
    } else {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
    }
    Ok(File::open(folder)?.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_aside_is_sifted_whoever_writes() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let (mut journal, _) = open(&folder);
        let refused = journal.write(&[b"jane", b"joe"]).expect("writable");
        journal.settle(refused, 2, true).expect("writable");
        let kept = journal.write(&[b"jane", b"joe"]).expect("writable");
        let is_meant = |message: &[u8]| message == b"jane";
        let sift = |take_out| sift(folder.path(), &is_meant, take_out).expect("readable");
        let found = sift(false);
        assert_eq!((found.messages, found.in_use), (1, vec![journal.path(kept)]));
        assert_eq!((sift(true).messages, sift(true).messages), (1, 0));
        let left = fs::read(journal.path(refused).with_extension("refused")).expect("readable");
        assert_eq!(messages_in(&left).collect::<Vec<_>>(), [b"joe"]);
        drop(journal);
        let sifted = sift(true);
        assert_eq!((sifted.messages, sifted.in_use), (1, Vec::new()));
        assert_eq!(open(&folder).0.read(kept).expect("readable"), [b"joe".to_vec()]);
        super::sift(folder.path(), &|_| true, true).expect("readable");
        assert!(paths_in(&folder.path().join("a.d")).expect("readable").is_empty(), "nothing is left");
    }

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
        assert!(Journal::open(folder.path().join("a.d")).is_err(), "one writes");
        drop(journal);
        let (mut again, left) = open(&folder);
        assert_eq!(left, [first]);
        assert_eq!(again.read(first).expect("readable"), [b"a".to_vec(), Vec::new()]);
        let second = again.write(&[b"b"]).expect("writable");
        assert_ne!(first, second);
        again.settle(first, 2, false).expect("writable");
        drop(again);
        let (mut again, left) = open(&folder);
        assert_eq!(left, [second]);
        again.read(second).expect("readable");
        again.settle(second, 1, true).expect("writable");
        assert!(again.path(second).with_extension("refused").exists());
    }

    #[test]
    fn what_was_cut_off_was_promised_to_nobody() {
        let folder = tempfile::TempDir::new().expect("a folder");
        for (cut, expected) in [(13, 2), (12, 1), (7, 1), (5, 1), (4, 0), (0, 0)] {
            let (mut journal, _) = open(&folder);
            let part = journal.write(&[b"a", b"four"]).expect("writable");
            File::options().write(true).open(journal.path(part)).and_then(|file| file.set_len(cut)).expect("writable");
            drop(journal);
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
