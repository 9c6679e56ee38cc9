//! `waglan doctor`: what is wrong, and how to mend it.

use anyhow::Result;
use clap::Args;
use desk::{Access, Sql};
use event::time::{self, Micros};

use super::operator;
use crate::{Ended, Place, clock, output};

#[derive(Debug, Args)]
pub(crate) struct Doctor {}

/// Clocks of two machines that both are right differ by less.
const DIFFERENCE: Micros = 300 * time::SECOND;

impl Doctor {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let location = place.location()?;
        let mut wrong = 0;
        let mut say = |good: bool, what: String| -> Result<()> {
            wrong += u32::from(!good);
            output::print(&format!("{} {what}\n", if good { "ok  " } else { "BAD " }))
        };
        match place.configuration() {
            Ok(_) => say(true, "the configuration can be read".into())?,
            Err(error) => {
                say(false, format!("{error:#}"))?;
                return Ok(Ended::WithRejects);
            }
        }
        let catalog = place.catalog()?;
        for (file, why) in &catalog.broken {
            say(false, format!("the table {file}: {why}"))?;
        }
        say(true, format!("{} feeds are known", catalog.feeds().count()))?;
        match desk::plans(&place.configuration()?, &catalog) {
            Ok(plans) => say(true, format!("{} sources are configured", plans.len()))?,
            Err(error) => say(false, format!("{error:#}"))?,
        }
        let desk = match place.desk(Access::Read).await {
            Ok(desk) => desk,
            Err(error) => {
                say(false, format!("the store at {location}: {error:#}"))?;
                return Ok(Ended::WithRejects);
            }
        };
        let now = clock::now();
        match desk.last_written(&operator()).await? {
            Some(written) if written > now + DIFFERENCE => say(
                false,
                format!(
                    "the clock says {}, but the store was written to at {}: one of both clocks is wrong",
                    time::iso(now),
                    time::iso(written)
                ),
            )?,
            _ => say(true, format!("the clock says {}", time::iso(now)))?,
        }
        if let Some(wrong) = desk.wrong_warning_lists(time::day(now)) {
            say(false, wrong.to_owned())?;
        }
        for missing in desk.missing_tables(time::day(now)) {
            say(false, missing.to_owned())?;
        }
        for waiting in desk.waiting(&operator(), now).await? {
            say(false, waiting)?;
        }
        if let Some(failed) = desk.failed_upkeep(&operator())? {
            say(false, failed)?;
        }
        for idle in desk.idle_retention(&operator()).await? {
            say(false, idle)?;
        }
        const COUNTS: &str =
            "SELECT count(*) AS events, count(DISTINCT feed) AS feeds, min(time_source) AS first, max(time_source) AS last FROM events";
        match desk.query(&operator(), &Sql { text: COUNTS, rows: None }).await {
            Ok(answer) => {
                let (batches, _) = desk::collect(answer).await?;
                say(true, "events can be queried".into())?;
                output::print_batches(&batches, output::Format::Table)?;
            }
            Err(error) => say(false, format!("events cannot be queried: {error:#}"))?,
        }
        Ok(if wrong == 0 { Ended::Done } else { Ended::WithRejects })
    }
}
