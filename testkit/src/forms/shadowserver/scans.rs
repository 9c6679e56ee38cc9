//! What scans of the whole address space found open: resolvers and desktops daily, certificates and devices once a
//! week.

use super::{End, Packing, Report, again, columns, scan};
use crate::calendar;
use crate::chance::Chance;
use crate::country::{Country, Version};
use crate::forms::csv::{Cell, Csv};
use crate::machines::{Machine, Spread};
use crate::pack;
use crate::quarter::{Delivery, Quarter};
use crate::spells;

const RESOLVERS: Spread = Spread { homes: 46, mobile: 0, offices: 34, hosting: 18 };
const DESKTOPS: Spread = Spread { homes: 12, mobile: 0, offices: 60, hosting: 26 };
const SERVERS: Spread = Spread { homes: 10, mobile: 0, offices: 44, hosting: 44 };
const DEVICES: Spread = Spread { homes: 70, mobile: 0, offices: 30, hosting: 0 };

/// Delivered again in the evening, packed.
const RESOLVERS_TWICE: &str = "2024-02-20";
/// From then on with a byte order mark and the line ends of another system.
const RESOLVERS_FROM_ELSEWHERE: &str = "2024-03-01";
/// From then on without `jarm`, and with two columns that the table does not know.
const DESKTOPS_CHANGED: &str = "2024-02-15";
const DESKTOPS_GAINED: [&str; 2] = ["nla_required", "rdp_build"];
const DESKTOPS_LOST: &str = "jarm";

/// A machine found by a scan, at a second of the day.
type Found<'c> = (i64, Machine<'c>);

fn found<'c>(country: &'c Country, name: &str, day: i32, hundredths: u64, mean: u64, spread: &Spread) -> Vec<Found<'c>> {
    let spells = spells::steady(name, day, hundredths, mean).into_iter();
    // A scan misses one machine in twelve.
    let answering = spells.filter(|spell| spell.chance("answers").at(day).percent(92));
    let mut found: Vec<Found<'c>> = answering
        .map(|spell| (spell.chance("scanned").at(day).below(86_400) as i64, Machine::of(spell, country, spread, Version::V4)))
        .collect();
    found.sort_by_key(|(second, machine)| (*second, machine.spell.seed));
    found
}

fn rows<'c>(
    found: &[Found<'c>],
    day: i32,
    kind: (&'static str, (&'static str, &'static str), &'static str),
    mut more: impl FnMut(&Machine<'c>) -> Vec<Cell>,
) -> Vec<Vec<Cell>> {
    let (severity, service, tag) = kind;
    let row = |(second, machine): &Found<'c>| {
        let mut cells = scan(calendar::at(day, *second), severity, &End::of(machine, day, 0), service, tag);
        cells.extend(more(machine));
        cells
    };
    found.iter().map(row).collect()
}

pub(in crate::forms) fn resolvers(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let date = event::time::day_name(day);
    let mut csv = Csv::new([columns::SCAN, &["dns_version", "min_amplification"]].concat());
    let found = found(&quarter.country, "resolvers", day, 780, 27, &RESOLVERS);
    let more = |machine: &Machine<'_>| {
        let mut chance = machine.spell.chance("resolver");
        let version = chance.pick(&["", "dnsmasq-2.80", "9.11.4-P2", "Example DNS 3, \"home\"", "unbound 1.13.1"]);
        vec![version.into(), format!("{}.{:04}", 1 + chance.below(40), chance.below(10_000)).into()]
    };
    rows(&found, day, ("medium", ("udp", "53"), "dns"), more).into_iter().for_each(|cells| csv.push(cells));
    if date.as_str() >= RESOLVERS_FROM_ELSEWHERE {
        (csv.mark, csv.end) = (true, "\r\n");
    }
    let delivery = Report::of("shadowserver/scan_dns", "scan_dns", day, csv).delivery();
    let second = (date == RESOLVERS_TWICE).then(|| {
        let second = again(&delivery, 11);
        let planted = second.planted.map(|planted| crate::Planted { unchanged: false, ..planted });
        let bytes = pack::gzip(&second.file_name, &second.bytes);
        Delivery { file_name: format!("{}.gz", second.file_name), bytes, planted, ..second }
    });
    [delivery].into_iter().chain(second).collect()
}

