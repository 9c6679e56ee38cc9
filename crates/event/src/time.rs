//! Times as the world writes them, to microseconds since 1970 in UTC.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime};

use crate::value::Wrong;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

pub const SECOND: Micros = 1_000_000;
pub const DAY: Micros = 86_400 * SECOND;

const WRONG: Wrong = Wrong("not a time");

/// Of a time that nothing can have.
pub const OUT_OF_BOUNDS: Wrong = Wrong("a time before 1970 or after 2199");

/// A span, in the unit of times. One that is beyond all times is as long as any of them.
pub fn micros(span: Duration) -> Micros {
    Micros::try_from(span.as_micros()).unwrap_or(BOUNDS.end).min(BOUNDS.end)
}

/// A time in any common form; UTC where it states no offset.
pub fn parse(given: &str) -> Result<Micros, Wrong> {
    parse_at(given, 0)
}

/// A time in any common form; where it states no offset, it is `offset` seconds east of UTC.
pub fn parse_at(given: &str, offset: i32) -> Result<Micros, Wrong> {
    let time = match plain(given.as_bytes()) {
        Some(time) => time - i64::from(offset) * SECOND,
        None => uncommon(given.trim(), offset)?,
    };
    within_bounds(time)
}

/// The first time, and the first after the last, that anything can have: 1970 and 2200.
const BOUNDS: std::ops::Range<Micros> = 0..7_258_118_400 * SECOND;

/// Nothing was seen before there were networks or will be seen in two hundred years: such a time is a slip, and other
/// engines count from 1677 to 2262 at most.
fn within_bounds(time: Micros) -> Result<Micros, Wrong> {
    if BOUNDS.contains(&time) { Ok(time) } else { Err(OUT_OF_BOUNDS) }
}

/// `2023-02-19 00:01:10`, with `T` for the space, with or without `Z`: what nearly all rows have.
fn plain(text: &[u8]) -> Option<Micros> {
    let text = match text.len() {
        19 => text,
        20 if text[19] == b'Z' => &text[..19],
        23 if text.ends_with(b" UTC") => &text[..19],
        _ => return None,
    };
    if text[4] != b'-' || text[7] != b'-' || !matches!(text[10], b' ' | b'T') || text[13] != b':' || text[16] != b':' {
        return None;
    }
    let two = |at: usize| -> Option<u32> {
        let (tens, ones) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
        (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
    };
    let year = two(0)? * 100 + two(2)?;
    let (month, day, hour, minute, second) = (two(5)?, two(8)?, two(11)?, two(14)?, two(17)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    Some((days * 86_400 + i64::from(hour * 3600 + minute * 60 + second.min(59))) * SECOND)
}

/// Days of the proleptic Gregorian calendar, counted in eras of 400 years from 1 March.
fn days_since_1970(year: u32, month: u32, day: u32) -> Option<i64> {
    const LENGTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = LENGTHS.get(month.wrapping_sub(1) as usize)? + u32::from(month == 2 && leap);
    if day == 0 || day > length {
        return None;
    }
    let shifted = i64::from(year) - i64::from(month <= 2);
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = i64::from((153 * ((month + 9) % 12) + 2) / 5 + day - 1);
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// No form of a time is longer, in bytes.
const LONGEST: usize = 64;

fn uncommon(text: &str, offset: i32) -> Result<Micros, Wrong> {
    if text.len() > LONGEST {
        return Err(WRONG);
    }
    // `UTC+08:00` and `GMT+8` say what `+08:00` does.
    for zone in ["UTC", "GMT"] {
        let stated = |east: &str| if east.is_empty() { Ok(0) } else { self::offset(east) };
        if let Some((time, east)) = text.rsplit_once(zone)
            && let Ok(offset) = stated(east)
        {
            return uncommon(time.trim_end(), offset);
        }
    }
    let east = FixedOffset::east_opt(offset).ok_or(WRONG)?;
    let local = |time: NaiveDateTime| time.and_local_timezone(east).single().map(|time| time.timestamp_micros()).ok_or(WRONG);
    // A day of the week says nothing, be it right or wrong.
    if let Some((day, rest)) = text.split_once(", ")
        && !day.is_empty()
        && day.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        return uncommon(rest, offset);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_micros());
    }
    for format in [
        "%Y-%m-%d %H:%M:%S%.f %z",
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M %z",
        "%Y-%m-%dT%H:%M%#z",
        "%Y%m%dT%H%M%S%#z",
        "%d/%b/%Y:%H:%M:%S %z",
        "%a %b %d %H:%M:%S %z %Y",
    ] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Ok(time.timestamp_micros());
        }
    }
    if let Ok(time) = DateTime::parse_from_rfc2822(text) {
        return Ok(time.timestamp_micros());
    }
    for format in [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
        "%Y%m%dT%H%M%S",
        "%Y/%m/%d %H:%M:%S",
        "%b %d %H:%M:%S %Y",
        "%a %b %d %H:%M:%S %Y",
        "%d %b %Y %H:%M:%S",
        // Two digits of a year come before four, of which they would be the first century's.
        "%d-%b-%y %H:%M:%S",
        "%d-%b-%Y %H:%M:%S",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return local(time);
        }
    }
    for format in ["%Y-%m-%d", "%Y/%m/%d", "%Y%m%d"] {
        if let Ok(day) = NaiveDate::parse_from_str(text, format) {
            return local(day.and_hms_opt(0, 0, 0).expect("every day has a midnight"));
        }
    }
    Err(WRONG)
}

