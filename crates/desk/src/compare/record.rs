//! An event of either side in one form: its fields as text, those of `extra` too, by their names with dots.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use event::batch::{self, Cell};
use event::time::{self, Micros};
use event::{Field, Type, value};
use serde_json::{Map, Value};

/// An event, as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) feed: String,
    /// When it happened; of a list, when the list came.
    pub(super) at: Option<Micros>,
    /// What it says of when it happened.
    pub(super) said: Option<Micros>,
    /// When it was received.
    pub(super) observed: Option<Micros>,
    pub(super) fields: BTreeMap<String, String>,
}

/// What is not compared: whose an event is, what a system notes for itself, and the row as it came.
const LEFT_OUT: [&str; 9] =
    ["raw", "__type", "output", "event_hash", "rtir_id", "time.observation", "time.source", "eventdb.id", "extra.eventdb_id"];

/// What an event is about, the first that it says.
const SUBJECTS: [&str; 12] = [
    "source.url",
    "source.fqdn",
    "source.ip",
    "source.network",
    "source.account",
    "source.asn",
    "malware.hash.sha256",
    "malware.hash.sha1",
    "malware.hash.md5",
    "destination.url",
    "destination.fqdn",
    "destination.ip",
];

/// By what partners are looked for, round by round: weaker and weaker.
pub(super) const ROUNDS: [fn(&Record) -> Option<String>; 4] = [Record::subject, Record::host, Record::address, Record::moment];

impl Record {
    pub(super) fn of_json(event: Map<String, Value>, feed: String) -> Record {
        let mut record = Record { feed, at: None, said: None, observed: None, fields: BTreeMap::new() };
        for (key, value) in event {
            match (key.as_str(), &value) {
                ("time.source", Value::String(text)) => record.at = time::parse(text).ok(),
                ("time.observation", Value::String(text)) => record.observed = time::parse(text).ok(),
                ("extra", Value::String(text)) => match serde_json::from_str(text) {
                    Ok(object @ Value::Object(_)) => record.flatten("extra", &object),
                    _ => record.flatten("extra", &value),
                },
                _ => record.flatten(&key, &value),
            }
        }
        record.said = record.at;
        // Whoever says no time means now.
        record.at = record.at.or(record.observed);
        record
    }

    pub(super) fn of_row(batch: &RecordBatch, row: usize, feed: &str) -> Record {
        let mut record = Record { feed: feed.to_owned(), at: None, said: None, observed: None, fields: BTreeMap::new() };
        for (field, array) in batch::fields(batch) {
            match (field, batch::cell(array, row)) {
                (_, None) => {}
                (Field::TIME_SOURCE, Some(Cell::Time(time))) => (record.at, record.said) = (Some(time), Some(time)),
                (Field::TIME_OBSERVATION, Some(Cell::Time(time))) => record.observed = Some(time),
                (Field::EXTRA, Some(Cell::Text(text))) => {
                    let value: Value = serde_json::from_str(text).unwrap_or_default();
                    record.flatten("extra", &value);
                }
                (field, Some(cell)) => {
                    let text = match cell {
                        Cell::Text(text) => text.to_owned(),
                        Cell::Integer(number) => number.to_string(),
                        Cell::Float(number) => number.to_string(),
                        Cell::Boolean(truth) => truth.to_string(),
                        Cell::Time(time) => time::iso(time),
                        Cell::Bytes(bytes) => event::id::hex(bytes),
                    };
                    record.put(field.name(), text);
                }
            }
        }
        record
    }

    fn flatten(&mut self, name: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::String(text) => self.put(name, text.clone()),
            Value::Object(object) => object.iter().for_each(|(key, value)| self.flatten(&format!("{name}.{}", plain_key(key)), value)),
            Value::Number(number) => {
                let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15);
                self.put(name, float.map_or_else(|| number.to_string(), |float| format!("{float:.0}")));
            }
            value => self.put(name, value.to_string()),
        }
    }

    fn put(&mut self, name: &str, text: String) {
        if !text.is_empty() && !LEFT_OUT.contains(&name) && !name.starts_with("feed.") {
            self.fields.insert(name.to_owned(), text);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    fn canonical(&self, name: &str) -> Option<String> {
        self.get(name).map(|text| canonical(name, text))
    }

    /// What it is about: the field, and what that says.
    pub(super) fn about(&self) -> Option<(&'static str, &str)> {
        SUBJECTS.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    pub(super) fn subject(&self) -> Option<String> {
        self.about().map(|(name, text)| canonical(name, text))
    }

    /// The host that it is about.
    fn host(&self) -> Option<String> {
        let of_url = || value::url_host(&self.canonical("source.url")?).map(str::to_owned);
        self.canonical("source.fqdn").or_else(of_url).or_else(|| self.canonical("source.ip"))
    }

    fn address(&self) -> Option<String> {
        self.canonical("source.ip").or_else(|| self.canonical("destination.ip"))
    }

    fn moment(&self) -> Option<String> {
        self.at.map(|at| at.to_string())
    }

    /// As an example, for people.
    pub(super) fn shown(&self) -> String {
        let at = self.at.map(time::iso).unwrap_or_default();
        let about = self.about().map(|(name, text)| format!("{name}={text}"));
        let what = self.get("classification.type").unwrap_or_default();
        cut(&format!("{at} {what} {}", about.unwrap_or_default()))
    }
}

/// No longer than a line of a table bears.
pub(super) fn cut(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST { text.to_owned() } else { format!("{}...", text.chars().take(MOST).collect::<String>()) }
}

/// A key of `extra` as IntelMQ allows it: lower case, and `_` for what it does not.
fn plain_key(key: &str) -> String {
    key.chars().map(|sign| if sign.is_ascii_alphanumeric() || sign == '.' { sign.to_ascii_lowercase() } else { '_' }).collect()
}

/// A value as its field has it here; as it is where it is none.
pub(super) fn canonical(name: &str, text: &str) -> String {
    let Some(field) = Field::named(name) else { return text.to_owned() };
    let text = text.trim();
    let found = match field.kind() {
        Type::Integer => value::integer(text).map(|number| number.to_string()),
        Type::Port => value::port(text).map(|number| number.to_string()),
        Type::Asn => value::asn(text).map(|number| number.to_string()),
        Type::Float | Type::Percent => value::float(text).map(|number| number.to_string()),
        Type::Boolean => value::boolean(text).map(|truth| truth.to_string()),
        Type::Time => time::parse(text).map(time::iso),
        _ => value::text(field, text, &mut String::new()).map(str::to_owned),
    };
    found.unwrap_or_else(|_| text.to_owned())
}
