//! Converters: how a source writes a value, where the field's own reading does not do. One table; each is
//! named in `feeds/` only where the source is odd.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use event::time::{self, Micros};
use event::{Field, Wrong, value};
use regex::Regex;

use crate::json_text;
use crate::rows::{Header, Rows};

/// What a cell has become on its way to its target.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// No value here: another rule for the same target may have one.
    None,
    Text(Cow<'a, str>),
    /// A JSON value other than text, for `extra`.
    Json(Cow<'a, str>),
    /// An IPv4 address in its one form: text whose field need not look again.
    Address(Cow<'a, str>),
    Time(Micros),
    /// A cell that looks like a value and is none: a field refuses it, `extra` keeps it as text.
    Wrong(Wrong, Cow<'a, str>),
}

/// A lookup of the table's, in its order.
#[derive(Debug)]
pub struct Map {
    entries: Vec<(String, String)>,
    places: HashMap<String, usize>,
    otherwise: Option<String>,
}

impl Map {
    pub fn new(entries: Vec<(String, String)>) -> Map {
        let (otherwise, entries): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(word, _)| word == "otherwise");
        let places = entries.iter().enumerate().map(|(place, (word, _))| (word.to_lowercase(), place)).collect();
        Map { entries, places, otherwise: otherwise.into_iter().next().map(|(_, value)| value) }
    }

    fn one(&self, word: &str) -> Option<&str> {
        let place = self.places.get(&word.to_lowercase());
        place.map(|place| self.entries[*place].1.as_str()).or(self.otherwise.as_deref())
    }

    /// The first entry, in the map's order, whose word stands anywhere in the text.
    fn within(&self, text: &str) -> Option<&str> {
        let text = text.to_lowercase();
        let entry = self.entries.iter().find(|(word, _)| text.contains(&word.to_lowercase()));
        entry.map(|(_, value)| value.as_str()).or(self.otherwise.as_deref())
    }

    /// The first entry, in the map's order, whose word is among these.
    fn among(&self, words: &str) -> Option<&str> {
        let split = words.split(|c: char| c.is_whitespace() || matches!(c, ',' | ';')).filter(|word| !word.is_empty());
        let place = split.filter_map(|word| self.places.get(&word.to_lowercase())).min();
        place.map(|place| self.entries[*place].1.as_str()).or(self.otherwise.as_deref())
    }
}

/// A converter with its argument.
#[derive(Clone, Debug)]
pub enum Converter {
    Lower,
    Upper,
    Int,
    Float,
    Bool,
    Nonzero,
    /// Not a conversion: the table's words for "nothing" do not apply.
    Any,
    Before(String),
    After(String),
    Strip(String),
    Split(String),
    Find(Regex),
    Json,
    Map(Arc<Map>),
    Among(Arc<Map>),
    Within(Arc<Map>),
    Cve,
    Epoch,
    Time,
    TimeFormat(String),
    /// Seconds east of UTC.
    Zone(i32),
    Base64,
    Request {
        /// The first of these that says something.
        hosts: Vec<Neighbour>,
        scheme: Neighbour,
    },
    Network,
    Address,
    Host,
    Or(String),
    Html,
    Write(String),
}

/// One row of the reference: what a table writes, and what it does.
#[derive(Debug)]
pub struct Definition {
    pub name: &'static str,
    pub about: &'static str,
    parse: Parse,
}

#[derive(Clone, Copy, Debug)]
enum Parse {
    Plain(fn() -> Converter),
    Text(fn(String) -> Converter),
    Lookup(fn(Arc<Map>) -> Converter),
    Other(fn(&str) -> Option<Converter>),
}

const fn plain(name: &'static str, about: &'static str, make: fn() -> Converter) -> Definition {
    Definition { name, about, parse: Parse::Plain(make) }
}

const fn with_text(name: &'static str, about: &'static str, make: fn(String) -> Converter) -> Definition {
    Definition { name, about, parse: Parse::Text(make) }
}

/// All converters, in the order of docs/adding-a-feed.md.
pub const CONVERTERS: &[Definition] = &[
    plain("lower", "in lower case", || Converter::Lower),
    plain("upper", "in upper case", || Converter::Upper),
    plain("int", "for extra: a whole number", || Converter::Int),
    plain("float", "for extra: a number", || Converter::Float),
    plain("bool", "for extra: true or false", || Converter::Bool),
    plain("nonzero", "for extra: a whole number; zero is no value", || Converter::Nonzero),
    plain("any", "the table's words for nothing do not apply", || Converter::Any),
    with_text("before", "what stands before the first TEXT", Converter::Before),
    with_text("after", "what stands after the last TEXT", Converter::After),
    with_text("strip", "without TEXT at its start", Converter::Strip),
    with_text("split", "for extra: a list of the pieces between TEXT", Converter::Split),
    Definition { name: "find", about: "what the regular expression matches first, or its first group", parse: Parse::Other(find) },
    plain("json", "for extra: the cell is JSON", || Converter::Json),
    Definition { name: "map", about: "by [map.NAME]", parse: Parse::Lookup(Converter::Map) },
    Definition { name: "among", about: "by [map.NAME]: its first word that is among the cell's", parse: Parse::Lookup(Converter::Among) },
    Definition {
        name: "within",
        about: "by [map.NAME]: its first word that stands anywhere in the cell",
        parse: Parse::Lookup(Converter::Within),
    },
    plain("cve", "the CVE identifiers in it", || Converter::Cve),
    plain("epoch", "seconds or milliseconds since 1970", || Converter::Epoch),
    Definition { name: "time", about: "a time, by strftime's FORMAT or in any common form", parse: Parse::Other(time_format) },
    Definition { name: "zone", about: "a time without a zone is of this one", parse: Parse::Other(zone) },
    plain("base64", "as base64, unless it is already", || Converter::Base64),
    Definition {
        name: "request",
        about: "a path or HTTP request line, with HOST,... and SCHEME columns a URL",
        parse: Parse::Other(request),
    },
    plain("network", "only if it is a network with a prefix", || Converter::Network),
    plain("address", "only if it is one address, and not 0.0.0.0", || Converter::Address),
    plain("host", "only if it is a host's name", || Converter::Host),
    with_text("or", "the cell of column TEXT where this one has no value", Converter::Or),
    plain("html", "with HTML's entities resolved", || Converter::Html),
    with_text("write", "TEXT with {} for the cell and {COLUMN} for another", Converter::Write),
];

fn time_format(argument: &str) -> Option<Converter> {
    Some(if argument.is_empty() { Converter::Time } else { Converter::TimeFormat(argument.to_owned()) })
}

fn find(argument: &str) -> Option<Converter> {
    Some(argument).filter(|pattern| !pattern.is_empty()).and_then(|pattern| Regex::new(pattern).ok()).map(Converter::Find)
}

fn zone(argument: &str) -> Option<Converter> {
    time::offset(argument).ok().map(Converter::Zone)
}

fn request(argument: &str) -> Option<Converter> {
    let (hosts, scheme) = argument.split_once(' ')?;
    Some(Converter::Request { hosts: hosts.split(',').map(Neighbour::named).collect(), scheme: Neighbour::named(scheme.trim()) })
}

/// A converter as a table writes it: its name, a space, its argument.
pub fn parse(text: &str, maps: &HashMap<String, Arc<Map>>) -> Result<Converter, String> {
    let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
    let argument = argument.trim();
    let definition =
        CONVERTERS.iter().find(|definition| definition.name == name).ok_or_else(|| format!("there is no converter \"{name}\""))?;
    match definition.parse {
        Parse::Plain(make) if argument.is_empty() => Ok(make()),
        Parse::Plain(_) => Err(format!("\"{name}\" takes no argument")),
        Parse::Text(_) | Parse::Lookup(_) if argument.is_empty() => Err(format!("\"{name}\" needs an argument")),
        Parse::Text(make) => Ok(make(argument.to_owned())),
        Parse::Lookup(make) => maps.get(argument).cloned().map(make).ok_or_else(|| format!("there is no [map.{argument}]")),
        Parse::Other(make) => make(argument).ok_or_else(|| format!("\"{argument}\" is no argument for \"{name}\"")),
    }
}

/// The row that a cell stands in, for converters that look at its neighbours.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub rows: &'a Rows,
    pub row: usize,
    pub absent: &'a Absent,
}

/// Another column of the same row.
#[derive(Clone, Debug)]
pub struct Neighbour {
    name: String,
    /// Its place in the header that the converter is bound to.
    place: Option<usize>,
}

impl Neighbour {
    fn named(name: &str) -> Neighbour {
        Neighbour { name: name.to_owned(), place: None }
    }

    fn bound(&self, header: &Header) -> Neighbour {
        Neighbour { place: header.place(&self.name), ..self.clone() }
    }
}

impl<'a> Row<'a> {
    /// A neighbour's cell, if it says something.
    fn cell(&self, column: &Neighbour) -> Option<&'a str> {
        let cell = self.rows.cell(self.row, column.place?);
        (!self.absent.is(cell.as_bytes())).then_some(cell)
    }

    /// A neighbour's cell as it is.
    fn raw_cell(&self, column: &str) -> &'a str {
        self.rows.header.place(column).map_or("", |place| self.rows.cell(self.row, place))
    }
}

