//! One field's column on its way: takes texts, numbers and times as the field's type wants them.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use event::time::{self, Micros};
use event::{Bits, Field, Texts, Type, Wrong, value};

use crate::convert::Value;
use crate::rows::{Rows, Span};

pub(super) struct Column {
    field: Field,
    values: Values,
    /// For values that are not canonical as they come.
    scratch: String,
}

enum Values {
    Text(Texts),
    /// The same text in so many rows.
    Constant(String, usize),
    Long(Numbers<i64>),
    Int(Numbers<i32>),
    Float(Numbers<f64>),
    Boolean(Numbers<bool>),
    Time(Numbers<Micros>),
}

impl Column {
    pub(super) fn new(field: Field, rows: usize) -> Column {
        let values = match field.kind() {
            Type::Integer | Type::Asn => Values::Long(Numbers::with_capacity(rows)),
            Type::Port => Values::Int(Numbers::with_capacity(rows)),
            Type::Float | Type::Percent => Values::Float(Numbers::with_capacity(rows)),
            Type::Boolean => Values::Boolean(Numbers::with_capacity(rows)),
            Type::Time => Values::Time(Numbers::with_capacity(rows)),
            _ => Values::Text(Texts::with_capacity(rows, rows * 16)),
        };
        Column { field, values, scratch: String::new() }
    }

    /// A column of text that is the same in all rows, and canonical.
    pub(super) fn constant(field: Field, text: String, rows: usize) -> Column {
        Column { field, values: Values::Constant(text, rows), scratch: String::new() }
    }

    /// A column of what the text means, in all rows.
    pub(super) fn repeated(field: Field, text: &str, rows: usize) -> Result<Column, Wrong> {
        let mut one = Column::new(field, 1);
        one.push_text(text)?;
        if let Some(text) = one.text(0) {
            return Ok(Column::constant(field, text.to_owned(), rows));
        }
        let mut column = Column::new(field, rows);
        (0..rows).try_for_each(|_| column.push_text(text))?;
        Ok(column)
    }

    /// Appends a value if there is one, and says whether there was; or says why it is none, and appends nothing.
    #[inline]
    pub(super) fn push(&mut self, value: Value<'_>) -> Result<bool, Wrong> {
        match (value, &mut self.values) {
            (Value::None, _) => return Ok(false),
            (Value::Wrong(wrong, _), _) => return Err(wrong),
            (Value::Address(address), Values::Text(texts)) if self.field.kind() == Type::Ip => texts.push(&address),
            (Value::Time(time), Values::Time(times)) => times.push(time),
            (Value::Time(time), _) => self.push_text(&time::iso(time))?,
            (Value::Text(text), _) if text.is_empty() => return Ok(false),
            (Value::Text(text) | Value::Json(text) | Value::Address(text), _) => self.push_text(&text)?,
        }
        Ok(true)
    }

    /// Appends what the text means, or says why it means nothing and appends nothing.
    pub(super) fn push_text(&mut self, text: &str) -> Result<(), Wrong> {
        let kind = self.field.kind();
        match &mut self.values {
            Values::Text(texts) => texts.push(value::text(self.field, text, &mut self.scratch)?),
            Values::Long(numbers) => numbers.push(long(kind, text)?),
            Values::Int(numbers) => numbers.push(value::port(text)?),
            Values::Float(numbers) => numbers.push(float(kind, text)?),
            Values::Boolean(truths) => truths.push(value::boolean(text)?),
            Values::Time(times) => times.push(time::parse(text)?),
            Values::Constant(..) => unreachable!("a constant is whole"),
        }
        Ok(())
    }

