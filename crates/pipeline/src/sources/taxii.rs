//! A collection of a TAXII server (https://docs.oasis-open.org/cti/taxii/v2.1/os/taxii-v2.1-os.html): what was added since the last
//! look, page by page, each a delivery.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use event::time::{self, Micros};
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{self, HeaderValue};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::web::{self, Ask, Failed, Page, Web};
use super::{Every, Found, Make, Source};
use crate::accept::Input;
use crate::fetch;
use crate::run::{Collecting, Told};
use crate::secret::Secret;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The collection's address; with `discovery` its title, alias or id.
    collection: Option<String>,
    /// Where the server says what it has.
    discovery: Option<String>,
    /// A word for `Authorization: Bearer`.
    token: Option<Secret>,
    /// What objects are meant: `type`, `spec_version`, `version`.
    #[serde(rename = "match")]
    matching: BTreeMap<String, String>,
    /// How far back the first look reaches; all that the collection has if not given.
    back: Option<Every>,
    /// Objects a page.
    limit: Option<u32>,
    most_pages: Option<u32>,
    #[serde(flatten)]
    web: web::Settings,
}

const LIMIT: u32 = 5000;
const MOST_PAGES: u32 = 1000;
/// A document is read up to this, in MiB.
const MOST: u64 = 64;
const MEDIA_TYPE: &str = "application/taxii+json;version=2.1";

#[derive(Debug)]
struct Taxii {
    settings: Settings,
    place: Place,
}

/// Where the collection is.
#[derive(Debug)]
enum Place {
    Known(Url),
    /// To be found by its name.
    Named {
        discovery: Url,
        name: String,
    },
}

impl Make for Settings {
    fn make(&self, _feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        let mut settings = self.clone();
        settings.web.most = settings.web.most.or(Some(MOST));
        settings.web.check()?;
        if settings.token.is_some() && settings.web.has_user() {
            bail!("token and user are both given: say one");
        }
        let collection =
            self.collection.as_deref().context("say collection = \"https://.../collections/ID/\", or its title beside discovery")?;
        let place = match &self.discovery {
            Some(discovery) => Place::Named { discovery: fetch::parse(discovery).context("discovery")?, name: collection.to_owned() },
            None => {
                let collection = collection.trim_end_matches('/');
                let collection = collection.strip_suffix("/objects").unwrap_or(collection);
                Place::Known(fetch::parse(&format!("{collection}/")).context("collection; its title needs discovery = \"https://...\"")?)
            }
        };
        Ok(Box::new(Taxii { settings, place }))
    }
}

/// How far it was. Objects of one moment may lie on two pages, so the time counts only when all pages are there; until then it is
/// the server's word for the next one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    collection: String,
    /// When the last object was added, as the server writes it.
    added_after: Option<String>,
    begun: Option<Begun>,
}

/// A look that was cut short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Begun {
    next: String,
    page: u32,
    /// When the last object of the page before was added.
    last: Option<String>,
}

/// An answer with objects.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    more: bool,
    #[serde(default)]
    next: Option<serde_json::Value>,
    #[serde(default)]
    objects: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct Discovery {
    #[serde(default)]
    api_roots: Vec<String>,
}

#[derive(Deserialize)]
struct Collections {
    #[serde(default)]
    collections: Vec<Collection>,
}

#[derive(Deserialize)]
struct Collection {
    id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    alias: Option<String>,
}

impl Source for Taxii {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

impl Taxii {
    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let web = self.settings.web.open(at_work)?;
        let collection = self.collection(&web).await?;
        let shown = fetch::shown(&collection);
        let mut seen: Seen = at_work.remembered()?;
        if seen.collection != shown {
            seen = Seen { collection: shown.clone(), ..Seen::default() };
        }
        if seen.added_after.is_none() {
            seen.added_after = self.settings.back.map(|back| time::iso(at_work.clock.now() - micros(back)));
        }
        let mut begun = seen.begun.take();
        let mut refused = None;
        loop {
            let number = begun.as_ref().map_or(1, |begun| begun.page);
            if number > self.settings.most_pages.unwrap_or(MOST_PAGES) {
                bail!("{shown} has more than {} pages: no more are taken (most_pages)", number - 1);
            }
            let page = match web.page(&self.ask(&collection, &seen, begun.as_ref())?).await {
                // A server forgets its words after a while: then it is asked from the time on.
                Err(failed) if begun.is_some() && is_forgotten(&failed) => {
                    warn!(source = %at_work.name, "the server does not know where it was: it is asked once more from where the last look ended");
                    at_work.remember(&seen)?;
                    return Err(failed.into());
                }
                page => page?,
            };
            let envelope: Envelope = page.json()?;
            let last = added_last(&page).or_else(|| begun.and_then(|begun| begun.last));
            if !envelope.objects.is_empty() {
                let origin = if number == 1 { format!("{shown}objects/") } else { format!("{shown}objects/#{number}") };
                let found = Found { at: None, origin, input: Input::File(page.file.path().to_owned()) };
                let Told { refused: why, .. } = at_work.hand_over(found).await?.told().await?;
                // What is refused for what it is holds up nothing that comes after it.
                refused = refused.or(why.into_iter().next());
            }
            match next(&envelope, &seen, last)? {
                Next::Page(next, last) => begun = Some(Begun { next, page: number + 1, last }),
                Next::Since(last) => (seen.added_after, begun) = (Some(last), None),
                Next::Nothing(last) => {
                    seen.added_after = last.or(seen.added_after);
                    break;
                }
            }
            at_work.remember(&Seen { begun: begun.clone(), ..seen.clone() })?;
        }
        at_work.remember(&seen)?;
        match refused {
            Some(why) => bail!("it was fetched and not taken: {why}"),
            None => Ok(()),
        }
    }

