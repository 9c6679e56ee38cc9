//! A row that falls into several: a list in it has a row for each of its elements, with all else that the row says.

use event::reject::LONGEST_RAW;
use serde_json::Value;

use super::{Cell, Gathered, Size, flatten, name_keys};

/// All rows together repeat this much of what is beside the list at most, in bytes: else a row is a reject.
const MOST_REPEATED: usize = 256 << 20;

pub(super) struct Fall {
    number: u64,
    keys: Vec<String>,
    /// What is beside the list.
    outer: Value,
    size: Size,
    /// How the row begins: as much as a reject keeps.
    raw: String,
    /// The list's name.
    name: String,
    elements: std::vec::IntoIter<Value>,
}

impl Fall {
    /// Of a row with a list where these steps lead. Any other row comes back.
    pub(super) fn new(number: u64, keys: &[String], mut row: Value, each: &[String], raw: &str) -> Result<Fall, Value> {
        let Some(elements) = take_list(&mut row, each) else { return Err(row) };
        let raw = raw.get(..raw.floor_char_boundary(LONGEST_RAW)).unwrap_or_default().to_owned();
        let size = Size::of(&row, 0, 0);
        Ok(Fall { number, keys: keys.to_vec(), outer: row, size, raw, name: each.join("."), elements: elements.into_iter() })
    }

    /// Adds rows until the block is full, one at least.
    fn go_on(&mut self, rows: &mut Gathered) {
        let raw = rows.text(&self.raw);
        let mut outer: Vec<Cell> = Vec::new();
        name_keys(&self.keys, rows, &mut outer);
        let before = rows.text("");
        flatten("", &self.outer, 0, rows, &mut outer);
        let length = (rows.text("").start - before.start) as usize;
        if length.saturating_mul(self.elements.len()) > MOST_REPEATED {
            let why = format!("{} has {} elements, too many for a row so long", self.name, self.elements.len());
            self.elements = Vec::new().into_iter();
            return rows.reject(self.number, why, self.raw.as_bytes());
        }
        rows.share();
        loop {
            let Some(element) = self.elements.next() else { return };
            let own = Size::of(&element, self.name.len(), 0);
            if (Size { values: self.size.values + own.values, names: self.size.names + own.names }).is_too_large() {
                rows.reject(self.number, format!("{} and what is beside it are more than a row may hold", self.name), self.raw.as_bytes());
            } else {
                let mut cells = outer.clone();
                flatten(&self.name, &element, 0, rows, &mut cells);
                rows.row(self.number, raw, cells);
            }
            if rows.is_full() {
                return;
            }
        }
    }
}

/// Goes on with a row that is falling, if there is one, and forgets it when all of it is there.
pub(super) fn go_on(falling: &mut Option<Fall>, rows: &mut Gathered) {
    if let Some(fall) = falling {
        fall.go_on(rows);
        if fall.elements.len() == 0 {
            *falling = None;
        }
    }
}

/// The list that lies where the steps lead, if it has elements, taken out of the row.
fn take_list(row: &mut Value, each: &[String]) -> Option<Vec<Value>> {
    let (last, way) = each.split_last()?;
    let mut around = row;
    for step in way {
        around = around.get_mut(step)?;
    }
    let around = around.as_object_mut()?;
    around.get(last)?.as_array().filter(|list| !list.is_empty())?;
    match around.shift_remove(last) {
        Some(Value::Array(elements)) => Some(elements),
        _ => None,
    }
}
