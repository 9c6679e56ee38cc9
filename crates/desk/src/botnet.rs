//! IntelMQ's configuration as ours: which bots there are, what each collector's messages reach, and the feed and the source here
//! that read the same. What has no counterpart is listed, with the bot and the reason: nothing is left out silently.

mod known;
mod parameters;
mod read;
mod source;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use feed::catalog::File;
use feed::{Catalog, Feed};
use serde_json::Value;

use self::known::{Does, Known, Of};
use self::parameters::{Parameters, shown_address};
use self::read::{Bot, Botnet};
use crate::configuration::Configuration;
use crate::run::plans;

pub use self::known::names;
pub use self::read::MOST_BYTES;

/// What is given: the text of `runtime.yaml`, or of `runtime.conf` and `pipeline.conf`.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub runtime: &'a str,
    pub pipeline: Option<&'a str>,
    /// What the program knows of IntelMQ's bots: `tables/intelmq.toml`.
    pub known: &'a str,
    /// What is configured here already.
    pub configured: &'a toml::Table,
    /// What a table of one's own says by now, by its path below `feeds/`.
    pub own: &'a (dyn Fn(&str) -> Option<String> + Sync),
    /// The folder that takes what is secret; none where variables of the environment will hold it.
    pub secrets: Option<&'a PathBuf>,
}

impl std::fmt::Debug for Given<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Given {} bytes", self.runtime.len())
    }
}

/// The same here.
#[derive(Debug, Default)]
pub struct Moved {
    /// For `conf.d`.
    pub configuration: String,
    /// Tables of feeds that nobody has one for, with their paths below `feeds/`.
    pub tables: Vec<File>,
    pub secrets: Vec<Kept>,
    /// Collectors that have become sources here.
    pub sources: usize,
    pub untranslated: Vec<Untranslated>,
}

/// Something secret.
pub struct Kept {
    /// The variable's name, or the file's.
    pub name: String,
    /// None where IntelMQ's configuration has only a text that stands in its place.
    pub value: Option<String>,
    /// Whose it is, and which parameter.
    pub of: String,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({})", self.name, self.of)
    }
}

/// What is not the same here, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Untranslated {
    pub bot: String,
    pub why: String,
}

/// Makes of IntelMQ's configuration ours. Fails where it cannot be read at all.
pub fn translate(given: &Given<'_>, catalog: &Catalog) -> Result<Moved> {
    let botnet = read::botnet(given.runtime, given.pipeline)?;
    let known = Known::parse(given.known).context("tables/intelmq.toml")?;
    let mut moving = Moving { botnet: &botnet, known: &known, catalog, given, moved: Moved::default(), names: BTreeSet::new() };
    moving.collectors();
    moving.experts_and_outputs();
    moving.rest();
    moving.moved.untranslated.sort();
    moving.moved.untranslated.dedup();
    Ok(moving.finish())
}

struct Moving<'a> {
    botnet: &'a Botnet,
    known: &'a Known,
    catalog: &'a Catalog,
    given: &'a Given<'a>,
    moved: Moved,
    /// Of sources, so that each is there once.
    names: BTreeSet<String>,
}

/// A feed that reads what a parser read.
enum Reads<'c> {
    Feed(&'c Feed, Option<(String, String)>),
    Provider(String),
    Drafted(String),
}

impl<'a> Moving<'a> {
    fn lost(&mut self, bot: &str, why: impl Into<String>) {
        self.moved.untranslated.push(Untranslated { bot: shown(bot), why: shown(&why.into()) });
    }

    fn say(&mut self, text: &str) {
        self.moved.configuration += text;
        self.moved.configuration.push('\n');
    }

    fn collectors(&mut self) {
        for bot in self.botnet.of("collectors") {
            let parsers = self.botnet.parsers_of(bot);
            let names: Vec<&str> = parsers.iter().map(|parser| parser.id.as_str()).collect();
            let whose: Vec<String> = ["provider", "name"].iter().filter_map(|key| bot.text(key)).collect();
            self.say("");
            let mut line = format!("# {}", shown(&bot.id));
            for (before, words) in [(" -> ", names.join(", ")), (": ", whose.join(", "))] {
                if !words.is_empty() {
                    line += &format!("{before}{}", shown(&words));
                }
            }
            self.say(&line);
            if parsers.is_empty() {
                self.lost(&bot.id, "its messages reach no parser");
                self.say("# not translated: its messages reach no parser");
            }
            for (place, parser) in parsers.iter().enumerate() {
                self.one(bot, parser, place);
            }
        }
    }

