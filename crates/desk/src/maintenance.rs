//! Looking after what is stored: files merged, old ones deleted, what the law lets nobody keep taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use event::Field;
use event::time::Micros;
use feed::Feed;
use feed::unpack::{Caps, Packing, unpack};
use pipeline::sources::tcp;
use pipeline::{Enrichment, NotKept};
use store::{AtWork, Compacted, Compaction, Days, Delivery, Erasing, Erasure, Expiring, FeedDays, Retained, Retention, Vacuumed, Work};
use tracing::instrument;

use crate::actor::{Action, Actor};
use crate::configuration::most_specific;
use crate::desk::Desk;

/// How long an erasure waits for what a process at work is about to store.
const TO_STORE: Duration = Duration::from_secs(90);

/// What the erasure of a person did, and did not.
#[derive(Clone, Debug)]
pub struct ErasedPerson {
    pub erasure: Erasure,
    /// Messages that were taken out of what was sent and is not stored.
    pub messages: u64,
    /// Files with messages that say it too, which a process at work is about to store.
    pub in_use: Vec<PathBuf>,
    /// What may say it and cannot be looked through, in words.
    pub out_of_reach: Vec<String>,
}

impl Desk {
    /// Merges small files, all of them.
    #[instrument(skip_all)]
    pub async fn compact(&self, actor: &Actor, now: Micros) -> Result<Compacted> {
        actor.require(Action::Maintain)?;
        self.audit.write(actor, Action::Maintain, "compact", now)?;
        let _at_work = self.store.begin(Work::Upkeep).await?;
        self.store.compact(Compaction::WHOLLY, now).await
    }

    /// Deletes files that no version of the last `keep` refers to, and packs reports older than a day.
    #[instrument(skip_all)]
    pub async fn vacuum(&self, actor: &Actor, keep: Duration, now: Micros) -> Result<(Vacuumed, usize)> {
        actor.require(Action::Maintain)?;
        self.audit.write(actor, Action::Maintain, "vacuum", now)?;
        let at_work = self.store.begin(Work::Upkeep).await?;
        let packed = self.store.compress_reports(&at_work, now - event::time::DAY).await?;
        Ok((self.store.vacuum(keep, now).await?, packed))
    }

