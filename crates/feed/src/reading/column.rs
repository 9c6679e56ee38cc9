//! One field's column on its way: takes texts, numbers and times as the field's type wants them.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, TimestampMicrosecondBuilder};
use event::time::{self, Micros};
use event::{Field, Texts, Type, Wrong, value};

use crate::rows::Rows;

pub(super) struct Column {
    field: Field,
    values: Values,
    /// Texts without control characters are canonical up to this length.
    as_it_is: usize,
    /// For values that are not canonical as they come.
    scratch: String,
}

enum Values {
    Text(Texts),
    /// The same text in so many rows.
    Constant(&'static str, usize),
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
            _ => Values::Text(Texts::with_capacity(rows, rows * 16)),
        };
        let as_it_is = match (field.kind(), field.definition().length) {
            (Type::Text | Type::Base64, 0) => value::LONGEST_TEXT,
            (Type::Text | Type::Base64, length) => length,
            _ => 0,
        };
        Column { field, values, as_it_is, scratch: String::new() }
    }

    /// A column of text that is the same in all rows, and canonical.
    pub(super) fn constant(field: Field, text: &'static str, rows: usize) -> Column {
        Column { field, values: Values::Constant(text, rows), as_it_is: 0, scratch: String::new() }
    }

    /// Appends what the text means, or says why it means nothing and appends nothing.
    #[inline]
    pub(super) fn push_text(&mut self, text: &str) -> Result<(), Wrong> {
        match &mut self.values {
            Values::Text(texts) => texts.push(value::text(self.field, text, &mut self.scratch)?),
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
            Values::Constant(..) => unreachable!("a constant is whole"),
        }
        Ok(())
    }

    /// The same of a cell, which in most columns of a plain block is its own canonical form.
    #[inline]
    pub(super) fn push_cell(&mut self, rows: &Rows, cell: Range<usize>) -> Result<(), Wrong> {
        if let Values::Text(texts) = &mut self.values
            && rows.plain
            && cell.len() <= self.as_it_is
        {
            texts.push_piece(&rows.text, cell);
            return Ok(());
        }
        self.push_text(rows.text.get(cell).unwrap_or_default())
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
            Values::Text(texts) => match text {
                Some(text) => texts.push(text),
                None => texts.push_null(),
            },
            _ => unreachable!("only the columns of meaning are filled so, and they are text"),
        }
    }

    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Text(texts) => texts.push_null(),
            Values::Long(builder) => builder.append_null(),
            Values::Int(builder) => builder.append_null(),
            Values::Float(builder) => builder.append_null(),
            Values::Boolean(builder) => builder.append_null(),
            Values::Time(builder) => builder.append_null(),
            Values::Constant(..) => unreachable!("a constant is whole"),
        }
    }

    pub(super) fn is_valid(&self, row: usize) -> bool {
        self.validity().is_none_or(|bits| bits[row / 8] >> (row % 8) & 1 == 1)
    }

    /// Whether every row has a value.
    pub(super) fn all_valid(&self) -> bool {
        self.validity().is_none()
    }

    /// A bit for each row, whether it has a value; none where all have.
    fn validity(&self) -> Option<&[u8]> {
        match &self.values {
            Values::Text(texts) => texts.validity(),
            Values::Constant(..) => None,
            Values::Long(builder) => builder.validity_slice(),
            Values::Int(builder) => builder.validity_slice(),
            Values::Float(builder) => builder.validity_slice(),
            Values::Boolean(builder) => builder.validity_slice(),
            Values::Time(builder) => builder.validity_slice(),
        }
    }

    /// The text in this row, if the column is text and has one.
    pub(super) fn text(&self, row: usize) -> Option<&str> {
        match &self.values {
            Values::Text(texts) => texts.get(row),
            Values::Constant(text, _) => Some(text),
            _ => None,
        }
    }

    pub(super) fn into_times(self) -> Vec<Option<Micros>> {
        match self.values {
            Values::Time(mut builder) => builder.finish().iter().collect(),
            _ => unreachable!("only time.source is asked for its times"),
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self.values {
            Values::Text(texts) => Arc::new(texts.finish()),
            Values::Constant(text, rows) => super::constant(text, rows),
            Values::Long(mut builder) => Arc::new(builder.finish()),
            Values::Int(mut builder) => Arc::new(builder.finish()),
            Values::Float(mut builder) => Arc::new(builder.finish()),
            Values::Boolean(mut builder) => Arc::new(builder.finish()),
            Values::Time(mut builder) => Arc::new(builder.finish()),
        }
    }
}
