//! `waglan geo`: enrichment tables, those of countries and AS numbers above all.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use desk::{Access, TableKind};
use event::time;

use super::{open, operator};
use crate::{Ended, Place, clock, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Geo {
    /// Put a table in place, in the MaxMind DB format, in whichever of the common layouts
    Update(Update),
    /// What a name in the events' column "tables" stands for: kind, name, day and hash of each table
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The name, 32 hexadecimal digits
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The name that the table goes by; tables of one name are one table as time passes [default: addresses]
    #[arg(long)]
    name: Option<String>,
    /// The file, or where it is fetched; it may be packed [default: what [geo.fetch] in the configuration says]
    #[arg(value_name = "FILE|URL")]
    source: Option<String>,
}

impl Geo {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let update = match self {
            Geo::Update(update) => update,
            Geo::Show(show) => {
                output::print(&place.desk(Access::Read).await?.table_set(&operator(), &show.name)?)?;
                return Ok(Ended::Done);
            }
        };
        let now = clock::now();
        for (name, source) in update.sources(place)? {
            let source = source.replace("{month}", &time::month_name(time::day(now)));
            const MOST: u64 = 4 << 30;
            let mut input = open(&source, MOST).await?;
            let desk = place.desk(Access::Write).await?;
            let installed = desk.install_table(&operator(), TableKind::Addresses, &name, time::day(now), &mut input, now)?;
            output::say(&format!("{} holds from {} on: {}", installed.name, time::day_name(installed.day), installed.path.display()));
        }
        for missing in place.desk(Access::Write).await?.missing_tables(time::day(now)) {
            output::say(&format!("note: {missing}"));
        }
        Ok(Ended::Done)
    }
}

impl Update {
    /// The tables to put in place: a name, and a file or address.
    fn sources(&self, place: &Place) -> Result<Vec<(String, String)>> {
        if let Some(source) = &self.source {
            return Ok(vec![(self.name.clone().unwrap_or_else(|| "addresses".to_owned()), source.clone())]);
        }
        let configured = place.configuration()?.geo.fetch.into_iter();
        let sources: Vec<_> = configured.filter(|(name, _)| self.name.as_ref().is_none_or(|wanted| wanted == name)).collect();
        if sources.is_empty() {
            bail!("there is nothing to fetch: give a FILE or a URL, or state NAME = \"URL\" under [geo.fetch] in the configuration");
        }
        Ok(sources)
    }
}
