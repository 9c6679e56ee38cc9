//! Messages that others send to an address of this machine: lines, or as IntelMQ's TCP output sends them, each with its length
//! before it and answered when it is kept.
//!
//! Who sends has forgotten a message soon, so it is written down before it is answered, and until it is stored.

mod journal;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use feed::Feed;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use ipnet::IpNet;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use self::journal::Journal;
pub use self::journal::{Sifted, sift};
use super::gather::{self, BEGINNING, Batch, LONGEST, Message, Said, TooLong, gather};
use super::{Every, Make, Source};
use crate::run::{Collecting, Told};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address and port.
    listen: SocketAddr,
    #[serde(default)]
    framing: Framing,
    /// Who may connect; everybody who can, if not given.
    #[serde(default)]
    allow: Vec<String>,
    /// How many may be connected.
    #[serde(default)]
    connections: Option<usize>,
    /// How long somebody may take to send a message.
    #[serde(default)]
    patience: Option<Every>,
    #[serde(default)]
    batch: Batch,
}

/// How one message is told from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Framing {
    #[default]
    Lines,
    /// Four bytes of length, the message, and our `Ok`.
    IntelMq,
}

#[derive(Debug)]
struct Tcp {
    settings: Settings,
    allow: Vec<IpNet>,
}

const CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// Whoever sends a message longer than this is let go, in bytes.
const LONGEST_PASSED: u64 = 64 << 20;
/// Messages that are written down together.
const TOGETHER: usize = 64;
/// How often it is said who was not let in.
const TO_COMPLAIN: Duration = Duration::from_secs(60);

impl Make for Settings {
    fn make(&self, feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        self.batch.check(feed)?;
        if self.connections == Some(0) {
            bail!("connections is one at least");
        }
        let network = |text: &String| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network = |text| network(text).map_err(|_| anyhow!("\"{text}\" is no network, such as 192.0.2.0/24"));
        let allow = self.allow.iter().map(network).collect::<Result<_>>()?;
        Ok(Box::new(Tcp { settings: self.clone(), allow }))
    }
}

impl Source for Tcp {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.listen(at_work).boxed()
    }

    fn is_stream(&self) -> bool {
        true
    }
}

/// A message that was sent, and where to say that it is kept.
struct Sent {
    said: Said,
    kept: Option<oneshot::Sender<()>>,
}

/// The part of the journal that a message is in; none, if it was too long.
type Mark = Option<u64>;

impl Tcp {
    async fn listen(&self, at_work: &Collecting) -> Result<()> {
        let address = self.settings.listen;
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening at {address}"))?;
        if !address.ip().is_loopback() {
            let who = if self.allow.is_empty() { "everybody who reaches it" } else { "whom it allows" };
            warn!(source = %at_work.name, %address, "it listens beyond this machine, without encryption: {who} can hand in messages");
        }
        let (journal, left) = Journal::open(at_work.folder())?;
        let journal = Mutex::new(journal);
        at_work.stands();
        let (sends, sent) = mpsc::channel(TOGETHER);
        let (keeps, messages) = mpsc::channel(gather::WAITING);
        let stored = |marks: Vec<Mark>, told: Told| {
            if let Some(why) = told.refused.first() {
                warn!(source = %at_work.name, why, folder = %at_work.folder().display(), "messages were refused: they are put aside");
            }
            settle(&journal, &marks, told.is_refused())
        };
        let origin = format!("tcp://{address}");
        tokio::select! {
            done = gather(at_work, &self.settings.batch, &origin, messages, stored) => done,
            ended = self.keep(at_work, &journal, left, sent, keeps) => ended,
            () = self.accept(at_work, &listener, sends) => Ok(()),
        }
    }

    /// Writes down what was sent, says so, and hands it on; before that what is left from before.
    async fn keep(
        &self,
        at_work: &Collecting,
        journal: &Mutex<Journal>,
        left: Vec<u64>,
        mut sent: mpsc::Receiver<Sent>,
        keeps: mpsc::Sender<Message<Mark>>,
    ) -> Result<()> {
        for part in left {
            let messages = with(journal, |journal| journal.read(part))?;
            info!(source = %at_work.name, messages = messages.len(), "what was sent and not stored is taken again");
            for message in messages {
                keeps.send(Message { said: Said::Line(message), mark: Some(part) }).await?;
            }
        }
        let mut together = Vec::new();
        while sent.recv_many(&mut together, TOGETHER).await > 0 {
            let line = |sent: &Sent| matches!(sent.said, Said::Line(_));
            let lines: Vec<&[u8]> = together
                .iter()
                .filter_map(|Sent { said, .. }| if let Said::Line(line) = said { Some(line.as_slice()) } else { None })
                .collect();
            let part = if lines.is_empty() { None } else { Some(with(journal, |journal| journal.write(&lines))?) };
            for sent in together.drain(..) {
                let mark = part.filter(|_| line(&sent));
                // Who has gone meanwhile sends it again.
                let _gone = sent.kept.map(|kept| kept.send(()));
                keeps.send(Message { said: sent.said, mark }).await?;
            }
        }
        Ok(())
    }

