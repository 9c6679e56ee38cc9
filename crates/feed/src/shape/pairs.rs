//! Lines of pairs, `src=192.0.2.1 dpt=23 msg="log in"`: each pair is a cell.

use std::io::{self, Read};

use super::decode::Decoded;
use super::gather::Gathered;
use super::lines::LineReader;
use crate::rows::Rows;
use crate::table::Pairs as Format;

/// The column of what stands between pairs and is none, such as a log's time and host.
const REST: &str = "@rest";

pub(super) struct Pairs {
    format: Format,
    lines: LineReader,
}

impl Pairs {
    pub(super) fn new(format: Format) -> Pairs {
        Pairs { format, lines: LineReader::default() }
    }

    pub(super) fn next_rows<R: Read>(&mut self, input: &mut Decoded<R>) -> io::Result<Option<Rows>> {
        let mut rows = Gathered::default();
        if !self.lines.fill(input, &mut rows)? {
            return Ok(None);
        }
        while !rows.is_full()
            && let Some((number, line)) = self.lines.next()
        {
            let line = line.trim();
            if line.is_empty() || self.format.comment.as_deref().is_some_and(|comment| line.starts_with(comment)) {
                continue;
            }
            let pairs = cut(line, &self.format);
            if pairs.iter().all(|(name, _)| name == REST) {
                rows.reject(number, format!("there is no pair with \"{}\" in the line", self.format.equals), line.as_bytes());
            } else {
                rows.push(number, line, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            }
        }
        Ok(Some(rows.finish()))
    }
}

/// Cuts a line into its pairs. What is none is put together, in its order, and comes last.
fn cut(line: &str, format: &Format) -> Vec<(String, String)> {
    let (mut pairs, mut rest_of_line) = (Vec::new(), Vec::new());
    let mut left = line;
    while !left.is_empty() {
        let end = left.find(&format.between).unwrap_or(left.len());
        match left.find(&format.equals).filter(|equals| *equals > 0 && *equals < end) {
            None => {
                let (word, after) = left.split_at(end);
                rest_of_line.extend(Some(word.trim()).filter(|word| !word.is_empty()));
                left = after.strip_prefix(format.between.as_str()).unwrap_or_default();
            }
            Some(equals) => {
                let (name, value) = left.split_at(equals);
                let (value, after) = value_of(value.strip_prefix(format.equals.as_str()).unwrap_or_default(), format);
                pairs.push((name.trim().trim_matches(['"', '\'']).to_owned(), value));
                left = after;
            }
        }
    }
    if !rest_of_line.is_empty() {
        pairs.push((REST.to_owned(), rest_of_line.join(" ")));
    }
    pairs
}

/// The value that begins here, and what follows it. In quotes it goes on to the next quote that no backslash stands before.
fn value_of<'l>(text: &'l str, format: &Format) -> (String, &'l str) {
    let begins = text.trim_start_matches(' ');
    if let Some(quote) = format.quote.map(char::from)
        && let Some(within) = begins.strip_prefix(quote)
    {
        let mut value = String::new();
        let mut signs = within.char_indices();
        while let Some((place, sign)) = signs.next() {
            if sign == quote {
                let after = within.get(place + 1..).unwrap_or_default();
                let (more, after) = after.split_at(after.find(&format.between).unwrap_or(after.len()));
                value.push_str(more.trim_end());
                return (value, after.strip_prefix(format.between.as_str()).unwrap_or_default());
            }
            match sign {
                '\\' => match signs.next() {
                    Some((_, escaped)) if escaped == quote || escaped == '\\' => value.push(escaped),
                    Some((_, other)) => value.extend(['\\', other]),
                    None => value.push('\\'),
                },
                sign => value.push(sign),
            }
        }
    }
    let (value, after) = text.split_at(text.find(&format.between).unwrap_or(text.len()));
    (value.trim().to_owned(), after.strip_prefix(format.between.as_str()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, between: &str, equals: &str, expected: &[(&str, &str)]) {
        let format = Format { between: between.into(), equals: equals.into(), quote: Some(b'"'), comment: None };
        let found = cut(line, &format);
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn a_line_falls_into_its_pairs() {
        check("src=192.0.2.1 dpt=23", " ", "=", &[("src", "192.0.2.1"), ("dpt", "23")]);
        check("src=192.0.2.1  dpt= msg=", " ", "=", &[("src", "192.0.2.1"), ("dpt", ""), ("msg", "")]);
        check("msg=\"a \\\"b\\\" = c\" x=1", " ", "=", &[("msg", "a \"b\" = c"), ("x", "1")]);
        check("msg=\"never closed x=1", " ", "=", &[("msg", "\"never"), ("x", "1"), (REST, "closed")]);
        check("<34>Oct 11 fw: src=192.0.2.1 note ok", " ", "=", &[("src", "192.0.2.1"), (REST, "<34>Oct 11 fw: note ok")]);
        check("a: 1; b: x: y ;c:2", ";", ":", &[("a", "1"), ("b", "x: y"), ("c", "2")]);
        check("url=http://example.org/?a=b", " ", "=", &[("url", "http://example.org/?a=b")]);
        check("=1 x", " ", "=", &[(REST, "=1 x")]);
    }
}
