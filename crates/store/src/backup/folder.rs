//! The folder that a backup lies in:
//!
//! ```text
//! backup.jsonl       what it holds: a head, then each file's name, size and hash, then the hash of all that; written last
//! objects/HH/HASH    bytes, by their BLAKE3: what several files or backups have in common is there once
//! unfinished.jsonl   what a backup that is not whole yet has copied; one that was killed goes on from it
//! lock               held by whoever writes
//! ```
//!
//! An object has its name only when it is whole and on the disk. The list of the backup before stays until the next is whole; what is
//! in no list any more is deleted then, so that what was erased from the store is not in its next backup's folder either.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use event::time::{self, Micros};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{ELSEWHERE, HOME, Progress, STORE};
use crate::place::{TEMPORARY, in_parallel, sync_folder, sync_path};
use crate::store::refuse_later;

/// The form of a backup that is written. A later one is refused.
const VERSION: u32 = 1;

const LIST: &str = "backup.jsonl";
const UNFINISHED: &str = "unfinished.jsonl";
const OBJECTS: &str = "objects";
const LOCK: &str = "lock";

/// Read and written at a time, in bytes.
const PIECE: usize = 1 << 18;

/// Files that are seen onto the disk together, so many or of so many bytes.
const TOGETHER: usize = 64;
const TOGETHER_SIZE: u64 = 256 << 20;

/// The first line of a list.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Head {
    pub(super) waglan_backup: u32,
    /// The store's format.
    pub(super) format: u32,
    /// What the store is called by itself.
    pub(super) store: String,
    /// The moment that it shows, by the clock of whoever made it.
    pub(super) time: String,
    pub(super) program: String,
    pub(super) files: u64,
    /// In bytes.
    pub(super) size: u64,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    /// In bytes.
    pub(super) size: u64,
    /// Microseconds since 1970, by the clock of where it lay; 0 for what never changes.
    pub(super) modified: Micros,
    /// BLAKE3, in hexadecimal.
    pub(super) hash: String,
}

/// The last line of a list.
#[derive(Deserialize, Serialize)]
struct Tail {
    /// Of all that stands before this line, in hexadecimal.
    blake3: String,
}

/// What a whole backup holds.
pub(super) struct List {
    pub(super) head: Head,
    pub(super) entries: Vec<Entry>,
    /// The hash that its last line tells.
    pub(super) id: String,
}

impl List {
    /// The list of the backup in a folder; none if there never was a whole one.
    pub(super) fn read(folder: &Path) -> Result<Option<List>> {
        let path = folder.join(LIST);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.with_context(|| format!("opening {}", path.display()))?,
        };
        List::parse(BufReader::new(file)).with_context(|| format!("reading {}", path.display())).map(Some)
    }

    /// The same, where there must be one.
    pub(super) fn require(folder: &Path) -> Result<List> {
        match List::read(folder)? {
            Some(list) => Ok(list),
            None if folder.join(UNFINISHED).exists() => {
                bail!("the backup in {} was never finished: `waglan backup` goes on with it", folder.display())
            }
            None => bail!("there is no backup in {}", folder.display()),
        }
    }

    fn parse(mut from: impl BufRead) -> Result<List> {
        let mut hasher = blake3::Hasher::new();
        let (mut head, mut entries, mut line) = (None::<Head>, Vec::new(), String::new());
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                bail!("it is cut off: the backup is damaged");
            }
            let Some(head) = &head else {
                let read: Head = damaged(serde_json::from_str(&line))?;
                if read.waglan_backup > VERSION {
                    bail!("it was written by a later version of Waglan: use that one");
                }
                refuse_later(read.format)?;
                hasher.update(line.as_bytes());
                head = Some(read);
                continue;
            };
            if let Ok(tail) = serde_json::from_str::<Tail>(&line) {
                if tail.blake3 != hasher.finalize().to_hex().as_str() || head.files != entries.len() as u64 {
                    bail!("it is not as it was written: the backup is damaged");
                }
                return Ok(List { head: head.clone(), entries, id: tail.blake3 });
            }
            hasher.update(line.as_bytes());
            let entry: Entry = damaged(serde_json::from_str(&line))?;
            entry.check()?;
            entries.push(entry);
        }
    }

    fn write(head: &Head, entries: &BTreeMap<String, Entry>, to: &mut impl Write) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        let mut line = |line: String| {
            hasher.update(line.as_bytes());
            to.write_all(line.as_bytes())
        };
        line(json_line(head)?)?;
        for entry in entries.values() {
            entry.check()?;
            line(json_line(entry)?)?;
        }
        let tail = Tail { blake3: hasher.finalize().to_hex().to_string() };
        Ok(to.write_all(json_line(&tail)?.as_bytes())?)
    }
}

