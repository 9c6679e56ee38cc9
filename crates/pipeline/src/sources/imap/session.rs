//! A talk with an IMAP server (RFC 3501, 9051): the few things that somebody says who takes mails and marks them.
//!
//! There are libraries for it, and they read what servers say by calling themselves for each bracket, and keep all of it: a server
//! that was taken over would end the program. What is needed here is little.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};
use event::time::{self, Micros};

use super::answer::{Answer, Word, announced};
use crate::sources::mail::wire::{Place, Tls, Wire, shown};

pub(super) struct Session {
    wire: Wire,
    host: String,
    tags: u32,
    /// What the server can do, in capitals.
    can: BTreeSet<String>,
    /// What it may say in answer to one command, in bytes.
    most_bytes: u64,
}

/// What a server says of a message before it is taken.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) uid: u32,
    pub(super) size: u64,
    /// When it came into the folder.
    pub(super) at: Option<Micros>,
    /// From whom it is and what about, as lines of its header.
    pub(super) begins: Vec<u8>,
}

/// Beside the message that was asked for.
const CHATTER: u64 = 64 << 20;

impl Session {
    /// A session with somebody who was let in. Of a message so many bytes are taken at most.
    pub(super) async fn open(place: &Place, user: &str, password: &str, most_bytes: u64) -> Result<Session> {
        let wire = Wire::connect(place).await?;
        let most_bytes = most_bytes.saturating_add(CHATTER);
        let mut session = Session { wire, host: place.host.clone(), tags: 0, can: BTreeSet::new(), most_bytes };
        let greeting = session.answer(&mut { CHATTER }).await?;
        let greeting = greeting.untagged().unwrap_or_default();
        let is_open = greeting.get(..2).is_some_and(|word| word.eq_ignore_ascii_case(b"OK"));
        if !is_open {
            // Who is known without a password cannot make the line secret any more, and is somebody else.
            bail!("{} does not greet as an IMAP server does: {}", place.host, shown(greeting));
        }
        session.ask_what_it_can().await?;
        if place.tls == Tls::Started {
            if !session.can("STARTTLS") {
                bail!("{} does not offer STARTTLS: the password is not sent", place.host);
            }
            session.require("STARTTLS").await?;
            session.wire = session.wire.start_tls().await?;
            session.ask_what_it_can().await?;
        }
        session.log_in(user, password).await?;
        session.ask_what_it_can().await?;
        Ok(session)
    }

    async fn ask_what_it_can(&mut self) -> Result<()> {
        let mut can = BTreeSet::new();
        let each = |answer: Answer| {
            let text = String::from_utf8_lossy(answer.untagged().unwrap_or_default()).to_ascii_uppercase();
            if let Some(words) = text.strip_prefix("CAPABILITY ") {
                can.extend(words.split_ascii_whitespace().map(str::to_owned));
            }
        };
        let ended = self.command("CAPABILITY", each).await?;
        self.can = can;
        ended.map_err(|said| anyhow!("{} does not say what it can: {said}", self.host))
    }

    fn can(&self, what: &str) -> bool {
        self.can.contains(what)
    }

