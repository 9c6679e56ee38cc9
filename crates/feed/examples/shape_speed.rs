//! How fast each shape cuts a report into rows, and a table makes events of them, beside the fastest parser that is known for the
//! form: `cargo run --release -p feed --example shape_speed [MIB [SHAPE...]]`.
//!
//! A report is a feed's sample, its rows again and again with other addresses. Parsers read it to their own end and touch all that they
//! found. Both take turns; what counts is the time on the processor, of which other programs take nothing.

use std::hint::black_box;

use feed::catalog::File;
use feed::table::Format;
use feed::{Arrival, Catalog, Feed, Reader, Splitter};
use regex::Regex;
use sonic_rs::{JsonContainerTrait, JsonValueTrait};

/// A shape, by a feed that has it.
struct Form {
    name: &'static str,
    feed: &'static str,
    /// What begins each of the sample's rows, where that is not a line.
    begins: &'static str,
    /// What stands between rows.
    between: &'static str,
    /// The most that a document of this form may be, in MiB.
    most: usize,
    peer: &'static str,
    read_by_peer: fn(&Feed, &[u8]),
}

#[rustfmt::skip]
const FORMS: &[Form] = &[
    Form { name: "csv", feed: "abuse-ch/urlhaus", begins: "", between: "", most: usize::MAX, peer: "csv, byte records", read_by_peer: csv },
    Form { name: "json", feed: "abuse-ch/feodotracker", begins: "    {\n", between: ",\n", most: usize::MAX, peer: "sonic-rs, values", read_by_peer: json },
    Form { name: "jsonl", feed: "intelmq/events", begins: "", between: "", most: usize::MAX, peer: "sonic-rs, values", read_by_peer: json_lines },
    Form { name: "lines", feed: "example/lines", begins: "", between: "", most: usize::MAX, peer: "memchr and regex", read_by_peer: lines },
    Form { name: "xml", feed: "cleanmx/phishing", begins: "<entry>", between: "", most: usize::MAX, peer: "quick-xml, events", read_by_peer: xml },
    Form { name: "html", feed: "cybercrime-tracker/index", begins: "<tr", between: "", most: 24, peer: "html5gum, tokens", read_by_peer: html },
    Form { name: "misp", feed: "misp/events", begins: "{\"category\"", between: ",\n", most: 24, peer: "sonic-rs, values", read_by_peer: json },
    Form { name: "stix", feed: "stix/indicators", begins: "{\"type\":\"indicator\"", between: ",\n", most: 24, peer: "sonic-rs, values", read_by_peer: json },
];

/// A list of addresses with a port and a day each, as many are.
const LINES: &str = "name = \"Lines\"\nformat = \"lines\"\nmeans = \"blacklist\"\nkind = \"listing\"\nasset = \"source.ip\"\ndelivers = \"list\"\ntlp = \"green\"\n\
    [lines]\npattern = '^(?P<ip>\\S+) (?P<port>[0-9]+) (?P<seen>\\S+)$'\n[rows]\nip = \"source.ip\"\nport = \"source.port\"\nseen = \"extra.seen\"\n";

#[expect(clippy::print_stdout, reason = "a measurement, run by hand")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let size = arguments.next().map_or(Ok(100), |size| size.parse::<usize>())?;
    let chosen: Vec<String> = arguments.collect();
    let catalog = catalog()?;
    println!("{:<7}{:>7}{:>12}{:>8}{:>12}{:>8}{:>8}{:>8}  peer", "shape", "MB", "rows/s", "MB/s", "events/s", "MB/s", "peer", "ratio");
    for form in FORMS.iter().filter(|form| chosen.is_empty() || chosen.iter().any(|name| name == form.name)) {
        let feed = catalog.feed(form.feed).ok_or(form.feed)?;
        let report = report(form, size.min(form.most) << 20)?;
        let megabytes = report.len() as f64 / 1e6;
        let (mut cut, mut read, mut peer) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rows, mut events) = (0, 0);
        for _ in 0..7 {
            cut.push(seconds(|| rows = rows_of(feed, &report)));
            peer.push(seconds(|| (form.read_by_peer)(feed, &report)));
            read.push(seconds(|| events = events_of(feed, &report)));
        }
        let ratio = median(cut.iter().zip(&peer).map(|(ours, theirs)| theirs / ours).collect());
        let (cut, read, peer) = (median(cut), median(read), median(peer));
        println!(
            "{:<7}{megabytes:>7.0}{:>12.0}{:>8.0}{:>12.0}{:>8.0}{:>8.0}{ratio:>8.2}  {}",
            form.name,
            rows as f64 / cut,
            megabytes / cut,
            events as f64 / read,
            megabytes / read,
            megabytes / peer,
            form.peer
        );
    }
    Ok(())
}

