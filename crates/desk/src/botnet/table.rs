//! A table for a feed that only one CERT has: what IntelMQ's generic parsers were told of its columns, as a table says it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use event::{Field, taxonomy};
use feed::Catalog;
use feed::table::KindRule;
use serde_json::{Map, Value};
use toml::Value as Toml;

use super::parameters::{Parameters, shown_address};
use super::read::Bot;
use super::told;

const GENERIC: [&str; 3] = ["generic.parser_csv", "html_table.parser", "key_value.parser"];

/// Whether a parser is told by its parameters what to read.
pub(super) fn is_generic(module: &str) -> bool {
    GENERIC.contains(&module)
}

pub(super) struct Drafted {
    pub(super) table: String,
    /// What the parser did and the table does not.
    pub(super) lost: Vec<String>,
}

/// A table that is being written.
#[derive(Default)]
struct Draft {
    format: &'static str,
    /// The section of the format.
    form: Vec<(&'static str, Toml)>,
    columns: Vec<String>,
    rules: Vec<(String, Vec<String>)>,
    absent: Vec<String>,
    always: BTreeMap<String, String>,
    map: Map<String, Value>,
    means: Option<String>,
    notes: Vec<String>,
    lost: Vec<String>,
}

pub(super) fn draft(collector: &Bot, parser: &Bot, module: &str, catalog: &Catalog) -> Result<Drafted, String> {
    let mut parameters = Parameters::of(parser, None);
    let mut draft = Draft::default();
    for key in ["default_fields", "defaults_fields"] {
        for (field, value) in object(parameters.take(key)) {
            match field.as_str() {
                "classification.type" => draft.means = Some(told(&value)),
                _ if told(&value).contains("://") && shown_address(&told(&value)) != told(&value) => {
                    draft
                        .lost
                        .push(format!("{key}: {field} has an address with a login or a query, which may be secret: say it in [always]"));
                }
                _ if Field::named(&field).is_some() => drop(draft.always.insert(field, told(&value))),
                _ => draft.lost.push(format!("{key}: {field} is no field of an event")),
            }
        }
    }
    if let Some(means) = parameters.text("type") {
        draft.means.get_or_insert(means);
    }
    match module {
        "generic.parser_csv" => csv(&mut parameters, &mut draft)?,
        "html_table.parser" => html(&mut parameters, &mut draft)?,
        _ => pairs(&mut parameters, &mut draft)?,
    }
    for (name, value) in parameters.left() {
        draft.lost.push(format!("parameter {name} = {value} has no counterpart in a table"));
    }
    let table = draft.written(collector, parser, catalog);
    Ok(Drafted { table, lost: draft.lost })
}

/// An object, also one that is written as JSON or as a list of objects.
fn object(value: Option<&Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(object)) => object.clone(),
        Some(Value::Array(list)) => list.iter().flat_map(object_of).collect(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Map::new(),
    }
}

