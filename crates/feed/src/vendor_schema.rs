//! A vendor's own description of its reports, made tables of feeds, so that a new kind of report works the day it comes.
//!
//! The document is one JSON object with an entry for each report type:
//!
//! ```json
//! "scan_x": {"feed_name": "Open X", "file_name": "scan_x", "url": "https://...",
//!            "constant_fields": {"classification.type": "vulnerable-system"},
//!            "required_fields": [["time.source", "timestamp", "add_UTC_to_timestamp"]],
//!            "optional_fields": [["extra.", "tag", "validate_to_none"], ["source.url", "url", "convert_http_host_and_url", true]]}
//! ```
//!
//! A row is an IntelMQ field, a column, a function that IntelMQ's parser has for it, and whether that looks at the whole row.
//! What such a document cannot know is what a report is for us: kind, asset and delivers are guessed carefully, and a person
//! should look at them. What our own tables say of a report always goes before what the document says.

use std::collections::BTreeSet;

use event::{Kind, taxonomy};
use serde::Deserialize;
use serde_json::Value as Json;
use toml::{Table, Value};

use crate::Catalog;
use crate::catalog::{File, UPDATED};

/// What a document comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// How many report types the document has.
    pub all: usize,
    /// Those that no table had, the last update's neither, and those whose tables that update had otherwise.
    pub new: Vec<String>,
    /// The same of those that have columns which their tables do not know; with these columns.
    pub extended: Vec<(String, Vec<String>)>,
    /// Those of which no sound table can be made, and why.
    pub refused: Vec<(String, String)>,
    /// The file [`UPDATED`] of the provider's folder.
    pub text: String,
}

/// What a function does, as converters: where the target is `extra`, and where it is a field, which reads its own type.
const FUNCTIONS: &[(&str, &str, &str)] = &[
    ("validate_to_none", "", ""),
    ("validate_fqdn", "", ""),
    ("validate_ip", "address", "address"),
    ("validate_network", "network", "network"),
    ("invalidate_zero", "nonzero", ""),
    ("convert_int", "any | int", "any"),
    ("convert_float", "any | float", "any"),
    ("convert_bool", "any | bool", "any"),
    ("add_UTC_to_timestamp", "time", ""),
    ("convert_date", "time", "time"),
    ("convert_date_utc", "time", "time"),
    ("extract_cve_from_tag", "cve", "cve"),
    ("force_base64", "any | base64", "any | base64"),
    ("category_or_detail", "any | or detail", "any | or detail"),
];

/// Functions that look for one word within a cell: what it becomes, and what all else is.
const LOOKUPS: &[(&str, &str, &str, &str)] = &[
    ("scan_exchange_taxonomy", "webshell", "intrusions", "vulnerable"),
    ("scan_exchange_type", "webshell", "system-compromise", "vulnerable-system"),
    ("scan_exchange_identifier", "webshell", "exchange-server-webshell", "vulnerable-exchange-server"),
];

/// A path and a host, each in a column of its own.
const URL_FUNCTION: &str = "convert_http_host_and_url";
/// The columns in which that function looks for the host, the first of which counts that says something.
const HOST_COLUMNS: [&str; 4] = ["cc_dns", "http_host", "hostname", "ip"];

/// What the functions take for nothing.
const ABSENT: [&str; 2] = ["0", "unknown"];

/// Where a report's place may stand: the first of these that a row has.
const PLACES: [&str; 4] = ["source.ip", "source.url", "source.fqdn", "source.network"];
/// The place of a report that has none of those.
const ACCOUNT: &str = "source.account";

/// The tables of those report types that the files of a provider do not know, or do not know all columns of.
///
/// `files` are those of all feeds. This update takes the place of the last one's [`UPDATED`] file among them; only report types
/// that the document has no more are taken over from there, since reports of them may still come or be read again.
pub fn read(document: &[u8], provider: &str, files: &[File]) -> Result<Update, String> {
    let reports = reports(document)?;
    let known = Known::read(provider, files)?;
    known.require_acquaintance(&reports)?;
    let (mut drafts, mut refused) = (Vec::new(), Vec::new());
    let mut file_names = BTreeSet::new();
    for (name, report) in &reports {
        match known.draft(name, report, &mut file_names) {
            Ok(Some(draft)) => drafts.push(draft),
            Ok(None) => {}
            Err(why) => refused.push((name.escape_debug().to_string(), why)),
        }
    }
    known.take_over(&mut drafts);
    let drafts = known.sound(drafts, &mut refused);
    let news = drafts.iter().filter(|draft| known.last.get(&draft.name).and_then(Value::as_table) != Some(&draft.table));
    let (new, extended): (Vec<&Draft>, Vec<&Draft>) = news.partition(|draft| draft.what == What::New);
    Ok(Update {
        all: reports.len(),
        new: new.iter().map(|draft| draft.name.clone()).collect(),
        extended: extended.iter().map(|draft| (draft.name.clone(), draft.columns.clone())).collect(),
        refused,
        text: text(&drafts),
    })
}

