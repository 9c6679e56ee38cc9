//! The language of indicators' patterns (STIX 2.1, part 9, and what 2.0 had otherwise), read into a tree that borrows from the text.
//!
//! Producers write patterns with templates and not with the grammar, so these are read too, since nothing else can be meant:
//! a backslash before what needs none (`'C:\Windows'`), a key with a hyphen and no quotes (`hashes.SHA-256`), keywords in lower
//! case and an empty `IN ()` (both were right in 2.0's grammar), and `START` and `STOP` with plain texts (so were they).

use std::borrow::Cow;
use std::fmt;

/// Brackets may be so deep, of both kinds together.
const DEEPEST: usize = 64;
/// A pattern may have so many comparisons, and so many values together.
const MOST: usize = 100_000;

/// What is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation<'p> {
    /// One thing, in square brackets.
    One(Comparison<'p>),
    All(Vec<Observation<'p>>),
    Any(Vec<Observation<'p>>),
    /// One after the other: `FOLLOWEDBY`.
    Sequence(Vec<Observation<'p>>),
    Qualified(Box<Observation<'p>>, Vec<Qualifier<'p>>),
}

/// When and how often it is to be seen. Numbers and times are as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier<'p> {
    WithinSeconds(&'p str),
    Repeats(&'p str),
    Between { start: &'p str, stop: &'p str },
}

/// What one thing is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison<'p> {
    Test(Test<'p>),
    All(Vec<Comparison<'p>>),
    Any(Vec<Comparison<'p>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test<'p> {
    pub path: Path<'p>,
    pub negated: bool,
    pub operator: Operator,
    /// One; any number for [`Operator::In`], none for [`Operator::Exists`].
    pub values: Vec<Literal<'p>>,
    /// The whole of it, as it came.
    pub text: &'p str,
    /// How many stand before it in the pattern.
    pub number: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Like,
    Matches,
    IsSubset,
    IsSuperset,
    Exists,
}

impl Operator {
    pub fn name(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::In => "IN",
            Operator::Like => "LIKE",
            Operator::Matches => "MATCHES",
            Operator::IsSubset => "ISSUBSET",
            Operator::IsSuperset => "ISSUPERSET",
            Operator::Exists => "EXISTS",
        }
    }
}

/// `file:hashes.'SHA-256'`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'p> {
    pub object: &'p str,
    /// The first is a key.
    pub steps: Vec<Step<'p>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'p> {
    Key(Cow<'p, str>),
    Index(&'p str),
    /// `[*]`: any of a list.
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal<'p> {
    Text(Cow<'p, str>),
    /// As it came, without a plus.
    Number(&'p str),
    Bool(bool),
    Time(&'p str),
    /// In hexadecimal digits.
    Hex(&'p str),
    Base64(&'p str),
}

impl<'p> Literal<'p> {
    /// What stands between the quotes, or the whole.
    pub fn text(&self) -> Cow<'p, str> {
        match self {
            Literal::Text(text) => text.clone(),
            Literal::Number(text) | Literal::Time(text) | Literal::Hex(text) | Literal::Base64(text) => Cow::Borrowed(text),
            Literal::Bool(yes) => Cow::Borrowed(if *yes { "true" } else { "false" }),
        }
    }
}

/// Why something is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where it goes wrong, in characters before that.
    pub at: usize,
    pub expected: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "after {} characters of the pattern, {} is expected", self.at, self.expected)
    }
}

impl std::error::Error for Wrong {}

pub fn parse(pattern: &str) -> Result<Observation<'_>, Wrong> {
    let mut parser = Parser { all: pattern, rest: pattern, depth: 0, tests: 0, values: 0 };
    let observation = parser.sequence()?;
    parser.skip_space();
    if parser.rest.is_empty() { Ok(observation) } else { parser.wrong("an operator, a qualifier or the end") }
}

type Parsed<T> = Result<T, Wrong>;

struct Parser<'p> {
    all: &'p str,
    rest: &'p str,
    depth: usize,
    tests: usize,
    values: usize,
}

/// From what binds loosely to what binds tightly.
impl<'p> Parser<'p> {
    fn sequence(&mut self) -> Parsed<Observation<'p>> {
        self.chain("FOLLOWEDBY", Self::any_observation, Observation::Sequence)
    }

    fn any_observation(&mut self) -> Parsed<Observation<'p>> {
        self.chain("OR", Self::all_observations, Observation::Any)
    }

    fn all_observations(&mut self) -> Parsed<Observation<'p>> {
        self.chain("AND", Self::qualified, Observation::All)
    }

    fn qualified(&mut self) -> Parsed<Observation<'p>> {
        let observation = self.observation()?;
        let mut qualifiers = Vec::new();
        while let Some(qualifier) = self.qualifier()? {
            qualifiers.push(qualifier);
        }
        Ok(if qualifiers.is_empty() { observation } else { Observation::Qualified(Box::new(observation), qualifiers) })
    }

    fn observation(&mut self) -> Parsed<Observation<'p>> {
        if self.take("(") {
            return self.within(Self::sequence, ")", "\")\"");
        }
        if !self.take("[") {
            return self.wrong("\"[\" or \"(\"");
        }
        self.within(Self::any_comparison, "]", "an operator or \"]\"").map(Observation::One)
    }

    fn qualifier(&mut self) -> Parsed<Option<Qualifier<'p>>> {
        if self.take_word("WITHIN") {
            let seconds = self.positive_number()?;
            return self.expect_word("SECONDS", "\"SECONDS\"").map(|()| Some(Qualifier::WithinSeconds(seconds)));
        }
        if self.take_word("REPEATS") {
            let times = self.positive_number()?;
            if times.contains('.') {
                return self.wrong("a whole number before this");
            }
            return self.expect_word("TIMES", "\"TIMES\"").map(|()| Some(Qualifier::Repeats(times)));
        }
        if self.take_word("START") {
            let start = self.time()?;
            self.expect_word("STOP", "\"STOP\"")?;
            return self.time().map(|stop| Some(Qualifier::Between { start, stop }));
        }
        Ok(None)
    }

    fn any_comparison(&mut self) -> Parsed<Comparison<'p>> {
        self.chain("OR", Self::all_comparisons, Comparison::Any)
    }

    fn all_comparisons(&mut self) -> Parsed<Comparison<'p>> {
        self.chain("AND", Self::comparison, Comparison::All)
    }

    fn comparison(&mut self) -> Parsed<Comparison<'p>> {
        if self.take("(") {
            return self.within(Self::any_comparison, ")", "an operator or \")\"");
        }
        self.test().map(Comparison::Test)
    }

    /// What is joined by a keyword, or the one that is there.
    fn chain<T>(&mut self, word: &str, next: fn(&mut Self) -> Parsed<T>, join: fn(Vec<T>) -> T) -> Parsed<T> {
        let first = next(self)?;
        if !self.take_word(word) {
            return Ok(first);
        }
        let mut parts = vec![first, next(self)?];
        while self.take_word(word) {
            parts.push(next(self)?);
        }
        Ok(join(parts))
    }

    /// What stands in brackets, the first of which is taken.
    fn within<T>(&mut self, inner: fn(&mut Self) -> Parsed<T>, close: &str, expected: &'static str) -> Parsed<T> {
        if self.depth == DEEPEST {
            return self.wrong("an end of opening brackets (64 at most)");
        }
        self.depth += 1;
        let value = inner(self)?;
        self.depth -= 1;
        if self.take(close) { Ok(value) } else { self.wrong(expected) }
    }

    fn test(&mut self) -> Parsed<Test<'p>> {
        self.skip_space();
        let start = self.rest;
        if self.tests == MOST {
            return self.wrong("an end of comparisons (100,000 at most)");
        }
        let number = self.tests;
        self.tests += 1;
        let exists = self.take_word("EXISTS");
        let path = self.path()?;
        let negated = !exists && self.take_word("NOT");
        let operator = if exists { Operator::Exists } else { self.operator()? };
        let values = self.operands(operator)?;
        let length = start.len() - self.rest.len();
        let text = start.get(..length).unwrap_or(start);
        Ok(Test { path, negated, operator, values, text, number })
    }

    fn path(&mut self) -> Parsed<Path<'p>> {
        let Some(object) = self.name() else { return self.wrong("the type of an object, and \":\"") };
        if !self.take(":") {
            return self.wrong("\":\"");
        }
        let mut steps = vec![Step::Key(self.key()?)];
        loop {
            if self.take(".") {
                steps.push(Step::Key(self.key()?));
            } else if self.take("[") {
                steps.push(self.index()?);
            } else {
                return Ok(Path { object, steps });
            }
        }
    }

    fn key(&mut self) -> Parsed<Cow<'p, str>> {
        self.skip_space();
        if self.rest.starts_with('\'') {
            return self.quoted();
        }
        self.name().map_or_else(|| self.wrong("a property's name"), |name| Ok(Cow::Borrowed(name)))
    }

    fn index(&mut self) -> Parsed<Step<'p>> {
        let step = if self.take("*") {
            Step::Any
        } else {
            match self.number() {
                Some(number) if !number.contains('.') => Step::Index(number),
                _ => return self.wrong("a whole number or \"*\""),
            }
        };
        if self.take("]") { Ok(step) } else { self.wrong("\"]\"") }
    }

    fn operator(&mut self) -> Parsed<Operator> {
        // A longer one stands before its beginning.
        const SIGNS: [(&str, Operator); 8] = [
            ("==", Operator::Equal),
            ("=", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<>", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            ("<", Operator::Less),
            (">=", Operator::GreaterOrEqual),
            (">", Operator::Greater),
        ];
        const WORDS: [Operator; 5] = [Operator::In, Operator::Like, Operator::Matches, Operator::IsSubset, Operator::IsSuperset];
        let sign = SIGNS.iter().find(|(sign, _)| self.take(sign)).map(|(_, operator)| *operator);
        match sign.or_else(|| WORDS.into_iter().find(|operator| self.take_word(operator.name()))) {
            Some(operator) => Ok(operator),
            None => self.wrong("a comparison's operator"),
        }
    }

    fn operands(&mut self, operator: Operator) -> Parsed<Vec<Literal<'p>>> {
        match operator {
            Operator::Exists => Ok(Vec::new()),
            Operator::In => self.set(),
            Operator::Equal | Operator::NotEqual => Ok(vec![self.literal()?]),
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => match self.literal()? {
                Literal::Bool(_) => self.wrong("a value with an order before this"),
                literal => Ok(vec![literal]),
            },
            Operator::Like | Operator::Matches | Operator::IsSubset | Operator::IsSuperset => {
                self.skip_space();
                Ok(vec![Literal::Text(self.quoted()?)])
            }
        }
    }

    fn set(&mut self) -> Parsed<Vec<Literal<'p>>> {
        let mut values = Vec::new();
        if !self.take("(") {
            return self.wrong("\"(\"");
        }
        if self.take(")") {
            return Ok(values);
        }
        loop {
            values.push(self.literal()?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return self.wrong("\",\" or \")\"");
            }
        }
    }

    fn literal(&mut self) -> Parsed<Literal<'p>> {
        self.skip_space();
        if self.values == MOST {
            return self.wrong("an end of values (100,000 at most)");
        }
        self.values += 1;
        let mut letters = self.rest.chars();
        let (letter, then) = (letters.next(), letters.next());
        match letter {
            Some('\'') => self.quoted().map(Literal::Text),
            Some('t') if then == Some('\'') => self.time().map(Literal::Time),
            Some('h') if then == Some('\'') => {
                let digits = self.plain("h", "hexadecimal digits, two for each byte, in quotes", |c| c.is_ascii_hexdigit())?;
                if digits.len() % 2 == 0 { Ok(Literal::Hex(digits)) } else { self.wrong("two digits for each byte before this") }
            }
            Some('b') if then == Some('\'') => {
                let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
                self.plain("b", "base64 in quotes", is_base64).map(Literal::Base64)
            }
            _ if self.take_word("true") => Ok(Literal::Bool(true)),
            _ if self.take_word("false") => Ok(Literal::Bool(false)),
            _ => self.number().map_or_else(|| self.wrong("a value (a text stands in quotes)"), |number| Ok(Literal::Number(number))),
        }
    }

    /// A time that a clock and a calendar can show; 2.0 had `START` and `STOP` with texts.
    fn time(&mut self) -> Parsed<&'p str> {
        const EXPECTED: &str = "a time: t'2016-06-01T01:30:00Z'";
        self.skip_space();
        let before = self.rest;
        let letter = if before.starts_with('t') { "t" } else { "" };
        let time = self.plain(letter, EXPECTED, |c| c.is_ascii_digit() || matches!(c, '-' | 'T' | ':' | '.' | 'Z'))?;
        if is_time(time) {
            return Ok(time);
        }
        self.rest = before;
        self.wrong(EXPECTED)
    }

    /// What stands in quotes after a letter, all of such characters.
    fn plain(&mut self, letter: &str, expected: &'static str, is: impl Fn(char) -> bool) -> Parsed<&'p str> {
        let quoted = self.rest.strip_prefix(letter).and_then(|rest| rest.strip_prefix('\''));
        match quoted.and_then(|rest| rest.split_once('\'')) {
            Some((text, rest)) if text.chars().all(is) => {
                self.rest = rest;
                Ok(text)
            }
            _ => self.wrong(expected),
        }
    }

    /// A text. Of what may follow a backslash, only a quote and another one need it: before all else it stands for itself.
    fn quoted(&mut self) -> Parsed<Cow<'p, str>> {
        let Some(mut rest) = self.rest.strip_prefix('\'') else { return self.wrong("a text in quotes") };
        let mut unescaped = String::new();
        loop {
            let Some((plain, special, after)) = split_at_any(rest, &['\'', '\\']) else {
                return self.wrong("the quote that ends this text");
            };
            let is_end = special == '\'';
            if is_end && unescaped.is_empty() {
                self.rest = after;
                return Ok(Cow::Borrowed(plain));
            }
            unescaped.push_str(plain);
            rest = after;
            if is_end {
                self.rest = rest;
                return Ok(Cow::Owned(unescaped));
            }
            let escaped = rest.chars().next().filter(|c| matches!(c, '\'' | '\\'));
            unescaped.push(escaped.unwrap_or('\\'));
            rest = escaped.and_then(|c| rest.strip_prefix(c)).unwrap_or(rest);
        }
    }

    /// A name, of an object's type or a property.
    fn name(&mut self) -> Option<&'p str> {
        self.skip_space();
        let length = self.rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')).count();
        let (name, rest) = self.rest.split_at_checked(length)?;
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        self.rest = rest;
        Some(name)
    }

    /// `17`, `-0.5`, `+.5`; no zero before other digits of a whole number.
    fn number(&mut self) -> Option<&'p str> {
        self.skip_space();
        let unsigned = self.rest.strip_prefix(['+', '-']).unwrap_or(self.rest);
        let whole = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let fraction = unsigned.get(whole..)?.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
        let length = if fraction > 0 { whole + 1 + fraction } else { whole };
        let has_idle_zero = fraction == 0 && whole > 1 && unsigned.starts_with('0');
        if length == 0 || has_idle_zero {
            return None;
        }
        let sign = self.rest.len() - unsigned.len();
        let (number, rest) = self.rest.split_at_checked(sign + length)?;
        self.rest = rest;
        Some(number.strip_prefix('+').unwrap_or(number))
    }

    fn positive_number(&mut self) -> Parsed<&'p str> {
        let before = self.rest;
        match self.number() {
            Some(number) if !number.starts_with('-') => Ok(number),
            _ => {
                self.rest = before;
                self.wrong("a number that is not negative")
            }
        }
    }

    fn take(&mut self, sign: &str) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A keyword in capitals or not, which a name does not only begin with.
    fn take_word(&mut self, word: &str) -> bool {
        self.skip_space();
        let before = self.rest;
        if self.name().is_some_and(|name| name.eq_ignore_ascii_case(word)) {
            return true;
        }
        self.rest = before;
        false
    }

    fn expect_word(&mut self, word: &str, expected: &'static str) -> Parsed<()> {
        if self.take_word(word) { Ok(()) } else { self.wrong(expected) }
    }

    /// Spaces of all kinds and comments.
    fn skip_space(&mut self) {
        loop {
            let rest = self.rest.trim_start();
            self.rest = if let Some(comment) = rest.strip_prefix("//") {
                comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest)
            } else if let Some((_, after)) = rest.strip_prefix("/*").and_then(|comment| comment.split_once("*/")) {
                after
            } else {
                self.rest = rest;
                return;
            };
        }
    }

    fn wrong<T>(&self, expected: &'static str) -> Parsed<T> {
        let before = self.all.len() - self.rest.len();
        Err(Wrong { at: self.all.get(..before).unwrap_or_default().chars().count(), expected })
    }
}

/// What stands before the first of these characters, that, and what stands behind it.
fn split_at_any<'t>(text: &'t str, any: &[char]) -> Option<(&'t str, char, &'t str)> {
    let (before, from) = text.split_at_checked(text.find(any)?)?;
    let mut rest = from.chars();
    let found = rest.next()?;
    Some((before, found, rest.as_str()))
}

/// `2016-06-01T01:30:00.123Z`
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let Some((time, fraction)) = text.strip_suffix('Z').and_then(|text| text.split_at_checked(FORM.len())) else { return false };
    let is_form = time.bytes().zip(FORM).all(|(byte, form)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form });
    let part = |at: usize| time.get(at..at + 2).and_then(|part| part.parse::<u8>().ok());
    let within = |at: usize, from: u8, to: u8| part(at).is_some_and(|part| (from..=to).contains(&part));
    let is_fraction = fraction.is_empty()
        || fraction.strip_prefix('.').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    is_form && is_fraction && within(5, 1, 12) && within(8, 1, 31) && within(11, 0, 23) && within(14, 0, 59) && within(17, 0, 60)
}

#[cfg(test)]
mod tests;
