//! Messages of a broker by STOMP, such as n6's stream: as a client of versions 1.1 and 1.2 (stomp.github.io).

mod frame;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use feed::Feed;
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Url;
use serde::Deserialize;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tracing::info;

use self::frame::{Body, Frame, Frames, Version};
use super::gather::{self, Batch, Message, Said, gather, plain};
use super::{Every, Make, Source};
use crate::run::{Collecting, Told};
use crate::secret::Secret;
use crate::wire::{Server, Tls, Wire};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `stomps://HOST:PORT`, or `stomp://` without TLS.
    url: String,
    destinations: Vec<String>,
    /// Name and password, where a certificate is not enough.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<Secret>,
    #[serde(default)]
    tls: Option<Tls>,
    /// The broker's name for itself; the address's host if not given.
    #[serde(default)]
    host: Option<String>,
    /// What else is said when subscribing, such as `prefetch-count`.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    ack: Ack,
    /// How often each side says that it is there.
    #[serde(default)]
    heart_beat: Option<Every>,
    /// How long a broker may be silent that does not say that it is there.
    #[serde(default)]
    patience: Option<Every>,
    #[serde(default)]
    batch: Batch,
}

/// How messages are acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ack {
    /// Each by itself.
    #[default]
    ClientIndividual,
    /// The last one of several, for all.
    Client,
}

impl Ack {
    fn name(self) -> &'static str {
        match self {
            Ack::ClientIndividual => "client-individual",
            Ack::Client => "client",
        }
    }
}

#[derive(Debug)]
struct Stomp {
    settings: Settings,
    server: Server,
    origin: String,
}

const HEART_BEAT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How long the broker may take to let us in, and to say farewell.
const TO_GREET: Duration = Duration::from_secs(30);
const TO_PART: Duration = Duration::from_secs(5);

/// What we wait for before we go: until then what we acknowledged may be on its way.
const FAREWELL: &str = "farewell";
const LET_IN: &str = "subscribed";

/// How long a frame may take once it has begun.
const TO_SAY: Duration = Duration::from_secs(5 * 60);

impl Make for Settings {
    fn make(&self, feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        self.batch.check(feed)?;
        let url = Url::parse(&self.url).map_err(|_| anyhow!("the address of a broker is stomps://HOST:PORT, or stomp:// without TLS"))?;
        if !url.username().is_empty() || url.password().is_some() {
            bail!("user and password are keys of their own, and not part of the address");
        }
        let server = Server::of(&url, [("stomp", 61613), ("stomps", 61614)], &self.tls)?;
        if self.destinations.is_empty() {
            bail!("say what to listen to: destinations = [\"/exchange/...\"]");
        }
        if self.password.is_some() != self.user.is_some() {
            bail!("a user needs a password, and a password a user");
        }
        let own = ["id", "destination", "ack", "content-length", "receipt"];
        if let Some(name) = self.headers.keys().find(|name| own.contains(&name.as_str())) {
            bail!("the header {name} is not for you to say");
        }
        let destinations: Vec<&str> = self.destinations.iter().map(|name| name.trim_start_matches('/')).collect();
        let origin = format!("{}://{}/{}", url.scheme(), server.shown(), destinations.join(","));
        Ok(Box::new(Stomp { settings: self.clone(), server, origin }))
    }
}

/// What the broker wants to hear of a message: of which subscription it is, and how it is called.
#[derive(Debug)]
struct Mark {
    subscription: String,
    id: String,
}

impl Source for Stomp {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.listen(at_work).boxed()
    }

    fn is_stream(&self) -> bool {
        true
    }
}