pub(in crate::forms) fn desktops(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let changed = day >= calendar::day(DESKTOPS_CHANGED);
    let tail: &[&str] = if changed { &DESKTOPS_GAINED } else { &[DESKTOPS_LOST] };
    let mut csv = Csv::new(
        [
            columns::SCAN,
            &["handshake", "rdp_protocol"],
            columns::CERTIFICATE,
            &["ssl_version"],
            columns::KEYS,
            columns::FINGERPRINTS,
            &["tlsv13_support", "tlsv13_cipher"],
            tail,
        ]
        .concat(),
    );
    let found = found(&quarter.country, "desktops", day, 520, 26, &DESKTOPS);
    let more = |machine: &Machine<'_>| {
        let mut cells: Vec<Cell> = vec!["TLSv1.2".into(), "RDP".into()];
        cells.extend(certificate(machine));
        cells.push("2".into());
        cells.extend(fingerprints(machine));
        cells.extend(["N", ""].map(Cell::from));
        match changed {
            true => cells.extend([machine.spell.chance("rdp").pick(&["Y", "N"]), "10.0.20348"].map(Cell::from)),
            false => cells.push(machine.spell.chance("jarm").hex(62).into()),
        }
        cells
    };
    rows(&found, day, ("high", ("tcp", "3389"), "rdp"), more).into_iter().for_each(|cells| csv.push(cells));
    let mut report = Report::of("shadowserver/scan_rdp", "scan_rdp", day, csv);
    if changed {
        report.planted.gained = DESKTOPS_GAINED.to_vec();
        report.planted.lost = vec![DESKTOPS_LOST];
    }
    vec![report.delivery()]
}

/// The columns of `columns::CERTIFICATE`: one that the machine made for itself.
fn certificate(machine: &Machine<'_>) -> Vec<Cell> {
    let mut chance = machine.spell.chance("certificate");
    let name = format!("WIN-{}", chance.hex(11).to_uppercase());
    let made = machine.spell.born - chance.below(150) as i32;
    vec![
        "2048".into(),
        name.clone().into(),
        name.into(),
        calendar::stamp(calendar::at(made, 0)).into(),
        calendar::stamp(calendar::at(made + 183, 0)).into(),
        colons(&mut chance, 20),
        chance.hex(32).to_uppercase().into(),
    ]
}

/// The columns of `columns::KEYS` and `columns::FINGERPRINTS`.
fn fingerprints(machine: &Machine<'_>) -> Vec<Cell> {
    let mut chance = machine.spell.chance("fingerprints");
    vec![
        "sha256WithRSAEncryption".into(),
        "rsaEncryption".into(),
        colons(&mut chance, 32),
        colons(&mut chance, 64),
        colons(&mut chance, 16),
    ]
}

/// `0A:1B:..`, so many bytes.
fn colons(chance: &mut Chance, bytes: usize) -> Cell {
    let pairs: Vec<String> = (0..bytes).map(|_| chance.hex(2).to_uppercase()).collect();
    pairs.join(":").into()
}

