//! `waglan warnings`: lists of what is seen everywhere and means little by itself.

use std::collections::BTreeMap;
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

/// How names end of files that hold another.
const PACKINGS: [&str; 5] = [".gz", ".zst", ".bz2", ".xz", ".zip"];

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
                lists.push((self.name_of(source)?, source.clone()));
                continue;
            }
            let mut there: Vec<_> = std::fs::read_dir(source).with_context(|| format!("reading {source}"))?.collect::<Result<_, _>>()?;
            there.sort_by_key(std::fs::DirEntry::file_name);
            for entry in there {
                let path = if entry.path().is_dir() { entry.path().join("list.json") } else { entry.path() };
                if path.is_file() && path.extension().is_some_and(|extension| extension == "json") {
                    let path = path.display().to_string();
                    lists.push((self.name_of(&path)?, path));
                }
            }
        }
        match (&self.name, lists.as_slice()) {
            (_, []) => bail!("there is no list in {}", self.sources.join(", ")),
            (Some(_), [_, _, ..]) => bail!("--name is for one list, and there are {}", lists.len()),
            _ => {}
        }
        let mut named = BTreeMap::new();
        for (name, source) in &lists {
            if let Some(other) = named.insert(name, source) {
                bail!("{other} and {source} would both be the list {name}: put them in place one by one, each with --name");
            }
        }
        Ok(lists)
    }

    /// As given, or by where the list is, in letters that a table's name may have.
    fn name_of(&self, source: &str) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let plain = if source.contains("://") { source.split(['?', '#']).next().unwrap_or(source) } else { source };
        let mut parts = plain.rsplit('/');
        let file = parts.next().unwrap_or_default();
        let file = PACKINGS.iter().find_map(|ending| file.strip_suffix(ending)).unwrap_or(file);
        let name = match (file.rsplit_once('.').map_or(file, |(name, _extension)| name), parts.next()) {
            ("list", Some(folder)) => folder,
            (name, _) => name,
        };
        if !name.is_ascii() {
            bail!("a list's name has letters from a to z, digits, - and _, and that of {source} has others: give it one with --name");
        }
        Ok(name.chars().map(|sign| if sign.is_ascii_alphanumeric() || sign == '_' { sign } else { '-' }).collect())
    }
}
