//! The whole quarter read with the feeds' own tables: what is found is what was planted.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use event::batch::{self, Cell};
use event::time;
use feed::catalog::File;
use feed::unpack::{Caps, Packing, unpack, unzip};
use feed::{Arrival, Catalog, Drift, Feed, Reader, Splitter};
use testkit::{Delivery, Planted, Quarter, deliveries};

fn catalog() -> Catalog {
    let folder = Path::new("../feeds");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).expect("feeds/ is there").map(|entry| entry.expect("readable").path()).collect()
    };
    let tables = entries(folder).into_iter().flat_map(|provider| entries(&provider));
    let file = |path: PathBuf| File {
        text: std::fs::read_to_string(&path).expect("text"),
        path: path.strip_prefix(folder).expect("below feeds/").to_string_lossy().into_owned(),
    };
    let files: Vec<File> = tables.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).map(file).collect();
    Catalog::read(&files)
}

fn unpacked(delivery: &Delivery) -> Vec<u8> {
    let (size, mut bytes) = (delivery.bytes.len() as u64, Vec::new());
    if Packing::of(&delivery.bytes) == Packing::Zip {
        unzip(Cursor::new(&delivery.bytes), size, Caps::default(), |_, file| file.read_to_end(&mut bytes).map(drop)).expect("a sound zip");
    } else {
        let mut input = unpack(delivery.bytes.as_slice(), size, Caps::default()).expect("a sound packing");
        input.read_to_end(&mut bytes).expect("a sound packing");
    }
    bytes
}

/// What the feed has said so far, by the ids of events and the names of reports.
#[derive(Default)]
struct Said {
    events: HashSet<Vec<u8>>,
    reports: HashSet<String>,
}

/// Reads a delivery as whoever keeps count would.
fn found(feed: &Feed, delivery: &Delivery, said: &mut Said) -> Planted {
    let bytes = unpacked(delivery);
    let mut splitter = Splitter::new(feed, bytes.as_slice());
    let mut reader = Reader::new(feed, Arrival { at: delivery.arrived_at });
    let mut found = Planted { unchanged: !said.reports.insert(event::id::name(&delivery.bytes)), ..Planted::default() };
    while let Some(rows) = splitter.next_rows().expect("reads from memory") {
        let piece = reader.read(rows);
        found.rows += piece.rows;
        found.rejects += piece.rejects.len() as u64;
        found.ignored += piece.ignored;
        let ids = piece.events.column_by_name("id").expect("every event has one");
        let extra = batch::text(&piece.events, "extra").expect("every event has one");
        for row in 0..piece.events.num_rows() {
            let Some(Cell::Bytes(id)) = batch::cell(ids, row) else { panic!("an id") };
            found.repeats += u64::from(!said.events.insert(id.to_vec()));
            found.implausible += u64::from(extra.value(row).contains("\"time_stated\""));
        }
    }
    let drift = splitter.header().map(|header| Drift::of(feed, &header)).unwrap_or_default();
    (found.gained, found.lost) = (leaked(drift.gained), leaked(drift.lost));
    found
}

/// Names that live as long as those that were planted.
fn leaked(names: Vec<String>) -> Vec<&'static str> {
    names.into_iter().map(|name| &*name.leak()).collect()
}

#[derive(Default)]
struct Sum {
    deliveries: u64,
    found: Planted,
}

#[test]
fn what_is_found_is_what_was_planted() {
    let catalog = catalog();
    let mut said: BTreeMap<&str, Said> = BTreeMap::new();
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let (mut wrong, mut arrived_at) = (String::new(), 0);
    for delivery in deliveries(&Quarter::first_of_2024()) {
        assert!(arrived_at <= delivery.arrived_at, "{} comes before what is earlier", delivery.file_name);
        arrived_at = delivery.arrived_at;
        let feed = catalog.feed(delivery.feed).unwrap_or_else(|| panic!("there is no feed {}", delivery.feed));
        let found = found(feed, &delivery, said.entry(delivery.feed).or_default());
        if let Some(planted) = &delivery.planted
            && (Planted { days_late: 0, ..planted.clone() }) != found
        {
            let day = time::iso(delivery.arrived_at);
            writeln!(wrong, "{} of {day}\n  planted {planted:?}\n  found   {found:?}", delivery.file_name).expect("a string");
        }
        add(sums.entry(delivery.feed).or_default(), &delivery, &found);
    }
    assert_eq!(wrong, "");
    assert_eq!(table(&sums), EXPECTED.trim_start(), "\n{}", table(&sums));
}

