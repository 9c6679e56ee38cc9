//! The store as its callers use it, on a folder of its own for every test.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use event::time::{self, Micros};
use event::{Reject, batch, id};
use store::{
    Access, AppendSettings, Arrival, Compaction, Days, Delivery, Erasing, Erasure, Expiring, Limits, Outcome, Overtaken, Prepared,
    RejectSource, Retained, Retention, Settings, Store, Work, days_of_text, days_text, delivery_id,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

const FEED: &str = "example/sinkhole";
const OTHER: &str = "example/list";
const COLUMNS: &[&str] = &["id", "feed", "provider", "kind", "asset", "time_source", "source_ip", "source_port", "malware_name"];

/// The time of every commit here.
fn now() -> Micros {
    at("2024-01-01 00:00:00")
}

fn at(text: &str) -> Micros {
    time::parse(text).expect("the test's times are times")
}

/// A row: time, address, port, family. It is the same event wherever all four are the same.
type Row = (&'static str, &'static str, i32, &'static str);

fn rows_of(feed: &str, rows: &[Row]) -> RecordBatch {
    let text = |values: Vec<&str>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let ids: Vec<[u8; 16]> = rows.iter().map(|row| blake3_id(&format!("{feed} {row:?}"))).collect();
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(at(row.0))).collect();
    batch::from_columns(
        rows.len(),
        vec![
            ("id", Arc::new(BinaryArray::from_iter_values(ids))),
            ("feed", text(vec![feed; rows.len()])),
            ("provider", text(vec!["example"; rows.len()])),
            ("kind", text(vec!["bot"; rows.len()])),
            ("asset", text(vec!["source.ip"; rows.len()])),
            ("time_source", Arc::new(times.with_timezone("UTC"))),
            ("source_ip", text(rows.iter().map(|row| row.1).collect())),
            ("source_port", Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int32Array>())),
            ("malware_name", text(rows.iter().map(|row| row.3).collect())),
        ],
    )
}

fn blake3_id(text: &str) -> [u8; 16] {
    let name = id::name(text.as_bytes());
    let digit = |place: usize| name.as_bytes().get(place).and_then(|digit| char::from(*digit).to_digit(16)).expect("a name is hexadecimal");
    std::array::from_fn(|place| (digit(place * 2) * 16 + digit(place * 2 + 1)) as u8)
}

/// Many rows of one feed, a second apart, from a number on.
fn many(feed: &str, start: &str, from: i64, count: i64) -> RecordBatch {
    let numbers = from..from + count;
    let ids: Vec<[u8; 16]> = numbers.clone().map(|number| blake3_id(&format!("{feed} {number}"))).collect();
    let times: TimestampMicrosecondArray = numbers.clone().map(|number| Some(at(start) + number * time::SECOND)).collect();
    let addresses: StringArray =
        numbers.map(|number| Some(format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255))).collect();
    let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; count as usize])) };
    batch::from_columns(
        count as usize,
        vec![
            ("id", Arc::new(BinaryArray::from_iter_values(ids))),
            ("feed", same(feed)),
            ("kind", same("bot")),
            ("time_source", Arc::new(times.with_timezone("UTC"))),
            ("source_ip", Arc::new(addresses)),
        ],
    )
}

async fn compress(store: &Store, before: Micros) -> anyhow::Result<usize> {
    store.compress_reports(&store.begin(Work::Upkeep).await?, before).await
}

async fn open(folder: &TempDir) -> Store {
    Store::open(folder.path().to_str().expect("a temporary folder has a plain name"), Settings::default()).await.expect("the store opens")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is room for a temporary folder")
}

/// Appends batches, each list of them by a thread of its own.
async fn append(store: &Store, feed: &str, threads: Vec<Vec<RecordBatch>>) -> Prepared {
    let rows = threads.iter().flatten().map(RecordBatch::num_rows).sum();
    let settings = AppendSettings { feed, expected_rows: rows, columns: COLUMNS, only_days: None };
    let append = store.append(settings).await.expect("an append begins");
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for batches in threads {
                let mut writer = append.writer();
                scope.spawn(move || {
                    for batch in batches {
                        writer.push(batch).expect("a batch is taken");
                    }
                    writer.close().expect("a writer closes");
                });
            }
        })
    });
    append.finish().await.expect("an append ends")
}

async fn store_rows(store: &Store, feed: &str, rows: &[Row]) -> Outcome {
    let prepared = append(store, feed, vec![vec![rows_of(feed, rows)]]).await;
    store.commit(vec![prepared], now()).await.expect("events are committed").outcomes.remove(0)
}

fn erasing() -> Erasing {
    Erasing { by: "officer".into(), reason: "asked to".into(), now: now(), unpack: |_| Ok(None) }
}

fn limits() -> Limits {
    Limits { memory: 64 << 20, time: Duration::from_secs(60), rows: None }
}

/// The answer, a line for each row.
async fn ask(store: &Store, sql: &str) -> Vec<String> {
    let answer = store.query(sql, Vec::new(), &limits()).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"));
    let batches = answer.collect().await.unwrap_or_else(|error| panic!("{sql}: {error:#}"));
    batches.iter().flat_map(lines).collect()
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("every column can be shown")).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ")).collect()
}

const DAY_ONE: &[Row] = &[
    ("2023-02-18 00:00:01", "192.0.2.1", 80, "mirai"),
    ("2023-02-18 00:00:02", "192.0.2.2", 80, "mirai"),
    ("2023-02-18 23:59:59", "2001:db8::1", 443, "qakbot"),
];

const DAY_TWO: &[Row] = &[("2023-02-18 23:59:59", "2001:db8::1", 443, "qakbot"), ("2023-02-19 00:00:00", "192.0.2.1", 80, "mirai")];

const ALL: &str = "select time_source, source_ip, source_port, malware_name from events order by 1, 2";

