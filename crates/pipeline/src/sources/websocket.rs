//! Messages of a server by WebSocket. Nothing is acknowledged: what comes while nobody listens is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use feed::Feed;
use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message as Frame};
use tracing::warn;

use super::gather::{self, BEGINNING, Batch, LONGEST, Message, Said, TooLong, gather, plain};
use super::{Every, Make, Source};
use crate::fetch;
use crate::run::Collecting;
use crate::secret::Secret;
use crate::wire::{Server, Tls, Wire};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `wss://` or `ws://`; the feed's own `fetch` if not given.
    url: Option<String>,
    headers: BTreeMap<String, Secret>,
    /// What is said first, to ask for something.
    send: Option<Secret>,
    /// How long the server may say nothing at all; it is asked meanwhile whether it is there.
    patience: Option<Every>,
    tls: Option<Tls>,
    batch: Batch,
}

#[derive(Debug)]
struct WebSocket {
    settings: Settings,
    url: Url,
    server: Server,
    /// Without what is secret in it.
    shown: String,
}

const TO_GREET: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);

/// What is longer breaks the connection, in bytes: it cannot be passed over.
const LONGEST_FRAME: usize = 8 * LONGEST;

impl Make for Settings {
    fn make(&self, feed: Option<&Feed>) -> Result<Box<dyn Source>> {
        self.batch.check(feed)?;
        let url = self.url.clone().or_else(|| feed?.fetch.clone()).context("there is no address to listen to: say url = \"wss://...\"")?;
        let url = Url::parse(&url).map_err(|_| anyhow!("the address is no address"))?;
        if !url.username().is_empty() || url.password().is_some() {
            bail!("user and password are said in headers, and not in the address");
        }
        for name in self.headers.keys() {
            name.parse::<HeaderName>().map_err(|_| anyhow!("\"{name}\" is no header's name"))?;
        }
        let server = Server::of(&url, [("ws", 80), ("wss", 443)], &self.tls)?;
        let shown = fetch::shown(&url);
        Ok(Box::new(WebSocket { settings: self.clone(), url, server, shown }))
    }
}

impl Source for WebSocket {
    fn collect<'a>(&'a self, at_work: &'a Collecting) -> BoxFuture<'a, Result<()>> {
        self.listen(at_work).boxed()
    }

    fn is_stream(&self) -> bool {
        true
    }
}

impl WebSocket {
    async fn listen(&self, at_work: &Collecting) -> Result<()> {
        let mut socket =
            timeout(TO_GREET * 2, self.connect()).await.with_context(|| format!("{} does not answer in time", self.shown))??;
        at_work.stands();
        let (heard, messages) = mpsc::channel(gather::WAITING);
        let stored = |_, told: crate::run::Told| {
            told.refused.iter().for_each(|why| warn!(source = %at_work.name, why, "messages were refused, and are lost"));
            Ok(())
        };
        let mut gathering = std::pin::pin!(gather(at_work, &self.settings.batch, &self.shown, messages, stored));
        let ended = tokio::select! {
            ended = self.hear(&mut socket, heard) => ended,
            done = &mut gathering => {
                // It is only polite: nothing hangs on it.
                let _parted = timeout(Duration::from_secs(1), socket.close(None)).await;
                return done;
            }
        };
        // What was heard before it broke is nowhere else.
        gathering.await?;
        ended
    }

    async fn connect(&self) -> Result<WebSocketStream<Wire>> {
        let mut request = self.url.as_str().into_client_request().map_err(|_| anyhow!("{} is no address", self.shown))?;
        for (name, value) in &self.settings.headers {
            let name: HeaderName = name.parse()?;
            let value = HeaderValue::from_str(&value.reveal()?).map_err(|_| anyhow!("the header {name} holds what no header may"))?;
            request.headers_mut().insert(name, value);
        }
        let limits = WebSocketConfig::default().max_message_size(Some(LONGEST_FRAME)).max_frame_size(Some(LONGEST_FRAME));
        let wire = self.server.connect().await?;
        let greeted = tokio_tungstenite::client_async_with_config(request, wire, Some(limits)).await;
        let (mut socket, _) = greeted.map_err(|wrong| self.broken(wrong))?;
        if let Some(first) = &self.settings.send {
            socket.send(Frame::text(first.reveal()?)).await.map_err(|wrong| self.broken(wrong))?;
        }
        Ok(socket)
    }

    /// Hands on what the server says, until it breaks.
    async fn hear(&self, socket: &mut WebSocketStream<Wire>, heard: mpsc::Sender<Message<()>>) -> Result<()> {
        let patience = self.settings.patience.map_or(PATIENCE, |most| most.0);
        let mut asked = 0;
        loop {
            let Ok(frame) = timeout(patience / 3, socket.next()).await else {
                asked += 1;
                if asked > 2 {
                    bail!("{} has said nothing for {} s", self.shown, patience.as_secs());
                }
                let sent = timeout(patience, socket.send(Frame::Ping(Bytes::new()))).await;
                sent.with_context(|| format!("{} takes nothing any more", self.shown))?.map_err(|wrong| self.broken(wrong))?;
                continue;
            };
            asked = 0;
            let frame = frame.with_context(|| format!("{} has gone", self.shown))?.map_err(|wrong| self.broken(wrong))?;
            let bytes = match frame {
                Frame::Text(text) => Vec::from(Bytes::from(text)),
                Frame::Binary(bytes) => Vec::from(bytes),
                Frame::Close(why) => {
                    let why = why.map(|why| format!(": {} {}", why.code, plain(why.reason.as_bytes()))).unwrap_or_default();
                    bail!("{} ends it{why}", self.shown);
                }
                Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => continue,
            };
            let said = match bytes.len() > LONGEST {
                true => Said::TooLong(TooLong { begins: bytes.iter().take(BEGINNING).copied().collect(), bytes: bytes.len() as u64 }),
                false => Said::Line(bytes),
            };
            heard.send(Message { said, mark: () }).await.context("nobody takes messages any more")?;
        }
    }

    /// An address may hold a key, and an answer too: neither is said.
    fn broken(&self, wrong: Error) -> anyhow::Error {
        match wrong {
            Error::Http(answer) => anyhow!("{} cannot be listened to: the server says {}", self.shown, answer.status()),
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                anyhow!("{} sends a message of more than {} MiB", self.shown, LONGEST_FRAME >> 20)
            }
            Error::ConnectionClosed | Error::AlreadyClosed => anyhow!("{} has gone", self.shown),
            Error::Protocol(wrong) => anyhow!("{} does not speak WebSocket as it is: {wrong}", self.shown),
            Error::Io(wrong) => anyhow::Error::new(wrong).context(format!("{} breaks off", self.shown)),
            _ => anyhow!("{} does not speak WebSocket as it is", self.shown),
        }
    }
}
