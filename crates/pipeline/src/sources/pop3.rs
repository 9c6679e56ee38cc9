//! Mails in a mailbox of a POP3 server (RFC 1939, 2449, 2595), for where there is nothing better.
//!
//! The server knows neither folders nor flags: what was taken is deleted, or remembered by the name that the server gives it for ever
//! (`UIDL`). What was refused stays, and is remembered.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use event::time::Micros;
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::mail::wire::{Place, Tls, Wire, shown};
use super::mail::{self, After, Batch, Became, Failures, Handed, Mailbox};
use super::{Make, Source};
use crate::run::Collecting;

#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Settings(mail::Settings);

/// With TLS from the first byte on, and without.
const PORTS: [u16; 2] = [995, 110];

#[derive(Debug)]
struct Pop3 {
    mailbox: Mailbox,
    deletes: bool,
}

impl Make for Settings {
    fn make(&self, _feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        let Settings(settings) = self;
        if settings.folder.is_some() || settings.messages.is_some() {
            bail!("folder, messages: a POP3 server has neither folders nor marks");
        }
        let deletes = match &settings.after {
            None | Some(After::Keep) => false,
            Some(After::Delete) => true,
            Some(After::Seen | After::Move(_)) => bail!("after: on a POP3 server a message is deleted or kept, \"delete\" or \"keep\""),
        };
        Ok(Box::new(Pop3 { mailbox: settings.check(PORTS)?, deletes }))
    }
}

/// Messages that are still on the server, by the names that it gives them.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    /// By what they were chosen.
    choice: String,
    done: BTreeSet<String>,
    /// Those that were taken and are to go: the server deletes them when it is told goodbye, and not if it is not.
    leaving: BTreeSet<String>,
    /// Those whose links were being followed. They come last: should that take longer than a look may, others are not kept waiting.
    slow: BTreeSet<String>,
    /// When those were first seen that say nowhere when they came, so that they come with the same time again.
    times: BTreeMap<String, Micros>,
}

impl Source for Pop3 {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

/// A message on the server, by its number until goodbye.
#[derive(Clone, Debug)]
struct Listed {
    number: u32,
    name: String,
}

impl Pop3 {
    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let mailbox = &self.mailbox;
        let mut session = Session::open(&mailbox.place, &mailbox.user, &mailbox.password()?).await?;
        let listed = session.names().await?;
        let mut seen: Seen = at_work.remembered()?;
        if seen.choice != mailbox.choice() {
            seen = Seen { choice: mailbox.choice(), done: BTreeSet::new(), ..seen };
        }
        let there: BTreeSet<&String> = listed.iter().map(|listed| &listed.name).collect();
        seen.done.retain(|name| there.contains(name));
        seen.leaving.retain(|name| self.deletes && there.contains(name));
        for listed in listed.iter().filter(|listed| seen.leaving.contains(&listed.name)) {
            session.delete(listed.number).await?;
        }
        seen.times.retain(|name, _| there.contains(name));
        seen.slow.retain(|name| there.contains(name));
        let is_new = |listed: &&Listed| !seen.done.contains(&listed.name) && !seen.leaving.contains(&listed.name);
        let mut new: Vec<Listed> = listed.iter().filter(is_new).cloned().collect();
        new.sort_by_key(|listed| seen.slow.contains(&listed.name));

        let (mut taken, mut failures, mut batch) = (0, Failures::default(), Batch::default());
        for listed in new {
            if taken == mailbox.most_messages {
                break;
            }
            if mailbox.chooses() && !mailbox.is_meant(&session.header(listed.number).await?) {
                seen.done.insert(listed.name);
                continue;
            }
            taken += 1;
            let handed = self.take(&listed, &mut session, &mut seen, at_work).await?;
            if batch.push(listed, handed) {
                self.settle(&mut batch, &mut session, &mut seen, &mut failures, at_work).await?;
            }
        }
        self.settle(&mut batch, &mut session, &mut seen, &mut failures, at_work).await?;
        // What was deleted is gone from here on.
        session.end().await?;
        failures.end()
    }

    /// Hands over what is wanted of a message.
    async fn take(&self, listed: &Listed, session: &mut Session, seen: &mut Seen, at_work: &Collecting) -> Result<Handed> {
        let most = self.mailbox.most_bytes;
        if session.size(listed.number).await? > most {
            return Ok(Handed::refused(self.mailbox.too_long()));
        }
        let message = session.message(listed.number, most).await?;
        let now = at_work.clock.now();
        // Whoever writes mails may write any date; nothing comes before it was sent.
        let stated = self.mailbox.time_of(&message).filter(|at| *at <= now);
        let at = match stated {
            Some(at) => at,
            None => {
                let at = *seen.times.entry(listed.name.clone()).or_insert(now);
                at_work.remember(seen)?;
                at
            }
        };
        let taken = match self.mailbox.take(&message) {
            Ok(taken) => taken,
            Err(why) => return Ok(Handed::refused(why)),
        };
        drop(message);
        if taken.has_links() && seen.slow.insert(listed.name.clone()) {
            at_work.remember(seen)?;
        }
        self.mailbox.hand_over(taken, at, &self.name(listed), at_work).await
    }

    fn name(&self, listed: &Listed) -> String {
        let safe = |sign: char| if sign.is_ascii_alphanumeric() || "-_.".contains(sign) { sign } else { '_' };
        format!("pop://{}/;uid={}", self.mailbox.place.host, listed.name.chars().map(safe).collect::<String>())
    }

