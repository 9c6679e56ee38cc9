//! Every feed under `feeds/`: its sample is read, and what comes out is what its `.expected` says.
//!
//! `cargo xtask bless` sets WAGLAN_BLESS and the files are written anew; a person reads the difference.

use std::fmt::Write as _;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use event::batch::{self, Cell};
use event::{Field, Reject, time};
use feed::catalog::{self, Beginning, File, Unpicked};
use feed::{Arrival, Catalog, Drift, Feed, Reader, Splitter};

/// Deliveries in samples arrive at this moment.
const AT: &str = "2026-03-03 06:00:00";

fn feeds_folder() -> PathBuf {
    PathBuf::from("../../feeds")
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    for provider in std::fs::read_dir(feeds_folder()).expect("feeds/ is there") {
        let provider = provider.expect("readable").path();
        for file in std::fs::read_dir(&provider).expect("readable") {
            let path = file.expect("readable").path();
            let name = path.strip_prefix(feeds_folder()).expect("below feeds/").to_string_lossy().into_owned();
            if name.ends_with(".toml") {
                files.push(File { path: name, text: std::fs::read_to_string(&path).expect("text") });
            }
        }
    }
    files
}

/// A report as it is proofread: events a line each, then rejects, then what else there is to say.
fn read(feed: &Feed, report: &[u8]) -> String {
    let at = time::parse(AT).expect("a time");
    let mut splitter = Splitter::new(feed, report);
    let mut reader = Reader::new(feed, Arrival { at });
    let (mut out, mut rejects, mut ignored, mut seen) = (String::new(), Vec::new(), 0, std::collections::HashSet::new());
    let (mut header, mut columns) = (None, std::collections::BTreeSet::new());
    while let Some(rows) = splitter.next_rows().expect("reads from memory") {
        header = header.or_else(|| splitter.header());
        let piece = reader.read(rows);
        columns.extend(piece.columns);
        for row in 0..piece.events.num_rows() {
            let Some(Cell::Bytes(id)) = batch::cell(piece.events.column_by_name("id").expect("there"), row) else { panic!("an id") };
            if seen.insert(id.to_vec()) {
                event_line(&piece.events, row, &mut out);
            } else {
                writeln!(out, "line {}: repeated", integer(&piece.events, "line", row)).expect("a string");
            }
        }
        rejects.extend(piece.rejects);
        ignored += piece.ignored;
    }
    for Reject { line, column, reason, .. } in &rejects {
        writeln!(out, "rejected line {line}: {}{reason}", column.as_ref().map_or(String::new(), |column| format!("{column} ")))
            .expect("a string");
    }
    if ignored > 0 {
        writeln!(out, "ignored: {ignored}").expect("a string");
    }
    let drift = header
        .or((!columns.is_empty()).then(|| columns.into_iter().collect::<Vec<_>>()))
        .map(|header| Drift::of(feed, &header))
        .unwrap_or_default();
    if !drift.is_none() {
        writeln!(out, "drift: {drift}").expect("a string");
    }
    out
}

fn integer(events: &RecordBatch, column: &str, row: usize) -> i64 {
    match batch::cell(events.column_by_name(column).expect("there"), row) {
        Some(Cell::Integer(number)) => number,
        other => panic!("{column} is {other:?}"),
    }
}

/// `2021-01-17T07:44:46Z c2-server c2 source.ip=192.0.2.1 ...  extra {...}`
fn event_line(events: &RecordBatch, row: usize, out: &mut String) {
    const SHOWN: [Field; 6] =
        [Field::TIME_SOURCE, Field::TIME_OBSERVATION, Field::CLASSIFICATION_TYPE, Field::CLASSIFICATION_TAXONOMY, Field::TLP, Field::EXTRA];
    let text = |column: &str| batch::text(events, column).map_or("?", |array| array.value(row)).to_owned();
    let Some(Cell::Time(when)) = batch::cell(events.column_by_name("time_source").expect("there"), row) else { panic!("a time") };
    write!(out, "{} {} {}", time::iso(when), text("classification_type"), text("kind")).expect("a string");
    for (field, array) in batch::fields(events).filter(|(field, _)| !SHOWN.contains(field)) {
        let value = match batch::cell(array, row) {
            None => continue,
            Some(Cell::Text(text)) => text.to_owned(),
            Some(Cell::Integer(number)) => number.to_string(),
            Some(Cell::Float(number)) => number.to_string(),
            Some(Cell::Boolean(truth)) => truth.to_string(),
            Some(Cell::Time(time)) => time::iso(time),
            Some(Cell::Bytes(_)) => continue,
        };
        let star = if text("asset") == field.name() { "*" } else { "" };
        write!(out, " {star}{field}={value}").expect("a string");
    }
    if let Some(Cell::Text(extra)) = batch::cell(events.column_by_name("extra").expect("there"), row) {
        write!(out, " {extra}").expect("a string");
    }
    out.push('\n');
}

/// A sample of a family holds many reports, each after `==> FILE NAME <==`.
fn reports(sample: &str) -> Vec<(Option<&str>, &str)> {
    if !sample.starts_with("==> ") {
        return vec![(None, sample)];
    }
    let parts = sample.split("==> ").skip(1);
    parts.filter_map(|part| part.split_once(" <==\n")).map(|(name, report)| (Some(name), report)).collect()
}