fn catalog() -> Result<Catalog, std::io::Error> {
    let mut files = vec![File { path: "example/lines.toml".to_owned(), text: LINES.to_owned() }];
    for provider in std::fs::read_dir("feeds")? {
        for file in std::fs::read_dir(provider?.path())? {
            let path = file?.path();
            let name = path.strip_prefix("feeds").expect("below it").to_string_lossy().into_owned();
            if name.ends_with(".toml") {
                files.push(File { path: name, text: std::fs::read_to_string(&path)? });
            }
        }
    }
    Ok(Catalog::read(&files))
}

/// The time on the processor that this thread has had meanwhile.
fn seconds(run: impl FnOnce()) -> f64 {
    let on_processor = || {
        let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        told.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).expect("Linux tells it")
    };
    let start = on_processor();
    run();
    (on_processor() - start) / 1e9
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The sample with so many more rows.
fn report(form: &Form, size: usize) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let sample = match form.feed {
        "example/lines" => "192.0.2.1 443 2026-03-01T10:00:00\n2001:db8::7 8080 2026-03-02T11:30:00\n".to_owned(),
        feed => std::fs::read_to_string(format!("feeds/{feed}.sample"))?,
    };
    let (head, rows, tail) = parts(&sample, form);
    let address = Regex::new(r"\b(\d+\.\d+)\.\d+\.\d+\b")?;
    let mut report = head.to_owned();
    let mut number = 0_usize;
    while report.len() < size {
        for row in &rows {
            number += 1;
            let with = format!("$1.{}.{}", number / 250 % 250, number % 250);
            report += &address.replace_all(row, with.as_str());
            report += form.between;
        }
    }
    report.truncate(report.len() - form.between.len());
    report += tail;
    Ok(report.into_bytes())
}

/// What stands before the rows, the rows, and what stands behind.
fn parts<'s>(sample: &'s str, form: &Form) -> (&'s str, Vec<&'s str>, &'s str) {
    if form.begins.is_empty() {
        let lines: Vec<&str> = sample.split_inclusive('\n').collect();
        let is_row = |line: &&str| match form.name {
            // Samples have rows too that are none.
            "jsonl" => line.starts_with('{') && serde_json::from_str::<serde_json::Value>(line).is_ok(),
            _ => !line.starts_with('#') && line.matches([',', ' ']).count() > 1,
        };
        let head = lines.iter().take_while(|line| line.starts_with('#')).map(|line| line.len()).sum();
        return (sample.get(..head).unwrap_or_default(), lines.into_iter().filter(is_row).collect(), "");
    }
    let starts: Vec<usize> = sample.match_indices(form.begins).map(|(place, _)| place).collect();
    // The first row of a page names its cells.
    let starts = if form.name == "html" { &starts[1..] } else { &starts[..] };
    let end_of = |start: usize| -> usize {
        let rest = sample.get(start..).unwrap_or_default();
        let length = match form.name {
            "xml" => rest.find("</entry>").map(|place| place + 8),
            "html" => rest.find("</tr>").map(|place| place + 5),
            // As far as it is a value.
            _ => serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>().next().and_then(Result::ok).map(|value| {
                (1..=rest.len())
                    .find(|length| {
                        rest.get(..*length)
                            .is_some_and(|part| serde_json::from_str::<serde_json::Value>(part).is_ok_and(|part| part == value))
                    })
                    .expect("it was read")
            }),
        };
        start + length.expect("a row ends")
    };
    // As far as one follows on the other.
    let (mut rows, mut end) = (Vec::new(), starts[0]);
    for start in starts {
        let is_next =
            sample.get(end..*start).is_some_and(|gap| gap.trim_matches(|sign: char| sign == ',' || sign.is_whitespace()).is_empty());
        if is_next {
            let row_end = end_of(*start);
            rows.extend(sample.get(*start..row_end));
            end = row_end;
        }
    }
    (sample.get(..starts[0]).unwrap_or_default(), rows, sample.get(end..).unwrap_or_default())
}

