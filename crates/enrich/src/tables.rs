//! The tables that are in force together, and the name by which an event remembers them.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use event::time;
use ipnet::IpNet;

use crate::aliases::Aliases;
use crate::database::{Answer, Bytes, Database};
use crate::networks::{Network, Networks};
use crate::scope::Scope;
use crate::suppression::Suppression;
use crate::warning_lists::{WarningList, WarningLists};

/// What a table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Networks that somebody who knows has listed.
    Networks,
    /// Places and AS numbers of addresses.
    Addresses,
    /// Names of malware families.
    Aliases,
    Scope,
    /// Warning lists.
    Warnings,
    /// Which events are not counted for being on one.
    Suppression,
}

impl Kind {
    pub const ALL: [Kind; 6] = [Kind::Networks, Kind::Addresses, Kind::Aliases, Kind::Scope, Kind::Warnings, Kind::Suppression];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Networks => "networks",
            Kind::Addresses => "addresses",
            Kind::Aliases => "aliases",
            Kind::Scope => "scope",
            Kind::Warnings => "warnings",
            Kind::Suppression => "suppression",
        }
    }
}

/// One table as it was on one day.
#[derive(Debug)]
pub struct Part {
    pub kind: Kind,
    /// What its owner calls it, the same from one day to the next.
    pub name: String,
    /// From this day on it is in force, in days since 1970, UTC. For a table of addresses, the day it was built.
    pub day: i32,
    /// The name of its bytes, by [`event::id::name`].
    pub hash: String,
    bytes: Bytes,
    content: Content,
}

/// A line of a list of tables: which one is meant, without what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listed {
    pub kind: Kind,
    pub name: String,
    pub day: i32,
    pub hash: String,
}

impl Listed {
    pub fn parse(line: &str) -> Option<Listed> {
        // A name may hold spaces.
        let (line, hash) = line.rsplit_once(' ')?;
        let (line, day) = line.rsplit_once(' ')?;
        let (kind, name) = line.split_once(' ')?;
        let kind = Kind::ALL.into_iter().find(|one| one.name() == kind)?;
        Some(Listed { kind, name: name.to_owned(), day: time::day(time::parse(day).ok()?), hash: hash.to_owned() })
    }
}

#[derive(Debug)]
enum Content {
    Networks(Networks),
    Addresses(Database),
    Aliases(Aliases),
    Scope(Scope),
    Warnings(Arc<WarningList>),
    Suppression(Suppression),
}

const SECONDS_A_DAY: u64 = 86_400;

