//! `waglan feed`: what feeds are known, and whether their tables are sound.

mod health;
mod new;

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow::array::{Array, AsArray};
use clap::{Args, Subcommand};
use desk::Access;
use feed::catalog::Beginning;
use feed::{Arrival, Catalog, Feed, Reader, Splitter};

use super::{open, operator};
use crate::output::Format;
use crate::{Ended, Place, bundled, clock, output};

#[derive(Debug, Subcommand)]
pub(crate) enum FeedCommand {
    /// All feeds
    List(List),
    /// One feed: what it is and what its columns mean
    Show(Show),
    /// Whether tables can be read, and samples with them
    Check(Check),
    /// Which feeds are silent or strange, and which sources fail
    Health(health::Health),
    /// A feed's sample: a report in its real form, to try things with
    Sample(Sample),
    /// Draft a table for a delivery that nobody has a table for, and show what it makes of it
    New(new::New),
    /// Take a newer document of a provider's own form, so that its new report types are known
    Update(Update),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// One feed [default: all]
    id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Sample {
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The provider
    provider: String,
    /// The document, or where it is fetched; it may be packed
    #[arg(value_name = "FILE|URL")]
    source: String,
}

impl FeedCommand {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        match self {
            FeedCommand::List(list) => list.run(place),
            FeedCommand::Show(show) => show.run(place),
            FeedCommand::Check(check) => check.run(place),
            FeedCommand::Sample(sample) => sample.run(place),
            FeedCommand::Health(health) => health.run(place).await,
            FeedCommand::New(new) => new.run(place),
            FeedCommand::Update(update) => update.run(place).await,
        }
    }
}

fn find<'c>(catalog: &'c Catalog, id: &str) -> Result<&'c Feed> {
    desk::find(catalog, id)
}

impl List {
    fn run(&self, place: &Place) -> Result<Ended> {
        let batch = desk::feeds_batch(&place.catalog()?);
        let shown = ["id", "kind", "delivers", "means", "severity", "tlp", "every", "home"];
        let places: Vec<usize> = shown.iter().filter_map(|name| batch.schema().index_of(name).ok()).collect();
        let batch = if self.format == Format::Table { batch.project(&places)? } else { batch };
        output::print_batches(&[batch], self.format)?;
        Ok(Ended::Done)
    }
}

impl Show {
    fn run(&self, place: &Place) -> Result<Ended> {
        let catalog = place.catalog()?;
        let feed = find(&catalog, &self.id)?;
        let batch = desk::feeds_batch(&catalog);
        let ids = batch.column(0).as_string::<i32>();
        let row = (0..batch.num_rows()).find(|row| ids.value(*row) == feed.id).expect("the feed is in the catalog's table");
        let mut text = String::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let column = column.as_string::<i32>();
            if column.is_valid(row) && !column.value(row).is_empty() {
                text += &format!("{:<14} {}\n", field.name(), column.value(row));
            }
        }
        text.push('\n');
        for assignment in &feed.assignments {
            let known = feed.columns.is_empty() || feed.columns.contains(&assignment.column);
            if known {
                let conditions: Vec<String> = assignment
                    .conditions
                    .iter()
                    .map(|condition| {
                        format!(
                            "where {} is {}{}",
                            condition.column,
                            if condition.among { "" } else { "not " },
                            condition.words.join(" or ")
                        )
                    })
                    .collect();
                let rule = std::iter::once(assignment.rule.clone()).chain(conditions).collect::<Vec<_>>().join("  ");
                text += &format!("{:<24} {rule}\n", assignment.column);
            }
        }
        let unmentioned: Vec<&str> = feed
            .columns
            .iter()
            .filter(|column| !feed.assignments.iter().any(|assignment| assignment.column == **column))
            .map(String::as_str)
            .collect();
        if !unmentioned.is_empty() {
            text += &format!("\nto extra under their own names: {}\n", unmentioned.join(" "));
        }
        if !feed.secret.is_empty() {
            text += &format!("dropped before anything is kept: {}\n", feed.secret.join(" "));
        }
        output::print(&text)?;
        Ok(Ended::Done)
    }
}

