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
        let (key, kept) = match self.folder {
            Some(_) => ("file", plain.to_lowercase()),
            None => ("environment", plain),
        };
        let place = self.folder.map_or_else(|| kept.clone(), |folder| folder.join(&kept).display().to_string());
        let value = value.filter(|value| !is_placeholder(value));
        if !self.secrets.iter().any(|known| known.name == kept) {
            self.secrets.push(Kept { name: kept, value, of: format!("{name} of {}", self.bot.id) });
        }
        Toml::Table([(key.to_owned(), Toml::String(place))].into_iter().collect())
    }

    /// What nobody asked for, and IntelMQ does not need for itself.
    pub(super) fn left(&self) -> Vec<(String, String)> {
        let is_own = |name: &str| OWN.contains(&name) || OWN_BEGIN.iter().any(|begin| name.starts_with(begin));
        let says = |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("");
        let left = self.bot.parameters.iter().filter(|(name, value)| !self.taken.contains(*name) && !is_own(name) && says(value));
        // What is not known may be secret.
        let shown = |name: &str, value: &Value| {
            if sounds_secret(name) || told(value).contains('@') { "***".to_owned() } else { told(value).chars().take(80).collect() }
        };
        left.map(|(name, value)| (name.clone(), shown(name, value))).collect()
    }
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
