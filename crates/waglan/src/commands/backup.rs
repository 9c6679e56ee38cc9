//! `waglan backup` and `waglan restore`: everything into a folder, and everything out of it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use desk::{Access, Configuration, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use super::operator;
use crate::{Ended, Place, clock, output};

/// Copies store, configuration, tables, and what sources remember, as they are at one moment; `waglan run` and others may go on
/// meanwhile. A folder with an older backup of the same store is brought up to date. It may hold secrets and is made for its owner
/// alone.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Read all of the backup that is there, and say what of it is damaged; nothing is copied
    #[arg(long)]
    verify: bool,
    /// The folder of the backup; empty, or with an older one
    #[arg(value_name = "DEST")]
    folder: PathBuf,
}

/// Nothing may be where --data says, but a part of the same backup, whose restoring was cut short.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder of the backup
    #[arg(value_name = "FROM")]
    folder: PathBuf,
}

impl Backup {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        if self.verify {
            return self.verify();
        }
        let location = place.location()?;
        if !location.contains("://") && !PathBuf::from(&location).is_dir() {
            bail!("there is no data in {location} to back up: say where it is with --data DIR");
        }
        // A slip of the pen must not make a store, and copy whatever lies beside it.
        drop(place.desk(Access::Read).await?);
        let desk = place.desk(Access::Write).await?;
        let files: Vec<PathBuf> = place.configuration_files()?.into_iter().map(|file| file.path).collect();
        let mut bar = Bar::default();
        let done = desk.back_up(&operator(), &self.folder, &files, clock::now(), &mut |progress| bar.tell(progress)).await;
        bar.end();
        let done = done?;
        output::say(&format!(
            "{} files, {}; {} of them new, {}",
            done.files,
            size_text(done.size),
            done.new_files,
            size_text(done.new_size)
        ));
        Ok(Ended::Done)
    }

    fn verify(&self) -> Result<Ended> {
        let mut bar = Bar::default();
        let verified = tokio::task::block_in_place(|| desk::verify_backup(&operator(), &self.folder, &mut |progress| bar.tell(progress)));
        bar.end();
        let verified = verified?;
        for damaged in &verified.damaged {
            output::say(damaged);
        }
        let said = format!("{} files, {}, as of {}", verified.files, size_text(verified.size), verified.time);
        if verified.damaged.is_empty() {
            output::say(&format!("{said}: all as they were copied"));
            return Ok(Ended::Done);
        }
        output::say(&format!("{said}: {} are damaged; delete those bytes, and the next backup copies them anew", verified.damaged.len()));
        Ok(Ended::WithRejects)
    }
}

impl Restore {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let location = place.location()?;
        // In a folder there is nothing yet, and if there is, it is half of the backup.
        let configuration =
            if location.contains("://") || place.config.is_some() { place.configuration()? } else { Configuration::default() };
        let mut bar = Bar::default();
        let tell = &mut |progress| bar.tell(progress);
        let restored = desk::restore(&operator(), &self.folder, &location, &configuration, clock::now(), tell).await;
        bar.end();
        let restored = restored?;
        if restored.went_on {
            output::say("a restoring was cut short here: it went on");
        }
        for (was, is) in &restored.elsewhere {
            output::say(&format!("{} lay outside of the data, and is in {} now: put it where it belongs", was.display(), is.display()));
        }
        output::say(&format!(
            "{} files, {}, as of {}; what was erased since is back: erase it again",
            restored.files,
            size_text(restored.size),
            restored.time
        ));
        Ok(Ended::Done)
    }
}

/// Progress for people; nothing in a pipe.
#[derive(Default)]
struct Bar(Option<ProgressBar>);

impl Bar {
    fn tell(&mut self, progress: Progress) {
        let bar = self.0.get_or_insert_with(|| {
            if !output::is_terminal() {
                return ProgressBar::hidden();
            }
            let style =
                ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}, {msg} files, {eta} left").expect("the template is sound");
            ProgressBar::new(progress.of_size).with_style(style)
        });
        bar.set_position(progress.size);
        if !bar.is_hidden() {
            bar.set_message(format!("{}/{}", progress.files, progress.of_files));
        }
    }

    fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

fn size_text(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