/// What every source writes for nothing.
fn is_nothing(cell: &[u8]) -> bool {
    matches!(cell, b"" | b"-" | b"N/A")
}

/// What a table says that its source writes for nothing, beside what every source does.
#[derive(Clone, Debug)]
pub struct Absent {
    words: Vec<String>,
    /// A bit for each length that such a word has: most cells are told by theirs.
    lengths: u64,
}

impl Default for Absent {
    fn default() -> Absent {
        Absent::new(Vec::new())
    }
}

impl Absent {
    pub fn new(words: Vec<String>) -> Absent {
        let lengths = ["", "-", "N/A"].into_iter().chain(words.iter().map(String::as_str)).map(|word| bit_of_length(word.len()));
        Absent { lengths: lengths.fold(0, |all, one| all | one), words }
    }

    #[inline]
    pub fn is(&self, cell: &[u8]) -> bool {
        self.lengths & bit_of_length(cell.len()) != 0 && self.is_word(cell)
    }

    #[inline(never)]
    fn is_word(&self, cell: &[u8]) -> bool {
        is_nothing(cell) || self.words.iter().any(|word| word.as_bytes() == cell)
    }
}

#[inline]
fn bit_of_length(length: usize) -> u64 {
    1 << length.min(63)
}

impl Converter {
    /// With the places of the columns that it looks at.
    pub fn bound(&self, header: &Header) -> Converter {
        match self {
            Converter::Request { hosts, scheme } => {
                Converter::Request { hosts: hosts.iter().map(|host| host.bound(header)).collect(), scheme: scheme.bound(header) }
            }
            other => other.clone(),
        }
    }

