//! `waglan demo`: a made-up country's quarter of deliveries, read as if they had come, and shown.

mod summary;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use desk::{Access, Desk, HandedIn, Input, Of, Outcome, TableKind};
use event::time;
use testkit::{Quarter, country, quarter};

use super::ingest::bar;
use super::operator;
use crate::{Ended, Place, bundled, clock, output};

/// Read a made-up country's quarter of feeds, and show what comes of it.
///
/// Needs no network. The data is made up, the same on every machine, with the mess of real reports; one of the feeds
/// is real. Run twice, it changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Serve nothing afterwards. Nothing is served yet; scripts may say so already
    #[arg(long, hide = true)]
    no_serve: bool,
    /// Only put the country's enrichment tables in place, for reports of your own making
    #[arg(long)]
    tables_only: bool,
}

impl Demo {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let location = location(place)?;
        let started = Instant::now();
        let quarter = Quarter::first_of_2024();
        install_tables(place, &location, &quarter).await?;
        if self.tables_only {
            output::say(&format!("{}'s tables are in {location}", country::NAME));
            return Ok(Ended::Done);
        }
        let desk = place.desk_at(location.clone(), Access::Write).await?;
        let deliveries: Vec<HandedIn> = quarter::deliveries(&quarter).map(handed_in).collect();
        output::say(&format!("{}: {} deliveries of a quarter, into {location}", country::NAME, deliveries.len()));
        let progress = bar(deliveries.len() as u64);
        let mut taken = Taken::default();
        let mut each = |outcome: Outcome| {
            progress.inc(1);
            taken.add(&outcome);
        };
        desk.ingest(&operator(), deliveries, clock::now(), &mut each).await?;
        progress.finish_and_clear();
        taken.seconds = started.elapsed().as_secs_f64();
        output::print(&summary::write(&desk, &taken, &location).await?)?;
        Ok(Ended::Done)
    }
}

/// What this run took in.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) deliveries: u64,
    pub(crate) known: u64,
    pub(crate) rows: u64,
    pub(crate) seconds: f64,
}

impl Taken {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Stored { delivery, .. } => {
                self.deliveries += 1;
                self.rows += delivery.rows;
            }
            Outcome::Known(_) => self.known += 1,
            Outcome::Refused { origin, why } => output::say(&format!("not taken in: {origin}: {why:#}")),
        }
    }
}

/// A folder of its own, so that nobody's data is mixed with what is made up.
fn location(place: &Place) -> Result<String> {
    if place.data.is_some() {
        return place.location();
    }
    Ok(PathBuf::from(place.location()?).with_file_name("waglan-demo").display().to_string())
}

fn handed_in(delivery: quarter::Delivery) -> HandedIn {
    HandedIn {
        of: Of::Feed(delivery.feed.to_owned()),
        at: Some(delivery.arrived_at),
        origin: delivery.file_name,
        input: Input::Bytes(delivery.bytes),
    }
}

/// The country's own tables, of both dates.
async fn install_tables(place: &Place, location: &str, quarter: &Quarter) -> Result<()> {
    let desk = place.desk_at(location.to_owned(), Access::Write).await?;
    for day in country::TABLE_DAYS {
        let day = time::day(time::parse(day).expect("the country's dates are dates"));
        let tables = quarter.country.tables(day);
        install(&desk, TableKind::Addresses, "places", day, &tables.places)?;
        install(&desk, TableKind::Addresses, "systems", day, &tables.systems)?;
        install(&desk, TableKind::Networks, "listed", day, tables.networks.as_bytes())?;
        install(&desk, TableKind::Scope, "country", day, tables.scope.as_bytes())?;
        install(&desk, TableKind::Aliases, "country", day, tables.aliases.as_bytes())?;
    }
    let possible = possible(&bundled::tables().impossible_addresses)?;
    install(&desk, TableKind::Warnings, "impossible", time::day(time::parse("2000-01-01").expect("a date")), possible.as_bytes())
}

/// The list of impossible addresses in a world in which the country has some of them.
fn possible(list: &str) -> Result<String> {
    let mut list: serde_json::Value = serde_json::from_str(list)?;
    let networks = list.get_mut("list").and_then(serde_json::Value::as_array_mut).context("it is a warning list")?;
    networks.retain(|network| network != country::RESERVED);
    Ok(serde_json::to_string_pretty(&list)?)
}

fn install(desk: &Desk, kind: TableKind, name: &str, day: i32, mut bytes: &[u8]) -> Result<()> {
    desk.install_table(&operator(), kind, name, day, &mut bytes, clock::now())?;
    Ok(())
}
