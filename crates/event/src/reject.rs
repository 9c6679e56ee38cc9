//! A row that could not be read. It is kept, counted and listed, and can be read again.

use std::borrow::Cow;

/// At most this much of a row is kept with its reject, in bytes; the whole of it is in the report.
pub const LONGEST_RAW: usize = 1 << 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// The line of the report on which the row starts, from 1; for shapes without lines, the row's number.
    pub line: u64,
    /// The column that was wrong, or nothing where the whole row is.
    pub column: Option<String>,
    /// Reads after the column: `"not-an-ip": not an IP address`.
    pub reason: String,
    /// The row as it came, cut at [`LONGEST_RAW`].
    pub raw: String,
}

impl Reject {
    pub fn new(line: u64, column: Option<&str>, reason: impl Into<String>, raw: &[u8]) -> Reject {
        let raw = raw.get(..LONGEST_RAW).unwrap_or(raw);
        let raw = String::from_utf8_lossy(raw).trim_end_matches(['\r', '\n']).to_owned();
        Reject { line, column: column.map(str::to_owned), reason: reason.into(), raw }
    }
}

/// `"value": why`, with a value of any length shortened to what a person reads.
pub fn reason(value: &str, why: &str) -> String {
    const SHOWN: usize = 60;
    match value.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("\"{}…\": {why}", value.get(..end).unwrap_or_default()),
        None => format!("\"{value}\": {why}"),
    }
}

/// A reason without what only its row has, the same for all rows with one sort of mistake: without the value that it quotes, the
/// number of cells, the place in a text.
pub fn sort(reason: &str) -> Cow<'_, str> {
    let quotes = |close: &&str| reason.rfind(*close).map(|place| place + close.len());
    let after_value = if reason.starts_with('"') { ["\": ", "\" gives "].iter().filter_map(quotes).max() } else { None };
    let sort = reason.get(after_value.unwrap_or_default()..).unwrap_or_default();
    let sort = sort.find(" at line ").and_then(|place| sort.get(..place)).unwrap_or(sort);
    match sort.split_once(" cell").map(|(count, rest)| (count, rest.trim_start_matches('s'))) {
        Some((count, rest)) if rest.starts_with(',') && count.bytes().all(|byte| byte.is_ascii_digit()) => {
            Cow::Owned(format!("another number of cells{rest}"))
        }
        _ => Cow::Borrowed(sort),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: &str, expected: &str) {
        assert_eq!(sort(reason), expected);
    }

    #[test]
    fn reasons_of_one_sort_are_one() {
        check(&reason("10.0.0.300", "not an IP address"), "not an IP address");
        check(&reason("a\n\"b\": c", "not a URL"), "not a URL");
        check("\"-\" gives no source.ip", "no source.ip");
        check("no source.ip or source.fqdn", "no source.ip or source.fqdn");
        check("1 cell, where the header has 39", "another number of cells, where the header has 39");
        check("40 cells, where the header has 39", "another number of cells, where the header has 39");
        check("not JSON: expected value at line 1 column 7", "not JSON: expected value");
        check("a quote is opened and never closed", "a quote is opened and never closed");
    }
}
