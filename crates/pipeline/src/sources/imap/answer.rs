//! What an IMAP server says (RFC 3501, 9051), as words one after the other.
//!
//! Nothing here calls itself: however deep a server puts brackets into each other, that costs no stack.

/// An answer: lines, and after all but the last the bytes that it announced.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) lines: Vec<Vec<u8>>,
    pub(super) literals: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Open,
    Close,
    Atom(String),
    /// In quotes, or announced by its length.
    Text(Vec<u8>),
}

/// How many bytes a line announces at its end, `{12}`.
pub(super) fn announced(line: &[u8]) -> Option<Result<usize, std::num::ParseIntError>> {
    let line = line.strip_suffix(b"}")?;
    let at = memchr::memrchr(b'{', line)?;
    let digits = line.get(at + 1..)?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| String::from_utf8_lossy(digits).parse())
}

impl Answer {
    /// What it begins with, up to the first bytes that it announces.
    pub(super) fn begins(&self) -> &[u8] {
        self.lines.first().map(Vec::as_slice).unwrap_or_default()
    }

    /// What follows the mark of an answer that nobody asked for by its tag.
    pub(super) fn untagged(&self) -> Option<&[u8]> {
        self.begins().strip_prefix(b"* ")
    }

    /// How it ended, if this is the end of what the tag asked for: the words after it, `OK ...`.
    pub(super) fn ended(&self, tag: &str) -> Option<&[u8]> {
        self.begins().strip_prefix(tag.as_bytes())?.strip_prefix(b" ")
    }

    /// The numbers after a word such as `SEARCH`, if it is such an answer.
    pub(super) fn numbers(&self, word: &str) -> Option<Vec<u32>> {
        let text = String::from_utf8_lossy(self.untagged()?);
        let mut words = text.split_ascii_whitespace();
        words.next()?.eq_ignore_ascii_case(word).then(|| words.filter_map(|word| word.parse().ok()).collect())
    }

    /// What it says of a message, by name, if that is what it does. A value in brackets is left out.
    pub(super) fn fetched(mut self) -> Option<Vec<(String, Word)>> {
        let words = self.words();
        let mut words = words.into_iter();
        let is_fetch = |word: &Word| matches!(word, Word::Atom(word) if word.eq_ignore_ascii_case("FETCH"));
        let (_star, _number) = (words.next()?, words.next()?);
        if !words.next().is_some_and(|word| is_fetch(&word)) || words.next() != Some(Word::Open) {
            return None;
        }
        let mut found = Vec::new();
        while let Some(Word::Atom(name)) = words.next() {
            match words.next()? {
                Word::Open => {
                    let mut depth = 1_usize;
                    while depth > 0 {
                        match words.next()? {
                            Word::Open => depth += 1,
                            Word::Close => depth -= 1,
                            Word::Atom(_) | Word::Text(_) => {}
                        }
                    }
                }
                Word::Close => break,
                value => found.push((name.to_ascii_uppercase(), value)),
            }
        }
        Some(found)
    }

    /// The words. The announced bytes are moved out.
    fn words(&mut self) -> Vec<Word> {
        let mut words = Vec::new();
        let mut literals = std::mem::take(&mut self.literals).into_iter();
        for line in &self.lines {
            split(line, &mut words);
            words.extend(literals.next().map(Word::Text));
        }
        words
    }
}

fn split(mut line: &[u8], words: &mut Vec<Word>) {
    while let Some((first, rest)) = line.split_first() {
        line = match first {
            b' ' | b'\t' => rest,
            b'(' => {
                words.push(Word::Open);
                rest
            }
            b')' => {
                words.push(Word::Close);
                rest
            }
            b'"' => quoted(rest, words),
            // Announced bytes follow, and stand for it.
            b'{' if announced(line).is_some() => &[],
            _ => atom(line, words),
        };
    }
}

