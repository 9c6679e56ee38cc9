//! Reports in every shape, by the real feeds' tables: the way that deliveries take through the program.
//!
//! An input's first line names a feed of the shape, the rest is its report. Where the line names none, its bytes choose one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use arrow::array::{Array, RecordBatch};
use event::batch::{self, Cell};
use event::{Field, Type, time, value};
use feed::catalog::File;
use feed::table::{Csv, CsvHeader, Format};
use feed::{Arrival, Catalog, Feed, Reader, Rows, Splitter};

/// Deliveries arrive at this moment: 3 March 2026.
pub(crate) const ARRIVAL: Arrival = Arrival { at: 1_772_517_600_000_000 };

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../feeds")
}

pub(crate) fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut files = Vec::new();
        for provider in std::fs::read_dir(folder()).expect("feeds/ is there") {
            for file in std::fs::read_dir(provider.expect("readable").path()).expect("readable") {
                let path = file.expect("readable").path();
                let name = path.strip_prefix(folder()).expect("below feeds/").to_string_lossy().into_owned();
                if name.ends_with(".toml") {
                    files.push(File { path: name, text: std::fs::read_to_string(&path).expect("text") });
                }
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    })
}

pub(crate) fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let own = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Catalog::read(&files().iter().cloned().chain(OWN.iter().map(own)).collect::<Vec<_>>())
    })
}

/// Tables of shapes that no feed of ours has.
const OWN: &[(&str, &str)] = &[
    (
        "example/pairs.toml",
        "format = \"pairs\"\nmeans = \"scanner\"\nkind = \"bot\"\nasset = \"source.ip\"\ndelivers = \"observations\"\ntlp = \"amber\"\n\
         [pairs]\ncomment = \"#\"\n[rows]\nsrc = \"source.ip\"\nspt = \"source.port\"\ndate = \"time.source\"\n",
    ),
    (
        "example/prose.toml",
        "format = \"prose\"\nmeans = \"blacklist\"\nkind = \"listing\"\nasset = [\"source.url\", \"source.fqdn\", \"source.ip\"]\n\
         delivers = \"additions\"\ntlp = \"amber\"\n[prose]\nbare = true\n[rows.value]\nby = \"type\"\nip = \"source.ip\"\n\
         \"ip:port\" = [\"source.ip | before :\", \"source.port | after :\"]\ndomain = \"source.fqdn\"\nurl = \"source.url\"\notherwise = \"extra\"\n",
    ),
];

/// What their reports may look like.
const OWN_REPORTS: &[(&str, &str)] = &[
    (
        "example/pairs",
        "# log\nMar  3 06:00:00 host date=2026-03-03T05:59:00Z src=192.0.2.1 spt=4711 msg=\"log \\\"in\\\"\" act=drop\nsrc=192.0.2.2\n",
    ),
    (
        "example/prose",
        "The bot at 192.0.2.1 talks to 198.51.100[.]7:8080 (see hxxps://bad[.]example[.]org/a,b?x=(1)).\nbad[.]example[.]com, CVE-2021-44228\n",
    ),
];

fn shape_of(feed: &Feed) -> &'static str {
    match feed.format {
        Format::Csv(_) => "csv",
        Format::Html(_) => "html",
        Format::Json { .. } => "json",
        Format::JsonLines(_) => "jsonl",
        Format::Lines(_) => "lines",
        Format::Misp => "misp",
        Format::Pairs(_) => "pairs",
        Format::Prose(_) => "prose",
        Format::Stix => "stix",
        Format::Xml { .. } => "xml",
    }
}

/// Each feed's sample after its name; a family's reports each by itself.
fn samples() -> Vec<(&'static Feed, Vec<u8>)> {
    let mut samples = Vec::new();
    for file in files().iter().filter(|file| !file.path.ends_with("provider.toml")) {
        let id = file.path.strip_suffix(".toml").expect("a table");
        let Ok(sample) = std::fs::read(folder().join(format!("{id}.sample"))) else { continue };
        let seed = |feed: &Feed, report: &[u8]| [feed.id.as_bytes(), b"\n", report].concat();
        match std::str::from_utf8(&sample).ok().and_then(|text| text.strip_prefix("==> ")) {
            Some(text) => {
                let provider = id.split('/').next().unwrap_or_default();
                for (name, report) in text.split("\n==> ").filter_map(|part| part.split_once(" <==\n")) {
                    let feed = catalog().pick(provider, name, |_| Default::default());
                    samples.extend(feed.ok().map(|feed| (feed, seed(feed, report.as_bytes()))));
                }
            }
            None => samples.extend(catalog().feed(id).map(|feed| (feed, seed(feed, &sample)))),
        }
    }
    samples.extend(OWN_REPORTS.iter().filter_map(|(id, report)| Some((catalog().feed(id)?, format!("{id}\n{report}").into_bytes()))));
    samples
}

