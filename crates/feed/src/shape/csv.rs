//! Delimited text: any separator, quotes, comments, with a header or without.
//!
//! A quote counts only at the start of a cell, and a cell may hold line breaks between quotes. A quote that is
//! never closed costs its own line and no other: the line is a reject, and reading goes on after it.

use std::io::{self, Read};
use std::sync::Arc;

use event::Reject;

use super::decode::{Decoded, text_of};
use super::lines::too_long;
use super::{BLOCK, LONGEST_ROW};
use crate::rows::{Header, Rows, Span};
use crate::table::{Csv as Format, CsvHeader};

pub(super) struct Csv {
    format: Format,
    header: Option<Arc<Header>>,
    buffer: Vec<u8>,
    /// Lines read so far.
    line: u64,
    ended: bool,
    /// The last comment before the rows.
    comment: Option<String>,
    /// Whether the rest of an overlong line is being passed over.
    skipping: bool,
}

/// How a row ended.
enum End {
    /// Cut; the next row starts here.
    At(usize),
    /// The buffer ends within the row.
    Unfinished,
}

impl Csv {
    pub(super) fn new(format: Format, columns: &[String]) -> Csv {
        let header = (format.header == CsvHeader::None).then(|| Arc::new(Header::new(columns.iter().cloned())));
        Csv { format, header, buffer: Vec::new(), line: 0, ended: false, comment: None, skipping: false }
    }

