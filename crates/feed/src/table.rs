//! A feed's table: what the feed is, and what its columns mean. docs/adding-a-feed.md is its reference.
//!
//! A table is read once, into assignments: "this column, under these conditions, through these converters, is
//! that field". Whatever the table writes (lists of targets, targets that depend on another column, a
//! provider's rules under a feed's own) is a flat list of assignments afterwards, the first of which with a
//! value wins.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use event::taxonomy::{self, Classification};
use event::time;
use event::{Delivers, Field, Kind, May, Severity, Tlp};
use regex::Regex;
use toml::{Table, Value};

use crate::convert::{self, Absent, Converter, Map};
use crate::reading;

/// One feed, as its table and its provider's say it is.
#[derive(Debug)]
pub struct Feed {
    /// `PROVIDER/FEED`.
    pub id: String,
    /// The folder's name.
    pub provider: String,
    /// For people.
    pub provider_name: String,
    pub name: String,
    /// The table's version: a hash of all that it says.
    pub version: String,
    pub home: Option<String>,
    pub docs: Option<String>,
    pub fetch: Option<String>,
    pub every: Option<String>,
    pub format: Format,
    /// The encoding that the table declares.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    pub means: Option<&'static Classification>,
    pub severity: Option<Severity>,
    pub kind: KindRule,
    /// The fields of which the first that a row has is its asset.
    pub asset: Vec<Field>,
    pub delivers: Delivers,
    pub tlp: Tlp,
    pub may: Vec<May>,
    /// Which file names are this feed's.
    pub file: Option<Regex>,
    /// What the group `type` of `file` captures.
    pub file_name: String,
    /// The version of its rows' first address, where that tells it from another feed with the same columns.
    pub ip: Option<u8>,
    /// The header as it is known; empty where the table does not say.
    pub columns: Vec<String>,
    pub absent: Absent,
    pub volatile: Vec<String>,
    pub secret: Vec<String>,
    pub private: Vec<String>,
    /// The day from which the feed is dead.
    pub retired: Option<String>,
    /// The day from which this version of the table holds, as `YYYY-MM`.
    pub since: Option<String>,
    /// Rows that are neither event nor reject: a column and the values it has in them.
    pub ignore: Vec<(String, Vec<String>)>,
    pub assignments: Vec<Assignment>,
    /// Constants, where no column has a value.
    pub always: Vec<(Field, String)>,
    /// Whether a column with a field's name is that field.
    pub own_names: bool,
}

/// How bytes fall into rows.
#[derive(Clone, Debug)]
pub enum Format {
    Csv(Csv),
    Html(Html),
    /// With steps from the document to its rows; `*` stands for all of a list or an object.
    Json {
        rows: Vec<String>,
        row: JsonRow,
    },
    JsonLines(JsonRow),
    Lines(Lines),
    /// MISP's events.
    Misp,
    Pairs(Pairs),
    Prose(Prose),
    /// STIX, and pages of TAXII.
    Stix,
    /// The names of elements, from the document's own to the rows'; `*` stands for any.
    Xml {
        rows: Vec<String>,
    },
}

/// What a row of JSON may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonRow {
    /// Steps from the row to a list of which each element makes a row.
    pub each: Vec<String>,
    /// Whether a row may be a value that is no object: it is the column `value`.
    pub plain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Html {
    /// Which of the page's tables, counted from one; none: all that have the feed's columns.
    pub table: Option<usize>,
    /// Whether a table's first row names its cells; else the feed's `columns` do.
    pub header: bool,
    /// Whether a cell's link is a column too, `NAME.link`.
    pub links: bool,
}

