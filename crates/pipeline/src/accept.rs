//! What is handed in becomes kept reports, each with an arrival: the first step of a delivery, after which nothing can
//! lose it. Bytes that cannot be kept keep nothing else out.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek};
use std::path::PathBuf;

use anyhow::{Context, Error, Result, anyhow, bail};
use event::time::Micros;
use feed::unpack::{Caps, Damaged, unpack};
use feed::{Feed, redact};
use tracing::instrument;

use crate::ingest::{Intake, Outcome, Run};
use crate::open::{Opened, Peeked, Source, open};
use crate::pick::{Of, Unread, pick};

/// What somebody hands in: a report, packed or not, or an archive of several.
#[derive(Debug)]
pub struct HandedIn {
    pub of: Of,
    /// When it arrived. Where nobody says so a report's name may; else it is now.
    pub at: Option<Micros>,
    /// Where it came from: a path, or anything that ends with a file's name.
    pub origin: String,
    pub input: Input,
}

#[derive(Debug)]
pub enum Input {
    File(PathBuf),
    Bytes(Vec<u8>),
    /// A report that is kept already, and has come again: whoever has it says that it has not changed.
    Kept {
        feed: String,
        report_id: String,
    },
}

impl Input {
    fn open(&self) -> Result<Box<dyn Source + '_>> {
        Ok(match self {
            Input::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Input::Kept { .. } => bail!("a report that is kept is not handed in again"),
            Input::File(path) => {
                if !path.metadata().context("opening it")?.is_file() {
                    bail!("it is not a file: a report is handed in as a file, whole");
                }
                Box::new(BufReader::new(File::open(path).context("opening it")?))
            }
        })
    }
}

/// A report that is kept.
struct Accepted<'c> {
    feed: &'c Feed,
    at: Micros,
    origin: String,
    mark: store::ReportMark,
}

struct Refused {
    origin: String,
    why: Error,
}

