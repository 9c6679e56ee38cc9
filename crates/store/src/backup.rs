//! A copy of everything at rest, as it was at one moment, while others go on working; and the way back.
//!
//! What is copied must be what a process that is killed could have left: then the next start finishes what was under way, and
//! nothing is lost or counts twice. For that it is enough that all of it was there at one moment. Most of it never changes under its
//! name and is deleted by upkeep alone, which waits until the copy is made ([`crate::Work::Upkeep`]); so only what moves must be
//! caught:
//!
//! - The tables' versions. They are read, then read again: if none has moved in between, all of them were so together, at any time
//!   between both. Copied are exactly the files that such a version names, and the log up to it.
//! - Arrivals, what sources remember, and what was sent to them and is not stored yet. They are caught between the two readings,
//!   in memory or by an open file. So a delivery whose events are in the copy has its row or its arrival there; what a source takes
//!   for stored is stored; and what was promised to a sender is there in the one form or the other.
//!
//! Everything else is copied after that moment: reports and enrichment tables are put before anything names them, so all that are
//! named are there, and one that is named by nobody does no harm. Of the audit trail there may be more than was done.
//!
//! In a bucket there are no locks: there an upkeep at the same time can take away what is about to be copied. Then the copy fails
//! and says so, and goes on when it is asked for again.

mod folder;
mod restore;

use std::fs::File;
use std::io::{Cursor, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use event::time::Micros;
use futures::future::try_join_all;

use self::folder::Folder;
use crate::erase::BEGUN;
use crate::events::pause;
use crate::place::{Listed, Place, is_unfinished};
use crate::reports::reader;
use crate::retain::EXPIRED;
use crate::store::{FORMAT, Store};
use crate::table::{Table, Version};
use crate::work::AtWork;

pub use self::folder::{Verified, verify};
pub use self::restore::{Restored, Restoring, restore};

/// What is copied along with the store.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// The folder of all that is not the store's; it may be the store's own.
    pub home: Option<PathBuf>,
    /// The name of the folder in it where sources keep what they remember.
    pub sources: &'static str,
    /// Files and folders that may lie elsewhere.
    pub elsewhere: Vec<PathBuf>,
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub files: u64,
    pub of_files: u64,
    /// In bytes.
    pub size: u64,
    pub of_size: u64,
}

/// What a backup holds, and what of it was new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    pub files: u64,
    /// In bytes.
    pub size: u64,
    pub new_files: u64,
    pub new_size: u64,
}

/// So often it is tried to find the tables at rest for as long as reading their versions takes.
const TRIES: u32 = 500;

/// A file of sources that is longer is held open, not read, in bytes.
const READ_AT_ONCE: u64 = 64 << 10;

/// How the names of files end that a source has put aside.
const PUT_ASIDE: &str = "refused";

/// What a backup's names begin with: the store's objects, what lies beside them, and what lay elsewhere.
const STORE: &str = "store/";
const HOME: &str = "home/";
const ELSEWHERE: &str = "elsewhere/";

/// Something to copy.
struct Item {
    name: String,
    size: u64,
    modified: Micros,
    from: From,
}

/// Where its bytes are.
enum From {
    /// An object of the store, whose size is known.
    Object(String),
    File(PathBuf),
    /// As it was at the moment, whatever has become of it.
    Held(Bytes),
    /// Up to a length: who has it open reads on when its name is gone.
    Open(File, u64),
}

/// The store at one moment.
struct Moment {
    tables: Vec<Frozen>,
    held: Vec<Item>,
}

/// A table's version, and which of its checkpoints was in force.
struct Frozen {
    table: Arc<Table>,
    version: Arc<Version>,
    hint: Option<Bytes>,
}

