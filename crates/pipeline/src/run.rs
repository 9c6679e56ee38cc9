//! The flow that runs by itself: every source is looked at when it is due, so many at once and each for so long; what they find
//! goes through one door into the store, and while that is busy they wait.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use event::time::{self, Micros};
use futures::FutureExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, instrument, warn};

use crate::accept::HandedIn;
use crate::clock::{Clock, chance};
use crate::ingest::Outcome;
use crate::pick::Of;
use crate::sources::{Found, Source};

/// A source, and when it is looked at.
#[derive(Debug)]
pub struct Planned {
    pub name: String,
    pub of: Of,
    pub every: Duration,
    /// How long one look may take, the time not counted in which the store is busy.
    pub limit: Duration,
    pub source: Box<dyn Source>,
}

/// How the flow runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Sources that are looked at together; streams are not counted.
    pub at_once: usize,
    /// Where each source's memory is kept, a file each.
    pub memories: PathBuf,
    /// How long those at work may go on once it is to stop.
    pub grace: Duration,
    /// Whether each source is looked at once only, at once.
    pub once: bool,
}

/// What became of something that was handed over.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The reports that are stored now, or were already: feed and hash.
    pub reports: Vec<(String, String)>,
    /// What is not, and why.
    pub refused: Vec<String>,
}

impl Told {
    /// Whether nothing of it is stored.
    pub fn is_refused(&self) -> bool {
        self.reports.is_empty() && !self.refused.is_empty()
    }
}

/// Something on its way to the store, and where to say what became of it.
struct Handover {
    handed: HandedIn,
    tell: oneshot::Sender<Result<Told, String>>,
}

/// Things that wait at the door, so many at most.
const WAITING: usize = 16;

/// Things that go through it together.
const TOGETHER: usize = 64;

/// What a source remembers from one look to the next, and across the end of a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Of this form.
    pub version: u32,
    pub last_look: Option<Micros>,
    pub last_success: Option<Micros>,
    /// Looks in a row that failed, and why the last one did.
    pub failures: u32,
    pub error: Option<String>,
    /// Not before then, as the other side asked.
    #[serde(default)]
    pub not_before: Option<Micros>,
    /// Its own.
    #[serde(default)]
    pub seen: serde_json::Value,
}

/// The form of memories that is written.
const MEMORY_VERSION: u32 = 1;

/// The file that remembers for a source.
fn memory_path(folder: &std::path::Path, name: &str) -> PathBuf {
    // A name is a feed's id or a key of the configuration: no way out of the folder.
    let safe: String = name.chars().map(|sign| if sign.is_alphanumeric() || "-_.".contains(sign) { sign } else { '~' }).collect();
    folder.join(format!("{safe}.json"))
}

/// Every source's memory, by its file's name.
pub fn memories(folder: &std::path::Path, names: impl IntoIterator<Item = String>) -> Result<BTreeMap<String, Memory>> {
    names.into_iter().map(|name| Ok((name.clone(), Memory::read(&memory_path(folder, &name))?))).collect()
}

impl Memory {
    fn read(path: &std::path::Path) -> Result<Memory> {
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Memory::default()),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let memory: Memory = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        if memory.version > MEMORY_VERSION {
            return Err(anyhow!("{} was written by a later version of the program", path.display()));
        }
        Ok(memory)
    }

    /// Writes it whole or not at all.
    fn write(&self, path: &std::path::Path) -> Result<()> {
        let folder = path.parent().context("a memory lies in a folder")?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut file, &Memory { version: MEMORY_VERSION, ..self.clone() })?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

/// A source at work: what it needs to know, and its way to the store.
#[derive(Debug)]
pub struct Collecting {
    pub name: String,
    pub of: Of,
    pub clock: Clock,
    /// Whether this is the only look: a stream ends by itself when nothing comes any more.
    pub once: bool,
    stop: watch::Receiver<bool>,
    door: mpsc::Sender<Handover>,
    memory: Mutex<Memory>,
    path: PathBuf,
    waits: Arc<Waits>,
}

/// The promise to say what became of something.
#[derive(Debug)]
pub struct Receipt {
    told: oneshot::Receiver<Result<Told, String>>,
    waits: Arc<Waits>,
}

/// How long a source waits for the store: that is not its provider's fault.
#[derive(Debug, Default)]
struct Waits(Mutex<Waited>);