    async fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        let is_plain = |text: &str| text.chars().all(|sign| sign.is_ascii() && !sign.is_ascii_control());
        let ended = if self.can("AUTH=PLAIN") {
            let secret = STANDARD.encode(format!("\0{user}\0{password}"));
            let tag = self.say("AUTHENTICATE PLAIN").await?;
            let mut left = self.most_bytes;
            let asked = self.answer(&mut left).await?;
            match asked.ended(&tag) {
                Some(ended) => outcome(ended),
                None if asked.begins().starts_with(b"+") => {
                    self.wire.say(&secret).await?;
                    self.until_end(&tag, |_| ()).await?.map_err(|said| said.replace(&secret, "***"))
                }
                None => bail!("{} does not ask for the password: {}", self.host, shown(asked.begins())),
            }
        } else if self.can("LOGINDISABLED") {
            bail!("{} takes no password on this line: say tls = \"starttls\" or \"implicit\"", self.host)
        } else if is_plain(user) && is_plain(password) {
            self.command(&format!("LOGIN {} {}", quoted(user), quoted(password)), |_| ()).await?
        } else {
            bail!("{} takes names and passwords in ASCII only", self.host)
        };
        ended.map_err(|said| anyhow!("{} does not let \"{user}\" in with this password: {}", self.host, said.replace(password, "***")))
    }

    /// Opens a folder; says by which number its messages' numbers hold.
    pub(super) async fn select(&mut self, folder: &str) -> Result<u32> {
        let mut validity = None;
        let each = |answer: Answer| {
            let text = String::from_utf8_lossy(answer.begins()).to_ascii_uppercase();
            let code = text.split_once("[UIDVALIDITY ").and_then(|(_, rest)| rest.split_once(']'));
            validity = validity.or(code.and_then(|(number, _)| number.trim().parse().ok()));
        };
        let ended = self.command(&format!("SELECT {}", quoted(&in_ascii(folder))), each).await?;
        ended.map_err(|said| anyhow!("the folder \"{folder}\" cannot be opened: {said}"))?;
        validity.with_context(|| format!("{} does not say for how long the numbers of messages hold (UIDVALIDITY)", self.host))
    }

    /// The messages that are there and not deleted.
    pub(super) async fn search(&mut self, unseen: bool) -> Result<BTreeSet<u32>> {
        let mut found = BTreeSet::new();
        let what = if unseen { "UID SEARCH UNDELETED UNSEEN" } else { "UID SEARCH UNDELETED" };
        let ended = self.command(what, |answer| found.extend(answer.numbers("SEARCH").unwrap_or_default())).await?;
        ended.map_err(|said| anyhow!("{} does not say which messages there are: {said}", self.host))?;
        Ok(found)
    }

    /// What there is to know of messages, in this order; of those that are gone by now nothing.
    pub(super) async fn heads(&mut self, uids: &[u32], with_header: bool) -> Result<Vec<Head>> {
        let list = uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        // Whoever writes a subject of a gigabyte is read up to there.
        let header = if with_header { " BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]<0.65536>" } else { "" };
        let mut heads = Vec::new();
        let each = |answer: Answer| heads.extend(answer.fetched().and_then(head).filter(|head| uids.contains(&head.uid)));
        let ended = self.command(&format!("UID FETCH {list} (UID RFC822.SIZE INTERNALDATE{header})"), each).await?;
        ended.map_err(|said| anyhow!("{} does not say what messages there are: {said}", self.host))?;
        heads.sort_by_key(|head| uids.iter().position(|uid| *uid == head.uid));
        heads.dedup_by_key(|head| head.uid);
        Ok(heads)
    }

    /// A message, up to so many bytes; none if it is gone.
    pub(super) async fn message(&mut self, uid: u32, most_bytes: u64) -> Result<Option<Vec<u8>>> {
        let mut message = None;
        let each = |answer: Answer| {
            let fetched = answer.fetched().unwrap_or_default();
            if number(&fetched, "UID") == Some(u64::from(uid)) {
                message = message.take().or(text(fetched, "BODY[]"));
            }
        };
        let ended = self.command(&format!("UID FETCH {uid} (UID BODY.PEEK[]<0.{most_bytes}>)"), each).await?;
        ended.map_err(|said| anyhow!("{} does not give message {uid}: {said}", self.host))?;
        Ok(message)
    }

    /// Marks a message; says why it cannot be.
    pub(super) async fn mark(&mut self, uid: u32, flags: &str) -> Result<Result<(), String>> {
        self.command(&format!("UID STORE {uid} +FLAGS.SILENT ({flags})"), |_| ()).await
    }

    /// Deletes a message, and no other that somebody has marked so.
    pub(super) async fn delete(&mut self, uid: u32) -> Result<Result<(), String>> {
        let marked = self.mark(uid, "\\Seen \\Deleted").await?;
        if marked.is_err() || !self.can("UIDPLUS") {
            // It goes as soon as anybody clears the folder.
            return Ok(marked);
        }
        self.command(&format!("UID EXPUNGE {uid}"), |_| ()).await
    }

    /// Moves a message into another folder, which is made if it is not there.
    pub(super) async fn put_into(&mut self, uid: u32, folder: &str) -> Result<Result<(), String>> {
        let marked = self.mark(uid, "\\Seen").await?;
        if marked.is_err() {
            return Ok(marked);
        }
        let (moves, name) = (self.can("MOVE"), quoted(&in_ascii(folder)));
        let what = format!("UID {} {uid} {name}", if moves { "MOVE" } else { "COPY" });
        let mut ended = self.command(&what, |_| ()).await?;
        if ended.as_ref().is_err_and(|said| said.to_ascii_uppercase().contains("[TRYCREATE]")) {
            ended = self.command(&format!("CREATE {name}"), |_| ()).await?;
            if ended.is_ok() {
                ended = self.command(&what, |_| ()).await?;
            }
        }
        if ended.is_ok() && !moves { self.delete(uid).await } else { Ok(ended) }
    }

    /// Takes leave. Whether the server says so too does not matter any more.
    pub(super) async fn end(mut self) -> Result<()> {
        self.say("LOGOUT").await.map(|_| ())
    }

    async fn require(&mut self, what: &str) -> Result<()> {
        self.command(what, |_| ()).await?.map_err(|said| anyhow!("{} does not do {what}: {said}", self.host))
    }

    async fn say(&mut self, what: &str) -> Result<String> {
        self.tags += 1;
        let tag = format!("w{}", self.tags);
        self.wire.say(&format!("{tag} {what}")).await?;
        Ok(tag)
    }

    /// Says something and listens to the end; what the server refuses it gives a reason for.
    async fn command(&mut self, what: &str, each: impl FnMut(Answer)) -> Result<Result<(), String>> {
        let tag = self.say(what).await?;
        self.until_end(&tag, each).await
    }

    async fn until_end(&mut self, tag: &str, mut each: impl FnMut(Answer)) -> Result<Result<(), String>> {
        let mut left = self.most_bytes;
        loop {
            let answer = self.answer(&mut left).await?;
            if let Some(ended) = answer.ended(tag) {
                return Ok(outcome(ended));
            }
            match answer.untagged() {
                Some(said) if said.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"BYE")) => {
                    bail!("{} has hung up: {}", self.host, shown(said))
                }
                Some(_) => each(answer),
                None if answer.begins().starts_with(b"+") => {}
                None => bail!("{} does not speak IMAP: {}", self.host, shown(answer.begins())),
            }
        }
    }

    /// The next answer, whole.
    async fn answer(&mut self, left: &mut u64) -> Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let line = self.wire.line().await?;
            *left = left.saturating_sub(line.len() as u64 + 1);
            let announced = announced(&line);
            answer.lines.push(line);
            let Some(length) = announced else { break };
            let length = length.ok().filter(|length| (*length as u64) < *left);
            let length = length.with_context(|| format!("{} says more than anybody asked for", self.host))?;
            *left -= length as u64;
            answer.literals.push(self.wire.bytes(length).await?);
        }
        if *left == 0 {
            bail!("{} says more than anybody asked for", self.host);
        }
        Ok(answer)
    }
}

