//! A queue of IntelMQ's in Redis: where it is, the few words that are spoken with its server, and how events get into it.
//!
//! The protocol (RESP2, redis.io/docs/latest/develop/reference/protocol-spec) is lines and lengths. Spoken by ourselves, an answer
//! has a limit.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use reqwest::Url;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::secret::Secret;
use crate::wire::{Server, Tls, Wire};

/// Where a queue is.
#[derive(Clone)]
pub struct Queue {
    server: Server,
    user: Option<String>,
    database: u32,
    name: String,
}

impl Queue {
    /// Of `redis://HOST:PORT/DATABASE/QUEUE`, or `rediss://` for TLS; a user may stand before the host, no password.
    pub fn parse(address: &str, tls: &Option<Tls>) -> Result<Queue> {
        // The address itself is not said: somebody may have written a password into it.
        const FORM: &str = "a queue is redis://HOST:PORT/DATABASE/QUEUE, or rediss:// for TLS";
        let url = Url::parse(address).map_err(|_| anyhow!(FORM))?;
        if url.password().is_some() {
            bail!("a password does not stand in the address of a queue, which others see");
        }
        let server = Server::of(&url, [("redis", 6379), ("rediss", 6379)], tls).context(FORM)?;
        let (database, name) = url.path().trim_start_matches('/').split_once('/').context(FORM)?;
        let database = database.parse().map_err(|_| anyhow!("the database in the address of a queue is a number: {FORM}"))?;
        let name = decoded(name).filter(|name| !name.is_empty()).context(FORM)?;
        let user = decoded(url.username()).filter(|user| !user.is_empty());
        Ok(Queue { server, user, database, name })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Connects, says who we are, and chooses the database.
    pub(crate) async fn connect(&self, password: Option<&Secret>) -> Result<Connection> {
        let server = self.server.shown();
        let mut connection = Connection { wire: BufReader::new(self.server.connect().await?), longest: LONGEST_ANSWER };
        if let Some(password) = password.map(Secret::reveal).transpose()? {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(self.user.as_deref().map(str::as_bytes));
            words.push(password.as_bytes());
            // What else the server says may repeat what it was told.
            let refused = |wrong: &str| anyhow!("{server} refuses the password: {}", wrong.split(' ').next().unwrap_or_default());
            if let Reply::Error(wrong) = connection.ask(&words).await? {
                return Err(refused(&wrong));
            }
        }
        let database = self.database.to_string();
        connection.ask(&[b"SELECT", database.as_bytes()]).await?.done().with_context(|| format!("{self}"))?;
        Ok(connection)
    }
}

/// Without what is secret, which it has not.
impl fmt::Display for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.server.tls.is_some() { "rediss" } else { "redis" };
        write!(out, "{scheme}://{}/{}/{}", self.server.shown(), self.database, self.name)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Text in which signs may stand as `%41`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Answers to what we ask are short, but for messages, in bytes.
const LONGEST_ANSWER: usize = 1 << 16;

/// As much is kept of an answer that is too long, in bytes.
const BEGINNING: usize = 256;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Nothing,
    Text(String),
    Error(String),
    Number(i64),
    Bytes(Vec<u8>),
    /// How it begins, and how long it is.
    TooLong(Vec<u8>, u64),
}

impl Reply {
    /// That it is no refusal.
    pub(crate) fn done(self) -> Result<Reply> {
        match self {
            Reply::Error(wrong) => Err(anyhow!("the server says: {wrong}")),
            reply => Ok(reply),
        }
    }
}

pub(crate) struct Connection {
    wire: BufReader<Wire>,
    /// What is longer is passed over, in bytes.
    pub(crate) longest: usize,
}

