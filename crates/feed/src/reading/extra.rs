//! The `extra` column: one JSON object a row, its keys in the order of the alphabet, so that a provider who moves
//! columns says the same as before.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use event::Texts;
use event::time::{self, Micros};

use super::Refused;
use super::bound::{Bound, ExtraPlan, Rule};
use crate::convert::{Absent, Value};
use crate::json_text;
use crate::rows::{Rows, Span};

pub(super) struct Extra {
    pub(super) all: ArrayRef,
    /// Without what is volatile, where anything is.
    stable: Option<StringArray>,
}

/// What is in a row's `extra` though no rule put it there: cells that their fields refused, a time that is not the
/// event's. By row, then key.
type Added = Vec<(usize, String, String)>;

impl Extra {
    pub(super) fn build(bound: &Bound<'_>, rows: &Rows, refused: &[Refused], stated: &[(usize, Micros)]) -> Extra {
        let added = added(refused, stated);
        let plans: Vec<Prepared<'_>> = bound.extras.iter().map(|plan| Prepared::new(plan, rows)).collect();
        let volatile = bound.extras.iter().any(|plan| plan.volatile);
        let build = |with_volatile: bool| write(&plans, rows, &bound.feed.absent, &added, with_volatile);
        Extra { all: Arc::new(build(true)), stable: volatile.then(|| build(false)) }
    }

    pub(super) fn stable(&self) -> &StringArray {
        self.stable.as_ref().unwrap_or_else(|| self.all.as_any().downcast_ref().expect("built as text"))
    }
}

/// What a row stated as its time that cannot be.
const TIME_STATED: &str = "time_stated";

fn added(refused: &[Refused], stated: &[(usize, Micros)]) -> Added {
    let key = |wrong: &Refused| if wrong.is_no_time() { TIME_STATED.to_owned() } else { wrong.column.clone() };
    let cells = refused.iter().map(|wrong| (wrong.row, key(wrong), wrong.value.clone()));
    let times = stated.iter().map(|(row, time)| (*row, TIME_STATED.to_owned(), time::iso(*time)));
    let mut added: Added = cells.chain(times).collect();
    added.sort();
    added.dedup_by(|one, other| (one.0, &one.1) == (other.0, &other.1));
    added
}

/// A plan with its key as JSON.
struct Prepared<'p> {
    plan: &'p ExtraPlan,
    /// `,"key":"`, of which the comma or the last quote may be left out, and white space to copy it fast.
    key: String,
    length: usize,
    /// Where the cells stand, where there is one rule and it reads cells.
    by_cells: Option<(&'p Rule, Vec<Span>)>,
}

impl<'p> Prepared<'p> {
    fn new(plan: &'p ExtraPlan, rows: &Rows) -> Prepared<'p> {
        let mut key = String::from(",");
        json_text::push_string(&mut key, &plan.key);
        key.push_str(":\"");
        let length = key.len();
        key.push_str(&" ".repeat(64));
        let by_cells = match plan.rules.as_slice() {
            [rule] if rule.reads_cells(rows) => Some((rule, rule.cells(rows))),
            _ => None,
        };
        Prepared { plan, key, length, by_cells }
    }
}

fn write(plans: &[Prepared<'_>], rows: &Rows, absent: &Absent, added: &Added, with_volatile: bool) -> StringArray {
    let mut object = Object { texts: Texts::with_capacity(rows.len(), rows.text.len() / 2), empty: true, scratch: String::new() };
    let plans: Vec<&Prepared<'_>> = plans.iter().filter(|prepared| with_volatile || !prepared.plan.volatile).collect();
    let mut next_added = 0;
    for row in 0..rows.len() {
        let first = next_added;
        while added.get(next_added).is_some_and(|(of, _, _)| *of == row) {
            next_added += 1;
        }
        let mut waiting = added[first..next_added].iter().peekable();
        for prepared in &plans {
            let mut kept = false;
            while let Some((_, key, text)) = waiting.next_if(|(_, key, _)| *key <= prepared.plan.key) {
                kept |= *key == prepared.plan.key;
                object.push_added(key, text);
            }
            if !kept {
                object.push_planned(prepared, rows, row, absent);
            }
        }
        for (_, key, text) in waiting {
            object.push_added(key, text);
        }
        object.end();
    }
    object.texts.finish()
}

/// The object of one row after the other.
struct Object {
    texts: Texts,
    /// Whether the row's has no key yet.
    empty: bool,
    scratch: String,
}

impl Object {
    #[inline]
    fn push_planned(&mut self, prepared: &Prepared<'_>, rows: &Rows, row: usize, absent: &Absent) {
        let Some((rule, cells)) = &prepared.by_cells else {
            let mut values = prepared.plan.rules.iter().map(|rule| rule.evaluate(rows, row, absent));
            let value = values.find(|value| *value != Value::None).unwrap_or(Value::None);
            return self.push_value(prepared, value);
        };
        let cell = cells[row];
        if cell.is_empty() {
            return;
        }
        if rule.is_direct() && rows.plain {
            self.push_key(prepared, true);
            self.texts.open().push_piece(&rows.text, cell.range());
            self.texts.open().push("\"");
        } else {
            self.push_value(prepared, rule.convert(rows.text(cell), rows, row, absent));
        }
    }

    fn push_value(&mut self, prepared: &Prepared<'_>, value: Value<'_>) {
        if value != Value::None {
            self.push_key(prepared, false);
        }
        match value {
            Value::None => {}
            Value::Text(text) | Value::Address(text) | Value::Wrong(_, text) => self.push_string(&text),
            Value::Json(json) => self.texts.open().push(&json),
            Value::Time(time) => self.push_string(&time::iso(time)),
        }
    }

    /// The key, and the quote that begins a text.
    #[inline]
    fn push_key(&mut self, prepared: &Prepared<'_>, quote: bool) {
        let end = prepared.length - usize::from(!quote);
        let mut open = self.texts.open();
        if self.empty {
            self.empty = false;
            open.push("{");
            open.push_piece(&prepared.key, 1..end);
        } else {
            open.push_piece(&prepared.key, 0..end);
        }
    }

    fn push_added(&mut self, key: &str, text: &str) {
        self.texts.open().push(if self.empty { "{" } else { "," });
        self.empty = false;
        self.push_string(key);
        self.texts.open().push(":");
        self.push_string(text);
    }

    fn push_string(&mut self, text: &str) {
        self.scratch.clear();
        json_text::push_string(&mut self.scratch, text);
        self.texts.open().push(&self.scratch);
    }

    #[inline]
    fn end(&mut self) {
        if self.empty {
            self.texts.push_null();
        } else {
            self.texts.open().push("}");
            self.texts.end();
            self.empty = true;
        }
    }
}
