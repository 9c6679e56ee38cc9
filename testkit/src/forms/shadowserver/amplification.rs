//! Who was flooded through open amplifiers: another victim each time, and storms of them.

use super::{End, Report, columns, from, seen, to};
use crate::calendar;
use crate::chance::Chance;
use crate::country::{Country, Purpose, Version};
use crate::forms::csv::{Cell, Csv};
use crate::quarter::{Delivery, Quarter};

/// (protocol's name, port, request)
const AMPLIFIERS: &[(&str, &str, &str)] =
    &[("dns", "53", "dns ANY example.com"), ("ntp", "123", "monlist"), ("cldap", "389", "rootDSE"), ("ssdp", "1900", "ssdp:all")];

/// A storm, and how many times as many victims.
const STORMS: &[(&str, u64)] = &[("2024-01-26", 3), ("2024-03-12", 6), ("2024-03-13", 5)];
/// Nobody was flooded: a header and no row.
const QUIET: &str = "2024-02-03";
/// Written on a clock nine hours east of UTC.
const ELSEWHERE: std::ops::RangeInclusive<&str> = "2024-02-19"..="2024-02-23";

pub(in crate::forms) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let date = event::time::day_name(day);
    let storm = STORMS.iter().find(|(on, _)| *on == date).map_or(1, |(_, times)| *times);
    let count = if date == QUIET { 0 } else { (45 + Chance::of("floods").at(day).below(25)) * storm };
    let mut seconds: Vec<i64> = (0..count).map(|nth| Chance::of("flood").at(day).at(nth as i64).below(86_400) as i64).collect();
    seconds.sort_unstable();
    let mut csv = Csv::new([columns::FROM, columns::TO, columns::SEEN, columns::AMPLIFICATION].concat());
    for (nth, second) in seconds.into_iter().enumerate() {
        csv.push(row(&quarter.country, day, second, nth as i64, ELSEWHERE.contains(&date.as_str())));
    }
    vec![Report::of("shadowserver/event_honeypot_ddos_amp", "event4_honeypot_ddos_amp", day, csv).delivery()]
}

fn row(country: &Country, day: i32, second: i64, nth: i64, elsewhere: bool) -> Vec<Cell> {
    let mut chance = Chance::of("victim").at(day).at(nth);
    let purpose = chance.pick(&[Purpose::Homes, Purpose::Homes, Purpose::Offices, Purpose::Hosting, Purpose::Hosting]);
    let network = chance.pick(&country.networks_for(purpose, Version::V4));
    let victim = End { network, address: network.address(&mut chance) };
    let abroad = chance.pick(&country.networks_abroad(Version::V4));
    let honeypot = End { network: abroad, address: abroad.address(&mut chance) };
    let (name, port, request) = chance.pick(AMPLIFIERS);
    let at = calendar::at(day, second);
    let stamp = |at| if elsewhere { calendar::stamp_east(at, 9) } else { calendar::stamp(at) };
    let (duration, packets) = (1 + chance.below(1800) as i64, 20 + chance.below(90_000));
    let mut cells = from(stamp(at).into(), "udp", &victim, (1 + chance.below(65_000)).to_string(), ["", "", ""], "info");
    cells.extend(to(&honeypot, port));
    cells.extend(seen("ddos-amplification", "ddos-amp", name));
    let told: [Cell; 7] = [
        request.into(),
        packets.to_string().into(),
        (packets * 64).to_string().into(),
        stamp(at + duration * 1_000_000).into(),
        duration.to_string().into(),
        format!("{}.{}", packets / duration as u64, chance.below(10)).into(),
        (packets / duration as u64 * 3).to_string().into(),
    ];
    cells.extend(told);
    cells
}
