//! A table bound to a report's header: every rule knows its column's place, and who fills what is decided.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use event::{Field, Wrong};

use super::Refused;
use super::column::Column;
use crate::convert::{Absent, Converter, Row, Value, is_nothing};
use crate::rows::{Header, Rows};
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
    any: bool,
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
        let said = fields
            .iter()
            .map(|plan| plan.field)
            .filter(|field| !matches!(*field, Field::TIME_SOURCE | Field::TIME_OBSERVATION | Field::TLP))
            .filter(|field| {
                let aims = |assignment: &&Assignment| assignment.target == Target::Field(*field);
                assignments.iter().filter(aims).any(|assignment| !volatile(&assignment.column))
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
        assignments.push(Assignment { column: name.clone(), conditions: Vec::new(), converters: Vec::new(), target });
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

    /// One value a row: of the first rule that has one, else the constant, else none.
    pub(super) fn fill(&self, rows: &Rows, absent: &Absent, column: &mut Column, refused: &mut Vec<Refused>) {
        if let ([rule], None) = (self.rules.as_slice(), &self.constant)
            && rule.is_direct(rows)
        {
            return rule.fill_directly(self.field, rows, absent, column, refused);
        }
        for row in 0..rows.len() {
            if !self.rules.iter().any(|rule| rule.fill(self.field, rows, row, absent, column, refused)) {
                match &self.constant {
                    Some(constant) => column.push_text(constant).expect("checked when the table was read"),
                    None => column.push_null(),
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
        let converters = assignment.converters.iter().filter(|converter| !matches!(converter, Converter::Any | Converter::Or(_)));
        Some(Rule {
            column,
            conditions: assignment.conditions.iter().map(|condition| (header.place(&condition.column), condition.clone())).collect(),
            converters: converters.map(|converter| converter.bound(header)).collect(),
            any: assignment.converters.iter().any(|converter| matches!(converter, Converter::Any)),
            whole: matches!(&feed.format, Format::Csv(Csv { trim: false, .. })) && matches!(assignment.target, Target::Extra(_)),
            or,
        })
    }

    /// Fills the row's place in the column, if the rule has a value that the field takes.
    #[inline]
    fn fill(&self, field: Field, rows: &Rows, row: usize, absent: &Absent, column: &mut Column, refused: &mut Vec<Refused>) -> bool {
        let result = match self.evaluate(rows, row, absent) {
            Value::None => return false,
            Value::Text(text) if text.is_empty() => return false,
            Value::Text(text) => column.push_text(&text),
            Value::Json(json) => column.push_text(&json),
            Value::Time(time) => column.push_time(time),
        };
        let Err(wrong) = result else { return true };
        refused.push(self.refused(field, rows, row, wrong));
        false
    }

    fn refused(&self, field: Field, rows: &Rows, row: usize, wrong: Wrong) -> Refused {
        let column = rows.header.names[self.column].clone();
        Refused { row, field, column, value: rows.cell(row, self.column).to_owned(), why: wrong.0 }
    }

    /// Whether the rule's value is the cell itself.
    pub(super) fn is_direct(&self, rows: &Rows) -> bool {
        self.conditions.is_empty() && self.converters.is_empty() && self.or.is_none() && rows.json.is_empty()
    }

    /// Where the cell of a direct rule stands in the text, if it says anything.
    #[inline(always)]
    pub(super) fn said(&self, rows: &Rows, row: usize, absent: &Absent) -> Option<Range<usize>> {
        let range = rows.cell_range(row, self.column);
        let cell = rows.text.as_bytes().get(range.clone()).unwrap_or_default();
        let nothing = if self.any { is_nothing(cell) } else { absent.is(cell) };
        (!nothing).then(|| if self.whole { rows.whole_range(row, self.column) } else { range })
    }

    /// What [`FieldPlan::fill`] does, where this rule is all there is and direct.
    fn fill_directly(&self, field: Field, rows: &Rows, absent: &Absent, column: &mut Column, refused: &mut Vec<Refused>) {
        for row in 0..rows.len() {
            let Some(cell) = self.said(rows, row, absent) else {
                column.push_null();
                continue;
            };
            if let Err(wrong) = column.push_cell(rows, cell) {
                column.push_null();
                refused.push(self.refused(field, rows, row, wrong));
            }
        }
    }

    /// What the rule makes of a row.
    #[inline]
    pub(super) fn evaluate<'r>(&self, rows: &'r Rows, row: usize, absent: &'r Absent) -> Value<'r> {
        if !self.conditions.iter().all(|(place, condition)| holds(rows, row, *place, condition)) {
            return Value::None;
        }
        let nothing = |cell: &str| if self.any { is_nothing(cell.as_bytes()) } else { absent.is(cell.as_bytes()) };
        let mut column = self.column;
        if nothing(rows.cell(row, column)) {
            match self.or {
                Some(other) if !nothing(rows.cell(row, other)) => column = other,
                _ => return Value::None,
            }
        }
        let cell = if self.whole { rows.whole_cell(row, column) } else { rows.cell(row, column) };
        if self.converters.is_empty() {
            return if rows.is_json(row, column) { Value::Json(Cow::Borrowed(cell)) } else { Value::Text(Cow::Borrowed(cell)) };
        }
        self.convert(cell, rows, row, absent)
    }

    fn convert<'r>(&self, cell: &'r str, rows: &'r Rows, row: usize, absent: &'r Absent) -> Value<'r> {
        let neighbours = Row { rows, row, absent };
        let mut value = Value::Text(Cow::Borrowed(cell));
        for converter in &self.converters {
            value = match value {
                Value::Text(text) => converter.apply(text, neighbours),
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
