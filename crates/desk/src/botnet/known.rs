//! What the program knows of IntelMQ's bots: `tables/intelmq.toml`, which also says by which name a feed of ours goes there.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    parser: Vec<Parser>,
    collector: BTreeMap<String, Collector>,
    no_collector: BTreeMap<String, String>,
    pub(super) expert: BTreeMap<String, Does>,
    pub(super) output: BTreeMap<String, Does>,
    /// From `PROVIDER/NAME` there to the feed here.
    pub(super) names: BTreeMap<String, String>,
}

/// Which feed reads what a parser reads.
#[derive(Debug, Deserialize)]
pub(super) struct Parser {
    module: String,
    #[serde(rename = "where", default)]
    word: Option<String>,
    #[serde(flatten)]
    pub(super) of: Of,
    /// Words of the address, and what stands for them here.
    #[serde(default)]
    pub(super) replace: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Of {
    /// The feed, or with `/*` the one of a provider's that has the collector's address.
    Feed(String),
    /// Each report's name and beginning tell.
    Provider(String),
}

/// A collector of one service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Collector {
    pub(super) section: String,
    #[serde(default)]
    pub(super) settings: toml::Table,
    /// From a key here, with dots between tables, to the parameter there.
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) lists: BTreeMap<String, String>,
    /// Parameters that need no counterpart.
    #[serde(default)]
    pub(super) ignore: Vec<String>,
}

/// What an expert or an output does is done here, or is not.
#[derive(Debug, Deserialize)]
pub(super) enum Does {
    #[serde(rename = "does")]
    Here(String),
    #[serde(rename = "not")]
    Not(String),
}

impl Known {
    pub(super) fn parse(text: &str) -> Result<Known> {
        toml::from_str(text).context("it cannot be read")
    }

    /// The first rule for a parser behind a collector whose parameters say this.
    pub(super) fn parser(&self, module: &str, said: &str) -> Option<&Parser> {
        self.parser.iter().find(|rule| rule.module == module && rule.word.as_ref().is_none_or(|word| said.contains(word)))
    }

    pub(super) fn collector(&self, module: &str) -> Option<&Collector> {
        self.collector.get(module)
    }

    /// Why there is none of its kind here.
    pub(super) fn no_collector(&self, module: &str) -> Option<&str> {
        self.no_collector.get(module).map(String::as_str)
    }
}

/// From `PROVIDER/NAME` as IntelMQ's events say it to the feed here.
pub fn names(known: &str) -> Result<BTreeMap<String, String>> {
    Ok(Known::parse(known)?.names)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use feed::{Catalog, catalog::File};

    use super::*;

    #[test]
    fn every_feed_that_it_names_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let known = Known::parse(&std::fs::read_to_string(root.join("tables/intelmq.toml")).expect("part of the project")).expect("sound");
        let files = crate::desk::files_in(&root.join("feeds")).expect("part of the project");
        let catalog = Catalog::read(&files.into_iter().map(|file| File { path: file.path, text: file.text }).collect::<Vec<_>>());
        let providers: Vec<&str> = catalog.feeds().map(|feed| feed.provider.as_str()).collect();
        for rule in &known.parser {
            match &rule.of {
                Of::Feed(id) => match id.strip_suffix("/*") {
                    Some(provider) => assert!(providers.contains(&provider), "{id}"),
                    None => assert!(catalog.feed(id).is_some(), "{id}"),
                },
                Of::Provider(provider) => assert!(providers.contains(&provider.as_str()), "{provider}"),
            }
        }
        known.names.values().for_each(|id| assert!(catalog.feed(id).is_some(), "{id}"));
    }
}