    fn ask(&self, collection: &Url, seen: &Seen, begun: Option<&Begun>) -> Result<Ask> {
        let mut url = collection.join("objects/").context("the address of the collection's objects")?;
        let limit = self.settings.limit.unwrap_or(LIMIT).max(1).to_string();
        let matching = self.settings.matching.iter().map(|(name, value)| (format!("match[{name}]"), value.as_str()));
        let mut query = url.query_pairs_mut();
        query.append_pair("limit", &limit).extend_pairs(matching);
        if let Some(time) = &seen.added_after {
            query.append_pair("added_after", time);
        }
        if let Some(begun) = begun {
            query.append_pair("next", &begun.next);
        }
        drop(query);
        self.asking(url)
    }

    fn asking(&self, url: Url) -> Result<Ask> {
        let mut ask = Ask::new(url);
        ask.headers.insert(header::ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(token) = &self.settings.token {
            ask.secret.push((header::AUTHORIZATION, format!("Bearer {}", token.reveal()?)));
        }
        Ok(ask)
    }

    /// The collection's address, with a slash at its end.
    async fn collection(&self, web: &Web<'_>) -> Result<Url> {
        let (discovery, name) = match &self.place {
            Place::Known(url) => return Ok(url.clone()),
            Place::Named { discovery, name } => (discovery, name),
        };
        let said: Discovery = self.read(web, discovery.clone()).await?;
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for root in said.api_roots {
            let root = discovery.join(&format!("{}/", root.trim_end_matches('/'))).context("the address of an API root")?;
            if root.origin() != discovery.origin() {
                // What is secret is for the server that was named.
                others.push(fetch::shown(&root));
                continue;
            }
            let all = root.join("collections/").context("the address of an API root")?;
            let known: Collections = self.read(web, all.clone()).await?;
            for Collection { id, title, alias } in known.collections {
                // What is part of an address must not lead elsewhere.
                let is_id = id.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '-');
                if is_id && [Some(&title), Some(&id), alias.as_ref()].contains(&Some(name)) {
                    found.push(all.join(&format!("{id}/")).context("the address of a collection")?);
                } else {
                    others.push(title);
                }
            }
        }
        match found.as_slice() {
            [url] => Ok(url.clone()),
            [] => bail!("{} has no collection \"{name}\"; it has {}", fetch::shown(discovery), others.join(", ")),
            _ => bail!("{} has several collections \"{name}\": say which by its address", fetch::shown(discovery)),
        }
    }

    async fn read<T: DeserializeOwned>(&self, web: &Web<'_>, url: Url) -> Result<T> {
        web.page(&self.asking(url)?).await?.json()
    }
}

/// Whether the server did not understand its own word for the next page.
fn is_forgotten(failed: &Failed) -> bool {
    failed.status.is_some_and(|status| matches!(status.as_u16(), 400 | 404 | 410 | 422))
}

fn added_last(page: &Page) -> Option<String> {
    page.headers.get("X-TAXII-Date-Added-Last")?.to_str().ok().map(str::to_owned)
}

/// What comes after a page.
#[derive(Debug, PartialEq)]
enum Next {
    Page(String, Option<String>),
    /// More, by the time alone.
    Since(String),
    Nothing(Option<String>),
}

fn next(envelope: &Envelope, seen: &Seen, last: Option<String>) -> Result<Next> {
    let word = match &envelope.next {
        Some(serde_json::Value::String(word)) if !word.is_empty() => Some(word.clone()),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    Ok(match (envelope.more, word, last) {
        (true, Some(word), last) => Next::Page(word, last),
        (true, None, Some(last)) if seen.added_after.as_ref() != Some(&last) => Next::Since(last),
        (true, None, _) => bail!("the server says that there is more, and not how to ask for it"),
        (false, _, last) => Next::Nothing(last),
    })
}

fn micros(span: Every) -> Micros {
    Micros::try_from(span.0.as_micros()).unwrap_or(Micros::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(envelope: &str, last: Option<&str>, expected: Result<Next, &str>) {
        let seen = Seen { added_after: Some("2026-03-01T00:00:00Z".to_owned()), ..Seen::default() };
        let found = next(&serde_json::from_str(envelope).expect("JSON"), &seen, last.map(str::to_owned));
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{envelope}");
    }

    #[test]
    fn what_comes_next_is_what_the_server_says() {
        let (before, later) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        let kept = || Some(later.to_owned());
        check(r#"{"more": true, "next": "a", "objects": [{}]}"#, Some(later), Ok(Next::Page("a".to_owned(), kept())));
        check(r#"{"more": true, "next": 7, "objects": [{}]}"#, None, Ok(Next::Page("7".to_owned(), None)));
        check(r#"{"more": true, "objects": [{}]}"#, Some(later), Ok(Next::Since(later.to_owned())));
        check(r#"{"more": true, "objects": [{}]}"#, Some(before), Err("the server says that there is more, and not how to ask for it"));
        check(r#"{"objects": [{}]}"#, Some(later), Ok(Next::Nothing(kept())));
        check("{}", None, Ok(Next::Nothing(None)));
    }
}
