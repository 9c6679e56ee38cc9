//! MISP's events, as its feeds, its files and its REST answers have them (draft-dulaunoy-misp-core-format).
//!
//! An event of 64 MiB has some hundred thousand attributes, and each has a dozen fields. So [`read`] reads what is said of the
//! event, and only finds where its attributes stand; [`Event::attributes`] reads them one after the other, and their texts
//! borrow from the document. MISP writes numbers and booleans as such or as text, depending on who wrote: both are read.
//!
//! Passed over are what says nothing of the event as its author has it: proposals to change it (`ShadowAttribute`),
//! what else the server knows (`RelatedEvent`, `Feed`, `warnings`), opinions, sightings, and attachments' bytes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::json::{Json, elements, first, members};
use crate::{Problem, reason};

/// What a document may hold. One that holds more is refused whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub events: usize,
    /// Of all events together, and as many objects. A list that is longer is not read.
    pub attributes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 64 << 20, events: 100_000, attributes: 1_000_000 }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Document<'a> {
    pub form: Form,
    pub events: Vec<Event<'a>>,
    /// What could not be read but attributes, which say it when they are asked for.
    pub problems: Vec<Problem<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Events, or attributes that a server was searched for, put together by their events.
    Events,
    /// A feed's table of contents: its events have no attributes here, and are in files named by their `uuid`.
    Manifest,
}

/// What is not said is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event<'a> {
    pub uuid: Cow<'a, str>,
    pub info: Cow<'a, str>,
    /// As it came: `2026-01-31`.
    pub date: Cow<'a, str>,
    /// 1 high, 2 medium, 3 low, 4 undefined.
    pub threat_level: Option<u8>,
    /// 0 initial, 1 ongoing, 2 complete.
    pub analysis: Option<u8>,
    pub published: Option<bool>,
    /// Seconds since 1970.
    pub timestamp: Option<i64>,
    /// Who created it: `Orgc`, or `Org` where there is none.
    pub organisation: Cow<'a, str>,
    /// Those of its galaxies' clusters among them.
    pub tags: Vec<Tag<'a>>,
    pub objects: Vec<Object<'a>>,
    rows: Vec<Row<'a>>,
    place: String,
}

/// Some attributes that are of one thing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'a> {
    /// Of its template: `file`, `domain-ip`.
    pub name: Cow<'a, str>,
    pub uuid: Cow<'a, str>,
    pub comment: Cow<'a, str>,
    pub first_seen: Option<Cow<'a, str>>,
    pub last_seen: Option<Cow<'a, str>>,
    pub deleted: bool,
    pub tags: Vec<Tag<'a>>,
    /// Its number in the event's list.
    number: usize,
}

/// Where an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row<'a> {
    text: &'a str,
    /// In its list.
    number: u32,
    /// Of the event's objects, or [`Row::ALONE`].
    object: u32,
}

impl Row<'_> {
    const ALONE: u32 = u32::MAX;
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribute<'a> {
    pub uuid: Cow<'a, str>,
    /// Its type: `ip-dst`, `filename|sha256`.
    pub kind: Cow<'a, str>,
    pub category: Cow<'a, str>,
    /// As it came. [`Attribute::parts`] has the values of a composite type one by one.
    pub value: Cow<'a, str>,
    /// Whether its author means it for detection.
    pub to_ids: bool,
    /// Its author took it back.
    pub deleted: bool,
    pub comment: Cow<'a, str>,
    /// Seconds since 1970.
    pub timestamp: Option<i64>,
    pub first_seen: Option<Cow<'a, str>>,
    pub last_seen: Option<Cow<'a, str>>,
    /// Its own, not those of its object and its event.
    pub tags: Vec<Tag<'a>>,
    pub object: Option<&'a Object<'a>>,
    /// What it is to its object: `md5`, `dst-port`.
    pub relation: Option<Cow<'a, str>>,
}

/// A value and the type it would have alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub kind: &'a str,
    pub value: &'a str,
}

/// A composite type whose name is not the types of its parts.
const SAMPLE: (&str, &str) = ("malware-sample", "filename|md5");

