//! One sinkhole report as large as asked for, for the bench: `event4_sinkhole_http` in its real form, about 420
//! bytes a row, some rows said twice.
//!
//! A row is a pure function of its number, so that a repeat of any earlier row costs what a new one does, and
//! memory does not grow with the report. What a row is made of is written once, as bytes with their quotes and
//! commas; a row is mostly copying.

use std::io::{self, Write};

use event::time;
use ipnet::IpNet;

use crate::chance::{mix, scale};
use crate::country::{Country, Network, Purpose};
use crate::families::{FAMILIES, Family};

/// The header.
pub const COLUMNS: [&str; 39] = [
    "timestamp",
    "protocol",
    "src_ip",
    "src_port",
    "src_asn",
    "src_geo",
    "src_region",
    "src_city",
    "src_hostname",
    "src_naics",
    "src_sector",
    "device_vendor",
    "device_type",
    "device_model",
    "severity",
    "dst_ip",
    "dst_port",
    "dst_asn",
    "dst_geo",
    "dst_region",
    "dst_city",
    "dst_hostname",
    "dst_naics",
    "dst_sector",
    "public_source",
    "infection",
    "family",
    "tag",
    "application",
    "version",
    "event_id",
    "http_url",
    "http_host",
    "http_agent",
    "forwarded_by",
    "ssl_cipher",
    "http_referer",
    "ssl_servername",
    "machine_name",
];

/// What report to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub rows: u64,
    /// Of a hundred rows, how many are exact repeats of earlier ones.
    pub repeats: u64,
    /// The day on which all was seen, in days since 1970.
    pub day: i32,
}

impl Report {
    /// So many rows of 15 January 2024, a tenth of them repeats.
    pub fn of(rows: u64) -> Report {
        Report { rows, repeats: 10, day: crate::calendar::day("2024-01-15") }
    }
}

/// What was written: `rows - repeats` rows differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub rows: u64,
    pub repeats: u64,
    /// The header's included.
    pub bytes: u64,
}

/// Writes the report, a megabyte at a time. The same report is the same bytes.
pub fn write_sinkhole_report(report: &Report, mut out: impl Write) -> io::Result<Written> {
    const BLOCK: usize = 1 << 20;
    let rows = Rows::of(report);
    let mut written = Written { rows: report.rows, ..Written::default() };
    let mut block = Vec::with_capacity(BLOCK + 4096);
    block.extend(format!("\"{}\"\n", COLUMNS.join("\",\"")).bytes());
    for number in 0..report.rows {
        let origin = rows.origin(number);
        written.repeats += u64::from(origin != number);
        rows.push(origin, &mut block);
        if block.len() >= BLOCK {
            written.bytes += block.len() as u64;
            out.write_all(&block)?;
            block.clear();
        }
    }
    written.bytes += block.len() as u64;
    out.write_all(&block)?;
    out.flush()?;
    Ok(written)
}

const SECONDS: u64 = 86_400;
/// Different infected machines, at most.
const MACHINES: u64 = 600_000;
/// A repeat is mostly of one of so many rows before it.
const NEAR: u64 = 5_000;
/// Ports count up from here; there are 2^15 of them.
const FIRST_PORT: u16 = 32_768;

/// All that rows are made of.
struct Rows {
    report: Report,
    /// `2024-01-15 `
    date: String,
    networks: Vec<Source>,
    families: Vec<Malware>,
    devices: Vec<Vec<u8>>,
    servers: Vec<String>,
    hosts: Vec<String>,
    agents: Vec<String>,
    octets: Vec<String>,
}

/// A network that calls come from.
struct Source {
    first: u32,
    size: u64,
    /// From `src_asn` to before `src_hostname`.
    place: Vec<u8>,
    name: &'static str,
    domain: &'static str,
    /// From `src_naics` to before `device_vendor`.
    trade: Vec<u8>,
}

struct Malware {
    /// From `dst_port` to before `dst_hostname`.
    sinkhole: Vec<u8>,
    /// From `public_source` to before `http_url`.
    seen: Vec<u8>,
    path: &'static str,
    encrypted: bool,
}

