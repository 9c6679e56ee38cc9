//! What a web server has at an address, page by page where it hands it out so.
//!
//! Where the server says that nothing has changed, the last report is delivered again: it is a sighting. What fails for a moment
//! is tried again; what was cut off is nobody's delivery.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail};
use event::time::{self, Micros};
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::{self, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::web::{self, Ask, Body, LONGEST_PAGE, Page};
use super::{Found, Make, Source};
use crate::accept::Input;
use crate::fetch;
use crate::run::{Collecting, Told};
use crate::secret::Secret;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The feed's own `fetch` if not given. `{NAME}` stands for what `fill` says, `{day}`, `{yesterday}`, `{month}` and `{year}` for
    /// the date, UTC, and `{day-2:%Y%m%d}` for one in another form.
    url: Option<String>,
    fill: BTreeMap<String, Secret>,
    /// A form to send: then the request is a POST.
    form: BTreeMap<String, Secret>,
    /// A body to send, as it is: then the request is a POST.
    body: Option<Secret>,
    /// How the next page is found.
    pages: Option<Pages>,
    /// No more pages than this.
    most_pages: Option<u32>,
    #[serde(flatten)]
    web: web::Settings,
}

/// How the next page is found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Pages {
    /// By the header `Link` with `rel="next"`.
    Link,
    /// The answer, a JSON document, has the next page's address there, in steps with dots between them.
    Address(String),
    /// The answer has a word there, which goes into the address as this parameter.
    Token { path: String, parameter: String },
    /// Pages are counted by this parameter, from this number on, until one says nothing.
    Number { parameter: String, from: u32 },
}

const MOST_PAGES: u32 = 1000;

#[derive(Debug)]
struct Http {
    settings: Settings,
    /// With its places to fill.
    url: String,
}

impl Make for Settings {
    fn make(&self, feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        let url = self.url.clone().or_else(|| feed?.fetch.clone());
        let url = url.context("there is no address to fetch: say url = \"https://...\"")?;
        if !self.form.is_empty() && self.body.is_some() {
            bail!("form and body are both given: say one");
        }
        self.web.check()?;
        let http = Http { settings: self.clone(), url };
        // The places are filled with something, to see that they are known and that the address is one.
        http.filled(0, |_| Ok("x".to_owned()))?;
        Ok(Box::new(http))
    }
}

/// What the server said last, and which reports came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Seen {
    address: String,
    etag: Option<String>,
    modified: Option<String>,
    /// Feed and hash of each.
    reports: Vec<(String, String)>,
}

