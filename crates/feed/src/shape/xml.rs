//! XML of any length: the elements where a path leads are rows, what is in them are cells named by their path.
//!
//! Only the row being read is in memory. Entities that a document defines for itself are not expanded: they stay as written.

use std::io::{self, BufRead, Read};

use event::reject::LONGEST_RAW;
use quick_xml::escape::{resolve_xml_entity, unescape};
use quick_xml::events::{BytesStart, Event};

use super::LONGEST_ROW;
use super::decode::{Decoded, text_of};
use super::gather::Gathered;
use crate::rows::Rows;

/// Elements within each other are followed this far down.
const DEEPEST: usize = 128;

const UTF_8_MARK: &[u8] = "\u{feff}".as_bytes();

pub(super) struct Xml {
    /// The names of elements from the document's own on; `*` stands for any.
    path: Vec<String>,
    /// The names of those that are open, to the row's own.
    open: Vec<String>,
    row: Option<Row>,
    /// A row that is done with: its room is used again.
    spare: Option<Row>,
    source: Source,
    /// Whether an element was where the path leads, and how what was elsewhere begins.
    arrived: bool,
    beside: Option<(u64, Vec<u8>)>,
    ended: bool,
}

/// The row being read. Its cells go where they belong at once.
#[derive(Default)]
struct Row {
    line: u64,
    /// The path that leads from the row to the innermost element, with dots between the names.
    path: String,
    /// The elements that are open in it, itself among them.
    within: Vec<Within>,
    /// The own text of these, the outermost's first.
    texts: Vec<String>,
    length: usize,
}

struct Within {
    /// How long the path is around it.
    path: usize,
    has_parts: bool,
}

/// Why reading a document ends before its end.
enum Stop {
    Failed(io::Error),
    NotXml(String),
    TooLong,
}

impl Xml {
    pub(super) fn new(path: Vec<String>) -> Xml {
        Xml { path, open: Vec::new(), row: None, spare: None, source: Source::default(), arrived: false, beside: None, ended: false }
    }

