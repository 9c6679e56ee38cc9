//! Alarms: whoever is on duty hears once that a feed is silent or strange or a source fails, and once that it is over. What each
//! output has told is remembered in a file, so that neither a start nor a server that was away changes that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use event::time::{self, Micros};
use notify::{Mail, News, Security, Server, Trouble, Webhook};
use pipeline::sources::Every;
use pipeline::{Secret, health};
use serde::{Deserialize, Serialize};
use tracing::instrument;

use crate::actor::{Action, Actor};
use crate::configuration::Places;
use crate::desk::Desk;
use crate::health::HealthReport;
use crate::tables::write_whole;

/// Who is told when a feed is silent or strange.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alarms {
    /// How often `waglan run` looks whether something is wrong.
    pub every: Every,
    pub mail: Option<MailSettings>,
    pub webhook: Option<WebhookSettings>,
}

impl Default for Alarms {
    fn default() -> Alarms {
        Alarms { every: Every(Duration::from_secs(600)), mail: None, webhook: None }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    from: String,
    to: Vec<String>,
    server: String,
    port: Option<u16>,
    #[serde(default)]
    security: Security,
    user: Option<String>,
    password: Option<Secret>,
    /// A file with certificates of authorities that are trusted beside the known ones, PEM.
    ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// It often holds a key.
    url: Secret,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    ca: Option<PathBuf>,
}

/// One way to tell somebody.
#[derive(Debug)]
enum Output {
    Mail(Mail),
    Webhook(Webhook),
}

impl Output {
    /// Who of its own was not told, and why; an error if nobody was.
    async fn send(&self, news: &News, now: Micros) -> Result<Vec<String>> {
        match self {
            Output::Mail(mail) => mail.send(news, now).await,
            Output::Webhook(webhook) => webhook.send(news, now).await.map(|()| Vec::new()),
        }
    }
}

impl MailSettings {
    /// Whether its addresses are some, whatever is secret left aside.
    fn check(&self) -> Result<()> {
        if self.user.is_some() != self.password.is_some() {
            bail!("user and password belong together");
        }
        let server = Server { host: self.server.clone(), security: self.security, ..Server::default() };
        Mail::new(&self.from, &self.to, server).map(|_| ())
    }

    fn output(&self) -> Result<Output> {
        let login = match (&self.user, &self.password) {
            (Some(user), Some(password)) => Some((user.clone(), password.reveal()?)),
            _ => None,
        };
        let (host, ca) = (self.server.clone(), read(self.ca.as_ref())?);
        let server = Server { host, port: self.port, security: self.security, login, ca };
        Ok(Output::Mail(Mail::new(&self.from, &self.to, server)?))
    }
}

impl WebhookSettings {
    /// Whether its headers have names, and its address is one if it is no secret that is elsewhere.
    fn check(&self) -> Result<()> {
        let url = if let Secret::Text(url) = &self.url { url } else { "https://localhost/" };
        let headers: Vec<_> = self.headers.keys().map(|name| (name.clone(), String::new())).collect();
        Webhook::new(url, &headers, None).map(|_| ())
    }

    fn output(&self) -> Result<Output> {
        let headers = self.headers.iter().map(|(name, value)| Ok((name.clone(), value.reveal()?))).collect::<Result<Vec<_>>>()?;
        Ok(Output::Webhook(Webhook::new(&self.url.reveal()?, &headers, read(self.ca.as_ref())?.as_deref())?))
    }
}

fn read(path: Option<&PathBuf>) -> Result<Option<Vec<u8>>> {
    path.map(|path| std::fs::read(path).with_context(|| format!("reading {}", path.display()))).transpose()
}

impl Alarms {
    /// Every way to tell somebody, by its name in the configuration; or what of it cannot work.
    fn outputs(&self) -> BTreeMap<&'static str, Result<Output>> {
        let mail = self.mail.as_ref().map(|mail| ("mail", mail.output().context("[alarms.mail] in the configuration")));
        let webhook = self.webhook.as_ref().map(|webhook| ("webhook", webhook.output().context("[alarms.webhook] in the configuration")));
        mail.into_iter().chain(webhook).collect()
    }

    /// What of it cannot work.
    pub(crate) fn check(&self, places: &Places) -> Vec<Error> {
        let mail = self.mail.as_ref().map(|mail| ("alarms.mail", mail.check()));
        let webhook = self.webhook.as_ref().map(|webhook| ("alarms.webhook", webhook.check()));
        let wrong = |(key, checked): (&str, Result<()>)| Some(checked.err()?.context(format!("[{key}] in {}", places.of_key(key))));
        mail.into_iter().chain(webhook).filter_map(wrong).collect()
    }
}

/// What each output has told and is not over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    version: u32,
    by_output: BTreeMap<String, Vec<Trouble>>,
}

const TOLD_VERSION: u32 = 1;

/// A source that fails so often in a row is in trouble: once or twice is the internet.
const FAILURES: u32 = 3;

/// What goes wrong that is of no feed and no source.
const STORE: &str = "the store";
const UPKEEP: &str = "upkeep";

fn trouble(what: String, state: &str, why: &str, since: Micros) -> Trouble {
    Trouble { what, state: state.to_owned(), why: why.to_owned(), since }
}