fn rows_of(feed: &Feed, report: &[u8]) -> usize {
    let (mut splitter, mut rows) = (Splitter::new(feed, report), 0);
    while let Some(block) = splitter.next_rows().expect("in memory") {
        rows += block.len();
        black_box(&block);
    }
    rows
}

fn events_of(feed: &Feed, report: &[u8]) -> usize {
    let (mut splitter, mut events) = (Splitter::new(feed, report), 0);
    let mut reader = Reader::new(feed, Arrival { at: 1_772_500_000_000_000 });
    while let Some(block) = splitter.next_rows().expect("in memory") {
        events += reader.read(block).events.num_rows();
    }
    events
}

fn csv(_feed: &Feed, report: &[u8]) {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).comment(Some(b'#')).from_reader(report);
    let (mut record, mut touched) = (csv::ByteRecord::new(), 0);
    while reader.read_byte_record(&mut record).expect("delimited text") {
        touched += record.iter().map(<[u8]>::len).sum::<usize>();
    }
    black_box(touched);
}

fn json(_feed: &Feed, report: &[u8]) {
    let value: sonic_rs::Value = sonic_rs::from_slice(report).expect("JSON");
    black_box(touch(&value));
}

fn json_lines(_feed: &Feed, report: &[u8]) {
    let mut touched = 0;
    for line in report.split_inclusive(|byte| *byte == b'\n') {
        touched += touch(&sonic_rs::from_slice(line).expect("JSON"));
    }
    black_box(touched);
}

fn touch(value: &sonic_rs::Value) -> usize {
    if let Some(object) = value.as_object() {
        object.iter().map(|(key, value)| key.len() + touch(value)).sum()
    } else if let Some(list) = value.as_array() {
        list.iter().map(touch).sum()
    } else {
        value.as_str().map_or(1, str::len)
    }
}

fn lines(feed: &Feed, report: &[u8]) {
    let Format::Lines(format) = &feed.format else { unreachable!("the feed has lines") };
    let text = std::str::from_utf8(report).expect("text");
    let (mut locations, mut touched) = (format.pattern.capture_locations(), 0);
    for line in text.lines() {
        if format.pattern.captures_read(&mut locations, line).is_some() {
            touched += (1..locations.len()).filter_map(|group| locations.get(group)).map(|(start, end)| end - start).sum::<usize>();
        }
    }
    black_box(touched);
}

fn xml(_feed: &Feed, report: &[u8]) {
    let mut reader = quick_xml::Reader::from_reader(report);
    let mut touched = 0;
    loop {
        match reader.read_event().expect("XML") {
            quick_xml::events::Event::Eof => break,
            event => touched += event.len(),
        }
    }
    black_box(touched);
}

fn html(_feed: &Feed, report: &[u8]) {
    let page = std::str::from_utf8(report).expect("text");
    let mut touched = 0;
    for token in html5gum::Tokenizer::new(page) {
        let Ok(token) = token;
        touched += match token {
            html5gum::Token::StartTag(tag) => tag.name.len() + tag.attributes.len(),
            html5gum::Token::EndTag(tag) => tag.name.len(),
            html5gum::Token::String(text) => text.len(),
            _ => 1,
        };
    }
    black_box(touched);
}
