//! Deliveries that arrived and are not yet understood: what a start must repeat.
//!
//! An arrival is put down before anything is made of its report, and taken away when its row is in the table
//! of deliveries. In between lies all the work, every step of which may be repeated. Who works on it is known
//! by a lock that the system takes from a process that dies, however it dies.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use event::time::{self, Micros};
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::store::Store;

/// A delivery that arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// [`crate::delivery_id`].
    pub id: String,
    pub feed: String,
    pub provider: String,
    /// When it arrived, or was said to: microseconds since 1970.
    pub time: Micros,
    /// Where it came from: a URL, a mailbox, a file's name.
    pub origin: String,
    pub report_id: String,
    /// Of the report, in bytes.
    pub size: u64,
    /// The version of the feed's table when it arrived.
    #[serde(default)]
    pub table_version: String,
    /// The enrichment tables in force then, by their name.
    #[serde(default)]
    pub tables: String,
    /// The store that works on it; set when it is put down.
    #[serde(default)]
    pub owner: String,
}

/// In a bucket nobody can see whether an owner is alive: arrivals as old as this are taken for abandoned.
const PATIENCE: Micros = 3600 * time::SECOND;

const FOLDER: &str = "arrivals";

impl Store {
    /// Puts an arrival down, as this store's. Where its report is still on its way to the disk, it follows the report there:
    /// [`Store::settle_report`] waits for both.
    pub async fn put_arrival(&self, arrival: &Arrival) -> Result<()> {
        self.require_write()?;
        let owned = Arrival { owner: self.owner.name.clone(), ..arrival.clone() };
        let (name, bytes) = (name_of(&arrival.id), Bytes::from(serde_json::to_vec_pretty(&owned)?));
        let place = self.place.clone();
        let put = async move { place.put(&name, bytes).await.context("putting an arrival down") };
        match self.after_settling(&arrival.report_id, put) {
            Some(put) => put.await,
            None => Ok(()),
        }
    }

    /// Takes an arrival away, since its delivery is recorded.
    pub async fn remove_arrival(&self, id: &str) -> Result<()> {
        self.place.delete(&name_of(id)).await
    }

    /// All arrivals, by time.
    pub async fn arrivals(&self) -> Result<Vec<Arrival>> {
        Ok(self.arrivals_with_age().await?.into_iter().map(|(arrival, _)| arrival).collect())
    }

    /// Waits until the feed's arrivals that other stores have put down by now are gone, since their deliveries are
    /// recorded; or so long, for most will not have come so far that anything of theirs is committed.
    pub async fn others_recorded(&self, feed: &str, patience: Duration) -> Result<()> {
        let others = async || -> Result<HashSet<String>> {
            let arrivals = self.arrivals().await?.into_iter().filter(|arrival| arrival.feed == feed && arrival.owner != self.owner.name);
            Ok(arrivals.map(|arrival| arrival.id).collect())
        };
        let first = others().await?;
        if first.is_empty() {
            return Ok(());
        }
        let gone = async {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                if others().await?.is_disjoint(&first) {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(patience, gone).await.unwrap_or(Ok(()))
    }

    /// Arrivals whose owner is dead, by time. They are this store's from now on.
    ///
    /// Two stores that ask at the same moment may both take one; then both do what may be done twice.
    pub async fn take_abandoned_arrivals(&self, now: Micros) -> Result<Vec<Arrival>> {
        let abandoned = self.abandoned_arrivals(now).await?;
        for arrival in &abandoned {
            self.put_arrival(arrival).await?;
        }
        Ok(abandoned.into_iter().map(|arrival| Arrival { owner: self.owner.name.clone(), ..arrival }).collect())
    }

    /// Arrivals whose owner is dead, by time: they wait for the next who takes deliveries in.
    pub async fn abandoned_arrivals(&self, now: Micros) -> Result<Vec<Arrival>> {
        let mut abandoned = Vec::new();
        for (arrival, put) in self.arrivals_with_age().await? {
            if !self.owner.is_alive(&self.place, &arrival.owner, now - put)? {
                abandoned.push(arrival);
            }
        }
        Ok(abandoned)
    }

    async fn arrivals_with_age(&self) -> Result<Vec<(Arrival, Micros)>> {
        let mut arrivals = Vec::new();
        for listed in self.place.list(FOLDER).await? {
            // Another may have finished with it since it was listed.
            if let Some(bytes) = self.place.read(&listed.name).await?
                && listed.name.ends_with(".json")
            {
                let arrival: Arrival = serde_json::from_slice(&bytes).with_context(|| format!("reading {}", listed.name))?;
                arrivals.push((arrival, listed.modified));
            }
        }
        arrivals.sort_by(|(one, _), (other, _)| (one.time, &one.id).cmp(&(other.time, &other.id)));
        Ok(arrivals)
    }
}

fn name_of(id: &str) -> String {
    format!("{FOLDER}/{id}.json")
}

/// This store's mark of life.
#[derive(Debug)]
pub(crate) struct Owner {
    name: String,
    /// Held as long as the store lives, and no longer.
    lock: Option<(File, PathBuf)>,
}

impl Owner {
    /// Takes a lock of its own; in a bucket there are none.
    pub(crate) fn new(place: &Place, writable: bool) -> Result<Owner> {
        let name = crate::unique_name();
        let path = place.file(&lock_name(&name)).filter(|_| writable);
        let lock = path.map(|path| take_lock(path).context("taking a lock")).transpose()?;
        Ok(Owner { name, lock })
    }

    /// Whether another store is there, which put something down so long ago.
    fn is_alive(&self, place: &Place, owner: &str, age: Micros) -> Result<bool> {
        if owner == self.name {
            return Ok(true);
        }
        let Some(path) = place.file(&lock_name(owner)) else { return Ok(age < PATIENCE) };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        match file.try_lock_shared() {
            Ok(()) => {
                // A dead store's lock is of no more use, and that it cannot be deleted does no harm.
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::debug!(lock = %path.display(), %error, "a dead store's lock stays");
                }
                Ok(false)
            }
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("trying the lock {}", path.display())),
        }
    }
}

fn take_lock(path: PathBuf) -> Result<(File, PathBuf)> {
    crate::place::make_folder_of(&path)?;
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.try_lock().map_err(|error| anyhow!("locking {}: {error}", path.display()))?;
    Ok((file, path))
}

fn lock_name(owner: &str) -> String {
    format!("locks/{owner}")
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.lock
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::debug!(lock = %path.display(), %error, "the store's lock stays");
        }
    }
}
