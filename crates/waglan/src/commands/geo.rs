//! `waglan geo`: tables of countries and AS numbers.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use desk::{Access, TableKind};
use event::time;

use super::operator;
use crate::{Ended, Place, clock, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Geo {
    /// Put a table in place, in the MaxMind DB format (MaxMind's, DB-IP's, IPinfo's and IPLocate's layouts)
    Update(Update),
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The name that the table goes by; tables of one name are one table as time passes
    #[arg(long, default_value = "addresses")]
    name: String,
    /// The file
    file: PathBuf,
}

impl Geo {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let Geo::Update(update) = self;
        let desk = place.desk(Access::Write).await?;
        let mut file = std::fs::File::open(&update.file).with_context(|| format!("opening {}", update.file.display()))?;
        let now = clock::now();
        let installed = desk.install_table(&operator(), TableKind::Addresses, &update.name, time::day(now), &mut file, now)?;
        output::say(&format!("{} holds from {} on: {}", installed.name, time::day_name(installed.day), installed.path.display()));
        for missing in place.desk(Access::Write).await?.missing_tables(time::day(now)) {
            output::say(&format!("note: {missing}"));
        }
        Ok(Ended::Done)
    }
}
