//! A store made of its backup.
//!
//! What says that it is a store, the object `format`, says first that it is half of one, and only last that it is whole: whatever
//! happens in between, no program takes it for a store, and the same backup may be restored on.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use bytes::Bytes;

use super::folder::{Entry, List, clear_temporary, copy_hashed, hold_still, make_private};
use super::{ELSEWHERE, HOME, Progress, STORE};
use crate::place::{Place, TEMPORARY, in_parallel, make_folder_of, sync_path, temporary_in};
use crate::store::{FORMAT, HALF, format_text};

/// What restoring needs to know.
#[derive(Clone, Debug)]
pub struct Restoring {
    pub from: PathBuf,
    /// A folder, or an `s3://` address.
    pub location: String,
    /// Keys and values of `object_store` for buckets, such as `aws_endpoint`.
    pub options: Vec<(String, String)>,
    /// The folder of all that is not the store's; it may be the store's own.
    pub home: PathBuf,
}

/// What was restored.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    pub files: u64,
    /// In bytes.
    pub size: u64,
    /// The moment that the backup shows.
    pub time: String,
    /// Whether there was a part of it already.
    pub went_on: bool,
    /// Files that lay outside of the folder: where they were, and where they are now.
    pub elsewhere: Vec<(PathBuf, PathBuf)>,
}

/// Files that are seen onto the disk together.
const TOGETHER: usize = 64;

/// Makes a store of its backup, where nothing is yet, or a part of it.
pub async fn restore(restoring: &Restoring, tell: &mut (dyn FnMut(Progress) + Send)) -> Result<Restored> {
    let Restoring { from, location, options, home } = restoring;
    let _still = hold_still(from)?;
    let list = List::require(from)?;
    let place = Place::open(location, options)?;
    for folder in place.folder().into_iter().chain([home.as_path()]) {
        super::refuse_nested(from, folder)?;
        make_private(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    let half = format!("{HALF}{}\n", list.id);
    let went_on = match place.read("format").await? {
        Some(format) if format == half => true,
        Some(format) if format.starts_with(HALF.as_bytes()) => {
            bail!("{location} holds a part of another backup, whose restoring was cut short: restore that one, or empty it")
        }
        Some(_) => bail!("there is a store at {location}: a backup is restored where nothing is"),
        None => {
            require_empty(&place, home).await?;
            place.put("format", Bytes::from(half)).await?;
            false
        }
    };
    let (files, size) = (list.head.files, list.head.size);
    let mut restored = Restored { files, size, time: list.head.time, went_on, elsewhere: Vec::new() };
    tokio::task::block_in_place(|| {
        if went_on {
            clear_unfinished(&list.entries, &place, home)?;
        }
        let mut progress = Progress { of_files: files, of_size: size, ..Progress::default() };
        for together in list.entries.chunks(TOGETHER) {
            let mut fresh = Vec::new();
            for entry in together {
                let to = Target::of(entry, &place, home)?;
                if let (Some(was), Target::File(is)) = (entry.name.strip_prefix(ELSEWHERE), &to) {
                    restored.elsewhere.push((Path::new("/").join(was), is.clone()));
                }
                if !(went_on && to.is_there(entry)) {
                    fresh.extend(to.fill(entry, from, &place)?);
                }
                progress.files += 1;
                progress.size += entry.size;
                tell(progress);
            }
            place_files(fresh)?;
        }
        anyhow::Ok(())
    })?;
    place.put("format", Bytes::from(format_text(FORMAT))).await?;
    Ok(restored)
}

/// Deletes what a restoring that was cut short was just writing.
fn clear_unfinished(entries: &[Entry], place: &Place, home: &Path) -> Result<()> {
    let mut folders = BTreeSet::new();
    for entry in entries {
        if let Target::File(path) = Target::of(entry, place, home)? {
            folders.extend(path.parent().map(Path::to_path_buf));
        }
    }
    let unfinished = |folder: &PathBuf| clear_temporary(folder).with_context(|| format!("looking into {}", folder.display()));
    folders.iter().filter(|folder| folder.is_dir()).try_for_each(unfinished)
}

async fn require_empty(place: &Place, home: &Path) -> Result<()> {
    if place.folder().is_none() && !place.list("").await?.is_empty() {
        bail!("there are other things at {}: a backup is restored where nothing is", place.url());
    }
    for entry in std::fs::read_dir(home).with_context(|| format!("looking into {}", home.display()))? {
        let name = entry?.file_name();
        if name != "lost+found" {
            bail!("{} is not empty, there is {} in it: a backup is restored where nothing is", home.display(), name.display());
        }
    }
    Ok(())
}

/// Where a file belongs.
enum Target {
    Object(String),
    /// An object of a store in a folder, or what lies beside it.
    File(PathBuf),
}

/// A file that waits for the disk, and then for its name.
struct Fresh {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Target {
    fn of(entry: &Entry, place: &Place, home: &Path) -> Result<Target> {
        if let Some(name) = entry.name.strip_prefix(STORE) {
            return Ok(place.file(name).map_or_else(|| Target::Object(name.to_owned()), Target::File));
        }
        match entry.name.strip_prefix(HOME) {
            Some(name) => Ok(Target::File(home.join(name))),
            None => Ok(Target::File(home.join(&entry.name))),
        }
    }

    /// Whether a restoring that was cut short has put it there, whole.
    fn is_there(&self, entry: &Entry) -> bool {
        let Target::File(path) = self else { return false };
        let same = |mut file: File| copy_hashed(&mut file, &mut std::io::sink()).is_ok_and(|(_, hash)| hash == entry.hash);
        File::open(path).is_ok_and(same)
    }

    /// Writes it, beside its place where that is a file.
    fn fill(self, entry: &Entry, backup: &Path, place: &Place) -> Result<Option<Fresh>> {
        match self {
            Target::Object(name) => {
                let mut sink = place.create(&name)?;
                entry.read(backup, &mut sink)?;
                sink.finish().map(|()| None)
            }
            Target::File(path) => {
                let doing = || format!("writing {}", path.display());
                let folder = make_folder_of(&path).with_context(doing)?;
                // What is beside the store may hold secrets: it is its owner's, who may open it to others.
                let mut file = match entry.name.starts_with(STORE) {
                    true => temporary_in(folder),
                    false => tempfile::NamedTempFile::with_prefix_in(TEMPORARY, folder),
                }
                .with_context(doing)?;
                entry.read(backup, &mut file)?;
                if let (Ok(micros), true) = (u64::try_from(entry.modified), entry.modified > 0) {
                    file.as_file().set_modified(UNIX_EPOCH + Duration::from_micros(micros)).with_context(doing)?;
                }
                Ok(Some(Fresh { file, path }))
            }
        }
    }
}

/// Sees files onto the disk, and then gives them their names.
fn place_files(fresh: Vec<Fresh>) -> Result<()> {
    in_parallel(&fresh, |fresh| fresh.file.as_file().sync_all().with_context(|| format!("writing {}", fresh.path.display())))?;
    let mut folders = BTreeSet::new();
    for Fresh { file, path } in fresh {
        folders.extend(path.parent().map(Path::to_path_buf));
        file.persist(&path).with_context(|| format!("writing {}", path.display()))?;
    }
    let folders: Vec<PathBuf> = folders.into_iter().collect();
    in_parallel(&folders, |folder| sync_path(folder))
}
