//! The configuration file, `waglan.toml`. Every key has a default, so that an empty file is a good one.
//! docs/operating.md is its reference.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pipeline::sources::{self, Every};
use serde::Deserialize;

pub use self::files::{ConfigurationFile, Places, masked};
use crate::alarms::Alarms;
use crate::upkeep::Daily;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// Where the data is in a bucket: the folder for all that is not data, such as tables and the audit trail.
    pub home: Option<PathBuf>,
    /// A folder of feeds' tables beside those that the program knows; a table here wins over the program's.
    pub feeds: Option<PathBuf>,
    /// In MiB: what the whole process plans for; beyond it rows go to disk.
    pub memory: u64,
    /// Threads that understand rows; the machine's processors if not given.
    pub threads: Option<usize>,
    /// Where rows are put aside; the system's folder for temporary files if not given.
    pub temporary: Option<PathBuf>,
    /// Settings of the object storage, such as `aws_endpoint`.
    pub storage: BTreeMap<String, String>,
    pub scope: Scope,
    pub query: Query,
    pub geo: Geo,
    pub retention: Retention,
    /// Which events are not counted for being on a warning list, beside those of impossible addresses.
    pub suppress: Vec<Suppress>,
    /// Feeds that are fetched as their tables say, by `PROVIDER/FEED` or `PROVIDER/*`.
    pub collect: Vec<String>,
    /// Everything else that deliveries come from, by a name of one's own.
    pub source: BTreeMap<String, sources::Settings>,
    pub run: Run,
    pub alarms: Alarms,
    /// Where each key stands, for whoever has to mend it.
    #[serde(skip)]
    pub places: Places,
}

impl Default for Configuration {
    fn default() -> Configuration {
        Configuration {
            home: None,
            feeds: None,
            memory: 512,
            threads: None,
            temporary: None,
            storage: BTreeMap::new(),
            scope: Scope::default(),
            query: Query::default(),
            geo: Geo::default(),
            retention: Retention::default(),
            suppress: Vec::new(),
            collect: Vec::new(),
            source: BTreeMap::new(),
            run: Run::default(),
            alarms: Alarms::default(),
            places: Places::default(),
        }
    }
}

/// Events of these kinds and feeds whose asset is on this list are kept, marked, and not counted.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Suppress {
    /// The list's name.
    pub list: String,
    /// All if there are none.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// By `PROVIDER/FEED` or `PROVIDER/*`; all if there are none.
    #[serde(default)]
    pub feeds: Vec<String>,
}

/// How the program runs by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// Sources that are looked at together; streams are not counted.
    pub at_once: usize,
    /// How long those at work may go on when the program is to stop.
    pub grace: Every,
    /// Where metrics are, over HTTP, for whoever reaches it; nowhere if not given.
    pub metrics: Option<SocketAddr>,
    /// When the store is looked after.
    pub upkeep: Daily,
}

impl Default for Run {
    fn default() -> Run {
        Run { at_once: 4, grace: Every(Duration::from_secs(60)), metrics: None, upkeep: Daily::default() }
    }
}

/// What is ours to watch.
#[derive(Clone, Debug, Default, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    pub countries: Vec<String>,
    pub tlds: Vec<String>,
    pub networks: Vec<String>,
    pub asns: Vec<i64>,
}

impl Scope {
    pub fn is_empty(&self) -> bool {
        self.countries.is_empty() && self.tlds.is_empty() && self.networks.is_empty() && self.asns.is_empty()
    }
}

/// Limits of one query.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// In MiB.
    pub memory: u64,
    pub seconds: u64,
}

impl Default for Query {
    fn default() -> Query {
        Query { memory: 2048, seconds: 300 }
    }
}

/// Where tables of countries and AS numbers are fetched.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Geo {
    /// By the name that the table goes by here.
    pub fetch: BTreeMap<String, String>,
}

/// How long what is kept: by feed, by `PROVIDER/*` for a provider's, or by `*` for all. The most specific rule holds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days after which events go.
    pub events: BTreeMap<String, u32>,
    /// Days after which fields are emptied.
    pub fields: BTreeMap<String, BTreeMap<String, u32>>,
    /// Days after which kept reports go.
    pub reports: BTreeMap<String, u32>,
}

impl Retention {
    /// Whether there is any rule.
    pub(crate) fn is_some(&self) -> bool {
        !(self.events.is_empty() && self.fields.is_empty() && self.reports.is_empty())
    }

    /// The rules that speak of none of these feeds, each as a sentence.
    pub fn idle(&self, feeds: &BTreeSet<String>) -> Vec<String> {
        let sections = [("events", names(&self.events)), ("fields", names(&self.fields)), ("reports", names(&self.reports))];
        let known = |name: &str| name == "*" || feeds.iter().any(|feed| event::means_feed(name, feed));
        let mut idle = Vec::new();
        for (section, names) in sections {
            let unknown = names.into_iter().filter(|name| !known(name));
            idle.extend(unknown.map(|name| format!("[retention.{section}] speaks of \"{name}\", which is no feed that is known.")));
        }
        idle
    }
}

fn names<T>(rules: &BTreeMap<String, T>) -> Vec<&str> {
    rules.keys().map(String::as_str).collect()
}

/// The rules that speak of a feed, the most specific last.
pub(crate) fn most_specific<'r, T>(rules: &'r BTreeMap<String, T>, feed: &str) -> impl Iterator<Item = &'r T> {
    let provider = feed.split('/').next().unwrap_or_default();
    ["*".to_owned(), format!("{provider}/*"), feed.to_owned()].into_iter().filter_map(|name| rules.get(&name))
}

impl Configuration {
    /// Of the file's text; the error says where and what.
    pub fn parse(text: &str) -> Result<Configuration, String> {
        let configuration: Configuration = toml::from_str(text).map_err(|wrong| wrong.to_string())?;
        let first = configuration.beyond_limits().next();
        first.map_or(Ok(configuration), |(_, why)| Err(format!("{why}\n")))
    }

    /// Keys whose numbers are too small, and what they should be.
    fn beyond_limits(&self) -> impl Iterator<Item = (&'static str, String)> {
        let limits = [
            ("memory", self.memory, 64),
            ("threads", self.threads.map_or(1, |threads| threads as u64), 1),
            ("query.memory", self.query.memory, 64),
            ("query.seconds", self.query.seconds, 1),
            ("run.at_once", self.run.at_once as u64, 1),
        ];
        let beyond = limits.into_iter().filter(|(_, given, least)| given < least);
        beyond.map(|(key, given, least)| (key, format!("{key} = {given}: it is at least {least}")))
    }
}
