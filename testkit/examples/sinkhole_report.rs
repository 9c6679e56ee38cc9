//! Writes a sinkhole report and says how fast: `cargo run --release -p testkit --example sinkhole_report ROWS FILE[.zst] [DAY]`.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use testkit::sinkhole::{Report, write_sinkhole_report};

#[expect(clippy::print_stderr, reason = "a measurement, run by hand")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut report = Report::of(arguments.next().ok_or("how many rows?")?.parse()?);
    let path = arguments.next().ok_or("into which file?")?;
    if let Some(day) = arguments.next() {
        report.day = event::time::day(event::time::parse(&day).map_err(|wrong| wrong.0)?);
    }
    let file = File::create(&path)?;
    let out: Box<dyn Write> = if path.ends_with(".zst") { Box::new(zstd::Encoder::new(file, 1)?.auto_finish()) } else { Box::new(file) };
    let start = Instant::now();
    let written = write_sinkhole_report(&report, out)?;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("{written:?} in {seconds:.2} s: {:.0} rows a second", written.rows as f64 / seconds);
    Ok(())
}
