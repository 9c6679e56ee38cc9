//! Which shape a delivery has.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::Value;

/// A shape, with what its section of the table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Csv { separator: &'static str, comment: Option<&'static str>, header: Header },
    Lines { comment: Option<&'static str> },
    Pairs,
    Prose,
    Json { rows: String },
    JsonLines,
    Intelmq,
    Misp,
    Stix,
    Xml { rows: String },
    Html,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Header {
    First,
    Commented,
    None,
}

impl Form {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Form::Csv { .. } => "csv",
            Form::Lines { .. } => "lines",
            Form::Pairs => "pairs",
            Form::Prose => "prose",
            Form::Json { .. } => "json",
            Form::JsonLines => "jsonl",
            Form::Intelmq => "intelmq",
            Form::Misp => "misp",
            Form::Stix => "stix",
            Form::Xml { .. } => "xml",
            Form::Html => "html",
        }
    }

    /// Whether every delivery in this form may fill the field, whatever its columns.
    pub(super) fn always_has(&self, field: &str) -> bool {
        match self {
            Form::Intelmq => matches!(field, "source.ip" | "source.fqdn" | "source.url"),
            Form::Prose => true,
            _ => false,
        }
    }

    /// The section, with its heading; nothing where all is as usual.
    pub(super) fn section(&self) -> String {
        let mut section = String::new();
        let mut line = |key: &str, value: String| writeln!(section, "{key} = {value}").expect("a string");
        match self {
            Form::Csv { separator, comment, header } => {
                if *separator != "," {
                    line("separator", format!("{separator:?}"));
                }
                comment.iter().for_each(|comment| line("comment", format!("{comment:?}")));
                match header {
                    Header::First => {}
                    Header::Commented => line("header", "\"commented\"".into()),
                    Header::None => line("header", "false".into()),
                }
            }
            Form::Lines { comment } => comment.iter().for_each(|comment| line("comment", format!("{comment:?}"))),
            Form::Json { rows } if !rows.is_empty() => line("rows", format!("{rows:?}")),
            Form::Xml { rows } => line("rows", format!("{rows:?}")),
            _ => {}
        }
        if section.is_empty() { section } else { format!("[{}]\n{section}", self.name()) }
    }
}

pub(super) fn of(text: &str) -> Form {
    let begins = text.trim_start();
    let lower: String = begins.chars().take(300).collect::<String>().to_ascii_lowercase();
    if begins.starts_with(['{', '[']) {
        return of_json(begins);
    }
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") || lower.starts_with("<table") {
        return Form::Html;
    }
    if begins.starts_with('<') {
        return Form::Xml { rows: rows_of_xml(begins) };
    }
    of_lines(begins)
}

fn of_json(text: &str) -> Form {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let object = |line: &str| serde_json::from_str::<Value>(line).ok().filter(Value::is_object);
    if let (Some(first), second) = (lines.next().and_then(object), lines.next())
        && second.is_some_and(|line| object(line).is_some())
    {
        let is_ours = first.get("__type").is_some() || first.get("classification.type").is_some() || first.get("feed.name").is_some();
        return if is_ours { Form::Intelmq } else { Form::JsonLines };
    }
    let Some(document) = first_value(text) else { return Form::Json { rows: String::new() } };
    let has = |key: &str| document.get(key).is_some();
    let first = document.get("objects").unwrap_or(&document).get(0);
    if document.get("type").is_some_and(|kind| kind == "bundle") || first.is_some_and(|first| first.get("spec_version").is_some()) {
        return Form::Stix;
    }
    if has("Event") || document.pointer("/response/0/Event").is_some() || document.pointer("/0/Event").is_some() {
        return Form::Misp;
    }
    Form::Json { rows: rows_of_json(&document) }
}

/// The document; of one that is cut off here as much as can be closed.
fn first_value(text: &str) -> Option<Value> {
    if let Some(Ok(value)) = serde_json::Deserializer::from_str(text).into_iter::<Value>().next() {
        return Some(value);
    }
    // Cut after each object from behind, and closed by what is open there.
    let ends: Vec<usize> = memchr::memchr_iter(b'}', text.as_bytes()).collect();
    ends.iter().rev().take(50).find_map(|end| {
        let begun = text.get(..=*end)?;
        let (mut open, mut in_text, mut escaped) = (Vec::new(), false, false);
        for sign in begun.chars() {
            match sign {
                _ if std::mem::take(&mut escaped) => {}
                '\\' if in_text => escaped = true,
                '"' => in_text = !in_text,
                '{' if !in_text => open.push('}'),
                '[' if !in_text => open.push(']'),
                '}' | ']' if !in_text => drop(open.pop()),
                _ => {}
            }
        }
        let closed: String = begun.chars().chain(open.into_iter().rev()).collect();
        serde_json::from_str(&closed).ok()
    })
}

