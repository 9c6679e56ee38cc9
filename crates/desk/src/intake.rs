//! Deliveries in, and read again.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use event::time::{self, Micros};
use feed::Feed;
use feed::catalog::{self, Unpicked};
use pipeline::{Delivery, Intake, Reread, Summary, What};

use crate::actor::{Action, Actor};
use crate::desk::Desk;

/// How the feed of a file is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick<'a> {
    Feed(&'a str),
    /// By the file's name, or where that says nothing by its header.
    Provider(&'a str),
}

impl Desk {
    /// The feed of a file.
    pub fn pick(&self, pick: Pick<'_>, path: &Path) -> Result<&Feed> {
        pick_feed(&self.catalog, pick, path)
    }

    /// Takes deliveries in; first those that a process which died has left.
    pub async fn ingest(
        &self,
        actor: &Actor,
        deliveries: impl IntoIterator<Item = Delivery>,
        now: Micros,
        each: &mut (dyn FnMut(Summary) + Send),
    ) -> Result<()> {
        actor.require(Action::Ingest)?;
        self.audit.write(actor, Action::Ingest, "deliveries", now)?;
        let intake = self.intake();
        intake.recover(now, each).await?;
        intake.ingest(deliveries, now, each).await?;
        self.refresh_sightings(now).await
    }

    /// Reads kept reports again.
    pub async fn reread(&self, actor: &Actor, what: &What, now: Micros) -> Result<Vec<Reread>> {
        actor.require(Action::Reread)?;
        self.audit.write(actor, Action::Reread, &format!("{what:?}"), now)?;
        let done = self.intake().reread(what, now).await?;
        self.refresh_sightings(now).await?;
        Ok(done)
    }

    /// Counts the days anew that changed. Lists of context are looked things up in, and make no sightings.
    pub(crate) async fn refresh_sightings(&self, now: Micros) -> Result<()> {
        let context = |id: &str| self.catalog.feed(id).is_some_and(|feed| feed.delivers == event::Delivers::Context);
        self.store.refresh_sightings(context, now).await?;
        Ok(())
    }

    pub(crate) fn intake(&self) -> Intake<'_> {
        Intake { store: &self.store, catalog: &self.catalog, tables: &self.tables, threads: self.threads(), writer: &self.writer }
    }
}

/// When a delivery came, if its file's name says so.
pub fn stated_time(feed: &Feed, path: &Path) -> Option<Micros> {
    let day = catalog::day_of(feed, path.file_name()?.to_str()?)?;
    // The report of a day comes at its end.
    time::parse(&day).ok().map(|midnight| midnight + time::DAY - time::SECOND)
}

/// The feed of a file, by what the caller knows of it.
pub fn pick_feed<'c>(catalog: &'c feed::Catalog, pick: Pick<'_>, path: &Path) -> Result<&'c Feed> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match pick {
        Pick::Feed(id) => catalog.feed(id).ok_or_else(|| unknown_feed(catalog, id)),
        Pick::Provider(provider) => catalog.pick(provider, name, |feed| header_of(feed, path)).map_err(|why| match why {
            Unpicked::NoSuchProvider => anyhow!("there is no provider \"{provider}\"; `waglan feed list` shows all"),
            Unpicked::Unknown => anyhow!("no feed of {provider} has files like \"{name}\", by name or header; say which with --feed"),
            Unpicked::Several(ids) => anyhow!("the header of \"{name}\" is that of {}; say which with --feed", ids.join(", ")),
        }),
    }
}

fn unknown_feed(catalog: &feed::Catalog, id: &str) -> anyhow::Error {
    match catalog.similar(id).as_slice() {
        [] => anyhow!("there is no feed \"{id}\"; `waglan feed list` shows all"),
        similar => anyhow!("there is no feed \"{id}\"; is it {}?", similar.join(", ")),
    }
}

/// The header that a file has, read in the form of one of its provider's feeds.
fn header_of(feed: &Feed, path: &Path) -> Option<Vec<String>> {
    let file = std::fs::File::open(path).ok()?;
    let size = file.metadata().ok()?.len();
    let input = feed::unpack::unpack(file, size, feed::unpack::Caps::default()).ok()?;
    let mut splitter = feed::Splitter::new(feed, input);
    splitter.next_rows().ok()?;
    splitter.header()
}

/// A name for what is handed in on standard input.
pub fn refuse_unnamed(pick: Pick<'_>) -> Result<&str> {
    match pick {
        Pick::Feed(id) => Ok(id),
        Pick::Provider(_) => bail!("standard input has no name to pick a feed by; say which with --feed"),
    }
}
