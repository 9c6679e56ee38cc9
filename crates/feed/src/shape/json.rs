//! JSON documents and JSON lines: nested values become cells named by their path, `outer.inner`.

mod document;
mod fall;
mod straight;

use std::io::{self, Read};

use serde_json::{Value, json};

pub(super) use self::document::Document;
use self::fall::Fall;
pub(super) use self::straight::Paths;
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
        let is_odd = |name: &str, text: &[u8]| self.extra_as_text && name == "extra" && text.contains(&b'{');
        if self.row.each.is_empty() && straight::row(line.as_bytes(), number, &[], |end| end == line.len(), is_odd, rows).is_some() {
            return true;
        }
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

/// Whether a line is read straight into its cells; then it says what it says the long way.
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(fuzzing), expect(unreachable_pub, reason = "the fuzz target calls it"))]
pub fn is_straight(line: &str) -> bool {
    use std::collections::BTreeMap;
    let cells = |rows: Rows| -> Vec<BTreeMap<String, (String, bool)>> {
        let cell = |row, (column, name): (usize, &String)| {
            rows.has_cell(row, column).then(|| (name.clone(), (rows.whole_cell(row, column).to_owned(), rows.is_json(row, column))))
        };
        (0..rows.len()).map(|row| rows.header.names.iter().enumerate().filter_map(|named| cell(row, named)).collect()).collect()
    };
    let (mut straight, mut long) = (Gathered::default(), Gathered::default());
    // The second time names are known.
    let is_straight =
        (1..3).map(|number| straight::row(line.as_bytes(), number, &[], |end| end == line.len(), |_, _| false, &mut straight));
    let is_straight: Vec<bool> = is_straight.map(|end| end.is_some()).collect();
    assert_eq!(is_straight[0], is_straight[1], "{line}");
    match serde_json::from_str::<Value>(line) {
        Ok(value) if is_straight[0] => {
            for number in 1..3 {
                push(number, &[], value.clone(), &JsonRow::default(), &mut long);
            }
            let (straight, long) = (straight.finish(), long.finish());
            assert!(long.rejects.is_empty(), "{line}");
            assert_eq!(cells(straight), cells(long), "{line}");
        }
        Ok(_) => {}
        Err(wrong) => assert!(!is_straight[0], "{wrong}: {line}"),
    }
    is_straight[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_straight_is_what_the_long_way_reads() {
        let long_number = "1".repeat(18);
        let deep = format!("{}1{}", "{\"a\":".repeat(12), "}".repeat(12));
        let straight = [
            "{}",
            r#"{"a":1}"#,
            r#"{ "a" : -17 , "b" : null , "c":true,"d": "x" }"#,
            r#"{"a":"é \" \\ \u00e9 \ud83d\ude00 \/"}"#,
            r#"{"a":{"b":{"c":""},"d":0},"a.d":1}"#,
            r#"{"a":{"d":2},"a.d":1,"":{"":3}}"#,
            r#"{"a":[],"b":["x","y"],"c":[1, 2.50,{"x":1,"x":2}],"d":["\u0041"],"e":[1234567890123456789]}"#,
            r#"{"a":1.50,"b":1e5,"c":-0,"d":18446744073709551615,"e":123456789012345678901234567890,"f":-0.0,"g":0}"#,
            &format!("{{\"a\":{long_number},\"b\":-{long_number}}}"),
            &format!("{{\"a\":\"{}\",\"b\":\"{}\\n\"}}", "x".repeat(200), "y".repeat(63)),
            &deep,
        ];
        for line in straight {
            assert!(is_straight(line), "{line}");
        }
        let not = [
            "",
            "1",
            "[{}]",
            "{",
            "{}x",
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1},"a":{"c":2}}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{"a" 1}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\t\"}",
            r#"{"a":nul}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":1e999}"#,
            r#"{"a":-}"#,
            r#"{"a":"#,
            &format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100)),
        ];
        for line in not {
            assert!(!is_straight(line), "{line}");
        }
    }
}
