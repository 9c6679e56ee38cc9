//! What is in a mail (RFC 5322, 2045, 2046): its attachments, its text, and the addresses that it names.
//!
//! Anybody may send one, so there is no mail that costs more than it is long: how many parts there are, how deep they lie in each
//! other and how long their headers are is capped, and nothing is counted twice. Cutting a mail into its parts is done here for that
//! reason: the library takes a hundred thousand messages within each other as they come, and the stack is over. What it reads for us
//! is the fields of one header.
//!
//! Attachments stay byte for byte what they were before they were packed into a mail. Text is told in UTF-8.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::panic::catch_unwind;

use anyhow::{Context, Result, anyhow, bail};
use event::time::Micros;
use mail_parser::decoders::charsets::map::charset_decoder;
use mail_parser::{ContentType, HeaderName, HeaderValue, MessageParser};
use memchr::memmem;
use regex::Regex;
use tempfile::NamedTempFile;
use url::Url;

use super::transfer::Transfer;

/// What is taken of a mail.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Attachments whose names match, or all that somebody attached on purpose.
    pub(super) attachments: Option<Attachments>,
    /// Addresses that match.
    pub(super) links: Option<Regex>,
    /// Its text.
    pub(super) body: bool,
    pub(super) caps: Caps,
}

#[derive(Clone, Debug)]
pub(super) enum Attachments {
    /// All but pictures in the text, signatures and what mail servers add.
    All,
    Named(Regex),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) parts: usize,
    /// Multiparts and messages within each other.
    pub(super) depth: usize,
    /// One header, of a message or of a part.
    pub(super) header_bytes: usize,
    /// Addresses that are wanted: each is a file to fetch.
    pub(super) links: usize,
}

impl Default for Caps {
    fn default() -> Caps {
        Caps { parts: 1000, depth: 20, header_bytes: 256 << 10, links: 100 }
    }
}

/// Whatever was wanted, and is there.
#[derive(Debug, Default)]
pub(in crate::sources) struct Taken {
    pub(super) parts: Vec<Part>,
    pub(super) links: Vec<Url>,
}

impl Taken {
    /// Whether others are to be asked for some of it.
    pub(in crate::sources) fn has_links(&self) -> bool {
        !self.links.is_empty()
    }
}

/// Something to hand over.
#[derive(Debug)]
pub(super) struct Part {
    /// A name that is safe wherever it is shown or stored.
    pub(super) name: String,
    pub(super) content: Content,
}

/// The larger ones lie on the disk.
#[derive(Debug)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    File(NamedTempFile),
}

impl Content {
    /// In bytes of memory.
    pub(super) fn held(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(_) => 0,
        }
    }
}

/// What is longer goes to the disk.
const IN_MEMORY: usize = 1 << 20;

/// All that is wanted of this mail. A mail that asks for too much is none, as the error says.
pub(super) fn take(mail: &[u8], wanted: &Wanted) -> Result<Taken> {
    let mut walk = Walk { wanted, count: 0, parts: Vec::new(), texts: Vec::new(), seen: BTreeSet::new(), links: Vec::new() };
    walk.entity(mail, Within::default())?;
    let mut taken = Taken { parts: walk.parts, links: walk.links };
    if wanted.body {
        taken.parts.extend(body(walk.texts));
    }
    Ok(taken)
}

/// The text that somebody wrote, as one part: plain rather than a page, of the message itself rather than of one that it forwards.
fn body(texts: Vec<Text>) -> Option<Part> {
    let best = texts.iter().map(|text| (text.level, text.is_page)).min()?;
    let text = texts.into_iter().filter(|text| (text.level, text.is_page) == best).map(|text| text.text).collect::<Vec<_>>().join("\n");
    let name = if best.1 { "body.html" } else { "body.txt" };
    (!text.trim().is_empty()).then(|| Part { name: name.to_owned(), content: Content::Bytes(text.into_bytes()) })
}

/// What was written to be read, not attached.
struct Text {
    /// How many messages it lies in.
    level: usize,
    is_page: bool,
    text: String,
}

struct Walk<'w> {
    wanted: &'w Wanted,
    count: usize,
    parts: Vec<Part>,
    texts: Vec<Text>,
    seen: BTreeSet<Url>,
    /// In the order in which they are named.
    links: Vec<Url>,
}