impl Source for Http {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

/// A date in an address: `day`, `yesterday`, `day-2`, `month`, `year`; with strftime's letters for year, month and day behind a
/// colon, such as `yesterday:%Y%m%d`.
fn date(name: &str, today: i32) -> Option<String> {
    let (what, format) = name.split_once(':').map_or((name, None), |(what, format)| (what, Some(format)));
    let (back, usual) = match what {
        "day" => (0, "%Y-%m-%d"),
        "yesterday" => (1, "%Y-%m-%d"),
        "month" => (0, "%Y-%m"),
        "year" => (0, "%Y"),
        what => (what.strip_prefix("day-")?.parse::<u16>().ok()?.into(), "%Y-%m-%d"),
    };
    let day = time::day_name(today - back);
    let mut parts = day.split('-');
    let mut text = format.unwrap_or(usual).to_owned();
    for letter in ["%Y", "%m", "%d"] {
        text = text.replace(letter, parts.next().unwrap_or_default());
    }
    (!text.contains('%')).then_some(text)
}

impl Http {
    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let now = at_work.clock.now();
        let mut seen: Seen = at_work.remembered()?;
        let web = self.settings.web.open(at_work)?;
        let url = self.filled(now, Secret::reveal)?;
        let shown = self.shown(now);
        if seen.address != shown {
            seen = Seen { address: shown.clone(), ..Seen::default() };
        }
        let mut told = Told::default();
        let (mut next, mut number, mut conditions) = (Some(url), 1, Some(seen.clone()));
        while let Some(url) = next.take() {
            if number > self.settings.most_pages.unwrap_or(MOST_PAGES) {
                bail!("{shown} has more than {} pages: no more are taken (most_pages)", number - 1);
            }
            let page = match web.ask(&self.request(url, conditions.take())?).await? {
                None => return self.again(&seen, &shown, at_work).await,
                Some(page) => page,
            };
            if number == 1 {
                let text = |name| page.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
                (seen.etag, seen.modified) = (text(header::ETAG), text(header::LAST_MODIFIED));
            }
            next = self.next_page(&page, number)?;
            if number > 1 && next.is_none() && self.is_numbered() && page.length <= 2 {
                // The page after the last one: nothing, or an empty list.
                break;
            }
            let mut origin = named(&shown, &page.headers);
            if number > 1 {
                origin = format!("{origin}#{number}");
            }
            let input = Input::File(page.file.path().to_owned());
            let receipt = at_work.hand_over(Found { at: None, origin, input }).await?;
            let Told { reports, refused } = receipt.told().await?;
            told.reports.extend(reports);
            told.refused.extend(refused);
            number += 1;
        }
        seen.reports = told.reports;
        if seen.reports.is_empty() {
            // What came of it must be there to be delivered again.
            (seen.etag, seen.modified) = (None, None);
        }
        at_work.remember(&seen)?;
        match told.refused.first() {
            Some(why) => Err(anyhow!("it was fetched and not taken: {why}")),
            None => Ok(()),
        }
    }

    /// Delivers what came last once more.
    async fn again(&self, seen: &Seen, shown: &str, at_work: &Collecting) -> Result<()> {
        for (number, (feed, report)) in seen.reports.iter().enumerate() {
            let origin = if number == 0 { shown.to_owned() } else { format!("{shown}#{}", number + 1) };
            let input = Input::Kept { feed: feed.clone(), report_id: report.clone() };
            let receipt = at_work.hand_over(Found { at: None, origin, input }).await?;
            if let Some(why) = receipt.told().await?.refused.first() {
                // It is not kept any more: next time all of it is fetched.
                at_work.remember(&Seen { etag: None, modified: None, ..seen.clone() })?;
                bail!("the server says that nothing has changed, and what it sent before is gone: {why}");
            }
        }
        Ok(())
    }

    /// The address with all places filled.
    fn filled(&self, now: Micros, reveal: impl Fn(&Secret) -> Result<String>) -> Result<Url> {
        let today = time::day(now);
        let (mut url, mut rest) = (String::new(), self.url.as_str());
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| anyhow!("url: a {{ is not closed"))?;
            url += before;
            url += &match date(name, today) {
                Some(date) => date,
                None => reveal(self.settings.fill.get(name).ok_or_else(|| anyhow!("url: fill does not say what {{{name}}} is"))?)?,
            };
            rest = after;
        }
        url += rest;
        fetch::parse(&url)
    }

    /// The address as it may be shown: with dates, without what may be secret.
    fn shown(&self, now: Micros) -> String {
        let name =
            |secret: &Secret| Ok(self.settings.fill.iter().find(|(_, known)| *known == secret).map_or("x", |(name, _)| name).to_owned());
        self.filled(now, name).map_or_else(|_| "an address".to_owned(), |url| fetch::shown(&url))
    }

    /// What is asked for a page; of the first one also whether it has changed.
    fn request(&self, url: Url, conditions: Option<Seen>) -> Result<Ask> {
        let settings = &self.settings;
        let body = if let Some(body) = &settings.body {
            Some(Body::Text(body.reveal()?))
        } else if !settings.form.is_empty() {
            let form = settings.form.iter().map(|(name, value)| Ok((name.clone(), value.reveal()?)));
            Some(Body::Form(form.collect::<Result<_>>()?))
        } else {
            None
        };
        let seen = conditions.filter(|_| body.is_none()).unwrap_or_default();
        let condition = |name, value: &Option<String>| Some((name, HeaderValue::from_str(value.as_deref()?).ok()?));
        let known = [condition(header::IF_NONE_MATCH, &seen.etag), condition(header::IF_MODIFIED_SINCE, &seen.modified)];
        Ok(Ask { hides: !settings.fill.is_empty(), headers: known.into_iter().flatten().collect(), body, ..Ask::new(url) })
    }

    fn is_numbered(&self) -> bool {
        matches!(self.settings.pages, Some(Pages::Number { .. }))
    }

    fn next_page(&self, page: &Page, number: u32) -> Result<Option<Url>> {
        let with = |parameter: &str, value: &str| {
            let mut url = page.url.clone();
            let others: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(name, _)| name != parameter).collect();
            url.query_pairs_mut().clear().extend_pairs(others).append_pair(parameter, value);
            url
        };
        let same_server = |next: Url| match next.origin() == page.url.origin() {
            true => Ok(Some(next)),
            false => Err(anyhow!("the next page is said to be on another server, {}: it is not fetched", fetch::shown(&next))),
        };
        match &self.settings.pages {
            None => Ok(None),
            Some(Pages::Link) => match linked(&page.headers) {
                Some(next) => same_server(page.url.join(&next).context("the address of the next page")?),
                None => Ok(None),
            },
            Some(Pages::Number { parameter, from }) => Ok((page.length > 2).then(|| with(parameter, &(from + number).to_string()))),
            Some(Pages::Address(path)) => match word_at(page, path)? {
                Some(next) => same_server(page.url.join(&next).context("the address of the next page")?),
                None => Ok(None),
            },
            Some(Pages::Token { path, parameter }) => Ok(word_at(page, path)?.map(|token| with(parameter, &token))),
        }
    }
}

