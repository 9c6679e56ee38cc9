//! What an IMAP server says.

#[path = "../../../crates/pipeline/src/sources/imap/answer.rs"]
mod answer;

use answer::{Answer, Word, announced};

/// Lines and what they announce, as the talk with a server has them.
pub(crate) fn fuzz(said: &[u8]) {
    let mut rest = said;
    while !rest.is_empty() {
        let mut answer = Answer::default();
        loop {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            answer.lines.push(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
            let Some(length) = announced(line.strip_suffix(b"\r").unwrap_or(line)) else { break };
            let Some(length) = length.ok().filter(|length| *length <= rest.len()) else { return };
            let (literal, after) = rest.split_at(length);
            rest = after;
            answer.literals.push(literal.to_vec());
        }
        check(answer);
    }
}

fn check(answer: Answer) {
    let length: usize = answer.lines.iter().chain(&answer.literals).map(Vec::len).sum();
    if let Some(ended) = answer.ended("w1") {
        assert!(answer.begins().ends_with(ended) && answer.untagged().is_none());
    }
    let numbers = answer.numbers("SEARCH").unwrap_or_default();
    assert!(2 * numbers.len() <= length);
    let found = answer.fetched().unwrap_or_default();
    // What is not UTF-8 becomes three bytes for one.
    let told = found.iter().map(|(name, value)| {
        assert!(!matches!(value, Word::Open | Word::Close), "{name}");
        name.len() + if let Word::Text(text) = value { text.len() } else { 0 }
    });
    assert!(told.sum::<usize>() <= 3 * length);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const SAID: &[&str] = &[
        "* OK ready\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nw1 OK done\r\n* SEARCH 1 2 3\r\nw2 NO [TRYCREATE] none\r\n",
        "* 3 FETCH (UID 12 RFC822.SIZE 44 FLAGS (\\Seen $x) INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")\r\n",
        "* 3 FETCH (BODY[HEADER.FIELDS (FROM SUBJECT)]<0> {9}\r\nFrom: a\r\n UID 12)\r\n* 1 FETCH (X \"a \\\"b\\\" \\\\\" UID 1)\r\n",
    ];
    SAID.iter().map(|said| said.as_bytes().to_vec()).collect()
}