    /// Applies the configuration's rules of retention, to feeds that have no table any more too.
    #[instrument(skip_all)]
    pub async fn retain(&self, actor: &Actor, now: Micros) -> Result<Retained> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, "retention", now)?;
        let _at_work = self.store.begin(Work::Erasure).await?;
        // What is about to go must have been counted.
        self.refresh_sightings(now).await?;
        let feeds = self.known_feeds().await?;
        let rules: Vec<Retention> = feeds.iter().flat_map(|feed| self.retention_rules(feed)).collect();
        let configured = &self.configuration.retention.reports;
        let reports = feeds.iter().filter_map(|feed| Some((feed.clone(), *most_specific(configured, feed).last()?))).collect();
        let events = self.store.retain(&rules, now).await?;
        let done = self.store.retain_reports(&reports, now).await?;
        Ok(Retained { rejects: events.rejects + done.rejects, reports: done.reports, ..events })
    }

    /// Rules of retention that speak of no feed, as sentences: a name was misspelt, or its table is broken.
    pub async fn idle_retention(&self, actor: &Actor) -> Result<Vec<String>> {
        actor.require(Action::Query)?;
        Ok(self.configuration.retention.idle(&self.known_feeds().await?))
    }

    /// Those with a table, and those of which something was taken in.
    async fn known_feeds(&self) -> Result<BTreeSet<String>> {
        let mut feeds: BTreeSet<String> = self.catalog.feeds().map(|feed| feed.id.clone()).collect();
        feeds.extend(self.store.deliveries(None).await?.into_iter().map(|delivery| delivery.feed));
        Ok(feeds)
    }

    /// Erases a report for good, from what is kept and from every older version; a record of it remains. What other reports
    /// said as well is read again; says of which days it cannot be.
    pub async fn erase_report(&self, actor: &Actor, report_id: &str, reason: &str, now: Micros) -> Result<(Erasure, BTreeSet<String>)> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, &format!("report {report_id}: {reason}"), now)?;
        let at_work = self.store.begin(Work::Erasure).await?;
        self.take_up_the_abandoned(now).await?;
        let erasing = erasing(actor, reason, now);
        self.store.record_erasure(report_id, &erasing).await?;
        let mut deliveries = self.store.deliveries(None).await?;
        deliveries.retain(|delivery| delivery.report_id == report_id);
        let mut days = FeedDays::default();
        for delivery in &deliveries {
            days.add(&delivery.feed, &pipeline::days_of(delivery));
        }
        let (mut events, mut lost) = (0, BTreeSet::new());
        for (feed, days) in days.0 {
            let by_report = self.store.events_by_report(&feed, None).await?;
            events += by_report.get(report_id).map_or(0, |by_day| by_day.values().sum());
            lost.extend(self.reread_what_can_be(&feed, days, now).await?);
        }
        let rest = self.store.erase_report(report_id, &erasing).await?;
        let erased = |delivery: Delivery| {
            let nothing_left = Delivery { erased: delivery.rows, events: 0, repeats: 0, rejects: 0, ignored: 0, ..delivery.clone() };
            (delivery, nothing_left)
        };
        self.store.revise_deliveries(deliveries.into_iter().map(erased).collect(), now).await?;
        self.forget(&at_work, now).await?;
        Ok((Erasure { events: events.max(rest.events), ..rest }, lost))
    }

    /// Reads these days of a feed again, all or else one by one. Says why those cannot be read that cannot: that must not
    /// keep anything from being erased.
    async fn reread_what_can_be(&self, feed: &str, days: Days, now: Micros) -> Result<BTreeSet<String>> {
        let days = self.intake().unexpired(feed, days).await?;
        let mut lost = BTreeSet::new();
        let mut due = if days.is_empty() { Vec::new() } else { vec![days] };
        while let Some(days) = due.pop() {
            match self.intake().reread_days(feed, days.clone(), Enrichment::AsRead, now).await {
                Err(_) if days.len() > 1 => due.extend(days.into_iter().rev().map(|day| Days::from([day]))),
                Err(error) if error.is::<NotKept>() => drop(lost.insert(error.to_string())),
                Err(error) => {
                    let days = store::days_text(&days);
                    lost.insert(format!("{days} of {feed}: {error:#}; once that is mended, repeat the erasure to have it back"));
                }
                Ok(_) => {}
            }
        }
        Ok(lost)
    }

    /// Erases what was said of a person, by values such as an address of mail. The audit trail does not repeat them.
    ///
    /// What sources keep that is not stored is looked through as well, but what a process at work is about to store; for that it is
    /// waited, and if it does not end, it is said.
    pub async fn erase_person(&self, actor: &Actor, values: &[String], reason: &str, now: Micros) -> Result<ErasedPerson> {
        actor.require(Action::Erase)?;
        if store::says(reason, values) {
            bail!("the reason names what is to be erased, and is kept for ever: say it without");
        }
        self.audit.write(actor, Action::Erase, &format!("a person: {reason}"), now)?;
        let (memories, is_meant) = (self.memories_folder()?, store::saying(values));
        let sifted = |take_out| tokio::task::block_in_place(|| tcp::sift(&memories, &is_meant, take_out));
        let since = Instant::now();
        while !sifted(false)?.in_use.is_empty() && since.elapsed() < TO_STORE {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let at_work = self.store.begin(Work::Erasure).await?;
        let waiting = sifted(true)?;
        self.take_up_the_abandoned(now).await?;
        let done = self.store.erase_person(values, &erasing(actor, reason, now)).await?;
        self.intake().count_erased(&self.store.partly_erased().await?, now).await?;
        self.forget(&at_work, now).await?;
        let mut out_of_reach = Vec::new();
        for (name, source) in &self.configuration.source {
            out_of_reach.extend(source.keeps().into_iter().map(|kept| format!("{kept} (source {name})")));
        }
        Ok(ErasedPerson { erasure: done, messages: waiting.messages, in_use: waiting.in_use, out_of_reach })
    }

    /// Counts sightings anew, so that none speaks of what was erased, and deletes whatever held it.
    async fn forget(&self, at_work: &AtWork, now: Micros) -> Result<()> {
        self.refresh_sightings(now).await?;
        self.store.forget(at_work, now).await
    }

    /// What expires of a feed, and when.
    fn retention_rules(&self, feed: &str) -> Vec<Retention> {
        let configured = &self.configuration.retention;
        let mut rules = Vec::new();
        if let Some(days) = most_specific(&configured.events, feed).last() {
            rules.push(Retention {
                feed: feed.to_owned(),
                what: Expiring::Row,
                in_rows: true,
                is_asset: false,
                is_counted_by: true,
                days: *days,
            });
        }
        // Field by field, the rule that says most exactly of whom it speaks.
        let mut fields = BTreeMap::new();
        for of_some in most_specific(&configured.fields, feed) {
            fields.extend(
                of_some
                    .iter()
                    .map(|(field, days)| (if field.starts_with("extra.") { field.clone() } else { field.replace('.', "_") }, *days)),
            );
        }
        let tables: Vec<&Feed> = self.catalog.versions(feed).collect();
        for (field, days) in fields {
            let is = |one: &Field| one.column() == field;
            // Of a feed without a table nothing is known: then it may be.
            let any = |what: &dyn Fn(&Feed) -> bool| tables.is_empty() || tables.iter().any(|table| what(table));
            let in_rows = any(&|table| table.own_names || table.fields().iter().any(is)) || field.starts_with("extra.");
            let is_asset = any(&|table| table.asset.iter().any(is));
            let fills = |table: &Feed| table.fields().iter().chain(&enrich::can_fill(&table.fields())).any(is);
            let tells_apart = |table: &Feed| table.kind.kinds().iter().any(|kind| store::tells_apart(Some(kind.name()), &field));
            let is_counted_by = store::tells_apart(None, &field) && any(&|table| fills(table) && tells_apart(table));
            let what = match field.strip_prefix("extra.") {
                Some(key) => Expiring::Extra(key.to_owned()),
                None => Expiring::Column(field),
            };
            rules.push(Retention { feed: feed.to_owned(), what, in_rows, is_asset, is_counted_by, days });
        }
        rules
    }
}

fn erasing(actor: &Actor, reason: &str, now: Micros) -> Erasing {
    Erasing { by: actor.name.clone(), reason: reason.to_owned(), now, unpack: unpacked }
}

fn unpacked(report: Box<dyn Read + Send>) -> io::Result<Option<Box<dyn Read>>> {
    let mut report = BufReader::new(report);
    match Packing::of(report.fill_buf()?) {
        Packing::None => Ok(None),
        _ => unpack(report, u64::MAX, Caps::default()).map(Some),
    }
}
