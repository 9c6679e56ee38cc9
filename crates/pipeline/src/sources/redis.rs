//! A queue of IntelMQ's: what its bots hand on, events and whole reports.
//!
//! As its bots do, a message is first moved into the queue `QUEUE-internal`, and taken out of that when it is stored. What a process
//! that died has left there is put back at the start, so one source reads a queue, and no bot beside it. What is refused goes into
//! `QUEUE-refused`: there it stops nobody, and can be renamed back.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use event::time;
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::gather::{self, Batch, Message, Said, TooLong, gather};
use super::{Make, Source};
use crate::redis::{Connection, Queue, Reply};
use crate::run::{Collecting, Told};
use crate::secret::Secret;
use crate::wire::Tls;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `redis://HOST:PORT/DATABASE/QUEUE`, or `rediss://`; a user may stand before the host.
    url: String,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    tls: Option<Tls>,
    #[serde(default)]
    batch: Batch,
    /// In MiB: a longer message is refused.
    #[serde(default)]
    most: Option<usize>,
}

impl Settings {
    /// The queue of what was refused.
    pub(super) fn refused(&self) -> Option<String> {
        Queue::parse(&self.url, &self.tls).ok().map(|queue| refused(&queue))
    }
}

fn refused(queue: &Queue) -> String {
    format!("{}-refused", queue.name())
}

#[derive(Debug)]
struct Redis {
    settings: Settings,
    queue: Queue,
    internal: String,
    refused: String,
}

impl Make for Settings {
    fn make(&self, _feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        // Events are lines, but reports are in their feed's own form, whichever that is.
        self.batch.check(None)?;
        if self.most == Some(0) {
            bail!("most is a MiB at least");
        }
        let queue = Queue::parse(&self.url, &self.tls)?;
        let (internal, refused) = (format!("{}-internal", queue.name()), refused(&queue));
        Ok(Box::new(Redis { settings: self.clone(), queue, internal, refused }))
    }
}

/// IntelMQ's reports come whole, so they may be long; in MiB.
const MOST: usize = 16;

/// Messages that are moved together.
const TOGETHER: usize = 64;

/// How long the server waits for a message before it says that there is none.
const WAIT: Duration = Duration::from_secs(5);

/// What takes a message out of the internal queue: itself, or where it was not kept, that it is the oldest.
#[derive(Debug)]
enum Mark {
    Is(Vec<u8>),
    Oldest,
}

impl Source for Redis {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.read(at_work).boxed()
    }

    fn is_stream(&self) -> bool {
        true
    }
}

impl Redis {
    async fn read(&self, at_work: &Collecting) -> Result<()> {
        let mut taking = self.connect().await?;
        let mut settling = self.connect().await?;
        self.put_back(&mut taking).await?;
        at_work.stands();
        taking.longest = self.settings.most.unwrap_or(MOST) << 20;
        let (taken, messages) = mpsc::channel(gather::WAITING);
        let (stored, to_settle) = mpsc::unbounded_channel();
        let origin = self.queue.to_string();
        let gathering = async {
            let stored = stored;
            gather(at_work, &self.settings.batch, &origin, messages, |marks, told| Ok(stored.send((marks, told))?)).await
        };
        tokio::select! {
            ended = self.take(&mut taking, taken) => ended,
            ended = futures::future::try_join(gathering, self.settle(&mut settling, to_settle, at_work)) => ended.map(|_| ()),
        }
    }

    async fn connect(&self) -> Result<Connection> {
        self.queue.connect(self.settings.password.as_ref()).await
    }

    /// Puts back what a process that died had taken and not stored, the oldest in front.
    async fn put_back(&self, connection: &mut Connection) -> Result<()> {
        let (queue, internal) = (self.queue.name().as_bytes(), self.internal.as_bytes());
        let left = match connection.ask(&[b"LLEN", internal]).await?.done()? {
            Reply::Number(left) => left,
            _ => bail!("{} is no list", self.internal),
        };
        let to_front: &[&[u8]] = &[b"LMOVE", internal, queue, b"LEFT", b"RIGHT"];
        // Before Redis 6.2: then they come last.
        let to_end: &[&[u8]] = &[b"RPOPLPUSH", internal, queue];
        let mut way = to_front;
        let mut moved = 0;
        while moved < left {
            match connection.ask(way).await? {
                Reply::Error(wrong) if way == to_front && wrong.contains("unknown command") => way = to_end,
                Reply::Nothing => break,
                reply => {
                    reply.done()?;
                    moved += 1;
                }
            }
        }
        if moved > 0 {
            info!(queue = %self.queue, messages = moved, "what was taken and not stored is taken again");
        }
        Ok(())
    }

