//! `waglan warnings`: lists of what is seen everywhere and means little by itself.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use desk::{Access, TableKind};
use event::time;

use super::{open, operator};
use crate::output::{self, Format};
use crate::{Ended, Place, clock};

#[derive(Debug, Subcommand)]
pub(crate) enum Warnings {
    /// Put warning lists in place, in MISP's form; they hold from today on
    Add(Add),
    /// The lists that are in force
    List {
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The name that a list goes by; lists of one name are one list as time passes [default: that of the file, or for list.json of
    /// its folder]
    #[arg(long)]
    name: Option<String>,
    /// A list, where one is fetched, or a folder: then each NAME/list.json and NAME.json in it
    #[arg(value_name = "FILE|URL|FOLDER", required = true)]
    sources: Vec<String>,
}

/// No list is longer than this, in bytes.
const MOST: u64 = 256 << 20;

impl Warnings {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        match self {
            Warnings::Add(add) => add.run(place).await,
            Warnings::List { format } => {
                let lists = place.desk(Access::Read).await?.warning_lists(&operator(), time::day(clock::now()))?;
                output::print_batches(&[lists], *format)?;
                Ok(Ended::Done)
            }
        }
    }
}

impl Add {
    async fn run(&self, place: &Place) -> Result<Ended> {
        let (now, desk) = (clock::now(), place.desk(Access::Write).await?);
        let mut ended = Ended::Done;
        for (name, source) in self.lists()? {
            let mut input = open(&source, MOST).await?;
            match desk.install_table(&operator(), TableKind::Warnings, &name, time::day(now), &mut input, now) {
                Ok(installed) => output::say(&format!("{name} holds from {} on", time::day_name(installed.day))),
                Err(error) => {
                    output::say(&format!("{source} is not put in place: {error:#}"));
                    ended = Ended::WithRejects;
                }
            }
        }
        match place.desk(Access::Read).await?.wrong_warning_lists(time::day(now)) {
            Some(wrong) => bail!("{wrong}"),
            None => Ok(ended),
        }
    }

    /// What to put in place: a name, and a file or address.
    fn lists(&self) -> Result<Vec<(String, String)>> {
        let mut lists = Vec::new();
        for source in &self.sources {
            if !Path::new(source).is_dir() {
                lists.push((name_of(source), source.clone()));
                continue;
            }
            let mut there: Vec<_> = std::fs::read_dir(source).with_context(|| format!("reading {source}"))?.collect::<Result<_, _>>()?;
            there.sort_by_key(std::fs::DirEntry::file_name);
            for entry in there {
                let path = if entry.path().is_dir() { entry.path().join("list.json") } else { entry.path() };
                if path.is_file() && path.extension().is_some_and(|extension| extension == "json") {
                    let path = path.display().to_string();
                    lists.push((name_of(&path), path));
                }
            }
        }
        match (&self.name, lists.as_mut_slice()) {
            (_, []) => bail!("there is no list in {}", self.sources.join(", ")),
            (Some(name), [(only, _)]) => only.clone_from(name),
            (Some(_), several) => bail!("--name is for one list, and there are {}", several.len()),
            (None, _) => {}
        }
        Ok(lists)
    }
}

/// The name of a list by where it is, in letters that a table's name may have.
fn name_of(source: &str) -> String {
    let plain = source.split(['?', '#']).next().unwrap_or(source);
    let parts: Vec<&str> = plain.rsplit('/').map(|part| part.split('.').next().unwrap_or(part)).collect();
    let name = match parts.as_slice() {
        ["list", folder, ..] => folder,
        [file, ..] => file,
        [] => "",
    };
    name.chars().map(|sign| if sign.is_ascii_alphanumeric() || sign == '_' { sign } else { '-' }).collect()
}
