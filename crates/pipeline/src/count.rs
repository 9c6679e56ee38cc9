//! Whose events are whose: each event is one delivery's, however often it was read and whoever died meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;
use event::time::Micros;
use store::{Days, Delivery, EventsByReport, Recorded};

use crate::ingest::Intake;
use crate::reread::from;

/// How many events are each delivery's, by its id: those of its report on its days. Of deliveries with the same report the
/// first that speaks of a day has that day's.
pub(crate) fn shares<'d>(deliveries: impl IntoIterator<Item = &'d Delivery>, mut events: EventsByReport) -> HashMap<String, u64> {
    let mut share = |delivery: &Delivery| {
        let of_report = events.get_mut(&delivery.report_id)?;
        Some(delivery.days.iter().filter_map(|day| of_report.remove(day)).sum())
    };
    deliveries.into_iter().map(|delivery| (delivery.id.clone(), share(delivery).unwrap_or(0))).collect()
}

/// The delivery with so many events; what else was understood repeats others.
pub(crate) fn with_events(mut delivery: Delivery, events: u64) -> Delivery {
    let understood = delivery.rows.saturating_sub(delivery.rejects + delivery.ignored + delivery.erased);
    delivery.events = events.min(understood);
    delivery.repeats = understood - delivery.events;
    delivery
}

impl Intake<'_> {
    /// New deliveries whose events a process may have committed already that died: these repeat nothing but themselves.
    pub(crate) async fn with_own_events(&self, deliveries: Vec<Delivery>, known: &Recorded) -> Result<Vec<Delivery>> {
        let mut all_shares = HashMap::new();
        for feed in deliveries.iter().map(|delivery| &delivery.feed).collect::<BTreeSet<_>>() {
            let all = || known.of_feed(feed).chain(deliveries.iter().filter(|delivery| delivery.feed == *feed));
            let days = deliveries.iter().filter(|delivery| delivery.feed == *feed).flat_map(|delivery| &delivery.days).copied().collect();
            all_shares.extend(shares(all(), self.store.events_by_report(feed, Some(&days)).await?));
        }
        let counted = |delivery: Delivery| {
            let events = all_shares[&delivery.id];
            with_events(delivery, events)
        };
        Ok(deliveries.into_iter().map(counted).collect())
    }

    /// Those of a feed's deliveries, of which all are given, that have one of these reports: each as it is given, and with its
    /// events counted anew. One of which days have expired is left out.
    pub(crate) async fn counted_anew(&self, feed: &str, all: &[Delivery], reports: &BTreeSet<&str>) -> Result<Vec<(Delivery, Delivery)>> {
        let first = self.store.first_unexpired(feed).await?;
        let meant = || all.iter().filter(|delivery| reports.contains(delivery.report_id.as_str()));
        let days: Days = meant().flat_map(|delivery| &delivery.days).copied().collect();
        let shares = shares(all, self.store.events_by_report(feed, Some(&days)).await?);
        let is_whole = |delivery: &&Delivery| from(first, delivery.days.clone()) == delivery.days;
        let counted = |delivery: &Delivery| (delivery.clone(), with_events(delivery.clone(), shares[&delivery.id]));
        Ok(meant().filter(is_whole).map(counted).collect())
    }

    /// Counts as erased those events of deliveries with these reports that were taken out.
    pub async fn count_erased(&self, reports: &BTreeSet<String>, now: Micros) -> Result<()> {
        let reports: BTreeSet<&str> = reports.iter().map(String::as_str).collect();
        let mut by_feed: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
        for delivery in self.store.deliveries(None).await? {
            by_feed.entry(delivery.feed.clone()).or_default().push(delivery);
        }
        by_feed.retain(|_, of_feed| of_feed.iter().any(|delivery| reports.contains(delivery.report_id.as_str())));
        let mut revised = Vec::new();
        for (feed, of_feed) in by_feed {
            for (before, counted) in self.counted_anew(&feed, &of_feed, &reports).await? {
                let taken = before.events.saturating_sub(counted.events);
                let now = Delivery { events: before.events - taken, erased: before.erased + taken, ..before.clone() };
                revised.extend((before != now).then_some((before, now)));
            }
        }
        self.store.revise_deliveries(revised, now).await
    }
}