fn object_of(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

impl Draft {
    /// Columns as IntelMQ lists them: each names a field, several that are tried one after the other, or none.
    fn columns(
        &mut self,
        given: Option<&Value>,
        find: &Map<String, Value>,
        time: Option<&str>,
        json: &Map<String, Value>,
    ) -> Result<(), String> {
        let groups: Vec<String> = match given {
            Some(Value::String(text)) => text.split(',').map(|column| column.trim().to_owned()).collect(),
            Some(Value::Array(list)) => list.iter().map(told).collect(),
            _ => return Err("it says no columns".into()),
        };
        if groups.iter().any(|group| group.contains(['{', '}'])) {
            return Err(format!("its columns are \"{}\": say what they are", groups.join(", ")));
        }
        for (place, group) in groups.iter().enumerate() {
            let targets: Vec<&str> = group.split('|').map(str::trim).collect();
            let first = targets.first().copied().filter(|target| !target.is_empty() && *target != "__IGNORE__");
            let name = first.map_or_else(|| format!("ignored_{}", place + 1), |target| target.replace(['.', ' '], "_"));
            let name = if self.columns.contains(&name) { format!("{name}_{}", place + 1) } else { name };
            let mut rules = Vec::new();
            let wanted: Vec<&str> = targets.iter().copied().take_while(|target| !target.is_empty() && *target != "__IGNORE__").collect();
            for target in &wanted {
                rules.extend(self.rule(target, wanted.len() > 1, find, time, json));
            }
            if rules.is_empty() {
                rules.push("-".to_owned());
            }
            self.columns.push(name.clone());
            self.rules.push((name, rules));
        }
        Ok(())
    }

    fn rule(
        &mut self,
        target: &str,
        is_one_of_several: bool,
        find: &Map<String, Value>,
        time: Option<&str>,
        json: &Map<String, Value>,
    ) -> Option<String> {
        let known = target == "extra" || target.starts_with("extra.") || Field::named(target).is_some();
        if !known || ["raw", "output", "time.observation"].contains(&target) {
            self.lost.push(format!("column {target}: no rule can fill that here"));
            return None;
        }
        let mut rule = target.to_owned();
        if let Some(pattern) = find.get(target).map(told) {
            match feed::convert::parse(&format!("find {pattern}"), &Default::default()) {
                Ok(_) if !pattern.contains(" | ") => rule += &format!(" | find {pattern}"),
                _ => self.lost.push(format!("column_regex_search of {target}, {pattern}: the pattern is none here")),
            }
        }
        if json.get(target).map(told).as_deref() == Some("json") {
            rule += " | json";
        }
        rule += match target {
            "time.source" => time.unwrap_or_default(),
            "classification.type" if !self.map.is_empty() => " | map type",
            // Of several only the one that it is.
            _ if !is_one_of_several => "",
            _ if target.ends_with(".ip") => " | address",
            _ if target.ends_with(".fqdn") => " | host",
            _ if target.ends_with(".network") => " | network",
            _ if target.ends_with(".url") => " | find .*[/].*",
            _ => "",
        };
        Some(rule)
    }

    /// IntelMQ's words for how a time is written.
    fn time(&mut self, parameters: &mut Parameters<'_>) -> String {
        let Some(given) = parameters.text("time_format") else { return String::new() };
        let (word, format) = given.split_once('|').unwrap_or((&given, ""));
        match word.trim() {
            "timestamp" | "epoch_millis" => " | epoch".to_owned(),
            "from_format" | "from_format_midnight" if !format.contains(" | ") => format!(" | time {}", format.trim()),
            "utc_isoformat" | "fuzzy" | "iso" | "" => String::new(),
            _ => {
                self.lost.push(format!("time_format = {given}: times of that form are not known here"));
                String::new()
            }
        }
    }

    fn scheme(&mut self, parameters: &mut Parameters<'_>) {
        if let Some(scheme) = parameters.text("default_url_protocol").filter(|scheme| scheme.trim_end_matches("://") != "http") {
            self.lost.push(format!("default_url_protocol = {scheme}: where no scheme is stated, it is http here"));
        }
    }

    fn written(&self, collector: &Bot, parser: &Bot, catalog: &Catalog) -> String {
        let mut text = format!("# As IntelMQ's {} read it behind {}.\n", super::shown(&parser.id), super::shown(&collector.id));
        let mut line = |key: &str, value: String, why: &str| {
            let why = if why.is_empty() { String::new() } else { format!("    # {why}") };
            writeln!(text, "{key} = {value}{why}").expect("a string");
        };
        let quoted = |text: &str| Toml::String(text.to_owned()).to_string();
        if let Some(name) = collector.text("name") {
            line("name", quoted(&name), "");
        }
        line("format", quoted(self.format), "");
        let means = self.means.as_deref().and_then(taxonomy::classification);
        let targets: Vec<&str> = self.rules.iter().flat_map(|(_, rules)| rules).filter_map(|rule| rule.split(" | ").next()).collect();
        let has_type = targets.contains(&"classification.type");
        if means.is_some() || !has_type {
            let why = if means.is_none() { "decide: what happened, a type of docs/fields.md" } else { "" };
            line("means", quoted(means.map_or("undetermined", |row| row.name)), why);
        }
        if !has_type {
            let kind = means.and_then(|row| kind_of(row.name, catalog)).unwrap_or_else(|| "listing".to_owned());
            line("kind", quoted(&kind), "decide: bot, c2, site, exposed, victim, resolver, account, inventory, listing");
        }
        let has_time = targets.contains(&"time.source");
        let delivers = if has_time { "observations" } else { "list" };
        line("delivers", quoted(delivers), "decide: observations, list (all that is bad now), additions, delta, context");
        let assets: Vec<String> = ASSETS.iter().filter(|asset| targets.contains(asset)).map(|asset| quoted(asset)).collect();
        line("asset", format!("[{}]", assets.join(", ")), "");
        line("tlp", quoted("amber"), "decide: who may see it; and may = [...], what its terms allow");
        let names: Vec<String> = self.columns.iter().map(|name| quoted(name)).collect();
        if !names.is_empty() {
            line("columns", format!("[{}]", names.join(", ")), "");
        }
        if !self.absent.is_empty() {
            let words: Vec<String> = self.absent.iter().map(|word| quoted(word)).collect();
            line("absent", format!("[{}]", words.join(", ")), "");
        }
        let mut section = |name: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                write!(text, "\n[{name}]\n{}\n", lines.join("\n")).expect("a string");
            }
        };
        let mut form: Vec<String> = self.notes.iter().map(|note| format!("# {note}")).collect();
        form.extend(self.form.iter().map(|(key, value)| format!("{key} = {value}")));
        section(self.format, form);
        let rule = |(column, rules): &(String, Vec<String>)| match rules.as_slice() {
            [one] => format!("{} = {}", quoted(column), quoted(one)),
            several => format!("{} = [{}]", quoted(column), several.iter().map(|rule| quoted(rule)).collect::<Vec<_>>().join(", ")),
        };
        if has_type {
            let named: Vec<&str> = match self.map.is_empty() {
                true => taxonomy::CLASSIFICATIONS.iter().map(|row| row.name).collect(),
                false => self.map.values().filter_map(Value::as_str).filter_map(taxonomy::classification).map(|row| row.name).collect(),
            };
            let mut kinds = vec!["by = \"classification.type\"".to_owned()];
            let known = named.iter().collect::<BTreeSet<_>>().into_iter().filter_map(|name| Some((name, kind_of(name, catalog)?)));
            kinds.extend(known.filter(|(_, kind)| kind != "listing").map(|(name, kind)| format!("{name} = \"{kind}\"")));
            kinds.push("otherwise = \"listing\"".to_owned());
            section("kind", kinds);
        }
        section("rows", self.rules.iter().map(rule).collect());
        section("always", self.always.iter().map(|(field, value)| format!("{} = {}", quoted(field), quoted(value))).collect());
        section("map.type", self.map.iter().map(|(from, to)| format!("{} = {}", quoted(from), quoted(&told(to)))).collect());
        text
    }
}

