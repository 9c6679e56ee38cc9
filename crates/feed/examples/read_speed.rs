//! How long reading takes by itself: `cargo run --release -p feed --example read_speed FEED FILE`.

use std::time::Instant;

use feed::catalog::File;
use feed::{Arrival, Catalog, Reader, Splitter};

#[expect(clippy::print_stdout, reason = "a measurement, run by hand")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (id, path) = (arguments.next().ok_or("which feed?")?, arguments.next().ok_or("which file?")?);
    let mut files = Vec::new();
    for provider in std::fs::read_dir("feeds")? {
        for file in std::fs::read_dir(provider?.path())? {
            let path = file?.path();
            let name = path.strip_prefix("feeds")?.to_string_lossy().into_owned();
            if name.ends_with(".toml") {
                files.push(File { path: name, text: std::fs::read_to_string(&path)? });
            }
        }
    }
    let catalog = Catalog::read(&files);
    let feed = catalog.feed(&id).ok_or("no such feed")?;
    let report = std::fs::read(path)?;

    let start = Instant::now();
    let mut splitter = Splitter::new(feed, report.as_slice());
    let mut rows = 0;
    while let Some(block) = splitter.next_rows()? {
        rows += block.len();
    }
    let split = start.elapsed();
    println!("split: {rows} rows, {:.2} s per million", split.as_secs_f64() * 1e6 / rows as f64);

    let start = Instant::now();
    let mut splitter = Splitter::new(feed, report.as_slice());
    let mut reader = Reader::new(feed, Arrival { at: 1_772_500_000_000_000 });
    let (mut events, mut rejects) = (0, 0);
    while let Some(block) = splitter.next_rows()? {
        let piece = reader.read(block);
        events += piece.events.num_rows();
        rejects += piece.rejects.len();
    }
    let read = start.elapsed();
    println!("split and read: {events} events, {rejects} rejects, {:.2} s per million", read.as_secs_f64() * 1e6 / rows as f64);
    Ok(())
}
