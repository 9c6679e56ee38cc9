//! `waglan import eventdb`: the events of IntelMQ's database, report by report, into the store.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use desk::{Access, EventDb, History, Secret};
use event::time::Micros;

use crate::commands::ingest::Done;
use crate::commands::{operator, time_argument};
use crate::{Ended, Place, clock, output};

/// Events of IntelMQ's database (PostgreSQL), taken in as reports of so many rows.
///
/// Ended at any moment, it goes on from there when it is called again; called later once more it takes in what has come since.
/// Each event keeps the feed that it was of there, in feed_provider and feed_name.
#[derive(Debug, Args)]
pub(crate) struct Eventdb {
    /// Where the database is: postgresql://USER@HOST/DATABASE, with ?sslmode=verify-full for TLS; without a password
    #[arg(long)]
    url: String,
    #[command(flatten)]
    database: Database,
    /// Events that happened from then on
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    since: Option<Micros>,
    /// Events that happened before
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    until: Option<Micros>,
    /// The feed whose table reads them; intelmq/events leaves the rows as they came out of the kept reports
    #[arg(long, value_name = "ID", default_value = "intelmq/history")]
    feed: String,
    /// Rows of one report
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rows: u64,
    /// Begin at the beginning, whatever was taken in: what is stored already is not stored twice
    #[arg(long)]
    again: bool,
}

/// How a database is asked, wherever it is.
#[derive(Debug, Args)]
pub(crate) struct Database {
    /// A file with the database's password
    #[arg(long, value_name = "FILE", requires = "url")]
    password_file: Option<PathBuf>,
    /// A variable of the environment with the password [default: PGPASSWORD, if it is there]
    #[arg(long, value_name = "NAME", conflicts_with = "password_file", requires = "url")]
    password_variable: Option<String>,
    /// A PEM file with certificates of the authorities that are trusted with the database's server, which is then asked who it is
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// The database's table
    #[arg(long, default_value = "events", requires = "url")]
    table: String,
}

impl Database {
    /// Events of the database at this address, of this time.
    pub(crate) fn at(&self, url: &str, since: Option<Micros>, until: Option<Micros>) -> EventDb {
        let file = self.password_file.clone().map(|file| Secret::File { file });
        let password = file.or_else(|| self.password_variable.clone().map(|environment| Secret::Environment { environment }));
        EventDb { url: url.to_owned(), password, ca: self.ca.clone(), table: self.table.clone(), since, until, either: false }
    }
}

impl Eventdb {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let desk = place.desk(Access::Write).await?;
        let from = self.database.at(&self.url, self.since, self.until);
        let history = History { from, feed: self.feed.clone(), rows: self.rows, again: self.again };
        let mut done = Done::default();
        let (run, all) = desk.import_events(&operator(), &history, clock::now(), &mut |outcome| done.tell(outcome)).await?;
        let before = if run.reports == all.reports { String::new() } else { format!(" ({} in {} in all)", all.rows, all.reports) };
        output::say(&format!("{} rows in {} reports{before}, up to the event {}", run.rows, run.reports, all.last));
        done.end()
    }
}