/// The fields that can be an asset, the best first.
const ASSETS: [&str; 9] = [
    "source.url",
    "source.fqdn",
    "source.ip",
    "source.network",
    "source.asn",
    "source.account",
    "malware.hash.sha256",
    "malware.hash.sha1",
    "malware.hash.md5",
];

/// What sort of problem a type mostly is, as the feed of IntelMQ's own events has it.
fn kind_of(means: &str, catalog: &Catalog) -> Option<String> {
    let KindRule::By { kinds, otherwise, .. } = &catalog.feed("intelmq/events")?.kind else { return None };
    let kind = kinds.iter().find(|(word, _)| word == means).map(|(_, kind)| *kind).or(*otherwise)?;
    Some(kind.name().to_owned())
}

fn csv(parameters: &mut Parameters<'_>, draft: &mut Draft) -> Result<(), String> {
    draft.format = "csv";
    let separator = parameters.text("delimiter").unwrap_or_else(|| ",".to_owned());
    if separator == "false" || separator.contains('{') {
        return Err(format!("its delimiter is \"{separator}\": say which it is"));
    }
    let separator = separator.replace("\\t", "\t");
    if separator != "," {
        draft.form.push(("separator", separator.into()));
    }
    draft.form.push(("comment", "#".into()));
    draft.form.push(("header", false.into()));
    let skip = match parameters.take("skip_header") {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
        Some(_) => parameters.bot.truth("skip_header").map_or(0, i64::from),
        None => 0,
    };
    if skip > 0 {
        draft.notes.push("Lines with comments count: where some stand before the header, skip as many more.".into());
        draft.form.push(("skip", skip.into()));
    }
    draft.map = object(parameters.take("type_translation"));
    if let Some(means) = draft.means.clone().filter(|_| !draft.map.is_empty()) {
        draft.map.entry("otherwise").or_insert_with(|| means.into());
    }
    let time = draft.time(parameters);
    let (find, json) = (object(parameters.take("column_regex_search")), object(parameters.take("data_type")));
    let columns = parameters.take("columns");
    draft.columns(columns, &find, Some(&time), &json)?;
    draft.scheme(parameters);
    for (field, template) in object(parameters.take("compose_fields")) {
        draft.compose(&field, &told(&template));
    }
    if let (Some(text), Some(kind)) = (parameters.text("filter_text"), parameters.text("filter_type")) {
        let which = if kind == "whitelist" { "without" } else { "with" };
        draft.lost.push(format!("filter_text: rows {which} \"{text}\" are kept here; ignore = {{ COLUMN = \"WORD\" }} leaves some out"));
    }
    parameters.take("columns_required");
    Ok(())
}

