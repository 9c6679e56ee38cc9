//! Where deliveries come from. Each source is a file that knows one way in, and a line in the list below.
//!
//! A source looks, hands over what it finds, waits until that is stored, and only then says so where it came from: moves a file,
//! marks a mail, remembers how far it was. Killed in between, it hands the same over again, and the store knows it already.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use event::time::{self, Micros};
use feed::{Catalog, Feed};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::accept::Input;
use crate::pick::{Of, find, require};
use crate::run::{Collecting, Planned};

pub mod folder;
mod gather;
pub mod http;
pub mod imap;
mod mail;
pub mod misp;
pub mod pop3;
pub mod redis;
pub mod report_api;
pub mod stdin;
pub mod stomp;
pub mod taxii;
pub mod tcp;
mod web;
pub mod websocket;

/// The sources there are, each with the name of its section, and how its settings make it.
macro_rules! sources {
    ($($(#[doc = $about:literal])+ $name:ident,)*) => {
        /// A section `[source.NAME]` of the configuration.
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            /// Whose reports these are, all of them.
            pub feed: Option<String>,
            /// Whose these are: which of its feeds one is, its name and beginning tell.
            pub provider: Option<String>,
            /// How often to look; the feed's own `every` if not given.
            pub every: Option<Every>,
            /// How long one look may take.
            pub limit: Option<Every>,
            /// Whether to leave it out.
            pub off: bool,
            $($(#[doc = $about])+ pub $name: Option<$name::Settings>,)*
        }

        impl Settings {
            /// The sources whose sections are there.
            fn sections(&self) -> Vec<(&'static str, &dyn Make)> {
                let mut found: Vec<(&'static str, &dyn Make)> = Vec::new();
                $(found.extend(self.$name.as_ref().map(|settings| (stringify!($name), settings as &dyn Make)));)*
                found
            }
        }
    };
}

sources! {
    /// Files that somebody puts into a folder.
    folder,
    /// What a web server has at an address.
    http,
    /// Events of a MISP feed, or of a server that is searched.
    misp,
    /// Reports that a server lists and hands out to whoever signs the request.
    report_api,
    /// What comes on standard input.
    stdin,
    /// A collection of a TAXII server.
    taxii,
    /// A queue of IntelMQ's in Redis.
    redis,
    /// Messages of a broker by STOMP.
    stomp,
    /// Messages that others send to an address of this machine.
    tcp,
    /// Messages of a server by WebSocket.
    websocket,
    /// Mails in a folder of an IMAP server.
    imap,
    /// Mails in a mailbox of a POP3 server.
    pop3,
}

/// A way in.
pub trait Source: Debug + Send + Sync {
    /// Hands over what there is now. A stream goes on until it breaks.
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>>;

    /// Whether it stays, and hands over as things come.
    fn is_stream(&self) -> bool {
        false
    }

    /// Whether a stream sees by itself that it is to stop, since what it was given cannot be had again.
    fn winds_up(&self) -> bool {
        false
    }
}

/// Settings that make a source; they are checked here, so that a slip is said at the start.
trait Make {
    fn make(&self, feed: Option<&Feed>) -> Result<Box<dyn Source>>;
}

/// Something that is handed over.
#[derive(Debug)]
pub struct Found {
    /// When it arrived; now if nobody knows better.
    pub at: Option<Micros>,
    pub origin: String,
    pub input: Input,
}

/// How often, or how long: `30s`, `5m`, `1h`, `1d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Every(pub Duration);

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Every, D::Error> {
        let text = String::deserialize(from)?;
        time::span(&text).map(Every).map_err(|wrong| de::Error::custom(format!("\"{text}\" is {}", wrong.0)))
    }
}

/// What is looked at when nobody says how often.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// How long one look may take when nobody says.
const LIMIT: Duration = Duration::from_secs(15 * 60);

impl Settings {
    /// Where what was handed in lies beside the store, out of an erasure's reach; in words.
    pub fn keeps(&self) -> Vec<String> {
        let queue = self.redis.as_ref().and_then(redis::Settings::refused).map(|queue| format!("the queue {queue} in Redis"));
        let folder = self.folder.as_ref().map(|folder| format!("the folder {} and what was put aside in it", folder.path().display()));
        queue.into_iter().chain(folder).collect()
    }

    /// What a section comes to.
    pub fn plan(&self, name: &str, catalog: &Catalog) -> Result<Planned> {
        let of = match (&self.feed, &self.provider) {
            (Some(feed), None) => Of::Feed(feed.clone()),
            (None, Some(provider)) => Of::Provider(provider.clone()),
            (None, None) => bail!("say whose reports these are: feed = \"PROVIDER/FEED\" or provider = \"PROVIDER\""),
            (Some(_), Some(_)) => bail!("feed and provider are both given: say one"),
        };
        require(catalog, &of)?;
        let feed = match &of {
            Of::Feed(id) => Some(find(catalog, id)?),
            Of::Provider(_) => None,
        };
        let source = match self.sections().as_slice() {
            [] if feed.and_then(|feed| feed.fetch.as_deref()).is_some_and(|fetch| fetch.starts_with("ws")) => {
                websocket::Settings::default().make(feed)?
            }
            [] => http::Settings::default().make(feed).context("no way in is given, and [http] needs one")?,
            [(section, settings)] => settings.make(feed).with_context(|| format!("[source.{name}.{section}]"))?,
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                bail!("it has several ways in, {}: make a source of each", names.join(" and "))
            }
        };
        let own = feed.and_then(|feed| feed.every.as_deref()).and_then(|every| time::span(every).ok());
        let every = self.every.map(|every| every.0).or(own).unwrap_or(EVERY);
        Ok(Planned { name: name.to_owned(), of, every, limit: self.limit.map_or(LIMIT, |limit| limit.0), source })
    }
}

/// Plans for feeds that are fetched as their tables say: each that one of these names means, `PROVIDER/FEED` or `PROVIDER/*`.
pub fn by_tables(names: &[String], catalog: &Catalog) -> Result<Vec<Planned>> {
    let mut plans: Vec<Planned> = Vec::new();
    for name in names {
        let of_provider = name.strip_suffix("/*");
        let meant = |feed: &&Feed| event::means_feed(name, &feed.id);
        let feeds: Vec<&Feed> = catalog.feeds().filter(meant).collect();
        if feeds.is_empty() {
            match of_provider {
                Some(provider) => require(catalog, &Of::Provider(provider.to_owned()))?,
                None => find(catalog, name).map(|_| ())?,
            }
        }
        let fetched = |feed: &&&Feed| feed.fetch.is_some() && feed.retired.is_none();
        for feed in feeds.iter().filter(|feed| of_provider.is_none() || fetched(feed)) {
            if plans.iter().any(|plan| plan.name == feed.id) {
                continue;
            }
            if let Some(retired) = &feed.retired {
                return Err(anyhow!("{name} is retired since {retired}: there is nothing to collect"));
            }
            let settings = Settings { feed: Some(feed.id.clone()), ..Settings::default() };
            plans.push(settings.plan(&feed.id, catalog).with_context(|| format!("collecting {}", feed.id))?);
        }
    }
    Ok(plans)
}
