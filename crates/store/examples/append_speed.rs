//! How long it takes to store events: a million rows of thirty columns, the same again, a report over five
//! years, many small reports, and questions about them.
//!
//! `cargo run --release -p store --example append_speed`

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use event::{batch, time};
use store::{AppendSettings, Compaction, Limits, Settings, Store};

const BATCH: usize = 8_192;
const START: i64 = 1_676_678_400_000_000;

/// A generator that gives the same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

/// Columns that have one value throughout.
const SAME: &[(&str, &str)] = &[
    ("provider", "example"),
    ("report_id", "0123456789abcdef0123456789abcdef"),
    ("kind", "bot"),
    ("asset", "source.ip"),
    ("tables", "fedcba9876543210fedcba9876543210"),
    ("classification_taxonomy", "malicious-code"),
    ("classification_type", "infected-system"),
    ("feed_name", "Sinkhole of HTTP requests"),
    ("protocol_transport", "tcp"),
    ("source_geolocation_cc", "ZZ"),
    ("severity", "high"),
    ("tlp", "amber"),
];

/// Rows of a feed, `gap` microseconds apart, in batches.
fn batches(feed: &str, seed: u64, rows: usize, gap: i64) -> Vec<RecordBatch> {
    let mut numbers = Numbers(seed);
    (0..rows).step_by(BATCH).map(|first| one_batch(feed, &mut numbers, first, BATCH.min(rows - first), gap)).collect()
}

fn one_batch(feed: &str, numbers: &mut Numbers, first: usize, rows: usize, gap: i64) -> RecordBatch {
    let same = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; rows])) };
    let ids: Vec<[u8; 16]> = (0..rows).map(|_| (u128::from(numbers.next()) << 64 | u128::from(numbers.next())).to_le_bytes()).collect();
    let mut columns: Vec<(&str, ArrayRef)> = SAME.iter().map(|(name, value)| (*name, same(value))).collect();
    let mut text = |make: &mut dyn FnMut(&mut Numbers) -> Option<String>| -> ArrayRef {
        Arc::new((0..rows).map(|_| make(numbers)).collect::<StringArray>())
    };
    columns.extend([
        ("malware_name", text(&mut |numbers| Some(format!("family-{}", numbers.below(6))))),
        ("classification_identifier", text(&mut |numbers| Some(format!("family-{}", numbers.below(6))))),
        (
            "source_ip",
            text(&mut |numbers| {
                Some(numbers.below(60_000)).map(|n| format!("{}.{}.{}.{}", 100 + n % 20, n / 7 % 256, n / 11 % 256, n % 251))
            }),
        ),
        ("destination_ip", text(&mut |numbers| Some(format!("198.51.100.{}", numbers.below(200))))),
        ("source_as_name", text(&mut |numbers| Some(format!("NETWORK NUMBER {} LIMITED", numbers.below(3_000))))),
        ("source_geolocation_city", text(&mut |numbers| Some(format!("City number {}", numbers.below(300))))),
        ("source_network", text(&mut |numbers| Some(numbers.below(5_000)).map(|n| format!("{}.{}.0.0/16", 100 + n % 20, n / 20)))),
        (
            "source_reverse_dns",
            text(&mut |numbers| Some(numbers.below(60_000)).filter(|n| n % 2 == 0).map(|n| format!("host-{n}.dynamic.example.net"))),
        ),
        (
            "extra",
            text(&mut |numbers| {
                Some(numbers.next())
                    .map(|n| format!("{{\"sic\":\"{}\",\"agent\":\"Mozilla/5.0 (rv:{})\",\"count\":{}}}", n % 9_000, n % 40, n % 50))
            }),
        ),
    ]);
    let times: TimestampMicrosecondArray = (0..rows).map(|row| Some(START + (first + row) as i64 * gap)).collect();
    let observed = TimestampMicrosecondArray::from(vec![START + time::DAY; rows]);
    columns.extend([
        ("id", Arc::new(BinaryArray::from_iter_values(ids)) as ArrayRef),
        ("feed", same(feed)),
        ("line", Arc::new((0..rows).map(|row| Some((first + row) as i64)).collect::<Int64Array>())),
        ("in_scope", Arc::new((0..rows).map(|row| Some(row % 3 == 0)).collect::<BooleanArray>())),
        ("source_port", Arc::new((0..rows).map(|_| Some(1024 + numbers.below(60_000) as i32)).collect::<Int32Array>())),
        ("destination_port", Arc::new((0..rows).map(|_| Some(if numbers.below(10) < 8 { 80 } else { 443 })).collect::<Int32Array>())),
        ("source_asn", Arc::new((0..rows).map(|_| Some(3_000 + numbers.below(3_000) as i64)).collect::<Int64Array>())),
        ("time_source", Arc::new(times.with_timezone("UTC"))),
        ("time_observation", Arc::new(observed.with_timezone("UTC"))),
    ]);
    batch::from_columns(rows, columns)
}

