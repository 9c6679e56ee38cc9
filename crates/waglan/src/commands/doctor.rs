//! `waglan doctor`: what is wrong, and how to mend it.

use anyhow::Result;
use clap::Args;
use desk::{Access, Sql};
use event::time;

use super::operator;
use crate::{Ended, Place, clock, output};

#[derive(Debug, Args)]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let location = place.location()?;
        let mut wrong = 0;
        let mut say = |good: bool, what: String| -> Result<()> {
            wrong += u32::from(!good);
            output::print(&format!("{} {what}\n", if good { "ok  " } else { "BAD " }))
        };
        let configuration = match place.configuration() {
            Ok(configuration) => {
                say(true, "the configuration can be read".into())?;
                configuration
            }
            Err(error) => {
                say(false, format!("{error:#}"))?;
                return Ok(Ended::WithRejects);
            }
        };
        let scope = &configuration.scope;
        let has_scope = !(scope.countries.is_empty() && scope.tlds.is_empty() && scope.networks.is_empty() && scope.asns.is_empty());
        say(
            has_scope,
            if has_scope {
                "the scope is configured".into()
            } else {
                "no scope: nothing is ours to watch; state [scope] in waglan.toml".into()
            },
        )?;
        let desk = match place.desk(Access::Read).await {
            Ok(desk) => desk,
            Err(error) => {
                say(false, format!("the store at {location}: {error:#}"))?;
                return Ok(Ended::WithRejects);
            }
        };
        for (file, why) in &desk.catalog().broken {
            say(false, format!("the table {file}: {why}"))?;
        }
        say(true, format!("{} feeds are known", desk.catalog().feeds().count()))?;
        for missing in desk.missing_tables(time::day(clock::now())) {
            say(false, format!("{missing} `waglan geo update FILE` puts a table in place."))?;
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
