//! Events as IntelMQ's JSON: read again by the table for it, they say the same.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use event::Reject;
use feed::{Feed, Reader, Splitter, intelmq};
use serde_json::Value;

use crate::report::{self, ARRIVAL, catalog, feed_and_report};

pub(crate) fn fuzz(input: &[u8]) {
    static FEEDS: OnceLock<Vec<&Feed>> = OnceLock::new();
    let feeds = FEEDS.get_or_init(|| catalog().feeds().collect());
    let Some((feed, report)) = feed_and_report(feeds, input) else { return };
    let events = catalog().feed("intelmq/events").expect("it is one of ours");
    let (written, _) = read(feed, report);
    let (again, rejects) = read(events, written.as_bytes());
    // What an asset is, each table says for itself: this one knows fewer than all others together.
    let no_assets: Vec<u64> =
        rejects.into_iter().filter(|reject| reject.reason.contains("no source.url")).map(|reject| reject.line).collect();
    let kept = |(line, number): (&str, u64)| (!no_assets.contains(&number)).then(|| format!("{line}\n"));
    let written: String = written.lines().zip(1..).filter_map(kept).collect();
    // An object in `extra` becomes its parts, once.
    let is_field = |name: &str| !name.starts_with("extra.");
    report::require_same(&sorted(&again, is_field), &sorted(&written, is_field), "read again, and written");
    let (third, rejects) = read(events, again.as_bytes());
    assert!(rejects.is_empty(), "{rejects:?}");
    report::require_same(&sorted(&third, |_| true), &sorted(&again, |_| true), "read once more, and written");
}

/// All events of a report as they are written, a line each, and what was none.
fn read(feed: &Feed, report: &[u8]) -> (String, Vec<Reject>) {
    let (mut splitter, mut reader, mut out, mut rejects) =
        (Splitter::new(feed, report), Reader::new(feed, ARRIVAL), String::new(), Vec::new());
    while let Some(rows) = splitter.next_rows().expect("reads from memory") {
        let piece = reader.read(rows);
        intelmq::write(|_| Some(feed), &piece.events, &mut out);
        rejects.extend(piece.rejects);
    }
    (out, rejects)
}

/// The lines, with what each says in the order of names. A text's white space is not read, so it does not count.
fn sorted(written: &str, counts: impl Fn(&str) -> bool) -> Vec<String> {
    let object = |line: &str| {
        let object: BTreeMap<String, Value> = serde_json::from_str(line).expect("an object");
        let trimmed = |value| match value {
            Value::String(text) => Value::String(text.trim_matches(|sign| sign <= ' ').to_owned()),
            value => value,
        };
        object.into_iter().filter(|(name, _)| counts(name)).map(|(name, value)| format!("{name}: {}\n", trimmed(value))).collect()
    };
    written.lines().map(object).collect()
}
