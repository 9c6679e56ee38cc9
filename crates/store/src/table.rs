//! One Delta table: which files are live, and how one version follows another.
//!
//! The log is read with Delta Lake's own code where there is a checkpoint, and entry by entry from there on:
//! a commit must know exactly which files others added since the version it was built on, and reading one
//! entry costs a thousandth of building a new snapshot. Entries are written by ourselves, put if absent under
//! the one version that follows the version that was read, and never retried by a library: a library that
//! retries an append does not know that the rows it appends may have become repeats.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use chrono::DateTime;
use deltalake_core::DeltaTable;
use deltalake_core::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::kernel::{Action, Add, CommitInfo, IsolationLevel, Metadata, Protocol, Remove, StructType, Transaction};
use deltalake_core::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake_core::table::state::DeltaTableState;
use event::time::{self, Micros};
use object_store::prefix::PrefixStore;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::days::FeedDays;
use crate::place::{Listed, Place};

/// After so many commits the log is summed up, so that opening reads few entries.
const CHECKPOINT_EVERY: u64 = 64;

/// What a table is, beyond its rows.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    /// All columns, `month` included where the table is partitioned by it.
    pub(crate) schema: fn() -> SchemaRef,
    /// The column of the feed, where files are pruned by it.
    pub(crate) feed: Option<&'static str>,
    /// The column of time, which files are pruned by, and whose month is the partition.
    pub(crate) time: &'static str,
    pub(crate) by_month: bool,
    /// Columns that rows of a file are sorted by once it was compacted.
    pub(crate) order: &'static [&'static str],
    /// Applications that record how far they came in the table's log.
    pub(crate) transactions: &'static [&'static str],
}

/// The partition column.
pub(crate) const MONTH: &str = "month";

impl Definition {
    /// The columns in files: the partition's value is in the path and the log alone.
    pub(crate) fn file_schema(&self) -> SchemaRef {
        let schema = (self.schema)();
        if !self.by_month {
            return schema;
        }
        Arc::new(Schema::new(schema.fields().iter().filter(|field| field.name() != MONTH).cloned().collect::<Vec<_>>()))
    }
}

/// A file of a version, and what is known of it without opening it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LiveFile {
    /// Relative to the table.
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) month: Option<String>,
    pub(crate) rows: u64,
    /// The first and last feed in the order of bytes, if known.
    pub(crate) feed: Option<(String, String)>,
    /// No time is outside, if known.
    pub(crate) time: Option<(Micros, Micros)>,
}

impl LiveFile {
    pub(crate) fn may_hold_feed(&self, feed: &str) -> bool {
        self.feed.as_ref().is_none_or(|(first, last)| first.as_str() <= feed && feed <= last.as_str())
    }

    /// Whether every row is this feed's.
    pub(crate) fn is_only_of(&self, feed: &str) -> bool {
        self.feed.as_ref().is_some_and(|(first, last)| first == feed && last == feed)
    }

    pub(crate) fn may_hold_days(&self, days: &BTreeSet<i32>) -> bool {
        self.time.is_none_or(|(first, last)| days.range(time::day(first)..=time::day(last)).next().is_some())
    }
}

/// A version of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    /// None before the table was made, which only a store opened for reading sees.
    pub(crate) number: Option<u64>,
    pub(crate) files: BTreeMap<String, Arc<LiveFile>>,
    pub(crate) transactions: BTreeMap<String, i64>,
    metadata: Option<Metadata>,
}

impl Version {
    /// What the table is called by itself: drawn when it was made, the same for ever, and in no other store.
    pub(crate) fn id(&self) -> Option<String> {
        let metadata = serde_json::to_value(self.metadata.as_ref()?).ok()?;
        metadata["id"].as_str().map(str::to_owned)
    }
}

/// What one commit did.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) added: Vec<Arc<LiveFile>>,
    /// Paths.
    pub(crate) removed: Vec<String>,
    /// False where files were only laid out anew.
    pub(crate) changed_rows: bool,
    /// When it was committed, by its writer's clock.
    pub(crate) time: Option<Micros>,
    /// The days whose rows changed, where we wrote the entry.
    pub(crate) touched: Option<FeedDays>,
    actions: Vec<Action>,
}

