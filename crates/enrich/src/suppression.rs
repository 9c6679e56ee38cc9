//! Which events are not counted for being on a warning list: by the list, the event's kind and its feed. They are kept and marked;
//! sightings, and whatever is made of these, leave them out.
//!
//! ```toml
//! [[rule]]
//! list  = "Impossible addresses"       # a list's name
//! kinds = ["bot", "c2"]                # every kind if not given
//! feeds = ["example/*", "other/list"]  # every feed if not given
//! ```

use event::Kind;
use serde::Deserialize;

#[derive(Clone, Debug, Default)]
pub struct Suppression {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    list: String,
    kinds: Vec<Kind>,
    feeds: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    rule: Vec<WrittenRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    list: String,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    feeds: Vec<String>,
}

impl Suppression {
    /// Of TOML as it stands in this file's head.
    pub fn parse(text: &str) -> Result<Suppression, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
        let rule = |WrittenRule { list, kinds, feeds }| {
            let kinds = kinds.iter().map(|kind| kind.parse()).collect::<Result<_, String>>()?;
            Ok(Rule { list, kinds, feeds })
        };
        Ok(Suppression { rules: written.rule.into_iter().map(rule).collect::<Result<_, String>>()? })
    }

    /// Whether an event of this kind and feed, whose asset is on the list, is not counted.
    pub(crate) fn suppresses(&self, list: &str, kind: &str, feed: &str) -> bool {
        self.rules.iter().any(|rule| {
            rule.list == list
                && (rule.kinds.is_empty() || rule.kinds.iter().any(|one| one.name() == kind))
                && (rule.feeds.is_empty() || rule.feeds.iter().any(|one| event::means_feed(one, feed)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_which_list_for_which_kinds_and_feeds() {
        let rules = "[[rule]]\nlist = \"Resolvers\"\nkinds = [\"bot\"]\nfeeds = [\"a/*\", \"b/x\"]\n[[rule]]\nlist = \"Private\"\n";
        let rules = Suppression::parse(rules).expect("rules");
        for (list, kind, feed, expected) in [
            ("Resolvers", "bot", "a/anything", true),
            ("Resolvers", "bot", "b/x", true),
            ("Resolvers", "bot", "b/y", false),
            ("Resolvers", "bot", "ab/x", false),
            ("Resolvers", "c2", "a/anything", false),
            ("Private", "c2", "b/y", true),
            ("Other", "bot", "a/anything", false),
        ] {
            assert_eq!(rules.suppresses(list, kind, feed), expected, "{list} {kind} {feed}");
        }
        assert!(Suppression::parse("[[rule]]\nlist = \"x\"\nkinds = [\"thing\"]\n").is_err());
    }
}
