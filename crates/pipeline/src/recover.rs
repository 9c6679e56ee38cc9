//! What a process that died has left: arrivals without a delivery, of which the events may have been committed.
//!
//! They are taken in as if they had just arrived. But what was committed stays as it was read, even if it would be read
//! otherwise today: then it is recorded first, and read again like any other.

use std::collections::{BTreeSet, HashMap};

use anyhow::Result;
use event::time::Micros;
use tracing::warn;

use crate::count::with_events;
use crate::ingest::{Intake, Kept, Outcome, Run};
use crate::read::Tally;
use crate::reread::{Enrichment, NotKept};

impl Intake<'_> {
    /// Does what a process that died left undone.
    pub async fn recover(&self, now: Micros, each: &mut (dyn FnMut(Outcome) + Send)) -> Result<usize> {
        let abandoned = self.store.take_abandoned_arrivals(now).await?;
        if abandoned.is_empty() {
            return Ok(0);
        }
        warn!(deliveries = abandoned.len(), "a process ended before these were stored; they are read now");
        self.record_committed(&abandoned, now).await?;
        let mut run = Run { known: self.store.recorded().await?, waiting: Vec::new(), takes_up: true, now, each };
        let count = abandoned.len();
        for arrival in abandoned {
            let origin = arrival.origin.clone();
            // What keeps one from being stored must not keep the others, nor what is handed in now.
            if let Err(why) = self.take_up(arrival, &mut run).await {
                (run.each)(Outcome::Refused { origin, why: why.context("it waits, and the next start tries again") });
            }
        }
        self.commit(&mut run).await?;
        Ok(count)
    }

    /// Records those abandoned arrivals whose events are there and must not be taken for somebody's who is still at work: where
    /// they cannot be read now as they were then, or days of their feed are to be read again. What more is known of such a
    /// delivery follows when it is taken up; until then it has no writer.
    async fn record_committed(&self, abandoned: &[store::Arrival], now: Micros) -> Result<()> {
        let known = self.store.recorded().await?;
        let reads_otherwise = |delivery: &&store::Delivery| self.reads_otherwise(delivery, Enrichment::AsRead).unwrap_or(true);
        let stored = known.all().filter(reads_otherwise).map(|delivery| delivery.feed.as_str());
        let came = abandoned.iter().filter(|arrival| !self.reads_as_then(arrival)).map(|arrival| arrival.feed.as_str());
        let read_again: BTreeSet<&str> = stored.chain(came).collect();
        let mut provisional: Vec<store::Delivery> = Vec::new();
        let mut of_feeds = HashMap::new();
        for arrival in abandoned.iter().filter(|arrival| known.get(&arrival.feed, &arrival.id).is_none()) {
            let feed = arrival.feed.as_str();
            let is_kept = self.store.has_report(&arrival.report_id).await?;
            if is_kept && !read_again.contains(feed) {
                continue;
            }
            if !of_feeds.contains_key(feed) {
                of_feeds.insert(feed, self.store.events_by_report(feed, None).await?);
            }
            let Some(mut events) = of_feeds[feed].get(&arrival.report_id).cloned() else { continue };
            // Those of another delivery of the same report are not its own.
            let is_of_same = |other: &&store::Delivery| other.feed == arrival.feed && other.report_id == arrival.report_id;
            for other in known.of_feed(feed).chain(&provisional).filter(is_of_same) {
                events.retain(|day, _| !other.days.contains(day));
            }
            if !events.is_empty() {
                let (events, days) = (events.values().sum(), events.into_keys().collect());
                let outcome = store::Outcome { events, days, ..store::Outcome::default() };
                let tally = Tally { rows: events, ..Tally::default() };
                let mut row = self.row(arrival.clone(), arrival.table_version.clone(), tally, outcome);
                if is_kept {
                    row.writer.clear();
                }
                provisional.push(row);
            }
        }
        self.store.record_deliveries(&provisional, now).await.map(|_| ())
    }

    /// Whether an arrival's report would be read now with the version of its feed's table that it came with.
    fn reads_as_then(&self, arrival: &store::Arrival) -> bool {
        let version = &arrival.table_version;
        self.feed(&arrival.feed, arrival.time).is_ok_and(|feed| version.is_empty() || *version == feed.version)
    }

    /// Takes up an arrival that a process left which died. It is taken away last: should this be cut short, the next start does
    /// it again.
    async fn take_up(&self, arrival: store::Arrival, run: &mut Run<'_>) -> Result<()> {
        let (id, feed) = (arrival.id.clone(), arrival.feed.clone());
        if !self.store.has_report(&arrival.report_id).await? {
            warn!(report = %arrival.report_id, origin = %arrival.origin, "the report of a delivery that was not finished is kept no more");
        } else if self.feed(&feed, arrival.time).is_err() {
            warn!(%feed, origin = %arrival.origin, "a delivery waits: its feed has no sound table any more");
            return Ok(());
        } else if let Some(recorded) = run.known.get(&feed, &id).cloned() {
            let reread = self.reread_recorded(&recorded, run.now).await?;
            if !reread && recorded.writer.is_empty() {
                self.complete(recorded.clone(), run.now).await?;
            }
            if reread || recorded.writer.is_empty() {
                run.known = self.store.recorded().await?;
                let delivery = run.known.get(&feed, &id).cloned().unwrap_or(recorded);
                (run.each)(Outcome::Stored { delivery, drifted: false });
            }
        } else {
            return self.take(arrival, run).await;
        }
        self.store.remove_arrival(&id).await
    }

    /// Reads the days of a delivery again that is recorded, if it would be read otherwise now and they can be; whether they were.
    async fn reread_recorded(&self, recorded: &store::Delivery, now: Micros) -> Result<bool> {
        let feed = &recorded.feed;
        let days = self.unexpired(feed, recorded.days.clone()).await?;
        if days.is_empty() || !self.reads_otherwise(recorded, Enrichment::AsRead)? {
            return Ok(false);
        }
        match self.reread_days(feed, days, Enrichment::AsRead, now).await {
            // That its days cannot be read again now makes it none that waits.
            Err(error) if error.is::<NotKept>() => {
                warn!(%feed, error = format!("{error:#}"), "a delivery stays as it was read");
                Ok(false)
            }
            done => done.map(|_| true),
        }
    }

    /// Records what a delivery's report says besides the events that were known to be its own.
    async fn complete(&self, recorded: store::Delivery, now: Micros) -> Result<()> {
        let table = self.feed(&recorded.feed, recorded.time)?;
        let append = self.append(&recorded.feed, [table], recorded.size, None).await?;
        let (tally, rejects, seen) = self.understand(table, &Kept::of_delivery(&recorded, &recorded.tables), &append)?;
        drop(append);
        let whole = store::Delivery {
            rows: tally.rows,
            rejects: tally.rejected,
            ignored: tally.ignored,
            erased: tally.erased,
            days: &recorded.days | &seen,
            drift: tally.drift.map(|drift| drift.to_string()),
            writer: self.writer.to_owned(),
            ..recorded.clone()
        };
        self.store.replace_rejects(vec![rejects], now).await?;
        let events = recorded.events;
        self.store.revise_deliveries(vec![(recorded, with_events(whole, events))], now).await
    }
}
