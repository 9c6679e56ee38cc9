//! A table bound to a report's header: every rule knows its column's place, and who fills what is decided.

use std::borrow::Cow;
use std::sync::Arc;

use event::{Field, Wrong};

use super::Refused;
use super::column::Column;
use crate::convert::{Absent, Converter, Row, Value};
use crate::rows::{Header, Rows, Span};
use crate::table::{Assignment, Condition, Csv, Feed, Format, Target};

#[derive(Debug)]
pub(super) struct Bound<'f> {
    pub(super) header: Arc<Header>,
    pub(super) feed: &'f Feed,
    /// What fills each field, in the order of fields.
    pub(super) fields: Vec<FieldPlan>,
    /// What fills each key of `extra`, in the order of keys.
    pub(super) extras: Vec<ExtraPlan>,
    /// The fields that go into an id.
    pub(super) said: Vec<Field>,
}

/// The rules for one field, the first of which with a value wins.
#[derive(Debug)]
pub(super) struct FieldPlan {
    pub(super) field: Field,
    rules: Vec<Rule>,
    constant: Option<String>,
}

#[derive(Debug)]
pub(super) struct ExtraPlan {
    pub(super) key: String,
    pub(super) rules: Vec<Rule>,
    pub(super) volatile: bool,
}

/// An assignment whose columns are places.
#[derive(Debug)]
pub(super) struct Rule {
    column: usize,
    conditions: Vec<(Option<usize>, Condition)>,
    converters: Vec<Converter>,
    /// What says nothing in its own cell; a neighbour's is judged by the feed's words.
    absent: Absent,
    /// Whether white space around the cell is kept.
    whole: bool,
    /// The cell of this column stands in where the rule's own has no value.
    or: Option<usize>,
}

/// The fields that a feed's batches have a column for, whatever the report's header.
pub(super) fn filled(feed: &Feed) -> Vec<Field> {
    feed.fields()
}

impl<'f> Bound<'f> {
    pub(super) fn new(feed: &'f Feed, header: Arc<Header>) -> Bound<'f> {
        let assignments = complete(feed, &header);
        let fields: Vec<FieldPlan> = filled(feed)
            .into_iter()
            .filter(|field| !matches!(*field, Field::EXTRA))
            .filter_map(|field| FieldPlan::new(feed, &header, field, &assignments))
            .collect();
        let volatile = |column: &str| feed.volatile.iter().any(|name| name == column);
        // Which these are must not hang on the header: where each row has its own names, that is of all rows of a block.
        let said = filled(feed)
            .into_iter()
            .filter(|field| !matches!(*field, Field::TIME_SOURCE | Field::TIME_OBSERVATION | Field::TLP | Field::EXTRA))
            .filter(|field| {
                let aims = |assignment: &&Assignment| assignment.target == Target::Field(*field);
                let is_mapped = feed.assignments.iter().filter(aims).any(|assignment| !volatile(&assignment.column));
                is_mapped || feed.own_names && !volatile(field.name())
            })
            .collect();
        Bound { feed, fields, extras: extras(feed, &header, &assignments), said, header }
    }
}

/// The table's assignments, and one for every column that no rule mentions.
fn complete(feed: &Feed, header: &Header) -> Vec<Assignment> {
    let mut assignments = feed.assignments.clone();
    assignments.retain(|assignment| !feed.is_secret(&assignment.column));
    for name in &header.names {
        if feed.is_secret(name) || feed.assignments.iter().any(|assignment| &assignment.column == name) {
            continue;
        }
        let target = match Field::named(name).filter(|field| feed.own_names && *field != Field::EXTRA) {
            Some(field) => Target::Field(field),
            None if feed.own_names => Target::Extra(name.strip_prefix("extra.").unwrap_or(name).to_owned()),
            None => Target::Extra(name.clone()),
        };
        assignments.push(Assignment { column: name.clone(), conditions: Vec::new(), converters: Vec::new(), target, rule: String::new() });
    }
    assignments
}

fn extras(feed: &Feed, header: &Header, assignments: &[Assignment]) -> Vec<ExtraPlan> {
    let mut plans: Vec<ExtraPlan> = Vec::new();
    for assignment in assignments {
        let Target::Extra(key) = &assignment.target else { continue };
        let Some(rule) = Rule::bind(feed, header, assignment) else { continue };
        let volatile = feed.volatile.contains(&assignment.column);
        match plans.iter_mut().find(|plan| &plan.key == key) {
            Some(plan) => plan.rules.push(rule),
            None => plans.push(ExtraPlan { key: key.clone(), rules: vec![rule], volatile }),
        }
    }
    plans.sort_by(|one, other| one.key.cmp(&other.key));
    plans
}

impl FieldPlan {
    /// Nothing for fields that the house itself fills, unless a rule does.
    fn new(feed: &Feed, header: &Header, field: Field, assignments: &[Assignment]) -> Option<FieldPlan> {
        let aims = |assignment: &&Assignment| assignment.target == Target::Field(field);
        let rules: Vec<Rule> = assignments.iter().filter(aims).filter_map(|assignment| Rule::bind(feed, header, assignment)).collect();
        let constant = feed.always.iter().find(|(constant, _)| *constant == field).map(|(_, value)| value.clone());
        let house = [Field::TLP, Field::TIME_OBSERVATION, Field::CLASSIFICATION_TYPE, Field::CLASSIFICATION_TAXONOMY].contains(&field);
        if house && rules.is_empty() && constant.is_none() {
            return None;
        }
        Some(FieldPlan { field, rules, constant })
    }

