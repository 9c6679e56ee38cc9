//! What another system has gathered, taken in as reports of its own, and from where it was left off.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use event::time::{self, Micros};
use pipeline::eventdb::{self, Chunk, EventDb};
use pipeline::{HandedIn, Input, Of, Outcome};
use serde::{Deserialize, Serialize};

use crate::actor::{Action, Actor};
use crate::desk::Desk;

/// An EventDB, and whose its events are here.
#[derive(Clone, Debug)]
pub struct History {
    pub from: EventDb,
    /// The feed whose table reads IntelMQ's JSON.
    pub feed: String,
    /// Rows of one report.
    pub rows: u64,
    /// Whether to begin at the beginning, whatever was taken in.
    pub again: bool,
}

/// How far an import has come. What it says is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    version: u32,
    /// What is read, and into which feed.
    of: String,
    /// The number of the last event that was taken in.
    pub last: i64,
    /// Rows that were read, those at the edge of two runs twice; and reports that they made.
    pub rows: u64,
    pub reports: u64,
    /// The ids of those rows that lie so near the last that others may still come between them.
    #[serde(default)]
    near: Vec<i64>,
}

/// The form of progress that is written.
const VERSION: u32 = 1;

/// So far before the last an event may come late: who took a smaller number may have written later.
const NEAR: i64 = eventdb::LAST_IDS as i64;

/// Signs of a file's name.
const LONGEST: usize = 200;

impl Desk {
    /// Takes in what an EventDB has beyond what was taken in of it before, and says what that was, and what there is in all.
    /// Ended at any moment, it goes on from there.
    pub async fn import_events(
        &self,
        actor: &Actor,
        history: &History,
        now: Micros,
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> Result<(Imported, Imported)> {
        actor.require(Action::Ingest)?;
        let of = Of::Feed(history.feed.clone());
        self.require(&of)?;
        let place = history.from.place()?;
        let said = |time: Option<Micros>| time.map_or_else(|| "-".to_owned(), time::iso);
        let what = format!("{place} from {} to {} as {}", said(history.from.since), said(history.from.until), history.feed);
        // By its hash: what differs only in signs that no file's name has is another import.
        let hash: String = event::id::name(what.as_bytes()).chars().take(8).collect();
        let path = self.tables_folder()?.join("imports").join(format!("{}-{hash}.json", slug(&what, LONGEST)));
        let before = if history.again { Imported::default() } else { Imported::read(&path, &what)? };
        let (mut run, mut progress) = (Imported::default(), Imported { of: what, ..before });
        let mut events = history.from.open().await?;
        let mut after = i64::MIN;
        if progress.reports > 0 {
            let there = events.ids(progress.last.saturating_sub(NEAR), progress.last).await?;
            // From the first on that has come since.
            let late = there.iter().find(|id| progress.near.binary_search(id).is_err());
            after = late.map_or(progress.last, |id| id - 1);
        }
        while let Some(chunk) = events.next(after, history.rows).await? {
            after = chunk.last;
            self.take_chunk(actor, &of, &place, &chunk, now, each).await?;
            progress.last = if progress.reports == 0 { chunk.last } else { progress.last.max(chunk.last) };
            progress.near.extend(&chunk.ids);
            progress.near.retain(|id| *id > progress.last.saturating_sub(NEAR));
            progress.near.sort_unstable();
            progress.near.dedup();
            for count in [&mut progress, &mut run] {
                count.rows += chunk.rows;
                count.reports += 1;
            }
            progress.write(&path)?;
        }
        Ok((run, progress))
    }

    async fn take_chunk(
        &self,
        actor: &Actor,
        of: &Of,
        place: &str,
        chunk: &Chunk,
        now: Micros,
        each: &mut (dyn FnMut(Outcome) + Send),
    ) -> Result<()> {
        let name = format!("{}-{}-{}.jsonl", slug(place, LONGEST), chunk.first, chunk.last);
        // Of the same rows the same delivery, whenever it is read.
        let at = chunk.received.filter(|received| *received <= now).unwrap_or(now);
        let handed = HandedIn { of: of.clone(), at: Some(at), origin: name, input: Input::File(chunk.file.path().to_owned()) };
        let mut refused = None;
        let mut hear = |outcome: Outcome| match outcome {
            Outcome::Refused { origin, why } => refused = Some(why.context(origin)),
            outcome => each(outcome),
        };
        self.ingest(actor, [handed], now, &mut hear).await?;
        refused.map_or(Ok(()), |why| Err(why).context("the import stops here, and goes on from here when it is called again"))
    }
}

impl Imported {
    fn read(path: &Path, of: &str) -> Result<Imported> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Imported::default()),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let progress: Imported = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        if progress.version > VERSION {
            bail!("{} was written by a later version of the program", path.display());
        }
        if progress.of != of {
            bail!("{} is about another import, {}: move it away to begin this one", path.display(), progress.of);
        }
        Ok(progress)
    }

    /// Writes it whole or not at all.
    fn write(&self, path: &PathBuf) -> Result<()> {
        let folder = path.parent().context("it lies in a folder")?;
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, &Imported { version: VERSION, ..self.clone() })?;
        file.as_file().sync_all()?;
        file.persist(path).with_context(|| format!("writing {}", path.display()))?;
        Ok(())
    }
}

/// A word for files and keys: small letters, digits, `-`, and so many signs at most.
pub(crate) fn slug(text: &str, most: usize) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|sign: char| !sign.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-").chars().take(most).collect()
}
