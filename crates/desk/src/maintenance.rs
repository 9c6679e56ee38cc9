//! Looking after what is stored: files merged, old ones deleted, what the law lets nobody keep taken out.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use anyhow::Result;
use event::time::Micros;
use feed::unpack::{Caps, Packing, unpack};
use pipeline::What;
use store::{Compacted, Compaction, Erasing, Erasure, Expiring, Retention, Vacuumed};
use tracing::warn;

use crate::actor::{Action, Actor};
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

    /// Applies the configuration's rules of retention; says how many events were changed or taken out, and how many
    /// kept reports deleted.
    pub async fn retain(&self, actor: &Actor, now: Micros) -> Result<(u64, u64)> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, "retention", now)?;
        let rules = self.retention_rules();
        let events = if rules.is_empty() { 0 } else { self.store.retain(&rules, now).await? };
        let configured = &self.configuration.retention.reports;
        let days = |id: &str| configured.get(id).or_else(|| configured.get("*")).copied();
        let reports: BTreeMap<String, u32> = self.catalog.feeds().filter_map(|feed| Some((feed.id.clone(), days(&feed.id)?))).collect();
        let reports = if reports.is_empty() { 0 } else { self.store.retain_reports(&reports, now).await? };
        Ok((events, reports))
    }

    /// Erases a report for good, from what is kept and from every older version; a record of it remains.
    pub async fn erase_report(&self, actor: &Actor, report_id: &str, reason: &str, now: Micros) -> Result<Erasure> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, &format!("report {report_id}: {reason}"), now)?;
        let done = self.store.erase_report(report_id, &erasing(actor, reason, now)).await?;
        if done.events > 0 {
            // What other reports said as well went with it, and comes back by reading them again.
            let days = What::Report { report_id: report_id.to_owned() };
            if let Err(error) = self.intake().reread(&days, now).await {
                warn!(error = format!("{error:#}"), "what other reports of its days said as well is not back");
            }
        }
        self.forget_sightings(now).await?;
        Ok(done)
    }

    /// Erases what was said of a person, by values such as an address of mail. The audit trail does not repeat them.
    pub async fn erase_person(&self, actor: &Actor, values: &[String], reason: &str, now: Micros) -> Result<Erasure> {
        actor.require(Action::Erase)?;
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

    fn retention_rules(&self) -> Vec<Retention> {
        let configured = &self.configuration.retention;
        let mut rules = Vec::new();
        for feed in self.catalog.feeds() {
            let of = |name: &str| if name == "*" || name == feed.id { Some(feed.id.clone()) } else { None };
            rules.extend(
                configured.events.iter().filter_map(|(name, days)| Some(Retention { feed: of(name)?, what: Expiring::Row, days: *days })),
            );
            for (name, fields) in &configured.fields {
                let Some(id) = of(name) else { continue };
                rules.extend(fields.iter().map(|(field, days)| {
                    let what = match field.strip_prefix("extra.") {
                        Some(key) => Expiring::Extra(key.to_owned()),
                        None => Expiring::Column(field.replace('.', "_")),
                    };
                    Retention { feed: id.clone(), what, days: *days }
                }));
            }
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