/// The document's entries but those about itself, which begin with `_`.
fn reports(document: &[u8]) -> Result<Vec<(String, Json)>, String> {
    let document: Json = serde_json::from_slice(document).map_err(|wrong| format!("the document is not JSON: {wrong}"))?;
    let Json::Object(entries) = document else { return Err("the document is not a JSON object of report types".into()) };
    let reports: Vec<_> = entries.into_iter().filter(|(name, _)| !name.starts_with('_')).collect();
    if reports.is_empty() {
        return Err("the document has no report type".into());
    }
    Ok(reports)
}

/// What is known without the document.
struct Known {
    provider: String,
    /// The provider's files but the updated one.
    files: Vec<File>,
    /// What all of its feeds share.
    shared: Table,
    catalog: Catalog,
    /// The feeds of the updated file that is there.
    last: Table,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    New,
    /// Only columns of a known one.
    Columns,
    /// Of the last update: the document has it no more.
    TakenOver,
}

impl What {
    fn about(self) -> &'static str {
        match self {
            What::New => "New. A person should look at `kind`, `asset` and `delivers`, and whether a column is `secret` or `private`.",
            What::Columns => "Known, but for these columns. A person should look whether one is `secret` or `private`.",
            What::TakenOver => "Of an earlier document: in the last one it is missing, or refused.",
        }
    }
}

/// The table of one report type, or what it adds to a known one.
struct Draft {
    name: String,
    what: What,
    /// Those that are not known yet.
    columns: Vec<String>,
    table: Table,
}

impl Known {
    fn read(provider: &str, files: &[File]) -> Result<Known, String> {
        let of_provider = |file: &&File| file.path.split_once('/').is_some_and(|(folder, _)| folder == provider);
        let is_updated = |file: &File| file.path.ends_with(&format!("/{UPDATED}.toml"));
        let (updated, files): (Vec<File>, Vec<File>) = files.iter().filter(of_provider).cloned().partition(is_updated);
        // One that cannot be read has nothing to take over.
        let last = updated.iter().filter_map(|file| file.text.parse::<Table>().ok()?.remove("feed")?.as_table().cloned()).next();
        let shared = files.iter().find(|file| file.path.ends_with("/provider.toml"));
        let shared = shared.ok_or_else(|| format!("there is no provider \"{provider}\" with a provider.toml"))?;
        let shared = shared.text.parse::<Table>().map_err(|wrong| format!("{}: {wrong}", shared.path))?;
        let catalog = Catalog::read(&files);
        Ok(Known { provider: provider.to_owned(), files, shared, catalog, last: last.unwrap_or_default() })
    }

    /// A document that knows none of the provider's reports is another provider's.
    fn require_acquaintance(&self, reports: &[(String, Json)]) -> Result<(), String> {
        let mut ours = self.catalog.feeds().map(|feed| feed.file_name.as_str()).peekable();
        let theirs: BTreeSet<&str> = reports.iter().filter_map(|(_, report)| report.get("file_name")?.as_str()).collect();
        if ours.peek().is_none() || ours.any(|name| theirs.contains(name)) {
            return Ok(());
        }
        Err(format!("the document knows none of the reports of \"{}\": is it that provider's?", self.provider))
    }

    /// Nothing where our tables know it all.
    fn draft(&self, name: &str, report: &Json, file_names: &mut BTreeSet<String>) -> Result<Option<Draft>, String> {
        let report = Report::parse(name, report)?;
        if !file_names.insert(report.file_name.clone()) {
            return Err(format!("another report type has the file name \"{}\" too", report.file_name));
        }
        let known = self.catalog.feeds().find(|feed| feed.file_name == report.file_name);
        let columns = report.columns();
        match known {
            Some(feed) => {
                let name = feed.id.rsplit('/').next().unwrap_or_default().to_owned();
                let columns: Vec<String> = columns.into_iter().filter(|column| !feed.columns.contains(column)).collect();
                let is_known = feed.columns.is_empty() || columns.is_empty();
                if is_known { Ok(None) } else { Ok(Some(Draft { table: report.additions(&columns)?, name, what: What::Columns, columns })) }
            }
            None if self.catalog.feed(&format!("{}/{name}", self.provider)).is_some() => Err(format!(
                "we know it, but by another file name than \"{}\": see whether it is the same, and mend `file_name`",
                report.file_name
            )),
            None => Ok(Some(Draft { table: report.table(&self.shared)?, name: name.to_owned(), what: What::New, columns })),
        }
    }

    /// Adds what only the last update had. A file name that another feed has by now is that feed's.
    fn take_over(&self, drafts: &mut Vec<Draft>) {
        for (name, table) in &self.last {
            let Some(table) = table.as_table() else { continue };
            let mut feeds = self.catalog.feeds();
            let mut new = drafts.iter().filter(|draft| draft.what == What::New);
            let is_had = feeds.any(|feed| feed.id.ends_with(&format!("/{name}")) || feed.file_name == file_name(name, table))
                || new.any(|draft| draft.name == *name || file_name(&draft.name, &draft.table) == file_name(name, table));
            if !is_had {
                drafts.push(Draft { name: name.clone(), what: What::TakenOver, columns: Vec::new(), table: table.clone() });
            }
        }
    }

