//! Partners among events that are about the same thing: those that say the same first, then the nearest.

use std::collections::{HashMap, HashSet};

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

/// Fields and what they say.
type Said = Vec<(String, String)>;

/// By what partners are looked for within a group.
type Key = (Said, Option<Micros>);

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

/// What both sides have left, until it finds a partner.
type Left = [Vec<Option<Record>>; 2];

pub(super) fn match_group(sides: [Vec<Record>; 2], round: usize, is_list: bool, explainer: &Explainer<'_>) -> Matched {
    let mut matched = Matched::default();
    let contents = sides.each_ref().map(|records| records.iter().map(content).collect::<Vec<Said>>());
    let times = sides.each_ref().map(|records| records.iter().map(|record| record.at).collect::<Vec<_>>());
    let mut left: Left = sides.map(|records| records.into_iter().map(Some).collect());

    // Those that say the same.
    let mut by_content: HashMap<(Option<Micros>, Said), Vec<usize>> = HashMap::new();
    for (place, record) in left[1].iter().enumerate() {
        let record = record.as_ref().expect("not taken yet");
        by_content.entry((record.at, every(record))).or_default().push(place);
    }
    let [theirs, ours] = &mut left;
    for there in theirs {
        let record = there.as_ref().expect("not taken yet");
        if let Some(place) = by_content.get_mut(&(record.at, every(record))).and_then(Vec::pop) {
            (*there, ours[place]) = (None, None);
            matched.same += 1;
        }
    }

    // Those that are the same thing at the same moment, then the same thing, then whatever is near.
    let passes: [fn(&Said, Option<Micros>) -> Key; 3] =
        [|content, at| (content.clone(), at), |content, _| (content.clone(), None), |_, _| (Said::new(), None)];
    for key in passes {
        let mut buckets: HashMap<Key, [Vec<usize>; 2]> = HashMap::new();
        for side in 0..2 {
            for place in (0..left[side].len()).filter(|place| left[side][*place].is_some()) {
                buckets.entry(key(&contents[side][place], times[side][place])).or_default()[side].push(place);
            }
        }
        for places in buckets.into_values().filter(|[there, here]| !there.is_empty() && !here.is_empty()) {
            pair(places, &mut left, round, is_list, explainer, &mut matched);
        }
    }

    // What is said more often on one side than on the other.
    let mut had: [HashSet<(&Said, i64)>; 2] = Default::default();
    let mut days: [HashMap<&Said, i32>; 2] = Default::default();
    for side in 0..2 {
        for (place, at) in times[side].iter().enumerate() {
            let Some(at) = at else { continue };
            let content = &contents[side][place];
            let first = days[side].entry(content).or_insert(i32::MAX);
            *first = time::day(*at).min(*first);
            if left[side][place].is_none() {
                had[side].insert((content, moment(*at, is_list)));
            }
        }
    }
    for (side, records) in left.into_iter().enumerate() {
        for (place, record) in records.into_iter().enumerate() {
            let Some(record) = record else { continue };
            let content = &contents[side][place];
            // The first of its kind may still be without a partner: nothing explains that one.
            let is_another = record.at.is_some_and(|at| !had[side].insert((content, moment(at, is_list))));
            let was_there = record.at.is_some_and(|at| days[0].get(content).is_some_and(|first| *first <= time::day(at)));
            let cause = match (side, is_list) {
                (0, true) if is_another => Some(Cause::OnceADay),
                (0, false) if is_another => Some(Cause::SaidTwice),
                (1, true) if was_there => Some(Cause::EachDay),
                _ => None,
            };
            match cause {
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

/// What counts as once: a day of a list, else a moment.
fn moment(at: Micros, is_list: bool) -> i64 {
    if is_list { time::day(at).into() } else { at }
}

/// Partners among these places of both sides: the cheapest first, of those the nearest.
fn pair(places: [Vec<usize>; 2], left: &mut Left, round: usize, is_list: bool, explainer: &Explainer<'_>, matched: &mut Matched) {
    // In order of time, and alike where many are of one moment: then the one beside the other is the one to compare.
    let [theirs, ours] = &*left;
    let order = |record: &Option<Record>| record.as_ref().map(|record| (record.at, every(record)));
    let [mut there, mut here] = places;
    there.sort_by_cached_key(|place| order(&theirs[*place]));
    here.sort_by_cached_key(|place| order(&ours[*place]));
    let at = |records: &[Option<Record>], place: usize| records[place].as_ref().and_then(|record| record.at);
    let mut pairs: Vec<(u32, Micros, usize, usize)> = Vec::new();
    for (rank, one) in there.iter().enumerate() {
        let record = theirs[*one].as_ref().expect("those that are left");
        let rank = rank - there.partition_point(|place| at(theirs, *place) < record.at);
        let start = here.partition_point(|place| at(ours, *place) < record.at);
        let end = here.partition_point(|place| at(ours, *place) <= record.at);
        let from = (start + rank).min(end).saturating_sub(WINDOW / 2);
        for other in here.iter().skip(from).take(WINDOW) {
            let partner = ours[*other].as_ref().expect("those that are left");
            let cost = cost(&explainer.differences(record, partner, is_list));
            let is_likely = round < 3 || agree(record, partner) >= 2;
            if cost <= MOST_COST[round.min(3)] && is_likely {
                let apart = record.at.zip(partner.at).map_or(Micros::MAX, |(one, other)| (one - other).abs());
                pairs.push((cost, apart, *one, *other));
            }
        }
    }
    pairs.sort_unstable();
    for (_, _, one, other) in pairs {
        if left[0][one].is_none() || left[1][other].is_none() {
            continue;
        }
        let (Some(there), Some(here)) = (left[0][one].take(), left[1][other].take()) else { continue };
        let found = explainer.differences(&there, &here, is_list);
        match found.is_empty() {
            true => matched.same += 1,
            false => matched.differing += 1,
        }
        matched.differences.extend(found.into_iter().map(|found| (found.cause, found.field, cut(&found.there), cut(&found.here))));
    }
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