/// What something lies in.
#[derive(Clone, Copy, Debug, Default)]
struct Within {
    depth: usize,
    /// Messages, not multiparts.
    level: usize,
    /// A page with its pictures.
    related: bool,
    /// A report by a program on some other message.
    report: bool,
    /// Messages, one after the other.
    digest: bool,
}

impl Walk<'_> {
    /// A message, or one of its parts.
    fn entity(&mut self, bytes: &[u8], within: Within) -> Result<()> {
        self.count += 1;
        let Caps { parts, depth, header_bytes, .. } = self.wanted.caps;
        if self.count > parts {
            bail!("it has more than {parts} parts");
        }
        if within.depth > depth {
            bail!("its parts lie more than {depth} deep in each other");
        }
        let (header, body) =
            cut(bytes, header_bytes).with_context(|| format!("a header of it is longer than {} KiB", header_bytes >> 10))?;
        let fields = Fields::read(header)?;
        let (kind, of_it) = fields.kind(within.digest);
        let inner = Within { depth: within.depth + 1, related: false, report: false, digest: false, ..within };
        match (kind.as_str(), of_it.as_str(), &fields.boundary) {
            ("multipart", of_it, Some(boundary)) if !boundary.is_empty() => {
                let inner = Within { related: of_it == "related", report: of_it == "report", digest: of_it == "digest", ..inner };
                pieces(body, boundary, |piece| self.entity(piece, inner))
            }
            // What a report by a program is about: whoever complains of spam does not deliver what was attached to it.
            ("message", "rfc822" | "global", _) if within.report => Ok(()),
            ("message", "rfc822" | "global", _) => {
                let message = fields.transfer.undone(body);
                self.entity(&message, Within { level: within.level + 1, ..inner })
            }
            _ => self.leaf(&fields, (&kind, &of_it), body, within),
        }
    }

    /// A part that has none itself.
    fn leaf(&mut self, fields: &Fields, (kind, of_it): (&str, &str), body: &[u8], within: Within) -> Result<()> {
        let is_read = (kind == "text" && matches!(of_it, "plain" | "html") || kind == "multipart") && fields.name.is_none();
        if is_read && !fields.is_attached {
            return self.text(fields, of_it == "html", body, within.level);
        }
        let name = fields.name.as_deref().map(safe_name).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| made_up_name(kind, of_it, self.count));
        let is_wanted = match &self.wanted.attachments {
            None => false,
            Some(Attachments::Named(pattern)) => pattern.is_match(&name),
            Some(Attachments::All) => !is_trimming(fields, (kind, of_it), within),
        };
        if is_wanted {
            let content = contents(fields.transfer, body).context("putting an attachment aside")?;
            self.parts.push(Part { name, content });
        }
        Ok(())
    }

    fn text(&mut self, fields: &Fields, is_page: bool, body: &[u8], level: usize) -> Result<()> {
        if !self.wanted.body && self.wanted.links.is_none() {
            return Ok(());
        }
        let bytes = fields.transfer.undone(body);
        let decode = fields.charset.as_ref().and_then(|charset| charset_decoder(charset.as_bytes()));
        let text = decode.map_or_else(|| String::from_utf8_lossy(&bytes).into_owned(), |decode| decode(&bytes));
        if let Some(pattern) = &self.wanted.links {
            for link in addresses(&text, is_page).filter(|link| pattern.is_match(link.as_str())) {
                if self.seen.insert(link.clone()) {
                    self.links.push(link);
                }
                if self.links.len() > self.wanted.caps.links {
                    bail!("it links to more than {} addresses that are wanted", self.wanted.caps.links);
                }
            }
        }
        if self.wanted.body {
            self.texts.push(Text { level, is_page, text });
        }
        Ok(())
    }
}

/// What is attached without anybody's having meant it.
fn is_trimming(fields: &Fields, (kind, of_it): (&str, &str), within: Within) -> bool {
    let is_picture = kind == "image" && !fields.is_attached && (fields.is_inline || fields.has_id || within.related);
    let is_signature =
        kind == "application" && matches!(of_it, "pgp-signature" | "pgp-keys" | "pgp-encrypted" | "pkcs7-signature" | "x-pkcs7-signature");
    let is_of_servers = matches!((kind, of_it), ("message", "delivery-status" | "disposition-notification") | ("text", "rfc822-headers"));
    is_picture || is_signature || is_of_servers
}

