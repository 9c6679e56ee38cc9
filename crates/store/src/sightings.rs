//! Sightings: what was seen of one thing on one day by one feed, between events and findings.
//!
//! They are derived and never edited: an update takes the days of feeds that commits of events touched since
//! the last one, counts those days anew, and replaces them, together with how far it came, in one commit. So it
//! may be repeated, and gives what counting everything anew would give.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, anyhow};
use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, TimeUnit};
use datafusion::datasource::MemTable;
use event::field::{FIELDS, Type};
use event::time::{self, Micros};
use futures::StreamExt;

use crate::days::FeedDays;
use crate::file::{FileWriter, NewFile};
use crate::query::{LiveTable, bare_session, plain, register_functions};
use crate::rewrite::{AllFrom, Beside, FeedDaysRows, rewrite};
use crate::store::Store;
use crate::table::{Definition, LiveFile, MONTH, Version};

pub(crate) static SIGHTINGS: Definition = Definition {
    name: "sightings",
    schema,
    feed: Some("feed"),
    time: "day",
    by_month: true,
    order: &["feed", "day", "key"],
    transactions: &[COUNTED],
};

/// The version of events up to which sightings are counted, in the table's own log.
const COUNTED: &str = "events";

/// Commits of events after which it is recorded that there was nothing to count, so that their entries of the
/// log may be cut.
const IDLE: u64 = 32;

/// What tells one thing from another, for each kind of problem. The asset is the event's own: the field that
/// its feed names. What stands here beside it must be the same at every sighting of one thing, and differ
/// where two things can be mended apart.
const KEYS: &[Key] = &[
    // One machine can have several infections, and each is cleaned alone. The port is the client's, and another
    // one for each connection.
    Key { kind: "bot", asset: &[], port: false, identifier: &["malware_name", "classification_identifier", "classification_type"] },
    // One server can run several controllers, each on its port. Families are named differently by each feed.
    Key { kind: "c2", asset: &[], port: true, identifier: &[] },
    // The page itself; a feed that knows no URL names the host.
    Key { kind: "site", asset: &["source_url", "source_fqdn", "source_ip"], port: false, identifier: &[] },
    // A service is opened and closed by its port, and one port can be wrong in several ways.
    Key { kind: "exposed", asset: &[], port: true, identifier: &["classification_identifier", "protocol_application", "classification_type"] },
    Key { kind: "resolver", asset: &[], port: true, identifier: &["classification_identifier", "protocol_application", "classification_type"] },
    // Who is attacked is attacked, by whatever way.
    Key { kind: "victim", asset: &["destination_ip", "destination_fqdn"], port: false, identifier: &[] },
    // The account is what its owner must change the password of.
    Key { kind: "account", asset: &["source_account"], port: false, identifier: &[] },
    // What is there: a service by its port.
    Key { kind: "inventory", asset: &[], port: true, identifier: &["classification_identifier", "protocol_application"] },
    // A network, an address or a name on a list: nothing is known but that it is on it.
    Key { kind: "listing", asset: &["source_network", "source_ip", "source_fqdn"], port: false, identifier: &[] },
];

struct Key {
    kind: &'static str,
    /// Columns to take the asset from where the event's own is empty.
    asset: &'static [&'static str],
    /// Whether the port tells things apart.
    port: bool,
    /// The first of these columns that has a value.
    identifier: &'static [&'static str],
}

fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let text = |name| Field::new(name, DataType::Utf8, true);
        let time = |name| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
        Arc::new(Schema::new(vec![
            // 128 bits of BLAKE3 over kind, asset, port and identifier, in hexadecimal.
            text("key"),
            text(MONTH),
            text("feed"),
            text("kind"),
            text("asset"),
            Field::new("port", DataType::Int32, true),
            text("identifier"),
            Field::new("day", DataType::Date32, true),
            time("first"),
            time("last"),
            Field::new("count", DataType::Int64, true),
            Field::new("in_scope", DataType::Boolean, true),
        ]))
    });
    SCHEMA.clone()
}

/// What a refresh is about to count.
enum Due {
    Nothing,
    Days(FeedDays),
    /// The log no longer tells what was touched.
    Everything,
}

impl Store {
    /// Brings sightings up to the newest events; says which days of which feeds were counted anew. Feeds for
    /// which `is_context` is true only serve to look things up in, and have no sightings.
    pub async fn refresh_sightings(&self, is_context: impl Fn(&str) -> bool, now: Micros) -> Result<FeedDays> {
        let events = self.events.latest().await?;
        let reached = events.number.unwrap_or(0);
        let sightings = self.sightings.latest().await?;
        let counted = sightings.transactions.get(COUNTED).map(|version| *version as u64);
        match self.due(&events, counted).await? {
            Due::Nothing => Ok(FeedDays::default()),
            Due::Days(mut days) => {
                days.0.retain(|feed, _| !is_context(feed));
                if days.is_empty() && reached < counted.unwrap_or(0) + IDLE {
                    return Ok(days);
                }
                self.count_days(&events, days, reached, now).await
            }
            Due::Everything => self.rebuild_sightings(is_context, now).await,
        }
    }

