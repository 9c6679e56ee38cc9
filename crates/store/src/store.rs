//! The store as a whole: opening it, and what it can do.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use event::time::{self, Micros};
use futures::future::try_join_all;

use crate::arrivals::Owner;
use crate::days::Days;
use crate::deliveries::{DELIVERIES, Known};
use crate::erase::{BEGUN, ERASURES, Erased};
use crate::events::{self, Append, AppendSettings, Committed, EVENTS, EventsByReport, Memory, Prepared, Room};
use crate::place::Place;
use crate::query::{NameFunctions, footers};
use crate::rejects::REJECTS;
use crate::reports::Settling;
use crate::retain::{EXPIRED, Rules};
use crate::sightings::SIGHTINGS;
use crate::table::Table;

use tokio::sync::Mutex;

/// The layout that this program writes. A program refuses a later one.
pub(crate) const FORMAT: u32 = 1;

/// What stands in the place of a format, before its backup's hash, while a store is made of that.
pub(crate) const HALF: &str = "waglan restore ";

pub(crate) fn format_text(format: u32) -> String {
    format!("waglan store {format}\n")
}

/// Refuses what a later program wrote.
pub(crate) fn refuse_later(format: u32) -> Result<()> {
    if format > FORMAT {
        bail!(
            "its format is {format}, and this program knows formats up to {FORMAT}: use the version of Waglan that wrote it, or a later one"
        );
    }
    Ok(())
}

/// Whether a store may be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    #[default]
    Write,
    /// Only queries: nothing is created or locked, so that a folder without the right to write will do.
    Read,
}

/// How a store is used.
#[derive(Clone, Debug)]
pub struct Settings {
    pub access: Access,
    /// Keys and values of `object_store` for buckets, such as `aws_endpoint`.
    pub options: Vec<(String, String)>,
    /// What the whole process is meant to stay within, in bytes; the store takes its share of it.
    pub memory_limit: usize,
    /// Where rows are put aside; the system's folder for temporary files if none is given.
    pub temporary: Option<PathBuf>,
    /// What SQL asks about host names.
    pub names: NameFunctions,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { access: Access::Write, options: Vec::new(), memory_limit: 512 << 20, temporary: None, names: NameFunctions::default() }
    }
}

/// Everything at rest.
#[derive(Debug)]
pub struct Store {
    pub(crate) place: Place,
    pub(crate) settings: Settings,
    pub(crate) owner: Owner,
    pub(crate) events: Arc<Table>,
    pub(crate) deliveries: Arc<Table>,
    pub(crate) rejects: Arc<Table>,
    pub(crate) sightings: Arc<Table>,
    pub(crate) erasures: Arc<Table>,
    pub(crate) erased: Mutex<Option<(u64, Arc<Erased>)>>,
    pub(crate) recorded: Mutex<Known>,
    /// Reports that are on their way to the disk.
    pub(crate) settling: std::sync::Mutex<HashMap<String, Settling>>,
    memory: Arc<Memory>,
    pub(crate) footers: Arc<FileMetadataCache>,
}

impl Store {
    /// Opens the store at a folder's path or an `s3://` URL; a folder is made if there is none.
    pub async fn open(location: &str, settings: Settings) -> Result<Store> {
        let place = Place::open(location, &settings.options)?;
        let writable = settings.access == Access::Write;
        let new = check_format(&place, writable).await.with_context(|| format!("opening the store at {location}"))?;
        if writable && place.folder().is_none() {
            place.require_put_if_absent().await?;
        }
        let table = |definition| Arc::new(Table::new(definition, &place, writable));
        let memory = Arc::new(Memory::new(settings.memory_limit / 10 * 4));
        let store = Store {
            owner: Owner::new(&place, writable)?,
            events: table(&EVENTS),
            deliveries: table(&DELIVERIES),
            rejects: table(&REJECTS),
            sightings: table(&SIGHTINGS),
            erasures: table(&ERASURES),
            erased: Mutex::new(None),
            recorded: Mutex::default(),
            settling: std::sync::Mutex::default(),
            footers: footers(settings.memory_limit / 16)?,
            memory,
            place,
            settings,
        };
        if new {
            store.make_tables().await?;
        }
        Ok(store)
    }

    /// Makes a new store's tables at once, so that the first report need not wait for each: making a table waits for
    /// the disk, which a large report keeps busy. One whose making is cut short is made when it is first used.
    async fn make_tables(&self) -> Result<()> {
        try_join_all(self.tables().map(|table| table.latest())).await.map(|_| ())
    }