impl Stomp {
    async fn listen(&self, at_work: &Collecting) -> Result<()> {
        let (reads, writes) = tokio::io::split(self.server.connect().await?);
        let mut session =
            Session { settings: &self.settings, name: self.server.shown(), version: Version::V1_1, beats: None, silence: PATIENCE };
        let (mut frames, mut writes) = (Frames::new(BufReader::new(reads)), writes);
        session.greet(&mut frames, &mut writes, &self.server.host).await?;
        let (heard, messages) = mpsc::channel(gather::WAITING);
        let (stored, to_tell) = mpsc::unbounded_channel();
        let gathering = async {
            let stored = stored;
            let stored = |marks: Vec<Mark>, told: Told| match told.refused.first() {
                Some(why) if told.is_refused() => Err(anyhow!("messages are refused and stay with the broker: {why}")),
                _ => Ok(stored.send(marks)?),
            };
            gather(at_work, &self.settings.batch, &self.origin, messages, stored).await
        };
        let mut hearing = std::pin::pin!(session.hear(&mut frames, heard, at_work));
        tokio::select! {
            ended = &mut hearing => return ended,
            ended = futures::future::try_join(gathering, session.tell(&mut writes, to_tell)) => { ended?; }
        }
        // Whether it says farewell or not: what it did not hear of it sends again.
        let _parted = timeout(TO_PART, hearing).await;
        Ok(())
    }
}

/// What both sides have agreed on.
struct Session<'s> {
    settings: &'s Settings,
    name: String,
    version: Version,
    /// How often we say that we are there.
    beats: Option<Duration>,
    /// How long the broker may say nothing.
    silence: Duration,
}

type Reads = Frames<BufReader<ReadHalf<Wire>>>;
type Writes = WriteHalf<Wire>;

