//! STIX 2.1 and 2.0: what a bundle, a page of a TAXII server, a list or a single object says that one can look for.
//!
//! A document is a graph, and a CERT needs rows. So each [`Observable`] is one value, with what it was said by: an
//! [`Object`], in which everything is put together that other objects say of it (who made it, who may see it, what it
//! indicates). Relations are followed from the value to a name, one or two steps and no further: a row says what its author
//! said of it, and not what could be concluded.
//!
//! What is said but is no value to look for (a pattern with `MATCHES`, a rule in another language) is an [`Unobservable`].
//! References may lead nowhere: a page of a server has only some of its objects.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use crate::Problem;
use crate::json::{Json, elements, first, members};

mod known;
mod marking;
pub mod pattern;
mod rows;

/// What a document may hold. One with more bytes or objects is refused, further rows are not read, and that is a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub objects: usize,
    /// Observables, as many unobservables, and as many [`About`] in all. Sightings repeat what they are of, and relations meet in
    /// one name, so that a small document may say much.
    pub rows: usize,
    /// What an object may be [`About`].
    pub about: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 64 << 20, objects: 500_000, rows: 1_000_000, about: 32 }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Document<'a> {
    pub form: Form,
    /// Those that say something to look for.
    pub objects: Vec<Object>,
    pub observables: Vec<Observable>,
    pub unobservables: Vec<Unobservable>,
    pub problems: Vec<Problem<'a>>,
    /// How many objects of each type there are, those without rows too.
    pub types: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    Bundle,
    /// A page of a TAXII 2.1 server: whether there are more, and what to ask for then.
    Envelope {
        more: bool,
        next: Option<String>,
    },
    List,
    Single,
}

/// A value to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observable {
    /// The object's type: `file`.
    pub kind: Cow<'static, str>,
    /// The property as a pattern has it, with the standard's names of hashes and any number of a list as `[*]`:
    /// `hashes.'SHA-256'`, `dst_ref.value`.
    pub property: Cow<'static, str>,
    pub value: String,
    /// The type of what is referred to, where the property is a reference and the type is said: `ipv4-addr` for a `dst_ref`.
    pub refers_to: Option<String>,
    /// Of an address, where it is said together with it: the port of its side.
    pub port: Option<u16>,
    pub protocols: Vec<String>,
    /// Which of the document's objects says it.
    pub object: usize,
    /// Values of one group are said of one thing: the hashes of a file, the parts of a connection.
    pub group: usize,
}

impl Observable {
    /// `file:hashes.'SHA-256'`
    pub fn path(&self) -> String {
        format!("{}:{}", self.kind, self.property)
    }
}

/// What an object says that is no value to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unobservable {
    pub object: usize,
    /// The comparison or the rule.
    pub text: String,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It says what something is not.
    Negated,
    /// It compares otherwise than with `=` and `IN`.
    Operator(&'static str),
    /// It says more of a thing, and names none.
    Detail,
    /// A property that names no thing, as far as is known here.
    Property,
    /// The pattern is in another language: `yara`, `sigma`, `snort`.
    Language(String),
    /// What it speaks of is not in the document.
    Elsewhere,
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Negated => out.write_str("it says what something is not"),
            Why::Operator(operator) => write!(out, "{operator} gives no value"),
            Why::Detail => out.write_str("it names no thing by itself"),
            Why::Property => out.write_str("its property names no thing"),
            Why::Language(language) => write!(out, "the pattern is in {language:?}"),
            Why::Elsewhere => out.write_str("what it speaks of is not in the document"),
        }
    }
}