/// Steps to the longest list of objects, or to an object whose values are objects alike.
fn rows_of_json(document: &Value) -> String {
    fn look(value: &Value, path: &mut Vec<String>, best: &mut (usize, String)) {
        const DEEPEST: usize = 4;
        let mut offer = |count: usize, path: String| {
            if count > best.0 {
                *best = (count, path);
            }
        };
        match value {
            Value::Array(list) => {
                let objects = list.iter().filter(|value| value.is_object()).count();
                offer(objects, path.join("."));
            }
            Value::Object(object) => {
                let parts = object.values().filter(|value| value.is_object()).count();
                let lists = object.values().filter(|value| value.get(0).is_some_and(Value::is_object)).count();
                let star = |more: &str| path.iter().map(String::as_str).chain([more]).collect::<Vec<_>>().join(".");
                if parts > 2 && parts == object.len() {
                    return offer(parts, star("*"));
                }
                if lists > 2 && lists == object.len() {
                    return offer(lists, star("*.*"));
                }
                if path.len() < DEEPEST {
                    for (key, value) in object {
                        path.push(key.clone());
                        look(value, path, best);
                        path.pop();
                    }
                }
            }
            _ => {}
        }
    }
    let mut best = (0, String::new());
    look(document, &mut Vec::new(), &mut best);
    best.1
}

/// The path of the elements that come most often and have something in them.
fn rows_of_xml(text: &str) -> String {
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_unmatched_ends = true;
    reader.config_mut().allow_dangling_amp = true;
    let (mut open, mut counts): (Vec<String>, Vec<(String, usize)>) = (Vec::new(), Vec::new());
    loop {
        use quick_xml::events::Event;
        match reader.read_event() {
            Ok(Event::Start(element)) => {
                open.push(String::from_utf8_lossy(element.local_name().as_ref()).into_owned());
                let path = open.join(".");
                let is_more = counts.len() < 500;
                match counts.iter_mut().find(|(known, _)| *known == path) {
                    Some((_, count)) => *count += 1,
                    None if is_more => counts.push((path, 1)),
                    None => {}
                }
            }
            Ok(Event::End(_)) => drop(open.pop()),
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    // Of those that come equally often the outermost: the others are its parts.
    let most = counts.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let often = counts.iter().filter(|(_, count)| *count * 2 > most && *count > 1);
    let outermost = often.min_by_key(|(path, _)| path.matches('.').count());
    outermost.or(counts.first()).map(|(path, _)| path.clone()).unwrap_or_default()
}

/// Lines looked at.
const LINES: usize = 300;

fn of_lines(text: &str) -> Form {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).take(LINES).collect();
    let comment = ["#", ";", "//", "%"].into_iter().find(|sign| lines.first().is_some_and(|line| line.starts_with(sign)));
    let is_comment = |line: &&&str| comment.is_some_and(|comment| line.starts_with(comment));
    let rows: Vec<&str> = lines.iter().filter(|line| !is_comment(line)).copied().collect();
    let comments: Vec<&str> = lines.iter().take_while(is_comment).copied().collect();
    if let Some((separator, width)) = separator_of(&rows) {
        let width_of = |line: &str| super::columns::cut(line, separator).len();
        let commented = comments.last().is_some_and(|last| {
            let names = last.trim_start_matches(comment.unwrap_or_default());
            width_of(names) == width && super::columns::is_header(names, separator)
        });
        let header = match commented {
            true => Header::Commented,
            false if rows.first().is_some_and(|first| super::columns::is_header(first, separator)) => Header::First,
            false => Header::None,
        };
        return Form::Csv { separator, comment, header };
    }
    let are = |is: &dyn Fn(&str) -> bool| rows.iter().filter(|row| is(row)).count() * 10 >= rows.len() * 7;
    let has_pairs = |row: &str| row.split(' ').filter(|word| word.find('=').is_some_and(|place| place > 0)).count() >= 2;
    if are(&has_pairs) {
        return Form::Pairs;
    }
    if are(&|row: &str| row.split_whitespace().count() <= 2) {
        return Form::Lines { comment };
    }
    Form::Prose
}

/// The separator by which most rows have the same number of cells, and that number.
fn separator_of(rows: &[&str]) -> Option<(&'static str, usize)> {
    let mut best: Option<(usize, &'static str, usize)> = None;
    for separator in ["\t", "||", ";", "|", ","] {
        let mut widths: HashMap<usize, usize> = HashMap::new();
        for row in rows {
            *widths.entry(super::columns::cut(row, separator).len()).or_default() += 1;
        }
        let Some((width, often)) = widths.into_iter().filter(|(width, _)| *width > 1).max_by_key(|(width, often)| (*often, *width)) else {
            continue;
        };
        if often * 10 >= rows.len() * 6 && best.is_none_or(|(most, _, wide)| (often, width) > (most, wide)) {
            best = Some((often, separator, width));
        }
    }
    best.map(|(_, separator, width)| (separator, width))
}
