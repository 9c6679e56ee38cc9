//! Deliveries in, and read again.

use anyhow::Result;
use event::time::{self, Micros};
use pipeline::{Enrichment, HandedIn, Intake, Of, Outcome, Reread, What};
use store::{Arrival, Work};
use tracing::{instrument, warn};

use crate::actor::{Action, Actor};
use crate::desk::Desk;

impl Desk {
    /// That there is such a feed or provider.
    pub fn require(&self, of: &Of) -> Result<()> {
        pipeline::require(&self.catalog, of)
    }

    /// Takes deliveries in; first those that a process which died has left.
    #[instrument(skip_all)]
    pub async fn ingest(
        &self,
        actor: &Actor,
        deliveries: impl IntoIterator<Item = HandedIn>,
        now: Micros,
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> Result<()> {
        actor.require(Action::Ingest)?;
        let _at_work = self.store.begin(Work::Intake).await?;
        self.keep_tables()?;
        let intake = self.intake();
        intake.recover(now, each).await?;
        // Each is written down before it is taken in; where it cannot be, none is from there on.
        let mut unwritten = None;
        let deliveries = deliveries.into_iter().map_while(|handed| {
            let subject = format!("{} of {}", handed.origin, handed.of);
            unwritten = self.audit.write(actor, Action::Ingest, &subject, now).err();
            unwritten.is_none().then_some(handed)
        });
        intake.ingest(deliveries, now, each).await?;
        if let Some(error) = unwritten {
            return Err(error);
        }
        self.refresh_sightings(now).await
    }

    /// Reads kept reports again.
    #[instrument(skip_all)]
    pub async fn reread(&self, actor: &Actor, what: &What, enrichment: Enrichment, now: Micros) -> Result<Vec<Reread>> {
        actor.require(Action::Reread)?;
        self.audit.write(actor, Action::Reread, &format!("{what:?}, enriched {enrichment:?}"), now)?;
        let _at_work = self.store.begin(Work::Intake).await?;
        self.take_up_the_abandoned(now).await?;
        let done = self.intake().reread(what, enrichment, now).await?;
        self.refresh_sightings(now).await?;
        Ok(done)
    }

    /// Takes in what a process that died has left: before anything else is done to its days.
    pub(crate) async fn take_up_the_abandoned(&self, now: Micros) -> Result<()> {
        let mut each = |outcome| {
            if let Outcome::Refused { origin, why } = outcome {
                warn!(origin, why = format!("{why:#}"), "a delivery waits");
            }
        };
        self.keep_tables()?;
        self.intake().recover(now, &mut each).await.map(|_| ())
    }

    /// Deliveries that are kept and wait to be understood, as sentences.
    pub async fn waiting(&self, actor: &Actor, now: Micros) -> Result<Vec<String>> {
        actor.require(Action::Query)?;
        let waits = |arrival: Arrival| {
            let (origin, feed, time) = (arrival.origin, arrival.feed, time::iso(arrival.time));
            format!("{origin} of {feed}, {time}, waits to be understood: `waglan ingest` takes it up, or says what is in the way")
        };
        Ok(self.store.abandoned_arrivals(now).await?.into_iter().map(waits).collect())
    }

    /// Counts the days anew that changed. Lists of context are looked things up in, and make no sightings.
    #[instrument(skip_all)]
    pub(crate) async fn refresh_sightings(&self, now: Micros) -> Result<()> {
        let context = |id: &str| self.catalog.feed(id).is_some_and(|feed| feed.delivers == event::Delivers::Context);
        self.store.refresh_sightings(context, now).await?;
        Ok(())
    }

    pub(crate) fn intake(&self) -> Intake<'_> {
        let Desk { store, catalog, tables, writer, .. } = self;
        Intake { store, catalog, tables, kept_tables: self, threads: self.threads(), writer }
    }
}