/// What says something to look for. Times are as they came; what is not said is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// `indicator`, `observed-data`, `sighting`, or the type of an observable that stands alone.
    pub kind: String,
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    pub created: Option<String>,
    pub modified: Option<String>,
    pub valid_from: Option<String>,
    pub valid_until: Option<String>,
    /// Of observed data; of a sighting, when it was first and last seen.
    pub first_observed: Option<String>,
    pub last_observed: Option<String>,
    /// How often.
    pub count: Option<i64>,
    /// From 0 to 100.
    pub confidence: Option<u8>,
    pub labels: Vec<String>,
    pub indicator_types: Vec<String>,
    pub kill_chain_phases: Vec<KillChainPhase>,
    pub revoked: bool,
    pub created_by: Option<Reference>,
    /// The strictest of its markings, those of its parts included: `clear`, `green`, `amber`, `amber+strict` or `red`.
    pub tlp: Option<&'static str>,
    /// Its other markings' ids: what they allow is not known here.
    pub other_markings: Vec<String>,
    pub about: Vec<About>,
    pub urls: Vec<String>,
    /// Of its external references and of the vulnerabilities that it is about.
    pub cves: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillChainPhase {
    pub chain: String,
    pub phase: String,
}

/// Another object, and its name if it is in the document and has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub id: String,
    pub name: Option<String>,
}

/// What an object is about: a malware, an actor, a campaign, an infrastructure, a technique, a tool, a vulnerability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// As the relation is called: `indicates`, `communicates-with`; `sighting-of`.
    pub relation: String,
    pub kind: String,
    pub what: Reference,
}

/// Reads a bundle, a TAXII server's page, a list of objects, or an object.
///
/// What is none of these, or breaks off, is refused with a sentence.
pub fn read<'a>(document: &'a str, limits: &Limits) -> Result<Document<'a>, String> {
    if document.len() > limits.bytes {
        return Err(format!("the document has {} bytes, and {} are read at most: ask for smaller pages", document.len(), limits.bytes));
    }
    let (form, list) = form(document.trim_start_matches('\u{feff}'), limits)?;
    let place = if form == Form::List { "" } else { "objects" };
    let mut problems = Vec::new();
    let (mut objects, mut types) = (Vec::new(), BTreeMap::new());
    for (number, raw) in list.into_iter().enumerate() {
        let place = if form == Form::Single { String::new() } else { format!("{place}[{number}]") };
        match Entry::parse(raw, &place) {
            Ok(entry) => {
                *types.entry(entry.kind().to_owned()).or_default() += 1;
                objects.push(entry);
            }
            Err(reason) => problems.push(Problem { place, reason, raw }),
        }
    }
    let graph = Graph::of(&objects);
    let rows = rows::read(&graph, limits, &mut problems);
    Ok(Document { form, objects: rows.objects, observables: rows.observables, unobservables: rows.unobservables, problems, types })
}

/// What the document is, and its objects.
fn form<'a>(document: &'a str, limits: &Limits) -> Result<(Form, Vec<&'a str>), String> {
    if first(document) == Some(b'[') {
        return Ok((Form::List, elements(document, limits.objects)?));
    }
    let all = members(document)?;
    let get = |name: &str| all.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value);
    let read = |name: &str| get(name).and_then(|value| Json::parse(value).ok());
    let kind = read("type");
    let objects =
        || get("objects").map_or(Ok(Vec::new()), |list| elements(list, limits.objects)).map_err(|wrong| format!("objects: {wrong}"));
    match kind.as_ref().and_then(Json::as_str) {
        Some("bundle") => Ok((Form::Bundle, objects()?)),
        Some(_) => Ok((Form::Single, vec![document])),
        None if all.is_empty() || ["objects", "more", "next"].into_iter().any(|name| get(name).is_some()) => {
            let more = read("more").and_then(|more| more.to_bool()).unwrap_or_default();
            let next = read("next").and_then(Json::into_text).map(Cow::into_owned);
            Ok((Form::Envelope { more, next }, objects()?))
        }
        None => match read("title").and_then(Json::into_text) {
            Some(title) => {
                Err(format!("the document is no STIX, but an answer that says {:?}", title.chars().take(200).collect::<String>()))
            }
            None => Err(r#"the document is no STIX: it has neither a "type" nor "objects""#.to_owned()),
        },
    }
}