/// A span as a person writes it: `30s`, `5m`, `1h`, `1d`, `2w`, or several of these after each other.
pub fn span(given: &str) -> Result<Duration, Wrong> {
    const NONE: Wrong = Wrong("not a span of time, such as 30s, 5m, 1h or 1d");
    let (mut all, mut number) = (Duration::ZERO, None);
    for sign in given.trim().chars() {
        match (sign.to_digit(10), number) {
            (Some(digit), before) => {
                let longer: Option<u64> = before.unwrap_or(0_u64).checked_mul(10).and_then(|more| more.checked_add(digit.into()));
                number = Some(longer.ok_or(NONE)?);
            }
            (None, Some(count)) => {
                let (_, seconds) = SPANS.iter().find(|(unit, _)| *unit == sign).ok_or(NONE)?;
                let more = count.checked_mul(*seconds).map(Duration::from_secs).ok_or(NONE)?;
                all = all.checked_add(more).ok_or(NONE)?;
                number = None;
            }
            (None, None) if sign == ' ' => {}
            (None, None) => return Err(NONE),
        }
    }
    if number.is_some() || all.is_zero() || all > Duration::from_secs(10 * 365 * 86_400) { Err(NONE) } else { Ok(all) }
}

/// Units of spans, the longest first, in seconds.
const SPANS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

