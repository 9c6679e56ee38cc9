//! Writes the quarter's deliveries into a folder, to be looked at: `cargo run -p testkit --example quarter FOLDER`.
//! A delivery lies under its feed and the time at which it arrived.

use std::path::PathBuf;

use testkit::{Quarter, deliveries};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("into which folder?")?);
    for delivery in deliveries(&Quarter::first_of_2024()) {
        let arrival = folder.join(delivery.feed).join(event::time::iso(delivery.arrived_at).replace(':', ""));
        std::fs::create_dir_all(&arrival)?;
        std::fs::write(arrival.join(delivery.file_name), delivery.bytes)?;
    }
    Ok(())
}
