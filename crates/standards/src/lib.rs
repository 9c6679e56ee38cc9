//! What others exchange, as their standards have it on the wire: documents are read into rows of plain fields, and what
//! cannot be read is said with its place. What the rows mean to us is not known here: a feed's table says it.
//!
//! No I/O and no clock. Times stay the text that they came as, since their precision and their zone say something.
//! A document that is no such document is refused with a sentence; within one, what is wrong with a part is a [`Problem`],
//! and the other parts are read.

mod json;
pub mod misp;
pub mod stix;

/// A part of a document that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem<'a> {
    /// Where it stands in the document, `Event.Object[2].Attribute[0]`: lists count from 0, as those do who look it up.
    pub place: String,
    /// Reads after the place: `timestamp "yesterday": not a number of seconds`.
    pub reason: String,
    /// The part as it came.
    pub raw: &'a str,
}

/// `what "value": why`, with a value of any length shortened to what a person reads.
fn reason(what: &str, value: &str, why: &str) -> String {
    const SHOWN: usize = 60;
    let shown: String = value.chars().take(SHOWN).collect();
    let rest = if shown.len() < value.len() { "..." } else { "" };
    format!("{what} \"{}{rest}\": {why}", shown.escape_debug())
}
