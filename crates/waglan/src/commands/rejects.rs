//! `waglan rejects`: rows that could not be read, and another try at them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use arrow::array::AsArray;
use clap::{Args, Subcommand};
use desk::{Access, Enrichment, NotKept, Of, Sql, What};

use super::{operator, reread};
use crate::output::Format;
use crate::{Ended, Place, clock, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Rejects {
    /// How many, of which feed and why
    List(List),
    /// The rows of a report or feed
    Show(Show),
    /// Read reports with rejects again, with today's tables
    Retry(Retry),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Only of this feed
    #[arg(long, value_name = "ID")]
    feed: Option<String>,
    /// Only of this report
    #[arg(long, value_name = "HASH")]
    report: Option<String>,
    /// Rows after which to stop
    #[arg(long, default_value_t = 50)]
    limit: u64,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// Only of this feed
    #[arg(long, value_name = "ID", conflicts_with = "report")]
    feed: Option<String>,
    /// Only of this report
    #[arg(long, value_name = "HASH")]
    report: Option<String>,
}

/// The reason of a reject without what only its row has: the value that it quotes, a number of cells, a place in the text. One
/// for each sort of mistake.
pub(crate) const SORT: &str = r#"regexp_replace(regexp_replace(regexp_replace(reason,
    '^"(.|\n)*"(: | gives )', ''), '^[0-9]+ cells?,', 'another number of cells,'), ' at line [0-9]+ column [0-9]+', '')"#;

/// The condition of a query for the rejects of a feed and of a report.
fn only(feed: Option<&str>, report: Option<&str>) -> String {
    let is = |(column, text): (&str, Option<&str>)| text.map(|text| format!("{column} = '{}'", text.replace('\'', "''")));
    let conditions: Vec<String> = [("feed", feed), ("report_id", report)].into_iter().filter_map(is).collect();
    if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) }
}

impl Rejects {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        match self {
            Rejects::List(list) => list.run(place).await,
            Rejects::Show(show) => show.run(place).await,
            Rejects::Retry(retry) => retry.run(place).await,
        }
    }
}

impl List {
    async fn run(&self, place: &Place) -> Result<Ended> {
        let sql = format!(
            "SELECT feed, \"column\", {SORT} AS reason, count(*) AS rows,
            count(DISTINCT report_id) AS reports, min(time) AS first, max(time) AS last
            FROM rejects GROUP BY 1, 2, 3 ORDER BY rows DESC, feed, reason"
        );
        let desk = place.desk(Access::Read).await?;
        let (batches, _) = desk::collect(desk.query(&operator(), &Sql { text: &sql, rows: None }).await?).await?;
        output::print_batches(&batches, self.format)?;
        Ok(Ended::Done)
    }
}

impl Show {
    async fn run(&self, place: &Place) -> Result<Ended> {
        let only = only(self.feed.as_deref(), self.report.as_deref());
        let sql = format!("SELECT feed, report_id, line, \"column\", reason, raw FROM rejects {only} ORDER BY time, feed, line");
        let desk = place.desk(Access::Read).await?;
        let (batches, cut) = desk::collect(desk.query(&operator(), &Sql { text: &sql, rows: Some(self.limit) }).await?).await?;
        output::print_batches(&batches, self.format)?;
        if cut {
            output::say(&format!("there are more than {}; --limit shows more", self.limit));
        }
        Ok(Ended::Done)
    }
}

impl Retry {
    async fn run(&self, place: &Place) -> Result<Ended> {
        let desk = place.desk(Access::Write).await?;
        let only = only(self.feed.as_deref(), self.report.as_deref());
        let sql = format!("SELECT DISTINCT feed, report_id FROM rejects {only}");
        let (batches, _) = desk::collect(desk.query(&operator(), &Sql { text: &sql, rows: None }).await?).await?;
        let mut of_feeds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for batch in &batches {
            let (feeds, reports) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            for (feed, report) in feeds.iter().zip(reports) {
                of_feeds.entry(feed.unwrap_or_default()).or_default().extend(report.map(str::to_owned));
            }
        }
        if of_feeds.is_empty() {
            // Of a feed without a table there may be rejects all the same; without those, its name may be a slip.
            self.feed.iter().try_for_each(|feed| desk.require(&Of::Feed(feed.clone())))?;
            output::say("there are no rejects");
        }
        let mut ended = Ended::Done;
        for (feed, report_ids) in of_feeds {
            let again = async |report_ids: BTreeSet<String>| {
                let what = What::Reports { feed: Some(feed.to_owned()), report_ids };
                desk.reread(&operator(), &what, Enrichment::AsRead, clock::now()).await
            };
            let mut done = vec![again(report_ids.clone()).await];
            // What is not kept any more keeps nothing else from being read again.
            if matches!(&done[..], [Err(error)] if error.is::<NotKept>()) && report_ids.len() > 1 {
                done.clear();
                for report_id in report_ids {
                    done.push(again(BTreeSet::from([report_id])).await);
                }
            }
            for done in done {
                let told = done.map_or_else(
                    |error| {
                        output::say(&format!("{feed}: not read again: {error:#}"));
                        Ended::WithRejects
                    },
                    |done| reread::tell(&done),
                );
                if told == Ended::WithRejects {
                    ended = told;
                }
            }
        }
        Ok(ended)
    }
}