impl Part {
    /// A table in the MMDB format, of bytes that are read, mapped or shared.
    ///
    /// Fails if the format or the layout is not understood. Errors of this and the other constructors name the
    /// table and say what is wrong with it.
    pub fn addresses(name: &str, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Part, String> {
        let hash = event::id::name(bytes.as_ref());
        Part::addresses_of(name, hash, bytes)
    }

    /// The same of bytes whose name is known: they are not all read then.
    pub fn addresses_of(name: &str, hash: String, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Part, String> {
        let bytes = Bytes(Arc::new(bytes));
        let database = Database::open(bytes.clone()).map_err(|error| format!("the table \"{name}\" is {error}"))?;
        let day = i32::try_from(database.build_epoch() / SECONDS_A_DAY).unwrap_or(i32::MAX);
        Ok(Part { kind: Kind::Addresses, name: name.to_owned(), day, hash, bytes, content: Content::Addresses(database) })
    }

    /// The table that a list names, of its bytes.
    pub fn listed(listed: &Listed, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Part, String> {
        match listed.kind {
            Kind::Addresses => Part::addresses_of(&listed.name, listed.hash.clone(), bytes),
            kind => Part::of(kind, &listed.name, listed.day, bytes),
        }
    }

    /// A table of this kind; for addresses the day is in the bytes.
    pub fn of(kind: Kind, name: &str, day: i32, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Part, String> {
        let text = || std::str::from_utf8(bytes.as_ref()).map_err(|_| format!("the table \"{name}\" is not UTF-8"));
        match kind {
            Kind::Networks => Part::networks(name, day, text()?),
            Kind::Addresses => Part::addresses(name, bytes),
            Kind::Aliases => Part::aliases(name, day, text()?),
            Kind::Scope => Part::scope(name, day, text()?),
            Kind::Warnings => Part::warnings(name, day, text()?),
            Kind::Suppression => Part::suppression(name, day, text()?),
        }
    }

    /// The table as it was given.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// Whether it is the one that a list means.
    pub fn is(&self, listed: &Listed) -> bool {
        (self.kind, &self.name, self.day, &self.hash) == (listed.kind, &listed.name, listed.day, &listed.hash)
    }

    /// Listed networks: see [`Networks::parse`].
    pub fn networks(name: &str, day: i32, text: &str) -> Result<Part, String> {
        Part::of_text(Kind::Networks, name, day, text, |text| Networks::parse(text).map(Content::Networks))
    }

    /// Names of malware families: see [`Aliases::parse`].
    pub fn aliases(name: &str, day: i32, text: &str) -> Result<Part, String> {
        Part::of_text(Kind::Aliases, name, day, text, |text| Aliases::parse(text).map(Content::Aliases))
    }

    /// What is ours to watch: see [`Scope::parse`].
    pub fn scope(name: &str, day: i32, text: &str) -> Result<Part, String> {
        Part::of_text(Kind::Scope, name, day, text, |text| Scope::parse(text).map(Content::Scope))
    }

    /// A warning list: see [`WarningList::parse`].
    pub fn warnings(name: &str, day: i32, text: &str) -> Result<Part, String> {
        Part::of_text(Kind::Warnings, name, day, text, |text| WarningList::parse(text).map(Arc::new).map(Content::Warnings))
    }

    /// Which events are not counted: see [`Suppression::parse`].
    pub fn suppression(name: &str, day: i32, text: &str) -> Result<Part, String> {
        Part::of_text(Kind::Suppression, name, day, text, |text| Suppression::parse(text).map(Content::Suppression))
    }

    fn of_text(kind: Kind, name: &str, day: i32, text: &str, parse: impl FnOnce(&str) -> Result<Content, String>) -> Result<Part, String> {
        let content = parse(text).map_err(|error| format!("the table \"{name}\" of {}: {error}", kind.name()))?;
        let bytes = Bytes(Arc::new(text.to_owned()));
        Ok(Part { kind, name: name.to_owned(), day, hash: event::id::name(text.as_bytes()), bytes, content })
    }

    /// What it is, if it is a warning list.
    pub fn warning_list(&self) -> Option<&WarningList> {
        if let Content::Warnings(list) = &self.content { Some(list) } else { None }
    }

    fn has_places(&self) -> bool {
        matches!(&self.content, Content::Addresses(database) if database.has_places)
    }

    fn has_systems(&self) -> bool {
        matches!(&self.content, Content::Addresses(database) if database.has_systems)
    }
}

/// The tables of one day. Of several tables of a kind, the first that knows an answer gives it; listed networks
/// are asked before all tables of addresses.
#[derive(Clone, Debug)]
pub struct Tables {
    parts: Vec<Arc<Part>>,
    list: String,
    name: String,
    /// Put together when they are first asked, and only once for all days that have the same.
    warnings: Arc<OnceLock<Option<WarningLists>>>,
}

impl Default for Tables {
    /// No tables at all.
    fn default() -> Tables {
        Tables::of(Vec::new())
    }
}

/// Tables, each in a line: its kind, name, day and hash.
pub(crate) fn list(parts: &[Arc<Part>]) -> String {
    let mut list = String::new();
    for part in parts {
        let Part { kind, name, day, hash, .. } = part.as_ref();
        writeln!(list, "{} {name} {} {hash}", kind.name(), time::day_name(*day)).expect("a string takes any text");
    }
    list
}

impl Tables {
    pub fn of(mut parts: Vec<Arc<Part>>) -> Tables {
        parts.sort_by_key(|part| part.kind);
        let list = list(&parts);
        Tables { parts, name: event::id::name(list.as_bytes()), list, warnings: Arc::default() }
    }

    /// Takes over what another day has put together of the same warning lists.
    pub(crate) fn share_warnings(&mut self, other: &Tables) {
        let lists = |tables: &Tables| -> Vec<String> {
            tables.parts.iter().filter(|part| part.kind == Kind::Warnings).map(|part| part.hash.clone()).collect()
        };
        if lists(self) == lists(other) {
            self.warnings = other.warnings.clone();
        }
    }

    /// All warning lists together; none where there is no list.
    pub(crate) fn warning_lists(&self) -> Option<&WarningLists> {
        let put_together = || {
            let lists: Vec<Arc<WarningList>> = self
                .parts
                .iter()
                .filter_map(|part| match &part.content {
                    Content::Warnings(list) => Some(list.clone()),
                    _ => None,
                })
                .collect();
            // Too many together are none; `check_warnings` says so.
            Some(lists).filter(|lists| !lists.is_empty()).and_then(|lists| WarningLists::of(lists).ok())
        };
        self.warnings.get_or_init(put_together).as_ref()
    }

    /// What is wrong with the warning lists together, if anything is.
    pub fn check_warnings(&self) -> Option<&'static str> {
        let has_any = self.parts.iter().any(|part| part.kind == Kind::Warnings);
        (has_any && self.warning_lists().is_none())
            .then_some("There are too many warning lists, or too many substrings in them: no event is marked.")
    }

    pub(crate) fn suppressions(&self) -> impl Iterator<Item = &Suppression> {
        self.parts.iter().filter_map(|part| match &part.content {
            Content::Suppression(rules) => Some(rules),
            _ => None,
        })
    }

    /// The tables, each in a line: its kind, name, day and hash. The set's name is the hash of this.
    pub fn list(&self) -> &str {
        &self.list
    }

    /// One short name for the set, from its tables' bytes: equal sets have equal names.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn parts(&self) -> &[Arc<Part>] {
        &self.parts
    }

    /// What cannot be filled for want of a table, one sentence each, for people.
    pub fn missing(&self) -> Vec<&'static str> {
        let has = |kind| self.parts.iter().any(|part| part.kind == kind);
        let all = [
            (
                self.parts.iter().any(|part| part.has_places()),
                "No table says where addresses are: countries and cities are filled by feeds alone. `waglan geo update FILE` puts one in place.",
            ),
            (
                self.parts.iter().any(|part| part.has_systems()),
                "No table says whose networks addresses are in: AS numbers and names are filled by feeds alone. `waglan geo update FILE` puts one in place.",
            ),
            (has(Kind::Aliases), "No table of malware names: families keep each feed's spelling."),
            (has(Kind::Scope), "No scope is set: nothing is in scope. State [scope] in waglan.toml."),
        ];
        all.into_iter().filter(|(there, _)| !there).map(|(_, sentence)| sentence).collect()
    }

    /// What the tables say of an address, and nothing of what a feed would.
    pub fn answer(&self, address: IpAddr) -> Answer {
        let mut answer = Answer::default();
        for source in self.sources() {
            let Some(key) = source.find(address.into()) else { continue };
            let found = source.answer(key, address.into());
            answer.place = answer.place.or_else(|| found.place.clone());
            answer.system = answer.system.or_else(|| found.system.clone());
        }
        answer
    }

    /// The most specific listed network that holds the address.
    pub fn listed(&self, address: IpAddr) -> Option<&Network> {
        self.parts.iter().find_map(|part| match &part.content {
            Content::Networks(networks) => networks.find(address),
            _ => None,
        })
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        self.parts.iter().filter_map(|part| match &part.content {
            Content::Networks(networks) => Some(Source::Networks(networks)),
            Content::Addresses(database) => Some(Source::Addresses(database)),
            Content::Aliases(_) | Content::Scope(_) | Content::Warnings(_) | Content::Suppression(_) => None,
        })
    }

    /// The one name of a malware's family, where this is another spelling of it.
    pub fn family(&self, spelling: &str) -> Option<&str> {
        self.aliases().find_map(|aliases| aliases.canonical(spelling))
    }

    pub(crate) fn aliases(&self) -> impl Iterator<Item = &Aliases> {
        self.parts.iter().filter_map(|part| match &part.content {
            Content::Aliases(aliases) => Some(aliases),
            _ => None,
        })
    }

    pub(crate) fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.parts.iter().filter_map(|part| match &part.content {
            Content::Scope(scope) => Some(scope),
            _ => None,
        })
    }
}

/// Whatever can be asked about an address.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'t> {
    Networks(&'t Networks),
    Addresses(&'t Database),
}

impl Source<'_> {
    pub(crate) fn has_places(&self) -> bool {
        matches!(self, Source::Networks(_) | Source::Addresses(Database { has_places: true, .. }))
    }

    pub(crate) fn has_systems(&self) -> bool {
        matches!(self, Source::Networks(_) | Source::Addresses(Database { has_systems: true, .. }))
    }

    /// A key for the answer about this network, the same for all that share it.
    pub(crate) fn find(&self, network: IpNet) -> Option<usize> {
        match self {
            Source::Networks(networks) => networks.place(network),
            Source::Addresses(database) => database.offset(network),
        }
    }

    /// The answer with this key, which [`Source::find`] gave for the network.
    pub(crate) fn answer(&self, key: usize, network: IpNet) -> Arc<Answer> {
        match self {
            Source::Networks(networks) => networks.answer(key),
            Source::Addresses(database) => database.answer(key, network),
        }
    }
}
