//! Files that somebody puts into a folder. One that was taken in is moved, deleted or left, as the settings say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use event::time::Micros;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Found, Make, Source};
use crate::accept::Input;
use crate::run::Collecting;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    path: PathBuf,
    /// Which files are meant, by a pattern on their names; all that do not look unfinished if not given.
    #[serde(default)]
    files: Option<String>,
    #[serde(default)]
    after: After,
}

/// What becomes of a file that was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum After {
    /// It goes into the folder `taken` beside it; one that was refused goes into `refused`.
    #[default]
    Move,
    Delete,
    /// It stays, and is remembered.
    Keep,
}

#[derive(Debug)]
struct Folder {
    settings: Settings,
    files: Option<regex::Regex>,
}

impl Settings {
    /// Where files lie that were taken in, or refused.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Make for Settings {
    fn make(&self, _feed: Option<&feed::Feed>) -> Result<Box<dyn Source>> {
        let files = self.files.as_deref().map(regex::Regex::new).transpose().context("files")?;
        Ok(Box::new(Folder { settings: self.clone(), files }))
    }
}

/// Files that stay, with what tells that they are still the same: length, and the time of the last change.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    files: BTreeMap<String, (u64, Micros)>,
}

/// Whoever writes a file may still be at it, so long after the last change.
const SETTLED: Duration = Duration::from_secs(5);

/// Files that are handed over together.
const TOGETHER: usize = 64;

impl Source for Folder {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

impl Folder {
    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let mut seen: Seen = at_work.remembered()?;
        let found = self.files(&mut seen).with_context(|| format!("looking into {}", self.settings.path.display()))?;
        for files in found.chunks(TOGETHER) {
            let mut waiting = Vec::new();
            for file in files {
                let found =
                    Found { at: Some(file.changed), origin: file.path.display().to_string(), input: Input::File(file.path.clone()) };
                waiting.push((file, at_work.hand_over(found).await?));
            }
            for (file, receipt) in waiting {
                let told = receipt.told().await?;
                match self.settings.after {
                    After::Keep => drop(seen.files.insert(file.name.clone(), (file.length, file.changed))),
                    After::Move if told.is_refused() => self.put_aside(file, "refused")?,
                    After::Move => self.put_aside(file, "taken")?,
                    // What was refused is not kept anywhere else.
                    After::Delete if told.is_refused() => self.put_aside(file, "refused")?,
                    After::Delete => std::fs::remove_file(&file.path).with_context(|| format!("deleting {}", file.path.display()))?,
                }
            }
            if self.settings.after == After::Keep {
                at_work.remember(&seen)?;
            }
        }
        Ok(())
    }

    /// The files that are new, the oldest first. Those that are gone are forgotten.
    fn files(&self, seen: &mut Seen) -> Result<Vec<File>> {
        let (mut found, mut there) = (Vec::new(), BTreeMap::new());
        for entry in std::fs::read_dir(&self.settings.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // Of a link it is the file that counts; one that is gone by now is nobody's.
            let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
            let is_meant = self.files.as_ref().map_or_else(|| looks_finished(&name), |files| files.is_match(&name));
            if !metadata.is_file() || !is_meant {
                continue;
            }
            let modified = metadata.modified()?;
            let is_settled = modified.elapsed().is_ok_and(|since| since >= SETTLED);
            let changed = modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros() as Micros);
            let known = seen.files.get(&name).filter(|known| **known == (metadata.len(), changed));
            match known {
                Some(known) => drop(there.insert(name, *known)),
                None if is_settled => found.push(File { path: entry.path(), name, length: metadata.len(), changed }),
                None => {}
            }
        }
        seen.files = there;
        found.sort_by(|one, other| (one.changed, &one.name).cmp(&(other.changed, &other.name)));
        Ok(found)
    }

    /// Moves a file into a folder beside it, under a name that nothing there has.
    fn put_aside(&self, file: &File, folder: &str) -> Result<()> {
        let folder = self.settings.path.join(folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let to = free_name(&folder, &file.name)?;
        std::fs::rename(&file.path, &to).with_context(|| format!("moving {} to {}", file.path.display(), to.display()))
    }
}

struct File {
    path: PathBuf,
    name: String,
    length: u64,
    changed: Micros,
}

/// Whether a file's name is not one that programs give to what they are still writing.
fn looks_finished(name: &str) -> bool {
    !name.starts_with('.')
        && !name.ends_with('~')
        && ![".part", ".tmp", ".partial", ".crdownload", ".filepart"].iter().any(|end| name.ends_with(end))
}

fn free_name(folder: &Path, name: &str) -> Result<PathBuf> {
    let names = std::iter::once(name.to_owned()).chain((2..10_000).map(|number| format!("{number}-{name}")));
    for name in names {
        let path = folder.join(name);
        if !path.exists() {
            return Ok(path);
        }
    }
    bail!("{} holds ten thousand files called {name}", folder.display())
}
