//! `waglan query`: SQL, and its answer in any form.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use arrow::datatypes::Schema;
use clap::{Args, ValueEnum};
use desk::{Access, Limits, Pushing, Queue, Secret, Sql, Tls};
use tokio::runtime::Handle;

use super::operator;
use crate::{Ended, Place, memory, output};

/// SQL over events, sightings, deliveries, rejects, reports, erasures and feeds.
///
/// Beside the functions of SQL there are in_network(address, 'cidr'), registrable_domain(host),
/// public_suffix(host), top_level_domain(host), json_text(extra, 'key'), sort_of_reason(reason) and
/// hex(bytes); for buckets of time date_trunc('week', time) and date_bin(interval '6 hours', time).
#[derive(Debug, Args)]
pub(crate) struct Query {
    /// The query, such as "SELECT classification_type, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC"
    sql: String,
    #[arg(long, value_enum, default_value_t)]
    format: QueryFormat,
    /// Where a Parquet file goes
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A queue of IntelMQ's that takes the events instead, with --format idf: redis://HOST:PORT/DATABASE/QUEUE, rediss:// for TLS
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,
    /// A file with the password of the queue's server
    #[arg(long, value_name = "FILE", requires = "to")]
    password_file: Option<PathBuf>,
    /// A PEM file with certificates of authorities that are trusted with the queue's server, beside the known ones
    #[arg(long, value_name = "FILE", requires = "to")]
    ca: Option<PathBuf>,
    /// Rows after which the answer is cut [default: 1000 for a table, else none]
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum QueryFormat {
    /// For people
    #[default]
    Table,
    /// One JSON object a line
    Json,
    Csv,
    /// IntelMQ's JSON; the query must give events' own columns
    Idf,
    /// A file, with --output
    Parquet,
}

const ROWS_OF_A_TABLE: u64 = 1000;

/// How often it is looked at what a query takes.
const LOOK: Duration = Duration::from_millis(20);

/// What a query may take beyond its limits: time to end as it should, in which it tells better what was too much, and bytes
/// for what is read and answered.
const MORE_TIME: Duration = Duration::from_secs(2);
const MORE_BYTES: u64 = 256 << 20;

/// Ends the process once the query takes more than it may. The engine counts what groups, joins and sorts hold; what an
/// expression makes it does not count, nor can it be stopped in one.
///
/// Says whether somebody is being waited for who reads the answer, which costs the query no time.
fn end_beyond(limits: Limits) -> Arc<AtomicBool> {
    let answering = Arc::new(AtomicBool::new(false));
    let is_answering = answering.clone();
    let mut spent = Duration::ZERO;
    let most = memory::held().unwrap_or_default() + limits.memory as u64 + MORE_BYTES;
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(LOOK);
            if !is_answering.load(Ordering::Relaxed) {
                spent += LOOK;
            }
            let too_much = if spent > limits.time + MORE_TIME {
                format!("took longer than its limit of {} s", limits.time.as_secs())
            } else if memory::held().is_some_and(|held| held > most) {
                format!("took more memory than its limit of {} MiB", limits.memory >> 20)
            } else {
                continue;
            };
            output::say(&format!("error: the query {too_much} and was stopped; ask for less, such as fewer days or groups"));
            std::process::exit(2);
        }
    });
    answering
}

impl Query {
    /// The queue that takes the answer, if one does.
    async fn queue(&self) -> Result<Option<Pushing>> {
        let Some(to) = &self.to else { return Ok(None) };
        if self.format != QueryFormat::Idf {
            bail!("a queue takes IntelMQ's events: --format idf");
        }
        let tls = self.ca.clone().map(|ca| Tls { ca: Some(ca), ..Tls::default() });
        let password = self.password_file.clone().map(|file| Secret::File { file });
        Ok(Some(Pushing::open(&Queue::parse(to, &tls)?, password.as_ref()).await?))
    }

    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        let mut queue = self.queue().await?;
        let desk = place.desk(Access::Read).await?;
        let answering = end_beyond(desk.query_limits());
        let answer_with = |write: &mut dyn FnMut() -> Result<()>| {
            answering.store(true, Ordering::Relaxed);
            let written = write();
            answering.store(false, Ordering::Relaxed);
            written
        };
        let rows = self.limit.or((self.format == QueryFormat::Table).then_some(ROWS_OF_A_TABLE));
        let answer = desk.query(&operator(), &Sql { text: &self.sql, rows }).await?;
        if self.format == QueryFormat::Parquet {
            let Some(path) = &self.output else { bail!("a Parquet file needs a name: --output FILE") };
            let rows = desk::write_parquet(answer, path).await?;
            output::say(&format!("{rows} rows in {}", path.display()));
            return Ok(Ended::Done);
        }
        match self.format {
            QueryFormat::Table => {
                let (batches, cut) = desk::collect(answer).await?;
                answer_with(&mut || output::print_batches(&batches, output::Format::Table))?;
                if cut {
                    output::say(&format!("cut after {} rows; --limit gives more, --format csv all", rows.unwrap_or(ROWS_OF_A_TABLE)));
                }
            }
            QueryFormat::Csv => {
                let mut writer = arrow::csv::Writer::new(output::results());
                desk::each_batch(answer, |batch| answer_with(&mut || Ok(writer.write(&output::flat(&batch)?)?))).await?;
            }
            QueryFormat::Json => {
                let mut writer = arrow::json::LineDelimitedWriter::new(output::results());
                desk::each_batch(answer, |batch| answer_with(&mut || Ok(writer.write(&batch)?))).await?;
                writer.finish()?;
            }
            QueryFormat::Idf => {
                let mut out = output::results();
                let mut told = false;
                desk::each_batch(answer, |batch| {
                    if event::batch::fields(&batch).next().is_none() {
                        bail!("the answer has no column of an event, such as source_ip: there is nothing to write in IntelMQ's form");
                    }
                    if !std::mem::replace(&mut told, true) {
                        tell_foreign(&batch.schema());
                    }
                    let mut text = String::new();
                    feed::intelmq::write(|id| desk.catalog().feed(id), &batch, &mut text);
                    answer_with(&mut || match &mut queue {
                        None => Ok(out.write_all(text.as_bytes())?),
                        Some(queue) => tokio::task::block_in_place(|| Handle::current().block_on(queue.push(&text))),
                    })
                })
                .await?;
                if let Some(queue) = queue {
                    output::say(&format!("{} events in the queue", queue.pushed));
                }
            }
            QueryFormat::Parquet => unreachable!("written above"),
        }
        Ok(Ended::Done)
    }
}

/// Says which columns of an answer are no event's, and so not in IntelMQ's form.
fn tell_foreign(answer: &Schema) {
    let is_foreign = |name: &&str| event::batch::schema().column_with_name(name).is_none();
    let foreign: Vec<&str> = answer.fields().iter().map(|field| field.name().as_str()).filter(is_foreign).collect();
    if !foreign.is_empty() {
        output::say(&format!("not written, for no event has such a column: {}", foreign.join(", ")));
    }
}
