//! A table's version as the query engine scans it: exactly its live files.

use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray, Date32Array, StringArray, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use event::time::{self, Micros};
use url::Position;

use crate::place::Place;
use crate::table::{Definition, LiveFile, MONTH, Version};

/// A version of a table, to be scanned.
pub(crate) struct LiveTable {
    definition: &'static Definition,
    place: Place,
    version: Arc<Version>,
    files: Vec<Arc<LiveFile>>,
    schema: TableSchema,
}

impl fmt::Debug for LiveTable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LiveTable({} at {:?})", self.definition.name, self.version.number)
    }
}

impl LiveTable {
    pub(crate) fn new(definition: &'static Definition, place: Place, version: Arc<Version>) -> LiveTable {
        let files = version.files.values().cloned().collect();
        LiveTable::of_files(definition, place, version, files)
    }

    /// Only some files of the version.
    pub(crate) fn of_files(definition: &'static Definition, place: Place, version: Arc<Version>, files: Vec<Arc<LiveFile>>) -> LiveTable {
        let file_schema = view_schema(&definition.file_schema());
        let partition: Vec<FieldRef> =
            if definition.by_month { vec![Arc::new(Field::new(MONTH, DataType::Utf8, true))] } else { Vec::new() };
        let schema = TableSchema::builder(file_schema).with_table_partition_cols(partition).build();
        LiveTable { definition, place, version, files, schema }
    }

    fn partitioned(&self, file: &LiveFile) -> PartitionedFile {
        let mut partitioned = PartitionedFile::new(String::new(), file.size);
        // The path is set as it is: a path that is made from text would be encoded again.
        partitioned.object_meta.location = self.place.path(&file.path);
        if self.definition.by_month {
            partitioned = partitioned.with_partition_values(vec![ScalarValue::Utf8(file.month.clone())]);
        }
        partitioned
    }

    fn plan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let files = self.pruned(state, filters)?;
        if files.is_empty() {
            // A scan of no files has no partition, which an aggregate of all rows cannot do without.
            let schema = self.schema.table_schema();
            let projected = projection.map_or_else(|| Ok(schema.clone()), |columns| schema.project(columns).map(Arc::new))?;
            return Ok(Arc::new(EmptyExec::new(projected)));
        }
        let statistics = self.statistics_of(&files);
        let groups =
            FileGroup::new(files.iter().map(|file| self.partitioned(file)).collect()).split_files(state.config().target_partitions());
        let options = &state.config_options().execution.parquet;
        let footers = state.runtime_env().cache_manager.get_file_metadata_cache();
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_parquet_file_reader_factory(Arc::new(CachedParquetFileReaderFactory::new(self.place.root().clone(), footers)))
            .with_pushdown_filters(options.pushdown_filters)
            .with_reorder_filters(options.reorder_filters);
        let url = storage_url(&self.place).map_err(|error| DataFusionError::External(error.into()))?;
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// The files that may hold rows for these filters, by what the log says of them. The engine could do the
    /// same, but wants statistics of all hundred columns of each of a thousand files for it.
    fn pruned(&self, state: &dyn Session, filters: &[Expr]) -> EngineResult<Vec<Arc<LiveFile>>> {
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(self.files.clone()) };
        let schema = self.schema.table_schema();
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema.clone())?)?;
        let Ok(predicate) = PruningPredicateBuilder::new().with_file_schema(schema.clone()).try_build(filter) else {
            return Ok(self.files.clone());
        };
        let keep = predicate.prune(&Bounds { definition: self.definition, files: &self.files })?;
        Ok(self.files.iter().zip(keep).filter(|(_, keep)| *keep).map(|(file, _)| file.clone()).collect())
    }

    fn statistics_of(&self, files: &[Arc<LiveFile>]) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.schema.table_schema());
        if files.iter().all(|file| file.rows > 0) {
            statistics.num_rows = Precision::Exact(files.iter().map(|file| file.rows as usize).sum());
        }
        statistics.total_byte_size = Precision::Inexact(files.iter().map(|file| file.size as usize).sum());
        statistics
    }
}

/// What the log says of files, column by column.
struct Bounds<'a> {
    definition: &'static Definition,
    files: &'a [Arc<LiveFile>],
}

impl Bounds<'_> {
    /// The lesser or greater bound of a column in every file.
    fn of(&self, column: &str, text: impl Fn(&(String, String)) -> String, time: impl Fn((Micros, Micros)) -> Micros) -> Option<ArrayRef> {
        if column == MONTH {
            return Some(Arc::new(self.files.iter().map(|file| file.month.clone()).collect::<StringArray>()));
        }
        if Some(column) == self.definition.feed {
            return Some(Arc::new(self.files.iter().map(|file| file.feed.as_ref().map(&text)).collect::<StringViewArray>()));
        }
        if column != self.definition.time {
            return None;
        }
        let times = self.files.iter().map(|file| file.time.map(&time));
        match (self.definition.schema)().field_with_name(column).ok()?.data_type() {
            DataType::Date32 => Some(Arc::new(times.map(|time| time.map(time::day)).collect::<Date32Array>())),
            _ => Some(Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
        }
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(&column.name, |(first, _)| first.clone(), |(first, _)| first)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.of(&column.name, |(_, last)| last.clone(), |(_, last)| last)
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

impl TableProvider for LiveTable {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // The trait is one of `async_trait`; nothing here waits, so that its signature is written out instead.
    fn scan<'life0, 'life1, 'life2, 'life3, 'future>(
        &'life0 self,
        state: &'life1 dyn Session,
        projection: Option<&'life2 Vec<usize>>,
        filters: &'life3 [Expr],
        limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = EngineResult<Arc<dyn ExecutionPlan>>> + Send + 'future>>
    where
        'life0: 'future,
        'life1: 'future,
        'life2: 'future,
        'life3: 'future,
        Self: 'future,
    {
        Box::pin(std::future::ready(self.plan(state, projection, filters, limit)))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        // Here they only choose files; the optimizer of physical plans takes them on into the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

/// The storage by which the engine knows where a place lies.
pub(crate) fn storage_url(place: &Place) -> Result<ObjectStoreUrl> {
    let url = place.url();
    Ok(ObjectStoreUrl::parse(&url[..Position::BeforePath])?)
}

/// Text as views: filters and joins then compare without copying.
fn view_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let kind = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            other => other.clone(),
        };
        Field::new(field.name(), kind, field.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