#[derive(Clone, Debug)]
pub struct Lines {
    pub pattern: Regex,
    pub comment: Option<String>,
    /// Lines that say nothing.
    pub skip: Option<Regex>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    pub between: String,
    pub equals: String,
    pub quote: Option<u8>,
    pub comment: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prose {
    /// Whether names count that nobody defanged.
    pub bare: bool,
    /// The sorts of indicators that are wanted; all if there are none.
    pub find: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    /// One character or several.
    pub separator: String,
    pub quote: Option<u8>,
    pub comment: Option<String>,
    pub header: CsvHeader,
    /// Lines at the top that are neither header nor rows.
    pub skip: usize,
    /// Whether white space around a cell is no part of it.
    pub trim: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CsvHeader {
    /// The first row.
    First,
    /// The last comment line before the rows.
    Commented,
    /// None: the table's `columns` name the cells.
    None,
}

/// What a cell is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Field(Field),
    /// In `extra`, under this key.
    Extra(String),
    /// Known and not wanted.
    Nothing,
}

/// "This column, under these conditions, through these converters, is that."
#[derive(Clone, Debug)]
pub struct Assignment {
    pub column: String,
    pub conditions: Vec<Condition>,
    pub converters: Vec<Converter>,
    pub target: Target,
    /// The target and the converters as the table writes them.
    pub rule: String,
}

/// Whether a column's cell is (or is not) one of some words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub column: String,
    pub words: Vec<String>,
    pub among: bool,
}

/// A row's kind: one for all, or by a field's value.
#[derive(Clone, Debug)]
pub enum KindRule {
    Always(Kind),
    By { field: Field, kinds: Vec<(String, Kind)>, otherwise: Option<Kind> },
}

impl KindRule {
    /// All that a row may be.
    pub fn kinds(&self) -> Vec<Kind> {
        match self {
            KindRule::Always(kind) => vec![*kind],
            KindRule::By { kinds, otherwise, .. } => kinds.iter().map(|(_, kind)| *kind).chain(*otherwise).collect(),
        }
    }
}

impl Feed {
    pub fn may(&self, what: May) -> bool {
        self.may.contains(&what)
    }

    /// Whether a column is dropped before anything is kept, in whichever case its name is written.
    pub fn is_secret(&self, column: &str) -> bool {
        self.secret.iter().any(|secret| secret.eq_ignore_ascii_case(column))
    }

    /// Every field that a row may fill, whatever its report's columns are.
    pub fn fields(&self) -> Vec<Field> {
        let house = [Field::TIME_SOURCE, Field::TIME_OBSERVATION, Field::EXTRA, Field::TLP];
        let meaning = [Field::CLASSIFICATION_TYPE, Field::CLASSIFICATION_TAXONOMY];
        let targets = self.assignments.iter().filter_map(|assignment| match assignment.target {
            Target::Field(field) => Some(field),
            _ => None,
        });
        let own = Field::all().filter(|_| self.own_names);
        let mut fields: Vec<Field> =
            targets.chain(self.always.iter().map(|(field, _)| *field)).chain(house).chain(meaning).chain(own).collect();
        fields.sort_unstable();
        fields.dedup();
        fields
    }
}

/// Patterns that were compiled already: the feeds of a family share theirs, and compiling is most of a table's cost.
#[derive(Debug, Default)]
pub struct Patterns(HashMap<String, Regex>);

impl Patterns {
    fn get(&mut self, text: &str) -> Result<Regex, regex::Error> {
        if let Some(known) = self.0.get(text) {
            return Ok(known.clone());
        }
        let pattern = Regex::new(text)?;
        self.0.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }
}

/// The keys that a table may have at its top.
const KEYS: &[&str] = &[
    "name",
    "home",
    "docs",
    "fetch",
    "every",
    "format",
    "means",
    "identifier",
    "severity",
    "kind",
    "asset",
    "delivers",
    "tlp",
    "may",
    "file",
    "file_name",
    "ip",
    "columns",
    "absent",
    "volatile",
    "secret",
    "private",
    "retired",
    "since",
    "encoding",
    "csv",
    "html",
    "json",
    "jsonl",
    "lines",
    "pairs",
    "prose",
    "xml",
    "rows",
    "always",
    "map",
    "ignore",
    "group",
    "family",
    "feed",
];

