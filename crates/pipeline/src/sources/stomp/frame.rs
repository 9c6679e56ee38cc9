//! A frame: a command, headers, a body, a zero. Whoever sends it is not trusted with our memory.

use std::borrow::Cow;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use crate::sources::gather::{BEGINNING, LONGEST, TooLong};

/// What makes a difference in how headers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1_1,
    V1_2,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) command: String,
    headers: Vec<(String, String)>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    Whole(Vec<u8>),
    TooLong(TooLong),
}

/// A line of a frame, in bytes.
const LONGEST_LINE: usize = 16 << 10;
const MOST_HEADERS: usize = 128;
/// A body that is passed over has an end too, in bytes.
const LONGEST_PASSED: u64 = 1 << 30;

impl Frame {
    pub(super) fn new(command: &str) -> Frame {
        Frame { command: command.to_owned(), headers: Vec::new(), body: Body::Whole(Vec::new()) }
    }

    pub(super) fn say(&mut self, name: &str, value: &str) -> &mut Frame {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header; of several with one name the first holds.
    pub(super) fn said(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// As it is sent, without a body; its words are escaped as a version has it, or not.
    pub(super) fn bytes(&self, version: Option<Version>) -> Result<Vec<u8>> {
        let mut bytes = format!("{}\n", self.command);
        for (name, value) in &self.headers {
            match version {
                Some(version) => bytes += &format!("{}:{}\n", escape(name, version)?, escape(value, version)?),
                // Its sense would be another one.
                None if [name, value].iter().any(|word| word.contains(['\n', '\r', '\0'])) => {
                    bail!("{name} has signs that STOMP cannot send")
                }
                None => bytes += &format!("{name}:{value}\n"),
            }
        }
        bytes += "\n\0\n";
        Ok(bytes.into_bytes())
    }
}

fn escape(word: &str, version: Version) -> Result<String> {
    let mut escaped = String::new();
    for sign in word.chars() {
        match sign {
            '\\' => escaped += "\\\\",
            '\n' => escaped += "\\n",
            ':' => escaped += "\\c",
            '\r' if version == Version::V1_2 => escaped += "\\r",
            '\r' | '\0' => bail!("a header has signs that STOMP cannot send"),
            sign => escaped.push(sign),
        }
    }
    Ok(escaped)
}

fn unescape(word: &str, version: Version) -> Result<Cow<'_, str>> {
    if !word.contains('\\') {
        return Ok(word.into());
    }
    let (mut plain, mut signs) = (String::new(), word.chars());
    while let Some(sign) = signs.next() {
        plain.push(match sign {
            '\\' => match signs.next() {
                Some('\\') => '\\',
                Some('n') => '\n',
                Some('c') => ':',
                Some('r') if version == Version::V1_2 => '\r',
                _ => bail!("a header has an escape that STOMP has not"),
            },
            sign => sign,
        });
    }
    Ok(plain.into())
}

/// Frames, one after the other.
pub(super) struct Frames<R> {
    reader: R,
}

impl<R: AsyncBufRead + Unpin> Frames<R> {
    pub(super) fn new(reader: R) -> Frames<R> {
        Frames { reader }
    }

    /// Waits for a sign of life, and says whether it is a frame's beginning.
    pub(super) async fn begin(&mut self) -> Result<bool> {
        let first = self.reader.fill_buf().await.context("the broker has gone")?.first().copied().context("the broker has gone")?;
        let is_frame = !matches!(first, b'\n' | b'\r');
        if !is_frame {
            self.reader.consume(1);
        }
        Ok(is_frame)
    }

    /// The next frame, its words escaped as a version has it, or not.
    pub(super) async fn next(&mut self, version: Option<Version>) -> Result<Frame> {
        let mut command = self.line().await?;
        while command.is_empty() {
            command = self.line().await?;
        }
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            if headers.len() >= MOST_HEADERS {
                bail!("the broker sends a frame with more than {MOST_HEADERS} headers");
            }
            let (name, value) = line.split_once(':').context("the broker sends a header without a colon")?;
            headers.push(match version {
                Some(version) => (unescape(name, version)?.into_owned(), unescape(value, version)?.into_owned()),
                None => (name.to_owned(), value.to_owned()),
            });
        }
        let mut frame = Frame { command, headers, body: Body::Whole(Vec::new()) };
        frame.body = match frame.said("content-length") {
            Some(length) => self.counted(length.trim().parse().context("the broker sends a length that is no number")?).await?,
            None => self.ended().await?,
        };
        Ok(frame)
    }