impl HealthReport {
    /// Whether this says how such a thing does, as [`Trouble::what`] names it.
    fn looks_at(&self, what: &str) -> bool {
        match what.split_once(' ') {
            Some(("feed", id)) => self.feeds.iter().any(|feed| feed.feed == id),
            Some(("source", name)) => self.sources.contains_key(name),
            _ => [STORE, UPKEEP].contains(&what),
        }
    }

    /// What somebody should look at.
    fn troubles(&self, now: Micros) -> Vec<Trouble> {
        let trouble = |what: String, state: &str, why: &str| trouble(what, state, why, now);
        let feeds = self.feeds.iter().filter(|feed| feed.state >= health::State::Strange);
        let feeds = feeds.map(|feed| trouble(format!("feed {}", feed.feed), feed.state.name(), &feed.why));
        let sources = self.sources.iter().filter(|(_, source)| source.failures >= FAILURES);
        let sources = sources
            .map(|(name, source)| trouble(format!("source {name}"), "failing", source.error.as_deref().unwrap_or("it does not say why")));
        feeds.chain(sources).collect()
    }
}

impl Desk {
    /// Tells whoever the configuration names what has gone wrong since they were told last, and what is well again. What could not be
    /// told is told the next time; why is said.
    #[instrument(skip_all)]
    pub async fn raise_alarms(&self, actor: &Actor, now: Micros) -> Result<Vec<String>> {
        // People read it.
        let now = now - now.rem_euclid(time::SECOND);
        let outputs = self.configuration.alarms.outputs();
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        let judged = self.judged(actor, now).await;
        let path = self.told_path()?;
        let mut unwritten = self.told_in_vain.lock().await;
        let mut told = unwritten.take().map_or_else(|| Told::read(&path), Ok)?;
        let before = told.clone();
        let mut untold = Vec::new();
        for (name, output) in outputs {
            let known = told.by_output.remove(name).unwrap_or_default();
            let (news, then) = match &judged {
                Ok(health) => {
                    let mut wrong = health.troubles(now);
                    wrong.extend(self.failed_upkeep(actor)?.map(|why| trouble(UPKEEP.to_owned(), "failing", &why, now)));
                    News::since(&known, &wrong, |what| health.looks_at(what))
                }
                // How feeds do is not known: what was wrong is so still.
                Err(error) => {
                    let store = trouble(STORE.to_owned(), "unreadable", &format!("{error:#}"), now);
                    let wrong: Vec<_> = known.iter().filter(|known| known.what != STORE).cloned().chain([store]).collect();
                    News::since(&known, &wrong, |_| false)
                }
            };
            let sent = match output {
                _ if news.is_empty() => Ok(Vec::new()),
                Ok(output) => output.send(&news, now).await,
                Err(error) => Err(error),
            };
            let is_told = sent.is_ok();
            let who = sent.unwrap_or_else(|error| vec![format!("{error:#}")]);
            untold.extend(who.into_iter().map(|why| format!("{} was not told by {name}: {why}", news.subject())));
            told.by_output.insert(name.to_owned(), if is_told { then } else { known });
        }
        if told.by_output != before.by_output
            && let Err(error) = told.write(&path)
        {
            // A full disk is no reason to say the same thing every ten minutes.
            untold.push(format!("what was told could not be remembered: {error:#}"));
            *unwritten = Some(told);
        }
        Ok(untold)
    }

    /// Sends a message by every output, to try it. What went wrong by output, nothing where it was taken.
    pub async fn test_alarms(&self, actor: &Actor, now: Micros) -> Result<Vec<(&'static str, Result<()>)>> {
        actor.require(Action::Maintain)?;
        self.audit.write(actor, Action::Maintain, "a test of alarms", now)?;
        let mut tried = Vec::new();
        for (name, output) in self.configuration.alarms.outputs() {
            let sent = match output {
                Ok(output) => output.send(&News::of_a_test(now), now).await,
                Err(error) => Err(error),
            };
            let all = |refused: Vec<String>| if refused.is_empty() { Ok(()) } else { Err(anyhow!(refused.join("; "))) };
            tried.push((name, sent.and_then(all)));
        }
        Ok(tried)
    }

    /// What was told and is not over, by output.
    pub fn standing_alarms(&self, actor: &Actor) -> Result<BTreeMap<String, Vec<Trouble>>> {
        actor.require(Action::Query)?;
        Ok(Told::read(&self.told_path()?)?.by_output)
    }

    fn told_path(&self) -> Result<PathBuf> {
        Ok(self.tables_folder()?.join("alarms.json"))
    }
}

impl Told {
    fn read(path: &std::path::Path) -> Result<Told> {
        let reading = || format!("reading {}", path.display());
        let told: Told = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Told::default(),
            bytes => serde_json::from_slice(&bytes.with_context(reading)?).with_context(reading)?,
        };
        if told.version > TOLD_VERSION {
            bail!("{} was written by a later version of the program", path.display());
        }
        Ok(told)
    }

    fn write(&mut self, path: &std::path::Path) -> Result<()> {
        self.version = TOLD_VERSION;
        write_whole(path, &serde_json::to_vec_pretty(self)?)
    }
}
