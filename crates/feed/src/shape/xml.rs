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
    /// The names of those that are open.
    open: Vec<String>,
    row: Option<Row>,
    /// Rows and names that are done with: their room is used again.
    spare: Option<Row>,
    spare_names: Vec<String>,
    source: Source,
    /// Whether an element was where the path leads, and how what was elsewhere begins.
    arrived: bool,
    beside: Option<(u64, Vec<u8>)>,
    ended: bool,
}

/// The row being read.
#[derive(Default)]
struct Row {
    line: u64,
    /// The names that lead from the row to the innermost element, with dots between.
    path: String,
    /// How many elements are open around the row, itself among them.
    depth: usize,
    /// Where in `said` a cell's name ends, and where its text does.
    cells: Vec<(usize, usize)>,
    /// The names and texts of cells, one after the other.
    said: String,
    /// The elements that are open in it.
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
        Xml {
            path,
            open: Vec::new(),
            row: None,
            spare: None,
            spare_names: Vec::new(),
            source: Source::default(),
            arrived: false,
            beside: None,
            ended: false,
        }
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
                let line = self.row.take().map_or(self.source.line.max(line), |row| row.line);
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
        while !self.ended && !rows.is_full() {
            self.walk_at_hand(rows)?;
            if rows.is_full() {
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
        let (mut at, mut walked) = (0, Ok(()));
        while walked.is_ok() && !rows.is_full() {
            let Ok(event) = parser.read_event() else { break };
            let end = parser.buffer_position() as usize;
            if end >= rest.len() || matches!(event, Event::Eof) {
                break;
            }
            let line = self.source.line + 1;
            self.source.pass(&rest[at..end]);
            at = end;
            walked = self.event(&event, line, rows);
        }
        self.source.at += at;
        self.source.buffer = buffer;
        walked
    }

    fn event(&mut self, event: &Event<'_>, line: u64, rows: &mut Gathered) -> Result<(), Stop> {
        match event {
            Event::Start(element) => self.start(element, line),
            Event::Empty(element) => {
                self.start(element, line)?;
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

    fn start(&mut self, element: &BytesStart<'_>, line: u64) -> Result<(), Stop> {
        if self.open.len() == DEEPEST {
            return Err(Stop::NotXml("elements lie too deep in each other".into()));
        }
        let mut name = self.spare_names.pop().unwrap_or_default();
        name.clear();
        name.push_str(&text_of(element.local_name().as_ref()));
        self.open.push(name);
        let attributes = |row: &mut Row| {
            for attribute in element.attributes().with_checks(false).flatten() {
                let name = text_of(attribute.key.as_ref());
                // Whose names they are, schemas and spaces: nothing that a row says.
                if !name.starts_with("xmlns") && !name.starts_with("xsi:") {
                    let value = text_of(&attribute.value).into_owned();
                    let value = unescape(&value).map_or_else(|_| value.clone(), std::borrow::Cow::into_owned);
                    row.length += row.path.len() + 1 + name.len() + value.len();
                    row.add("@", &name, &value);
                }
            }
        };
        match &mut self.row {
            Some(row) => {
                row.enter(self.open.last().expect("just opened"));
                attributes(row);
            }
            None if fits(&self.path, &self.open) => {
                self.arrived = true;
                self.source.said.clear();
                let mut row = self.spare.take().unwrap_or_default();
                row.begin(line, self.open.len());
                attributes(&mut row);
                self.row = Some(row);
            }
            None => {}
        }
        self.is_short_enough()
    }

    fn end(&mut self, name: &[u8], rows: &mut Gathered) -> Result<(), Stop> {
        match self.open.pop() {
            Some(open) if open.as_bytes() == name || open == text_of(name) => self.spare_names.push(open),
            Some(open) => return Err(Stop::NotXml(format!("\"{open}\" is open, and \"{}\" ends", text_of(name)))),
            None => return Err(Stop::NotXml(format!("\"{}\" ends, and was never opened", text_of(name)))),
        }
        let Some(row) = &mut self.row else { return Ok(()) };
        row.leave();
        if self.open.len() < row.depth
            && let Some(row) = self.row.take()
        {
            let raw = std::mem::take(&mut self.source.said);
            rows.push(row.line, &text_of(&raw), row.cells());
            self.source.said = raw;
            self.source.said.clear();
            self.spare = Some(row);
        }
        Ok(())
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
        if let Some(open) = self.open.last() {
            return Err(Stop::NotXml(format!("it ends too early: \"{open}\" is open")));
        }
        if let Some((line, raw)) = self.beside.take().filter(|_| !self.arrived) {
            rows.reject(line, "there are no rows where the feed's table says", &raw);
        }
        Ok(())
    }
}

impl Row {
    fn begin(&mut self, line: u64, depth: usize) {
        (self.line, self.depth, self.length) = (line, depth, 0);
        self.path.clear();
        self.said.clear();
        self.cells.clear();
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

    /// A cell of the innermost element, or of what is in it under a name after a sign.
    fn add(&mut self, sign: &str, name: &str, text: &str) {
        let whole = if self.path.is_empty() && sign.is_empty() { "text" } else { self.path.as_str() };
        [whole, sign, name].into_iter().for_each(|part| self.said.push_str(part));
        let end_of_name = self.said.len();
        self.said.push_str(text);
        self.cells.push((end_of_name, self.said.len()));
    }

    fn cells(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = std::iter::once(0).chain(self.cells.iter().map(|(_, end)| *end));
        let part = |from, to| self.said.get(from..to).unwrap_or_default();
        starts.zip(&self.cells).map(move |(start, (name, text))| (part(start, *name), part(*name, *text)))
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

    /// Leaves the innermost element: what it says by itself is a cell.
    fn leave(&mut self) {
        let Some(Within { path, has_parts }) = self.within.pop() else { return };
        let text = std::mem::take(&mut self.texts[self.within.len()]);
        // An empty element says that there is such a name; of the row itself, and around others, only text counts.
        if !text.trim().is_empty() || !has_parts && !self.within.is_empty() {
            self.add("", "", text.trim());
        }
        self.texts[self.within.len()] = text;
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
