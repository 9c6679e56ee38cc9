//! OpenPhish: the newest URLs, one a line, twice a day; on some days somebody defanged them.

use crate::calendar;
use crate::quarter::{Delivery, Planted, Quarter};
use crate::sites;

const LENGTH: usize = 110;
/// On these days the evening's URLs are written so that nobody clicks them.
const DEFANGED: &[&str] = &["2024-01-22", "2024-02-12", "2024-03-15"];
/// The evening's report did not come.
const MORNING_ONLY: &str = "2024-02-25";

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let date = event::time::day_name(day);
    let mut urls = urls(quarter, day);
    // The morning's report ends where the day's first half did.
    let new_since_morning = sites::new_on(&quarter.country, "phishing", day, 2600, 22).count() / 2;
    let evening: Vec<String> = urls.iter().take(LENGTH).cloned().collect();
    let morning: Vec<String> = urls.drain(new_since_morning..).take(LENGTH).collect();
    let known = evening.iter().filter(|url| morning.contains(url)).count() as u64;
    let evening: Vec<String> = if DEFANGED.contains(&date.as_str()) { evening.iter().map(|url| defanged(url)).collect() } else { evening };
    let mut deliveries = vec![delivery(day, 6, &morning, 0)];
    if date != MORNING_ONLY {
        deliveries.push(delivery(day, 18, &evening, known));
    }
    deliveries
}

/// The newest first, each once.
fn urls(quarter: &Quarter, day: i32) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for on in (day - 9..=day).rev() {
        for site in sites::new_on(&quarter.country, "phishing", on, 2600, 22).collect::<Vec<_>>().into_iter().rev() {
            let url = site.url();
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
    }
    urls
}

/// As people write it who do not want it clicked.
fn defanged(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL has a scheme");
    let (host, path) = rest.split_once('/').expect("a URL has a path");
    format!("{}://{}/{path}", scheme.replace("http", "hxxp"), host.replace('.', "[.]"))
}

fn delivery(day: i32, hour: i64, urls: &[String], repeats: u64) -> Delivery {
    Delivery {
        feed: "openphish/feed",
        file_name: "feed.txt".to_owned(),
        arrived_at: calendar::at(day, hour * 3600 + 120),
        bytes: (urls.join("\n") + "\n").into_bytes(),
        planted: Some(Planted { rows: urls.len() as u64, repeats, ..Planted::default() }),
    }
}
