//! Sightings: what was seen of one thing on one day by one feed, between events and findings.
//!
//! They are derived and never edited: an update takes the days of feeds that commits of events touched since
//! the last one, counts those days anew, and replaces them, together with how far it came, in one commit. So it
//! may be repeated, and gives what counting everything anew would give.

mod groups;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef, TimeUnit};
use event::field::FIELDS;
use event::time::{self, Micros};
use futures::StreamExt;

use self::groups::{GROUP, Groups};
use crate::days::FeedDays;
use crate::file::{FileWriter, NewFile};
use crate::query::LiveTable;
use crate::rewrite::{AllBut, Before, Beside, FeedDaysRows, rewrite};
use crate::store::Store;
use crate::table::{Definition, LiveFile, MONTH, Table, Version};

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
    Key {
        kind: "exposed",
        asset: &[],
        port: true,
        identifier: &["classification_identifier", "protocol_application", "classification_type"],
    },
    Key {
        kind: "resolver",
        asset: &[],
        port: true,
        identifier: &["classification_identifier", "protocol_application", "classification_type"],
    },
    // Who is attacked is attacked, by whatever way.
    Key { kind: "victim", asset: &["destination_ip", "destination_fqdn"], port: false, identifier: &[] },
    // The account is what its owner must change the password of.
    Key { kind: "account", asset: &["source_account"], port: false, identifier: &[] },
    // What is there: a service by its port.
    Key { kind: "inventory", asset: &[], port: true, identifier: &["classification_identifier", "protocol_application"] },
    // A network, an address or a name on a list: nothing is known but that it is on it.
    Key { kind: "listing", asset: &["source_network", "source_ip", "source_fqdn"], port: false, identifier: &[] },
];

/// Whether a thing of this kind may be named by this column, whatever its feed's table says.
pub(crate) fn names_things(kind: &str, column: &str) -> bool {
    KEYS.iter().any(|key| key.kind == kind && key.asset.contains(&column))
}

/// Whether sightings of this kind, or of any, are told apart by what this column holds.
pub fn tells_apart(kind: Option<&str>, column: &str) -> bool {
    let in_key = |key: &Key| key.asset.contains(&column) || key.identifier.contains(&column) || key.port && column == "source_port";
    KEYS.iter().filter(|key| kind.is_none_or(|kind| kind == key.kind)).any(in_key)
}

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
        let mut days = self.countable(self.all_days(&events).await?).await?;
        days.0.retain(|feed, _| !is_context(feed));
        let files = self.count(&events, &days).await?;
        let beside =
            Beside { operation: "REBUILD", add: files, transaction: transaction(&events), touched: days.clone(), ..Beside::default() };
        let replaced = AllBut(Before { days: self.counted_anew_from().await?, time: SIGHTINGS.time });
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
        Ok(Due::Days(self.countable(days).await?))
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
        rewrite(&self.sightings, Arc::new(replaced), beside, now)
            .await
            .with_context(|| format!("counting sightings up to version {reached} of events"))?;
        Ok(days)
    }

    async fn all_days(&self, events: &Arc<Version>) -> Result<FeedDays> {
        let session = self.bare_session(self.query_memory())?;
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
        let mut files = Vec::new();
        let most = self.query_memory() / GROUP;
        for portion in portions(events, days, most as f64) {
            files.extend(self.count_portion(events, &portion).await.context("counting sightings")?);
        }
        Ok(files)
    }

    async fn count_portion(&self, events: &Arc<Version>, days: &FeedDays) -> Result<Vec<NewFile>> {
        let session = self.bare_session(self.query_memory())?;
        let table = LiveTable::of_files(self.events.definition, self.events.place.clone(), events.clone(), concerned(events, days));
        session.register_table("events", Arc::new(table))?;
        let within = within(days);
        let sorts = sorts_of(session.sql(&format!("select distinct kind, asset from events where {within}")).await?.collect().await?);
        if sorts.is_empty() {
            return Ok(Vec::new());
        }
        let mut stream = session.sql(&rows_of(&sorts, &within)).await?.execute_stream().await?;
        let mut groups = Groups::default();
        while let Some(batch) = stream.next().await {
            groups.add(&batch?, days)?;
        }
        let table = self.sightings.clone();
        let write = move || write(&table, groups);
        tokio::task::spawn_blocking(write).await.context("the thread that writes sightings has died")?
    }
}

/// Writes a file for each month.
fn write(table: &Table, groups: Groups) -> Result<Vec<NewFile>> {
    let mut files: BTreeMap<String, FileWriter> = BTreeMap::new();
    groups.finish(|month, batch| {
        let file = match files.entry(month.to_owned()) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => {
                let file = FileWriter::create(&SIGHTINGS, &table.place, batch.schema(), Some(place.key()))?;
                place.insert(file)
            }
        };
        file.write(&batch)
    })?;
    files.into_values().map(FileWriter::finish).collect()
}

