//! Who called home: the quarter's main report, and the same for IPv6.

use event::time::{self, Micros};

use super::{End, Packing, Report, again, columns, device, from, seen, to};
use crate::calendar;
use crate::chance::Chance;
use crate::country::{Country, Version};
use crate::families::{AGENTS, FAMILIES, Family};
use crate::forms::csv::{Cell, Csv};
use crate::machines::Machine;
use crate::quarter::{Delivery, Planted, Quarter};
use crate::sinkhole::COLUMNS;
use crate::spells;

/// Delivered twice, byte for byte, three hours apart.
const TWICE: &str = "2024-01-24";
/// Five days late.
const LATE: &str = "2024-02-06";

type Mishap = fn(&mut Csv, &mut Planted);

/// What went wrong on which day.
const MISHAPS: &[(&str, Mishap)] = &[
    ("2024-01-09", lines_cut),
    ("2024-01-17", quotes_astray),
    ("2024-01-30", addresses_wrong),
    ("2024-02-21", header_within),
    ("2024-02-28", times_impossible),
    ("2024-03-07", line_of_300_kilobytes),
    ("2024-03-19", rows_said_twice),
];

fn lines_cut(csv: &mut Csv, planted: &mut Planted) {
    csv.cut_row(40, 12, planted);
    csv.cut_row(41, 1, planted);
    csv.cut_row(600, 38, planted);
    csv.cut_report(planted);
}

fn quotes_astray(csv: &mut Csv, planted: &mut Planted) {
    csv.stray_quote(15, "http_agent", "Mozilla/5.0 (Linux; compatible)");
    // A row's last cell beyond the header is let pass where it is empty.
    csv.set(16, "machine_name", "DESKTOP-0000000");
    csv.stray_quote_and_comma(16, "http_agent", "Mozilla/5.0 (Linux; other)", planted);
    csv.set(300, "http_agent", "Mozilla\0/5.0");
    csv.set(301, "http_agent", "an agent says \"hello\", and more");
}

fn addresses_wrong(csv: &mut Csv, planted: &mut Planted) {
    csv.wrong_cell(5, "src_ip", "999.16.1.2", planted);
    csv.wrong_cell(6, "src_ip", "240.16.1", planted);
    csv.wrong_cell(7, "src_ip", "", planted);
    csv.wrong_cell(8, "timestamp", "2024-13-45 25:00:00", planted);
    // Where it called is no more than detail.
    csv.set(9, "dst_ip", "sinkhole");
    csv.set(10, "src_port", "70000");
}

fn header_within(csv: &mut Csv, planted: &mut Planted) {
    csv.header_within(500, planted);
}

fn times_impossible(csv: &mut Csv, planted: &mut Planted) {
    csv.implausible(0, "timestamp", "1970-01-01 00:00:00", planted);
    csv.implausible(1, "timestamp", "2036-02-07 06:28:15", planted);
}

fn line_of_300_kilobytes(csv: &mut Csv, _: &mut Planted) {
    csv.set(250, "http_url", format!("/{}", "x".repeat(300_000)));
}

fn rows_said_twice(csv: &mut Csv, planted: &mut Planted) {
    for row in 0..30 {
        csv.say_again(row * 31, row * 31 + 20, planted);
    }
}

pub(in crate::forms) fn http(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let csv = report(&quarter.country, day, Version::V4);
    let mut report = Report::of("shadowserver/event_sinkhole_http", "event4_sinkhole_http", day, csv);
    let date = time::day_name(day);
    for (_, mishap) in MISHAPS.iter().filter(|(on, _)| *on == date) {
        mishap(&mut report.csv, &mut report.planted);
    }
    report.packing = match date.get(..7) {
        Some("2024-02") => Packing::Gzip,
        Some("2024-03") => Packing::Zstandard,
        _ => Packing::Plain,
    };
    if date == LATE {
        report.planted.days_late = 5;
    }
    let delivery = report.delivery();
    let second = (date == TWICE).then(|| again(&delivery, 3));
    [delivery].into_iter().chain(second).collect()
}

