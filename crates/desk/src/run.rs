//! The program by itself: every source is looked at when it is due, and what comes is taken in.

use anyhow::{Context, Result};
use feed::Catalog;
use pipeline::{Clock, Of, Planned, Running, sources};
use tokio::sync::watch;
use tracing::warn;

use crate::actor::{Action, Actor};
use crate::configuration::Configuration;
use crate::desk::Desk;

/// Every source that the configuration names, checked as a whole: what is wrong with any is said before anything runs.
pub fn plans(configuration: &Configuration, catalog: &Catalog) -> Result<Vec<Planned>> {
    configuration.alarms.check()?;
    let mut plans = Vec::new();
    for (name, source) in configuration.source.iter().filter(|(_, source)| !source.off) {
        plans.push(source.plan(name, catalog).with_context(|| format!("[source.{name}] in the configuration"))?);
    }
    let by_tables = sources::by_tables(&configuration.collect, catalog).context("collect in the configuration")?;
    // A feed with a section of its own is fetched as that says.
    let named = |of: &Of| configuration.source.values().any(|source| matches!(of, Of::Feed(id) if source.feed.as_ref() == Some(id)));
    plans.extend(by_tables.into_iter().filter(|plan| !named(&plan.of)));
    Ok(plans)
}

impl Desk {
    /// As [`plans`], of this desk's configuration and feeds.
    pub fn plans(&self) -> Result<Vec<Planned>> {
        plans(&self.configuration, &self.catalog)
    }

    /// Runs these sources until `stop` says so; each once only where `once` does.
    pub async fn run(&self, actor: &Actor, plans: Vec<Planned>, once: bool, clock: &Clock, stop: watch::Receiver<bool>) -> Result<()> {
        actor.require(Action::Ingest)?;
        let running = Running {
            at_once: self.configuration.run.at_once,
            memories: self.memories_folder()?,
            grace: self.configuration.run.grace.0,
            once,
        };
        let sources = pipeline::run(plans, &running, clock, stop, async |handed| {
            let mut outcomes = Vec::new();
            self.ingest(actor, handed, clock.now(), &mut |outcome| outcomes.push(outcome)).await?;
            Ok(outcomes)
        });
        let alarms = async {
            loop {
                clock.sleep(self.configuration.alarms.every.0).await;
                self.look_for_alarms(actor, clock).await;
            }
        };
        tokio::select! {
            ended = sources => ended?,
            () = alarms => {}
        }
        if once {
            self.look_for_alarms(actor, clock).await;
        }
        Ok(())
    }

    /// Raises alarms; what goes wrong with that must not stop what is taken in.
    async fn look_for_alarms(&self, actor: &Actor, clock: &Clock) {
        match self.raise_alarms(actor, clock.now()).await {
            Ok(untold) => untold.into_iter().for_each(|why| warn!("an alarm: {why}")),
            Err(error) => warn!(error = format!("{error:#}"), "whether something is wrong could not be found out"),
        }
    }
}
