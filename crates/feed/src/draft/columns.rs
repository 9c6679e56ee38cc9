//! What a delivery's columns look like, by their cells and by their names.

use event::{Field, time, value};

use super::form::{Form, Header};
use crate::catalog::{Catalog, File};
use crate::shape::Splitter;

/// A column, what its cells look like, and where they go.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) role: Option<Role>,
    target: Option<String>,
}

/// What cells look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Address,
    Network,
    Url,
    Host,
    Mail,
    Time,
    Epoch,
    Port,
    System,
    Country,
    Md5,
    Sha1,
    Sha256,
    Transport,
    Malware,
    SystemName,
    ReverseName,
}

impl Column {
    pub(super) fn targets(&self) -> impl Iterator<Item = &str> {
        self.target.iter().map(|target| target.split(" | ").next().unwrap_or(target))
    }

    /// The line of `[rows]`; none for a column that goes to `extra`.
    pub(super) fn rule(&self) -> Option<String> {
        let target = self.target.as_ref()?;
        let is_bare = |name: &str| !name.is_empty() && name.chars().all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-'));
        let name = if is_bare(&self.name) { self.name.clone() } else { toml::Value::String(self.name.clone()).to_string() };
        Some(format!("{name} = \"{target}\""))
    }
}

/// The header for `columns`, where the form states one.
pub(super) fn header(form: &Form, columns: &[Column]) -> Option<String> {
    if !matches!(form, Form::Csv { .. } | Form::Html) {
        return None;
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    Some(match names.iter().all(|name| !name.contains(char::is_whitespace) && !name.is_empty()) {
        true => toml::Value::String(names.join(" ")).to_string(),
        false => toml::Value::Array(names.iter().map(|name| toml::Value::String((*name).to_owned())).collect()).to_string(),
    })
}

/// Rows that are looked at.
const ROWS: usize = 300;

/// The columns, read by the shape itself under a table that knows nothing of them.
pub(super) fn of(form: &Form, begins: &[u8]) -> Vec<Column> {
    let (names, cells) = match form {
        Form::Misp | Form::Stix | Form::Intelmq => return Vec::new(),
        _ => read(form, begins),
    };
    let mut columns: Vec<Column> = Vec::new();
    for (place, name) in names.into_iter().enumerate() {
        let said: Vec<&str> =
            cells.iter().filter_map(|row| row.get(place)).map(|cell| cell.trim()).filter(|cell| !is_nothing(cell)).collect();
        let role = role(&name, &said);
        columns.push(Column { name, role, target: None });
    }
    name_unnamed(form, &mut columns);
    aim(&mut columns);
    columns
}

fn is_nothing(cell: &str) -> bool {
    matches!(cell, "" | "-" | "N/A" | "None" | "null" | "NULL")
}

/// A table of the form, and what its rows are.
fn read(form: &Form, begins: &[u8]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut section = form.section();
    let mut columns = String::new();
    match form {
        Form::Lines { .. } => section = section.replace("[lines]\n", ""),
        Form::Csv { separator, header: Header::None, comment } => {
            let text = crate::shape::text_of(begins);
            let rows = text.lines().filter(|line| !line.trim().is_empty() && !comment.is_some_and(|comment| line.starts_with(comment)));
            let widths: Vec<usize> = rows.take(ROWS).map(|row| cut(row, separator).len()).collect();
            let often = |width: &usize| widths.iter().filter(|other| *other == width).count();
            let width = widths.iter().copied().max_by_key(often).unwrap_or(1);
            columns = format!("columns = [{}]\n", (1..=width).map(|place| format!("\"{place}\"")).collect::<Vec<_>>().join(", "));
        }
        _ => {}
    }
    if let Form::Lines { .. } = form {
        section = format!("[lines]\npattern = '^(?P<value>.+)$'\n{section}");
    }
    let table = format!(
        "format = \"{}\"\nmeans = \"other\"\nkind = \"listing\"\nasset = \"source.ip\"\ndelivers = \"context\"\ntlp = \"red\"\n{columns}always = {{ \
         \"source.ip\" = \"192.0.2.1\" }}\n{section}",
        form.name()
    );
    let catalog = Catalog::read(&[File { path: "draft/draft.toml".into(), text: table }]);
    let Some(feed) = catalog.feed("draft/draft") else { return Default::default() };
    let mut splitter = Splitter::new(feed, begins).with_any_header();
    let (mut names, mut cells): (Vec<String>, Vec<Vec<String>>) = (Vec::new(), Vec::new());
    while let Ok(Some(rows)) = splitter.next_rows() {
        let places: Vec<usize> = rows
            .header
            .names
            .iter()
            .map(|name| match names.iter().position(|known| known == name) {
                Some(place) => place,
                None => {
                    names.push(name.clone());
                    names.len() - 1
                }
            })
            .collect();
        for row in 0..rows.len() {
            let mut said = vec![String::new(); names.len()];
            for (column, place) in places.iter().enumerate() {
                said[*place] = rows.cell(row, column).to_owned();
            }
            cells.push(said);
            if cells.len() >= ROWS {
                return (names, cells);
            }
        }
    }
    (names, cells)
}

/// A row's cells, where a separator within quotes is none.
pub(super) fn cut<'r>(row: &'r str, separator: &str) -> Vec<&'r str> {
    let (mut cells, mut start, mut quoted, mut at) = (Vec::new(), 0, false, 0);
    while let Some(sign) = row.get(at..).and_then(|rest| rest.chars().next()) {
        if sign == '"' {
            quoted = !quoted;
        } else if !quoted && row.get(at..).is_some_and(|rest| rest.starts_with(separator)) {
            cells.extend(row.get(start..at));
            at += separator.len();
            start = at;
            continue;
        }
        at += sign.len_utf8();
    }
    cells.extend(row.get(start..));
    cells
}

