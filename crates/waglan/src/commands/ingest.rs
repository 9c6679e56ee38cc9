//! `waglan ingest`: deliveries into the store.

use std::path::PathBuf;

use anyhow::{Error, Result, bail};
use clap::Args;
use desk::{Access, Delivery, HandedIn, Input, Outcome};
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
        let of = self.which.of();
        desk.require(&of)?;
        let handed_in =
            |path: &PathBuf| HandedIn { of: of.clone(), at: self.at, origin: path.display().to_string(), input: Input::File(path.clone()) };
        for missing in desk.missing_tables(time::day(now)) {
            output::say(missing);
        }
        let progress = bar(self.files.len() as u64);
        let mut done = Done::default();
        let mut each = |outcome: Outcome| {
            progress.inc(1);
            progress.suspend(|| done.tell(outcome));
        };
        let ingested = desk.ingest(&operator(), self.files.iter().map(handed_in), now, &mut each).await;
        progress.finish_and_clear();
        ingested.and(done.end())
    }
}

/// What became of all.
#[derive(Default)]
struct Done {
    taken: usize,
    rejects: bool,
    /// Said at the end, where they are seen.
    refused: Vec<Error>,
}

impl Done {
    /// One report in one line.
    fn tell(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Refused { origin, why } => self.refused.push(why.context(origin)),
            Outcome::Known(delivery) => {
                self.taken += 1;
                output::say(&format!("{}: {} is in the store already", delivery.feed, delivery.origin));
            }
            Outcome::Stored { delivery, drifted } => {
                self.taken += 1;
                self.rejects |= delivery.rejects > 0;
                output::say(&line(&delivery));
                if let (Some(drift), true) = (&delivery.drift, drifted) {
                    output::say(&format!("warning: {}: the columns are not those of the feed's table: {drift}", delivery.feed));
                }
            }
        }
    }

    fn end(mut self) -> Result<Ended> {
        if self.taken == 0 && self.refused.len() == 1 {
            return Err(self.refused.remove(0));
        }
        for refused in &self.refused {
            output::say(&format!("not taken in: {refused:#}"));
        }
        if self.taken == 0 && !self.refused.is_empty() {
            bail!("nothing was taken in");
        }
        Ok(if self.rejects || !self.refused.is_empty() { Ended::WithRejects } else { Ended::Done })
    }
}

/// A bar for people; nothing in a pipe.
pub(crate) fn bar(length: u64) -> ProgressBar {
    if !output::is_terminal() || length < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} deliveries, {eta} left").expect("the template is sound");
    ProgressBar::new(length).with_style(style)
}

fn line(delivery: &Delivery) -> String {
    let mut said = format!("{}: {} rows, {} new events", delivery.feed, delivery.rows, delivery.events);
    for (count, what) in
        [(delivery.repeats, "repeated"), (delivery.rejects, "rejected"), (delivery.ignored, "ignored"), (delivery.erased, "erased before")]
    {
        if count > 0 {
            said += &format!(", {count} {what}");
        }
    }
    said
}
