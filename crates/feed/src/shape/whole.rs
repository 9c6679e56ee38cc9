//! Documents that are read whole, up to a limit: what one part of them says may hang on any other part.

use std::io::{self, Read};

use super::decode::{Decoded, into_text};
use super::gather::Gathered;

/// A document's text, nothing of one that says nothing. One that is longer than its format allows keeps a byte too many, so that
/// whoever reads it can say so.
pub(super) fn document<R: Read>(input: &mut Decoded<R>, most: usize) -> io::Result<Option<String>> {
    let (text, _) = read(input, most + 1)?;
    Ok((!text.trim().is_empty()).then_some(text))
}

/// Rejects a part of a document, by its place.
pub(super) fn reject(rows: &mut Gathered, place: &str, reason: &str, raw: &str) {
    rows.reject(number_of(place), format!("{place}: {reason}"), raw.as_bytes());
}

/// Which part of a list a place in a document names, counted from 1: of `objects[5]` the sixth. 1 where it names none.
fn number_of(place: &str) -> u64 {
    let number = || place.strip_suffix(']')?.rsplit_once('[')?.1.parse().ok();
    number().map_or(1, |number: u64| number + 1)
}

/// The text, as far as it may be long, and whether that is all of it.
pub(super) fn read<R: Read>(input: &mut Decoded<R>, most: usize) -> io::Result<(String, bool)> {
    let mut bytes = Vec::new();
    while input.read_more(&mut bytes, input.block)? {
        if bytes.len() > most {
            bytes.truncate(most);
            return Ok((into_text(bytes), false));
        }
    }
    Ok((into_text(bytes), true))
}