/// Whether a row names columns: its cells are words, and none is a value by itself.
pub(super) fn is_header(row: &str, separator: &str) -> bool {
    let cells: Vec<&str> = cut(row, separator).into_iter().map(|cell| cell.trim().trim_matches('"')).collect();
    let is_word = |cell: &&str| cell.chars().next().is_none_or(|sign| sign.is_alphabetic() || sign == '_') && cell.len() <= 64;
    let is_value =
        |cell: &&str| shape_of(cell).is_some_and(|role| !matches!(role, Role::Country | Role::Transport)) || cell.contains("://");
    cells.iter().all(is_word) && !cells.iter().any(is_value) && cells.iter().any(|cell| !cell.is_empty())
}

/// What a single cell looks like.
fn shape_of(cell: &str) -> Option<Role> {
    let text = |field: Field| value::text(field, cell, &mut String::new()).is_ok();
    let digits = || cell.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |length: usize| cell.len() == length && cell.bytes().all(|byte| byte.is_ascii_hexdigit());
    Some(match cell {
        _ if value::ip(cell).is_ok() => Role::Address,
        _ if cell.contains('/') && value::network(cell).is_ok() => Role::Network,
        _ if (cell.contains("://") || cell.starts_with("hxxp")) && text(Field::SOURCE_URL) => Role::Url,
        _ if hex(32) => Role::Md5,
        _ if hex(40) => Role::Sha1,
        _ if hex(64) => Role::Sha256,
        _ if digits() && (cell.len() == 10 || cell.len() == 13) && cell.starts_with('1') => Role::Epoch,
        _ if digits() && cell.len() <= 5 && value::port(cell).is_ok() => Role::Port,
        _ if cell.starts_with("AS") && value::asn(cell).is_ok() => Role::System,
        _ if cell.len() >= 8 && !digits() && time::parse(cell).is_ok() => Role::Time,
        _ if cell.contains('@') && !cell.contains(' ') && cell.rsplit('@').next().is_some_and(is_host) => Role::Mail,
        _ if is_host(cell) => Role::Host,
        "tcp" | "udp" | "icmp" | "TCP" | "UDP" | "ICMP" => Role::Transport,
        _ if cell.len() == 2 && cell.bytes().all(|byte| byte.is_ascii_uppercase()) => Role::Country,
        _ => return None,
    })
}

/// A name under a public suffix.
fn is_host(cell: &str) -> bool {
    let plain = value::refang(cell);
    plain.contains('.')
        && value::text(Field::SOURCE_FQDN, &plain, &mut String::new()).is_ok()
        && psl::suffix(plain.to_lowercase().trim_end_matches('.').as_bytes()).is_some_and(|suffix| suffix.is_known())
}