impl Connection {
    /// Sends commands, each of several words.
    pub(crate) async fn send<'w>(&mut self, commands: impl IntoIterator<Item = &'w [&'w [u8]]>) -> Result<()> {
        let mut bytes = Vec::new();
        for words in commands {
            bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend_from_slice(word);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        let wire = self.wire.get_mut();
        let sent = tokio::time::timeout(PATIENCE, async {
            wire.write_all(&bytes).await?;
            wire.flush().await
        });
        sent.await.context("the server of the queue takes nothing any more")?.context("the server of the queue has gone")
    }

    pub(crate) async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply> {
        self.send([words]).await?;
        self.reply(Duration::ZERO).await
    }

    /// The next answer, for which the server may take so long and a little more.
    pub(crate) async fn reply(&mut self, so_long: Duration) -> Result<Reply> {
        let reply = tokio::time::timeout(so_long + PATIENCE, self.read());
        reply.await.context("the server of the queue does not answer in time")?
    }

    async fn read(&mut self) -> Result<Reply> {
        let line = self.line().await?;
        let (sort, rest) = line.split_at_checked(1).context("the server of the queue says what Redis does not")?;
        let number = || rest.parse::<i64>().context("the server of the queue says what Redis does not");
        Ok(match sort {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Number(number()?),
            "$" | "*" if number()? == -1 => Reply::Nothing,
            "$" => self.bytes(u64::try_from(number()?).context("the server of the queue says what Redis does not")?).await?,
            _ => bail!("the server of the queue says what Redis does not"),
        })
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        (&mut self.wire).take(4096).read_until(b'\n', &mut line).await.context("the server of the queue has gone")?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let whole = line.strip_suffix("\r\n").map(str::to_owned);
        whole.context(if line.is_empty() { "the server of the queue has gone" } else { "the server of the queue breaks off" })
    }

    async fn bytes(&mut self, length: u64) -> Result<Reply> {
        let kept = if length > self.longest as u64 { BEGINNING.min(self.longest) } else { length as usize };
        let mut bytes = vec![0; kept];
        self.wire.read_exact(&mut bytes).await.context("the server of the queue breaks off")?;
        let passed = length - kept as u64 + 2;
        let copied = tokio::io::copy_buf(&mut (&mut self.wire).take(passed), &mut tokio::io::sink()).await?;
        if copied < passed {
            bail!("the server of the queue breaks off");
        }
        Ok(if kept as u64 == length { Reply::Bytes(bytes) } else { Reply::TooLong(bytes, length) })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Events on their way into a queue.
#[derive(Debug)]
pub struct Pushing {
    connection: Connection,
    queue: Queue,
    /// How many are in it.
    pub pushed: u64,
}

/// Events that are sent together.
const TOGETHER: usize = 500;

impl Pushing {
    pub async fn open(queue: &Queue, password: Option<&Secret>) -> Result<Pushing> {
        Ok(Pushing { connection: queue.connect(password).await?, queue: queue.clone(), pushed: 0 })
    }

    /// Puts in events, IntelMQ's JSON, one a line. The first is taken out first, as IntelMQ's bots do.
    pub async fn push(&mut self, events: &str) -> Result<()> {
        let messages: Vec<String> = events.lines().map(as_message).collect();
        for messages in messages.chunks(TOGETHER) {
            let mut words: Vec<&[u8]> = vec![b"LPUSH", self.queue.name.as_bytes()];
            words.extend(messages.iter().map(|message| message.as_bytes()));
            let failed = || format!("{} has {} of the events and takes no more", self.queue, self.pushed);
            self.connection.ask(&words).await.and_then(Reply::done).with_context(failed)?;
            self.pushed += messages.len() as u64;
        }
        Ok(())
    }
}

/// An event as one bot hands it to the next: it says that it is one.
fn as_message(event: &str) -> String {
    let rest = event.strip_prefix('{').unwrap_or(event);
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{\"__type\":\"Event\"{comma}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &str) {
        let found = Queue::parse(address, &None).map_or_else(|wrong| format!("{wrong:#}"), |queue| queue.to_string());
        assert_eq!(found, expected);
    }

    #[test]
    fn a_queue_has_an_address() {
        check("redis://127.0.0.1/2/file-output-queue", "redis://127.0.0.1:6379/2/file-output-queue");
        check("rediss://reader@[::1]:6380/0/a%20b/c", "rediss://[::1]:6380/0/a b/c");
        check("redis://u:hush@localhost/2/q", "a password does not stand in the address of a queue, which others see");
        check("redis://localhost/q", "a queue is redis://HOST:PORT/DATABASE/QUEUE, or rediss:// for TLS");
        check("redis://localhost/2/", "a queue is redis://HOST:PORT/DATABASE/QUEUE, or rediss:// for TLS");
        check(
            "http://localhost/2/q",
            "a queue is redis://HOST:PORT/DATABASE/QUEUE, or rediss:// for TLS: the address begins with redis:// or rediss://",
        );
    }

    /// What is made of these bytes.
    #[track_caller]
    fn check_replies(said: &[u8], expected: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let found: Vec<String> = runtime.block_on(async {
            let (mut server, ours) = tokio::io::duplex(1 << 16);
            server.write_all(said).await.expect("there is room");
            drop(server);
            let mut connection = Connection { wire: BufReader::new(Box::new(ours)), longest: 8 };
            let mut found = Vec::new();
            loop {
                match connection.read().await {
                    Ok(reply) => found.push(format!("{reply:?}")),
                    Err(wrong) => break found.push(wrong.to_string()),
                }
            }
            found
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn answers_are_read_within_limits() {
        let gone = "the server of the queue has gone";
        let breaks = "the server of the queue breaks off";
        let wrong = "the server of the queue says what Redis does not";
        check_replies(b"+OK\r\n:12\r\n-ERR no\r\n", &["Text(\"OK\")", "Number(12)", "Error(\"ERR no\")", gone]);
        check_replies(b"$-1\r\n*-1\r\n$3\r\na\r\n\r\n$0\r\n\r\n", &["Nothing", "Nothing", "Bytes([97, 13, 10])", "Bytes([])", gone]);
        check_replies(b"$9\r\n123456789\r\n+OK\r\n", &["TooLong([49, 50, 51, 52, 53, 54, 55, 56], 9)", "Text(\"OK\")", gone]);
        check_replies(b"$999999999999\r\n12345678", &[breaks]);
        check_replies(b"$5\r\n123", &[breaks]);
        check_replies(b"$99999999999999999999\r\n", &[wrong]);
        check_replies(b"$-5\r\n", &[wrong]);
        check_replies(b"*1\r\n+OK\r\n", &[wrong]);
        check_replies(b"\r\n", &[wrong]);
        check_replies("ü\r\n".as_bytes(), &[wrong]);
        check_replies(b"HTTP/1.1 400 Bad Request\r\n", &[wrong]);
        check_replies(&[b'+'; 5000], &[breaks]);
    }
}
