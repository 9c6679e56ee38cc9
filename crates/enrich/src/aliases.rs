//! One name for one malware family, whatever a feed calls it: figures and findings count families, and most
//! families have three names.
//!
//! ```toml
//! [families]
//! conficker = ["downadup", "kido"]
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, StringBuilder};
use arrow::compute::is_not_null;
use event::Field;
use serde::Deserialize;

use crate::draft::Draft;
use crate::tables::Tables;

#[derive(Clone, Debug, Default)]
pub struct Aliases {
    canonical: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    families: HashMap<String, Vec<String>>,
}

impl Aliases {
    /// Of TOML as it stands in this file's head; the case of letters does not matter.
    ///
    /// Fails if a spelling belongs to two families, or is itself a family's name.
    pub fn parse(text: &str) -> Result<Aliases, String> {
        let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let families: Vec<String> = table.families.keys().map(|family| family.to_lowercase()).collect();
        let mut canonical = HashMap::new();
        for (family, spellings) in table.families {
            for spelling in spellings {
                let spelling = spelling.to_lowercase();
                if families.contains(&spelling) {
                    return Err(format!("\"{spelling}\" is a family, so it is no other name of \"{family}\""));
                }
                if let Some(other) = canonical.insert(spelling.clone(), family.to_lowercase()) {
                    return Err(format!("\"{spelling}\" is listed twice, for \"{other}\" and \"{family}\""));
                }
            }
        }
        Ok(Aliases { canonical })
    }

    /// The family's name, if this lower-case spelling is another one for it.
    pub fn canonical(&self, spelling: &str) -> Option<&str> {
        self.canonical.get(spelling).map(String::as_str)
    }
}

/// Puts the family's name where a row has another spelling of it.
pub(crate) fn fill(tables: &Tables, draft: &mut Draft<'_>) {
    let Some(names) = draft.text(Field::MALWARE_NAME) else { return };
    if tables.aliases().next().is_none() {
        return;
    }
    let ours = canonical(tables, names);
    let known = is_not_null(&ours).expect("every array tells its nulls");
    if known.true_count() > 0 {
        draft.replace(Field::MALWARE_NAME, &known, ours);
    }
}

fn canonical(tables: &Tables, names: &StringArray) -> ArrayRef {
    let mut ours = StringBuilder::with_capacity(names.len(), 0);
    // Rows about one family come together.
    let mut last = ("", None);
    for name in names {
        let name = name.unwrap_or_default();
        if name != last.0 {
            last = (name, tables.aliases().find_map(|aliases| aliases.canonical(name)));
        }
        ours.append_option(last.1);
    }
    Arc::new(ours.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../tables/malware-aliases.toml");

    #[test]
    fn the_table_that_we_ship_is_sound() {
        let aliases = Aliases::parse(SHIPPED).expect("the shipped table");
        for (spelling, expected) in [("downadup", Some("conficker")), ("qbot", Some("qakbot")), ("conficker", None), ("unheard-of", None)] {
            assert_eq!(aliases.canonical(spelling), expected, "{spelling}");
        }
    }

    #[track_caller]
    fn check_wrong(text: &str, expected: &str) {
        let error = Aliases::parse(text).expect_err("a mistake");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_spelling_belongs_to_one_family() {
        check_wrong("[families]\na = [\"x\"]\nb = [\"X\"]", "\"x\" is listed twice");
        check_wrong("[families]\na = [\"b\"]\nb = []", "\"b\" is a family, so it is no other name of \"a\"");
        check_wrong("[family]\na = []", "unknown field `family`");
    }
}
