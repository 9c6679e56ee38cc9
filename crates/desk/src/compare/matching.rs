//! Partners among events that are about the same thing: those that say the same first, then the nearest.

use std::collections::HashMap;

use event::time::{self, Micros};

use super::explain::{Cause, Explainer};
use super::record::{Record, cut};

/// What became of a group.
#[derive(Debug, Default)]
pub(super) struct Matched {
    pub(super) same: u64,
    pub(super) differing: u64,
    /// On either side those that have no partner, and need none.
    pub(super) explained: [u64; 2],
    /// Cause, field, and what both say.
    pub(super) differences: Vec<(Cause, String, String, String)>,
    pub(super) left: [Vec<Record>; 2],
}

impl Matched {
    pub(super) fn nobody(left: [Vec<Record>; 2]) -> Matched {
        Matched { left, ..Matched::default() }
    }
}

/// Fields and what they say.
type Said = Vec<(String, String)>;

/// Each is compared with so many of the other side, nearest in time.
const WINDOW: usize = 24;

/// What two may cost, differing, to be partners: by round.
const MOST_COST: [u32; 4] = [120, 60, 60, 40];

/// Fields that say what an event is: where they differ without a known cause it is more likely another one.
const IDENTITY: [&str; 14] = [
    "source.url",
    "source.fqdn",
    "source.ip",
    "source.port",
    "source.network",
    "source.account",
    "destination.ip",
    "destination.port",
    "destination.fqdn",
    "destination.url",
    "classification.type",
    "malware.name",
    "malware.hash.sha256",
    "malware.hash.md5",
];

pub(super) fn match_group(sides: [Vec<Record>; 2], round: usize, is_list: bool, explainer: &Explainer<'_>) -> Matched {
    let mut matched = Matched::default();
    let [theirs, ours] = sides;
    let mut theirs: Vec<Option<Record>> = theirs.into_iter().map(Some).collect();
    let mut ours: Vec<Option<Record>> = ours.into_iter().map(Some).collect();
    // Days on which either side has the thing, for what is said more often than once.
    let mut known: HashMap<Said, Vec<Micros>> = HashMap::new();
    for record in theirs.iter().chain(&ours).flatten() {
        known.entry(content(record)).or_default().extend(record.at);
    }

    // Those that say the same.
    let mut by_content: HashMap<(Option<Micros>, Said), Vec<usize>> = HashMap::new();
    for (place, record) in ours.iter().enumerate() {
        let record = record.as_ref().expect("not taken yet");
        by_content.entry((record.at, every(record))).or_default().push(place);
    }
    for there in &mut theirs {
        let record = there.as_ref().expect("not taken yet");
        if let Some(place) = by_content.get_mut(&(record.at, every(record))).and_then(Vec::pop) {
            (*there, ours[place]) = (None, None);
            matched.same += 1;
        }
    }

    // The nearest, the cheapest first.
    let mut places: Vec<usize> = (0..ours.len()).filter(|place| ours[*place].is_some()).collect();
    places.sort_by_key(|place| ours[*place].as_ref().and_then(|record| record.at));
    let mut pairs: Vec<(u32, usize, usize)> = Vec::new();
    for (one, record) in theirs.iter().enumerate() {
        let Some(there) = record else { continue };
        let start = places.partition_point(|place| ours[*place].as_ref().and_then(|record| record.at) < there.at);
        let from = start.saturating_sub(WINDOW / 2);
        for other in places.iter().skip(from).take(WINDOW) {
            let here = ours[*other].as_ref().expect("those that are left");
            let cost = cost(&explainer.differences(there, here, is_list));
            let is_likely = round < 3 || agree(there, here) >= 2;
            if cost <= MOST_COST[round.min(3)] && is_likely {
                pairs.push((cost, one, *other));
            }
        }
    }
    pairs.sort_unstable();
    for (_, one, other) in pairs {
        if theirs[one].is_none() || ours[other].is_none() {
            continue;
        }
        let (Some(there), Some(here)) = (theirs[one].take(), ours[other].take()) else { continue };
        let found = explainer.differences(&there, &here, is_list);
        match found.is_empty() {
            true => matched.same += 1,
            false => matched.differing += 1,
        }
        matched.differences.extend(found.into_iter().map(|found| (found.cause, found.field, cut(&found.there), cut(&found.here))));
    }

    // What is said more often on one side, and the same.
    for (side, records) in [theirs, ours].into_iter().enumerate() {
        for record in records.into_iter().flatten() {
            match again(&record, side, is_list, &known) {
                Some(cause) => {
                    matched.explained[side] += 1;
                    let (there, here) = if side == 0 { (record.shown(), String::new()) } else { (String::new(), record.shown()) };
                    matched.differences.push((cause, String::new(), there, here));
                }
                None => matched.left[side].push(record),
            }
        }
    }
    matched
}

/// All that it says, but when.
fn every(record: &Record) -> Said {
    record.fields.iter().map(|(name, text)| (name.clone(), text.clone())).collect()
}

/// What makes it this event, but when: what the other side calls the same way.
fn content(record: &Record) -> Said {
    let said = IDENTITY.iter().filter_map(|name| Some(((*name).to_owned(), super::record::canonical(name, record.get(name)?))));
    // Names and addresses may have come by enrichment on one side.
    let has_url = record.get("source.url").is_some();
    said.filter(|(name, _)| !has_url || !["source.fqdn", "source.ip", "source.port"].contains(&name.as_str())).collect()
}

/// Why there are more of it on this side, if its like is known.
fn again(record: &Record, side: usize, is_list: bool, known: &HashMap<Said, Vec<Micros>>) -> Option<Cause> {
    let times = known.get(&content(record))?;
    let at = record.at?;
    let same_moment = times.iter().filter(|time| **time == at).count() > 1;
    let same_day = times.iter().filter(|time| time::day(**time) == time::day(at)).count() > 1;
    match side {
        0 if is_list && same_day => Some(Cause::OnceADay),
        0 if same_moment => Some(Cause::SaidTwice),
        1 if is_list && times.len() > 1 => Some(Cause::EachDay),
        _ => None,
    }
}

fn cost(found: &[super::explain::Found]) -> u32 {
    found
        .iter()
        .map(|found| match found.cause.is_explained() {
            true => 1,
            false if IDENTITY.contains(&found.field.as_str()) => 40,
            false if found.field == "time.source" => 30,
            false => 4,
        })
        .sum()
}

/// How many fields that say what an event is, both have alike.
fn agree(there: &Record, here: &Record) -> usize {
    let alike = |name: &&&str| there.get(name).is_some() && there.get(name) == here.get(name);
    IDENTITY.iter().filter(|name| **name != "classification.type").filter(alike).count()
}
