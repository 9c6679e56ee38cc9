//! Rust as a check wants to read it: without tests, and without what is only said in comments and strings. What is left out
//! becomes blanks, so that lines and columns stay.
//!
//! This knows where a literal ends and where a brace closes, and nothing else of the language.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// Code alone: no tests, no comments, no literals.
pub(super) fn code(text: &str) -> String {
    let code = blanked(text, &said(text));
    let tests = tests(&code);
    blanked(&code, &tests)
}

/// What is shipped, with its comments and literals.
pub(super) fn shipped(text: &str) -> String {
    blanked(text, &tests(&blanked(text, &said(text))))
}

/// Whether a file of a crate is there for tests and measurements only.
pub(super) fn is_for_tests(path: &str) -> bool {
    path.starts_with("testkit/")
        || path.starts_with("fuzz/")
        || path.starts_with("xtask/")
        || path.split('/').any(|part| matches!(part, "tests" | "examples" | "benches" | "tests.rs"))
}

fn blanked(text: &str, ranges: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ranges {
        let part = bytes.get_mut(range.clone()).expect("ranges lie in the text");
        part.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8(bytes).expect("ranges begin and end where characters do")
}

/// Comments and literals.
fn said(text: &str) -> Vec<Range<usize>> {
    let (bytes, mut ranges, mut place) = (text.as_bytes(), Vec::new(), 0);
    while let Some(rest) = bytes.get(place..).filter(|rest| !rest.is_empty()) {
        let length = comment(rest).or_else(|| raw_string(rest)).or_else(|| string(rest)).or_else(|| character(rest));
        if let Some(length) = length {
            ranges.push(place..place + length);
        }
        place += length.unwrap_or(1);
    }
    ranges
}

fn comment(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"//") {
        return Some(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    }
    if !bytes.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut place) = (0, 0);
    while place < bytes.len() {
        match bytes.get(place..place + 2) {
            Some(b"/*") => (depth, place) = (depth + 1, place + 2),
            Some(b"*/") => (depth, place) = (depth - 1, place + 2),
            _ => place += 1,
        }
        if depth == 0 {
            return Some(place);
        }
    }
    Some(bytes.len())
}

/// `r"..."`, `br##"..."##`.
fn raw_string(bytes: &[u8]) -> Option<usize> {
    let prefix = usize::from(bytes.starts_with(b"b") || bytes.starts_with(b"c"));
    let after_r = bytes.get(prefix..)?.strip_prefix(b"r")?;
    let hashes = after_r.iter().take_while(|byte| **byte == b'#').count();
    let inside = after_r.get(hashes..)?.strip_prefix(b"\"")?;
    let end = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let length = inside.windows(end.len()).position(|window| window == end).map_or(inside.len(), |place| place + end.len());
    Some(bytes.len() - inside.len() + length)
}

fn string(bytes: &[u8]) -> Option<usize> {
    let inside = bytes.strip_prefix(b"\"")?;
    Some(1 + until_quote(inside, b'"'))
}

/// `'a'`, but not the lifetime `'a`.
fn character(bytes: &[u8]) -> Option<usize> {
    let inside = bytes.strip_prefix(b"'")?;
    if inside.starts_with(b"\\") {
        return Some(1 + until_quote(inside, b'\''));
    }
    let width = match *inside.first()? {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    (inside.get(width) == Some(&b'\'')).then_some(width + 2)
}

/// How many bytes there are up to the closing quote, with it.
fn until_quote(inside: &[u8], quote: u8) -> usize {
    let mut place = 0;
    while let Some(byte) = inside.get(place) {
        match *byte {
            b'\\' => place += 2,
            byte if byte == quote => return place + 1,
            _ => place += 1,
        }
    }
    inside.len()
}

/// Items that are compiled for tests only, in code without comments and literals.
fn tests(code: &str) -> Vec<Range<usize>> {
    static MARK: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"#\[\s*(?:cfg\(\s*(?:all\(\s*)?test\b|(?:\w+::)?test\s*[\](])").expect("a pattern"));
    MARK.find_iter(code).map(|mark| mark.start()..end_of_item(code.as_bytes(), mark.start())).collect()
}

/// Where the item ends whose first attribute starts at `place`: after its `;` or its braces.
fn end_of_item(code: &[u8], mut place: usize) -> usize {
    while let Some(byte) = code.get(place) {
        match *byte {
            b';' => return place + 1,
            b'{' => return end_of_brackets(code, place),
            b'(' | b'[' => place = end_of_brackets(code, place),
            b')' | b']' | b'}' => return place,
            _ => place += 1,
        }
    }
    code.len()
}

/// Where the bracket closes that opens at `place`.
fn end_of_brackets(code: &[u8], mut place: usize) -> usize {
    let mut depth = 0;
    while let Some(byte) = code.get(place) {
        match *byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => (),
        }
        place += 1;
        if depth == 0 {
            return place;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blanks at the ends of lines are left out on both sides, to be read more easily.
    #[track_caller]
    fn check(reading: fn(&str) -> String, text: &str, expected: &str) {
        let found = reading(text);
        assert_eq!(found.len(), text.len());
        let lines: Vec<&str> = found.lines().map(str::trim_end).collect();
        assert_eq!(lines.join("\n"), expected.trim_end());
    }

    #[test]
    fn code_has_no_comments_and_literals() {
        check(code, "let a = 1; // one\nlet b = 2;", "let a = 1;\nlet b = 2;");
        check(code, "a /* /* b */ c */ d", "a                 d");
        check(code, r#"f("std::fs // \" x", b);"#, "f(                 , b);");
        check(code, r###"f(br#"a "quoted" {"#, r"\", b);"###, "f(                  ,     , b);");
        check(code, r"match c { '{' => 'a', '\'' => '\u{7b}', '港' => d }", "match c {     =>    ,      =>         ,       => d }");
        check(code, "fn f<'a>(x: &'a str) -> &'a str { x }", "fn f<'a>(x: &'a str) -> &'a str { x }");
        check(code, "let r#type = 1;", "let r#type = 1;");
    }

    #[test]
    fn tests_are_not_shipped() {
        let given = "
/// A name.
fn name() -> &'static str { \"x\" }
#[cfg(test)]
mod tests {
    const TEXT: &str = r\"
}
\";
    fn f() {}
}
#[test]
#[should_panic]
fn fails(_: [u8; 2]) { panic!() }
#[cfg(test)]
use a::b;
#[cfg(not(test))]
fn g() {}";
        let expected = "
/// A name.
fn name() -> &'static str { \"x\" }












#[cfg(not(test))]
fn g() {}";
        check(shipped, given, expected);
    }
}