impl Rows {
    fn of(report: &Report) -> Rows {
        let country = Country::made_up();
        Rows {
            report: *report,
            date: format!("{} ", time::day_name(report.day)),
            networks: sources(&country),
            families: FAMILIES.iter().map(malware).collect(),
            devices: DEVICES.iter().map(|device| cells(device)).collect(),
            servers: (0..24).map(|number| format!("203.0.113.{}", 10 + number * 9)).collect(),
            hosts: (0..700)
                .map(|number| format!("{}{number}.example.{}", ["c2-", "gate", "cdn", "up"][number % 4], ["net", "org", "com"][number % 3]))
                .collect(),
            agents: agents(),
            octets: (0..256).map(|octet| octet.to_string()).collect(),
        }
    }

    /// The row that this one says again, or the row itself.
    fn origin(&self, number: u64) -> u64 {
        if !self.is_repeat(number) {
            return number;
        }
        let drawn = mix(number ^ 0x005e_ed0f_0000_0000);
        let back = if drawn & 3 == 0 { number } else { number.min(NEAR) };
        let mut origin = number - 1 - scale(drawn, back);
        while self.is_repeat(origin) {
            origin -= 1;
        }
        origin
    }

    /// The first row never is.
    fn is_repeat(&self, number: u64) -> bool {
        number > 0 && scale(mix(number ^ 0x4e9e_a700_0000_0000), 100) < self.report.repeats
    }

    fn push(&self, number: u64, out: &mut Vec<u8>) {
        let call = mix(number ^ 0xca11_0000_0000_0000);
        let second = number * SECONDS / self.report.rows;
        // Some machines call more often than others.
        let machine = mix(scale(call.min(call.rotate_left(32)), MACHINES) ^ 0x3ac4_0000_0000_0000);
        let detail = mix(machine ^ 0xde7a_0000_0000_0000);
        let network = pick(&self.networks, machine);
        let address = network.first + scale(machine.rotate_left(16), network.size) as u32;
        let family = pick(&self.families, detail);

        out.push(b'"');
        out.extend_from_slice(self.date.as_bytes());
        self.push_clock(second, out);
        out.extend_from_slice(b"\",\"tcp\",\"");
        self.push_address(address, b'.', out);
        out.extend_from_slice(b"\",\"");
        self.push_port(number, second, out);
        out.extend_from_slice(&network.place);
        if detail & 3 == 1 {
            out.extend_from_slice(network.name.as_bytes());
            self.push_address(address, b'-', out);
            out.push(b'.');
            out.extend_from_slice(network.domain.as_bytes());
        }
        out.extend_from_slice(&network.trade);
        out.extend_from_slice(pick(&self.devices, detail << 8).as_slice());
        out.extend_from_slice(b"critical\",\"");
        out.extend_from_slice(pick(&self.servers, call << 24).as_bytes());
        out.extend_from_slice(&family.sinkhole);
        out.extend_from_slice(&family.seen);
        self.push_request(family, call, machine, detail, out);
    }

