//! A copy of everything, and everything made of its copy.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use event::time::Micros;
use store::{BackedUp, Beside, Progress, Restored, Restoring, Verified, Work};

use crate::actor::{Action, Actor};
use crate::audit::Audit;
use crate::configuration::Configuration;
use crate::desk::{Desk, SOURCES, folder_of};

impl Desk {
    /// Copies everything into a folder, while others go on working; of the files of the configuration those too that lie
    /// elsewhere. Says how many bytes and files there are, and how many were not there yet.
    pub async fn back_up(
        &self,
        actor: &Actor,
        into: &Path,
        configuration: &[PathBuf],
        now: Micros,
        tell: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<BackedUp> {
        actor.require(Action::Maintain)?;
        self.audit.write(actor, Action::Maintain, &format!("backup into {}", into.display()), now)?;
        let at_work = self.store.begin(Work::Upkeep).await?;
        let elsewhere = configuration.iter().chain(&self.configuration.feeds).cloned().collect();
        let beside = Beside { home: self.folder.clone(), sources: SOURCES, elsewhere };
        self.store.back_up(into, &beside, &at_work, &self.writer, now, tell).await
    }
}

/// Reads all of a backup, and says what of it is not as it was copied.
pub fn verify_backup(actor: &Actor, backup: &Path, tell: &mut dyn FnMut(Progress)) -> Result<Verified> {
    actor.require(Action::Maintain)?;
    store::verify_backup(backup, tell)
}

/// Makes everything of its backup, where nothing is yet.
pub async fn restore(
    actor: &Actor,
    backup: &Path,
    location: &str,
    configuration: &Configuration,
    now: Micros,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Restored> {
    actor.require(Action::Maintain)?;
    let home = folder_of(location, configuration).context(
        "the data is to be in a bucket: give a configuration that states which folder holds the rest, as home = \"/var/lib/waglan\"",
    )?;
    let options = configuration.storage.clone().into_iter().collect();
    let restoring = Restoring { from: backup.to_owned(), location: location.to_owned(), options, home: home.clone() };
    let restored = store::restore(&restoring, tell).await?;
    let subject = format!("restored from {}, as of {}", backup.display(), restored.time);
    Audit::new(Some(home)).write(actor, Action::Maintain, &subject, now)?;
    Ok(restored)
}
