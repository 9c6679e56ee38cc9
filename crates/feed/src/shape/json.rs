//! JSON documents and JSON lines: nested values become cells named by their path, `outer.inner`.

mod document;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use event::Reject;
use serde_json::Value;

pub(super) use self::document::Document;
use super::BLOCK;
use super::decode::Decoded;
use super::lines::LineSource;
use crate::rows::{Header, Rows, Span};

/// Objects within objects are followed this far down; what is deeper is kept as JSON.
const DEEPEST: usize = 8;

/// No block has more rows than this, rejects counted too.
const MOST_ROWS: usize = 1024;

/// A row with more values than this is a reject: each may be a column, of all rows of the block.
const MOST_VALUES: usize = 2048;

/// So is one whose values' names are longer than this together, in bytes: they are whole paths.
const LONGEST_NAMES: usize = 1 << 20;

/// One object a line. A line that holds a list is its elements.
#[derive(Default)]
pub(super) struct Lines {
    /// Whether `extra` may be an object written as text, as IntelMQ's older outputs have it.
    extra_as_text: bool,
    source: LineSource,
    /// Lines that were cut and not read yet: the next of them is the first.
    cut: Rows,
    next: usize,
    /// What is left of the list that was read last, and the number of its line.
    list: std::vec::IntoIter<Value>,
    number: u64,
}

impl Lines {
    pub(super) fn new(extra_as_text: bool) -> Lines {
        Lines { extra_as_text, ..Lines::default() }
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Builder::default();
        if self.next == self.cut.lines.len() && self.list.len() == 0 {
            let Some(lines) = self.source.next_lines(input)? else { return Ok(None) };
            (self.cut, self.next) = (lines, 0);
            rows.rejects = std::mem::take(&mut self.cut.rejects);
        }
        while !rows.is_full() {
            match self.list.next() {
                Some(value) => self.push(value, &mut rows),
                None if self.next < self.cut.lines.len() => self.read_line(&mut rows),
                None => break,
            }
        }
        Ok(Some(rows.finish()))
    }

    fn read_line(&mut self, rows: &mut Builder) {
        let line = self.cut.raw(self.next).trim();
        self.number = self.cut.lines[self.next].0;
        self.next += 1;
        match serde_json::from_str(line) {
            _ if line.is_empty() => {}
            Ok(Value::Array(values)) => self.list = values.into_iter(),
            Ok(value) => self.push(value, rows),
            Err(wrong) => rows.rejects.push(Reject::new(self.number, None, format!("the line is not JSON: {wrong}"), line.as_bytes())),
        }
    }

    fn push(&self, mut row: Value, rows: &mut Builder) {
        if let (true, Some(extra)) = (self.extra_as_text, row.get_mut("extra"))
            && let Some(Ok(object @ Value::Object(_))) = extra.as_str().map(serde_json::from_str)
        {
            *extra = object;
        }
        rows.push(self.number, &[], &row);
    }
}

/// A cell's column, its text, and whether that is JSON other than text.
type Cell = (usize, Span, bool);

/// Gathers objects of any keys into rows of one header.
#[derive(Default)]
struct Builder {
    names: Vec<String>,
    /// In bytes, together.
    length_of_names: usize,
    places: HashMap<String, usize>,
    text: String,
    /// Row by row, the cells that the row has.
    rows: Vec<(u64, Span, Vec<Cell>)>,
    rejects: Vec<Reject>,
}

impl Builder {
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.rejects.is_empty()
    }

    /// Whether this is as much as a block should be: rows, text, or columns, which most rows may lack.
    fn is_full(&self) -> bool {
        let columns = self.names.len() >= MOST_VALUES || self.length_of_names >= LONGEST_NAMES;
        columns || self.rows.len() + self.rejects.len() >= MOST_ROWS || self.text.len() >= 2 * BLOCK
    }

    /// A row, and the keys that it was found under.
    fn push(&mut self, number: u64, keys: &[String], value: &Value) {
        let raw = value.to_string();
        let mut reject = |reason: &str| self.rejects.push(Reject::new(number, None, reason, raw.as_bytes()));
        if !value.is_object() {
            return reject("the row is no JSON object");
        }
        let Size { values, names } = Size::of(value, 0, 0);
        if values > MOST_VALUES {
            return reject("the row has more than 2048 values");
        }
        if names > LONGEST_NAMES {
            return reject("the names in the row are longer than 1 MiB");
        }
        let start = self.text.len();
        self.text.push_str(&raw);
        let span = Span::new(start, self.text.len());
        let mut cells = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            self.cell(&format!("@{}", place + 1), key, false, &mut cells);
        }
        self.flatten("", value, 0, &mut cells);
        self.rows.push((number, span, cells));
    }

    fn flatten(&mut self, path: &str, value: &Value, depth: usize, cells: &mut Vec<Cell>) {
        match value {
            // It says nothing, but that there is such a name.
            Value::Null => self.cell(path, "", false, cells),
            Value::String(text) => self.cell(path, text, false, cells),
            Value::Object(object) if depth < DEEPEST => {
                for (key, value) in object {
                    if depth == 0 {
                        self.flatten(key, value, 1, cells);
                    } else {
                        self.flatten(&format!("{path}.{key}"), value, depth + 1, cells);
                    }
                }
            }
            value => self.cell(path, &value.to_string(), true, cells),
        }
    }

    fn cell(&mut self, name: &str, text: &str, json: bool, cells: &mut Vec<Cell>) {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.length_of_names += name.len();
                self.places.insert(name.to_owned(), self.names.len());
                self.names.push(name.to_owned());
                self.names.len() - 1
            }
        };
        let start = self.text.len();
        self.text.push_str(text);
        cells.push((place, Span::new(start, self.text.len()), json));
    }

    fn finish(self) -> Rows {
        let width = self.names.len();
        let height = self.rows.len();
        let mut cells = vec![Span::MISSING; width * height];
        let mut json = vec![false; cells.len()];
        let mut lines = Vec::with_capacity(height);
        for (row, (number, span, found)) in self.rows.into_iter().enumerate() {
            lines.push((number, span));
            for (place, span, is_json) in found {
                cells[place * height + row] = span;
                json[place * height + row] = is_json;
            }
        }
        Rows { header: Arc::new(Header::new(self.names)), text: self.text, cells, json, plain: false, lines, rejects: self.rejects }
    }
}

/// What a row would fall into.
#[derive(Default)]
struct Size {
    values: usize,
    /// The length of all their names, in bytes.
    names: usize,
}

impl Size {
    /// Of a value whose own name is so long.
    fn of(value: &Value, name: usize, depth: usize) -> Size {
        let Value::Object(object) = value else { return Size { values: 1, names: name } };
        if depth >= DEEPEST {
            return Size { values: 1, names: name };
        }
        let parts = object.iter().map(|(key, value)| Size::of(value, name + 1 + key.len(), depth + 1));
        parts.fold(Size::default(), |all, part| Size { values: all.values + part.values, names: all.names + part.names })
    }
}
