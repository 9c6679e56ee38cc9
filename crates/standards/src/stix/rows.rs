//! From the objects of a document to its rows.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use super::known::{EACH, HASH, KNOWN, Role, Side, hash_name, role, written, written_path};
use super::pattern::{self, Comparison, Observation, Operator, Test};
use super::{Entry, Graph, KillChainPhase, Limits, Object, Observable, Unobservable, Why};
use crate::json::Json;
use crate::{Problem, reason};

pub(super) struct Rows {
    pub(super) objects: Vec<Object>,
    pub(super) observables: Vec<Observable>,
    pub(super) unobservables: Vec<Unobservable>,
}

/// The types that the standard has besides: nobody's own observable is called so.
const OTHERS: [&str; 24] = [
    "attack-pattern",
    "bundle",
    "campaign",
    "course-of-action",
    "extension-definition",
    "grouping",
    "identity",
    "incident",
    "indicator",
    "infrastructure",
    "intrusion-set",
    "language-content",
    "location",
    "malware",
    "malware-analysis",
    "marking-definition",
    "note",
    "observed-data",
    "opinion",
    "relationship",
    "report",
    "sighting",
    "threat-actor",
    "tool",
];

/// The types of what can be seen by itself.
fn is_observable(kind: &str) -> bool {
    KNOWN.iter().any(|(known, _, _)| *known == kind)
}

pub(super) fn read<'a>(graph: &Graph<'_, 'a>, limits: &Limits, problems: &mut Vec<Problem<'a>>) -> Rows {
    let rows = Rows { objects: Vec::new(), observables: Vec::new(), unobservables: Vec::new() };
    let mut reading =
        Reading { graph, limits, problems, rows, groups: 0, bytes_to_repeat: limits.bytes, about_left: limits.rows, is_full: false };
    for entry in graph.entries {
        match entry.kind() {
            "indicator" => reading.indicator(entry),
            "observed-data" => reading.observed_data(entry),
            "sighting" => reading.sighting(entry),
            _ => {}
        }
    }
    reading.alone();
    if reading.is_full {
        let place = String::new();
        let reason = format!("it says more than {} things, or the same again and again: the rest is not read", limits.rows);
        reading.problems.push(Problem { place, reason, raw: "" });
    }
    reading.rows
}

struct Reading<'d, 'a, 'r> {
    graph: &'r Graph<'d, 'a>,
    limits: &'r Limits,
    problems: &'r mut Vec<Problem<'a>>,
    rows: Rows,
    groups: usize,
    /// What is referred to may be large, and may be referred to a million times.
    bytes_to_repeat: usize,
    /// So may a name that a hundred thousand objects are about.
    about_left: usize,
    is_full: bool,
}

/// Objects of a document, or of observed data of version 2.0, which have numbers for names.
type Named<'x, 'a> = HashMap<&'x str, &'x Json<'a>>;

/// They have a value, and nothing else to look for.
const ADDRESSES: [&str; 5] = ["domain-name", "email-addr", "ipv4-addr", "ipv6-addr", "mac-addr"];

/// Beyond this many properties nothing is said of what is referred to: looking for one takes as long as there are many.
const MOST_PROPERTIES: usize = 1_000;
/// So many references of a vulnerability are looked at for its number.
const MOST_REFERENCES: usize = 100;