fn contents(transfer: Transfer, body: &[u8]) -> io::Result<Content> {
    if body.len() <= IN_MEMORY {
        return Ok(Content::Bytes(transfer.undone(body).into_owned()));
    }
    let mut file = NamedTempFile::new()?;
    let mut writer = io::BufWriter::new(&mut file);
    transfer.undo(body, &mut writer)?;
    writer.flush()?;
    drop(writer);
    Ok(Content::File(file))
}

impl Transfer {
    fn undone(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        if self == Transfer::Plain {
            return bytes.into();
        }
        let mut undone = Vec::with_capacity(bytes.len());
        // It is memory that is written to.
        match self.undo(bytes, &mut undone) {
            Ok(()) => undone.into(),
            Err(_) => bytes.into(),
        }
    }
}

/// The header and what follows, if the header is no longer than that.
fn cut(bytes: &[u8], most_bytes: usize) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    for end in memchr::memchr_iter(b'\n', bytes) {
        let line = bytes.get(from..end)?;
        if line.is_empty() || line == b"\r" {
            return Some((bytes.get(..from)?, bytes.get(end + 1..)?));
        }
        from = end + 1;
        if from > most_bytes {
            return None;
        }
    }
    (bytes.len() <= most_bytes).then_some((bytes, &[]))
}

/// Calls for each piece between lines with the boundary. Where the last of these is missing, the last piece goes to the end.
fn pieces(body: &[u8], boundary: &str, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mark = [b"--", boundary.as_bytes()].concat();
    let mut from = None;
    for at in memmem::find_iter(body, &mark) {
        let (before, after) = (body.get(..at).unwrap_or_default(), body.get(at + mark.len()..).unwrap_or_default());
        if !before.is_empty() && !before.ends_with(b"\n") {
            continue;
        }
        let line_end = memchr::memchr(b'\n', after).map_or(after.len(), |end| end + 1);
        let (rest_of_line, _) = after.split_at(line_end);
        let is_last = rest_of_line.starts_with(b"--");
        if !is_last && !rest_of_line.trim_ascii().is_empty() {
            // A longer one begins alike.
            continue;
        }
        if let Some(from) = from.replace(at + mark.len() + line_end) {
            // The end of the line before belongs to the boundary.
            let piece = body.get(from..at).unwrap_or_default();
            let piece = piece.strip_suffix(b"\n").unwrap_or(piece);
            each(piece.strip_suffix(b"\r").unwrap_or(piece))?;
        }
        if is_last {
            return Ok(());
        }
    }
    from.map_or(Ok(()), |from| each(body.get(from..).unwrap_or_default()))
}

/// What a header says of what follows it.
#[derive(Debug)]
struct Fields {
    /// Type and subtype, in lower case; none if it is not said.
    kind: Option<(String, String)>,
    boundary: Option<String>,
    charset: Option<String>,
    transfer: Transfer,
    name: Option<String>,
    is_attached: bool,
    is_inline: bool,
    /// Whether something else may refer to it.
    has_id: bool,
}

impl Fields {
    fn read(header: &[u8]) -> Result<Fields> {
        let parser = MessageParser::new().with_mime_headers();
        let message = read_header(&parser, header)?;
        let message = message.as_ref().and_then(|message| message.parts.first());
        let value = |name: HeaderName<'static>| message?.headers.iter().find(|field| field.name == name).map(|field| &field.value);
        let kind = value(HeaderName::ContentType).and_then(HeaderValue::as_content_type);
        let disposition = value(HeaderName::ContentDisposition).and_then(HeaderValue::as_content_type);
        let attribute = |of: Option<&ContentType<'_>>, name: &str| of?.attribute(name).map(str::to_owned);
        Ok(Fields {
            kind: kind.map(|kind| (kind.ctype().to_ascii_lowercase(), kind.subtype().unwrap_or_default().to_ascii_lowercase())),
            boundary: attribute(kind, "boundary"),
            charset: attribute(kind, "charset"),
            transfer: value(HeaderName::ContentTransferEncoding).and_then(HeaderValue::as_text).map_or(Transfer::Plain, Transfer::of),
            name: attribute(disposition, "filename").or_else(|| attribute(kind, "name")),
            is_attached: disposition.is_some_and(ContentType::is_attachment),
            is_inline: disposition.is_some_and(ContentType::is_inline),
            has_id: value(HeaderName::ContentId).is_some(),
        })
    }

