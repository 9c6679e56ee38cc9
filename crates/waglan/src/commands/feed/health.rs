//! `waglan feed health`: which feeds are silent or strange, and which sources fail.

use anyhow::Result;
use clap::{Args, ValueEnum};
use desk::Access;

use crate::commands::operator;
use crate::output::{self, Format};
use crate::{Ended, Place, clock};

/// Of every feed that delivered anything in 60 days: when it came last, its usual gap, its usual number of rows, and what is wrong.
///
/// Exit 1: a feed is silent or strange, or a source fails.
#[derive(Debug, Args)]
pub(crate) struct Health {
    #[arg(long, value_enum, default_value_t)]
    format: HealthFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum HealthFormat {
    /// For people
    #[default]
    Table,
    /// One object a line
    Json,
    Csv,
    /// Metrics, for a text file collector
    Prometheus,
}

impl Health {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let desk = place.desk(Access::Read).await?;
        let now = clock::clock()?.now();
        let report = desk.health(&operator(), now).await?;
        let list = |format| output::print_batches(&[report.batch()], format);
        match self.format {
            HealthFormat::Table => list(Format::Table)?,
            HealthFormat::Json => list(Format::Json)?,
            HealthFormat::Csv => list(Format::Csv)?,
            HealthFormat::Prometheus => output::print(&report.metrics(now))?,
        }
        for (name, source) in &report.sources {
            match (&source.error, source.last_look) {
                (Some(error), _) => output::say(&format!("source {name} failed {} times in a row: {error}", source.failures)),
                (None, None) => output::say(&format!("source {name} was never looked at: `waglan run` does")),
                (None, Some(_)) => {}
            }
        }
        Ok(if report.is_well() { Ended::Done } else { Ended::WithRejects })
    }
}
