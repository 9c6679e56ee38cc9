//! Who did what, when: one JSON line for every change, in `audit.jsonl` of the data folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use event::time::{self, Micros};

use crate::actor::{Action, Actor};

/// The audit trail. Where the data is in a bucket, it is the log's alone.
#[derive(Debug)]
pub(crate) struct Audit {
    file: Option<PathBuf>,
}

impl Audit {
    pub(crate) fn new(folder: Option<PathBuf>) -> Audit {
        Audit { file: folder.map(|folder| folder.join("audit.jsonl")) }
    }

    /// Writes a change down before it is made.
    pub(crate) fn write(&self, actor: &Actor, action: Action, subject: &str, now: Micros) -> Result<()> {
        if !action.changes() {
            return Ok(());
        }
        tracing::info!(actor = %actor.name, action = action.name(), subject, "audit");
        let Some(path) = &self.file else { return Ok(()) };
        let line = serde_json::json!({ "time": time::iso(now), "actor": actor.name, "action": action.name(), "subject": subject });
        let mut file = OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("opening {}", path.display()))?;
        file.write_all(format!("{line}\n").as_bytes()).with_context(|| format!("writing {}", path.display()))
    }
}
