//! How each feed does, judged from what it delivered: whether it is silent, delivers much less or more than it does, or has changed.
//! Pure over the deliveries that are given: the same rows and the same time give the same judgement.
//!
//! A feed is silent when it has not come for three times its usual gap. But where a provider's other reports came meanwhile, an absent
//! report of observations says that there was nothing to report: it is a zero. An empty delivery is a delivery.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use event::Delivers;
use event::time::{self, Micros};
use feed::{Catalog, Feed};
use store::Delivery;

/// How a feed does.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    pub feed: String,
    pub state: State,
    /// What is wrong, as a sentence; empty where all is well.
    pub why: String,
    /// Deliveries in the time that is looked back on.
    pub deliveries: usize,
    /// None where nothing came so far.
    pub last: Option<Micros>,
    /// The usual gap between deliveries; none before the fourth.
    pub cadence: Option<Duration>,
    /// Rows on the last day on which it delivered.
    pub rows: u64,
    /// From how many to how many rows such a day had so far; none before the third.
    pub expected: Option<(u64, u64)>,
    /// Rejects among the rows of the last seven days, from 0 to 1.
    pub rejects: f64,
    /// What the last seven days cost: bytes of reports, and the time that reading them took.
    pub bytes: u64,
    pub took: Duration,
    /// How its last delivery's columns differ from its table's.
    pub drift: Option<String>,
}

/// The worse is the later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Well,
    /// Nothing came, and others of its provider did: there was nothing to report.
    Nothing,
    /// Too little is known of it.
    New,
    /// Much more or less than usual, other columns, or many rejects.
    Strange,
    Silent,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Well => "well",
            State::Nothing => "nothing",
            State::New => "new",
            State::Strange => "strange",
            State::Silent => "silent",
        }
    }
}

/// How far is looked back from a feed's last delivery.
const LOOKED_BACK: Micros = 60 * time::DAY;

/// So many deliveries are looked at in any case: of what comes once a month, too, some gaps are known then.
const LOOKED_AT: usize = 5;

/// What is to come: what it is of is judged even where nothing came for long, or ever.
#[derive(Clone, Debug, Default)]
pub struct Awaited {
    pub feeds: BTreeSet<String>,
    pub providers: BTreeSet<String>,
}

impl Awaited {
    fn has(&self, feed: &str) -> bool {
        self.feeds.contains(feed) || feed.split('/').next().is_some_and(|provider| self.providers.contains(provider))
    }
}

/// Where more of a week's rows are rejects than this, something is wrong.
const MANY_REJECTS: f64 = 0.05;

/// So many times the usual gap is silence.
const SILENT_AFTER: i64 = 3;

/// The feeds that are awaited or delivered anything of late, by their ids; retired ones are left out.
pub fn judge<'d>(catalog: &Catalog, deliveries: impl Iterator<Item = &'d Delivery>, awaited: &'d Awaited, now: Micros) -> Vec<Health> {
    let mut by_feed: BTreeMap<&str, Vec<&Delivery>> = awaited.feeds.iter().map(|feed| (feed.as_str(), Vec::new())).collect();
    let mut last_of_provider: BTreeMap<&str, Micros> = BTreeMap::new();
    for delivery in deliveries.filter(|delivery| delivery.time <= now + time::DAY) {
        by_feed.entry(&delivery.feed).or_default().push(delivery);
        let last = last_of_provider.entry(&delivery.provider).or_insert(delivery.time);
        *last = delivery.time.max(*last);
    }
    let mut judged = Vec::new();
    for (id, mut delivered) in by_feed {
        let feed = catalog.feed(id);
        if feed.is_some_and(|feed| feed.retired.is_some()) {
            continue;
        }
        delivered.sort_by_key(|delivery| (delivery.time, &delivery.id));
        let (Some(first), Some(last)) = (delivered.first(), delivered.last()) else {
            judged.push(nothing_so_far(id));
            continue;
        };
        let (provider_came, last) = (last_of_provider.get(first.provider.as_str()).copied(), last.time);
        let of_late = delivered.partition_point(|delivery| delivery.time <= last - LOOKED_BACK);
        let looked_at = delivered.split_off(of_late.min(delivered.len().saturating_sub(LOOKED_AT)));
        let health = judge_one(id, feed, &looked_at, provider_came.unwrap_or_default(), now);
        let gap = health.cadence.map_or(0, time::micros);
        // What nobody waits for any more has ended.
        if awaited.has(id) || now - last <= LOOKED_BACK.max(2 * SILENT_AFTER * gap) {
            judged.push(health);
        }
    }
    judged
}

fn nothing_so_far(id: &str) -> Health {
    Health {
        feed: id.to_owned(),
        state: State::New,
        why: "nothing came so far".to_owned(),
        deliveries: 0,
        last: None,
        cadence: None,
        rows: 0,
        expected: None,
        rejects: 0.0,
        bytes: 0,
        took: Duration::ZERO,
        drift: None,
    }
}

