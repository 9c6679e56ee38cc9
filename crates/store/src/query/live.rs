//! A table's version as the query engine scans it: exactly its live files.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as EngineResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
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
        partitioned.with_statistics(Arc::new(self.statistics_of(file)))
    }

    fn statistics_of(&self, file: &LiveFile) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.schema.file_schema());
        if file.rows > 0 {
            statistics.num_rows = Precision::Exact(file.rows as usize);
        }
        statistics.total_byte_size = Precision::Inexact(file.size as usize);
        for (field, column) in self.schema.file_schema().fields().iter().zip(&mut statistics.column_statistics) {
            if Some(field.name().as_str()) == self.definition.feed
                && let Some((first, last)) = &file.feed
            {
                *column = bounded(ScalarValue::Utf8View(Some(first.clone())), ScalarValue::Utf8View(Some(last.clone())));
            } else if field.name() == self.definition.time
                && let Some((first, last)) = file.time
            {
                *column = bounded(time_scalar(field.data_type(), first), time_scalar(field.data_type(), last));
            }
        }
        statistics
    }

    fn plan(&self, state: &dyn Session, projection: Option<&Vec<usize>>, limit: Option<usize>) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let files: Vec<PartitionedFile> = self.files.iter().map(|file| self.partitioned(file)).collect();
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(state.table_options().parquet.clone());
        let mut source = source;
        let options = &state.config_options().execution.parquet;
        source = source.with_pushdown_filters(options.pushdown_filters).with_reorder_filters(options.reorder_filters);
        let url = storage_url(&self.place).map_err(|error| datafusion::error::DataFusionError::External(error.into()))?;
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(self.statistics_of_all())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn statistics_of_all(&self) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.schema.table_schema());
        if self.files.iter().all(|file| file.rows > 0) {
            statistics.num_rows = Precision::Exact(self.files.iter().map(|file| file.rows as usize).sum());
        }
        statistics.total_byte_size = Precision::Inexact(self.files.iter().map(|file| file.size as usize).sum());
        statistics
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
        _filters: &'life3 [Expr],
        limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = EngineResult<Arc<dyn ExecutionPlan>>> + Send + 'future>>
    where
        'life0: 'future,
        'life1: 'future,
        'life2: 'future,
        'life3: 'future,
        Self: 'future,
    {
        // Filters find their way into the scan by themselves: the optimizer of physical plans pushes them.
        Box::pin(std::future::ready(self.plan(state, projection, limit)))
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

fn bounded(first: ScalarValue, last: ScalarValue) -> ColumnStatistics {
    // Times are rounded outwards in the log: good for pruning, not for answering min and max.
    ColumnStatistics { min_value: Precision::Inexact(first), max_value: Precision::Inexact(last), ..ColumnStatistics::new_unknown() }
}

fn time_scalar(kind: &DataType, time: Micros) -> ScalarValue {
    match kind {
        DataType::Date32 => ScalarValue::Date32(Some(time::day(time))),
        _ => ScalarValue::TimestampMicrosecond(Some(time), Some("UTC".into())),
    }
}
