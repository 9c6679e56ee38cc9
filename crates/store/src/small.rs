//! Appending to the smaller tables, whose rows are recorded once however often they are brought.
//!
//! A row's key says what it is, and rows of one key have one time, always: so what is already there is found
//! by looking into those files alone that reach over the times of the new rows. For what arrived just now,
//! there are none.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute;
use event::time::Micros;

use crate::events::pause;
use crate::file::{FileWriter, NewFile, read_columns, time_bounds};
use crate::place::Place;
use crate::table::{Change, LiveFile, Table};

const TRIES: u32 = 200;

/// Appends those rows whose key the table lacks; says how many. All are columns of the table.
pub(crate) async fn append(table: &Arc<Table>, rows: RecordBatch, key: &'static str, now: Micros) -> Result<u64> {
    let context = || format!("recording {}", table.definition.name);
    let bounds = time_bounds(rows.column_by_name(table.definition.time));
    for attempt in 0..TRIES {
        let base = table.latest().await?;
        let there = overlapping(base.files.values(), bounds);
        let (worker, given) = (table.clone(), rows.clone());
        let write = move || write_lacking(&worker, &there, given, key);
        let file = tokio::task::spawn_blocking(write).await.context("the thread that writes rows has died")?.with_context(context)?;
        let Some(mut file) = file else { return Ok(0) };
        let change = Change { operation: "WRITE", add: vec![file.live.clone()], now, ..Change::default() };
        file.keep();
        match table.commit(&base, change).await.with_context(context)? {
            Some(_) => return Ok(file.live.rows),
            None => {
                file.let_go();
                tokio::time::sleep(pause(attempt)).await;
            }
        }
    }
    bail!("rows of {} could not be committed: {TRIES} times another writer was first", table.definition.name);
}

fn write_lacking(table: &Table, there: &[Arc<LiveFile>], rows: RecordBatch, key: &'static str) -> Result<Option<NewFile>> {
    let mut known = keys(&table.place, there, key)?;
    let column =
        rows.column_by_name(key).and_then(|keys| keys.as_string_opt::<i32>()).ok_or_else(|| anyhow!("rows without the column {key}"))?;
    let lacking: BooleanArray = column.iter().map(|key| Some(known.insert(key.unwrap_or_default().to_owned()))).collect();
    let lacking = compute::filter_record_batch(&rows, &lacking)?;
    if lacking.num_rows() == 0 {
        return Ok(None);
    }
    let mut writer = FileWriter::create(table.definition, &table.place, lacking.schema(), None)?;
    writer.write(&lacking)?;
    writer.finish().map(Some)
}

/// Files that may hold rows of these times.
pub(crate) fn overlapping<'a>(files: impl Iterator<Item = &'a Arc<LiveFile>>, bounds: Option<(Micros, Micros)>) -> Vec<Arc<LiveFile>> {
    let overlaps = |file: &&Arc<LiveFile>| match (file.time, bounds) {
        (Some((first, last)), Some((from, to))) => first <= to && from <= last,
        _ => true,
    };
    files.filter(overlaps).cloned().collect()
}

/// All values of a column of text in these files. Blocks.
pub(crate) fn keys(place: &Place, files: &[Arc<LiveFile>], key: &str) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for live in files {
        for batch in read_columns(place, live, &[key])? {
            let batch = batch?;
            let column = batch.column_by_name(key).and_then(|keys| keys.as_string_opt::<i32>());
            found.extend(column.into_iter().flatten().flatten().map(str::to_owned));
        }
    }
    Ok(found)
}