pub(crate) fn seeds(shape: &str) -> Vec<Vec<u8>> {
    samples().into_iter().filter(|(feed, _)| shape_of(feed) == shape).map(|(_, seed)| seed).collect()
}

pub(crate) fn all_seeds() -> Vec<Vec<u8>> {
    samples().into_iter().map(|(_, seed)| seed).collect()
}

/// The feed that an input names, of the given ones, and the report.
pub(crate) fn feed_and_report<'i>(feeds: &[&'static Feed], input: &'i [u8]) -> Option<(&'static Feed, &'i [u8])> {
    let place = input.iter().position(|byte| *byte == b'\n')?;
    let (name, report) = input.split_at(place);
    let named = feeds.iter().find(|feed| feed.id.as_bytes() == name);
    let chosen = || feeds.get(name.iter().map(|byte| usize::from(*byte)).sum::<usize>() % feeds.len());
    Some((named.or_else(chosen)?, report.get(1..)?))
}

pub(crate) fn fuzz(shape: &str, input: &[u8]) {
    static FEEDS: OnceLock<Vec<&Feed>> = OnceLock::new();
    let feeds = FEEDS.get_or_init(|| catalog().feeds().filter(|feed| shape_of(feed) == shape).collect());
    if let Some((feed, report)) = feed_and_report(feeds, input) {
        check(feed, report);
    }
}

/// A row of JSON by itself.
pub(crate) fn fuzz_row(input: &[u8]) {
    if let Ok(line) = std::str::from_utf8(input) {
        feed::shape::is_straight(line);
    }
}

pub(crate) fn row_seeds() -> Vec<Vec<u8>> {
    let reports = ["json", "jsonl"].into_iter().flat_map(seeds);
    let lines = |report: Vec<u8>| report.split(|byte| *byte == b'\n').skip(1).map(<[u8]>::to_vec).collect::<Vec<_>>();
    reports.flat_map(lines).filter(|line| line.starts_with(b"{")).collect()
}

/// All that holds of any report.
pub(crate) fn check(feed: &Feed, report: &[u8]) {
    let whole = Said::of(feed, Splitter::new(feed, report));
    whole.accounts_for_every_line(feed, report);
    // Any sizes will do, as long as the same input always has the same.
    let sum = report.iter().fold(report.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let (block, drop) = (1 + sum % 61, 1 + sum / 61 % 17);
    // Whether CR alone ends lines is told by the first block.
    let ends_with_cr = |piece: &[u8]| piece.contains(&b'\r') && !piece.contains(&b'\n');
    if !report.contains(&b'\r') || ends_with_cr(report) == ends_with_cr(&report[..report.len().min(block)]) && report.is_ascii() {
        let pieces = Said::of(feed, Splitter::new(feed, Drops { bytes: report, size: drop }).in_blocks_of(block));
        let how = format!("in blocks of {block}, and whole");
        require_same(&pieces.rows, &whole.rows, &how);
        require_same(&pieces.rejects, &whole.rejects, &how);
        require_same(&pieces.events, &whole.events, &how);
    }
}

/// Shows where two readings part.
#[track_caller]
pub(crate) fn require_same(one: &[String], other: &[String], how: &str) {
    let place = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(one.len().min(other.len()));
    let (first, second) = (one.get(place), other.get(place));
    assert!(first == second, "{how}: number {place} of {} and {}:\n{first:?}\n{second:?}", one.len(), other.len());
}

/// Hands out a few bytes at a time, as a slow connection may.
struct Drops<'b> {
    bytes: &'b [u8],
    size: usize,
}

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.size);
        self.bytes.read(&mut buffer[..length])
    }
}

/// What a report says, in a form in which the edges of blocks do not show.
#[derive(Default)]
struct Said {
    rows: Vec<String>,
    /// By line, and the text there.
    lines: Vec<(u64, String)>,
    rejects: Vec<String>,
    rejected: Vec<(u64, String)>,
    events: Vec<String>,
}

impl Said {
    fn of(feed: &Feed, mut splitter: Splitter<impl Read>) -> Said {
        let (mut said, mut reader) = (Said::default(), Reader::new(feed, ARRIVAL));
        while let Some(rows) = splitter.next_rows().expect("reads from memory") {
            assert!(!rows.is_empty() || !matches!(feed.format, Format::Csv(_)), "a block of nothing");
            said.add_rows(&rows);
            let (height, cut) = (rows.len() as u64, rows.rejects.len() as u64);
            let piece = reader.read(rows);
            assert_eq!(piece.rows, height + cut);
            assert_eq!(
                piece.events.num_rows() as u64 + piece.rejects.len() as u64 + piece.ignored,
                piece.rows,
                "a row is lost, or two things"
            );
            for reject in &piece.rejects {
                assert!(reject.raw.len() <= event::reject::LONGEST_RAW + 3 && !reject.reason.is_empty());
                said.rejects.push(format!("{reject:?}"));
                said.rejected.push((reject.line, reject.raw.clone()));
            }
            said.events.extend((0..piece.events.num_rows()).map(|row| shown(&piece.events, row)));
        }
        said.rejects.sort();
        said
    }