/// All feeds of one file: one, or those of a family. Each comes with what is wrong in it, if anything is.
pub fn read(
    provider: &str,
    provider_table: &Table,
    file: &str,
    table: &Table,
    patterns: &mut Patterns,
) -> Vec<(String, Result<Feed, String>)> {
    let mut shared = provider_table.clone();
    shared.remove("name");
    let mut base = merge(table, &shared);
    if table.get("family").and_then(Value::as_bool) != Some(true) {
        let id = format!("{provider}/{file}");
        let feed = build(&id, provider_table, &base, patterns);
        return vec![(id, feed)];
    }
    let Some(Value::Table(feeds)) = table.get("feed") else {
        return vec![(format!("{provider}/{file}"), Err("a family needs feeds: [feed.NAME]".into()))];
    };
    base.remove("feed");
    base.remove("family");
    let mut one = |(name, value): (&String, &Value)| {
        let id = format!("{provider}/{name}");
        let feed = match value {
            Value::Table(own) => build(&id, provider_table, &merge(own, &base), patterns),
            _ => Err(format!("feed.{name} is not a table")),
        };
        (id, feed)
    };
    feeds.iter().map(&mut one).collect()
}

/// What `own` says, and what `base` says where `own` is silent. Rules, constants and maps are merged one by one.
fn merge(own: &Table, base: &Table) -> Table {
    let mut merged = own.clone();
    for (key, value) in base {
        match (merged.get_mut(key), value) {
            (Some(Value::Table(ours)), Value::Table(theirs)) if matches!(key.as_str(), "rows" | "always" | "map" | "group" | "csv") => {
                for (name, rule) in theirs {
                    if !ours.contains_key(name) {
                        ours.insert(name.clone(), rule.clone());
                    }
                }
            }
            (Some(_), _) => {}
            (None, _) => {
                merged.insert(key.clone(), value.clone());
            }
        }
    }
    merged
}

/// Whether a file's table is, or as a family has, the feed of this name.
pub(crate) fn has_feed(file: &str, table: &Table, name: &str) -> bool {
    match table.get("feed") {
        Some(Value::Table(feeds)) => feeds.contains_key(name),
        _ => file == name,
    }
}

/// Adds to a feed the columns of `more` that its table does not know, with their rules. Whatever the table says stays as it
/// is; one that states no columns is left alone.
pub(crate) fn extend(file: &mut Table, name: &str, provider_table: &Table, more: &Table) {
    let header = |table: &Table| -> Table {
        let said = ["columns", "group"].into_iter().filter_map(|key| Some((key.to_owned(), table.get(key)?.clone())));
        said.collect()
    };
    let base = merge(&header(file), &header(provider_table));
    let own =
        if file.contains_key("feed") { file.get_mut("feed").and_then(|feeds| feeds.get_mut(name)?.as_table_mut()) } else { Some(file) };
    let Some(own) = own else { return };
    // What cannot be read is left for `build` to complain of.
    let (Ok(mut known), Ok(more_columns)) = (columns(&merge(&header(own), &base)), words(more, "columns")) else { return };
    let added: Vec<String> = more_columns.into_iter().filter(|column| !known.contains(column)).collect();
    if known.is_empty() || added.is_empty() {
        return;
    }
    for column in &added {
        add(own, "rows", column, more);
    }
    for map in more.get("map").and_then(Value::as_table).into_iter().flat_map(Table::keys) {
        add(own, "map", map, more);
    }
    known.extend(added);
    own.insert("columns".into(), Value::Array(known.into_iter().map(Value::String).collect()));
}

/// Copies one entry of a section of `more`, unless `own` has it.
fn add(own: &mut Table, section: &str, key: &str, more: &Table) {
    let Some(value) = more.get(section).and_then(|section| section.get(key)) else { return };
    let section = own.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.entry(key).or_insert_with(|| value.clone());
    }
}

