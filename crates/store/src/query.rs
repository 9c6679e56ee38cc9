//! SQL over what is at rest: read only, within limits of memory, time and rows.

mod distinct;
mod functions;
mod live;

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::utils::datafusion_strsim::normalized_levenshtein;
use datafusion::common::{Column, SchemaError};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::cache::cache_manager::{CacheManager, CacheManagerConfig, FileMetadataCache};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{Stream, StreamExt};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tokio::time::Instant;

pub use functions::{NameFunctions, NamePart};
pub(crate) use live::LiveTable;

use crate::place::temporary_in;
use crate::store::Store;
use crate::table::Table;

/// What a query may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that joins, sorts and groups may hold before they go to disk, or fail where they cannot.
    pub memory: usize,
    /// From planning to the last row.
    pub time: Duration,
    /// Rows after which the answer ends; [`Answer::was_cut`] then says so.
    pub rows: Option<u64>,
}

/// What a query answers: batches of one schema, with text as plain text.
pub struct Answer {
    pub schema: SchemaRef,
    pub batches: Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>,
    cut: Arc<AtomicBool>,
}

impl Answer {
    /// Whether there was more than the limit of rows, once the last batch has come.
    pub fn was_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Writes the answer to a Parquet file, which appears whole or not at all; says how many rows it has.
    pub async fn write_parquet(mut self, path: &Path) -> Result<u64> {
        let context = || format!("writing {}", path.display());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = temporary_in(folder).with_context(context)?;
        let level = ZstdLevel::try_new(3).expect("level 3 exists");
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let mut writer = ArrowWriter::try_new(file, self.schema.clone(), Some(properties)).with_context(context)?;
        let mut rows = 0;
        while let Some(batch) = self.batches.next().await {
            let batch = batch?;
            rows += batch.num_rows() as u64;
            let written = tokio::task::spawn_blocking(move || writer.write(&batch).map(|()| writer));
            writer = written.await.context("the thread that writes the answer has died")?.with_context(context)?;
        }
        writer.into_inner().with_context(context)?.persist(path).with_context(context)?;
        Ok(rows)
    }

    /// The whole answer, for answers that are known to be small.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.batches.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Answer").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Store {
    /// Answers one SQL query over the tables at rest and `tables`, which the caller knows of. Tables are seen as
    /// of now, throughout.
    pub async fn query(&self, sql: &str, tables: Vec<(&str, RecordBatch)>, limits: &Limits) -> Result<Answer> {
        let since = Instant::now();
        let begun = async {
            let session = self.session_of(&tables, limits).await?;
            let distinct = distinct::register(&session)?;
            let begun = begin(&session, sql).await;
            let again = distinct.is_used() && begun.as_ref().err().is_some_and(is_exhausted);
            // What the first way has gathered is let go before the second gathers its own.
            drop((session, distinct));
            if again { begin(&self.session_of(&tables, limits).await?, sql).await } else { begun }
        };
        let begun = tokio::time::timeout(limits.time, begun).await.map_err(|_| too_slow(limits))?;
        let (schema, stream) = begun.map_err(explained)?;
        let cut = Arc::new(AtomicBool::new(false));
        Ok(Answer { schema: schema.clone(), batches: limited(stream, schema, limits.clone(), since.elapsed(), cut.clone()), cut })
    }

