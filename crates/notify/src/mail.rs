//! Mail, over SMTP (RFC 5321) with TLS where the server is another machine.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use event::time::Micros;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::Deserialize;

use crate::alarm::News;

/// How the connection is made safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// By a command at its beginning, which the server must know: port 587.
    #[default]
    Starttls,
    /// From its first byte: port 465.
    Tls,
    /// Not at all: for a server on this machine.
    None,
}

/// A server that takes mails, and to whom they go.
#[derive(Debug)]
pub struct Mail {
    from: Mailbox,
    to: Vec<Mailbox>,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

/// Where mails are handed in.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub host: String,
    /// That of the way of security if not given.
    pub port: Option<u16>,
    pub security: Security,
    /// Name and password.
    pub login: Option<(String, String)>,
    /// Certificates of an authority that is trusted beside the known ones, PEM.
    pub ca: Option<Vec<u8>>,
}

/// How long the server may take to answer a connection, and to take a message.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(120);

/// RFC 3834: no program answers it.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(AutoSubmitted)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mail {
    pub fn new(from: &str, to: &[String], server: Server) -> Result<Mail> {
        let mailbox = |text: &str| text.parse::<Mailbox>().with_context(|| format!("\"{text}\" is no mail address"));
        let to = to.iter().map(|one| mailbox(one)).collect::<Result<Vec<_>>>()?;
        if to.is_empty() {
            bail!("nobody is named in \"to\"");
        }
        let Server { host, port, security, login, ca } = server;
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if security == Security::None && !is_here {
            bail!("security = \"none\" is for a server on this machine alone: {host} is another");
        }
        let tls = || -> Result<TlsParameters> {
            let mut tls = TlsParameters::builder(host.clone());
            if let Some(ca) = &ca {
                tls = tls.add_root_certificate(Certificate::from_pem(ca).context("reading the certificates in \"ca\"")?);
            }
            tls.build().context("preparing TLS")
        };
        let (tls, usual) = match security {
            Security::Starttls => (Tls::Required(tls()?), 587),
            Security::Tls => (Tls::Wrapper(tls()?), 465),
            Security::None => (Tls::None, 25),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host).tls(tls).port(port.unwrap_or(usual));
        if let Some((name, password)) = login {
            transport = transport.credentials(Credentials::new(name, password));
        }
        Ok(Mail { from: mailbox(from)?, to, transport: transport.timeout(Some(PATIENCE)).build() })
    }

    /// Sends it to all of them; whoever was refused by the server, and why. It is sent once the server has taken it for anybody.
    pub async fn send(&self, news: &News, now: Micros) -> Result<Vec<String>> {
        let date = SystemTime::UNIX_EPOCH + Duration::from_micros(now.unsigned_abs());
        let mut message = Message::builder().from(self.from.clone()).subject(format!("Waglan: {}", news.subject())).date(date);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message.message_id(None).header(AutoSubmitted).header(ContentType::TEXT_PLAIN).body(news.text(now))?.formatted();
        let mut refused = Vec::new();
        // Each by itself: one address that the server does not know keeps the message from no other.
        for to in &self.to {
            let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()])?;
            match tokio::time::timeout(LONGEST, self.transport.send_raw(&envelope, &message)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => refused.push(format!("{}: {:#}", to.email, anyhow!(error))),
                Err(_) => bail!("the mail server did not end it within {} s", LONGEST.as_secs()),
            }
        }
        if refused.len() == self.to.len() {
            bail!("the mail server does not take it: {}", refused.join("; "));
        }
        Ok(refused)
    }
}