/// The files that may hold events of these days.
fn concerned(events: &Version, days: &FeedDays) -> Vec<Arc<LiveFile>> {
    let may_hold = |file: &&Arc<LiveFile>| days.0.iter().any(|(feed, days)| file.may_hold_feed(feed) && file.may_hold_days(days));
    events.files.values().filter(may_hold).cloned().collect()
}

/// The days in runs that are not too much to count at once.
fn portions(events: &Version, days: &FeedDays, most: f64) -> Vec<FeedDays> {
    let mut rows: BTreeMap<i32, f64> = BTreeMap::new();
    for file in concerned(events, days) {
        let (first, last) = file.time.map_or((0, 0), |(first, last)| (time::day(first), time::day(last)));
        let each = file.rows as f64 / f64::from(last - first + 1);
        (first..=last).for_each(|day| *rows.entry(day).or_default() += each);
    }
    let mut by_day: BTreeMap<i32, FeedDays> = BTreeMap::new();
    for (feed, days) in &days.0 {
        days.iter().for_each(|day| by_day.entry(*day).or_default().add(feed, &BTreeSet::from([*day])));
    }
    let mut portions: Vec<FeedDays> = Vec::new();
    let mut sum = f64::INFINITY;
    for (day, feeds) in by_day {
        let more = rows.get(&day).copied().unwrap_or(0.0);
        sum += more;
        match portions.last_mut() {
            Some(portion) if sum <= most => portion.add_all(&feeds),
            _ => {
                sum = more;
                portions.push(feeds);
            }
        }
    }
    portions
}

fn transaction(events: &Version) -> Option<(&'static str, i64)> {
    Some((COUNTED, events.number.unwrap_or(0) as i64))
}

/// A kind of problem, and the field that its events name as their asset.
type Sort = (String, String);

fn sorts_of(batches: Vec<RecordBatch>) -> Vec<Sort> {
    let mut sorts = Vec::new();
    for batch in &batches {
        let (kinds, assets) = (batch.column(0).as_string_view(), batch.column(1).as_string_view());
        let sort =
            |(kind, asset): (Option<&str>, Option<&str>)| (kind.unwrap_or_default().to_owned(), asset.unwrap_or_default().to_owned());
        sorts.extend(kinds.iter().zip(assets).map(sort));
    }
    sorts
}

/// What narrows events down to about these days, by what files and row groups are known to hold.
fn within(days: &FeedDays) -> String {
    let all = || days.0.values().flatten();
    let (first, last) = (all().min().copied().unwrap_or(0), all().max().copied().unwrap_or(0));
    let feeds: Vec<String> = days.0.keys().map(|feed| format!("'{}'", feed.replace('\'', "''"))).collect();
    // As numbers: a text would be read as nanoseconds, which do not reach every day that a table may hold.
    let midnight = |day: i32| format!("arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')", Micros::from(day) * time::DAY);
    format!("feed in ({}) and time_source >= {} and time_source < {}", feeds.join(", "), midnight(first), midnight(last + 1))
}

/// The query for the rows to be counted. It asks only for the sorts that there are: a case for every field of an
/// event would compare each row with fifty names.
fn rows_of(sorts: &[Sort], within: &str) -> String {
    let of_sort = |part: &dyn Fn(&Key, &str) -> String| {
        if let [(kind, asset)] = sorts {
            return KEYS.iter().find(|key| key.kind == kind).map_or_else(|| "null".to_owned(), |key| part(key, asset));
        }
        let case = |(kind, asset): &Sort| {
            let key = KEYS.iter().find(|key| key.kind == kind)?;
            Some(format!(" when kind = '{kind}' and coalesce(asset, '') = '{asset}' then {}", part(key, asset)))
        };
        let cases: String = sorts.iter().filter(|(_, asset)| !asset.contains('\'')).filter_map(case).collect();
        if cases.is_empty() { "null".to_owned() } else { format!("case{cases} end") }
    };
    let asset = of_sort(&|key, asset| {
        let own = column_of(asset);
        let columns: Vec<String> =
            own.into_iter().chain(key.asset.iter().copied()).map(|column| format!("cast({column} as varchar)")).collect();
        if columns.is_empty() { "null".to_owned() } else { format!("coalesce({})", columns.join(", ")) }
    });
    let port = of_sort(&|key, asset| match (key.port, asset.starts_with("destination.")) {
        (false, _) => "cast(null as int)".to_owned(),
        (true, true) => "destination_port".to_owned(),
        (true, false) => "source_port".to_owned(),
    });
    let identifier = of_sort(&|key, _| {
        let columns: Vec<&str> = key.identifier.iter().copied().chain(["''"]).collect();
        format!("coalesce({})", columns.join(", "))
    });
    format!(
        "select feed, kind, cast({asset} as varchar) as asset, cast({port} as int) as port, cast({identifier} as varchar) as identifier, \
           time_source, in_scope \
         from events where suppressed is null and {within}"
    )
}

/// The column of the field that an event names as its asset.
fn column_of(asset: &str) -> Option<&'static str> {
    FIELDS.iter().find(|field| field.name == asset).map(|field| field.column)
}