    /// Type and subtype of what says none are those of text; in a digest, of a message.
    fn kind(&self, in_digest: bool) -> (String, String) {
        let (kind, of_it) = if in_digest { ("message", "rfc822") } else { ("text", "plain") };
        self.kind.clone().unwrap_or_else(|| (kind.to_owned(), of_it.to_owned()))
    }
}

/// The library reads what strangers wrote: should it break over that, the mail is unreadable, and the program is not.
fn read_header<'x>(parser: &MessageParser, header: &'x [u8]) -> Result<Option<mail_parser::Message<'x>>> {
    let parser = std::panic::AssertUnwindSafe(parser);
    catch_unwind(|| parser.parse_headers(header)).map_err(|_| anyhow!("a header of it cannot be read"))
}

/// Whom a message is from, what it is about and when it came, as far as its header says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Envelope {
    /// Addresses alone: a name says whatever somebody likes.
    pub(super) from: Vec<String>,
    pub(super) subject: String,
    /// When the server took it in, or else when it was written.
    pub(super) at: Option<Micros>,
}

impl Envelope {
    /// Of a message's beginning; what is beyond the cap is not looked at.
    pub(super) fn read(message: &[u8], caps: Caps) -> Result<Envelope> {
        let begins = message.get(..caps.header_bytes.min(message.len())).unwrap_or_default();
        let header = cut(begins, caps.header_bytes).map_or(begins, |(header, _)| header);
        let parser = MessageParser::new()
            .header_address(HeaderName::From)
            .header_text(HeaderName::Subject)
            .header_raw(HeaderName::Received)
            .header_raw(HeaderName::Date)
            .default_header_ignore();
        let Some(read) = read_header(&parser, header)? else { return Ok(Envelope::default()) };
        let from = read.from().into_iter().flat_map(mail_parser::Address::iter).filter_map(|from| from.address()).map(str::to_owned);
        let stamps = [HeaderName::Received, HeaderName::Date];
        let stamp = |name: &HeaderName<'_>| {
            let field = read.parts.first()?.headers.iter().find(|field| field.name == *name)?;
            let text = field.value.as_text()?;
            time_in(text.rsplit(';').next().unwrap_or_default())
        };
        Ok(Envelope { from: from.collect(), subject: read.subject().unwrap_or_default().to_owned(), at: stamps.iter().find_map(stamp) })
    }
}

fn time_in(text: &str) -> Option<Micros> {
    let time = mail_parser::DateTime::parse_rfc822(text.trim())?;
    let is_sound = time.is_valid() && time.year >= 1970 && time.year < 2200;
    is_sound.then(|| time.to_timestamp() * event::time::SECOND)
}

/// Addresses of web pages in a text, or in the source of a page.
fn addresses(text: &str, is_page: bool) -> impl Iterator<Item = Url> {
    let ends = |sign: char| sign.is_whitespace() || sign.is_control() || matches!(sign, '<' | '>' | '"' | '\'' | '`' | '|' | '\\');
    text.split(ends).filter_map(move |word| {
        let at = word.find("https://").or_else(|| word.find("http://"))?;
        let (_, address) = word.split_at(at);
        // The sentence goes on, or the bracket was opened before.
        let address = address.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '*', '_']);
        let address = if is_page { address.replace("&amp;", "&").into() } else { Cow::Borrowed(address) };
        (address.len() <= LONGEST_ADDRESS).then(|| Url::parse(&address).ok()).flatten()
    })
}

/// No server takes more.
const LONGEST_ADDRESS: usize = 8 << 10;

/// The last step of a name, without what could lead anywhere, end a line or stand for something else in an origin.
pub(super) fn safe_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let safe = |sign: char| if sign.is_control() || is_invisible(sign) || "!;#?".contains(sign) { '_' } else { sign };
    let name: String = last.chars().map(safe).collect();
    // The end says what it is.
    let beyond = name.chars().count().saturating_sub(LONGEST_NAME);
    let name = name.chars().skip(beyond).collect::<String>().trim_start().to_owned();
    if name.chars().all(|sign| sign == '.') { String::new() } else { name }
}

/// In signs.
const LONGEST_NAME: usize = 150;

