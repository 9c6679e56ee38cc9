//! Messages of a stream become deliveries: one a line, until there are enough of them, or the first has waited long enough.
//!
//! Only what is stored is acknowledged. While two batches are under way nothing more is taken, so that whoever sends must wait.

use std::time::Duration;

use anyhow::{Result, bail};
use event::time::{self, Micros};
use feed::Feed;
use feed::table::Format;
use feed::unpack::Packing;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use super::Found;
use crate::accept::Input;
use crate::run::{Collecting, Told};

/// When a batch is handed over: at the first of these.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Batch {
    messages: usize,
    mib: usize,
    /// Since its first message.
    seconds: u64,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { messages: 1000, mib: 8, seconds: 30 }
    }
}

impl Batch {
    pub(super) fn check(&self, feed: Option<&Feed>) -> Result<()> {
        if self.messages == 0 || self.mib == 0 {
            bail!("a batch has a message and a MiB at least");
        }
        let is_lines = |feed: &Feed| matches!(feed.format, Format::JsonLines(_) | Format::Lines(_) | Format::Csv(_));
        match feed.filter(|feed| !is_lines(feed)) {
            Some(feed) => {
                bail!("{} is no feed of lines, and a stream's messages become lines: its format is jsonl, intelmq or lines", feed.id)
            }
            None => Ok(()),
        }
    }
}

/// A message longer than this costs itself, in bytes.
pub(super) const LONGEST: usize = 4 << 20;

/// As much is kept of a message that is too long, in bytes.
pub(super) const BEGINNING: usize = 256;

/// Messages that were read and wait to be taken into a batch.
pub(super) const WAITING: usize = 4;

/// Batches under way.
const BATCHES: usize = 2;

/// Whole reports under way.
const REPORTS: usize = 16;

/// When nothing comes for so long, a stream that is looked at once has ended.
const QUIET: Duration = Duration::from_secs(2);

/// A message, with what its server wants to hear once it is stored.
#[derive(Debug)]
pub(super) struct Message<M> {
    pub(super) said: Said,
    pub(super) mark: M,
}

#[derive(Debug)]
pub(super) enum Said {
    Line(Vec<u8>),
    /// It was not kept whole.
    TooLong(TooLong),
    /// A report by itself, with its name and when it came, if that is known.
    Report {
        name: Option<String>,
        at: Option<Micros>,
        bytes: Vec<u8>,
    },
}

/// What is left of a message that is too long.
#[derive(Debug, Default)]
pub(super) struct TooLong {
    pub(super) begins: Vec<u8>,
    pub(super) bytes: u64,
}

/// Hands over what comes, until nothing more does; `stored` is told of each batch, in the order of its messages, when it is stored
/// or refused.
pub(super) async fn gather<M: Send>(
    at_work: &Collecting,
    batch: &Batch,
    origin: &str,
    mut messages: mpsc::Receiver<Message<M>>,
    mut stored: impl FnMut(Vec<M>, Told) -> Result<()>,
) -> Result<()> {
    let mut gathering = Gathering::new(at_work, batch, origin);
    let mut stopped = std::pin::pin!(at_work.stopped());
    let mut ended = false;
    while !(ended && gathering.under_way.is_empty()) {
        let takes = !ended && !gathering.is_full();
        let due = gathering.due;
        tokio::select! {
            Some(done) = gathering.under_way.next() => {
                let (marks, told) = done?;
                gathering.reports -= usize::from(gathering.reports > 0);
                at_work.stands();
                stored(marks, told)?;
            }
            message = messages.recv(), if takes => match message {
                Some(message) => gathering.take(message),
                None => ended = true,
            },
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => gathering.hand_over_lines(),
            () = tokio::time::sleep(QUIET), if takes && at_work.once => ended = true,
            () = &mut stopped, if !ended => ended = true,
        }
        if ended {
            gathering.hand_over_lines();
        }
    }
    Ok(())
}

/// What became of a delivery, and the marks of its messages.
type Done<M> = Result<(Vec<M>, Told)>;

/// A batch as it fills, and those before it.
struct Gathering<'a, M> {
    at_work: &'a Collecting,
    batch: &'a Batch,
    origin: &'a str,
    lines: Vec<u8>,
    marks: Vec<M>,
    /// When the batch is handed over whatever is in it.
    due: Option<Instant>,
    under_way: FuturesOrdered<BoxFuture<'a, Done<M>>>,
    /// How many of those under way are whole reports, and not more.
    reports: usize,
    /// The last one's.
    at: Micros,
}

