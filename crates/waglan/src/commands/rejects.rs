//! `waglan rejects`: rows that could not be read, and another try at them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use arrow::array::AsArray;
use clap::{Args, Subcommand};
use desk::{Access, Desk, Enrichment, NotKept, Of, Reread, Sql, What};

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
        const SQL: &str = r#"SELECT feed, "column", sort_of_reason(reason) AS reason, count(*) AS rows,
            count(DISTINCT report_id) AS reports, min(time) AS first, max(time) AS last
            FROM rejects GROUP BY 1, 2, 3 ORDER BY rows DESC, feed, reason"#;
        let desk = place.desk(Access::Read).await?;
        let (batches, _) = desk::collect(desk.query(&operator(), &Sql { text: SQL, rows: None }).await?).await?;
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
        let of_feeds = self.reports(&desk).await?;
        if of_feeds.is_empty() {
            // Of a feed without a table there may be rejects all the same; without those, its name may be a slip.
            self.feed.iter().try_for_each(|feed| desk.require(&Of::Feed(feed.clone())))?;
            output::say("there are no rejects");
        }
        let mut ended = Ended::Done;
        for (feed, report_ids) in of_feeds {
            for read in read_again(&desk, &feed, report_ids).await {
                let of_one = read.map_or_else(
                    |error| {
                        output::say(&format!("{feed}: not read again: {error:#}"));
                        Ended::WithRejects
                    },
                    |done| reread::tell(&done),
                );
                if of_one == Ended::WithRejects {
                    ended = of_one;
                }
            }
        }
        Ok(ended)
    }

    /// The reports with rejects, by feed.
    async fn reports(&self, desk: &Desk) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let only = only(self.feed.as_deref(), self.report.as_deref());
        let sql = format!("SELECT DISTINCT feed, report_id FROM rejects {only}");
        let (batches, _) = desk::collect(desk.query(&operator(), &Sql { text: &sql, rows: None }).await?).await?;
        let mut of_feeds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for batch in &batches {
            let (feeds, reports) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            for (feed, report) in feeds.iter().zip(reports) {
                of_feeds.entry(feed.unwrap_or_default().to_owned()).or_default().extend(report.map(str::to_owned));
            }
        }
        Ok(of_feeds)
    }
}

/// Reads reports of a feed again: together, and where one of them cannot be had any more, each by itself, so that it keeps
/// nothing else from being read.
async fn read_again(desk: &Desk, feed: &str, report_ids: BTreeSet<String>) -> Vec<Result<Vec<Reread>>> {
    let again = async |report_ids: BTreeSet<String>| {
        let what = What::Reports { feed: Some(feed.to_owned()), report_ids };
        desk.reread(&operator(), &what, Enrichment::AsRead, clock::now()).await
    };
    let together = again(report_ids.clone()).await;
    match &together {
        Err(error) if error.is::<NotKept>() && report_ids.len() > 1 => {}
        _ => return vec![together],
    }
    let mut each = Vec::new();
    for report_id in report_ids {
        each.push(again(BTreeSet::from([report_id])).await);
    }
    each
}
