//! JSON, cut before it is read: [`members`] and [`elements`] find where the values of an object or a list begin and end, and
//! look no further, so that one bad attribute among a hundred thousand is one bad attribute and not a bad document. What is
//! asked for is then read as [`Json`], whose texts borrow from the document.
//!
//! Serde's own raw values would do the first, but for all of the program: where that feature is on, a delivery's object with
//! a certain key is no longer an object, for whoever reads it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A value. Nothing is deeper than serde_json goes, 127 levels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl<'a> Json<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Json<'a>, String> {
        serde_json::from_str(text).map_err(|wrong| format!("not JSON: {wrong}"))
    }

    /// The member of this name, the last where there are several, as most readers have it. A null is as good as none.
    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let Json::Object(members) = self else { return None };
        members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value).filter(|value| **value != Json::Null)
    }

    /// A text, or a number or a boolean written as one; programs of some languages do not tell them apart.
    pub(crate) fn to_text(&self) -> Option<Cow<'a, str>> {
        match self {
            Json::Text(text) => Some(text.clone()),
            Json::Number(number) => Some(number.to_string().into()),
            Json::Bool(yes) => Some(if *yes { "1" } else { "0" }.into()),
            _ => None,
        }
    }

    pub(crate) fn into_text(self) -> Option<Cow<'a, str>> {
        if let Json::Text(text) = self { Some(text) } else { self.to_text() }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    /// A whole number, written as one or as text.
    pub(crate) fn to_integer(&self) -> Option<i64> {
        match self {
            Json::Number(number) => number.as_i64(),
            Json::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A boolean, written as one, as 0 or 1, or as text.
    pub(crate) fn to_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(yes) => Some(*yes),
            Json::Number(number) => match number.as_i64() {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            },
            Json::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
                "1" | "true" => Some(true),
                "0" | "false" | "" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// The elements of a list; none of what is no list.
    pub(crate) fn list(&self) -> &[Json<'a>] {
        if let Json::List(list) = self { list } else { &[] }
    }

    pub(crate) fn is_object(&self) -> bool {
        matches!(self, Json::Object(_))
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Json<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = from.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Key(key), value)) = from.next_entry()? {
            members.push((key, value));
        }
        Ok(Json::Object(members))
    }
}

/// A text that borrows where it can, which serde's own `Cow` does not.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Key<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Keys)
    }
}

/// An object's keys and its values as they stand, or where it breaks off.
pub(crate) fn members(object: &str) -> Result<Vec<(Cow<'_, str>, &str)>, String> {
    let mut cursor = Cursor { text: object, at: 0 };
    let mut members = Vec::new();
    cursor.expect(b'{')?;
    let mut more = !cursor.take(b'}');
    while more {
        let key = cursor.value()?;
        let Ok(Key(key)) = serde_json::from_str(key) else { return Err(cursor.wrong("a key in quotes")) };
        cursor.expect(b':')?;
        members.push((key, cursor.value()?));
        more = cursor.goes_on(b'}')?;
    }
    cursor.end()?;
    Ok(members)
}

/// A list's elements as they stand, at most so many, or where it breaks off.
pub(crate) fn elements(list: &str, most: usize) -> Result<Vec<&str>, String> {
    let mut cursor = Cursor { text: list, at: 0 };
    let mut elements = Vec::new();
    cursor.expect(b'[')?;
    let mut more = !cursor.take(b']');
    while more {
        if elements.len() == most {
            return Err(format!("a list of more than {most} elements"));
        }
        elements.push(cursor.value()?);
        more = cursor.goes_on(b']')?;
    }
    cursor.end()?;
    Ok(elements)
}

