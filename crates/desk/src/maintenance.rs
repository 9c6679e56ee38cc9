//! Looking after what is stored: files merged, old ones deleted, what the law lets nobody keep taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use anyhow::{Result, bail};
use event::Field;
use event::time::Micros;
use feed::Feed;
use feed::unpack::{Caps, Packing, unpack};
use pipeline::{Enrichment, What};
use store::{Compacted, Compaction, Erasing, Erasure, Expiring, Retained, Retention, Vacuumed};
use tracing::warn;

use crate::actor::{Action, Actor};
use crate::configuration::most_specific;
use crate::desk::Desk;

impl Desk {
    /// Merges small files, all of them.
    pub async fn compact(&self, actor: &Actor, now: Micros) -> Result<Compacted> {
        actor.require(Action::Maintain)?;
        self.audit.write(actor, Action::Maintain, "compact", now)?;
        self.store.compact(Compaction::WHOLLY, now).await
    }

    /// Deletes files that no version of the last `keep` refers to, and packs reports older than a day.
    pub async fn vacuum(&self, actor: &Actor, keep: Duration, now: Micros) -> Result<(Vacuumed, usize)> {
        actor.require(Action::Maintain)?;
        self.audit.write(actor, Action::Maintain, "vacuum", now)?;
        let packed = self.store.compress_reports(now - event::time::DAY).await?;
        Ok((self.store.vacuum(keep, now).await?, packed))
    }

    /// Applies the configuration's rules of retention, to feeds that have no table any more too.
    pub async fn retain(&self, actor: &Actor, now: Micros) -> Result<Retained> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, "retention", now)?;
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

    /// Erases a report for good, from what is kept and from every older version; a record of it remains.
    pub async fn erase_report(&self, actor: &Actor, report_id: &str, reason: &str, now: Micros) -> Result<Erasure> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, &format!("report {report_id}: {reason}"), now)?;
        let done = self.store.erase_report(report_id, &erasing(actor, reason, now)).await?;
        if done.events > 0 {
            // What other reports said as well went with it, and comes back by reading them again.
            let days = What::Report { report_id: report_id.to_owned() };
            if let Err(error) = self.intake().reread(&days, Enrichment::AsRead, now).await {
                warn!(error = format!("{error:#}"), "what other reports of its days said as well is not back");
            }
        }
        self.forget_sightings(now).await?;
        Ok(done)
    }

    /// Erases what was said of a person, by values such as an address of mail. The audit trail does not repeat them.
    pub async fn erase_person(&self, actor: &Actor, values: &[String], reason: &str, now: Micros) -> Result<Erasure> {
        actor.require(Action::Erase)?;
        if store::says(reason, values) {
            bail!("the reason names what is to be erased, and is kept for ever: say it without");
        }
        self.audit.write(actor, Action::Erase, &format!("a person: {reason}"), now)?;
        let done = self.store.erase_person(values, &erasing(actor, reason, now)).await?;
        self.forget_sightings(now).await?;
        Ok(done)
    }

    /// Counts sightings anew, so that none speaks of what was erased, and deletes what they were.
    async fn forget_sightings(&self, now: Micros) -> Result<()> {
        self.refresh_sightings(now).await?;
        self.store.forget().await
    }

    /// What expires of a feed, and when.
    fn retention_rules(&self, feed: &str) -> Vec<Retention> {
        let configured = &self.configuration.retention;
        let mut rules = Vec::new();
        if let Some(days) = most_specific(&configured.events, feed).last() {
            rules.push(Retention { feed: feed.to_owned(), what: Expiring::Row, in_rows: true, is_asset: false, days: *days });
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
            let what = match field.strip_prefix("extra.") {
                Some(key) => Expiring::Extra(key.to_owned()),
                None => Expiring::Column(field),
            };
            rules.push(Retention { feed: feed.to_owned(), what, in_rows, is_asset, days });
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