    /// The next step of a value that is text.
    pub fn apply<'a>(&self, text: Cow<'a, str>, row: Row<'a>) -> Value<'a> {
        let word = |found: Option<&str>| found.map_or(Value::None, |word| Value::Text(Cow::Owned(word.to_owned())));
        match self {
            Converter::Any | Converter::Or(_) => Value::Text(text),
            Converter::Lower => Value::Text(Cow::Owned(text.to_lowercase())),
            Converter::Upper => Value::Text(Cow::Owned(text.to_uppercase())),
            Converter::Int => integer(text),
            Converter::Nonzero => match value::integer(&text) {
                Ok(0) => Value::None,
                _ => integer(text),
            },
            Converter::Float => match value::float(&text) {
                Ok(number) => Value::Json(json_text::float(number).into()),
                Err(_) => Value::Text(text),
            },
            Converter::Bool => match value::boolean(&text) {
                Ok(truth) => Value::Json(if truth { "true" } else { "false" }.into()),
                // `unknown`, nearly always.
                Err(_) => Value::None,
            },
            Converter::Before(mark) => word(text.split_once(mark.as_str()).map(|(before, _)| before.trim())),
            Converter::After(mark) => word(text.rsplit_once(mark.as_str()).map(|(_, after)| after.trim())),
            Converter::Strip(mark) => word(Some(text.strip_prefix(mark.as_str()).unwrap_or(&text))),
            Converter::Split(mark) => Value::Json(list(text.split(mark.as_str())).into()),
            Converter::Find(pattern) => {
                let found = pattern.captures(&text);
                word(found.as_ref().and_then(|found| found.get(1).or_else(|| found.get(0))).map(|found| found.as_str()))
            }
            Converter::Json => {
                let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
                parsed.map_or(Value::Text(text), |parsed| Value::Json(parsed.to_string().into()))
            }
            Converter::Map(map) => word(map.one(&text)),
            Converter::Among(map) => word(map.among(&text)),
            Converter::Within(map) => word(map.within(&text)),
            Converter::Cve => word(cve(&text).as_deref()),
            Converter::Epoch => time::epoch(&text).map_or(Value::Text(text), Value::Time),
            Converter::Time => time::parse(&text).map_or(Value::Text(text), Value::Time),
            Converter::TimeFormat(format) => time::with_format(&text, format, 0).map_or(Value::Text(text), Value::Time),
            Converter::Zone(offset) => time::parse_at(&text, *offset).map_or(Value::Text(text), Value::Time),
            Converter::Base64 => Value::Text(base64(text)),
            Converter::Request { hosts, scheme } => {
                let host = hosts.iter().find_map(|host| row.cell(host));
                url_of_request(text, host, row.cell(scheme))
            }
            Converter::Network => {
                if text.contains('/') && value::network(&text).is_ok() {
                    Value::Text(text)
                } else {
                    Value::None
                }
            }
            Converter::Host => match value::text(Field::SOURCE_FQDN, &text, &mut String::new()) {
                Ok(_) => Value::Text(text),
                Err(_) => Value::None,
            },
            Converter::Address => match value::ipv4(text.as_bytes()) {
                Some(Ipv4Addr::UNSPECIFIED) => Value::None,
                Some(_) => Value::Address(text),
                None if value::ip(&text).is_ok_and(|address| !address.is_unspecified()) => Value::Text(text),
                None => Value::None,
            },
            Converter::Html => Value::Text(unescape_html(text)),
            Converter::Write(template) => word(write_template(template, &text, row).as_deref()),
        }
    }
}

