//! A row that is read straight into its cells: no value of it is built, and a cell is where it stands in the row's own text.
//!
//! Nearly all rows can be read so. One that cannot, be it wrong or only unusual (a name that comes twice), goes the long way, by
//! serde_json, whose answer is the same: what is read here is only what cannot be read otherwise.

use std::collections::HashMap;

use event::chunk::{Chunk, among, is};
use serde_json::Value;

use super::document::Scan;
use super::{DEEPEST, name_keys};
use crate::rows::Span;
use crate::shape::gather::{Gathered, LONGEST_NAMES, MOST_VALUES};

/// A list with more brackets than this goes the long way: serde_json has a limit to how deep they lie, in the row as a whole.
const MOST_BRACKETS: usize = 64;

/// The names that rows have, as a tree, and which came after which: mostly one row names its values as the last one did.
#[derive(Default)]
pub(in crate::shape) struct Paths {
    /// The first is the row itself.
    nodes: Vec<Node>,
    /// Rows begun so far.
    row: u64,
    /// Texts that are not in the row as they are.
    unescaped: String,
}

#[derive(Default)]
struct Node {
    parent: usize,
    key: String,
    path: String,
    /// The column, once it has been a cell.
    place: Option<usize>,
    /// The row that had it last.
    row: u64,
    /// What came first in it last time, and what came after it; the root for nothing.
    first: usize,
    next: usize,
    children: HashMap<String, usize>,
}

const ROOT: usize = 0;

/// Begins the place of a cell in what was unescaped, until it is known where that will stand.
const UNESCAPED: u32 = 1 << 31;

impl Paths {
    fn begin(&mut self) {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        self.row += 1;
        self.unescaped.clear();
    }

    /// The node of a name in its parent, after a sibling or first. Nothing if the row has had it, or it is no text.
    #[inline]
    fn child(&mut self, parent: usize, before: usize, key: &[u8]) -> Option<usize> {
        let guess = if before == ROOT { self.nodes[parent].first } else { self.nodes[before].next };
        let known = &self.nodes[guess];
        let node =
            if guess != ROOT && known.parent == parent && known.key.as_bytes() == key { guess } else { self.find(parent, before, key)? };
        let seen = std::mem::replace(&mut self.nodes[node].row, self.row);
        (seen != self.row).then_some(node)
    }

    fn find(&mut self, parent: usize, before: usize, key: &[u8]) -> Option<usize> {
        let key = std::str::from_utf8(key).ok()?;
        let node = match self.nodes[parent].children.get(key) {
            Some(node) => *node,
            None => {
                let path = if parent == ROOT { key.to_owned() } else { format!("{}.{key}", self.nodes[parent].path) };
                self.nodes.push(Node { parent, key: key.to_owned(), path, ..Node::default() });
                let node = self.nodes.len() - 1;
                self.nodes[parent].children.insert(key.to_owned(), node);
                node
            }
        };
        if before == ROOT {
            self.nodes[parent].first = node;
        } else {
            self.nodes[before].next = node;
        }
        Some(node)
    }
}

/// Adds the row with which these bytes begin, if it ends where it may, and says where that is. A text at its top that is odd makes it
/// one for the long way. Of such a row nothing is added.
pub(super) fn row(
    bytes: &[u8],
    number: u64,
    keys: &[String],
    may_end: impl Fn(usize) -> bool,
    is_odd: impl Fn(&str, &[u8]) -> bool,
    rows: &mut Gathered,
) -> Option<usize> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let (first, before) = (rows.cells.len(), rows.text("").start);
    let mut named = Vec::new();
    name_keys(keys, rows, &mut named);
    rows.paths.begin();
    let mut reading = Reading { bytes, at: 0, values: 0, names: 0, is_odd, rows };
    let end = reading.object(ROOT, 0).map(|()| reading.at).filter(|end| may_end(*end));
    let text = end.and_then(|end| std::str::from_utf8(bytes.get(..end)?).ok());
    let Some(text) = text else {
        rows.cells.truncate(first);
        rows.forget_text(before);
        return None;
    };
    let raw = rows.text(text);
    let unescaped = std::mem::take(&mut rows.paths.unescaped);
    let behind = rows.text(&unescaped).start;
    rows.paths.unescaped = unescaped;
    for (_, span, _) in &mut rows.cells[first..] {
        let by = if span.start & UNESCAPED == 0 { raw.start } else { behind.wrapping_sub(UNESCAPED) };
        *span = Span { start: span.start.wrapping_add(by), end: span.end.wrapping_add(by) };
    }
    rows.row(number, raw, named);
    Some(text.len())
}

/// On the way through a row.
struct Reading<'a, F> {
    bytes: &'a [u8],
    at: usize,
    /// How many values there are, and how long their names are, in bytes.
    values: usize,
    names: usize,
    /// Whether a text at the row's top is one for the long way.
    is_odd: F,
    rows: &'a mut Gathered,
}

