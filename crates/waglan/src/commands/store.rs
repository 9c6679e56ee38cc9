//! `waglan store`: looking after what is stored. Commands that a schedule can call.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use desk::Access;

use super::operator;
use crate::{Ended, Place, clock, output};

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Merge small files
    Compact,
    /// Delete files that are part of the tables no more, and pack old reports
    Vacuum(Vacuum),
    /// Take out what the configuration's retention lets nobody keep
    Retain,
    /// Take a report, or what was said of a person, out for good: no older version brings it back
    Erase(Erase),
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The report, by its hash
    #[arg(long, value_name = "HASH", required_unless_present = "person", conflicts_with = "person")]
    report: Option<String>,
    /// A value that names the person, such as an address of mail; may be given several times
    #[arg(long, value_name = "VALUE")]
    person: Vec<String>,
    /// Why; it stays in the record of erasures
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Vacuum {
    /// How long older versions of the tables can still be read, in days [default: 7]
    #[arg(long)]
    keep_days: Option<u32>,
}

impl StoreCommand {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let desk = place.desk(Access::Write).await?;
        let (actor, now) = (operator(), clock::now());
        let mut ended = Ended::Done;
        let said = match self {
            StoreCommand::Compact => {
                let done = desk.compact(&actor, now).await?;
                format!("{} files became {}, {} rows", done.files_before, done.files_after, done.rows)
            }
            StoreCommand::Vacuum(vacuum) => {
                let keep = vacuum.keep_days.map_or(desk::KEPT_VERSIONS, |days| Duration::from_secs(u64::from(days) * 86_400));
                let (done, packed) = desk.vacuum(&actor, keep, now).await?;
                format!(
                    "{} files deleted, {} MiB, {} entries of logs; {packed} reports packed",
                    done.files,
                    done.size >> 20,
                    done.log_entries
                )
            }
            StoreCommand::Erase(erase) => {
                let (done, sightings) = match &erase.report {
                    Some(report) => {
                        let (done, lost) = desk.erase_report(&actor, report, &erase.reason, now).await?;
                        for why in lost {
                            output::say(&format!("what other reports said as well, and was first read from this one, is gone too: {why}"));
                            ended = Ended::WithRejects;
                        }
                        (done, "sightings of its days counted anew".to_owned())
                    }
                    None => {
                        let done = desk.erase_person(&actor, &erase.person, &erase.reason, now).await?;
                        for path in done.in_use {
                            let path = path.display();
                            output::say(&format!("{path} says it too, and is about to be stored: repeat the erasure once it is"));
                            ended = Ended::WithRejects;
                        }
                        for kept in done.out_of_reach {
                            output::say(&format!("not looked through, since it is out of reach: {kept}"));
                        }
                        let beside = format!("{} sightings; {} messages that were not stored", done.erasure.sightings, done.messages);
                        (done.erasure, beside)
                    }
                };
                output::say("backups that were made before still hold it: make each anew with `waglan backup DEST`");
                format!("erased: {} events, {} rejects; {} kept reports; {sightings}", done.events, done.rejects, done.reports)
            }
            StoreCommand::Retain => {
                let done = desk.retain(&actor, now).await?;
                for idle in desk.idle_retention(&operator()).await? {
                    output::say(&idle);
                    ended = Ended::WithRejects;
                }
                format!(
                    "{} events taken out or shortened, {} rejects taken out, {} sightings shortened; {} kept reports deleted",
                    done.events, done.rejects, done.sightings, done.reports
                )
            }
        };
        output::say(&said);
        Ok(ended)
    }
}
