//! Enriches a million rows with made-up tables of real size, and tells what a row costs.
//!
//! `cargo run --release -p enrich --example speed [FILE.mmdb...]`, with files instead of made-up tables if given.
//!
//! `... --example speed FOLDER [VALUES]` asks the warning lists of a folder instead, about their own entries, and about the values of a
//! file, a line each, if given.
#![expect(clippy::print_stdout, reason = "it exists to print a measurement")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use enrich::mmdb::{self, About, RecordSize};
use enrich::warning_lists::{Value, WarningList, WarningLists};
use enrich::{Defaults, Part, Tables, enrich};
use event::{Field, value};
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
            rows += black_box(enrich(tables, &Defaults::default(), batch)).num_rows();
        }
        assert_eq!(rows, ROWS);
        best = best.min(start.elapsed());
    }
    println!("{what:60} {:>7.1} ms, {:>5.0} ns a row", best.as_secs_f64() * 1e3, best.as_nanos() as f64 / ROWS as f64);
}

/// A value that is kept, of a line of text: what it looks like says what it is.
#[derive(Debug)]
enum Kept {
    Address(IpAddr),
    Network(IpNet),
    Host(String),
    Url(String),
    Hash(String),
    Mail(String),
}

impl Kept {
    fn of(text: &str) -> Option<Kept> {
        let at_rest = |field| value::text(field, text, &mut String::new()).ok().map(str::to_owned);
        if let Ok(address) = value::ip(text) {
            return Some(Kept::Address(address));
        }
        if text.contains("://") {
            return at_rest(Field::SOURCE_URL).map(Kept::Url);
        }
        if matches!(text.len(), 32 | 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(Kept::Hash(text.to_ascii_lowercase()));
        }
        match text.contains('@') {
            true => Some(Kept::Mail(text.to_owned())),
            false => value::network(text).ok().map(Kept::Network).or_else(|| at_rest(Field::SOURCE_FQDN).map(Kept::Host)),
        }
    }

    fn sort(&self) -> &'static str {
        match self {
            Kept::Address(_) => "addresses",
            Kept::Network(_) => "networks",
            Kept::Host(_) => "host names",
            Kept::Url(_) => "URLs",
            Kept::Hash(_) => "hashes",
            Kept::Mail(_) => "mail addresses",
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Kept::Address(address) => Value::Address(*address),
            Kept::Network(network) => Value::Network(*network),
            Kept::Host(name) => Value::Host(name),
            Kept::Url(url) => Value::Url(url),
            Kept::Hash(hash) => Value::Hash(hash),
            Kept::Mail(mail) => Value::Mail(mail),
        }
    }
}

/// The texts of all files, by name.
fn documents(folder: &Path) -> Vec<String> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.iter().map(|path| std::fs::read_to_string(path).expect("a file of text")).collect()
}

/// Bytes that this process has in memory, where the system tells.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}

fn measure_warning_lists(folder: &Path, values: Option<&Path>) {
    let documents = documents(folder);
    let (before, start) = (resident(), Instant::now());
    let list = |text: &String| Arc::new(WarningList::parse(text).expect("a list"));
    let parsed: Vec<_> = documents.iter().map(list).collect();
    let (entries, read) = (parsed.iter().map(|list| list.len()).sum::<usize>(), start.elapsed());
    let lists = WarningLists::of(parsed).expect("lists");
    println!(
        "{} lists of {entries} entries read in {read:.1?}, put together in {:.1?}, {:.1} MB more in memory",
        documents.len(),
        start.elapsed() - read,
        resident().saturating_sub(before) as f64 / 1e6,
    );
    for list in lists.lists().iter().filter(|list| list.unusable_count > 0) {
        println!("  {}: {} unusable entries, such as {}", list.name, list.unusable_count, list.unusable[0]);
    }
    let entries = documents.iter().flat_map(|text| {
        let list = serde_json::from_str::<serde_json::Value>(text).expect("JSON")["list"].take();
        list.as_array().into_iter().flatten().filter_map(|entry| Kept::of(entry.as_str()?)).collect::<Vec<_>>()
    });
    ask("their own entries", &lists, &entries.collect::<Vec<_>>());
    let mut numbers = Numbers(0x5eed);
    ask("random", &lists, &(0..ROWS).map(|_| Kept::Address(IpAddr::V4(numbers.address()))).collect::<Vec<_>>());
    if let Some(path) = values {
        let text = std::fs::read_to_string(path).expect("a file of text");
        ask(&path.display().to_string(), &lists, &text.lines().filter_map(|line| Kept::of(line.trim())).collect::<Vec<_>>());
    }
}

/// What a value of each sort costs, how many are on a list, and which list has most of them.
fn ask(what: &str, lists: &WarningLists, values: &[Kept]) {
    for sort in ["addresses", "networks", "host names", "URLs", "hashes", "mail addresses"] {
        let values: Vec<&Kept> = values.iter().filter(|value| value.sort() == sort).collect();
        if values.is_empty() {
            continue;
        }
        let (mut found, mut best) = (Vec::new(), Duration::MAX);
        for _ in 0..5 {
            let start = Instant::now();
            for value in &values {
                black_box(lists.hits(value.value(), &mut found));
            }
            best = best.min(start.elapsed());
        }
        let (mut listed, mut by_list) = (0, vec![0; lists.lists().len()]);
        for value in &values {
            let hits = lists.hits(value.value(), &mut found);
            listed += usize::from(!hits.is_empty());
            hits.iter().for_each(|list| by_list[usize::from(*list)] += 1);
        }
        let share = |count: usize| 100. * count as f64 / values.len() as f64;
        let (most, list) = by_list.iter().zip(lists.lists()).max_by_key(|(count, _)| **count).expect("a list");
        let nanoseconds = best.as_nanos() as f64 / values.len() as f64;
        println!(
            "{what}: {} {sort}, {nanoseconds:.0} ns each, {:.1}% listed, {:.1}% by \"{}\"",
            values.len(),
            share(listed),
            share(*most),
            list.name
        );
    }
}

fn main() {
    let paths: Vec<_> = std::env::args().skip(1).map(std::path::PathBuf::from).collect();
    if let [folder, values @ ..] = &paths[..]
        && folder.is_dir()
    {
        return measure_warning_lists(folder, values.first().map(|path| path.as_path()));
    }
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
            threads.spawn(|| plain.iter().for_each(|batch| drop(black_box(enrich(&all, &Defaults::default(), batch)))));
        }
    });
    println!("two threads sharing the tables, a million rows each: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
}
