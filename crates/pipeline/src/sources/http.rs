//! What a web server has at an address, page by page where it hands it out so.
//!
//! Where the server says that nothing has changed, the last report is delivered again: it is a sighting. What fails for a moment
//! is tried again; what was cut off is nobody's delivery.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use event::time::{self, Micros};
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{Every, Found, Make, Source};
use crate::accept::Input;
use crate::clock::Clock;
use crate::fetch;
use crate::run::{Collecting, Told};
use crate::secret::Secret;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The feed's own `fetch` if not given. `{NAME}` stands for what `fill` says, `{day}`, `{yesterday}`, `{month}` and `{year}` for
    /// the date, UTC.
    url: Option<String>,
    fill: BTreeMap<String, Secret>,
    headers: BTreeMap<String, Secret>,
    /// Name and password.
    user: Option<String>,
    password: Option<Secret>,
    /// A form to send: then the request is a POST.
    form: BTreeMap<String, Secret>,
    /// A body to send, as it is: then the request is a POST.
    body: Option<Secret>,
    /// How the next page is found.
    pages: Option<Pages>,
    /// No more pages than this.
    most_pages: Option<u32>,
    /// In MiB: what is longer is not taken.
    most: Option<u64>,
    /// How often one request is tried.
    tries: Option<u32>,
    /// How long to wait for the server between two pieces of an answer.
    patience: Option<Every>,
    /// A proxy's address; that of the environment if not given, none if it is empty.
    proxy: Option<Secret>,
    /// A file with certificates of authorities that are trusted beside the known ones, PEM.
    ca: Option<PathBuf>,
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

/// No more than this is taken when nobody says, in MiB.
const MOST: u64 = 4096;
const MOST_PAGES: u32 = 1000;
const TRIES: u32 = 3;
/// A page that is looked into for the next one is no longer than this, in bytes.
const LONGEST_PAGE: u64 = 256 << 20;
/// Before the second try; doubled before each further one.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// What a server may ask to wait within one look.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
const REDIRECTS: usize = 5;

#[derive(Debug)]
struct Http {
    settings: Settings,
    /// With its places to fill.
    url: String,
    /// The servers that may be asked, redirected or not, each as an origin; any if not given.
    only: Option<Vec<String>>,
}

impl Make for Settings {
    fn make(&self, feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        let url = self.url.clone().or_else(|| feed?.fetch.clone());
        let url = url.context("there is no address to fetch: say url = \"https://...\"")?;
        if !self.form.is_empty() && self.body.is_some() {
            bail!("form and body are both given: say one");
        }
        self.check()?;
        let http = Http { settings: self.clone(), url, only: None };
        // The places are filled with something, to see that they are known and that the address is one.
        http.filled(0, |_| Ok("x".to_owned()))?;
        Ok(Box::new(http))
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        if self.password.is_some() != self.user.is_some() {
            bail!("a user needs a password, and a password a user");
        }
        for name in self.headers.keys() {
            name.parse::<HeaderName>().map_err(|_| anyhow!("\"{name}\" is no header's name"))?;
        }
        Ok(())
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
    /// Not before then, as the server asked.
    not_before: Option<Micros>,
}

impl Source for Http {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

/// Fetches what others lead to, such as links in mails: with these settings, and from these servers only.
#[derive(Debug)]
pub(super) struct Fetcher {
    http: Http,
}

/// What a link led to.
pub(super) struct Linked {
    pub(super) file: NamedTempFile,
    /// What the server calls it, or the last step of its address; may be empty.
    pub(super) name: String,
}

impl Fetcher {
    /// Each of the servers is an origin, `https://HOST` or `http://HOST:PORT`.
    pub(super) fn new(settings: &Settings, servers: Vec<String>) -> Result<Fetcher> {
        let Settings { url, fill, form, body, pages, .. } = settings;
        if url.is_some() || body.is_some() || pages.is_some() || !fill.is_empty() || !form.is_empty() {
            bail!("what a link leads to is fetched as it is: without url, fill, form, body and pages");
        }
        settings.check()?;
        Ok(Fetcher { http: Http { settings: settings.clone(), url: String::new(), only: Some(servers) } })
    }