fn damaged<T: DeserializeOwned>(read: serde_json::Result<T>) -> Result<T> {
    read.context("a line of it is none of a backup's: it is damaged")
}

fn json_line(value: &impl Serialize) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string(value)?))
}

impl Entry {
    /// A list comes from outside: its names must not lead out of a folder.
    fn check(&self) -> Result<()> {
        let is_ours = [STORE, HOME, ELSEWHERE].iter().any(|part| self.name.starts_with(part));
        let stays = Path::new(&self.name).components().all(|part| matches!(part, Component::Normal(_)));
        let is_hash = self.hash.len() == 64 && self.hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_ours && stays && is_hash { Ok(()) } else { bail!("{:?} is no name in a backup, or has no hash", self.name) }
    }

    /// Where its bytes are.
    pub(super) fn object(&self, backup: &Path) -> PathBuf {
        backup.join(OBJECTS).join(self.hash.get(..2).unwrap_or_default()).join(&self.hash)
    }

    /// Hands its bytes to `to`; an error if they are not those that were copied.
    pub(super) fn read(&self, backup: &Path, to: &mut dyn Write) -> Result<()> {
        let object = self.object(backup);
        let at = || format!("{}, of which the bytes are in {}", self.name, object.display());
        let mut file = File::open(&object).with_context(at)?;
        let (size, hash) = copy_hashed(&mut file, to).with_context(at)?;
        if size != self.size || hash != self.hash {
            bail!("{} is damaged: its bytes are in {}, which are not those that were copied", self.name, object.display());
        }
        Ok(())
    }
}

/// Copies bytes; how many there were, and their hash.
pub(super) fn copy_hashed(from: &mut dyn Read, to: &mut dyn Write) -> Result<(u64, String)> {
    let (mut hasher, mut size, mut piece) = (blake3::Hasher::new(), 0, vec![0; PIECE]);
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => return Ok((size, hasher.finalize().to_hex().to_string())),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.context("reading")?,
        };
        hasher.update(&piece[..read]);
        to.write_all(&piece[..read]).context("writing")?;
        size += read as u64;
    }
}

/// What became of looking through a backup.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    pub files: u64,
    /// In bytes.
    pub size: u64,
    /// The moment that it shows.
    pub time: String,
    /// What is wrong with each file that is not as it was.
    pub damaged: Vec<String>,
}

/// Keeps a backup as it is while it is read: the next would delete what is in it alone. A copy of one may have no lock, or lie where
/// there are none; then nobody changes it either.
pub(super) fn hold_still(backup: &Path) -> Result<Option<File>> {
    let path = backup.join(LOCK);
    let lock = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        lock => lock.with_context(|| format!("opening {}", path.display()))?,
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => bail!("a backup is being made in {}: try again when it is done", backup.display()),
        Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => Ok(None),
        Err(TryLockError::Error(error)) => bail!("locking {}: {error}", path.display()),
    }
}