#[derive(Clone, Copy, Debug, Default)]
struct Waited {
    /// Waits that are over, together.
    over: Duration,
    /// How many are not, and since when there is any.
    going_on: u32,
    since: Option<Instant>,
}

impl Waited {
    fn so_far(&self) -> Duration {
        self.over + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl Waits {
    fn get(&self) -> std::sync::MutexGuard<'_, Waited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn so_far(&self) -> Duration {
        self.get().so_far()
    }

    /// Counts until what it returns is dropped.
    fn begin(&self) -> Wait<'_> {
        let mut waited = self.get();
        waited.going_on += 1;
        waited.since.get_or_insert_with(Instant::now);
        Wait(self)
    }
}

struct Wait<'w>(&'w Waits);

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut waited = self.0.get();
        waited.going_on -= 1;
        if waited.going_on == 0 {
            (waited.over, waited.since) = (waited.so_far(), None);
        }
    }
}

impl Receipt {
    /// Waits until it is stored, or refused for what it is.
    pub async fn told(self) -> Result<Told> {
        let _wait = self.waits.begin();
        self.told.await.map_err(|_| anyhow!("the program is stopping"))?.map_err(|why| anyhow!("the store took nothing: {why}"))
    }
}

impl Collecting {
    /// Hands something over; waits where the store is busy.
    pub async fn hand_over(&self, found: Found) -> Result<Receipt> {
        let Found { at, origin, input } = found;
        let (tell, told) = oneshot::channel();
        let handed = HandedIn { of: self.of.clone(), at, origin, input };
        let _wait = self.waits.begin();
        self.door.send(Handover { handed, tell }).await.map_err(|_| anyhow!("the program is stopping"))?;
        Ok(Receipt { told, waits: self.waits.clone() })
    }

    /// Waits until the program is to stop: a stream then takes no more, and hands over what it has.
    pub async fn stopped(&self) {
        // Whoever could say so is gone: then it is to stop as well.
        let mut stop = self.stop.clone();
        drop(stop.wait_for(|stop| *stop).await);
    }

    /// Says that a stream stands: what broke before does not count any more.
    pub fn stands(&self) {
        let mut memory = self.memory();
        (memory.failures, memory.error, memory.last_success) = (0, None, Some(self.clock.now()));
        if let Err(error) = memory.write(&self.path) {
            warn!(source = %self.name, error = format!("{error:#}"), "a source's memory could not be written");
        }
    }

    /// A folder for what a source keeps until it is stored.
    pub fn folder(&self) -> PathBuf {
        self.path.with_extension("d")
    }

    /// What was remembered last.
    pub fn remembered<T: DeserializeOwned + Default>(&self) -> Result<T> {
        let seen = self.memory().seen.clone();
        if seen.is_null() {
            return Ok(T::default());
        }
        serde_json::from_value(seen).with_context(|| format!("reading what {} remembers, in {}", self.name, self.path.display()))
    }

    /// Remembers this, on disk too: from here on a process that dies goes on.
    pub fn remember<T: Serialize>(&self, seen: &T) -> Result<()> {
        let mut memory = self.memory();
        memory.seen = serde_json::to_value(seen)?;
        memory.write(&self.path).with_context(|| format!("remembering what {} has seen", self.name))
    }

    /// Remembers that the other side asked to be left alone until then.
    pub fn wait_until(&self, time: Micros) -> Result<()> {
        let mut memory = self.memory();
        memory.not_before = Some(time);
        memory.write(&self.path).with_context(|| format!("remembering how long {} has to wait", self.name))
    }

