//! A JSON document of any length: only the row being read, and what is open around it, is in memory.

use std::io::{self, Read};
use std::ops::Range;

use event::reject::LONGEST_RAW;

use super::fall::{self, Fall};
use super::{Gathered, Value, push, straight};
use crate::rows::Rows;
use crate::shape::LONGEST_ROW;
use crate::shape::decode::{Decoded, text_of};
use crate::shape::lines::too_long;
use crate::table::JsonRow;

/// Lists and objects within each other are followed this far down on the way to the rows.
const DEEPEST_PATH: usize = 128;

/// No name on the way to the rows is longer than this, in bytes.
const LONGEST_KEY: usize = 1 << 16;

pub(in crate::shape) struct Document {
    path: Vec<String>,
    row: JsonRow,
    /// What is left of a row that falls into several.
    falling: Option<Fall>,
    /// What was read, from a place before which all is understood.
    buffer: Vec<u8>,
    at: usize,
    /// Whether all was read.
    ended: bool,
    next: Next,
    /// What is open around the place, the outermost first.
    open: Vec<Open>,
    /// The keys that the path's stars stand for.
    keys: Vec<String>,
    number: u64,
    /// Whether anything lay where the path leads, were it an empty list, null or false.
    arrived: bool,
    /// How the first thing begins that lay beside the path: an error's message, where no rows are.
    beside: Option<Vec<u8>>,
}

/// What is to come.
#[derive(Clone, Copy)]
enum Next {
    /// A value, to which so many steps of the path have led.
    Value(usize),
    /// A comma, or the end of what is open.
    Comma,
    /// The first thing in what was just opened, or its end.
    First,
    Nothing,
}

#[derive(Clone, Copy)]
struct Open {
    object: bool,
    /// Steps of the path that led to it.
    steps: usize,
    /// Whether the value being read in it has its key in `keys`.
    keyed: bool,
}

/// What was passed over.
enum Passed {
    /// A value, and where it is in the buffer.
    Whole(Range<usize>),
    /// One that is longer than it may be, and how it begins.
    TooLong(Vec<u8>),
}

/// Why reading a document ends before its end.
enum Stop {
    Failed(io::Error),
    NotJson(&'static str),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Failed(error)
    }
}

impl Document {
    pub(in crate::shape) fn new(path: Vec<String>, row: JsonRow) -> Document {
        Document {
            path,
            row,
            falling: None,
            buffer: Vec::new(),
            at: 0,
            ended: false,
            next: Next::Value(0),
            open: Vec::new(),
            keys: Vec::new(),
            number: 0,
            arrived: false,
            beside: None,
        }
    }

