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

pub(super) struct Xml {
    /// The names of elements from the document's own on; `*` stands for any.
    path: Vec<String>,
    /// The names of those that are open.
    open: Vec<String>,
    row: Option<Row>,
    source: Source,
    /// Whether an element was where the path leads, and how what was elsewhere begins.
    arrived: bool,
    beside: Option<(u64, Vec<u8>)>,
    ended: bool,
}

/// The row being read.
struct Row {
    line: u64,
    /// How long the names in `path` are.
    path: String,
    /// How many elements are open around the row, itself among them.
    depth: usize,
    cells: Vec<(String, String)>,
    /// For each element that is open in it: whether it has elements or text of its own so far, and that text.
    within: Vec<Within>,
    length: usize,
}

#[derive(Default)]
struct Within {
    text: String,
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
        Xml { path, open: Vec::new(), row: None, source: Source::default(), arrived: false, beside: None, ended: false }
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
            event.clear();
            let line = self.source.line + 1;
            let mut parser = quick_xml::Reader::from_reader(Reading { input: &mut *input, source: &mut self.source, left: LONGEST_ROW });
            // Whether ends fit their starts is looked at here: the parser knows of one event only.
            parser.config_mut().check_end_names = false;
            parser.config_mut().allow_unmatched_ends = true;
            parser.config_mut().allow_dangling_amp = true;
            match parser.read_event_into(&mut event) {
                Ok(Event::Start(element)) => self.start(&element, line)?,
                Ok(Event::Empty(element)) => {
                    self.start(&element, line)?;
                    self.end(&text_of(element.local_name().as_ref()), rows)?;
                }
                Ok(Event::End(element)) => self.end(&text_of(element.local_name().as_ref()), rows)?,
                Ok(Event::Text(text)) => self.text(&text_of(&text), line)?,
                Ok(Event::CData(text)) => self.text(&text_of(&text), line)?,
                Ok(Event::GeneralRef(entity)) => self.text(&resolved(&text_of(&entity)), line)?,
                Ok(Event::Eof) => {
                    self.ended = true;
                    return self.finish(rows);
                }
                Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_)) => {}
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

    fn start(&mut self, element: &BytesStart<'_>, line: u64) -> Result<(), Stop> {
        let name = text_of(element.local_name().as_ref()).into_owned();
        if self.open.len() == DEEPEST {
            return Err(Stop::NotXml("elements lie too deep in each other".into()));
        }
        self.open.push(name);
        let attributes = |row: &mut Row| {
            for attribute in element.attributes().with_checks(false).flatten() {
                let name = text_of(attribute.key.as_ref());
                // Whose names they are, schemas and spaces: nothing that a row says.
                if !name.starts_with("xmlns") && !name.starts_with("xsi:") {
                    let value = text_of(&attribute.value).into_owned();
                    let value = unescape(&value).map_or_else(|_| value.clone(), std::borrow::Cow::into_owned);
                    row.add(format!("{}@{name}", row.path), value);
                }
            }
        };
        match &mut self.row {
            Some(row) => {
                row.enter(&self.open[row.depth..]);
                attributes(row);
            }
            None if fits(&self.path, &self.open) => {
                self.arrived = true;
                self.source.said.clear();
                let mut row = Row {
                    line,
                    path: String::new(),
                    depth: self.open.len(),
                    cells: Vec::new(),
                    within: vec![Within::default()],
                    length: 0,
                };
                attributes(&mut row);
                self.row = Some(row);
            }
            None => {}
        }
        self.is_short_enough()
    }

    fn end(&mut self, name: &str, rows: &mut Gathered) -> Result<(), Stop> {
        match self.open.pop() {
            Some(open) if open == name => {}
            Some(open) => return Err(Stop::NotXml(format!("\"{open}\" is open, and \"{name}\" ends"))),
            None => return Err(Stop::NotXml(format!("\"{name}\" ends, and was never opened"))),
        }
        let Some(row) = &mut self.row else { return Ok(()) };
        row.leave(&self.open[row.depth.min(self.open.len())..]);
        if self.open.len() < row.depth
            && let Some(row) = self.row.take()
        {
            let raw = std::mem::take(&mut self.source.said);
            rows.push(row.line, &text_of(&raw), row.cells.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        }
        Ok(())
    }

    fn text(&mut self, text: &str, line: u64) -> Result<(), Stop> {
        match &mut self.row {
            Some(row) => {
                row.length += text.len();
                if let Some(within) = row.within.last_mut() {
                    within.text.push_str(text);
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
    fn add(&mut self, name: String, text: String) {
        self.length += name.len() + text.len();
        self.cells.push((name, text));
    }

    /// Goes into an element, to which these names lead from the row.
    fn enter(&mut self, names: &[String]) {
        if let Some(around) = self.within.last_mut() {
            around.has_parts = true;
        }
        self.within.push(Within::default());
        self.path = names.join(".");
        self.length += self.path.len();
    }

    /// Leaves the innermost element for the one to which these names lead: what it says by itself is a cell.
    fn leave(&mut self, names: &[String]) {
        let Within { text, has_parts } = self.within.pop().unwrap_or_default();
        let name = if self.path.is_empty() { "text" } else { self.path.as_str() };
        // An empty element says that there is such a name; of the row itself, and around others, only text counts.
        if !text.trim().is_empty() || !has_parts && !self.within.is_empty() {
            self.cells.push((name.to_owned(), text.trim().to_owned()));
        }
        self.path = names.join(".");
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
        if self.source.at == self.source.buffer.len() && !self.source.ended {
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
        let consumed = &self.source.buffer[self.source.at..self.source.at + amount];
        self.source.line += memchr::memchr_iter(b'\n', consumed).count() as u64;
        let room = LONGEST_RAW - self.source.said.len().min(LONGEST_RAW);
        self.source.said.extend(consumed.iter().take(room));
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
