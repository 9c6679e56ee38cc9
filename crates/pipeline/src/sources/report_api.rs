//! Reports that a server lists and hands out by their ids, to whoever signs the request: a JSON object with the key, and over its
//! bytes an HMAC-SHA256 in hex as the header `HMAC2`. docs/operating.md says whose reports come so.
//!
//! Whoever knows a report's id may read it: so no message shows one, and what is remembered of them are hashes.

use std::collections::BTreeMap;

use anyhow::{Context, Error, Result, anyhow, bail};
use event::time;
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::header::HeaderName;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use super::web::{self, Ask, Body, Failed, Page, Web};
use super::{Found, Make, Source};
use crate::accept::Input;
use crate::fetch;
use crate::run::Collecting;
use crate::secret::Secret;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The API's address: `reports/list` lies below it.
    url: Option<String>,
    /// Where reports are handed out, by their ids; by the API's `reports/download` if not given.
    downloads: Option<String>,
    key: Option<Secret>,
    secret: Option<Secret>,
    /// Which types of report; all if none is given.
    types: Vec<String>,
    /// Of which subscriptions; of all if none is given.
    reports: Vec<String>,
    /// How many days back to look: some reports come late.
    days: Option<u16>,
    /// No more reports than this in one look; the others come with the next one.
    most_reports: Option<usize>,
    #[serde(flatten)]
    web: web::Settings,
}

const DAYS: u16 = 3;
const MOST_REPORTS: usize = 2000;

/// Reports that are handed over together.
const TOGETHER: usize = 16;

/// So many that fail one after the other are not each its own fault.
const MOST_FAILURES: u32 = 3;

/// What is remembered of a report outlives the days that are looked at by so many, for clocks differ.
const LONGER: i32 = 2;

#[derive(Debug)]
struct ReportApi {
    settings: Settings,
    url: Url,
    downloads: Option<Url>,
    key: Secret,
    secret: Secret,
}

impl Make for Settings {
    fn make(&self, _feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        self.web.check()?;
        let folder = |address: &String| fetch::parse(&format!("{}/", address.trim_end_matches('/')));
        let url = folder(self.url.as_ref().context("say url = \"https://.../\", the API's address")?)?;
        let downloads = self.downloads.as_ref().map(folder).transpose().context("downloads")?;
        let key = self.key.clone().context("it wants a key: say key = { file = \"PATH\" }")?;
        let secret = self.secret.clone().context("it wants a secret to sign with: say secret = { file = \"PATH\" }")?;
        Ok(Box::new(ReportApi { settings: self.clone(), url, downloads, key, secret }))
    }
}

/// The reports that were taken in: the hash of each one's id, and the day on which it was.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Seen {
    reports: BTreeMap<String, i32>,
}

/// A report as it is listed.
#[derive(Clone, Debug, Deserialize)]
struct Listed {
    id: String,
    /// Its file's name, which tells feed and day.
    file: String,
    #[serde(default, rename = "type")]
    kind: String,
    /// Its day.
    #[serde(default)]
    timestamp: String,
}

/// What is listed; or a sentence that says why nothing is.
#[derive(Deserialize)]
#[serde(untagged)]
enum List {
    Reports(Vec<Listed>),
    Error { error: String },
}

impl Source for ReportApi {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

impl ReportApi {
    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let today = time::day(at_work.clock.now());
        let first = today - i32::from(self.settings.days.unwrap_or(DAYS));
        let web = self.settings.web.open(at_work)?;
        let mut listed = self.list(&web, first, today).await?;
        let mut seen: Seen = at_work.remembered()?;
        seen.reports.retain(|_, taken| *taken >= first - LONGER);
        let all = listed.len();
        listed.retain(|report| !seen.reports.contains_key(&hash(&report.id)));
        let most = self.settings.most_reports.unwrap_or(MOST_REPORTS);
        info!(source = %at_work.name, reports = all, new = listed.len(), most, "reports listed");
        // The oldest first, so that what is left for the next look does not become too old.
        listed.sort_by(|one, other| (&one.timestamp, &one.file).cmp(&(&other.timestamp, &other.file)));
        listed.truncate(most);
        let mut trouble = Trouble::default();
        for reports in listed.chunks(TOGETHER) {
            let mut fetched = Vec::new();
            for report in reports {
                match self.download(&web, report).await {
                    Ok(page) => {
                        trouble.in_a_row = 0;
                        fetched.push((report, page));
                    }
                    Err(failed) => {
                        warn!(source = %at_work.name, file = report.file, error = format!("{:#}", failed.why), "a report could not be fetched");
                        trouble.count(failed);
                    }
                }
                if trouble.is_hopeless {
                    break;
                }
            }
            let mut waiting = Vec::new();
            for (report, page) in &fetched {
                let origin = format!("{}{}", fetch::shown(&self.url), report.file);
                let found = Found { at: None, origin, input: Input::File(page.file.path().to_owned()) };
                waiting.push((report, at_work.hand_over(found).await?));
            }
            for (report, receipt) in waiting {
                let told = receipt.told().await?;
                if told.is_refused() {
                    let why = told.refused.join("; ");
                    warn!(source = %at_work.name, file = report.file, why, "a report was not taken in");
                    trouble.why.get_or_insert_with(|| anyhow!("not every report was taken in: {why}"));
                } else {
                    seen.reports.insert(hash(&report.id), today);
                }
            }
            at_work.remember(&seen)?;
            if trouble.is_hopeless {
                break;
            }
        }
        trouble.why.map_or(Ok(()), Err)
    }