    /// The next rows. Where the document turns out not to be XML it ends, with a reject that says so.
    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Gathered::default();
        let line = self.source.line + 1;
        match self.walk(input, &mut rows) {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            Err(why) => {
                self.ended = true;
                let line = self.row.take().map_or(self.source.line.max(line), |row| {
                    rows.cancel();
                    row.line
                });
                let raw = std::mem::take(&mut self.source.said);
                match why {
                    Stop::TooLong => rows.reject(line, too_long(), &raw),
                    Stop::NotXml(why) => rows.reject(line, format!("from here on the document is not XML: {why}"), &raw),
                    Stop::Failed(_) => unreachable!("returned above"),
                }
            }
        }
        Ok((!rows.is_empty()).then(|| rows.finish()))
    }

    /// Goes on until a block of rows is full or the document ends.
    fn walk<R: Read>(&mut self, input: &mut Decoded<R>, rows: &mut Gathered) -> Result<(), Stop> {
        let mut event = Vec::new();
        while !self.ended && !self.is_done(rows) {
            self.walk_at_hand(rows)?;
            if self.is_done(rows) {
                break;
            }
            event.clear();
            let line = self.source.line + 1;
            let mut parser = quick_xml::Reader::from_reader(Reading { input: &mut *input, source: &mut self.source, left: LONGEST_ROW });
            // Whether ends fit their starts is looked at here: the parser knows of one event only.
            parser.config_mut().check_end_names = false;
            parser.config_mut().allow_unmatched_ends = true;
            parser.config_mut().allow_dangling_amp = true;
            match parser.read_event_into(&mut event) {
                Ok(Event::Eof) => {
                    self.ended = true;
                    return self.finish(rows);
                }
                Ok(event) => self.event(&event, line, rows)?,
                Err(quick_xml::Error::Io(error)) if error.get_ref().is_some_and(|error| error.is::<EventTooLong>()) => {
                    return Err(Stop::TooLong);
                }
                Err(quick_xml::Error::Io(error)) => {
                    let kind = error.kind();
                    return Err(Stop::Failed(std::sync::Arc::into_inner(error).unwrap_or_else(|| kind.into())));
                }
                Err(wrong) => return Err(Stop::NotXml(wrong.to_string())),
            }
        }
        Ok(())
    }

    /// Goes on with what is in memory, up to what the end of that cuts off or is wrong: that is looked at by itself.
    fn walk_at_hand(&mut self, rows: &mut Gathered) -> Result<(), Stop> {
        let buffer = std::mem::take(&mut self.source.buffer);
        // The parser would pass over the mark of UTF-8 without counting it.
        while let Some(mark) = buffer.get(self.source.at..).and_then(|rest| rest.get(..3)).filter(|mark| *mark == UTF_8_MARK) {
            self.source.pass(mark);
            self.source.at += mark.len();
        }
        let rest = buffer.get(self.source.at..).unwrap_or_default();
        let mut parser = quick_xml::Reader::from_reader(rest);
        parser.config_mut().check_end_names = false;
        parser.config_mut().allow_unmatched_ends = true;
        parser.config_mut().allow_dangling_amp = true;
        // Up to where the source was told that it was parsed: within a row nobody asks.
        let (mut at, mut told, mut walked) = (0, 0, Ok(()));
        while walked.is_ok() && !self.is_done(rows) {
            let Ok(event) = parser.read_event() else { break };
            let end = parser.buffer_position() as usize;
            if end >= rest.len() || matches!(event, Event::Eof) {
                break;
            }
            let begins = std::mem::replace(&mut at, end);
            let is_within = self.row.as_ref().is_some_and(|row| row.within.len() > 1 || !matches!(event, Event::End(_)));
            walked = if is_within {
                self.event(&event, 0, rows)
            } else {
                self.source.pass(&rest[told..begins]);
                let line = self.source.line + 1;
                self.source.pass(&rest[begins..end]);
                told = end;
                self.event(&event, line, rows)
            };
        }
        self.source.pass(&rest[told..at]);
        self.source.at += at;
        self.source.buffer = buffer;
        walked
    }

    /// Whether there is a block of rows, and none is under way.
    fn is_done(&self, rows: &Gathered) -> bool {
        self.row.is_none() && rows.is_full()
    }

    fn event(&mut self, event: &Event<'_>, line: u64, rows: &mut Gathered) -> Result<(), Stop> {
        match event {
            Event::Start(element) => self.start(element, line, rows),
            Event::Empty(element) => {
                self.start(element, line, rows)?;
                self.end(element.local_name().as_ref(), rows)
            }
            Event::End(element) => self.end(element.local_name().as_ref(), rows),
            Event::Text(text) if self.is_nothing(text) => Ok(()),
            Event::Text(text) => self.text(&text_of(text), line),
            Event::CData(text) => self.text(&text_of(text), line),
            Event::GeneralRef(entity) => self.text(&resolved(&text_of(entity)), line),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => Ok(()),
        }
    }

    fn start(&mut self, element: &BytesStart<'_>, line: u64, rows: &mut Gathered) -> Result<(), Stop> {
        if self.open.len() + self.row.as_ref().map_or(0, |row| row.within.len() - 1) == DEEPEST {
            return Err(Stop::NotXml("elements lie too deep in each other".into()));
        }
        let name = element.local_name();
        let name = text_of(name.as_ref());
        match &mut self.row {
            Some(row) => {
                row.enter(&name);
                row.attributes(element, rows);
            }
            None => {
                self.open.push(name.into_owned());
                if fits(&self.path, &self.open) {
                    self.arrived = true;
                    self.source.said.clear();
                    let mut row = self.spare.take().unwrap_or_default();
                    row.begin(line);
                    rows.begin();
                    row.attributes(element, rows);
                    self.row = Some(row);
                }
            }
        }
        self.is_short_enough()
    }

    fn end(&mut self, name: &[u8], rows: &mut Gathered) -> Result<(), Stop> {
        match self.innermost() {
            Some(open) if open.as_bytes() == name || open == text_of(name) => {}
            Some(open) => return Err(Stop::NotXml(format!("\"{open}\" is open, and \"{}\" ends", text_of(name)))),
            None => return Err(Stop::NotXml(format!("\"{}\" ends, and was never opened", text_of(name)))),
        }
        if let Some(row) = &mut self.row {
            row.leave(rows);
            if !row.within.is_empty() {
                return Ok(());
            }
            rows.end(row.line, &text_of(&self.source.said));
            self.source.said.clear();
            self.spare = self.row.take();
        }
        self.open.pop();
        Ok(())
    }

    /// The name of the element that was opened last.
    fn innermost(&self) -> Option<&str> {
        let in_row = self.row.as_ref().and_then(Row::innermost);
        in_row.or_else(|| self.open.last().map(String::as_str))
    }

    /// Whether a text is white space before anything that an element says: nearly every second one is.
    fn is_nothing(&self, text: &[u8]) -> bool {
        let says_nothing = |row: &Row| row.within.len().checked_sub(1).and_then(|place| row.texts.get(place)).is_none_or(String::is_empty);
        text.iter().all(u8::is_ascii_whitespace) && self.row.as_ref().is_none_or(says_nothing)
    }

    fn text(&mut self, text: &str, line: u64) -> Result<(), Stop> {
        // The mark of UTF-8 is taken away by the parser wherever it begins, which is not always at the start.
        let text = text.trim_start_matches('\u{feff}');
        match &mut self.row {
            Some(row) => {
                row.length += text.len();
                if let Some(own) = row.within.len().checked_sub(1).and_then(|place| row.texts.get_mut(place)) {
                    own.push_str(text);
                }
            }
            None if self.open.is_empty() && !text.trim().is_empty() => {
                return Err(Stop::NotXml("there is text where an element should begin".into()));
            }
            None if self.beside.is_none() && !text.trim().is_empty() => {
                self.beside = Some((line, text.trim().bytes().take(LONGEST_RAW).collect()));
            }
            None => {}
        }
        self.is_short_enough()
    }

    fn is_short_enough(&self) -> Result<(), Stop> {
        if self.row.as_ref().is_some_and(|row| row.length > LONGEST_ROW) { Err(Stop::TooLong) } else { Ok(()) }
    }

    /// The document has ended.
    fn finish(&mut self, rows: &mut Gathered) -> Result<(), Stop> {
        if let Some(open) = self.innermost() {
            return Err(Stop::NotXml(format!("it ends too early: \"{open}\" is open")));
        }
        if let Some((line, raw)) = self.beside.take().filter(|_| !self.arrived) {
            rows.reject(line, "there are no rows where the feed's table says", &raw);
        }
        Ok(())
    }
}

