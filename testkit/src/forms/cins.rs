//! The CI Army list: addresses with a bad score, one a line. Fetched twice a day and made once; on one evening a page
//! about an error came in its place.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::calendar;
use crate::country::Version;
use crate::machines::{Machine, Spread};
use crate::quarter::{Delivery, Planted, Quarter};
use crate::spells;

const SPREAD: Spread = Spread { homes: 6, mobile: 0, offices: 3, hosting: 5 };

const ERROR_PAGE: &str = "2024-02-29";

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let spells = spells::steady("bad score", day, 600, 14).into_iter();
    let addresses: BTreeSet<IpAddr> =
        spells.map(|spell| Machine::of(spell, &quarter.country, &SPREAD, Version::V4).address(day, 0)).collect();
    let text: String = addresses.iter().map(|address| format!("{address}\n")).collect();
    let rows = addresses.len() as u64;
    let morning = Planted { rows, ..Planted::default() };
    let (evening, planted) = match event::time::day_name(day).as_str() {
        ERROR_PAGE => {
            ("<!DOCTYPE html>\n<title>503 Service Unavailable</title>\n".to_owned(), Planted { rows: 2, rejects: 2, ..Planted::default() })
        }
        _ => (text.clone(), Planted { rows, repeats: rows, unchanged: true, ..Planted::default() }),
    };
    [(6, text, morning), (18, evening, planted)]
        .map(|(hour, text, planted)| Delivery {
            feed: "cins/army",
            file_name: "ci-badguys.txt".to_owned(),
            arrived_at: calendar::at(day, hour * 3600 + 60),
            bytes: text.into_bytes(),
            planted: Some(planted),
        })
        .to_vec()
}
