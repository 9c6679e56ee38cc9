//! An address that is told over HTTP, as JSON: chat services, ticket systems, one's own programs.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use event::time::Micros;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Url};

use crate::alarm::News;

#[derive(Debug)]
pub struct Webhook {
    client: Client,
    /// It may hold a key, and is shown nowhere.
    url: Url,
}

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Webhook {
    /// `ca` is certificates of authorities that are trusted beside the known ones, PEM.
    pub fn new(url: &str, headers: &[(String, String)], ca: Option<&[u8]>) -> Result<Webhook> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.context("the address to tell begins with http:// or https://")?;
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().with_context(|| format!("\"{name}\" is no name of a header"))?;
            let mut value: HeaderValue = value.parse().with_context(|| format!("the value of the header {name} cannot be one"))?;
            value.set_sensitive(true);
            all.insert(name, value);
        }
        let mut client = Client::builder().user_agent(concat!("waglan/", env!("CARGO_PKG_VERSION"))).default_headers(all);
        if let Some(ca) = ca {
            for certificate in Certificate::from_pem_bundle(ca).context("reading the certificates in \"ca\"")? {
                client = client.tls_certs_merge([certificate]);
            }
        }
        let client = client.timeout(PATIENCE).redirect(Policy::none()).build().context("preparing to tell over HTTP")?;
        Ok(Webhook { client, url })
    }

    /// It is told once the server says so.
    pub async fn send(&self, news: &News, now: Micros) -> Result<()> {
        let body = news.json(now).to_string();
        let asked = self.client.post(self.url.clone()).header("content-type", "application/json").body(body);
        let answer = asked.send().await.map_err(reqwest::Error::without_url)?;
        if !answer.status().is_success() {
            bail!("the server says {}", answer.status());
        }
        Ok(())
    }
}