pub(in crate::forms) fn http6(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let csv = report(&quarter.country, day, Version::V6);
    vec![Report::of("shadowserver/event6_sinkhole_http", "event6_sinkhole_http", day, csv).delivery()]
}

/// One machine, seen once.
struct Call<'c> {
    at: Micros,
    nth: u32,
    machine: Machine<'c>,
    family: &'static Family,
}

fn report(country: &Country, day: i32, version: Version) -> Csv {
    let mut calls = calls(country, day, version);
    calls.sort_by_key(|call| (call.at, call.machine.spell.seed));
    let mut csv = Csv::new(COLUMNS.to_vec());
    debug_assert!(COLUMNS.starts_with(&[columns::FROM, columns::TO, columns::SEEN].concat()));
    calls.iter().for_each(|call| csv.push(row(country, call, day)));
    csv
}

fn calls(country: &Country, day: i32, version: Version) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    for family in FAMILIES {
        for machine in machines(country, family, day, version) {
            if !machine.is_awake(day) {
                continue;
            }
            let times = 1 + machine.spell.chance("times").at(day).below(3) as u32;
            calls.extend((0..times).map(|nth| Call { at: calendar::at(day, machine.second(day, nth)), nth, machine, family }));
        }
    }
    calls
}

fn machines<'c>(country: &'c Country, family: &'static Family, day: i32, version: Version) -> Vec<Machine<'c>> {
    let (name, share) = match version {
        Version::V4 => (family.name.to_owned(), 100),
        Version::V6 => (format!("{} by IPv6", family.name), 4),
    };
    let born = |from| spells::born(&name, from, family.births * family.curve.percent(from) * share / 10_000, family.lasts);
    (day - spells::LONGEST..=day)
        .flat_map(born)
        .map(|spell| spells::Spell { ends: family.ends(&spell), ..spell })
        .filter(|spell| spell.is_on(day))
        .map(|spell| Machine::of(spell, country, &family.spread, version))
        .collect()
}

fn row(country: &Country, call: &Call<'_>, day: i32) -> Vec<Cell> {
    let mut chance = call.machine.spell.chance("call").at(day).at(call.nth);
    let end = End::of(&call.machine, day, call.nth);
    let sinkhole = country.networks.iter().find(|network| network.system.number == SINKHOLES).expect("the sinkholes' network");
    let server = End { network: sinkhole, address: sinkhole.address(&mut Chance::of(call.family.name).at(chance.below(3) as i64)) };
    let port = (1024 + chance.below(64_000)).to_string();
    let mut cells = from(calendar::stamp(call.at).into(), "tcp", &end, port, device(&call.machine), "critical");
    cells.extend(to(&server, call.family.port));
    cells.extend(seen(call.family.name, "http", if call.family.port == "443" { "https" } else { "http" }));
    cells.extend(request(call, &mut chance));
    cells
}

const SINKHOLES: u32 = 65551;

/// What it asked for: from `http_url` on.
fn request(call: &Call<'_>, chance: &mut Chance) -> [Cell; 8] {
    let host: Cell = format!(
        "{}{}.example.net",
        call.family.path.trim_matches(|c: char| !c.is_ascii_alphabetic()).get(..1).unwrap_or("c"),
        chance.below(40)
    )
    .into();
    let path = format!("{}{}", call.family.path, if chance.percent(60) { format!("?id={}", chance.hex(12)) } else { String::new() });
    let url = if chance.percent(50) { format!("GET {path} HTTP/1.1") } else { path };
    let encrypted = call.family.port == "443";
    let proxy: Cell = if chance.percent(4) { format!("10.0.{}.{}", chance.below(256), chance.below(256)).into() } else { "".into() };
    let machine: Cell =
        if chance.percent(6) { format!("DESKTOP-{}", call.machine.spell.chance("name").hex(7).to_uppercase()).into() } else { "".into() };
    [
        url.into(),
        host.clone(),
        call.machine.spell.chance("agent").pick(AGENTS).into(),
        proxy,
        if encrypted { "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" } else { "" }.into(),
        if chance.percent(3) { "http://www.example.org/page?x=1,2" } else { "" }.into(),
        if encrypted { host } else { "".into() },
        machine,
    ]
}