    /// Moves messages into the internal queue and hands them on, for ever.
    async fn take(&self, connection: &mut Connection, taken: mpsc::Sender<Message<Mark>>) -> Result<()> {
        let (queue, internal) = (self.queue.name().as_bytes(), self.internal.as_bytes());
        let now: &[&[u8]] = &[b"RPOPLPUSH", queue, internal];
        let seconds = WAIT.as_secs().to_string();
        let wait: &[&[u8]] = &[b"BRPOPLPUSH", queue, internal, seconds.as_bytes()];
        loop {
            connection.send(std::iter::repeat_n(now, TOGETHER)).await?;
            let mut is_empty = false;
            for _ in 0..TOGETHER {
                is_empty |= !hand_on(connection.reply(Duration::ZERO).await?, &taken).await?;
            }
            while is_empty {
                connection.send([wait]).await?;
                is_empty = !hand_on(connection.reply(WAIT).await?, &taken).await?;
            }
        }
    }

    /// Takes what is stored out of the internal queue.
    async fn settle(
        &self,
        connection: &mut Connection,
        mut to_settle: mpsc::UnboundedReceiver<(Vec<Mark>, Told)>,
        at_work: &Collecting,
    ) -> Result<()> {
        let (internal, refused) = (self.internal.as_bytes(), self.refused.as_bytes());
        while let Some((marks, told)) = to_settle.recv().await {
            if told.is_refused() {
                let why = told.refused.first().map(String::as_str).unwrap_or_default();
                warn!(source = %at_work.name, messages = marks.len(), queue = self.refused, why, "messages were refused: they are put aside");
            }
            for marks in marks.chunks(TOGETHER) {
                let mut commands: Vec<Vec<&[u8]>> = Vec::new();
                for mark in marks {
                    match mark {
                        Mark::Is(message) => {
                            if told.is_refused() {
                                commands.push(vec![b"LPUSH", refused, message]);
                            }
                            // From its end, where the oldest are.
                            commands.push(vec![b"LREM", internal, b"-1", message]);
                        }
                        // It was not read whole, so its beginning alone is stored.
                        Mark::Oldest => commands.push(vec![b"RPOPLPUSH", internal, refused]),
                    }
                }
                connection.send(commands.iter().map(Vec::as_slice)).await?;
                for _ in &commands {
                    connection.reply(Duration::ZERO).await?.done().context("taking stored messages out of the internal queue")?;
                }
            }
        }
        Ok(())
    }
}

/// Whether there was a message.
async fn hand_on(reply: Reply, taken: &mpsc::Sender<Message<Mark>>) -> Result<bool> {
    let message = match reply.done()? {
        Reply::Nothing => return Ok(false),
        Reply::Bytes(bytes) => Message { said: said(&bytes), mark: Mark::Is(bytes) },
        Reply::TooLong(begins, bytes) => Message { said: Said::TooLong(TooLong { begins, bytes }), mark: Mark::Oldest },
        _ => bail!("the server of the queue says what Redis does not"),
    };
    match taken.send(message).await {
        Ok(()) => Ok(true),
        // It is about to end; what was taken before that is still being taken out of the internal queue.
        Err(_) => futures::future::pending().await,
    }
}

/// What a bot hands to the next.
#[derive(Deserialize)]
struct Handed<'m> {
    #[serde(rename = "__type", default)]
    sort: Option<&'m str>,
    #[serde(default, borrow)]
    raw: Option<Cow<'m, str>>,
    #[serde(rename = "extra.file_name", default)]
    file: Option<String>,
    #[serde(rename = "time.observation", default)]
    at: Option<String>,
}

/// A report is what it carries; all else is a line, and what is no event is rejected as one.
fn said(message: &[u8]) -> Said {
    let report = serde_json::from_slice::<Handed<'_>>(message).ok().filter(|handed| handed.sort == Some("Report"));
    let bytes = report.as_ref().and_then(|report| BASE64_STANDARD.decode(report.raw.as_deref()?).ok());
    match (report, bytes) {
        (Some(report), Some(bytes)) => {
            let name = report.file.as_deref().and_then(|name| name.rsplit(['/', '\\', '!']).next()).map(str::to_owned);
            let at = report.at.and_then(|at| time::parse(&at).ok());
            Said::Report { name, at, bytes }
        }
        _ => Said::Line(message.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, expected: &str) {
        let found = match said(message.as_bytes()) {
            Said::Line(line) => format!("line of {}", line.len()),
            Said::TooLong(_) => unreachable!("it is short"),
            Said::Report { name, at, bytes } => {
                format!("{} at {}: {}", name.unwrap_or_default(), at.map(time::iso).unwrap_or_default(), String::from_utf8_lossy(&bytes))
            }
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn a_report_is_what_it_carries() {
        check(
            r#"{"__type": "Report", "raw": "MTkyLjAuMi4x", "extra.file_name": "../a/x.csv", "time.observation": "2026-03-03T06:00:00+00:00"}"#,
            "x.csv at 2026-03-03T06:00:00Z: 192.0.2.1",
        );
        check(r#"{"raw": "MTkyLjAuMi4x", "__type": "Report"}"#, " at : 192.0.2.1");
        check(r#"{"raw": "MTkyL!", "__type": "Report"}"#, "line of 37");
        check(r#"{"__type": "Report"}"#, "line of 20");
        check(r#"{"__type": "Event", "raw": "MTkyLjAuMi4x"}"#, "line of 42");
        check("[1]", "line of 3");
    }
}