    /// Counts everything anew that can be: sightings of days whose events have expired stay.
    pub async fn rebuild_sightings(&self, is_context: impl Fn(&str) -> bool, now: Micros) -> Result<FeedDays> {
        let events = self.events.latest().await?;
        let mut days = self.unexpired(self.all_days(&events).await?).await?;
        days.0.retain(|feed, _| !is_context(feed));
        let files = self.count(&events, &days).await?;
        let beside = Beside { operation: "REBUILD", add: files, transaction: transaction(&events), touched: days.clone(), ..Beside::default() };
        let replaced = AllFrom { days: self.expired().await?, time: SIGHTINGS.time };
        rewrite(&self.sightings, Arc::new(replaced), beside, now).await?;
        Ok(days)
    }

    async fn due(&self, events: &Version, counted: Option<u64>) -> Result<Due> {
        let reached = events.number.unwrap_or(0);
        // Version 0 is the table's making: nothing was counted because nothing was there.
        let counted = counted.unwrap_or(0);
        if counted >= reached {
            return Ok(Due::Nothing);
        }
        let Some(entries) = self.events.entries(counted, reached).await? else { return Ok(Due::Everything) };
        let mut days = FeedDays::default();
        for entry in entries.iter().filter(|entry| entry.changed_rows) {
            match &entry.touched {
                Some(touched) => days.add_all(touched),
                None => return Ok(Due::Everything),
            }
        }
        Ok(Due::Days(self.unexpired(days).await?))
    }

    async fn count_days(&self, events: &Arc<Version>, days: FeedDays, reached: u64, now: Micros) -> Result<FeedDays> {
        let files = self.count(events, &days).await?;
        let beside = Beside {
            operation: "REFRESH",
            add: files,
            transaction: transaction(events),
            touched: days.clone(),
            only_if_behind: true,
            ..Beside::default()
        };
        let replaced = FeedDaysRows { of: days.clone(), time: SIGHTINGS.time };
        rewrite(&self.sightings, Arc::new(replaced), beside, now).await.with_context(|| format!("counting sightings up to version {reached} of events"))?;
        Ok(days)
    }

    async fn all_days(&self, events: &Arc<Version>) -> Result<FeedDays> {
        let session = bare_session(&self.place, self.query_memory(), self.settings.temporary.as_deref())?;
        session.register_table("events", Arc::new(LiveTable::new(self.events.definition, self.events.place.clone(), events.clone())))?;
        let mut stream = session.sql("select distinct feed, cast(time_source as date) as day from events").await?.execute_stream().await?;
        let mut found = FeedDays::default();
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let feeds = batch.column(0).as_string_view();
            let days = batch.column(1).as_primitive::<Date32Type>();
            for (feed, day) in feeds.iter().zip(days.values()) {
                found.add(feed.unwrap_or_default(), &BTreeSet::from([*day]));
            }
        }
        Ok(found)
    }

    /// Counts the events of these days into new files, a month in each.
    async fn count(&self, events: &Arc<Version>, days: &FeedDays) -> Result<Vec<NewFile>> {
        if days.is_empty() {
            return Ok(Vec::new());
        }
        let concerned = |file: &&Arc<LiveFile>| days.0.iter().any(|(feed, days)| file.may_hold_feed(feed) && file.may_hold_days(days));
        let files = events.files.values().filter(concerned).cloned().collect();
        let session = bare_session(&self.place, self.query_memory(), self.settings.temporary.as_deref())?;
        register_functions(&session, &self.settings.names);
        let table = LiveTable::of_files(self.events.definition, self.events.place.clone(), events.clone(), files);
        session.register_table("events", Arc::new(table))?;
        let touched = batch_of(days)?;
        session.register_table("touched", Arc::new(MemTable::try_new(touched.schema(), vec![vec![touched]])?))?;
        let mut stream = session.sql(&counting(days)).await.context("planning the count of sightings")?.execute_stream().await?;
        let mut writer = MonthWriter::new(self);
        while let Some(batch) = stream.next().await {
            writer = writer.write(batch.context("counting sightings")?).await?;
        }
        writer.finish().await
    }
}

fn transaction(events: &Version) -> Option<(&'static str, i64)> {
    Some((COUNTED, events.number.unwrap_or(0) as i64))
}

fn batch_of(days: &FeedDays) -> Result<RecordBatch> {
    let pairs: Vec<(&str, i32)> = days.0.iter().flat_map(|(feed, days)| days.iter().map(move |day| (feed.as_str(), *day))).collect();
    let feeds: StringArray = pairs.iter().map(|(feed, _)| Some(*feed)).collect();
    let days: Date32Array = pairs.iter().map(|(_, day)| Some(*day)).collect();
    Ok(RecordBatch::try_from_iter([("feed", Arc::new(feeds) as ArrayRef), ("day", Arc::new(days))])?)
}