/// The reports of a sample that are a feed's: of a family's, those after `==> FILE NAME <==` with its file name.
fn reports_of(place: &Place, catalog: &Catalog, feed: &Feed) -> Result<Vec<Vec<u8>>> {
    let name = feed.id.rsplit('/').next().unwrap_or_default();
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("reading {}", path.display()));
    for folder in place.feed_folders()?.iter().rev() {
        let sample = folder.join(format!("{}.sample", feed.id));
        if sample.is_file() {
            return Ok(vec![read(&sample)?]);
        }
        for sample in samples_in(&folder.join(&feed.provider))? {
            let found = of_family(&read(&sample)?, catalog, feed);
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    if let Some(sample) = bundled::sample(&feed.provider, name) {
        return Ok(vec![sample.to_vec()]);
    }
    Ok(bundled::samples_of(&feed.provider).flat_map(|sample| of_family(sample, catalog, feed)).collect())
}

/// The samples that lie in a provider's folder, where there is one.
fn samples_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", folder.display()))?,
    };
    let mut samples: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    samples.retain(|path| path.extension().is_some_and(|extension| extension == "sample"));
    samples.sort();
    Ok(samples)
}

/// The reports in a family's sample that are this feed's, by their names.
fn of_family(sample: &[u8], catalog: &Catalog, feed: &Feed) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(sample);
    let parts = text.split("==> ").skip(1).filter_map(|part| part.split_once(" <==\n"));
    let is_its = |file: &str| catalog.pick(&feed.provider, file, |_| Beginning::default()).is_ok_and(|picked| picked.id == feed.id);
    parts.filter(|(file, _)| is_its(file)).map(|(_, report)| report.as_bytes().to_vec()).collect()
}

impl Check {
    fn run(&self, place: &Place) -> Result<Ended> {
        let catalog = place.catalog()?;
        let mut wrong = 0;
        for (file, why) in &catalog.broken {
            output::say(&format!("{file}: {why}"));
            wrong += 1;
        }
        let chosen: Vec<&Feed> = match &self.id {
            Some(id) => vec![find(&catalog, id)?],
            None => catalog.feeds().collect(),
        };
        for feed in &chosen {
            if let Err(why) = check(place, &catalog, feed) {
                output::say(&format!("{}: {why:#}", feed.id));
                wrong += 1;
            }
        }
        output::print(&format!("{} feeds checked, {wrong} with something wrong\n", chosen.len()))?;
        Ok(if wrong == 0 { Ended::Done } else { Ended::WithRejects })
    }
}

/// Reads the feed's sample: it must give events.
fn check(place: &Place, catalog: &Catalog, feed: &Feed) -> Result<()> {
    let reports = reports_of(place, catalog, feed)?;
    if reports.is_empty() {
        bail!("it has no sample: put a report in its real form beside its table, as {}.sample", feed.id);
    }
    let mut events = 0;
    for report in reports {
        let mut splitter = Splitter::new(feed, report.as_slice());
        let mut reader = Reader::new(feed, Arrival { at: clock::now() });
        while let Some(rows) = splitter.next_rows().context("reading its sample")? {
            events += reader.read(rows).events.num_rows();
        }
    }
    if events == 0 {
        bail!("its sample gives no event");
    }
    Ok(())
}

impl Sample {
    fn run(&self, place: &Place) -> Result<Ended> {
        let catalog = place.catalog()?;
        let feed = find(&catalog, &self.id)?;
        for report in reports_of(place, &catalog, feed)? {
            output::print(&String::from_utf8_lossy(&report))?;
        }
        Ok(Ended::Done)
    }
}

impl Update {
    async fn run(&self, place: &Place) -> Result<Ended> {
        const MOST: u64 = 64 << 20;
        let mut document = Vec::new();
        open(&self.source, MOST).await?.take(MOST).read_to_end(&mut document).context("reading the document")?;
        let desk = place.desk(Access::Write).await?;
        let updated = desk.update_feeds(&operator(), &self.provider, &document, clock::now())?;
        output::say(&format!(
            "{} report types, {} of them new, {} with new columns: {}",
            updated.all,
            updated.new.len(),
            updated.extended.len(),
            updated.path.display()
        ));
        for name in &updated.new {
            output::say(&format!(
                "new: {}/{name}; see what is guessed about it with `waglan feed show {}/{name}`",
                self.provider, self.provider
            ));
        }
        for (name, columns) in &updated.extended {
            output::say(&format!("new columns: {}/{name}: {}", self.provider, columns.join(" ")));
        }
        for (name, why) in &updated.refused {
            output::say(&format!("refused: {name}: {why}"));
        }
        Ok(if updated.refused.is_empty() { Ended::Done } else { Ended::WithRejects })
    }
}