/// On Sundays: what speaks TLS, with all that its certificate and its page say.
pub(in crate::forms) fn certificates(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    if calendar::weekday(day) != 6 {
        return Vec::new();
    }
    let mut csv = Csv::new(
        [
            columns::SCAN,
            &["handshake", "cipher_suite", "ssl_poodle"],
            columns::CERTIFICATE,
            &["ssl_version"],
            columns::KEYS,
            columns::NAMES,
            &["freak_vulnerable", "freak_cipher_suite"],
            columns::FINGERPRINTS,
            columns::PAGE,
            &["jarm"],
        ]
        .concat(),
    );
    let found = found(&quarter.country, "servers", day, 2100, 60, &SERVERS);
    let more = |machine: &Machine<'_>| {
        let mut cells: Vec<Cell> = ["TLSv1.2", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "N"].map(Cell::from).to_vec();
        cells.extend(certificate(machine));
        cells.push("2".into());
        let [algorithm, key, sha256, sha512, md5] = <[Cell; 5]>::try_from(fingerprints(machine)).expect("five columns");
        cells.extend([algorithm, key]);
        cells.extend(names(machine));
        cells.extend(["N".into(), "".into(), sha256, sha512, md5]);
        cells.extend(page(machine, day));
        cells.push(machine.spell.chance("jarm").hex(62).into());
        cells
    };
    rows(&found, day, ("info", ("tcp", "443"), "ssl"), more).into_iter().for_each(|cells| csv.push(cells));
    let mut report = Report::of("shadowserver/scan_ssl", "scan_ssl", day, csv);
    report.packing = Packing::Zip;
    vec![report.delivery()]
}

/// The columns of `columns::NAMES`, of which few certificates have many.
fn names(machine: &Machine<'_>) -> Vec<Cell> {
    let mut cells = vec![Cell::from(""); columns::NAMES.len()];
    cells[0] = machine.network.system.name.into();
    cells[2] = machine.network.place.country.into();
    cells[4] = machine.network.place.city.into();
    cells[12] = "Example Trust, Ltd".into();
    cells
}

/// The columns of `columns::PAGE`.
fn page(machine: &Machine<'_>, day: i32) -> Vec<Cell> {
    let mut chance = machine.spell.chance("page");
    let (code, reason) =
        chance.pick(&[("200", "OK"), ("200", "OK"), ("301", "Moved Permanently"), ("401", "Unauthorized"), ("403", "Forbidden")]);
    let asks: Cell = if code == "401" { "Basic realm=\"Router, 2nd floor\"" } else { "" }.into();
    let length = 200 + chance.below(40_000);
    let date = calendar::mail_stamp(calendar::at(day, 43_200));
    let server = chance.pick(&["nginx", "Apache", "", "Microsoft-IIS/10.0", "Example Web/2"]);
    let mut cells: Vec<Cell> = ["HTTP/1.1", code, reason, "text/html", "close"].map(Cell::from).to_vec();
    cells.extend([asks, "".into(), server.into(), length.to_string().into(), "".into(), date.into()]);
    cells.extend(
        ["Y", "Y", "N", "N", "unknown", "x509: certificate signed by unknown authority", "Y", "TLS_AES_128_GCM_SHA256"].map(Cell::from),
    );
    cells
}

/// On Tuesdays: what kinds of device there are.
pub(in crate::forms) fn devices(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    if calendar::weekday(day) != 1 {
        return Vec::new();
    }
    let mut csv = Csv::new([columns::SCAN, &["device_vendor", "device_type", "device_model", "device_version"]].concat());
    let found = found(&quarter.country, "devices", day, 330, 55, &DEVICES);
    let more = |machine: &Machine<'_>| {
        let mut chance = machine.spell.chance("device");
        let device = chance.pick(&[
            ["Example Networks", "router", "EX-100"],
            ["Example Networks", "router", "EX-210"],
            ["Example Vision", "ip-camera", "Cam 7"],
            ["Example Storage", "nas", "Shelf 2"],
            ["Example Print", "printer", "P4, \"duplex\""],
        ]);
        let version = format!("{}.{}.{}", 1 + chance.below(8), chance.below(60), chance.below(10));
        device.map(Cell::from).into_iter().chain([version.into()]).collect()
    };
    rows(&found, day, ("info", ("tcp", "80"), "device-id"), more).into_iter().for_each(|cells| csv.push(cells));
    let mut report = Report::of("shadowserver/device_id", "device_id", day, csv);
    report.packing = Packing::Zstandard;
    vec![report.delivery()]
}
