//! Takes secrets out of a report before it is kept: the cells of a feed's `secret` columns are emptied.
//!
//! The report is written anew, row by row, so its form may differ from what came; what it says does not. A row
//! that cannot be cut might hold the secret anywhere: a line stands in its place, which is a reject when it is read.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use crate::json_text;
use crate::reading::Drift;
use crate::rows::Rows;
use crate::shape::Splitter;
use crate::table::{Csv, CsvHeader, Feed, Format};

/// Whether a feed's reports may hold what must not be kept.
pub fn is_possible(feed: &Feed) -> bool {
    !feed.secret.is_empty()
}

/// Whether this report does: by its own header, whatever the table knows of it. Where there is no header to go by, it may.
///
/// Fails where the secret may stand under another name: the header lacks it and has columns that the table does not know.
pub fn is_needed(feed: &Feed, input: impl Read) -> io::Result<bool> {
    let mut splitter = Splitter::new(feed, input).with_any_header();
    splitter.next_rows()?;
    let Some(header) = splitter.header() else { return Ok(true) };
    if header.iter().any(|name| feed.is_secret(name)) {
        return Ok(true);
    }
    let Drift { lost, gained } = Drift::of(feed, &header);
    match lost.iter().find(|name| feed.is_secret(name)) {
        // The names that were gained are not repeated: where the header is missing they are a row, with its secret.
        Some(secret) if !gained.is_empty() => Err(io::Error::other(format!(
            "its header lacks \"{secret}\", which is secret, and has {} columns that the feed's table does not know: one of them may be \
             that. Mend the header, or the table (`secret`)",
            gained.len()
        ))),
        _ => Ok(false),
    }
}

/// Copies a report without its secrets.
pub fn copy(feed: &Feed, input: impl Read, mut output: impl Write) -> io::Result<()> {
    let mut splitter = Splitter::new(feed, input).with_any_header();
    match &feed.format {
        Format::Csv(format) => copy_csv(feed, format, &mut splitter, &mut output)?,
        Format::JsonLines(_) => {
            while let Some(rows) = splitter.next_rows()? {
                write_json(feed, &rows, &mut output)?;
            }
        }
        _ => unreachable!("refused when the table was read"),
    }
    output.flush()
}

fn copy_csv(feed: &Feed, format: &Csv, splitter: &mut Splitter<impl Read>, output: &mut impl Write) -> io::Result<()> {
    let separator = format.separator.as_str();
    let quote = char::from(format.quote.unwrap_or(b'"'));
    let mut text = String::new();
    let mut has_header = format.header == CsvHeader::None;
    let push_header = |names: &[String], text: &mut String| {
        let mut line = String::new();
        if format.header == CsvHeader::Commented {
            line.push_str(format.comment.as_deref().unwrap_or("#"));
        }
        push_row(&mut line, names.iter().map(String::as_str), separator, quote);
        text.insert_str(0, &line);
    };
    while let Some(rows) = splitter.next_rows()? {
        let names = &rows.header.names;
        let secret = secret_columns(feed, &rows);
        for row in 0..rows.len() {
            let cells = (0..secret.len()).map(|column| if secret[column] { "" } else { rows.whole_cell(row, column) });
            push_row(&mut text, cells, separator, quote);
        }
        push_left_out(&mut text, &rows);
        // What was left out before the header stands after it, so that it is not taken for one.
        if !has_header && !names.is_empty() {
            push_header(names, &mut text);
            has_header = true;
        }
        if has_header {
            output.write_all(std::mem::take(&mut text).as_bytes())?;
        }
    }
    if !has_header {
        push_header(&feed.columns, &mut text);
    }
    output.write_all(text.as_bytes())
}

/// For each column, whether it is secret.
fn secret_columns(feed: &Feed, rows: &Rows) -> Vec<bool> {
    rows.header.names.iter().map(|name| feed.is_secret(name)).collect()
}

fn push_row<'a>(line: &mut String, cells: impl Iterator<Item = &'a str>, separator: &str, quote: char) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            line.push_str(separator);
        }
        line.push(quote);
        for c in cell.chars() {
            if c == quote {
                line.push(quote);
            }
            line.push(c);
        }
        line.push(quote);
    }
    line.push('\n');
}

/// One object a line, nested values under their paths: the shape reads both alike.
fn write_json(feed: &Feed, rows: &Rows, output: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    let secret = secret_columns(feed, rows);
    for row in 0..rows.len() {
        line.push('{');
        for (column, name) in rows.header.names.iter().enumerate() {
            let cell = rows.whole_cell(row, column);
            if cell.is_empty() || secret[column] {
                continue;
            }
            json_text::push_string(&mut line, name);
            line.push(':');
            if rows.is_json(row, column) {
                line.push_str(cell);
            } else {
                json_text::push_string(&mut line, cell);
            }
            line.push(',');
        }
        if line.ends_with(',') {
            line.pop();
        }
        line.push_str("}\n");
    }
    push_left_out(&mut line, rows);
    output.write_all(line.as_bytes())
}

/// A line for each row that could not be cut: of one cell, and no JSON.
fn push_left_out(line: &mut String, rows: &Rows) {
    for reject in &rows.rejects {
        writeln!(line, "[line {} left out: it could not be cut and may hold a secret]", reject.line).expect("a string takes any text");
    }
}