fn add(sum: &mut Sum, delivery: &Delivery, found: &Planted) {
    sum.deliveries += 1;
    sum.found.rows += found.rows;
    // What a real feed holds is its table's concern.
    if delivery.planted.is_some() {
        sum.found.rejects += found.rejects;
        sum.found.repeats += found.repeats;
    }
}

fn table(sums: &BTreeMap<&str, Sum>) -> String {
    let mut text = String::from("feed                                  deliveries    rows rejects repeats\n");
    let mut total = Sum::default();
    let line = |text: &mut String, name: &str, sum: &Sum| {
        let Planted { rows, rejects, repeats, .. } = sum.found;
        writeln!(text, "{name:40}{:8} {rows:7} {rejects:7} {repeats:7}", sum.deliveries).expect("a string");
    };
    for (name, sum) in sums {
        line(&mut text, name, sum);
        total.deliveries += sum.deliveries;
        total.found.rows += sum.found.rows;
        total.found.rejects += sum.found.rejects;
        total.found.repeats += sum.found.repeats;
    }
    line(&mut text, "all", &total);
    text
}

/// All that the quarter holds. Whoever changes the country changes this, and sees what became of it.
const EXPECTED: &str = "
feed                                  deliveries    rows rejects repeats
abuse-ch/feodotracker                         91    2714       0       0
abuse-ch/threatfox                            91    4004       0    1980
abuse-ch/urlhaus                              91   19110       0   18270
blocklist-de/ssh                              82   19101       1       0
cins/army                                    182   15772       2    7840
dshield/block                                 91    1820       0       0
openphish/feed                               181   19910       0    8730
phishtank/online-valid                        91   21706       0       0
shadowserver/compromised_website              91    2606       0       0
shadowserver/device_id                        13    2161       0       0
shadowserver/event6_sinkhole_http             91    4484       0       0
shadowserver/event_honeypot_brute_force       91   30820       2       0
shadowserver/event_honeypot_ddos_amp          91    5818       0       0
shadowserver/event_sinkhole_http              92  136337      10    1746
shadowserver/scan_dns                         92   17764       0     184
shadowserver/scan_rdp                         91   11606       0       0
shadowserver/scan_ssl                         13   13860       0       0
spamhaus/drop-v4                              91    4272       1       0
tweetfeed/daily                               72   40948       0       0
all                                         1728  374813      16   38750
";

/// Days at the border of two tables, with doubled and packed deliveries among them.
fn days() -> Quarter {
    Quarter::between("2024-02-14", "2024-02-20")
}

fn name(part: impl Fn(Delivery) -> Vec<u8>) -> String {
    event::id::name(&deliveries(&days()).flat_map(part).collect::<Vec<u8>>())
}

#[test]
fn deliveries_are_the_same_bytes_every_time() {
    let name = || name(|delivery| [delivery.file_name.into_bytes(), delivery.bytes].concat());
    assert_eq!(name(), name());
}

/// Unpacked, since what packs may be another version there.
#[test]
fn reports_are_the_same_bytes_on_every_machine() {
    assert_eq!(name(|delivery| unpacked(&delivery)), "cc7086aeda835d11c633e0343482c53e");
}

#[test]
fn a_piece_of_the_quarter_holds_what_the_whole_does() {
    let all = |quarter: Quarter| -> Vec<(String, i64, Vec<u8>)> {
        deliveries(&quarter).map(|delivery| (delivery.file_name, delivery.arrived_at, delivery.bytes)).collect()
    };
    let two_days = all(Quarter::between("2024-02-05", "2024-02-06"));
    let one_day = all(Quarter::between("2024-02-06", "2024-02-06"));
    assert!(!one_day.is_empty() && one_day.iter().all(|delivery| two_days.contains(delivery)));
}
