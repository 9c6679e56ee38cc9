//! `waglan ingest`: deliveries into the store.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use clap::Args;
use desk::{Access, Delivery, HandedIn, Input, Outcome};
use event::time::{self, Micros};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

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
    /// Of standard input: the name of a file, which tells feed and day
    #[arg(long, value_name = "FILE")]
    name: Option<String>,
    /// The deliveries: reports as they came, packed or not; - for standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Ingest {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let desk = place.desk(Access::Write).await?;
        let now = clock::now();
        let of = self.which.of();
        desk.require(&of)?;
        let spooled = self.spooled()?;
        let handed_in = |path: &PathBuf| {
            let (origin, path) = match &spooled {
                Some(file) if path == Path::new(STDIN) => (self.name.clone().unwrap_or_else(|| "standard input".to_owned()), file.path()),
                _ => (path.display().to_string(), path.as_path()),
            };
            HandedIn { of: of.clone(), at: self.at, origin, input: Input::File(path.to_owned()) }
        };
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

    /// What comes on standard input, if it is among the deliveries: in a file, since a report is read more than once.
    fn spooled(&self) -> Result<Option<NamedTempFile>> {
        match self.files.iter().filter(|path| *path == Path::new(STDIN)).count() {
            0 if self.name.is_some() => bail!("--name says what standard input is: give - as a delivery as well"),
            0 => return Ok(None),
            1 => {}
            _ => bail!("standard input can be read once: give - once"),
        }
        let mut file = NamedTempFile::new().context("making room for standard input")?;
        let length = io::copy(&mut io::stdin().take(MOST + 1), &mut file).context("reading standard input")?;
        if length > MOST {
            bail!("standard input is longer than {} GiB: hand it in as a file", MOST >> 30);
        }
        file.flush().context("writing what came on standard input")?;
        Ok(Some(file))
    }
}

/// As what standard input is given.
const STDIN: &str = "-";

/// No more of it is taken, in bytes.
const MOST: u64 = 64 << 30;

/// What became of all.
#[derive(Default)]
pub(crate) struct Done {
    taken: usize,
    rejects: bool,
    /// Said at the end, where they are seen.
    refused: Vec<Error>,
}

impl Done {
    /// One report in one line.
    pub(crate) fn tell(&mut self, outcome: Outcome) {
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

    pub(crate) fn end(mut self) -> Result<Ended> {
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
