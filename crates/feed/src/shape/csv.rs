//! Delimited text: any separator, quotes, comments, with a header or without.
//!
//! A quote counts only at the start of a cell, and a cell may hold line breaks between quotes. A quote that is
//! never closed costs its own line and no other: the line is a reject, and reading goes on after it.

mod marks;

use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use event::Reject;

use self::marks::Marks;
use super::LONGEST_ROW;
use super::decode::{Decoded, into_text};
use super::lines::too_long;
use crate::rows::{Header, Rows, Span, by_column};
use crate::table::{Csv as Format, CsvHeader, Feed};

pub(super) struct Csv {
    format: Format,
    header: Option<Arc<Header>>,
    /// The columns that the feed's table speaks of: a header has one of them at least. None: every header will do.
    known: HashSet<String>,
    buffer: Vec<u8>,
    /// Room for the cells of a block, row by row.
    cells: Vec<Span>,
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
    /// Cut, and so many lines long; the next row starts here.
    At { next: usize, lines: u64 },
    /// The buffer ends within the row.
    Unfinished,
    /// What closes its quote opens another one, on a later line.
    Unclosed,
}

const NEVER_CLOSED: &str = "a quote is opened and never closed";
const NO_HEADER: &str = "the header should stand here, and none of the feed's columns does";

impl Csv {
    pub(super) fn new(format: Format, feed: &Feed) -> Csv {
        let header = (format.header == CsvHeader::None).then(|| Arc::new(Header::new(feed.columns.iter().cloned())));
        let known = feed.columns.iter().chain(feed.assignments.iter().map(|assignment| &assignment.column)).cloned().collect();
        Csv { format, header, known, buffer: Vec::new(), cells: Vec::new(), line: 0, ended: false, comment: None, skipping: false }
    }

    pub(super) fn take_any_header(&mut self) {
        self.known.clear();
    }