/// What a commit is to do.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) operation: &'static str,
    pub(crate) add: Vec<LiveFile>,
    pub(crate) remove: Vec<Arc<LiveFile>>,
    /// Rows are only laid out anew.
    pub(crate) same_rows: bool,
    pub(crate) touched: FeedDays,
    /// How far an application came.
    pub(crate) transaction: Option<(&'static str, i64)>,
    /// The time of the commit, as the log tells it.
    pub(crate) now: Micros,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) definition: &'static Definition,
    pub(crate) place: Place,
    writable: bool,
    latest: Mutex<Option<Arc<Version>>>,
}

impl Table {
    pub(crate) fn new(definition: &'static Definition, store: &Place, writable: bool) -> Table {
        Table { definition, place: store.inside(definition.name), writable, latest: Mutex::new(None) }
    }

    /// The newest version. The first call reads the log, later ones what is new in it.
    pub(crate) async fn latest(&self) -> Result<Arc<Version>> {
        let mut latest = self.latest.lock().await;
        let version = match latest.as_ref() {
            Some(version) if version.number.is_some() => self.newer(version.clone()).await?,
            _ => Arc::new(self.load().await?),
        };
        *latest = Some(version.clone());
        Ok(version)
    }

    async fn newer(&self, known: Arc<Version>) -> Result<Arc<Version>> {
        let mut version = known;
        while let Some(entry) = self.entry(version.number.map_or(0, |number| number + 1)).await? {
            let number = version.number.map_or(0, |number| number + 1);
            apply(self.definition, Arc::make_mut(&mut version), number, entry.actions).with_context(|| self.at(number))?;
        }
        // Old entries are deleted once a checkpoint stands for them: then the next one is missing, though
        // there are newer ones.
        if self.checkpointed().await? > version.number {
            version = Arc::new(self.load().await?);
        }
        Ok(version)
    }

    async fn load(&self) -> Result<Version> {
        if self.checkpointed().await?.is_some() {
            return self.load_from_checkpoint().await;
        }
        let mut version = Version::default();
        if !self.place.exists(&entry_name(0)).await? {
            if !self.writable {
                return Ok(version);
            }
            self.make().await?;
        }
        while let Some(entry) = self.entry(version.number.map_or(0, |number| number + 1)).await? {
            let number = version.number.map_or(0, |number| number + 1);
            apply(self.definition, &mut version, number, entry.actions).with_context(|| self.at(number))?;
        }
        self.widen(version).await
    }

    async fn load_from_checkpoint(&self) -> Result<Version> {
        let log = self.log();
        let context = || format!("reading the log of {}", self.definition.name);
        let state = DeltaTableState::try_new(log.as_ref(), None).await.with_context(context)?;
        check_protocol(state.protocol())?;
        let mut version = Version { number: Some(state.version()), metadata: Some(state.metadata().clone()), ..Version::default() };
        for file in state.log_data().iter() {
            let partition = file.partition_values_map();
            let live = live_file(self.definition, &file.path(), file.size(), &partition, file.stats().as_deref());
            version.files.insert(live.path.clone(), Arc::new(live));
        }
        for name in self.definition.transactions {
            if let Some(reached) = state.transaction_version(log.as_ref(), name).await.with_context(context)? {
                version.transactions.insert((*name).to_owned(), reached);
            }
        }
        self.widen(version).await
    }

    fn log(&self) -> LogStoreRef {
        let root = self.place.root().clone();
        let prefixed = Arc::new(PrefixStore::new(root.clone(), self.place.prefix().clone()));
        default_logstore(prefixed, root, self.place.url(), &StorageConfig::default())
    }

    fn at(&self, number: u64) -> String {
        format!("version {number} of {}", self.definition.name)
    }

