//! Lines with a pattern: each line that matches is a row, the pattern's named groups are its cells.

use std::io::{self, Read};
use std::sync::Arc;

use event::Reject;

use super::LONGEST_ROW;
use super::decode::{Decoded, into_text};
use super::gather::Gathered;
use crate::rows::{Header, Rows, Span, by_column};
use crate::table::Lines as Format;

pub(super) struct Lines {
    format: Format,
    header: Arc<Header>,
    groups: Vec<usize>,
    source: LineSource,
}

impl Lines {
    pub(super) fn new(format: Format) -> Lines {
        let named: Vec<(usize, String)> =
            format.pattern.capture_names().enumerate().filter_map(|(place, name)| Some((place, name?.to_owned()))).collect();
        let (groups, names): (Vec<_>, Vec<_>) = named.into_iter().unzip();
        Lines { format, header: Arc::new(Header::new(names)), groups, source: LineSource::default() }
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let Some(mut rows) = self.source.next_lines(input)? else { return Ok(None) };
        rows.header = self.header.clone();
        let lines = std::mem::take(&mut rows.lines);
        let mut locations = self.format.pattern.capture_locations();
        let mut cells = Vec::new();
        for (number, span) in lines {
            let line = rows.text.get(span.start as usize..span.end as usize).unwrap_or_default().trim_end_matches(['\r', '\n']);
            let comment = || self.format.comment.as_deref().is_some_and(|comment| line.trim_start().starts_with(comment));
            let skip = || self.format.skip.as_ref().is_some_and(|skip| skip.is_match(line));
            if line.trim().is_empty() || comment() || skip() {
                continue;
            }
            if self.format.pattern.captures_read(&mut locations, line).is_none() {
                rows.rejects.push(Reject::new(number, None, "the line does not match the table's pattern", line.as_bytes()));
                continue;
            }
            let start = span.start as usize;
            for group in &self.groups {
                cells.push(locations.get(*group).map_or(Span::MISSING, |(from, to)| Span::new(start + from, start + to)));
            }
            rows.lines.push((number, Span::new(start, start + line.len())));
        }
        rows.cells = by_column(&cells, self.groups.len());
        Ok(Some(rows))
    }
}

/// Cuts a report into lines, a block of them at a time.
#[derive(Default)]
pub(super) struct LineSource {
    buffer: Vec<u8>,
    line: u64,
    ended: bool,
    /// Whether the rest of an overlong line is being passed over.
    skipping: bool,
}

impl LineSource {
    /// The next lines as [`Rows`] without cells; overlong ones are rejects.
    pub(super) fn next_lines<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        if self.ended && self.buffer.is_empty() {
            return Ok(None);
        }
        let mut rows = Rows::default();
        let end = loop {
            if !self.ended && self.buffer.len() < input.block {
                self.ended = !input.read_more(&mut self.buffer, input.block)?;
                if !self.ended && self.buffer.len() < input.block {
                    continue;
                }
            }
            match memchr::memrchr(b'\n', &self.buffer) {
                _ if self.ended => break self.buffer.len(),
                Some(place) => break place + 1,
                None if self.buffer.len() > LONGEST_ROW => {
                    self.pass_over(&mut rows);
                    if !rows.rejects.is_empty() {
                        return Ok(Some(rows));
                    }
                }
                None => self.ended = !input.read_more(&mut self.buffer, input.block)?,
            }
        };
        let rest = self.buffer.split_off(end);
        rows.text = into_text(std::mem::replace(&mut self.buffer, rest));
        self.cut(&mut rows);
        Ok(Some(rows))
    }

    /// Rejects a line that is too long, once, and forgets what was read of it.
    fn pass_over(&mut self, rows: &mut Rows) {
        if !self.skipping {
            rows.rejects.push(too_long(self.line + 1, &self.buffer));
        }
        self.skipping = true;
        self.buffer.clear();
    }

    fn cut(&mut self, rows: &mut Rows) {
        let text = std::mem::take(&mut rows.text);
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            self.line += 1;
            let span = Span::new(start, start + line.len());
            start += line.len();
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > LONGEST_ROW {
                rows.rejects.push(too_long(self.line, line.as_bytes()));
            } else {
                rows.lines.push((self.line, span));
            }
        }
        rows.text = text;
    }
}

/// One line after another, for shapes whose rows name their own cells.
#[derive(Default)]
pub(super) struct LineReader {
    source: LineSource,
    cut: Rows,
    /// Which of the lines that were cut comes next.
    next: usize,
}

impl LineReader {
    /// Sees to it that lines are at hand; false at the end of the report. Those that are too long are rejects.
    pub(super) fn fill<R: Read>(&mut self, input: &mut Decoded<R>, rows: &mut Gathered) -> io::Result<bool> {
        if self.next == self.cut.lines.len() {
            let Some(lines) = self.source.next_lines(input)? else { return Ok(false) };
            (self.cut, self.next) = (lines, 0);
            rows.rejects = std::mem::take(&mut self.cut.rejects);
        }
        Ok(true)
    }

    /// The next of the lines at hand, and its number.
    pub(super) fn next(&mut self) -> Option<(u64, &str)> {
        let number = self.cut.lines.get(self.next)?.0;
        self.next += 1;
        Some((number, self.cut.raw(self.next - 1)))
    }

    /// The line that came last.
    pub(super) fn last(&self) -> (u64, &str) {
        let place = self.next.saturating_sub(1);
        self.cut.lines.get(place).map_or((0, ""), |(number, _)| (*number, self.cut.raw(place)))
    }
}

pub(super) fn too_long(line: u64, raw: &[u8]) -> Reject {
    Reject::new(line, None, format!("the row is longer than {} MiB", LONGEST_ROW >> 20), raw)
}