    /// A session that knows all tables.
    async fn session_of(&self, tables: &[(&str, RecordBatch)], limits: &Limits) -> Result<SessionContext> {
        let session = self.session(limits.memory).await?;
        for (name, batch) in tables {
            let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]])?;
            session.register_table(*name, Arc::new(table))?;
        }
        Ok(session)
    }

    /// A session that knows our functions and no tables.
    pub(crate) fn bare_session(&self, memory: usize) -> Result<SessionContext> {
        self.session_with(memory, SessionConfig::new().with_information_schema(true))
    }

    /// A session that sorts wide rows in little memory: one sorter that has all of it, and small batches, since
    /// merging what went to disk holds one of each run.
    pub(crate) fn sorting_session(&self, memory: usize) -> Result<SessionContext> {
        self.session_with(memory, SessionConfig::new().with_target_partitions(1).with_batch_size(1024))
    }

    fn session_with(&self, memory: usize, mut config: SessionConfig) -> Result<SessionContext> {
        let pool = TrackConsumersPool::new(FairSpillPool::new(memory), NonZeroUsize::new(3).expect("three is not nothing"));
        let caches = CacheManagerConfig::default().with_file_metadata_cache(Some(self.footers.clone()));
        let mut runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_cache_manager(caches);
        if let Some(folder) = &self.settings.temporary {
            runtime = runtime.with_temp_file_path(folder);
        }
        if memory < ROOMY {
            // What merges of sorted rows hold at least goes with the size of batches.
            config = config.with_batch_size(1024);
            config.options_mut().execution.sort_spill_reservation_bytes = 1 << 20;
        }
        // Rows are filtered while they are read: of forty columns, a query for one address decodes one.
        config.options_mut().execution.parquet.pushdown_filters = true;
        config.options_mut().execution.parquet.reorder_filters = true;
        let session = SessionContext::new_with_config_rt(config, runtime.build_arc()?);
        session.register_object_store(live::storage_url(&self.place)?.as_ref(), self.place.root().clone());
        functions::register(&session, &self.settings.names);
        Ok(session)
    }

    /// A session that knows the tables at rest, too.
    pub(crate) async fn session(&self, memory: usize) -> Result<SessionContext> {
        let mut config = SessionConfig::new().with_information_schema(true);
        if memory < ROOMY {
            // Threads that hand each other rows may wait for ever where there is no room for them: seen with DataFusion 55.2,
            // in groups by long texts and in sorted joins.
            config = config.with_target_partitions(1);
        }
        let session = self.session_with(memory, config)?;
        for table in self.tables() {
            session.register_table(table.definition.name, Arc::new(live_table(table).await?))?;
        }
        // A report has no row of its own: it is what deliveries brought.
        let reports = session.sql(REPORTS).await?;
        session.register_table("reports", reports.into_view())?;
        Ok(session)
    }
}

/// With less memory than this, in bytes, sorts and groups go in smaller steps, and on one thread.
const ROOMY: usize = 512 << 20;

/// Footers of files, kept between queries in so much memory: files never change.
pub(crate) fn footers(most: usize) -> Result<Arc<FileMetadataCache>> {
    let caches = CacheManagerConfig::default().with_metadata_cache_limit(most);
    Ok(CacheManager::try_new(&caches)?.get_file_metadata_cache())
}

const REPORTS: &str = "\
    select report_id as id, max(size) as size, min(time) as time, count(*) as deliveries \
    from deliveries where report_id <> '' group by report_id";

/// The newest version of a table, to be scanned.
pub(crate) async fn live_table(table: &Arc<Table>) -> Result<LiveTable> {
    Ok(LiveTable::new(table.definition, table.place.clone(), table.latest().await?))
}

fn too_slow(limits: &Limits) -> anyhow::Error {
    anyhow!("the query took longer than its limit of {} s and was stopped; ask for less, such as fewer days", limits.time.as_secs_f32())
}

/// Plans a query and runs it up to its first batch: what groups or sorts everything has then done nearly all it will.
async fn begin(
    session: &SessionContext,
    sql: &str,
) -> Result<(SchemaRef, impl Stream<Item = datafusion::error::Result<RecordBatch>> + Send + use<>)> {
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let mut stream = session.sql_with_options(sql, read_only).await?.execute_stream().await?;
    let schema = plain_schema(&stream.schema());
    let first = stream.next().await.transpose()?;
    Ok((schema, futures::stream::iter(first.map(Ok)).chain(stream)))
}

/// Whether the memory that the query may take was not enough.
fn is_exhausted(error: &anyhow::Error) -> bool {
    let root = error.downcast_ref::<DataFusionError>().map(DataFusionError::find_root);
    matches!(root, Some(DataFusionError::ResourcesExhausted(_)))
}

