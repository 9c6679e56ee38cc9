//! What mailboxes have in common, whatever their servers speak: the settings, which messages are meant, and a message's way to
//! the store, part by part.

use std::path::PathBuf;

use anyhow::{Context, Error, Result, anyhow, bail};
use event::time::Micros;
use regex::Regex;
use reqwest::Url;
use serde::Deserialize;
use tracing::{info, warn};

use self::parts::{Attachments, Caps, Content, Envelope, Part, Taken, Wanted};
use super::http;
use super::web::{self, Ask, Failed};
use super::{Every, Found};
use crate::accept::Input;
use crate::run::{Collecting, Receipt};
use crate::secret::Secret;

mod parts;
mod transfer;
pub(super) mod wire;

use self::wire::{Place, Tls};

impl Content {
    /// As it is handed over. Of a file this is the path: the content must be kept until it was taken in.
    fn input(&mut self) -> Input {
        match self {
            Content::Bytes(bytes) => Input::Bytes(std::mem::take(bytes)),
            Content::File(file) => Input::File(file.path().to_owned()),
        }
    }
}

/// Those of every mailbox; some have a meaning for one kind only, which says so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// `HOST` or `HOST:PORT`.
    pub(super) server: String,
    #[serde(default)]
    pub(super) tls: Tls,
    /// A file with certificates of authorities that are trusted beside the known ones, PEM.
    #[serde(default)]
    pub(super) ca: Option<PathBuf>,
    pub(super) user: String,
    pub(super) password: Secret,
    /// IMAP: the mailbox.
    #[serde(default)]
    pub(super) folder: Option<String>,
    /// IMAP: which messages are looked at.
    #[serde(default)]
    pub(super) messages: Option<Messages>,
    /// A pattern on a sender's address.
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    /// A pattern on names of attachments. All that somebody attached on purpose where nothing is said of what to take.
    #[serde(default)]
    attachments: Option<String>,
    #[serde(default)]
    links: Option<Links>,
    /// Whether to take the text itself.
    #[serde(default)]
    body: bool,
    /// What becomes of a message that was taken in.
    #[serde(default)]
    pub(super) after: Option<After>,
    /// In MiB: a longer message is not taken.
    #[serde(default)]
    most: Option<u64>,
    #[serde(default)]
    most_parts: Option<usize>,
    /// In one look.
    #[serde(default)]
    most_messages: Option<usize>,
    /// How long to wait for the server between two pieces of what it says.
    #[serde(default)]
    patience: Option<Every>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Messages {
    Unseen,
    All,
}

/// Addresses in the text whose content is what is delivered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Links {
    /// On the whole address.
    pattern: String,
    /// Who may be asked: `HOST`, over TLS, or `SCHEME://HOST:PORT`. Anybody can write a mail.
    hosts: Vec<String>,
    /// How they are asked.
    #[serde(default)]
    http: Asking,
}

/// The keys of `[source.NAME.http]` that say how to ask.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asking {
    #[serde(flatten)]
    web: web::Settings,
}

/// What becomes of a message of which everything was taken in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum After {
    Seen,
    Move(String),
    Delete,
    Keep,
}

impl TryFrom<String> for After {
    type Error = String;

    fn try_from(text: String) -> Result<After, String> {
        match (text.as_str(), text.strip_prefix("move:")) {
            ("seen", _) => Ok(After::Seen),
            ("delete", _) => Ok(After::Delete),
            ("keep", _) => Ok(After::Keep),
            (_, Some(folder)) if !folder.is_empty() => Ok(After::Move(folder.to_owned())),
            _ => Err(format!("after = \"{text}\": a message is \"seen\", \"move:FOLDER\", \"delete\" or \"keep\"")),
        }
    }
}

/// No more than this is taken when nobody says, in MiB.
const MOST: u64 = 256;
const MOST_MESSAGES: usize = 1000;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Settings that were checked.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) place: Place,
    pub(super) user: String,
    password: Secret,
    pub(super) most_bytes: u64,
    pub(super) most_messages: usize,
    from: Option<Regex>,
    subject: Option<Regex>,
    wanted: Wanted,
    /// How links are asked for.
    asking: Option<web::Settings>,
    /// Who may be asked, as origins.
    servers: Vec<String>,
}

