//! A bot's parameters while they are translated: what was asked for is done with, and what is left nobody has translated.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use toml::Value as Toml;

use super::read::Bot;
use super::{Kept, told};

/// Parameters of IntelMQ's own running, which mean nothing outside of it.
const OWN: [&str; 12] = [
    "destination_queues",
    "source_queue",
    "name",
    "provider",
    "code",
    "documentation",
    "accuracy",
    "description",
    "load_balance",
    "instances_threads",
    "process_manager",
    "chunk_replicate_header",
];
const OWN_BEGIN: [&str; 8] =
    ["logging_", "log_", "error_", "source_pipeline_", "destination_pipeline_", "statistics_", "redis_cache_", "testing"];

pub(super) struct Parameters<'b> {
    pub(super) bot: &'b Bot,
    taken: BTreeSet<String>,
    folder: Option<&'b PathBuf>,
    /// Those of the bots before too: two that are not the same have two names.
    pub(super) secrets: Vec<Kept>,
}

impl<'b> Parameters<'b> {
    pub(super) fn of(bot: &'b Bot, folder: Option<&'b PathBuf>) -> Parameters<'b> {
        Parameters { bot, taken: BTreeSet::new(), folder, secrets: Vec::new() }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<&'b Value> {
        self.taken.insert(name.to_owned());
        self.bot.value(name)
    }

    /// These need nothing here.
    pub(super) fn pass(&mut self, names: &[&str]) {
        self.taken.extend(names.iter().map(|name| (*name).to_owned()));
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name)?;
        self.bot.text(name)
    }

    pub(super) fn truth(&mut self, name: &str) -> Option<bool> {
        self.take(name)?;
        self.bot.truth(name)
    }

    pub(super) fn whole(&mut self, name: &str) -> Option<u64> {
        self.text(name)?.parse::<f64>().ok().filter(|number| *number >= 1.0).map(|number| number as u64)
    }

    /// Texts, as a list or with commas between.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let words = match self.take(name) {
            Some(Value::Array(list)) => list.iter().map(told).collect(),
            Some(value) => told(value).split(',').map(|word| word.trim().to_owned()).collect(),
            None => Vec::new(),
        };
        words.into_iter().filter(|word: &String| !word.is_empty() && !is_placeholder(word)).collect()
    }

    /// A reference to what a parameter holds and nobody may read.
    pub(super) fn secret(&mut self, name: &str) -> Option<Toml> {
        let value = self.text(name)?;
        Some(self.hide(name, Some(value)))
    }

    /// A reference to something secret, by a name for it.
    pub(super) fn hide(&mut self, name: &str, value: Option<String>) -> Toml {
        let plain: String = format!("{}_{name}", self.bot.id)
            .chars()
            .map(|sign| if sign.is_ascii_alphanumeric() { sign.to_ascii_uppercase() } else { '_' })
            .collect();
        let (key, plain) = match self.folder {
            Some(_) => ("file", plain.to_lowercase()),
            None => ("environment", plain),
        };
        let (value, of) = (value.filter(|value| !is_placeholder(value)), format!("{name} of {}", self.bot.id));
        // What nobody knows yet is the same only where it is the same parameter.
        let is_same = |known: &Kept| known.value == value && (value.is_some() || known.of == of);
        let names = std::iter::once(plain.clone()).chain((2..).map(|number| format!("{plain}_{number}")));
        let known = |name: &String| self.secrets.iter().find(|known| known.name == *name);
        let kept = names.into_iter().find(|name| known(name).is_none_or(is_same)).expect("numbers do not end");
        let place = self.folder.map_or_else(|| kept.clone(), |folder| folder.join(&kept).display().to_string());
        if known(&kept).is_none() {
            self.secrets.push(Kept { name: kept, value, of });
        }
        Toml::Table([(key.to_owned(), Toml::String(place))].into_iter().collect())
    }

    /// What nobody asked for, and IntelMQ does not need for itself.
    pub(super) fn left(&self) -> Vec<(String, String)> {
        let is_own = |name: &str| OWN.contains(&name) || OWN_BEGIN.iter().any(|begin| name.starts_with(begin));
        let says = |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("");
        let left = self.bot.parameters.iter().filter(|(name, value)| !self.taken.contains(*name) && !is_own(name) && says(value));
        left.map(|(name, value)| (name.clone(), shown_value(name, value))).collect()
    }
}

/// A value for a message. What is not known may be secret; what has parts is told by their names.
fn shown_value(name: &str, value: &Value) -> String {
    let text = told(value);
    match value {
        _ if sounds_secret(name) => "***".to_owned(),
        Value::Object(parts) => format!("{{{}}}", parts.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
        Value::Array(parts) => format!("a list of {}", parts.len()),
        // Parts that are written as one text, and the like.
        _ if text.trim_start().starts_with(['{', '[']) && !is_placeholder(&text) => "{...}".to_owned(),
        _ if text.contains("://") => shown_address(&text),
        _ if text.contains('@') || looks_secret(&text) => "***".to_owned(),
        _ => text.chars().take(80).collect(),
    }
}

/// An address for a message: without a login, without what stands in the query, and without steps that look like keys.
pub(super) fn shown_address(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return if text.contains(['@', ':', '=']) || looks_secret(text) { "***".to_owned() } else { text.to_owned() };
    };
    // Even a login that is not written as one should be.
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let (path, query) = rest.split_once(['?', '#']).map_or((rest, ""), |(path, _)| (path, "?..."));
    let steps: Vec<&str> = path.split('/').map(|step| if looks_secret(step) { "***" } else { step }).collect();
    format!("{scheme}://{}{query}", steps.join("/"))
}

/// Whether a word looks like a key: long, of letters and digits, as nobody names a file.
pub(super) fn looks_secret(word: &str) -> bool {
    word.len() >= 20
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && word.bytes().filter(u8::is_ascii_digit).count() >= 4
        && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether a text stands for something that somebody is to put in its place.
pub(super) fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("{{")
        || text.starts_with('<') && text.ends_with('>')
        || text.starts_with("__") && text.ends_with("__")
        || text.starts_with("{insert")
}

/// Whether what goes by this name is secret.
pub(super) fn sounds_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    ["key", "token", "secret", "pass", "auth", "receipt", "credential", "cookie", "connection_string", "login"]
        .iter()
        .any(|word| lower.contains(word))
}
