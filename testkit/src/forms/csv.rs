//! Delimited text as providers write it, and as it arrives when something went wrong on the way.

use std::borrow::Cow;

use crate::quarter::Planted;

pub(super) type Cell = Cow<'static, str>;

/// Whether a cell stands between quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    Always,
    WhereNeeded,
}

#[derive(Debug)]
pub(super) struct Csv {
    pub(super) columns: Vec<&'static str>,
    pub(super) lines: Vec<Line>,
    pub(super) quotes: Quotes,
    /// What ends a line.
    pub(super) end: &'static str,
    /// Whether the text begins with a byte order mark.
    pub(super) mark: bool,
    /// Windows-1252 instead of UTF-8, as far as the two agree on Unicode's first 256.
    pub(super) western: bool,
}

#[derive(Debug)]
pub(super) enum Line {
    Cells(Vec<Cell>),
    /// As it is, with its end.
    Raw(Vec<u8>),
}

impl Csv {
    pub(super) fn new(columns: Vec<&'static str>) -> Csv {
        Csv { columns, lines: Vec::new(), quotes: Quotes::Always, end: "\n", mark: false, western: false }
    }

    pub(super) fn push(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "{cells:?}");
        self.lines.push(Line::Cells(cells));
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = if self.mark { "\u{feff}".as_bytes().to_vec() } else { Vec::new() };
        let names: Vec<Cell> = self.columns.iter().map(|name| Cell::from(*name)).collect();
        out.extend(self.line(&names));
        out.extend(self.body());
        out
    }

    /// Without the header.
    pub(super) fn body(&self) -> Vec<u8> {
        let bytes = |line: &Line| match line {
            Line::Cells(cells) => self.line(cells),
            Line::Raw(bytes) => bytes.clone(),
        };
        self.lines.iter().flat_map(bytes).collect()
    }

    fn line(&self, cells: &[Cell]) -> Vec<u8> {
        let cells: Vec<Cow<'_, str>> = cells.iter().map(|cell| self.quoted(cell)).collect();
        let text = cells.join(",") + self.end;
        if !self.western {
            return text.into_bytes();
        }
        text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
    }

    fn quoted<'a>(&self, cell: &'a str) -> Cow<'a, str> {
        match self.quotes {
            Quotes::WhereNeeded if !cell.contains([',', '"', '\n']) => Cow::Borrowed(cell),
            _ if cell.contains('"') => Cow::Owned(format!("\"{}\"", cell.replace('"', "\"\""))),
            _ => Cow::Owned(format!("\"{cell}\"")),
        }
    }

    fn cells(&mut self, row: usize) -> &mut Vec<Cell> {
        match &mut self.lines[row] {
            Line::Cells(cells) => cells,
            Line::Raw(_) => panic!("row {row} is spoilt already"),
        }
    }

    pub(super) fn set(&mut self, row: usize, column: &str, cell: impl Into<Cell>) {
        let place = self.columns.iter().position(|name| *name == column).expect("a column of this report");
        self.cells(row)[place] = cell.into();
    }

    /// Changes a row's text as it was written.
    fn spoil(&mut self, row: usize, change: impl FnOnce(String) -> String) {
        let cells = std::mem::take(self.cells(row));
        let text = String::from_utf8(self.line(&cells)).expect("no report is both spoilt and western");
        self.lines[row] = Line::Raw(change(text).into_bytes());
    }
}

/// What goes wrong with a report. Rows are counted from 0, and no row is spoilt twice.
impl Csv {
    /// The line ends after some cells: a reject.
    pub(super) fn cut_row(&mut self, row: usize, cells: usize, planted: &mut Planted) {
        self.cells(row).truncate(cells);
        planted.rejects += 1;
    }

    /// The report ends within a cell: its last row is a reject.
    pub(super) fn cut_report(&mut self, planted: &mut Planted) {
        let (last, width) = (self.lines.len() - 1, self.columns.len());
        self.spoil(last, |line| {
            let half = line.match_indices(",\"").nth(width / 2).map_or(0, |(place, _)| place);
            line.get(..half).unwrap_or_default().to_owned() + ",\"cut he"
        });
        planted.rejects += 1;
    }

    /// A quote that nobody doubled, within a cell: it can still be read.
    pub(super) fn stray_quote(&mut self, row: usize, column: &str, cell: &'static str) {
        self.set(row, column, cell);
        self.spoil(row, |line| line.replacen(cell, &cell.replacen(' ', "\" ", 1), 1));
    }

    /// The same with a comma behind it, which makes two cells of one: a reject.
    pub(super) fn stray_quote_and_comma(&mut self, row: usize, column: &str, cell: &'static str, planted: &mut Planted) {
        self.set(row, column, cell);
        self.spoil(row, |line| line.replacen(cell, &cell.replacen(' ', "\", ", 1), 1));
        planted.rejects += 1;
    }

    /// The header once more, as where reports were put together: a reject.
    pub(super) fn header_within(&mut self, row: usize, planted: &mut Planted) {
        let names = self.columns.iter().map(|name| Cell::from(*name)).collect();
        self.lines.insert(row, Line::Cells(names));
        planted.rows += 1;
        planted.rejects += 1;
    }

    /// A row said twice.
    pub(super) fn say_again(&mut self, row: usize, later: usize, planted: &mut Planted) {
        let cells = self.cells(row).clone();
        self.lines.insert(later, Line::Cells(cells));
        planted.rows += 1;
        planted.repeats += 1;
    }

    /// A cell that makes its row a reject, since the row has no place or no time without it.
    pub(super) fn wrong_cell(&mut self, row: usize, column: &str, cell: &'static str, planted: &mut Planted) {
        self.set(row, column, cell);
        planted.rejects += 1;
    }

    /// A time that cannot be.
    pub(super) fn implausible(&mut self, row: usize, column: &str, cell: &'static str, planted: &mut Planted) {
        self.set(row, column, cell);
        planted.implausible += 1;
    }
}
