//! MISP events: each attribute is a row, with what its object and its event say. The values of a composite type are columns of
//! their own: a `filename|sha256` has `value.filename` and `value.sha256`.

use std::io::{self, Read};

use event::Tlp;
use self_cell::self_cell;
use serde_json::json;
use standards::misp::{self, Attribute, Document, Event, Limits, Tag};

use super::decode::Decoded;
use super::gather::{Cell, Gathered};
use super::whole;
use crate::rows::Rows;
use crate::table::Feed;

self_cell!(
    /// A document, and the text that it is read from.
    struct Page {
        owner: String,
        #[covariant]
        dependent: Document,
    }
);

#[derive(Default)]
pub(super) struct Misp {
    /// Columns of single tags that the feed's table speaks of: `tag.NAMESPACE`, `galaxy.NAME`.
    of_tags: Vec<String>,
    page: Option<Page>,
    /// The next attribute: its event, and its number in that.
    event: usize,
    attribute: usize,
    /// How many rows there were.
    number: u64,
    is_read: bool,
}

impl Misp {
    pub(super) fn new(feed: &Feed) -> Misp {
        let columns = feed.assignments.iter().map(|assignment| assignment.column.clone());
        let of_tags = columns.filter(|column| column.starts_with("tag.") || column.starts_with("galaxy."));
        Misp { of_tags: of_tags.collect(), ..Misp::default() }
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Gathered::default();
        if !std::mem::replace(&mut self.is_read, true) {
            self.read(input, &mut rows)?;
        }
        if let Some(page) = self.page.take() {
            self.go_on(page.borrow_dependent(), &mut rows);
            self.page = Some(page);
        }
        Ok((!rows.is_empty()).then(|| rows.finish()))
    }

    fn read<R: Read>(&mut self, input: &mut Decoded<R>, rows: &mut Gathered) -> io::Result<()> {
        let limits = Limits::default();
        let Some(text) = whole::document(input, limits.bytes)? else { return Ok(()) };
        let begins: String = text.chars().take(1000).collect();
        match Page::try_new(text, |text| misp::read(text, &limits)) {
            Ok(page) => {
                for problem in &page.borrow_dependent().problems {
                    whole::reject(rows, &problem.place, &problem.reason, problem.raw);
                }
                self.page = Some(page);
            }
            Err(why) => rows.reject(1, why, begins.as_bytes()),
        }
        Ok(())
    }

    fn go_on(&mut self, document: &Document<'_>, rows: &mut Gathered) {
        while let Some(event) = document.events.get(self.event) {
            let mut shared = Vec::new();
            say_event(event, rows, &mut shared);
            rows.share();
            while !rows.is_full() {
                let Some(attribute) = event.attribute(self.attribute) else { break };
                self.attribute += 1;
                self.number += 1;
                match attribute {
                    Ok(attribute) => self.row(event, &attribute, &shared, rows),
                    Err(problem) => rows.reject(self.number, format!("{}: {}", problem.place, problem.reason), problem.raw.as_bytes()),
                }
            }
            if self.attribute < event.attribute_count() {
                return;
            }
            (self.event, self.attribute) = (self.event + 1, 0);
        }
    }

    fn row(&self, event: &Event<'_>, attribute: &Attribute<'_>, shared: &[Cell], rows: &mut Gathered) {
        let mut cells = shared.to_vec();
        let mut say = |name: &str, text: &str| {
            if !text.is_empty() {
                rows.cell(name, text, false, &mut cells);
            }
        };
        say("type", &attribute.kind);
        for part in attribute.parts() {
            say(&format!("value.{}", part.kind), part.value);
        }
        say("category", &attribute.category);
        say("uuid", &attribute.uuid);
        say("comment", &attribute.comment);
        say("to_ids", if attribute.to_ids { "true" } else { "false" });
        say("deleted", if attribute.deleted { "true" } else { "" });
        say("timestamp", &attribute.timestamp.map(|seconds| seconds.to_string()).unwrap_or_default());
        say("first_seen", attribute.first_seen.as_deref().unwrap_or_default());
        say("last_seen", attribute.last_seen.as_deref().unwrap_or_default());
        say("relation", attribute.relation.as_deref().unwrap_or_default());
        if let Some(object) = attribute.object {
            say("object.name", &object.name);
            say("object.uuid", &object.uuid);
            say("object.comment", &object.comment);
        }
        // What is said of the attribute itself comes first: it is nearer than what is said of all.
        let of_object = attribute.object.map_or(&[][..], |object| &object.tags);
        let tags: Vec<&Tag<'_>> = attribute.tags.iter().chain(of_object).chain(&event.tags).collect();
        for column in &self.of_tags {
            say(column, &of_tags(column, &tags).unwrap_or_default());
        }
        if !tags.is_empty() {
            let names: Vec<&str> = tags.iter().map(|tag| tag.name.as_ref()).collect();
            rows.cell("tags", &json!(names).to_string(), true, &mut cells);
        }
        let raw = rows.text(&format!("{} {}", attribute.kind, attribute.value));
        rows.row(self.number, raw, cells);
    }
}

/// What the event says of all its attributes.
fn say_event(event: &Event<'_>, rows: &mut Gathered, cells: &mut Vec<Cell>) {
    let number = |number: Option<u8>| number.map(|number| number.to_string()).unwrap_or_default();
    let said = [
        ("event.uuid", event.uuid.to_string()),
        ("event.info", event.info.to_string()),
        ("event.date", event.date.to_string()),
        ("event.organisation", event.organisation.to_string()),
        ("event.threat_level", number(event.threat_level)),
        ("event.analysis", number(event.analysis)),
        ("event.published", event.published.map(|published| published.to_string()).unwrap_or_default()),
        ("event.timestamp", event.timestamp.map(|seconds| seconds.to_string()).unwrap_or_default()),
    ];
    for (name, text) in said.iter().filter(|(_, text)| !text.is_empty()) {
        rows.cell(name, text, false, cells);
    }
}

/// What the first tag says that is of this column: `tag.NAMESPACE` or `galaxy.NAME`. Of labels that say who may see it the
/// strictest.
fn of_tags(column: &str, tags: &[&Tag<'_>]) -> Option<String> {
    if let Some(galaxy) = column.strip_prefix("galaxy.") {
        let mut clusters = tags.iter().filter_map(|tag| tag.cluster());
        return clusters.find(|(name, _)| *name == galaxy).map(|(_, value)| value.to_owned());
    }
    let namespace = column.strip_prefix("tag.")?;
    if namespace == "tlp" {
        return tags.iter().filter_map(|tag| Tlp::parse(&tag.name)).max().map(|tlp| tlp.name().to_owned());
    }
    let mut triples = tags.iter().filter_map(|tag| tag.triple());
    triples.find(|(name, ..)| *name == namespace).map(|(_, predicate, value)| value.unwrap_or(predicate).to_owned())
}
