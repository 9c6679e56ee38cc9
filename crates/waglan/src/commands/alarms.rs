//! `waglan alarms`: what is wrong, and whether whoever is on duty hears of it.

use anyhow::Result;
use clap::Subcommand;
use desk::Access;
use event::time;

use super::operator;
use crate::{Ended, Place, clock, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Alarms {
    /// What somebody was told of and is not over, by mail or webhook
    List,
    /// Send a message by every output of the configuration, to see whether it arrives
    ///
    /// Exit 1: one was not taken.
    Test,
}

impl Alarms {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        match self {
            Alarms::List => {
                let desk = place.desk(Access::Read).await?;
                for (by, troubles) in desk.standing_alarms(&operator())? {
                    for trouble in troubles {
                        let since = time::iso(trouble.since);
                        output::print(&format!("{since} by {by}: {} is {}: {}\n", trouble.what, trouble.state, trouble.why))?;
                    }
                }
                Ok(Ended::Done)
            }
            Alarms::Test => {
                let desk = place.desk(Access::Write).await?;
                let tried = desk.test_alarms(&operator(), clock::clock()?.now()).await?;
                if tried.is_empty() {
                    output::say("the configuration says nobody who is to hear of alarms: add [alarms.mail] or [alarms.webhook]");
                }
                let mut ended = if tried.is_empty() { Ended::WithRejects } else { Ended::Done };
                for (by, taken) in tried {
                    match taken {
                        Ok(()) => output::print(&format!("{by}: taken\n"))?,
                        Err(error) => {
                            output::say(&format!("{by}: not taken: {error:#}"));
                            ended = Ended::WithRejects;
                        }
                    }
                }
                Ok(ended)
            }
        }
    }
}