/// Looking for a property takes as long as there are many, and objects are looked at from all that refer to them.
const MOST_PROPERTIES: usize = 1_000;

/// An object of the document.
#[derive(Debug)]
struct Entry<'a> {
    json: Json<'a>,
    raw: &'a str,
    place: String,
}

impl<'a> Entry<'a> {
    fn parse(raw: &'a str, place: &str) -> Result<Entry<'a>, String> {
        let json = Json::parse(raw)?;
        let Json::Object(properties) = &json else { return Err("not a JSON object".to_owned()) };
        if properties.len() > MOST_PROPERTIES {
            return Err(format!("it has more than {MOST_PROPERTIES} properties"));
        }
        match json.get("type").and_then(Json::as_str) {
            Some(kind) if !kind.is_empty() => Ok(Entry { json, raw, place: place.to_owned() }),
            _ => Err("it has no type".to_owned()),
        }
    }

    fn kind(&self) -> &str {
        self.json.get("type").and_then(Json::as_str).unwrap_or_default()
    }

    fn id(&self) -> &str {
        self.json.get("id").and_then(Json::as_str).unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Json::as_str)
    }

    /// The texts of a list.
    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.json.get(name).map(Json::list).unwrap_or_default().iter().filter_map(Json::as_str)
    }

    fn is_revoked(&self) -> bool {
        self.json.get("revoked").and_then(Json::to_bool).unwrap_or_default()
    }

    fn problem(&self, reason: impl Into<String>) -> Problem<'a> {
        Problem { place: self.place.clone(), reason: reason.into(), raw: self.raw }
    }
}

/// The document's objects, and how they hang together.
struct Graph<'d, 'a> {
    entries: &'d [Entry<'a>],
    /// By id; of several versions the one that was modified last.
    by_id: HashMap<&'d str, usize>,
    /// What the marking definitions among them give.
    labels: HashMap<&'d str, &'static str>,
    /// Relationships by what they go from, where they lead to a name, and by what they lead to.
    from: HashMap<&'d str, Vec<&'d Entry<'a>>>,
    to: HashMap<&'d str, Vec<&'d Entry<'a>>>,
    /// Sightings by the observed data that they rest on.
    sightings: HashMap<&'d str, Vec<&'d Entry<'a>>>,
    /// What observed data is made of.
    observed: HashSet<&'d str>,
}

/// What an object can be about.
const NAMES: [&str; 8] =
    ["malware", "threat-actor", "intrusion-set", "campaign", "infrastructure", "attack-pattern", "tool", "vulnerability"];