/// The query that counts. Its rows come by day, so that each month's come together.
fn counting(days: &FeedDays) -> String {
    let all = || days.0.values().flatten();
    let (first, last) = (all().min().copied().unwrap_or(0), all().max().copied().unwrap_or(0));
    let feeds: Vec<String> = days.0.keys().map(|feed| format!("'{}'", feed.replace('\'', "''"))).collect();
    let of_kind = |part: &dyn Fn(&Key) -> String| {
        let cases: String = KEYS.iter().map(|key| format!(" when '{}' then {}", key.kind, part(key))).collect();
        format!("case kind{cases} end")
    };
    let asset = of_kind(&|key| format!("coalesce({})", [OWN_ASSET].iter().chain(key.asset).copied().collect::<Vec<_>>().join(", ")));
    let port = of_kind(&|key| if key.port { PORT.to_owned() } else { "cast(null as int)".to_owned() });
    let identifier = of_kind(&|key| {
        let columns: Vec<&str> = key.identifier.iter().copied().chain(["''"]).collect();
        format!("coalesce({})", columns.join(", "))
    });
    format!(
        "with seen as (\
           select feed, kind, cast(time_source as date) as day, time_source, in_scope, {asset} as asset, {port} as port, {identifier} as identifier \
           from (select *, {own_asset} as {OWN_ASSET} from events \
                 where feed in ({feeds}) and time_source >= '{from}' and time_source < '{to}') as events), \
         wanted as (select seen.* from seen left semi join touched on seen.feed = touched.feed and seen.day = touched.day where asset is not null) \
         select sighting_key(kind, asset, cast(port as varchar), identifier) as key, feed, kind, asset, port, identifier, day, \
           min(time_source) as first, max(time_source) as last, count(*) as count, bool_or(in_scope) as in_scope \
         from wanted group by feed, kind, asset, port, identifier, day order by day, feed, key",
        own_asset = own_asset(),
        feeds = feeds.join(", "),
        from = time::iso(Micros::from(first) * time::DAY),
        to = time::iso(Micros::from(last + 1) * time::DAY),
    )
}

const OWN_ASSET: &str = "own_asset";

/// The port on the side of the asset.
const PORT: &str = "case when asset like 'destination.%' then destination_port else source_port end";

/// The value of the field that the event names as its asset.
fn own_asset() -> String {
    let sides = |name: &str| name.starts_with("source.") || name.starts_with("destination.");
    let types = [Type::Ip, Type::Network, Type::Fqdn, Type::Url, Type::Asn, Type::Text];
    let fields = FIELDS.iter().filter(|field| sides(field.name) && types.contains(&field.kind));
    let cases: String = fields.map(|field| format!(" when '{}' then cast({} as varchar)", field.name, field.column)).collect();
    format!("case asset{cases} end")
}

/// Writes rows that come by day into a file for each month.
struct MonthWriter {
    table: Arc<crate::table::Table>,
    month: Option<String>,
    file: Option<FileWriter>,
    done: Vec<NewFile>,
}

impl MonthWriter {
    fn new(store: &Store) -> MonthWriter {
        MonthWriter { table: store.sightings.clone(), month: None, file: None, done: Vec::new() }
    }

    async fn write(mut self, batch: RecordBatch) -> Result<MonthWriter> {
        let work = move || {
            let batch = plain(&batch, &SIGHTINGS.file_schema())?;
            let days = batch.column_by_name("day").and_then(|days| days.as_primitive_opt::<Date32Type>()).ok_or_else(|| anyhow!("sightings without days"))?;
            let mut start = 0;
            for run in days.values().chunk_by(|one, next| time::month_name(*one) == time::month_name(*next)) {
                self.write_month(&time::month_name(run[0]), &batch.slice(start, run.len()))?;
                start += run.len();
            }
            Ok(self)
        };
        tokio::task::spawn_blocking(work).await.context("the thread that writes sightings has died")?
    }

    fn write_month(&mut self, month: &str, batch: &RecordBatch) -> Result<()> {
        if self.month.as_deref() != Some(month) {
            self.end_file()?;
            self.month = Some(month.to_owned());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(FileWriter::create(&SIGHTINGS, &self.table.place, batch.schema(), Some(month))?),
        };
        file.write(batch)
    }

    fn end_file(&mut self) -> Result<()> {
        self.done.extend(self.file.take().map(FileWriter::finish).transpose()?);
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<NewFile>> {
        let work = move || {
            self.end_file()?;
            Ok(self.done)
        };
        tokio::task::spawn_blocking(work).await.context("the thread that writes sightings has died")?
    }
}
