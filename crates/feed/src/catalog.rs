//! All feeds that are known: read from files that the caller gives, found by id, by file name or by header.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::IpAddr;

use event::time::{self, Micros};

use crate::shape::Splitter;
use crate::table::{self, Feed, Patterns};

/// A file of the folder `feeds/`: its path below that folder, with `/`, and its text.
#[derive(Clone, Debug)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// A provider's family that its own document of its reports made ([`crate::vendor_schema`]). It lies under the provider's
/// other files: a feed that one of them has takes from here only the columns that it does not know.
pub const UPDATED: &str = "updated";

/// A file that is TOML.
struct Parsed<'f> {
    path: &'f str,
    provider: &'f str,
    name: &'f str,
    table: toml::Table,
}

#[derive(Debug, Default)]
pub struct Catalog {
    /// By id; of several versions the newest is first.
    feeds: BTreeMap<String, Vec<Feed>>,
    /// Tables that could not be read, and why.
    pub broken: Vec<(String, String)>,
}

/// How a report begins: what tells its feed where its name does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    pub header: Vec<String>,
    /// The first that the first row has.
    pub address: Option<IpAddr>,
}

impl Beginning {
    /// Of a report in the form of one of its provider's feeds; nothing of what cannot be read so.
    pub fn of(feed: &Feed, report: impl Read) -> Beginning {
        let mut splitter = Splitter::new(feed, report).with_any_header();
        let rows = splitter.next_rows().ok().flatten().unwrap_or_default();
        let columns = if rows.lines.is_empty() { 0 } else { rows.header.names.len() };
        let address = (0..columns).find_map(|column| rows.cell(0, column).parse().ok());
        Beginning { header: splitter.header().unwrap_or_default(), address }
    }
}

/// Why no feed was picked for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpicked {
    NoSuchProvider,
    /// Neither name nor header fits a feed.
    Unknown,
    /// The header fits several.
    Several(Vec<String>),
}

impl Catalog {
    /// Reads every table. What is wrong with one is kept beside the others; of two for the same feed the later file's holds.
    pub fn read(files: &[File]) -> Catalog {
        let mut catalog = Catalog::default();
        let mut providers = BTreeMap::new();
        for file in files {
            if let Some(provider) = file.path.strip_suffix("/provider.toml") {
                match file.text.parse::<toml::Table>() {
                    Ok(table) => drop(providers.insert(provider.to_owned(), table)),
                    Err(wrong) => catalog.broken.push((file.path.clone(), wrong.to_string())),
                }
            }
        }
        let mut tables = catalog.parse(files);
        lay_under(&mut tables, &providers);
        let mut patterns = Patterns::default();
        for table in &tables {
            catalog.add(providers.get(table.provider).unwrap_or(&toml::Table::new()), table, &mut patterns);
        }
        for versions in catalog.feeds.values_mut() {
            versions.sort_by(|one, other| other.since.cmp(&one.since));
        }
        catalog
    }

