//! From a report's bytes to batches of events: shapes split bytes into rows of named cells, tables say what
//! the cells mean. Shape is code, meaning is data: a new feed is three files under `feeds/` and no Rust.
//!
//! No I/O and no clock: bytes and times are arguments. Bad data is never an error here, but a reject.

pub mod catalog;
pub mod convert;
pub mod draft;
pub mod intelmq;
mod json_text;
pub mod reading;
pub mod redact;
mod rows;
pub mod shape;
pub mod table;
pub mod unpack;
pub mod vendor_schema;

pub use catalog::Catalog;
pub use reading::{Arrival, Drift, Piece, Reader};
pub use rows::Rows;
pub use shape::Splitter;
pub use table::Feed;
