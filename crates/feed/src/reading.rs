//! Runs a feed's table over rows, column by column, and makes a batch of events of them.
//!
//! The branch on the rule is taken once a block, the loop over rows is inside: by hand and row by row it would be
//! slower (docs/performance.md). A cell that its field refuses is kept in `extra`; a row without meaning, place or
//! readable time is a reject.

mod bound;
mod column;
mod extra;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use event::reject::reason;
use event::time::{self, Micros};
use event::{Field, Reject, batch, id, taxonomy};

use crate::rows::Rows;
use crate::table::{Feed, KindRule, Target};

use self::bound::Bound;
use self::column::Column;
use self::extra::Extra;

/// What a delivery says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it arrived.
    pub at: Micros,
}

/// What became of one block of rows.
#[derive(Debug)]
pub struct Piece {
    /// Events with `id`, `line`, `kind`, `asset` and the feed's fields.
    pub events: RecordBatch,
    pub rejects: Vec<Reject>,
    /// Rows seen, whatever became of them.
    pub rows: u64,
    /// Rows that the table says to ignore.
    pub ignored: u64,
    /// The columns of the others, where each row names its own and the table says which they should be.
    pub columns: BTreeSet<String>,
}

/// How a report's columns differ from those that the table knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    pub lost: Vec<String>,
    pub gained: Vec<String>,
}

impl Drift {
    /// Of a header, against the table's; nothing where the table states none.
    pub fn of(feed: &Feed, header: &[String]) -> Drift {
        if feed.columns.is_empty() {
            return Drift::default();
        }
        let missing =
            |from: &[String], those: &[String]| -> Vec<String> { those.iter().filter(|name| !from.contains(name)).cloned().collect() };
        Drift { lost: missing(header, &feed.columns), gained: missing(&feed.columns, header) }
    }

    pub fn is_none(&self) -> bool {
        self.lost.is_empty() && self.gained.is_empty()
    }
}

impl std::fmt::Display for Drift {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if !self.lost.is_empty() {
            parts.push(format!("lost {}", self.lost.join(", ")));
        }
        if !self.gained.is_empty() {
            parts.push(format!("gained {}", self.gained.join(", ")));
        }
        out.write_str(&parts.join("; "))
    }
}

/// Makes events of rows. One reader serves one thread; any number of them may read one report's blocks.
#[derive(Debug)]
pub struct Reader<'f> {
    feed: &'f Feed,
    arrival: Arrival,
    bound: Option<Bound<'f>>,
}

/// A time before this is none: feeds of compromised machines did not exist.
const EARLIEST: Micros = 631_152_000 * time::SECOND;
/// Clocks go wrong; a time further ahead of the delivery than this is none.
const AHEAD: Micros = 2 * time::DAY;

/// A cell that its field refused.
struct Refused {
    row: usize,
    field: Field,
    column: String,
    value: String,
    why: &'static str,
}

impl Refused {
    /// Whether it is a time that nothing can have: then the row has the delivery's.
    fn is_no_time(&self) -> bool {
        self.field == Field::TIME_SOURCE && self.why == time::OUT_OF_BOUNDS.0
    }
}

impl<'f> Reader<'f> {
    pub fn new(feed: &'f Feed, arrival: Arrival) -> Reader<'f> {
        Reader { feed, arrival, bound: None }
    }

    /// The events and rejects of a block.
    pub fn read(&mut self, mut rows: Rows) -> Piece {
        let bound = match self.bound.take() {
            Some(bound) if bound.header == rows.header => bound,
            _ => Bound::new(self.feed, rows.header.clone()),
        };
        let mut rejects = std::mem::take(&mut rows.rejects);
        let count = rows.len() as u64 + rejects.len() as u64;
        let block = Block { feed: self.feed, bound: &bound, rows: &rows, at: self.arrival.at };
        let mut keep = vec![true; rows.len()];
        let ignored = block.ignore(&mut keep);
        let columns = block.own_columns(&keep);
        let events = block.read(keep, &mut rejects);
        self.bound = Some(bound);
        rejects.sort_by_key(|reject| reject.line);
        Piece { events, rejects, rows: count, ignored, columns }
    }
}

/// One block on its way.
struct Block<'a> {
    feed: &'a Feed,
    bound: &'a Bound<'a>,
    rows: &'a Rows,
    at: Micros,
}