    pub(super) async fn fetch(&self, url: &Url, clock: &Clock) -> Result<Linked, Failed> {
        let client = self.http.client().map_err(Failed::for_good)?;
        let page = self.http.fetch(&client, url, None, clock).await?;
        let page = page.ok_or_else(|| Failed::for_good(anyhow!("the server says that nothing has changed, and was not asked")))?;
        let address = format!("/{}", page.url.path());
        let name = named(&address, &page.headers).rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Linked { file: page.file, name })
    }
}

/// An answer that was read whole.
struct Page {
    file: NamedTempFile,
    headers: HeaderMap,
    url: Url,
    length: u64,
}

impl Http {
    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let now = at_work.clock.now();
        let mut seen: Seen = at_work.remembered()?;
        if seen.not_before.is_some_and(|time| time > now) {
            bail!("the server asked to wait until {}", time::iso(seen.not_before.unwrap_or(now)));
        }
        let client = self.client()?;
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
            let page = match self.fetch(&client, &url, conditions.take().as_ref(), &at_work.clock).await {
                Ok(None) => return self.again(&seen, &shown, at_work).await,
                Ok(Some(page)) => page,
                Err(Failed { why, retry_after, .. }) => {
                    if let Some(asked) = retry_after.filter(|asked| *asked > LONGEST_WAIT) {
                        // Longer than one look may take: the next one comes after it.
                        let until = at_work.clock.now() + Micros::try_from(asked.as_micros()).unwrap_or_default();
                        at_work.remember(&Seen { not_before: Some(until), ..at_work.remembered::<Seen>()? })?;
                    }
                    return Err(why);
                }
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
        (seen.reports, seen.not_before) = (told.reports, None);
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

    fn client(&self) -> Result<Client> {
        let mut builder = fetch::client().redirect(reqwest::redirect::Policy::none());
        if let Some(patience) = self.settings.patience {
            builder = builder.read_timeout(patience.0);
        }
        match &self.settings.proxy {
            None => {}
            Some(proxy) => {
                let address = proxy.reveal()?;
                builder = builder.no_proxy();
                if !address.is_empty() {
                    builder = builder.proxy(reqwest::Proxy::all(&address).map_err(|_| anyhow!("the proxy's address is none"))?);
                }
            }
        }
        if let Some(ca) = &self.settings.ca {
            let pem = std::fs::read(ca).with_context(|| format!("reading the authorities in {}", ca.display()))?;
            for certificate in
                reqwest::Certificate::from_pem_bundle(&pem).with_context(|| format!("reading the authorities in {}", ca.display()))?
            {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().context("preparing to fetch over HTTP")
    }

    /// The address with all places filled.
    fn filled(&self, now: Micros, reveal: impl Fn(&Secret) -> Result<String>) -> Result<Url> {
        let day = |days: i32| time::day_name(time::day(now) - days);
        let (today, month) = (day(0), time::month_name(time::day(now)));
        let (mut url, mut rest) = (String::new(), self.url.as_str());
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(|| anyhow!("url: a {{ is not closed"))?;
            url += before;
            url += &match name {
                "day" => today.clone(),
                "yesterday" => day(1),
                "month" => month.clone(),
                "year" => today.split('-').next().unwrap_or_default().to_owned(),
                name => reveal(self.settings.fill.get(name).ok_or_else(|| anyhow!("url: fill does not say what {{{name}}} is"))?)?,
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

    /// One page, tried again where that may help; none where it is as it was.
    async fn fetch(&self, client: &Client, url: &Url, conditions: Option<&Seen>, clock: &Clock) -> Result<Option<Page>, Failed> {
        let tries = self.settings.tries.unwrap_or(TRIES).max(1);
        let mut wait = FIRST_WAIT;
        for turn in 1.. {
            let mut failed = match self.try_fetch(client, url, conditions).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let asked = failed.retry_after.unwrap_or(wait);
            if asked > LONGEST_WAIT {
                failed.retry_after = Some(asked);
                return Err(failed);
            }
            if turn >= tries || !failed.may_pass {
                return Err(failed);
            }
            clock.sleep(asked.max(wait)).await;
            wait = wait.saturating_mul(2);
        }
        unreachable!("the loop has no end but these")
    }

    async fn try_fetch(&self, client: &Client, url: &Url, conditions: Option<&Seen>) -> Result<Option<Page>, Failed> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let named = self.named(&at, url);
            if self.only.as_ref().is_some_and(|only| !only.contains(&at.origin().ascii_serialization())) {
                let server = at.origin().ascii_serialization();
                return Err(Failed::for_good(anyhow!("{} leads to {server}, which is none of the hosts", self.named(url, url))));
            }
            // What is secret goes to the server that it is for, and to no other that this one names.
            let is_home = at.origin() == url.origin();
            let answer = self.request(client, &at, is_home, conditions)?.send().await.map_err(|error| Failed::of(error, &at))?;
            let status = answer.status();
            if status == StatusCode::NOT_MODIFIED && conditions.is_some_and(|seen| seen.etag.is_some() || seen.modified.is_some()) {
                return Ok(None);
            }
            if status.is_redirection() {
                at = redirected(&at, &named, &answer)?;
                continue;
            }
            if !status.is_success() {
                return Err(Failed {
                    may_pass: status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT),
                    retry_after: retry_after(&answer),
                    is_gone: matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE),
                    why: anyhow!("{named} cannot be fetched: the server says {status}"),
                });
            }
            return self.save(answer, at, &named).await.map(Some);
        }
        Err(Failed::for_good(anyhow!("{} leads on and on", self.named(url, url))))
    }

    /// An address in a message: of the first one nothing that was filled in.
    fn named(&self, at: &Url, first: &Url) -> String {
        // What a mail links to is often open to whoever knows the address.
        if self.only.is_some() || at == first && !self.settings.fill.is_empty() {
            format!("{}/...", at.origin().ascii_serialization())
        } else {
            fetch::shown(at)
        }
    }

    fn request(&self, client: &Client, url: &Url, is_home: bool, conditions: Option<&Seen>) -> Result<reqwest::RequestBuilder, Failed> {
        let settings = &self.settings;
        let posts = !settings.form.is_empty() || settings.body.is_some();
        let mut request = client.request(if posts { Method::POST } else { Method::GET }, url.clone());
        if let Some(seen) = conditions.filter(|_| !posts) {
            let condition = |name, value: &Option<String>| Some((name, HeaderValue::from_str(value.as_deref()?).ok()?));
            let known = [condition(header::IF_NONE_MATCH, &seen.etag), condition(header::IF_MODIFIED_SINCE, &seen.modified)];
            request = request.headers(known.into_iter().flatten().collect());
        }
        if !is_home {
            return if posts {
                Err(Failed::for_good(anyhow!("a form is sent on to another server: it is not sent there")))
            } else {
                Ok(request)
            };
        }
        let secret = |secret: &Secret| secret.reveal().map_err(Failed::for_good);
        for (name, value) in &settings.headers {
            let mut value = HeaderValue::from_str(&secret(value)?)
                .map_err(|_| Failed::for_good(anyhow!("the header {name} holds what no header may")))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            request = request.basic_auth(user, Some(secret(password)?));
        }
        if !settings.form.is_empty() {
            let form: Vec<(&String, String)> =
                settings.form.iter().map(|(name, value)| Ok((name, secret(value)?))).collect::<Result<_, Failed>>()?;
            request = request.form(&form);
        }
        if let Some(body) = &settings.body {
            request = request.body(secret(body)?);
        }
        Ok(request)
    }

    /// Writes an answer to a file, to its end.
    async fn save(&self, mut answer: Response, url: Url, named: &str) -> Result<Page, Failed> {
        let most = self.settings.most.unwrap_or(MOST) << 20;
        let too_large = || {
            let why = anyhow!("{named} is larger than {} MiB: it is not taken (most)", most >> 20);
            Failed { is_gone: true, ..Failed::for_good(why) }
        };
        if answer.content_length().is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let own = |error: std::io::Error| Failed::for_good(Error::new(error).context("writing what was fetched"));
        let mut file = NamedTempFile::new().map_err(own)?;
        let mut length = 0;
        while let Some(piece) = answer.chunk().await.map_err(|error| Failed::of(error, &url))? {
            length += piece.len() as u64;
            if length > most {
                return Err(too_large());
            }
            file.write_all(&piece).map_err(own)?;
        }
        file.flush().map_err(own)?;
        Ok(Page { file, headers: answer.headers().clone(), url, length })
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

/// Why a request came to nothing.
pub(super) struct Failed {
    pub(super) why: Error,
    /// Whether it may be otherwise in a moment.
    may_pass: bool,
    /// Whether it never will be otherwise: it is not there, or too large.
    pub(super) is_gone: bool,
    retry_after: Option<Duration>,
}

impl Failed {
    fn for_good(why: Error) -> Failed {
        Failed { why, may_pass: false, is_gone: false, retry_after: None }
    }

    fn of(error: reqwest::Error, url: &Url) -> Failed {
        let what = fetch::what_failed(&error);
        let why = Error::new(error.without_url()).context(format!("{} {what}", url.origin().ascii_serialization()));
        Failed { why, may_pass: true, is_gone: false, retry_after: None }
    }
}

fn redirected(from: &Url, named: &str, answer: &Response) -> Result<Url, Failed> {
    let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| from.join(to).ok());
    let to = to.filter(fetch::is_http).ok_or_else(|| Failed::for_good(anyhow!("{named} leads nowhere")))?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(Failed::for_good(anyhow!("{named} leads from https to http")));
    }
    Ok(to)
}

/// How long the server asks to wait, in seconds; a date there is no hurry either.
fn retry_after(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Where the server says that it came from, with the name that it gives the file, if any.
fn named(shown: &str, headers: &HeaderMap) -> String {
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
    let file = std::io::BufReader::new(page.file.reopen().context("reading what was fetched")?);
    // What is no JSON has no next page; that it is no report either, its reading will tell.
    let Ok(document) = serde_json::from_reader::<_, serde_json::Value>(file) else { return Ok(None) };
    let found = path.split('.').try_fold(&document, |at, step| at.get(step));
    Ok(match found {
        Some(serde_json::Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(serde_json::Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}