/// The same, as [`span`] reads it, to the second.
pub fn span_text(span: Duration) -> String {
    let (mut left, mut text) = (span.as_secs(), String::new());
    for (unit, seconds) in SPANS.iter().skip(1) {
        if left >= *seconds {
            text += &format!("{}{unit}", left / seconds);
            left %= seconds;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Seconds, milliseconds or microseconds since 1970, told apart by their size.
pub fn epoch(given: &str) -> Result<Micros, Wrong> {
    let seconds: f64 = given.trim().parse().map_err(|_| WRONG)?;
    let scale = match seconds.abs() {
        size if size < 1e11 => 1e6,
        size if size < 1e14 => 1e3,
        size if size < 1e17 => 1.0,
        _ => return Err(WRONG),
    };
    within_bounds((seconds * scale).round() as Micros)
}

/// By strftime's letters; `offset` counts where the format has no zone.
pub fn with_format(given: &str, format: &str, offset: i32) -> Result<Micros, Wrong> {
    if let Ok(time) = DateTime::parse_from_str(given, format) {
        return within_bounds(time.timestamp_micros());
    }
    let time = NaiveDateTime::parse_from_str(given, format)
        .or_else(|_| NaiveDate::parse_from_str(given, format).map(|day| day.and_hms_opt(0, 0, 0).expect("every day has a midnight")))
        .map_err(|_| WRONG)?;
    within_bounds(time.and_utc().timestamp_micros() - i64::from(offset) * SECOND)
}

/// `+08:00`, `-0330` or `Z`, as seconds east of UTC.
pub fn offset(given: &str) -> Result<i32, Wrong> {
    let wrong = Wrong("not an offset such as +08:00");
    if given == "Z" {
        return Ok(0);
    }
    let sign = match given.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(wrong),
    };
    let digits: String = given.chars().skip(1).filter(|c| *c != ':').collect();
    let number: u16 = digits.parse().map_err(|_| wrong)?;
    let number = i32::from(number);
    let (hours, minutes) = if digits.len() <= 2 { (number, 0) } else { (number / 100, number % 100) };
    if hours > 14 || minutes > 59 { Err(wrong) } else { Ok(sign * (hours * 3600 + minutes * 60)) }
}

/// The UTC day that a time falls on, as days since 1970.
pub fn day(time: Micros) -> i32 {
    time.div_euclid(DAY) as i32
}

/// `2023-02-19`, of days since 1970.
pub fn day_name(day: i32) -> String {
    NaiveDate::from_epoch_days(day).map_or_else(|| format!("day {day}"), |day| day.to_string())
}

/// `2023-02`, of days since 1970: the partition of events at rest.
pub fn month_name(day: i32) -> String {
    NaiveDate::from_epoch_days(day).map_or_else(|| format!("day {day}"), |day| day.format("%Y-%m").to_string())
}

/// `2023-02-19T00:01:10Z`, with a fraction only where there is one.
pub fn iso(time: Micros) -> String {
    DateTime::from_timestamp_micros(time)
        .map_or_else(|| format!("{time} µs"), |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds, written) in
            [("30s", 30, "30s"), ("90m", 5400, "1h30m"), ("1d 2h", 93_600, "1d2h"), ("1w", 604_800, "7d"), ("1h", 3600, "1h")]
        {
            let span = span(text).expect(text);
            assert_eq!((span.as_secs(), span_text(span).as_str()), (seconds, written));
        }
        for text in ["", "1", "h", "1x", "0s", "1.5h", "-1h", "99999999999999999999d", "9999w"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[track_caller]
    fn check(given: &str, expected: &str) {
        assert_eq!(parse(given).map_or_else(|wrong| wrong.0.to_owned(), iso), expected, "{given:?}");
    }

    #[test]
    fn any_common_form() {
        check("2023-02-19 00:01:10", "2023-02-19T00:01:10Z");
        check("2023-02-19T00:01:10Z", "2023-02-19T00:01:10Z");
        check("2023-02-19 00:01:10 UTC", "2023-02-19T00:01:10Z");
        check("2023-02-19T08:01:10+08:00", "2023-02-19T00:01:10Z");
        check("2023-02-19T00:01:10.25Z", "2023-02-19T00:01:10.250Z");
        check("2023-02-19 00:01:10.123456", "2023-02-19T00:01:10.123456Z");
        check("2023-02-18 20:31:10 -0330", "2023-02-19T00:01:10Z");
        check("2023-02-19T08:01+08:00", "2023-02-19T00:01:00Z");
        check("2023-02-19 08:01 +0800", "2023-02-19T00:01:00Z");
        check("20230219T000110Z", "2023-02-19T00:01:10Z");
        check("Sun, 19 Feb 2023 00:01:10 GMT", "2023-02-19T00:01:10Z");
        check("2023-02-19", "2023-02-19T00:00:00Z");
        check("20230219", "2023-02-19T00:00:00Z");
        check("2023-02-19T08:01:10.5+08", "2023-02-19T00:01:10.500Z");
        check("Sun Feb 19 00:01:10 2023", "2023-02-19T00:01:10Z");
        check("Sun Feb 19 08:01:10 +0800 2023", "2023-02-19T00:01:10Z");
        check("2023-02-19 08:01:10 UTC+08:00", "2023-02-19T00:01:10Z");
        check("2023-02-19T08:01:10GMT+8", "2023-02-19T00:01:10Z");
        check("Sun, 19 Feb 2023 08:01:10 GMT+0800", "2023-02-19T00:01:10Z");
        check("Sunday, 19-Feb-23 00:01:10 GMT", "2023-02-19T00:01:10Z");
        check("Sun, 19-Feb-2023 00:01:10 GMT", "2023-02-19T00:01:10Z");
        check("Mon, 9 Feb 2023 4:05:06 UTC", "2023-02-09T04:05:06Z");
        check("19 Feb 2023 00:01:10 GMT", "2023-02-19T00:01:10Z");
        check("Sun, 19 Feb 2023 00:01:10 EST", "2023-02-19T05:01:10Z");
        check("Wed, 31 Dec 1969 23:59:59 GMT", "a time before 1970 or after 2199");
        check("2024-02-29 23:59:60", "2024-02-29T23:59:59Z");
        check("2023-02-29 00:00:00", "not a time");
        check("2023-13-01", "not a time");
        check("19.02.2023", "not a time");
        check("", "not a time");
        check("2023-02-19 UTC+", "not a time");
        check(&"UTC".repeat(1 << 20), "not a time");
    }

    #[test]
    fn stated_otherwise() {
        assert_eq!(epoch("1676764870").map(iso), Ok("2023-02-19T00:01:10Z".into()));
        assert_eq!(epoch("1676764870250").map(iso), Ok("2023-02-19T00:01:10.250Z".into()));
        assert_eq!(parse_at("2023-02-19 08:01:10", 8 * 3600).map(iso), Ok("2023-02-19T00:01:10Z".into()));
        assert_eq!(with_format("19.02.2023 00:01", "%d.%m.%Y %H:%M", 0).map(iso), Ok("2023-02-19T00:01:00Z".into()));
        assert_eq!(offset("-03:30"), Ok(-12_600));
        assert!(offset("--0808330").is_err() && offset("+-0330").is_err());
    }

    #[test]
    fn the_fast_way_knows_the_calendar_as_the_library_does() {
        for days in (-10_000..60_000).step_by(13) {
            let date = NaiveDate::from_epoch_days(days).expect("in range");
            let text = format!("{date} 12:34:56");
            assert_eq!(plain(text.as_bytes()), Some(date.and_hms_opt(12, 34, 56).expect("a time").and_utc().timestamp_micros()));
        }
    }
}
