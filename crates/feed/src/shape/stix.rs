//! STIX bundles and TAXII pages: what an object says to look for is a row, values that are said of one thing together. A value's
//! column is its object's type and property, `ipv4-addr:value`, `file:hashes.'SHA-256'`.
//!
//! An object of which nothing could be made is a reject: a pattern in another language, or one that says what something is not.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};

use serde_json::json;
use standards::stix::{self, Limits, Object, Observable, Unobservable};

use super::decode::Decoded;
use super::gather::{Cell, Gathered};
use super::whole;
use crate::rows::Rows;

#[derive(Default)]
pub(super) struct Stix {
    objects: Vec<Object>,
    observables: VecDeque<Observable>,
    /// By object, in their order.
    unobservables: Vec<Unobservable>,
    is_read: bool,
}

impl Stix {
    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Gathered::default();
        if !std::mem::replace(&mut self.is_read, true) {
            self.read(input, &mut rows)?;
        }
        while !rows.is_full()
            && let Some(first) = self.observables.pop_front()
        {
            let mut together = vec![first];
            // A thing has one value of a sort; a second one is another thing.
            while self.observables.front().is_some_and(|next| belongs(&together, next)) {
                together.extend(self.observables.pop_front());
            }
            self.row(&together, &mut rows);
        }
        Ok((!rows.is_empty()).then(|| rows.finish()))
    }

    fn read<R: Read>(&mut self, input: &mut Decoded<R>, rows: &mut Gathered) -> io::Result<()> {
        let limits = Limits::default();
        let Some(text) = whole::document(input, limits.bytes)? else { return Ok(()) };
        let document = match stix::read(&text, &limits) {
            Ok(document) => document,
            Err(why) => {
                rows.reject(1, why, text.as_bytes());
                return Ok(());
            }
        };
        for problem in &document.problems {
            whole::reject(rows, &problem.place, &problem.reason, problem.raw);
        }
        (self.objects, self.unobservables) = (document.objects, document.unobservables);
        self.unobservables.sort_by_key(|unread| unread.object);
        let said: HashSet<usize> = document.observables.iter().map(|observable| observable.object).collect();
        for unread in self.unobservables.iter().filter(|unread| !said.contains(&unread.object)) {
            let id = self.objects.get(unread.object).map(|object| object.id.as_str()).unwrap_or_default();
            rows.reject(number(unread.object), format!("{id}: {}", unread.why), unread.text.as_bytes());
        }
        self.observables = document.observables.into();
        Ok(())
    }

    fn row(&self, together: &[Observable], rows: &mut Gathered) {
        let Some(object) = together.first().and_then(|first| self.objects.get(first.object)) else { return };
        let place = together.first().map_or(0, |first| first.object);
        let mut cells: Vec<Cell> = Vec::new();
        let mut raw = String::new();
        for value in together {
            rows.cell(&value.path(), &value.value, false, &mut cells);
            raw += &format!("{}{} = '{}'", if raw.is_empty() { "" } else { " AND " }, value.path(), value.value);
        }
        let mut say = |name: &str, text: &str| {
            if !text.is_empty() {
                rows.cell(name, text, false, &mut cells);
            }
        };
        if let Some(port) = together.iter().find_map(|value| value.port) {
            say("port", &port.to_string());
        }
        let protocol = together.iter().flat_map(|value| &value.protocols).next();
        say("protocol", protocol.map(String::as_str).unwrap_or_default());
        say("object", &object.kind);
        say("id", &object.id);
        let texts = [
            ("name", &object.name),
            ("description", &object.description),
            ("created", &object.created),
            ("modified", &object.modified),
            ("valid_from", &object.valid_from),
            ("valid_until", &object.valid_until),
            ("first_observed", &object.first_observed),
            ("last_observed", &object.last_observed),
        ];
        for (name, text) in texts {
            say(name, text.as_deref().unwrap_or_default());
        }
        say("count", &object.count.map(|count| count.to_string()).unwrap_or_default());
        say("confidence", &object.confidence.map(|confidence| confidence.to_string()).unwrap_or_default());
        say("revoked", if object.revoked { "true" } else { "" });
        say("created_by", object.created_by.as_ref().map(|by| by.name.as_ref().unwrap_or(&by.id).as_str()).unwrap_or_default());
        say("tlp", object.tlp.unwrap_or_default());
        let mut kinds = HashSet::new();
        for about in object.about.iter().filter(|about| kinds.insert(about.kind.as_str())) {
            say(&format!("about.{}", about.kind), about.what.name.as_deref().unwrap_or(&about.what.id));
        }
        let phases: Vec<String> = object.kill_chain_phases.iter().map(|phase| format!("{}:{}", phase.chain, phase.phase)).collect();
        let unread = self.unobservables.iter().skip(self.unobservables.partition_point(|unread| unread.object < place));
        let besides: Vec<String> = unread.take_while(|unread| unread.object == place).map(|unread| unread.text.clone()).collect();
        let lists = [
            ("labels", &object.labels),
            ("indicator_types", &object.indicator_types),
            ("kill_chain_phases", &phases),
            ("markings", &object.other_markings),
            ("urls", &object.urls),
            ("cves", &object.cves),
            // What the pattern says beside these values, such as a file's size.
            ("besides", &besides),
        ];
        for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            rows.cell(name, &json!(list).to_string(), true, &mut cells);
        }
        let raw = rows.text(&raw);
        rows.row(number(place), raw, cells);
    }
}

/// Whether the next value is said of the same thing.
fn belongs(together: &[Observable], next: &Observable) -> bool {
    let is_same = |value: &Observable| value.object == next.object && value.group == next.group;
    together.first().is_some_and(is_same) && !together.iter().any(|value| value.kind == next.kind && value.property == next.property)
}

/// Objects are counted from 1, as lines are.
fn number(place: usize) -> u64 {
    place as u64 + 1
}
