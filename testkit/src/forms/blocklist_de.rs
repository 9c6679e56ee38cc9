//! blocklist.de's list of machines that attacked by SSH: one address a line, both versions. It is silent for nine
//! days, while everybody else goes on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::calendar;
use crate::country::Version;
use crate::machines::{Machine, Spread};
use crate::quarter::{Delivery, Planted, Quarter};
use crate::spells;

const SILENT: std::ops::RangeInclusive<&str> = "2024-02-10"..="2024-02-18";
/// Its last line was cut.
const CUT: &str = "2024-03-21";

const SPREAD: Spread = Spread { homes: 12, mobile: 0, offices: 4, hosting: 14 };

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let date = event::time::day_name(day);
    if SILENT.contains(&date.as_str()) {
        return Vec::new();
    }
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    for spell in spells::steady("attackers by SSH", day, 2300, 10) {
        let version = if spell.chance("version").percent(4) { Version::V6 } else { Version::V4 };
        addresses.insert(Machine::of(spell, &quarter.country, &SPREAD, version).address(day, 0));
    }
    let mut lines: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let mut planted = Planted { rows: lines.len() as u64, ..Planted::default() };
    if date == CUT {
        *lines.last_mut().expect("somebody attacked") = "240.33.".to_owned();
        planted.rejects = 1;
    }
    vec![Delivery {
        feed: "blocklist-de/ssh",
        file_name: "ssh.txt".to_owned(),
        arrived_at: calendar::at(day, 20 * 3600),
        bytes: lines.join("\n").into_bytes(),
        planted: Some(planted),
    }]
}