/// Seconds that this process has kept processors busy.
fn busy() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    ticks.iter().sum::<f64>() / 100.0
}

#[expect(clippy::print_stdout, reason = "an example says what it measured")]
fn say(what: &str, started: (Instant, f64), more: &str) {
    println!("{what:44} {:7.2} s {:7.2} core-s  {more}", started.0.elapsed().as_secs_f64(), busy() - started.1);
}

async fn store_batches(store: &Store, feed: &str, batches: Vec<RecordBatch>, threads: usize) -> anyhow::Result<u64> {
    let columns: Vec<String> = batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let expected_rows = batches.iter().map(RecordBatch::num_rows).sum();
    let append = store.append(AppendSettings { feed, expected_rows, columns: &columns, only_days: None }).await?;
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| -> anyhow::Result<()> {
            let workers: Vec<_> = (0..threads)
                .map(|thread| {
                    let mut writer = append.writer();
                    let mine: Vec<RecordBatch> = batches.iter().skip(thread).step_by(threads).cloned().collect();
                    scope.spawn(move || -> anyhow::Result<()> {
                        mine.into_iter().try_for_each(|batch| writer.push(batch))?;
                        writer.close()
                    })
                })
                .collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("no worker panics"))
        })
    })?;
    let prepared = append.finish().await?;
    Ok(store.commit(vec![prepared], START).await?.outcomes[0].events)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().to_string_lossy(), Settings::default()).await?;
    let million = batches("example/large", 88_172_645_463_325_252, 1_000_000, 86_000);
    let start = || (Instant::now(), busy());

    let started = start();
    let events = store_batches(&store, "example/large", million.clone(), 1).await?;
    say("a million rows, one thread", started, &format!("{events} events"));
    let started = start();
    let events = store_batches(&store, "example/large", million, 1).await?;
    say("the same again", started, &format!("{events} events"));
    let million = batches("example/two", 1_234_567, 1_000_000, 86_000);
    let started = start();
    let events = store_batches(&store, "example/two", million, 2).await?;
    say("another million, two threads", started, &format!("{events} events"));
    let years = batches("example/years", 4_711, 205_000, 1_800 * time::DAY / 205_000);
    let started = start();
    let events = store_batches(&store, "example/years", years, 2).await?;
    say("205,000 rows over 1,800 days", started, &format!("{events} events"));

    let small: Vec<RecordBatch> = batches("example/small", 815, 50_000, 1_000_000)
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).step_by(100).map(|row| batch.slice(row, 100.min(batch.num_rows() - row))))
        .collect();
    let count = small.len();
    let started = start();
    for (turn, batch) in small.into_iter().enumerate() {
        store_batches(&store, "example/small", vec![batch], 1).await?;
        if turn % 16 == 15 {
            store.compact(Compaction::AS_IT_GOES, START).await?;
        }
    }
    say(&format!("{count} reports of 100 rows, one by one"), started, "");

    let started = start();
    let days = store.refresh_sightings(|_| false, START).await?;
    say("sightings of all that", started, &format!("{} feeds", days.0.len()));
    let started = start();
    let merged = store.compact(Compaction::WHOLLY, START).await?;
    say("merging all files", started, &format!("{merged:?}"));
    let limits = Limits { memory: 256 << 20, time: Duration::from_secs(600), rows: None };
    for sql in [
        "select count(*) from events",
        "select feed, count(*) from events group by feed",
        "select date_trunc('month', time_source), classification_type, count(*) from events group by 1, 2",
        "select count(*) from events where source_ip = '100.10.20.30'",
        "select count(*) from events where in_network(source_ip, '101.0.0.0/16')",
        "select count(*) from events where feed = 'example/years' and time_source >= '2024-01-01' and time_source < '2024-02-01'",
    ] {
        let started = start();
        store.query(sql, Vec::new(), &limits).await?.collect().await?;
        say(sql, started, "");
    }
    Ok(())
}
