//! A collection of a TAXII server (<https://docs.oasis-open.org/cti/taxii/v2.1/os/taxii-v2.1-os.html>): what was added since the last
//! look, page by page, each a delivery.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use event::time;
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{self, HeaderValue};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::web::{self, Ask, Page, Web};
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

/// How far it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    collection: String,
    /// Everything that was added until then is there, as the server writes times.
    added_after: Option<String>,
}

/// A look on its way through the pages.
///
/// The server's word for the next page may be a place in the list, or all that it keeps of a list which it shortens with every
/// answer (OASIS's own does so). Asked for twice, the second kind says what comes after: so a page is asked for again, and the word
/// is trusted beyond a failure, only where words are seen to change. What is remembered is a time.
#[derive(Debug, Default)]
struct Reading {
    /// The page that is asked for, from 0 on.
    page: u32,
    next: Option<String>,
    words_change: bool,
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
            seen.added_after = self.settings.back.map(|back| time::iso(at_work.clock.now() - time::micros(back.0)));
        }
        let most_pages = self.settings.most_pages.unwrap_or(MOST_PAGES);
        let (mut since, mut reading, mut refused) = (seen.added_after.clone(), Reading::default(), None);
        while reading.page < most_pages {
            let page = web.page(&self.ask(&collection, since.as_deref(), &reading)?).await?;
            let envelope: Envelope = page.json()?;
            reading.page += 1;
            if !envelope.objects.is_empty() {
                let origin = if reading.page == 1 { format!("{shown}objects/") } else { format!("{shown}objects/#{}", reading.page) };
                let found = Found { at: None, origin, input: Input::File(page.file.path().to_owned()) };
                let Told { refused: why, .. } = at_work.hand_over(found).await?.told().await?;
                // What is refused for what it is holds up nothing that comes after it.
                refused = refused.or(why.into_iter().next());
            }
            let last = added_last(&page).or_else(|| reading.last.clone());
            if is_earlier(reading.last.as_deref(), last.as_deref()) {
                // Objects come in the order in which they were added, and those of one moment may lie on two pages: now all of that
                // moment are there.
                seen.added_after = reading.last.clone();
                at_work.remember(&seen)?;
            }
            match next(&envelope, since.as_deref(), last.as_deref())? {
                Next::Page(word) => {
                    reading.words_change |= reading.next.as_ref().is_some_and(|before| *before != word);
                    (reading.next, reading.last) = (Some(word), last);
                }
                Next::Since(time) => {
                    since = Some(time);
                    (reading.next, reading.last) = (None, last);
                }
                Next::Nothing => {
                    seen.added_after = last.or(seen.added_after);
                    at_work.remember(&seen)?;
                    return refused.map_or(Ok(()), |why| Err(anyhow!("it was fetched and not taken: {why}")));
                }
            }
        }
        bail!("{shown} has more than {most_pages} pages: no more are taken (most_pages)")
    }

    fn ask(&self, collection: &Url, since: Option<&str>, reading: &Reading) -> Result<Ask> {
        let mut url = collection.join("objects/").context("the address of the collection's objects")?;
        let limit = self.settings.limit.unwrap_or(LIMIT).max(1).to_string();
        let matching = self.settings.matching.iter().map(|(name, value)| (format!("match[{name}]"), value.as_str()));
        let rest = [("added_after", since), ("next", reading.next.as_deref())];
        let rest = rest.into_iter().filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut().append_pair("limit", &limit).extend_pairs(matching).extend_pairs(rest);
        let once = reading.next.is_some() && !reading.words_change;
        Ok(Ask { once, ..self.asking(url)? })
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

fn added_last(page: &Page) -> Option<String> {
    page.headers.get("X-TAXII-Date-Added-Last")?.to_str().ok().map(str::to_owned)
}

fn is_earlier(one: Option<&str>, other: Option<&str>) -> bool {
    let time = |text: Option<&str>| time::parse(text?).ok();
    time(one).zip(time(other)).is_some_and(|(one, other)| one < other)
}

/// What comes after a page.
#[derive(Debug, PartialEq)]
enum Next {
    /// By the server's word for it.
    Page(String),
    /// More, by the time alone.
    Since(String),
    Nothing,
}

fn next(envelope: &Envelope, since: Option<&str>, last: Option<&str>) -> Result<Next> {
    let word = match &envelope.next {
        Some(serde_json::Value::String(word)) if !word.is_empty() => Some(word.clone()),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    Ok(match (envelope.more, word, last) {
        (true, Some(word), _) => Next::Page(word),
        (true, None, Some(last)) if since != Some(last) => Next::Since(last.to_owned()),
        (true, None, _) => bail!("the server says that there is more, and not how to ask for it"),
        (false, _, _) => Next::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(envelope: &str, last: Option<&str>, expected: Result<Next, &str>) {
        let found = next(&serde_json::from_str(envelope).expect("JSON"), Some("2026-03-01T00:00:00Z"), last);
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{envelope}");
    }

    #[test]
    fn what_comes_next_is_what_the_server_says() {
        let (before, later) = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z");
        check(r#"{"more": true, "next": "a", "objects": [{}]}"#, Some(later), Ok(Next::Page("a".to_owned())));
        check(r#"{"more": true, "next": 7, "objects": [{}]}"#, None, Ok(Next::Page("7".to_owned())));
        check(r#"{"more": true, "objects": [{}]}"#, Some(later), Ok(Next::Since(later.to_owned())));
        check(r#"{"more": true, "objects": [{}]}"#, Some(before), Err("the server says that there is more, and not how to ask for it"));
        check(r#"{"objects": [{}]}"#, Some(later), Ok(Next::Nothing));
        check("{}", None, Ok(Next::Nothing));
        assert!(is_earlier(Some("2026-03-01T00:00:00.000001Z"), Some("2026-03-01T00:00:00.000002Z")));
        assert!(!is_earlier(Some(before), Some(before)) && !is_earlier(None, Some(later)));
    }
}
