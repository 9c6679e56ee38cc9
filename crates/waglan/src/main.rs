//! The one program. This file is its contents page: what can be asked of it, and which file answers.
//!
//! Results go to standard output, everything else to standard error. Exit 0: done. 1: something in the input was
//! rejected, or a check failed. 2: the command was used wrongly, or could not be carried out.

mod bundled;
mod clock;
mod commands;
mod memory;
mod output;
mod service;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Reports about compromised machines come in; clean networks, warned people and figures that can be trusted go out.
#[derive(Debug, Parser)]
#[command(name = "waglan", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    place: Place,
    /// Say more on standard error; twice for details of the libraries
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

/// Where everything lies.
#[derive(Clone, Debug, Args)]
struct Place {
    /// The folder (or s3:// address) with all that is stored [default: waglan in the user's data folder]
    #[arg(long, global = true, env = "WAGLAN_DATA", value_name = "DIR")]
    data: Option<String>,
    /// The configuration [default: waglan.toml in the data folder, if it is there]
    #[arg(long, global = true, env = "WAGLAN_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a made-up country's quarter of feeds, and show what comes of it
    Demo(commands::demo::Demo),
    /// What feeds are known, and whether their tables are sound
    #[command(subcommand)]
    Feed(commands::feed::FeedCommand),
    /// Events of a report to standard output; nothing is stored
    Parse(commands::parse::Parse),
    /// Take deliveries into the store
    Ingest(commands::ingest::Ingest),
    /// Move in from another system: its configuration, its history
    #[command(subcommand)]
    Import(commands::import::Import),
    /// Beside an IntelMQ that reads the same feeds: what is the same, what differs, and why
    Compare(commands::compare::Compare),
    /// The service: look at every source when it is due, and take in what comes
    Run(commands::run::Run),
    /// Who hears that a feed is silent or strange
    #[command(subcommand)]
    Alarms(commands::alarms::Alarms),
    /// Read kept reports again with today's tables
    Reread(commands::reread::RereadCommand),
    /// Rows that could not be read
    #[command(subcommand)]
    Rejects(commands::rejects::Rejects),
    /// SQL over events, sightings, deliveries, rejects, reports and feeds
    Query(commands::query::Query),
    /// Tables of countries and AS numbers
    #[command(subcommand)]
    Geo(commands::geo::Geo),
    /// Lists of what is seen everywhere and means little by itself
    #[command(subcommand)]
    Warnings(commands::warnings::Warnings),
    /// Look after what is stored: compact, vacuum, retain, erase
    #[command(subcommand)]
    Store(commands::store::StoreCommand),
    /// Copy everything into a folder, while the program goes on working; or look through such a copy
    Backup(commands::backup::Backup),
    /// Make everything of its backup, where nothing is yet
    Restore(commands::backup::Restore),
    /// What the configuration says, all files together
    #[command(subcommand)]
    Config(commands::config::Config),
    /// Configuration, storage, feeds, tables: what is wrong and how to mend it
    Doctor(commands::doctor::Doctor),
}

/// How a command ended, where it ended as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    /// Something in the input was rejected, or a check failed; the command has said what.
    WithRejects,
}

fn main() -> ExitCode {
    memory::keep_what_is_freed();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::failed(&anyhow::Error::new(error).context("starting up")),
    };
    let traces = match output::start_logging(cli.verbose, runtime.handle()) {
        Ok(traces) => traces,
        Err(error) => return output::failed(&error),
    };
    let ended = match runtime.block_on(run(cli)) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::WithRejects) => ExitCode::from(1),
        Err(error) => output::failed(&error),
    };
    if let Some(traces) = traces {
        traces.end();
    }
    // Parts of a query that was stopped may go on for long, and nobody waits for them.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

async fn run(cli: Cli) -> anyhow::Result<Ended> {
    let place = cli.place;
    match cli.command {
        Command::Demo(command) => command.run(&place).await,
        Command::Feed(command) => command.run(&place).await,
        Command::Parse(command) => command.run(&place),
        Command::Ingest(command) => command.run(&place).await,
        Command::Import(command) => command.run(&place).await,
        Command::Compare(command) => command.run(&place).await,
        Command::Run(command) => command.run(&place).await,
        Command::Alarms(command) => command.run(&place).await,
        Command::Reread(command) => command.run(&place).await,
        Command::Rejects(command) => command.run(&place).await,
        Command::Query(command) => command.run(&place).await,
        Command::Geo(command) => command.run(&place).await,
        Command::Warnings(command) => command.run(&place).await,
        Command::Store(command) => command.run(&place).await,
        Command::Backup(command) => command.run(&place).await,
        Command::Restore(command) => command.run(&place).await,
        Command::Config(command) => command.run(&place).await,
        Command::Doctor(command) => command.run(&place).await,
    }
}
