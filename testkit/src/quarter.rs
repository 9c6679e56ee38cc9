//! A quarter of deliveries, in the order in which they arrived, each with a note of what was planted in it: whoever
//! reads them can compare what he found with what there is to find.

use std::collections::BTreeMap;

use event::time::{self, Micros};

use crate::calendar;
use crate::country::Country;
use crate::forms::{self, tweetfeed::Tweets};

/// Which days' reports to make up.
#[derive(Debug)]
pub struct Quarter {
    pub country: Country,
    /// The first day that reports speak of, in days since 1970.
    pub first: i32,
    /// The last one.
    pub last: i32,
    /// The one real feed, unpacked once.
    pub(crate) tweets: Vec<Tweets>,
}

impl Quarter {
    /// 1 January to 31 March 2024.
    pub fn first_of_2024() -> Quarter {
        Quarter::between("2024-01-01", "2024-03-31")
    }

    /// A piece of it, such as `2024-02-01` to `2024-02-07`: the same deliveries as in the whole, less what they
    /// repeat of the days before.
    ///
    /// Panics if the dates are none.
    pub fn between(first: &str, last: &str) -> Quarter {
        Quarter { country: Country::made_up(), first: calendar::day(first), last: calendar::day(last), tweets: forms::tweetfeed::unpack() }
    }
}

/// One arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, `PROVIDER/FEED`.
    pub feed: &'static str,
    pub file_name: String,
    /// In microseconds since 1970, UTC.
    pub arrived_at: Micros,
    /// As it came: packed, cut, in any encoding.
    pub bytes: Vec<u8>,
    /// What there is to find in it. Nobody knows for a real feed.
    pub planted: Option<Planted>,
}

/// What a reader finds in a delivery if he misses nothing, after all deliveries of the feed before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    /// Rows of any kind: events, rejects and what is to be ignored.
    pub rows: u64,
    /// Rows that cannot be read.
    pub rejects: u64,
    /// Rows that are to be passed over, such as a list's own description.
    pub ignored: u64,
    /// Rows that say what this feed said before, here or in an earlier delivery.
    pub repeats: u64,
    /// Rows whose stated time cannot be true, so that the delivery's stands for it.
    pub implausible: u64,
    /// Columns that the feed's table does not know.
    pub gained: Vec<&'static str>,
    /// Columns that the feed's table knows and the report lacks.
    pub lost: Vec<&'static str>,
    /// Byte for byte an earlier delivery of the feed.
    pub unchanged: bool,
    /// How many days later it came than reports of this feed do.
    pub days_late: i32,
}

impl Planted {
    /// Rows that are read.
    pub fn events(&self) -> u64 {
        self.rows - self.rejects - self.ignored
    }
}

/// All deliveries about the quarter's days, the earliest first. The last arrive after its end.
///
/// One day at a time is made up, and what arrives later waits, so that memory holds a few days at most.
pub fn deliveries(quarter: &Quarter) -> impl Iterator<Item = Delivery> {
    Deliveries { quarter, next: quarter.first, waiting: BTreeMap::new(), made: 0 }
}

struct Deliveries<'q> {
    quarter: &'q Quarter,
    /// The first day that is not yet made up.
    next: i32,
    /// By arrival, then in the order in which they were made up.
    waiting: BTreeMap<(Micros, u64), Delivery>,
    made: u64,
}

impl Iterator for Deliveries<'_> {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        // No report arrives before the day that it is about begins.
        while self.next <= self.quarter.last && self.earliest().is_none_or(|day| day >= self.next) {
            self.make_up_a_day();
        }
        self.waiting.pop_first().map(|(_, delivery)| delivery)
    }
}

impl Deliveries<'_> {
    fn earliest(&self) -> Option<i32> {
        self.waiting.keys().next().map(|(arrived_at, _)| time::day(*arrived_at))
    }

    fn make_up_a_day(&mut self) {
        for form in forms::ALL {
            for delivery in form(self.quarter, self.next) {
                self.waiting.insert((delivery.arrived_at, self.made), delivery);
                self.made += 1;
            }
        }
        self.next += 1;
    }
}
