//! The running flow: a delivery arrives, is kept, understood, enriched and stored. Each step can be repeated, so
//! that a process may die between any two of them and lose nothing.

mod accept;
mod count;
mod fetch;
mod ingest;
mod open;
mod pick;
mod read;
mod recover;
mod reread;

pub use accept::{HandedIn, Input};
pub use fetch::fetch;
pub use ingest::{Intake, Outcome};
pub use open::{Opened, Peeked, Source, open};
pub use pick::{Of, Unread, find, pick, require};
pub use read::{Tally, Worker, read};
pub use reread::{Enrichment, KeptTables, NotKept, Reread, What, days_of};
