//! A mail server on the line: with TLS or, where that was asked for, without; within caps and times, since a server may say anything
//! or nothing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::wire;

/// When the line is made secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::sources) enum Tls {
    /// From the first byte on.
    #[default]
    Implicit,
    /// Before anything is told that matters.
    #[serde(rename = "starttls")]
    Started,
    /// Never: everybody on the way reads the password.
    None,
}

/// Where a server is, and how it is talked to.
#[derive(Clone, Debug)]
pub(in crate::sources) struct Place {
    pub(in crate::sources) host: String,
    pub(in crate::sources) port: u16,
    pub(in crate::sources) tls: Tls,
    ca: Option<PathBuf>,
    patience: Duration,
}

const TO_CONNECT: Duration = Duration::from_secs(20);

impl Place {
    /// Of `HOST` or `HOST:PORT`; the ports are those of TLS from the first byte on, and of what begins without.
    pub(super) fn new(server: &str, ports: [u16; 2], tls: Tls, ca: Option<PathBuf>, patience: Duration) -> Result<Place> {
        let wrong = || anyhow!("server: \"{server}\" is no server; say \"mail.example.org\" or \"mail.example.org:1993\"");
        let [implicit, open] = ports;
        let usual = if tls == Tls::Implicit { implicit } else { open };
        let (host, port) = match (server.rsplit_once(':'), server.strip_prefix('[').and_then(|rest| rest.split_once(']'))) {
            (_, Some((host, ""))) => (host, usual),
            (_, Some((host, port))) => (host, port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(wrong)?),
            (Some((host, port)), None) if !host.contains(':') => (host, port.parse().map_err(|_| wrong())?),
            _ => (server, usual),
        };
        ServerName::try_from(host).map_err(|_| wrong())?;
        Ok(Place { host: host.to_owned(), port, tls, ca, patience })
    }

    async fn secure(&self, stream: wire::Wire) -> Result<wire::Wire> {
        let trusted = wire::Tls { ca: self.ca.clone(), ..wire::Tls::default() };
        let name = ServerName::try_from(self.host.clone()).context("the server's name")?;
        let secured = tokio::time::timeout(TO_CONNECT, wire::secure(trusted.configuration()?, name, stream));
        let secured = secured.await.map_err(|_| anyhow!("{} does not answer in time", self.host))?;
        secured.with_context(|| format!("{} offers no TLS that is trusted here (ca)", self.host))
    }
}

/// A line to a server.
pub(in crate::sources) struct Wire {
    place: Place,
    stream: BufReader<wire::Wire>,
}

/// A longer one is nothing that a server says; lists of messages are on one line.
const LONGEST_LINE: usize = 16 << 20;

impl Wire {
    pub(in crate::sources) async fn connect(place: &Place) -> Result<Wire> {
        let connected = tokio::time::timeout(TO_CONNECT, TcpStream::connect((place.host.as_str(), place.port))).await;
        let connected = connected.map_err(|_| anyhow!("{} does not answer in time", place.host))?;
        let stream = connected.with_context(|| format!("{} cannot be reached at port {}", place.host, place.port))?;
        let stream: wire::Wire = match place.tls {
            Tls::Implicit => place.secure(Box::new(stream)).await?,
            Tls::Started | Tls::None => Box::new(stream),
        };
        Ok(Wire { place: place.clone(), stream: BufReader::new(stream) })
    }

    /// From here on in secret. What somebody on the way has said already, as if it came after, is not listened to.
    pub(in crate::sources) async fn start_tls(self) -> Result<Wire> {
        if !self.stream.buffer().is_empty() {
            bail!("{} says more than it was asked before TLS: somebody may be in between", self.place.host);
        }
        let stream = self.place.secure(self.stream.into_inner()).await?;
        Ok(Wire { stream: BufReader::new(stream), place: self.place })
    }

    /// Says something, and the end of the line.
    pub(in crate::sources) async fn say(&mut self, line: &str) -> Result<()> {
        let said = async {
            self.stream.write_all(line.as_bytes()).await?;
            self.stream.write_all(b"\r\n").await?;
            self.stream.flush().await
        };
        let said = tokio::time::timeout(self.place.patience, said).await.map_err(|_| anyhow!("{} does not listen", self.place.host))?;
        said.with_context(|| format!("{} has hung up", self.place.host))
    }

    /// What comes next, at least a byte.
    async fn some(&mut self) -> Result<&[u8]> {
        let Wire { place, stream } = self;
        let some = tokio::time::timeout(place.patience, stream.fill_buf()).await;
        let some = some.map_err(|_| anyhow!("{} does not answer in time", place.host))?;
        let some = some.with_context(|| format!("{} has hung up", place.host))?;
        if some.is_empty() {
            bail!("{} has hung up", place.host);
        }
        Ok(some)
    }

    /// The next line, without its end.
    pub(in crate::sources) async fn line(&mut self) -> Result<Vec<u8>> {
        self.line_within(LONGEST_LINE).await
    }

    /// The next line, if it is no longer than that.
    pub(in crate::sources) async fn line_within(&mut self, most_bytes: usize) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let some = self.some().await?;
            let end = memchr::memchr(b'\n', some);
            let (piece, _) = some.split_at(end.map_or(some.len(), |end| end + 1));
            line.extend_from_slice(piece);
            let taken = piece.len();
            self.stream.consume(taken);
            if line.len() > most_bytes {
                bail!("{} says a line of more than {} MiB", self.place.host, most_bytes >> 20);
            }
            if end.is_some() {
                let text = line.strip_suffix(b"\n").unwrap_or(&line);
                line.truncate(text.strip_suffix(b"\r").unwrap_or(text).len());
                return Ok(line);
            }
        }
    }

    /// So many bytes. Memory is taken as they come, not as they are announced.
    pub(in crate::sources) async fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            let left = count - bytes.len();
            let some = self.some().await?;
            let (piece, _) = some.split_at(some.len().min(left));
            bytes.extend_from_slice(piece);
            let taken = piece.len();
            self.stream.consume(taken);
        }
        Ok(bytes)
    }
}

/// What a server said, fit to be shown.
pub(in crate::sources) fn shown(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.trim().chars().take(200).map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}
