//! Everything at rest but people's records: reports as they came, events, rejects, deliveries and sightings,
//! and SQL over them. Alone knows Delta Lake and DataFusion.
//!
//! A store is a folder, or a prefix in a bucket:
//!
//! ```text
//! format             the version of this layout
//! reports/HH/HASH    reports as they came, by their hash; HASH.zst once compressed
//! arrivals/ID.json   deliveries that arrived and have no row in deliveries yet
//! events/ rejects/ deliveries/ sightings/ erasures/      tables that any engine for Delta Lake reads
//! tables/HASH        enrichment tables, kept so that reports can be read again as of their day
//! locks/             who is at work
//! expired.json       up to which day each feed's events have expired, if any have
//! ```
//!
//! Whatever happens to the process, at any moment, what was committed stays and nothing else is seen: an
//! object appears whole or not at all, and rows appear with one entry in a table's log.

mod arrivals;
mod backup;
mod compact;
mod days;
mod deliveries;
mod erase;
mod events;
mod file;
mod place;
mod query;
mod rejects;
mod reports;
mod retain;
mod rewrite;
mod sightings;
mod small;
mod store;
mod table;
mod vacuum;
mod work;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

pub use arrivals::Arrival;
pub use backup::{BackedUp, Beside, Progress, Restored, Restoring, Verified, restore, verify as verify_backup};
pub use compact::{Compacted, Compaction};
pub use days::{Days, FeedDays, days_of_text, days_text};
pub use deliveries::{Delivery, Recorded, delivery_id};
pub use erase::{Erasing, Erasure, MARK, Unpack, saying, says};
pub use events::{Append, AppendSettings, AppendWriter, Committed, Complete, EventsByReport, Outcome, Overtaken, Prepared};
pub use query::{Answer, Limits, NameFunctions, NamePart};
pub use rejects::{PreparedRejects, RejectSource, RejectWriter};
pub use reports::{ReportMark, WasErased, mark_of};
pub use retain::{Expiring, Retained, Retention};
pub use sightings::tells_apart;
pub use store::{Access, Settings, Store};
pub use vacuum::Vacuumed;
pub use work::{AtWork, Work};

/// A number that nobody else has. It names files and tells commits apart; nothing secret rests on it.
pub(crate) fn random() -> u64 {
    // Every RandomState has keys of its own, drawn from the system's randomness.
    RandomState::new().build_hasher().finish()
}

/// A name that nothing else has.
pub(crate) fn unique_name() -> String {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{:08x}-{:016x}{:016x}", std::process::id(), random(), hasher.finish())
}
