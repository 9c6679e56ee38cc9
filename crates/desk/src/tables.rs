//! Enrichment tables of the data folder, kept by date: `geo/NAME/DAY.mmdb`, `networks/NAME/DAY.toml`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, Weak};

use anyhow::{Context, Result, anyhow, bail};
use enrich::{Dated, Kind, Listed, Part};
use event::time::{self, Micros};
use memmap2::Mmap;
use pipeline::KeptTables;

use crate::actor::{Action, Actor};
use crate::configuration::Configuration;
use crate::desk::Desk;

/// The folder of tables of a kind.
fn folder_of(kind: Kind) -> &'static str {
    if kind == Kind::Addresses { "geo" } else { kind.name() }
}

fn extension(kind: Kind) -> &'static str {
    match kind {
        Kind::Addresses => "mmdb",
        Kind::Warnings => "json",
        _ => "toml",
    }
}

/// Tables that the program has by itself.
#[derive(Clone, Debug)]
pub struct Bundled {
    /// Canonical names of malware.
    pub malware_aliases: String,
    /// A warning list of addresses that nobody can have.
    pub impossible_addresses: String,
}

/// What is not counted unless the configuration says more.
const SUPPRESSED: &str = "[[rule]]\nlist = \"Impossible addresses\"\n";

/// A table that was put in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub name: String,
    /// From this day on it is in force.
    pub day: i32,
    pub hash: String,
    pub path: PathBuf,
}

/// All tables: the configuration's, the program's, and those of the data folder.
pub(crate) fn load(configuration: &Configuration, folder: Option<&Path>, bundled: &Bundled) -> Result<Dated> {
    let said = |wrong: String| anyhow!(wrong);
    let mut parts = Vec::new();
    for kind in Kind::ALL {
        for (name, day, path) in folder.map_or_else(|| Ok(Vec::new()), |folder| files(&folder.join(folder_of(kind)), kind))? {
            let reading = || format!("reading {}", path.display());
            let part = match kind {
                Kind::Addresses => {
                    let (hash, bytes) = map(&path).with_context(reading)?;
                    Part::addresses_of(&name, hash, bytes)
                }
                _ => Part::of(kind, &name, day, std::fs::read(&path).with_context(reading)?),
            };
            parts.push(part.map_err(said).with_context(reading)?);
        }
    }
    // The first table of a kind that knows an answer gives it: the data folder's come before the program's.
    parts.push(Part::aliases("bundled", 0, &bundled.malware_aliases).map_err(said)?);
    parts.push(Part::warnings("impossible", 0, &bundled.impossible_addresses).map_err(said)?);
    parts.push(Part::suppression("bundled", 0, SUPPRESSED).map_err(said)?);
    if !configuration.suppress.is_empty() {
        let rules = toml::to_string(&BTreeMap::from([("rule", &configuration.suppress)])).context("writing [[suppress]]")?;
        parts.push(Part::suppression("configuration", 0, &rules).map_err(said).context("[[suppress]] in the configuration")?);
    }
    if !configuration.scope.is_empty() {
        let scope = toml::to_string(&configuration.scope).context("writing the scope")?;
        parts.push(Part::scope("configuration", 0, &scope).map_err(said).context("[scope] in the configuration")?);
    }
    Ok(Dated::of(parts))
}

/// A file's bytes where the system keeps them: of a table as large as these, and there is one for each month, only what is looked
/// at comes into memory.
fn map(path: &Path) -> Result<(String, Mmap)> {
    let file = File::open(path)?;
    Ok((hash_of(path, &file)?, map_file(&file)?))
}

#[expect(unsafe_code, reason = "a table is replaced by another file (`write_whole`), never changed where it lies")]
fn map_file(file: &File) -> Result<Mmap> {
    // SAFETY: nobody writes to the file.
    Ok(unsafe { Mmap::map(file)? })
}

/// The name of a file's bytes. It is kept beside the file, with what tells that the file is still the same.
fn hash_of(path: &Path, mut file: &File) -> Result<String> {
    let metadata = file.metadata()?;
    let seen = format!("{} {}.{} {}", metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino());
    let beside = path.with_extension("hash");
    if let Ok(text) = std::fs::read_to_string(&beside)
        && let Some((hash, of)) = text.trim_end().split_once(' ')
        && of == seen
    {
        return Ok(hash.to_owned());
    }
    let hash = store::mark_of(&mut file)?.id;
    // Where it cannot be written, it is counted again next time.
    write_whole(&beside, format!("{hash} {seen}\n").as_bytes()).ok();
    Ok(hash)
}

/// The tables of one kind, each by name and day.
fn files(folder: &Path, kind: Kind) -> Result<Vec<(String, i32, PathBuf)>> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for name in std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let series = name?.path();
        if !series.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&series).with_context(|| format!("reading {}", series.display()))? {
            let path = file?.path();
            if path.extension().is_some_and(|found| found == extension(kind)) {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                let day = time::parse(&stem).map_err(|wrong| anyhow!("{}: its name is {}", path.display(), wrong.0))?;
                let name = series.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.push((name, time::day(day), path));
            }
        }
    }
    found.sort();
    Ok(found)
}