impl Row {
    fn begin(&mut self, line: u64) {
        (self.line, self.length) = (line, 0);
        self.path.clear();
        self.within.clear();
        self.open();
    }

    /// An element, of which nothing is said so far.
    fn open(&mut self) {
        self.within.push(Within { path: self.path.len(), has_parts: false });
        match self.texts.get_mut(self.within.len() - 1) {
            Some(text) => text.clear(),
            None => self.texts.push(String::new()),
        }
    }

    /// Goes into an element of this name.
    fn enter(&mut self, name: &str) {
        if let Some(around) = self.within.last_mut() {
            around.has_parts = true;
        }
        self.open();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        self.length += self.path.len();
    }

    /// The name of the innermost element; none of the row itself.
    fn innermost(&self) -> Option<&str> {
        let within = self.within.last().filter(|_| self.within.len() > 1)?;
        let name = self.path.get(within.path..)?;
        Some(if within.path > 0 { name.get(1..)? } else { name })
    }

    /// What the innermost element's attributes say: cells after its path and a sign.
    fn attributes(&mut self, element: &BytesStart<'_>, rows: &mut Gathered) {
        for attribute in element.attributes().with_checks(false).flatten() {
            let name = text_of(attribute.key.as_ref());
            // Whose names they are, schemas and spaces: nothing that a row says.
            if name.starts_with("xmlns") || name.starts_with("xsi:") {
                continue;
            }
            let value = text_of(&attribute.value).into_owned();
            let value = unescape(&value).map_or_else(|_| value.clone(), std::borrow::Cow::into_owned);
            let path = self.path.len();
            self.length += path + 1 + name.len() + value.len();
            self.path.push('@');
            self.path.push_str(&name);
            rows.add(&self.path, &value);
            self.path.truncate(path);
        }
    }

