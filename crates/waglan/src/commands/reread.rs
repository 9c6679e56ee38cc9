//! `waglan reread`: kept reports again, with today's tables of feeds.

use anyhow::Result;
use clap::Args;
use desk::{Access, Enrichment, Reread, What};
use event::time::{self, Micros};

use super::{operator, time_argument};
use crate::{Ended, Place, clock, output};

/// Read kept reports again with today's tables of feeds. Whole days of a feed are replaced in one commit.
///
/// Countries, AS numbers, names and scope stay those of the first reading, unless newer ones are asked for.
#[derive(Debug, Args)]
pub(crate) struct RereadCommand {
    /// A feed's days
    #[arg(long, value_name = "ID", required_unless_present = "report", conflicts_with = "report")]
    feed: Option<String>,
    /// From this day on
    #[arg(long, value_name = "DAY", value_parser = time_argument, requires = "feed")]
    since: Option<Micros>,
    /// The days that a report touched
    #[arg(long, value_name = "HASH")]
    report: Option<String>,
    /// Enrich with today's tables and scope, and not with those of the first reading
    #[arg(long)]
    new_tables: bool,
}

impl RereadCommand {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let what = match (&self.feed, &self.report) {
            (Some(feed), _) => What::Feed { feed: feed.clone(), since: self.since.map(time::day) },
            (None, report) => What::Reports { feed: None, report_ids: report.iter().cloned().collect() },
        };
        let desk = place.desk(Access::Write).await?;
        let enrichment = if self.new_tables { Enrichment::Anew } else { Enrichment::AsRead };
        let done = desk.reread(&operator(), &what, enrichment, clock::now()).await?;
        Ok(tell(&done))
    }
}

pub(crate) fn tell(done: &[Reread]) -> Ended {
    for Reread { feed, days, reports, events, rejects } in done {
        let days = desk::days_text(days);
        output::say(&format!("{feed}: {reports} reports read again, {events} events, {rejects} rejects; days replaced: {days}"));
    }
    if done.iter().any(|reread| reread.rejects > 0) { Ended::WithRejects } else { Ended::Done }
}
