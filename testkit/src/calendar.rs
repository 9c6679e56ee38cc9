//! Days and times as reports write them.

use event::time::{self, Micros, SECOND};

/// Days since 1970 of a date such as `2024-02-14`.
///
/// Panics if it is none: dates here are written by hand.
pub(crate) fn day(date: &str) -> i32 {
    time::day(time::parse(date).expect("a date"))
}

/// The time so many seconds after the day's midnight, UTC; the day before or after where that is not in the day.
pub(crate) fn at(day: i32, seconds: i64) -> Micros {
    i64::from(day) * time::DAY + seconds * SECOND
}

/// `2024-02-14 08:30:00`, UTC.
pub(crate) fn stamp(time: Micros) -> String {
    time::iso(time).replace('T', " ").trim_end_matches('Z').to_owned()
}

/// `2024-02-14T10:30:00+02:00`: the same moment on a clock so many hours east of UTC.
pub(crate) fn stamp_east(time: Micros, hours: i64) -> String {
    let local = time::iso(time + hours * 3600 * SECOND);
    format!("{}+{hours:02}:00", local.trim_end_matches('Z'))
}

/// `20240214`.
pub(crate) fn compact(day: i32) -> String {
    time::day_name(day).replace('-', "")
}

pub(crate) fn is_weekend(day: i32) -> bool {
    weekday(day) >= 5
}

/// 0 is Monday.
pub(crate) fn weekday(day: i32) -> i32 {
    // 1970 began on a Thursday.
    (day + 3).rem_euclid(7)
}

pub(crate) const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
pub(crate) const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Wed, 14 Feb 2024 08:30:00 GMT`.
pub(crate) fn mail_stamp(time: Micros) -> String {
    let stamp = stamp(time);
    let (date, clock) = stamp.split_once(' ').expect("a stamp has two parts");
    let mut parts = date.split('-');
    let mut part = || parts.next().expect("a date has three parts");
    let (year, month, date) = (part(), part(), part());
    let month: usize = month.parse().expect("a number");
    format!("{}, {date} {} {year} {clock} GMT", WEEKDAYS[weekday(time::day(time)) as usize], MONTHS[month - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_in_every_form() {
        let time = at(day("2024-02-14"), 8 * 3600 + 1800);
        assert_eq!(stamp(time), "2024-02-14 08:30:00");
        assert_eq!(stamp_east(time, 9), "2024-02-14T17:30:00+09:00");
        assert_eq!(mail_stamp(time), "Wed, 14 Feb 2024 08:30:00 GMT");
        assert_eq!(compact(time::day(time)), "20240214");
        assert!(is_weekend(day("2024-02-17")) && !is_weekend(day("2024-02-16")));
    }
}