fn build(id: &str, provider_table: &Table, table: &Table, patterns: &mut Patterns) -> Result<Feed, String> {
    if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("\"{key}\" is no key of a feed's table"));
    }
    let (provider, file) = id.split_once('/').expect("an id is PROVIDER/FEED");
    let maps = maps(table)?;
    let (format, own_names) = format(table)?;
    let mut always = constants(table)?;
    if let Some(identifier) = text(table, "identifier")? {
        always.push((Field::CLASSIFICATION_IDENTIFIER, identifier.to_owned()));
    }
    let feed = Feed {
        id: id.to_owned(),
        provider: provider.to_owned(),
        provider_name: text(provider_table, "name")?.unwrap_or(provider).to_owned(),
        name: text(table, "name")?.unwrap_or(file).to_owned(),
        version: version(table),
        home: owned(table, "home")?,
        docs: owned(table, "docs")?,
        fetch: owned(table, "fetch")?,
        every: every(table)?,
        encoding: encoding(table)?,
        means: means(table)?,
        severity: word(table, "severity")?,
        kind: kind(table)?,
        asset: asset(table)?,
        delivers: word(table, "delivers")?.ok_or("delivers is missing: say what a delivery is")?,
        tlp: tlp(table)?,
        may: words(table, "may")?.iter().map(|word| word.parse()).collect::<Result<_, _>>()?,
        file: text(table, "file")?.map(|text| patterns.get(text)).transpose().map_err(|wrong| format!("file: {wrong}"))?,
        file_name: text(table, "file_name")?.unwrap_or(file).to_owned(),
        ip: ip(table)?,
        columns: columns(table)?,
        absent: Absent::new(words(table, "absent")?),
        volatile: words(table, "volatile")?,
        secret: words(table, "secret")?,
        private: words(table, "private")?,
        retired: owned(table, "retired")?,
        since: owned(table, "since")?,
        ignore: ignore(table)?,
        assignments: assignments(table, &maps)?,
        always,
        own_names,
        format,
    };
    check(&feed)?;
    Ok(feed)
}

/// What no single key shows.
fn check(feed: &Feed) -> Result<(), String> {
    let maps_time = feed.assignments.iter().any(|assignment| assignment.target == Target::Field(Field::TIME_OBSERVATION));
    let rewritable = matches!(&feed.format, Format::Csv(_)) || matches!(&feed.format, Format::JsonLines(row) if *row == JsonRow::default());
    if !rewritable && !feed.secret.is_empty() {
        return Err("secret columns can be taken out of csv and jsonl only".into());
    }
    let is_nameless = match &feed.format {
        Format::Csv(csv) => csv.header == CsvHeader::None,
        Format::Html(html) => !html.header,
        _ => false,
    };
    if is_nameless && feed.columns.is_empty() {
        return Err("without a header, columns must name the cells".into());
    }
    let typed = |assignment: &Assignment| assignment.target == Target::Field(Field::CLASSIFICATION_TYPE);
    if feed.means.is_none() && !feed.own_names && !feed.assignments.iter().any(typed) {
        return Err("means is missing, and no rule sets classification.type".into());
    }
    let has = |field: &Field| {
        feed.own_names
            || feed.assignments.iter().any(|assignment| assignment.target == Target::Field(*field))
            || feed.always.iter().any(|(constant, _)| constant == field)
    };
    if !feed.asset.iter().any(has) {
        return Err(format!("no rule gives the asset, {}", names(&feed.asset)));
    }
    for (field, value) in &feed.always {
        reading::check_constant(*field, value).map_err(|wrong| format!("always: {field}: {value:?} is {}", wrong.0))?;
    }
    if maps_time && !feed.own_names {
        return Err("time.observation is when we received it: no column may set it".into());
    }
    Ok(())
}