    /// A collector and one parser behind it.
    fn one(&mut self, bot: &Bot, parser: &Bot, place: usize) {
        let lost_before = self.moved.untranslated.len();
        let reads = self.reads(bot, parser);
        let section = match &reads {
            Ok(reads) => self.section(bot, parser, reads),
            Err(why) => Err(why.clone()),
        };
        match section {
            Ok(mut section) => {
                let name = self.name_of(bot, place);
                section.off = !bot.enabled;
                let text = section.written(&name);
                // What was not translated of it.
                let lost: Vec<String> = self
                    .moved
                    .untranslated
                    .iter()
                    .skip(lost_before)
                    .map(|lost| format!("# not translated: {}", shown(&lost.why)))
                    .collect();
                lost.iter().for_each(|line| self.say(line));
                match self.check(&text) {
                    Ok(()) => {
                        self.moved.sources += 1;
                        self.say(&text);
                    }
                    Err(why) => {
                        self.lost(&bot.id, format!("what was made of it is not sound here: {why}"));
                        self.say(&commented(&format!("not sound: {why}\n{text}")));
                    }
                }
            }
            Err(why) => {
                let hint = match &reads {
                    Ok(Reads::Feed(feed, _)) => format!("; what it brings is read by the feed {}", feed.id),
                    Ok(Reads::Provider(provider)) => format!("; what it brings is read by the feeds of {provider}"),
                    Ok(Reads::Drafted(id)) => format!("; what it brings is read by the table {id}"),
                    Err(_) => String::new(),
                };
                let why = format!("{why}{hint}");
                self.say(&format!("# not translated: {}", shown(&why)));
                self.lost(&bot.id, why);
            }
        }
    }