impl<'d, 'a> Reading<'d, 'a, '_> {
    fn indicator(&mut self, entry: &'d Entry<'a>) {
        let object = self.object(entry);
        let Some(text) = entry.text("pattern") else {
            self.problems.push(entry.problem("it has no pattern"));
            return;
        };
        match entry.text("pattern_type") {
            None | Some("stix") => {
                if let Err(wrong) = self.pattern(text, object) {
                    self.problems.push(entry.problem(reason("pattern", text, &wrong.to_string())));
                }
            }
            Some(language) => self.unobservable(object, text, Why::Language(language.to_owned())),
        }
    }

    fn observed_data(&mut self, entry: &'d Entry<'a>) {
        let object = self.object(entry);
        // Version 2.0 has them within, 2.1 refers to them; a document that has both says the same twice.
        if let Some(Json::Object(within)) = entry.json.get("objects") {
            let named: Named<'_, 'a> = within.iter().map(|(name, json)| (name.as_ref(), json)).collect();
            self.things(&named, object);
            return;
        }
        let graph = self.graph;
        let mut named = Named::new();
        for id in entry.texts("object_refs") {
            match graph.get(id) {
                Some(part) if self.may_repeat(part) => _ = named.insert(id, &part.json),
                Some(_) => {}
                None => self.unobservable(object, id, Why::Elsewhere),
            }
        }
        self.things(&named, object);
        if entry.json.get("object_refs").is_none() {
            self.problems.push(entry.problem("it has neither \"object_refs\" nor \"objects\""));
        }
    }

    /// A sighting repeats what it is of, since it says when that was seen; what it rests on speaks for itself.
    fn sighting(&mut self, entry: &'d Entry<'a>) {
        let graph = self.graph;
        if entry.texts("observed_data_refs").any(|id| graph.get(id).is_some()) {
            return;
        }
        let object = self.object(entry);
        let id = entry.text("sighting_of_ref").unwrap_or_default();
        match graph.get(id) {
            Some(of) if !self.may_repeat(of) => {}
            Some(of) if of.kind() == "indicator" => {
                if let (Some(text), None | Some("stix")) = (of.text("pattern"), of.text("pattern_type")) {
                    // What is wrong with it, or cannot be seen, is said where the indicator is.
                    let unobservables = self.rows.unobservables.len();
                    let _said = self.pattern(text, object);
                    self.rows.unobservables.truncate(unobservables);
                }
            }
            Some(of) if is_observable(of.kind()) => self.things(&Named::from([(of.id(), &of.json)]), object),
            Some(_) => self.unobservable(object, id, Why::Detail),
            None => self.unobservable(object, id, Why::Elsewhere),
        }
    }

    /// What stands in the document by itself. What is part of observed data is named there, but what is said of it alone, by
    /// a relation, would be lost.
    fn alone(&mut self) {
        let graph = self.graph;
        let is_alone = |entry: &&Entry<'a>| !graph.observed.contains(entry.id()) || graph.is_related(entry.id());
        let is_own = |entry: &Entry<'a>| !OTHERS.contains(&entry.kind()) && entry.json.get("value").is_some();
        let is_thing = |entry: &&Entry<'a>| is_observable(entry.kind()) || is_own(entry);
        let all: Vec<&'d Entry<'a>> = graph.entries.iter().filter(is_thing).filter(is_alone).collect();
        let named: Named<'_, 'a> = all.iter().map(|entry| (entry.id(), &entry.json)).collect();
        let covered = self.covered(&named);
        for entry in all.into_iter().filter(|entry| !covered.contains(entry.id()) || graph.is_related(entry.id())) {
            let object = self.object(entry);
            self.thing(&entry.json, &named_in(graph), object);
        }
    }

    fn things(&mut self, named: &Named<'_, 'a>, object: usize) {
        let covered = self.covered(named);
        let graph = self.graph;
        let find = |id: &str| named.get(id).copied().or_else(|| Some(&graph.get(id)?.json));
        let mut names: Vec<&str> = named.keys().copied().filter(|name| !covered.contains(name)).collect();
        // Numbers as numbers.
        names.sort_unstable_by_key(|name| (name.len(), *name));
        for name in names {
            self.thing(named[name], &find, object);
        }
    }

    /// Whether what is referred to may be read once more.
    fn may_repeat(&mut self, entry: &Entry<'a>) -> bool {
        let left = self.bytes_to_repeat.checked_sub(entry.raw.len());
        self.bytes_to_repeat = left.unwrap_or_default();
        self.is_full |= left.is_none();
        left.is_some()
    }

    /// The names of those that another one refers to and says more of: the addresses of a connection, of a mail.
    fn covered<'x>(&self, named: &Named<'x, 'a>) -> HashSet<&'x str> {
        let mut covered = HashSet::new();
        for json in named.values() {
            let kind = json.get("type").and_then(Json::as_str).unwrap_or_default();
            let steps = KNOWN.iter().filter(|(known, steps, role)| *known == kind && steps.len() > 1 && !matches!(role, Role::Linked));
            for (_, steps, _) in steps {
                let Some(property) = json.get(steps[0]) else { continue };
                covered.extend(property.as_str().into_iter().chain(property.list().iter().filter_map(Json::as_str)));
            }
        }
        let is_no_more = |json: &Json<'a>| json.get("type").and_then(Json::as_str).is_some_and(|kind| ADDRESSES.contains(&kind));
        named.iter().filter(|(name, json)| covered.contains(*name) && is_no_more(json)).map(|(name, _)| *name).collect()
    }

    /// The rows of one object, which are of one group.
    fn thing<'x>(&mut self, json: &'x Json<'a>, find: &dyn Fn(&str) -> Option<&'x Json<'a>>, object: usize) {
        let kind = json.get("type").and_then(Json::as_str).unwrap_or_default();
        let before = self.rows.observables.len();
        self.groups += 1;
        if !is_observable(kind) {
            let value = json.get("value").and_then(Json::to_text);
            value.into_iter().for_each(|value| self.observable(kind.to_owned().into(), "value".into(), &value, object));
        }
        for (known, steps, role) in KNOWN.iter().filter(|(known, _, _)| *known == kind) {
            if let Role::Thing | Role::Address(_) = role {
                let mut found = Vec::new();
                walk(json, steps, &mut Vec::new(), None, find, &mut found);
                for Found { property, value, refers_to } in found {
                    let at = self.rows.observables.len();
                    self.observable(Cow::Borrowed(known), property.into(), &value, object);
                    if let (Some(row), Role::Address(side)) = (self.rows.observables.get_mut(at), role) {
                        row.refers_to = refers_to;
                        connect(row, json, *side);
                    } else if let Some(row) = self.rows.observables.get_mut(at) {
                        row.refers_to = refers_to;
                    }
                }
            }
        }
        if self.rows.observables.len() == before && !self.is_full {
            self.unobservable(object, &format!("{kind} {}", json.get("id").and_then(Json::as_str).unwrap_or_default()), Why::Property);
        }
    }

    fn observable(&mut self, kind: Cow<'static, str>, property: Cow<'static, str>, value: &str, object: usize) {
        if self.rows.observables.len() == self.limits.rows {
            self.is_full = true;
            return;
        }
        let (value, group) = (value.to_owned(), self.groups);
        let row = Observable { kind, property, value, refers_to: None, port: None, protocols: Vec::new(), object, group };
        self.rows.observables.push(row);
    }

    fn unobservable(&mut self, object: usize, text: &str, why: Why) {
        if self.rows.unobservables.len() == self.limits.rows {
            self.is_full = true;
            return;
        }
        self.rows.unobservables.push(Unobservable { object, text: text.to_owned(), why });
    }

    /// The rows of a pattern, and of each comparison that gave none, why.
    fn pattern(&mut self, text: &str, object: usize) -> Result<(), pattern::Wrong> {
        let observation = pattern::parse(text)?;
        let mut tests = Vec::new();
        let mut brackets = Vec::new();
        gather(&observation, &mut brackets);
        brackets.iter().for_each(|comparison| gather_tests(comparison, &mut tests));
        let mut said = vec![false; tests.len()];
        for comparison in brackets {
            self.comparison(comparison, None, object, &mut said);
        }
        for test in tests {
            if !said[test.number] {
                self.unobservable(object, test.text, why(test));
            }
        }
        Ok(())
    }

    fn comparison(&mut self, comparison: &Comparison<'_>, outer: Option<&Traffic<'_>>, object: usize, said: &mut [bool]) {
        let (mut together, mut apart) = (Vec::new(), Vec::new());
        conjunction(comparison, &mut together, &mut apart);
        let traffic = Traffic::of(&together, outer);
        self.groups += 1;
        for test in together {
            self.test(test, &traffic, object, said);
        }
        for alternative in apart {
            self.comparison(alternative, Some(&traffic), object, said);
        }
        traffic.mark(said);
    }

    fn test(&mut self, test: &Test<'_>, traffic: &Traffic<'_>, object: usize, said: &mut [bool]) {
        let role @ Some(Role::Thing | Role::Address(_) | Role::Linked) = role(&test.path) else { return };
        if why(test) != Why::Property || test.values.is_empty() {
            return;
        }
        let kind = KNOWN.iter().find(|(known, _, _)| *known == test.path.object);
        let kind = kind.map_or_else(|| Cow::Owned(test.path.object.to_owned()), |(known, _, _)| Cow::Borrowed(*known));
        let property = written_path(&test.path);
        for value in &test.values {
            let at = self.rows.observables.len();
            self.observable(kind.clone(), property.clone().into(), &value.text(), object);
            if let (Some(row), Some(Role::Address(side))) = (self.rows.observables.get_mut(at), role) {
                traffic.connect(row, side);
            }
        }
        said[test.number] = true;
    }

    /// Puts together what the document says of an object.
    fn object(&mut self, entry: &'d Entry<'a>) -> usize {
        let own = |name: &str| entry.text(name).map(str::to_owned);
        let either = |name: &str, other: &str| own(name).or_else(|| own(other));
        let (tlp, other_markings) = self.graph.markings(entry);
        let about = self.graph.about(entry, self.limits.about.min(self.about_left));
        self.about_left -= about.len();
        self.is_full |= self.about_left == 0;
        let vulnerabilities = about.iter().filter(|about| about.kind == "vulnerability").filter_map(|about| self.graph.get(&about.what.id));
        let references_of_all = references(entry).chain(vulnerabilities.flat_map(|entry| references(entry).take(MOST_REFERENCES)));
        let mut cves: Vec<String> = references_of_all.filter_map(|reference| cve(reference.get("external_id")?.as_str()?)).collect();
        cves.extend(about.iter().filter_map(|about| cve(about.what.name.as_deref()?)));
        cves.sort_unstable();
        cves.dedup();
        let object = Object {
            kind: entry.kind().to_owned(),
            id: entry.id().to_owned(),
            name: own("name"),
            description: own("description"),
            created: own("created"),
            modified: own("modified"),
            valid_from: own("valid_from"),
            valid_until: own("valid_until"),
            first_observed: either("first_observed", "first_seen"),
            last_observed: either("last_observed", "last_seen"),
            count: entry.json.get("number_observed").or_else(|| entry.json.get("count")).and_then(Json::to_integer),
            confidence: self.confidence(entry),
            labels: entry.texts("labels").map(str::to_owned).collect(),
            indicator_types: entry.texts("indicator_types").map(str::to_owned).collect(),
            kill_chain_phases: kill_chain_phases(entry),
            revoked: entry.is_revoked(),
            created_by: entry.text("created_by_ref").map(|id| self.graph.reference(id)),
            tlp,
            other_markings,
            about,
            urls: references(entry).filter_map(|reference| Some(reference.get("url")?.as_str()?.to_owned())).collect(),
            cves,
        };
        self.rows.objects.push(object);
        self.rows.objects.len() - 1
    }

    fn confidence(&mut self, entry: &Entry<'a>) -> Option<u8> {
        let given = entry.json.get("confidence")?;
        let confidence = given.to_integer().and_then(|number| u8::try_from(number).ok()).filter(|number| *number <= 100);
        if confidence.is_none() {
            let shown = given.to_text().unwrap_or_default();
            self.problems.push(entry.problem(reason("confidence", &shown, "not a number from 0 to 100")));
        }
        confidence
    }
}

