//! TweetFeed: real, as it came, with its gaps. `data/README.md` says whence.

use crate::calendar;
use crate::quarter::{Delivery, Quarter};

const PACKED: &[u8] = include_bytes!("../../data/tweetfeed-2024q1.zst");

/// A daily file: its name, and what is in it.
pub(crate) type Tweets = (String, Vec<u8>);

/// The daily files, in the order of days. Each was packed after a line `==> NAME <==`.
#[expect(clippy::disallowed_methods, reason = "our own file, of known size")]
pub(crate) fn unpack() -> Vec<Tweets> {
    let all = zstd::decode_all(PACKED).expect("our own file");
    let mut files: Vec<Tweets> = Vec::new();
    for line in all.split_inclusive(|byte| *byte == b'\n') {
        let name = line.strip_prefix(b"==> ").and_then(|line| line.strip_suffix(b" <==\n"));
        match (name, files.last_mut()) {
            (Some(name), _) => files.push((String::from_utf8_lossy(name).into_owned(), Vec::new())),
            (None, Some((_, bytes))) => bytes.extend(line),
            (None, None) => unreachable!("our own file begins with a name"),
        }
    }
    files
}

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let file_name = format!("{}.csv", calendar::compact(day));
    let Some((_, bytes)) = quarter.tweets.iter().find(|(name, _)| *name == file_name) else { return Vec::new() };
    vec![Delivery { feed: "tweetfeed/daily", file_name, arrived_at: calendar::at(day + 1, 2400), bytes: bytes.clone(), planted: None }]
}