impl Session<'_> {
    async fn greet(&mut self, frames: &mut Reads, writes: &mut Writes, host: &str) -> Result<()> {
        let settings = self.settings;
        let ours = settings.heart_beat.map_or(HEART_BEAT, |beat| beat.0).as_millis();
        let beats = format!("{ours},{ours}");
        let mut connect = Frame::new("CONNECT");
        connect.say("accept-version", "1.1,1.2").say("host", settings.host.as_deref().unwrap_or(host)).say("heart-beat", &beats);
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            connect.say("login", user).say("passcode", &password.reveal()?);
        }
        let greeted = async {
            // This frame's words are not escaped, in no version.
            send(writes, &connect.bytes(None)?).await?;
            self.expect(frames.next(None).await?)
        };
        let greeted = timeout(TO_GREET, greeted).await.with_context(|| format!("{} does not let us in in time", self.name))??;
        if greeted.command != "CONNECTED" {
            bail!("{} answers with {}, where STOMP has CONNECTED", self.name, plain(greeted.command.as_bytes()));
        }
        self.version = match greeted.said("version") {
            Some("1.2") => Version::V1_2,
            Some("1.1") => Version::V1_1,
            other => bail!("{} speaks version {} of STOMP, and not 1.1 or 1.2", self.name, plain(other.unwrap_or("1.0").as_bytes())),
        };
        let (gives, wants) = greeted.said("heart-beat").and_then(|beats| beats.split_once(',')).unwrap_or(("0", "0"));
        let millis = |text: &str| text.trim().parse::<u32>().map(u128::from).unwrap_or_default();
        let agreed =
            |theirs: u128| (theirs > 0 && ours > 0).then(|| Duration::from_millis(theirs.max(ours).try_into().unwrap_or(u64::MAX)));
        self.beats = agreed(millis(wants));
        self.silence = agreed(millis(gives))
            .map_or_else(|| settings.patience.map_or(PATIENCE, |most| most.0), |beat| beat * 2 + Duration::from_secs(1));
        for (number, destination) in settings.destinations.iter().enumerate() {
            let mut subscribe = Frame::new("SUBSCRIBE");
            subscribe.say("id", &number.to_string()).say("destination", destination).say("ack", settings.ack.name()).say("receipt", LET_IN);
            for (name, value) in &settings.headers {
                subscribe.say(name, value);
            }
            send(writes, &subscribe.bytes(Some(self.version))?).await?;
        }
        Ok(())
    }

    /// Hands on what the broker says, until it says farewell.
    async fn hear(&self, frames: &mut Reads, heard: mpsc::Sender<Message<Mark>>, at_work: &Collecting) -> Result<()> {
        loop {
            let begun = timeout(self.silence, frames.begin()).await;
            if !begun.with_context(|| format!("{} has said nothing for {} s", self.name, self.silence.as_secs()))?? {
                continue;
            }
            let frame = timeout(TO_SAY, frames.next(Some(self.version))).await;
            let frame = self.expect(frame.with_context(|| format!("{} does not end what it says", self.name))??)?;
            match frame.command.as_str() {
                "MESSAGE" => {
                    let name = if self.version == Version::V1_2 { "ack" } else { "message-id" };
                    let word = |name: &str| frame.said(name).map(str::to_owned);
                    let (subscription, id) = word("subscription").zip(word(name)).context("a message does not say how it is called")?;
                    let said = match frame.body {
                        Body::Whole(bytes) => Said::Line(bytes),
                        Body::TooLong(long) => Said::TooLong(long),
                    };
                    // Once nobody takes them any more, we are about to go.
                    let _gone = heard.send(Message { said, mark: Mark { subscription, id } }).await;
                }
                "RECEIPT" if frame.said("receipt-id") == Some(FAREWELL) => return Ok(()),
                "RECEIPT" => {
                    info!(source = %at_work.name, version = ?self.version, "the broker lets us listen");
                    at_work.stands();
                }
                other => bail!("{} says {}, which STOMP has not", self.name, plain(other.as_bytes())),
            }
        }
    }

    /// Acknowledges what is stored, and says that we are there.
    async fn tell(&self, writes: &mut Writes, mut to_tell: mpsc::UnboundedReceiver<Vec<Mark>>) -> Result<()> {
        let mut spoken = Instant::now();
        loop {
            let beat = self.beats.map(|beat| spoken + beat.mul_f64(0.8));
            let bytes = tokio::select! {
                marks = to_tell.recv() => match marks {
                    Some(marks) => self.acknowledged(marks)?,
                    None => break,
                },
                () = tokio::time::sleep_until(beat.unwrap_or(spoken)), if beat.is_some() => b"\n".to_vec(),
            };
            send(writes, &bytes).await?;
            spoken = Instant::now();
        }
        let mut farewell = Frame::new("DISCONNECT");
        send(writes, &farewell.say("receipt", FAREWELL).bytes(Some(self.version))?).await
    }

    fn acknowledged(&self, marks: Vec<Mark>) -> Result<Vec<u8>> {
        let marks: Vec<Mark> = match self.settings.ack {
            Ack::ClientIndividual => marks,
            // The last one of each subscription stands for those before it.
            Ack::Client => {
                let last: BTreeMap<String, Mark> = marks.into_iter().map(|mark| (mark.subscription.clone(), mark)).collect();
                last.into_values().collect()
            }
        };
        let mut bytes = Vec::new();
        for mark in marks {
            let mut ack = Frame::new("ACK");
            match self.version {
                Version::V1_2 => ack.say("id", &mark.id),
                Version::V1_1 => ack.say("subscription", &mark.subscription).say("message-id", &mark.id),
            };
            bytes.extend(ack.bytes(Some(self.version))?);
        }
        Ok(bytes)
    }

    /// A frame, unless it says that something is wrong.
    fn expect(&self, frame: Frame) -> Result<Frame> {
        if frame.command != "ERROR" {
            return Ok(frame);
        }
        let mut why = plain(frame.said("message").unwrap_or_default().as_bytes());
        if let Body::Whole(body) = &frame.body {
            why = format!("{why} {}", plain(body));
        }
        // A broker may repeat what it was told.
        if let Some(Ok(password)) = self.settings.password.as_ref().map(Secret::reveal)
            && !password.is_empty()
        {
            why = why.replace(&password, "***");
        }
        Err(anyhow!("{} says: {}", self.name, why.trim()))
    }
}

async fn send(writes: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    let sent = timeout(TO_GREET, async {
        writes.write_all(bytes).await?;
        writes.flush().await
    });
    sent.await.context("the broker takes nothing any more")?.context("the broker has gone")
}