    /// Those drafts of which feeds can be made, found by making them.
    fn sound(&self, drafts: Vec<Draft>, refused: &mut Vec<(String, String)>) -> Vec<Draft> {
        let updated = File { path: format!("{}/{UPDATED}.toml", self.provider), text: text(&drafts) };
        let catalog = Catalog::read(&[self.files.as_slice(), &[updated]].concat());
        let (sound, broken): (Vec<_>, Vec<_>) = drafts.into_iter().partition(|draft| {
            let feed = catalog.feed(&format!("{}/{}", self.provider, draft.name));
            feed.is_some_and(|feed| draft.columns.iter().all(|column| feed.columns.contains(column)))
        });
        refused.extend(broken.into_iter().map(|draft| {
            let end = format!("/{}", draft.name);
            let why = catalog.broken.iter().find(|(of, _)| of.ends_with(&end) || of.ends_with(&format!("{UPDATED}.toml")));
            (draft.name, why.map_or_else(|| "no table can be made of it".to_owned(), |(_, why)| why.clone()))
        }));
        sound
    }
}

/// A report type as the document has it.
#[derive(Deserialize)]
#[serde(expecting = "a report type")]
struct Report {
    #[serde(skip)]
    name: String,
    feed_name: String,
    file_name: String,
    url: Option<String>,
    #[serde(default)]
    constant_fields: serde_json::Map<String, Json>,
    #[serde(default)]
    required_fields: Vec<Mapping>,
    #[serde(default)]
    optional_fields: Vec<Mapping>,
}

/// "This column, by this function, is that."
#[derive(Deserialize)]
#[serde(try_from = "Vec<Json>")]
struct Mapping {
    /// None where the column is not wanted.
    target: Option<String>,
    column: String,
    function: Option<String>,
}

impl TryFrom<Vec<Json>> for Mapping {
    type Error = String;

    fn try_from(row: Vec<Json>) -> Result<Mapping, String> {
        let (target, column, function) = match row.as_slice() {
            [target, Json::String(column)] => (target, column, None),
            [target, Json::String(column), Json::String(function)] => (target, column, Some(function)),
            [target, Json::String(column), Json::String(function), Json::Bool(_)] => (target, column, Some(function)),
            _ => return Err(format!("{} is no mapping of a column", Json::Array(row))),
        };
        let target = match target {
            Json::String(target) => Some(target.clone()),
            Json::Bool(false) => None,
            _ => return Err(format!("{target} is no field")),
        };
        Ok(Mapping { target, column: column.clone(), function: function.cloned() })
    }
}

/// What becomes of some columns.
#[derive(Default)]
struct Rules {
    /// By column, in the document's order.
    rows: Vec<(String, Vec<String>)>,
    maps: Table,
    /// What a lookup's target is where its word does not stand.
    otherwise: Vec<(String, String)>,
}

impl Report {
    fn parse(name: &str, report: &Json) -> Result<Report, String> {
        let report = Report { name: name.to_owned(), ..Report::deserialize(report).map_err(|wrong| wrong.to_string())? };
        // These become parts of paths, of rules and of what stands on a terminal.
        let is_name = |word: &&str| !word.is_empty() && word.bytes().all(is_of_name);
        let is_target = |target: &&str| target.split('.').all(|part| part.bytes().all(is_of_name));
        let names = report.mappings().map(|mapping| mapping.column.as_str()).chain([name, &report.file_name]);
        let wrong = names.filter(|word| !is_name(word)).chain(report.targets().filter(|target| !is_target(target))).next();
        if let Some(word) = wrong {
            return Err(format!("{word:?} is no name: letters, digits, _ and -"));
        }
        if report.feed_name.contains(char::is_control) {
            return Err(format!("{:?} is no name for people", report.feed_name));
        }
        Ok(report)
    }

