//! `waglan run`: the service. Sources are looked at when they are due, until the program is told to stop.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use desk::{Access, Desk};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::operator;
use crate::{Ended, Place, clock, output, service};

/// Looks at every source of the configuration when it is due, takes in what comes, and looks after the store once a day.
///
/// SIGTERM or SIGINT: stops, once what is being taken in is stored. SIGHUP: reads configuration and feeds anew.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Look at each source once, now, and end
    #[arg(long)]
    once: bool,
}

/// Why the sources stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    Told,
    /// To go on with what is in the configuration now.
    ToReload,
    AllDone,
}

impl Run {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let clock = clock::clock()?;
        let mut desk = Arc::new(place.desk(Access::Write).await?);
        let (latest, desks) = watch::channel(desk.clone());
        let mut beside = JoinSet::new();
        if let Some(address) = desk.configuration().run.metrics {
            let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}, for metrics"))?;
            output::say(&format!("metrics at http://{}/metrics", listener.local_addr()?));
            beside.spawn(web::serve(listener, desks, clock.clone()));
        }
        loop {
            let plans = desk.plans()?;
            if plans.is_empty() {
                bail!("the configuration names no source: say collect = [\"PROVIDER/*\"], or add a section [source.NAME]");
            }
            output::say(&format!("{} sources", plans.len()));
            service::tell("READY=1");
            let (stop, stopping) = watch::channel(false);
            let operator = operator();
            let running = desk.run(&operator, plans, self.once, &clock, stopping);
            let (done, why) = until_stopped(running, &stop).await?;
            done?;
            match why {
                Stopped::AllDone | Stopped::Told => return Ok(Ended::Done),
                Stopped::ToReload => {
                    service::tell("RELOADING=1");
                    desk = reloaded(place, desk).await;
                    latest.send_replace(desk.clone());
                }
            }
        }
    }
}

/// Runs to the end, or to a signal's: then what is at work is let finish. A second signal ends it at once.
async fn until_stopped(running: impl Future<Output = Result<()>>, stop: &watch::Sender<bool>) -> Result<(Result<()>, Stopped)> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
    let mut reload = signal(SignalKind::hangup()).context("listening for signals")?;
    let mut watchdog = service::watchdog();
    let mut running = std::pin::pin!(running);
    let mut why = Stopped::AllDone;
    loop {
        let signalled = tokio::select! {
            done = &mut running => return Ok((done, why)),
            () = watchdog.wait() => {
                service::tell("WATCHDOG=1");
                continue;
            }
            _ = terminate.recv() => Stopped::Told,
            _ = interrupt.recv() => Stopped::Told,
            _ = reload.recv() => Stopped::ToReload,
        };
        match (why, signalled) {
            (Stopped::Told, Stopped::Told) => bail!("stopped at once: what was being taken in is finished by the next start"),
            (_, Stopped::Told) => {
                service::tell("STOPPING=1");
                output::say("stopping, once what is being taken in is stored");
            }
            _ => output::say("reading configuration and feeds anew"),
        }
        why = if why == Stopped::Told { why } else { signalled };
        stop.send_replace(true);
    }
}

/// A desk with today's configuration and feeds; the one there was, where they cannot be read.
async fn reloaded(place: &Place, before: Arc<Desk>) -> Arc<Desk> {
    let opened = match place.desk(Access::Write).await {
        Ok(desk) => desk.plans().map(|_| Arc::new(desk)),
        Err(error) => Err(error),
    };
    opened.unwrap_or_else(|error| {
        output::say(&format!("error: it goes on with what it had, for the new configuration is not sound: {error:#}"));
        before
    })
}