impl Attribute<'_> {
    /// The value, or the two of a composite type: `domain|ip` is a `domain` and an `ip`, `regkey|value` a `regkey` and a `value`,
    /// `malware-sample` a `filename` and an `md5`.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let kinds = if self.kind == SAMPLE.0 { SAMPLE.1 } else { &self.kind };
        let [first, second] = match (kinds.split_once('|'), cut(kinds, &self.value)) {
            (Some((first, second)), Some((one, other))) => [Some((first, one)), Some((second, other))],
            _ => [Some((self.kind.as_ref(), self.value.as_ref())), None],
        };
        first.into_iter().chain(second).map(|(kind, value)| Part { kind, value })
    }
}

/// The two values of a composite type. A file's name may have a `|` of its own, the hash behind it has none; a registry's
/// value may, its key has none.
fn cut<'v>(kinds: &str, value: &'v str) -> Option<(&'v str, &'v str)> {
    if kinds.starts_with("regkey") { value.split_once('|') } else { value.rsplit_once('|') }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    pub name: Cow<'a, str>,
}

impl Tag<'_> {
    /// Of `misp-galaxy:malpedia="X"`, which says that this is about X: `("malpedia", "X")`.
    pub fn cluster(&self) -> Option<(&str, &str)> {
        match self.triple()? {
            ("misp-galaxy", galaxy, Some(value)) => Some((galaxy, value)),
            _ => None,
        }
    }

    /// Of a word of a taxonomy: `("tlp", "amber", None)`, `("rsit", "fraud", Some("phishing"))`.
    pub fn triple(&self) -> Option<(&str, &str, Option<&str>)> {
        let (namespace, rest) = self.name.split_once(':')?;
        Some(match rest.split_once('=') {
            Some((predicate, value)) => (namespace, predicate, Some(value.trim_matches('"'))),
            None => (namespace, rest, None),
        })
    }
}

/// Reads an event, a list of events, a server's answer to a search, or a manifest.
///
/// What is none of these, or breaks off, is refused with a sentence.
pub fn read<'a>(document: &'a str, limits: &Limits) -> Result<Document<'a>, String> {
    if document.len() > limits.bytes {
        return Err(format!("the document has {} bytes, and {} are read at most: split it", document.len(), limits.bytes));
    }
    let mut reading =
        Reading { limits, events: Vec::new(), problems: Vec::new(), places: HashMap::new(), attributes_left: limits.attributes };
    let document = document.trim_start_matches('\u{feff}');
    let form = reading.document(document)?;
    Ok(Document { form, events: reading.events, problems: reading.problems })
}

type Members<'a> = Vec<(Cow<'a, str>, &'a str)>;

struct Reading<'a, 'l> {
    limits: &'l Limits,
    events: Vec<Event<'a>>,
    problems: Vec<Problem<'a>>,
    /// Where among the events is the one that attributes of an answer say to be of: its `uuid` or `id`.
    places: HashMap<Cow<'a, str>, usize>,
    attributes_left: usize,
}