    fn add_rows(&mut self, rows: &Rows) {
        let (height, width) = (rows.len(), rows.header.names.len());
        assert_eq!(rows.cells.len(), height * width);
        assert!(rows.json.is_empty() || rows.json.len() == rows.cells.len());
        for row in 0..height {
            let (line, raw) = rows.lines[row];
            let raw = rows.text.get(raw.range()).expect("a row lies in its text");
            let mut cells = Vec::new();
            for column in 0..width {
                let span = rows.span(row, column);
                if rows.has_cell(row, column) {
                    let cell = rows.text.get(span.range()).expect("a cell lies in its text");
                    cells.push(format!("{:?}={cell:?}{}", rows.header.names[column], if rows.is_json(row, column) { "*" } else { "" }));
                    assert!(
                        !rows.plain || !cell.bytes().any(|byte| byte < b' ' && byte != b'\t' || matches!(byte, b'"' | b'\\')),
                        "{cell:?} is not plain"
                    );
                }
            }
            cells.sort();
            self.rows.push(format!("{line}: {raw:?} {}", cells.join(" ")));
            self.lines.push((line, raw.to_owned()));
        }
    }

    /// Of shapes whose rows are lines, or begin with one: every line that says something is a row or a reject, or in one.
    fn accounts_for_every_line(&self, feed: &Feed, report: &[u8]) {
        let Ok(text) = std::str::from_utf8(report) else { return };
        if text.starts_with('\u{feff}') || text.contains(['\r', '\0']) || feed.encoding.is_some() {
            return;
        }
        let mut told = BTreeSet::new();
        for (line, raw) in self.lines.iter().chain(&self.rejected) {
            let more = if matches!(feed.format, Format::Csv(_)) { raw.trim_end_matches('\n').matches('\n').count() as u64 } else { 0 };
            told.extend(*line..=*line + more);
        }
        let mut untold =
            text.lines().zip(1..).filter(|(line, number)| !line.trim().is_empty() && !told.contains(number)).map(|(line, _)| line);
        match &feed.format {
            Format::Csv(Csv { comment, header, skip, .. }) => {
                let is_comment = |line: &str| comment.as_deref().is_some_and(|comment| line.starts_with(comment));
                let rest: Vec<&str> = untold.filter(|line| !is_comment(line)).collect();
                // A header may be written over several lines.
                assert!(rest.len() <= *skip || *header == CsvHeader::First, "{rest:?} is neither row nor reject");
            }
            Format::Lines(lines) => {
                let says_nothing = |line: &str| {
                    lines.comment.as_deref().is_some_and(|comment| line.trim_start().starts_with(comment))
                        || lines.skip.as_ref().is_some_and(|skip| skip.is_match(line))
                };
                assert_eq!(untold.find(|line| !says_nothing(line)), None, "it is neither row nor reject");
            }
            // An empty list has no rows.
            Format::JsonLines(row) if row.each.is_empty() => {
                assert_eq!(untold.find(|line| !line.trim().starts_with('[')), None, "it is neither row nor reject");
            }
            _ => {}
        }
    }
}

/// An event as a line, of which every value has been read again: what is in an event is canonical.
pub(crate) fn shown(events: &RecordBatch, row: usize) -> String {
    let mut line = String::new();
    for (field, array) in batch::fields(events) {
        let Some(cell) = batch::cell(array, row) else { continue };
        match cell {
            Cell::Text(text) if field == Field::EXTRA => {
                let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(text);
                assert!(object.is_ok(), "extra is {text}");
            }
            Cell::Text(text) => assert_eq!(value::text(field, text, &mut String::new()), Ok(text), "{} is not canonical", field.name()),
            Cell::Time(at) => assert_eq!(time::parse(&time::iso(at)), Ok(at)),
            Cell::Integer(port) if field.kind() == Type::Port => assert!((0..=65_535).contains(&port)),
            _ => {}
        }
        write!(line, "{}={:?} ", field.name(), cell).expect("a string");
    }
    for column in ["line", "kind", "asset", "id"] {
        let array = events.column_by_name(column).expect("every batch has it");
        assert!(array.is_valid(row), "an event without {column}");
        write!(line, "{column}={:?} ", batch::cell(array, row)).expect("a string");
    }
    line
}
