//! The desk itself: everything that is open while the program runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Context, Result, bail};
use enrich::{Dated, Listed, Part};
use feed::Catalog;
use feed::catalog::File;
use store::{Access, NameFunctions, Settings, Store};

use crate::alarms::Told;
use crate::audit::Audit;
use crate::configuration::Configuration;
use crate::tables::{self, Bundled};

/// What opening a desk needs to know.
#[derive(Clone, Debug)]
pub struct Opening {
    /// A folder, or an `s3://` address.
    pub location: String,
    pub access: Access,
    pub configuration: Configuration,
    /// The feeds' tables that the program knows by itself.
    pub feeds: Vec<File>,
    /// The enrichment tables that the program has by itself.
    pub bundled: Bundled,
    /// What the program calls itself.
    pub writer: String,
}

/// The folder where sources keep what they remember.
pub(crate) const SOURCES: &str = "sources";

#[derive(Debug)]
pub struct Desk {
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    /// The files of which the catalog is made.
    pub(crate) feed_files: Vec<File>,
    pub(crate) tables: Arc<Dated>,
    /// Tables of before that are in use, so that none is fetched twice.
    pub(crate) fetched: Mutex<HashMap<Listed, Weak<Part>>>,
    pub(crate) configuration: Configuration,
    pub(crate) audit: Audit,
    /// What alarms have told where that could not be written down.
    pub(crate) told_in_vain: tokio::sync::Mutex<Option<Told>>,
    pub(crate) writer: String,
    /// The data folder, or what stands in for it; none where a bucket is only read.
    pub(crate) folder: Option<PathBuf>,
}

impl Desk {
    pub async fn open(opening: Opening) -> Result<Desk> {
        let Opening { location, access, configuration, feeds, bundled, writer } = opening;
        let folder = folder_of(&location, &configuration);
        match &folder {
            _ if access == Access::Read => {}
            Some(folder) => make_private(folder).with_context(|| format!("making the folder {}", folder.display()))?,
            None => bail!("the data is in a bucket: state in the configuration which folder holds the rest, as home = \"/var/lib/waglan\""),
        }
        let settings = Settings {
            access,
            options: configuration.storage.clone().into_iter().collect(),
            memory_limit: usize::try_from(configuration.memory << 20).context("memory in the configuration")?,
            temporary: configuration.temporary.clone(),
            names: NameFunctions {
                registrable_domain: enrich::registrable_domain,
                public_suffix: enrich::public_suffix,
                top_level_domain: enrich::top_level_domain,
            },
        };
        let store = Store::open(&location, settings).await?;
        let feed_files = feed_files(feeds, &location, &configuration)?;
        let catalog = Catalog::read(&feed_files);
        let tables = Arc::new(tables::load(&configuration, folder.as_deref(), &bundled)?);
        let (fetched, audit) = (Mutex::default(), Audit::new(folder.clone()));
        Ok(Desk { store, catalog, feed_files, tables, fetched, configuration, audit, told_in_vain: Default::default(), writer, folder })
    }

    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What enrichment cannot fill, and what would help.
    pub fn missing_tables(&self, day: i32) -> Vec<&'static str> {
        self.tables.on(day).missing()
    }

    /// What is wrong with the warning lists together, if anything is.
    pub fn wrong_warning_lists(&self, day: i32) -> Option<&'static str> {
        self.tables.on(day).check_warnings()
    }

    /// Where tables are put.
    pub(crate) fn tables_folder(&self) -> Result<&Path> {
        self.folder.as_deref().context("tables are kept in a folder on this machine: state one as \"home\" in the configuration")
    }

    /// Where sources keep what they remember.
    pub(crate) fn memories_folder(&self) -> Result<PathBuf> {
        Ok(self.tables_folder()?.join(SOURCES))
    }

    pub(crate) fn threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(2, usize::from);
        self.configuration.threads.unwrap_or_else(processors)
    }
}

/// Reports hold what nobody else may read: a folder that is made is its owner's, who may open it to others.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// The feeds that a desk at this place knows, without opening it.
pub fn catalog(location: &str, configuration: &Configuration, feeds: Vec<File>) -> Result<Catalog> {
    Ok(Catalog::read(&feed_files(feeds, location, configuration)?))
}

/// The enrichment tables that a desk at this place has, without opening it.
pub fn tables(location: &str, configuration: &Configuration, bundled: &Bundled) -> Result<Dated> {
    tables::load(configuration, folder_of(location, configuration).as_deref(), bundled)
}

/// The folders with tables of feeds beside the program's own, the later before the earlier.
pub fn feed_folders(location: &str, configuration: &Configuration) -> Vec<PathBuf> {
    let data = folder_of(location, configuration).map(|folder| folder.join("feeds"));
    data.into_iter().chain(configuration.feeds.clone()).collect()
}

/// The data folder; where the data is in a bucket, the one that the configuration names.
pub(crate) fn folder_of(location: &str, configuration: &Configuration) -> Option<PathBuf> {
    if location.contains("://") { configuration.home.clone() } else { Some(PathBuf::from(location)) }
}

/// The program's tables, under those of the configured folder and of `feeds` in the data folder.
fn feed_files(mut files: Vec<File>, location: &str, configuration: &Configuration) -> Result<Vec<File>> {
    for folder in feed_folders(location, configuration) {
        if folder.is_dir() {
            for file in files_in(&folder)? {
                files.retain(|known| known.path != file.path);
                files.push(file);
            }
        } else if Some(&folder) == configuration.feeds.as_ref() {
            bail!("the folder of feeds, {}, is not there: mend \"feeds\" in the configuration", folder.display());
        }
    }
    Ok(files)
}

pub(crate) fn files_in(folder: &Path) -> Result<Vec<File>> {
    let read = |path: &Path| std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()));
    let mut files = Vec::new();
    for provider in read(folder)? {
        let provider = provider?.path();
        if !provider.is_dir() {
            continue;
        }
        for file in read(&provider)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
                let name = path.strip_prefix(folder).expect("below the folder").to_string_lossy().replace('\\', "/");
                files.push(File { path: name, text });
            }
        }
    }
    // Of two tables for one feed the later file's holds, so the order must not be the file system's.
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}