#[tokio::test(flavor = "multi_thread")]
async fn saying_it_twice_is_saying_it_once() {
    let folder = folder();
    let store = open(&folder).await;
    let first = store_rows(&store, FEED, DAY_ONE).await;
    assert_eq!((first.rows, first.events, first.repeats, days_text(&first.days)), (3, 3, 0, "2023-02-18".into()));
    let again = store_rows(&store, FEED, DAY_ONE).await;
    assert_eq!((again.rows, again.events, again.repeats, days_text(&again.days)), (3, 0, 3, "2023-02-18".into()));
    let next = store_rows(&store, FEED, DAY_TWO).await;
    assert_eq!((next.rows, next.events, next.repeats, days_text(&next.days)), (2, 1, 1, "2023-02-18..2023-02-19".into()));
    let expected = [
        "2023-02-18T00:00:01Z 192.0.2.1 80 mirai",
        "2023-02-18T00:00:02Z 192.0.2.2 80 mirai",
        "2023-02-18T23:59:59Z 2001:db8::1 443 qakbot",
        "2023-02-19T00:00:00Z 192.0.2.1 80 mirai",
    ];
    assert_eq!(ask(&store, ALL).await, expected);
    assert_eq!(ask(&open(&folder).await, ALL).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_feed_says_something_else() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_ONE).await;
    assert_eq!(store_rows(&store, OTHER, DAY_ONE).await.events, 3);
    assert_eq!(
        ask(&store, "select feed, count(*) from events group by feed order by feed").await,
        ["example/list 3", "example/sinkhole 3"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_within_an_append_are_found_across_threads() {
    let folder = folder();
    let store = open(&folder).await;
    let start = "2023-02-18 00:00:00";
    let threads = (0..4).map(|_| (0..10).map(|part| many(FEED, start, part * 5_000, 5_000)).collect()).collect();
    let prepared = append(&store, FEED, threads).await;
    assert_eq!((prepared.rows(), prepared.events()), (200_000, 50_000));
    store.commit(vec![prepared], now()).await.expect("events are committed");
    assert_eq!(ask(&store, "select count(*), count(distinct id) from events").await, ["50000 50000"]);
    // More are held than are kept exactly: the files are read again.
    let settings = Settings { memory_limit: 1 << 20, ..Settings::default() };
    let small = Store::open(folder.path().to_str().expect("plain"), settings).await.expect("the store opens");
    let again = append(&small, FEED, vec![vec![many(FEED, start, 40_000, 20_000)]]).await;
    assert_eq!((again.rows(), again.events()), (20_000, 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_share_a_commit_share_no_event() {
    let folder = folder();
    let store = open(&folder).await;
    let one = append(&store, FEED, vec![vec![rows_of(FEED, DAY_ONE)]]).await;
    let two = append(&store, FEED, vec![vec![rows_of(FEED, DAY_TWO)]]).await;
    let other = append(&store, OTHER, vec![vec![rows_of(OTHER, DAY_TWO)]]).await;
    let committed = store.commit(vec![one, two, other], now()).await.expect("events are committed");
    let events: Vec<_> = committed.outcomes.iter().map(|outcome| (outcome.events, outcome.repeats)).collect();
    assert_eq!((committed.version, events), (1, vec![(3, 0), (1, 1), (2, 0)]));
    assert_eq!(ask(&store, "select feed, count(*) from events group by 1 order by 1").await, ["example/list 2", "example/sinkhole 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_on_one_folder_give_exactly_the_union() {
    let folder = folder();
    let start = "2023-02-18 00:00:00";
    let mut writers = JoinSet::new();
    for writer in 0..2 {
        let store = open(&folder).await;
        writers.spawn(async move {
            let mut events = 0;
            for turn in 0..10 {
                // Each turn overlaps with the last one and with the other writer's.
                let prepared = append(&store, FEED, vec![vec![many(FEED, start, turn * 500 + writer * 250, 1_000)]]).await;
                events += store.commit(vec![prepared], now()).await.expect("events are committed").outcomes[0].events;
            }
            events
        });
    }
    let mut events = 0;
    while let Some(writer) = writers.join_next().await {
        events += writer.expect("no writer dies");
    }
    let store = open(&folder).await;
    assert_eq!(events, 5_750);
    assert_eq!(ask(&store, "select count(*), count(distinct id) from events").await, ["5750 5750"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_is_not_seen() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_ONE).await;
    let prepared = append(&store, FEED, vec![vec![rows_of(FEED, DAY_TWO)]]).await;
    assert_eq!(files(&folder, "events/month=2023-02"), 2);
    assert_eq!(ask(&open(&folder).await, "select count(*) from events").await, ["3"]);
    drop(prepared);
    assert_eq!(files(&folder, "events/month=2023-02"), 1);
    // What a process leaves that is killed in the middle of writing: half a file of rows, half an entry of the log,
    // half a report. Nobody sees them, and they go when they are old.
    let leftovers = ["events/month=2023-02/half.zstd.parquet", "events/_delta_log/.unfinished-entry", ".unfinished-report"];
    for leftover in leftovers {
        std::fs::write(folder.path().join(leftover), b"PAR1 and no more").expect("a file is written");
    }
    assert_eq!(ask(&open(&folder).await, "select count(*) from events").await, ["3"]);
    assert_eq!(store_rows(&store, FEED, DAY_TWO).await.events, 1);
    assert_eq!(store.vacuum(Duration::ZERO, clock()).await.expect("nothing is old").files, 0);
    assert_eq!(store.vacuum(Duration::ZERO, clock() + 2 * time::DAY).await.expect("leftovers are deleted").files, 3);
    assert!(leftovers.iter().all(|leftover| !folder.path().join(leftover).exists()));
    assert_eq!(ask(&open(&folder).await, "select count(*) from events").await, ["4"]);
    let unknown = store.append(AppendSettings { feed: FEED, expected_rows: 1, columns: &["source_ipp"], only_days: None }).await;
    assert_eq!(unknown.expect_err("no such column").to_string(), "events have no column \"source_ipp\"");
}

fn files(folder: &TempDir, under: &str) -> usize {
    std::fs::read_dir(folder.path().join(under)).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_over_years_is_laid_out_by_month() {
    let folder = folder();
    let store = open(&folder).await;
    let rows: Vec<Row> = vec![
        ("2019-12-31 23:59:59", "192.0.2.1", 1, "a"),
        ("2020-01-01 00:00:00", "192.0.2.2", 2, "b"),
        ("2019-12-01 00:00:00", "192.0.2.3", 3, "c"),
        ("1970-01-31 23:59:59", "192.0.2.4", 4, "d"),
    ];
    assert_eq!(store_rows(&store, FEED, &rows).await.events, 4);
    let months = ask(&store, "select month, count(*), min(source_port) from events group by 1 order by 1").await;
    assert_eq!(months, ["1970-01 1 4", "2019-12 2 1", "2020-01 1 2"]);
    assert_eq!(ask(&store, "select source_ip from events where month = '2019-12' and time_source > '2019-12-02'").await, ["192.0.2.1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_columns_are_empty() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_TWO).await;
    let found = ask(&store, "select source_ip, source_url, source_asn, time_observation from events order by time_source").await;
    assert_eq!(found, ["2001:db8::1 - - -", "192.0.2.1 - - -"]);
    let whole = rows_of(FEED, &DAY_ONE[..1]);
    let places: Vec<usize> = ["id", "feed", "time_source"].iter().map(|name| whole.schema().index_of(name).expect("a column")).collect();
    let batch = whole.project(&places).expect("three columns");
    let prepared = append(&store, FEED, vec![vec![batch]]).await;
    store.commit(vec![prepared], now()).await.expect("events are committed");
    assert_eq!(ask(&store, "select count(*), count(source_ip) from events").await, ["3 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_can_be_asked_for() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_ONE).await;
    let within = |network: &str| format!("select source_ip from events where in_network(source_ip, '{network}') order by 1");
    assert_eq!(ask(&store, &within("192.0.2.0/31")).await, ["192.0.2.1"]);
    assert_eq!(ask(&store, &within("192.0.2.0/24")).await, ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(ask(&store, &within("2001:db8::/32")).await, ["2001:db8::1"]);
    assert_eq!(
        ask(&store, "select in_network('192.0.2.1', '192.0.2.1'), in_network('no', '10.0.0.0/8'), length(hex(id)) from events limit 1")
            .await,
        ["true - 32"]
    );
    let wrong = store.query(&within("192.0.2.0/99"), Vec::new(), &limits()).await;
    let wrong = match wrong {
        Ok(answer) => format!("{:#}", answer.collect().await.expect_err("no such network")),
        Err(error) => format!("{error:#}"),
    };
    assert!(wrong.contains("is not a network such as"), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn distinct_texts_are_counted_as_they_are_listed() {
    let folder = folder();
    let store = open(&folder).await;
    let first =
        append(&store, FEED, vec![vec![many(FEED, "2024-01-30", 0, 150_000)], vec![many(FEED, "2024-02-01", 60_000, 90_000)]]).await;
    store.commit(vec![first], now()).await.expect("a commit");
    let long = "a family whose name is longer than a number is";
    let rows = [("2024-02-01 10:00:00", "10.0.0.1", 1, "mirai"), ("2024-02-01 11:00:00", "2001:db8::1234:5678:9abc", 2, long)];
    store_rows(&store, OTHER, &[rows[0], rows[1], ("2024-02-02 10:00:00", "10.0.0.1", 3, long)]).await;

    // What is counted, and the same by listing it.
    let cases = [
        ("select count(distinct source_ip) from events", "select count(*) from (select distinct source_ip from events)"),
        (
            "select count(distinct malware_name), count(distinct id) from events",
            "select * from (select count(*) as names from (select distinct malware_name as name from events) where name is not null), \
             (select count(*) as ids from (select distinct id from events))",
        ),
        (
            "select feed, cast(time_source as date), count(distinct source_ip) from events group by 1, 2 order by 1, 2",
            "select feed, day, count(*) from (select distinct feed, cast(time_source as date) as day, source_ip from events) \
             group by 1, 2 order by 1, 2",
        ),
        (
            "select cast(time_source as date), count(distinct source_ip) filter (where source_port > 1) from events group by 1 order by 1",
            "select day, sum(one) from (select cast(time_source as date) as day, source_ip, max(case when source_port > 1 then 1 else 0 end) \
             as one from events group by 1, 2) group by 1 order by 1",
        ),
        (
            "select source_ip, count(distinct malware_name), count(*) from events group by 1 order by 2 desc, 3 desc, 1 limit 3",
            "select source_ip, count(malware_name), sum(rows) from (select source_ip, malware_name, count(*) as rows from events group by 1, 2) \
             group by 1 order by 2 desc, 3 desc, 1 limit 3",
        ),
        ("select count(distinct source_ip) from events where feed = 'nobody'", "select 0"),
        ("select count(distinct lower(source_ip)) from events", "select count(distinct source_ip) from events"),
    ];
    for (counted, listed) in cases {
        assert_eq!(ask(&store, counted).await, ask(&store, listed).await, "{counted}");
    }
    let sql = "select count(distinct source_ip) from events";
    let answer = store.query(sql, Vec::new(), &limits()).await.expect("a query");
    assert_eq!(answer.schema.field(0).name(), "count(DISTINCT events.source_ip)", "it is called what it is called elsewhere");

    // Where the values are too many for memory they are listed after all, and that goes to disk.
    let little = Limits { memory: 4 << 20, ..limits() };
    let answer = store.query(sql, Vec::new(), &little).await.expect("a query");
    let answer = answer.collect().await.expect("an answer");
    assert_eq!(lines(&answer[0]), ask(&store, sql).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_change_nothing_and_keep_to_their_limits() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_ONE).await;
    let inside = folder.path().join("out.parquet");
    for sql in [
        "delete from events",
        "insert into events select * from events",
        "create table t as select 1",
        "create external table t stored as csv location '/etc/passwd'",
        &format!("copy events to '{}'", inside.display()),
        "set datafusion.execution.batch_size = 1",
        "drop table events",
    ] {
        assert!(store.query(sql, Vec::new(), &limits()).await.is_err(), "{sql}");
    }
    assert!(store.query("select * from '/etc/passwd'", Vec::new(), &limits()).await.is_err());
    let mut two = store.query("select source_ip from events", Vec::new(), &Limits { rows: Some(2), ..limits() }).await.expect("a query");
    let mut rows = 0;
    while let Some(batch) = futures::StreamExt::next(&mut two.batches).await {
        rows += batch.expect("a batch").num_rows();
    }
    assert_eq!((rows, two.was_cut()), (2, true));
    let forever = "select count(*) from generate_series(1, 1000000000) a, generate_series(1, 1000000000) b";
    let late = store.query(forever, Vec::new(), &Limits { time: Duration::from_millis(300), ..limits() }).await;
    let late = match late {
        Ok(answer) => answer.collect().await.expect_err("nobody waits that long"),
        Err(error) => error,
    };
    assert!(late.to_string().contains("took longer than its limit of 0.3 s"), "{late:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_future_is_refused() {
    let folder = folder();
    drop(open(&folder).await);
    std::fs::write(folder.path().join("format"), "waglan store 2\n").expect("a file is written");
    let error = Store::open(folder.path().to_str().expect("plain"), Settings::default()).await.expect_err("the future");
    assert!(format!("{error:#}").contains("its format is 2, and this program knows formats up to 1"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_summed_up() {
    let folder = folder();
    let store = open(&folder).await;
    for turn in 0..70 {
        let prepared = append(&store, FEED, vec![vec![many(FEED, "2023-02-18 00:00:00", turn, 1)]]).await;
        store.commit(vec![prepared], now()).await.expect("events are committed");
    }
    assert!(folder.path().join("events/_delta_log/_last_checkpoint").exists());
    let again = open(&folder).await;
    assert_eq!(ask(&again, "select count(*), min(source_ip), max(source_ip) from events").await, ["70 10.0.0.0 10.0.0.9"]);
    let repeated = append(&again, FEED, vec![vec![many(FEED, "2023-02-18 00:00:00", 0, 71)]]).await;
    assert_eq!(repeated.events(), 1);
}

fn days(text: &str) -> Days {
    days_of_text(text).expect("the test's days are days")
}

/// Reads days of a feed again, as if its report now said this.
async fn reread(store: &Store, feed: &str, of: &str, rows: &[Row]) -> anyhow::Result<Outcome> {
    let only = days(of);
    let append = store.append(AppendSettings { feed, expected_rows: rows.len(), columns: COLUMNS, only_days: Some(&only) }).await?;
    let mut writer = append.writer();
    tokio::task::block_in_place(|| writer.push(rows_of(feed, rows)).and_then(|()| writer.close()))?;
    let prepared = append.finish().await?;
    Ok(store.replace_days(feed, &only, prepared, HashSet::new(), now()).await?.outcomes.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_again_replaces_whole_days_of_one_feed() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_ONE).await;
    store_rows(&store, FEED, DAY_TWO).await;
    store_rows(&store, OTHER, DAY_ONE).await;
    let mended: &[Row] = &[
        ("2023-02-18 00:00:01", "192.0.2.1", 80, "mirai.b"),
        ("2023-02-18 00:00:01", "192.0.2.1", 80, "mirai.b"),
        ("2023-02-19 00:00:00", "192.0.2.1", 80, "mirai.b"),
    ];
    let outcome = reread(&store, FEED, "2023-02-18", mended).await.expect("days are replaced");
    assert_eq!((outcome.rows, outcome.events, outcome.repeats, outcome.other_days), (3, 1, 1, 1));
    let all = "select feed, time_source, source_ip, malware_name from events order by 1, 2";
    assert_eq!(
        ask(&store, all).await,
        [
            "example/list 2023-02-18T00:00:01Z 192.0.2.1 mirai",
            "example/list 2023-02-18T00:00:02Z 192.0.2.2 mirai",
            "example/list 2023-02-18T23:59:59Z 2001:db8::1 qakbot",
            "example/sinkhole 2023-02-18T00:00:01Z 192.0.2.1 mirai.b",
            "example/sinkhole 2023-02-19T00:00:00Z 192.0.2.1 mirai",
        ]
    );
    // A day of which nothing is left is empty.
    reread(&store, FEED, "2023-02-18..2023-02-19", &[]).await.expect("days are emptied");
    assert_eq!(ask(&store, "select feed, count(*) from events group by 1").await, ["example/list 3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_overtaken_is_told() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_ONE).await;
    let waiting = append(&store, FEED, vec![vec![rows_of(FEED, DAY_TWO)]]).await;
    let elsewhere = append(&store, OTHER, vec![vec![rows_of(OTHER, DAY_TWO)]]).await;
    reread(&store, FEED, "2023-02-18", &DAY_ONE[..1]).await.expect("days are replaced");
    let refused = store.commit(vec![waiting], now()).await.expect_err("the day it was compared with is another one now");
    assert!(refused.is::<Overtaken>(), "{refused:#}");
    store.commit(vec![elsewhere], now()).await.expect("another feed is not concerned");
    // The other way round: an append that comes while days are read again.
    let only = days("2023-02-18");
    let append_again =
        store.append(AppendSettings { feed: FEED, expected_rows: 1, columns: COLUMNS, only_days: Some(&only) }).await.expect("an append");
    store_rows(&store, FEED, DAY_ONE).await;
    let prepared = append_again.finish().await.expect("an append ends");
    let refused = store.replace_days(FEED, &only, prepared, HashSet::new(), now()).await.expect_err("it would lose what came meanwhile");
    assert!(refused.is::<Overtaken>(), "{refused:#}");
    assert_eq!(ask(&store, "select count(*) from events where feed = 'example/sinkhole'").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_kept_as_they_came() {
    let folder = folder();
    let store = open(&folder).await;
    let report: Vec<u8> = (0..300_000_u32).flat_map(|number| format!("{},192.0.2.{}\n", number / 9, number % 256).into_bytes()).collect();
    let mark = store.put_report(&mut report.as_slice()).expect("a report is kept");
    assert_eq!((mark.id.as_str(), mark.size), (id::name(&report).as_str(), report.len() as u64));
    assert_eq!(store.put_report(&mut report.as_slice()).expect("a report is kept"), mark);
    let read = || {
        let mut bytes = Vec::new();
        store.open_report(&mark.id).expect("it is kept").read_to_end(&mut bytes).expect("it is read");
        bytes
    };
    assert!(read() == report);
    store.settle_report(&mark.id).await.expect("it settles");
    assert!(store.report_path(&mark.id).is_some());
    assert_eq!(compress(&store, 0).await.expect("nothing is that old"), 0);
    assert_eq!(compress(&store, i64::MAX).await.expect("reports are compressed"), 1);
    assert_eq!(compress(&store, i64::MAX).await.expect("reports are compressed"), 0);
    assert!(store.report_path(&mark.id).is_none());
    assert!(read() == report);
    assert_eq!(store.put_report(&mut report.as_slice()).expect("a report is kept"), mark);
    assert!(store.report_path(&mark.id).is_none());
    let absent = store.open_report("00000000000000000000000000000000").map(|_| ()).expect_err("no such report");
    assert!(format!("{absent:#}").contains("it is not kept"), "{absent:#}");
    assert!(store.open_report("../../../etc/passwd").is_err());
}

/// So that packing it takes a while.
fn long_report() -> Vec<u8> {
    (0..2_000_000_u32).flat_map(|number| format!("{},{}\n", number.wrapping_mul(2_654_435_761), number % 251).into_bytes()).collect()
}

fn kept(store: &Store, id: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::task::block_in_place(|| Ok(store.open_report(id)?.read_to_end(&mut bytes)?));
    read.map(|_: usize| bytes).unwrap_or_else(|error: anyhow::Error| panic!("{error:#}"))
}

/// Keeps a report, and begins to pack it; whoever waits for that goes away. Says what is kept, and where.
async fn cut_short(store: &Arc<Store>, folder: &TempDir, report: &[u8]) -> (String, PathBuf) {
    let id = tokio::task::block_in_place(|| store.put_report(&mut &*report)).expect("a report is kept").id;
    store.settle_report(&id).await.expect("it settles");
    let beside = folder.path().join("reports").join(id.split_at(2).0);
    let its_store = store.clone();
    let mut packing = JoinSet::from_iter([async move { compress(&its_store, i64::MAX).await }]);
    while !is_being_packed(&beside) {
        tokio::task::yield_now().await;
    }
    packing.abort_all();
    assert!(packing.join_next().await.expect("one is at work").expect_err("it takes longer").is_cancelled());
    (id, beside)
}

fn is_being_packed(folder: &Path) -> bool {
    let mut listed = std::fs::read_dir(folder).expect("there");
    listed.any(|entry| entry.expect("there").file_name().to_string_lossy().starts_with(".unfinished-"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_there_though_its_packing_was_cut_short_and_begun_again() {
    let folder = folder();
    let store = Arc::new(open(&folder).await);
    let report = long_report();
    let (id, _) = cut_short(&store, &folder, &report).await;
    compress(&store, i64::MAX).await.expect("reports are compressed");
    assert!(kept(&store, &id) == report);
    assert!(store.report_path(&id).is_none(), "it is packed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_was_erased_does_not_come_back_from_a_packing_that_was_cut_short() {
    let folder = folder();
    let store = Arc::new(open(&folder).await);
    let (id, beside) = cut_short(&store, &folder, &long_report()).await;
    let _at_work = store.begin(Work::Erasure).await.expect("the others end");
    store.delete_report(&id).await.expect("it is deleted");
    while is_being_packed(&beside) {
        tokio::task::yield_now().await;
    }
    assert!(!store.has_report(&id).await.expect("it is looked for"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_there_though_two_have_packed_it() {
    // In a bucket nobody waits for others.
    let store = Store::open("memory:///somewhere", Settings::default()).await.expect("the store opens");
    let report = long_report();
    let mark = tokio::task::block_in_place(|| store.put_report(&mut report.as_slice())).expect("a report is kept");
    let (one, other) = tokio::join!(compress(&store, i64::MAX), compress(&store, i64::MAX));
    assert!(one.expect("reports are compressed") + other.expect("reports are compressed") > 0);
    assert!(kept(&store, &mark.id) == report);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_finds_what_a_dead_process_left() {
    let folder = folder();
    let (dead, alive) = (open(&folder).await, open(&folder).await);
    let arrival = |id: &str| Arrival {
        id: id.into(),
        feed: FEED.into(),
        provider: "example".into(),
        time: now(),
        origin: "file".into(),
        report_id: "0".repeat(32),
        size: 3,
        table_version: "1".into(),
        tables: "0".repeat(32),
        owner: String::new(),
    };
    dead.put_arrival(&arrival("b")).await.expect("an arrival is put down");
    dead.put_arrival(&arrival("a")).await.expect("an arrival is put down");
    alive.put_arrival(&arrival("c")).await.expect("an arrival is put down");
    let starting = open(&folder).await;
    let found = |arrivals: Vec<Arrival>| arrivals.into_iter().map(|arrival| arrival.id).collect::<Vec<_>>();
    assert_eq!(found(starting.take_abandoned_arrivals(now()).await.expect("arrivals are listed")), Vec::<String>::new());
    drop(dead);
    assert_eq!(found(starting.take_abandoned_arrivals(now()).await.expect("arrivals are listed")), ["a", "b"]);
    assert_eq!(found(starting.take_abandoned_arrivals(now()).await.expect("arrivals are listed")), Vec::<String>::new());
    starting.remove_arrival("a").await.expect("it is done");
    starting.remove_arrival("a").await.expect("it is done");
    assert_eq!(found(starting.arrivals().await.expect("arrivals are listed")), ["b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_and_rejects_are_recorded_once() {
    let folder = folder();
    let store = open(&folder).await;
    let report_id = "0123456789abcdef0123456789abcdef";
    let delivery = |time: &str| Delivery {
        id: delivery_id(FEED, at(time), report_id),
        feed: FEED.into(),
        time: at(time),
        report_id: report_id.into(),
        rows: 5,
        rejects: 2,
        days: days("2023-02-17..2023-02-18,2023-03-01"),
        drift: Some("the column \"port\" is gone".into()),
        ..Delivery::default()
    };
    let (one, two) = (delivery("2023-02-18 12:00:00"), delivery("2023-02-19 12:00:00"));
    assert_eq!(store.record_deliveries(std::slice::from_ref(&one), now()).await.expect("a delivery is recorded"), 1);
    assert_eq!(store.record_deliveries(&[two.clone(), one.clone(), two.clone()], now()).await.expect("a delivery is recorded"), 1);
    assert_eq!(store.deliveries(Some(FEED)).await.expect("deliveries are read"), [one.clone(), two]);
    assert_eq!(store.deliveries(Some(OTHER)).await.expect("deliveries are read"), []);
    assert_eq!(ask(&store, "select id, time, deliveries from reports").await, [format!("{report_id} 2023-02-18T12:00:00Z 2")]);

    let reject = |line, reason: &str| Reject::new(line, Some("ip"), reason, b"2023-02-18,no");
    let write = |rejects: &[Reject]| {
        let source = RejectSource { delivery_id: one.id.clone(), feed: FEED.into(), time: one.time, report_id: report_id.into() };
        let mut writer = store.rejects(source);
        writer.push(rejects).expect("rejects are taken");
        writer.finish().expect("rejects are written")
    };
    let first = [reject(2, "\"no\": not an IP address"), reject(7, "\"no\": not an IP address")];
    store.commit_rejects(vec![write(&first), write(&[])], now()).await.expect("rejects are recorded");
    store.commit_rejects(vec![write(&first)], now()).await.expect("rejects are recorded");
    let all = "select feed, line, \"column\", reason, raw from rejects order by line";
    assert_eq!(
        ask(&store, all).await,
        ["example/sinkhole 2 ip \"no\": not an IP address 2023-02-18,no", "example/sinkhole 7 ip \"no\": not an IP address 2023-02-18,no",]
    );
    let again = write(&[reject(7, "still wrong")]);
    store.replace_rejects(vec![again], now()).await.expect("rejects are replaced");
    assert_eq!(ask(&store, "select line, reason from rejects").await, ["7 still wrong"]);
}

const SIGHTINGS: &str = "select feed, day, asset, identifier, first, last, count from sightings order by 1, 2, 3, 4";

#[tokio::test(flavor = "multi_thread")]
async fn sightings_brought_up_to_date_are_sightings_counted_anew() {
    let folder = folder();
    let store = open(&folder).await;
    let is_context = |feed: &str| feed == "example/context";
    store_rows(&store, FEED, DAY_ONE).await;
    store_rows(&store, "example/context", DAY_ONE).await;
    let counted = store.refresh_sightings(is_context, now()).await.expect("sightings are counted");
    assert_eq!(
        counted.0.into_iter().map(|(feed, days)| format!("{feed} {}", days_text(&days))).collect::<Vec<_>>(),
        ["example/sinkhole 2023-02-18"]
    );
    assert_eq!(store.refresh_sightings(is_context, now()).await.expect("nothing is new").0.len(), 0);
    store_rows(&store, FEED, DAY_TWO).await;
    store_rows(&store, FEED, &[("2023-02-18 12:00:00", "192.0.2.1", 4711, "mirai"), ("2023-03-01 00:00:00", "192.0.2.1", 80, "mirai")])
        .await;
    store_rows(&store, OTHER, &DAY_ONE[..1]).await;
    store.refresh_sightings(is_context, now()).await.expect("sightings are counted");
    let expected = [
        "example/list 2023-02-18 192.0.2.1 mirai 2023-02-18T00:00:01Z 2023-02-18T00:00:01Z 1",
        "example/sinkhole 2023-02-18 192.0.2.1 mirai 2023-02-18T00:00:01Z 2023-02-18T12:00:00Z 2",
        "example/sinkhole 2023-02-18 192.0.2.2 mirai 2023-02-18T00:00:02Z 2023-02-18T00:00:02Z 1",
        "example/sinkhole 2023-02-18 2001:db8::1 qakbot 2023-02-18T23:59:59Z 2023-02-18T23:59:59Z 1",
        "example/sinkhole 2023-02-19 192.0.2.1 mirai 2023-02-19T00:00:00Z 2023-02-19T00:00:00Z 1",
        "example/sinkhole 2023-03-01 192.0.2.1 mirai 2023-03-01T00:00:00Z 2023-03-01T00:00:00Z 1",
    ];
    assert_eq!(ask(&store, SIGHTINGS).await, expected);
    // One machine with one infection is one key, whoever sees it and whenever.
    assert_eq!(
        ask(&store, "select asset, count(distinct key), count(distinct feed) from sightings group by 1 order by 1").await,
        ["192.0.2.1 1 2", "192.0.2.2 1 1", "2001:db8::1 1 1",]
    );
    let version =
        ask(&store, "select key, feed, kind, asset, port, identifier, day, first, last, count, in_scope from sightings order by 1, 2, 7")
            .await;
    store.rebuild_sightings(is_context, now()).await.expect("sightings are counted anew");
    assert_eq!(
        ask(&store, "select key, feed, kind, asset, port, identifier, day, first, last, count, in_scope from sightings order by 1, 2, 7")
            .await,
        version
    );
    reread(&store, FEED, "2023-02-18", &DAY_ONE[2..]).await.expect("days are replaced");
    store.refresh_sightings(is_context, now()).await.expect("sightings are counted");
    let left: Vec<&str> = expected.iter().copied().filter(|line| !line.starts_with("example/sinkhole 2023-02-18 192")).collect();
    assert_eq!(ask(&store, SIGHTINGS).await, left);
}

#[tokio::test(flavor = "multi_thread")]
async fn merging_files_changes_their_number_and_nothing_else() {
    let folder = folder();
    let store = open(&folder).await;
    for turn in 0..40 {
        let feed = if turn % 2 == 0 { FEED } else { OTHER };
        let mut prepared = Vec::new();
        prepared.push(append(&store, feed, vec![vec![many(feed, "2023-02-18 00:00:00", (40 - turn) * 100, 200)]]).await);
        prepared.push(append(&store, feed, vec![vec![rows_of(feed, &DAY_ONE[..1])]]).await);
        store.commit(prepared, now()).await.expect("events are committed");
    }
    let all = "select feed, time_source, source_ip, source_port, hex(id) from events order by 1, 2, 3";
    let before = ask(&store, all).await;
    assert_eq!(before.len(), 2 * (39 * 100 + 100 + 1));
    assert!(store.needs_compaction(Compaction::AS_IT_GOES).await.expect("files are counted"));
    let merged = store.compact(Compaction::AS_IT_GOES, now()).await.expect("files are merged");
    assert_eq!((merged.files_before, merged.files_after, merged.rows), (42, 1, before.len() as u64));
    assert!(!store.needs_compaction(Compaction::AS_IT_GOES).await.expect("files are counted"));
    assert!(ask(&store, all).await == before);
    assert!(ask(&open(&folder).await, all).await == before);
    // Within a file rows are sorted, and what it holds is still known.
    let in_order = ask(&store, "select feed, time_source from events").await;
    assert_eq!(in_order.iter().zip(&in_order[1..]).find(|(one, next)| one > next), None);
    assert_eq!(append(&store, FEED, vec![vec![many(FEED, "2023-02-18 00:00:00", 0, 5_000)]]).await.events(), 5_000 - 4_000);
    // The old files go once nobody can still be reading them.
    let days_later = time::Micros::from(time::DAY) * 3;
    let clock = clock();
    assert_eq!(store.vacuum(Duration::from_secs(86_400), now()).await.expect("nothing is old").files, 0);
    let gone = store.vacuum(Duration::from_secs(86_400), clock + days_later).await.expect("old files are deleted");
    assert_eq!((gone.files, files(&folder, "events/month=2023-02")), (42, 1));
    assert!(ask(&store, all).await == before);
}

/// The file system's own time, which no argument can set.
#[expect(clippy::disallowed_methods, reason = "it is compared with what the file system noted")]
fn clock() -> Micros {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    now.as_micros() as Micros
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_is_taken_out_and_its_sightings_stay() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_ONE).await;
    store_rows(&store, FEED, DAY_TWO).await;
    store_rows(&store, OTHER, DAY_TWO).await;
    store.refresh_sightings(|_| false, now()).await.expect("sightings are counted");
    let sightings = ask(&store, SIGHTINGS).await;
    let rule = |feed: &str, what, days| Retention { feed: feed.into(), what, in_rows: true, is_asset: false, is_counted_by: true, days };
    let rules = [rule(FEED, Expiring::Row, 1), rule(OTHER, Expiring::Column("malware_name".into()), 1)];
    let touched = store.retain(&rules, at("2023-02-20 12:00:00")).await.expect("rules are applied");
    assert_eq!(touched, Retained { events: 3 + 1, ..Retained::default() });
    assert_eq!(store.retain(&rules, at("2023-02-20 12:00:00")).await.expect("rules are applied"), Retained::default());
    assert_eq!(
        ask(&store, "select feed, time_source, malware_name from events order by 1, 2").await,
        ["example/list 2023-02-18T23:59:59Z -", "example/list 2023-02-19T00:00:00Z mirai", "example/sinkhole 2023-02-19T00:00:00Z mirai",]
    );
    store.refresh_sightings(|_| false, now()).await.expect("sightings are counted");
    assert_eq!(ask(&store, SIGHTINGS).await, sightings);
    store.rebuild_sightings(|_| false, now()).await.expect("sightings are counted");
    assert_eq!(ask(&store, SIGHTINGS).await, sightings);
    let refused = reread(&store, FEED, "2023-02-18", DAY_ONE).await.expect_err("its report may be gone");
    assert_eq!(refused.to_string(), "2023-02-18 of example/sinkhole has expired and cannot be read again; days from 2023-02-19 on can");
}

/// Erases a person, and every file that held what was said.
async fn erase_person(store: &Store, value: &str) -> Erasure {
    let at_work = store.begin(Work::Upkeep).await.expect("nobody else is at work");
    let done = store.erase_person(&[value.to_owned()], &erasing()).await.expect("a person is erased");
    store.forget(&at_work, now()).await.expect("files are deleted");
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_does_not_come_back() {
    let folder = folder();
    let store = open(&folder).await;
    let text = "2023-02-18 00:00:01,192.0.2.1,80,mirai\n2023-02-18 00:00:02,192.0.2.10,80,mirai\n";
    let report = store.put_report(&mut text.as_bytes()).expect("a report is kept").id;
    let rows: &[Row] = &[("2023-02-18 00:00:01", "192.0.2.1", 80, "mirai"), ("2023-02-18 00:00:02", "192.0.2.10", 80, "mirai")];
    let said = |report: &str| {
        let reports: StringArray = rows.iter().map(|_| Some(report)).collect();
        batch::with_columns(&rows_of(FEED, rows), vec![("report_id", Arc::new(reports))])
    };
    let say = async |report: &str| {
        let columns: Vec<&str> = COLUMNS.iter().copied().chain(["report_id"]).collect();
        let append = store
            .append(AppendSettings { feed: FEED, expected_rows: 2, columns: &columns, only_days: None })
            .await
            .expect("an append begins");
        let mut writer = append.writer();
        writer.push(said(report)).expect("a batch is taken");
        writer.close().expect("a writer closes");
        let prepared = append.finish().await.expect("an append ends");
        store.commit(vec![prepared], now()).await.expect("events are committed").outcomes.remove(0)
    };
    say(&report).await;
    store.refresh_sightings(|_| false, now()).await.expect("sightings are counted");

    let done = erase_person(&store, "192.0.2.1").await;
    assert_eq!((done.events, done.sightings, done.reports), (1, 1, 1));
    assert_eq!(ask(&store, "select source_ip from events").await, ["192.0.2.10"]);
    assert_eq!(ask(&store, "select asset from sightings").await, ["192.0.2.10"]);
    let kept = std::fs::read_to_string(store.report_path(&report).expect("it is kept")).expect("it is read");
    assert_eq!(kept, "2023-02-18 00:00:01,xxerasedxx,80,mirai\n2023-02-18 00:00:02,192.0.2.10,80,mirai\n");
    let again = say(&report).await;
    assert_eq!((again.events, again.repeats, again.erased), (0, 1, 1));
    // No file and no entry of the log still has it.
    assert_eq!(files(&folder, "events/month=2023-02"), 1);
    assert!(!folder.path().join("events/_delta_log/00000000000000000001.json").exists());
    assert_eq!(ask(&open(&folder).await, "select source_ip from events").await, ["192.0.2.10"]);

    assert!(store.record_erasure(&"0".repeat(32), &erasing()).await.is_err(), "nothing is known of it");
    store.record_erasure(&report, &erasing()).await.expect("an erasure is recorded");
    let done = store.erase_report(&report, &erasing()).await.expect("a report is erased");
    assert_eq!((done.events, done.reports), (1, 1));
    assert!(store.is_erased(&report).await.expect("erasures are read") && store.open_report(&report).is_err());
    assert_eq!(say(&report).await.erased, 2);
    assert_eq!(say("00000000000000000000000000000000").await.events, 1);
    let records = "select what, count(*), count(event_id), min(\"by\"), min(reason) from erasures group by 1 order by 1";
    assert_eq!(
        ask(&store, records).await,
        ["event 1 1 officer asked to", "person 1 0 officer asked to", "report 1 0 officer asked to", "words 1 0 officer asked to"]
    );
    // Another store that was open all the while sees what is, and can go on.
    store_rows(&store, FEED, DAY_TWO).await;
    assert_eq!(ask(&store, "select count(*) from events").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_whose_log_was_cut_does_not_write_into_the_past() {
    let folder = folder();
    let (store, other) = (open(&folder).await, open(&folder).await);
    store_rows(&store, FEED, DAY_ONE).await;
    let waiting = append(&other, OTHER, vec![vec![rows_of(OTHER, DAY_ONE)]]).await;
    for turn in 0..3 {
        let prepared = append(&store, FEED, vec![vec![many(FEED, "2023-03-01 00:00:00", turn, 1)]]).await;
        store.commit(vec![prepared], now()).await.expect("events are committed");
    }
    erase_person(&store, "10.0.0.2").await;
    // The entries that it should have looked at are gone: it must look again.
    let error = other.commit(vec![waiting], now()).await.expect_err("its place is taken");
    assert!(error.is::<Overtaken>(), "{error:#}");
    assert_eq!(store_rows(&other, OTHER, DAY_ONE).await.events, 3);
    assert_eq!(ask(&store, "select feed, count(*) from events group by 1 order by 1").await, ["example/list 3", "example/sinkhole 5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_needs_no_right_to_write() {
    let folder = folder();
    let path = folder.path().to_str().expect("plain").to_owned();
    let only_read = || Settings { access: Access::Read, ..Settings::default() };
    let error = Store::open(&path, only_read()).await.expect_err("nothing is there");
    assert!(format!("{error:#}").contains("there is no store"), "{error:#}");
    drop(open(&folder).await);
    let before = std::fs::read_dir(folder.path()).expect("a folder").count();
    let reader = Store::open(&path, only_read()).await.expect("the store opens");
    assert_eq!(ask(&reader, "select count(*) from events").await, ["0"]);
    assert_eq!(ask(&reader, "select count(*) from reports, deliveries, sightings").await, ["0"]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), before);
    let writer = open(&folder).await;
    store_rows(&writer, FEED, DAY_ONE).await;
    assert_eq!(ask(&reader, "select count(*) from events").await, ["3"]);
    let refused = reader.append(AppendSettings { feed: FEED, expected_rows: 1, columns: COLUMNS, only_days: None }).await;
    assert_eq!(refused.expect_err("it is open for reading").to_string(), "the store is open for reading only");
    assert!(reader.put_report(&mut b"1".as_slice()).is_err() && reader.vacuum(Duration::ZERO, now()).await.is_err());
    let error = reader.record_deliveries(&[Delivery::default()], now()).await.expect_err("it is open for reading");
    assert!(format!("{error:#}").contains("open for reading only"), "{error:#}");
}

/// Killed after a report was kept and before it had an arrival: whoever handed it in does so again, or it belongs to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn reports_of_nobodys_are_deleted() {
    let folder = folder();
    let store = open(&folder).await;
    let put = |text: &str| store.put_report(&mut text.as_bytes()).expect("a report is kept").id;
    let [stray, delivered, arrived] = ["stray", "delivered", "arrived"].map(put);
    let later = clock() + 2 * time::DAY;
    assert_eq!(store.vacuum(Duration::ZERO, later).await.expect("it is vacuumed").files, 0, "who knows of no report has lost more");
    let delivery = Delivery { id: "1".repeat(32), feed: FEED.to_owned(), report_id: delivered.clone(), ..Delivery::default() };
    store.record_deliveries(&[delivery], now()).await.expect("a delivery is recorded");
    let arrival = Arrival { id: "2".repeat(32), feed: FEED.to_owned(), report_id: arrived.clone(), ..Arrival::default() };
    store.put_arrival(&arrival).await.expect("an arrival is put down");
    assert_eq!(store.vacuum(Duration::ZERO, clock()).await.expect("it is vacuumed").files, 0, "it may be on its way");
    assert_eq!(store.vacuum(Duration::ZERO, later).await.expect("it is vacuumed").files, 1);
    let kept = [store.has_report(&stray).await, store.has_report(&delivered).await, store.has_report(&arrived).await];
    assert_eq!(kept.map(|kept| kept.expect("it is looked for")), [false, true, true]);
}

/// Lets work go on until it has waited so many times; then nobody waits for it any more. Says what came of it if it was done
/// before.
async fn cut_after<T>(waits: usize, work: impl Future<Output = anyhow::Result<T>>) -> Option<T> {
    let (mut work, mut left) = (std::pin::pin!(work), waits);
    let done = std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    });
    done.await.map(|done| done.expect("nothing is wrong"))
}

/// A service that reads its configuration anew drops what it does in the night, wherever that is.
#[test]
fn whenever_merging_is_cut_short_everything_is_there() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    for waits in 0.. {
        let folder = folder();
        let at_work = runtime();
        let done = at_work.block_on(async {
            let store = open(&folder).await;
            store_rows(&store, FEED, DAY_ONE).await;
            store_rows(&store, FEED, DAY_TWO).await;
            cut_after(waits, store.compact(Compaction::WHOLLY, now())).await
        });
        // It waits for its threads.
        drop(at_work);
        if let Some(done) = done {
            assert_eq!((done.files_before, done.files_after), (2, 1));
            break;
        }
        runtime().block_on(async {
            let store = open(&folder).await;
            assert_eq!(ask(&store, "select count(*), count(distinct id) from events").await, ["4 4"], "cut short after {waits} waits");
            assert_eq!(ask(&store, "select count(source_ip) from events").await, ["4"], "cut short after {waits} waits");
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_without_folders_will_do() {
    let store = Store::open("memory:///somewhere/deep", Settings::default()).await.expect("the store opens");
    store_rows(&store, FEED, DAY_ONE).await;
    let big = append(&store, FEED, vec![vec![many(FEED, "2023-03-01 00:00:00", 0, 200_000)]; 2]).await;
    store.commit(vec![big], now()).await.expect("events are committed");
    assert_eq!(store_rows(&store, FEED, DAY_TWO).await.events, 1);
    assert_eq!(ask(&store, "select count(*), count(distinct id) from events").await, ["200004 200004"]);
    store.refresh_sightings(|_| false, now()).await.expect("sightings are counted");
    reread(&store, FEED, "2023-02-18", &DAY_ONE[..1]).await.expect("days are replaced");
    assert!(store.compact(Compaction::WHOLLY, now()).await.expect("files are merged").rows > 200_000);
    assert_eq!(ask(&store, "select count(*) from events").await, ["200002"]);
    let report: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mark = tokio::task::block_in_place(|| store.put_report(&mut report.as_slice())).expect("a report is kept");
    assert_eq!(compress(&store, i64::MAX).await.expect("reports are compressed"), 1);
    let mut back = Vec::new();
    tokio::task::block_in_place(|| store.open_report(&mark.id)?.read_to_end(&mut back).map_err(anyhow::Error::from)).expect("it is read");
    assert!(back == report && store.report_path(&mark.id).is_none());
    erase_person(&store, "10.0.0.2").await;
    assert_eq!(ask(&store, "select count(*) from events").await, ["200001"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_can_be_a_file() {
    let folder = folder();
    let store = open(&folder).await;
    store_rows(&store, FEED, DAY_ONE).await;
    let path = folder.path().join("answer.parquet");
    let answer = store.query("select * from events", Vec::new(), &limits()).await.expect("a query");
    assert_eq!(answer.write_parquet(&path).await.expect("a file is written"), 3);
    let extra = RecordBatch::try_from_iter([("name", Arc::new(StringArray::from(vec!["example/sinkhole"])) as ArrayRef)]).expect("a batch");
    let joined =
        store.query("select count(*) from events join feeds on feed = name", vec![("feeds", extra)], &limits()).await.expect("a query");
    assert_eq!(joined.collect().await.expect("rows").iter().flat_map(lines).collect::<Vec<_>>(), ["3"]);
}