fn named_in<'x, 'a>(graph: &'x Graph<'x, 'a>) -> impl Fn(&str) -> Option<&'x Json<'a>> {
    |id| Some(&graph.get(id)?.json)
}

fn references<'x, 'a>(entry: &'x Entry<'a>) -> impl Iterator<Item = &'x Json<'a>> {
    entry.json.get("external_references").map(Json::list).unwrap_or_default().iter()
}

fn kill_chain_phases(entry: &Entry<'_>) -> Vec<KillChainPhase> {
    let phase = |json: &Json<'_>| {
        let part = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        Some(KillChainPhase { chain: part("kill_chain_name")?, phase: part("phase_name")? })
    };
    entry.json.get("kill_chain_phases").map(Json::list).unwrap_or_default().iter().filter_map(phase).collect()
}

/// `CVE-2021-44228`
fn cve(text: &str) -> Option<String> {
    let upper = text.trim().to_ascii_uppercase();
    let (year, number) = upper.strip_prefix("CVE-")?.split_once('-')?;
    let is_number = |text: &str, length: std::ops::RangeInclusive<usize>| {
        length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    (is_number(year, 4..=4) && is_number(number, 4..=19)).then_some(upper.clone())
}

/// A value within an object.
struct Found<'x> {
    property: String,
    value: Cow<'x, str>,
    refers_to: Option<String>,
}

