//! Batches in, batches out: where an address is, whose network it is in, what a name ends in, whether the row
//! is ours to watch. Pure over the tables it is given: the same batch and the same tables give the same events.
//!
//! Four rules hold everywhere:
//! - Our dated table wins over what a feed states, and a listed network over both.
//! - A place is one set of fields, an AS another; a set comes from one source whole, and what that source does
//!   not know is empty. A feed's country never stands beside a table's city.
//! - What the feed said and we replaced stays in `extra`, under `stated.` and the field's name.
//! - A feed's columns decide the columns that come out, whatever the tables hold, so that its files keep one shape.

mod address;
mod aliases;
mod database;
mod dated;
mod domain;
mod draft;
mod host;
pub mod mmdb;
mod networks;
mod prefixes;
mod scope;
mod side;
mod suppression;
mod tables;
pub mod warning_lists;
mod warnings;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use event::{Field, Severity};

pub use aliases::Aliases;
pub use database::{Answer, AutonomousSystem, Place};
pub use dated::{Dated, Reading, enrich_as_read, enrich_by_day};
pub use domain::{public_suffix, registrable_domain, top_level_domain};
pub use networks::{Network, Networks};
pub use scope::Scope;
pub use suppression::Suppression;
pub use tables::{Kind, Listed, Part, Tables};

use draft::Draft;
use side::SIDES;

/// What holds for a feed's rows where they say nothing themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defaults {
    pub severity: Option<Severity>,
}

/// The batch with all that the tables know of its rows, `in_scope`, `warnings`, `suppressed` and `tables` among it.
///
/// The columns that come out are those that went in, [`can_fill`] of them, and these four. Without an
/// `asset` column nothing is in scope.
pub fn enrich(tables: &Tables, defaults: &Defaults, batch: &RecordBatch) -> RecordBatch {
    let mut draft = Draft::of(batch);
    let networks = SIDES.each_ref().map(|side| {
        host::fill(side, &mut draft);
        address::fill(tables, side, &mut draft)
    });
    aliases::fill(tables, &mut draft);
    if let Some(severity) = defaults.severity {
        draft.fill(Field::SEVERITY, Arc::new(StringArray::new_repeated(severity.name(), batch.num_rows())));
    }
    let in_scope = scope::judge(tables, &draft, &networks);
    let [warnings, suppressed] = warnings::mark(tables, &draft, &networks);
    draft.finish(vec![("in_scope", Arc::new(in_scope)), ("warnings", warnings), ("suppressed", suppressed)], tables.name())
}

/// The fields that enrichment adds to a batch which has these, whether or not today's tables can fill them.
pub fn can_fill(columns: &[Field]) -> Vec<Field> {
    let mut fields = BTreeSet::from([Field::SEVERITY]);
    for side in &SIDES {
        side.can_fill(columns, &mut fields);
    }
    let overridable = |field: &Field| *field == Field::MALWARE_NAME || SIDES.iter().any(|side| side.overrides(*field));
    if columns.iter().any(overridable) {
        fields.insert(Field::EXTRA);
    }
    fields.into_iter().filter(|field| !columns.contains(field)).collect()
}
