//! The vocabulary of the house: what an event is made of, how its values are read and written, and what
//! makes two events the same. Everything else speaks in these words. No I/O, no clock.

pub mod batch;
mod bits;
pub mod chunk;
mod feed;
pub mod field;
pub mod id;
pub mod json_text;
mod kind;
pub mod reject;
pub mod taxonomy;
mod texts;
pub mod time;
mod tlp;
pub mod value;

pub use bits::Bits;
pub use feed::means_feed;
pub use field::{Field, Type};
pub use kind::{Delivers, Kind, May, Severity};
pub use reject::Reject;
pub use texts::{OpenText, Texts};
pub use tlp::Tlp;
pub use value::Wrong;
