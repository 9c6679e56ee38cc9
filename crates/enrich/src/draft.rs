//! A batch on its way: the columns set so far, and what a feed stated that one of them replaced.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and, is_not_null, kernels::cmp::distinct, kernels::zip::zip};
use event::batch::{self, Cell};
use event::json_text::push_string;
use event::{Field, Texts};

#[derive(Debug)]
pub(crate) struct Draft<'b> {
    pub(crate) batch: &'b RecordBatch,
    set: Vec<(Field, ArrayRef)>,
    overridden: Vec<Overridden>,
}

/// What a feed stated in a column, and the rows in which a table says otherwise.
#[derive(Debug)]
struct Overridden {
    field: Field,
    stated: ArrayRef,
    rows: BooleanArray,
}

impl<'b> Draft<'b> {
    pub(crate) fn of(batch: &'b RecordBatch) -> Draft<'b> {
        Draft { batch, set: Vec::new(), overridden: Vec::new() }
    }

    /// The column as it stands.
    pub(crate) fn column(&self, field: Field) -> Option<&ArrayRef> {
        let set = self.set.iter().find(|(other, _)| *other == field).map(|(_, array)| array);
        set.or_else(|| self.batch.column_by_name(field.column()))
    }

    pub(crate) fn text(&self, field: Field) -> Option<&StringArray> {
        self.column(field).map(|array| array.as_any().downcast_ref().expect("the schema says text"))
    }

    /// Fills gaps: what is there stays.
    pub(crate) fn fill(&mut self, field: Field, ours: ArrayRef) {
        let filled = match self.column(field) {
            Some(stated) if stated.null_count() == 0 => return,
            Some(stated) if stated.null_count() < stated.len() => {
                let known = is_not_null(stated).expect("every array tells its nulls");
                zip(&known, stated, &ours).expect("one column has one type and length")
            }
            _ => ours,
        };
        self.put(field, filled);
    }

    /// Replaces rows that are `known`, by nothing too; a stated value that differs goes to `extra`.
    /// Where `known` is false, `ours` has no value.
    pub(crate) fn replace(&mut self, field: Field, known: &BooleanArray, ours: ArrayRef) {
        let Some(stated) = self.column(field).filter(|stated| stated.null_count() < stated.len()).cloned() else {
            return self.put(field, ours);
        };
        let differs = distinct(&stated, &ours).expect("one column has one type and length");
        let there = is_not_null(&stated).expect("every array tells its nulls");
        let rows = and(&and(&differs, &there).expect("one length"), known).expect("one length");
        let all_known = known.true_count() == known.len();
        self.put(field, if all_known { ours } else { zip(known, &ours, &stated).expect("one column has one type and length") });
        if rows.true_count() > 0 {
            self.overridden.push(Overridden { field, stated, rows });
        }
    }

    fn put(&mut self, field: Field, array: ArrayRef) {
        self.set.retain(|(other, _)| *other != field);
        self.set.push((field, array));
    }

    /// The batch with its promised columns, those that nothing filled empty.
    pub(crate) fn finish(mut self, house: Vec<(&str, ArrayRef)>, tables: &str) -> RecordBatch {
        let rows = self.batch.num_rows();
        if !self.overridden.is_empty() {
            let extra = stated(batch::text(self.batch, Field::EXTRA.column()), &self.overridden, rows);
            self.put(Field::EXTRA, Arc::new(extra));
        }
        let had: Vec<Field> = batch::fields(self.batch).map(|(field, _)| field).collect();
        for field in crate::can_fill(&had) {
            if self.column(field).is_none() {
                self.put(field, new_null_array(&batch::arrow_type(field.kind()), rows));
            }
        }
        let fields = self.set.into_iter().map(|(field, array)| (field.column(), array));
        let tables: ArrayRef = Arc::new(StringArray::new_repeated(tables, rows));
        batch::with_columns(self.batch, fields.chain(house).chain([("tables", tables)]).collect())
    }
}

/// `extra` with what was overridden appended to its objects; other rows are copied as they are.
fn stated(extra: Option<&StringArray>, overridden: &[Overridden], rows: usize) -> StringArray {
    let changed = overridden.iter().map(|column| column.rows.values().clone()).reduce(|one, other| &one | &other);
    let changed = changed.unwrap_or_else(|| BooleanBuffer::new_unset(rows));
    let size = extra.map_or(0, |extra| extra.value_data().len());
    let mut out = Texts::with_capacity(rows, size + changed.count_set_bits() * 32 * overridden.len());
    // A feed that has been through a house like ours states such keys itself: the first word stands.
    let states = extra.is_some_and(|extra| memchr::memmem::find(extra.value_data(), b"\"stated.").is_some());
    let mut keys = String::new();
    for row in 0..rows {
        let before = extra.filter(|extra| extra.is_valid(row)).map(|extra| extra.value(row));
        let open = if changed.value(row) { without_end(before.unwrap_or("{}")) } else { None };
        match (open, before) {
            (Some(open), _) => {
                write_keys(open, overridden, row, states, &mut keys);
                [open, &keys, "}"].into_iter().for_each(|piece| out.open().push(piece));
                out.end();
            }
            (None, Some(before)) => out.push(before),
            (None, None) => out.push_null(),
        }
    }
    out.finish()
}

/// An object without its closing brace.
fn without_end(object: &str) -> Option<&str> {
    object.trim_end().strip_suffix('}').map(str::trim_end).filter(|open| open.starts_with('{'))
}

/// This row's stated values, as they follow on an object that has been opened.
fn write_keys(open: &str, overridden: &[Overridden], row: usize, states: bool, out: &mut String) {
    out.clear();
    for column in overridden.iter().filter(|column| column.rows.value(row)) {
        if states && open.contains(&format!("\"stated.{}\"", column.field)) {
            continue;
        }
        out.push_str(if open.len() + out.len() > 1 { ",\"stated." } else { "\"stated." });
        out.push_str(column.field.name());
        out.push_str("\":");
        push_cell(out, batch::cell(&column.stated, row).expect("only rows with a value are overridden"));
    }
}

fn push_cell(out: &mut String, cell: Cell<'_>) {
    match cell {
        Cell::Text(text) => push_string(out, text),
        Cell::Integer(number) => write!(out, "{number}").expect("a string takes any text"),
        Cell::Float(number) => write!(out, "{number}").expect("a string takes any text"),
        Cell::Boolean(_) | Cell::Time(_) | Cell::Bytes(_) => unreachable!("no table replaces such fields"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(extra: Option<&str>, stated_names: &[Option<&str>], expected: Option<&str>) {
        let column = |name: &Option<&str>, field| Overridden {
            field,
            stated: Arc::new(StringArray::from(vec![*name])),
            rows: BooleanArray::from(vec![name.is_some()]),
        };
        let fields = [Field::SOURCE_AS_NAME, Field::MALWARE_NAME];
        let overridden: Vec<_> = stated_names.iter().zip(fields).map(|(name, field)| column(name, field)).collect();
        let extra = extra.map(|extra| StringArray::from(vec![extra]));
        let found = stated(extra.as_ref(), &overridden, 1);
        assert_eq!(found.iter().next().flatten(), expected);
        if let Some(text) = expected {
            serde_json::from_str::<serde_json::Value>(text).expect("an object is JSON still");
        }
    }

    #[test]
    fn what_a_feed_said_is_appended_to_its_extra() {
        check(None, &[Some("Old Name")], Some(r#"{"stated.source.as_name":"Old Name"}"#));
        check(Some("{}"), &[Some("Old Name")], Some(r#"{"stated.source.as_name":"Old Name"}"#));
        check(Some("{ }\n"), &[Some("Old Name")], Some(r#"{"stated.source.as_name":"Old Name"}"#));
        check(
            Some(r#"{"tag":"{a}"}"#),
            &[Some("Old Name"), Some("zbot")],
            Some(r#"{"tag":"{a}","stated.source.as_name":"Old Name","stated.malware.name":"zbot"}"#),
        );
        check(Some(r#"{"tag":1}"#), &[None, None], Some(r#"{"tag":1}"#));
        check(None, &[None], None);
        check(None, &[Some("a \"b\" \\ c\td 香")], Some(r#"{"stated.source.as_name":"a \"b\" \\ c\td 香"}"#));
    }

    #[test]
    fn what_was_stated_before_stands() {
        check(
            Some(r#"{"stated.malware.name":"zbot"}"#),
            &[Some("Old Name"), Some("zeus")],
            Some(r#"{"stated.malware.name":"zbot","stated.source.as_name":"Old Name"}"#),
        );
    }
}
