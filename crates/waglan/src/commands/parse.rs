//! `waglan parse`: a report's events to standard output; nothing is stored.

use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use desk::{Of, Peeked, Tally, Unread, Worker};
use event::batch::{self, Cell};
use event::time::{self, Micros};
use feed::unpack::{Caps, unpack};
use feed::{Feed, Piece};

use super::time_argument;
use crate::{Ended, Place, clock, output};

#[derive(Debug, Args)]
pub(crate) struct Parse {
    #[command(flatten)]
    which: Which,
    /// When the delivery arrived [default: what the file's name says, else now]
    #[arg(long, value_name = "TIME", value_parser = time_argument)]
    at: Option<Micros>,
    /// How events are written
    #[arg(long, value_enum, default_value_t)]
    format: EventFormat,
    /// Write rejects to this file, one JSON object a line, instead of standard error
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// The report, packed or not; - for standard input
    file: PathBuf,
}

/// Whose report a file is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The feed's id, PROVIDER/FEED
    #[arg(long, value_name = "ID")]
    feed: Option<String>,
    /// The provider: its feed is picked by the file's name and header
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
}

impl Which {
    pub(crate) fn of(&self) -> Of {
        match (&self.feed, &self.provider) {
            (Some(feed), _) => Of::Feed(feed.clone()),
            (None, provider) => Of::Provider(provider.clone().unwrap_or_default()),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum EventFormat {
    /// For people: one event a line, field=value
    #[default]
    Table,
    /// One JSON object a line, with the columns' names
    Json,
    /// IntelMQ's JSON, dotted names, one event a line
    Idf,
}

impl Parse {
    pub(crate) fn run(&self, place: &Place) -> Result<Ended> {
        let catalog = place.catalog()?;
        let of = self.which.of();
        desk::require(&catalog, &of)?;
        let rejects: Box<dyn Write + Send> = match &self.rejects {
            Some(path) => Box::new(BufWriter::new(std::fs::File::create(path).with_context(|| format!("creating {}", path.display()))?)),
            None => Box::new(io::stderr()),
        };
        let sink = Arc::new(Mutex::new(Sink { out: BufWriter::new(output::results()), rejects, as_json: self.rejects.is_some() }));
        let mut tally = Tally::default();
        let mut input: Box<dyn desk::Source> = if self.file == Path::new("-") {
            let mut bytes = Vec::new();
            const MOST: u64 = 4 << 30;
            io::stdin().take(MOST).read_to_end(&mut bytes).context("reading standard input")?;
            Box::new(Cursor::new(bytes))
        } else {
            Box::new(std::fs::File::open(&self.file).with_context(|| format!("opening {}", self.file.display()))?)
        };
        let file_name = self.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        desk::open_delivery(input.as_mut(), |opened| {
            let name = opened.name.as_deref().unwrap_or(file_name);
            let mut report = Peeked::new(opened.input);
            let unread = Unread { name, begins: || report.begins(), at: self.at };
            let (feed, at) = desk::pick(&catalog, &of, unread, clock::now()).map_err(io::Error::other)?;
            let worker = || Ok(Printer { feed, format: self.format, sink: sink.clone() });
            let plain = unpack(report, opened.size, Caps::default())?;
            tally.add(desk::read(feed, feed::Arrival { at }, plain, 1, worker).map_err(io::Error::other)?);
            Ok(())
        })?;
        let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.out.flush()?;
        sink.rejects.flush().context("writing rejects")?;
        Ok(ended(&tally))
    }
}

fn ended(tally: &Tally) -> Ended {
    let mut said = format!("{} events of {} rows", tally.events, tally.rows);
    if tally.rejected > 0 {
        said += &format!(", {} rejected", tally.rejected);
    }
    if tally.ignored > 0 {
        said += &format!(", {} ignored", tally.ignored);
    }
    output::say(&said);
    if let Some(drift) = &tally.drift {
        output::say(&format!("warning: the report's columns are not those of the table: {drift}"));
    }
    if tally.rejected > 0 { Ended::WithRejects } else { Ended::Done }
}

struct Sink {
    out: BufWriter<output::Results>,
    rejects: Box<dyn Write + Send>,
    as_json: bool,
}

struct Printer<'f> {
    feed: &'f Feed,
    format: EventFormat,
    sink: Arc<Mutex<Sink>>,
}

impl Worker for Printer<'_> {
    fn take(&mut self, piece: Piece) -> Result<()> {
        let mut text = String::new();
        match self.format {
            EventFormat::Idf => feed::intelmq::write(|_| Some(self.feed), &piece.events, &mut text),
            EventFormat::Table => lines(&piece, &mut text),
            EventFormat::Json => {
                let mut bytes = Vec::new();
                let mut writer = arrow::json::LineDelimitedWriter::new(&mut bytes);
                writer.write(&piece.events)?;
                writer.finish()?;
                text = String::from_utf8(bytes)?;
            }
        }
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.out.write_all(text.as_bytes())?;
        for reject in &piece.rejects {
            let column = reject.column.as_deref();
            let line = if sink.as_json {
                serde_json::json!({ "line": reject.line, "column": column, "reason": reject.reason, "raw": reject.raw }).to_string()
            } else {
                format!("rejected line {}: {}{}", reject.line, column.map(|column| format!("{column} ")).unwrap_or_default(), reject.reason)
            };
            writeln!(sink.rejects, "{line}").context("writing rejects")?;
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        Ok(())
    }
}

/// `2023-02-19T00:01:10Z phishing site source.url=... extra={...}`
pub(super) fn lines(piece: &Piece, out: &mut String) {
    let first = ["time.source", "classification.type", "classification.taxonomy", "tlp", "time.observation"];
    let events = &piece.events;
    let text = |column: &str, row: usize| batch::text(events, column).map_or("", |array| array.value(row)).to_owned();
    let times = batch::times(events, "time_source").expect("every event has a time");
    for row in 0..events.num_rows() {
        out.push_str(&format!("{} {} {}", time::iso(times.value(row)), text("classification_type", row), text("kind", row)));
        for (field, array) in batch::fields(events).filter(|(field, _)| !first.contains(&field.name())) {
            let Some(cell) = batch::cell(array, row) else { continue };
            let value = match cell {
                Cell::Text(text) => text.to_owned(),
                Cell::Integer(number) => number.to_string(),
                Cell::Float(number) => number.to_string(),
                Cell::Boolean(truth) => truth.to_string(),
                Cell::Time(time) => time::iso(time),
                Cell::Bytes(bytes) => event::id::hex(bytes),
            };
            out.push_str(&format!(" {field}={value}"));
        }
        out.push('\n');
    }
}