    /// The feed that reads what the parser reads of this collector.
    fn reads(&mut self, bot: &Bot, parser: &Bot) -> Result<Reads<'a>, String> {
        let catalog = self.catalog;
        let module = parser.module.strip_prefix("parsers.").unwrap_or(&parser.module);
        let address = bot.text("http_url").unwrap_or_default();
        if let Some(rule) = self.known.parser(module, &bot.words()) {
            if !table::is_generic(module) {
                self.parser_parameters(parser);
            }
            return match &rule.of {
                Of::Feed(id) => match id.strip_suffix("/*") {
                    None => {
                        let feed = catalog.feed(id).ok_or_else(|| format!("there is no feed {id}"))?;
                        let replaced = rule.replace.iter().find(|(from, _)| address.contains(*from));
                        Ok(Reads::Feed(feed, replaced.map(|(from, to)| (from.clone(), to.clone()))))
                    }
                    Some(provider) => {
                        let of_provider = |feed: &&Feed| feed.provider == provider;
                        let found = by_address(catalog, &address).filter(of_provider);
                        found.map(|feed| Reads::Feed(feed, None)).ok_or_else(|| {
                            let address = shown_address(&address);
                            format!("none of the feeds of {provider} is fetched at {address}: `waglan feed list` shows them")
                        })
                    }
                },
                Of::Provider(provider) => {
                    // The one that its parameter names.
                    let named = parser.text("feedname");
                    let one = catalog.feeds().find(|feed| feed.provider == *provider && named.as_ref() == Some(&feed.name));
                    Ok(one.map_or_else(|| Reads::Provider(provider.clone()), |feed| Reads::Feed(feed, None)))
                }
            };
        }
        if let Some(feed) = by_address(catalog, &address) {
            return Ok(Reads::Feed(feed, None));
        }
        if table::is_generic(module) {
            return self.drafted(bot, parser, module).map(Reads::Drafted);
        }
        if let Some(feed) = bot.name().and_then(|name| self.known.names.get(&name)).and_then(|id| catalog.feed(id)) {
            return Ok(Reads::Feed(feed, None));
        }
        Err(format!(
            "nobody here knows the parser {} ({}): draft a table from a delivery with `waglan feed new FILE`",
            parser.id, parser.module
        ))
    }

    /// Parameters of a parser that has a feed here do nothing here.
    fn parser_parameters(&mut self, parser: &Bot) {
        let mut parameters = Parameters::of(parser, self.given.secrets);
        parameters.pass(&["feedname", "overwrite", "test_mode", "auto_update", "splitlines", "multiple_events", "ignore_errors"]);
        for (name, value) in parameters.left() {
            self.lost(&parser.id, format!("parameter {name} = {value}: the feed's table decides that here"));
        }
    }

    fn drafted(&mut self, bot: &Bot, parser: &Bot, module: &str) -> Result<String, String> {
        let table::Drafted { table, lost } = table::draft(bot, parser, module, self.catalog)?;
        let id = self.id_of(bot, &table);
        let file = File { path: format!("{id}.toml"), text: table };
        let mut files = self.moved.tables.clone();
        files.push(file.clone());
        let provider = File { path: format!("{}/provider.toml", id.split('/').next().unwrap_or_default()), text: String::new() };
        if let Some((_, why)) = Catalog::read(&[provider, file.clone()]).broken.first() {
            return Err(format!("no table comes of the parser {}: {why}", parser.id));
        }
        lost.into_iter().for_each(|why| self.lost(&parser.id, why));
        self.moved.tables = files;
        Ok(id)
    }

    /// For a drafted table: `PROVIDER/NAME`, as nobody else has it; the one that has it already, where it says the same.
    fn id_of(&self, bot: &Bot, table: &str) -> String {
        let provider = bot.text("provider").map_or_else(|| "own".to_owned(), |text| slug(&text));
        let name = bot.text("name").map_or_else(|| slug(&bot.id), |text| slug(&text));
        let name = if name == "provider" { "feed".to_owned() } else { name };
        let is_drafted = |id: &str| self.moved.tables.iter().any(|file| file.path.strip_suffix(".toml") == Some(id));
        let is_others = |id: &str| self.catalog.feed(id).is_some() && (self.given.own)(&format!("{id}.toml")).as_deref() != Some(table);
        let taken = |id: &str| is_drafted(id) || is_others(id);
        let numbered = (2..).map(|number| format!("{provider}/{name}-{number}"));
        std::iter::once(format!("{provider}/{name}")).chain(numbered).find(|id| !taken(id)).expect("numbers do not end")
    }

    fn section(&mut self, bot: &Bot, parser: &Bot, reads: &Reads<'_>) -> Result<source::Section, String> {
        let mut parameters = Parameters::of(bot, self.given.secrets);
        parameters.secrets = std::mem::take(&mut self.moved.secrets);
        let before = parameters.secrets.len();
        let section = source::section(&mut parameters, self.known, reads);
        if section.is_err() {
            parameters.secrets.truncate(before);
        }
        self.moved.secrets = std::mem::take(&mut parameters.secrets);
        let mut section = section?;
        if !bot.is_continuous() {
            section.notes.push("it ran by cron there: here it is looked at when it is due, or by `waglan run --once`".into());
        }
        if !parser.enabled && bot.enabled {
            section.notes.push(format!("its parser {} is switched off there", parser.id));
        }
        for (name, value) in parameters.left() {
            self.lost(&bot.id, format!("parameter {name} = {value} has no counterpart here"));
        }
        for why in std::mem::take(&mut section.lost) {
            self.lost(&bot.id, why);
        }
        Ok(section)
    }

    fn name_of(&mut self, bot: &Bot, place: usize) -> String {
        let base = slug(bot.id.strip_suffix("-collector").unwrap_or(&bot.id));
        let configured = |name: &str| self.given.configured.get("source").and_then(|sources| sources.get(name)).is_some();
        let first = if place == 0 { base.clone() } else { format!("{base}-{}", place + 1) };
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let free = |name: &String| !self.names.contains(name) && !configured(name);
        let name = std::iter::once(first).chain(numbered).find(free).expect("numbers do not end");
        self.names.insert(name.clone());
        name
    }

    /// Whether the section does here, beside the tables that were drafted.
    fn check(&self, text: &str) -> Result<(), String> {
        let configuration = Configuration::parse(text).map_err(|why| one_line(&why))?;
        if self.moved.tables.is_empty() {
            return plans(&configuration, self.catalog).map(drop).map_err(|why| format!("{why:#}"));
        }
        // A drafted one is not among those that are known; any other feed with its name does as well.
        let drafted = Catalog::read(&self.moved.tables);
        let ours = configuration.source.values().any(|source| source.feed.as_ref().is_some_and(|id| drafted.feed(id).is_some()));
        plans(&configuration, if ours { &drafted } else { self.catalog }).map(drop).map_err(|why| format!("{why:#}"))
    }

    fn experts_and_outputs(&mut self) {
        let mut scope = BTreeMap::<&str, Vec<String>>::new();
        let mut lines = Vec::new();
        for (kind, table) in [("experts", &self.known.expert), ("outputs", &self.known.output)] {
            for bot in self.botnet.of(kind) {
                let module = bot.module.split_once('.').map_or("", |(_, module)| module);
                if let Some((key, values)) = our_scope(bot) {
                    lines.push(format!("# {}: {}", shown(&bot.id), "every event is kept; what is ours the scope says, at the end"));
                    scope.entry(key).or_default().extend(values);
                    continue;
                }
                match table.get(module) {
                    Some(Does::Here(what)) => lines.push(format!("# {}: {what}", shown(&bot.id))),
                    Some(Does::Not(why)) => {
                        lines.push(format!("# {}: not translated: {why}", shown(&bot.id)));
                        self.lost(&bot.id, why.clone());
                    }
                    None => {
                        lines.push(format!("# {}: not translated: nobody here knows {}", shown(&bot.id), shown(&bot.module)));
                        self.lost(&bot.id, format!("nobody here knows {}", bot.module));
                    }
                }
            }
        }
        if !lines.is_empty() {
            self.say("\n# What the other bots do:");
            lines.sort();
            lines.iter().for_each(|line| self.say(line));
        }
        if !scope.is_empty() {
            self.say("\n[scope]");
            for (key, values) in scope {
                let values: Vec<String> = values.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
                self.say(&format!("{key} = [{}]", values.join(", ")));
            }
        }
    }

    /// Parsers that nothing reaches, and bots that are none of IntelMQ's.
    fn rest(&mut self) {
        let reached: BTreeSet<&str> =
            self.botnet.of("collectors").flat_map(|bot| self.botnet.parsers_of(bot)).map(|parser| parser.id.as_str()).collect();
        for bot in self.botnet.of("parsers").filter(|bot| !reached.contains(bot.id.as_str())) {
            self.lost(&bot.id, "no collector's messages reach this parser");
        }
        let kinds = ["collectors.", "parsers.", "experts.", "outputs."];
        for bot in self.botnet.bots.iter().filter(|bot| !kinds.iter().any(|kind| bot.module.starts_with(kind))) {
            self.lost(&bot.id, format!("it is of your own make, {}: nobody here knows what it does", bot.module));
        }
        for (bot, queue) in &self.botnet.loose {
            self.lost(bot, format!("its messages go to {queue}, of which no bot reads"));
        }
    }

    fn finish(mut self) -> Moved {
        let mut head = String::from(
            "# What IntelMQ's bots fetch, as Waglan fetches it: made by `waglan import intelmq`. A source that you take up here, switch off there.\n",
        );
        for kept in &self.moved.secrets {
            let (where_, missing) = match self.given.secrets {
                Some(folder) => {
                    (format!("the file {}", folder.join(&kept.name).display()), " (there is none in IntelMQ's configuration: put it there)")
                }
                None => (format!("the variable {}", kept.name), ""),
            };
            let missing = if kept.value.is_none() { missing } else { "" };
            writeln!(head, "# secret: {where_}: {}{missing}", shown(&kept.of)).expect("a string");
        }
        for file in &self.moved.tables {
            if self.given.secrets.is_none() {
                let text =
                    format!("A table that it needs, feeds/{} in the data folder (--save puts it there):\n\n{}", file.path, file.text);
                writeln!(head, "\n{}", commented(&text)).expect("a string");
            }
        }
        self.moved.configuration = head + &self.moved.configuration;
        self.moved
    }
}