/// Errors of the engine, with a way out where there is one. What is wrong with the query itself is said once, in a sentence.
fn explained(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<DataFusionError>().map(DataFusionError::find_root) {
        Some(DataFusionError::ResourcesExhausted(_)) => {
            error.context("the query needs more memory than its limit; ask for less, such as fewer days or groups")
        }
        Some(DataFusionError::SchemaError(wrong, _)) => match wrong.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => unknown_column(&field.name, valid_fields),
            wrong => anyhow!("{wrong}"),
        },
        Some(DataFusionError::SQL(wrong, _)) => anyhow!("{wrong}"),
        Some(DataFusionError::Plan(wrong)) => anyhow!("{}", wrong.replace("datafusion.public.", "")),
        _ => error,
    }
}

fn unknown_column(name: &str, known: &[Column]) -> anyhow::Error {
    /// More than every table has but that of events.
    const FEW: usize = 30;
    let likeness = |known: &str| {
        let is_word = |of: &str, word: &str| of.split('_').any(|other| other == word);
        let within = is_word(known, name) || is_word(name, known) || known.contains(name) && name.len() > 2;
        if within { 1.0 } else { normalized_levenshtein(known, name) }
    };
    let mut alike: Vec<(f64, &str)> = known.iter().map(|column| (likeness(&column.name), column.name.as_str())).collect();
    alike.retain(|(likeness, _)| *likeness > 0.6);
    alike.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(other.1)));
    alike.dedup();
    let alike: Vec<&str> = alike.into_iter().map(|(_, name)| name).take(4).collect();
    match alike.as_slice() {
        [] if known.len() > FEW => anyhow!("there is no column \"{name}\"; \"DESCRIBE events\" shows all"),
        [] => {
            // Tables that are joined may have columns of one name.
            let mut said = HashSet::new();
            let known: Vec<&str> = known.iter().map(|column| column.name.as_str()).filter(|name| said.insert(*name)).collect();
            anyhow!("there is no column \"{name}\"; there are {}", known.join(", "))
        }
        alike => anyhow!("there is no column \"{name}\"; is it {}?", alike.join(" or ")),
    }
}

fn limited(
    stream: impl Stream<Item = datafusion::error::Result<RecordBatch>> + Send + 'static,
    schema: SchemaRef,
    limits: Limits,
    spent: Duration,
    cut: Arc<AtomicBool>,
) -> Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>> {
    let left = AtomicU64::new(limits.rows.unwrap_or(u64::MAX));
    let state = Some((Box::pin(stream), left, spent));
    Box::pin(futures::stream::unfold(state, move |state| {
        let (schema, limits, cut) = (schema.clone(), limits.clone(), cut.clone());
        async move {
            let (mut stream, left, mut spent) = state?;
            // What is waited for is the engine; that a reader takes its time costs nothing.
            let since = Instant::now();
            let next = tokio::time::timeout(limits.time.saturating_sub(spent), stream.next()).await;
            spent += since.elapsed();
            let next = match next {
                Err(_) => return Some((Err(too_slow(&limits)), None)),
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some((Err(explained(error.into())), None)),
                Ok(Some(Ok(batch))) => batch,
            };
            let room = left.load(Ordering::Relaxed);
            let rows = next.num_rows() as u64;
            if rows > room {
                cut.store(true, Ordering::Release);
                return Some((plain(&next.slice(0, room as usize), &schema), None));
            }
            left.store(room - rows, Ordering::Relaxed);
            Some((plain(&next, &schema), Some((stream, left, spent))))
        }
    }))
}

/// The engine works on views of text, which few others know: answers have plain text.
fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        other => other.clone(),
    }
}

pub(crate) fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .map(|field| Field::new(field.name(), plain_type(field.data_type()), field.is_nullable()))
            .collect::<Vec<_>>(),
    ))
}

pub(crate) fn plain(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns: Result<Vec<ArrayRef>, _> = columns.map(|(column, field)| compute::cast(column, field.data_type())).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns?, &options).context("laying out an answer")
}