/// Reads all of a backup, and says what is not as it was copied.
pub fn verify(backup: &Path, tell: &mut dyn FnMut(Progress)) -> Result<Verified> {
    let _still = hold_still(backup)?;
    let list = List::require(backup)?;
    let mut verified = Verified { files: list.head.files, size: list.head.size, time: list.head.time, ..Verified::default() };
    let mut progress = Progress { of_files: verified.files, of_size: verified.size, ..Progress::default() };
    let mut sound = BTreeSet::new();
    for entry in &list.entries {
        // One object may be several files.
        if !sound.contains(&entry.hash) {
            match entry.read(backup, &mut std::io::sink()) {
                Ok(()) => drop(sound.insert(&entry.hash)),
                Err(wrong) => verified.damaged.push(format!("{wrong:#}")),
            }
        }
        progress.files += 1;
        progress.size += entry.size;
        tell(progress);
    }
    Ok(verified)
}

/// A backup as it is made.
pub(super) struct Folder {
    path: PathBuf,
    store: String,
    /// By name: what the backup before has, and one that was not finished.
    known: BTreeMap<String, Entry>,
    entries: BTreeMap<String, Entry>,
    /// Copied, and not on the disk yet.
    fresh: Vec<(NamedTempFile, Entry)>,
    unfinished: File,
    _lock: File,
}

