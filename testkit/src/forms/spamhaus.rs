//! Spamhaus DROP: networks to keep away from, one JSON object a line, the list's own description last. Delivered
//! every day, changed every few.

use std::net::IpAddr;

use event::time;
use ipnet::IpNet;

use crate::calendar;
use crate::chance::Chance;
use crate::country::Version;
use crate::quarter::{Delivery, Planted, Quarter};
use crate::spells;

/// A line of one edition was cut on its way.
const CUT: &str = "2024-01-19";

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let edition = edition(day);
    let mut lines = lines(quarter, edition);
    let mut planted =
        Planted { rows: lines.len() as u64 + 1, ignored: 1, unchanged: edition < day && edition >= quarter.first, ..Planted::default() };
    lines.push(description(edition, lines.len()));
    if event::time::day_name(day) == CUT {
        lines[7].truncate(30);
        planted.rejects = 1;
        planted.unchanged = false;
    }
    vec![Delivery {
        feed: "spamhaus/drop-v4",
        file_name: "drop_v4.json".to_owned(),
        arrived_at: calendar::at(day, 4 * 3600),
        bytes: (lines.join("\n") + "\n").into_bytes(),
        planted: Some(planted),
    }]
}

/// The day on which the list of this day was made.
fn edition(day: i32) -> i32 {
    (day - 20..=day).rev().find(|day| Chance::of("editions").at(*day).percent(24)).unwrap_or(day)
}

fn lines(quarter: &Quarter, edition: i32) -> Vec<String> {
    let mut listed: Vec<(IpNet, u64)> = Vec::new();
    for spell in spells::steady("not to be routed", edition, 60, 80) {
        let mut chance = spell.chance("listing");
        let network = chance.pick(&quarter.country.networks_abroad(Version::V4));
        let address: IpAddr = network.address(&mut chance);
        let prefix = IpNet::new(address, chance.pick(&[20, 21, 22, 23, 24])).expect("no longer than an address").trunc();
        if !listed.iter().any(|(other, _)| *other == prefix) {
            listed.push((prefix, 600_000 + chance.below(60_000)));
        }
    }
    listed.sort_unstable();
    let registry = |number: u64| ["ripencc", "apnic", "arin", "lacnic", "afrinic"][number as usize % 5];
    listed
        .iter()
        .map(|(prefix, number)| format!("{{\"cidr\":\"{prefix}\",\"sblid\":\"SBL{number}\",\"rir\":\"{}\"}}", registry(*number)))
        .collect()
}

fn description(edition: i32, rows: usize) -> String {
    let stated = calendar::at(edition, 12_600) / time::SECOND;
    format!(
        "{{\"type\":\"metadata\",\"timestamp\":{stated},\"size\":{},\"records\":{rows},\"copyright\":\"(c) 2024 The Spamhaus Project SLU\",\"terms\":\"https://www.spamhaus.org/drop/terms/\"}}",
        rows * 62
    )
}
