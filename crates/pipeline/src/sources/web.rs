//! How a web server is asked, for all sources that ask one: within limits, again where that may help, and with what is secret for
//! the server alone that it is for. An answer lies in a file until it is stored; what was cut off is no answer.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use event::time::{self, Micros};
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use super::Every;
use crate::clock::chance;
use crate::fetch;
use crate::run::Collecting;
use crate::secret::Secret;

/// What can be said of any server. It stands among a source's own settings, which refuse what neither knows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    headers: BTreeMap<String, Secret>,
    /// Name and password.
    user: Option<String>,
    password: Option<Secret>,
    /// In MiB: what is longer is not taken.
    pub(super) most: Option<u64>,
    /// How often one request is tried.
    tries: Option<u32>,
    /// How long to wait for the server between two pieces of an answer.
    patience: Option<Every>,
    /// A proxy's address; that of the environment if not given, none if it is empty.
    proxy: Option<Secret>,
    /// A file with certificates of authorities that are trusted beside the known ones, PEM.
    ca: Option<PathBuf>,
}

/// No more than this is taken when nobody says, in MiB.
const MOST: u64 = 4096;
const TRIES: u32 = 3;
/// What is looked into, and not only handed on, is no longer than this, in bytes.
pub(super) const LONGEST_PAGE: u64 = 256 << 20;
/// Before the second try; doubled before each further one.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// What a server may ask to wait within one look.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
const REDIRECTS: usize = 5;

/// A request.
#[derive(Debug)]
pub(super) struct Ask {
    pub url: Url,
    /// Whether the address holds what no message may show.
    pub hides: bool,
    /// For whichever server answers. With a condition among them the answer may be that nothing has changed.
    pub headers: HeaderMap,
    /// For the server that the address names, and no other.
    pub secret: Vec<(HeaderName, String)>,
    /// Then it is a POST.
    pub body: Option<Body>,
    /// Whether it must not be tried again.
    pub once: bool,
    /// The servers that may be asked, led on to or not, each as an origin; any if not given.
    pub only: Option<Vec<String>>,
    /// Whether the server is one beside the source's own: that it asks to be left alone holds up nothing else.
    pub beside: bool,
}

pub(super) enum Body {
    Form(Vec<(String, String)>),
    Text(String),
    Json(String),
}

impl std::fmt::Debug for Body {
    /// It may hold a key.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Body::Form(_) => "Form",
            Body::Text(_) => "Text",
            Body::Json(_) => "Json",
        })
    }
}

impl Ask {
    pub(super) fn new(url: Url) -> Ask {
        Ask { url, hides: false, headers: HeaderMap::new(), secret: Vec::new(), body: None, once: false, only: None, beside: false }
    }

    /// An address in a message. Where one of them hides something, those that it leads to may say it too.
    fn named(&self, at: &Url) -> String {
        if self.hides { format!("{}/...", at.origin().ascii_serialization()) } else { fetch::shown(at) }
    }
}

/// An answer that was read whole.
#[derive(Debug)]
pub(super) struct Page {
    pub file: NamedTempFile,
    pub headers: HeaderMap,
    pub url: Url,
    pub length: u64,
}

impl Page {
    /// What the answer says, where it is JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if self.length > LONGEST_PAGE {
            bail!("a page of {} MiB is too long to look into", self.length >> 20);
        }
        let file = BufReader::new(self.file.reopen().context("reading what was fetched")?);
        serde_json::from_reader(file).with_context(|| format!("reading what {} says", self.url.origin().ascii_serialization()))
    }
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(super) struct Failed {
    pub why: Error,
    /// Whether it may be otherwise in a moment.
    pub may_pass: bool,
    /// Whether the server asks to be left alone for longer than a look may take.
    pub is_to_wait: bool,
    /// Whether the answer is longer than it may be.
    pub is_too_large: bool,
    pub status: Option<StatusCode>,
    retry_after: Option<Duration>,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Error {
        failed.why
    }
}

impl Failed {
    pub(super) fn for_good(why: Error) -> Failed {
        Failed { why, may_pass: false, is_to_wait: false, is_too_large: false, status: None, retry_after: None }
    }

    pub(super) fn for_now(why: Error) -> Failed {
        Failed { may_pass: true, ..Failed::for_good(why) }
    }