/// As JSON has it, which is how it was written where it is digits and no more. Of 64 bits: no reader knows longer ones.
fn integer(text: Cow<'_, str>) -> Value<'_> {
    let canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    match value::integer(&text) {
        Ok(number) if !canonical => Value::Json(number.to_string().into()),
        Ok(_) => Value::Json(text),
        Err(_) if canonical && text.parse::<u64>().is_ok() => Value::Json(text),
        Err(_) => Value::Text(text),
    }
}

fn list<'a>(pieces: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::from("[");
    for piece in pieces.map(str::trim).filter(|piece| !piece.is_empty()) {
        if out.len() > 1 {
            out.push(',');
        }
        json_text::push_string(&mut out, piece);
    }
    out.push(']');
    out
}

/// The CVE identifiers in a text, in lower case, sorted, separated by semicolons, each once.
fn cve(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for (place, _) in lower.match_indices("cve-") {
        let candidate = lower.get(place..).unwrap_or_default();
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let year = digits(candidate.get(4..).unwrap_or_default());
        let number = candidate.get(4 + year + 1..).map_or(0, digits);
        if year == 4 && candidate.as_bytes().get(8) == Some(&b'-') && number >= 4 {
            found.insert(candidate.get(..9 + number).unwrap_or_default());
        }
    }
    (!found.is_empty()).then(|| found.into_iter().collect::<Vec<_>>().join(";"))
}

