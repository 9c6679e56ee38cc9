//! Events at rest: appended once however often they are said, replaced by whole days, never edited.
//!
//! An append runs in two steps. [`Append`] writes Parquet files that no version of the table knows yet,
//! leaving out ids that the table holds; [`crate::Store::commit`] puts an entry into the log that makes them
//! part of the very version that follows the one that was read. If another writer was first, only what that
//! writer added is looked at, and what turned out to be repeats is taken out of our files before the next try.

mod append;
mod commit;
mod filter;
mod held;
mod ids;
mod origin;
mod recent;
mod replace;
mod spill;
mod writer;

use event::batch;

pub use append::{Append, AppendSettings, Complete, Prepared};
pub use commit::{Committed, Outcome, Overtaken};
pub use writer::AppendWriter;

pub(crate) use append::{Memory, Room};
pub(crate) use commit::{commit, pause};
pub(crate) use ids::IdSet;
pub use origin::EventsByReport;
pub(crate) use origin::{events_by_report, refuse_strangers};
pub(crate) use replace::replace_days;

use crate::table::Definition;

pub(crate) const ID: &str = "id";
pub(crate) const TIME: &str = "time_source";

pub(crate) static EVENTS: Definition = Definition {
    name: "events",
    schema: batch::schema,
    feed: Some("feed"),
    time: TIME,
    by_month: true,
    order: &["feed", TIME],
    transactions: &[],
};
