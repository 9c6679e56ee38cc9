//! A configuration of several files: `waglan.toml` and what lies in `conf.d` beside it, one after the other. Tables are put together, lists
//! follow each other, and of anything else there is one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::DeTable;
use toml::{Table, Value};

use super::Configuration;

/// A file of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationFile {
    pub path: PathBuf,
    pub text: String,
}

/// Where each key stands, by its name with dots: the file and the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, (PathBuf, usize)>);

impl Places {
    /// Those of one file, which is TOML.
    fn of(ConfigurationFile { path, text }: &ConfigurationFile) -> Places {
        let mut places = Places::default();
        if let Ok(table) = DeTable::parse(text) {
            places.add("", table.get_ref(), path, text);
        }
        places
    }

    fn add(&mut self, within: &str, table: &DeTable<'_>, path: &Path, text: &str) {
        for (key, value) in table {
            let name = if within.is_empty() { key.get_ref().to_string() } else { format!("{within}.{}", key.get_ref()) };
            let line = text.bytes().take(key.span().start).filter(|byte| *byte == b'\n').count() + 1;
            if let Some(inner) = value.get_ref().as_table() {
                self.add(&name, inner, path, text);
            }
            self.0.entry(name).or_insert_with(|| (path.to_owned(), line));
        }
    }

    /// `FILE, line N`, or the words for all files where no file says it.
    pub fn of_key(&self, name: &str) -> String {
        self.0.get(name).map_or_else(|| "the configuration".to_owned(), |(path, line)| format!("{}, line {line}", path.display()))
    }
}

impl Configuration {
    /// Of all files together, and what they say as one. What is wrong is said of all files at once, with the file and the line.
    pub fn read(files: &[ConfigurationFile]) -> Result<(Configuration, Table), String> {
        let (mut all, mut places, mut wrong) = (Table::new(), Places::default(), Vec::new());
        for file in files {
            // Each by itself, so that what is wrong has a line.
            let here = Places::of(file);
            match toml::from_str::<Configuration>(&file.text) {
                Ok(alone) => wrong.extend(alone.beyond_limits().map(|(key, why)| format!("{}: {why}", here.of_key(key)))),
                Err(why) => wrong.push(format!("{}: {why}", file.path.display())),
            }
            if let Ok(table) = file.text.parse() {
                put_together(&mut all, table, "", (&here, &places), &mut wrong);
            }
            for (name, place) in here.0 {
                places.0.entry(name).or_insert(place);
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        let text = toml::to_string(&all).map_err(|error| error.to_string())?;
        Ok((Configuration { places, ..Configuration::parse(&text)? }, all))
    }
}

fn put_together(all: &mut Table, more: Table, within: &str, places: (&Places, &Places), wrong: &mut Vec<String>) {
    for (key, value) in more {
        let name = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
        match (all.get_mut(&key), value) {
            (Some(Value::Table(ours)), Value::Table(theirs)) => put_together(ours, theirs, &name, places, wrong),
            (Some(Value::Array(ours)), Value::Array(theirs)) => ours.extend(theirs),
            (Some(ours), theirs) if *ours == theirs => {}
            (Some(_), _) => {
                let (here, there) = (places.0.of_key(&name), places.1.of_key(&name));
                wrong.push(format!("{here}: {name} is said in {there} too, and otherwise"));
            }
            (None, value) => drop(all.insert(key, value)),
        }
    }
}

/// The configuration as it may be shown: without what is secret.
pub fn masked(mut table: Table) -> Table {
    mask(&mut table, false);
    table
}

/// Keys whose values are secret, and sections of which all values may be.
const SECRET: [&str; 11] = ["password", "passwd", "passcode", "secret", "key", "apikey", "token", "auth", "body", "proxy", "login"];
const SECTIONS: [&str; 4] = ["headers", "fill", "form", "webhook"];

fn mask(table: &mut Table, all: bool) {
    // Where a secret is may be shown.
    if table.len() == 1 && (table.contains_key("environment") || table.contains_key("file")) {
        return;
    }
    for (key, value) in table.iter_mut() {
        let lower = key.to_lowercase();
        let is_secret = all || is_secret(key);
        match value {
            Value::String(text) if is_secret && !text.is_empty() => *text = "***".to_owned(),
            Value::String(text) => *text = masked_address(text),
            Value::Table(inner) => mask(inner, all || SECTIONS.contains(&lower.as_str())),
            Value::Array(list) => list.iter_mut().filter_map(Value::as_table_mut).for_each(|inner| mask(inner, all)),
            _ => {}
        }
    }
}

/// Without the name and the password in an address, and without what a parameter says that is named like a secret.
fn masked_address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (server, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |end| rest.split_at(end));
    let server = server.rsplit_once('@').map_or_else(|| server.to_owned(), |(_, server)| format!("***@{server}"));
    let Some((path, parameters)) = path.split_once('?') else { return format!("{scheme}://{server}{path}") };
    let parameters = parameters.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=***"),
        _ => parameter.to_owned(),
    });
    format!("{scheme}://{server}{path}?{}", parameters.collect::<Vec<_>>().join("&"))
}

