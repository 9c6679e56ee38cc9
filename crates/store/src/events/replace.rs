//! Reading again: a feed's days are replaced whole, in one commit.

use std::sync::Arc;

use anyhow::{Result, bail};
use event::time::Micros;

use super::TIME;
use super::append::Prepared;
use super::commit::{Committed, Outcome};
use crate::days::{Days, FeedDays};
use crate::rewrite::{Beside, FeedDaysRows, rewrite};
use crate::table::Table;

/// Takes the feed's rows of these days out and puts the prepared ones in.
pub(crate) async fn replace_days(table: &Arc<Table>, feed: &str, days: &Days, prepared: Prepared, now: Micros) -> Result<Committed> {
    if prepared.feed != feed || prepared.only_days.as_ref() != Some(days) {
        bail!("the rows that are to replace days of {feed} were not prepared for just those days");
    }
    let outcome = Outcome::of(&prepared.counts);
    let replaced = FeedDaysRows { of: FeedDays::of(feed, days), time: TIME };
    let beside = Beside {
        operation: "REREAD",
        add: prepared.files,
        touched: replaced.of.clone(),
        unless_touched: Some((prepared.version.number.unwrap_or(0), replaced.of.clone())),
        ..Beside::default()
    };
    let rewritten = rewrite(table, Arc::new(replaced), beside, now).await?;
    Ok(Committed { version: rewritten.version.number.unwrap_or(0), outcomes: vec![outcome] })
}
