//! Events of MISP (<https://www.misp-standard.org/>), those that are new or were changed since: from a feed, which is a folder on any
//! web server, or from a server that is searched.

mod feed;
mod server;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Every, Make, Source, web};
use crate::fetch;
use crate::secret::Secret;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A feed's address: the folder with its `manifest.json`.
    feed: Option<String>,
    /// Of a feed, no more events than this in one look; the others come with the next one.
    most_events: Option<usize>,
    /// A server's address.
    server: Option<String>,
    key: Option<Secret>,
    search: Search,
    /// What else the search asks for, in its own words: `published`, `tags`, `type`, `to_ids`.
    filter: serde_json::Map<String, serde_json::Value>,
    by: By,
    /// How far back the first look reaches; all that the server has if not given.
    back: Option<Every>,
    /// Things a page.
    limit: Option<u32>,
    most_pages: Option<u32>,
    #[serde(flatten)]
    web: web::Settings,
}

/// What a server is searched for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Search {
    #[default]
    Events,
    Attributes,
}

/// Which time tells that something is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    /// When it was changed last.
    #[default]
    Timestamp,
    /// When it was published last: an event may lie there for long before it is.
    PublishTimestamp,
}

/// A document is read up to this, in MiB.
const MOST: u64 = 64;

impl Make for Settings {
    fn make(&self, _feed: Option<&::feed::Feed>) -> Result<Box<dyn Source>> {
        let mut web = self.web.clone();
        web.most = web.most.or(Some(MOST));
        web.check()?;
        match (&self.feed, &self.server) {
            (Some(address), None) => {
                if self.key.is_some() || self.limit.is_some() || self.back.is_some() || !self.filter.is_empty() {
                    bail!("key, filter, back and limit are for a server; a feed that wants a key takes headers, or user and password");
                }
                let folder = address.strip_suffix("manifest.json").unwrap_or(address).trim_end_matches('/');
                let folder = fetch::parse(&format!("{folder}/"))?;
                Ok(Box::new(feed::Feed { folder, most: self.most_events.unwrap_or(feed::MOST_EVENTS), web }))
            }
            (None, Some(address)) => {
                let key = self.key.clone().context("a server wants a key: say key = { file = \"PATH\" }")?;
                let what = match self.search {
                    Search::Events => "events",
                    Search::Attributes => "attributes",
                };
                let url = fetch::parse(&format!("{}/{what}/restSearch", address.trim_end_matches('/')))?;
                Ok(Box::new(server::Server::new(self, url, key, web)?))
            }
            (None, None) => bail!("say feed = \"https://...\", a folder with a manifest.json, or server = \"https://...\""),
            (Some(_), Some(_)) => bail!("feed and server are both given: make a source of each"),
        }
    }
}
