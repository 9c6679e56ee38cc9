//! What looks after the store by itself, once a day: retention, merging, and deleting what nobody has a use for any more.
//!
//! When it was done last is remembered in a file, so that a night that was missed, since nothing ran or since it failed, is made up.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use event::time::{self, Micros};
use futures::FutureExt;
use pipeline::Clock;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::actor::{Action, Actor};
use crate::desk::Desk;
use crate::tables::write_whole;

/// How long older versions of the tables can be read, where nobody says.
pub const KEPT_VERSIONS: Duration = Duration::from_secs(7 * 86_400);

/// The wait after it failed.
const AGAIN: Micros = 3600 * time::SECOND;

/// When it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Daily(
    /// Since midnight, UTC; none for never.
    Option<Micros>,
);

impl Default for Daily {
    fn default() -> Daily {
        Daily(Some(3 * 3600 * time::SECOND))
    }
}

impl Daily {
    /// Of `03:00`, `03:00+08:00` or `off`.
    fn parse(text: &str) -> Option<Daily> {
        if text == "off" {
            return Some(Daily(None));
        }
        let minutes = |text: &str| {
            let (hours, minutes) = text.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2)?;
            let (hours, minutes): (i64, i64) = (hours.parse::<u8>().ok()?.into(), minutes.parse::<u8>().ok()?.into());
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let (clock, zone) = text.split_at_checked(5)?;
        let offset = match zone.split_at_checked(1) {
            None | Some(("Z", "")) => 0,
            Some(("+", ahead)) => minutes(ahead)?,
            Some(("-", behind)) => -minutes(behind)?,
            Some(_) => return None,
        };
        Some(Daily(Some((minutes(clock)? - offset).rem_euclid(24 * 60) * 60 * time::SECOND)))
    }

    /// The first such time after another.
    fn after(self, last: Micros) -> Option<Micros> {
        let that_day = last.div_euclid(time::DAY) * time::DAY + self.0?;
        Some(if that_day > last { that_day } else { that_day + time::DAY })
    }
}

impl<'de> Deserialize<'de> for Daily {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Daily, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || serde::de::Error::custom(format!("\"{text}\" is no time of day: \"03:00\" (UTC), \"03:00+08:00\", or \"off\""));
        Daily::parse(&text).ok_or_else(wrong)
    }
}

/// How it went last.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
struct Memory {
    /// Of this form.
    version: u32,
    /// When it was done last; or when it was first thought of.
    done: Micros,
    /// When it was tried last, if that failed, and why it did.
    failed: Option<(Micros, String)>,
}

/// The form of the memory that is written.
const VERSION: u32 = 1;

const MEMORY: &str = "upkeep.json";

impl Memory {
    fn read(folder: &Path) -> Result<Option<Memory>> {
        let path = folder.join(MEMORY);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let memory: Memory = serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
        match memory.version > VERSION {
            true => Err(anyhow!("{} was written by a later version of the program", path.display())),
            false => Ok(Some(memory)),
        }
    }

    /// As well as can be: a full disk must not keep from being done what makes room on it.
    fn keep(&self, folder: &Path) {
        let text = serde_json::to_vec_pretty(self).expect("numbers and text");
        if let Err(error) = write_whole(&folder.join(MEMORY), &text) {
            warn!(error = format!("{error:#}"), "how the upkeep went could not be remembered");
        }
    }

    /// When it is to be done next.
    fn due(&self, daily: Daily) -> Option<Micros> {
        let due = daily.after(self.done)?;
        Some(self.failed.as_ref().map_or(due, |(failed, _)| due.max(failed + AGAIN)))
    }
}

impl Desk {
    /// Looks after the store whenever it is time, and does not end by itself. What fails is said, and tried again an hour later.
    pub(crate) async fn keep_up(&self, actor: &Actor, clock: &Clock) -> Result<()> {
        let (folder, daily) = (self.tables_folder()?, self.configuration.run.upkeep);
        let mut memory = match Memory::read(folder)? {
            Some(memory) => memory,
            None => {
                let first = Memory { version: VERSION, done: clock.now(), failed: None };
                first.keep(folder);
                first
            }
        };
        while let Some(due) = memory.due(daily) {
            clock.sleep_until(due).await;
            let now = clock.now();
            let looked_after = AssertUnwindSafe(self.look_after(actor, clock)).catch_unwind().await;
            let failed = looked_after.unwrap_or_else(|_| vec!["the program has a fault, which standard error shows".to_owned()]);
            memory = match failed.is_empty() {
                true => Memory { version: VERSION, done: now, failed: None },
                false => Memory { failed: Some((clock.now(), failed.join("; "))), ..memory },
            };
            memory.keep(folder);
        }
        Ok(())
    }

    /// All of it once; says what failed, which keeps nothing else from being done.
    async fn look_after(&self, actor: &Actor, clock: &Clock) -> Vec<String> {
        let mut failed = Vec::new();
        let mut note = |what: &str, done: Result<String>| match done {
            Ok(done) => info!(what, done, "upkeep"),
            Err(error) => {
                warn!(what, error = format!("{error:#}"), "upkeep failed: it is tried again in an hour");
                failed.push(format!("{what}: {error:#}"));
            }
        };
        // Retention waits until nothing is taken in, and nothing is meanwhile: only where something is to go at all.
        if self.configuration.retention.is_some() {
            let done = self.retain(actor, clock.now()).await;
            note("retain", done.map(|done| format!("{} events, {} rejects, {} reports", done.events, done.rejects, done.reports)));
        }
        let done = self.compact(actor, clock.now()).await;
        note("compact", done.map(|done| format!("{} files became {}", done.files_before, done.files_after)));
        let done = self.vacuum(actor, KEPT_VERSIONS, clock.now()).await;
        note("vacuum", done.map(|(done, packed)| format!("{} files deleted, {packed} reports packed", done.files)));
        failed
    }

    /// Why the last upkeep failed, as a sentence; nothing if it did not.
    pub fn failed_upkeep(&self, actor: &Actor) -> Result<Option<String>> {
        actor.require(Action::Query)?;
        let Some(folder) = &self.folder else { return Ok(None) };
        let failed = Memory::read(folder)?.and_then(|memory| memory.failed);
        Ok(failed.map(|(at, why)| format!("the upkeep of {} failed, and is tried again by `waglan run`: {why}", time::iso(at))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(daily: &str, last: &str, expected: Option<&str>) {
        let last = time::parse(last).expect("a time");
        let next = Daily::parse(daily).expect("it is one").after(last);
        assert_eq!(next.map(time::iso).as_deref(), expected);
    }

    #[test]
    fn the_next_night_is_the_first_after_the_last() {
        check("03:00", "2026-03-01T02:00:00Z", Some("2026-03-01T03:00:00Z"));
        check("03:00", "2026-03-01T03:00:00Z", Some("2026-03-02T03:00:00Z"));
        check("03:00Z", "2026-03-01T23:00:00Z", Some("2026-03-02T03:00:00Z"));
        check("03:00+08:00", "2026-03-01T12:00:00Z", Some("2026-03-01T19:00:00Z"));
        check("22:30-03:30", "2026-03-01T12:00:00Z", Some("2026-03-02T02:00:00Z"));
        check("off", "2026-03-01T12:00:00Z", None);
    }

    #[test]
    fn what_is_no_time_of_day_is_none() {
        for text in ["", "3:00", "24:00", "03:60", "03:00+8", "03:00 HKT", "night", "03-00"] {
            assert_eq!(Daily::parse(text), None, "{text}");
        }
    }
}
