//! `waglan run`: the service. Sources are looked at when they are due, until the program is told to stop.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use desk::{Access, Desk, Planned};
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

/// What signals have asked for so far.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    to_stop: bool,
    /// How many times to go on with what is in the configuration now.
    to_reload: u64,
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
        let (say, asked) = watch::channel(Asked::default());
        // A task of its own: while a long report is read, this one would hear nothing.
        let mut listening = JoinSet::from_iter([listen(say)]);
        loop {
            let plans = sound_plans(&desk)?;
            output::say(&format!("{} sources", plans.len()));
            service::tell("READY=1");
            let known = asked.borrow().to_reload;
            let (stop, stopping) = watch::channel(false);
            let _stopper = JoinSet::from_iter([stop_when_asked(asked.clone(), known, stop)]);
            let operator = operator();
            tokio::select! {
                done = desk.run(&operator, plans, self.once, &clock, stopping) => done?,
                ended = listening.join_next() => match ended.context("it listens to the end")?.context("listening for signals")?? {},
            }
            let now = *asked.borrow();
            if now.to_stop || now.to_reload == known {
                return Ok(Ended::Done);
            }
            desk = reloaded(place, desk).await;
            latest.send_replace(desk.clone());
        }
    }
}

/// What the configuration has the desk look at, which is something.
fn sound_plans(desk: &Desk) -> Result<Vec<Planned>> {
    let plans = desk.plans()?;
    if plans.is_empty() {
        bail!("the configuration names no source: say collect = [\"PROVIDER/*\"], or add a section [source.NAME]");
    }
    Ok(plans)
}

async fn stop_when_asked(mut asked: watch::Receiver<Asked>, known: u64, stop: watch::Sender<bool>) {
    // Whoever listens is gone at the end of the program only.
    drop(asked.wait_for(|asked| asked.to_stop || asked.to_reload > known).await);
    stop.send_replace(true);
}

/// Hears signals from the program's start to its end, and tells the service manager that it is alive. A second signal to stop is an
/// error, which ends all at once.
async fn listen(asked: watch::Sender<Asked>) -> Result<Infallible> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
    let mut reload = signal(SignalKind::hangup()).context("listening for signals")?;
    let mut watchdog = service::watchdog();
    loop {
        let is_to_stop = tokio::select! {
            () = watchdog.wait() => {
                service::tell("WATCHDOG=1");
                continue;
            }
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
            _ = reload.recv() => false,
        };
        let stops = asked.borrow().to_stop;
        match (stops, is_to_stop) {
            (true, true) => bail!("stopped at once: what was being taken in is finished by the next start"),
            (true, false) => {}
            (false, true) => {
                service::tell("STOPPING=1");
                output::say("stopping, once what is being taken in is stored");
                asked.send_modify(|asked| asked.to_stop = true);
            }
            (false, false) => {
                service::tell(&service::reloading());
                output::say("reading configuration and feeds anew");
                asked.send_modify(|asked| asked.to_reload += 1);
            }
        }
    }
}

/// A desk with today's configuration and feeds; the one there was, where they cannot be read.
async fn reloaded(place: &Place, before: Arc<Desk>) -> Arc<Desk> {
    let opened = match place.desk(Access::Write).await {
        Ok(desk) => sound_plans(&desk).map(|_| Arc::new(desk)),
        Err(error) => Err(error),
    };
    opened.unwrap_or_else(|error| {
        output::say(&format!("error: it goes on with what it had, for the new configuration is not sound: {error:#}"));
        before
    })
}