/// Follows a property step by step, into lists and to what is referred to.
fn walk<'x, 'a>(
    json: &'x Json<'a>,
    steps: &[&str],
    before: &mut Vec<String>,
    refers_to: Option<&str>,
    find: &dyn Fn(&str) -> Option<&'x Json<'a>>,
    found: &mut Vec<Found<'a>>,
) {
    let Some((step, rest)) = steps.split_first() else {
        let value = json.to_text().filter(|value| !value.is_empty() && !matches!(json, Json::Bool(_)));
        let property = || written(before.iter().map(String::as_str));
        found.extend(value.map(|value| Found { property: property(), value, refers_to: refers_to.map(str::to_owned) }));
        return;
    };
    let mut go = |json: &'x Json<'a>, name: &str, refers_to: Option<&str>| {
        before.push(name.to_owned());
        walk(json, rest, before, refers_to, find, found);
        before.pop();
    };
    // A reference is a name where it was to be an object.
    if let Some(target) = json.as_str().and_then(find) {
        let is_small = matches!(target, Json::Object(members) if members.len() <= MOST_PROPERTIES);
        if let Some(value) = target.get(step).filter(|_| is_small) {
            go(value, step, target.get("type").and_then(Json::as_str));
        }
    } else if *step == EACH {
        json.list().iter().for_each(|element| go(element, EACH, refers_to));
    } else if *step == HASH {
        let Json::Object(members) = json else { return };
        members.iter().for_each(|(key, value)| go(value, &hash_name(key), refers_to));
    } else if let Some(value) = json.get(step) {
        go(value, step, refers_to);
    }
}