impl<'d, 'a> Graph<'d, 'a> {
    fn of(entries: &'d [Entry<'a>]) -> Graph<'d, 'a> {
        let mut graph = Graph {
            entries,
            by_id: HashMap::new(),
            labels: HashMap::new(),
            from: HashMap::new(),
            to: HashMap::new(),
            sightings: HashMap::new(),
            observed: HashSet::new(),
        };
        for (number, entry) in entries.iter().enumerate() {
            let last = graph.by_id.entry(entry.id()).or_insert(number);
            if entries[*last].text("modified") < entry.text("modified") {
                *last = number;
            }
            match entry.kind() {
                "relationship" if !entry.is_revoked() => {
                    let (source, target) = (entry.text("source_ref").unwrap_or_default(), entry.text("target_ref").unwrap_or_default());
                    if NAMES.contains(&kind_of(target)) {
                        graph.from.entry(source).or_default().push(entry);
                    }
                    graph.to.entry(target).or_default().push(entry);
                }
                "sighting" if !entry.is_revoked() => {
                    entry.texts("observed_data_refs").for_each(|id| graph.sightings.entry(id).or_default().push(entry));
                }
                "marking-definition" => graph.labels.extend(marking::of_definition(&entry.json).map(|label| (entry.id(), label))),
                "observed-data" => graph.observed.extend(entry.texts("object_refs")),
                _ => {}
            }
        }
        graph.by_id.remove("");
        graph
    }

    fn get(&self, id: &str) -> Option<&'d Entry<'a>> {
        self.by_id.get(id).map(|number| &self.entries[*number])
    }

    fn is_related(&self, id: &str) -> bool {
        self.from.contains_key(id) || self.to.contains_key(id)
    }

    fn reference(&self, id: &str) -> Reference {
        Reference { id: id.to_owned(), name: self.get(id).and_then(|entry| entry.text("name")).map(str::to_owned) }
    }

    /// What an object is about, by its relations, by the indicator that rests on it, and by the sightings of it or that it is.
    fn about(&self, entry: &Entry<'a>, most: usize) -> Vec<About> {
        // Those with the same names count too, so that nobody gets to have all objects compared with all others.
        let mut gathering = Gathering { graph: self, about: Vec::new(), most, steps_left: most.saturating_mul(10) };
        gathering.names(entry.id());
        for relation in self.to.get(entry.id()).into_iter().flatten() {
            let (id, word) = (relation.text("source_ref").unwrap_or_default(), relation.text("relationship_type").unwrap_or_default());
            gathering.name(word, id);
            if word == "based-on" {
                gathering.names(id);
            }
            if gathering.steps_left == 0 {
                break;
            }
        }
        let own = (entry.kind() == "sighting").then_some(entry);
        for sighting in own.into_iter().chain(self.sightings.get(entry.id()).into_iter().flatten().copied()).take(most) {
            let id = sighting.text("sighting_of_ref").unwrap_or_default();
            gathering.name("sighting-of", id);
            gathering.names(id);
        }
        gathering.about
    }

    /// The label of what an object's markings and those of its parts allow, and the markings that are no labels.
    fn markings(&self, entry: &Entry<'a>) -> (Option<&'static str>, Vec<String>) {
        let parts = entry.json.get("granular_markings").map(Json::list).unwrap_or_default();
        let of_parts = parts.iter().filter_map(|part| part.get("marking_ref").and_then(Json::as_str));
        let (mut tlp, mut others) = (None, Vec::new());
        for id in entry.texts("object_marking_refs").chain(of_parts) {
            match marking::of_id(id).or_else(|| self.labels.get(id).copied()) {
                Some(label) => tlp = marking::stricter(tlp, Some(label)),
                None => others.push(id.to_owned()),
            }
        }
        (tlp, others)
    }
}

/// What an object is about, as it is found.
struct Gathering<'g, 'd, 'a> {
    graph: &'g Graph<'d, 'a>,
    about: Vec<About>,
    most: usize,
    steps_left: usize,
}

impl Gathering<'_, '_, '_> {
    /// The names that relations lead to, unless they lead from a name already.
    fn names(&mut self, id: &str) {
        if NAMES.contains(&kind_of(id)) {
            return;
        }
        for relation in self.graph.from.get(id).into_iter().flatten() {
            self.name(relation.text("relationship_type").unwrap_or_default(), relation.text("target_ref").unwrap_or_default());
            if self.steps_left == 0 {
                return;
            }
        }
    }

    fn name(&mut self, relation: &str, id: &str) {
        self.steps_left = self.steps_left.saturating_sub(1);
        let kind = kind_of(id);
        let is_known = || self.about.iter().any(|about| about.what.id == id && about.relation == relation);
        if NAMES.contains(&kind) && self.about.len() < self.most && self.steps_left > 0 && !is_known() {
            self.about.push(About { relation: relation.to_owned(), kind: kind.to_owned(), what: self.graph.reference(id) });
        }
    }
}

/// An id says what it is of: `malware--...`.
fn kind_of(id: &str) -> &str {
    id.split_once("--").map_or("", |(kind, _)| kind)
}

#[cfg(test)]
mod tests;