    /// The required ones come first, as they do in a report.
    fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.required_fields.iter().chain(&self.optional_fields)
    }

    fn targets(&self) -> impl Iterator<Item = &str> {
        self.mappings().filter_map(|mapping| mapping.target.as_deref())
    }

    fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for mapping in self.mappings() {
            if !columns.contains(&mapping.column) {
                columns.push(mapping.column.clone());
            }
        }
        columns
    }

    fn rules(&self, columns: &[String]) -> Result<Rules, String> {
        let mut rules = Rules::default();
        for mapping in self.mappings().filter(|mapping| columns.contains(&mapping.column)) {
            let rule = self.rule(mapping, &mut rules).map_err(|wrong| format!("column \"{}\": {wrong}", mapping.column))?;
            match rules.rows.iter_mut().find(|(column, _)| *column == mapping.column) {
                Some((_, of_column)) if of_column.contains(&rule) => {}
                Some((_, of_column)) => of_column.push(rule),
                None => rules.rows.push((mapping.column.clone(), vec![rule])),
            }
        }
        Ok(rules)
    }

    fn rule(&self, mapping: &Mapping, rules: &mut Rules) -> Result<String, String> {
        let Some(target) = &mapping.target else { return Ok("-".into()) };
        let own = format!("extra.{}", mapping.column);
        let converters = self.converters(mapping.function.as_deref(), target, rules)?;
        let target = if target == "extra." || *target == own { "extra" } else { target };
        Ok(if converters.is_empty() { target.to_owned() } else { format!("{target} | {converters}") })
    }

    fn converters(&self, function: Option<&str>, target: &str, rules: &mut Rules) -> Result<String, String> {
        let Some(function) = function else { return Ok("any".into()) };
        if function == URL_FUNCTION {
            let has = |host: &&str| self.mappings().any(|mapping| mapping.column == *host);
            let hosts: Vec<&str> = HOST_COLUMNS.into_iter().filter(|host| has(host)).collect();
            // Without any of them a path is no URL, which is what the converter knows.
            let hosts = if hosts.is_empty() { HOST_COLUMNS.join(",") } else { hosts.join(",") };
            return Ok(format!("any | request {hosts} application"));
        }
        if let Some((_, word, value, otherwise)) = LOOKUPS.iter().find(|(name, ..)| *name == function) {
            let map = Table::from_iter([((*word).to_owned(), Value::String((*value).to_owned()))]);
            rules.maps.insert(function.to_owned(), Value::Table(map));
            rules.otherwise.push((target.to_owned(), (*otherwise).to_owned()));
            return Ok(format!("within {function}"));
        }
        let known = FUNCTIONS.iter().find(|(name, ..)| *name == function);
        let (_, in_extra, in_field) = known.ok_or_else(|| format!("the function {function:?} is not known here"))?;
        Ok((*if target.starts_with("extra.") { in_extra } else { in_field }).to_owned())
    }

    /// What a known feed's table lacks: these columns. Their rules all stand here, whatever the provider's are.
    fn additions(&self, columns: &[String]) -> Result<Table, String> {
        let rules = self.rules(columns)?;
        let mut table = Table::from_iter([("columns".to_owned(), Value::String(wrapped(columns)))]);
        put_section(&mut table, "rows", rules.rows.iter().map(|(column, rules)| (column.clone(), one_or_list(rules))).collect());
        put_section(&mut table, "map", rules.maps);
        Ok(table)
    }

    /// The table of a report type that we do not know, without what the provider's table says already.
    fn table(&self, shared: &Table) -> Result<Table, String> {
        let rules = self.rules(&self.columns())?;
        let constants = self.constants(&rules)?;
        let constant = |name: &str| constants.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let means = constant("classification.type").ok_or("it has no classification.type")?;
        let means = taxonomy::classification(means).ok_or_else(|| format!("{means:?} is no classification type"))?;
        let mut table = self.identity(means.name, constant("classification.identifier"))?;
        if shared.get("absent") != Some(&list(&ABSENT)) {
            table.insert("absent".into(), list(&ABSENT));
        }
        let is_said = |field: &str, value: &str| match field {
            "classification.type" | "classification.identifier" => true,
            "classification.taxonomy" => value == means.taxonomy,
            _ => false,
        };
        let always = constants.iter().filter(|(field, value)| !is_said(field, value));
        put_section(&mut table, "always", always.map(|(field, value)| (field.clone(), Value::String(value.clone()))).collect());
        let rows = rules.rows.iter().filter(|(column, rules)| !is_default(column, rules, shared));
        put_section(&mut table, "rows", rows.map(|(column, rules)| (column.clone(), one_or_list(rules))).collect());
        put_section(&mut table, "map", rules.maps);
        Ok(table)
    }

    /// What the report is: its names, its meaning, and what we take it for.
    fn identity(&self, means: &str, identifier: Option<&str>) -> Result<Table, String> {
        let targets: Vec<&str> = self.targets().collect();
        let asset = asset(&targets);
        if asset.is_empty() {
            return Err("no column says where it was: none is for the source's address, URL, name, network or account".into());
        }
        let docs = self.url.as_deref().filter(|url| url.starts_with("https://") && !url.contains(char::is_control));
        let file_name = Some(self.file_name.as_str()).filter(|name| *name != self.name);
        let text = |text: &str| Value::String(text.to_owned());
        let keys = [
            ("name", Some(text(&self.feed_name))),
            ("file_name", file_name.map(text)),
            ("ip", self.feed_name.contains("IPv6").then_some(Value::Integer(6))),
            ("docs", docs.map(text)),
            ("means", Some(text(means))),
            ("identifier", identifier.map(text)),
            ("kind", Some(text(kind(means, targets.contains(&"source.url")).name()))),
            ("asset", Some(one_or_list(&asset))),
            ("columns", Some(text(&wrapped(&self.columns())))),
        ];
        Ok(keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    }

    /// The document's, and those of its lookups where it has none.
    fn constants(&self, rules: &Rules) -> Result<Vec<(String, String)>, String> {
        let mut constants = Vec::new();
        for (field, value) in &self.constant_fields {
            let value = value.as_str().ok_or_else(|| format!("the constant {field} is not text"))?;
            constants.push((field.clone(), value.to_owned()));
        }
        for (field, value) in &rules.otherwise {
            if constants.iter().all(|(constant, _)| constant != field) {
                constants.push((field.clone(), value.clone()));
            }
        }
        Ok(constants)
    }
}

