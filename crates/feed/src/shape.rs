//! Shapes: how bytes fall into rows of named cells. A shape reads from anything, holds one block at a time, and
//! hands out [`Rows`]; the one thing it knows of a feed is the table's `format`.

mod csv;
mod decode;
mod gather;
mod html;
mod json;
mod lines;
mod misp;
mod pairs;
mod prose;
mod stix;
mod whole;
mod xml;

use std::io::{self, Read};
use std::sync::Arc;

use event::Reject;

use crate::rows::{Header, Rows};
use crate::table::{Feed, Format};
use crate::unpack::Damaged;

pub(crate) use self::decode::text_of;
#[cfg(fuzzing)]
pub use self::json::is_straight;

use self::decode::Decoded;

/// About this much of a report is one block, in bytes: small enough for the processor's cache, large enough
/// that what is done once a block does not show.
pub const BLOCK: usize = 1 << 20;

/// No row is longer than this, in bytes. A longer one is a reject, and what follows it is read.
pub const LONGEST_ROW: usize = 4 << 20;

/// Reads a report and cuts it into rows, block by block.
pub struct Splitter<R> {
    input: Decoded<UntilDamage<R>>,
    shape: Shape,
    header: Arc<Header>,
    /// The last row's.
    line: u64,
}

/// Bytes up to where they are damaged.
struct UntilDamage<R> {
    input: R,
    damage: Option<String>,
    ended: bool,
}

impl<R: Read> Read for UntilDamage<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        match self.input.read(buffer) {
            Err(error) if Damaged::is(&error) => {
                self.damage = Some(error.to_string());
                self.ended = true;
                Ok(0)
            }
            read => read,
        }
    }
}

impl<R> std::fmt::Debug for Splitter<R> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Splitter").finish_non_exhaustive()
    }
}

enum Shape {
    Csv(csv::Csv),
    Html(html::Html),
    Json(json::Document),
    JsonLines(json::Lines),
    Lines(lines::Lines),
    Misp(misp::Misp),
    Pairs(pairs::Pairs),
    Prose(prose::Prose),
    Stix(stix::Stix),
    Xml(xml::Xml),
}

impl<R: Read> Splitter<R> {
    pub fn new(feed: &Feed, input: R) -> Splitter<R> {
        let shape = match &feed.format {
            Format::Csv(format) => Shape::Csv(csv::Csv::new(format.clone(), feed)),
            Format::Html(format) => Shape::Html(html::Html::new(format.clone(), feed)),
            Format::Json { rows, row } => Shape::Json(json::Document::new(rows.clone(), row.clone())),
            Format::JsonLines(row) => Shape::JsonLines(json::Lines::new(feed.own_names, row.clone())),
            Format::Lines(format) => Shape::Lines(lines::Lines::new(format.clone())),
            Format::Misp => Shape::Misp(misp::Misp::new(feed)),
            Format::Pairs(format) => Shape::Pairs(pairs::Pairs::new(format.clone())),
            Format::Prose(format) => Shape::Prose(prose::Prose::new(format.clone())),
            Format::Stix => Shape::Stix(stix::Stix::default()),
            Format::Xml { rows } => Shape::Xml(xml::Xml::new(rows.clone())),
        };
        let input = UntilDamage { input, damage: None, ended: false };
        let says_itself = matches!(shape, Shape::Html(_) | Shape::Xml(_));
        Splitter { input: Decoded::new(input, feed.encoding, says_itself), shape, header: Arc::default(), line: 0 }
    }

    /// Takes the first row for the header whatever it says: to see whose report it is, and what of it is secret.
    pub fn with_any_header(mut self) -> Splitter<R> {
        match &mut self.shape {
            Shape::Csv(shape) => shape.take_any_header(),
            Shape::Html(shape) => shape.take_any_header(),
            _ => {}
        }
        self
    }

    /// Blocks of about so many bytes instead of [`BLOCK`]: what lies on their edges must not make a difference.
    pub fn in_blocks_of(mut self, bytes: usize) -> Splitter<R> {
        self.input.block = bytes.max(1);
        self
    }

    /// The next block, or nothing at the report's end. Where its bytes are damaged it ends, with a reject that says so.
    pub fn next_rows(&mut self) -> io::Result<Option<Rows>> {
        let rows = match &mut self.shape {
            Shape::Csv(shape) => shape.next_rows(&mut self.input),
            Shape::Html(shape) => shape.next_rows(&mut self.input),
            Shape::Json(shape) => shape.next_rows(&mut self.input),
            Shape::JsonLines(shape) => shape.next_rows(&mut self.input),
            Shape::Lines(shape) => shape.next_rows(&mut self.input),
            Shape::Misp(shape) => shape.next_rows(&mut self.input),
            Shape::Pairs(shape) => shape.next_rows(&mut self.input),
            Shape::Prose(shape) => shape.next_rows(&mut self.input),
            Shape::Stix(shape) => shape.next_rows(&mut self.input),
            Shape::Xml(shape) => shape.next_rows(&mut self.input),
        }?;
        if let Some(mut rows) = rows {
            // A JSON row says itself where it ends.
            if matches!(self.shape, Shape::Csv(_) | Shape::Lines(_)) && self.input.source().damage.is_some() {
                rows.reject_unended();
            }
            self.header = rows.header.clone();
            self.line = rows.lines.last().map_or(self.line, |(line, _)| *line);
            return Ok(Some(rows));
        }
        Ok(self.input.source().damage.take().map(|damage| {
            let reason = format!("the report ends here, for it is damaged: {damage}");
            Rows { header: self.header.clone(), rejects: vec![Reject::new(self.line + 1, None, reason, b"")], ..Rows::default() }
        }))
    }

    /// The header, as far as one was read.
    pub fn header(&self) -> Option<Vec<String>> {
        match &self.shape {
            Shape::Csv(shape) => shape.header(),
            _ => None,
        }
    }
}