/// One feed, of its deliveries in the order of time.
fn judge_one(id: &str, feed: Option<&Feed>, delivered: &[&Delivery], provider_came: Micros, now: Micros) -> Health {
    let last = delivered.last().map_or(0, |delivery| delivery.time);
    let cadence = cadence(delivered);
    let days = rows_by_day(delivered);
    let (today, rows) = days.last().copied().unwrap_or((time::day(last), 0));
    // A day that is not over has less.
    let is_over = time::day(now) > today;
    let expected = expected(&days[..days.len().saturating_sub(1)], today);
    let (mut week_rows, mut week_rejects, mut bytes, mut took_ms) = (0, 0, 0, 0);
    for delivery in delivered.iter().filter(|delivery| delivery.time > now - 7 * time::DAY) {
        week_rows += delivery.rows;
        week_rejects += delivery.rejects;
        bytes += delivery.size;
        took_ms += delivery.took_ms;
    }
    let rejects = if week_rows == 0 { 0.0 } else { week_rejects as f64 / week_rows as f64 };
    let drift = delivered.last().and_then(|delivery| delivery.drift.clone());
    let observes = feed.is_some_and(|feed| feed.delivers == Delivers::Observations);
    let (mut state, mut why) = (State::Well, Vec::new());
    let mut say = |worse: State, what: String| {
        state = state.max(worse);
        why.push(what);
    };
    match cadence.map(time::micros) {
        None => say(State::New, format!("{} deliveries so far: its usual gap is not known yet", delivered.len())),
        Some(gap) if now - last > SILENT_AFTER * gap => {
            let since = time::span_text(Duration::from_micros((now - last).unsigned_abs()));
            let usual = time::span_text(Duration::from_micros(gap.unsigned_abs()));
            match observes && provider_came > last + gap {
                true => {
                    say(State::Nothing, format!("no report for {since}, while others of its provider came: there was nothing to report"))
                }
                false => say(State::Silent, format!("silent for {since}; usually it comes every {usual}")),
            }
        }
        Some(_) => {}
    }
    if let Some((low, high)) = expected {
        if rows > high {
            say(State::Strange, format!("{rows} rows on {}, where {low} to {high} are usual", time::day_name(today)));
        } else if rows < low && is_over {
            say(State::Strange, format!("only {rows} rows on {}, where {low} to {high} are usual", time::day_name(today)));
        }
    }
    if rejects > MANY_REJECTS {
        say(State::Strange, format!("{:.0}% of the last week's rows are rejects", rejects * 100.0));
    }
    if let Some(drift) = &drift {
        say(State::Strange, format!("its columns are not its table's: {drift}"));
    }
    let (feed, why, deliveries, last, took) = (id.to_owned(), why.join("; "), delivered.len(), Some(last), Duration::from_millis(took_ms));
    Health { feed, state, why, deliveries, last, cadence, rows, expected, rejects, bytes, took, drift }
}

/// The median of the gaps between deliveries; reports of one moment are one delivery.
fn cadence(delivered: &[&Delivery]) -> Option<Duration> {
    let mut times: Vec<Micros> = delivered.iter().map(|delivery| delivery.time).collect();
    times.dedup();
    let mut gaps: Vec<Micros> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if gaps.len() < 3 {
        return None;
    }
    gaps.sort_unstable();
    Some(Duration::from_micros(gaps[gaps.len() / 2].unsigned_abs()))
}

/// Rows of each day on which something came, UTC. Of what is delivered again and again on a day the largest counts.
fn rows_by_day(delivered: &[&Delivery]) -> Vec<(i32, u64)> {
    let mut days: BTreeMap<i32, (u64, u64)> = BTreeMap::new();
    for delivery in delivered {
        let (new, largest) = days.entry(time::day(delivery.time)).or_default();
        *new += delivery.events + delivery.rejects;
        *largest = delivery.rows.max(*largest);
    }
    days.into_iter().map(|(day, (new, largest))| (day, new.max(largest))).collect()
}