impl Store {
    /// Copies everything into a folder, which may hold an older copy of this store: what has not changed since is not copied again,
    /// and the older one can be restored until this one is whole.
    pub async fn back_up(
        &self,
        into: &Path,
        beside: &Beside,
        _at_work: &AtWork,
        program: &str,
        now: Micros,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<BackedUp> {
        let home = beside.home.as_deref().map(resolved).transpose()?;
        let mut elsewhere = beside.elsewhere.iter().map(|path| resolved(path)).collect::<Result<Vec<_>>>()?;
        elsewhere.retain(|path| !home.as_ref().is_some_and(|home| path.starts_with(home)));
        let beside = &Beside { home, elsewhere, ..*beside };
        for path in self.place.folder().into_iter().chain(beside.home.as_deref()).chain(beside.elsewhere.iter().map(PathBuf::as_path)) {
            refuse_nested(into, path)?;
        }
        let moment = self.moment(beside).await?;
        let id = moment.tables.iter().find_map(|frozen| frozen.version.id()).context("the table of events has no name of its own")?;
        let items = self.items(moment, beside).await?;
        tokio::task::block_in_place(|| {
            let mut folder = Folder::open(into, &id)?;
            let mut progress = Progress { of_files: items.len() as u64, ..Progress::default() };
            progress.of_size = items.iter().map(|item| item.size).sum();
            let mut done = BackedUp::default();
            for item in items {
                let (name, size) = (item.name.clone(), item.size);
                let new = copy(&self.place, item, &mut folder).with_context(|| format!("copying {name}"))?;
                if let Some(new) = new {
                    done.new_files += 1;
                    done.new_size += new;
                }
                progress.files += 1;
                progress.size += size;
                tell(progress);
            }
            let whole = folder.finish(FORMAT, program, now)?;
            Ok(BackedUp { files: whole.files, size: whole.size, ..done })
        })
    }

    /// Catches what moves.
    async fn moment(&self, beside: &Beside) -> Result<Moment> {
        let sources = beside.home.as_ref().map(|home| (home.join(beside.sources), format!("{HOME}{}", beside.sources)));
        for attempt in 0..TRIES {
            let before = self.frozen().await?;
            let mut held = self.held_arrivals().await?;
            let caught = sources.as_ref().map_or(Ok(Some(Vec::new())), |(folder, name)| hold(folder, name))?;
            let after = self.frozen().await?;
            let same = |(one, other): (&Frozen, &Frozen)| one.version.number == other.version.number && one.hint == other.hint;
            if let Some(caught) = caught
                && before.iter().zip(&after).all(same)
            {
                held.extend(caught);
                return Ok(Moment { tables: after, held });
            }
            tokio::time::sleep(pause(attempt)).await;
        }
        bail!("the store was changed so often that it was never at rest: nothing was copied; try again when less is taken in")
    }

    async fn frozen(&self) -> Result<Vec<Frozen>> {
        let freeze = async |table: &Arc<Table>| {
            // First the checkpoint: then it is of this version or an older one.
            let hint = table.hint().await?;
            anyhow::Ok(Frozen { table: table.clone(), version: table.latest().await?, hint })
        };
        try_join_all(self.tables().map(freeze)).await
    }

    async fn held_arrivals(&self) -> Result<Vec<Item>> {
        let mut held = Vec::new();
        for Listed { name, modified, .. } in self.place.list("arrivals").await?.into_iter().filter(|file| file.name.ends_with(".json")) {
            // One that is gone is recorded, and if it came to be so in this moment, the versions have moved.
            if let Some(bytes) = self.place.read(&name).await? {
                held.push(Item::held(format!("{STORE}{name}"), modified, bytes));
            }
        }
        Ok(held)
    }

    /// All that is to be copied.
    async fn items(&self, moment: Moment, beside: &Beside) -> Result<Vec<Item>> {
        let mut items = moment.held;
        for Frozen { table, version, hint } in moment.tables {
            let table_name = table.definition.name;
            for log in table.log_up_to(&version, hint.as_ref()).await? {
                items.push(Item::object(format!("{table_name}/{}", log.name), log.size, log.modified));
            }
            items.extend(hint.map(|hint| Item::held(format!("{STORE}{table_name}/{}", crate::table::HINT), 0, hint)));
            // A file is written once: when, is of no matter.
            items.extend(version.files.values().map(|file| Item::object(format!("{table_name}/{}", file.path), file.size, 0)));
        }
        for folder in ["reports", "tables"] {
            let listed = self.place.list(folder).await?.into_iter();
            let whole = listed.filter(|object| !is_unfinished(object.name.rsplit('/').next().unwrap_or_default()));
            items.extend(whole.map(|object| Item::object(object.name, object.size, object.modified)));
        }
        for name in [EXPIRED, BEGUN] {
            items.extend(self.place.look(name).await?.map(|object| Item::object(object.name, object.size, object.modified)));
        }
        if let Some(home) = &beside.home {
            let is_stores = self.place.folder().map(resolved).transpose()?.as_ref() == Some(home);
            let own = self.own_names();
            let others = |name: &str| name != beside.sources && !(is_stores && own.contains(&name));
            for entry in entries(home)? {
                if others(&entry) {
                    walk(&home.join(&entry), &format!("{HOME}{entry}"), 0, &mut items)?;
                }
            }
        }
        for path in &beside.elsewhere {
            let name = path.strip_prefix("/").unwrap_or(path);
            let name = name.to_str().ok_or_else(|| anyhow!("{} is no name in UTF-8", path.display()))?;
            walk(path, &format!("{ELSEWHERE}{name}"), 0, &mut items)?;
        }
        Ok(items)
    }
}

impl Item {
    fn object(name: String, size: u64, modified: Micros) -> Item {
        Item { name: format!("{STORE}{name}"), size, modified, from: From::Object(name) }
    }