    /// The version that the last checkpoint stands for.
    async fn checkpointed(&self) -> Result<Option<u64>> {
        self.hint().await?.map(|hint| summed_up_to(&hint)).transpose()
    }

    /// What says which checkpoint is the last.
    pub(crate) async fn hint(&self) -> Result<Option<Bytes>> {
        self.place.read(HINT).await
    }

    /// What of its log a version needs: the checkpoint that is said to be the last, and all entries that are still there, which
    /// are read by those who ask what was changed.
    pub(crate) async fn log_up_to(&self, version: &Version, hint: Option<&Bytes>) -> Result<Vec<Listed>> {
        let Some(last) = version.number else { return Ok(Vec::new()) };
        let summed_up = hint.map(|hint| summed_up_to(hint)).transpose()?;
        let mut log = self.place.list("_delta_log").await?;
        let number = |name: &str| name.rsplit('/').next()?.split('.').next()?.parse::<u64>().ok();
        log.retain(|file| match number(&file.name) {
            Some(number) if file.name.ends_with(".json") => number <= last,
            Some(number) => file.name.contains(".checkpoint") && Some(number) == summed_up,
            None => false,
        });
        let there = log.iter().filter(|file| file.name.ends_with(".json")).filter_map(|file| number(&file.name)).collect::<BTreeSet<_>>();
        let needed = summed_up.map_or(0, |number| number + 1)..=last;
        match needed.clone().find(|number| !there.contains(number)) {
            Some(lacking) => bail!("{} is not in the log any more: somebody deletes entries of it", self.at(lacking)),
            None => Ok(log),
        }
    }

    /// What the commit of that number did; None if there is none, or it was summed up and deleted.
    pub(crate) async fn entry(&self, number: u64) -> Result<Option<Entry>> {
        let Some(bytes) = self.place.read(&entry_name(number)).await? else { return Ok(None) };
        let actions: Result<Vec<Action>, _> = serde_json::Deserializer::from_slice(&bytes).into_iter().collect();
        let actions = actions.with_context(|| self.at(number))?;
        let mut entry =
            Entry { added: Vec::new(), removed: Vec::new(), changed_rows: false, time: None, touched: None, actions: Vec::new() };
        for action in &actions {
            match action {
                Action::Add(add) => {
                    entry.changed_rows |= add.data_change;
                    entry.added.push(Arc::new(live_file_of(self.definition, add)));
                }
                Action::Remove(remove) => {
                    entry.changed_rows |= remove.data_change;
                    entry.removed.push(remove.path.clone());
                }
                Action::CommitInfo(info) => {
                    entry.time = info.timestamp.map(|milliseconds| milliseconds * 1000);
                    entry.touched = info.info.get(OUR_INFO).and_then(|ours| FeedDays::of_json(ours.get("touched")?));
                }
                _ => {}
            }
        }
        entry.actions = actions;
        Ok(Some(entry))
    }

    /// The commits after one version up to another; None if the log no longer has them all.
    pub(crate) async fn entries(&self, after: u64, up_to: u64) -> Result<Option<Vec<Entry>>> {
        let mut entries = Vec::new();
        for number in after + 1..=up_to {
            match self.entry(number).await? {
                Some(entry) => entries.push(entry),
                None => return Ok(None),
            }
        }
        Ok(Some(entries))
    }

    /// Makes `change` the version that follows `base`, or does nothing and gives None if another already does.
    pub(crate) async fn commit(&self, base: &Arc<Version>, change: Change) -> Result<Option<Arc<Version>>> {
        let number = base.number.filter(|_| self.writable).ok_or_else(|| anyhow!("the store is open for reading only"))? + 1;
        let actions = self.actions(base, &change);
        self.place.sync(change.add.iter().map(|file| file.path.clone()).collect()).await?;
        if !self.put_entry(number, &actions).await? {
            return Ok(None);
        }
        // An entry can be put into the past, where the log was cut while we worked: nobody reads it there.
        if self.checkpointed().await?.is_some_and(|summed_up| summed_up >= number) {
            self.place.delete(&entry_name(number)).await?;
            return Ok(None);
        }
        let mut version = Version::clone(base);
        apply(self.definition, &mut version, number, actions)?;
        let version = Arc::new(version);
        let mut latest = self.latest.lock().await;
        if latest.as_ref().is_none_or(|latest| latest.number < Some(number)) {
            *latest = Some(version.clone());
        }
        drop(latest);
        if number % CHECKPOINT_EVERY == 0 {
            // The commit stands whatever becomes of the summary; the next one will do.
            if let Err(error) = self.checkpoint().await {
                tracing::warn!(
                    table = self.definition.name,
                    version = number,
                    error = format!("{error:#}"),
                    "no checkpoint could be written"
                );
            }
        }
        Ok(Some(version))
    }