/// From how many to how many rows such a day has: by the same day of the week where there are three, else by all days. The median, and
/// six times the median distance from it, but no less than half of it, to both sides.
fn expected(days: &[(i32, u64)], day: i32) -> Option<(u64, u64)> {
    let rows = |is: &dyn Fn(i32) -> bool| -> Vec<u64> { days.iter().filter(|(other, _)| is(*other)).map(|(_, rows)| *rows).collect() };
    let same = rows(&|other| (day - other) % 7 == 0);
    let mut rows = if same.len() >= 3 { same } else { rows(&|_| true) };
    if rows.len() < 3 {
        return None;
    }
    let median = |values: &mut Vec<u64>| {
        values.sort_unstable();
        values[values.len() / 2]
    };
    let middle = median(&mut rows);
    let distance = median(&mut rows.iter().map(|rows| rows.abs_diff(middle)).collect());
    let width = (6 * distance).max(middle / 2).max(1);
    Some((middle.saturating_sub(width), middle + width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use feed::catalog::File;

    const HOUR: Micros = 3600 * time::SECOND;
    /// A Tuesday, noon.
    const NOW: Micros = 1_772_539_200 * time::SECOND;

    fn delivery(feed: &str, days_ago: i64, rows: u64) -> Delivery {
        let provider = feed.split('/').next().unwrap_or_default().to_owned();
        Delivery { feed: feed.into(), provider, time: NOW - days_ago * time::DAY - HOUR, rows, events: rows, ..Delivery::default() }
    }

    fn catalog() -> Catalog {
        let file = |path: &str, delivers: &str| File {
            path: path.into(),
            text: format!(
                "format = \"csv\"\nmeans = \"other\"\nkind = \"listing\"\nasset = \"source.ip\"\ndelivers = \"{delivers}\"\ntlp = \"clear\"\nrows = {{ ip = \"source.ip\" }}\n"
            ),
        };
        Catalog::read(&[file("a/x.toml", "observations"), file("a/y.toml", "list"), file("b/z.toml", "list")])
    }

    /// `FEED STATE: WHY`, a line each.
    #[track_caller]
    fn check(deliveries: Vec<Delivery>, expected: &str) {
        check_awaited(&[], deliveries, expected);
    }

    #[track_caller]
    fn check_awaited(feeds: &[&str], deliveries: Vec<Delivery>, expected: &str) {
        let awaited = Awaited { feeds: feeds.iter().map(|feed| (*feed).to_owned()).collect(), providers: BTreeSet::new() };
        let judged = judge(&catalog(), deliveries.iter(), &awaited, NOW);
        let told: String = judged.iter().map(|one| format!("{} {}: {}\n", one.feed, one.state.name(), one.why)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn a_feed_that_comes_as_ever_is_well() {
        check((0..20).map(|day| delivery("b/z", day, 100 + day as u64 % 3)).collect(), "b/z well: \n");
    }

    #[test]
    fn silence_is_three_gaps_unless_others_came() {
        let daily = |feed: &'static str, from: i64| (from..20).map(move |day| delivery(feed, day, 100));
        check(daily("b/z", 4).collect(), "b/z silent: silent for 4d1h; usually it comes every 1d\n");
        let others = daily("a/x", 4).chain(daily("a/y", 0)).collect();
        check(others, "a/x nothing: no report for 4d1h, while others of its provider came: there was nothing to report\na/y well: \n");
        let list = daily("a/x", 0).chain(daily("a/y", 4)).collect();
        check(list, "a/x well: \na/y silent: silent for 4d1h; usually it comes every 1d\n");
    }

    #[test]
    fn what_is_awaited_is_judged_however_long_it_is_silent() {
        let until = |days: i64| (days..days + 20).map(|day| delivery("b/z", day, 100)).collect::<Vec<_>>();
        check(until(50), "b/z silent: silent for 50d1h; usually it comes every 1d\n");
        check(until(70), "");
        check_awaited(&["b/z"], until(70), "b/z silent: silent for 70d1h; usually it comes every 1d\n");
        check_awaited(&["a/x", "b/z"], until(0), "a/x new: nothing came so far\nb/z well: \n");
        let monthly = |from: i64| (from..9).map(|month| delivery("b/z", 30 * month, 100)).collect::<Vec<_>>();
        check(monthly(2), "b/z well: \n");
        check(monthly(4), "b/z silent: silent for 120d1h; usually it comes every 30d\n");
    }

    #[test]
    fn an_empty_delivery_is_no_silence_and_strange_where_there_was_much() {
        let days = (0..20).map(|day| delivery("b/z", day, if day == 1 { 0 } else { 100 })).skip(1);
        check(days.collect(), "b/z strange: only 0 rows on 2026-03-02, where 50 to 150 are usual\n");
        let days = (0..20).map(|day| delivery("b/z", day, if day == 0 { 1000 } else { 100 }));
        check(days.collect(), "b/z strange: 1000 rows on 2026-03-03, where 50 to 150 are usual\n");
        let days = (0..20).map(|day| delivery("b/z", day, if day == 0 { 3 } else { 100 }));
        check(days.collect(), "b/z well: \n");
    }

    #[test]
    fn weekdays_are_compared_with_their_like() {
        // Few on Saturdays and Sundays.
        let rows = |day: i64| if matches!((2 - day).rem_euclid(7), 6 | 0) { 10 } else { 1000 };
        check((0..40).map(|day| delivery("b/z", day, rows(day))).collect(), "b/z well: \n");
        let sunday = |day: i64| if day == 2 { 1000 } else { rows(day) };
        check(
            (2..40).map(|day| delivery("b/z", day, sunday(day))).collect(),
            "b/z strange: 1000 rows on 2026-03-01, where 5 to 15 are usual\n",
        );
    }

    #[test]
    fn rejects_and_other_columns_are_strange() {
        let mut days: Vec<Delivery> = (0..20).rev().map(|day| delivery("b/z", day, 100)).collect();
        (days[19].rows, days[19].events, days[19].rejects) = (100, 40, 60);
        days[19].drift = Some("lost ip".into());
        check(days, "b/z strange: 9% of the last week's rows are rejects; its columns are not its table's: lost ip\n");
    }
}
