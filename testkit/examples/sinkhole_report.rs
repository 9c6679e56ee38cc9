//! Writes a sinkhole report and says how fast: `cargo run --release -p testkit --example sinkhole_report ROWS FILE`.

use std::fs::File;
use std::time::Instant;

use testkit::sinkhole::{Report, write_sinkhole_report};

#[expect(clippy::print_stdout, reason = "a measurement, run by hand")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let rows: u64 = arguments.next().ok_or("how many rows?")?.parse()?;
    let path = arguments.next().ok_or("into which file?")?;
    let start = Instant::now();
    let written = write_sinkhole_report(&Report::of(rows), File::create(path)?)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{written:?} in {seconds:.2} s: {:.0} rows a second", written.rows as f64 / seconds);
    Ok(())
}