    /// False if the version is taken by another's commit.
    async fn put_entry(&self, number: u64, actions: &[Action]) -> Result<bool> {
        let lines: Result<Vec<String>, _> = actions.iter().map(serde_json::to_string).collect();
        let bytes = Bytes::from(lines?.join("\n"));
        let put = self.place.put_if_absent(&entry_name(number), bytes.clone()).await;
        if let Ok(true) = put {
            return Ok(true);
        }
        // A request whose answer was lost is sent again by the client and then finds its own object. Every
        // entry differs from every other, by the names of its files or its mark.
        match self.place.read(&entry_name(number)).await {
            Ok(Some(there)) if there == bytes => Ok(true),
            _ => put.with_context(|| self.at(number)),
        }
    }

    fn actions(&self, base: &Version, change: &Change) -> Vec<Action> {
        let milliseconds = change.now / 1000;
        let ours = json!({ "touched": change.touched.json(), "mark": crate::unique_name() });
        let mut actions = vec![Action::CommitInfo(CommitInfo {
            timestamp: Some(milliseconds),
            operation: Some(change.operation.to_owned()),
            operation_parameters: Some(HashMap::from([("mode".to_owned(), json!("Append"))])),
            read_version: base.number,
            isolation_level: Some(IsolationLevel::Serializable),
            is_blind_append: Some(false),
            engine_info: Some(concat!("waglan/", env!("CARGO_PKG_VERSION")).to_owned()),
            info: HashMap::from([(OUR_INFO.to_owned(), ours)]),
            ..CommitInfo::default()
        })];
        actions.extend(change.remove.iter().map(|file| {
            Action::Remove(Remove {
                path: file.path.clone(),
                data_change: !change.same_rows,
                deletion_timestamp: Some(milliseconds),
                extended_file_metadata: Some(true),
                partition_values: Some(partition_values(file.month.as_deref())),
                size: Some(file.size as i64),
                ..Remove::default()
            })
        }));
        actions.extend(change.add.iter().map(|file| {
            Action::Add(Add {
                path: file.path.clone(),
                partition_values: partition_values(file.month.as_deref()),
                size: file.size as i64,
                modification_time: milliseconds,
                data_change: !change.same_rows,
                stats: Some(stats(self.definition, file).to_string()),
                ..Add::default()
            })
        }));
        actions.extend(change.transaction.map(|(name, reached)| Action::Txn(Transaction::new(name, reached))));
        actions
    }