    fn of(error: reqwest::Error, url: &Url) -> Failed {
        let what = fetch::what_failed(&error);
        let why = Error::new(error.without_url()).context(format!("{} {what}", url.origin().ascii_serialization()));
        Failed::for_now(why)
    }

    /// Whether it never will be otherwise: it is not there, or too large.
    pub(super) fn is_gone(&self) -> bool {
        self.is_too_large || self.status.is_some_and(|status| matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE))
    }

    /// Whether it is about who asks, and not about what was asked for.
    pub(super) fn is_refusal(&self) -> bool {
        self.status.is_some_and(is_refusal)
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
}

impl Settings {
    /// That they can be meant, as far as one can know before it is tried.
    pub(super) fn check(&self) -> Result<()> {
        if self.password.is_some() != self.user.is_some() {
            bail!("a user needs a password, and a password a user");
        }
        for name in self.headers.keys() {
            name.parse::<HeaderName>().map_err(|_| anyhow!("\"{name}\" is no header's name"))?;
        }
        Ok(())
    }

    pub(super) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// A way to ask, if the server did not ask to be left alone.
    pub(super) fn open<'s>(&'s self, at_work: &'s Collecting) -> Result<Web<'s>> {
        if let Some(time) = at_work.not_before().filter(|time| *time > at_work.clock.now()) {
            bail!("the server asked to wait until {}", time::iso(time));
        }
        Ok(Web { client: self.client()?, settings: self, at_work })
    }

    fn client(&self) -> Result<Client> {
        let mut builder = fetch::client().redirect(reqwest::redirect::Policy::none());
        if let Some(patience) = self.patience {
            builder = builder.read_timeout(patience.0);
        }
        match &self.proxy {
            None => {}
            Some(proxy) => {
                let address = proxy.reveal()?;
                builder = builder.no_proxy();
                if !address.is_empty() {
                    builder = builder.proxy(reqwest::Proxy::all(&address).map_err(|_| anyhow!("the proxy's address is none"))?);
                }
            }
        }
        if let Some(ca) = &self.ca {
            let reading = || format!("reading the authorities in {}", ca.display());
            let pem = std::fs::read(ca).with_context(reading)?;
            for certificate in reqwest::Certificate::from_pem_bundle(&pem).with_context(reading)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().context("preparing to fetch over HTTP")
    }
}

/// A way to ask, for one look.
#[derive(Debug)]
pub(super) struct Web<'s> {
    settings: &'s Settings,
    client: Client,
    at_work: &'s Collecting,
}

