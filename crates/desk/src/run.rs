//! The program by itself: every source is looked at when it is due, and what comes is taken in.

use std::sync::Arc;

use anyhow::{Result, bail};
use feed::Catalog;
use pipeline::{Clock, Of, Planned, Running, sources};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use crate::actor::{Action, Actor};
use crate::configuration::Configuration;
use crate::desk::Desk;

/// Every source that the configuration names, checked as a whole: what is wrong with any is said before anything runs, of all at once.
pub fn plans(configuration: &Configuration, catalog: &Catalog) -> Result<Vec<Planned>> {
    let place = |key: &str| configuration.places.of_key(key);
    let mut wrong = configuration.alarms.check(&configuration.places);
    let mut plans = Vec::new();
    for (name, source) in configuration.source.iter().filter(|(_, source)| !source.off) {
        match source.plan(name, catalog) {
            Ok(plan) => plans.push(plan),
            Err(why) => wrong.push(why.context(format!("[source.{name}] in {}", place(&format!("source.{name}"))))),
        }
    }
    match sources::by_tables(&configuration.collect, catalog) {
        // A feed with a section of its own is fetched as that says.
        Ok(by_tables) => {
            let named =
                |of: &Of| configuration.source.values().any(|source| matches!(of, Of::Feed(id) if source.feed.as_ref() == Some(id)));
            plans.extend(by_tables.into_iter().filter(|plan| !named(&plan.of)));
        }
        Err(why) => wrong.push(why.context(format!("collect in {}", place("collect")))),
    }
    match wrong.len() {
        0 => Ok(plans),
        1 => Err(wrong.remove(0)),
        _ => bail!(wrong.iter().map(|why| format!("{why:#}")).collect::<Vec<_>>().join("\n")),
    }
}

impl Desk {
    /// As [`plans`], of this desk's configuration and feeds.
    pub fn plans(&self) -> Result<Vec<Planned>> {
        plans(&self.configuration, &self.catalog)
    }

    /// Runs these sources until `stop` says so, and looks after the store beside; each source once, and nothing beside, where
    /// `once` does.
    pub async fn run(
        self: &Arc<Desk>,
        actor: &Actor,
        plans: Vec<Planned>,
        once: bool,
        clock: &Clock,
        stop: watch::Receiver<bool>,
    ) -> Result<()> {
        actor.require(Action::Ingest)?;
        let running = Running {
            at_once: self.configuration.run.at_once,
            memories: self.memories_folder()?,
            grace: self.configuration.run.grace.0,
            once,
        };
        // On threads of their own, so that taking in does not wait for them. What of it is cut short is done again.
        let mut beside = JoinSet::new();
        if !once {
            let (desk, operator, its_clock) = (self.clone(), actor.clone(), clock.clone());
            beside.spawn(async move {
                if let Err(error) = desk.keep_up(&operator, &its_clock).await {
                    warn!(error = format!("{error:#}"), "the store is not looked after");
                }
            });
            beside.spawn(self.clone().watch_over(actor.clone(), clock.clone()));
        }
        let done = pipeline::run(plans, &running, clock, stop, async |handed| {
            let mut outcomes = Vec::new();
            self.ingest(actor, handed, clock.now(), &mut |outcome| outcomes.push(outcome)).await?;
            Ok(outcomes)
        })
        .await;
        beside.shutdown().await;
        if once {
            self.look_for_alarms(actor, clock).await;
        }
        done
    }

    /// Raises alarms as time goes by.
    async fn watch_over(self: Arc<Self>, actor: Actor, clock: Clock) {
        loop {
            clock.sleep(self.configuration.alarms.every.0).await;
            self.look_for_alarms(&actor, &clock).await;
        }
    }

    /// Raises alarms; what goes wrong with that must not stop what is taken in.
    async fn look_for_alarms(&self, actor: &Actor, clock: &Clock) {
        match self.raise_alarms(actor, clock.now()).await {
            Ok(untold) => untold.into_iter().for_each(|why| warn!("an alarm: {why}")),
            Err(error) => warn!(error = format!("{error:#}"), "whether something is wrong could not be found out"),
        }
    }
}