fn base64(text: Cow<'_, str>) -> Cow<'_, str> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let body = text.trim_end_matches('=');
    let padded = text.len().is_multiple_of(4) && text.len() - body.len() <= 2;
    if padded && body.bytes().all(|byte| LETTERS.contains(&byte)) {
        return text;
    }
    let mut out = String::with_capacity(text.len().div_ceil(3) * 4);
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().enumerate().fold(0u32, |bits, (place, byte)| bits | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { letter.into() } else { '=' });
        }
    }
    Cow::Owned(out)
}

/// `GET /path HTTP/1.1` or `/path`, with the host, as a URL. Where it is a URL the text is left as it is.
fn url_of_request<'a>(text: Cow<'a, str>, host: Option<&str>, scheme: Option<&str>) -> Value<'a> {
    let host = match host {
        _ if text.starts_with("http://") || text.starts_with("https://") => return Value::Text(text),
        None if text.contains("//") => return Value::Text(text),
        None => return Value::Wrong(Wrong("a request without a host"), text),
        Some(host) => host,
    };
    let path = memchr::memchr(b'/', text.as_bytes()).and_then(|start| text.get(start..)).unwrap_or_default();
    let path = path.split_ascii_whitespace().next().unwrap_or_default();
    let scheme = scheme.filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
    let mut url = String::with_capacity(scheme.len() + 3 + host.len() + path.len());
    url.push_str(scheme);
    url.push_str("://");
    // An IPv6 address.
    let is_bare = host.bytes().filter(|byte| *byte == b':').count() > 1 && !host.starts_with('[');
    if is_bare {
        url.extend(["[", host, "]"]);
    } else {
        url.push_str(host);
    }
    url.push_str(path);
    Value::Text(Cow::Owned(url))
}

/// The entities that JSON and RSS writers leave behind, once, and only with their semicolon.
fn unescape_html(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('&') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let entity = after.split_once(';').and_then(|(name, tail)| Some((entity(name)?, tail)));
        rest = match entity {
            Some((c, tail)) => {
                out.push(c);
                tail
            }
            None => {
                out.push('&');
                after
            }
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn entity(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    })
}