impl Settings {
    /// The ports are those of TLS from the first byte on, and of what begins without.
    pub(super) fn check(&self, ports: [u16; 2]) -> Result<Mailbox> {
        let pattern = |name: &'static str, pattern: &Option<String>| pattern.as_deref().map(Regex::new).transpose().context(name);
        let Settings { from, subject, attachments, links, body, .. } = self;
        let attachments = match pattern("attachments", attachments)? {
            Some(named) => Some(Attachments::Named(named)),
            None => (links.is_none() && !body).then_some(Attachments::All),
        };
        let caps = Caps { parts: self.most_parts.unwrap_or(Caps::default().parts), ..Caps::default() };
        let wanted =
            Wanted { attachments, links: pattern("links", &links.as_ref().map(|links| links.pattern.clone()))?, body: *body, caps };
        let hosts = links.iter().flat_map(|links| &links.hosts);
        let servers: Vec<String> = hosts.map(|host| origin(host)).collect::<Result<_>>()?;
        let asking = links.as_ref().map(|links| links.http.web.clone());
        asking.as_ref().map_or(Ok(()), web::Settings::check).context("links.http")?;
        if links.is_some() && servers.is_empty() {
            bail!("links: say which hosts may be asked, hosts = [\"reports.example.org\"]");
        }
        let patience = self.patience.map_or(PATIENCE, |patience| patience.0);
        let place = Place::new(&self.server, ports, self.tls, self.ca.clone(), patience)?;
        if self.user.is_empty() || self.user.contains(char::is_control) {
            bail!("user = \"...\" is who reads the mailbox, as the server knows them");
        }
        Ok(Mailbox {
            place,
            user: self.user.clone(),
            password: self.password.clone(),
            most_bytes: self.most.unwrap_or(MOST).saturating_mul(1 << 20),
            most_messages: self.most_messages.unwrap_or(MOST_MESSAGES),
            from: pattern("from", from)?,
            subject: pattern("subject", subject)?,
            wanted,
            asking,
            servers,
        })
    }
}

/// `https://HOST` or `SCHEME://HOST:PORT`, as addresses are compared.
fn origin(host: &str) -> Result<String> {
    let address = if host.contains("://") { host.to_owned() } else { format!("https://{host}") };
    let url =
        Url::parse(&address).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none());
    let url = url.with_context(|| format!("links: \"{host}\" is no host; say \"reports.example.org\" or \"http://192.0.2.1:8080\""))?;
    Ok(url.origin().ascii_serialization())
}

/// A message whose parts are on their way.
#[derive(Debug, Default)]
pub(super) struct Handed {
    receipts: Vec<Receipt>,
    /// They lie there until they were taken in.
    contents: Vec<Content>,
    /// In bytes of memory.
    held: u64,
    /// What cannot be taken, now or ever.
    refused: Option<Error>,
    /// What may be there later.
    missing: Option<Error>,
}

/// What became of a message.
#[derive(Debug)]
pub(super) enum Became {
    /// All that was wanted of it is stored.
    Stored,
    /// Nothing of it was wanted.
    Nothing,
    /// It, or some of it, never will be.
    Refused(Error),
    /// It may be another time.
    Missing(Error),
}

impl Mailbox {
    pub(super) fn password(&self) -> Result<String> {
        let password = self.password.reveal()?;
        if password.is_empty() {
            bail!("the password is empty ({})", self.password.place());
        }
        Ok(password)
    }

    /// Whether it matters whom a message is from, or what about.
    pub(super) fn chooses(&self) -> bool {
        self.from.is_some() || self.subject.is_some()
    }

    /// What it chooses by: where that has changed, what was passed over is looked at again.
    pub(super) fn choice(&self) -> String {
        let text = |pattern: &Option<Regex>| pattern.as_ref().map(|pattern| pattern.as_str().to_owned()).unwrap_or_default();
        format!("{}\n{}", text(&self.from), text(&self.subject))
    }

    /// Whether a message that begins so is meant.
    pub(super) fn is_meant(&self, begins: &[u8]) -> bool {
        if !self.chooses() {
            return true;
        }
        let Ok(Envelope { from, subject, .. }) = Envelope::read(begins, self.wanted.caps) else { return false };
        self.from.as_ref().is_none_or(|pattern| from.iter().any(|from| pattern.is_match(from)))
            && self.subject.as_ref().is_none_or(|pattern| pattern.is_match(&subject))
    }

    /// When a message came, as far as it says so itself.
    pub(super) fn time_of(&self, message: &[u8]) -> Option<Micros> {
        Envelope::read(message, self.wanted.caps).ok().and_then(|envelope| envelope.at)
    }

    /// The sentence on a message that is too long.
    pub(super) fn too_long(&self) -> Error {
        anyhow!("it is longer than {} MiB: it is not taken (most)", self.most_bytes >> 20)
    }

    /// All that is wanted of a message, if it can be taken apart.
    pub(super) fn take(&self, message: &[u8]) -> Result<Taken> {
        tokio::task::block_in_place(|| parts::take(message, &self.wanted))
    }

