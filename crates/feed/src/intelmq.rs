//! IntelMQ's JSON, written: one event a line, flat, dotted names, those of `extra` too.

use std::collections::HashSet;

use arrow::array::{Array, RecordBatch};
use event::batch::{self, Cell};
use event::{Field, Type, taxonomy, time};

use crate::json_text;
use crate::table::Feed;

/// Appends one line for each event of the batch; `feed_of` knows a feed by the id that the batch gives it, if any.
pub fn write<'f>(feed_of: impl Fn(&str) -> Option<&'f Feed>, events: &RecordBatch, out: &mut String) {
    let columns: Vec<_> = batch::fields(events).collect();
    let ids = events.column_by_name("feed");
    for row in 0..events.num_rows() {
        out.push('{');
        for (field, array) in &columns {
            match batch::cell(array, row) {
                Some(Cell::Text(object)) if *field == Field::EXTRA => push_extra(out, object),
                Some(cell) => {
                    push_key(out, field.name());
                    push_cell(out, *field, cell);
                    out.push(',');
                }
                None => {}
            }
        }
        let id = match ids.and_then(|ids| batch::cell(ids, row)) {
            Some(Cell::Text(id)) => id,
            _ => "",
        };
        if let Some(feed) = feed_of(id) {
            push_feed(out, feed, |field| columns.iter().any(|(said, array)| *said == field && array.is_valid(row)));
        }
        if out.ends_with(',') {
            out.pop();
        }
        out.push_str("}\n");
    }
}

fn push_key(out: &mut String, key: &str) {
    json_text::push_string(out, key);
    out.push(':');
}

fn push_extra(out: &mut String, object: &str) {
    let extra: serde_json::Map<String, serde_json::Value> = serde_json::from_str(object).unwrap_or_default();
    let mut keys = HashSet::new();
    for (key, value) in extra {
        let key = allowed_key(&key);
        // Of two that become one, the later is numbered.
        let numbered = (2..).map(|number| format!("{key}_{number}"));
        let key = std::iter::once(key.clone()).chain(numbered).find(|key| keys.insert(key.clone())).expect("numbers do not end");
        push_key(out, &format!("{}.{key}", Field::EXTRA.name()));
        out.push_str(&value.to_string());
        out.push(',');
    }
}

/// A key of `extra` as IntelMQ allows it: lower case letters of ASCII, digits and `_`, in parts with dots between.
fn allowed_key(key: &str) -> String {
    let allowed = |sign: char| if sign.is_ascii_alphanumeric() { sign.to_ascii_lowercase() } else { '_' };
    let parts = key.split('.').filter(|part| !part.is_empty()).map(|part| part.chars().map(allowed).collect());
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "_".to_owned() } else { parts.join(".") }
}

/// What IntelMQ's events say of their feed, where the event itself does not.
fn push_feed(out: &mut String, feed: &Feed, says: impl Fn(Field) -> bool) {
    for (field, value) in [(Field::FEED_NAME, &feed.name), (Field::FEED_PROVIDER, &feed.provider_name)] {
        if !says(field) {
            push_key(out, field.name());
            json_text::push_string(out, value);
            out.push(',');
        }
    }
}

fn push_cell(out: &mut String, field: Field, cell: Cell<'_>) {
    match cell {
        Cell::Text(text) if field.kind() == Type::ClassificationType => {
            json_text::push_string(out, taxonomy::classification(text).map_or(text, |row| row.intelmq_name()));
        }
        // IntelMQ's labels are version 1's, in capitals.
        Cell::Text(text) if field.kind() == Type::Tlp => {
            json_text::push_string(out, if text == "clear" { "WHITE" } else { text }.to_uppercase().as_str())
        }
        Cell::Text(text) => json_text::push_string(out, text),
        Cell::Integer(number) => out.push_str(&number.to_string()),
        Cell::Float(number) => out.push_str(&json_text::float(number)),
        Cell::Boolean(truth) => out.push_str(if truth { "true" } else { "false" }),
        Cell::Time(micros) => json_text::push_string(out, &time::iso(micros).replace('Z', "+00:00")),
        Cell::Bytes(bytes) => json_text::push_string(out, &event::id::hex(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(object: &str, expected: &str) {
        let mut out = String::new();
        push_extra(&mut out, object);
        assert_eq!(out, expected);
    }

    #[test]
    fn keys_of_extra_are_those_that_the_format_allows() {
        check(r#"{"tag":"a","stated.source.asn":1}"#, r#""extra.tag":"a","extra.stated.source.asn":1,"#);
        check(r#"{"Tag":1,"TAG":2,"tag_2":3}"#, r#""extra.tag":1,"extra.tag_2":2,"extra.tag_2_2":3,"#);
        check(r#"{"HTTP Server":true,"größe":[1],"a..b":{"C":2}}"#, r#""extra.http_server":true,"extra.gr__e":[1],"extra.a.b":{"C":2},"#);
        check(r#"{"":1,".":2}"#, r#""extra._":1,"extra.__2":2,"#);
    }
}
