//! The running flow: a delivery arrives, is kept, understood, enriched and stored. Each step can be repeated, so
//! that a process may die between any two of them and lose nothing.

mod accept;
mod clock;
mod count;
pub mod eventdb;
mod fetch;
pub mod health;
mod ingest;
mod open;
mod pick;
mod read;
mod recover;
mod redis;
mod reread;
mod run;
mod secret;
pub mod sources;
mod wire;

pub use accept::{HandedIn, Input};
pub use clock::Clock;
pub use fetch::fetch;
pub use ingest::{Intake, Outcome};
pub use open::{Opened, Peeked, Source, open};
pub use pick::{Of, Unread, find, pick, require};
pub use read::{Tally, Worker, read};
pub use redis::{Pushing, Queue};
pub use reread::{Enrichment, KeptTables, NotKept, Reread, What, days_of};
pub use run::{Memory, Planned, Running, Told, memories, run};
pub use secret::Secret;
pub use wire::Tls;