/// The first byte that is no space.
pub(crate) fn first(text: &str) -> Option<u8> {
    text.bytes().find(|byte| !is_space(*byte))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Goes over the text without a stack: how deep a value is costs nothing, and is seen when it is read.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at += self.rest().iter().take_while(|byte| is_space(**byte)).count();
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is = self.rest().first() == Some(&byte);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.take(byte) { Ok(()) } else { Err(self.wrong(&format!("\"{}\"", char::from(byte)))) }
    }

    /// Whether there is a comma, and not the end.
    fn goes_on(&mut self, end: u8) -> Result<bool, String> {
        if self.take(b',') { Ok(true) } else { self.expect(end).map(|()| false) }
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip_space();
        if self.rest().is_empty() { Ok(()) } else { Err(self.wrong("the end")) }
    }

    fn wrong(&self, expected: &str) -> String {
        match self.rest().is_empty() {
            true => format!("not JSON: it ends at byte {}, where {expected} is expected", self.at),
            false => format!("not JSON: at byte {}, where {expected} is expected", self.at),
        }
    }

    /// One value, of which only the quotes and the brackets are looked at.
    fn value(&mut self) -> Result<&'a str, String> {
        self.skip_space();
        let start = self.at;
        match self.rest().first() {
            Some(b'"') => self.skip_text()?,
            Some(b'{' | b'[') => self.skip_nested()?,
            _ => self.at += self.rest().iter().take_while(|byte| !is_space(**byte) && !b",:]}".contains(byte)).count(),
        }
        match self.text.get(start..self.at) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(self.wrong("a value")),
        }
    }

    fn skip_text(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            let Some(length) = self.rest().iter().position(|byte| matches!(byte, b'"' | b'\\')) else {
                self.at = self.text.len();
                return Err(self.wrong("the end of a text"));
            };
            let is_escape = self.rest()[length] == b'\\';
            self.at += length + 1 + usize::from(is_escape);
            if !is_escape {
                return Ok(());
            }
        }
    }

    fn skip_nested(&mut self) -> Result<(), String> {
        let mut open = 0usize;
        loop {
            let Some(length) = self.rest().iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']')) else {
                self.at = self.text.len();
                return Err(self.wrong("a closing bracket"));
            };
            self.at += length;
            match self.rest()[0] {
                b'"' => self.skip_text()?,
                bracket => {
                    self.at += 1;
                    open = if matches!(bracket, b'{' | b'[') { open + 1 } else { open - 1 };
                }
            }
            if open == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(document: &str, expected: Result<&[&str], &str>) {
        let found = match first(document) {
            Some(b'{') => members(document).map(|members| members.into_iter().map(|(key, value)| format!("{key} is {value}")).collect()),
            _ => elements(document, 3).map(|elements| elements.into_iter().map(str::to_owned).collect()),
        };
        assert_eq!(found, expected.map(|parts| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>()).map_err(str::to_owned));
    }

    #[test]
    fn values_are_cut_as_they_stand() {
        check("[]", Ok(&[]));
        check(" { } ", Ok(&[]));
        check(r#"[1, "a,]", {"b": [ ]} ]"#, Ok(&["1", r#""a,]""#, r#"{"b": [ ]}"#]));
        check(r#"{"a": "\"}", "b\n" : [[{}], "\\"]}"#, Ok(&[r#"a is "\"}""#, "b\n is [[{}], \"\\\\\"]"]));
        // What is within is not looked at: it may be asked for never, and is bad alone otherwise.
        check("[{a}, [}, NaN]", Ok(&["{a}", "[}", "NaN"]));
    }

    #[test]
    fn what_breaks_off_is_said() {
        check("[1, 2", Err("not JSON: it ends at byte 5, where \"]\" is expected"));
        check("[1 2]", Err("not JSON: at byte 3, where \"]\" is expected"));
        check("[1,]", Err("not JSON: at byte 3, where a value is expected"));
        check("[\"1]", Err("not JSON: it ends at byte 4, where the end of a text is expected"));
        check("[\"\\", Err("not JSON: it ends at byte 3, where the end of a text is expected"));
        check("[[1]", Err("not JSON: it ends at byte 4, where \"]\" is expected"));
        check("[1] x", Err("not JSON: at byte 4, where the end is expected"));
        check("{1: 2}", Err("not JSON: at byte 2, where a key in quotes is expected"));
        check("{\"a\" 2}", Err("not JSON: at byte 5, where \":\" is expected"));
        check("", Err("not JSON: it ends at byte 0, where \"[\" is expected"));
        check("[1, 2, 3, 4]", Err("a list of more than 3 elements"));
    }
}
