//! `waglan compare`: what IntelMQ made of the same feeds, beside what is stored here, and why they differ.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use clap::Args;
use desk::compare::{Comparing, Comparison, Counts, Explainer, Names};
use desk::{Access, EventDb};
use event::time::{self, Micros};

use super::import::Database;
use super::{operator, time_argument};
use crate::output::Format;
use crate::{Ended, Place, bundled, output};

/// Events of an IntelMQ that runs beside, and the events that are stored here of the same time: feed by feed what is the same,
/// what differs and why.
///
/// Which of our feeds theirs are is known for IntelMQ's own list of feeds, by the address that a feed is fetched at, and by
/// equal names; a file given with --map says it for others, "PROVIDER/NAME" = "our/feed", or "-" to leave events out.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// IntelMQ's events, one JSON object a line, as its file output writes them; packed or not
    #[arg(value_name = "FILE", required_unless_present = "url")]
    there: Vec<PathBuf>,
    /// Its database instead: postgresql://USER@HOST/DATABASE, without a password
    #[arg(long, conflicts_with = "there")]
    url: Option<String>,
    #[command(flatten)]
    database: Database,
    /// Our events in IntelMQ's form, as `waglan parse --format idf` writes them, instead of those that are stored
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// A file that says which feed is which, TOML
    #[arg(long, value_name = "FILE")]
    map: Option<PathBuf>,
    /// Events that happened from then on
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    since: Option<Micros>,
    /// Events that happened before
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    until: Option<Micros>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Rows that are asked of the database together.
const TOGETHER: u64 = 100_000;

/// A line is no longer than this, in bytes.
const LONGEST: u64 = 16 << 20;

impl Compare {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        // Two files need no stored data.
        let desk = if self.with.is_empty() { Some(place.desk(Access::Read).await?) } else { None };
        let catalog = place.catalog()?;
        let known = desk::botnet::names(&bundled::intelmq())?;
        let names = Names { said: self.map.as_deref().map(said).transpose()?.unwrap_or_default(), known };
        if let Some((theirs, ours)) = names.said.iter().find(|(_, ours)| *ours != "-" && catalog.feed(ours).is_none()) {
            bail!("--map says \"{ours}\" for \"{theirs}\", and there is no such feed: `waglan feed list` shows them");
        }
        let mut comparing = Comparing::new(&catalog, &names, self.since, self.until)?;
        for path in &self.there {
            lines(path, |line| comparing.there(line))?;
        }
        if let Some(url) = &self.url {
            // A list's events are chosen by the day on which it came, whatever its rows say: those days whole, and either time.
            let day = |at: Micros| at - at.rem_euclid(time::DAY);
            let (since, until) = (self.since.map(day), self.until.map(|until| day(until - 1) + time::DAY));
            let mut events = EventDb { either: true, ..self.database.at(url, since, until) }.open().await?;
            let mut after = i64::MIN;
            while let Some(chunk) = events.next(after, TOGETHER).await? {
                after = chunk.last;
                lines(chunk.file.path(), |line| comparing.there(line))?;
            }
        }
        for path in &self.with {
            lines(path, |line| comparing.here(line))?;
        }
        let comparison = match &desk {
            Some(desk) => desk.compare(&operator(), comparing).await?,
            None => comparing.finish(&mut Explainer::new(&catalog, &place.tables()?))?,
        };
        print(&comparison, self.format)?;
        tell(&comparison);
        Ok(if comparison.unexplained() == 0 && comparison.unreadable == 0 { Ended::Done } else { Ended::WithRejects })
    }
}

fn said(path: &Path) -> Result<std::collections::BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("reading {}: it is lines of \"PROVIDER/NAME\" = \"our/feed\"", path.display()))
}

/// Every line of a file, packed or not.
fn lines(path: &Path, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let opened = || format!("opening {}", path.display());
    let file = File::open(path).with_context(opened)?;
    let size = file.metadata().with_context(opened)?.len();
    let caps = feed::unpack::Caps::default();
    let mut input = BufReader::new(feed::unpack::unpack(file, size, caps).with_context(opened)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length =
            io::Read::take(&mut input, LONGEST).read_until(b'\n', &mut line).with_context(|| format!("reading {}", path.display()))?;
        if length == 0 {
            return Ok(());
        }
        if length as u64 == LONGEST && line.last() != Some(&b'\n') {
            bail!("{}: a line is longer than {} MiB: these are no events", path.display(), LONGEST >> 20);
        }
        each(&String::from_utf8_lossy(&line))?;
    }
}