    /// A line without its end, which may be of either kind.
    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let most = LONGEST_LINE as u64;
        (&mut self.reader).take(most).read_until(b'\n', &mut line).await.context("the broker has gone")?;
        match line.pop() {
            Some(b'\n') => {}
            Some(_) if line.len() + 1 == LONGEST_LINE => bail!("the broker sends a line of more than {LONGEST_LINE} bytes"),
            _ => bail!("the broker breaks off"),
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).context("the broker sends a header that is no UTF-8")
    }

    /// A body of a known length, and the zero after it.
    async fn counted(&mut self, length: u64) -> Result<Body> {
        if length > LONGEST_PASSED {
            bail!("the broker sends a message of {length} bytes");
        }
        let is_whole = length <= LONGEST as u64;
        let mut bytes = vec![0; if is_whole { length as usize } else { BEGINNING }];
        self.reader.read_exact(&mut bytes).await.context("the broker breaks off")?;
        let rest = length - bytes.len() as u64;
        if tokio::io::copy_buf(&mut (&mut self.reader).take(rest), &mut tokio::io::sink()).await? < rest {
            bail!("the broker breaks off");
        }
        if self.reader.read_u8().await.context("the broker breaks off")? != 0 {
            bail!("the broker sends a message that is longer than it says");
        }
        Ok(if is_whole { Body::Whole(bytes) } else { Body::TooLong(TooLong { begins: bytes, bytes: length }) })
    }

    /// A body up to the zero that ends it.
    async fn ended(&mut self) -> Result<Body> {
        let (mut bytes, mut passed) = (Vec::new(), 0);
        loop {
            let piece = self.reader.fill_buf().await.context("the broker has gone")?;
            if piece.is_empty() {
                bail!("the broker breaks off");
            }
            let end = piece.iter().position(|byte| *byte == 0);
            let taken = end.unwrap_or(piece.len());
            match passed {
                0 => bytes.extend_from_slice(piece.get(..taken).unwrap_or_default()),
                _ => passed += taken as u64,
            }
            self.reader.consume(taken + usize::from(end.is_some()));
            if passed == 0 && bytes.len() > LONGEST {
                passed = bytes.len() as u64;
                bytes.truncate(BEGINNING);
                bytes.shrink_to_fit();
            }
            if passed > LONGEST_PASSED {
                bail!("the broker sends a message without an end");
            }
            if end.is_some() {
                return Ok(if passed == 0 { Body::Whole(bytes) } else { Body::TooLong(TooLong { begins: bytes, bytes: passed }) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of these bytes, frame by frame, to the end.
    #[track_caller]
    fn check(said: &[u8], version: Version, expected: &[&str]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let found: Vec<String> = runtime.block_on(async {
            let (mut frames, mut found) = (Frames::new(said), Vec::new());
            loop {
                match frames.next(Some(version)).await {
                    Err(wrong) => break found.push(wrong.to_string()),
                    Ok(Frame { command, headers, body }) => {
                        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
                        let body = match body {
                            Body::Whole(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                            Body::TooLong(long) => format!("{} of {}", long.begins.len(), long.bytes),
                        };
                        found.push(format!("{command} {} {body:?}", headers.join(" ")));
                    }
                }
            }
            found
        });
        assert_eq!(found, expected);
    }

    const GONE: &str = "the broker breaks off";

    #[test]
    fn frames_are_read() {
        check(b"\n\nMESSAGE\na:b\n\nhi\0\n\r\nRECEIPT\r\nc:d\r\n\r\n\0", Version::V1_2, &["MESSAGE a=b \"hi\"", "RECEIPT c=d \"\"", GONE]);
        check(b"M\ncontent-length:3\n\na\0b\0M\n\n\0", Version::V1_1, &["M content-length=3 \"a\\0b\"", "M  \"\"", GONE]);
        check(b"M\na\\cb:c\\nd\\\\\na:1\na:2\n\n\0", Version::V1_1, &["M a:b=c\nd\\ a=1 a=2 \"\"", GONE]);
        check(b"M\na:\\r\n\n\0", Version::V1_2, &["M a=\r \"\"", GONE]);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        check(b"M\na:\\r\n\n\0", Version::V1_1, &["a header has an escape that STOMP has not"]);
        check(b"M\na\n\n\0", Version::V1_2, &["the broker sends a header without a colon"]);
        check(b"M\na:b\n\nhalf", Version::V1_2, &[GONE]);
        check(b"M\ncontent-length:9\n\nhalf\0", Version::V1_2, &[GONE]);
        check(b"M\ncontent-length:2\n\nhalf\0", Version::V1_2, &["the broker sends a message that is longer than it says"]);
        check(b"M\ncontent-length:-1\n\n\0", Version::V1_2, &["the broker sends a length that is no number"]);
        check(b"M\ncontent-length:99999999999\n\n\0", Version::V1_2, &["the broker sends a message of 99999999999 bytes"]);
        check(b"\xff\n\n\0", Version::V1_2, &["the broker sends a header that is no UTF-8"]);
        check(&vec![b'x'; LONGEST_LINE * 2], Version::V1_2, &["the broker sends a line of more than 16384 bytes"]);
        let bomb = format!("M\n{}\n\0", "a:b\n".repeat(MOST_HEADERS + 1));
        check(bomb.as_bytes(), Version::V1_2, &["the broker sends a frame with more than 128 headers"]);
    }

    #[test]
    fn a_body_that_is_too_long_costs_itself() {
        let long = "x".repeat(LONGEST + 1);
        let expected = [&*format!("M  \"256 of {}\"", LONGEST + 1), "M  \"\"", GONE];
        check(format!("M\n\n{long}\0M\n\n\0").as_bytes(), Version::V1_2, &expected);
        let counted = format!("M content-length={0} \"256 of {0}\"", LONGEST + 1);
        check(format!("M\ncontent-length:{}\n\n{long}\0", LONGEST + 1).as_bytes(), Version::V1_2, &[&counted, GONE]);
    }

    #[test]
    fn what_we_say_is_escaped() {
        let mut frame = Frame::new("ACK");
        frame.say("id", "a:b\\c\nd");
        let said = |version| frame.bytes(version).map(|bytes| String::from_utf8(bytes).expect("text")).map_err(|wrong| wrong.to_string());
        assert_eq!(said(Some(Version::V1_1)).as_deref(), Ok("ACK\nid:a\\cb\\\\c\\nd\n\n\0\n"));
        assert_eq!(said(None), Err("id has signs that STOMP cannot send".to_owned()));
    }
}
