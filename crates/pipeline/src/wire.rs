//! A connection to a server: TCP, and TLS within it where the address says so.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use reqwest::Url;
use rustls_platform_verifier::Verifier;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, crypto::CryptoProvider};

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

pub(crate) type Wire = Box<dyn Duplex>;

/// Whom TLS trusts beside the authorities that the system knows, and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A PEM file with certificates of authorities.
    pub ca: Option<PathBuf>,
    /// A PEM file with our certificate, and those that lead from it to its authority.
    pub certificate: Option<PathBuf>,
    /// A PEM file with its key.
    pub key: Option<PathBuf>,
}

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Option<Tls>,
}

const TO_CONNECT: Duration = Duration::from_secs(20);

impl Server {
    /// Of an address with one of two schemes, the second with TLS, each with the port that it has if none is given.
    pub(crate) fn of(url: &Url, schemes: [(&str, u16); 2], tls: &Option<Tls>) -> Result<Server> {
        let [(plain, plain_port), (secret, secret_port)] = schemes;
        let (port, tls) = match url.scheme() {
            scheme if scheme == secret => (secret_port, Some(tls.clone().unwrap_or_default())),
            scheme if scheme == plain && tls.is_some() => bail!("tls is for addresses that begin with {secret}://"),
            scheme if scheme == plain => (plain_port, None),
            _ => bail!("the address begins with {plain}:// or {secret}://"),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).context("the address names no server")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if let Some(Tls { certificate, key, .. }) = &tls
            && certificate.is_some() != key.is_some()
        {
            bail!("a certificate needs its key, and a key its certificate");
        }
        Ok(Server { host, port: url.port().unwrap_or(port), tls })
    }

    pub(crate) fn shown(&self) -> String {
        if self.host.contains(':') { format!("[{}]:{}", self.host, self.port) } else { format!("{}:{}", self.host, self.port) }
    }

    pub(crate) async fn connect(&self) -> Result<Wire> {
        let shown = self.shown();
        tokio::time::timeout(TO_CONNECT, self.open()).await.map_err(|_| anyhow!("{shown} does not answer in time"))?
    }

    async fn open(&self) -> Result<Wire> {
        let shown = self.shown();
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.with_context(|| format!("{shown} cannot be reached"))?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone()).with_context(|| format!("{shown} is no server's name"))?;
        secure(tls.configuration()?, name, Box::new(stream)).await.with_context(|| format!("{shown} is not what TLS trusts"))
    }
}

/// The same connection in secret, with a server of this name.
pub(crate) async fn secure(configuration: ClientConfig, name: ServerName<'static>, wire: Wire) -> io::Result<Wire> {
    Ok(Box::new(TlsConnector::from(Arc::new(configuration)).connect(name, wire).await?))
}

impl Tls {
    pub(crate) fn configuration(&self) -> Result<ClientConfig> {
        // Said outright: several ways to encrypt are built in by others, and none is everybody's.
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let extra = self.ca.as_deref().map(certificates).transpose()?.unwrap_or_default();
        let verifier = Verifier::new_with_extra_roots(extra, provider.clone()).context("reading whom TLS trusts")?;
        let configuration = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let configuration = configuration.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Ok(match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let own = PrivateKeyDer::from_pem_file(key)
                    .map_err(|wrong| anyhow!("{} is no key as PEM without a password: {wrong}", key.display()))?;
                configuration
                    .with_client_auth_cert(certificates(certificate)?, own)
                    .with_context(|| format!("{} is not the key of {}", key.display(), certificate.display()))?
            }
            _ => configuration.with_no_client_auth(),
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let wrong = |wrong| anyhow!("{} holds no certificates as PEM: {wrong}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if found.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(found)
}
