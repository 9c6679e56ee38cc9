//! JSON documents and JSON lines: nested values become cells named by their path, `outer.inner`.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use event::Reject;
use serde_json::Value;

use super::decode::{Decoded, text_of};
use super::lines::LineSource;
use super::{BLOCK, LONGEST_DOCUMENT};
use crate::rows::{Header, Rows, Span};

/// Objects within objects are followed this far down; what is deeper is kept as JSON.
const DEEPEST: usize = 8;

/// A document that must be read whole, since its end decides whether it is JSON.
pub(super) struct Document {
    path: Vec<String>,
    rows: Option<std::vec::IntoIter<Found>>,
    number: u64,
}

/// A row in the document: the keys that the path's stars stood for, and the value.
struct Found {
    keys: Vec<String>,
    value: Value,
}

impl Document {
    pub(super) fn new(path: Vec<String>) -> Document {
        Document { path, rows: None, number: 0 }
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        const ROWS: usize = 4096;
        if self.rows.is_none() {
            let found = match self.read(input)? {
                Ok(found) => found,
                Err(reject) => {
                    self.rows = Some(Vec::new().into_iter());
                    return Ok(Some(Rows { rejects: vec![reject], ..Rows::default() }));
                }
            };
            self.rows = Some(found.into_iter());
        }
        let source = self.rows.as_mut().expect("just set");
        let mut builder = Builder::default();
        for found in source.take(ROWS) {
            self.number += 1;
            builder.push(self.number, found);
        }
        Ok((!builder.is_empty()).then(|| builder.finish()))
    }

    fn read<R: Read>(&self, input: &mut Decoded<R>) -> io::Result<Result<Vec<Found>, Reject>> {
        let mut bytes = Vec::new();
        while input.read_more(&mut bytes, BLOCK)? {
            if bytes.len() > LONGEST_DOCUMENT {
                let reason = format!("the document is longer than {} MiB", LONGEST_DOCUMENT >> 20);
                return Ok(Err(Reject::new(1, None, reason, &bytes)));
            }
        }
        let text = text_of(&bytes);
        if text.trim().is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let document: Value = match serde_json::from_str(&text) {
            Ok(document) => document,
            Err(wrong) => {
                let line = wrong.line() as u64;
                let raw = text.lines().nth(wrong.line().saturating_sub(1)).unwrap_or_default();
                return Ok(Err(Reject::new(line, None, format!("the document is not JSON: {wrong}"), raw.as_bytes())));
            }
        };
        let mut found = Vec::new();
        follow(document, &self.path, &mut Vec::new(), &mut found);
        Ok(Ok(found))
    }
}

/// Collects the values at the path's end. A list there is its elements, and where there is no path too.
fn follow(value: Value, path: &[String], keys: &mut Vec<String>, found: &mut Vec<Found>) {
    let Some((step, rest)) = path.split_first() else {
        match value {
            Value::Array(values) => found.extend(values.into_iter().map(|value| Found { keys: keys.clone(), value })),
            Value::Null => {}
            value => found.push(Found { keys: keys.clone(), value }),
        }
        return;
    };
    match value {
        Value::Object(mut object) if step != "*" => {
            if let Some(value) = object.shift_remove(step) {
                follow(value, rest, keys, found);
            }
        }
        Value::Object(object) => {
            for (key, value) in object {
                keys.push(key);
                follow(value, rest, keys, found);
                keys.pop();
            }
        }
        Value::Array(values) if step == "*" => {
            for value in values {
                follow(value, rest, keys, found);
            }
        }
        Value::Array(values) => {
            for value in values {
                follow(value, path, keys, found);
            }
        }
        _ => {}
    }
}

/// One object a line. A line that holds a list is its elements.
#[derive(Default)]
pub(super) struct Lines {
    source: LineSource,
}

impl Lines {
    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let Some(lines) = self.source.next_lines(input)? else { return Ok(None) };
        let mut builder = Builder { rejects: lines.rejects, ..Builder::default() };
        for (number, span) in &lines.lines {
            let line = lines.text.get(span.start as usize..span.end as usize).unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            match serde_json::from_str(line) {
                Ok(Value::Array(values)) => {
                    for value in values {
                        builder.push(*number, Found { keys: Vec::new(), value });
                    }
                }
                Ok(value) => builder.push(*number, Found { keys: Vec::new(), value }),
                Err(wrong) => builder.rejects.push(Reject::new(*number, None, format!("the line is not JSON: {wrong}"), line.as_bytes())),
            }
        }
        Ok(Some(builder.finish()))
    }
}

/// A cell's column, its text, and whether that is JSON other than text.
type Cell = (usize, Span, bool);

/// Gathers objects of any keys into rows of one header.
#[derive(Default)]
struct Builder {
    names: Vec<String>,
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

    fn push(&mut self, number: u64, found: Found) {
        let start = self.text.len();
        let raw = found.value.to_string();
        if !found.value.is_object() {
            self.rejects.push(Reject::new(number, None, "the row is no JSON object", raw.as_bytes()));
            return;
        }
        self.text.push_str(&raw);
        let span = Span::new(start, self.text.len());
        let mut cells = Vec::new();
        for (place, key) in found.keys.iter().enumerate() {
            self.cell(&format!("@{}", place + 1), key, false, &mut cells);
        }
        self.flatten("", &found.value, 0, &mut cells);
        self.rows.push((number, span, cells));
    }

    fn flatten(&mut self, path: &str, value: &Value, depth: usize, cells: &mut Vec<Cell>) {
        match value {
            Value::Null => {}
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
        let mut cells = vec![Span::MISSING; width * self.rows.len()];
        let mut json = vec![false; cells.len()];
        let mut lines = Vec::with_capacity(self.rows.len());
        for (row, (number, span, found)) in self.rows.into_iter().enumerate() {
            lines.push((number, span));
            for (place, span, is_json) in found {
                cells[row * width + place] = span;
                json[row * width + place] = is_json;
            }
        }
        Rows { header: Arc::new(Header::new(self.names)), text: self.text, cells, json, plain: false, lines, rejects: self.rejects }
    }
}