    /// The field's column: for each row the value of the first rule that has one, else the constant, else none.
    pub(super) fn column(&self, rows: &Rows, absent: &Absent, refused: &mut Vec<Refused>) -> Column {
        if let ([], Some(constant)) = (self.rules.as_slice(), &self.constant) {
            return Column::repeated(self.field, constant, rows.len()).expect("checked when the table was read");
        }
        let mut column = Column::new(self.field, rows.len());
        self.fill(rows, absent, &mut column, refused);
        column
    }

    fn fill(&self, rows: &Rows, absent: &Absent, column: &mut Column, refused: &mut Vec<Refused>) {
        match (self.rules.as_slice(), &self.constant) {
            ([], None) => column.push_nulls(rows.len()),
            ([rule], None) if rule.reads_cells(rows) => rule.fill_by_cells(self.field, rows, absent, column, refused),
            (rules, constant) => {
                for row in 0..rows.len() {
                    if !rules.iter().any(|rule| rule.fill(self.field, rows, row, absent, column, refused)) {
                        match constant {
                            Some(constant) => column.push_text(constant).expect("checked when the table was read"),
                            None => column.push_nulls(1),
                        }
                    }
                }
            }
        }
    }
}

impl Rule {
    fn bind(feed: &Feed, header: &Header, assignment: &Assignment) -> Option<Rule> {
        let column = header.place(&assignment.column)?;
        let or = assignment.converters.iter().find_map(|converter| match converter {
            Converter::Or(other) => header.place(other),
            _ => None,
        });
        let any = assignment.converters.iter().any(|converter| matches!(converter, Converter::Any));
        let converters = assignment.converters.iter().filter(|converter| !matches!(converter, Converter::Any | Converter::Or(_)));
        Some(Rule {
            column,
            conditions: assignment.conditions.iter().map(|condition| (header.place(&condition.column), condition.clone())).collect(),
            converters: converters.map(|converter| converter.bound(header)).collect(),
            absent: if any { Absent::default() } else { feed.absent.clone() },
            whole: matches!(&feed.format, Format::Csv(Csv { trim: false, .. })) && matches!(assignment.target, Target::Extra(_)),
            or,
        })
    }

