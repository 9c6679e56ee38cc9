//! One file for each command: its arguments, and what it does with the desk.

pub(crate) mod alarms;
pub(crate) mod backup;
pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod feed;
pub(crate) mod geo;
pub(crate) mod import;
pub(crate) mod ingest;
pub(crate) mod parse;
pub(crate) mod query;
pub(crate) mod rejects;
pub(crate) mod reread;
pub(crate) mod run;
pub(crate) mod store;
pub(crate) mod warnings;

use std::io::{Cursor, Read};
use std::path::PathBuf;

use ::feed::Catalog;
use ::feed::unpack::{Caps, unpack_streams};
use anyhow::{Context, Result, anyhow, bail};
use desk::{Access, Actor, Configuration, ConfigurationFile, Desk, Opening, Role};
use event::time::{self, Micros};

use crate::{Place, bundled, memory};

/// Whoever runs the program on this machine.
pub(crate) fn operator() -> Actor {
    #[expect(clippy::disallowed_methods, reason = "the system's name for its user is no configuration")]
    let name = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_else(|_| "operator".to_owned());
    Actor { name, role: Role::Operator }
}

impl Place {
    /// Where data is: as given, else a folder of the user's.
    pub(crate) fn location(&self) -> Result<String> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        #[expect(clippy::disallowed_methods, reason = "where a user's data lies is the system's convention")]
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = variable("XDG_DATA_HOME")
            .or_else(|| variable("LOCALAPPDATA"))
            .or_else(|| variable("HOME").map(|home| home.join(".local/share")));
        let base = base.ok_or_else(|| anyhow!("there is no home folder to keep data in; say where with --data DIR"))?;
        Ok(base.join("waglan").display().to_string())
    }

    pub(crate) fn configuration(&self) -> Result<Configuration> {
        Ok(self.read_configuration()?.0)
    }

    /// The configuration, and what its files say as one.
    pub(crate) fn read_configuration(&self) -> Result<(Configuration, toml::Table)> {
        Configuration::read(&self.configuration_files()?).map_err(|wrong| anyhow!("the configuration cannot be read: {wrong}"))
    }

    /// Where `waglan.toml` lies, or would.
    pub(crate) fn configuration_path(&self) -> Result<PathBuf> {
        match &self.config {
            Some(path) => Ok(path.clone()),
            None => Ok(PathBuf::from(self.location()?).join("waglan.toml")),
        }
    }

    /// `waglan.toml`, and what lies in `conf.d` beside it.
    pub(crate) fn configuration_files(&self) -> Result<Vec<ConfigurationFile>> {
        let path = self.configuration_path()?;
        let mut paths: Vec<PathBuf> = Vec::new();
        if self.config.is_some() || path.is_file() {
            paths.push(path.clone());
        }
        let folder = path.with_file_name("conf.d");
        if folder.is_dir() {
            let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
            let mut more: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
            more.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
            more.sort();
            paths.extend(more);
        }
        let read = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).with_context(|| format!("reading the configuration {}", path.display()))?;
            Ok(ConfigurationFile { path, text })
        };
        paths.into_iter().map(read).collect()
    }

    /// The feeds that are known here; where there is no place to keep anything, those that the program knows by itself.
    pub(crate) fn catalog(&self) -> Result<Catalog> {
        match self.location() {
            Ok(location) => desk::catalog(&location, &self.configuration()?, bundled::feeds()),
            Err(_) => Ok(Catalog::read(&bundled::feeds())),
        }
    }

    /// The enrichment tables that are here, by themselves.
    pub(crate) fn tables(&self) -> Result<desk::Dated> {
        desk::tables(&self.location()?, &self.configuration()?, &bundled::tables())
    }

    /// Where tables of feeds may lie beside the program's own.
    pub(crate) fn feed_folders(&self) -> Result<Vec<PathBuf>> {
        match self.location() {
            Ok(location) => Ok(desk::feed_folders(&location, &self.configuration()?)),
            Err(_) => Ok(Vec::new()),
        }
    }

    pub(crate) async fn desk(&self, access: Access) -> Result<Desk> {
        self.desk_at(self.location()?, access).await
    }

    pub(crate) async fn desk_at(&self, location: String, access: Access) -> Result<Desk> {
        let exists = location.contains("://") || PathBuf::from(&location).is_dir();
        if access == Access::Read && !exists {
            bail!("there is no data in {location} yet; `waglan ingest` puts some there, and `waglan demo` shows how it looks");
        }
        let configuration = self.configuration()?;
        memory::stay_within(configuration.memory << 20);
        Desk::open(Opening {
            location,
            access,
            configuration,
            feeds: bundled::feeds(),
            bundled: bundled::tables(),
            writer: concat!("waglan ", env!("CARGO_PKG_VERSION")).to_owned(),
        })
        .await
    }
}

/// What a file here holds, or what is fetched from an address; unpacked where it is packed, an archive as it is.
pub(crate) async fn open(source: &str, most_bytes: u64) -> Result<Box<dyn Read>> {
    let (input, size): (Box<dyn Read>, u64) = if source.contains("://") {
        let bytes = desk::fetch(source, most_bytes).await?;
        let size = bytes.len() as u64;
        (Box::new(Cursor::new(bytes)), size)
    } else {
        let file = std::fs::File::open(source).with_context(|| format!("opening {source}"))?;
        let size = file.metadata().with_context(|| format!("opening {source}"))?.len();
        (Box::new(file), size)
    };
    let (plain, _) = unpack_streams(input, size, Caps { bytes: most_bytes, ..Caps::default() }).context("unpacking it")?;
    Ok(plain)
}

/// A time as somebody writes it on the command line.
pub(crate) fn time_argument(text: &str) -> Result<Micros, String> {
    time::parse(text).map_err(|wrong| format!("{}; write it as 2026-03-01 or 2026-03-01T08:00:00+08:00", wrong.0))
}
