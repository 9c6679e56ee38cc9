//! SQL, read only, within limits.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use arrow::array::RecordBatch;
use event::time::Micros;
use futures::StreamExt;
use store::{Answer, Limits};
use tracing::instrument;

use crate::actor::{Action, Actor};
use crate::desk::Desk;
use crate::feeds::feeds_batch;

/// One query.
#[derive(Clone, Debug)]
pub struct Sql<'a> {
    pub text: &'a str,
    /// Rows after which the answer is cut.
    pub rows: Option<u64>,
}

impl Desk {
    /// Answers SQL over events, sightings, deliveries, rejects, reports, erasures and feeds.
    // Its text is not part of the span: it may speak of people, and no erasure reaches a collector of spans.
    #[instrument(skip_all)]
    pub async fn query(&self, actor: &Actor, sql: &Sql<'_>) -> Result<Answer> {
        actor.require(Action::Query)?;
        let limits = Limits { rows: sql.rows, ..self.query_limits() };
        self.store.query(sql.text, vec![("feeds", feeds_batch(&self.catalog))], &limits).await
    }

    /// What a query may take, as configured.
    pub fn query_limits(&self) -> Limits {
        let crate::configuration::Query { memory, seconds } = self.configuration.query;
        Limits { memory: usize::try_from(memory << 20).unwrap_or(usize::MAX), time: Duration::from_secs(seconds), rows: None }
    }

    /// When something was last stored, by the storage's own clock: no clock that is right is behind it.
    pub async fn last_written(&self, actor: &Actor) -> Result<Option<Micros>> {
        actor.require(Action::Query)?;
        self.store.last_written().await
    }

    /// A kept report's bytes as they came.
    pub fn open_report(&self, actor: &Actor, id: &str) -> Result<Box<dyn std::io::Read + Send>> {
        actor.require(Action::Query)?;
        self.store.open_report(id)
    }
}

/// The whole of an answer that is known to be small, and whether there was more than its limit of rows.
pub async fn collect(mut answer: Answer) -> Result<(Vec<RecordBatch>, bool)> {
    let mut batches = Vec::new();
    while let Some(batch) = answer.batches.next().await {
        batches.push(batch?);
    }
    if batches.is_empty() {
        batches.push(RecordBatch::new_empty(answer.schema.clone()));
    }
    Ok((batches, answer.was_cut()))
}

/// Hands out an answer as it comes.
pub async fn each_batch(mut answer: Answer, mut each: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
    while let Some(batch) = answer.batches.next().await {
        each(batch?)?;
    }
    Ok(())
}

/// An answer as a Parquet file; says how many rows it has.
pub async fn write_parquet(answer: Answer, path: &Path) -> Result<u64> {
    answer.write_parquet(path).await
}