pub(crate) fn names(fields: &[Field]) -> String {
    fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(" or ")
}

/// A hash of what the table says, in its order.
fn version(table: &Table) -> String {
    let mut said = String::new();
    table.iter().for_each(|(key, value)| say(key, value, &mut said));
    event::id::name(said.as_bytes()).chars().take(12).collect()
}

/// Appends a value so that no two different tables read alike: every word is preceded by its length.
fn say(key: &str, value: &Value, out: &mut String) {
    let word = |text: &str, out: &mut String| write!(out, "{}:{text}", text.len()).expect("a string takes any text");
    word(key, out);
    match value {
        Value::Table(table) => {
            out.push('{');
            table.iter().for_each(|(key, value)| say(key, value, out));
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            values.iter().for_each(|value| say("", value, out));
            out.push(']');
        }
        Value::String(text) => word(text, out),
        other => word(&other.to_string(), out),
    }
}

fn text<'t>(table: &'t Table, key: &str) -> Result<Option<&'t str>, String> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Datetime(_)) => Err(format!("{key} is a date without quotes")),
        Some(_) => Err(format!("{key} is not text")),
    }
}

fn owned(table: &Table, key: &str) -> Result<Option<String>, String> {
    Ok(text(table, key)?.map(str::to_owned))
}

/// A list of words, or one text of words.
fn words(table: &Table, key: &str) -> Result<Vec<String>, String> {
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        Some(Value::Array(list)) => {
            let one = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| format!("{key} holds something that is not text"));
            list.iter().map(one).collect()
        }
        Some(_) => Err(format!("{key} is neither a list nor text")),
    }
}

fn word<T: std::str::FromStr<Err = String>>(table: &Table, key: &str) -> Result<Option<T>, String> {
    text(table, key)?.map(str::parse).transpose().map_err(|wrong| format!("{key}: {wrong}"))
}

fn pattern(table: &Table, key: &str) -> Result<Option<Regex>, String> {
    text(table, key)?.map(Regex::new).transpose().map_err(|wrong| format!("{key}: {wrong}"))
}

fn encoding(table: &Table) -> Result<Option<&'static encoding_rs::Encoding>, String> {
    let Some(label) = text(table, "encoding")? else { return Ok(None) };
    encoding_rs::Encoding::for_label(label.as_bytes()).map(Some).ok_or_else(|| format!("encoding: \"{label}\" is none that is known"))
}

fn every(table: &Table) -> Result<Option<String>, String> {
    let every = owned(table, "every")?;
    if let Some(wrong) = every.as_deref().and_then(|every| time::span(every).err()) {
        return Err(format!("every: {}", wrong.0));
    }
    Ok(every)
}

fn means(table: &Table) -> Result<Option<&'static Classification>, String> {
    let Some(name) = text(table, "means")? else { return Ok(None) };
    taxonomy::classification(name).map(Some).ok_or_else(|| format!("means: \"{name}\" is no classification type"))
}

fn ip(table: &Table) -> Result<Option<u8>, String> {
    match table.get("ip").map(Value::as_integer) {
        None => Ok(None),
        Some(Some(4)) => Ok(Some(4)),
        Some(Some(6)) => Ok(Some(6)),
        Some(_) => Err("ip is neither 4 nor 6".into()),
    }
}

fn tlp(table: &Table) -> Result<Tlp, String> {
    let label = text(table, "tlp")?.ok_or("tlp is missing: say who may see it")?;
    Tlp::parse(label).ok_or_else(|| format!("tlp: \"{label}\" is no label"))
}

fn field(name: &str) -> Result<Field, String> {
    Field::named(name).ok_or_else(|| format!("\"{name}\" is no field"))
}

fn asset(table: &Table) -> Result<Vec<Field>, String> {
    let names = words(table, "asset")?;
    if names.is_empty() {
        return Err("asset is missing: say which field's owner must look".into());
    }
    names.iter().map(|name| field(name)).collect()
}

