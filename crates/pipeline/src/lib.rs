//! The running flow: a delivery arrives, is kept, understood, enriched and stored. Each step can be repeated, so
//! that a process may die between any two of them and lose nothing.

mod fetch;
mod ingest;
mod open;
mod read;
mod reread;

pub use fetch::fetch;
pub use ingest::{Delivery, Input, Intake, Summary};
pub use open::{Opened, Source, open};
pub use read::{Tally, Worker, read};
pub use reread::{Reread, What};