impl Folder {
    /// For a backup of this store: nothing else may lie there but backups of it.
    pub(super) fn open(path: &Path, store: &str) -> Result<Folder> {
        let doing = || format!("making the backup's folder {}", path.display());
        let is_new = refuse_others(path)?;
        make_private(path).with_context(doing)?;
        if is_new {
            std::fs::set_permissions(path, Permissions::from_mode(0o700)).with_context(doing)?;
        }
        let lock = File::options().create(true).append(true).open(path.join(LOCK)).with_context(doing)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                anyhow!("another backup is being made in {}, or somebody reads it: try again when that is done", path.display())
            }
            TryLockError::Error(error) => anyhow!("locking {}: {error}", path.display()),
        })?;
        let mut known = BTreeMap::new();
        if let Some(list) = List::read(path)? {
            if list.head.store != store {
                bail!(
                    "{} holds a backup of another store, of {}: give a folder of its own to each; if that one is of no more use, delete it",
                    path.display(),
                    list.head.time
                );
            }
            known.extend(list.entries.into_iter().map(|entry| (entry.name.clone(), entry)));
        }
        make_private(&path.join(OBJECTS)).with_context(doing)?;
        clear_temporary(&path.join(OBJECTS)).with_context(doing)?;
        let unfinished = path.join(UNFINISHED);
        known.extend(read_unfinished(&unfinished)?);
        let unfinished = File::options().create(true).append(true).open(&unfinished).with_context(doing)?;
        let (entries, fresh) = (BTreeMap::new(), Vec::new());
        Ok(Folder { path: path.to_owned(), store: store.to_owned(), known, entries, fresh, unfinished, _lock: lock })
    }

    /// Whether a file is there as it is now; then it is part of this backup.
    pub(super) fn has(&mut self, name: &str, size: u64, modified: Micros) -> bool {
        let known = self.known.get(name).filter(|entry| entry.size == size && entry.modified == modified);
        let there = known.filter(|entry| entry.object(&self.path).metadata().is_ok_and(|object| object.len() == size));
        let Some(entry) = there else { return false };
        self.entries.insert(name.to_owned(), entry.clone());
        true
    }

    /// Copies a file; says how long it is, and whether its bytes were new.
    pub(super) fn put(&mut self, name: String, modified: Micros, from: &mut dyn Read) -> Result<(u64, bool)> {
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(self.path.join(OBJECTS)).context("writing")?;
        let (size, hash) = copy_hashed(from, &mut file)?;
        let entry = Entry { name, size, modified, hash };
        entry.check()?;
        let object = entry.object(&self.path);
        let is_new = !object.metadata().is_ok_and(|object| object.len() == size);
        self.entries.insert(entry.name.clone(), entry.clone());
        self.fresh.push((file, entry));
        if self.fresh.len() >= TOGETHER || self.fresh.iter().map(|(_, entry)| entry.size).sum::<u64>() >= TOGETHER_SIZE {
            self.settle()?;
        }
        Ok((size, is_new))
    }

    /// Sees what was copied onto the disk, then gives it its name, then remembers it.
    fn settle(&mut self) -> Result<()> {
        let fresh = std::mem::take(&mut self.fresh);
        in_parallel(&fresh, |(file, _)| file.as_file().sync_all().context("writing to the disk"))?;
        let mut lines = String::new();
        for (file, entry) in fresh {
            let object = entry.object(&self.path);
            make_private(object.parent().unwrap_or(&self.path))?;
            file.persist(&object).with_context(|| format!("writing {}", object.display()))?;
            lines += &json_line(&entry)?;
        }
        self.unfinished.write_all(lines.as_bytes()).and_then(|()| self.unfinished.sync_data()).context("writing to the disk")
    }

    /// Makes the backup a whole one, and deletes what it has no use for.
    pub(super) fn finish(mut self, format: u32, program: &str, now: Micros) -> Result<Head> {
        self.settle()?;
        let doing = || format!("writing {}", self.path.join(LIST).display());
        let mut folders = vec![self.path.join(OBJECTS)];
        for entry in std::fs::read_dir(self.path.join(OBJECTS)).with_context(doing)? {
            folders.push(entry.with_context(doing)?.path());
        }
        in_parallel(&folders, |folder| sync_path(folder))?;
        let (files, size) = (self.entries.len() as u64, self.entries.values().map(|entry| entry.size).sum());
        let (time, program, store) = (time::iso(now), program.to_owned(), self.store.clone());
        let head = Head { waglan_backup: VERSION, format, store, time, program, files, size };
        let mut file = NamedTempFile::with_prefix_in(TEMPORARY, &self.path).with_context(doing)?;
        let mut to = BufWriter::new(file.as_file_mut());
        List::write(&head, &self.entries, &mut to).and_then(|()| Ok(to.flush()?)).with_context(doing)?;
        drop(to);
        file.as_file().sync_all().with_context(doing)?;
        file.persist(self.path.join(LIST)).with_context(doing)?;
        sync_folder(&self.path).with_context(doing)?;
        self.prune().with_context(|| format!("deleting what no backup in {} has a use for", self.path.display()))?;
        Ok(head)
    }

    fn prune(&self) -> Result<()> {
        let named: BTreeSet<&str> = self.entries.values().map(|entry| entry.hash.as_str()).collect();
        for folder in std::fs::read_dir(self.path.join(OBJECTS))? {
            for object in std::fs::read_dir(folder?.path())? {
                let object = object?;
                if !object.file_name().to_str().is_some_and(|name| named.contains(name)) {
                    std::fs::remove_file(object.path())?;
                }
            }
        }
        Ok(std::fs::remove_file(self.path.join(UNFINISHED))?)
    }
}

/// What a backup that was not finished has copied. Its last line may be cut off.
fn read_unfinished(path: &Path) -> Result<Vec<(String, Entry)>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    let entries = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Entry>(line).ok());
    Ok(entries.filter(|entry| entry.check().is_ok()).map(|entry| (entry.name.clone(), entry)).collect())
}

/// Refuses a folder in which other things lie; true if it is empty, or not there.
fn refuse_others(path: &Path) -> Result<bool> {
    let listed = match std::fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        listed => listed.with_context(|| format!("looking into {}", path.display()))?,
    };
    let mut is_empty = true;
    for entry in listed {
        let name = entry?.file_name();
        match name.to_str() {
            Some("lost+found") => continue,
            Some(LIST | UNFINISHED | OBJECTS | LOCK) => {}
            Some(name) if name.starts_with(TEMPORARY) => {}
            _ => bail!("{} holds other things, such as {}: give an empty folder, or one with a backup", path.display(), name.display()),
        }
        is_empty = false;
    }
    Ok(is_empty)
}

/// Deletes what somebody who was killed was just copying.
pub(super) fn clear_temporary(folder: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A folder that is its owner's alone.
pub(super) fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}
