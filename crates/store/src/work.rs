//! Who may work beside whom.
//!
//! Tables need none of this: whatever commits does so against exactly the version that it read. But an erasure must
//! miss nothing that is on its way into the store, and what packs or deletes files must not do so beside it. So work
//! is announced by locks that the system takes from a process that dies, however it dies. In a bucket there are none.

use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tracing::warn;

use crate::store::Store;

/// Work that others may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Taking deliveries in, or reading them again: many may at once.
    Intake,
    /// Packing, merging or deleting files: one at a time.
    Upkeep,
    /// Taking out for good what nobody may keep: alone, neither of the others goes on beside it.
    Erasure,
}

/// Work that has begun, until it is dropped, and every copy of it: a thread that goes on when nobody waits for it any more keeps
/// one.
#[derive(Clone, Debug)]
pub struct AtWork {
    is_alone: bool,
    _locks: Arc<[File]>,
}

impl AtWork {
    /// Whether it is certain that nobody else changes the store.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_alone
    }
}

/// How long one piece of work waits for another.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(50);

impl Store {
    /// Waits until the work may begin.
    pub async fn begin(&self, work: Work) -> Result<AtWork> {
        self.require_write()?;
        // Always in this order: two that wait for each other would wait for ever.
        let wanted: &[(&str, bool)] = match work {
            Work::Intake => &[("intake", false)],
            Work::Upkeep => &[("upkeep", true)],
            Work::Erasure => &[("upkeep", true), ("intake", true)],
        };
        let mut locks = Vec::new();
        for (name, alone) in wanted {
            locks.extend(self.lock(name, *alone).await?);
        }
        Ok(AtWork { is_alone: work == Work::Erasure && self.place.folder().is_some(), _locks: locks.into() })
    }

    async fn lock(&self, name: &str, alone: bool) -> Result<Option<File>> {
        let Some(path) = self.place.file(&format!("locks/{name}")) else { return Ok(None) };
        crate::place::make_folder_of(&path)?;
        let file = File::options().create(true).append(true).open(&path).with_context(|| format!("opening {}", path.display()))?;
        let since = Instant::now();
        let mut told = false;
        loop {
            match if alone { file.try_lock() } else { file.try_lock_shared() } {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if since.elapsed() > PATIENCE => {
                    bail!(
                        "another process has been at work in this store for {} minutes: try again when it is done",
                        PATIENCE.as_secs() / 60
                    )
                }
                Err(TryLockError::WouldBlock) => {
                    if !told && since.elapsed() > Duration::from_secs(1) {
                        warn!("another process is at work in this store: this waits for its end");
                        told = true;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(TryLockError::Error(error)) => return Err(anyhow!("locking {}: {error}", path.display())),
            }
        }
    }
}
