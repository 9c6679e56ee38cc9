//! `waglan ingest`: deliveries into the store.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use desk::{Access, HandedIn, Input, Summary};
use event::time::{self, Micros};
use indicatif::{ProgressBar, ProgressStyle};

use super::parse::Which;
use super::{operator, time_argument};
use crate::{Ended, Place, clock, output};

#[derive(Debug, Args)]
pub(crate) struct Ingest {
    #[command(flatten)]
    which: Which,
    /// When the deliveries arrived [default: what the files' names say, else now]
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    at: Option<Micros>,
    /// The deliveries: reports as they came, packed or not
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Ingest {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let desk = place.desk(Access::Write).await?;
        let now = clock::now();
        let mut deliveries = Vec::new();
        let mut ended = Ended::Done;
        for path in &self.files {
            let feed = match require_file(path).and_then(|()| desk.pick(self.which.pick(), path)) {
                Ok(feed) => feed,
                Err(error) if self.files.len() == 1 => return Err(error),
                Err(error) => {
                    output::say(&format!("not taken in: {}: {error:#}", path.display()));
                    ended = Ended::WithRejects;
                    continue;
                }
            };
            let at = self.at.or_else(|| desk::stated_time(feed, path)).unwrap_or(now);
            deliveries.push(HandedIn { feed: feed.id.clone(), at, origin: path.display().to_string(), input: Input::File(path.clone()) });
        }
        for missing in desk.missing_tables(time::day(now)) {
            output::say(missing);
        }
        let progress = bar(deliveries.len() as u64);
        let mut each = |summary: Summary| {
            progress.inc(1);
            progress.suspend(|| tell(&summary));
            if summary.delivery.rejects > 0 {
                ended = Ended::WithRejects;
            }
        };
        desk.ingest(&operator(), deliveries, now, &mut each).await?;
        progress.finish_and_clear();
        Ok(ended)
    }
}

fn require_file(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path).with_context(|| format!("opening {}", path.display()))?;
    if !metadata.is_file() {
        bail!("{} is not a file: a report is handed in as a file, whole", path.display());
    }
    Ok(())
}

/// A bar for people; nothing in a pipe.
pub(crate) fn bar(length: u64) -> ProgressBar {
    if !output::is_terminal() || length < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} deliveries, {eta} left").expect("the template is sound");
    ProgressBar::new(length).with_style(style)
}

/// One delivery in one line.
pub(crate) fn tell(summary: &Summary) {
    let delivery = &summary.delivery;
    if summary.known {
        output::say(&format!("{}: {} is in the store already", delivery.feed, delivery.origin));
        return;
    }
    let mut said = format!("{}: {} rows, {} new events", delivery.feed, delivery.rows, delivery.events);
    for (count, what) in
        [(delivery.repeats, "repeated"), (delivery.rejects, "rejected"), (delivery.ignored, "ignored"), (delivery.erased, "erased before")]
    {
        if count > 0 {
            said += &format!(", {count} {what}");
        }
    }
    output::say(&said);
    if let Some(drift) = &delivery.drift {
        output::say(&format!("warning: {}: the columns are not those of the feed's table: {drift}", delivery.feed));
    }
}