    /// Leaves the innermost element: what it says by itself is a cell.
    fn leave(&mut self, rows: &mut Gathered) {
        let Some(Within { path, has_parts }) = self.within.pop() else { return };
        let text = self.texts[self.within.len()].trim();
        // An empty element says that there is such a name; of the row itself, and around others, only text counts.
        if !text.is_empty() || !has_parts && !self.within.is_empty() {
            rows.add(if self.path.is_empty() { "text" } else { &self.path }, text);
        }
        self.path.truncate(path);
    }
}

/// Whether the open elements are those of the path, to its end.
fn fits(path: &[String], open: &[String]) -> bool {
    path.len() == open.len() && path.iter().zip(open).all(|(step, name)| step == "*" || step == name)
}

/// What `&NAME;` stands for; itself where nobody knows.
fn resolved(name: &str) -> String {
    let written = format!("&{name};");
    match resolve_xml_entity(name) {
        Some(text) => text.to_owned(),
        None => unescape(&written).map_or_else(|_| written.clone(), std::borrow::Cow::into_owned),
    }
}

fn too_long() -> String {
    format!("the row is longer than {} MiB, and the document cannot be read beyond it", LONGEST_ROW >> 20)
}

/// What was read and not parsed yet.
#[derive(Default)]
struct Source {
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
    /// How many lines have ended.
    line: u64,
    /// What was parsed since the row began: as much as a reject keeps.
    said: Vec<u8>,
}

impl Source {
    fn pass(&mut self, bytes: &[u8]) {
        self.line += memchr::memchr_iter(b'\n', bytes).count() as u64;
        let room = LONGEST_RAW - self.said.len().min(LONGEST_RAW);
        self.said.extend_from_slice(&bytes[..room.min(bytes.len())]);
    }
}

/// The source while one event is parsed, which may not be longer than `left`.
struct Reading<'a, R> {
    input: &'a mut Decoded<R>,
    source: &'a mut Source,
    left: usize,
}

#[derive(Debug)]
struct EventTooLong;

impl std::fmt::Display for EventTooLong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an element or a text is too long")
    }
}

impl std::error::Error for EventTooLong {}

impl<R: Read> BufRead for Reading<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A half of a character may be all that was read: nothing to parse, and no end.
        while self.source.at == self.source.buffer.len() && !self.source.ended {
            if self.left == 0 {
                return Err(io::Error::other(EventTooLong));
            }
            self.source.buffer.clear();
            self.source.at = 0;
            self.source.ended = !self.input.read_more(&mut self.source.buffer, self.input.block)?;
        }
        Ok(&self.source.buffer[self.source.at..])
    }

    fn consume(&mut self, amount: usize) {
        let buffer = std::mem::take(&mut self.source.buffer);
        self.source.pass(&buffer[self.source.at..self.source.at + amount]);
        self.source.buffer = buffer;
        self.source.at += amount;
        self.left = self.left.saturating_sub(amount);
    }
}

impl<R: Read> Read for Reading<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&mut self.fill_buf()?).read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}
