//! What the program says: results on standard output, sentences on standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use arrow::array::RecordBatch;
use clap::ValueEnum;
use tracing_subscriber::filter::LevelFilter;

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One object a line
    Json,
    Csv,
}

/// Starts the log on standard error: warnings, or more where `verbose` says so.
pub(crate) fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(io::stderr().is_terminal())
        .init();
}

/// Says on standard error why a command could not be carried out.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    // Some writers hand on what the system said as text alone.
    let is_broken_pipe = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<io::Error>() {
        Some(cause) => cause.kind() == io::ErrorKind::BrokenPipe,
        None => cause.to_string().ends_with("Broken pipe (os error 32)"),
    };
    if error.chain().any(is_broken_pipe) {
        // Whoever read the results has seen enough.
        return ExitCode::SUCCESS;
    }
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    say(&format!("error: {}", causes.join(": ")));
    ExitCode::from(2)
}

/// One line on standard error.
pub(crate) fn say(line: &str) {
    // There is nowhere left to complain to if standard error is gone.
    let _gone = writeln!(io::stderr(), "{line}");
}

/// Text on standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// A list, in the form that was asked for.
pub(crate) fn print_batches(batches: &[RecordBatch], format: Format) -> anyhow::Result<()> {
    let mut out = Vec::new();
    match format {
        Format::Table => writeln!(out, "{}", arrow::util::pretty::pretty_format_batches(batches)?)?,
        Format::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
            for batch in batches {
                writer.write(batch)?;
            }
            writer.finish()?;
        }
        Format::Csv => {
            let mut writer = arrow::csv::Writer::new(&mut out);
            for batch in batches {
                writer.write(batch)?;
            }
        }
    }
    io::stdout().lock().write_all(&out)?;
    Ok(())
}

/// Whether a person looks at standard error.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}