/// What the files of a feed with this table are called.
fn file_name<'t>(name: &'t str, table: &'t Table) -> &'t str {
    table.get("file_name").and_then(Value::as_str).unwrap_or(name)
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn asset(targets: &[&str]) -> Vec<&'static str> {
    let places: Vec<&str> = PLACES.into_iter().filter(|place| targets.contains(place)).collect();
    if places.is_empty() && targets.contains(&ACCOUNT) { vec![ACCOUNT] } else { places }
}

/// What such reports mostly are. Where that is not plain it is a listing, which blames nobody.
fn kind(means: &str, has_url: bool) -> Kind {
    match means {
        "infected-system" | "scanner" | "brute-force" => Kind::Bot,
        "c2-server" => Kind::C2,
        "ddos-amplifier" => Kind::Resolver,
        "vulnerable-system" | "potentially-unwanted-accessible" | "weak-crypto" | "information-disclosure" => Kind::Exposed,
        "phishing" | "malware-distribution" | "system-compromise" if has_url => Kind::Site,
        _ => Kind::Listing,
    }
}

/// Whether the column becomes the same without this rule: by the provider's, or else as what nobody mentions.
fn is_default(column: &str, rules: &[String], shared: &Table) -> bool {
    let in_order = |mut rules: Vec<String>| {
        rules.sort();
        rules
    };
    let spaced = |rule: &str| rule.split('|').map(str::trim).collect::<Vec<_>>().join(" | ");
    let provided = match shared.get("rows").and_then(|rows| rows.get(column)) {
        None => vec!["extra".to_owned()],
        Some(Value::String(rule)) => vec![spaced(rule)],
        Some(Value::Array(rules)) => rules.iter().filter_map(Value::as_str).map(spaced).collect(),
        Some(_) => return false,
    };
    in_order(provided) == in_order(rules.to_vec())
}

fn one_or_list(words: &[impl AsRef<str>]) -> Value {
    match words {
        [word] => Value::String(word.as_ref().to_owned()),
        words => list(words),
    }
}

fn list(words: &[impl AsRef<str>]) -> Value {
    Value::Array(words.iter().map(|word| Value::String(word.as_ref().to_owned())).collect())
}

fn put_section(table: &mut Table, key: &str, section: Table) {
    if !section.is_empty() {
        table.insert(key.to_owned(), Value::Table(section));
    }
}

/// Words on lines that a page has room for.
fn wrapped(words: &[String]) -> String {
    const WIDTH: usize = 120;
    let mut lines = vec![String::new()];
    for word in words {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= WIDTH => *line += &format!(" {word}"),
            _ => lines.push(word.clone()),
        }
    }
    lines.join("\n")
}

