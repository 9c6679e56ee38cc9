//! JSON documents and JSON lines: nested values become cells named by their path, `outer.inner`.

mod document;
mod fall;

use std::io::{self, Read};

use serde_json::{Value, json};

pub(super) use self::document::Document;
use self::fall::Fall;
use super::decode::Decoded;
use super::gather::{Cell, Gathered, LONGEST_NAMES, MOST_VALUES, too_wide};
use super::lines::LineReader;
use crate::rows::Rows;
use crate::table::JsonRow;

/// Objects within objects are followed this far down; what is deeper is kept as JSON.
const DEEPEST: usize = 8;

/// One object a line. A line that holds a list is its elements.
#[derive(Default)]
pub(super) struct Lines {
    /// Whether `extra` may be an object written as text, as IntelMQ's older outputs have it.
    extra_as_text: bool,
    row: JsonRow,
    lines: LineReader,
    /// What is left of the list that was read last, and the number of its line.
    list: std::vec::IntoIter<Value>,
    number: u64,
    /// What is left of a row that falls into several.
    falling: Option<Fall>,
}

impl Lines {
    pub(super) fn new(extra_as_text: bool, row: JsonRow) -> Lines {
        Lines { extra_as_text, row, ..Lines::default() }
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Gathered::default();
        if self.list.len() == 0 && self.falling.is_none() && !self.lines.fill(input, &mut rows)? {
            return Ok(None);
        }
        fall::go_on(&mut self.falling, &mut rows);
        while !rows.is_full() && self.falling.is_none() {
            match self.list.next() {
                Some(value) => self.push(value, &mut rows),
                None if self.read_line(&mut rows) => {}
                None => break,
            }
        }
        Ok(Some(rows.finish()))
    }

    /// Reads the next of the lines at hand; false if there is none.
    fn read_line(&mut self, rows: &mut Gathered) -> bool {
        let Some((number, line)) = self.lines.next() else { return false };
        self.number = number;
        let line = line.trim();
        match serde_json::from_str(line) {
            _ if line.is_empty() => {}
            Ok(Value::Array(values)) => self.list = values.into_iter(),
            Ok(value) => self.push(value, rows),
            Err(wrong) => rows.reject(self.number, format!("the line is not JSON: {wrong}"), line.as_bytes()),
        }
        true
    }

    fn push(&mut self, mut row: Value, rows: &mut Gathered) {
        if let (true, Some(extra)) = (self.extra_as_text, row.get_mut("extra"))
            && let Some(Ok(object @ Value::Object(_))) = extra.as_str().map(serde_json::from_str)
        {
            *extra = object;
        }
        self.falling = push(self.number, &[], row, &self.row, rows);
    }
}

/// Adds a row, with the keys that it was found under. What is left of one that falls into several comes back.
fn push(number: u64, keys: &[String], mut value: Value, row: &JsonRow, rows: &mut Gathered) -> Option<Fall> {
    let raw = value.to_string();
    if row.plain && !value.is_object() {
        value = json!({ "value": value });
    }
    if !value.is_object() {
        rows.reject(number, "the row is no JSON object", raw.as_bytes());
        return None;
    }
    let size = Size::of(&value, 0, 0);
    if size.is_too_large() {
        rows.reject(number, too_wide(size.values.saturating_sub(1)), raw.as_bytes());
        return None;
    }
    let value = match Fall::new(number, keys, value, &row.each, &raw) {
        Ok(fall) => {
            let mut falling = Some(fall);
            fall::go_on(&mut falling, rows);
            return falling;
        }
        Err(value) => value,
    };
    let raw = rows.text(&raw);
    let mut cells = Vec::new();
    name_keys(keys, rows, &mut cells);
    flatten("", &value, 0, rows, &mut cells);
    rows.row(number, raw, cells);
    None
}

/// What the stars of a path stood for are columns too: `@1`, `@2`.
fn name_keys(keys: &[String], rows: &mut Gathered, cells: &mut Vec<Cell>) {
    for (place, key) in keys.iter().enumerate() {
        rows.cell(&format!("@{}", place + 1), key, false, cells);
    }
}

fn flatten(path: &str, value: &Value, depth: usize, rows: &mut Gathered, cells: &mut Vec<Cell>) {
    match value {
        // It says nothing, but that there is such a name.
        Value::Null => rows.cell(path, "", false, cells),
        Value::String(text) => rows.cell(path, text, false, cells),
        Value::Object(object) if depth < DEEPEST => {
            for (key, value) in object {
                if path.is_empty() && depth == 0 {
                    flatten(key, value, 1, rows, cells);
                } else {
                    flatten(&format!("{path}.{key}"), value, depth + 1, rows, cells);
                }
            }
        }
        value => rows.cell(path, &value.to_string(), true, cells),
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

    fn is_too_large(&self) -> bool {
        self.values > MOST_VALUES || self.names > LONGEST_NAMES
    }
}
