//! A feed of MISP events: `manifest.json` says of each when it was changed last, and `UUID.json` is the event.
//! <https://www.misp-project.org/feeds/> and PyMISP's feed generator are what there is of a description.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Error, Result, anyhow};
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::super::web::{self, Ask, Failed, Page, Web};
use super::super::{Found, Source};
use crate::accept::Input;
use crate::run::Collecting;

#[derive(Debug)]
pub(super) struct Feed {
    pub folder: Url,
    pub most: usize,
    pub web: web::Settings,
}

pub(super) const MOST_EVENTS: usize = 1000;

/// Events that are handed over together.
const TOGETHER: usize = 16;

/// So many that fail one after the other are not each its own fault.
const MOST_FAILURES: u32 = 3;

/// The events that were taken in, each with the time of its last change then, in seconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    events: BTreeMap<String, i64>,
    /// Those that could not be had. They are tried again when all others were, so that they hold nothing up.
    #[serde(default)]
    failed: BTreeSet<String>,
}

/// What a manifest says of an event, as numbers or as text, depending on who wrote it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Number { timestamp: i64 },
    Text { timestamp: String },
    Other(IgnoredAny),
}

impl Entry {
    fn changed(&self) -> i64 {
        match self {
            Entry::Number { timestamp } => *timestamp,
            Entry::Text { timestamp } => timestamp.trim().parse().unwrap_or_default(),
            Entry::Other(_) => 0,
        }
    }
}

impl Source for Feed {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

/// An event that was fetched.
struct Fetched<'m> {
    uuid: &'m str,
    changed: i64,
    page: Page,
}

impl Feed {
    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let web = self.web.open(at_work)?;
        let manifest = web.page(&Ask::new(self.file("manifest.json")?)).await?;
        let manifest: BTreeMap<String, Entry> = manifest.json().context("reading the feed's manifest")?;
        let mut seen: Seen = at_work.remembered()?;
        seen.events.retain(|uuid, _| manifest.contains_key(uuid));
        seen.failed.retain(|uuid| manifest.contains_key(uuid));
        let mut due = due(&manifest, &seen);
        info!(source = %at_work.name, events = manifest.len(), new = due.len(), most = self.most, "manifest read");
        due.truncate(self.most);
        let mut fetching = Fetching::default();
        for events in due.chunks(TOGETHER) {
            let mut fetched = Vec::new();
            for (uuid, changed) in events {
                match self.fetch(&web, uuid).await {
                    Ok(page) => {
                        fetching.in_a_row = 0;
                        fetched.push(Fetched { uuid, changed: *changed, page });
                    }
                    Err(failed) => {
                        warn!(source = %at_work.name, uuid, error = format!("{:#}", failed.why), "an event could not be fetched");
                        seen.failed.insert((*uuid).to_owned());
                        fetching.count(failed);
                    }
                }
                if fetching.is_hopeless {
                    break;
                }
            }
            self.hand_over(fetched, &mut seen, at_work).await?;
            if fetching.is_hopeless {
                break;
            }
        }
        fetching.why.map_or(Ok(()), Err)
    }

    async fn fetch(&self, web: &Web<'_>, uuid: &str) -> Result<Page, Failed> {
        let ask = Ask::new(self.file(&format!("{uuid}.json")).map_err(Failed::for_good)?);
        let page = web.page(&ask).await?;
        // A server that states no length may be cut off without that it shows.
        match page.json::<IgnoredAny>() {
            Ok(_) => Ok(page),
            Err(why) => Err(Failed::for_now(why.context("it is no JSON, or not all of it"))),
        }
    }

    async fn hand_over(&self, fetched: Vec<Fetched<'_>>, seen: &mut Seen, at_work: &Collecting) -> Result<()> {
        let mut waiting = Vec::new();
        for event in &fetched {
            let origin = format!("{}{}.json", crate::fetch::shown(&self.folder), event.uuid);
            let found = Found { at: None, origin, input: Input::File(event.page.file.path().to_owned()) };
            waiting.push((event, at_work.hand_over(found).await?));
        }
        for (event, receipt) in waiting {
            let told = receipt.told().await?;
            if told.is_refused() {
                // It is asked for again, after all others.
                warn!(source = %at_work.name, uuid = event.uuid, why = told.refused.join("; "), "an event was not taken in");
                seen.failed.insert(event.uuid.to_owned());
                continue;
            }
            seen.failed.remove(event.uuid);
            seen.events.insert(event.uuid.to_owned(), event.changed);
        }
        at_work.remember(seen)
    }

    fn file(&self, name: &str) -> Result<Url> {
        self.folder.join(name).context("the address of a file of the feed")
    }
}

/// The events that are new or were changed, the oldest first, and those last that failed before.
fn due<'m>(manifest: &'m BTreeMap<String, Entry>, seen: &Seen) -> Vec<(&'m str, i64)> {
    let known = |uuid: &str| seen.events.get(uuid).copied();
    let events = manifest.iter().filter(|(uuid, _)| is_uuid(uuid)).map(|(uuid, entry)| (uuid.as_str(), entry.changed()));
    let mut due: Vec<(&str, i64)> = events.filter(|(uuid, changed)| known(uuid).is_none_or(|known| known < *changed)).collect();
    due.sort_by_key(|(uuid, changed)| (seen.failed.contains(*uuid), *changed, *uuid));
    due
}

/// What is part of an address must not lead elsewhere.
fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.chars().all(|sign| sign.is_ascii_hexdigit() || sign == '-')
}

/// How it goes with fetching event after event.
#[derive(Default)]
struct Fetching {
    in_a_row: u32,
    /// The first failure that may pass.
    why: Option<Error>,
    /// Whether there is no point in asking for more now.
    is_hopeless: bool,
}

impl Fetching {
    /// One that is not there, or too large, is its own affair. One that could not be had now makes the look fail, so that the next
    /// one comes soon.
    fn count(&mut self, failed: Failed) {
        self.in_a_row += u32::from(failed.may_pass);
        let is_all = failed.is_refusal() || failed.is_to_wait || self.in_a_row >= MOST_FAILURES;
        if failed.may_pass || is_all {
            self.why.get_or_insert(if is_all { failed.why } else { anyhow!("not every event could be fetched: {:#}", failed.why) });
        }
        self.is_hopeless = is_all;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_or_changed_is_due_the_oldest_first() {
        let uuid = |number: u32| format!("00000000-0000-0000-0000-00000000000{number}");
        let manifest = format!(
            r#"{{"{}": {{"timestamp": 30}}, "{}": {{"timestamp": "20", "info": "x"}}, "{}": {{"timestamp": 10}}, "{}": {{"info": "undated"}},
                "{}": {{"timestamp": 5}}, "../etc/passwd": {{"timestamp": 1}}, "{}": {{"timestamp": 40}}}}"#,
            uuid(1),
            uuid(2),
            uuid(3),
            uuid(4),
            uuid(5),
            uuid(6)
        );
        let manifest: BTreeMap<String, Entry> = serde_json::from_str(&manifest).expect("JSON");
        let seen = Seen { events: BTreeMap::from([(uuid(3), 10), (uuid(6), 39)]), failed: BTreeSet::from([uuid(5)]) };
        let expected = [(uuid(4), 0), (uuid(2), 20), (uuid(1), 30), (uuid(6), 40), (uuid(5), 5)];
        let found: Vec<(String, i64)> = due(&manifest, &seen).into_iter().map(|(uuid, changed)| (uuid.to_owned(), changed)).collect();
        assert_eq!(found, expected);
    }
}