    /// The same of a cell for each row; of an empty one nothing.
    pub(super) fn fill(&mut self, rows: &Rows, cells: &[Span], refuse: impl FnMut(usize, Wrong)) {
        let kind = self.field.kind();
        match &mut self.values {
            Values::Text(texts) => fill_texts(texts, self.field, rows, cells, &mut self.scratch, refuse),
            Values::Long(numbers) => numbers.fill(rows, cells, |text| long(kind, text), refuse),
            Values::Int(numbers) => numbers.fill(rows, cells, value::port, refuse),
            Values::Float(numbers) => numbers.fill(rows, cells, |text| float(kind, text), refuse),
            Values::Boolean(truths) => truths.fill(rows, cells, value::boolean, refuse),
            Values::Time(times) => times.fill(rows, cells, time::parse, refuse),
            Values::Constant(..) => unreachable!("a constant is whole"),
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

    /// No value for so many rows.
    pub(super) fn push_nulls(&mut self, rows: usize) {
        let rows = 0..rows;
        match &mut self.values {
            Values::Text(texts) => rows.for_each(|_| texts.push_null()),
            Values::Long(numbers) => rows.for_each(|_| numbers.push_null()),
            Values::Int(numbers) => rows.for_each(|_| numbers.push_null()),
            Values::Float(numbers) => rows.for_each(|_| numbers.push_null()),
            Values::Boolean(truths) => rows.for_each(|_| truths.push_null()),
            Values::Time(times) => rows.for_each(|_| times.push_null()),
            Values::Constant(..) => unreachable!("a constant is whole"),
        }
    }

    pub(super) fn is_valid(&self, row: usize) -> bool {
        self.valid().is_none_or(|valid| valid.get(row))
    }

    /// Whether every row has a value.
    pub(super) fn all_valid(&self) -> bool {
        self.valid().is_none_or(Bits::all)
    }

    /// Which rows have a value, unless all have.
    fn valid(&self) -> Option<&Bits> {
        match &self.values {
            Values::Text(texts) => Some(texts.valid()),
            Values::Constant(..) => None,
            Values::Long(numbers) => Some(&numbers.valid),
            Values::Int(numbers) => Some(&numbers.valid),
            Values::Float(numbers) => Some(&numbers.valid),
            Values::Boolean(truths) => Some(&truths.valid),
            Values::Time(times) => Some(&times.valid),
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

    pub(super) fn times(&self) -> impl Iterator<Item = Option<Micros>> {
        match &self.values {
            Values::Time(times) => times.values.iter().enumerate().map(|(row, time)| times.valid.get(row).then_some(*time)),
            _ => unreachable!("only columns of times are asked for them"),
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self.values {
            Values::Text(texts) => Arc::new(texts.finish()),
            Values::Constant(text, rows) => super::constant(&text, rows),
            Values::Long(numbers) => Arc::new(array::<Int64Type>(numbers)),
            Values::Int(numbers) => Arc::new(array::<Int32Type>(numbers)),
            Values::Float(numbers) => Arc::new(array::<Float64Type>(numbers)),
            Values::Boolean(truths) => Arc::new(BooleanArray::new(truths.values.into(), truths.valid.into_validity())),
            Values::Time(times) => Arc::new(array::<TimestampMicrosecondType>(times).with_timezone("UTC")),
        }
    }
}

fn long(kind: Type, text: &str) -> Result<i64, Wrong> {
    if kind == Type::Asn { value::asn(text) } else { value::integer(text) }
}

fn float(kind: Type, text: &str) -> Result<f64, Wrong> {
    if kind == Type::Percent { value::percent(text) } else { value::float(text) }
}

/// In most columns of a plain block a cell is its own canonical form, up to a length.
fn fill_texts(texts: &mut Texts, field: Field, rows: &Rows, cells: &[Span], scratch: &mut String, mut refuse: impl FnMut(usize, Wrong)) {
    let as_it_is = if rows.plain { value::longest_as_it_is(field) } else { 0 };
    for (row, cell) in cells.iter().enumerate() {
        if cell.is_empty() {
            texts.push_null();
        } else if cell.range().len() <= as_it_is || value::is_canonical(field, rows.bytes(*cell)) {
            texts.push_piece(&rows.text, cell.range());
        } else {
            match value::made_canonical(field, rows.text(*cell), scratch) {
                Ok(text) => texts.push(text),
                Err(wrong) => {
                    texts.push_null();
                    refuse(row, wrong);
                }
            }
        }
    }
}

/// Values of a fixed size.
struct Numbers<T> {
    values: Vec<T>,
    valid: Bits,
}

impl<T: Copy + Default> Numbers<T> {
    fn with_capacity(rows: usize) -> Numbers<T> {
        Numbers { values: Vec::with_capacity(rows), valid: Bits::with_capacity(rows) }
    }

    fn push(&mut self, value: T) {
        self.values.push(value);
        self.valid.push(true);
    }

    fn push_null(&mut self) {
        self.values.push(T::default());
        self.valid.push(false);
    }

    fn fill(&mut self, rows: &Rows, cells: &[Span], read: impl Fn(&str) -> Result<T, Wrong>, mut refuse: impl FnMut(usize, Wrong)) {
        for (row, cell) in cells.iter().enumerate() {
            if cell.is_empty() {
                self.push_null();
                continue;
            }
            match read(rows.text(*cell)) {
                Ok(value) => self.push(value),
                Err(wrong) => {
                    self.push_null();
                    refuse(row, wrong);
                }
            }
        }
    }
}

fn array<P: ArrowPrimitiveType>(numbers: Numbers<P::Native>) -> PrimitiveArray<P> {
    PrimitiveArray::new(numbers.values.into(), numbers.valid.into_validity())
}