    /// Until when the other side asked to be left alone.
    pub fn not_before(&self) -> Option<Micros> {
        self.memory().not_before
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at every source when it is due until `stop` says so. `take` takes in what was handed over, and says what became of it.
pub async fn run(
    plans: Vec<Planned>,
    running: &Running,
    clock: &Clock,
    mut stop: watch::Receiver<bool>,
    mut take: impl AsyncFnMut(Vec<HandedIn>) -> Result<Vec<Outcome>>,
) -> Result<()> {
    std::fs::create_dir_all(&running.memories).with_context(|| format!("making {}", running.memories.display()))?;
    let (door, mut waiting) = mpsc::channel(WAITING);
    let at_once = Arc::new(Semaphore::new(running.at_once.max(1)));
    let mut tended = JoinSet::new();
    for plan in plans {
        let path = memory_path(&running.memories, &plan.name);
        let memory = Memory::read(&path)?;
        let (name, of, clock, door) = (plan.name.clone(), plan.of.clone(), clock.clone(), door.clone());
        let (once, stop, memory) = (running.once, stop.clone(), Mutex::new(memory));
        let at_work = Collecting { name, of, clock, once, stop: stop.clone(), door, memory, path, waits: Arc::default() };
        tended.spawn(tend(plan, at_work, at_once.clone(), stop));
    }
    drop(door);
    let mut next = None;
    let ended = async {
        loop {
            let first = match next.take() {
                Some(first) => first,
                None => match waiting.recv().await {
                    Some(first) => first,
                    None => break,
                },
            };
            let mut together = vec![first];
            let mut origins: HashSet<String> = HashSet::from([together[0].handed.origin.clone()]);
            while together.len() < TOGETHER
                && let Ok(more) = waiting.try_recv()
            {
                // What becomes of each is told apart by where it came from.
                if !origins.insert(more.handed.origin.clone()) {
                    next = Some(more);
                    break;
                }
                together.push(more);
            }
            let (handed, tells): (Vec<_>, Vec<_>) = together
                .into_iter()
                .map(|Handover { handed, tell }| {
                    let origin = handed.origin.clone();
                    (handed, (origin, tell))
                })
                .unzip();
            tell(tells, take(handed).await);
        }
    };
    let stopped = async {
        // Whoever could say so is gone: then it is to stop as well.
        drop(stop.wait_for(|stop| *stop).await);
        tokio::time::sleep(running.grace).await;
    };
    tokio::select! {
        () = ended => {}
        () = stopped => warn!("sources were still at work when the time to stop was over: what they did is done again"),
    }
    tended.shutdown().await;
    Ok(())
}

/// Says to each what became of its own.
fn tell(tells: Vec<(String, oneshot::Sender<Result<Told, String>>)>, outcomes: Result<Vec<Outcome>>) {
    let said = match outcomes {
        Err(error) => {
            warn!(error = format!("{error:#}"), "nothing was taken in");
            Err(format!("{error:#}"))
        }
        Ok(outcomes) => {
            let mut told: BTreeMap<&str, Told> = BTreeMap::new();
            for outcome in &outcomes {
                let whose = |origin: &str| {
                    let is_of = |own: &&str| origin.strip_prefix(*own).is_some_and(|rest| rest.is_empty() || rest.starts_with('!'));
                    tells.iter().map(|(own, _)| own.as_str()).find(is_of)
                };
                match outcome {
                    Outcome::Stored { delivery, .. } | Outcome::Known(delivery) => {
                        if let Some(origin) = whose(&delivery.origin) {
                            told.entry(origin).or_default().reports.push((delivery.feed.clone(), delivery.report_id.clone()));
                        }
                    }
                    Outcome::Refused { origin, why } => {
                        if let Some(own) = whose(origin) {
                            told.entry(own).or_default().refused.push(format!("{origin}: {why:#}"));
                        }
                    }
                }
            }
            Ok(told.into_iter().map(|(origin, told)| (origin.to_owned(), told)).collect::<BTreeMap<String, Told>>())
        }
    };
    for (origin, tell) in tells {
        // A source that was cut short does not listen any more.
        let _gone = tell.send(said.as_ref().map(|said| said.get(&origin).cloned().unwrap_or_default()).map_err(Clone::clone));
    }
}

/// The longest that a source waits after it failed.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60 * 60);

/// The wait after the first failure; each further one doubles it.
const FIRST_BACKOFF: Duration = Duration::from_secs(60);

/// Looks at one source whenever it is due, until it is to stop.
async fn tend(plan: Planned, at_work: Collecting, at_once: Arc<Semaphore>, mut stop: watch::Receiver<bool>) {
    let (is_stream, once) = (plan.source.is_stream(), at_work.once);
    loop {
        let now = at_work.clock.now();
        let due = if once { now } else { due(&plan, &at_work.memory(), now) };
        tokio::select! {
            () = at_work.clock.sleep_until(due) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let place = if is_stream { None } else { at_once.acquire().await.ok() };
        if *stop.borrow() {
            return;
        }
        let look = at_work.clock.now();
        let looked = match is_stream {
            // It hands over what it has.
            true if plan.source.winds_up() => collect(&plan, &at_work).await,
            true => match until_stopped(&plan, &at_work, &mut stop).await {
                Some(ended) => ended,
                None => return,
            },
            false => within(&plan, &at_work, place).await,
        };
        let mut memory = at_work.memory();
        memory.last_look = Some(look);
        match looked {
            Ok(()) => {
                info!(source = %plan.name, "source looked at");
                (memory.failures, memory.error, memory.last_success) = (0, None, Some(look));
            }
            Err(error) => {
                memory.failures = memory.failures.saturating_add(1);
                memory.error = Some(format!("{error:#}"));
                warn!(source = %plan.name, failures = memory.failures, error = format!("{error:#}"), "source could not be looked at");
            }
        }
        if let Err(error) = memory.write(&at_work.path) {
            warn!(source = %plan.name, error = format!("{error:#}"), "a source's memory could not be written");
        }
        if once {
            return;
        }
    }
}

/// Lets the source collect. A fault of ours in it is a look that failed, and no end of all looks.
async fn collect(plan: &Planned, at_work: &Collecting) -> Result<()> {
    let collected = AssertUnwindSafe(plan.source.collect(at_work)).catch_unwind().await;
    collected.unwrap_or_else(|_| Err(anyhow!("the program has a fault, which standard error shows")))
}

/// What a stream may still hand over when it is to stop. What it has not by then comes again, if its server keeps it.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A stream until it ends; nothing if it was cut short.
async fn until_stopped(plan: &Planned, at_work: &Collecting, stop: &mut watch::Receiver<bool>) -> Option<Result<()>> {
    let mut stream = std::pin::pin!(collect(plan, at_work));
    tokio::select! {
        ended = &mut stream => return Some(ended),
        _ = stop.wait_for(|stop| *stop) => {}
    }
    tokio::time::timeout(LAST_WORDS, stream).await.ok()
}

/// So long a look keeps its place among those that go on together. Whoever hangs or trickles holds no other up.
const PLACE: Duration = Duration::from_secs(10);

/// One look, within the time that it may take. Waiting for the store does not count.
#[instrument(name = "look", skip_all, fields(source = %plan.name))]
async fn within(plan: &Planned, at_work: &Collecting, mut place: Option<SemaphorePermit<'_>>) -> Result<()> {
    let waited_before = at_work.waits.so_far();
    let began = tokio::time::Instant::now();
    let (limit, in_place) = (at_work.clock.real(plan.limit), at_work.clock.real(PLACE.min(plan.limit)));
    let mut look = std::pin::pin!(collect(plan, at_work));
    loop {
        let (now, counted_from) = (tokio::time::Instant::now(), began + (at_work.waits.so_far() - waited_before));
        if counted_from + limit <= now {
            return Err(anyhow!("it took longer than {}", time::span_text(plan.limit)));
        }
        if counted_from + in_place <= now {
            place = None;
        }
        let until = counted_from + if place.is_some() { in_place } else { limit };
        // While it waits for the store, that time moves on as well.
        if let Ok(ended) = tokio::time::timeout_at(until.max(now + Duration::from_millis(5)), &mut look).await {
            return ended;
        }
    }
}

/// When a source is looked at next: at once if it never was, else by its schedule, a tenth earlier or later so that not all come
/// together, or sooner if it failed.
fn due(plan: &Planned, memory: &Memory, now: Micros) -> Micros {
    let chance = chance((&plan.name, memory.last_look));
    let Some(last) = memory.last_look else {
        let most = if plan.source.is_stream() { Duration::ZERO } else { Duration::from_secs(30) };
        let spread = plan.every.min(most).mul_f64(chance / 3.0);
        return now + time::micros(spread);
    };
    let wait = match memory.failures {
        _ if plan.source.is_stream() && memory.failures == 0 => Duration::ZERO,
        0 => plan.every.mul_f64(0.9 + 0.2 * chance),
        failures => {
            let backoff = FIRST_BACKOFF.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_BACKOFF).min(plan.every.max(FIRST_BACKOFF));
            backoff.mul_f64(0.75 + 0.5 * chance)
        }
    };
    (last + time::micros(wait)).max(now).max(memory.not_before.unwrap_or(now))
}