fn print(comparison: &Comparison, format: Format) -> Result<()> {
    if format == Format::Table {
        output::print_batches(&[feeds(comparison)?], format)?;
        return if comparison.differences.is_empty() { Ok(()) } else { output::print_batches(&[differences(comparison)?], format) };
    }
    output::print_batches(&[all(comparison)?], format)
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn counts(counts: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(counts.map(|count| i64::try_from(count).unwrap_or(i64::MAX))))
}

fn feeds(comparison: &Comparison) -> Result<RecordBatch> {
    let (names, rows): (Vec<&String>, Vec<&Counts>) = comparison.feeds.iter().unzip();
    let columns: Columns = vec![
        ("feed", texts(names.iter().map(|name| name.as_str()))),
        ("there", counts(rows.iter().map(|row| row.there))),
        ("here", counts(rows.iter().map(|row| row.here))),
        ("same", counts(rows.iter().map(|row| row.same))),
        ("differing", counts(rows.iter().map(|row| row.differing))),
        ("only there", counts(rows.iter().map(|row| row.only_there))),
        ("only here", counts(rows.iter().map(|row| row.only_here))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn differences(comparison: &Comparison) -> Result<RecordBatch> {
    let rows = &comparison.differences;
    let columns: Columns = vec![
        ("feed", texts(rows.iter().map(|row| row.feed.as_str()))),
        ("cause", texts(rows.iter().map(|row| row.cause.name()))),
        ("what", texts(rows.iter().map(|row| row.what.as_str()))),
        ("count", counts(rows.iter().map(|row| row.count))),
        ("explained", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.cause.is_explained()))))),
        ("there", texts(rows.iter().map(|row| row.there.as_str()))),
        ("here", texts(rows.iter().map(|row| row.here.as_str()))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// Both in one list: of each feed its counts, then its differences.
fn all(comparison: &Comparison) -> Result<RecordBatch> {
    let mut rows: Vec<(&str, &str, &str, u64, bool, &str, &str)> = Vec::new();
    for (feed, count) in &comparison.feeds {
        let counted = [
            ("events there", count.there),
            ("events here", count.here),
            ("same", count.same),
            ("differing", count.differing),
            ("only there", count.only_there),
            ("only here", count.only_here),
        ];
        rows.extend(counted.map(|(what, count)| (feed.as_str(), "events", what, count, true, "", "")));
        for row in comparison.differences.iter().filter(|row| row.feed == *feed) {
            rows.push((feed, row.cause.name(), &row.what, row.count, row.cause.is_explained(), &row.there, &row.here));
        }
    }
    let columns: Columns = vec![
        ("feed", texts(rows.iter().map(|row| row.0))),
        ("cause", texts(rows.iter().map(|row| row.1))),
        ("what", texts(rows.iter().map(|row| row.2))),
        ("count", counts(rows.iter().map(|row| row.3))),
        ("explained", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.4))))),
        ("there", texts(rows.iter().map(|row| row.5))),
        ("here", texts(rows.iter().map(|row| row.6))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// What the causes mean, those that are there; and what is left to look at.
fn tell(comparison: &Comparison) {
    let mut causes: Vec<_> = comparison.differences.iter().map(|row| row.cause).collect();
    causes.sort();
    causes.dedup();
    for cause in causes {
        output::say(&format!("{}: {}", cause.name(), cause.about()));
    }
    if let Some(first) = &comparison.first_unreadable {
        output::say(&format!("{} lines are no events: {first}", comparison.unreadable));
    }
    if let Some((first, last)) = comparison.span {
        output::say(&format!("compared from {} to {}", time::iso(first), time::iso(last)));
    }
    output::say(&match comparison.unexplained() {
        0 => "every difference is explained".to_owned(),
        count => format!("{count} differences are not explained"),
    });
}