    /// Hands over all that was wanted of a message.
    pub(super) async fn hand_over(&self, taken: Taken, at: Micros, origin: &str, at_work: &Collecting) -> Result<Handed> {
        let (Taken { mut parts, links }, mut handed) = (taken, Handed::default());
        for link in &links {
            match self.follow(link, origin, at_work).await {
                Ok(part) => parts.extend(part),
                Err(failed) if failed.is_gone() => handed.refused = handed.refused.or(Some(failed.why)),
                Err(failed) => handed.missing = handed.missing.or(Some(failed.why)),
            }
        }
        let mut names = std::collections::HashSet::new();
        for (number, Part { name, mut content }) in parts.into_iter().enumerate() {
            // Two of a name are told apart by their number.
            let name = if names.insert(name.clone()) { name } else { format!("{}/{name}", number + 1) };
            handed.held += content.held();
            let found = Found { at: Some(at), origin: format!("{origin}/{name}"), input: content.input() };
            handed.receipts.push(at_work.hand_over(found).await?);
            handed.contents.push(content);
        }
        Ok(handed)
    }

    /// What a link leads to, if it is one of those that may be followed.
    async fn follow(&self, link: &Url, origin: &str, at_work: &Collecting) -> Result<Option<Part>, Failed> {
        let server = link.origin().ascii_serialization();
        let Some(asking) = self.asking.as_ref().filter(|_| self.servers.contains(&server)) else {
            warn!(source = %at_work.name, mail = origin, server, "a link leads to none of the hosts: it is not followed");
            return Ok(None);
        };
        let web = asking.open(at_work).map_err(Failed::for_good)?;
        // What a mail links to is often open to whoever knows the address.
        let ask = Ask { hides: true, only: Some(self.servers.clone()), beside: true, ..Ask::new(link.clone()) };
        let web::Page { file, headers, url, .. } = web.page(&ask).await?;
        let name = http::named(&format!("/{}", url.path()), &headers).rsplit('/').next().unwrap_or_default().to_owned();
        let name = Some(parts::safe_name(&name)).filter(|name| !name.is_empty()).unwrap_or_else(|| "link".to_owned());
        Ok(Some(Part { name, content: Content::File(file) }))
    }
}

impl Handed {
    /// That nothing was handed over, since it cannot be.
    pub(super) fn refused(why: Error) -> Handed {
        Handed { refused: Some(why), ..Handed::default() }
    }

    /// Waits until everything is stored or refused.
    pub(super) async fn became(self) -> Result<Became> {
        let Handed { receipts, contents, mut refused, missing, .. } = self;
        let is_empty = receipts.is_empty();
        for receipt in receipts {
            let told = receipt.told().await?;
            // What was known before by another name is told with that one, so nothing may be said of it here.
            refused = refused.or_else(|| told.refused.first().map(|why| anyhow!("{why}")));
        }
        drop(contents);
        Ok(match (refused, missing) {
            // What is missing is asked for again before anything is said of the rest.
            (_, Some(why)) => Became::Missing(why),
            (Some(why), None) => Became::Refused(why),
            (None, None) if is_empty => Became::Nothing,
            (None, None) => Became::Stored,
        })
    }
}

/// How a look at a mailbox goes: what failed is said at its end, after all others had their turn.
#[derive(Debug, Default)]
pub(super) struct Failures {
    first: Option<Error>,
    further: usize,
}

impl Failures {
    pub(super) fn add(&mut self, message: &str, what: &str, why: Error) {
        let error = why.context(format!("{message} {what}"));
        match self.first {
            None => self.first = Some(error),
            Some(_) => self.further += 1,
        }
    }

    pub(super) fn end(self) -> Result<()> {
        match self {
            Failures { first: None, .. } => Ok(()),
            Failures { first: Some(error), further: 0 } => Err(error),
            Failures { first: Some(error), further } => {
                Err(error.context(format!("{} messages were not taken, the first of which", further + 1)))
            }
        }
    }
}

/// That nothing of a message was wanted: it is nobody's any more.
pub(super) fn log_nothing(source: &str, mail: &str) {
    info!(source, mail, "a message has nothing that is wanted");
}

/// Messages whose parts are at the store, or on their way to it.
#[derive(Debug)]
pub(super) struct Batch<K> {
    handed: Vec<(K, Handed)>,
    parts: usize,
    held: u64,
}

impl<K> Default for Batch<K> {
    fn default() -> Batch<K> {
        Batch { handed: Vec::new(), parts: 0, held: 0 }
    }
}

/// Parts, or messages without any, that are waited for together, and how much memory they may hold.
const TOGETHER: usize = 64;
const TOGETHER_BYTES: u64 = 16 << 20;

impl<K> Batch<K> {
    /// Whether it is time to wait for them.
    pub(super) fn push(&mut self, message: K, handed: Handed) -> bool {
        self.parts += handed.receipts.len().max(1);
        self.held += handed.held;
        self.handed.push((message, handed));
        self.parts >= TOGETHER || self.held >= TOGETHER_BYTES
    }

    /// All of them; it is empty then.
    pub(super) fn take(&mut self) -> Vec<(K, Handed)> {
        std::mem::take(self).handed
    }
}