    /// What [`FieldPlan::fill`] does, where this rule is all there is and reads cells.
    fn fill_by_cells(&self, field: Field, rows: &Rows, absent: &Absent, column: &mut Column, refused: &mut Vec<Refused>) {
        let cells = self.cells(rows);
        if self.is_direct() {
            return column.fill(rows, &cells, |row, wrong| refused.push(self.refused(field, rows, row, wrong)));
        }
        for (row, cell) in cells.into_iter().enumerate() {
            let value = if cell.is_empty() { Value::None } else { self.convert(rows.text(cell), rows, row, absent) };
            match column.push(value) {
                Ok(true) => {}
                Ok(false) => column.push_nulls(1),
                Err(wrong) => {
                    column.push_nulls(1);
                    refused.push(self.refused(field, rows, row, wrong));
                }
            }
        }
    }

    /// Fills the row's place in the column, if the rule has a value that the field takes.
    fn fill(&self, field: Field, rows: &Rows, row: usize, absent: &Absent, column: &mut Column, refused: &mut Vec<Refused>) -> bool {
        column.push(self.evaluate(rows, row, absent)).unwrap_or_else(|wrong| {
            refused.push(self.refused(field, rows, row, wrong));
            false
        })
    }

    #[cold]
    fn refused(&self, field: Field, rows: &Rows, row: usize, wrong: Wrong) -> Refused {
        let column = rows.header.names[self.column].clone();
        Refused { row, field, column, value: rows.cell(row, self.column).to_owned(), why: wrong.0 }
    }

    /// Whether the rule always begins with its own cell, and that is text.
    pub(super) fn reads_cells(&self, rows: &Rows) -> bool {
        self.conditions.is_empty() && self.or.is_none() && rows.json.is_empty()
    }

    /// Whether it is the cell itself.
    pub(super) fn is_direct(&self) -> bool {
        self.converters.is_empty()
    }

    /// Where each row's cell stands in the text; an empty place where it says nothing.
    pub(super) fn cells(&self, rows: &Rows) -> Vec<Span> {
        rows.column(self.column).iter().map(|span| self.said(rows, *span)).collect()
    }

    /// The cell that stands there, or an empty place where it says nothing.
    #[inline]
    fn said(&self, rows: &Rows, span: Span) -> Span {
        match rows.bytes(span) {
            [] => Span::EMPTY,
            [first, ..] if *first <= b' ' => self.trimmed(rows, span),
            [.., last] if *last <= b' ' => self.trimmed(rows, span),
            cell if self.absent.is(cell) => Span::EMPTY,
            _ => span,
        }
    }

    #[cold]
    fn trimmed(&self, rows: &Rows, span: Span) -> Span {
        let trimmed = rows.trimmed(span);
        match self.absent.is(rows.bytes(trimmed)) {
            true => Span::EMPTY,
            false if self.whole => span,
            false => trimmed,
        }
    }

    /// What the rule makes of a row.
    #[inline]
    pub(super) fn evaluate<'r>(&self, rows: &'r Rows, row: usize, absent: &'r Absent) -> Value<'r> {
        if !self.conditions.iter().all(|(place, condition)| holds(rows, row, *place, condition)) {
            return Value::None;
        }
        let said = |column| Some((column, self.said(rows, rows.span(row, column)))).filter(|(_, cell)| !cell.is_empty());
        let Some((column, cell)) = said(self.column).or_else(|| said(self.or?)) else { return Value::None };
        let cell = rows.text(cell);
        if self.is_direct() {
            return if rows.is_json(row, column) { Value::Json(Cow::Borrowed(cell)) } else { Value::Text(Cow::Borrowed(cell)) };
        }
        self.convert(cell, rows, row, absent)
    }

    /// What the converters make of a cell.
    #[inline]
    pub(super) fn convert<'r>(&self, cell: &'r str, rows: &'r Rows, row: usize, absent: &'r Absent) -> Value<'r> {
        let neighbours = Row { rows, row, absent };
        let mut value = Value::Text(Cow::Borrowed(cell));
        for converter in &self.converters {
            value = match value {
                Value::Text(text) | Value::Address(text) => converter.apply(text, neighbours),
                other => return other,
            };
        }
        value
    }
}

fn holds(rows: &Rows, row: usize, place: Option<usize>, condition: &Condition) -> bool {
    let cell = place.map_or("", |place| rows.cell(row, place));
    condition.words.iter().any(|word| word == cell) == condition.among
}
