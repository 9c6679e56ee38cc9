//! What an operator names by its address: a vendor's document, a table. Over HTTP, within limits of size and time.
//!
//! An address may hold a key to what it names, in its query or before its host, so messages show neither.

use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, bail};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, ClientBuilder, Url};

const TO_CONNECT: Duration = Duration::from_secs(20);
/// Between two pieces of an answer.
const SILENCE: Duration = Duration::from_secs(60);
const ALL: Duration = Duration::from_secs(60 * 60);
const REDIRECTS: usize = 5;

/// The body of the answer, if it is no longer than `most_bytes`.
pub async fn fetch(url: &str, most_bytes: u64) -> Result<Vec<u8>> {
    let client = client().build().context("preparing to fetch over HTTP")?;
    fetch_with(&client, url, most_bytes).await
}

pub(crate) fn client() -> ClientBuilder {
    let name = concat!("waglan/", env!("CARGO_PKG_VERSION"));
    let redirects = Policy::custom(follow);
    Client::builder().user_agent(name).redirect(redirects).connect_timeout(TO_CONNECT).read_timeout(SILENCE).timeout(ALL)
}

fn follow(attempt: Attempt<'_>) -> Action {
    let was_secret = attempt.previous().last().is_some_and(|from| from.scheme() == "https");
    if attempt.previous().len() > REDIRECTS {
        attempt.error("it leads on and on")
    } else if was_secret && attempt.url().scheme() != "https" {
        attempt.error("it leads from https to http")
    } else {
        attempt.follow()
    }
}

async fn fetch_with(client: &Client, url: &str, most_bytes: u64) -> Result<Vec<u8>> {
    let url = parse(url)?;
    let shown = shown(&url);
    let failed = |error: reqwest::Error| {
        let what = what_failed(&error);
        Error::new(error.without_url()).context(format!("{shown} {what}"))
    };
    let too_large = || anyhow!("{shown} is larger than {} MiB: it is not fetched", most_bytes >> 20);
    let mut answer = client.get(url).send().await.map_err(failed)?;
    if !answer.status().is_success() {
        bail!("{shown} cannot be fetched: the server says {}", answer.status());
    }
    // What the server states saves the way; what comes is what counts.
    if answer.content_length().is_some_and(|length| length > most_bytes) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        if (bytes.len() + piece.len()) as u64 > most_bytes {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

pub(crate) fn parse(url: &str) -> Result<Url> {
    Url::parse(url).ok().filter(is_http).context("what is fetched has an address that begins with http:// or https://")
}

pub(crate) fn what_failed(error: &reqwest::Error) -> &'static str {
    match error {
        _ if error.is_timeout() => "does not answer in time",
        _ if error.is_redirect() => "leads where it may not",
        _ if error.is_connect() => "cannot be reached",
        _ if error.is_body() || error.is_decode() => "breaks off before its end",
        _ => "cannot be fetched",
    }
}

pub(crate) fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

/// An address without what may be secret in it.
pub(crate) fn shown(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// A server on this machine that gives these answers, one a connection, and to the last says nothing if it is empty.
    fn serve(answers: &[&str]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let answers: Vec<String> = answers.iter().map(|answer| answer.replace('\n', "\r\n")).collect();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("somebody asks");
                read_request(&mut stream);
                stream.write_all(answer.as_bytes()).expect("the asker listens");
                if answer.is_empty() {
                    // The asker gives up first.
                    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
                }
            }
        });
        port
    }

    fn read_request(stream: &mut TcpStream) {
        let mut request = Vec::new();
        let mut piece = [0; 1024];
        while !request.ends_with(b"\r\n\r\n") {
            let read = stream.read(&mut piece).expect("the asker speaks");
            request.extend_from_slice(&piece[..read]);
        }
    }

    /// What comes of these answers.
    #[track_caller]
    fn check(answers: &[&str], expected: &str) {
        let port = serve(answers);
        let address = format!("http://reader:secret@127.0.0.1:{port}/table?key=secret");
        let patience = if answers == [""] { Duration::from_millis(50) } else { SILENCE };
        assert_eq!(found(&address, patience).replace(&port.to_string(), "PORT"), expected);
    }

    /// At most ten bytes, without a proxy, and with patience only where there is something to wait for.
    fn found(address: &str, patience: Duration) -> String {
        let client = client().no_proxy().read_timeout(patience).build().expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        match runtime.block_on(fetch_with(&client, address, 10)) {
            Ok(bytes) => String::from_utf8(bytes).expect("text"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_the_server_has_is_fetched() {
        check(&["HTTP/1.1 200 OK\nContent-Length: 10\n\n0123456789"], "0123456789");
        check(&["HTTP/1.1 200 OK\nConnection: close\n\n01234"], "01234");
        check(&["HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\n01234\n2\n56\n0\n\n"], "0123456");
        check(&["HTTP/1.1 302 Found\nLocation: /there\nContent-Length: 0\n\n", "HTTP/1.1 200 OK\nContent-Length: 2\n\n01"], "01");
    }

    #[test]
    fn what_is_not_there_or_too_much_is_refused() {
        let check = |answers: &[&str], expected: &str| check(answers, &format!("http://127.0.0.1:PORT/table {expected}"));
        check(&["HTTP/1.1 404 Not Found\nContent-Length: 5\n\nsorry"], "cannot be fetched: the server says 404 Not Found");
        check(&["HTTP/1.1 200 OK\nContent-Length: 11\n\n"], "is larger than 0 MiB: it is not fetched");
        check(&["HTTP/1.1 200 OK\nConnection: close\n\n01234567890"], "is larger than 0 MiB: it is not fetched");
        check(&["HTTP/1.1 200 OK\nContent-Length: 9\nConnection: close\n\n01234"], "breaks off before its end");
        check(&[""], "does not answer in time");
        check(&["HTTP/1.1 302 Found\nLocation: /there\nContent-Length: 0\n\n"; 6], "leads where it may not");
        check(&["HTTP/1.1 302 Found\nLocation: file:///etc/passwd\nContent-Length: 0\n\n"], "cannot be fetched: the server says 302 Found");
    }

    #[test]
    fn only_http_is_fetched() {
        for address in ["", "table.mmdb", "file:///etc/passwd", "ftp://192.0.2.1/table"] {
            assert_eq!(found(address, SILENCE), "what is fetched has an address that begins with http:// or https://", "{address}");
        }
    }
}