/// What a column's cells look like: what most of them do, where the name does not speak against it; or what its name says.
fn role(name: &str, said: &[&str]) -> Option<Role> {
    let lower = name.to_lowercase();
    let last = lower.rsplit('.').next().unwrap_or(&lower);
    let words: Vec<&str> = last.split(|sign: char| !sign.is_alphanumeric()).collect();
    let named = |those: &[&str]| words.iter().any(|word| those.contains(word)) || those.contains(&last);
    let mut counts: Vec<(Role, usize)> = Vec::new();
    for role in said.iter().filter_map(|cell| shape_of(cell)) {
        match counts.iter_mut().find(|(known, _)| *known == role) {
            Some((_, count)) => *count += 1,
            None => counts.push((role, 1)),
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count * 10 >= said.len() * 6);
    let is_number = !said.is_empty() && said.iter().all(|cell| cell.bytes().all(|byte| byte.is_ascii_digit()));
    match most.map(|(role, _)| role) {
        Some(Role::Port) if named(&["port", "dpt", "spt", "dport", "sport"]) || last.ends_with("port") => Some(Role::Port),
        // Small numbers are most things: the name must say what they are.
        Some(Role::Port) if named(&["asn", "as"]) => Some(Role::System),
        Some(Role::Port) if name.bytes().all(|byte| byte.is_ascii_digit()) => Some(Role::Port),
        Some(Role::Port) => None,
        Some(Role::Country) if named(&["country", "cc", "geo", "code", "countrycode", "location"]) => Some(Role::Country),
        Some(Role::Country) => None,
        Some(Role::Host) if named(&["ptr", "rdns", "reverse"]) => Some(Role::ReverseName),
        Some(role) => Some(role),
        None if named(&["malware", "family", "malwarefamily", "threat", "botnet"]) && !said.is_empty() => Some(Role::Malware),
        None if is_number && named(&["asn", "as", "asnum"]) => Some(Role::System),
        None if named(&["asname", "as_name", "asorg", "as_org"]) => Some(Role::SystemName),
        None => None,
    }
}

/// Gives columns without a header names of what they look like.
fn name_unnamed(form: &Form, columns: &mut [Column]) {
    if !matches!(form, Form::Csv { header: Header::None, .. } | Form::Lines { .. }) {
        return;
    }
    let mut names: Vec<String> = Vec::new();
    for (place, column) in columns.iter_mut().enumerate() {
        let base = match column.role {
            Some(Role::Address) => "ip",
            Some(Role::Network) => "network",
            Some(Role::Url) => "url",
            Some(Role::Host) => "host",
            Some(Role::Mail) => "mail",
            Some(Role::Time | Role::Epoch) => "time",
            Some(Role::Port) => "port",
            Some(Role::System) => "asn",
            Some(Role::Md5) => "md5",
            Some(Role::Sha1) => "sha1",
            Some(Role::Sha256) => "sha256",
            Some(Role::Transport) => "protocol",
            _ => "column",
        };
        let mut name = if base == "column" { format!("column{}", place + 1) } else { base.to_owned() };
        if names.contains(&name) {
            name = format!("{name}{}", place + 1);
        }
        names.push(name.clone());
        column.name = name;
    }
}

/// Aims each column at a field, each field once: what is named for the other side is the other side's.
fn aim(columns: &mut [Column]) {
    let mut taken: Vec<String> = Vec::new();
    // The time that counts is the one named so; of several else the first.
    let time_rank = |name: &str| {
        let lower = name.to_lowercase();
        ["timestamp", "time", "date", "seen", "detected", "observed", "first_seen", "firstseen", "added", "created", "last_seen"]
            .iter()
            .position(|word| lower == *word || lower.contains(word))
            .unwrap_or(99)
    };
    let time = (0..columns.len())
        .filter(|place| matches!(columns[*place].role, Some(Role::Time | Role::Epoch)))
        .min_by_key(|place| time_rank(&columns[*place].name));
    for (place, column) in columns.iter_mut().enumerate() {
        let Some(role) = column.role else { continue };
        let lower = column.name.to_lowercase();
        let is_other = ["dst", "dest", "target", "victim", "dpt", "dport"]
            .iter()
            .any(|word| lower.starts_with(word) || lower.contains(&format!("_{word}")));
        let side = if is_other { "destination" } else { "source" };
        let target = match role {
            Role::Address => format!("{side}.ip"),
            Role::Network => format!("{side}.network"),
            Role::Url => format!("{side}.url"),
            Role::Host => format!("{side}.fqdn"),
            Role::ReverseName => format!("{side}.reverse_dns"),
            Role::Mail => format!("{side}.account"),
            Role::Port => format!("{side}.port"),
            Role::System => format!("{side}.asn"),
            Role::SystemName => format!("{side}.as_name"),
            Role::Country => format!("{side}.geolocation.cc"),
            Role::Md5 => "malware.hash.md5".into(),
            Role::Sha1 => "malware.hash.sha1".into(),
            Role::Sha256 => "malware.hash.sha256".into(),
            Role::Transport => "protocol.transport".into(),
            Role::Malware => "malware.name".into(),
            Role::Time | Role::Epoch if time != Some(place) => continue,
            Role::Time => "time.source".into(),
            Role::Epoch => "time.source | epoch".into(),
        };
        if !taken.contains(&target) {
            taken.push(target.clone());
            column.target = Some(target);
        }
    }
}