impl Web<'_> {
    /// One answer, tried again where that may help.
    pub(super) async fn page(&self, ask: &Ask) -> Result<Page, Failed> {
        Ok(self.ask(ask).await?.expect("nothing was said of an earlier answer"))
    }

    /// One answer, tried again where that may help; none where a condition says that it is as it was.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Option<Page>, Failed> {
        let tries = if ask.once { 1 } else { self.settings.tries.unwrap_or(TRIES) };
        let clock = &self.at_work.clock;
        let mut wait = FIRST_WAIT;
        for turn in 1.. {
            let failed = match self.try_ask(ask).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let asked = failed.retry_after.unwrap_or(wait);
            if asked > LONGEST_WAIT {
                // Longer than one look may take: the next one comes after it.
                let until = clock.now().saturating_add(Micros::try_from(asked.as_micros()).unwrap_or_default());
                if !ask.beside {
                    self.at_work.wait_until(until).map_err(Failed::for_good)?;
                }
                return Err(Failed { is_to_wait: true, ..failed });
            }
            if turn >= tries.max(1) || !failed.may_pass {
                return Err(failed);
            }
            // Not sooner than the server asks, and not all in step.
            let spread = 1.0 + 0.5 * chance((ask.url.as_str(), turn, clock.now()));
            clock.sleep(asked.max(wait).mul_f64(spread)).await;
            wait = wait.saturating_mul(2);
        }
        unreachable!("the loop has no end but these")
    }

    async fn try_ask(&self, ask: &Ask) -> Result<Option<Page>, Failed> {
        let may_be_as_it_was = [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE].iter().any(|name| ask.headers.contains_key(name));
        let mut at = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let server = at.origin().ascii_serialization();
            if ask.only.as_ref().is_some_and(|only| !only.contains(&server)) {
                return Err(Failed::for_good(anyhow!("{} leads to {server}, which is none of the hosts", ask.named(&ask.url))));
            }
            // What is secret goes to the server that it is for, and to no other that this one names.
            let is_home = at.origin() == ask.url.origin();
            let answer = self.request(ask, &at, is_home)?.send().await.map_err(|error| Failed::of(error, &at))?;
            let status = answer.status();
            if status == StatusCode::NOT_MODIFIED && may_be_as_it_was {
                return Ok(None);
            }
            if status.is_redirection() {
                at = redirected(ask, &at, &answer)?;
                continue;
            }
            if !status.is_success() {
                let is_right = if is_home && self.tells_who(ask) && is_refusal(status) { "; is the key or password right?" } else { "" };
                let why = anyhow!("{} cannot be fetched: the server says {status}{is_right}", ask.named(&at));
                return Err(Failed {
                    may_pass: status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT),
                    status: Some(status),
                    retry_after: retry_after(&answer, self.at_work.clock.now()),
                    ..Failed::for_good(why)
                });
            }
            return self.save(ask, answer, at).await.map(Some);
        }
        Err(Failed::for_good(anyhow!("{} leads on and on", ask.named(&ask.url))))
    }

    /// Whether a request says who asks.
    fn tells_who(&self, ask: &Ask) -> bool {
        !ask.secret.is_empty() || !self.settings.headers.is_empty() || self.settings.user.is_some()
    }

    fn request(&self, ask: &Ask, url: &Url, is_home: bool) -> Result<reqwest::RequestBuilder, Failed> {
        let method = if ask.body.is_some() { Method::POST } else { Method::GET };
        let mut request = self.client.request(method, url.clone()).headers(ask.headers.clone());
        if !is_home {
            return match ask.body {
                Some(_) => Err(Failed::for_good(anyhow!("a form is sent on to another server: it is not sent there"))),
                None => Ok(request),
            };
        }
        let secret = |secret: &Secret| secret.reveal().map_err(Failed::for_good);
        let sensitive = |name: &str, value: &str| {
            let mut value =
                HeaderValue::from_str(value).map_err(|_| Failed::for_good(anyhow!("the header {name} holds what no header may")))?;
            value.set_sensitive(true);
            Ok(value)
        };
        for (name, value) in &self.settings.headers {
            request = request.header(name, sensitive(name, &secret(value)?)?);
        }
        for (name, value) in &ask.secret {
            request = request.header(name, sensitive(name.as_str(), value)?);
        }
        if let (Some(user), Some(password)) = (&self.settings.user, &self.settings.password) {
            request = request.basic_auth(user, Some(secret(password)?));
        }
        Ok(match &ask.body {
            None => request,
            Some(Body::Form(form)) => request.form(form),
            Some(Body::Text(text)) => request.body(text.clone()),
            Some(Body::Json(text)) => request.header(header::CONTENT_TYPE, "application/json").body(text.clone()),
        })
    }

    /// Writes an answer to a file, to its end.
    async fn save(&self, ask: &Ask, mut answer: Response, url: Url) -> Result<Page, Failed> {
        let most = self.settings.most.unwrap_or(MOST) << 20;
        let too_large = || {
            let why = anyhow!("{} is larger than {} MiB: it is not taken (most)", ask.named(&url), most >> 20);
            Failed { is_too_large: true, ..Failed::for_good(why) }
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
}

fn redirected(ask: &Ask, from: &Url, answer: &Response) -> Result<Url, Failed> {
    let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| from.join(to).ok());
    let to = to.filter(fetch::is_http).ok_or_else(|| Failed::for_good(anyhow!("{} leads nowhere", ask.named(from))))?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(Failed::for_good(anyhow!("{} leads from https to http", ask.named(from))));
    }
    Ok(to)
}

/// How long the server asks to wait: in seconds, or until a date of its own clock.
fn retry_after(answer: &Response, now: Micros) -> Option<Duration> {
    let said = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = said(header::RETRY_AFTER)?;
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| time::with_format(text, HTTP_DATE, 0).ok();
    let its_now = said(header::DATE).and_then(date).unwrap_or(now);
    Some(Duration::from_micros(date(asked)?.saturating_sub(its_now).max(0).unsigned_abs()))
}

/// As HTTP writes dates (RFC 9110, 5.6.7).
const HTTP_DATE: &str = "%a, %d %b %Y %H:%M:%S GMT";