#[test]
fn every_table_can_be_read() {
    let catalog = Catalog::read(&files());
    assert_eq!(catalog.broken, []);
    assert!(catalog.feeds().count() >= 180, "all feeds are found");
}

#[test]
fn every_sample_gives_what_is_expected() {
    let catalog = Catalog::read(&files());
    let bless = std::env::var_os("WAGLAN_BLESS").is_some();
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| !file.path.ends_with("provider.toml")) {
        let base = feeds_folder().join(file.path.strip_suffix(".toml").expect("a table"));
        let sample = std::fs::read(base.with_extension("sample")).unwrap_or_else(|_| panic!("{} has no sample", file.path));
        let provider = file.path.split('/').next().expect("a folder");
        let id = file.path.strip_suffix(".toml").expect("a table");
        let mut found = String::new();
        match std::str::from_utf8(&sample) {
            Ok(text) if text.starts_with("==> ") => {
                for (name, report) in reports(text) {
                    let name = name.expect("families name their reports");
                    let picked = catalog.pick(provider, name, |_| Beginning::default()).unwrap_or_else(|why| panic!("{name}: {why:?}"));
                    write!(found, "==> {name} <== {}\n{}", picked.id, read(picked, report.as_bytes())).expect("a string");
                }
            }
            _ => found = read(catalog.feed(id).unwrap_or_else(|| panic!("{id} is known")), &sample),
        }
        let expected_path = base.with_extension("expected");
        if bless {
            std::fs::write(&expected_path, &found).expect("writable");
        } else if std::fs::read_to_string(&expected_path).unwrap_or_default() != found {
            wrong.push(file.path.clone());
        }
    }
    assert!(wrong.is_empty(), "differ from what is expected: {wrong:?}; run `cargo xtask bless` and read `git diff feeds/`");
}

#[test]
fn reports_are_picked_by_name_and_by_header() {
    let catalog = Catalog::read(&files());
    let pick = |name: &str| catalog.pick("shadowserver", name, |_| Beginning::default()).map(|feed| feed.id.clone());
    assert_eq!(pick("2026-03-02-event4_sinkhole_http-example-geo.csv"), Ok("shadowserver/event_sinkhole_http".into()));
    assert_eq!(pick("2026-03-02-scan_ssh-example.csv.gz"), Ok("shadowserver/scan_ssh".into()));
    let by_header = |columns: Vec<String>, address: &str| {
        let begins = Beginning { header: columns, address: address.parse().ok() };
        catalog.pick("shadowserver", "attachment.bin", |_| begins).map(|feed| feed.id.as_str())
    };
    let columns = |name: &str| catalog.feed(name).expect("known").columns.clone();
    assert_eq!(by_header(columns("shadowserver/blocklist"), ""), Ok("shadowserver/blocklist"));
    let moved = columns("shadowserver/blocklist").into_iter().rev().collect();
    assert_eq!(by_header(moved, ""), Ok("shadowserver/blocklist"), "columns that have moved are the same columns");
    assert_eq!(by_header(columns("shadowserver/scan_ssh"), "192.0.2.1"), Ok("shadowserver/scan_ssh"));
    assert_eq!(by_header(columns("shadowserver/scan_ssh"), "2001:db8::1"), Ok("shadowserver/scan6_ssh"));
    let either = vec!["shadowserver/scan6_ssh".to_owned(), "shadowserver/scan_ssh".to_owned()];
    assert_eq!(by_header(columns("shadowserver/scan_ssh"), ""), Err(Unpicked::Several(either)));
    let feed = catalog.feed("shadowserver/scan_ssh").expect("known");
    assert_eq!(catalog::day_of(feed, "2026-03-02-scan_ssh-example.csv").as_deref(), Some("2026-03-02"));
}

/// What a row says must not hang on the rows that it comes with.
#[test]
fn a_row_beside_others_is_what_it_is_alone() {
    let catalog = Catalog::read(&files());
    let feed = catalog.feed("intelmq/events").expect("one of ours");
    let other = r#"{"source.ip":"192.0.2.1","classification.type":"c2-server","classification.taxonomy":"malicious-code","tlp":"GREEN",
        "time.source":"2026-03-01T10:00:00+00:00","time.observation":"2026-03-01T11:00:00+00:00"}"#
        .replace('\n', "");
    let row = r#"{"source.ip":"192.0.2.2","classification.type":"c2-server","time.source":"2026-03-01T10:00:00+00:00"}"#;
    let event = |report: &str| {
        let mut splitter = Splitter::new(feed, report.as_bytes());
        let rows = splitter.next_rows().expect("in memory").expect("rows");
        let events = Reader::new(feed, Arrival { at: time::parse(AT).expect("a time") }).read(rows).events;
        let last = events.num_rows() - 1;
        let cell = |column: &str| format!("{:?}", batch::cell(events.column_by_name(column).expect("there"), last));
        ["id", "tlp", "time_observation"].map(cell)
    };
    let (alone, beside) = (event(row), event(&format!("{other}\n{row}\n")));
    assert_eq!(beside, alone);
    assert!(alone[1].contains("amber") && alone[2].contains("1772517600000000"), "{alone:?}");
}
