//! Tables of an HTML page: rows are rows, and what a table's first row says names the cells.
//!
//! A page is read whole, up to a limit: tables within tables, and cells that nobody closes, make no sense in pieces.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::ops::Range;

use html5gum::emitters::default::DefaultEmitter;
use html5gum::{StartTag, Token, Tokenizer};

use super::decode::{Decoded, text_of};
use super::gather::Gathered;
use super::{LONGEST_ROW, whole};
use crate::rows::{Header, Rows};
use crate::table::{Feed, Html as Format};

/// No more of a page is read, in bytes.
const LONGEST_PAGE: usize = 32 << 20;

/// Tables within each other are followed this far down.
const DEEPEST: usize = 16;

/// No row has more cells.
const MOST_CELLS: usize = 512;

pub(super) struct Html {
    format: Format,
    /// The table's columns, where the page does not name them.
    columns: Vec<String>,
    /// The columns that the feed's table speaks of: a page's table has one of them at least.
    known: HashSet<String>,
    /// Whether every table will do.
    takes_any: bool,
    /// Rows that were read, once the page was.
    read: Option<VecDeque<Row>>,
}

/// A row, with the names of its cells.
struct Row {
    line: u64,
    raw: String,
    cells: Vec<(String, String)>,
    reject: Option<String>,
}

/// A table of the page as it stands there.
#[derive(Default)]
struct Table {
    rows: Vec<Cut>,
    cut: Option<Cut>,
    /// Whether a cell is open: text goes there.
    in_cell: bool,
}

#[derive(Default)]
struct Cut {
    line: u64,
    source: Range<usize>,
    cells: Vec<Cell>,
}

#[derive(Default)]
struct Cell {
    text: String,
    is_header: bool,
    /// Where the first link in it leads.
    link: Option<String>,
    columns: usize,
}

impl Html {
    pub(super) fn new(format: Format, feed: &Feed) -> Html {
        let known = feed.columns.iter().chain(feed.assignments.iter().map(|assignment| &assignment.column)).cloned().collect();
        Html { format, columns: feed.columns.clone(), known, takes_any: false, read: None }
    }

    pub(super) fn take_any_header(&mut self) {
        self.takes_any = true;
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Gathered::default();
        if self.read.is_none() {
            let (page, is_whole) = whole::read(input, LONGEST_PAGE)?;
            self.read = Some(self.rows_of(&page, &mut rows));
            if !is_whole {
                let why = format!("the page is longer than {} MiB: what follows is not read", LONGEST_PAGE >> 20);
                rows.reject(lines_in(&page) + 1, why, b"");
            }
        }
        let waiting = self.read.get_or_insert_default();
        while !rows.is_full() {
            let Some(Row { line, raw, cells, reject }) = waiting.pop_front() else { break };
            match reject {
                Some(why) => rows.reject(line, why, raw.as_bytes()),
                None => rows.push(line, &raw, cells.iter().map(|(name, text)| (name.as_str(), text.as_str()))),
            }
        }
        Ok((!rows.is_empty()).then(|| rows.finish()))
    }

    /// The rows of the page's table, or of each that has the feed's columns.
    fn rows_of(&self, page: &str, rejects: &mut Gathered) -> VecDeque<Row> {
        let tables = tables_of(page);
        let mut found = VecDeque::new();
        let mut is_there = false;
        for (place, table) in tables.iter().filter(|table| !table.rows.is_empty()).enumerate() {
            if self.format.table.is_some_and(|wanted| wanted != place + 1) {
                continue;
            }
            let mut rows = table.rows.iter();
            let header = match self.format.header {
                true => names_of(rows.next().expect("not empty")),
                false => Header::new(self.columns.iter().cloned()),
            };
            if !self.format.header || self.takes_any || header.names.iter().any(|name| self.known.contains(name)) {
                is_there = true;
                found.extend(rows.filter_map(|row| self.row(&header, row, page)));
            }
        }
        if !is_there {
            rejects.reject(1, "there is no table with the feed's columns on the page", page.as_bytes());
        }
        found
    }

    /// A row's cells by their names; nothing of a row that only repeats the header, or has none.
    fn row(&self, header: &Header, row: &Cut, page: &str) -> Option<Row> {
        let raw = page.get(row.source.clone()).unwrap_or_default().to_owned();
        let width: usize = row.cells.iter().map(|cell| cell.columns).sum();
        if row.cells.iter().all(|cell| cell.is_header || cell.text.is_empty() && cell.link.is_none()) {
            return None;
        }
        if raw.len() > LONGEST_ROW || width > header.names.len() {
            let why = match raw.len() > LONGEST_ROW {
                true => format!("the row is longer than {} MiB", LONGEST_ROW >> 20),
                false => format!("{width} cells, where the header has {}", header.names.len()),
            };
            return Some(Row { line: row.line, raw, cells: Vec::new(), reject: Some(why) });
        }
        let (mut cells, mut place) = (Vec::new(), 0);
        for cell in &row.cells {
            let name = &header.names[place];
            cells.push((name.clone(), cell.text.clone()));
            if let (true, Some(link)) = (self.format.links, &cell.link) {
                cells.push((format!("{name}.link"), link.clone()));
            }
            place += cell.columns;
        }
        Some(Row { line: row.line, raw, cells, reject: None })
    }
}

