//! Enriches a million rows with made-up tables of real size, and tells what a row costs.
//!
//! `cargo run --release -p enrich --example speed [FILE.mmdb...]`, with files instead of made-up tables if given.
#![expect(clippy::print_stdout, reason = "it exists to print a measurement")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use enrich::mmdb::{self, About, RecordSize};
use enrich::{Defaults, Part, Tables, enrich};
use ipnet::IpNet;

const ROWS: usize = 1_000_000;
const BATCH: usize = 50_000;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn address(&mut self) -> Ipv4Addr {
        // Half of the addresses are in a sixteenth of the space, as a country's reports are.
        let number = self.next();
        let mask = if number & 1 << 40 == 0 { 0x0fff_ffff } else { 0xdfff_ffff };
        Ipv4Addr::from(number as u32 & mask)
    }
}

fn table(kind: &str, networks: usize, record: impl Fn(u64) -> String) -> Vec<u8> {
    let mut numbers = Numbers(0x5eed);
    let records: Vec<_> = (0..networks)
        .map(|_| {
            let prefix = 16 + (numbers.next() % 9) as u8;
            let network = IpNet::new(IpAddr::V4(numbers.address()), prefix).expect("a prefix of IPv4").trunc();
            (network, record(numbers.next()).parse().expect("TOML"))
        })
        .collect();
    mmdb::write(&records, &About { kind, build_epoch: 1_700_000_000, record_size: RecordSize::Bits24 })
}

fn country(number: u64) -> String {
    let letter = |number: u64| char::from(b'A' + (number % 26) as u8);
    let code = [letter(number), letter(number / 26 % 10)].iter().collect::<String>();
    format!("country = {{ iso_code = \"{code}\", names = {{ de = \"Land {code}\", en = \"Country of {code}\", fr = \"Pays {code}\" }} }}")
}

fn system(number: u64) -> String {
    // A few large ones have most networks, as it is: as many from 1 to 10 as from 1,000 to 10,000.
    let number = 70_000f64.powf((number % 1_000_000) as f64 / 1e6) as u64;
    format!("autonomous_system_number = {number}\nautonomous_system_organization = \"Example Organisation {number} Limited\"")
}

fn batches(stated: bool) -> Vec<RecordBatch> {
    let mut numbers = Numbers(0xbad_5eed);
    (0..ROWS / BATCH)
        .map(|_| {
            let addresses: Vec<String> = (0..BATCH).map(|_| numbers.address().to_string()).collect();
            let mut columns: Vec<(&str, ArrayRef)> = vec![
                ("asset", Arc::new(StringArray::new_repeated("source.ip", BATCH))),
                ("source_ip", Arc::new(StringArray::from(addresses))),
                ("malware_name", Arc::new(StringArray::new_repeated("mirai", BATCH))),
                ("extra", Arc::new(StringArray::new_repeated(r#"{"tag":"mirai","naics":0,"sector":"Communications"}"#, BATCH))),
            ];
            if stated {
                columns
                    .push(("source_asn", Arc::new(Int64Array::from_iter_values((0..BATCH).map(|_| (numbers.next() % 70_000 + 1) as i64)))));
                columns.push(("source_as_name", Arc::new(StringArray::new_repeated("EXAMPLE-AS-NAME", BATCH))));
                columns.push(("source_geolocation_cc", Arc::new(StringArray::new_repeated("XA", BATCH))));
                columns.push(("source_geolocation_city", Arc::new(StringArray::new_repeated("EXAMPLE CITY", BATCH))));
            }
            event::batch::from_columns(BATCH, columns)
        })
        .collect()
}

fn measure(what: &str, tables: &Tables, batches: &[RecordBatch]) {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        let mut rows = 0;
        for batch in batches {
            rows += std::hint::black_box(enrich(tables, &Defaults::default(), batch)).num_rows();
        }
        assert_eq!(rows, ROWS);
        best = best.min(start.elapsed());
    }
    println!("{what:60} {:>7.1} ms, {:>5.0} ns a row", best.as_secs_f64() * 1e3, best.as_nanos() as f64 / ROWS as f64);
}

fn main() {
    let part = |name: &str, bytes: Vec<u8>| Arc::new(Part::addresses(name, bytes).expect("a table"));
    let files: Vec<_> = std::env::args().skip(1).map(|path| part(&path, std::fs::read(&path).expect("a file"))).collect();
    let addresses = match files.is_empty() {
        true => vec![part("countries", table("Countries", 300_000, country)), part("systems", table("Systems", 400_000, system))],
        false => files,
    };
    let scope = "countries = [\"XA\"]\ntlds = [\"example\"]\nasns = [64496]\nnetworks = [\"192.0.2.0/24\"]";
    let scope = Arc::new(Part::scope("scope", 0, scope).expect("a scope"));
    let aliases = include_str!("../../../tables/malware-aliases.toml");
    let aliases = Arc::new(Part::aliases("aliases", 0, aliases).expect("aliases"));

    let (plain, stated) = (batches(false), batches(true));
    measure("no tables", &Tables::default(), &plain);
    measure("the first table", &Tables::of(vec![addresses[0].clone()]), &plain);
    let all = Tables::of([addresses, vec![scope, aliases]].concat());
    measure("all tables, scope, aliases", &all, &plain);
    measure("the same, every row's four stated values replaced", &all, &stated);

    let start = Instant::now();
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| plain.iter().for_each(|batch| drop(std::hint::black_box(enrich(&all, &Defaults::default(), batch)))));
        }
    });
    println!("two threads sharing the tables, a million rows each: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
}