/// Gives an address the port of its side and the protocols of its connection.
fn connect(row: &mut Observable, traffic: &Json<'_>, side: Side) {
    let port = if side == Side::Source { "src_port" } else { "dst_port" };
    row.port = traffic.get(port).and_then(Json::to_integer).and_then(|port| u16::try_from(port).ok());
    row.protocols =
        traffic.get("protocols").map(Json::list).unwrap_or_default().iter().filter_map(Json::as_str).map(str::to_owned).collect();
}

fn gather<'t, 'p>(observation: &'t Observation<'p>, brackets: &mut Vec<&'t Comparison<'p>>) {
    match observation {
        Observation::One(comparison) => brackets.push(comparison),
        Observation::All(parts) | Observation::Any(parts) | Observation::Sequence(parts) => {
            parts.iter().for_each(|part| gather(part, brackets));
        }
        Observation::Qualified(observation, _) => gather(observation, brackets),
    }
}

fn gather_tests<'t, 'p>(comparison: &'t Comparison<'p>, tests: &mut Vec<&'t Test<'p>>) {
    match comparison {
        Comparison::Test(test) => tests.push(test),
        Comparison::All(parts) | Comparison::Any(parts) => parts.iter().for_each(|part| gather_tests(part, tests)),
    }
}

/// What must hold together, and the alternatives of which one must hold besides.
fn conjunction<'t, 'p>(comparison: &'t Comparison<'p>, together: &mut Vec<&'t Test<'p>>, apart: &mut Vec<&'t Comparison<'p>>) {
    match comparison {
        Comparison::Test(test) => together.push(test),
        Comparison::All(parts) => parts.iter().for_each(|part| conjunction(part, together, apart)),
        Comparison::Any(parts) => apart.extend(parts),
    }
}

