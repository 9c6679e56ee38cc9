//! `waglan import intelmq`: a botnet's configuration as a file for `conf.d`, with the tables that it needs, and a list of what is not the
//! same here.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use desk::botnet::{self, Given, Moved};

use crate::{Ended, Place, bundled, output};

/// What its collectors fetch, as feeds and sources here: for conf.d on standard output, with what has no counterpart.
///
/// What is secret is not printed: the file names variables of the environment for it, or with --save files.
#[derive(Debug, Args)]
pub(crate) struct Intelmq {
    /// IntelMQ's runtime.yaml, or runtime.conf of before version 3
    #[arg(value_name = "RUNTIME")]
    runtime: PathBuf,
    /// Of before version 3: pipeline.conf, which says where messages go
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// Write it: conf.d/intelmq.toml beside the configuration, tables into feeds/ and what is secret into secrets/ of the data folder
    #[arg(long)]
    save: bool,
}

impl Intelmq {
    pub(crate) fn run(&self, place: &Place) -> Result<Ended> {
        let (runtime, pipeline) = (text_of(&self.runtime)?, self.pipeline.as_deref().map(text_of).transpose()?);
        let (_, mut configured) = place.read_configuration()?;
        let folders = if self.save { Some(Folders::of(place)?) } else { None };
        if let Some(folders) = &folders {
            folders.forget(&mut configured)?;
        }
        let own = |path: &str| folders.as_ref().and_then(|folders| fs::read_to_string(folders.feeds.join(path)).ok());
        let known = bundled::intelmq();
        let given = Given {
            runtime: &runtime,
            pipeline: pipeline.as_deref(),
            known: &known,
            configured: &configured,
            own: &own,
            secrets: folders.as_ref().map(|folders| &folders.secrets),
        };
        let moved = botnet::translate(&given, &place.catalog()?).with_context(|| format!("reading {}", self.runtime.display()))?;
        match &folders {
            Some(folders) => folders.write(place, &moved)?,
            None => output::print(&moved.configuration)?,
        }
        tell(&moved, self.save);
        Ok(if moved.untranslated.is_empty() { Ended::Done } else { Ended::WithRejects })
    }
}

fn text_of(path: &Path) -> Result<String> {
    let size = fs::metadata(path).with_context(|| format!("opening {}", path.display()))?.len();
    if size > botnet::MOST_BYTES as u64 {
        bail!("{} is longer than {} MiB: no configuration is", path.display(), botnet::MOST_BYTES >> 20);
    }
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn tell(moved: &Moved, saved: bool) {
    for lost in &moved.untranslated {
        output::say(&format!("not translated: {}: {}", lost.bot, lost.why));
    }
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let mut said = format!("{}, {}", count(moved.sources, "source"), count(moved.tables.len(), "table"));
    if !moved.secrets.is_empty() {
        said += &format!(", {}", count(moved.secrets.len(), "secret"));
    }
    output::say(&format!("{said}; {} not translated", moved.untranslated.len()));
    if !saved {
        output::say("--save puts all of it into the configuration and the data folder");
    }
}

/// Where what is saved goes.
struct Folders {
    configuration: PathBuf,
    feeds: PathBuf,
    secrets: PathBuf,
}

impl Folders {
    fn of(place: &Place) -> Result<Folders> {
        let feeds = place.feed_folders()?.into_iter().next().context("there is no data folder; say where with --data DIR")?;
        let configuration = place.configuration_path()?.with_file_name("conf.d").join("intelmq.toml");
        let secrets = std::path::absolute(feeds.with_file_name("secrets")).context("the data folder")?;
        Ok(Folders { configuration, feeds, secrets })
    }

    /// What was written before is no other configuration: its sources' names are free.
    fn forget(&self, configured: &mut toml::Table) -> Result<()> {
        let Ok(text) = fs::read_to_string(&self.configuration) else { return Ok(()) };
        let before: toml::Table = toml::from_str(&text).with_context(|| format!("reading {}", self.configuration.display()))?;
        let before = before.get("source").and_then(toml::Value::as_table);
        if let Some(sources) = configured.get_mut("source").and_then(toml::Value::as_table_mut) {
            sources.retain(|name, _| !before.is_some_and(|before| before.contains_key(name)));
        }
        Ok(())
    }

    /// The configuration comes last: it names the others. Nothing is written where anything is in the way; what says the same is not.
    fn write(&self, place: &Place, moved: &Moved) -> Result<()> {
        let secrets = moved.secrets.iter().filter_map(|secret| Some((self.secrets.join(&secret.name), secret.value.as_deref()?, true)));
        let tables = moved.tables.iter().map(|table| (self.feeds.join(&table.path), table.text.as_str(), false));
        let configuration = (self.configuration.clone(), moved.configuration.as_str(), false);
        let mut missing = Vec::new();
        let mut in_the_way = Vec::new();
        for (path, text, is_secret) in secrets.chain(tables).chain([configuration]) {
            match fs::read(&path) {
                Ok(there) if there == text.as_bytes() => {}
                Err(wrong) if wrong.kind() == std::io::ErrorKind::NotFound => missing.push((path, text, is_secret)),
                _ => in_the_way.push(path.display().to_string()),
            }
        }
        if !in_the_way.is_empty() {
            bail!("{} is there already, and says something else: move it away first; nothing was written", in_the_way.join(", "));
        }
        for (path, text, is_secret) in missing {
            write(&path, text, is_secret)?;
        }
        // As `config check` does.
        let (configuration, _) = place.read_configuration()?;
        desk::plans(&configuration, &place.catalog()?).context("what was written is not sound")?;
        output::say(&format!("wrote {}; look at it, then: waglan config check, waglan run", self.configuration.display()));
        Ok(())
    }
}

/// A new file; nobody's is written over. What is secret is its owner's alone.
fn write(path: &Path, text: &str, is_secret: bool) -> Result<()> {
    let folder = path.parent().context("a file lies in a folder")?;
    let mut builder = fs::DirBuilder::new();
    let mut file = OpenOptions::new();
    file.write(true).create_new(true);
    // What is made is its owner's, as the data folder is.
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    #[cfg(unix)]
    if is_secret {
        std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    }
    builder.recursive(true).create(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut file = file.open(path).with_context(|| format!("writing {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}