impl Block<'_> {
    /// The events of the rows that are to be kept, less those that turn out to be rejects.
    fn read(&self, mut keep: Vec<bool>, rejects: &mut Vec<Reject>) -> RecordBatch {
        let mut refused = Vec::new();
        let mut columns = self.columns(&mut refused);
        let received: Vec<Option<Micros>> =
            columns.get(&Field::TIME_OBSERVATION).map(|column| column.times().collect()).unwrap_or_default();
        let times = self.times(columns.remove(&Field::TIME_SOURCE), &received, &refused, &mut keep, rejects);
        let asset = self.asset(&columns, &refused, &mut keep, rejects);
        let kind = self.meaning(&mut columns, &refused, &mut keep, rejects);
        let extra = Extra::build(self.bound, self.rows, &refused, &times.stated);
        self.assemble(columns, times, asset, kind, extra, &keep)
    }

    /// The names that the rows to be kept have, of a shape in which each has its own.
    fn own_columns(&self, keep: &[bool]) -> BTreeSet<String> {
        if self.feed.columns.is_empty() || self.rows.json.is_empty() {
            return BTreeSet::new();
        }
        let names = self.rows.header.names.iter().enumerate();
        let has = |column: usize| (0..keep.len()).any(|row| keep[row] && self.rows.has_cell(row, column));
        // What a path's star stood for is no column of the source's.
        names.filter(|(column, name)| !name.starts_with('@') && has(*column)).map(|(_, name)| name.clone()).collect()
    }

    /// Every field's column, filled.
    fn columns(&self, refused: &mut Vec<Refused>) -> BTreeMap<Field, Column> {
        let mut columns = BTreeMap::new();
        for plan in &self.bound.fields {
            columns.insert(plan.field, plan.column(self.rows, &self.feed.absent, refused));
        }
        columns
    }

    /// Marks the rows that the table says to ignore, and counts them.
    fn ignore(&self, keep: &mut [bool]) -> u64 {
        let mut ignored = 0;
        for (column, words) in &self.feed.ignore {
            let Some(place) = self.rows.header.place(column) else { continue };
            for (row, keep) in keep.iter_mut().enumerate() {
                if *keep && words.iter().any(|word| word == self.rows.cell(row, place)) {
                    *keep = false;
                    ignored += 1;
                }
            }
        }
        ignored
    }

    fn reject(&self, row: usize, column: Option<&str>, why: String, rejects: &mut Vec<Reject>) {
        rejects.push(Reject::new(self.rows.lines[row].0, column, why, self.rows.raw(row).as_bytes()));
    }

    /// The source times: of a list the delivery's day, else the row's own where it can be true, else when it was received: as the
    /// row says it, whichever report brings it, or with the delivery.
    fn times(
        &self,
        stated: Option<Column>,
        received: &[Option<Micros>],
        refused: &[Refused],
        keep: &mut [bool],
        rejects: &mut Vec<Reject>,
    ) -> Times {
        let midnight = self.at - self.at.rem_euclid(time::DAY);
        let list = self.feed.delivers == event::Delivers::List;
        let mut times = Times {
            source: vec![if list { midnight } else { self.at }; self.rows.len()],
            when: vec![midnight; self.rows.len()],
            stated: Vec::new(),
        };
        let received = |row: usize| received.get(row).copied().flatten().filter(|at| !list && (EARLIEST..=self.at + AHEAD).contains(at));
        for row in 0..self.rows.len() {
            if let Some(at) = received(row) {
                times.source[row] = at;
                times.when[row] = at - at.rem_euclid(time::DAY);
            }
        }
        let stated: Vec<Option<Micros>> = stated.map(|column| column.times().collect()).unwrap_or_default();
        for (row, value) in stated.iter().enumerate() {
            let Some(value) = value else { continue };
            if list || *value < EARLIEST || *value > received(row).unwrap_or(self.at) + AHEAD {
                times.stated.push((row, *value));
            } else {
                times.source[row] = *value;
                times.when[row] = *value;
            }
        }
        for wrong in refused.iter().filter(|wrong| wrong.field == Field::TIME_SOURCE && !wrong.is_no_time() && !list) {
            if keep[wrong.row] && stated.get(wrong.row).is_none_or(Option::is_none) {
                keep[wrong.row] = false;
                self.reject(wrong.row, Some(&wrong.column), reason(&wrong.value, wrong.why), rejects);
            }
        }
        times
    }

    /// Which field is each row's asset. A row without any is a reject.
    fn asset(&self, columns: &BTreeMap<Field, Column>, refused: &[Refused], keep: &mut [bool], rejects: &mut Vec<Reject>) -> ArrayRef {
        let candidates: Vec<(Field, &Column)> = self.feed.asset.iter().filter_map(|field| Some((*field, columns.get(field)?))).collect();
        if let Some((field, column)) = candidates.first()
            && column.all_valid()
        {
            return constant(field.name(), self.rows.len());
        }
        let mut names = arrow::array::StringBuilder::with_capacity(self.rows.len(), self.rows.len() * 12);
        for (row, keep) in keep.iter_mut().enumerate() {
            let found = candidates.iter().find(|(_, column)| column.is_valid(row));
            names.append_option(found.map(|(field, _)| field.name()));
            if found.is_none() && *keep {
                *keep = false;
                let wrong = refused.iter().find(|wrong| wrong.row == row && self.feed.asset.contains(&wrong.field));
                match wrong {
                    Some(wrong) => self.reject(row, Some(&wrong.column), reason(&wrong.value, wrong.why), rejects),
                    None => {
                        let stated = self.stated_asset(row);
                        let what = format!("no {}", crate::table::names(&self.feed.asset));
                        let reason = stated.map_or(what.clone(), |(_, cell)| format!("\"{cell}\" gives {what}"));
                        self.reject(row, stated.map(|(column, _)| column), reason, rejects);
                    }
                }
            }
        }
        Arc::new(names.finish())
    }

    /// The first cell that was to give an asset, with its column.
    fn stated_asset(&self, row: usize) -> Option<(&str, &str)> {
        let names = &self.rows.header.names;
        let meant =
            self.feed.assignments.iter().filter(|one| matches!(one.target, Target::Field(field) if self.feed.asset.contains(&field)));
        let cell = |column: &str| names.iter().position(|name| name == column).map(|place| self.rows.cell(row, place));
        meant.filter_map(|one| Some((one.column.as_str(), cell(&one.column)?))).find(|(_, cell)| !cell.is_empty())
    }

    /// Completes type and taxonomy, and says each row's kind. A row without a type is a reject.
    fn meaning(
        &self,
        columns: &mut BTreeMap<Field, Column>,
        refused: &[Refused],
        keep: &mut [bool],
        rejects: &mut Vec<Reject>,
    ) -> ArrayRef {
        let length = self.rows.len();
        let default = self.feed.means.map(|means| means.name);
        if let Some(means) = self.feed.means
            && !columns.contains_key(&Field::CLASSIFICATION_TYPE)
            && !columns.contains_key(&Field::CLASSIFICATION_TAXONOMY)
        {
            let mut always = |field, name: &str| columns.insert(field, Column::constant(field, name.to_owned(), length));
            always(Field::CLASSIFICATION_TYPE, means.name);
            always(Field::CLASSIFICATION_TAXONOMY, means.taxonomy);
            return self.kind(columns);
        }
        let types = columns.remove(&Field::CLASSIFICATION_TYPE).map(Column::finish);
        let types = types.as_ref().map(|array| array.as_any().downcast_ref::<StringArray>().expect("a type is text"));
        let of = |row: usize| types.filter(|types| arrow::array::Array::is_valid(types, row)).map(|types| types.value(row)).or(default);

        let mut type_column = Column::new(Field::CLASSIFICATION_TYPE, length);
        let mut taxonomies = Column::new(Field::CLASSIFICATION_TAXONOMY, length);
        let stated = columns.remove(&Field::CLASSIFICATION_TAXONOMY).map(Column::finish);
        let stated = stated.as_ref().map(|array| array.as_any().downcast_ref::<StringArray>().expect("a taxonomy is text"));
        let mut last = ("", None);
        for (row, keep) in keep.iter_mut().enumerate() {
            let name = of(row).unwrap_or_default();
            if last.0 != name {
                last = (name, taxonomy::classification(name));
            }
            let own = stated.filter(|stated| arrow::array::Array::is_valid(stated, row)).map(|stated| stated.value(row));
            type_column.push_canonical(last.1.map(|row| row.name));
            taxonomies.push_canonical(own.or(last.1.map(|row| row.taxonomy)));
            if last.1.is_none() && *keep {
                *keep = false;
                let wrong = refused.iter().find(|wrong| wrong.row == row && wrong.field == Field::CLASSIFICATION_TYPE);
                let why = wrong.map_or_else(|| "no classification.type".to_owned(), |wrong| reason(&wrong.value, wrong.why));
                self.reject(row, wrong.map(|wrong| wrong.column.as_str()), why, rejects);
            }
        }
        columns.insert(Field::CLASSIFICATION_TYPE, type_column);
        columns.insert(Field::CLASSIFICATION_TAXONOMY, taxonomies);
        self.kind(columns)
    }

    fn kind(&self, columns: &BTreeMap<Field, Column>) -> ArrayRef {
        let length = self.rows.len();
        match &self.feed.kind {
            KindRule::Always(kind) => constant(kind.name(), length),
            KindRule::By { field, kinds, otherwise } => {
                let column = columns.get(field);
                let of = |row: usize| {
                    let word = column.and_then(|column| column.text(row)).unwrap_or_default();
                    let kind = kinds.iter().find(|(name, _)| name == word).map(|(_, kind)| *kind).or(*otherwise);
                    kind.map_or("listing", event::Kind::name)
                };
                Arc::new(StringArray::from_iter_values((0..length).map(of)))
            }
        }
    }

    fn assemble(
        &self,
        columns: BTreeMap<Field, Column>,
        times: Times,
        asset: ArrayRef,
        kind: ArrayRef,
        extra: Extra,
        keep: &[bool],
    ) -> RecordBatch {
        let length = self.rows.len();
        let time_array = |values: Vec<Micros>| Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef;
        let lines = Int64Array::from_iter_values(self.rows.lines.iter().map(|(line, _)| *line as i64));
        let mut arrays: Vec<(&str, ArrayRef)> = vec![
            ("line", Arc::new(lines)),
            ("kind", kind),
            ("asset", asset),
            (Field::TIME_SOURCE.column(), time_array(times.source)),
            (Field::EXTRA.column(), extra.all.clone()),
        ];
        arrays.extend(columns.into_iter().map(|(field, column)| (field.column(), column.finish())));
        let stated = batch::from_columns(length, arrays);
        let said = id::Said { feed: &self.feed.id, when: &times.when, fields: &self.bound.said, extra: Some(extra.stable()) };
        let ids = BinaryArray::from_iter_values(id::ids(&stated, &said).iter());
        let label = or_else(&stated, Field::TLP, constant(self.feed.tlp.name(), length));
        let observed = or_else(&stated, Field::TIME_OBSERVATION, time_array(vec![self.at; length]));
        let changed = vec![("id", Arc::new(ids) as ArrayRef), (Field::TLP.column(), label), (Field::TIME_OBSERVATION.column(), observed)];
        let whole = batch::with_columns(&stated, changed);
        if keep.iter().all(|keep| *keep) {
            return whole;
        }
        arrow::compute::filter_record_batch(&whole, &BooleanArray::from(keep.to_vec())).expect("the mask has a value for each row")
    }
}

