//! A block of rows as a shape cuts them: cells are spans of one text, so that cutting copies nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use event::Reject;

/// The names of cells, in the order of a row.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    pub names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Header {
    /// A name that comes twice gets `.2` at its second place, and so on.
    pub fn new(names: impl IntoIterator<Item = String>) -> Header {
        let mut header = Header::default();
        for name in names {
            let mut unique = name.clone();
            let mut times = 2;
            while header.places.contains_key(&unique) {
                unique = format!("{name}.{times}");
                times += 1;
            }
            header.places.insert(unique.clone(), header.names.len());
            header.names.push(unique);
        }
        header
    }

    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}

/// From where to where in the block's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// A cell that the row does not have.
    pub const MISSING: Span = Span { start: u32::MAX, end: u32::MAX };

    pub const EMPTY: Span = Span { start: 0, end: 0 };

    pub fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The range in what begins at a place of the text.
    pub fn after(self, place: usize) -> Range<usize> {
        self.start as usize - place..self.end as usize - place
    }
}

/// Rows of one header, and what could not be made a row.
#[derive(Debug, Default)]
pub struct Rows {
    pub header: Arc<Header>,
    pub text: String,
    /// For each name of the header, one for each row: column by column, as tables read them.
    pub cells: Vec<Span>,
    /// For shapes whose cells may be JSON values other than text: whether each is.
    pub json: Vec<bool>,
    /// Whether surely no cell holds a quote, a backslash or a control character.
    pub plain: bool,
    /// For each row: the line on which it starts, and its bytes.
    pub lines: Vec<(u64, Span)>,
    pub rejects: Vec<Reject>,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.rejects.is_empty()
    }

    /// Rejects the last row if no line ends with it: where bytes are damaged, it is not what it was.
    pub(crate) fn reject_unended(&mut self) {
        let Some((line, span)) = self.lines.last().copied() else { return };
        let row = self.text.as_bytes().get(span.range()).unwrap_or_default();
        if row.ends_with(b"\n") || matches!(self.text.as_bytes().get(span.range().end), Some(b'\n' | b'\r')) {
            return;
        }
        self.rejects.push(Reject::new(line, None, "the row is cut off", row));
        let height = self.lines.len();
        self.cells = without_last(&self.cells, height);
        self.json = without_last(&self.json, height);
        self.lines.pop();
    }

    /// What stands there.
    #[inline]
    pub fn text(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// The same as bytes.
    #[inline]
    pub fn bytes(&self, span: Span) -> &[u8] {
        self.text.as_bytes().get(span.range()).unwrap_or_default()
    }

    /// The cell's text without white space around it; empty where the row lacks it.
    #[inline]
    pub fn cell(&self, row: usize, column: usize) -> &str {
        trim(self.whole_cell(row, column))
    }

    /// The cell's text with the white space around it.
    #[inline]
    pub fn whole_cell(&self, row: usize, column: usize) -> &str {
        self.text(self.span(row, column))
    }

    /// Where it stands.
    #[inline]
    pub fn span(&self, row: usize, column: usize) -> Span {
        self.cells[self.place(row, column)]
    }

    #[inline]
    fn place(&self, row: usize, column: usize) -> usize {
        column * self.lines.len() + row
    }

    /// Where each row's cell stands, white space and all.
    #[inline]
    pub fn column(&self, column: usize) -> &[Span] {
        &self.cells[self.place(0, column)..self.place(0, column + 1)]
    }

    /// Where it stands without the white space around it.
    pub fn trimmed(&self, span: Span) -> Span {
        let whole = self.text(span);
        let start = span.start as usize + (whole.len() - whole.trim_start_matches(is_white).len());
        Span::new(start, start + trim(whole).len())
    }

    /// Whether the row has the cell at all, be it empty.
    pub fn has_cell(&self, row: usize, column: usize) -> bool {
        self.span(row, column) != Span::MISSING
    }

    /// Whether the cell is a JSON number, truth value, list or object.
    #[inline]
    pub fn is_json(&self, row: usize, column: usize) -> bool {
        self.json.get(self.place(row, column)).copied().unwrap_or(false)
    }

    pub fn raw(&self, row: usize) -> &str {
        self.text(self.lines[row].1)
    }
}

/// Cells that were cut row by row, column by column.
pub(crate) fn by_column(cells: &[Span], width: usize) -> Vec<Span> {
    // So many rows at a time that what is written of each column fills a line of the processor's cache.
    const ROWS: usize = 8;
    let Some(height) = cells.len().checked_div(width) else { return Vec::new() };
    let mut columns = vec![Span::MISSING; cells.len()];
    for (turn, rows) in cells.chunks(ROWS * width).enumerate() {
        for column in 0..width {
            let place = column * height + turn * ROWS;
            for (cell, row) in columns[place..].iter_mut().zip(rows.chunks_exact(width)) {
                *cell = row[column];
            }
        }
    }
    columns
}

/// Columns of so many rows, each without its last.
fn without_last<T: Copy>(columns: &[T], height: usize) -> Vec<T> {
    columns.chunks_exact(height).flat_map(|column| &column[..height - 1]).copied().collect()
}

/// `str::trim` for the white space that reports have; most cells have none.
#[inline]
fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let white = |byte: Option<&u8>| byte.is_some_and(|byte| *byte <= b' ');
    if white(bytes.first()) || white(bytes.last()) { text.trim_matches(is_white) } else { text }
}

fn is_white(c: char) -> bool {
    c <= ' '
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_lie_column_by_column() {
        for (height, width) in [(0, 3), (1, 1), (7, 2), (8, 3), (9, 39), (30, 5)] {
            let by_row: Vec<Span> = (0..height * width).map(|place| Span::new(place, place + 1)).collect();
            let places = (0..width).flat_map(|column| (0..height).map(move |row| row * width + column));
            assert!(by_column(&by_row, width).into_iter().eq(places.map(|place| by_row[place])), "{height} rows of {width}");
        }
    }

    #[test]
    fn a_row_that_is_cut_off_leaves_the_others_as_they_are() {
        let text = "a,b\nc,d\ne,f";
        let cells: Vec<Span> = (0..6).map(|cell| Span::new(2 * cell, 2 * cell + 1)).collect();
        let mut rows = Rows {
            header: Arc::new(Header::new(["one", "two"].map(str::to_owned))),
            text: text.into(),
            cells: by_column(&cells, 2),
            lines: (0..3).map(|row| (row as u64 + 1, Span::new(4 * row, text.len().min(4 * row + 4)))).collect(),
            ..Rows::default()
        };
        rows.reject_unended();
        let left: Vec<[&str; 2]> = (0..rows.len()).map(|row| [rows.cell(row, 0), rows.cell(row, 1)]).collect();
        assert_eq!(left, [["a", "b"], ["c", "d"]]);
        assert_eq!(rows.rejects.iter().map(|reject| (reject.line, reject.raw.as_str())).collect::<Vec<_>>(), [(3, "e,f")]);
    }
}