    /// Sums up the log, so that opening the table reads few entries.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        let mut table = DeltaTable::new(self.log());
        table.load().await?;
        create_checkpoint(&table, None).await?;
        Ok(())
    }

    /// Deletes entries that a checkpoint stands for and that were written before `cutoff`.
    pub(crate) async fn cut_log(&self, cutoff: Micros) -> Result<usize> {
        let Some(summed_up) = self.checkpointed().await? else { return Ok(0) };
        // The library prints the time that it is given, and panics on one beyond the calendar.
        let milliseconds = (cutoff / 1000).clamp(0, LAST_MILLISECOND);
        Ok(cleanup_expired_logs_for(summed_up, self.log().as_ref(), milliseconds, None).await?)
    }

    async fn make(&self) -> Result<()> {
        let schema = delta_schema(&(self.definition.schema)())?;
        // Our statistics are written by hand; other engines that write should keep to as few.
        let configuration = json!({
            "delta.dataSkippingStatsColumns": stats_columns(self.definition).join(","),
            "delta.logRetentionDuration": "interval 7 days",
            "delta.checkpointInterval": CHECKPOINT_EVERY.to_string(),
        });
        let partition: &[&str] = if self.definition.by_month { &[MONTH] } else { &[] };
        let metadata: Metadata = serde_json::from_value(json!({
            "id": crate::unique_name(),
            "name": self.definition.name,
            "format": { "provider": "parquet", "options": {} },
            "schemaString": serde_json::to_string(&schema)?,
            "partitionColumns": partition,
            "configuration": configuration,
        }))?;
        let protocol: Protocol = serde_json::from_value(json!({ "minReaderVersion": READER, "minWriterVersion": WRITER }))?;
        // If another process makes it at the same time, its table is as good.
        self.put_entry(0, &[Action::Protocol(protocol), Action::Metadata(metadata)]).await?;
        Ok(())
    }

    /// Adds the columns that the program has learned since the table was made.
    async fn widen(&self, mut version: Version) -> Result<Version> {
        if !self.writable {
            return Ok(version);
        }
        loop {
            let metadata = version.metadata.clone().ok_or_else(|| anyhow!("the log of {} has no metadata", self.definition.name))?;
            let mut value = serde_json::to_value(&metadata)?;
            let schema: Value =
                serde_json::from_str(value["schemaString"].as_str().unwrap_or_default()).context("reading the table's schema")?;
            let Some(wider) = wider_schema(schema, &(self.definition.schema)())? else { break };
            value["schemaString"] = Value::String(wider.to_string());
            let number = version.number.map_or(0, |number| number + 1);
            let actions = vec![Action::Metadata(serde_json::from_value(value)?)];
            // Whether ours or another's, the entry is there now, and says what the columns are.
            self.put_entry(number, &actions).await?;
            let entry = self.entry(number).await?.ok_or_else(|| anyhow!("{} has vanished", self.at(number)))?;
            apply(self.definition, &mut version, number, entry.actions)?;
        }
        Ok(version)
    }
}

/// The end of the year 9999.
const LAST_MILLISECOND: i64 = 253_402_300_799_999;

/// What says which checkpoint is the last.
pub(crate) const HINT: &str = "_delta_log/_last_checkpoint";

fn summed_up_to(hint: &[u8]) -> Result<u64> {
    #[derive(Deserialize)]
    struct Hint {
        version: u64,
    }
    serde_json::from_slice::<Hint>(hint).map(|hint| hint.version).context("reading _last_checkpoint")
}

/// Our part of an entry's commitInfo.
const OUR_INFO: &str = "waglan";

/// The oldest protocol that any engine knows: no feature of a newer one is needed.
const READER: i32 = 1;
const WRITER: i32 = 2;

fn entry_name(number: u64) -> String {
    format!("_delta_log/{number:020}.json")
}

fn check_protocol(protocol: &Protocol) -> Result<()> {
    let value = serde_json::to_value(protocol)?;
    if value["minReaderVersion"].as_i64() > Some(READER.into()) || value["minWriterVersion"].as_i64() > Some(WRITER.into()) {
        bail!("the table was given features by another engine that this program does not know ({value})");
    }
    Ok(())
}

fn apply(definition: &Definition, version: &mut Version, number: u64, actions: Vec<Action>) -> Result<()> {
    version.number = Some(number);
    // A version's removes come before its adds, whatever their order: a file may not be both.
    for action in &actions {
        if let Action::Remove(remove) = action {
            version.files.remove(&remove.path);
        }
    }
    for action in actions {
        match action {
            Action::Add(add) => {
                let live = live_file_of(definition, &add);
                version.files.insert(live.path.clone(), Arc::new(live));
            }
            Action::Txn(transaction) => {
                version.transactions.insert(transaction.app_id, transaction.version);
            }
            Action::Metadata(metadata) => version.metadata = Some(metadata),
            Action::Protocol(protocol) => check_protocol(&protocol)?,
            _ => {}
        }
    }
    Ok(())
}