impl<'a, M: Send + 'a> Gathering<'a, M> {
    fn new(at_work: &'a Collecting, batch: &'a Batch, origin: &'a str) -> Gathering<'a, M> {
        let (lines, marks, under_way) = (Vec::new(), Vec::new(), FuturesOrdered::new());
        Gathering { at_work, batch, origin, lines, marks, due: None, under_way, reports: 0, at: 0 }
    }

    fn is_full(&self) -> bool {
        self.under_way.len() >= if self.reports == self.under_way.len() { REPORTS } else { BATCHES }
    }

    fn take(&mut self, Message { said, mark }: Message<M>) {
        let line = match said {
            Said::Line(line) => line,
            Said::TooLong(long) => {
                let (source, begins) = (&self.at_work.name, plain(&long.begins));
                warn!(source, bytes = long.bytes, begins, "a message is too long: its beginning is a reject");
                escaped(&long.begins).into_bytes()
            }
            Said::Report { name, at, bytes } => {
                // Whatever came before it is acknowledged before it.
                self.hand_over_lines();
                self.reports += 1;
                return self.hand_over(name, at, bytes, vec![mark]);
            }
        };
        let line = one_line(line, &self.at_work.name);
        if self.lines.is_empty() {
            self.due = Some(Instant::now() + self.at_work.clock.real(Duration::from_secs(self.batch.seconds)));
            // Nobody's message makes the batch look packed: after an empty line nothing does.
            if Packing::of(&line) != Packing::None {
                self.lines.push(b'\n');
            }
        }
        self.lines.extend_from_slice(&line);
        self.lines.push(b'\n');
        self.marks.push(mark);
        if self.marks.len() >= self.batch.messages || self.lines.len() >= self.batch.mib << 20 {
            self.hand_over_lines();
        }
    }

    fn hand_over_lines(&mut self) {
        self.due = None;
        if !self.marks.is_empty() {
            let (lines, marks) = (std::mem::take(&mut self.lines), std::mem::take(&mut self.marks));
            self.hand_over(None, None, lines, marks);
        }
    }

    fn hand_over(&mut self, name: Option<String>, at: Option<Micros>, bytes: Vec<u8>, marks: Vec<M>) {
        // Of several at one time each has an origin of its own: by that they are told apart.
        self.at = self.at_work.clock.now().max(self.at + 1);
        let name = name.map(|name| format!("/{name}")).unwrap_or_default();
        let origin = format!("{}#{}{name}", self.origin, time::iso(self.at));
        let (at_work, at) = (self.at_work, Some(at.unwrap_or(self.at)));
        let done = async move {
            let receipt = at_work.hand_over(Found { at, origin, input: Input::Bytes(bytes) }).await?;
            Ok((marks, receipt.told().await?))
        };
        self.under_way.push_back(Box::pin(done));
    }
}

/// A message as one line. What is not one by itself becomes one: JSON loses line ends that mean nothing, all else is written as a
/// JSON string, which the feed rejects.
fn one_line(mut message: Vec<u8>, source: &str) -> Vec<u8> {
    let end = message.trim_ascii_end().len();
    message.truncate(end);
    let is_control = |byte: &u8| *byte < b' ' && *byte != b'\t';
    let is_text = std::str::from_utf8(&message).is_ok();
    if is_text && !message.iter().any(is_control) {
        return message;
    }
    // Within its strings JSON has no control characters, between its values they are white space.
    if is_text && serde_json::from_slice::<IgnoredAny>(&message).is_ok() {
        message.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        return message;
    }
    warn!(source, begins = plain(&message), "a message is no line of text: it is a reject");
    escaped(&message).into_bytes()
}

/// How something begins that others say, without what would move a terminal's cursor.
pub(super) fn plain(bytes: &[u8]) -> String {
    let begins = bytes.get(..BEGINNING).unwrap_or(bytes);
    String::from_utf8_lossy(begins).chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect()
}

/// Bytes as a JSON string; those that are no UTF-8 as `\xNN`.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    serde_json::Value::String(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &[u8], expected: &str) {
        assert_eq!(String::from_utf8(one_line(message.to_vec(), "test")).expect("a line is text"), expected);
    }

    #[test]
    fn a_message_is_one_line() {
        check(br#"{"a": 1}"#, r#"{"a": 1}"#);
        check(b"{\"a\": 1}\r\n\n", r#"{"a": 1}"#);
        check(b"{\n  \"a\":\t12345678901234567890123.0\r\n}", "{   \"a\":\t12345678901234567890123.0  }");
        check(b"192.0.2.1 bot", "192.0.2.1 bot");
        check(b"", "");
    }

    #[test]
    fn what_is_no_line_is_escaped() {
        check(b"192.0.2.1\n192.0.2.2", r#""192.0.2.1\n192.0.2.2""#);
        check(b"{\"a\":\n", "{\"a\":");
        check(b"{\"a\":\n\"b", r#""{\"a\":\n\"b""#);
        check(b"\x1f\x8b\x08\xff", r#""\u001f\\x8b\b\\xff""#);
        check(b"\xff\xfea\0", r#""\\xff\\xfea\u0000""#);
    }
}