/// Why a comparison gives no row; [`Why::Property`] if nothing but its property stands against it.
fn why(test: &Test<'_>) -> Why {
    match test.operator {
        _ if test.negated => Why::Negated,
        Operator::NotEqual => Why::Negated,
        Operator::Equal | Operator::In => match role(&test.path) {
            Some(Role::Port(_) | Role::Protocol | Role::Kind(_)) => Why::Detail,
            _ => Why::Property,
        },
        operator => Why::Operator(operator.name()),
    }
}

/// A connection has a handful, one upon the other.
const MOST_PROTOCOLS: usize = 16;

/// What comparisons that must hold together say of a connection, besides what those say around them.
struct Traffic<'o> {
    outer: Option<&'o Traffic<'o>>,
    source: End,
    destination: End,
    /// With the numbers of the comparisons that say it, and whether a row has it; so it is in an [`End`].
    protocols: Vec<String>,
    said_by: Vec<usize>,
    is_used: Cell<bool>,
}

/// One end of a connection.
#[derive(Default)]
struct End {
    port: Option<u16>,
    kind: Option<String>,
    said_by: Vec<usize>,
    is_used: Cell<bool>,
}

impl<'o> Traffic<'o> {
    fn of(tests: &[&Test<'_>], outer: Option<&'o Traffic<'o>>) -> Traffic<'o> {
        let mut traffic = Traffic {
            outer,
            source: End::default(),
            destination: End::default(),
            protocols: Vec::new(),
            said_by: Vec::new(),
            is_used: Cell::new(false),
        };
        for test in tests.iter().filter(|test| why(test) == Why::Detail) {
            // One of several ports is nobody's port.
            let [value] = test.values.as_slice() else { continue };
            let value = value.text();
            match role(&test.path) {
                Some(Role::Protocol) if traffic.protocols.len() < MOST_PROTOCOLS => {
                    traffic.protocols.push(value.into_owned());
                    traffic.said_by.push(test.number);
                }
                Some(Role::Port(side)) => {
                    if let (end @ End { port: None, .. }, Ok(port)) = (traffic.end_mut(side), value.parse()) {
                        end.port = Some(port);
                        end.said_by.push(test.number);
                    }
                }
                Some(Role::Kind(side)) => {
                    let end = traffic.end_mut(side);
                    end.kind = Some(value.into_owned());
                    end.said_by.push(test.number);
                }
                _ => {}
            }
        }
        traffic
    }

    fn end(&self, side: Side) -> &End {
        if side == Side::Source { &self.source } else { &self.destination }
    }

    fn end_mut(&mut self, side: Side) -> &mut End {
        if side == Side::Source { &mut self.source } else { &mut self.destination }
    }

    /// Gives an address what is said of its end, the nearest first.
    fn connect(&self, row: &mut Observable, side: Side) {
        let mut around = Some(self);
        while let Some(traffic) = around {
            let end = traffic.end(side);
            // A port that a nearer one hides is said nowhere.
            end.is_used.set(end.is_used.get() || row.port.is_none() || end.port.is_none());
            traffic.is_used.set(true);
            row.port = row.port.or(end.port);
            row.refers_to = row.refers_to.take().or_else(|| end.kind.clone());
            row.protocols.extend(traffic.protocols.iter().cloned());
            around = traffic.outer;
        }
    }

    /// What a row has is said.
    fn mark(&self, said: &mut [bool]) {
        let ends = [(&self.source.is_used, &self.source.said_by), (&self.destination.is_used, &self.destination.said_by)];
        for (is_used, numbers) in ends.into_iter().chain([(&self.is_used, &self.said_by)]) {
            if is_used.get() {
                numbers.iter().for_each(|number| said[*number] = true);
            }
        }
    }
}
