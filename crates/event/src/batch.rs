//! Events in bulk: Arrow record batches whose columns are those of the table at rest.
//!
//! A batch carries only the columns that its feed can fill; readers treat a missing column as empty, and so
//! does every engine that reads the table.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};

use crate::field::{FIELDS, Field, Type};

/// Columns of an event that are the house's own, before the fields.
pub const HOUSE: &[(&str, DataType, &str)] = &[
    ("id", DataType::Binary, "128 bits of BLAKE3 over what the event says"),
    ("month", DataType::Utf8, "month of time_source: the table's partition"),
    ("feed", DataType::Utf8, "the feed's id, PROVIDER/FEED"),
    ("provider", DataType::Utf8, "who told us"),
    ("report_id", DataType::Utf8, "the report that the event was read from, by its hash"),
    ("line", DataType::Int64, "the row's line in the report"),
    ("kind", DataType::Utf8, "what sort of problem: bot, c2, site, exposed, victim, resolver, account, inventory, listing"),
    ("asset", DataType::Utf8, "the field whose owner must look, such as source.ip"),
    ("in_scope", DataType::Boolean, "whether the asset is ours to watch"),
    ("tables", DataType::Utf8, "the enrichment tables in force, by their hash"),
    ("warnings", DataType::Utf8, "the warning lists that its asset's side is on, by name, with \"; \" between"),
    ("suppressed", DataType::Utf8, "those of them for which it is not counted: it makes no sighting"),
];

/// The type that a field has at rest. Delta Lake has no unsigned numbers.
pub fn arrow_type(kind: Type) -> DataType {
    match kind {
        Type::Integer | Type::Asn => DataType::Int64,
        Type::Port => DataType::Int32,
        Type::Float | Type::Percent => DataType::Float64,
        Type::Boolean => DataType::Boolean,
        Type::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        _ => DataType::Utf8,
    }
}

/// The table of events, whole.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let house = HOUSE.iter().map(|(name, kind, _)| ArrowField::new(*name, kind.clone(), true));
        let fields = FIELDS.iter().map(|field| ArrowField::new(field.column, arrow_type(field.kind), true));
        Arc::new(Schema::new(house.chain(fields).collect::<Vec<_>>()))
    });
    SCHEMA.clone()
}

/// The batch with these columns, put in the schema's order.
///
/// Panics if a name is unknown, twice there, or has another type: callers build columns from the schema.
pub fn from_columns(rows: usize, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let schema = schema();
    let mut placed: Vec<(usize, ArrayRef)> =
        columns.into_iter().map(|(name, array)| (schema.index_of(name).expect("columns are named from the schema"), array)).collect();
    placed.sort_by_key(|(place, _)| *place);
    let (places, arrays): (Vec<usize>, Vec<ArrayRef>) = placed.into_iter().unzip();
    let part = Arc::new(schema.project(&places).expect("places come from the schema"));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(part, arrays, &options).expect("columns have the schema's types and one length")
}

/// The batch with these columns set: those it has are replaced, others added.
pub fn with_columns(batch: &RecordBatch, changed: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::with_capacity(batch.num_columns() + changed.len());
    let schema = batch.schema_ref();
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        if !changed.iter().any(|(name, _)| name == field.name()) {
            columns.push((field.name(), array.clone()));
        }
    }
    columns.extend(changed);
    from_columns(batch.num_rows(), columns)
}

/// A column of text, if the batch has it.
pub fn text<'a>(batch: &'a RecordBatch, column: &str) -> Option<&'a StringArray> {
    batch.column_by_name(column).map(|array| array.as_any().downcast_ref().expect("the schema says text"))
}

/// A column of times, if the batch has it.
pub fn times<'a>(batch: &'a RecordBatch, column: &str) -> Option<&'a TimestampMicrosecondArray> {
    batch.column_by_name(column).map(|array| array.as_any().downcast_ref().expect("the schema says time"))
}

/// One cell of any column, as a value that a person or another program reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Text(&'a str),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// Microseconds since 1970, UTC.
    Time(i64),
    Bytes(&'a [u8]),
}

/// The cell in this row, if there is one.
pub fn cell(array: &dyn Array, row: usize) -> Option<Cell<'_>> {
    if array.is_null(row) {
        return None;
    }
    let any = array.as_any();
    let found = any
        .downcast_ref::<StringArray>()
        .map(|array| Cell::Text(array.value(row)))
        .or_else(|| any.downcast_ref::<Int64Array>().map(|array| Cell::Integer(array.value(row))))
        .or_else(|| any.downcast_ref::<Int32Array>().map(|array| Cell::Integer(array.value(row).into())))
        .or_else(|| any.downcast_ref::<Float64Array>().map(|array| Cell::Float(array.value(row))))
        .or_else(|| any.downcast_ref::<BooleanArray>().map(|array| Cell::Boolean(array.value(row))))
        .or_else(|| any.downcast_ref::<TimestampMicrosecondArray>().map(|array| Cell::Time(array.value(row))))
        .or_else(|| any.downcast_ref::<arrow::array::BinaryArray>().map(|array| Cell::Bytes(array.value(row))));
    Some(found.expect("the schema has no other types"))
}

/// The fields that the batch has a column for, with the columns, in the order of [`FIELDS`].
pub fn fields(batch: &RecordBatch) -> impl Iterator<Item = (Field, &ArrayRef)> {
    Field::all().filter_map(|field| batch.column_by_name(field.column()).map(|array| (field, array)))
}
