//! A row that could not be read. It is kept, counted and listed, and can be read again.

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
