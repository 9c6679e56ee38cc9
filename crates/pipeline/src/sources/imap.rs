//! Mails in a folder of an IMAP server. One of which everything was taken in is marked, moved or deleted, and not before.
//!
//! Which messages are new the server says by their flag `\Seen`, and the memory once more: there are servers that keep no flags, and
//! folders that nobody may write to. A message's time is when it came into the folder, so that one that is handed over again, since
//! the program died before it was marked, is known.

mod answer;
mod session;

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use self::session::{Head, Session};
use super::mail::{self, After, Batch, Became, Failures, Handed, Mailbox, Messages};
use super::{Make, Source};
use crate::run::Collecting;

#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Settings(mail::Settings);

/// With TLS from the first byte on, and without.
const PORTS: [u16; 2] = [993, 143];

#[derive(Debug)]
struct Imap {
    mailbox: Mailbox,
    folder: String,
    messages: Messages,
    after: After,
}

impl Make for Settings {
    fn make(&self, _feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        let Settings(settings) = self;
        let mailbox = settings.check(PORTS)?;
        let folder = settings.folder.clone().unwrap_or_else(|| "INBOX".to_owned());
        let messages = settings.messages.unwrap_or(Messages::Unseen);
        let after = settings.after.clone().unwrap_or(After::Seen);
        let other = if let After::Move(folder) = &after { folder } else { "" };
        if folder.is_empty() || [folder.as_str(), other].iter().any(|name| name.contains(char::is_control)) {
            bail!("folder: a folder has a name, in signs that can be seen");
        }
        if folder == other {
            bail!("after: the messages are in \"{folder}\" already");
        }
        Ok(Box::new(Imap { mailbox, folder, messages, after }))
    }
}

/// Messages that are done with.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Seen {
    /// As long as this stays the same, a number means the same message.
    validity: u32,
    /// By what they were chosen.
    choice: String,
    /// Those that the server still counts among the new ones.
    uids: BTreeSet<u32>,
    /// Those whose links were being followed. They come last: should that take longer than a look may, others are not kept waiting.
    slow: BTreeSet<u32>,
}

/// Messages that are asked about together.
const TOGETHER: usize = 100;

impl Source for Imap {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.look(at_work).boxed()
    }
}

impl Imap {
    async fn look(&self, at_work: &Collecting) -> Result<()> {
        let mailbox = &self.mailbox;
        let password = mailbox.password()?;
        let mut session = Session::open(&mailbox.place, &mailbox.user, &password, mailbox.most_bytes).await?;
        let validity = session.select(&self.folder).await?;
        let mut seen: Seen = at_work.remembered()?;
        if seen.validity != validity || seen.choice != mailbox.choice() {
            seen = Seen { validity, choice: mailbox.choice(), ..Seen::default() };
        }
        let there = session.search(self.messages == Messages::Unseen).await?;
        seen.uids.retain(|uid| there.contains(uid));
        seen.slow.retain(|uid| there.contains(uid));
        let (slow, others) =
            there.into_iter().filter(|uid| !seen.uids.contains(uid)).partition::<Vec<u32>, _>(|uid| seen.slow.contains(uid));
        let new = [others, slow].concat();

        let (mut taken, mut failures, mut batch) = (0, Failures::default(), Batch::default());
        'all: for uids in new.chunks(TOGETHER) {
            for head in session.heads(uids, mailbox.chooses()).await? {
                if !mailbox.is_meant(&head.begins) {
                    // It is somebody else's, and stays as it is.
                    seen.uids.insert(head.uid);
                    continue;
                }
                if taken == mailbox.most_messages {
                    break 'all;
                }
                taken += 1;
                let Some(handed) = self.take(&head, &mut session, &mut seen, at_work).await? else { continue };
                if batch.push(head.uid, handed) {
                    self.settle(&mut batch, &mut session, &mut seen, &mut failures, at_work).await?;
                }
            }
        }
        self.settle(&mut batch, &mut session, &mut seen, &mut failures, at_work).await?;
        session.end().await?;
        failures.end()
    }

    /// Hands over what is wanted of a message; nothing if somebody else has taken it away.
    async fn take(&self, head: &Head, session: &mut Session, seen: &mut Seen, at_work: &Collecting) -> Result<Option<Handed>> {
        let most = self.mailbox.most_bytes;
        if head.size > most {
            return Ok(Some(Handed::refused(self.mailbox.too_long())));
        }
        // What a server says of the size is not always so.
        let Some(message) = session.message(head.uid, most.saturating_add(1)).await? else { return Ok(None) };
        if message.len() as u64 > most {
            return Ok(Some(Handed::refused(self.mailbox.too_long())));
        }
        let at = head.at.or_else(|| self.mailbox.time_of(&message)).unwrap_or_else(|| at_work.clock.now());
        let taken = match self.mailbox.take(&message) {
            Ok(taken) => taken,
            Err(why) => return Ok(Some(Handed::refused(why))),
        };
        drop(message);
        if taken.has_links() && seen.slow.insert(head.uid) {
            at_work.remember(seen)?;
        }
        self.mailbox.hand_over(taken, at, &self.name(head.uid), at_work).await.map(Some)
    }

    /// A message's name, as an address (RFC 5092).
    fn name(&self, uid: u32) -> String {
        format!("imap://{}/{};uid={uid}", self.mailbox.place.host, self.folder)
    }

    /// Waits until everything is stored, marks the messages, and remembers them.
    async fn settle(
        &self,
        batch: &mut Batch<u32>,
        session: &mut Session,
        seen: &mut Seen,
        failures: &mut Failures,
        at_work: &Collecting,
    ) -> Result<()> {
        for (uid, handed) in batch.take() {
            let name = self.name(uid);
            let marked = match handed.became().await? {
                Became::Missing(why) => {
                    failures.add(&name, "has something that cannot be had now", why);
                    continue;
                }
                Became::Refused(why) => {
                    failures.add(&name, "was not taken, and is flagged", why);
                    session.mark(uid, "\\Flagged \\Seen").await?
                }
                Became::Nothing => {
                    mail::log_nothing(&at_work.name, &name);
                    self.unless_kept(session.mark(uid, "\\Seen")).await?
                }
                Became::Stored => match &self.after {
                    After::Seen => session.mark(uid, "\\Seen").await?,
                    After::Move(folder) => session.put_into(uid, folder).await?,
                    After::Delete => session.delete(uid).await?,
                    After::Keep => Ok(()),
                },
            };
            seen.slow.remove(&uid);
            seen.uids.insert(uid);
            if let Err(said) = marked {
                failures.add(&name, "was taken and cannot be marked", anyhow!("{said}"));
            }
        }
        at_work.remember(seen)
    }

    /// Does not touch what is to stay as it is.
    async fn unless_kept(&self, marking: impl Future<Output = Result<Result<(), String>>>) -> Result<Result<(), String>> {
        if self.after == After::Keep { Ok(Ok(())) } else { marking.await }
    }
}
