//! How bytes travel in mails: Base64 and quoted-printable (RFC 2045), undone.
//!
//! What neither knows is passed over, as the standard asks: a mail that some gateway has mended badly still says what it can, and
//! whether that is a report is for its reading to say.

use std::io::{self, Write};

/// How the bytes of a part are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transfer {
    /// As they are.
    Plain,
    Base64,
    QuotedPrintable,
}

impl Transfer {
    pub(super) fn of(name: &str) -> Transfer {
        match name.trim() {
            name if name.eq_ignore_ascii_case("base64") => Transfer::Base64,
            name if name.eq_ignore_ascii_case("quoted-printable") => Transfer::QuotedPrintable,
            _ => Transfer::Plain,
        }
    }

    /// The bytes as they were, never more than there are here.
    pub(super) fn undo(self, bytes: &[u8], to: &mut dyn Write) -> io::Result<()> {
        match self {
            Transfer::Plain => to.write_all(bytes),
            Transfer::Base64 => base64(bytes, to),
            Transfer::QuotedPrintable => quoted_printable(bytes, to),
        }
    }
}

fn base64(bytes: &[u8], to: &mut dyn Write) -> io::Result<()> {
    let mut group = Group::default();
    for byte in bytes {
        match byte {
            b'A'..=b'Z' => group.push(byte - b'A', to)?,
            b'a'..=b'z' => group.push(byte - b'a' + 26, to)?,
            b'0'..=b'9' => group.push(byte - b'0' + 52, to)?,
            b'+' => group.push(62, to)?,
            b'/' => group.push(63, to)?,
            // It may go on after that: some encode each of their lines by itself.
            b'=' => group.end(to)?,
            _ => {}
        }
    }
    group.end(to)
}

/// Up to four signs of Base64, six bits each.
#[derive(Default)]
struct Group {
    bits: u32,
    signs: u32,
}

impl Group {
    fn push(&mut self, bits: u8, to: &mut dyn Write) -> io::Result<()> {
        (self.bits, self.signs) = (self.bits << 6 | u32::from(bits), self.signs + 1);
        if self.signs == 4 { self.end(to) } else { Ok(()) }
    }

    /// Writes the whole bytes there are.
    fn end(&mut self, to: &mut dyn Write) -> io::Result<()> {
        let Group { bits, signs } = std::mem::take(self);
        let [_, one, two, three] = (bits << (6 * (4 - signs.min(4)))).to_be_bytes();
        match signs {
            0 | 1 => Ok(()),
            2 => to.write_all(&[one]),
            3 => to.write_all(&[one, two]),
            _ => to.write_all(&[one, two, three]),
        }
    }
}

fn quoted_printable(bytes: &[u8], to: &mut dyn Write) -> io::Result<()> {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii_end();
        let end = match line {
            [.., b'\r', b'\n'] => b"\r\n".as_slice(),
            [.., b'\n'] => b"\n",
            _ => b"",
        };
        match text.strip_suffix(b"=") {
            // The line goes on in the next one.
            Some(text) => quoted(text, to)?,
            None => {
                quoted(text, to)?;
                to.write_all(end)?;
            }
        }
    }
    Ok(())
}

fn quoted(mut text: &[u8], to: &mut dyn Write) -> io::Result<()> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(at) = memchr::memchr(b'=', text) {
        let (before, rest) = text.split_at(at);
        to.write_all(before)?;
        text = match rest {
            [_, high, low, rest @ ..] if digit(*high).is_some() && digit(*low).is_some() => {
                to.write_all(&[digit(*high).unwrap_or_default() << 4 | digit(*low).unwrap_or_default()])?;
                rest
            }
            [sign, rest @ ..] => {
                to.write_all(&[*sign])?;
                rest
            }
            [] => rest,
        };
    }
    to.write_all(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(transfer: Transfer, given: &str, expected: &str) {
        let mut undone = Vec::new();
        transfer.undo(given.as_bytes(), &mut undone).expect("in memory");
        assert_eq!(String::from_utf8_lossy(&undone), expected, "{given:?}");
    }

    #[test]
    fn base64_is_undone() {
        for (given, expected) in [
            ("aXAscG9ydA==", "ip,port"),
            ("aXAs\r\ncG9y\r\ndA==\r\n", "ip,port"),
            ("aXAscG9ydA", "ip,port"),
            ("aXAs!cG9y*dA=", "ip,port"),
            // Two encoded texts one after the other.
            ("aXA=LHBvcnQ=", "ip,port"),
            ("aXAscG9ydA==\r\n--\r\nA", "ip,port"),
            ("", ""),
            ("=", ""),
        ] {
            check(Transfer::Base64, given, expected);
        }
    }

    #[test]
    fn quoted_printable_is_undone() {
        for (given, expected) in [
            ("a=3Db=0D=0A", "a=b\r\n"),
            ("one =\r\nline\r\nand the next  \r\n", "one line\r\nand the next\r\n"),
            ("=E7=87=88=e5=a1=94", "燈塔"),
            ("1=2=zz= and =4", "1=2=zz= and =4"),
            ("the end=", "the end"),
            ("", ""),
        ] {
            check(Transfer::QuotedPrintable, given, expected);
        }
    }

    #[test]
    fn what_is_not_encoded_stays() {
        check(Transfer::of("8bit"), "a=3Db\r\n", "a=3Db\r\n");
        check(Transfer::of(" BASE64 "), "YQ==", "a");
    }
}
