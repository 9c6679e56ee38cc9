//! Who guessed passwords at honeypots, and which: those must never be kept.

use super::{End, Report, columns, device, from, seen, to};
use crate::calendar;
use crate::chance::Chance;
use crate::country::{Country, Version};
use crate::forms::csv::{Cell, Csv};
use crate::machines::{Machine, Spread};
use crate::quarter::{Delivery, Quarter};
use crate::spells;

const SPREAD: Spread = Spread { homes: 55, mobile: 2, offices: 10, hosting: 28 };

const SERVICES: &[(&str, &str, &str)] =
    &[("ssh", "22", "SSH-2.0-Go"), ("ssh", "22", "SSH-2.0-libssh2_1.10.0"), ("telnet", "23", ""), ("rdp", "3389", ""), ("ftp", "21", "")];
const ACCOUNTS: &[&str] = &["root", "admin", "administrator", "user", "test", "oracle", "postgres", "ubuntu", "guest", "support"];
const PASSWORDS: &[&str] =
    &["123456", "admin", "password", "example-password-1", "P@ssw0rd, \"the usual\"", "root", "1234", "qwerty", "", "lighthouse-7"];

/// Which day has rows without a place.
const ADDRESSES_WRONG: &str = "2024-02-08";

pub(in crate::forms) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let header = [columns::FROM, columns::TO, columns::SEEN, columns::BRUTE_FORCE].concat();
    let mut csv = Csv::new(header);
    let mut rows = Vec::new();
    for spell in spells::steady("brute force", day, 1100, 13) {
        let machine = Machine::of(spell, &quarter.country, &SPREAD, Version::V4);
        if machine.is_awake(day) {
            let times = 1 + spell.chance("guesses").at(day).below(5) as u32;
            rows.extend((0..times).map(|nth| (machine.second(day, nth), nth, machine)));
        }
    }
    rows.sort_by_key(|(second, nth, machine)| (*second, machine.spell.seed, *nth));
    rows.iter().for_each(|(second, nth, machine)| csv.push(row(&quarter.country, machine, day, *second, *nth)));
    let mut report = Report::of("shadowserver/event_honeypot_brute_force", "event4_honeypot_brute_force", day, csv);
    if event::time::day_name(day) == ADDRESSES_WRONG {
        report.csv.wrong_cell(3, "src_ip", "unknown", &mut report.planted);
        report.csv.wrong_cell(90, "src_ip", "240.300.1.1", &mut report.planted);
    }
    vec![report.delivery()]
}

fn row(country: &Country, machine: &Machine<'_>, day: i32, second: i64, nth: u32) -> Vec<Cell> {
    let mut chance = machine.spell.chance("guess").at(day).at(nth);
    let (service, port, client) = machine.spell.chance("service").pick(SERVICES);
    let honeypot = chance.pick(&country.networks_abroad(Version::V4));
    let honeypot = End { network: honeypot, address: honeypot.address(&mut Chance::of("honeypots").at(chance.below(60) as i64)) };
    let at = calendar::at(day, second);
    let stamp = |micros: i64| format!("{}.{:06}", calendar::stamp(at + micros), micros.rem_euclid(1_000_000));
    let end = End::of(machine, day, nth);
    let mut cells = from(calendar::stamp(at).into(), "tcp", &end, (1024 + chance.below(64_000)).to_string(), device(machine), "high");
    cells.extend(to(&honeypot, port));
    cells.extend(seen("", "brute-force", service));
    let length = chance.below(20_000_000) as i64;
    let told: [Cell; 6] =
        [service.into(), stamp(0).into(), stamp(length).into(), client.into(), chance.pick(ACCOUNTS).into(), chance.pick(PASSWORDS).into()];
    cells.extend(told);
    let payload = chance.percent(5).then(|| chance.hex(32));
    cells.push(
        payload.as_ref().map_or("".into(), |hash| format!("http://files.example.net/{}.sh", hash.get(..4).unwrap_or_default()).into()),
    );
    cells.push(payload.unwrap_or_default().into());
    cells.extend(["", "", "", "", "", "", "", "", "iot"].map(Cell::from));
    cells
}