    /// The next rows. Where the document turns out not to be JSON it ends, with a reject that says so.
    pub(in crate::shape) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Gathered::default();
        match self.walk(input, &mut rows) {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::NotJson(why)) => {
                (self.next, self.beside) = (Next::Nothing, None);
                self.read_ahead(input)?;
                let raw = &self.buffer[self.at..];
                rows.reject(self.number + 1, format!("from here on the document is not JSON: {why}"), raw);
            }
        }
        Ok((!rows.is_empty()).then(|| rows.finish()))
    }

    /// Goes on until a block of rows is full or the document ends.
    fn walk<R: Read>(&mut self, input: &mut Decoded<R>, rows: &mut Gathered) -> Result<(), Stop> {
        fall::go_on(&mut self.falling, rows);
        while !rows.is_full() && self.falling.is_none() {
            let byte = self.peek(input)?;
            match self.next {
                Next::Nothing => {
                    if let Some(beside) = self.beside.take().filter(|_| !self.arrived) {
                        rows.reject(1, "there are no rows where the feed's table says", &beside);
                    }
                    return Ok(());
                }
                Next::Value(0) if byte.is_none() && self.open.is_empty() => return Ok(()),
                Next::Value(steps) => self.value(steps, byte, input, rows)?,
                Next::First => self.enter(byte, input)?,
                Next::Comma => self.go_on(byte, input)?,
            }
        }
        Ok(())
    }

    /// A value begins: it holds rows further down, or is a row, or is none of ours.
    fn value<R: Read>(&mut self, steps: usize, byte: Option<u8>, input: &mut Decoded<R>, rows: &mut Gathered) -> Result<(), Stop> {
        let in_a_list = steps > self.path.len();
        self.next = Next::Comma;
        self.arrived |= steps >= self.path.len() || steps > 0 && matches!(byte, Some(b'[' | b'{' | b'n' | b'f'));
        match byte {
            Some(b'[') if !in_a_list => {
                let named = self.path.get(steps).is_some_and(|step| step != "*");
                self.open(Open { object: false, steps: if named { steps } else { steps + 1 }, keyed: false })
            }
            Some(b'{') if steps < self.path.len() => self.open(Open { object: true, steps, keyed: false }),
            _ if steps < self.path.len() => {
                self.lies_beside(byte, input)?;
                self.pass_by(byte, input)
            }
            _ => {
                let number = self.number + 1;
                let at_hand = self.buffer.len() - self.at;
                if let Some(length) = self.straight(number, self.at..self.buffer.len(), rows) {
                    (self.at, self.number) = (self.at + length, number);
                    return Ok(());
                }
                match self.pass_over(LONGEST_ROW, input)? {
                    Passed::TooLong(head) => rows.rejects.push(too_long(number, &head)),
                    // It went on beyond what was at hand.
                    Passed::Whole(range) if range.len() >= at_hand && self.straight(number, range.clone(), rows).is_some() => {}
                    Passed::Whole(range) => {
                        let text = text_of(&self.buffer[range]);
                        match serde_json::from_str::<Value>(&text) {
                            Ok(Value::Null) if !in_a_list => return Ok(()),
                            Ok(value) => self.falling = push(number, &self.keys, value, &self.row, rows),
                            Err(wrong) => rows.reject(number, format!("the row is not JSON: {wrong}"), text.as_bytes()),
                        }
                    }
                }
                self.number = number;
                Ok(())
            }
        }
    }

    /// Adds the row that begins there, and says how long it is.
    fn straight(&self, number: u64, range: Range<usize>, rows: &mut Gathered) -> Option<usize> {
        let begins = self.buffer.get(range).filter(|_| self.row.each.is_empty())?;
        straight::row(begins, number, &self.keys, |end| end <= LONGEST_ROW, |_, _| false, rows)
    }

    fn open(&mut self, what: Open) -> Result<(), Stop> {
        if self.open.len() == DEEPEST_PATH {
            return Err(Stop::NotJson("lists and objects lie too deep in each other"));
        }
        self.open.push(what);
        self.at += 1;
        self.next = Next::First;
        Ok(())
    }

    /// The first thing in a list or an object, or its end at once.
    fn enter<R: Read>(&mut self, byte: Option<u8>, input: &mut Decoded<R>) -> Result<(), Stop> {
        if matches!(byte, Some(b']' | b'}')) { self.close(byte) } else { self.item(input) }
    }

    /// What follows a value: another one, or the end of what it is in.
    fn go_on<R: Read>(&mut self, byte: Option<u8>, input: &mut Decoded<R>) -> Result<(), Stop> {
        let Some(inner) = self.open.last_mut() else {
            self.next = Next::Nothing;
            return byte.map_or(Ok(()), |_| Err(Stop::NotJson("something follows its end")));
        };
        if std::mem::take(&mut inner.keyed) {
            self.keys.pop();
        }
        match byte {
            Some(b',') => {
                self.at += 1;
                self.item(input)
            }
            Some(b']' | b'}') => self.close(byte),
            Some(_) => Err(Stop::NotJson("a comma or an end is missing")),
            None => Err(Stop::NotJson("it ends too early")),
        }
    }

    fn close(&mut self, byte: Option<u8>) -> Result<(), Stop> {
        let object = self.open.pop().is_some_and(|inner| inner.object);
        if object != (byte == Some(b'}')) {
            return Err(Stop::NotJson("what is opened and what is closed differ"));
        }
        self.at += 1;
        self.next = Next::Comma;
        Ok(())
    }

    /// A value in what is open, in an object with its key before it.
    fn item<R: Read>(&mut self, input: &mut Decoded<R>) -> Result<(), Stop> {
        let inner = *self.open.last().expect("only called within something");
        if !inner.object {
            self.next = Next::Value(inner.steps);
            return Ok(());
        }
        let key = self.key(input)?;
        match self.path.get(inner.steps).map(String::as_str) {
            Some("*") => {
                self.keys.push(key);
                self.open.last_mut().expect("as above").keyed = true;
                self.next = Next::Value(inner.steps + 1);
            }
            Some(step) if step == key => self.next = Next::Value(inner.steps + 1),
            _ => {
                let byte = self.peek(input)?;
                self.lies_beside(byte, input)?;
                self.pass_by(byte, input)?;
                self.next = Next::Comma;
            }
        }
        Ok(())
    }

    /// A key and the colon after it.
    fn key<R: Read>(&mut self, input: &mut Decoded<R>) -> Result<String, Stop> {
        const NO_KEY: Stop = Stop::NotJson("an object's key is missing");
        if self.peek(input)? != Some(b'"') {
            return Err(NO_KEY);
        }
        let Passed::Whole(range) = self.pass_over(LONGEST_KEY, input)? else {
            return Err(Stop::NotJson("an object's key is too long"));
        };
        let key = serde_json::from_str(&text_of(&self.buffer[range])).or(Err(NO_KEY))?;
        if self.peek(input)? != Some(b':') {
            return Err(Stop::NotJson("a colon is missing after an object's key"));
        }
        self.at += 1;
        Ok(key)
    }

    /// Remembers the value that begins here, but for a null.
    fn lies_beside<R: Read>(&mut self, begins: Option<u8>, input: &mut Decoded<R>) -> io::Result<()> {
        if begins != Some(b'n') && self.beside.is_none() {
            self.read_ahead(input)?;
            self.beside = Some(self.head(self.at));
        }
        Ok(())
    }

    /// Sees to it that as much is at hand as a reject keeps.
    fn read_ahead<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<()> {
        while self.buffer.len() - self.at < LONGEST_RAW && self.read_on(input)? {}
        Ok(())
    }

    /// Passes over a value that holds no rows. Of lists, objects and texts only the end is looked for.
    fn pass_by<R: Read>(&mut self, begins: Option<u8>, input: &mut Decoded<R>) -> Result<(), Stop> {
        match (begins, self.pass_over(LONGEST_KEY, input)?) {
            (Some(b'[' | b'{' | b'"'), _) => Ok(()),
            (_, Passed::Whole(range)) if serde_json::from_slice::<Value>(&self.buffer[range.clone()]).is_ok() => Ok(()),
            _ => Err(Stop::NotJson("a value is none")),
        }
    }

    /// Passes over the value that begins here, keeping it in the buffer as long as it is not longer than the limit.
    fn pass_over<R: Read>(&mut self, limit: usize, input: &mut Decoded<R>) -> Result<Passed, Stop> {
        let mut scan = Scan::default();
        let mut head = None;
        let mut scanned = self.at;
        loop {
            if let Some(length) = scan.end(&self.buffer[scanned..], self.ended) {
                let range = self.at..scanned + length;
                self.at = range.end;
                return match head {
                    Some(head) => Ok(Passed::TooLong(head)),
                    None if range.is_empty() => Err(Stop::NotJson("a value is missing")),
                    None if range.len() > limit => Ok(Passed::TooLong(self.head(range.start))),
                    None => Ok(Passed::Whole(range)),
                };
            }
            if self.ended {
                return Err(Stop::NotJson("it ends too early"));
            }
            if self.buffer.len() - self.at > limit {
                head.get_or_insert_with(|| self.head(self.at));
                self.at = self.buffer.len();
            }
            scanned = self.buffer.len() - self.at;
            self.read_on(input)?;
        }
    }

    /// How what stands here begins: as much as a reject keeps.
    fn head(&self, at: usize) -> Vec<u8> {
        self.buffer[at..].iter().take(LONGEST_RAW).copied().collect()
    }

    /// The next byte that is not white space.
    fn peek<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<u8>> {
        loop {
            let rest = &self.buffer[self.at..];
            if let Some(white) = rest.iter().position(|byte| !byte.is_ascii_whitespace()) {
                self.at += white;
                return Ok(Some(self.buffer[self.at]));
            }
            self.at = self.buffer.len();
            if !self.read_on(input)? {
                return Ok(None);
            }
        }
    }

    /// Reads more, and forgets what was understood; false at the end.
    fn read_on<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..std::mem::take(&mut self.at));
        self.ended = !input.read_more(&mut self.buffer, input.block)?;
        Ok(true)
    }
}

/// How far one is into a value.
#[derive(Default)]
pub(super) struct Scan {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// Whether it is a number or a word, which ends where something else begins.
    bare: bool,
}

impl Scan {
    /// Where the value ends in these further bytes of it; nothing if it goes on behind them.
    pub(super) fn end(&mut self, bytes: &[u8], last: bool) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.in_text {
                if std::mem::take(&mut self.escaped) {
                    at += 1;
                    continue;
                }
                at += memchr::memchr2(b'"', b'\\', &bytes[at..])? + 1;
                self.escaped = bytes[at - 1] == b'\\';
                self.in_text = self.escaped;
                if self.depth == 0 && !self.in_text {
                    return Some(at);
                }
                continue;
            }
            match byte {
                b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n' if self.depth == 0 => return Some(at),
                b'"' => self.in_text = true,
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' if self.depth == 1 => return Some(at + 1),
                b']' | b'}' => self.depth -= 1,
                _ => self.bare = true,
            }
            at += 1;
        }
        (last && self.bare && self.depth == 0 && !self.in_text).then_some(bytes.len())
    }
}