fn outcome(ended: &[u8]) -> Result<(), String> {
    match ended.get(..2) {
        Some(word) if word.eq_ignore_ascii_case(b"OK") => Ok(()),
        _ => Err(shown(ended)),
    }
}

fn head(fetched: Vec<(String, Word)>) -> Option<Head> {
    let uid = number(&fetched, "UID").and_then(|uid| u32::try_from(uid).ok())?;
    let size = number(&fetched, "RFC822.SIZE").unwrap_or_default();
    let at = fetched.iter().find(|(name, _)| name == "INTERNALDATE").and_then(|(_, value)| match value {
        Word::Text(text) => arrived(&String::from_utf8_lossy(text)),
        _ => None,
    });
    Some(Head { uid, size, at, begins: text(fetched, "BODY[HEADER.FIELDS").unwrap_or_default() })
}

/// `17-Jul-1996 02:44:25 -0700`; a day of one digit has a space before it.
fn arrived(text: &str) -> Option<Micros> {
    time::with_format(text.trim(), "%e-%b-%Y %H:%M:%S %z", 0).ok()
}

fn number(fetched: &[(String, Word)], name: &str) -> Option<u64> {
    let (_, value) = fetched.iter().find(|(known, _)| known == name)?;
    match value {
        Word::Atom(number) => number.parse().ok(),
        _ => None,
    }
}

fn text(fetched: Vec<(String, Word)>, begins: &str) -> Option<Vec<u8>> {
    let (_, value) = fetched.into_iter().find(|(name, _)| name.starts_with(begins))?;
    match value {
        Word::Text(text) => Some(text),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A folder's name as servers of old know it, in a UTF-7 of their own (RFC 3501, 5.1.3).
fn in_ascii(name: &str) -> String {
    const MODIFIED: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::IMAP_MUTF7, NO_PAD);
    let (mut ascii, mut others) = (String::new(), String::new());
    for sign in name.chars().map(Some).chain([None]) {
        match sign {
            Some(sign) if !(' '..='~').contains(&sign) => others.push(sign),
            sign => {
                if !others.is_empty() {
                    let units: Vec<u8> = others.encode_utf16().flat_map(u16::to_be_bytes).collect();
                    ascii += &format!("&{}-", MODIFIED.encode(units));
                    others.clear();
                }
                match sign {
                    Some('&') => ascii += "&-",
                    sign => ascii.extend(sign),
                }
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_are_written_in_ascii() {
        for (name, expected) in [
            ("INBOX", "INBOX"),
            ("Reports & more", "Reports &- more"),
            ("Entwürfe", "Entw&APw-rfe"),
            // The example of RFC 3501.
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("塔", "&WFQ-"),
        ] {
            assert_eq!(in_ascii(name), expected, "{name}");
        }
    }

    #[test]
    fn the_time_of_arrival_is_read() {
        for (text, expected) in [
            ("17-Jul-1996 02:44:25 -0700", Some("1996-07-17T09:44:25Z")),
            (" 3-Mar-2026 06:00:00 +0000", Some("2026-03-03T06:00:00Z")),
            ("03-Mar-2026 06:00:00 +0000", Some("2026-03-03T06:00:00Z")),
            ("yesterday", None),
        ] {
            assert_eq!(arrived(text).map(time::iso).as_deref(), expected, "{text}");
        }
    }
}