fn partition_values(month: Option<&str>) -> HashMap<String, Option<String>> {
    month.map(|month| (MONTH.to_owned(), Some(month.to_owned()))).into_iter().collect()
}

fn live_file_of(definition: &Definition, add: &Add) -> LiveFile {
    live_file(definition, &add.path, add.size, &add.partition_values, add.stats.as_deref())
}

fn live_file(definition: &Definition, path: &str, size: i64, partition: &HashMap<String, Option<String>>, stats: Option<&str>) -> LiveFile {
    let stats: Value = stats.and_then(|stats| serde_json::from_str(stats).ok()).unwrap_or(Value::Null);
    let bound = |side: &str, column: &str| stats[side][column].as_str().map(str::to_owned);
    let bounds = |column: &str| Some((bound("minValues", column)?, bound("maxValues", column)?));
    LiveFile {
        path: path.to_owned(),
        size: size as u64,
        month: partition.get(MONTH).cloned().flatten(),
        rows: stats["numRecords"].as_u64().unwrap_or(0),
        feed: definition.feed.and_then(bounds),
        time: bounds(definition.time).and_then(|(first, last)| Some((time_of(&first)?, time_of(&last)?))),
    }
}

/// A time or a day as statistics have it.
fn time_of(text: &str) -> Option<Micros> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_micros())
        .ok()
        .or_else(|| text.parse::<chrono::NaiveDate>().ok().map(|day| Micros::from(day.to_epoch_days()) * time::DAY))
}

fn stats_columns(definition: &Definition) -> Vec<&'static str> {
    definition.feed.into_iter().chain([definition.time]).collect()
}

/// Statistics as the protocol has them: times in milliseconds, rounded outwards.
fn stats(definition: &Definition, file: &LiveFile) -> Value {
    let is_day =
        (definition.schema)().field_with_name(definition.time).is_ok_and(|field| field.data_type() == &arrow::datatypes::DataType::Date32);
    let time_text = |time: Micros| if is_day { time::day_name(time::day(time)) } else { milliseconds_text(time) };
    let (mut first, mut last) = (json!({}), json!({}));
    if let (Some(column), Some((least, most))) = (definition.feed, &file.feed) {
        first[column] = json!(least);
        last[column] = json!(most);
    }
    if let Some((least, most)) = file.time {
        first[definition.time] = json!(time_text(least));
        let most = if is_day { most } else { most.div_euclid(1000) * 1000 + if most.rem_euclid(1000) > 0 { 1000 } else { 0 } };
        last[definition.time] = json!(time_text(most));
    }
    json!({ "numRecords": file.rows, "minValues": first, "maxValues": last, "nullCount": {} })
}

fn milliseconds_text(time: Micros) -> String {
    DateTime::from_timestamp_micros(time).map_or_else(String::new, |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

fn delta_schema(schema: &Schema) -> Result<StructType> {
    // Nothing is required to be there: an engine that evolves the table may then leave out what it does not know.
    Ok(schema.try_into_kernel()?)
}

/// The schema with our columns that it lacks at its end; None if it lacks none.
fn wider_schema(mut there: Value, ours: &Schema) -> Result<Option<Value>> {
    let known: BTreeSet<String> =
        there["fields"].as_array().into_iter().flatten().filter_map(|field| field["name"].as_str().map(str::to_owned)).collect();
    let lacking: Vec<_> = ours.fields().iter().filter(|field| !known.contains(field.name())).cloned().collect();
    if lacking.is_empty() {
        return Ok(None);
    }
    let added = serde_json::to_value(delta_schema(&Schema::new(lacking))?)?;
    let fields = there["fields"].as_array_mut().ok_or_else(|| anyhow!("the table's schema has no fields"))?;
    fields.extend(added["fields"].as_array().cloned().unwrap_or_default());
    Ok(Some(there))
}