/// Signs that turn text around or cannot be seen, so that a name looks like another.
fn is_invisible(sign: char) -> bool {
    matches!(sign, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A name for what has none, by its number in the mail.
fn made_up_name(kind: &str, of_it: &str, number: usize) -> String {
    let end = match (kind, of_it) {
        ("message", "feedback-report") => return "feedback-report.txt".to_owned(),
        ("text", "csv") => "csv",
        ("text", "html") => "html",
        ("text", _) => "txt",
        (_, "json") => "json",
        (_, "xml") => "xml",
        ("application", "zip" | "x-zip-compressed") => "zip",
        ("application", "gzip" | "x-gzip") => "gz",
        _ => "bin",
    };
    format!("part-{number}.{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attachments, text and links, of everything.
    fn everything() -> Wanted {
        let links = Regex::new("^https://reports[.]example/").expect("a pattern");
        Wanted { attachments: Some(Attachments::All), links: Some(links), body: true, caps: Caps::default() }
    }

    /// What is taken of a mail, each part as its name and what is in it.
    fn taken(mail: &[u8], wanted: &Wanted) -> Result<Vec<String>> {
        let taken = take(mail, wanted)?;
        let part = |part: Part| match part.content {
            Content::Bytes(bytes) => format!("{}: {}", part.name, String::from_utf8_lossy(&bytes)),
            Content::File(file) => format!("{}: {} bytes", part.name, file.as_file().metadata().expect("it is there").len()),
        };
        Ok(taken.parts.into_iter().map(part).chain(taken.links.into_iter().map(|link| link.to_string())).collect())
    }

    #[track_caller]
    fn check(mail: &str, expected: &[&str]) {
        for mail in [mail.to_owned(), mail.replace('\n', "\r\n")] {
            let found = taken(mail.as_bytes(), &everything()).expect("it can be taken");
            let found: Vec<String> = found.iter().map(|text| text.replace("\r\n", "\n")).collect();
            assert_eq!(found, expected, "{mail}");
        }
    }

    #[test]
    fn attachments_are_taken_as_they_were() {
        check(
            "Subject: report
Content-Type: multipart/mixed; boundary=b

This is for those who read no MIME.
--b
Content-Type: text/plain

See the report.
--b
Content-Type: text/csv; name=\"one.csv\"
Content-Transfer-Encoding: base64
Content-Disposition: attachment

aXAscG9ydAoxOTIu
MC4yLjEsODAK
--b
Content-Type: text/csv; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable
Content-Disposition: attachment; filename=two.csv

ip=2Cport
192.0.2.2,=
80
--b
Content-Disposition: attachment; filename*=utf-8''drei%20%C3%BC.csv

ip
--b--
After the end.
",
            &["one.csv: ip,port\n192.0.2.1,80\n", "two.csv: ip,port\n192.0.2.2,80", "drei ü.csv: ip", "body.txt: See the report."],
        );
    }

    #[test]
    fn bytes_of_an_attachment_keep_their_charset() {
        let mail = b"Content-Disposition: attachment; filename=a.csv\nContent-Type: text/csv; charset=iso-8859-1\n\n\xe4\xf6\r\n\0\x80";
        let parts = take(mail, &everything()).expect("it can be taken").parts;
        assert!(matches!(&parts[0].content, Content::Bytes(bytes) if bytes == b"\xe4\xf6\r\n\0\x80"), "{parts:?}");
    }

    #[test]
    fn what_came_along_is_left() {
        check(
            "Content-Type: multipart/signed; boundary=outer

--outer
Content-Type: multipart/related; boundary=inner

--inner
Content-Type: multipart/alternative; boundary=innermost

--innermost

As text.
--innermost
Content-Type: text/html

<p>As a page.
--innermost--
--inner
Content-Type: image/png; name=logo.png
Content-Id: <logo>

PNG
--inner--
--outer
Content-Type: application/pgp-signature; name=signature.asc

-----BEGIN
--outer--
",
            &["body.txt: As text."],
        );
        check("Content-Type: image/png; name=scan.png\nContent-Disposition: attachment\n\nPNG", &["scan.png: PNG"]);
    }

    #[test]
    fn text_is_told_in_utf_8() {
        check(
            "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe",
            &["body.txt: Grüße"],
        );
        check("Content-Type: text/plain; charset=big5\nContent-Transfer-Encoding: base64\n\nv0+28A==\n", &["body.txt: 燈塔"]);
        check("Content-Type: text/plain; charset=unheard-of\n\nplain", &["body.txt: plain"]);
        check("Content-Type: text/html\n\n<p>A page only", &["body.html: <p>A page only"]);
        check("Subject: nothing\n\n  \n", &[]);
        check("Subject: nothing", &[]);
        check("", &[]);
    }

    #[test]
    fn links_are_found_in_text_and_pages() {
        check(
            "Content-Type: multipart/mixed; boundary=b

--b

Fetch <https://reports.example/a?x=1&y=2>, or (https://reports.example/b.csv).
Not https://elsewhere.example/c or https://reports.example.evil.example/d
--b
Content-Type: text/html

<a href=\"https://reports.example/a?x=1&amp;y=2\">https://reports.example/e</a>
--b--
",
            &[
                "body.txt: Fetch <https://reports.example/a?x=1&y=2>, or (https://reports.example/b.csv).\nNot https://elsewhere.example/c or \
                 https://reports.example.evil.example/d",
                "https://reports.example/a?x=1&y=2",
                "https://reports.example/b.csv",
                "https://reports.example/e",
            ],
        );
    }

    #[test]
    fn messages_in_messages_are_looked_into() {
        check(
            "Content-Type: multipart/mixed; boundary=b

--b

Forwarded.
--b
Content-Type: message/rfc822; name=original.eml

Subject: report
Content-Type: text/csv; name=inner.csv

ip
--b
Content-Type: message/rfc822
Content-Transfer-Encoding: base64

Q29udGVudC1UeXBlOiB0ZXh0L2NzdjsgbmFtZT1wYWNrZWQuY3N2CgppcA==
--b
Content-Type: multipart/digest; boundary=c

--c

Content-Type: text/csv; name=digest.csv

ip
--c--
--b--
",
            &["inner.csv: ip", "packed.csv: ip", "digest.csv: ip", "body.txt: Forwarded."],
        );
    }

    #[test]
    fn a_report_by_a_program_is_taken_without_what_it_is_about() {
        check(
            "Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b

Abuse.
--b
Content-Type: message/feedback-report

Feedback-Type: abuse
Source-IP: 192.0.2.1
--b
Content-Type: application/json; name=xarf.json

{}
--b
Content-Type: message/rfc822
Content-Disposition: inline

Content-Type: application/zip; name=malware.zip

PK
--b--
",
            &["feedback-report.txt: Feedback-Type: abuse\nSource-IP: 192.0.2.1", "xarf.json: {}", "body.txt: Abuse."],
        );
    }

    #[test]
    fn a_broken_mail_says_what_it_can() {
        // No end, a boundary that begins like another, and one that is not there.
        check(
            "Content-Type: multipart/mixed; boundary=b\n\n--bb\n\nno part\n--b  \nContent-Type: text/csv; name=a.csv\n\nip\n--bc\n192.0.2.1",
            &["a.csv: ip\n--bc\n192.0.2.1"],
        );
        check("Content-Type: multipart/mixed; boundary=b\n\nno part", &[]);
        check("Content-Type: multipart/mixed\n\nno part", &["body.txt: no part"]);
        check("Content-Type: ;;;=\"\nContent-Disposition: \n \n\n--", &["body.txt: --"]);
    }

    #[test]
    fn a_name_leads_nowhere() {
        for (name, expected) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\reports\\report.csv", "report.csv"),
            ("a\r\nb\u{0}c.csv", "a__b_c.csv"),
            ("report.zip!inner;uid=1#2", "report.zip_inner_uid=1_2"),
            ("photo\u{202e}vsc.exe", "photo_vsc.exe"),
            ("..", ""),
            ("", ""),
            (&"long/".repeat(100), ""),
        ] {
            assert_eq!(safe_name(name), expected, "{name:?}");
        }
        assert_eq!(safe_name(&format!("{}.csv", "x".repeat(10_000))).len(), LONGEST_NAME);
        let cut_at_a_space = format!("{} {}.csv", "x".repeat(10_000), "y".repeat(LONGEST_NAME - 5));
        assert_eq!(safe_name(&cut_at_a_space).len(), LONGEST_NAME - 1);
    }

    #[test]
    fn names_choose_attachments() {
        let mail = "Content-Type: multipart/mixed; boundary=b

--b
Content-Type: application/pdf; name=notes.pdf

PDF
--b
Content-Type: text/csv

ip
--b
Content-Type: application/pgp-signature; name=report.csv.asc

--b--
";
        let taken = |pattern: &str| {
            let attachments = Attachments::Named(Regex::new(pattern).expect("a pattern"));
            taken(mail.as_bytes(), &Wanted { attachments: Some(attachments), ..Wanted::default() }).expect("it can be taken")
        };
        assert_eq!(taken(r"\.csv$"), ["part-3.csv: ip"]);
        assert_eq!(taken(r"\.asc$"), ["report.csv.asc: "]);
        assert_eq!(taken("^$"), [""; 0]);
    }

    #[test]
    fn what_is_large_lies_on_the_disk() {
        let mail =
            format!("Content-Disposition: attachment; filename=a\nContent-Transfer-Encoding: base64\n\n{}", "QUJD\n".repeat(500_000));
        assert_eq!(taken(mail.as_bytes(), &everything()).expect("it can be taken"), ["a: 1500000 bytes"]);
    }

    #[track_caller]
    fn check_refused(mail: &str, expected: &str) {
        let refused = taken(mail.as_bytes(), &everything()).expect_err("it is refused");
        assert_eq!(format!("{refused:#}"), expected);
    }

    #[test]
    fn a_mail_costs_no_more_than_it_is_long() {
        let parts = |count| format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(count));
        check_refused(&parts(10_000), "it has more than 1000 parts");
        assert_eq!(taken(parts(999).as_bytes(), &everything()).expect("it can be taken").len(), 1);
        check_refused(&"Content-Type: message/rfc822\n\n".repeat(100), "its parts lie more than 20 deep in each other");
        check_refused(&"Content-Type: message/rfc822\n\n".repeat(1_000_000), "its parts lie more than 20 deep in each other");
        let within: String = (0..100).map(|depth| format!("Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n")).collect();
        check_refused(&within, "its parts lie more than 20 deep in each other");
        check_refused(&format!("Subject: {}\n\nx", "x".repeat(1 << 20)), "a header of it is longer than 256 KiB");
        check_refused(&"a:\n".repeat(1 << 20), "a header of it is longer than 256 KiB");
        check_refused(&"x".repeat(1 << 20), "a header of it is longer than 256 KiB");
        let links: String = (0..101).map(|number| format!("\nhttps://reports.example/{number}")).collect();
        check_refused(&links, "it links to more than 100 addresses that are wanted");
    }

    /// Bytes by chance, the same each time.
    fn chance() -> impl FnMut(usize) -> usize {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        move |below| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).expect("31 bits") % below
        }
    }

    #[test]
    fn no_mail_breaks_it() {
        let words = [
            "Content-Type: ",
            "multipart/mixed",
            "message/rfc822",
            "; boundary=",
            "b",
            "\n",
            "\r\n",
            "\n\n",
            "--b",
            "--",
            "Content-Disposition: ",
            "attachment",
            "; filename=",
            "\"",
            "=?utf-8?q?=e7?=",
            "*0*=",
            "utf-8''%",
            "base64",
            "Content-Transfer-Encoding: ",
            "\0",
            "é",
            "(",
            "\\",
            "Received: ",
            "; ",
            "Date: ",
            "Mon, 31 Feb 99 25:00 +9999",
            "From: ",
            "<a@b>",
            ",",
            ":",
            "Subject: ",
            "https://reports.example/",
            "&amp;",
        ];
        let mut chance = chance();
        for _ in 0..20_000 {
            let mail: String = (0..chance(60)).map(|_| words[chance(words.len())]).collect();
            let _fine = (take(mail.as_bytes(), &everything()), Envelope::read(mail.as_bytes(), Caps::default()));
        }
    }

    #[test]
    fn the_header_says_who_what_and_when() {
        let read = |text: &str| Envelope::read(text.as_bytes(), Caps::default()).expect("it can be read");
        let envelope = read(
            "Received: from a by b; Tue, 3 Mar 2026 07:00:00 +0100\nReceived: from c by a; Tue, 3 Mar 2026 05:00:00 +0000\nFrom: \"reports@good.example\" \
             <x@evil.example>\nSubject: =?iso-8859-1?q?T=E4glich?=\n more\nDate: Mon, 2 Mar 2026 05:00:00 +0000\n\nbody",
        );
        assert_eq!(envelope.from, ["x@evil.example"]);
        assert_eq!(envelope.subject, "Täglich more");
        assert_eq!(envelope.at.map(event::time::iso).as_deref(), Some("2026-03-03T06:00:00Z"));
        assert_eq!(read("Date: Mon, 2 Mar 2026 05:00:00 +0000\n\n").at.map(event::time::iso).as_deref(), Some("2026-03-02T05:00:00Z"));
        assert_eq!(read("Date: once upon a time\n\n"), Envelope::default());
    }
}