    fn push_clock(&self, second: u64, out: &mut Vec<u8>) {
        for (place, number) in [second / 3600, second / 60 % 60, second % 60].into_iter().enumerate() {
            if place > 0 {
                out.push(b':');
            }
            out.extend([b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
        }
    }

    fn push_address(&self, address: u32, between: u8, out: &mut Vec<u8>) {
        for (place, octet) in address.to_be_bytes().into_iter().enumerate() {
            if place > 0 {
                out.push(between);
            }
            out.extend_from_slice(self.octets[usize::from(octet)].as_bytes());
        }
    }

    /// No two rows of a second have the same port, up to 2^15 rows a second: so no two rows are equal by chance.
    fn push_port(&self, number: u64, second: u64, out: &mut Vec<u8>) {
        let first_of_second = (second * self.report.rows).div_ceil(SECONDS);
        let port = FIRST_PORT + ((number - first_of_second).wrapping_mul(0x2545).wrapping_add(mix(second)) & 0x7fff) as u16;
        let mut left = port;
        let mut digits = [0; 5];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        out.extend_from_slice(&digits);
    }

    /// From `http_url` to the row's end.
    fn push_request(&self, family: &Malware, call: u64, machine: u64, detail: u64, out: &mut Vec<u8>) {
        let is_line = detail & 16 == 0;
        if is_line {
            out.extend_from_slice(b"GET ");
        }
        out.extend_from_slice(family.path.as_bytes());
        out.extend_from_slice(b"?id=");
        push_hex(call, out);
        if is_line {
            out.extend_from_slice(b" HTTP/1.1");
        }
        out.extend_from_slice(b"\",\"");
        let host = pick(&self.hosts, detail << 24 ^ call << 60).as_bytes();
        out.extend_from_slice(host);
        out.extend_from_slice(b"\",\"");
        out.extend_from_slice(pick(&self.agents, machine << 32).as_bytes());
        out.extend_from_slice(b"\",\"");
        if detail & 31 == 1 {
            out.extend_from_slice(b"10.0.0.");
            out.extend_from_slice(self.octets[(call & 255) as usize].as_bytes());
        }
        out.extend_from_slice(if family.encrypted { b"\",\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\",\"" } else { b"\",\"\",\"" });
        if call & 31 == 7 {
            out.extend_from_slice(b"http://www.example.org/page?x=1,2");
        }
        out.extend_from_slice(b"\",\"");
        if family.encrypted {
            out.extend_from_slice(host);
        }
        out.extend_from_slice(b"\",\"");
        if detail & 15 == 3 {
            out.extend_from_slice(b"DESKTOP-");
            push_hex(machine >> 32, out);
        }
        out.extend_from_slice(b"\"\n");
    }
}

fn pick<T>(from: &[T], drawn: u64) -> &T {
    &from[scale(drawn, from.len() as u64) as usize]
}

fn push_hex(number: u64, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 8];
    for (place, byte) in text.iter_mut().enumerate() {
        *byte = DIGITS[(number >> (place * 4) & 15) as usize];
    }
    out.extend_from_slice(&text);
}

/// `","one","two","`: the cells between the quotes of their neighbours.
fn between(cells: &[&str]) -> Vec<u8> {
    format!("\",\"{}\",\"", cells.join("\",\"")).into_bytes()
}

/// `one","two","`: the first cell's quote is there already.
fn cells(cells: &[&str]) -> Vec<u8> {
    format!("{}\",\"", cells.join("\",\"")).into_bytes()
}

const DEVICES: [[&str; 3]; 8] = [
    ["", "", ""],
    ["", "", ""],
    ["", "", ""],
    ["", "", ""],
    ["", "", ""],
    ["Example Networks", "router", "EX-100"],
    ["Example Vision", "ip-camera", "Cam 7"],
    ["Example Storage", "nas", "Shelf 2"],
];

/// Three calls in five from Marisle, and homes before all else.
fn sources(country: &Country) -> Vec<Source> {
    let mut sources = Vec::new();
    for network in &country.networks {
        let times = match (network.is_ours(), network.purpose) {
            (true, Purpose::Homes) => 6,
            (true, Purpose::Mobile | Purpose::Offices) => 2,
            (true, Purpose::Hosting) => 1,
            (false, Purpose::Homes) => 7,
            (false, _) => 1,
        };
        sources.extend((0..times).filter_map(|_| source(network)));
    }
    sources
}

/// What is known of an IPv4 network.
fn source(network: &Network) -> Option<Source> {
    let IpNet::V4(prefix) = network.prefix else { return None };
    let (system, place) = (network.system, network.place);
    let (region, city) = (place.region.to_uppercase(), place.city.to_uppercase());
    Some(Source {
        first: prefix.network().to_bits() + 1,
        size: (1 << (32 - prefix.prefix_len())) - 2,
        place: between(&[&system.number.to_string(), place.country, &region, &city]),
        name: if network.purpose == Purpose::Homes { "customer-" } else { "host-" },
        domain: system.domain,
        trade: between(&[system.naics, system.sector]),
    })
}

fn malware(family: &Family) -> Malware {
    let encrypted = family.port == "443";
    let application = if encrypted { "https" } else { "http" };
    let sinkhole = between(&[family.port, "65551", "XW", "", "", "", "0", ""]);
    Malware { sinkhole, seen: cells(&["deepwater", family.name, "", "http", application, "", ""]), path: family.path, encrypted }
}

/// Two hundred browsers, in the words in which they introduce themselves.
fn agents() -> Vec<String> {
    const SYSTEMS: [&str; 5] =
        ["Windows NT 10.0; Win64; x64", "Windows NT 6.1; WOW64", "Windows NT 6.3", "X11; Linux x86_64", "Linux; Android 10; EX-7"];
    let chrome = |system: &str, version: u32| {
        format!("Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36")
    };
    let old = |system: &str, version: u32| format!("Mozilla/4.0 (compatible; MSIE {}.0; {system})", 5 + version);
    let agent = |number: u32| {
        let system = SYSTEMS[number as usize % SYSTEMS.len()];
        if !number.is_multiple_of(4) { old(system, number / 5) } else { chrome(system, 80 + number / 5) }
    };
    (0..200).map(agent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::HashSet;
    use std::net::Ipv4Addr;

    fn written(report: &Report) -> (Written, Vec<u8>) {
        let mut out = Vec::new();
        let written = write_sinkhole_report(report, &mut out).expect("memory takes it");
        (written, out)
    }

    fn cells_of(line: &str) -> Vec<&str> {
        let line = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).expect("all cells are quoted");
        line.split("\",\"").collect()
    }

    #[test]
    fn rows_have_the_real_form() {
        let (_, report) = written(&Report::of(2_000));
        let text = String::from_utf8(report).expect("plain text");
        let mut lines = text.lines();
        assert_eq!(cells_of(lines.next().expect("a header")), COLUMNS);
        let mut before = "";
        for line in lines.clone() {
            let cells = cells_of(line);
            assert_eq!(cells.len(), COLUMNS.len(), "{line}");
            assert!(cells[2].parse::<Ipv4Addr>().is_ok() && cells[15].parse::<Ipv4Addr>().is_ok(), "{line}");
            assert!(cells[0].starts_with("2024-01-15 "), "{line}");
        }
        let first_seen = lines
            .filter(|line| {
                cells_of(line)[0] >= before && {
                    before = cells_of(line)[0];
                    true
                }
            })
            .count();
        assert!(first_seen > 1_500, "times rise but for repeats: {first_seen}");
    }

    #[test]
    fn exactly_the_repeats_are_said_before() {
        for repeats in [0, 10, 60] {
            let (written, report) = written(&Report { repeats, ..Report::of(50_000) });
            let text = String::from_utf8(report).expect("plain text");
            let lines: Vec<&str> = text.lines().skip(1).collect();
            let different: HashSet<&str> = lines.iter().copied().collect();
            assert_eq!((lines.len() as u64, different.len() as u64), (written.rows, written.rows - written.repeats), "{repeats} percent");
            let expected = 500 * repeats;
            assert!(written.repeats.abs_diff(expected) <= 300, "{} of {expected}", written.repeats);
        }
    }

    #[test]
    fn cardinalities_are_those_of_a_real_report() {
        let (written, report) = written(&Report::of(100_000));
        let text = String::from_utf8(report).expect("plain text");
        let different = |column: usize| text.lines().skip(1).map(|line| cells_of(line)[column]).collect::<HashSet<_>>().len();
        assert_eq!(written.bytes, text.len() as u64);
        assert!((380..440).contains(&(written.bytes / written.rows)), "{} bytes a row", written.bytes / written.rows);
        assert!(different(2) > 60_000, "addresses: {}", different(2));
        assert!(different(31) > 80_000, "URLs: {}", different(31));
        assert_eq!((different(25), different(33)), (30, 200), "families and agents");
        assert!(different(10) < 12, "sectors: {}", different(10));
    }

    #[test]
    fn the_same_report_is_the_same_bytes() {
        let name = |report: &Report| event::id::name(&written(report).1);
        assert_eq!(name(&Report::of(10_000)), name(&Report::of(10_000)));
        assert_ne!(name(&Report::of(10_000)), name(&Report { day: 19_000, ..Report::of(10_000) }));
    }
}