    fn parse<'f>(&mut self, files: &'f [File]) -> Vec<Parsed<'f>> {
        let mut tables = Vec::new();
        for file in files {
            let Some((provider, name)) = file.path.strip_suffix(".toml").and_then(|path| path.split_once('/')) else { continue };
            if name == "provider" {
                continue;
            }
            match file.text.parse::<toml::Table>() {
                Ok(table) => tables.push(Parsed { path: &file.path, provider, name, table }),
                Err(wrong) => self.broken.push((file.path.clone(), wrong.to_string())),
            }
        }
        tables
    }

    fn add(&mut self, provider_table: &toml::Table, parsed: &Parsed<'_>, patterns: &mut Patterns) {
        // `FEED.202601.toml` is a version of FEED.
        let name = match parsed.name.rsplit_once('.') {
            Some((feed, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => feed,
            _ => parsed.name,
        };
        for (id, feed) in table::read(parsed.provider, provider_table, name, &parsed.table, patterns) {
            match feed {
                Ok(feed) => {
                    let versions = self.feeds.entry(id).or_default();
                    versions.retain(|known| known.since != feed.since);
                    versions.push(feed);
                }
                Err(wrong) => self.broken.push((format!("{}: {id}", parsed.path), wrong)),
            }
        }
    }

    /// Every feed, in its newest version, in the order of ids.
    pub fn feeds(&self) -> impl Iterator<Item = &Feed> {
        self.feeds.values().filter_map(|versions| versions.first())
    }

    pub fn feed(&self, id: &str) -> Option<&Feed> {
        self.feeds.get(id)?.first()
    }

    /// All versions of a feed's table, the newest first; none of one that is not known.
    pub fn versions(&self, id: &str) -> impl Iterator<Item = &Feed> {
        self.feeds.get(id).into_iter().flatten()
    }

    /// The version of a feed that holds for what comes then.
    pub fn feed_at(&self, id: &str, at: Micros) -> Option<&Feed> {
        let versions = self.feeds.get(id)?;
        let day = time::day_name(time::day(at));
        versions.iter().find(|feed| feed.since.as_ref().is_none_or(|since| *since <= day)).or(versions.last())
    }

    /// Ids that look like this one, for a message: those that begin so, or else those that have its last word.
    pub fn similar(&self, id: &str) -> Vec<&str> {
        let word = id.rsplit('/').next().unwrap_or(id);
        let all = || self.feeds.keys().map(String::as_str);
        let begin: Vec<&str> = all().filter(|known| known.starts_with(id)).take(5).collect();
        if begin.is_empty() { all().filter(|known| known.contains(word)).take(5).collect() } else { begin }
    }

    /// The provider's feed that a file is of: by its name, or where that says nothing by its header, in whichever order;
    /// of feeds with the same columns, by its first row's address.
    pub fn pick(&self, provider: &str, file_name: &str, begins: impl FnOnce(&Feed) -> Beginning) -> Result<&Feed, Unpicked> {
        let feeds: Vec<&Feed> = self.feeds().filter(|feed| feed.provider == provider).collect();
        let Some(first) = feeds.first() else { return Err(Unpicked::NoSuchProvider) };
        if let Some(feed) = feeds.iter().find(|feed| is_named(feed, file_name)) {
            return Ok(feed);
        }
        let Beginning { header, address } = begins(first);
        let names: BTreeSet<&String> = header.iter().collect();
        let fits = |feed: &&&Feed| feed.columns.len() == header.len() && feed.columns.iter().all(|column| names.contains(column));
        let mut fitting: Vec<&&Feed> = feeds.iter().filter(|_| !header.is_empty()).filter(fits).collect();
        if let (Some(address), true) = (address, fitting.len() > 1) {
            let version = Some(if address.is_ipv6() { 6 } else { 4 });
            let stated = fitting.iter().any(|feed| feed.ip == version);
            fitting.retain(|feed| feed.ip == if stated { version } else { None });
        }
        match fitting.as_slice() {
            [] => Err(Unpicked::Unknown),
            [feed] => Ok(feed),
            several => Err(Unpicked::Several(several.iter().map(|feed| feed.id.clone()).collect())),
        }
    }
}

/// Gives each updated feed's new columns to the table that has the feed otherwise. What is left in the updated files is theirs.
fn lay_under(tables: &mut Vec<Parsed<'_>>, providers: &BTreeMap<String, toml::Table>) {
    let (updated, others): (Vec<_>, Vec<_>) = std::mem::take(tables).into_iter().partition(|parsed| parsed.name == UPDATED);
    *tables = others;
    for mut update in updated {
        let Some(toml::Value::Table(feeds)) = update.table.get_mut("feed") else { continue };
        let shared = providers.get(update.provider).cloned().unwrap_or_default();
        feeds.retain(|name, more| {
            let mut is_new = true;
            for holder in tables.iter_mut().filter(|parsed| parsed.provider == update.provider) {
                if table::has_feed(holder.name, &holder.table, name) {
                    more.as_table().inspect(|more| table::extend(&mut holder.table, name, &shared, more));
                    is_new = false;
                }
            }
            is_new
        });
        if !feeds.is_empty() {
            tables.push(update);
        }
    }
}

/// Whether the file's name is of this feed's reports: its pattern matches, and the word that the group `type`
/// captures is the feed's.
fn is_named(feed: &Feed, file_name: &str) -> bool {
    let Some(captures) = feed.file.as_ref().and_then(|pattern| pattern.captures(file_name)) else { return false };
    captures.name("type").is_none_or(|word| word.as_str() == feed.file_name)
}

/// The day that a file's name states, as `YYYY-MM-DD`.
pub fn day_of(feed: &Feed, file_name: &str) -> Option<String> {
    let captures = feed.file.as_ref()?.captures(file_name)?;
    let day = captures.name("day")?.as_str();
    time::parse(day).ok().map(|midnight| time::day_name(time::day(midnight)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A feed's file, with the columns that tell it from others.
    fn file(path: &str, since: &str, columns: &str) -> File {
        const TABLE: &str =
            "format = \"csv\"\nmeans = \"other\"\nkind = \"listing\"\nasset = \"source.ip\"\ndelivers = \"list\"\ntlp = \"clear\"\n";
        File { path: path.to_owned(), text: format!("{TABLE}{since}\ncolumns = \"{columns}\"\nrows = {{ ip = \"source.ip\" }}\n") }
    }

    fn family(path: &str, feed: &File) -> File {
        File { path: path.to_owned(), text: format!("family = true\n[feed.x]\n{}", feed.text) }
    }

    /// The feed's versions, the newest first, by their columns.
    #[track_caller]
    fn check(files: &[File], expected: &[&str]) {
        let catalog = Catalog::read(files);
        assert_eq!(catalog.broken, []);
        let versions: Vec<String> = catalog.feeds["p/x"].iter().map(|feed| feed.columns.join(" ")).collect();
        assert_eq!(versions, expected);
    }

    #[test]
    fn of_two_tables_for_one_feed_the_later_holds() {
        let (one, other) = (file("p/x.toml", "", "ip"), file("p/y.toml", "", "ip port"));
        check(&[one.clone(), family("p/mine.toml", &other)], &["ip port"]);
        check(&[family("p/mine.toml", &other), one.clone()], &["ip"]);
        let version = file("p/x.202601.toml", "since = \"2026-01\"", "ip name");
        check(&[one.clone(), version.clone(), family("p/mine.toml", &other)], &["ip name", "ip port"]);
    }

    #[test]
    fn an_update_adds_columns_and_changes_nothing_else() {
        let one = file("p/x.toml", "", "ip port");
        let update = |columns: &str| family("p/updated.toml", &file("p/x.toml", "", columns));
        check(&[update("name ip"), one.clone()], &["ip port name"]);
        check(&[one.clone(), update("port")], &["ip port"]);
        check(&[update("name")], &["name"]);
        let headerless = file("p/x.toml", "", "");
        check(&[headerless, update("name")], &[""]);
    }
}