/// The file, to be read by people as well.
fn text(drafts: &[Draft]) -> String {
    let mut text = "\
# Written by `waglan feed update`, anew each time: report types of the provider's own document that the other tables do not
# have, and columns that they do not know. To mend a feed, put its mended table into another file of this folder: it wins.
family = true
"
    .to_owned();
    for draft in drafts {
        let feed = Table::from_iter([(draft.name.clone(), Value::Table(draft.table.clone()))]);
        let whole = Table::from_iter([("feed".to_owned(), Value::Table(feed))]);
        let table = toml::to_string_pretty(&whole).expect("a table of text, lists and tables can be written");
        text += &format!("\n# {}\n{table}", draft.what.about());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Beginning;
    use crate::{Arrival, Drift, Reader, Splitter, intelmq};

    const PROVIDER: &str = r#"
name = "Lighthouse"
file = '^(?P<type>\w+)\.csv$'
format = "csv"
tlp = "amber"
delivers = "observations"
absent = ["0", "unknown"]

[rows]
timestamp = "time.source"
ip        = "source.ip   | address"
port      = "source.port | any"
tag       = ["extra", "product.vulnerabilities | cve"]
speed     = "extra.knots"
"#;

    const FAMILY: &str = r#"
family = true
[group]
where = "timestamp ip port"
[feed.scan_buoy]
means = "vulnerable-system"
kind = "exposed"
asset = "source.ip"
columns = "$where colour"
rows = { colour = "extra.paint" }
[feed.scan_tide]
means = "other"
kind = "listing"
asset = "source.ip"
columns = "$where"
"#;

    const DOCUMENT: &str = r#"{
"_meta": {"change_log": ["Added scan_lamp."]},
"scan_buoy": {
    "feed_name": "Buoys", "file_name": "scan_buoy",
    "constant_fields": {"classification.type": "other"},
    "required_fields": [["time.source", "timestamp", "add_UTC_to_timestamp"], ["source.ip", "ip", "validate_ip"]],
    "optional_fields": [["extra.", "colour", "mix_paint"], ["extra.", "bell", "convert_bool"], ["extra.", "speed", "convert_int"]]
},
"scan_lamp": {
    "feed_name": "IPv6-Lamps", "file_name": "scan4_lamp", "url": "https://lighthouse.example/lamps",
    "constant_fields": {"classification.taxonomy": "vulnerable", "classification.type": "vulnerable-system",
                        "classification.identifier": "open-lamp", "protocol.application": "Lamp"},
    "required_fields": [["time.source", "timestamp", "add_UTC_to_timestamp"], ["source.ip", "ip", "validate_ip"],
                        ["source.port", "port", "convert_int"]],
    "optional_fields": [["extra.", "tag", "validate_to_none"], ["product.vulnerabilities", "tag", "extract_cve_from_tag"],
                        ["extra.", "note"], ["extra.", "maker", "validate_to_none"], ["extra.", "speed", "validate_to_none"],
                        ["extra.watts", "power", "convert_float"], ["destination.url", "http_url", "convert_http_host_and_url", true],
                        ["destination.fqdn", "http_host", "validate_fqdn"], [false, "serial"]]
},
"wreck": {
    "feed_name": "Wrecks", "file_name": "wreck",
    "constant_fields": {},
    "required_fields": [["time.source", "timestamp", "add_UTC_to_timestamp"]],
    "optional_fields": [["source.url", "page", "validate_to_none"], ["source.fqdn", "name", "validate_fqdn"],
                        ["classification.type", "state", "scan_exchange_type"]]
},
"scan_fog": {
    "feed_name": "Fog", "file_name": "scan_fog",
    "constant_fields": {"classification.type": "other"},
    "required_fields": [["source.ip", "ip", "listen_for_horn"]]
}
}"#;

    const UPDATED_TEXT: &str = r#"# Written by `waglan feed update`, anew each time: report types of the provider's own document that the other tables do not
# have, and columns that they do not know. To mend a feed, put its mended table into another file of this folder: it wins.
family = true

# Known, but for these columns. A person should look whether one is `secret` or `private`.
[feed.scan_buoy]
columns = "bell speed"

[feed.scan_buoy.rows]
bell = "extra | any | bool"
speed = "extra | any | int"

# New. A person should look at `kind`, `asset` and `delivers`, and whether a column is `secret` or `private`.
[feed.scan_lamp]
name = "IPv6-Lamps"
file_name = "scan4_lamp"
ip = 6
docs = "https://lighthouse.example/lamps"
means = "vulnerable-system"
identifier = "open-lamp"
kind = "exposed"
asset = "source.ip"
columns = "timestamp ip port tag note maker speed power http_url http_host serial"

[feed.scan_lamp.always]
"protocol.application" = "Lamp"

[feed.scan_lamp.rows]
note = "extra | any"
speed = "extra"
power = "extra.watts | any | float"
http_url = "destination.url | any | request http_host,ip application"
http_host = "destination.fqdn"
serial = "-"

# New. A person should look at `kind`, `asset` and `delivers`, and whether a column is `secret` or `private`.
[feed.wreck]
name = "Wrecks"
means = "vulnerable-system"
kind = "exposed"
asset = [
    "source.url",
    "source.fqdn",
]
columns = "timestamp page name state"

[feed.wreck.rows]
page = "source.url"
name = "source.fqdn"
state = "classification.type | within scan_exchange_type"

[feed.wreck.map.scan_exchange_type]
webshell = "system-compromise"
"#;

    fn file(name: &str, text: &str) -> File {
        File { path: format!("lighthouse/{name}.toml"), text: text.to_owned() }
    }

    fn files() -> Vec<File> {
        vec![file("provider", PROVIDER), file("reports", FAMILY)]
    }

    fn update(document: &str, files: &[File]) -> Update {
        read(document.as_bytes(), "lighthouse", files).expect("the document can be read")
    }

    /// What all events here say alike.
    const SHARED: [&str; 6] = ["time.source", "time.observation", "tlp", "feed.provider", "feed.name", "classification.taxonomy"];

    /// A report's events as `field=value`, and its drift.
    fn events(files: &[File], name: &str, report: &str) -> String {
        let catalog = Catalog::read(files);
        assert_eq!(catalog.broken, []);
        let feed = catalog.pick("lighthouse", name, |_| Beginning::default()).expect("the name is of a feed");
        let mut splitter = Splitter::new(feed, report.as_bytes());
        let rows = splitter.next_rows().expect("reads from memory").expect("there are rows");
        let at = event::time::parse("2026-03-03").expect("a time");
        let piece = Reader::new(feed, Arrival { at }).read(rows);
        let mut lines = String::new();
        intelmq::write(|_| Some(feed), &piece.events, &mut lines);
        let mut out = format!("{}\n", feed.id);
        for line in lines.lines() {
            let event: serde_json::Map<String, Json> = serde_json::from_str(line).expect("an event is JSON");
            let said = event.iter().filter(|(key, _)| !SHARED.contains(&key.as_str()));
            out += &said.map(|(key, value)| format!("{key}={value}").replace('"', "")).collect::<Vec<_>>().join(" ");
            out.push('\n');
        }
        let drift = Drift::of(feed, &splitter.header().expect("it has a header"));
        out + &drift.to_string()
    }

    #[test]
    fn new_reports_and_new_columns_become_tables() {
        let update = update(DOCUMENT, &files());
        assert_eq!(update.all, 4);
        assert_eq!(update.new, ["scan_lamp", "wreck"]);
        assert_eq!(update.extended, [("scan_buoy".to_owned(), vec!["bell".to_owned(), "speed".to_owned()])]);
        assert_eq!(
            update.refused,
            [("scan_fog".to_owned(), "column \"ip\": the function \"listen_for_horn\" is not known here".to_owned())]
        );
        assert_eq!(update.text, UPDATED_TEXT);
    }

    #[test]
    fn their_reports_are_read() {
        #[track_caller]
        fn check(name: &str, report: &str, expected: &str) {
            let files = [files(), vec![file(UPDATED, UPDATED_TEXT)]].concat();
            assert_eq!(events(&files, name, report).trim_end(), expected);
        }
        check(
            "scan_buoy.csv",
            "timestamp,ip,bell,port,colour,speed
2026-03-01,192.0.2.1,yes,80,red,0
2026-03-01,192.0.2.1,often,80,,
",
            "lighthouse/scan_buoy
classification.type=vulnerable-system extra.bell=true extra.paint=red extra.speed=0 source.ip=192.0.2.1 source.port=80
classification.type=vulnerable-system source.ip=192.0.2.1 source.port=80",
        );
        check(
            "scan4_lamp.csv",
            "timestamp,ip,port,tag,note,maker,speed,power,http_url,http_host,serial
2026-03-01,192.0.2.2,443,lamp;cve-2021-44228,0,unknown,12,1.50,GET /lamp HTTP/1.1,lamp.example.org,7
",
            "lighthouse/scan_lamp
classification.identifier=open-lamp classification.type=vulnerable-system destination.fqdn=lamp.example.org \
destination.url=http://lamp.example.org/lamp extra.note=0 extra.speed=12 extra.tag=lamp;cve-2021-44228 extra.watts=1.5 \
product.vulnerabilities=cve-2021-44228 protocol.application=lamp source.ip=192.0.2.2 source.port=443",
        );
        check(
            "wreck.csv",
            "timestamp,page,name,state
2026-03-01,http://wreck.example.org/,wreck.example.org,exchange-webshell;owa
2026-03-01,,wreck.example.org,
",
            "lighthouse/wreck
classification.type=system-compromise source.fqdn=wreck.example.org source.url=http://wreck.example.org/
classification.type=vulnerable-system source.fqdn=wreck.example.org",
        );
    }

    #[test]
    fn a_path_in_a_report_without_hosts_is_no_url() {
        let document = r#"{
"scan_tide": {"feed_name": "Tides", "file_name": "scan_tide"},
"net": {
    "feed_name": "Nets", "file_name": "net", "constant_fields": {"classification.type": "scanner"},
    "required_fields": [["time.source", "timestamp"], ["source.ip", "src_ip"]],
    "optional_fields": [["destination.url", "http_url", "convert_http_host_and_url", true]]
}}"#;
        let made = update(document, &files());
        assert_eq!(made.refused, []);
        let files = [files(), vec![file(UPDATED, &made.text)]].concat();
        let report = "timestamp,src_ip,http_url\n2026-03-01,192.0.2.1,index.php?x=1\n2026-03-01,192.0.2.1,http://net.example.org/\n";
        let expected = "lighthouse/net
classification.type=scanner extra.http_url=index.php?x=1 source.ip=192.0.2.1
classification.type=scanner destination.url=http://net.example.org/ source.ip=192.0.2.1";
        assert_eq!(events(&files, "net.csv", report).trim_end(), expected);
    }

    #[test]
    fn what_stands_in_other_files_goes_first() {
        let reviewed = r#"
family = true
[feed.wreck]
means = "other"
kind = "site"
asset = "source.url"
columns = "timestamp page"
rows = { page = "source.url" }
"#;
        let files = [files(), vec![file("reviewed", reviewed), file(UPDATED, UPDATED_TEXT)]].concat();
        let catalog = Catalog::read(&files);
        let wreck = catalog.feed("lighthouse/wreck").expect("known");
        assert_eq!(wreck.means.map(|means| means.name), Some("other"));
        assert_eq!(wreck.columns, ["timestamp", "page", "name", "state"]);
        assert!(catalog.feed("lighthouse/scan_lamp").is_some());
    }

    #[test]
    fn a_second_time_gives_the_same_and_nothing_new() {
        let files = [files(), vec![file(UPDATED, UPDATED_TEXT)]].concat();
        let update = update(DOCUMENT, &files);
        assert_eq!((update.new, update.extended, update.text.as_str()), (vec![], vec![], UPDATED_TEXT));
    }

    #[test]
    fn what_a_later_document_has_no_more_can_still_be_read() {
        let files = [files(), vec![file(UPDATED, UPDATED_TEXT)]].concat();
        let update = update(r#"{"scan_tide": {"feed_name": "Tides", "file_name": "scan_tide"}}"#, &files);
        assert_eq!((update.new, update.extended), (vec![], vec![]));
        let marked = "\n# Of an earlier document: in the last one it is missing, or refused.\n[feed.scan_lamp]\n";
        assert!(update.text.contains(marked), "{}", update.text);
        let feeds = update.text.lines().filter(|line| line.starts_with("[feed.") && line.matches('.').count() == 1);
        assert_eq!(feeds.collect::<Vec<_>>(), ["[feed.scan_lamp]", "[feed.wreck]"]);
    }

    #[test]
    fn what_has_no_sound_table_is_refused() {
        #[track_caller]
        fn check(name: &str, report: &str, expected: &str) {
            const IP: &str = r#""required_fields": [["source.ip", "ip"]]"#;
            const TYPE: &str = r#""constant_fields": {"classification.type": "other"}"#;
            let report = report.replace("IP", IP).replace("TYPE", TYPE).replace("NAMES", r#""feed_name": "X", "file_name": "x""#);
            let document = format!(r#"{{"scan_tide": {{"feed_name": "Tides", "file_name": "scan_tide"}}, "{name}": {report}}}"#);
            let update = update(&document, &files());
            assert_eq!(update.refused, [(name.to_owned(), expected.to_owned())]);
            assert!(!update.text.contains("[feed."), "{}", update.text);
        }
        check("x", "1", "invalid type: integer `1`, expected a report type");
        check("x", r#"{"feed_name": "X", TYPE, IP}"#, "missing field `file_name`");
        check("x", r#"{"feed_name": "X", "file_name": "../x", TYPE, IP}"#, r#""../x" is no name: letters, digits, _ and -"#);
        check("x", r#"{"feed_name": "\u001b[31mX", "file_name": "x", TYPE, IP}"#, r#""\u{1b}[31mX" is no name for people"#);
        check("..", "{NAMES, TYPE, IP}", r#"".." is no name: letters, digits, _ and -"#);
        check("x", r#"{"feed_name": "X", "file_name": "scan_tide", TYPE, IP}"#, r#"another report type has the file name "scan_tide" too"#);
        let why = r#"we know it, but by another file name than "scan4_buoy": see whether it is the same, and mend `file_name`"#;
        check("scan_buoy", r#"{"feed_name": "X", "file_name": "scan4_buoy", TYPE, IP}"#, why);
        check("x", "{NAMES, IP}", "it has no classification.type");
        check("x", r#"{NAMES, IP, "constant_fields": {"classification.type": "pirate"}}"#, r#""pirate" is no classification type"#);
        let why = "no column says where it was: none is for the source's address, URL, name, network or account";
        check("x", "{NAMES, TYPE}", why);
        let constants =
            |port: &str| format!(r#"{{NAMES, IP, "constant_fields": {{"classification.type": "other", "source.port": {port}}}}}"#);
        check("x", &constants("80"), "the constant source.port is not text");
        check("x", &constants("\"many\""), r#"always: source.port: "many" is not a port"#);
        let with_row = |row: &str| format!(r#"{{NAMES, IP, TYPE, "optional_fields": [{row}]}}"#);
        check("x", &with_row(r#"["source.tide", "tide"]"#), r#"rows: tide: "source.tide" is no field"#);
        check("x", &with_row(r#"["extra.", "a b"]"#), r#""a b" is no name: letters, digits, _ and -"#);
        check("x", &with_row(r#"["extra.", "a", "int | bool"]"#), r#"column "a": the function "int | bool" is not known here"#);
        check("x", &with_row(r#""extra.""#), r#"invalid type: string "extra.", expected a sequence"#);
        check("x", &with_row(r#"["extra."]"#), r#"["extra."] is no mapping of a column"#);
        let known = r#"{"feed_name": "X", "file_name": "scan_buoy", "optional_fields": [["source.tide", "tide"]]}"#;
        check("scan_buoy", known, r#"rows: tide: "source.tide" is no field"#);
    }

    #[test]
    fn what_is_no_such_document() {
        #[track_caller]
        fn check(document: &str, provider: &str, expected: &str) {
            assert_eq!(read(document.as_bytes(), provider, &files()).expect_err("wrong on purpose"), expected);
        }
        check("<html>", "lighthouse", "the document is not JSON: expected value at line 1 column 1");
        check("[]", "lighthouse", "the document is not a JSON object of report types");
        check(r#"{"_meta": {}}"#, "lighthouse", "the document has no report type");
        let others = r#"{"other": {"file_name": "other"}}"#;
        check(others, "lighthouse", "the document knows none of the reports of \"lighthouse\": is it that provider's?");
        check(DOCUMENT, "harbour", "there is no provider \"harbour\" with a provider.toml");
    }
}