impl Intake<'_> {
    /// Keeps what was handed in, each report with an arrival unless it is known.
    #[instrument(skip_all, fields(origin = %handed.origin, of = %handed.of))]
    pub(crate) async fn accept(&self, handed: HandedIn, run: &mut Run<'_>) -> Result<Vec<store::Arrival>> {
        let mut arrivals = Vec::new();
        let kept = match &handed.input {
            Input::Kept { feed, report_id } => vec![self.come_again(&handed, feed, report_id, run.now).await?],
            _ => tokio::task::block_in_place(|| self.keep(&handed, &run.known, run.now))?,
        };
        for kept in kept {
            let Accepted { feed, at, origin, mark } = match kept {
                Ok(accepted) => accepted,
                Err(Refused { origin, why }) => {
                    (run.each)(Outcome::Refused { origin, why });
                    continue;
                }
            };
            let arrival = store::Arrival {
                id: store::delivery_id(&feed.id, at, &mark.id),
                feed: feed.id.clone(),
                provider: feed.provider.clone(),
                time: at,
                origin,
                report_id: mark.id,
                size: mark.size,
                table_version: feed.version.clone(),
                tables: self.tables.name().to_owned(),
                owner: String::new(),
            };
            if run.known.get(&arrival.feed, &arrival.id).is_none() {
                self.store.put_arrival(&arrival).await?;
            }
            arrivals.push(arrival);
        }
        Ok(arrivals)
    }

    /// A report that is kept already, if it still is.
    async fn come_again(&self, handed: &HandedIn, feed: &str, report_id: &str, now: Micros) -> Result<Result<Accepted<'_>, Refused>> {
        let at = handed.at.unwrap_or(now);
        let refused = |why: Error| Ok(Err(Refused { origin: handed.origin.clone(), why }));
        let Some(feed) = self.catalog.feed_at(feed, at) else { return refused(anyhow!("there is no feed \"{feed}\" any more")) };
        let recorded = self.store.deliveries(Some(&feed.id)).await?.into_iter().find(|delivery| delivery.report_id == report_id);
        match recorded {
            Some(recorded) if self.store.has_report(report_id).await? => {
                let mark = store::ReportMark { id: report_id.to_owned(), size: recorded.size };
                Ok(Ok(Accepted { feed, at, origin: handed.origin.clone(), mark }))
            }
            _ => refused(anyhow!("the report {report_id} is not kept any more")),
        }
    }

    /// Keeps every report that was handed in and can be.
    fn keep(&self, handed: &HandedIn, known: &store::Recorded, now: Micros) -> Result<Vec<Result<Accepted<'_>, Refused>>> {
        let mut kept = Vec::new();
        // What keeps one report from being kept is its own affair; what keeps all, such as a full disk, ends it here.
        let mut failed = None;
        let opened = handed.input.open().and_then(|mut input| {
            let each = |opened: Opened<&mut dyn Read>| {
                let origin = opened.origin(&handed.origin);
                match self.keep_one(handed, &origin, opened, known, now) {
                    Ok(accepted) => kept.push(Ok(accepted)),
                    Err(Unkept::Refused(why)) => kept.push(Err(Refused { origin, why })),
                    Err(Unkept::Failed(error)) => {
                        let error = error.context(format!("keeping {origin}"));
                        return Err(io::Error::other(failed.insert(error).to_string()));
                    }
                }
                Ok(())
            };
            open(input.as_mut(), each).context("unpacking it")
        });
        match (failed, opened) {
            (Some(error), _) => return Err(error),
            (None, Err(why)) => kept.push(Err(Refused { origin: handed.origin.clone(), why })),
            (None, Ok(())) => {}
        }
        Ok(kept)
    }

    /// Keeps a report: as it came, and of one with a secret all but that.
    fn keep_one(
        &self,
        handed: &HandedIn,
        origin: &str,
        opened: Opened<&mut dyn Read>,
        known: &store::Recorded,
        now: Micros,
    ) -> Result<Accepted<'_>, Unkept> {
        let refused = |why: Error| Unkept::Refused(why);
        let Opened { name: name_in_archive, input, size, .. } = opened;
        let name = name_in_archive.as_deref().unwrap_or_else(|| origin.rsplit(['/', '\\']).next().unwrap_or_default());
        let mut report = Peeked::new(input);
        let unread = Unread { name, begins: || report.begins(), at: handed.at };
        let (feed, at) = pick(self.catalog, &handed.of, unread, now).map_err(refused)?;
        let mut has_secret = || report.begins().and_then(|begins| redact::is_needed(feed, begins.as_slice()));
        let mark = if redact::is_possible(feed) && has_secret().context("looking for secrets").map_err(refused)? {
            let mut plain = unpack(&mut report, size, Caps::default()).context("unpacking it").map_err(refused)?;
            self.keep_redacted(feed, plain.as_mut())
        } else if name_in_archive.is_some() {
            self.store.put_report(&mut report)
        } else {
            self.keep_whole(&handed.input, |mark| known.get(&feed.id, &store::delivery_id(&feed.id, at, &mark.id)).is_some())
        };
        let mark = mark.map_err(|error| match error.is::<store::WasErased>() {
            true => Unkept::Refused(store::WasErased.into()),
            false if is_damaged(&error) => Unkept::Refused(error),
            false => Unkept::Failed(error),
        })?;
        Ok(Accepted { feed, at, origin: origin.to_owned(), mark })
    }

    fn keep_whole(&self, input: &Input, is_known: impl FnOnce(&store::ReportMark) -> bool) -> Result<store::ReportMark> {
        let path = match input {
            Input::Bytes(bytes) => return self.store.put_report(&mut bytes.as_slice()),
            Input::Kept { .. } => unreachable!("it is kept, and was not opened"),
            Input::File(path) => path,
        };
        let mut file = File::open(path)?;
        let mark = store::mark_of(&mut file)?;
        match is_known(&mark) {
            true => self.store.require_keepable(&mark.id)?,
            false => self.store.put_report_file(file, &mark)?,
        }
        Ok(mark)
    }

    fn keep_redacted(&self, feed: &Feed, input: &mut dyn Read) -> Result<store::ReportMark> {
        let mut redacted = tempfile::tempfile().context("making room to take out secrets")?;
        redact::copy(feed, input, BufWriter::new(&mut redacted)).context("taking out secrets")?;
        redacted.rewind()?;
        self.store.put_report(&mut redacted)
    }
}

/// Why a report is not kept: for what it is, or because nothing could be.
enum Unkept {
    Refused(Error),
    Failed(Error),
}

fn is_damaged(error: &Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(Damaged::is)
}
