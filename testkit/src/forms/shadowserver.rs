//! Shadowserver's reports: all cells quoted, columns in runs that many reports share, one file a report and day,
//! which arrives in the morning after.

pub(super) mod amplification;
pub(super) mod brute_force;
mod columns;
pub(super) mod scans;
pub(super) mod sinkhole;
pub(super) mod website;

use std::net::IpAddr;

use event::time::{self, Micros};

use super::csv::{Cell, Csv};
use crate::calendar;
use crate::chance::Chance;
use crate::country::Network;
use crate::machines::{Machine, reverse_name};
use crate::pack;
use crate::quarter::{Delivery, Planted};

/// How a report travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstandard,
    Zip,
}

/// One day's report.
struct Report {
    feed: &'static str,
    /// The word in its file's name.
    word: &'static str,
    day: i32,
    csv: Csv,
    planted: Planted,
    packing: Packing,
}

impl Report {
    fn of(feed: &'static str, word: &'static str, day: i32, csv: Csv) -> Report {
        let planted = Planted { rows: csv.lines.len() as u64, ..Planted::default() };
        Report { feed, word, day, csv, planted, packing: Packing::Plain }
    }

    fn delivery(self) -> Delivery {
        let bytes = self.csv.bytes();
        self.delivery_of(&bytes)
    }

    fn delivery_of(self, bytes: &[u8]) -> Delivery {
        let plain = format!("{}-{}-marisle-geo.csv", time::day_name(self.day), self.word);
        let (file_name, bytes) = match self.packing {
            Packing::Plain => (plain, bytes.to_vec()),
            Packing::Gzip => (format!("{plain}.gz"), pack::gzip(&plain, bytes)),
            Packing::Zstandard => (format!("{plain}.zst"), pack::zstandard(bytes)),
            Packing::Zip => (format!("{plain}.zip"), pack::zip(&plain, bytes)),
        };
        let minutes = Chance::of(self.feed).at(self.day).below(45) as i64;
        let arrived_at = calendar::at(self.day + 1 + self.planted.days_late, 7 * 3600 + minutes * 60);
        Delivery { feed: self.feed, file_name, arrived_at, bytes, planted: Some(self.planted) }
    }
}

/// A second time, some hours later, with nothing new in it.
fn again(first: &Delivery, hours: i64) -> Delivery {
    let mut planted = first.planted.clone().expect("made up");
    assert_eq!(planted.rejects, 0, "what was rejected twice would count once or twice");
    planted.repeats = planted.rows;
    planted.unchanged = true;
    Delivery { arrived_at: first.arrived_at + hours * 3600 * time::SECOND, planted: Some(planted), ..first.clone() }
}

/// One end of a connection, as Shadowserver's own tables have it.
#[derive(Clone, Copy)]
struct End<'c> {
    network: &'c Network,
    address: IpAddr,
}

impl End<'_> {
    fn of<'c>(machine: &Machine<'c>, day: i32, nth: u32) -> End<'c> {
        End { network: machine.network, address: machine.address(day, nth) }
    }

    /// Asn, country, region, city.
    fn place(&self) -> [Cell; 4] {
        let place = self.network.place;
        // One network in fifty is in another country, by these tables.
        let wrong = Chance::of("misplaced").at(i64::from(neighbourhood(self.address))).percent(2);
        let (country, region, city) = if wrong { ("XO", "", "") } else { (place.country, place.region, place.city) };
        [self.network.system.number.to_string().into(), country.into(), region.to_uppercase().into(), city.to_uppercase().into()]
    }

    fn name(&self) -> Cell {
        let is_named = Chance::of("named").at(i64::from(neighbourhood(self.address))).percent(70);
        if is_named { reverse_name(self.network, self.address).into() } else { "".into() }
    }
}

/// A number for the addresses that are near this one.
fn neighbourhood(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits() >> 8,
        IpAddr::V6(address) => (address.to_bits() >> 88) as u32,
    }
}

/// The columns of `columns::SCAN`.
fn scan(at: Micros, severity: &'static str, end: &End<'_>, service: (&'static str, &'static str), tag: &'static str) -> Vec<Cell> {
    let [asn, country, region, city] = end.place();
    let name = end.name();
    let named_by: Cell = if name.is_empty() { "" } else { "ptr" }.into();
    let system = end.network.system;
    let (protocol, port) = service;
    vec![
        calendar::stamp(at).into(),
        severity.into(),
        end.address.to_string().into(),
        protocol.into(),
        port.into(),
        name,
        tag.into(),
        asn,
        country,
        region,
        city,
        system.naics.into(),
        named_by,
        system.sector.into(),
    ]
}

/// The columns of `columns::FROM`.
fn from(at: Cell, protocol: &'static str, end: &End<'_>, port: String, device: [&'static str; 3], severity: &'static str) -> Vec<Cell> {
    let [asn, country, region, city] = end.place();
    let system = end.network.system;
    let [vendor, kind, model] = device;
    vec![
        at,
        protocol.into(),
        end.address.to_string().into(),
        port.into(),
        asn,
        country,
        region,
        city,
        end.name(),
        system.naics.into(),
        system.sector.into(),
        vendor.into(),
        kind.into(),
        model.into(),
        severity.into(),
    ]
}

/// The columns of `columns::TO`.
fn to(end: &End<'_>, port: &'static str) -> Vec<Cell> {
    let [asn, country, region, city] = end.place();
    let system = end.network.system;
    vec![end.address.to_string().into(), port.into(), asn, country, region, city, "".into(), system.naics.into(), system.sector.into()]
}

/// The columns of `columns::SEEN`, less the four that are empty in most reports.
fn seen(infection: &'static str, tag: &'static str, application: &'static str) -> Vec<Cell> {
    ["deepwater", infection, "", tag, application, "", ""].map(Cell::from).to_vec()
}

/// What stands at a customer's end, as far as it shows.
const DEVICES: &[[&str; 3]] = &[
    ["", "", ""],
    ["", "", ""],
    ["", "", ""],
    ["", "", ""],
    ["Example Networks", "router", "EX-100"],
    ["Example Networks", "router", "EX-210"],
    ["Example Vision", "ip-camera", "Cam 7"],
    ["Example Storage", "nas", "Shelf 2"],
];

fn device(machine: &Machine<'_>) -> [&'static str; 3] {
    machine.spell.chance("device").pick(DEVICES)
}
