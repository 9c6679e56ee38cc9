//! Events put aside on disk in parts: those that may be the same are in one part on both sides.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};

use anyhow::{Context, Result};
use event::time::Micros;
use serde_json::{Map, Value};

use super::record::{ROUNDS, Record};

pub(super) const PARTS: usize = 96;

pub(super) struct Spill {
    parts: Vec<Option<BufWriter<File>>>,
    /// How many there are without a key, which go into the parts by turns.
    loose: usize,
}

impl Spill {
    pub(super) fn new() -> Result<Spill> {
        Ok(Spill { parts: (0..PARTS).map(|_| None).collect(), loose: 0 })
    }

    /// Puts a record into the part that the round's key says; without a key into any.
    pub(super) fn push(&mut self, record: &Record, round: usize) -> Result<()> {
        let key = ROUNDS.get(round).and_then(|key| key(record)).unwrap_or_default();
        let part = if key.is_empty() {
            self.loose += 1;
            self.loose % PARTS
        } else {
            let mut hasher = DefaultHasher::new();
            (&record.feed, &key).hash(&mut hasher);
            (hasher.finish() % PARTS as u64) as usize
        };
        let slot = &mut self.parts[part];
        let out = match slot {
            Some(out) => out,
            None => slot.insert(BufWriter::new(tempfile::tempfile().context("making room to compare")?)),
        };
        let fields: Map<String, Value> = record.fields.iter().map(|(name, text)| (name.clone(), Value::String(text.clone()))).collect();
        let line = serde_json::json!([record.feed, key, [record.at, record.said, record.observed], fields]);
        writeln!(out, "{line}").context("putting events aside to compare them")
    }

    /// Hands out a part's records with their keys; as often as it is asked.
    pub(super) fn read(&mut self, part: usize, mut each: impl FnMut(String, Record) -> Result<()>) -> Result<()> {
        let Some(out) = &mut self.parts[part] else { return Ok(()) };
        out.flush().context("putting events aside to compare them")?;
        let mut file = out.get_ref().try_clone()?;
        file.rewind()?;
        for line in BufReader::new(file).lines() {
            let line = line.context("reading events that were put aside")?;
            type Put = (String, String, [Option<Micros>; 3], std::collections::BTreeMap<String, String>);
            let (feed, key, [at, said, observed], fields): Put =
                serde_json::from_str(&line).context("reading events that were put aside")?;
            each(key, Record { feed, at, said, observed, fields })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_key_is_in_no_part_alone() {
        let event = |name: String| serde_json::json!({ "source.fqdn": name }).as_object().expect("an object").clone();
        let mut spill = Spill::new().expect("room");
        for number in 0..10 * PARTS {
            // Names without an address, in the round that goes by addresses.
            spill.push(&Record::of_json(event(format!("n{number}.example")), "a/b".into()), 2).expect("put aside");
        }
        for part in 0..PARTS {
            let mut count = 0;
            let counting = |key: String, _| {
                count += usize::from(key.is_empty());
                Ok(())
            };
            spill.read(part, counting).expect("read");
            assert_eq!(count, 10);
        }
    }
}