fn kind(table: &Table) -> Result<KindRule, String> {
    let parse = |value: &Value| -> Result<Kind, String> { value.as_str().ok_or("kind is not text")?.parse() };
    match table.get("kind") {
        None => Err("kind is missing: say what sort of problem the rows speak of".into()),
        Some(Value::Table(rule)) => {
            let by = field(text(rule, "by")?.ok_or("kind: by is missing")?)?;
            let kinds = rule.iter().filter(|(word, _)| !matches!(word.as_str(), "by" | "otherwise"));
            let kinds = kinds.map(|(word, value)| Ok((word.clone(), parse(value)?))).collect::<Result<_, String>>()?;
            Ok(KindRule::By { field: by, kinds, otherwise: rule.get("otherwise").map(parse).transpose()? })
        }
        Some(value) => Ok(KindRule::Always(parse(value)?)),
    }
}

/// The header, its groups unfolded.
fn columns(table: &Table) -> Result<Vec<String>, String> {
    let groups = match table.get("group") {
        None => Table::new(),
        Some(Value::Table(groups)) => groups.clone(),
        Some(_) => return Err("group is not a table".into()),
    };
    let mut columns = Vec::new();
    for word in words(table, "columns")? {
        match word.strip_prefix('$') {
            None => columns.push(word),
            Some(group) => {
                let text = groups.get(group).and_then(Value::as_str).ok_or_else(|| format!("columns: there is no group \"{group}\""))?;
                columns.extend(text.split_whitespace().map(str::to_owned));
            }
        }
    }
    Ok(columns)
}

fn constants(table: &Table) -> Result<Vec<(Field, String)>, String> {
    let Some(value) = table.get("always") else { return Ok(Vec::new()) };
    let always = value.as_table().ok_or("always is not a table")?;
    let one = |(name, value): (&String, &Value)| {
        let constant = value.as_str().ok_or_else(|| format!("always: {name} is not text"))?;
        Ok((field(name)?, constant.to_owned()))
    };
    always.iter().map(one).collect()
}

fn ignore(table: &Table) -> Result<Vec<(String, Vec<String>)>, String> {
    let Some(value) = table.get("ignore") else { return Ok(Vec::new()) };
    let ignore = value.as_table().ok_or("ignore is not a table")?;
    ignore
        .iter()
        .map(|(column, value)| match value {
            Value::String(word) => Ok((column.clone(), vec![word.clone()])),
            _ => Ok((column.clone(), words(ignore, column)?)),
        })
        .collect()
}

fn maps(table: &Table) -> Result<HashMap<String, Arc<Map>>, String> {
    let Some(value) = table.get("map") else { return Ok(HashMap::new()) };
    let maps = value.as_table().ok_or("map is not a table")?;
    let one = |(name, value): (&String, &Value)| {
        let map = value.as_table().ok_or_else(|| format!("map.{name} is not a table"))?;
        let entry = |(word, value): (&String, &Value)| {
            Ok((word.clone(), value.as_str().ok_or_else(|| format!("map.{name}: {word} is not text"))?.to_owned()))
        };
        let entries: Vec<(String, String)> = map.iter().map(entry).collect::<Result<_, String>>()?;
        Ok((name.clone(), Arc::new(Map::new(entries))))
    };
    maps.iter().map(one).collect()
}