impl<'a> Reading<'a, '_> {
    fn document(&mut self, document: &'a str) -> Result<Form, String> {
        if first(document) == Some(b'[') {
            self.items(document, "")?;
            return Ok(Form::Events);
        }
        let all = members(document)?;
        if let Some(answer) = get(&all, "response") {
            self.answer(answer)?;
        } else if is_manifest(&all) {
            self.manifest(all)?;
            return Ok(Form::Manifest);
        } else if !self.item(document, &all, "", 0)? {
            return Err(r#"the document is no MISP event: it has no "Event", "Attribute", "Object" or "response""#.to_owned());
        }
        Ok(Form::Events)
    }

    fn answer(&mut self, answer: &'a str) -> Result<(), String> {
        if first(answer) == Some(b'[') {
            return self.items(answer, "response");
        }
        let all = members(answer)?;
        if !all.is_empty() && !self.item(answer, &all, "response", 0)? {
            self.problem("response", "neither events nor attributes", answer);
        }
        Ok(())
    }

    fn items(&mut self, list: &'a str, place: &str) -> Result<(), String> {
        for (number, text) in elements(list, self.limits.attributes)?.into_iter().enumerate() {
            let place = format!("{place}[{number}]");
            match members(text) {
                Err(wrong) => self.problem(&place, wrong, text),
                Ok(all) => {
                    if !self.item(text, &all, &place, number)? {
                        self.problem(&place, "neither an event nor an attribute", text);
                    }
                }
            }
        }
        Ok(())
    }

    /// An event, or what a search found of one. Whether it is any of that.
    fn item(&mut self, text: &'a str, all: &Members<'a>, place: &str, number: usize) -> Result<bool, String> {
        let has = |name: &str| get(all, name).is_some();
        if has("type") && has("value") {
            let event = self.event_of(all)?;
            self.take(event, text, number, None)?;
        } else if let (Some(event), false) = (get(all, "Event"), has("Attribute")) {
            let place = below(place, "Event");
            match members(event) {
                Ok(all) => self.event(&all, place)?,
                Err(wrong) => self.problem(&place, wrong, event),
            }
        } else if ["info", "Orgc", "threat_level_id", "orgc_id"].into_iter().any(has) {
            self.event(all, place.to_owned())?;
        } else if let Some(object) = get(all, "Object").filter(|object| first(object) == Some(b'{')) {
            self.found_object(object, below(place, "Object"))?;
        } else if let Some(found) = get(all, "Attribute").filter(|_| !has("uuid")) {
            self.found_attributes(found, &below(place, "Attribute"))?;
        } else if has("Attribute") || has("Object") {
            self.event(all, place.to_owned())?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn manifest(&mut self, all: Members<'a>) -> Result<(), String> {
        for (uuid, summary) in all {
            let place = format!("\"{uuid}\"");
            match members(summary) {
                Ok(all) => {
                    self.event(&all, place)?;
                    if let Some(event) = self.events.last_mut() {
                        event.uuid = uuid;
                    }
                }
                Err(wrong) => self.problem(&place, wrong, summary),
            }
        }
        Ok(())
    }

    fn event(&mut self, all: &Members<'a>, place: String) -> Result<(), String> {
        let mut event = Event { place, ..Event::default() };
        self.head(&mut event, all);
        take_out_repeats(&mut event.tags);
        let at = self.events.len();
        self.push(event)?;
        for (name, part) in all {
            match name.as_ref() {
                "Attribute" => {
                    let place = below(&self.events[at].place, "Attribute");
                    for (number, text) in self.list(part, &place).into_iter().enumerate() {
                        self.take(at, text, number, None)?;
                    }
                }
                "Object" => {
                    let place = below(&self.events[at].place, "Object");
                    for (number, text) in self.list(part, &place).into_iter().enumerate() {
                        self.object(at, text, number, &format!("{place}[{number}]"))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn push(&mut self, event: Event<'a>) -> Result<(), String> {
        if self.events.len() == self.limits.events {
            return Err(format!("the document has more than {} events: split it", self.limits.events));
        }
        self.events.push(event);
        Ok(())
    }

    /// What is said of an event but its attributes and objects.
    fn head(&mut self, event: &mut Event<'a>, all: &Members<'a>) {
        for (name, part) in all {
            // The long ones are not read here, and what nobody asks for nowhere.
            let read: fn(&mut Event<'a>, Json<'a>) -> Option<()> = match name.as_ref() {
                "uuid" => |event, json| text(json).map(|text| event.uuid = text),
                "info" => |event, json| text(json).map(|text| event.info = text),
                "date" => |event, json| text(json).map(|text| event.date = text),
                "threat_level_id" => |event, json| small(&json).map(|level| event.threat_level = level),
                "analysis" => |event, json| small(&json).map(|analysis| event.analysis = analysis),
                "published" => |event, json| boolean(&json).map(|published| event.published = published),
                "timestamp" => |event, json| integer(&json).map(|timestamp| event.timestamp = timestamp),
                "Orgc" => |event, json| organisation(json).map(|name| event.organisation = name),
                "Org" => |event, json| {
                    let name = organisation(json)?;
                    if event.organisation.is_empty() {
                        event.organisation = name;
                    }
                    Some(())
                },
                "Tag" => |event, json| tags(json, &mut event.tags),
                "Galaxy" => |event, json| clusters(&json, &mut event.tags),
                _ => continue,
            };
            let wrong = match Json::parse(part) {
                Ok(json) => match read(event, json) {
                    Some(()) => continue,
                    None => "not what it should be".to_owned(),
                },
                Err(wrong) => wrong,
            };
            let place = below(&event.place, name);
            self.problem(&place, wrong, part);
        }
    }

    /// The elements of a list, or the problem that it is none. PHP writes a list with gaps as an object with numbers for keys.
    fn list(&mut self, part: &'a str, place: &str) -> Vec<&'a str> {
        let list = match first(part) {
            Some(b'{') => members(part).map(|all| match all.iter().all(|(key, _)| key.bytes().all(|byte| byte.is_ascii_digit())) {
                true => all.into_iter().map(|(_, value)| value).collect(),
                false => vec![part],
            }),
            Some(b'n') => return Vec::new(),
            _ => elements(part, self.limits.attributes),
        };
        list.unwrap_or_else(|wrong| {
            self.problem(place, wrong, part);
            Vec::new()
        })
    }

    fn object(&mut self, at: usize, text: &'a str, number: usize, place: &str) -> Result<(), String> {
        let all = match members(text) {
            Ok(all) => all,
            Err(wrong) => {
                self.problem(place, wrong, text);
                return Ok(());
            }
        };
        if self.events[at].objects.len() == self.limits.attributes {
            return Err(format!("the document has more than {} objects in an event: split it", self.limits.attributes));
        }
        let mut object = Object { number, ..Object::default() };
        self.object_head(&mut object, &all, place);
        take_out_repeats(&mut object.tags);
        let own = self.events[at].objects.len();
        self.events[at].objects.push(object);
        if let Some(part) = get(&all, "Attribute") {
            for (number, text) in self.list(part, &below(place, "Attribute")).into_iter().enumerate() {
                self.take(at, text, number, Some(own))?;
            }
        }
        Ok(())
    }

    fn object_head(&mut self, object: &mut Object<'a>, all: &Members<'a>, place: &str) {
        for (name, part) in all {
            let read: fn(&mut Object<'a>, Json<'a>) -> Option<()> = match name.as_ref() {
                "name" => |object, json| text(json).map(|text| object.name = text),
                "uuid" => |object, json| text(json).map(|text| object.uuid = text),
                "comment" => |object, json| text(json).map(|text| object.comment = text),
                "first_seen" => |object, json| text(json).map(|text| object.first_seen = said(text)),
                "last_seen" => |object, json| text(json).map(|text| object.last_seen = said(text)),
                "deleted" => |object, json| boolean(&json).map(|deleted| object.deleted = deleted.unwrap_or_default()),
                "Tag" => |object, json| tags(json, &mut object.tags),
                "Galaxy" => |object, json| clusters(&json, &mut object.tags),
                _ => continue,
            };
            if Json::parse(part).ok().and_then(|json| read(object, json)).is_none() {
                self.problem(&below(place, name), "not what it should be", part);
            }
        }
    }

    fn found_attributes(&mut self, found: &'a str, place: &str) -> Result<(), String> {
        for (number, text) in self.list(found, place).into_iter().enumerate() {
            match members(text) {
                Ok(all) => {
                    let event = self.event_of(&all)?;
                    self.take(event, text, number, None)?;
                }
                Err(wrong) => self.problem(&format!("{place}[{number}]"), wrong, text),
            }
        }
        Ok(())
    }

    fn found_object(&mut self, text: &'a str, place: String) -> Result<(), String> {
        let all = members(text).unwrap_or_default();
        let event = self.event_of(&all)?;
        self.object(event, text, self.events[event].objects.len(), &place)
    }

    /// The event that something found says to be of.
    fn event_of(&mut self, all: &Members<'a>) -> Result<usize, String> {
        let stub = get(all, "Event").and_then(|stub| members(stub).ok()).unwrap_or_default();
        let id = get(&stub, "uuid").or_else(|| get(&stub, "id")).or_else(|| get(all, "event_id"));
        let id = id.and_then(|id| Json::parse(id).ok()).and_then(Json::into_text).unwrap_or_default();
        if let Some(place) = self.places.get(&id) {
            return Ok(*place);
        }
        let mut event = Event { place: "response".to_owned(), ..Event::default() };
        self.head(&mut event, &stub);
        take_out_repeats(&mut event.tags);
        self.places.insert(id, self.events.len());
        self.push(event)?;
        Ok(self.events.len() - 1)
    }

    fn take(&mut self, event: usize, text: &'a str, number: usize, object: Option<usize>) -> Result<(), String> {
        let Some(left) = self.attributes_left.checked_sub(1) else {
            return Err(format!("the document has more than {} attributes: split it", self.limits.attributes));
        };
        self.attributes_left = left;
        let object = object.and_then(|object| u32::try_from(object).ok()).unwrap_or(Row::ALONE);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.events[event].rows.push(Row { text, number, object });
        Ok(())
    }

    fn problem(&mut self, place: &str, reason: impl Into<String>, raw: &'a str) {
        self.problems.push(Problem { place: place.to_owned(), reason: reason.into(), raw });
    }
}

/// A table of contents has no other keys than its events' names.
fn is_manifest(all: &Members<'_>) -> bool {
    let is_uuid = |key: &str| key.len() == 36 && key.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    all.iter().all(|(key, value)| is_uuid(key) && first(value) == Some(b'{'))
}

fn get<'a>(all: &Members<'a>, name: &str) -> Option<&'a str> {
    all.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
}

fn below(place: &str, name: &str) -> String {
    if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") }
}

impl<'a> Event<'a> {
    /// How many there are, bad ones counted too.
    pub fn attribute_count(&self) -> usize {
        self.rows.len()
    }

    /// Its attributes and those of its objects, deleted ones too, each read as it is asked for.
    pub fn attributes(&self) -> impl Iterator<Item = Result<Attribute<'_>, Problem<'a>>> {
        (0..self.rows.len()).filter_map(|place| self.attribute(place))
    }

    /// One of them.
    pub fn attribute(&self, place: usize) -> Option<Result<Attribute<'_>, Problem<'a>>> {
        let row = self.rows.get(place)?;
        let object = self.objects.get(row.object as usize);
        Some(attribute(row.text, object).map_err(|reason| Problem { place: self.place_of(row, object), reason, raw: row.text }))
    }

    fn place_of(&self, row: &Row<'_>, object: Option<&Object<'_>>) -> String {
        let place = match object {
            Some(object) => below(&self.place, &format!("Object[{}]", object.number)),
            None => self.place.clone(),
        };
        below(&place, &format!("Attribute[{}]", row.number))
    }
}

fn attribute<'e>(raw: &'e str, object: Option<&'e Object<'e>>) -> Result<Attribute<'e>, String> {
    let Json::Object(members) = Json::parse(raw)? else { return Err("not a JSON object".to_owned()) };
    let mut attribute = Attribute { object, ..Attribute::default() };
    for (name, value) in members {
        field(&mut attribute, &name, value)?;
    }
    take_out_repeats(&mut attribute.tags);
    if attribute.kind.is_empty() {
        return Err("it has no type".to_owned());
    }
    if attribute.value.trim().is_empty() {
        return Err("it has no value".to_owned());
    }
    let is_composite = attribute.kind.contains('|') || attribute.kind == SAMPLE.0;
    if is_composite && !attribute.value.contains('|') {
        return Err(reason("value", &attribute.value, &format!("\"{}\" is two values with \"|\" between", attribute.kind)));
    }
    Ok(attribute)
}

fn field<'e>(attribute: &mut Attribute<'e>, name: &str, value: Json<'e>) -> Result<(), String> {
    let shown = || value.to_text().unwrap_or_else(|| "...".into()).into_owned();
    let wrong = |why: &str| reason(name, &shown(), why);
    match name {
        "timestamp" => attribute.timestamp = integer(&value).ok_or_else(|| wrong("not a number of seconds"))?,
        "to_ids" => attribute.to_ids = boolean(&value).ok_or_else(|| wrong("neither true nor false"))?.unwrap_or_default(),
        "deleted" => attribute.deleted = boolean(&value).ok_or_else(|| wrong("neither true nor false"))?.unwrap_or_default(),
        "Tag" => tags(value, &mut attribute.tags).ok_or("Tag: not a list")?,
        "Galaxy" => clusters(&value, &mut attribute.tags).ok_or("Galaxy: not a list")?,
        "uuid" | "type" | "category" | "value" | "comment" | "first_seen" | "last_seen" | "object_relation" => {
            let text = text(value).ok_or_else(|| format!("{name}: not a text"))?;
            match name {
                "uuid" => attribute.uuid = text,
                "type" => attribute.kind = text,
                "category" => attribute.category = text,
                "value" => attribute.value = text,
                "comment" => attribute.comment = text,
                "first_seen" => attribute.first_seen = said(text),
                "last_seen" => attribute.last_seen = said(text),
                _ => attribute.relation = said(text),
            }
        }
        _ => {}
    }
    Ok(())
}

fn said(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    Some(text).filter(|text| !text.is_empty())
}

/// Nothing is as good as an empty text.
fn text(json: Json<'_>) -> Option<Cow<'_, str>> {
    if json == Json::Null { Some(Cow::Borrowed("")) } else { json.into_text() }
}

fn is_unsaid(json: &Json<'_>) -> bool {
    *json == Json::Null || json.as_str() == Some("")
}

/// Outer: whether it is one. Inner: whether it says anything.
fn integer(json: &Json<'_>) -> Option<Option<i64>> {
    if is_unsaid(json) { Some(None) } else { json.to_integer().map(Some) }
}

fn small(json: &Json<'_>) -> Option<Option<u8>> {
    match integer(json)? {
        None => Some(None),
        Some(number) => u8::try_from(number).ok().map(Some),
    }
}

fn boolean(json: &Json<'_>) -> Option<Option<bool>> {
    if is_unsaid(json) { Some(None) } else { json.to_bool().map(Some) }
}

fn organisation(json: Json<'_>) -> Option<Cow<'_, str>> {
    match json {
        Json::Null => Some(Cow::Borrowed("")),
        Json::Object(_) => Some(json.get("name").and_then(Json::to_text).unwrap_or_default()),
        json => json.into_text(),
    }
}

/// Objects with a name, or the names alone. One without says nothing.
fn tags<'a>(json: Json<'a>, tags: &mut Vec<Tag<'a>>) -> Option<()> {
    let list = match json {
        Json::Null => Vec::new(),
        Json::List(list) => list,
        Json::Object(_) => vec![json],
        _ => return None,
    };
    for tag in list {
        let name = if tag.is_object() { tag.get("name").and_then(Json::to_text) } else { tag.into_text() };
        tags.extend(name.filter(|name| !name.is_empty()).map(|name| Tag { name }));
    }
    Some(())
}

/// The clusters of galaxies, which most events have among their tags too.
fn clusters<'a>(galaxies: &Json<'a>, tags: &mut Vec<Tag<'a>>) -> Option<()> {
    let (Json::Null | Json::List(_)) = galaxies else { return None };
    for galaxy in galaxies.list() {
        for cluster in galaxy.get("GalaxyCluster").map(Json::list).unwrap_or_default() {
            let name = cluster.get("tag_name").and_then(Json::to_text).or_else(|| {
                let kind = cluster.get("type").or_else(|| galaxy.get("type"))?.to_text()?;
                Some(format!("misp-galaxy:{kind}=\"{}\"", cluster.get("value")?.to_text()?).into())
            });
            tags.extend(name.filter(|name| !name.is_empty()).map(|name| Tag { name }));
        }
    }
    Some(())
}

/// A cluster mostly is among the tags already.
fn take_out_repeats(tags: &mut Vec<Tag<'_>>) {
    if tags.len() > 1 {
        let mut seen = HashSet::new();
        tags.retain(|tag| seen.insert(tag.name.clone()));
    }
}

#[cfg(test)]
mod tests;
