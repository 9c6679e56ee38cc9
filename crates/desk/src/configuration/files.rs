//! A configuration of several files: `waglan.toml` and what lies in `conf.d` beside it, one after the other. Tables are put together, lists
//! follow each other, and of anything else there is one.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Configuration;

/// A file of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigurationFile {
    pub path: PathBuf,
    pub text: String,
}

impl Configuration {
    /// Of all files together, and what they say as one. An error names the file, the line, and what is wrong there.
    pub fn read(files: &[ConfigurationFile]) -> Result<(Configuration, Table), String> {
        let mut all = Table::new();
        let mut said: Vec<(String, &Path)> = Vec::new();
        for ConfigurationFile { path, text } in files {
            let wrong = |why: String| format!("{}: {why}", path.display());
            // Each by itself, so that what is wrong has a line.
            Configuration::parse(text).map_err(wrong)?;
            let table: Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
            put_together(&mut all, table, "", path, &mut said)?;
        }
        let text = toml::to_string(&all).map_err(|error| error.to_string())?;
        Ok((Configuration::parse(&text)?, all))
    }
}

fn put_together<'p>(all: &mut Table, more: Table, within: &str, path: &'p Path, said: &mut Vec<(String, &'p Path)>) -> Result<(), String> {
    for (key, value) in more {
        let name = if within.is_empty() { key.clone() } else { format!("{within}.{key}") };
        match (all.get_mut(&key), value) {
            (Some(Value::Table(ours)), Value::Table(theirs)) => put_together(ours, theirs, &name, path, said)?,
            (Some(Value::Array(ours)), Value::Array(theirs)) => ours.extend(theirs),
            (Some(ours), theirs) if *ours == theirs => {}
            (Some(_), _) => {
                let other = said.iter().rev().find(|(known, _)| *known == name || known.starts_with(&format!("{name}.")));
                let other = other.map_or_else(|| "another file".to_owned(), |(_, other)| other.display().to_string());
                return Err(format!("{}: {name} is said in {other} too, and otherwise", path.display()));
            }
            (None, value) => {
                remember(&name, &value, path, said);
                all.insert(key, value);
            }
        }
    }
    Ok(())
}

fn remember<'p>(name: &str, value: &Value, path: &'p Path, said: &mut Vec<(String, &'p Path)>) {
    match value {
        Value::Table(table) => table.iter().for_each(|(key, value)| remember(&format!("{name}.{key}"), value, path, said)),
        _ => said.push((name.to_owned(), path)),
    }
}

/// The configuration as it may be shown: without what is secret.
pub fn masked(mut table: Table) -> Table {
    mask(&mut table, false);
    table
}

/// Keys whose values are secret, and sections of which all values may be.
const SECRET: [&str; 8] = ["password", "passcode", "secret", "key", "token", "body", "proxy", "login"];
const SECTIONS: [&str; 4] = ["headers", "fill", "form", "webhook"];

fn mask(table: &mut Table, all: bool) {
    // Where a secret is may be shown.
    if table.len() == 1 && (table.contains_key("environment") || table.contains_key("file")) {
        return;
    }
    for (key, value) in table.iter_mut() {
        let lower = key.to_lowercase();
        let is_secret = all || lower.split(['_', '-', '.']).any(|word| SECRET.contains(&word));
        match value {
            Value::String(text) if is_secret && !text.is_empty() => *text = "***".to_owned(),
            Value::String(text) => {
                // Name and password in an address.
                if let Some(start) = text.find("://").map(|at| at + 3)
                    && let Some((user, rest)) = text.get(start..).and_then(|rest| rest.split_once('@'))
                    && !user.contains('/')
                {
                    *text = format!("{}***@{rest}", text.get(..start).unwrap_or_default());
                }
            }
            Value::Table(inner) => mask(inner, all || SECTIONS.contains(&lower.as_str())),
            Value::Array(list) => list.iter_mut().filter_map(Value::as_table_mut).for_each(|inner| mask(inner, all)),
            _ => {}
        }
    }
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
            &["conf.d/a.toml: query.seconds is said in waglan.toml too"],
        );
        check(&[first, file("conf.d/a.toml", "[run]\nat_once = 0\n")], &["conf.d/a.toml: at_once of [run] = 0: it is at least 1"]);
    }

    #[test]
    fn no_secret_is_shown() {
        let text = "[source.a]\nfeed = \"x/y\"\n[source.a.http]\nurl = \"https://reader:hush@example.org/list\"\nheaders = { Accept = \"hush\", Auth-Key = { \
                    environment = \"KEY\" } }\npassword = \"hush\"\nfill = { x = \"hush\" }\n[storage]\naws_secret_access_key = \"hush\"\naws_region = \"here\"\n";
        let shown = toml::to_string(&masked(text.parse().expect("a table"))).expect("a table");
        assert!(!shown.contains("hush"), "{shown}");
        assert!(
            shown.contains("environment = \"KEY\"")
                && shown.contains("aws_region = \"here\"")
                && shown.contains("https://***@example.org/list"),
            "{shown}"
        );
    }
}