    pub(super) fn header(&self) -> Option<Vec<String>> {
        self.header.as_ref().map(|header| header.names.clone())
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        loop {
            if !self.ended {
                let wanted = input.block.max(self.buffer.len());
                self.buffer.reserve(wanted + 64);
                self.ended = !input.read_more(&mut self.buffer, wanted)?;
                if !self.ended && self.buffer.len() < input.block {
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
        let text = into_text(head);
        let length = text.len();
        let mut rows = Rows { text, ..Rows::default() };
        let mut cells = std::mem::take(&mut self.cells);
        let done = self.cut_text(&mut rows, &mut cells);
        rows.cells = by_column(&cells, rows.header.names.len());
        cells.clear();
        self.cells = cells;
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
                rows.rejects.push(Reject::new(self.line + 1, None, NEVER_CLOSED, waiting));
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

    /// Cuts rows out of the text, their cells row by row, and says how far it came.
    fn cut_text(&mut self, rows: &mut Rows, cells: &mut Vec<Span>) -> usize {
        let mut text = std::mem::take(&mut rows.text);
        let mut unquoted = String::new();
        let mut marks = Marks::new(text.as_bytes(), Separator::new(&self.format.separator).first, self.format.quote);
        let (mut at, mut quoted, mut one_line) = (0, 0, true);
        let length = text.len();
        rows.lines.reserve(length / 256);
        while at < length {
            if self.skipping || (self.line as usize) < self.format.skip {
                at = self.next_line(&text, at);
                self.skipping = false;
                continue;
            }
            if let Some(next) = self.comment_or_blank(&text, at) {
                at = next;
                continue;
            }
            if self.header.is_none() && self.format.header == CsvHeader::Commented {
                self.header = Some(Arc::new(self.commented_header()));
            }
            let first_cell = cells.len();
            match self.split_row(&text, &mut marks, at, cells, &mut unquoted, &mut quoted) {
                End::At { next, lines } => {
                    if self.header.is_some() {
                        self.finish_row(rows, cells, &text, Span::new(at, next), first_cell);
                    } else {
                        let cell = |span: Span| text.get(span.range()).or_else(|| unquoted.get(span.after(length))).unwrap_or_default();
                        let names: Vec<String> = cells.drain(first_cell..).map(|span| cell(span).trim().to_owned()).collect();
                        if self.known.is_empty() || names.iter().any(|name| self.known.contains(name)) {
                            self.header = Some(Arc::new(Header::new(names)));
                        } else {
                            rows.rejects.push(Reject::new(self.line + 1, None, NO_HEADER, &text.as_bytes()[at..next]));
                        }
                    }
                    one_line &= lines == 1;
                    self.line += lines;
                    at = next;
                }
                End::Unfinished if !self.ended => {
                    cells.truncate(first_cell);
                    break;
                }
                End::Unfinished | End::Unclosed => {
                    cells.truncate(first_cell);
                    at = self.reject_line(&text, at, rows);
                }
            }
        }
        rows.plain = unquoted.is_empty() && one_line && is_plain(&text.as_bytes()[..at], quoted * 2);
        text.push_str(&unquoted);
        rows.text = text;
        rows.header = self.header.clone().unwrap_or_default();
        at
    }

    /// Rejects one line, in which a quote is opened, and says where the next one starts.
    fn reject_line(&mut self, text: &str, at: usize, rows: &mut Rows) -> usize {
        let line = text.get(at..).unwrap_or_default().lines().next().unwrap_or_default();
        rows.rejects.push(Reject::new(self.line + 1, None, NEVER_CLOSED, line.as_bytes()));
        self.next_line(text, at)
    }

    /// The start of the next line.
    fn next_line(&mut self, text: &str, at: usize) -> usize {
        self.line += 1;
        memchr::memchr(b'\n', &text.as_bytes()[at..]).map_or(text.len(), |place| at + place + 1)
    }

    /// The start of the next line, if this one is no row.
    fn comment_or_blank(&mut self, text: &str, at: usize) -> Option<usize> {
        let bytes = &text.as_bytes()[at..];
        if matches!(bytes, [b'\n', ..] | [b'\r', b'\n', ..] | [b'\r']) {
            return Some(self.next_line(text, at));
        }
        let comment = self.format.comment.as_deref()?;
        if !bytes.starts_with(comment.as_bytes()) {
            return None;
        }
        let start = at + comment.len();
        let next = self.next_line(text, at);
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
        let quote = self.format.quote.map_or('"', char::from);
        Header::new(line.split(&self.format.separator).map(|name| name.trim().trim_matches(quote).trim().to_owned()))
    }

    /// Cuts one row's cells. A quoted cell with doubled quotes is written anew, and stands after the text.
    #[inline]
    fn split_row(
        &self,
        text: &str,
        marks: &mut Marks<'_>,
        start: usize,
        cells: &mut Vec<Span>,
        unquoted: &mut String,
        quoted: &mut usize,
    ) -> End {
        let bytes = text.as_bytes();
        let quote = self.format.quote;
        let separator = Separator::new(&self.format.separator);
        let (mut at, mut lines) = (start, 1);
        loop {
            let is_quoted = quote.is_some() && bytes.get(at).copied() == quote;
            // What nearly all quoted cells are: one line without a quote inside, and another cell after it.
            if is_quoted
                && let Some((close, 0)) = marks.next_quote(at + 1)
                && separator.is_at(bytes, close + 1)
            {
                cells.push(Span::new(at + 1, close));
                *quoted += 1;
                at = close + 1 + separator.length();
                continue;
            }
            let end = if is_quoted {
                let Some((close, doubled, breaks)) = closing_quote(bytes, marks, at + 1) else { return End::Unfinished };
                // A cell may go on over lines; but where more follows what closes it, that was to open the cell of another row.
                if breaks > 0 && !separator.is_at(bytes, close + 1) && bytes.get(close + 1).is_some_and(|byte| !byte.is_ascii_whitespace())
                {
                    return End::Unclosed;
                }
                lines += u64::from(breaks);
                // What stands between the closing quote and the separator belongs to the cell, as other readers have it.
                let end = separator.next_end(bytes, marks, close + 1);
                *quoted += 1;
                if doubled || bytes[close + 1..end].iter().any(|byte| *byte != b'\r') {
                    let from = text.len() + unquoted.len();
                    unquote(text, at..close, close + 1..end, unquoted);
                    cells.push(Span::new(from, text.len() + unquoted.len()));
                } else {
                    cells.push(Span::new(at + 1, close));
                }
                end
            } else {
                let end = separator.next_end(bytes, marks, at);
                let line_break = end > at && bytes[end - 1] == b'\r' && !separator.is_at(bytes, end);
                cells.push(Span::new(at, end - usize::from(line_break)));
                end
            };
            match bytes.get(end) {
                Some(_) if separator.is_at(bytes, end) => at = end + separator.length(),
                Some(_) => return End::At { next: end + 1, lines },
                None if self.ended => return End::At { next: end, lines },
                None => return End::Unfinished,
            }
        }
    }

    /// Takes a row in, or as a reject where its cells do not fit the header.
    fn finish_row(&self, rows: &mut Rows, cells: &mut Vec<Span>, text: &str, whole: Span, first_cell: usize) {
        let number = self.line + 1;
        let width = self.header.as_ref().map_or(0, |header| header.names.len());
        let found = cells.len() - first_cell;
        if found != width {
            cells.truncate(first_cell);
            let said = if found == 1 { "1 cell".to_owned() } else { format!("{found} cells") };
            let raw = &text.as_bytes()[whole.range()];
            rows.rejects.push(Reject::new(number, None, format!("{said}, where the header has {width}"), raw));
            return;
        }
        rows.lines.push((number, whole));
    }
}

/// What stands between cells, nearly always one byte.
#[derive(Clone, Copy)]
struct Separator<'f> {
    first: u8,
    rest: &'f [u8],
}

impl<'f> Separator<'f> {
    fn new(text: &'f str) -> Separator<'f> {
        let (first, rest) = text.as_bytes().split_first().expect("the table's separator is not empty");
        Separator { first: *first, rest }
    }

    fn length(self) -> usize {
        1 + self.rest.len()
    }

    #[inline]
    fn is_at(self, bytes: &[u8], place: usize) -> bool {
        bytes.get(place) == Some(&self.first) && (self.rest.is_empty() || bytes[place + 1..].starts_with(self.rest))
    }

    /// Where the next separator or line end stands, or the text's end.
    #[inline]
    fn next_end(self, bytes: &[u8], marks: &mut Marks<'_>, mut from: usize) -> usize {
        loop {
            let Some(end) = marks.next_end(from) else { return bytes.len() };
            if self.rest.is_empty() || bytes[end] == b'\n' || self.is_at(bytes, end) {
                return end;
            }
            from = end + 1;
        }
    }
}

/// Where the quoted cell ends, whether it holds doubled quotes, and how many line breaks.
#[inline]
fn closing_quote(bytes: &[u8], marks: &mut Marks<'_>, mut at: usize) -> Option<(usize, bool, u32)> {
    let (mut doubled, mut breaks) = (false, 0);
    loop {
        let (quote, passed) = marks.next_quote(at)?;
        breaks += passed;
        if bytes.get(quote + 1) != Some(&bytes[quote]) {
            return Some((quote, doubled, breaks));
        }
        doubled = true;
        at = quote + 2;
    }
}

/// Appends what stands in a cell's quotes, the first of which is at its start, and what follows them.
fn unquote(text: &str, quoted: Range<usize>, tail: Range<usize>, to: &mut String) {
    let (quote, inside) = text.get(quoted).unwrap_or_default().split_at(1);
    to.push_str(&inside.replace(&quote.repeat(2), quote));
    to.push_str(text.get(tail).unwrap_or_default().trim_end_matches('\r'));
}

/// Whether nothing that a cell holds must be escaped or taken out anywhere: no quote beside those around cells, no
/// backslash, no control character beside line ends. Asked once of a block, it need not be asked of each cell.
fn is_plain(text: &[u8], quotes_around_cells: usize) -> bool {
    let special = |byte: u8| byte < 0x20 && byte != b'\n' || byte == b'\\' || byte == 0x7f;
    !text.iter().fold(false, |found, byte| found | special(*byte)) && memchr::memchr_iter(b'"', text).count() == quotes_around_cells
}
