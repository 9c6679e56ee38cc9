//! `waglan config`: what the configuration says, all files together.

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::{Ended, Place, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Everything that is configured, without what is secret, and where it stands
    Show,
    /// Whether it is sound: every file, every feed and source that it names
    Check,
}

impl Config {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let files = place.configuration_files()?;
        match self {
            Config::Show => {
                for file in &files {
                    output::print(&format!("# {}\n", file.path.display()))?;
                }
                if files.is_empty() {
                    output::print("# no configuration: every key has its default\n")?;
                }
                let (_, table) = place.read_configuration()?;
                output::print(&toml::to_string_pretty(&desk::masked(table)).context("writing the configuration")?)?;
            }
            Config::Check => {
                let (configuration, _) = place.read_configuration()?;
                let plans = desk::plans(&configuration, &place.catalog()?)?;
                output::print(&format!("{} files, sound; {} sources\n", files.len(), plans.len()))?;
            }
        }
        Ok(Ended::Done)
    }
}
