//! What the program says: results on standard output, sentences on standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{Array, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::writer::{EncoderOptions, make_encoder};
use clap::ValueEnum;
use tokio::runtime::Handle;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::traces::{self, Traces};

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

/// Starts the log on standard error, warnings, or more where `verbose` says so; and traces, where somebody collects them.
pub(crate) fn start_logging(verbose: u8, runtime: &Handle) -> anyhow::Result<Option<Traces>> {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .with_ansi(io::stderr().is_terminal())
        .with_filter(level);
    let (traces, layer) = traces::start(runtime).context("OTEL_* in the environment")?.unzip();
    tracing_subscriber::registry().with(layer).with(log).init();
    Ok(traces)
}

/// Says on standard error why a command could not be carried out.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    // Some writers hand on what they were told as text alone.
    if error.chain().any(|cause| cause.to_string().ends_with(SEEN_ENOUGH)) {
        return ExitCode::SUCCESS;
    }
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    say(&format!("error: {}", causes.join(": ")));
    ExitCode::from(2)
}

/// Standard output, which says so in words of its own when nobody reads it any more: connections break too, and that is no success.
#[derive(Debug)]
pub(crate) struct Results(io::Stdout);

const SEEN_ENOUGH: &str = "whoever read the results has seen enough";

pub(crate) fn results() -> Results {
    Results(io::stdout())
}

fn seen_enough(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, SEEN_ENOUGH),
        _ => error,
    }
}

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(seen_enough)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(seen_enough)
    }
}

/// One line on standard error.
pub(crate) fn say(line: &str) {
    // There is nowhere left to complain to if standard error is gone.
    let _gone = writeln!(io::stderr(), "{line}");
}

/// Text on standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    results().write_all(text.as_bytes())?;
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
                writer.write(&flat(batch)?)?;
            }
        }
    }
    results().write_all(&out)?;
    Ok(())
}

/// A batch with lists and structures as JSON text: a cell of CSV is one value.
pub(crate) fn flat(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if !column.data_type().is_nested() {
            fields.push(field.clone());
            columns.push(column.clone());
            continue;
        }
        let options = EncoderOptions::default();
        let mut encoder = make_encoder(field, column, &options)?;
        let mut texts = StringBuilder::new();
        for row in 0..column.len() {
            let mut text = Vec::new();
            if !encoder.is_null(row) {
                encoder.encode(row, &mut text);
            }
            texts.append_option((!text.is_empty()).then(|| String::from_utf8_lossy(&text)));
        }
        fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
        columns.push(Arc::new(texts.finish()));
    }
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )?)
}

/// Whether a person looks at standard error.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}
