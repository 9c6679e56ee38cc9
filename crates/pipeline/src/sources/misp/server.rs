//! A MISP server that is searched (`restSearch`, <https://www.misp-project.org/openapi/>): page by page until one is empty, each a
//! delivery.

use std::fmt;

use anyhow::{Result, anyhow, bail};
use event::time::{self, Micros};
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{self, HeaderValue};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::web::{self, Ask, Body, Page, Web};
use super::super::{Every, Found, Source};
use super::{By, Search, Settings};
use crate::accept::Input;
use crate::fetch;
use crate::run::{Collecting, Told};
use crate::secret::Secret;

#[derive(Debug)]
pub(super) struct Server {
    url: Url,
    key: Secret,
    /// What every search says.
    search: Map<String, Value>,
    by: &'static str,
    back: Option<Every>,
    limit: u32,
    most_pages: u32,
    web: web::Settings,
}

/// Events may be long, attributes are not.
const EVENTS: u32 = 100;
const ATTRIBUTES: u32 = 5000;
const MOST_PAGES: u32 = 1000;

/// Servers' clocks differ, and what was being saved during the last look is asked for again, in microseconds.
const OVERLAP: Micros = 10 * 60 * time::SECOND;

/// How far it was.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    /// When the last look that came to its end began.
    since: Option<Micros>,
    /// A look that was cut short.
    begun: Option<Begun>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Begun {
    at: Micros,
    /// The next page, and how many things a page has.
    page: u32,
    limit: u32,
}

impl Source for Server {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

impl Server {
    pub(super) fn new(settings: &Settings, url: Url, key: Secret, web: web::Settings) -> Result<Server> {
        let by = match settings.by {
            By::Timestamp => "timestamp",
            By::PublishTimestamp => "publish_timestamp",
        };
        if let Some(own) = ["returnFormat", "page", "limit", by].iter().find(|own| settings.filter.contains_key(**own)) {
            bail!("filter: {own} is said by the source itself");
        }
        let mut search = settings.filter.clone();
        search.insert("returnFormat".to_owned(), json!("json"));
        let usual = match settings.search {
            Search::Events => EVENTS,
            Search::Attributes => ATTRIBUTES,
        };
        let limit = settings.limit.unwrap_or(usual).max(1);
        let most_pages = settings.most_pages.unwrap_or(MOST_PAGES);
        Ok(Server { url, key, search, by, back: settings.back, limit, most_pages, web })
    }

    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let web = self.web.open(at_work)?;
        let mut seen: Seen = at_work.remembered()?;
        let shown = fetch::shown(&self.url);
        let mut begun = seen.begun.unwrap_or(Begun { at: at_work.clock.now(), page: 1, limit: self.limit });
        let since = seen.since.map(|since| since - OVERLAP).or_else(|| Some(begun.at - time::micros(self.back?.0)));
        let mut refused = None;
        loop {
            if begun.page > self.most_pages {
                bail!("{shown} has more than {} pages: no more are taken (most_pages)", self.most_pages);
            }
            let Some((page, things)) = self.page(&web, since, &mut begun).await? else { continue };
            if things == 0 {
                break;
            }
            let origin = if begun.page == 1 { shown.clone() } else { format!("{shown}#{}", begun.page) };
            let found = Found { at: None, origin, input: Input::File(page.file.path().to_owned()) };
            let Told { refused: why, .. } = at_work.hand_over(found).await?.told().await?;
            // What is refused for what it is holds up nothing that comes after it.
            refused = refused.or(why.into_iter().next());
            // Old servers send everything, whatever the limit.
            if things > u64::from(begun.limit) {
                break;
            }
            begun.page += 1;
            seen.begun = Some(begun);
            at_work.remember(&seen)?;
        }
        at_work.remember(&Seen { since: Some(begun.at), begun: None })?;
        refused.map_or(Ok(()), |why| Err(anyhow!("it was fetched and not taken: {why}")))
    }

    /// A page, and how much is on it; none where it is too large, and is to be asked for in smaller ones.
    async fn page(&self, web: &Web<'_>, since: Option<Micros>, begun: &mut Begun) -> Result<Option<(Page, u64)>> {
        match web.page(&self.ask(since, *begun)?).await {
            Ok(page) => {
                let things = page.json::<Things>()?.0;
                Ok(Some((page, things)))
            }
            Err(failed) if failed.is_too_large && begun.limit > 1 => {
                // Half as long, it begins where it did; where that is not on a page's edge it is begun anew.
                begun.page = if begun.limit.is_multiple_of(2) { begun.page * 2 - 1 } else { 1 };
                begun.limit /= 2;
                Ok(None)
            }
            Err(failed) => Err(failed.into()),
        }
    }

    fn ask(&self, since: Option<Micros>, begun: Begun) -> Result<Ask> {
        let mut search = self.search.clone();
        search.insert("page".to_owned(), json!(begun.page));
        search.insert("limit".to_owned(), json!(begun.limit));
        if let Some(since) = since {
            search.insert(self.by.to_owned(), json!(since / time::SECOND));
        }
        let mut ask = Ask::new(self.url.clone());
        ask.headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        ask.secret.push((header::AUTHORIZATION, self.key.reveal()?));
        ask.body = Some(Body::Json(Value::Object(search).to_string()));
        Ok(ask)
    }
}

/// How many events or attributes an answer has: `{"response": [..]}`, `[..]` or `{"response": {"Attribute": [..]}}`.
struct Things(u64);

impl<'de> Deserialize<'de> for Things {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Things, D::Error> {
        Count.deserialize(from).map(Things)
    }
}

/// Counts without keeping anything: a page may be as large as the memory.
struct Count;

impl<'de> DeserializeSeed<'de> for Count {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<u64, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count {
    type Value = u64;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("events or attributes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<u64, A::Error> {
        let mut things = 0;
        while list.next_element::<IgnoredAny>()?.is_some() {
            things += 1;
        }
        Ok(things)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let mut things = 0;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "response" | "Attribute" => things += map.next_value_seed(Count)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(things)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_a_page_is_counted() {
        let cases = [
            (r#"{"response": [{"Event": {"Attribute": [1, 2]}}, {"Event": {}}]}"#, 2),
            (r#"{"response": {"Attribute": [{"type": "url"}, {"type": "url"}, {}]}}"#, 3),
            (r#"[{"Event": {}}]"#, 1),
            (r#"{"response": []}"#, 0),
            ("[]", 0),
            ("{}", 0),
        ];
        for (page, expected) in cases {
            assert_eq!(serde_json::from_str::<Things>(page).expect("JSON").0, expected, "{page}");
        }
    }
}