    /// The reports of these days that are meant.
    async fn list(&self, web: &Web<'_>, first: i32, today: i32) -> Result<Vec<Listed>> {
        let mut request = Map::new();
        request.insert("date".to_owned(), json!(format!("{}:{}", time::day_name(first), time::day_name(today))));
        if !self.settings.reports.is_empty() {
            request.insert("reports".to_owned(), json!(self.settings.reports));
        }
        // It can be asked for one type only; of several, and of none, the others are left out here.
        if let [kind] = self.settings.types.as_slice() {
            request.insert("type".to_owned(), json!(kind));
        }
        let page = web.page(&self.signed("reports/list", request)?).await?;
        let mut reports = match page.json().context("reading the list of reports")? {
            List::Reports(reports) => reports,
            List::Error { error } => bail!("the server lists no reports: it says \"{}\"", self.harmless(&error)?),
        };
        let types = &self.settings.types;
        reports.retain(|report| types.is_empty() || types.contains(&report.kind));
        if let Some(odd) = reports.iter().find(|report| !is_name(&report.file) || !is_id(&report.id)) {
            bail!("the server lists a report with a name or id that is none: {:?}", odd.file);
        }
        Ok(reports)
    }

    async fn download(&self, web: &Web<'_>, report: &Listed) -> Result<Page, Failed> {
        let ask = match &self.downloads {
            Some(folder) => folder.join(&report.id).map(Ask::new).map_err(Error::new),
            None => self.signed("reports/download", Map::from_iter([("id".to_owned(), json!(report.id))])),
        };
        let mut ask = ask.map_err(Failed::for_good)?;
        ask.hides = true;
        let page = web.page(&ask).await?;
        if page.length == 0 {
            return Err(Failed::for_now(anyhow!("the report is empty")));
        }
        Ok(page)
    }

    fn signed(&self, method: &str, mut request: Map<String, Value>) -> Result<Ask> {
        request.insert("apikey".to_owned(), json!(self.key.reveal()?));
        let body = Value::Object(request).to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.reveal()?.as_bytes());
        let mut ask = Ask::new(self.url.join(method).context("the address of the API")?);
        ask.secret.push((HeaderName::from_static("hmac2"), hex(hmac::sign(&key, body.as_bytes()).as_ref())));
        ask.body = Some(Body::Json(body));
        Ok(ask)
    }

    /// The beginning of what a server says of an error, without what it may repeat of the request.
    fn harmless(&self, said: &str) -> Result<String> {
        let mut said = said.to_owned();
        for secret in [&self.key, &self.secret] {
            said = said.replace(&secret.reveal()?, "***");
        }
        Ok(said.chars().take(200).collect())
    }
}

/// How it goes with fetching report after report.
#[derive(Default)]
struct Trouble {
    in_a_row: u32,
    /// The first.
    why: Option<Error>,
    /// Whether there is no point in asking for more now.
    is_hopeless: bool,
}

impl Trouble {
    /// Each is tried again at the next look, which comes soon since this one has failed.
    fn count(&mut self, failed: Failed) {
        self.in_a_row += 1;
        self.is_hopeless = failed.is_refusal() || failed.is_to_wait || self.in_a_row >= MOST_FAILURES;
        self.why.get_or_insert(failed.why.context("not every report could be fetched"));
    }
}

/// What becomes the last part of an origin, by which a feed and a day are told.
fn is_name(file: &str) -> bool {
    !file.is_empty() && file.len() <= 255 && !file.contains(['/', '\\', '!', '#']) && !file.chars().any(char::is_control)
}

/// What is part of an address must not lead elsewhere.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 255 && id.chars().all(|sign| sign.is_ascii_alphanumeric() || "-_".contains(sign))
}

fn hash(id: &str) -> String {
    hex(digest::digest(&digest::SHA256, id.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_signed() {
        // Test case 2 of RFC 4231.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(hmac::sign(&key, b"what do ya want for nothing?").as_ref()), expected);
    }

    #[test]
    fn names_and_ids_lead_nowhere_else() {
        assert!(is_name("2026-03-02-scan_ssh-example-geo.csv") && is_id("aB3_-9"));
        for odd in ["", "a/b", "..\\b", "a!b", "a\nb"] {
            assert!(!is_name(odd) && !is_id(odd), "{odd:?}");
        }
        assert!(!is_id("..") && !is_id("a?b=c"));
    }
}