    /// Lets others in, for ever.
    async fn accept(&self, at_work: &Collecting, listener: &TcpListener, sends: mpsc::Sender<Sent>) {
        let most = self.settings.connections.unwrap_or(CONNECTIONS);
        let mut connected = FuturesUnordered::new();
        let mut complained: Option<Instant> = None;
        let mut complain = |why: &str, who: &str| {
            if complained.is_none_or(|time| time.elapsed() > TO_COMPLAIN) {
                complained = Some(Instant::now());
                warn!(source = %at_work.name, from = who, "{why}");
            }
        };
        loop {
            tokio::select! {
                Some(()) = connected.next() => {}
                accepted = listener.accept() => match accepted {
                    Err(error) => {
                        complain("nobody can be let in", &error.to_string());
                        // It is the process that has too much open: that passes.
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    Ok((_, from)) if !self.allows(from) => complain("somebody was not let in who is not allowed", &from.to_string()),
                    Ok((_, from)) if connected.len() >= most => complain("somebody was not let in, since too many are", &from.to_string()),
                    Ok((stream, from)) => connected.push(self.serve(stream, from, sends.clone(), at_work)),
                },
            }
        }
    }

    fn allows(&self, from: SocketAddr) -> bool {
        let ip = from.ip().to_canonical();
        self.allow.is_empty() || self.allow.iter().any(|network| network.contains(&ip))
    }

    async fn serve(&self, stream: TcpStream, from: SocketAddr, sends: mpsc::Sender<Sent>, at_work: &Collecting) {
        debug!(source = %at_work.name, %from, "connected");
        let mut stream = BufReader::new(stream);
        loop {
            let patience = self.settings.patience.map_or(PATIENCE, |most| most.0);
            let next = timeout(patience, self.next(&mut stream)).await;
            let said = match next.unwrap_or_else(|_| Err(anyhow!("it sends nothing whole for {} s", patience.as_secs()))) {
                Ok(Some(said)) => said,
                Ok(None) => break,
                Err(wrong) => {
                    info!(source = %at_work.name, %from, why = format!("{wrong:#}"), "somebody was let go");
                    break;
                }
            };
            let (kept, keeps) = oneshot::channel();
            let answers = self.settings.framing == Framing::IntelMq;
            if sends.send(Sent { said, kept: answers.then_some(kept) }).await.is_err() {
                break;
            }
            if answers && (keeps.await.is_err() || !matches!(timeout(patience, stream.get_mut().write_all(b"Ok")).await, Ok(Ok(())))) {
                break;
            }
        }
        debug!(source = %at_work.name, %from, "gone");
    }

    /// The next message, if there is one more.
    async fn next(&self, stream: &mut BufReader<TcpStream>) -> Result<Option<Said>> {
        match self.settings.framing {
            Framing::Lines => line(stream).await,
            Framing::IntelMq => counted(stream).await,
        }
    }
}

fn with<T>(journal: &Mutex<Journal>, what: impl FnOnce(&mut Journal) -> Result<T>) -> Result<T> {
    tokio::task::block_in_place(|| what(&mut journal.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// That these are stored, or refused.
fn settle(journal: &Mutex<Journal>, marks: &[Mark], is_refused: bool) -> Result<()> {
    let parts: Vec<u64> = marks.iter().flatten().copied().collect();
    with(journal, |journal| parts.chunk_by(|one, other| one == other).try_for_each(|same| journal.settle(same[0], same.len(), is_refused)))
}

async fn line(stream: &mut BufReader<TcpStream>) -> Result<Option<Said>> {
    let mut line = Vec::new();
    stream.take(LONGEST as u64 + 1).read_until(b'\n', &mut line).await?;
    if line.len() <= LONGEST || line.ends_with(b"\n") {
        return Ok((!line.is_empty()).then_some(Said::Line(line)));
    }
    let mut long = TooLong { bytes: line.len() as u64, begins: line };
    long.begins.truncate(BEGINNING);
    loop {
        let piece = stream.fill_buf().await?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let passed = end.map_or(piece.len(), |end| end + 1);
        stream.consume(passed);
        long.bytes += passed as u64;
        if end.is_some() || passed == 0 {
            return Ok(Some(Said::TooLong(long)));
        }
        if long.bytes > LONGEST_PASSED {
            bail!("it sends a line without an end");
        }
    }
}

async fn counted(stream: &mut BufReader<TcpStream>) -> Result<Option<Said>> {
    if stream.fill_buf().await?.is_empty() {
        return Ok(None);
    }
    let length = u64::from(stream.read_u32().await.context("it breaks off")?);
    if length > LONGEST_PASSED {
        bail!("it says that it sends a message of {length} bytes");
    }
    let is_whole = length <= LONGEST as u64;
    let mut bytes = Vec::new();
    let kept = if is_whole { length } else { BEGINNING as u64 };
    // Room is made as it comes, not as it is said.
    if (&mut *stream).take(kept).read_to_end(&mut bytes).await? < kept as usize {
        bail!("it breaks off");
    }
    if is_whole {
        return Ok(Some(Said::Line(bytes)));
    }
    if tokio::io::copy_buf(&mut stream.take(length - kept), &mut tokio::io::sink()).await? < length - kept {
        bail!("it breaks off");
    }
    Ok(Some(Said::TooLong(TooLong { begins: bytes, bytes: length })))
}
