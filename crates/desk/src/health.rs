//! How feeds and their sources do, as a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::Int64Type;
use event::time::{self, Micros};
use pipeline::health::{self, Awaited, Health};
use pipeline::{Memory, Of, memories};

use crate::actor::{Action, Actor};
use crate::desk::Desk;
use crate::queries::{Sql, collect};

/// How all feeds do that are awaited or delivered anything of late, and all sources that are configured.
#[derive(Clone, Debug)]
pub struct HealthReport {
    pub feeds: Vec<Health>,
    /// Events of the last seven days that are not counted, by feed.
    pub suppressed: BTreeMap<String, u64>,
    /// By their names.
    pub sources: BTreeMap<String, Memory>,
}

impl Desk {
    pub async fn health(&self, actor: &Actor, now: Micros) -> Result<HealthReport> {
        Ok(HealthReport { suppressed: self.suppressed(actor, now).await?, ..self.judged(actor, now).await? })
    }

    /// Without what is suppressed, which would ask all events.
    pub(crate) async fn judged(&self, actor: &Actor, now: Micros) -> Result<HealthReport> {
        actor.require(Action::Query)?;
        let deliveries = self.store.recorded().await?;
        let (mut names, mut awaited) = (Vec::new(), Awaited::default());
        for plan in self.plans()? {
            names.push(plan.name);
            match plan.of {
                Of::Feed(id) => awaited.feeds.insert(id),
                Of::Provider(name) => awaited.providers.insert(name),
            };
        }
        let feeds = health::judge(&self.catalog, deliveries.all(), &awaited, now);
        let sources = match self.memories_folder() {
            Ok(folder) => memories(&folder, names)?,
            Err(_) => BTreeMap::new(),
        };
        Ok(HealthReport { feeds, suppressed: BTreeMap::new(), sources })
    }

    async fn suppressed(&self, actor: &Actor, now: Micros) -> Result<BTreeMap<String, u64>> {
        let since = time::iso(now - 7 * time::DAY);
        let text = format!(
            "SELECT feed, count(*) AS n FROM events WHERE suppressed IS NOT NULL AND time_source > timestamp '{since}' GROUP BY feed"
        );
        let (batches, _) = collect(self.query(actor, &Sql { text: &text, rows: None }).await?).await?;
        let mut counts = BTreeMap::new();
        for batch in batches {
            let (feeds, numbers) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Int64Type>());
            for row in 0..batch.num_rows() {
                counts.insert(feeds.value(row).to_owned(), numbers.value(row).unsigned_abs());
            }
        }
        Ok(counts)
    }
}

impl HealthReport {
    /// Whether nothing is silent, strange, or failing.
    pub fn is_well(&self) -> bool {
        let feeds = self.feeds.iter().all(|feed| feed.state < health::State::Strange);
        feeds && self.sources.values().all(|source| source.failures == 0)
    }

    /// One row a feed.
    pub fn batch(&self) -> RecordBatch {
        let feeds = &self.feeds;
        let text = |value: &dyn Fn(&Health) -> Option<String>| -> ArrayRef { Arc::new(feeds.iter().map(value).collect::<StringArray>()) };
        let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let last = feeds.iter().map(|feed| feed.last).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        let suppressed = feeds.iter().map(|feed| self.suppressed.get(&feed.feed).copied().unwrap_or_default());
        let columns: [(&str, ArrayRef); 12] = [
            ("feed", text(&|feed| said(&feed.feed))),
            ("state", text(&|feed| said(feed.state.name()))),
            ("last", Arc::new(last)),
            ("every", text(&|feed| feed.cadence.map(time::span_text))),
            ("rows", Arc::new(UInt64Array::from_iter_values(feeds.iter().map(|feed| feed.rows)))),
            ("expected", text(&|feed| feed.expected.map(|(low, high)| format!("{low} to {high}")))),
            ("rejects", Arc::new(Float64Array::from_iter_values(feeds.iter().map(|feed| (feed.rejects * 1e4).round() / 1e4)))),
            ("suppressed", Arc::new(UInt64Array::from_iter_values(suppressed))),
            ("deliveries", Arc::new(UInt64Array::from_iter_values(feeds.iter().map(|feed| feed.deliveries as u64)))),
            ("bytes", Arc::new(UInt64Array::from_iter_values(feeds.iter().map(|feed| feed.bytes)))),
            ("seconds", Arc::new(Float64Array::from_iter_values(feeds.iter().map(|feed| feed.took.as_secs_f64())))),
            ("why", text(&|feed| said(&feed.why))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).expect("a row for each feed")
    }

    /// The same as metrics in Prometheus's text format, with how sources do.
    pub fn metrics(&self, now: Micros) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, help: &str, label: &str, values: Vec<(&str, f64)>| {
            text += &format!("# HELP waglan_{name} {help}\n# TYPE waglan_{name} gauge\n");
            for (of, value) in values {
                let of = of.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                text += &format!("waglan_{name}{{{label}=\"{of}\"}} {value}\n");
            }
        };
        let feeds = |value: &dyn Fn(&Health) -> f64| self.feeds.iter().map(|feed| (feed.feed.as_str(), value(feed))).collect();
        let seconds = |span: Micros| span as f64 / 1e6;
        let is = |state: health::State| move |feed: &Health| f64::from(feed.state == state);
        metric(
            "feed_age_seconds",
            "Time since the feed's last delivery.",
            "feed",
            feeds(&|feed| feed.last.map_or(f64::NAN, |last| seconds(now - last))),
        );
        metric(
            "feed_cadence_seconds",
            "The feed's usual gap between deliveries.",
            "feed",
            feeds(&|feed| feed.cadence.map_or(f64::NAN, |gap| gap.as_secs_f64())),
        );
        metric("feed_silent", "Whether the feed has not come for three times its usual gap.", "feed", feeds(&is(health::State::Silent)));
        metric(
            "feed_strange",
            "Whether the feed's volume, columns or rejects are not as usual.",
            "feed",
            feeds(&is(health::State::Strange)),
        );
        metric("feed_rows", "Rows on the last day on which the feed delivered.", "feed", feeds(&|feed| feed.rows as f64));
        metric("feed_rejects_ratio", "Rejects among the rows of the last seven days.", "feed", feeds(&|feed| feed.rejects));
        metric("feed_bytes", "Size of the reports of the last seven days.", "feed", feeds(&|feed| feed.bytes as f64));
        metric("feed_reading_seconds", "Time that reading the last seven days took.", "feed", feeds(&|feed| feed.took.as_secs_f64()));
        let suppressed = self.suppressed.iter().map(|(feed, count)| (feed.as_str(), *count as f64)).collect();
        metric("feed_suppressed", "Events of the last seven days that are not counted, by warning lists.", "feed", suppressed);
        let sources = |value: &dyn Fn(&Memory) -> f64| self.sources.iter().map(|(name, source)| (name.as_str(), value(source))).collect();
        metric("source_failures", "Looks in a row that failed.", "source", sources(&|source| f64::from(source.failures)));
        let age = |source: &Memory| source.last_success.map_or(f64::NAN, |last| seconds(now - last));
        metric("source_age_seconds", "Time since the source was looked at with success.", "source", sources(&age));
        text
    }
}