fn format(table: &Table) -> Result<(Format, bool), String> {
    let none = Table::new();
    let section = |key: &str| table.get(key).and_then(Value::as_table).unwrap_or(&none);
    Ok(match text(table, "format")?.ok_or("format is missing: say what shape the report has")? {
        "csv" => (Format::Csv(csv(section("csv"))?), false),
        "html" => (Format::Html(html(section("html"))?), false),
        "json" => (Format::Json { rows: path(section("json"), "rows")?, row: json_row(section("json"))? }, false),
        "jsonl" => (Format::JsonLines(json_row(section("jsonl"))?), false),
        "intelmq" => (Format::JsonLines(JsonRow::default()), true),
        "lines" => {
            let section = section("lines");
            let pattern = pattern(section, "pattern")?.ok_or("lines: pattern is missing")?;
            let skip = self::pattern(section, "skip").map_err(|wrong| format!("lines: {wrong}"))?;
            (Format::Lines(Lines { pattern, comment: owned(section, "comment")?, skip }), false)
        }
        "misp" => (Format::Misp, false),
        "pairs" => (Format::Pairs(pairs(section("pairs"))?), false),
        "prose" => (Format::Prose(prose(section("prose"))?), false),
        "stix" => (Format::Stix, false),
        "xml" => {
            let rows = path(section("xml"), "rows")?;
            if rows.is_empty() {
                return Err("xml: rows is missing: say which elements are rows, from the document's own on".into());
            }
            (Format::Xml { rows }, false)
        }
        other => return Err(format!("format: \"{other}\" is none of {}", FORMATS.join(", "))),
    })
}

/// Every shape, by the name that a table gives it.
const FORMATS: &[&str] = &["csv", "html", "intelmq", "json", "jsonl", "lines", "misp", "pairs", "prose", "stix", "xml"];

fn json_row(section: &Table) -> Result<JsonRow, String> {
    Ok(JsonRow { each: path(section, "each")?, plain: truth(section, "plain", false)? })
}

fn html(section: &Table) -> Result<Html, String> {
    let table = match section.get("table") {
        None => None,
        Some(number) => {
            let number = number.as_integer().and_then(|number| usize::try_from(number).ok()).filter(|number| *number > 0);
            Some(number.ok_or("html: table is the number of a table, from 1 on")?)
        }
    };
    Ok(Html { table, header: truth(section, "header", true)?, links: truth(section, "links", false)? })
}

fn pairs(section: &Table) -> Result<Pairs, String> {
    let given = |key: &str, default: &str| match text(section, key)?.unwrap_or(default) {
        "" => Err(format!("pairs: {key} is empty")),
        given => Ok(given.to_owned()),
    };
    let (between, equals) = (given("between", " ")?, given("equals", "=")?);
    if between == equals {
        return Err("pairs: between and equals must differ".into());
    }
    Ok(Pairs { between, equals, quote: byte(section, "quote", Some(b'"'))?, comment: owned(section, "comment")? })
}

fn prose(section: &Table) -> Result<Prose, String> {
    let find = words(section, "find")?;
    if let Some(unknown) = find.iter().find(|word| !INDICATORS.contains(&word.as_str())) {
        return Err(format!("prose: find: \"{unknown}\" is none of {}", INDICATORS.join(", ")));
    }
    Ok(Prose { bare: truth(section, "bare", false)?, find })
}

/// What prose is searched for.
const INDICATORS: &[&str] = &["ip", "ip:port", "network", "domain", "url", "email", "md5", "sha1", "sha256", "sha512", "cve", "asn"];

fn truth(section: &Table, key: &str, default: bool) -> Result<bool, String> {
    match section.get(key) {
        None => Ok(default),
        Some(value) => value.as_bool().ok_or_else(|| format!("{key} is neither true nor false")),
    }
}

/// One ASCII character; none where the text is empty.
fn byte(section: &Table, key: &str, default: Option<u8>) -> Result<Option<u8>, String> {
    match text(section, key)? {
        None => Ok(default),
        Some("") => Ok(None),
        Some(text) if text.len() == 1 => Ok(text.bytes().next()),
        Some(_) => Err(format!("{key} is more than one ASCII character")),
    }
}

/// Steps with dots between them.
fn path(section: &Table, key: &str) -> Result<Vec<String>, String> {
    Ok(text(section, key)?.unwrap_or_default().split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect())
}