/// The template with `{}` and `{COLUMN}` filled in; nothing if one of them is empty.
fn write_template(template: &str, cell: &str, row: Row<'_>) -> Option<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) = after.split_once('}')?;
        let value = if name.is_empty() { cell } else { row.raw_cell(name) };
        if is_nothing(value.as_bytes()) {
            return None;
        }
        write!(out, "{before}{value}").expect("a string takes any text");
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Span;

    /// One row with the columns `host`, `scheme` and `mask`.
    fn rows() -> Rows {
        let cells = [Span::new(0, 11), Span::new(11, 16), Span::new(16, 18)];
        Rows {
            header: Arc::new(Header::new(["host", "scheme", "mask"].map(str::to_owned))),
            text: "example.orghttps24".into(),
            cells: cells.to_vec(),
            lines: vec![(1, Span::new(0, 18))],
            ..Rows::default()
        }
    }

    #[track_caller]
    fn check(converter: &str, given: &str, expected: &str) {
        let map =
            Map::new(vec![("botnet_cc".into(), "c2-server".into()), ("b".into(), "second".into()), ("otherwise".into(), "else".into())]);
        let maps = HashMap::from([("threat".to_owned(), Arc::new(map))]);
        let rows = rows();
        let converter = parse(converter, &maps).expect("the converter is known").bound(&rows.header);
        let found = match converter.apply(Cow::Borrowed(given), Row { rows: &rows, row: 0, absent: &Absent::default() }) {
            Value::None => "nothing".to_owned(),
            Value::Wrong(wrong, text) => format!("{text}: {}", wrong.0),
            Value::Text(text) | Value::Json(text) | Value::Address(text) => text.into_owned(),
            Value::Time(time) => time::iso(time),
        };
        assert_eq!(found, expected, "{given:?} | {converter:?}");
    }

    #[test]
    fn each_does_what_its_row_says() {
        check("lower", "MiRai", "mirai");
        check("int", "42", "42");
        check("int", "042", "42");
        check("int", "-1", "-1");
        check("int", "18446744073709551615", "18446744073709551615");
        check("int", "18446744073709551616", "18446744073709551616");
        check("int", "many", "many");
        check("nonzero", "0", "nothing");
        check("nonzero", "7", "7");
        check("float", "1.50", "1.5");
        check("float", "nan", "nan");
        check("bool", "Y", "true");
        check("before :", "192.0.2.1:443", "192.0.2.1");
        check("after :", "192.0.2.1:443", "443");
        check("after :", "192.0.2.1", "nothing");
        check("strip [", "[2001:db8::1", "2001:db8::1");
        check("split ,", "a, b,,\"c\"", r#"["a","b","\"c\""]"#);
        check("find [0-9]+", "port 443 of 80", "443");
        check("find ([a-z]+)://|x", "see https://a.example", "https");
        check("find ^no$", "yes", "nothing");
        check("json", r#"{"a": [1]}"#, r#"{"a":[1]}"#);
        check("map threat", "Botnet_CC", "c2-server");
        check("map threat", "other", "else");
        check("among threat", "#x b botnet_cc", "c2-server");
        check("within threat", "#x_Botnet_CC/b", "c2-server");
        check("cve", "x;CVE-2021-44228;cve-2021-44228;cve-20;cve-2020-0688", "cve-2020-0688;cve-2021-44228");
        check("epoch", "1676764870", "2023-02-19T00:01:10Z");
        check("time %d.%m.%Y", "19.02.2023", "2023-02-19T00:00:00Z");
        check("time", "Sun, 19 Feb 2023 00:01:10 GMT", "2023-02-19T00:01:10Z");
        check("time", "lately", "lately");
        check("zone +08:00", "2023-02-19 08:01:10", "2023-02-19T00:01:10Z");
        check("base64", "hello", "aGVsbG8=");
        check("base64", "aGVsbG8=", "aGVsbG8=");
        check("request host scheme", "GET /a?b HTTP/1.1", "https://example.org/a?b");
        check("request none scheme", "/index.php?b", "/index.php?b: a request without a host");
        check("request none scheme", "http://192.0.2.1/a", "http://192.0.2.1/a");
        check("network", "192.0.2.1", "nothing");
        check("address", "0.0.0.0", "nothing");
        check("address", "192.0.2.1", "192.0.2.1");
        check("address", "2001:DB8::1", "2001:DB8::1");
        check("address", "example.org", "nothing");
        check("host", "192.0.2.1", "nothing");
        check("host", "no name", "nothing");
        check("host", "WWW[.]example.org", "WWW[.]example.org");
        check("html", "a&amp;b&copy=1&#x41;", "a&b&copy=1A");
        check("write {}/{mask}", "192.0.2.0", "192.0.2.0/24");
        check("write {}/{none}", "192.0.2.0", "nothing");
    }

    #[test]
    fn what_no_converter_is() {
        let wrong = |text: &str| parse(text, &HashMap::new()).map(|_| ()).expect_err("wrong on purpose");
        assert_eq!(wrong("lowercase"), "there is no converter \"lowercase\"");
        assert_eq!(wrong("lower x"), "\"lower\" takes no argument");
        assert_eq!(wrong("before"), "\"before\" needs an argument");
        assert_eq!(wrong("map none"), "there is no [map.none]");
        assert_eq!(wrong("zone here"), "\"here\" is no argument for \"zone\"");
    }
}