    pub(super) fn header(&self) -> Option<Vec<String>> {
        self.header.as_ref().map(|header| header.names.clone())
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        loop {
            if !self.ended {
                let wanted = BLOCK.max(self.buffer.len());
                self.ended = !input.read_more(&mut self.buffer, wanted)?;
                if !self.ended && self.buffer.len() < BLOCK {
                    continue;
                }
            }
            if self.buffer.is_empty() && self.ended {
                return Ok(None);
            }
            let rows = self.cut();
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
    }

    /// Cuts the rows that the buffer holds whole, and keeps the rest for the next block.
    fn cut(&mut self) -> Rows {
        // Only whole lines are made text; a row that goes on beyond the last of them waits.
        let whole = if self.ended { self.buffer.len() } else { memchr::memrchr(b'\n', &self.buffer).map_or(0, |place| place + 1) };
        let mut rest = self.buffer.split_off(whole);
        let head = std::mem::take(&mut self.buffer);
        let text = match text_of(&head) {
            std::borrow::Cow::Owned(mended) => mended,
            std::borrow::Cow::Borrowed(_) => String::from_utf8(head).expect("text_of lends only what is UTF-8"),
        };
        let length = text.len();
        let mut rows = Rows { text, ..Rows::default() };
        let done = self.cut_text(&mut rows);
        let mut waiting = rows.text.as_bytes()[done..length].to_vec();
        waiting.append(&mut rest);
        if waiting.len() > LONGEST_ROW && !self.ended {
            self.pass_over(&mut waiting, &mut rows);
        }
        self.buffer = waiting;
        rows
    }

    /// Rejects the first line of what is too long for a row, once.
    fn pass_over(&mut self, waiting: &mut Vec<u8>, rows: &mut Rows) {
        if let Some(place) = memchr::memchr(b'\n', waiting) {
            if !std::mem::take(&mut self.skipping) {
                rows.rejects.push(Reject::new(self.line + 1, None, "a quote is opened and never closed", waiting));
            }
            self.line += 1;
            waiting.drain(..=place);
        } else {
            if !self.skipping {
                rows.rejects.push(too_long(self.line + 1, waiting));
            }
            self.skipping = true;
            waiting.clear();
        }
    }

    /// Cuts rows out of the text and says how far it came.
    fn cut_text(&mut self, rows: &mut Rows) -> usize {
        let mut at = 0;
        let length = rows.text.len();
        let estimate = self.header.as_ref().map_or(16, |header| header.names.len());
        rows.cells.reserve(length / 8 + estimate);
        while at < length {
            if self.skipping || (self.line as usize) < self.format.skip {
                at = self.next_line(&rows.text, at, length);
                self.skipping = false;
                continue;
            }
            if let Some(next) = self.comment_or_blank(&rows.text, at, length) {
                at = next;
                continue;
            }
            if self.header.is_none() && self.format.header == CsvHeader::Commented {
                self.header = Some(Arc::new(self.commented_header()));
            }
            let first_cell = rows.cells.len();
            match self.split_row(rows, at, length) {
                End::At(next) => {
                    self.finish_row(rows, at, next, first_cell);
                    at = next;
                }
                End::Unfinished if self.ended => {
                    rows.cells.truncate(first_cell);
                    let line = rows.text.get(at..length).unwrap_or_default().lines().next().unwrap_or_default();
                    rows.rejects.push(Reject::new(self.line + 1, None, "a quote is opened and never closed", line.as_bytes()));
                    at = self.next_line(&rows.text, at, length);
                }
                End::Unfinished => {
                    rows.cells.truncate(first_cell);
                    break;
                }
            }
        }
        rows.header = self.header.clone().unwrap_or_default();
        at
    }

    /// The start of the next line.
    fn next_line(&mut self, text: &str, at: usize, length: usize) -> usize {
        self.line += 1;
        memchr::memchr(b'\n', &text.as_bytes()[at..length]).map_or(length, |place| at + place + 1)
    }

    /// The start of the next line, if this one is no row.
    fn comment_or_blank(&mut self, text: &str, at: usize, length: usize) -> Option<usize> {
        let bytes = &text.as_bytes()[at..length];
        if matches!(bytes, [b'\n', ..] | [b'\r', b'\n', ..] | [b'\r']) {
            return Some(self.next_line(text, at, length));
        }
        let comment = self.format.comment.as_deref()?;
        if !bytes.starts_with(comment.as_bytes()) {
            return None;
        }
        let start = at + comment.len();
        let next = self.next_line(text, at, length);
        if self.header.is_none() {
            let line = text.get(start..next).unwrap_or_default().trim();
            if !line.is_empty() {
                self.comment = Some(line.to_owned());
            }
        }
        Some(next)
    }

    fn commented_header(&mut self) -> Header {
        let line = self.comment.take().unwrap_or_default();
        let separator = char::from(self.format.separator);
        let quote = self.format.quote.map_or('"', char::from);
        Header::new(line.split(separator).map(|name| name.trim().trim_matches(quote).trim().to_owned()))
    }

    /// Cuts one row's cells. A quoted cell with doubled quotes is written anew at the text's end, after `length`.
    fn split_row(&self, rows: &mut Rows, start: usize, length: usize) -> End {
        let separator = self.format.separator;
        let mut at = start;
        loop {
            let bytes = rows.text.as_bytes();
            if self.format.quote.is_some_and(|quote| bytes.get(at) == Some(&quote)) {
                let quote = self.format.quote.expect("just compared");
                let Some((close, doubled)) = closing_quote(&bytes[..length], at + 1, quote) else { return End::Unfinished };
                // What stands between the closing quote and the separator belongs to the cell, as other readers have it.
                let end = close + 1 + end_of_cell(&bytes[close + 1..length], separator);
                let span = if doubled || bytes[close + 1..end].iter().any(|byte| *byte != b'\r') {
                    unquote(&mut rows.text, at + 1, close, end, quote)
                } else {
                    Span::new(at + 1, close)
                };
                rows.cells.push(span);
                at = end;
            } else {
                let end = at + end_of_cell(&bytes[at..length], separator);
                let line_break = bytes[at..end].last() == Some(&b'\r') && bytes[..length].get(end) != Some(&separator);
                rows.cells.push(Span::new(at, end - usize::from(line_break)));
                at = end;
            }
            match rows.text.as_bytes()[..length].get(at) {
                Some(byte) if *byte == separator => at += 1,
                Some(_) => return End::At(at + 1),
                None if self.ended => return End::At(at),
                None => return End::Unfinished,
            }
        }
    }

    /// Takes a row in: as the header, as a row, or as a reject where its cells do not fit the header.
    fn finish_row(&mut self, rows: &mut Rows, start: usize, next: usize, first_cell: usize) {
        let number = self.line + 1;
        self.line += memchr::memchr_iter(b'\n', &rows.text.as_bytes()[start..next]).count().max(1) as u64;
        let Some(header) = &self.header else {
            let names: Vec<String> = rows.cells.drain(first_cell..).map(|span| name(&rows.text, span)).collect();
            self.header = Some(Arc::new(Header::new(names)));
            return;
        };
        let width = header.names.len();
        let found = rows.cells.len() - first_cell;
        if found != width {
            rows.cells.truncate(first_cell);
            let cells = if found == 1 { "1 cell".to_owned() } else { format!("{found} cells") };
            let raw = &rows.text.as_bytes()[start..next];
            rows.rejects.push(Reject::new(number, None, format!("{cells}, where the header has {width}"), raw));
            return;
        }
        rows.lines.push((number, Span::new(start, next)));
    }
}

fn name(text: &str, span: Span) -> String {
    text.get(span.start as usize..span.end as usize).unwrap_or_default().trim().to_owned()
}

/// How far it is to the separator or the line's end. Cells are short: a plain loop beats a call.
#[inline]
fn end_of_cell(bytes: &[u8], separator: u8) -> usize {
    bytes.iter().position(|byte| *byte == separator || *byte == b'\n').unwrap_or(bytes.len())
}

/// Where the quoted cell ends, and whether it holds doubled quotes.
#[inline]
fn closing_quote(bytes: &[u8], mut at: usize, quote: u8) -> Option<(usize, bool)> {
    let mut doubled = false;
    loop {
        at += memchr::memchr(quote, bytes.get(at..)?)?;
        if bytes.get(at + 1) != Some(&quote) {
            return Some((at, doubled));
        }
        doubled = true;
        at += 2;
    }
}

/// Appends the cell without its quotes to the text.
fn unquote(text: &mut String, start: usize, close: usize, end: usize, quote: u8) -> Span {
    let quote = char::from(quote);
    let quoted = text.get(start..close).unwrap_or_default().replace(&format!("{quote}{quote}"), &quote.to_string());
    let tail = text.get(close + 1..end).unwrap_or_default().trim_end_matches('\r').to_owned();
    let from = text.len();
    text.push_str(&quoted);
    text.push_str(&tail);
    Span::new(from, text.len())
}