    /// Waits until everything is stored, and deletes or remembers the messages.
    async fn settle(
        &self,
        batch: &mut Batch<Listed>,
        session: &mut Session,
        seen: &mut Seen,
        failures: &mut Failures,
        at_work: &Collecting,
    ) -> Result<()> {
        for (listed, handed) in batch.take() {
            let name = self.name(&listed);
            let became = handed.became().await?;
            if !matches!(became, Became::Missing(_)) {
                seen.slow.remove(&listed.name);
            }
            match became {
                Became::Missing(why) => {
                    failures.add(&name, "has something that cannot be had now", why);
                    continue;
                }
                Became::Refused(why) => failures.add(&name, "was not taken, and stays on the server", why),
                Became::Nothing => mail::log_nothing(&at_work.name, &name),
                Became::Stored if self.deletes => {
                    session.delete(listed.number).await?;
                    seen.leaving.insert(listed.name);
                    continue;
                }
                Became::Stored => {}
            }
            seen.done.insert(listed.name);
        }
        at_work.remember(seen)
    }
}

/// A talk with the server.
struct Session {
    wire: Wire,
    host: String,
}

/// Names of messages, and lines of a header: more is nothing that a server says.
const LONGEST_LIST: u64 = 64 << 20;

impl Session {
    async fn open(place: &Place, user: &str, password: &str) -> Result<Session> {
        let mut session = Session { wire: Wire::connect(place).await?, host: place.host.clone() };
        session.said().await?.map_err(|said| anyhow!("{} does not greet as a POP3 server does: {said}", place.host))?;
        if place.tls == Tls::Started {
            let begun = session.ask("STLS").await?;
            begun.map_err(|said| anyhow!("{} does not offer STLS, so the password is not sent: {said}", place.host))?;
            session.wire = session.wire.start_tls().await?;
        }
        if password.contains(char::is_control) {
            bail!("the password holds what no POP3 server takes, such as the end of a line");
        }
        // Servers say which of the two is wrong after both.
        let known = session.ask(&format!("USER {user}")).await?;
        let known = match known {
            Ok(_) => session.ask(&format!("PASS {password}")).await?,
            refused => refused,
        };
        let said = |said: String| said.replace(password, "***");
        known.map_err(|why| anyhow!("{} does not let \"{user}\" in with this password: {}", place.host, said(why)))?;
        Ok(session)
    }

    /// The messages there are, each with a name that stays.
    async fn names(&mut self) -> Result<Vec<Listed>> {
        let asked = self.ask("UIDL").await?;
        asked.map_err(|said| anyhow!("{} gives messages no names that stay (UIDL), so nobody can tell what is new: {said}", self.host))?;
        let list = self.lines(LONGEST_LIST).await?;
        let list = list.with_context(|| format!("{} says more than anybody asked for", self.host))?;
        let named = |line: &str| {
            let (number, name) = line.trim().split_once(' ')?;
            Some(Listed { number: number.parse().ok()?, name: name.trim().to_owned() })
        };
        Ok(String::from_utf8_lossy(&list).lines().filter_map(named).collect())
    }

    async fn size(&mut self, number: u32) -> Result<u64> {
        let said =
            self.ask(&format!("LIST {number}")).await?.map_err(|said| anyhow!("{} does not know message {number}: {said}", self.host))?;
        Ok(said.split_ascii_whitespace().nth(2).and_then(|size| size.parse().ok()).unwrap_or_default())
    }

    /// How a message begins.
    async fn header(&mut self, number: u32) -> Result<Vec<u8>> {
        let asked = self.ask(&format!("TOP {number} 0")).await?;
        asked.map_err(|said| anyhow!("{} does not show how a message begins (TOP), as from and subject need it: {said}", self.host))?;
        self.lines(LONGEST_LIST).await?.with_context(|| format!("{} says more than anybody asked for", self.host))
    }

    async fn message(&mut self, number: u32, most_bytes: u64) -> Result<Vec<u8>> {
        let asked = self.ask(&format!("RETR {number}")).await?;
        asked.map_err(|said| anyhow!("{} does not give message {number}: {said}", self.host))?;
        // It said that it was shorter. Lines that begin with a dot have one more on their way, and ends of lines may have grown.
        let message = self.lines(most_bytes.saturating_mul(2)).await?;
        message.with_context(|| format!("{} says more than anybody asked for", self.host))
    }

    async fn delete(&mut self, number: u32) -> Result<()> {
        let asked = self.ask(&format!("DELE {number}")).await?;
        asked.map(|_| ()).map_err(|said| anyhow!("message {number} was taken and cannot be deleted: {said}"))
    }

    async fn end(&mut self) -> Result<()> {
        self.ask("QUIT").await?.map(|_| ()).map_err(|said| anyhow!("{} has not deleted what was taken: {said}", self.host))
    }

    async fn ask(&mut self, what: &str) -> Result<Result<String, String>> {
        self.wire.say(what).await?;
        self.said().await
    }

    /// A line that says whether it may be.
    async fn said(&mut self) -> Result<Result<String, String>> {
        let line = self.wire.line().await?;
        match (line.starts_with(b"+OK"), line.starts_with(b"-ERR")) {
            (true, _) => Ok(Ok(shown(&line))),
            (_, true) => Ok(Err(shown(&line))),
            _ => bail!("{} does not speak POP3: {}", self.host, shown(&line)),
        }
    }

    /// Lines up to one with a dot alone; none if they are longer than that.
    async fn lines(&mut self, most_bytes: u64) -> Result<Option<Vec<u8>>> {
        let mut lines = Vec::new();
        loop {
            let line = self.wire.line_within(usize::try_from(most_bytes).unwrap_or(usize::MAX)).await?;
            match line.strip_prefix(b".") {
                Some([]) => return Ok(Some(lines)),
                Some(rest) => lines.extend_from_slice(rest),
                None => lines.extend_from_slice(&line),
            }
            lines.extend_from_slice(b"\r\n");
            if lines.len() as u64 > most_bytes {
                return Ok(None);
            }
        }
    }
}
