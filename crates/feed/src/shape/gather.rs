//! Rows that name their own cells, gathered into blocks of one header: for all shapes but delimited text and lines.

use std::collections::HashMap;
use std::sync::Arc;

use event::Reject;

use super::BLOCK;
use super::json::Paths;
use crate::rows::{Header, Rows, Span};

/// No block has more rows than this, rejects counted too.
const MOST_ROWS: usize = 1024;

/// A row with more values than this is a reject: each may be a column, of all rows of the block.
pub(super) const MOST_VALUES: usize = 2048;

/// So is one whose values' names are longer than this together, in bytes: they are whole paths.
pub(super) const LONGEST_NAMES: usize = 1 << 20;

/// A cell's column, its text, and whether that is JSON other than text.
pub(super) type Cell = (usize, Span, bool);

#[derive(Default)]
pub(super) struct Gathered {
    names: Vec<String>,
    /// In bytes, together.
    length_of_names: usize,
    places: HashMap<String, usize>,
    /// For each name the one that was asked for after it last time: rows mostly name their cells in one order.
    after: Vec<usize>,
    /// The name that was asked for last.
    last: usize,
    /// For each name the row that had it last, and how often.
    times: Vec<(usize, u32)>,
    begun: Begun,
    text: String,
    /// With where the row's cells end.
    rows: Vec<(u64, Span, usize)>,
    /// Row by row, the cells that the row has.
    pub(super) cells: Vec<Cell>,
    pub(super) paths: Paths,
    pub(super) rejects: Vec<Reject>,
    /// What rows share: names, their length, text. It does not make a block full, for it comes with the first of them.
    shared: (usize, usize, usize),
}

/// A row whose cells are still coming.
#[derive(Default)]
struct Begun {
    /// How many were begun before it, whatever became of them.
    number: usize,
    /// Where its cells and its text begin.
    cells: usize,
    text: usize,
    /// How long its names are together.
    names: usize,
    /// With how many values it has more than it may.
    wide: Option<usize>,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.rejects.is_empty()
    }

    /// Whether this is as much as a block should be: rows, text, or columns, which most rows may lack.
    pub(super) fn is_full(&self) -> bool {
        let (names, length, text) = self.shared;
        let columns = self.names.len() - names >= MOST_VALUES || self.length_of_names - length >= LONGEST_NAMES;
        columns || self.rows.len() + self.rejects.len() >= MOST_ROWS || self.text.len() - text >= 2 * BLOCK
    }

    /// Says that what was added last is shared by the rows to come.
    pub(super) fn share(&mut self) {
        self.shared = (self.names.len(), self.length_of_names, self.text.len());
    }

    pub(super) fn reject(&mut self, number: u64, reason: impl Into<String>, raw: &[u8]) {
        self.rejects.push(Reject::new(number, None, reason, raw));
    }

    /// Text that rows may have as their own or as a cell.
    pub(super) fn text(&mut self, text: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(text);
        Span::new(start, self.text.len())
    }

    /// Takes away what was added from there on, which no row has.
    pub(super) fn forget_text(&mut self, from: u32) {
        self.text.truncate(from as usize);
    }

    pub(super) fn cell(&mut self, name: &str, text: &str, json: bool, cells: &mut Vec<Cell>) {
        let place = self.column(name);
        let span = self.text(text);
        cells.push((place, span, json));
    }

    /// The place of the column with this name.
    pub(super) fn column(&mut self, name: &str) -> usize {
        let guess = self.after.get(self.last).copied().unwrap_or_default();
        if self.names.get(guess).is_some_and(|known| known == name) {
            self.last = guess;
            return guess;
        }
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => {
                self.length_of_names += name.len();
                self.places.insert(name.to_owned(), self.names.len());
                self.names.push(name.to_owned());
                self.after.push(0);
                self.times.push((usize::MAX, 0));
                self.names.len() - 1
            }
        };
        self.after[self.last] = place;
        self.last = place;
        place
    }

    /// A row of cells that were made here, and of those that were added to `cells` since the last one.
    pub(super) fn row(&mut self, number: u64, raw: Span, cells: Vec<Cell>) {
        self.cells.extend(cells);
        self.rows.push((number, raw, self.cells.len()));
    }

    /// A row of named texts.
    pub(super) fn push<'c>(&mut self, number: u64, raw: &str, named: impl IntoIterator<Item = (&'c str, &'c str)>) {
        self.begin();
        for (name, text) in named {
            self.add(name, text);
        }
        self.end(number, raw);
    }

    /// Begins a row that is [`Self::end`]ed or [`Self::cancel`]led before the next.
    pub(super) fn begin(&mut self) {
        self.begun = Begun { number: self.begun.number + 1, cells: self.cells.len(), text: self.text.len(), names: 0, wide: None };
    }

    /// A cell of the row that has begun. A name that comes twice gets `.2` at its second place, and so on.
    pub(super) fn add(&mut self, name: &str, text: &str) {
        let values = self.cells.len() - self.begun.cells;
        self.begun.names += name.len();
        if self.begun.wide.is_some() || values == MOST_VALUES || self.begun.names > LONGEST_NAMES {
            self.begun.wide.get_or_insert(values);
            return;
        }
        let mut place = self.column(name);
        let (row, times) = &mut self.times[place];
        if std::mem::replace(row, self.begun.number) != self.begun.number {
            *times = 0;
        }
        *times += 1;
        if *times > 1 {
            let name = format!("{name}.{times}");
            place = self.column(&name);
        }
        let span = self.text(text);
        self.cells.push((place, span, false));
    }

    pub(super) fn end(&mut self, number: u64, raw: &str) {
        if let Some(values) = self.begun.wide {
            self.cancel();
            return self.reject(number, too_wide(values), raw.as_bytes());
        }
        let raw = self.text(raw);
        self.row(number, raw, Vec::new());
    }

    /// Takes the row that has begun away.
    pub(super) fn cancel(&mut self) {
        self.cells.truncate(self.begun.cells);
        self.text.truncate(self.begun.text);
    }

    pub(super) fn finish(self) -> Rows {
        let width = self.names.len();
        let height = self.rows.len();
        let mut cells = vec![Span::MISSING; width * height];
        let mut json = vec![false; cells.len()];
        let mut lines = Vec::with_capacity(height);
        let mut start = 0;
        for (row, (number, span, end)) in self.rows.into_iter().enumerate() {
            lines.push((number, span));
            for (place, span, is_json) in &self.cells[start..end] {
                cells[place * height + row] = *span;
                json[place * height + row] = *is_json;
            }
            start = end;
        }
        Rows { header: Arc::new(Header::new(self.names)), text: self.text, cells, json, plain: false, lines, rejects: self.rejects }
    }
}

/// Why a row with so many values, or with longer names than may be, is none.
pub(super) fn too_wide(values: usize) -> &'static str {
    if values >= MOST_VALUES { "the row has more than 2048 values" } else { "the names in the row are longer than 1 MiB" }
}