/// Where the server says that it came from, with the name that it gives the file, if any.
pub(super) fn named(shown: &str, headers: &HeaderMap) -> String {
    let disposition = headers.get(header::CONTENT_DISPOSITION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = disposition.split(';').filter_map(|part| part.trim().strip_prefix("filename=")).map(|name| name.trim_matches('"')).next();
    match name.and_then(|name| name.rsplit(['/', '\\']).next()).filter(|name| !name.is_empty()) {
        Some(name) if !shown.ends_with(name) => format!("{}/{name}", shown.trim_end_matches('/')),
        _ => shown.to_owned(),
    }
}

/// The address after `rel="next"` in `Link` (RFC 8288).
fn linked(headers: &HeaderMap) -> Option<String> {
    for value in headers.get_all(header::LINK) {
        for link in value.to_str().ok()?.split(',') {
            let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
            let is_next = |parameter: &str| {
                parameter.trim().strip_prefix("rel=").is_some_and(|rel| rel.trim_matches('"').split(' ').any(|rel| rel == "next"))
            };
            if parameters.split(';').any(is_next) {
                return Some(address.to_owned());
            }
        }
    }
    None
}

/// The text or number that a JSON page has there, if it is one.
fn word_at(page: &Page, path: &str) -> Result<Option<String>> {
    if page.length > LONGEST_PAGE {
        bail!("a page of {} MiB is too long to look into for the next one", page.length >> 20);
    }
    // What is no JSON has no next page; that it is no report either, its reading will tell.
    let Ok(document) = page.json::<serde_json::Value>() else { return Ok(None) };
    let found = path.split('.').try_fold(&document, |at, step| at.get(step));
    Ok(match found {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        let today = time::day(time::parse("2026-03-01").expect("a day"));
        assert_eq!(date(name, today).as_deref(), expected, "{name}");
    }

    #[test]
    fn dates_in_addresses() {
        check("day", Some("2026-03-01"));
        check("yesterday", Some("2026-02-28"));
        check("day-2", Some("2026-02-27"));
        check("month", Some("2026-03"));
        check("year", Some("2026"));
        check("yesterday:%Y/%m/%Y-%m-%d", Some("2026/02/2026-02-28"));
        check("day:%Y%m%d", Some("20260301"));
        check("day:%H", None);
        check("day-x", None);
        check("key", None);
    }
}