    /// All tables, as SQL sees them.
    pub(crate) fn tables(&self) -> [&Arc<Table>; 5] {
        [&self.events, &self.deliveries, &self.rejects, &self.sightings, &self.erasures]
    }

    /// What is the store's in its folder; whatever else lies there is its home's.
    pub(crate) fn own_names(&self) -> Vec<&'static str> {
        let beside = ["format", "reports", "arrivals", "tables", "locks", EXPIRED, BEGUN];
        beside.into_iter().chain(self.tables().map(|table| table.definition.name)).collect()
    }

    /// Refuses to change a store that was opened for reading.
    pub(crate) fn require_write(&self) -> Result<()> {
        match self.settings.access {
            Access::Write => Ok(()),
            Access::Read => bail!("the store is open for reading only"),
        }
    }

    /// What our own queries may hold.
    pub(crate) fn query_memory(&self) -> usize {
        self.settings.memory_limit / 4
    }

    /// When something was last stored, by the storage's own clock.
    pub async fn last_written(&self) -> Result<Option<Micros>> {
        let log = self.place.list("deliveries/_delta_log").await?;
        Ok(log.into_iter().map(|entry| entry.modified).max())
    }

    /// Begins to append a delivery's events.
    pub async fn append(&self, settings: AppendSettings<'_>) -> Result<Append> {
        self.require_write()?;
        let version = self.events.latest().await?;
        let erased = self.erased().await?;
        let room = Room {
            filter: self.settings.memory_limit / 8,
            // An id in a set takes up to 36 bytes.
            exact_ids: self.settings.memory_limit / 16 / 36,
            temporary: self.settings.temporary.clone(),
        };
        let expired = match settings.only_days {
            Some(_) => self.expired_fields(settings.feed).await?,
            None => Rules::default(),
        };
        Append::new(self.events.clone(), version, &settings, &room, self.memory.clone(), erased, expired)
    }

    /// Makes appends part of the table, in one entry of its log. On [`crate::Overtaken`] (`error.is::<Overtaken>()`)
    /// their reports must be read again.
    pub async fn commit(&self, prepared: Vec<Prepared>, now: Micros) -> Result<Committed> {
        events::commit(&self.events, prepared, now).await
    }

    /// Puts rows that were read again in the place of all that the feed had on these days, in one commit. They
    /// come from an append with [`AppendSettings::only_days`] set to the same days. Days whose events have expired
    /// are refused. [`crate::Overtaken`] if an event there is of a report that is not among those with a recorded
    /// delivery: who brought it is still at work.
    pub async fn replace_days(
        &self,
        feed: &str,
        days: &Days,
        prepared: Prepared,
        recorded: HashSet<String>,
        now: Micros,
    ) -> Result<Committed> {
        if let (Some(from), Some(first)) = (self.first_unexpired(feed).await?, days.first())
            && *first < from
        {
            bail!("{} of {feed} has expired and cannot be read again; days from {} on can", time::day_name(*first), time::day_name(from));
        }
        events::refuse_strangers(&prepared, days, recorded, self.erased().await?).await?;
        events::replace_days(&self.events, feed, days, prepared, now).await
    }

    /// How many of a feed's events were first read from which report, by day; of some days or all.
    pub async fn events_by_report(&self, feed: &str, days: Option<&Days>) -> Result<EventsByReport> {
        events::events_by_report(&self.events, feed, days).await
    }
}

/// Refuses what is no store of ours; true if the store is new.
async fn check_format(place: &Place, writable: bool) -> Result<bool> {
    match place.read("format").await? {
        Some(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let version = text.trim().strip_prefix("waglan store ").and_then(|version| version.parse::<u32>().ok());
            match version {
                // There is no earlier one yet. Once there is, what makes the next of each stands here, and its sample is among
                // the tests of the program for ever.
                Some(FORMAT) => Ok(false),
                Some(later) if later > FORMAT => refuse_later(later).map(|()| false),
                None if text.starts_with(HALF) => {
                    bail!("it is half of a backup: `waglan restore` was cut short; say it once more and it goes on")
                }
                _ => bail!("its file \"format\" says {:?}, which no version of Waglan writes: is this a store?", text.trim()),
            }
        }
        None if writable => {
            // Who was first is the same: both write the same bytes.
            place.put_if_absent("format", Bytes::from(format_text(FORMAT))).await
        }
        None => bail!("there is no store: say where one is with --data DIR"),
    }
}
