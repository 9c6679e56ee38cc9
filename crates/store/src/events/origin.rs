//! Which report an event was first read from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, AsArray};

use super::TIME;
use super::append::Prepared;
use super::commit::Overtaken;
use crate::days::Days;
use crate::erase::Erased;
use crate::file::read_columns;
use crate::place::Place;
use crate::rewrite::day_at;
use crate::table::{LiveFile, Table};

/// Refuses to replace days on which there is an event of a report that is neither recorded nor erased.
pub(crate) async fn refuse_strangers(prepared: &Prepared, days: &Days, recorded: HashSet<String>, erased: Arc<Erased>) -> Result<()> {
    let (place, feed, days) = (prepared.table.place.clone(), prepared.feed.clone(), days.clone());
    let files: Vec<Arc<LiveFile>> = prepared.version.files.values().filter(|file| file.may_hold_days(&days)).cloned().collect();
    let work = move || {
        each_report(&place, &files, &feed, |report, day, _| {
            if days.contains(&day) && !recorded.contains(report) && !erased.is_report(report) {
                return Err(anyhow!(Overtaken).context(format!("the report {report} of {feed} is just being stored by somebody else")));
            }
            Ok(())
        })
    };
    tokio::task::spawn_blocking(work).await.context("the thread that looks for reports has died")?
}

/// How many of a feed's events were first read from which report, by day.
pub type EventsByReport = HashMap<String, BTreeMap<i32, u64>>;

pub(crate) async fn events_by_report(table: &Arc<Table>, feed: &str, days: Option<&Days>) -> Result<EventsByReport> {
    let version = table.latest().await?;
    let (place, feed, days) = (table.place.clone(), feed.to_owned(), days.cloned());
    let work = move || {
        let may_hold = |file: &&Arc<LiveFile>| days.as_ref().is_none_or(|days| file.may_hold_days(days));
        let files: Vec<Arc<LiveFile>> = version.files.values().filter(may_hold).cloned().collect();
        let mut found = EventsByReport::new();
        each_report(&place, &files, &feed, |report, day, events| {
            if days.as_ref().is_none_or(|days| days.contains(&day)) {
                match found.get_mut(report) {
                    Some(of_report) => *of_report.entry(day).or_default() += events,
                    None => drop(found.insert(report.to_owned(), BTreeMap::from([(day, events)]))),
                }
            }
            Ok(())
        })?;
        Ok(found)
    };
    tokio::task::spawn_blocking(work).await.context("the thread that looks for reports has died")?
}

/// Calls for each run of the feed's events that are of one report and one day: with these, and how many they are.
fn each_report(place: &Place, files: &[Arc<LiveFile>], feed: &str, mut each: impl FnMut(&str, i32, u64) -> Result<()>) -> Result<()> {
    for live in files.iter().filter(|file| file.may_hold_feed(feed)) {
        for batch in read_columns(place, live, &["feed", "report_id", TIME])? {
            let batch = batch?;
            let text = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            let (Some(feeds), Some(times)) = (text("feed"), batch.column_by_name(TIME)) else { bail!("events without feed and time") };
            // Events of a feed whose reports nobody names belong to none.
            let Some(reports) = text("report_id") else { continue };
            let rows = (0..batch.num_rows()).filter(|row| feeds.value(*row) == feed && reports.is_valid(*row));
            let mut run: Option<(&str, i32, u64)> = None;
            for (report, day) in rows.filter_map(|row| Some((reports.value(row), day_at(times, row)?))) {
                match &mut run {
                    Some((of, on, events)) if *of == report && *on == day => *events += 1,
                    _ => {
                        if let Some((of, on, events)) = run.replace((report, day, 1)) {
                            each(of, on, events)?;
                        }
                    }
                }
            }
            if let Some((of, on, events)) = run {
                each(of, on, events)?;
            }
        }
    }
    Ok(())
}