impl<F: Fn(&str, &[u8]) -> bool> Reading<'_, F> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte that is not white space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.peek()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    fn object(&mut self, node: usize, depth: usize) -> Option<()> {
        self.at += 1;
        if self.next()? == b'}' {
            self.at += 1;
            return Some(());
        }
        let mut before = ROOT;
        loop {
            if self.next()? != b'"' {
                return None;
            }
            let (start, end, is_escaped) = self.text()?;
            if is_escaped || self.next()? != b':' {
                return None;
            }
            self.at += 1;
            before = self.rows.paths.child(node, before, &self.bytes[start..end])?;
            self.value(before, depth + 1)?;
            match self.next()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    fn value(&mut self, node: usize, depth: usize) -> Option<()> {
        match self.next()? {
            b'"' => {
                let (start, end, is_escaped) = self.text()?;
                if depth == 1 && (self.is_odd)(&self.rows.paths.nodes[node].key, &self.bytes[start..end]) {
                    return None;
                }
                if is_escaped {
                    let text: String = serde_json::from_slice(&self.bytes[start - 1..end + 1]).ok()?;
                    return self.unescaped(node, &text, false);
                }
                self.cell(node, Span::new(start, end), false)
            }
            b'{' if depth < DEEPEST => self.object(node, depth),
            b'{' | b'[' => self.nested(node),
            b't' => self.word(node, b"true", true),
            b'f' => self.word(node, b"false", true),
            b'n' => self.word(node, b"null", false),
            _ => self.number(node),
        }
    }

    /// From where to where a text goes between its quotes, and whether it has escapes.
    #[inline]
    fn text(&mut self) -> Option<(usize, usize, bool)> {
        let start = self.at + 1;
        let (mut at, mut is_escaped) = (start, false);
        loop {
            let chunk = Chunk::of(self.bytes.get(at..).filter(|rest| !rest.is_empty())?);
            let places = chunk.places(|bytes| is(bytes, b'"') | is(bytes, b'\\') | among(bytes, 0..=0x1f));
            if places == 0 {
                at += Chunk::LENGTH;
                continue;
            }
            at += places.trailing_zeros() as usize;
            match self.bytes[at] {
                b'"' => {
                    self.at = at + 1;
                    return Some((start, at, is_escaped));
                }
                b'\\' => {
                    is_escaped = true;
                    at += 2;
                }
                _ => return None,
            }
        }
    }

    fn word(&mut self, node: usize, word: &[u8], says_something: bool) -> Option<()> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end)? != word {
            return None;
        }
        let start = if says_something { self.at } else { end };
        self.at = end;
        self.cell(node, Span::new(start, end), says_something)
    }

    /// Numbers that are written as serde_json writes them are whole, and not too long.
    fn number(&mut self, node: usize) -> Option<()> {
        let start = self.at;
        let digits_at = start + usize::from(self.peek()? == b'-');
        let length = self.bytes[digits_at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let end = digits_at + length;
        let is_plain = length == 1 && (digits_at == start || self.bytes[digits_at] != b'0')
            || (2..=18).contains(&length) && self.bytes[digits_at] != b'0';
        if is_plain && !matches!(self.bytes.get(end)?, b'.' | b'e' | b'E') {
            self.at = end;
            return self.cell(node, Span::new(start, end), true);
        }
        let is_in_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        self.at = start + self.bytes[start..].iter().take_while(is_in_number).count();
        let number: serde_json::Number = serde_json::from_slice(&self.bytes[start..self.at]).ok()?;
        self.unescaped(node, &number.to_string(), true)
    }

    /// A list, or an object that lies too deep: it stays JSON, as short as can be.
    fn nested(&mut self, node: usize) -> Option<()> {
        let start = self.at;
        if self.short_list().is_some() {
            return self.cell(node, Span::new(start, self.at), true);
        }
        let length = Scan::default().end(&self.bytes[start..], false)?;
        self.at = start + length;
        let nested = &self.bytes[start..self.at];
        if memchr::memchr2_iter(b'[', b'{', nested).count() > MOST_BRACKETS {
            return None;
        }
        let value: Value = serde_json::from_slice(nested).ok()?;
        self.unescaped(node, &value.to_string(), true)
    }

    /// A list that cannot be written shorter: of texts without escapes, whole numbers and words, without white space.
    fn short_list(&mut self) -> Option<()> {
        if self.peek()? != b'[' {
            return None;
        }
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            match self.peek()? {
                b'"' => {
                    let (.., is_escaped) = self.text()?;
                    if is_escaped {
                        return None;
                    }
                }
                b'1'..=b'9' => {
                    let length = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    self.at += length;
                    if length > 18 {
                        return None;
                    }
                }
                _ => return None,
            }
            self.at += 1;
            match self.bytes.get(self.at - 1)? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn unescaped(&mut self, node: usize, text: &str, json: bool) -> Option<()> {
        let unescaped = &mut self.rows.paths.unescaped;
        let start = unescaped.len() as u32 | UNESCAPED;
        unescaped.push_str(text);
        let end = unescaped.len() as u32 | UNESCAPED;
        self.cell(node, Span { start, end }, json)
    }

    #[inline]
    fn cell(&mut self, node: usize, span: Span, json: bool) -> Option<()> {
        let known = &self.rows.paths.nodes[node];
        self.values += 1;
        self.names += known.path.len() + 1;
        if self.values > MOST_VALUES || self.names > LONGEST_NAMES {
            return None;
        }
        let place = match known.place {
            Some(place) => place,
            None => {
                let path = known.path.clone();
                let place = self.rows.column(&path);
                self.rows.paths.nodes[node].place = Some(place);
                place
            }
        };
        self.rows.cells.push((place, span, json));
        Some(())
    }
}