/// A header's names, those of cells that say nothing by their place.
fn names_of(row: &Cut) -> Header {
    let mut names = Vec::new();
    for cell in &row.cells {
        for _ in 0..cell.columns {
            names.push(if cell.text.is_empty() { format!("column {}", names.len() + 1) } else { cell.text.clone() });
        }
    }
    Header::new(names)
}

fn lines_in(text: &str) -> u64 {
    memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64
}

/// Every table of a page, in the order in which they end.
fn tables_of(page: &str) -> Vec<Table> {
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    emitter.naively_switch_states(true);
    let mut walk = Walk { page, ..Walk::default() };
    for token in Tokenizer::new_with_emitter(page, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => walk.start(&tag),
            Token::EndTag(tag) => walk.end(&text_of(&tag.name), tag.span.start),
            Token::String(text) => walk.text(&text_of(&text)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    while !walk.open.is_empty() {
        walk.end("table", page.len());
    }
    walk.done
}

/// On the way through a page.
#[derive(Default)]
struct Walk<'p> {
    page: &'p str,
    open: Vec<Table>,
    done: Vec<Table>,
    /// Where lines were counted last, and how many had ended there.
    counted: (usize, u64),
    /// What scripts and styles say is no text.
    silent: bool,
}

impl Walk<'_> {
    fn start(&mut self, tag: &StartTag<usize>) {
        let at = tag.span.start;
        match tag.name.as_slice() {
            b"table" if self.open.len() < DEEPEST => self.open.push(Table::default()),
            b"tr" => {
                self.close_row(at);
                let line = self.line(at);
                if let Some(table) = self.open.last_mut() {
                    table.cut = Some(Cut { line, source: at..at, cells: Vec::new() });
                }
            }
            b"td" | b"th" => {
                let columns = attribute(tag, b"colspan").and_then(|number| number.parse().ok()).unwrap_or(1).clamp(1, MOST_CELLS);
                let line = self.line(at);
                let Some(table) = self.open.last_mut() else { return };
                let row = table.cut.get_or_insert_with(|| Cut { line, source: at..at, cells: Vec::new() });
                table.in_cell = row.cells.iter().map(|cell| cell.columns).sum::<usize>() + columns <= MOST_CELLS;
                if table.in_cell {
                    row.cells.push(Cell { is_header: tag.name.as_slice() == b"th", columns, ..Cell::default() });
                }
            }
            b"a" => {
                if let (Some(cell), Some(link)) = (self.cell(), attribute(tag, b"href")) {
                    cell.link.get_or_insert(link);
                }
            }
            // What can be copied out of a page often stands in a field.
            b"input" => self.text(&attribute(tag, b"value").unwrap_or_default()),
            b"br" | b"p" | b"div" | b"li" => self.text(" "),
            b"script" | b"style" => self.silent = true,
            _ => {}
        }
    }

    fn end(&mut self, name: &str, at: usize) {
        match name {
            "table" => {
                self.close_row(at);
                self.done.extend(self.open.pop());
            }
            "tr" => self.close_row(at),
            "td" | "th" => {
                if let Some(table) = self.open.last_mut() {
                    table.in_cell = false;
                }
            }
            "script" | "style" => self.silent = false,
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if let (false, Some(cell)) = (self.silent, self.cell()) {
            cell.text.push_str(text);
        }
    }

    /// The open cell of the innermost table.
    fn cell(&mut self) -> Option<&mut Cell> {
        let table = self.open.last_mut().filter(|table| table.in_cell)?;
        table.cut.as_mut()?.cells.last_mut()
    }

    fn close_row(&mut self, at: usize) {
        let Some(table) = self.open.last_mut() else { return };
        table.in_cell = false;
        if let Some(mut row) = table.cut.take() {
            row.source.end = at;
            // White space of any length is one space, none at the ends.
            row.cells.iter_mut().for_each(|cell| cell.text = cell.text.split_whitespace().collect::<Vec<_>>().join(" "));
            if !row.cells.is_empty() {
                table.rows.push(row);
            }
        }
    }

    /// The line on which a place is. Places only grow.
    fn line(&mut self, at: usize) -> u64 {
        let (from, lines) = self.counted;
        self.counted = (at.max(from), lines + self.page.get(from..at).map_or(0, lines_in));
        self.counted.1 + 1
    }
}

fn attribute(tag: &StartTag<usize>, name: &[u8]) -> Option<String> {
    tag.attributes.get(name).map(|value| text_of(value).trim().to_owned())
}