/// The times of a block's rows.
struct Times {
    source: Vec<Micros>,
    /// The time that counts for the id.
    when: Vec<Micros>,
    /// Times that rows stated and that are not theirs now.
    stated: Vec<(usize, Micros)>,
}

/// What rows say of a field, and what else holds for those that say nothing. It is no part of their ids.
fn or_else(stated: &RecordBatch, field: Field, otherwise: ArrayRef) -> ArrayRef {
    match stated.column_by_name(field.column()) {
        Some(column) if column.null_count() == 0 => column.clone(),
        Some(column) => {
            let said = arrow::compute::is_not_null(column).expect("every array tells its nulls");
            arrow::compute::kernels::zip::zip(&said, column, &otherwise).expect("one column has one type and length")
        }
        None => otherwise,
    }
}

fn constant(text: &str, length: usize) -> ArrayRef {
    Arc::new(StringArray::new_repeated(text, length))
}

/// Whether a table's constant is a value of its field.
pub(crate) fn check_constant(field: Field, text: &str) -> Result<(), event::Wrong> {
    Column::repeated(field, text, 1).map(|_| ())
}

/// The columns that a feed's events have, as [`Reader::read`] makes them: the same for every block.
pub fn columns(feed: &Feed) -> Vec<&'static str> {
    let house = ["id", "line", "kind", "asset"];
    house.into_iter().chain(bound::filled(feed).into_iter().map(Field::column)).collect()
}