fn quoted<'l>(line: &'l [u8], words: &mut Vec<Word>) -> &'l [u8] {
    let (mut text, mut rest) = (Vec::new(), line);
    loop {
        rest = match rest {
            [] | [b'"'] => &[],
            [b'"', after @ ..] => {
                words.push(Word::Text(text));
                return after;
            }
            [b'\\', sign, after @ ..] | [sign, after @ ..] => {
                text.push(*sign);
                after
            }
        };
        if rest.is_empty() {
            words.push(Word::Text(text));
            return rest;
        }
    }
}

/// A word; what it has in square brackets belongs to it, `BODY[HEADER.FIELDS (FROM)]<0>`.
fn atom<'l>(line: &'l [u8], words: &mut Vec<Word>) -> &'l [u8] {
    let mut is_inside = false;
    let ends = |sign: &u8| {
        is_inside = matches!(sign, b'[') || is_inside && *sign != b']';
        !is_inside && matches!(sign, b' ' | b'\t' | b'(' | b')' | b'"')
    };
    let (word, rest) = line.split_at(line.iter().position(ends).unwrap_or(line.len()));
    words.push(Word::Atom(String::from_utf8_lossy(word).into_owned()));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of these lines, with these bytes after all but the last.
    #[track_caller]
    fn check(lines: &[&str], literals: &[&str], expected: &[(&str, &str)]) {
        let bytes = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let fetched = Answer { lines: bytes(lines), literals: bytes(literals) }.fetched();
        let shown = fetched.unwrap_or_default().into_iter().map(|(name, word)| match word {
            Word::Atom(text) => (name, text),
            Word::Text(bytes) => (name, String::from_utf8_lossy(&bytes).into_owned()),
            word => (name, format!("{word:?}")),
        });
        let expected: Vec<(String, String)> = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{lines:?}");
    }

    #[test]
    fn what_is_said_of_a_message_is_told_by_name() {
        check(
            &[r#"* 3 FETCH (UID 12 RFC822.SIZE 44 FLAGS (\Seen $x) INTERNALDATE "17-Jul-1996 02:44:25 -0700")"#],
            &[],
            &[("UID", "12"), ("RFC822.SIZE", "44"), ("INTERNALDATE", "17-Jul-1996 02:44:25 -0700")],
        );
        check(
            &["* 3 FETCH (BODY[HEADER.FIELDS (FROM SUBJECT)]<0> {9}", " UID 12)"],
            &["From: a\r\n"],
            &[("BODY[HEADER.FIELDS (FROM SUBJECT)]<0>", "From: a\r\n"), ("UID", "12")],
        );
        check(&[r#"* 1 FETCH (X "a \"b\" \\" UID 1)"#], &[], &[("X", r#"a "b" \"#), ("UID", "1")]);
    }

    #[test]
    fn garbage_says_nothing() {
        for line in
            ["", "*", "* 1 FETCH", "* 1 FETCH (", "* 1 FETCH UID 1", "* 1 FETCH (UID", "* 1 FETCH (X (", "* 1 FETCH )(", "* SEARCH 1"]
        {
            check(&[line], &[], &[]);
        }
        check(&["* 1 FETCH (X \"never ends"], &[], &[("X", "never ends")]);
        let deep = format!("* 1 FETCH (X {} UID 1)", "(".repeat(1_000_000));
        check(&[&deep], &[], &[]);
    }

    #[test]
    fn a_length_is_announced_at_the_end_of_a_line() {
        for (line, expected) in
            [("x {12}", Some(12)), ("x {0}", Some(0)), ("x {12", None), ("x {}", None), ("x {-1}", None), ("x {1} ", None)]
        {
            assert_eq!(announced(line.as_bytes()).and_then(Result::ok), expected, "{line}");
        }
        assert!(announced(b"x {99999999999999999999999}").is_some_and(|length| length.is_err()));
    }

    #[test]
    fn numbers_follow_their_word() {
        let answer = |line: &str| Answer { lines: vec![line.into()], literals: Vec::new() };
        assert_eq!(answer("* SEARCH 2 3 x 99999999999").numbers("SEARCH"), Some(vec![2, 3]));
        assert_eq!(answer("* search").numbers("SEARCH"), Some(vec![]));
        assert_eq!(answer("* 4 EXISTS").numbers("SEARCH"), None);
    }
}