fn csv(section: &Table) -> Result<Csv, String> {
    let header = match section.get("header") {
        None | Some(Value::Boolean(true)) => CsvHeader::First,
        Some(Value::Boolean(false)) => CsvHeader::None,
        Some(Value::String(word)) if word == "commented" => CsvHeader::Commented,
        Some(_) => return Err("csv: header is true, false or \"commented\"".into()),
    };
    let separator = text(section, "separator")?.unwrap_or(",");
    if separator.is_empty() {
        return Err("csv: separator is empty".into());
    }
    let quote = byte(section, "quote", Some(b'"')).map_err(|wrong| format!("csv: {wrong}"))?;
    if separator.bytes().any(|byte| byte == b'\n' || Some(byte) == quote) || quote == Some(b'\n') {
        return Err("csv: separator, quote and line end must differ".into());
    }
    let skip = section.get("skip").map_or(Some(0), Value::as_integer).and_then(|lines| usize::try_from(lines).ok());
    Ok(Csv {
        separator: separator.to_owned(),
        quote,
        comment: owned(section, "comment")?,
        header,
        skip: skip.ok_or("csv: skip is not a number of lines")?,
        trim: section.get("spaces").and_then(Value::as_bool).unwrap_or(true),
    })
}

fn assignments(table: &Table, maps: &HashMap<String, Arc<Map>>) -> Result<Vec<Assignment>, String> {
    let Some(value) = table.get("rows") else { return Ok(Vec::new()) };
    let rows = value.as_table().ok_or("rows is not a table")?;
    let mut found = Vec::new();
    for (column, rule) in rows {
        unfold(column, rule, &[], maps, &mut found).map_err(|wrong| format!("rows: {column}: {wrong}"))?;
    }
    Ok(found)
}

/// Flattens a rule: text, a list of rules, or a choice of rules by another column.
fn unfold(
    column: &str,
    rule: &Value,
    conditions: &[Condition],
    maps: &HashMap<String, Arc<Map>>,
    found: &mut Vec<Assignment>,
) -> Result<(), String> {
    match rule {
        Value::String(text) => found.push(assignment(column, text, conditions, maps)?),
        Value::Array(rules) => {
            for rule in rules {
                unfold(column, rule, conditions, maps, found)?;
            }
        }
        Value::Table(choice) => {
            let by = text(choice, "by")?.ok_or("a choice needs by = \"COLUMN\"")?;
            let named = || choice.iter().filter(|(word, _)| !matches!(word.as_str(), "by" | "otherwise"));
            let all: Vec<String> = named().map(|(word, _)| word.clone()).collect();
            let arms = named().map(|(word, rule)| (rule, vec![word.clone()], true));
            for (rule, words, among) in arms.chain(choice.get("otherwise").map(|rule| (rule, all.clone(), false))) {
                let mut conditions = conditions.to_vec();
                conditions.push(Condition { column: by.to_owned(), words, among });
                unfold(column, rule, &conditions, maps, found)?;
            }
        }
        _ => return Err("a rule is text, a list, or a choice by another column".into()),
    }
    Ok(())
}

fn assignment(column: &str, rule: &str, conditions: &[Condition], maps: &HashMap<String, Arc<Map>>) -> Result<Assignment, String> {
    let mut parts = rule.split(" | ");
    let target = match parts.next().unwrap_or_default().trim() {
        "-" => Target::Nothing,
        "extra" => Target::Extra(column.to_owned()),
        target => match target.strip_prefix("extra.") {
            Some(key) => Target::Extra(key.to_owned()),
            None => Target::Field(field(target)?),
        },
    };
    let converters = parts.map(|part| convert::parse(part.trim(), maps)).collect::<Result<_, _>>()?;
    Ok(Assignment { column: column.to_owned(), conditions: conditions.to_vec(), converters, target, rule: rule.to_owned() })
}
