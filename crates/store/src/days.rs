//! Days of feeds: what a delivery touched, what a commit changed, what must be counted anew.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use event::time;
use serde_json::{Value, json};

/// UTC days, since 1970.
pub type Days = BTreeSet<i32>;

/// Days of each feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedDays(pub BTreeMap<String, Days>);

impl FeedDays {
    pub fn of(feed: &str, days: &Days) -> FeedDays {
        let mut all = FeedDays::default();
        all.add(feed, days);
        all
    }

    pub fn add(&mut self, feed: &str, days: &Days) {
        if !days.is_empty() {
            self.0.entry(feed.to_owned()).or_default().extend(days);
        }
    }

    pub fn add_all(&mut self, other: &FeedDays) {
        for (feed, days) in &other.0 {
            self.add(feed, days);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some day of some feed is in both.
    pub(crate) fn meets(&self, other: &FeedDays) -> bool {
        self.0.iter().any(|(feed, days)| other.0.get(feed).is_some_and(|others| !days.is_disjoint(others)))
    }

    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(|(feed, days)| (feed.clone(), json!(days_text(days)))).collect::<serde_json::Map<_, _>>().into()
    }

    pub(crate) fn of_json(value: &Value) -> Option<FeedDays> {
        let feeds = value.as_object()?.iter();
        feeds.map(|(feed, days)| Some((feed.clone(), days_of_text(days.as_str()?)?))).collect::<Option<_>>().map(FeedDays)
    }
}

/// Days as runs, `2023-02-18..2023-02-20,2023-03-01`: five years of a report stay one line.
pub fn days_text(days: &Days) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for &day in days {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == day => *last = day,
            _ => runs.push((day, day)),
        }
    }
    let run = |(first, last): (i32, i32)| match first == last {
        true => time::day_name(first),
        false => format!("{}..{}", time::day_name(first), time::day_name(last)),
    };
    runs.into_iter().map(run).collect::<Vec<_>>().join(",")
}

/// What [`days_text`] wrote; None if it is something else.
pub fn days_of_text(text: &str) -> Option<Days> {
    let mut days = Days::new();
    for run in text.split(',').filter(|run| !run.is_empty()) {
        let (first, last) = run.split_once("..").unwrap_or((run, run));
        days.extend(day_of(first)?..=day_of(last)?);
    }
    Some(days)
}

fn day_of(name: &str) -> Option<i32> {
    name.parse::<NaiveDate>().ok().map(|day| day.to_epoch_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, count: usize) {
        let days = days_of_text(text).expect("the test's days are days");
        assert_eq!((days.len(), days_text(&days)), (count, text.to_owned()));
    }

    #[test]
    fn days_are_written_as_runs() {
        check("", 0);
        check("2023-02-18", 1);
        check("2023-02-18..2023-03-01", 12);
        check("2023-02-18..2023-02-20,2023-03-01,2024-01-01..2024-12-31", 3 + 1 + 366);
        assert_eq!(days_of_text("2023-02-30"), None);
    }
}