impl KeptTables for Desk {
    fn named(&self, name: &str) -> Result<Arc<Dated>> {
        if name == self.tables.name() {
            return Ok(self.tables.clone());
        }
        let list = self.list_of(name)?;
        let parts = list.lines().map(|line| {
            let listed = Listed::parse(line).with_context(|| format!("\"{line}\" names no table"))?;
            self.kept_part(&listed)
        });
        Ok(Arc::new(Dated::of(parts.collect::<Result<Vec<_>>>()?)))
    }
}

impl Desk {
    /// Keeps the tables that reports are read with from now on, and what their names stand for, so that it can be told later what
    /// an event was enriched with, and done again.
    pub(crate) fn keep_tables(&self) -> Result<()> {
        if self.store.open_table(self.tables.name()).is_ok() {
            return Ok(());
        }
        for part in self.tables.parts() {
            self.keep(&part.hash, part.bytes())?;
        }
        for (_, tables) in self.tables.sets() {
            self.keep(tables.name(), tables.list().as_bytes())?;
        }
        // Last: where it is, the others are too.
        self.keep(self.tables.name(), self.tables.list().as_bytes())
    }

    fn keep(&self, name: &str, mut bytes: &[u8]) -> Result<()> {
        if self.store.open_table(name).is_err() {
            self.store.put_table(&mut bytes)?;
        }
        Ok(())
    }

    /// A table as it was, wherever it is now.
    fn kept_part(&self, listed: &Listed) -> Result<Arc<Part>> {
        if let Some(part) = self.tables.parts().iter().find(|part| part.is(listed)) {
            return Ok(part.clone());
        }
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = fetched.get(listed).and_then(Weak::upgrade) {
            return Ok(part);
        }
        let mut kept = self.store.open_table(&listed.hash)?;
        // On disk and mapped: one of addresses is large.
        let temporary = self.configuration.temporary.as_deref().or(self.folder.as_deref());
        let mut file = temporary.map_or_else(tempfile::tempfile, tempfile::tempfile_in).context("making room for a kept table")?;
        std::io::copy(&mut kept, &mut file).context("fetching a kept table")?;
        let part = Arc::new(Part::listed(listed, map_file(&file)?).map_err(|wrong| anyhow!(wrong))?);
        fetched.insert(listed.clone(), Arc::downgrade(&part));
        Ok(part)
    }

    /// The tables that a name in the events' column `tables` stands for, each in a line: its kind, name, day and hash.
    pub fn table_set(&self, actor: &Actor, name: &str) -> Result<String> {
        actor.require(Action::Query)?;
        self.list_of(name)
    }

    fn list_of(&self, name: &str) -> Result<String> {
        const MOST: u64 = 1 << 20;
        let mut list = String::new();
        self.store.open_table(name)?.take(MOST).read_to_string(&mut list).context("reading a set of tables")?;
        Ok(list)
    }

    /// Puts a table in place, from its day on; for addresses the day is the one it was built. Tables of earlier days
    /// stay, since events of their time were enriched with them.
    pub fn install_table(&self, actor: &Actor, kind: Kind, name: &str, day: i32, input: &mut dyn Read, now: Micros) -> Result<Installed> {
        actor.require(Action::ChangeTables)?;
        let folder = self.tables_folder()?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            bail!("\"{name}\" is no name for a table: letters, digits, - and _");
        }
        const MOST: u64 = 4 << 30;
        let mut bytes = Vec::new();
        input.take(MOST).read_to_end(&mut bytes).context("reading the table")?;
        if bytes.len() as u64 == MOST {
            bail!("the table is larger than 4 GiB");
        }
        let bytes = feed::unpack::out_of_tar(bytes, extension(kind))?;
        let part = Part::of(kind, name, day, bytes.clone()).map_err(|wrong| anyhow!(wrong))?;
        let path = folder.join(folder_of(kind)).join(name).join(format!("{}.{}", time::day_name(part.day), extension(kind)));
        self.store.put_table(&mut bytes.as_slice())?;
        if std::fs::read(&path).ok().as_ref() != Some(&bytes) {
            self.audit.write(actor, Action::ChangeTables, &format!("{} {name} of {}", folder_of(kind), time::day_name(part.day)), now)?;
            write_whole(&path, &bytes)?;
        }
        Ok(Installed { name: name.to_owned(), day: part.day, hash: part.hash, path })
    }
}

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let folder = path.parent().context("a file is in a folder")?;
    std::fs::create_dir_all(folder).with_context(doing)?;
    let name = path.file_name().context("a file has a name")?.to_string_lossy();
    let temporary = folder.join(format!("{name}.{}.partial", std::process::id()));
    let mut file = File::create(&temporary).with_context(doing)?;
    file.write_all(bytes).with_context(doing)?;
    file.sync_all().with_context(doing)?;
    std::fs::rename(&temporary, path).with_context(doing)
}
