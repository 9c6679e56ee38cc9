//! Deliveries in, and read again.

use anyhow::Result;
use event::time::Micros;
use pipeline::{HandedIn, Intake, Of, Outcome, Reread, What};

use crate::actor::{Action, Actor};
use crate::desk::Desk;

impl Desk {
    /// That there is such a feed or provider.
    pub fn require(&self, of: &Of) -> Result<()> {
        pipeline::require(&self.catalog, of)
    }

    /// Takes deliveries in; first those that a process which died has left.
    pub async fn ingest(
        &self,
        actor: &Actor,
        deliveries: impl IntoIterator<Item = HandedIn>,
        now: Micros,
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> Result<()> {
        actor.require(Action::Ingest)?;
        self.audit.write(actor, Action::Ingest, "deliveries", now)?;
        self.keep_sets()?;
        let intake = self.intake();
        intake.recover(now, each).await?;
        intake.ingest(deliveries, now, each).await?;
        self.refresh_sightings(now).await
    }

    /// Reads kept reports again.
    pub async fn reread(&self, actor: &Actor, what: &What, now: Micros) -> Result<Vec<Reread>> {
        actor.require(Action::Reread)?;
        self.audit.write(actor, Action::Reread, &format!("{what:?}"), now)?;
        self.keep_sets()?;
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