fn is_secret(name: &str) -> bool {
    name.to_lowercase().split(['_', '-', '.']).any(|word| SECRET.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> ConfigurationFile {
        ConfigurationFile { path: path.into(), text: text.to_owned() }
    }

    #[test]
    fn files_are_one_configuration() {
        let files = [
            file("waglan.toml", "collect = [\"a/*\"]\nmemory = 256\n[retention.events]\n\"*\" = 90\n"),
            file("conf.d/10.toml", "collect = [\"b/x\"]\nmemory = 256\n[retention.events]\n\"a/*\" = 30\n"),
        ];
        let (configuration, _) = Configuration::read(&files).expect("sound");
        assert_eq!(configuration.collect, ["a/*", "b/x"]);
        assert_eq!((configuration.memory, configuration.retention.events.len()), (256, 2));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_file_and_line() {
        let check = |files: &[ConfigurationFile], expected: &[&str]| {
            let wrong = Configuration::read(files).expect_err("a slip");
            expected.iter().for_each(|part| assert!(wrong.contains(part), "{wrong}"));
        };
        let first = file("waglan.toml", "memory = 256\n[query]\nseconds = 10\n");
        check(&[first.clone(), file("conf.d/a.toml", "\n\nmemori = 1\n")], &["conf.d/a.toml: ", "line 3", "unknown field `memori`"]);
        check(
            &[first.clone(), file("conf.d/a.toml", "[query]\nseconds = 20\n")],
            &["conf.d/a.toml, line 2: query.seconds is said in waglan.toml, line 3 too"],
        );
        let second = file("conf.d/a.toml", "threads = 0\n[run]\nat_once = 0\n");
        let both = ["conf.d/a.toml, line 1: threads = 0: it is at least 1", "conf.d/a.toml, line 3: run.at_once = 0: it is at least 1"];
        check(&[first.clone(), second.clone()], &both);
        check(&[file("waglan.toml", "memory = \"much\"\n"), second], &["waglan.toml: ", "line 1", "expected u64", both[0], both[1]]);
    }

    #[test]
    fn no_secret_is_shown() {
        let text = "[source.a]\nfeed = \"x/y\"\n[source.a.http]\nurl = \"https://reader:hush@example.org/list\"\nheaders = { Accept = \"hush\", Auth-Key = { \
                    environment = \"KEY\" } }\npassword = \"hush\"\nfill = { x = \"hush\" }\n[storage]\naws_secret_access_key = \"hush\"\naws_region = \"here\"\n\
                    [geo.fetch]\nplaces = \"https://a:b@c@example.org/t?edition=1&license_key=hush&apikey=hush\"\n";
        let shown = toml::to_string(&masked(text.parse().expect("a table"))).expect("a table");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(
            shown.contains("environment = \"KEY\"")
                && shown.contains("aws_region = \"here\"")
                && shown.contains("https://***@example.org/list")
                && shown.contains("https://***@example.org/t?edition=1&license_key=***&apikey=***"),
            "{shown}"
        );
    }
}