/// A filter that keeps one country's, or one network's, says what is ours.
fn our_scope(bot: &Bot) -> Option<(&'static str, Vec<String>)> {
    if bot.module != "experts.filter.expert"
        || bot.text("filter_action")? != "keep"
        || bot.text("not_before").or(bot.text("not_after")).is_some()
    {
        return None;
    }
    let value = bot.text("filter_value")?;
    let words: Vec<&str> = value.trim_start_matches(['^', '(']).trim_end_matches(['$', ')']).split('|').map(str::trim).collect();
    match bot.text("filter_key")?.as_str() {
        "source.geolocation.cc" if words.iter().all(|word| word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_alphabetic())) => {
            Some(("countries", words.iter().map(|word| format!("\"{}\"", word.to_uppercase())).collect()))
        }
        "source.asn" if words.iter().all(|word| word.parse::<u32>().is_ok()) => {
            Some(("asns", words.iter().map(|word| (*word).to_owned()).collect()))
        }
        _ => None,
    }
}

/// The feed that is fetched at this address, whichever scheme it has. What stands for something else in the address is none.
pub(crate) fn by_address<'c>(catalog: &'c Catalog, address: &str) -> Option<&'c Feed> {
    let wanted = plain(address)?;
    catalog.feeds().find(|feed| feed.fetch.as_deref().and_then(plain).is_some_and(|fetch| fetch == wanted))
}

fn plain(address: &str) -> Option<String> {
    let (_, rest) = address.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.to_lowercase();
    Some(format!("{}/{}", host.strip_prefix("www.").unwrap_or(&host), path.trim_end_matches('/')))
}

/// A word for keys and tables.
fn slug(text: &str) -> String {
    let slug = crate::history::slug(text, 64);
    if slug.is_empty() { "feed".to_owned() } else { slug }
}

/// In a comment: one line, and no signs that are none.
fn shown(text: &str) -> String {
    let plain = |sign: char| if sign.is_control() { ' ' } else { sign };
    text.chars().map(plain).take(400).collect()
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {}", shown(line)).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A value as text.
fn told(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
