//! One field's column on its way: takes texts, numbers and times as the field's type wants them.

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use event::time::{self, Micros};
use event::{Field, Type, Wrong, value};

pub(super) struct Column {
    field: Field,
    values: Values,
    /// For values that are not canonical as they come.
    scratch: String,
}

enum Values {
    Text(StringBuilder),
    Long(Int64Builder),
    Int(Int32Builder),
    Float(Float64Builder),
    Boolean(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl Column {
    pub(super) fn new(field: Field, rows: usize) -> Column {
        let values = match field.kind() {
            Type::Integer | Type::Asn => Values::Long(Int64Builder::with_capacity(rows)),
            Type::Port => Values::Int(Int32Builder::with_capacity(rows)),
            Type::Float | Type::Percent => Values::Float(Float64Builder::with_capacity(rows)),
            Type::Boolean => Values::Boolean(BooleanBuilder::with_capacity(rows)),
            Type::Time => Values::Time(TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC")),
            _ => Values::Text(StringBuilder::with_capacity(rows, rows * 16)),
        };
        Column { field, values, scratch: String::new() }
    }

    /// Appends what the text means, or says why it means nothing and appends nothing.
    #[inline]
    pub(super) fn push_text(&mut self, text: &str) -> Result<(), Wrong> {
        match &mut self.values {
            Values::Text(builder) => builder.append_value(value::text(self.field, text, &mut self.scratch)?),
            Values::Long(builder) => builder.append_value(match self.field.kind() {
                Type::Asn => value::asn(text)?,
                _ => value::integer(text)?,
            }),
            Values::Int(builder) => builder.append_value(value::port(text)?),
            Values::Float(builder) => builder.append_value(match self.field.kind() {
                Type::Percent => value::percent(text)?,
                _ => value::float(text)?,
            }),
            Values::Boolean(builder) => builder.append_value(value::boolean(text)?),
            Values::Time(builder) => builder.append_value(time::parse(text)?),
        }
        Ok(())
    }

    pub(super) fn push_time(&mut self, time: Micros) -> Result<(), Wrong> {
        match &mut self.values {
            Values::Time(builder) => {
                builder.append_value(time);
                Ok(())
            }
            _ => self.push_text(&time::iso(time)),
        }
    }

    /// A value that is canonical already, or none. Only for text.
    pub(super) fn push_canonical(&mut self, text: Option<&str>) {
        match &mut self.values {
            Values::Text(builder) => builder.append_option(text),
            _ => unreachable!("only the columns of meaning are filled so, and they are text"),
        }
    }

    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Text(builder) => builder.append_null(),
            Values::Long(builder) => builder.append_null(),
            Values::Int(builder) => builder.append_null(),
            Values::Float(builder) => builder.append_null(),
            Values::Boolean(builder) => builder.append_null(),
            Values::Time(builder) => builder.append_null(),
        }
    }

    pub(super) fn is_valid(&self, row: usize) -> bool {
        // Validity is asked of the builder's bits: an absent bitmap means that all are valid.
        let bits = match &self.values {
            Values::Text(builder) => builder.validity_slice(),
            Values::Long(builder) => builder.validity_slice(),
            Values::Int(builder) => builder.validity_slice(),
            Values::Float(builder) => builder.validity_slice(),
            Values::Boolean(builder) => builder.validity_slice(),
            Values::Time(builder) => builder.validity_slice(),
        };
        bits.is_none_or(|bits| bits[row / 8] >> (row % 8) & 1 == 1)
    }

    /// The text in this row, if the column is text and has one.
    pub(super) fn text(&self, row: usize) -> Option<&str> {
        let Values::Text(builder) = &self.values else { return None };
        if !self.is_valid(row) {
            return None;
        }
        let offsets = builder.offsets_slice();
        let end = offsets.get(row + 1).map_or(builder.values_slice().len(), |end| *end as usize);
        std::str::from_utf8(&builder.values_slice()[offsets[row] as usize..end]).ok()
    }

    pub(super) fn into_times(self) -> Vec<Option<Micros>> {
        match self.values {
            Values::Time(mut builder) => builder.finish().iter().collect(),
            _ => unreachable!("only time.source is asked for its times"),
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        use std::sync::Arc;
        match self.values {
            Values::Text(mut builder) => Arc::new(builder.finish()),
            Values::Long(mut builder) => Arc::new(builder.finish()),
            Values::Int(mut builder) => Arc::new(builder.finish()),
            Values::Float(mut builder) => Arc::new(builder.finish()),
            Values::Boolean(mut builder) => Arc::new(builder.finish()),
            Values::Time(mut builder) => Arc::new(builder.finish()),
        }
    }
}