    fn held(name: String, modified: Micros, bytes: Bytes) -> Item {
        Item { name, size: bytes.len() as u64, modified, from: From::Held(bytes) }
    }
}

/// Copies one thing, unless it is there; says how many bytes were new. What goes away from beside the store meanwhile is no loss.
fn copy(place: &Place, item: Item, folder: &mut Folder) -> Result<Option<u64>> {
    let Item { name, size, modified, from } = item;
    if !matches!(from, From::Held(_) | From::Open(..)) && folder.has(&name, size, modified) {
        return Ok(None);
    }
    let (mut bytes, exactly): (Box<dyn Read + Send>, _) = match from {
        From::Object(object) => {
            let found = reader(place, &object)?.ok_or_else(|| anyhow!("it is not there any more: somebody deletes files of the store"))?;
            (found, true)
        }
        From::File(path) => match File::open(&path) {
            Ok(file) => (Box::new(file), false),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        },
        From::Held(bytes) => (Box::new(Cursor::new(bytes)), true),
        From::Open(file, length) => (Box::new(file.take(length)), true),
    };
    let (copied, is_new) = folder.put(name, modified, &mut bytes)?;
    if exactly && copied != size {
        bail!("it has {copied} bytes, and should have {size}: the store is damaged there");
    }
    Ok(is_new.then_some(copied))
}

/// The files under a folder of sources, as they are now; none if they come and go meanwhile. Those that may change are held.
fn hold(folder: &Path, name: &str) -> Result<Option<Vec<Item>>> {
    let mut listed = Vec::new();
    walk(folder, name, 0, &mut listed)?;
    let mut held = Vec::new();
    for Item { name, size, modified, from } in &listed {
        let From::File(path) = from else { continue };
        // They may be many, and only an erasure changes them, which waits.
        if path.extension().is_some_and(|extension| extension == PUT_ASIDE) {
            held.push(Item { name: name.clone(), size: *size, modified: *modified, from: From::File(path.clone()) });
            continue;
        }
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, mut file) = match opened {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        let (size, from) = if length > READ_AT_ONCE {
            (length, From::Open(file, length))
        } else {
            let mut bytes = Vec::new();
            Read::by_ref(&mut file).take(length).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
            (bytes.len() as u64, From::Held(bytes.into()))
        };
        held.push(Item { name: name.clone(), size, modified: *modified, from });
    }
    // What was renamed while the folder was listed may have been missed under both its names.
    let mut again = Vec::new();
    walk(folder, name, 0, &mut again)?;
    let names = |items: &[Item]| items.iter().map(|item| item.name.clone()).collect::<Vec<_>>();
    Ok((names(&listed) == names(&again)).then_some(held))
}

/// Folders in each other that a home has at most: links may go round in circles.
const DEEP: usize = 32;

/// All files at a path, which may be a file itself, in the order of their names.
fn walk(path: &Path, name: &str, depth: usize, into: &mut Vec<Item>) -> Result<()> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("looking at {}", path.display())),
    };
    if metadata.is_dir() {
        if depth == DEEP {
            bail!("{} lies {DEEP} folders deep, perhaps in a circle of links: it cannot be copied", path.display());
        }
        return entries(path)?.into_iter().try_for_each(|entry| walk(&path.join(&entry), &format!("{name}/{entry}"), depth + 1, into));
    }
    if metadata.is_file() {
        let modified = metadata.mtime() * event::time::SECOND + metadata.mtime_nsec() / 1000;
        into.push(Item { name: name.to_owned(), size: metadata.len(), modified, from: From::File(path.to_owned()) });
    }
    Ok(())
}

/// The names in a folder, sorted, without those of files that are not whole yet.
fn entries(folder: &Path) -> Result<Vec<String>> {
    let doing = || format!("looking into {}", folder.display());
    let mut names = Vec::new();
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(error).with_context(doing),
    };
    for entry in listed {
        let name = entry.with_context(doing)?.file_name();
        let name =
            name.into_string().map_err(|name| anyhow!("{} has {} in it, which is no name in UTF-8", folder.display(), name.display()))?;
        // What a file system makes at its root can be read by nobody else.
        if name != "lost+found" && !is_unfinished(&name) && !name.starts_with(".tmp") && !name.ends_with(".partial") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A backup in what it is of would hold itself; and the other way round it would be taken for a file beside it.
fn refuse_nested(backup: &Path, data: &Path) -> Result<()> {
    let (backup, data) = (resolved(backup)?, resolved(data)?);
    if backup.starts_with(&data) || data.starts_with(&backup) {
        bail!("{} and {} lie in each other: give a folder outside of what is copied", backup.display(), data.display());
    }
    Ok(())
}

/// The path without links, as far as it is there, and without `..`.
fn resolved(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
    for above in path.ancestors() {
        if let Ok(mut real) = above.canonicalize() {
            for part in path.strip_prefix(above).unwrap_or(Path::new("")).components() {
                match part {
                    Component::ParentDir => drop(real.pop()),
                    part => real.push(part),
                }
            }
            return Ok(real);
        }
    }
    Ok(path)
}
