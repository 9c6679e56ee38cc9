//! A made-up country, and what the world's researchers told it in one quarter: for `waglan demo`, for tests, for
//! the bench.
//!
//! Everything here is the same bytes every time and on every machine: no clock, no generator of random numbers but
//! our own, and no arithmetic that a processor may round its own way. Names, networks and people's mistakes are
//! invented; one feed is real ([`TweetFeed`](https://tweetfeed.live), under `data/`).
//!
//! - [`country`]: its networks, and the enrichment tables that know them.
//! - [`quarter`]: a quarter of deliveries in the forms that providers really use, mess included, each with a note of
//!   what was planted in it.
//! - [`sinkhole`]: one report as large as asked for.

mod calendar;
mod chance;
pub mod country;
mod families;
mod forms;
mod machines;
mod pack;
pub mod quarter;
pub mod sinkhole;
mod sites;
mod spells;

pub use country::Country;
pub use quarter::{Delivery, Planted, Quarter, deliveries};

/// The one feed whose rows nobody made up, and under which licence they are passed on.
pub const REAL_FEED: &str = "TweetFeed, CC0";
