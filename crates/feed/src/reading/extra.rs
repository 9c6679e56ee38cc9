//! The `extra` column: one JSON object a row, its keys in the order of the alphabet, so that a provider who moves
//! columns says the same as before.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StringBuilder};
use event::time::{self, Micros};

use super::Refused;
use super::bound::{Bound, ExtraPlan};
use crate::convert::Value;
use crate::json_text;
use crate::rows::Rows;

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
        let plans: Vec<Prepared<'_>> = bound.extras.iter().map(Prepared::new).collect();
        let volatile = bound.extras.iter().any(|plan| plan.volatile);
        let build = |with_volatile: bool| write(&plans, rows, &bound.feed.absent, &added, with_volatile);
        Extra { all: Arc::new(build(true)), stable: volatile.then(|| build(false)) }
    }

    pub(super) fn stable(&self) -> &StringArray {
        self.stable.as_ref().unwrap_or_else(|| self.all.as_any().downcast_ref().expect("built as text"))
    }
}

fn added(refused: &[Refused], stated: &[(usize, Micros)]) -> Added {
    let cells = refused.iter().map(|wrong| (wrong.row, wrong.column.clone(), wrong.value.clone()));
    let times = stated.iter().map(|(row, time)| (*row, "time_stated".to_owned(), time::iso(*time)));
    let mut added: Added = cells.chain(times).collect();
    added.sort();
    added.dedup_by(|one, other| (one.0, &one.1) == (other.0, &other.1));
    added
}

/// A plan with its key as JSON.
struct Prepared<'p> {
    plan: &'p ExtraPlan,
    /// `"key":`
    prefix: String,
}

impl Prepared<'_> {
    fn new(plan: &ExtraPlan) -> Prepared<'_> {
        let mut prefix = String::new();
        json_text::push_string(&mut prefix, &plan.key);
        prefix.push(':');
        Prepared { plan, prefix }
    }
}

fn write(plans: &[Prepared<'_>], rows: &Rows, absent: &[String], added: &Added, with_volatile: bool) -> StringArray {
    let mut builder = StringBuilder::with_capacity(rows.len(), rows.text.len() / 2);
    let mut object = String::new();
    let mut next_added = 0;
    for row in 0..rows.len() {
        object.clear();
        object.push('{');
        let first = next_added;
        while added.get(next_added).is_some_and(|(of, _, _)| *of == row) {
            next_added += 1;
        }
        let mut waiting = added[first..next_added].iter().peekable();
        for prepared in plans.iter().filter(|prepared| with_volatile || !prepared.plan.volatile) {
            let mut kept = false;
            while let Some((_, key, text)) = waiting.next_if(|(_, key, _)| *key <= prepared.plan.key) {
                kept |= *key == prepared.plan.key;
                push_added(&mut object, key, text);
            }
            if !kept {
                push_planned(&mut object, prepared, rows, row, absent);
            }
        }
        for (_, key, text) in waiting {
            push_added(&mut object, key, text);
        }
        if object.len() > 1 {
            // The last comma makes place for the end.
            object.pop();
            object.push('}');
            builder.append_value(&object);
        } else {
            builder.append_null();
        }
    }
    builder.finish()
}

fn push_added(object: &mut String, key: &str, text: &str) {
    json_text::push_string(object, key);
    object.push(':');
    json_text::push_string(object, text);
    object.push(',');
}

#[inline]
fn push_planned(object: &mut String, prepared: &Prepared<'_>, rows: &Rows, row: usize, absent: &[String]) {
    for rule in &prepared.plan.rules {
        match rule.evaluate(rows, row, absent) {
            Value::None => continue,
            Value::Text(text) => {
                object.push_str(&prepared.prefix);
                json_text::push_string(object, &text);
            }
            Value::Json(json) => {
                object.push_str(&prepared.prefix);
                object.push_str(&json);
            }
            Value::Time(time) => {
                object.push_str(&prepared.prefix);
                json_text::push_string(object, &time::iso(time));
            }
        }
        object.push(',');
        return;
    }
}
