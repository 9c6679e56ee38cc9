//! Looking after what is stored: files merged, old ones deleted, what the law lets nobody keep taken out.

use std::time::Duration;

use anyhow::Result;
use event::time::Micros;
use store::{Compacted, Compaction, Erasing, Erasure, Expiring, Retention, Vacuumed};

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

    /// Applies the configuration's rules of retention; says how many events were changed or taken out.
    pub async fn retain(&self, actor: &Actor, now: Micros) -> Result<u64> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, "retention", now)?;
        let rules = self.retention_rules();
        if rules.is_empty() { Ok(0) } else { self.store.retain(&rules, now).await }
    }

    /// Erases a report for good, from what is kept and from every older version; a record of it remains.
    pub async fn erase_report(&self, actor: &Actor, report_id: &str, reason: &str, now: Micros) -> Result<Erasure> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, &format!("report {report_id}: {reason}"), now)?;
        self.store.erase_report(report_id, &erasing(actor, reason, now)).await
    }

    /// Erases what was said of a person, by values such as an address of mail. The audit trail does not repeat them.
    pub async fn erase_person(&self, actor: &Actor, values: &[String], reason: &str, now: Micros) -> Result<Erasure> {
        actor.require(Action::Erase)?;
        self.audit.write(actor, Action::Erase, &format!("a person: {reason}"), now)?;
        self.store.erase_person(values, &erasing(actor, reason, now)).await
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
    Erasing { by: actor.name.clone(), reason: reason.to_owned(), now }
}