impl Draft {
    /// `http://{0}{1}`: a field made of columns by their places. `write` says it of the first of them.
    fn compose(&mut self, field: &str, template: &str) {
        let (mut text, mut first, mut rest) = (String::new(), None, template);
        while let Some((before, after)) = rest.split_once('{') {
            let place = after.split_once('}').and_then(|(place, after)| Some((place.parse::<usize>().ok()?, after)));
            let Some((column, after)) = place.and_then(|(place, after)| Some((self.columns.get(place)?, after))) else {
                return self.lost.push(format!("compose_fields of {field}: it says no columns' places"));
            };
            first.get_or_insert_with(|| column.clone());
            text += &format!("{before}{{{column}}}");
            rest = after;
        }
        text += rest;
        match first.filter(|_| Field::named(field).is_some() && !text.contains(" | ")) {
            Some(column) => {
                let rules = self.rules.iter_mut().find(|(name, _)| *name == column).map(|(_, rules)| rules);
                if let Some(rules) = rules {
                    rules.retain(|rule| rule != "-");
                    rules.push(format!("{field} | write {text}"));
                }
            }
            None => self.lost.push(format!("compose_fields of {field}: no column is in it, or {field} is no field")),
        }
    }
}

fn html(parameters: &mut Parameters<'_>, draft: &mut Draft) -> Result<(), String> {
    draft.format = "html";
    draft.form.push(("header", false.into()));
    draft.form.push(("table", (parameters.whole("table_index").unwrap_or(0) as i64 + 1).into()));
    draft.means.get_or_insert_with(|| "c2-server".to_owned());
    if parameters.truth("skip_table_head") != Some(false) {
        draft.notes.push("A first row of cells that are no <th> is read as a row here, and rejected.".into());
    }
    let time = draft.time(parameters);
    let none = Map::new();
    let columns = parameters.take("columns");
    draft.columns(columns, &none, Some(&time), &none)?;
    draft.scheme(parameters);
    let words = parameters.list("ignore_values");
    draft.absent.extend(words);
    draft.absent.sort();
    draft.absent.dedup();
    if let (Some(name), Some(value)) = (parameters.text("attribute_name"), parameters.text("attribute_value")) {
        draft
            .lost
            .push(format!("attribute_name, attribute_value: tables are told by their number or their columns, not by {name} = {value}"));
    }
    if let Some(column) = parameters.text("split_column") {
        let separator = parameters.text("split_separator").unwrap_or_else(|| " ".to_owned());
        let last = match parameters.text("split_index").as_deref() {
            None | Some("0") => Some("before"),
            Some("-1") => Some("after"),
            Some(_) => None,
        };
        let name = column.replace('.', "_");
        let rules = draft.rules.iter_mut().find(|(known, _)| *known == name).map(|(_, rules)| rules);
        match (last, rules) {
            (Some(word), Some(rules)) if !separator.trim().is_empty() => rules.insert(0, format!("{column} | {word} {}", separator.trim())),
            _ => draft.lost.push(format!("split_column = {column}: of the pieces only the first or the last can be had")),
        }
    }
    Ok(())
}

fn pairs(parameters: &mut Parameters<'_>, draft: &mut Draft) -> Result<(), String> {
    draft.format = "pairs";
    for (key, parameter, usual) in [("between", "pair_separator", " "), ("equals", "kv_separator", "=")] {
        if let Some(text) = parameters.bot.parameters.get(parameter).and_then(Value::as_str).filter(|text| *text != usual) {
            draft.form.push((key, text.into()));
        }
        parameters.take(parameter);
    }
    if parameters.truth("strip_quotes") == Some(false) {
        draft.form.push(("quote", "".into()));
    }
    let none = Map::new();
    for (key, field) in object(parameters.take("keys")) {
        let rule = draft.rule(&told(&field), false, &none, None, &none);
        draft.rules.extend(rule.map(|rule| (key.clone(), vec![rule])));
    }
    if let Some(key) = parameters.text("timestamp_key")
        && !draft.rules.iter().any(|(known, _)| *known == key)
    {
        draft.rules.push((key, vec!["time.source".to_owned()]));
    }
    if draft.rules.is_empty() {
        return Err("it says no keys".into());
    }
    Ok(())
}
