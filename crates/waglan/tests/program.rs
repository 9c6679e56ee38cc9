//! The program as a user has it: commands, exit codes, what is on standard output, and what is at rest after a
//! process was killed, the disk was full, or two processes did the same at once.

#[path = "program/alarms.rs"]
mod alarms;
#[path = "program/exchanges.rs"]
mod exchanges;
#[path = "program/mail.rs"]
mod mail;
#[path = "program/moving.rs"]
mod moving;
#[path = "program/running.rs"]
mod running;
#[path = "program/safety.rs"]
mod safety;
#[path = "program/streams.rs"]
mod streams;
#[path = "program/upgrade.rs"]
mod upgrade;
#[path = "program/week.rs"]
mod week;

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use flate2::Compression;
use tempfile::TempDir;
use testkit::{Quarter, quarter, sinkhole};

/// A made-up delivery in a file, with the arguments that take it in.
struct Handed {
    feed: &'static str,
    at: String,
    path: PathBuf,
}

fn waglan(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waglan"));
    command.env("WAGLAN_DATA", data).env_remove("WAGLAN_CONFIG").stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// What was said on standard error.
fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file in the folder, or in one below.
fn written(folder: impl AsRef<Path>, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.as_ref().join(name);
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("writable");
    std::fs::write(&path, bytes).expect("writable");
    path
}

/// Bytes as gz. Of those stored as they are what is before a cut can still be read.
fn packed(bytes: &[u8], how: Compression) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), how);
    packed.write_all(bytes).and_then(|()| packed.finish()).expect("in memory")
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(1), "exit {code:?}: {}", told(&output));
    String::from_utf8(output.stdout).expect("results are UTF-8")
}

#[track_caller]
fn query(data: &Path, sql: &str) -> String {
    query_by(&|| waglan(data), sql)
}

/// The one value that a query gives.
#[track_caller]
fn value(data: &Path, sql: &str) -> String {
    query(data, sql).lines().nth(1).expect("a row").to_owned()
}

#[track_caller]
fn query_by(program: &dyn Fn() -> Command, sql: &str) -> String {
    succeed(program().args(["query", "--format", "csv", sql]))
}

/// Some days of the made-up country, each delivery in a file of its own folder.
fn days(folder: &Path, first: &str, last: &str, feeds: &[&str]) -> Vec<Handed> {
    let quarter = Quarter::between(first, last);
    let chosen = quarter::deliveries(&quarter).filter(|delivery| feeds.contains(&delivery.feed)).enumerate();
    chosen
        .map(|(number, delivery)| {
            let path = written(folder, &format!("{number:03}/{}", delivery.file_name), &delivery.bytes);
            Handed { feed: delivery.feed, at: event::time::iso(delivery.arrived_at), path }
        })
        .collect()
}

fn ingest(data: &Path, handed: &Handed) -> Command {
    ingest_by(&|| waglan(data), handed)
}

fn ingest_by(program: &dyn Fn() -> Command, handed: &Handed) -> Command {
    let mut command = program();
    command.args(["ingest", "--feed", handed.feed, "--at", &handed.at]).arg(&handed.path);
    command
}

/// What two tables must agree in: ids, and all that is mapped. Of what a feed marks as volatile, what came first stays.
fn contents(data: &Path) -> Vec<String> {
    contents_by(&|| waglan(data))
}

fn contents_by(program: &dyn Fn() -> Command) -> Vec<String> {
    let events = query_by(
        program,
        "SELECT hex(id), feed, time_source, source_ip, source_url, source_asn, severity, CASE feed WHEN 'abuse-ch/threatfox' THEN \
         regexp_replace(extra, '\"(confidence_level|last_seen_utc)\":(\"[^\"]*\"|[0-9]+),?', '', 'g') ELSE extra END FROM events",
    );
    let rejects = query_by(program, "SELECT feed, line, \"column\", reason, raw FROM rejects");
    let sightings = query_by(program, "SELECT feed, key, day, count FROM sightings");
    let deliveries = query_by(program, "SELECT feed, time, rows, rejects, ignored FROM deliveries");
    let mut lines: Vec<String> = events.lines().map(|line| format!("event {line}")).collect();
    lines.sort();
    let before = lines.len();
    lines.dedup();
    assert_eq!(before, lines.len(), "an event is there once");
    let counted = query_by(program, "SELECT CAST(coalesce(sum(events), 0) AS BIGINT) AS n FROM deliveries");
    assert_eq!(counted, query_by(program, "SELECT count(*) AS n FROM events"), "each event is one delivery's");
    lines.extend(rejects.lines().map(|line| format!("reject {line}")));
    lines.extend(sightings.lines().map(|line| format!("sighting {line}")));
    lines.extend(deliveries.lines().map(|line| format!("delivery {line}")));
    lines.sort();
    lines
}

#[test]
fn a_sample_parsed_and_the_same_sample_stored() {
    let folder = TempDir::new().expect("a folder");
    let sample = succeed(waglan(folder.path()).args(["feed", "sample", "cins/army"]));
    let path = written(&folder, "ci-badguys.txt", sample);

    let parsed = run(waglan(folder.path()).args(["parse", "--provider", "cins", "--at", "2026-03-03T06:00:00Z"]).arg(&path));
    assert_eq!(parsed.status.code(), Some(1), "one row is rejected");
    let said = String::from_utf8_lossy(&parsed.stdout).into_owned();
    assert!(said.starts_with("2026-03-03T00:00:00Z blacklist listing"), "{said}");
    assert!(told(&parsed).contains("rejected line"), "{}", told(&parsed));

    let data = folder.path().join("data");
    let take = || run(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", "2026-03-03T06:00:00Z"]).arg(&path));
    assert_eq!(take().status.code(), Some(1));
    let events = query(&data, "SELECT count(*) AS events FROM events");
    assert!(told(&take()).contains("is in the store already"));
    assert_eq!(query(&data, "SELECT count(*) AS events FROM events"), events, "the same again changes nothing");
    assert_eq!(query(&data, "SELECT count(*) AS days FROM deliveries"), "days\n1\n");

    let next_day = run(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", "2026-03-04T06:00:00Z"]).arg(&path));
    assert_eq!(next_day.status.code(), Some(1));
    assert_eq!(
        query(&data, "SELECT count(*) AS deliveries, count(DISTINCT report_id) AS reports FROM deliveries"),
        "deliveries,reports\n2,1\n"
    );
    let sightings = query(&data, "SELECT count(DISTINCT day) AS days FROM sightings");
    assert_eq!(sightings, "days\n2\n", "an unchanged list on two days is two days of sightings");
}

/// What the demo reads and shows, and that the second time changes nothing.
#[test]
fn the_demo_run_twice_changes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let first = succeed(waglan(&data).arg("demo"));
    assert!(first.contains("1728 deliveries, 374,813 rows"), "{first}");
    let picture = |text: &str| {
        let (_, after) = text.split_once("What came in\n").expect("it is shown");
        after.split_once("\nTry\n").expect("it is shown").0.to_owned()
    };
    // Tests run in their package's folder.
    let readme = std::fs::read_to_string("../../README.md").expect("it is there");
    let readme: String = readme.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    assert_eq!(picture(&first), picture(&readme), "README.md shows what comes out");
    let (before, files) = (contents(&data), files_below(&data).len());
    let second = succeed(waglan(&data).arg("demo"));
    assert!(second.contains("1728 deliveries were in the store already: nothing was done with them."), "{second}");
    let shown = |summary: &str| summary.split_once("What came in").expect("it is shown").1.to_owned();
    assert_eq!(shown(&second), shown(&first));
    assert!(contents(&data) == before);
    assert_eq!(files_below(&data).len(), files);
}

#[test]
fn a_feed_is_shown_with_what_its_table_makes_of_each_column() {
    let folder = TempDir::new().expect("a folder");
    let show = |feed: &str| succeed(waglan(folder.path()).args(["feed", "show", feed]));
    let sinkhole = show("shadowserver/event_sinkhole_http");
    assert!(sinkhole.contains("src_ip                   source.ip | address\n"), "{sinkhole}");
    assert!(
        sinkhole.contains("http_url                 destination.url | any | request http_host,hostname,ip application\n"),
        "{sinkhole}"
    );
    let tweets = show("tweetfeed/daily");
    assert!(tweets.contains("value                    source.url | html  where type is url\n"), "{tweets}");
}

#[test]
fn what_is_learned_later_moves_no_event() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let place = |file: &str, text: &str| drop(written(&data, file, text));
    let networks = |country: &str| format!("[[network]]\nprefix = \"192.0.2.0/24\"\ncountry = \"{country}\"\n");
    let ingest = |name: &str, at: &str, list: &str| {
        let list = written(&folder, name, list);
        succeed(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", at]).arg(list));
    };
    let events = || query(&data, "SELECT source_ip, source_geolocation_cc, in_scope FROM events ORDER BY 1");
    let reread = |more: &[&str]| told(&run(waglan(&data).args(["reread", "--feed", "cins/army"]).args(more)));

    place("networks/ours/2026-01-01.toml", &networks("XA"));
    place("waglan.toml", "[scope]\ncountries = [\"XA\"]\n");
    ingest("one", "2026-03-02T06:00:00Z", "192.0.2.1\n");
    // As if the process had been killed between committing the events and recording the delivery.
    kill_before_recording(&data);
    // A table that held on that day comes later, the first one is written over, and what is ours becomes another.
    place("networks/ours/2026-02-01.toml", &networks("XB"));
    place("networks/ours/2026-01-01.toml", &networks("XC"));
    place("waglan.toml", "[scope]\ncountries = [\"XZ\"]\n");
    ingest("two", "2026-03-02T18:00:00Z", "192.0.2.1\n192.0.2.2\n");

    let as_read = "source_ip,source_geolocation_cc,in_scope\n192.0.2.1,XA,true\n192.0.2.2,XB,false\n";
    assert_eq!(events(), as_read);
    reread(&[]);
    assert_eq!(events(), as_read, "read again");
    reread(&["--new-tables"]);
    let anew = "source_ip,source_geolocation_cc,in_scope\n192.0.2.1,XB,false\n192.0.2.2,XB,false\n";
    assert_eq!(events(), anew);
    reread(&[]);
    assert_eq!(events(), anew, "what was read with newer tables is read with these from then on");
    assert_eq!(query(&data, "SELECT count(DISTINCT tables) AS n FROM deliveries"), "n\n1\n");

    // Tables that cannot be had any more are no reason to take others unasked.
    let tables = value(&data, "SELECT min(tables) FROM deliveries");
    place("waglan.toml", "");
    std::fs::remove_file(data.join("tables").join(tables)).expect("it is kept");
    let said = reread(&[]);
    assert!(said.contains("was read cannot be had") && said.contains("--new-tables"), "{said}");
    assert_eq!(events(), anew);
}

#[test]
fn wrong_use_is_told_in_a_sentence() {
    let folder = TempDir::new().expect("a folder");
    let report = written(&folder, "list.txt", "192.0.2.1\n");
    let data = folder.path().join("data");
    run(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", "2026-03-03"]).arg(&report));
    let asked = [
        ("SELECT nosuch FROM events", "error: there is no column \"nosuch\"; \"DESCRIBE events\" shows all\n"),
        ("SELECT sorce_ip FROM events", "error: there is no column \"sorce_ip\"; is it source_ip"),
        ("SELECT column_name FROM rejects", "error: there is no column \"column_name\"; is it column?\n"),
        ("SELECT nosuch FROM feeds", "error: there is no column \"nosuch\"; there are id, provider, name, "),
        ("SELECT 1 FROM nothing", "error: table 'nothing' not found\n"),
        ("SELEC 1", "error: sql parser error: Expected: an SQL statement, found: SELEC at Line: 1, Column: 1\n"),
        ("DELETE FROM events", "error: DML not supported: Delete\n"),
    ];
    for (sql, expected) in asked {
        let output = run(waglan(&data).args(["query", sql]));
        assert_eq!(output.status.code(), Some(2), "{sql}");
        assert!(told(&output).starts_with(expected), "{sql}: {}", told(&output));
    }
    let unread = run(waglan(&data).args(["reread", "--feed", "cins/army", "--since", "2027-01-01"]));
    assert_eq!(told(&unread), "error: no delivery of cins/army speaks of 2027-01-01 or a later day\n");
    let table: [(&[&str], &str); 5] = [
        (&["query", "SELECT 1"], "error: there is no data in"),
        (
            &["parse", "--feed", "abuse-ch/feodo", "x"],
            "error: there is no feed \"abuse-ch/feodo\"; is it abuse-ch/feodotracker, abuse-ch/feodotracker-csv?",
        ),
        (&["parse", "--provider", "nobody", "x"], "error: there is no provider \"nobody\"; `waglan feed list` shows all"),
        (&["parse", "--feed", "cins/army", "/nonexistent"], "error: opening /nonexistent: No such file"),
        (&["ingest", "--feed", "cins/army", "--at", "yesterday", "x"], "error: invalid value 'yesterday' for '--at <TIME>': not a time"),
    ];
    for (arguments, expected) in table {
        let output = run(waglan(&folder.path().join("none")).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = told(&output);
        assert!(said.starts_with(expected), "{arguments:?} says {said}");
    }
}

#[test]
fn secrets_are_kept_nowhere() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let path = folder.path().join("2026-03-02-event4_honeypot_brute_force-example.csv");
    let header = succeed(waglan(&data).args(["feed", "sample", "shadowserver/event_honeypot_brute_force"]));
    let columns: Vec<&str> = header.lines().next().expect("a header").split(',').map(|name| name.trim_matches('"')).collect();
    let cell = |name: &&str| match *name {
        "timestamp" => "2026-03-01 10:00:00",
        "src_ip" => "192.0.2.7",
        "username" => "root",
        "password" => "hunter2-planted",
        _ => "",
    };
    let row: Vec<String> = columns.iter().map(|name| format!("\"{}\"", cell(name))).collect();
    std::fs::write(&path, format!("{}\n{}\n\"cut,hunter2-planted\n", header.lines().next().expect("a header"), row.join(",")))
        .expect("writable");
    run(waglan(&data).args(["ingest", "--provider", "shadowserver"]).arg(&path));
    assert_eq!(query(&data, "SELECT source_ip FROM events"), "source_ip\n192.0.2.7\n");
    // Where the header does not say which column is the secret, any may be.
    let (header, row) = (header.lines().next().expect("a header"), row.join(","));
    for damaged in [row.clone(), format!("{}\n{row}", header.replace("password", "passwd")), format!("{}\n{row}", header.replace(',', ";"))]
    {
        std::fs::write(&path, damaged).expect("writable");
        let refused = run(waglan(&data).args(["ingest", "--provider", "shadowserver"]).arg(&path));
        assert!(
            told(&refused).contains("lacks \"password\", which is secret") && !told(&refused).contains("hunter2"),
            "{}",
            told(&refused)
        );
    }
    for file in files_below(&data) {
        let bytes = std::fs::read(&file).expect("readable");
        assert!(!bytes.windows(15).any(|window| window == b"hunter2-planted"), "the password is in {}", file.display());
    }
    let rejected = query(&data, "SELECT raw FROM rejects WHERE raw LIKE '%hunter2%'");
    assert_eq!(rejected, "", "nor among rejects");
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

const FEEDS: [&str; 4] = ["shadowserver/scan_rdp", "cins/army", "abuse-ch/threatfox", "shadowserver/event6_sinkhole_http"];

fn ingest_all(data: &Path, handed: &[Handed]) {
    for one in handed {
        succeed(&mut ingest(data, one));
    }
}

/// A feed's deliveries in one process, so that they share commits.
fn ingest_together(data: &Path, feed: &str, at: &str, files: &[PathBuf]) -> Command {
    let mut command = waglan(data);
    command.args(["ingest", "--feed", feed, "--at", at]).args(files);
    command
}

/// Kills what a command starts at random moments of its life.
struct Killer {
    seed: u64,
    drawn: u64,
    /// How many were alive.
    struck: u64,
}

impl Killer {
    /// Other moments in each run, unless the environment states the seed of one that went wrong.
    fn new() -> Killer {
        let seed = std::env::var_os("WAGLAN_SEED").map(|seed| seed.to_str().and_then(|seed| seed.parse().ok()).expect("a number"));
        Killer { seed: seed.unwrap_or_else(|| RandomState::new().build_hasher().finish()), drawn: 0, struck: 0 }
    }

    /// Whether it had come to its end before.
    fn kill(&mut self, command: &mut Command, whole: Duration) -> bool {
        self.drawn += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, self.drawn).hash(&mut hasher);
        let moment = whole.mul_f64(1.2 * (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        std::thread::sleep(moment);
        let ended = child.try_wait().expect("a child").is_some();
        self.struck += u64::from(!ended);
        child.kill().expect("a child can be killed");
        child.wait().expect("a child");
        ended
    }
}

impl std::fmt::Display for Killer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "after kill {}; WAGLAN_SEED={} draws the same moments", self.drawn, self.seed)
    }
}

fn time_of(command: &mut Command) -> Duration {
    let started = std::time::Instant::now();
    succeed(command);
    started.elapsed()
}

#[test]
fn killed_at_any_moment_of_ingesting_the_same_events_come_out() {
    const KILLS: u64 = 200;
    // On a machine that has become slower nothing would ever come to its end.
    const MOST_IN_A_ROW: u32 = 30;
    let folder = TempDir::new().expect("a folder");
    let handed = days(folder.path(), "2024-02-14", "2024-02-15", &FEEDS);
    let undisturbed = folder.path().join("undisturbed");
    ingest_all(&undisturbed, &handed);
    let expected = contents(&undisturbed);
    let timed = folder.path().join("timed");
    let whole: Vec<Duration> = handed.iter().map(|one| time_of(&mut ingest(&timed, one))).collect();

    let mut killer = Killer::new();
    let mut data = folder.path().join("killed-0");
    let (mut next, mut rounds, mut in_a_row) = (0, 0, 0);
    while killer.struck < KILLS || rounds == 0 {
        let ended = killer.kill(&mut ingest(&data, &handed[next]), whole[next]);
        in_a_row += 1;
        if ended || in_a_row == MOST_IN_A_ROW {
            (next, in_a_row) = (next + 1, 0);
        }
        if next == handed.len() {
            ingest_all(&data, &handed);
            assert_eq!(contents(&data), expected, "{killer}");
            (next, rounds) = (0, rounds + 1);
            data = folder.path().join(format!("killed-{rounds}"));
        }
    }
    ingest_all(&data, &handed);
    assert_eq!(contents(&data), expected, "{killer}");
}

/// Deliveries that share a commit are there all or none, and are not there twice; another process has half of them too.
#[test]
fn killed_while_many_deliveries_share_a_commit_the_same_events_come_out() {
    const FEED: &str = "cins/army";
    const AT: &str = "2024-02-16T06:00:00Z";
    let folder = TempDir::new().expect("a folder");
    let lists: Vec<PathBuf> = (0..90)
        .map(|list| {
            written(&folder, &format!("{list}.txt"), (0..40).map(|host| format!("198.51.{list}.{}\n", list + host)).collect::<String>())
        })
        .collect();
    let undisturbed = folder.path().join("undisturbed");
    let whole = time_of(&mut ingest_together(&undisturbed, FEED, AT, &lists));
    let expected = contents(&undisturbed);
    let mut killer = Killer::new();
    for kill in 0..40 {
        let data = folder.path().join(format!("killed-{kill}"));
        let rival = || drop(succeed(&mut ingest_together(&data, FEED, AT, &lists[30..60])));
        std::thread::scope(|scope| {
            if kill % 4 == 0 {
                scope.spawn(rival);
            }
            killer.kill(&mut ingest_together(&data, FEED, AT, &lists), whole);
        });
        succeed(&mut ingest_together(&data, FEED, AT, &lists));
        assert_eq!(contents(&data), expected, "{killer}");
        std::fs::remove_dir_all(&data).expect("writable");
    }
}

/// Merging files, deleting old ones, reading again, and erasing, which ends when it is repeated.
#[test]
fn killed_while_the_store_is_looked_after_nothing_is_lost() {
    let folder = TempDir::new().expect("a folder");
    let handed = days(folder.path(), "2024-02-14", "2024-02-15", &FEEDS);
    let (data, undisturbed) = (folder.path().join("killed"), folder.path().join("undisturbed"));
    for store in [&data, &undisturbed] {
        ingest_all(store, &handed);
    }
    let expected = contents(&undisturbed);
    let mut killer = Killer::new();
    let chores: [&[&str]; 3] = [&["store", "compact"], &["reread", "--feed", FEEDS[2]], &["store", "vacuum", "--keep-days", "0"]];
    let chore = |data: &Path, arguments: &[&str]| {
        let mut command = waglan(data);
        command.args(arguments);
        command
    };
    let whole = chores.map(|arguments| time_of(&mut chore(&undisturbed, arguments)));
    for kill in 0..60 {
        // A list on another day brings files to merge and sightings to count.
        let day = format!("2024-03-{:02}", 1 + kill / 3);
        let list = &handed[1];
        if kill % 3 == 0 {
            for store in [&data, &undisturbed] {
                succeed(waglan(store).args(["ingest", "--feed", FEEDS[1], "--at", &day]).arg(&list.path));
            }
        }
        killer.kill(&mut chore(&data, chores[kill % 3]), whole[kill % 3]);
        if kill % 12 == 11 {
            assert_eq!(contents(&data), contents(&undisturbed), "{killer}");
        }
    }
    assert_ne!(contents(&data), expected, "the lists of other days are there");

    let report = value(&undisturbed, "SELECT min(report_id) FROM deliveries WHERE feed = 'abuse-ch/threatfox'");
    let erase = ["store", "erase", "--report", &report, "--reason", "by order"];
    let whole = time_of(&mut chore(&undisturbed, &erase));
    for _ in 0..10 {
        killer.kill(&mut chore(&data, &erase), whole);
    }
    succeed(&mut chore(&data, &erase));
    assert_eq!(contents(&data), contents(&undisturbed), "{killer}");
}

/// A large report is read while it is still on its way to the disk.
#[test]
fn killed_while_a_large_report_settles_the_same_events_come_out() {
    const KILLS: u64 = 30;
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("2024-01-15-event4_sinkhole_http-example.csv");
    let file = std::fs::File::create(&path).expect("writable");
    let written = sinkhole::write_sinkhole_report(&sinkhole::Report::of(20_000), file).expect("writable");
    assert!(written.bytes > 8 << 20, "it is large");
    let handed = Handed { feed: "shadowserver/event_sinkhole_http", at: "2024-01-16".to_owned(), path };
    let undisturbed = folder.path().join("undisturbed");
    let whole = time_of(&mut ingest(&undisturbed, &handed));
    let expected = contents(&undisturbed);
    let mut killer = Killer::new();
    for kill in 0..KILLS {
        let data = folder.path().join(format!("killed-{kill}"));
        killer.kill(&mut ingest(&data, &handed), whole);
        ingest_all(&data, std::slice::from_ref(&handed));
        assert_eq!(contents(&data), expected, "{killer}");
        let mut left = files_below(&data.join("arrivals"));
        left.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        assert_eq!(left, [] as [PathBuf; 0], "nothing is left to be done {killer}");
        std::fs::remove_dir_all(&data).expect("writable");
    }
}

#[test]
fn two_processes_that_take_in_the_same_at_once() {
    let folder = TempDir::new().expect("a folder");
    let handed = days(folder.path(), "2024-02-14", "2024-02-15", &FEEDS);
    let alone = folder.path().join("alone");
    ingest_all(&alone, &handed);

    let data = folder.path().join("together");
    std::thread::scope(|scope| {
        scope.spawn(|| ingest_all(&data, &handed));
        scope.spawn(|| handed.iter().rev().for_each(|one| drop(succeed(&mut ingest(&data, one)))));
        scope.spawn(|| {
            // Rereads among them; before the first delivery is stored there is nothing to read again.
            let reread = || matches!(run(waglan(&data).args(["reread", "--feed", FEEDS[1]])).status.code(), Some(0 | 1));
            (0..500).filter(|_| reread()).nth(2).expect("three of many succeed");
        });
    });
    assert_eq!(contents(&data), contents(&alone));
}

#[test]
fn where_nothing_can_be_written_nothing_is_lost() {
    let folder = TempDir::new().expect("a folder");
    let handed = days(folder.path(), "2024-02-14", "2024-02-14", &FEEDS);
    let alone = folder.path().join("alone");
    ingest_all(&alone, &handed);

    let data = folder.path().join("full");
    for blocks in [1, 8, 32, 128] {
        for one in &handed {
            // No file may grow beyond so many kilobytes.
            let command = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"");
            let mut full = Command::new("bash");
            full.args(["-c", &command, env!("CARGO_BIN_EXE_waglan"), "ingest", "--feed", one.feed, "--at", &one.at]).arg(&one.path);
            let output = run(full.env("WAGLAN_DATA", &data));
            if output.status.code() == Some(2) {
                let said = told(&output);
                assert!(said.contains("error: "), "{said}");
            }
        }
    }
    ingest_all(&data, &handed);
    assert_eq!(contents(&data), contents(&alone));
}

/// Takes everything in again and again: on a disk that is full and grows, then on one that is read-only, then on a good one.
/// `$1` is the program, `$2` where the disk is, `$3` a script that takes everything in, `$4` where what it held is left.
const BAD_DISKS: &str = r#"
mount -t tmpfs -o size=16k tmpfs "$2"
for size in 16k 64k 128k 256k 400k 512k 600k 1m 3m; do
    mount -o "remount,size=$size" "$2"
    echo "a disk of $size"
    bash "$3" "$1"
done
mount -o remount,size=100m,ro "$2"
echo "a read-only disk"
bash "$3" "$1"
echo "which can be asked"
"$1" query --format csv "SELECT count(*) > 0 AS found FROM events"
mount -o remount,rw "$2"
echo "a good disk"
bash "$3" "$1"
cp -r "$2" "$4"
"#;

#[test]
fn a_disk_that_is_full_or_read_only_loses_nothing() {
    let alone_in_a_namespace = ["--map-root-user", "--mount"];
    if !Command::new("unshare").args(alone_in_a_namespace).arg("true").output().is_ok_and(|output| output.status.success()) {
        // Only limited files are tried then, by the test above, and `cargo xtask test` says so.
        return;
    }
    let folder = TempDir::new().expect("a folder");
    let handed = days(folder.path(), "2024-02-14", "2024-02-14", &FEEDS);
    let (alone, disk, left) = (folder.path().join("alone"), folder.path().join("disk"), folder.path().join("left"));
    ingest_all(&alone, &handed);

    std::fs::create_dir(&disk).expect("writable");
    let all: Vec<String> = handed
        .iter()
        .map(|one| format!("\"$1\" ingest --feed {} --at {} '{}' || echo \"exit $?\"\n", one.feed, one.at, one.path.display()))
        .collect();
    let script = written(&folder, "all.sh", all.concat());
    let mut bad = Command::new("unshare");
    bad.args(alone_in_a_namespace).args(["bash", "-c", BAD_DISKS, "bash", env!("CARGO_BIN_EXE_waglan")]);
    bad.args([&disk, &script, &left]).env("WAGLAN_DATA", &disk).env_remove("WAGLAN_CONFIG");
    let output = run(&mut bad);
    let said = told(&output);
    let codes = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{codes}{said}");
    assert!(said.contains("No space left on device") && said.contains("Read-only file system"), "{said}");
    let (_, read_only) = codes.split_once("a read-only disk\n").expect("it is said");
    let (refused, rest) = read_only.split_once("which can be asked\n").expect("it is said");
    assert_eq!(refused, "exit 2\n".repeat(handed.len()), "{said}");
    assert!(rest.starts_with("found\ntrue\n"), "{rest}{said}");
    assert!(!rest.contains("exit 2"), "{rest}{said}");
    assert_eq!(contents(&left), contents(&alone));
}

/// A server that speaks S3, with a bucket; it ends with this.
struct Bucket {
    server: Child,
    endpoint: String,
}

impl Bucket {
    fn new() -> Bucket {
        let python = std::env::var_os("WAGLAN_TEST_PYTHON").expect("`cargo xtask test` prepares a Python with a server, and says where");
        let mut start = Command::new(&python);
        start.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
        let mut server = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(server.stderr.take().expect("it is piped"));
        let mut line = String::new();
        let endpoint = loop {
            line.clear();
            assert!(said.read_line(&mut line).expect("text") > 0, "the server ended");
            if let Some(at) = line.find("http://") {
                break line.get(at..).unwrap_or_default().trim().to_owned();
            }
        };
        // It tells of every request, and would wait for somebody to read it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let make = format!(
            "import boto3; boto3.client('s3', endpoint_url='{endpoint}', aws_access_key_id='key', aws_secret_access_key='secret', \
             region_name='us-east-1').create_bucket(Bucket='waglan')"
        );
        assert!(run(Command::new(python).args(["-c", &make]).env("NO_PROXY", "127.0.0.1")).status.success());
        Bucket { server, endpoint }
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.server.kill().and_then(|()| self.server.wait()).expect("a child can be killed");
    }
}

#[test]
fn the_store_may_lie_in_a_bucket() {
    let folder = TempDir::new().expect("a folder");
    let handed = days(folder.path(), "2024-02-14", "2024-02-14", &FEEDS);
    let alone = folder.path().join("alone");
    succeed(waglan(&alone).args(["demo", "--tables-only"]));
    ingest_all(&alone, &handed);

    let bucket = Bucket::new();
    let config = folder.path().join("bucket.toml");
    let home = folder.path().join("home");
    let text = format!(
        "home = {home:?}\n[storage]\naws_endpoint = \"{}\"\naws_region = \"us-east-1\"\naws_allow_http = \"true\"\n\
         aws_access_key_id = \"key\"\naws_secret_access_key = \"secret\"\n",
        bucket.endpoint
    );
    std::fs::write(&config, &text).expect("writable");
    let program = || {
        let mut command = waglan(Path::new("s3://waglan/store"));
        command.env("WAGLAN_CONFIG", &config).env("NO_PROXY", "127.0.0.1");
        command
    };
    succeed(program().args(["demo", "--tables-only"]));
    std::thread::scope(|scope| {
        scope.spawn(|| handed.iter().for_each(|one| drop(succeed(&mut ingest_by(&program, one)))));
        scope.spawn(|| handed.iter().rev().for_each(|one| drop(succeed(&mut ingest_by(&program, one)))));
    });
    assert_eq!(contents_by(&program), contents(&alone), "as in a folder");
    for command in [&["store", "compact"] as &[_], &["store", "vacuum"], &["reread", "--feed", FEEDS[0]]] {
        succeed(program().args(command));
        assert_eq!(contents_by(&program), contents(&alone), "after {command:?}");
    }
    assert!(home.join("audit.jsonl").is_file() && home.join("geo/places").is_dir(), "what is not data is in the folder");

    // A backup is made of the bucket, and restored into one, or into a folder.
    let kept = folder.path().join("kept");
    succeed(program().arg("backup").arg(&kept));
    let again = || {
        let mut command = program();
        command.env("WAGLAN_DATA", "s3://waglan/again").env("WAGLAN_CONFIG", folder.path().join("again.toml"));
        command
    };
    let other_home = text.replace(&format!("{home:?}"), &format!("{:?}", folder.path().join("again")));
    written(&folder, "again.toml", other_home);
    succeed(again().arg("restore").arg(&kept));
    let in_folder = folder.path().join("from-bucket");
    succeed(waglan(&in_folder).arg("restore").arg(&kept));
    for restored in [contents_by(&again), contents(&in_folder)] {
        assert_eq!(restored, contents(&alone), "restored");
    }
    assert!(told(&run(again().arg("restore").arg(&kept))).contains("there is a store at s3://waglan/again"));

    // A repeated delivery does not put back the bytes of which a person was erased.
    let list = written(&folder, "urls.txt", "http://a.example/?u=jane@example.org\nhttp://b.example/\n");
    let take = |day: &str| succeed(program().args(["ingest", "--feed", "openphish/feed", "--at", day]).arg(&list));
    take("2026-03-02");
    succeed(program().args(["store", "erase", "--person", "jane@example.org", "--reason", "on request"]));
    take("2026-03-03");
    succeed(program().args(["reread", "--feed", "openphish/feed"]));
    let left = query_by(&program, "SELECT source_fqdn, count(*) AS n FROM events WHERE feed = 'openphish/feed' GROUP BY 1");
    assert_eq!(left, "source_fqdn,n\nb.example,2\n");

    std::fs::write(&config, std::fs::read_to_string(&config).expect("text").replace("home =", "# home =")).expect("writable");
    let refused = run(&mut ingest_by(&program, &handed[0]));
    assert_eq!(refused.status.code(), Some(2));
    let said = told(&refused);
    assert!(said.contains("state in the configuration which folder holds the rest, as home ="), "{said}");
}

#[test]
fn a_mended_table_is_applied_by_reading_again() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let table = |target: &str| {
        format!(
            "home = \"https://example.org/\"\nformat = \"csv\"\nmeans = \"c2-server\"\nkind = \"c2\"\nasset = \"source.ip\"\n\
             delivers = \"observations\"\ntlp = \"clear\"\n[rows]\naddress = \"source.ip\"\nseen = \"time.source{target}\"\n"
        )
    };
    written(&data, "feeds/example/list.toml", table(""));
    let report = written(&folder, "report.csv", "address,seen\n192.0.2.1,2026-03-01 10:00:00\n192.0.2.2,01.03.2026\n");
    let ingested = run(waglan(&data).args(["ingest", "--feed", "example/list", "--at", "2026-03-02"]).arg(&report));
    assert_eq!(ingested.status.code(), Some(1));
    assert_eq!(
        query(&data, "SELECT line, \"column\", reason FROM rejects"),
        "line,column,reason\n3,seen,\"\"\"01.03.2026\"\": not a time\"\n"
    );

    let strange = written(&folder, "strange.csv", "address,seen\n192.0.2.3,02.03.2026\n");
    run(waglan(&data).args(["ingest", "--feed", "example/list", "--at", "2026-03-05"]).arg(&strange));
    written(&data, "feeds/example/list.toml", table(" | time %d.%m.%Y"));
    let retried = run(waglan(&data).args(["rejects", "retry", "--feed", "example/list"]));
    assert_eq!(retried.status.code(), Some(0), "{}", told(&retried));
    assert_eq!(
        query(&data, "SELECT source_ip, time_source FROM events ORDER BY 1"),
        "source_ip,time_source\n192.0.2.1,2026-03-01T10:00:00Z\n192.0.2.2,2026-03-01T00:00:00Z\n192.0.2.3,2026-03-02T00:00:00Z\n",
        "the day is as today's table reads it, of a report of which nothing was understood too"
    );
    assert_eq!(query(&data, "SELECT line FROM rejects"), "");
    let recorded = "SELECT rows, events, rejects, days FROM deliveries ORDER BY time";
    let expected = "rows,events,rejects,days\n2,2,0,2026-03-01\n1,1,0,2026-03-02\n";
    assert_eq!(query(&data, recorded), expected, "what is recorded of the deliveries is what came of them");

    // Another report of one of these days, read with another table: nothing that was moved there is forgotten.
    written(&data, "feeds/example/list.toml", table(" | time %d.%m.%Y").replace("c2-server", "malware-distribution"));
    let more = written(&folder, "more.csv", "address,seen\n192.0.2.4,02.03.2026\n");
    run(waglan(&data).args(["ingest", "--feed", "example/list", "--at", "2026-03-06"]).arg(&more));
    assert_eq!(
        query(&data, "SELECT source_ip, classification_type AS type FROM events ORDER BY 1"),
        "source_ip,type\n192.0.2.1,c2-server\n192.0.2.2,c2-server\n192.0.2.3,malware-distribution\n192.0.2.4,malware-distribution\n"
    );
}

/// A feed of one's own whose table can be mended: `time` converts what it calls seen.
fn obs(data: &Path, time: &str) {
    let table = format!(
        "format = \"csv\"\nmeans = \"c2-server\"\nkind = \"c2\"\nasset = \"source.ip\"\ndelivers = \"observations\"\ntlp = \"clear\"\n\
         [rows]\naddress = \"source.ip\"\nseen = \"time.source{time}\"\n"
    );
    written(data, "feeds/example/obs.toml", table);
}

fn take_obs(folder: &TempDir, data: &Path, name: &str, rows: &str) -> Output {
    let report = written(folder, name, format!("address,seen\n{rows}"));
    run(waglan(data).args(["ingest", "--feed", "example/obs", "--at", "2026-03-10"]).arg(report))
}

/// What a mended table moves over midnight is moved, also where deliveries that do not speak of the newest day hang on.
#[test]
fn rows_that_move_between_days_are_there_once() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    take_obs(&folder, &data, "b.csv", "192.0.2.1,2026-03-01 23:30:00\n192.0.2.2,2026-03-02 00:10:00\n");
    take_obs(&folder, &data, "a.csv", "192.0.2.3,2026-03-02 23:30:00\n192.0.2.4,2026-03-03 00:10:00\n");
    let events = || query(&data, "SELECT source_ip AS ip, time_source FROM events ORDER BY 1, 2");
    obs(&data, " | zone -01:00");
    take_obs(&folder, &data, "n.csv", "192.0.2.5,2026-03-03 05:00:00\n");
    let moved = "ip,time_source\n192.0.2.1,2026-03-02T00:30:00Z\n192.0.2.2,2026-03-02T01:10:00Z\n192.0.2.3,2026-03-03T00:30:00Z\n\
                 192.0.2.4,2026-03-03T01:10:00Z\n192.0.2.5,2026-03-03T06:00:00Z\n";
    assert_eq!(events(), moved, "with the next delivery");
    obs(&data, " | zone +01:00");
    succeed(waglan(&data).args(["reread", "--feed", "example/obs", "--since", "2026-03-03"]));
    let moved = "ip,time_source\n192.0.2.1,2026-03-01T22:30:00Z\n192.0.2.2,2026-03-01T23:10:00Z\n192.0.2.3,2026-03-02T22:30:00Z\n\
                 192.0.2.4,2026-03-02T23:10:00Z\n192.0.2.5,2026-03-03T04:00:00Z\n";
    assert_eq!(events(), moved, "when asked for the last day");
    let recorded = "SELECT sum(events) AS events, count(DISTINCT table_version) AS versions FROM deliveries";
    assert_eq!(query(&data, recorded), "events,versions\n5,1\n");
}

/// Versions of a table that hold one after the other may differ in all they say.
#[test]
fn days_of_several_versions_are_read_again_as_each_says() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let table = |first: &str, port: &str| {
        let said = "format = \"csv\"\nkind = \"c2\"\nasset = \"source.ip\"\ndelivers = \"observations\"\ntlp = \"clear\"\n";
        format!("{first}{said}[rows]\naddress = \"source.ip\"\nseen = \"time.source\"\nport = \"{port}\"\n")
    };
    written(&data, "feeds/example/obs.toml", table("means = \"c2-server\"\n", "source.port"));
    let newer = "since = \"2026-03-15\"\nmeans = \"malware-distribution\"\nseverity = \"high\"\n";
    written(&data, "feeds/example/obs.202603.toml", table(newer, "extra.port"));
    for (at, rows) in [
        ("2026-03-02", "192.0.2.1,2026-03-01,80\n192.0.2.2,2026-03-01,81\n192.0.2.2,2026-03-01,81\n"),
        ("2026-03-20", "192.0.2.3,2026-03-01,82\n192.0.2.2,2026-03-01,83\n192.0.2.3,2026-03-01,82\n"),
    ] {
        let report = written(&folder, "obs.csv", format!("address,seen,port\n{rows}"));
        succeed(waglan(&data).args(["ingest", "--feed", "example/obs", "--at", at]).arg(report));
    }
    let events = "SELECT source_ip AS ip, source_port AS port, classification_type AS type, severity, extra FROM events ORDER BY 1, 3";
    let expected = "ip,port,type,severity,extra\n192.0.2.1,80,c2-server,,\n192.0.2.2,81,c2-server,,\n\
                    192.0.2.2,,malware-distribution,high,\"{\"\"port\"\":\"\"83\"\"}\"\n192.0.2.3,,malware-distribution,high,\"{\"\"port\"\":\"\"82\"\"}\"\n";
    assert_eq!(query(&data, events), expected);
    let counts = query(&data, "SELECT rows, events, repeats FROM deliveries ORDER BY time");
    let again = told(&run(waglan(&data).args(["reread", "--feed", "example/obs"])));
    assert_eq!(again, "example/obs: 2 reports read again, 4 events, 0 rejects; days replaced: 2026-03-01\n");
    assert_eq!(query(&data, events), expected);
    assert_eq!(query(&data, "SELECT rows, events, repeats FROM deliveries ORDER BY time"), counts);
}

/// A day that expired is not read again, and keeps nothing else from being taken in.
#[test]
fn days_that_have_expired_hold_nothing_up() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    // 2020 has expired, and 2026 has not for years.
    written(&data, "waglan.toml", "[retention.events]\n\"*\" = 1900\n[retention.fields.\"*\"]\n\"source.account\" = 1\n");
    obs(&data, "");
    take_obs(&folder, &data, "old.csv", "192.0.2.1,2020-03-01 10:00:00\n192.0.2.2,2026-03-01 23:30:00\n");
    succeed(waglan(&data).args(["store", "retain"]));
    obs(&data, " | zone -01:00");
    let said = told(&take_obs(&folder, &data, "new.csv", "192.0.2.3,2026-03-01 10:00:00\n"));
    assert!(said.contains("1 new events"), "{said}");
    let expected = "ip,time_source\n192.0.2.2,2026-03-02T00:30:00Z\n192.0.2.3,2026-03-01T11:00:00Z\n";
    assert_eq!(query(&data, "SELECT source_ip AS ip, time_source FROM events ORDER BY 1"), expected);
    // A rule for a field that the feed has not makes none of its days uncountable.
    assert_eq!(query(&data, "SELECT asset FROM sightings WHERE day > '2026-01-01' ORDER BY 1"), "asset\n192.0.2.2\n192.0.2.3\n");
    let refused = told(&run(waglan(&data).args(["reread", "--feed", "example/obs"])));
    assert!(refused.contains("days replaced: 2026-03-01..2026-03-02"), "{refused}");
    for again in [["reread", "--feed", "example/obs"].as_slice(), &["rejects", "retry", "--feed", "example/obs"], &["rejects", "retry"]] {
        succeed(waglan(&data).args(again));
        assert_eq!(query(&data, "SELECT source_ip AS ip, time_source FROM events ORDER BY 1"), expected);
    }
}

/// One report may be of two feeds.
#[test]
fn rejects_of_one_feed_are_read_again_alone() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let list = written(&folder, "list.txt", "192.0.2.1\nnobody\n");
    obs(&data, "");
    for feed in ["cins/army", "blocklist-de/all", "example/obs"] {
        run(waglan(&data).args(["ingest", "--feed", feed, "--at", "2026-03-01"]).arg(&list));
    }
    std::fs::remove_file(data.join("feeds/example/obs.toml")).expect("ours");
    let one = told(&run(waglan(&data).args(["rejects", "retry", "--feed", "cins/army"])));
    assert_eq!(one, "cins/army: 1 reports read again, 1 events, 1 rejects; days replaced: 2026-03-01\n");
    let all = run(waglan(&data).args(["rejects", "retry"]));
    let said = told(&all);
    assert_eq!(all.status.code(), Some(1));
    for expected in ["blocklist-de/all: 1 reports read again", "example/obs: not read again: there is no feed", "cins/army: 1 reports"] {
        assert!(said.contains(expected), "{said}");
    }
    // A report that is kept no more keeps no other of its feed from being read again.
    let other = written(&folder, "other.txt", "192.0.2.2\nnobody\n");
    run(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", "2026-03-05"]).arg(other));
    let gone = value(&data, "SELECT report_id FROM deliveries WHERE feed = 'blocklist-de/all'");
    lose_report(&data, &gone);
    let one = told(&run(waglan(&data).args(["rejects", "retry", "--feed", "cins/army"])));
    assert!(one.contains("cins/army: not read again: the report") && one.contains("days replaced: 2026-03-05"), "{one}");
    let none = run(waglan(&data).args(["rejects", "retry", "--feed", "spamhaus/drop"]));
    assert_eq!((none.status.code(), told(&none).as_str()), (Some(0), "there are no rejects\n"));
    let slip = run(waglan(&data).args(["rejects", "retry", "--feed", "cins/arm"]));
    assert_eq!(slip.status.code(), Some(2));
    assert!(told(&slip).starts_with("error: there is no feed \"cins/arm\"; is it cins/army?"), "{}", told(&slip));
}

/// The rejects of an unchanged list belong to each of its deliveries.
#[test]
fn reading_a_day_again_leaves_other_days_rejects() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let list = written(&folder, "list.txt", "192.0.2.1\nnobody\n");
    for day in ["2026-03-01", "2026-03-02"] {
        run(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", day]).arg(&list));
    }
    run(waglan(&data).args(["reread", "--feed", "cins/army", "--since", "2026-03-02"]));
    let rejects = "SELECT CAST(time AS DATE) AS day, line FROM rejects ORDER BY 1";
    assert_eq!(query(&data, rejects), "day,line\n2026-03-01,2\n2026-03-02,2\n");
}

/// Killed between committing events and recording the delivery; by the next start the feed's table is another one.
#[test]
fn what_an_earlier_table_read_is_read_again_after_a_kill() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    take_obs(&folder, &data, "killed.csv", "192.0.2.1,2026-03-01 23:30:00\n192.0.2.2,2026-03-02 10:00:00\n");
    kill_before_recording(&data);
    obs(&data, " | zone -01:00");
    take_obs(&folder, &data, "next.csv", "192.0.2.3,2026-03-05 10:00:00\n");
    let expected = "ip,time_source\n192.0.2.1,2026-03-02T00:30:00Z\n192.0.2.2,2026-03-02T11:00:00Z\n192.0.2.3,2026-03-05T11:00:00Z\n";
    assert_eq!(query(&data, "SELECT source_ip AS ip, time_source FROM events ORDER BY 1"), expected);
    let recorded = "SELECT count(*) AS deliveries, sum(rows) AS rows, sum(events) AS events, count(DISTINCT table_version) AS versions FROM deliveries";
    assert_eq!(query(&data, recorded), "deliveries,rows,events,versions\n2,3,3,1\n");
}

#[test]
fn what_a_process_committed_that_died_counts_as_its_deliverys() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    let rows = "192.0.2.1,2026-03-01 23:30:00\n192.0.2.2,2026-03-02 10:00:00\n192.0.2.2,2026-03-02 10:00:00\n";
    take_obs(&folder, &data, "obs.csv", rows);
    let recorded = || query(&data, "SELECT rows, events, repeats, days FROM deliveries ORDER BY rows DESC");
    let undisturbed = recorded();
    assert_eq!(undisturbed, "rows,events,repeats,days\n3,2,1,2026-03-01..2026-03-02\n");
    kill_before_recording(&data);
    take_obs(&folder, &data, "next.csv", "192.0.2.2,2026-03-02 10:00:00\n192.0.2.3,2026-03-05 10:00:00\n");
    assert_eq!(recorded(), "rows,events,repeats,days\n3,2,1,2026-03-01..2026-03-02\n2,1,1,\"2026-03-02,2026-03-05\"\n");
}

/// Deliveries that were committed together when the process died, of which one is read otherwise by the next start.
#[test]
fn what_was_committed_together_is_in_nobodys_way() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    let table = std::fs::read_to_string(data.join("feeds/example/obs.toml")).expect("it was written");
    written(&data, "feeds/example/obs.202603.toml", format!("since = \"2026-03-15\"\n{table}"));
    let take = |at: &str, rows: &str| {
        let report = written(&folder, "obs.csv", format!("address,seen\n{rows}"));
        told(&run(waglan(&data).args(["ingest", "--feed", "example/obs", "--at", at]).arg(report)))
    };
    take("2026-03-02", "192.0.2.1,2026-03-01 10:00:00\n192.0.2.1,2026-03-01 10:00:00\nnobody,2026-03-01\n");
    take("2026-03-20", "192.0.2.2,2026-03-01 12:00:00\n192.0.2.1,2026-03-01 10:00:00\n");
    kill_before_recording(&data);
    obs(&data, " | zone -01:00");
    let said = take("2026-03-21", "192.0.2.3,2026-03-09 12:00:00\n");
    assert!(!said.contains("waits") && said.contains("1 rows, 1 new events"), "{said}");
    // The first report by the mended table, the second by that which holds since the middle of March.
    let expected = "ip,time_source\n192.0.2.1,2026-03-01T10:00:00Z\n192.0.2.1,2026-03-01T11:00:00Z\n\
                    192.0.2.2,2026-03-01T12:00:00Z\n192.0.2.3,2026-03-09T12:00:00Z\n";
    assert_eq!(query(&data, "SELECT source_ip AS ip, time_source FROM events ORDER BY 1, 2"), expected);
    let recorded = "SELECT rows, events, repeats, rejects, days, writer <> '' AS whole FROM deliveries ORDER BY time";
    let expected = "rows,events,repeats,rejects,days,whole\n3,1,1,1,2026-03-01,true\n2,2,0,0,2026-03-01,true\n1,1,0,0,2026-03-09,true\n";
    assert_eq!(query(&data, recorded), expected);
    assert_eq!(query(&data, "SELECT raw FROM rejects"), "raw\n\"nobody,2026-03-01\"\n");
    assert!(files_below(&data.join("arrivals")).is_empty());
}

/// What a delivery said is recorded whole, also where only its events were known when the process died and its days cannot be
/// read again.
#[test]
fn a_delivery_that_stays_as_it_was_read_is_recorded_whole() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    take_obs(&folder, &data, "gone.csv", "192.0.2.1,2026-03-01 10:00:00\n192.0.2.4,2026-03-02 10:00:00\n");
    take_obs(&folder, &data, "killed.csv", "192.0.2.1,2026-03-01 10:00:00\n192.0.2.2,2026-03-02 11:00:00\nnobody,2026-03-02 11:00:00\n");
    kill_before_recording(&data);
    let gone = value(&data, "SELECT report_id FROM events WHERE source_ip = '192.0.2.4'");
    lose_report(&data, &gone);
    let table = std::fs::read_to_string(data.join("feeds/example/obs.toml")).expect("it was written");
    written(&data, "feeds/example/obs.toml", table.replace("c2-server", "malware-distribution"));
    take_obs(&folder, &data, "next.csv", "192.0.2.9,2026-03-09 10:00:00\n");
    let recorded = "SELECT rows, events, repeats, rejects, days FROM deliveries ORDER BY rows DESC";
    let expected = "rows,events,repeats,rejects,days\n3,1,1,1,2026-03-01..2026-03-02\n\
                    2,2,0,0,2026-03-01..2026-03-02\n1,1,0,0,2026-03-09\n";
    assert_eq!(query(&data, recorded), expected);
}

/// Rejects were committed, and the process died before the events were; by the next start the table is mended.
#[test]
fn rejects_are_of_the_reading_that_is_recorded() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    take_obs(&folder, &data, "obs.csv", "192.0.2.1,2026-03-01 10:00:00\nnobody,2026-03-01 11:00:00\n192.0.2.3,01/03/2026\n");
    let lines = "SELECT line, \"column\" FROM rejects ORDER BY 1";
    assert_eq!(query(&data, lines), "line,column\n3,address\n4,seen\n");
    kill_before_recording(&data);
    for of_events in ["events", "sightings"] {
        std::fs::remove_dir_all(data.join(of_events)).expect("ours");
    }
    obs(&data, " | time %d/%m/%Y");
    take_obs(&folder, &data, "next.csv", "192.0.2.9,09/03/2026\n");
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), "source_ip\n192.0.2.1\n192.0.2.3\n192.0.2.9\n");
    assert_eq!(query(&data, lines), "line,column\n3,address\n");
}

fn lose_report(data: &Path, id: &str) {
    let kept = files_below(&data.join("reports")).into_iter().find(|file| file.ends_with(id));
    std::fs::remove_file(kept.expect("it is kept")).expect("ours");
}

/// Makes it so that the events of all deliveries are committed and no delivery is recorded.
fn kill_before_recording(data: &Path) {
    for id in query(data, "SELECT id FROM deliveries").lines().skip(1) {
        let arrival = format!(
            "SELECT id, feed, provider, CAST(time AS BIGINT) AS time, origin, report_id, size, table_version, tables FROM deliveries \
             WHERE id = '{id}'"
        );
        written(data, &format!("arrivals/{id}.json"), succeed(waglan(data).args(["query", "--format", "json", &arrival])));
    }
    std::fs::remove_dir_all(data.join("deliveries")).expect("ours");
}

/// No day is of two readings: where the old one cannot be had again a delivery waits, until the table says since when it holds.
#[test]
fn a_delivery_waits_where_its_days_cannot_be_read_again() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let table = |means: &str, since: &str| {
        format!(
            "format = \"csv\"\nmeans = \"{means}\"\nkind = \"c2\"\nasset = \"source.ip\"\ndelivers = \"observations\"\ntlp = \"clear\"\n\
             {since}\n[rows]\naddress = \"source.ip\"\nseen = \"time.source\"\n"
        )
    };
    let old = written(&folder, "old.csv", "address,seen\n192.0.2.1,2026-03-01\n");
    let new = written(&folder, "new.csv", "address,seen\n192.0.2.2,2026-03-01\n192.0.2.3,2026-03-19\n");
    let take = |path: &Path, at: &str| told(&run(waglan(&data).args(["ingest", "--feed", "example/list", "--at", at]).arg(path)));
    let events = || query(&data, "SELECT source_ip, classification_type AS type FROM events ORDER BY 1");
    written(&data, "feeds/example/list.toml", table("c2-server", ""));
    take(&old, "2026-03-02");
    for report in files_below(&data.join("reports")) {
        std::fs::remove_file(report).expect("writable");
    }
    written(&data, "feeds/example/list.toml", table("malware-distribution", ""));
    let said = take(&new, "2026-03-20");
    assert!(said.contains("it waits") && said.contains("is not kept any more: the days 2026-03-01 cannot be read again"), "{said}");
    let doctor = String::from_utf8_lossy(&run(waglan(&data).arg("doctor")).stdout).into_owned();
    assert!(doctor.contains("new.csv of example/list, 2026-03-20T00:00:00Z, waits to be understood"), "{doctor}");
    assert_eq!(events(), "source_ip,type\n192.0.2.1,c2-server\n");

    written(&data, "feeds/example/list.toml", table("c2-server", ""));
    written(&data, "feeds/example/list.202603.toml", table("malware-distribution", "since = \"2026-03-15\""));
    let said = take(&new, "2026-03-20");
    assert!(said.contains("2 new events") && said.contains("is in the store already"), "{said}");
    let both = "source_ip,type\n192.0.2.1,c2-server\n192.0.2.2,malware-distribution\n192.0.2.3,malware-distribution\n";
    assert_eq!(events(), both);
    let said = take(&written(&folder, "more.csv", "address,seen\n192.0.2.4,2026-03-01\n"), "2026-03-21");
    assert!(said.contains("1 new events") && !said.contains("read again"), "each is read as its day wants it: {said}");
}

/// An archive of one file in a folder, packed: how some providers hand out their tables.
fn packed_archive(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in [("Tables_20240101/README.txt", b"read me".as_slice()), (name, bytes)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, bytes).expect("in memory");
    }
    archive.into_inner().and_then(flate2::write::GzEncoder::finish).expect("in memory")
}

/// Answers every request with these bytes, until the test ends.
fn serve(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("http://{}/country-asn.mmdb", listener.local_addr().expect("it is bound"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("somebody asks");
            while !stream.read(&mut [0; 4096]).is_ok_and(|read| read < 4096) {}
            let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", bytes.len());
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes)).expect("the asker listens");
        }
    });
    address
}

#[test]
fn a_table_of_addresses_comes_as_providers_hand_it_out() {
    let folder = TempDir::new().expect("a folder");
    let made_up = folder.path().join("made-up");
    succeed(waglan(&made_up).args(["demo", "--tables-only"]));
    let table = std::fs::read(made_up.join("geo/places/2024-01-01.mmdb")).expect("it was put there");
    let write = |name: &str, bytes: &[u8]| written(&folder, name, bytes).display().to_string();
    let archive = packed_archive("Tables_20240101/places.mmdb", &table);
    let good = [write("places.mmdb", &table), write("places.tar.gz", &archive), serve(table.clone()), serve(archive)];
    for (number, source) in good.iter().enumerate() {
        let data = folder.path().join(format!("data-{number}"));
        let updated = run(waglan(&data).env("NO_PROXY", "127.0.0.1").args(["geo", "update", "--name", "places", source]));
        let said = told(&updated);
        assert!(said.starts_with("places holds from 2024-01-01 on: "), "{source}: {said}");
        assert!(said.contains("note: No table says whose networks addresses are in"), "{source}: {said}");
        assert_eq!(std::fs::read(data.join("geo/places/2024-01-01.mmdb")).expect("it is there"), table, "{source}");
    }
    let data = folder.path().join("bad");
    let bad = [
        (write("empty.mmdb", b""), "the table \"addresses\" is not in the MMDB format"),
        (write("half.mmdb", &table[..table.len() / 2]), "the table \"addresses\""),
        (write("none.tar.gz", &packed_archive("places.csv", b"1,2")), "the archive holds no .mmdb file"),
        (folder.path().join("missing-{month}.mmdb").display().to_string(), "missing-20"),
    ];
    for (source, expected) in bad {
        let refused = run(waglan(&data).args(["geo", "update", &source]));
        let said = told(&refused);
        assert_eq!(refused.status.code(), Some(2), "{source}: {said}");
        assert!(said.contains(expected), "{source}: {said}");
    }
    assert!(!data.join("geo").exists(), "what was refused is not there");
}

#[test]
fn a_new_kind_of_report_is_read_after_an_update() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let document = written(
        &folder,
        "schema.json",
        r#"{
"scan_ssh": {"feed_name": "SSH", "file_name": "scan_ssh"},
"scan_lamp": {
    "feed_name": "Lamps", "file_name": "scan_lamp",
    "constant_fields": {"classification.type": "vulnerable-system"},
    "required_fields": [["time.source", "timestamp", "add_UTC_to_timestamp"], ["source.ip", "ip", "validate_ip"]],
    "optional_fields": [["extra.", "watts", "convert_int"]]
},
"scan_fog": {"feed_name": "Fog", "file_name": "scan_fog"}
}"#,
    );
    let report = written(&folder, "2026-03-02-scan_lamp-example.csv", "timestamp,ip,watts\n2026-03-01 10:00:00,192.0.2.1,60\n");
    let ingest = || run(waglan(&data).args(["ingest", "--provider", "shadowserver"]).arg(&report));
    assert_eq!(ingest().status.code(), Some(2), "nobody knows such a report yet");
    let updated = run(waglan(&data).args(["feed", "update", "shadowserver"]).arg(&document));
    let said = told(&updated);
    assert_eq!(updated.status.code(), Some(1), "{said}");
    assert!(said.contains("3 report types, 1 of them new, 0 with new columns"), "{said}");
    assert!(said.contains("refused: scan_fog: it has no classification.type"), "{said}");
    assert_eq!(ingest().status.code(), Some(0));
    let found = query(&data, "SELECT feed, kind, source_ip, extra FROM events");
    assert_eq!(found, "feed,kind,source_ip,extra\nshadowserver/scan_lamp,exposed,192.0.2.1,\"{\"\"watts\"\":60}\"\n");
}

/// Counts by other engines, of the table by its log; DuckDB's of the files that the log names.
const OTHER_ENGINES: &str = r#"
import json, sys, chdb, duckdb, deltalake
table = deltalake.DeltaTable(sys.argv[1])
arrow = table.to_pyarrow_table(columns=["feed", "in_scope", "source_asn"])
feeds = arrow.group_by("feed").aggregate([([], "count_all")]).to_pylist()
print("deltalake", sorted((row["feed"], row["count_all"]) for row in feeds))
files = table.file_uris()
rows = duckdb.execute("SELECT feed, count(*) FROM read_parquet(?, union_by_name=true) GROUP BY 1 ORDER BY 1", [files]).fetchall()
print("duckdb", rows)
counts = "SELECT feed, toUInt32(count()) FROM deltaLakeLocal({path:String}) GROUP BY 1 ORDER BY 1"
lines = str(chdb.query(counts, "JSONCompactEachRow", params={"path": sys.argv[1]})).splitlines()
print("clickhouse", [tuple(json.loads(line)) for line in lines])
duckdb.execute("CREATE VIEW events AS SELECT * FROM read_parquet($1, union_by_name=true)".replace("$1", repr(files)))
duckdb.execute(f"COPY ({sys.argv[2]}) TO '/dev/stdout' (FORMAT csv, HEADER)")
"#;

/// What both engines must say alike of columns that say one thing, many things and nothing.
const ALIKE: &str = "SELECT feed, report_id, kind, severity, count(tables) AS tabled, count(malware_name) AS named, min(source_asn) AS least_asn, \
    max(source_port) AS last_port, count(source_geolocation_latitude) AS placed, max(source_geolocation_latitude) AS north, \
    count(in_scope) AS judged, count(DISTINCT id) AS ids, count(extra) AS with_more \
    FROM events GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";

#[test]
fn other_engines_read_the_table_as_it_lies() {
    let python = std::env::var_os("WAGLAN_TEST_PYTHON").expect("`cargo xtask test` prepares a Python with other engines, and says where");
    let folder = TempDir::new().expect("a folder");
    let handed = days(folder.path(), "2024-02-14", "2024-02-15", &FEEDS);
    let data = folder.path().join("data");
    ingest_all(&data, &handed);
    let counted = query(&data, "SELECT feed, count(*) AS events FROM events GROUP BY 1 ORDER BY 1");
    let pairs: Vec<String> = counted
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').map(|(feed, events)| format!("('{feed}', {events})")).expect("two columns"))
        .collect();
    assert_eq!(pairs.len(), FEEDS.len());
    // ClickHouse reads no file outside the folder that it is in.
    let output = run(Command::new(python).args(["-c", OTHER_ENGINES]).arg(data.join("events")).arg(ALIKE).current_dir(&data));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = format!("deltalake [{0}]\nduckdb [{0}]\nclickhouse [{0}]\n{1}", pairs.join(", "), query(&data, ALIKE));
    assert_eq!(said, expected, "{}", told(&output));
}

/// What is packed and damaged is read as far as it goes; it must not stand in anyone's way.
#[test]
fn a_damaged_report_is_read_up_to_the_damage() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let whole = packed(b"http://a.example/1\nhttp://b.example/2\nhttp://c.example/3\n", Compression::none());
    let cut = written(&folder, "cut.txt.gz", &whole[..whole.len() - 16]);
    let garbage = written(&folder, "garbage.txt.gz", b"\x1f\x8b\x08\x00and then nothing that unpacks");
    let nested = written(&folder, "nested.txt.gz", packed(b"PK\x03\x04 a zip", Compression::none()));
    let sound = written(&folder, "sound.txt", b"http://d.example/4\n");
    let take = |path: &Path, at: &str| run(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", at]).arg(path)).status.code();
    assert_eq!(take(&cut, "2026-03-02"), Some(1));
    assert_eq!(take(&garbage, "2026-03-03"), Some(1));
    take(&nested, "2026-03-04");
    assert_eq!(take(&sound, "2026-03-05"), Some(0), "the next one is taken in as ever");
    let found = query(&data, "SELECT source_fqdn FROM events ORDER BY 1");
    assert_eq!(found, "source_fqdn\na.example\nb.example\nd.example\n");
    let rejects = query(&data, "SELECT line, reason FROM rejects WHERE reason LIKE '%damaged%' ORDER BY time");
    assert!(rejects.contains("\n3,\"the report ends here, for it is damaged: "), "{rejects}");
    assert_eq!(query(&data, "SELECT line, raw FROM rejects WHERE reason = 'the row is cut off'"), "line,raw\n3,http://c.ex\n");
    assert_eq!(rejects.lines().count(), 3, "{rejects}");
}

/// Files, packed into a zip with this name.
fn zipped(folder: &TempDir, name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (file, bytes) in files {
        let as_it_is = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(*file, as_it_is).expect("in memory");
        archive.write_all(bytes).expect("in memory");
    }
    written(folder, name, archive.finish().expect("in memory").into_inner())
}

/// Of each feed by its own name or beginning; what cannot be read or is nobody's keeps no other out.
#[test]
fn a_zip_holds_reports_of_several_feeds() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let sample = |feed: &str| succeed(waglan(&data).args(["feed", "sample", feed]));
    let [ftp, ssh, ssh6] = ["scan_ftp", "scan_ssh", "scan6_ssh"].map(|name| sample(&format!("shadowserver/{name}")));
    let ssh_packed = packed(ssh.as_bytes(), Compression::best());
    let files: [(&str, &[u8]); 6] = [
        ("2026-03-01-scan_ftp-example.csv", ftp.as_bytes()),
        ("in/a/folder/4.csv.gz", &ssh_packed),
        ("6.csv", ssh6.as_bytes()),
        ("notes.txt", b"for you\n"),
        ("2026-03-01-scan_dns-example.csv", b"MARK of a file whose bytes are not those that were packed"),
        ("2026-03-01-scan_rdp-example.csv.gz", b"\x1f\x8b\x08\x00 and then nothing that unpacks"),
    ];
    let archive = zipped(&folder, "reports.zip", &files);
    let mut bytes = std::fs::read(&archive).expect("readable");
    let mark = bytes.windows(4).position(|window| window == b"MARK").expect("it is not packed");
    bytes[mark] = b'B';
    std::fs::write(&archive, bytes).expect("writable");

    let output = run(waglan(&data).args(["ingest", "--provider", "shadowserver"]).arg(&archive));
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("reports.zip!notes.txt: no feed of shadowserver has files like \"notes.txt\""), "{said}");
    assert!(said.contains("reports.zip!2026-03-01-scan_dns-example.csv: ") && said.contains("checksum"), "{said}");
    let feeds = "SELECT feed, sum(events) AS events, sum(rejects) AS rejects FROM deliveries GROUP BY 1 ORDER BY 1";
    let expected = ["feed,events,rejects", "scan6_ssh,1,0", "scan_ftp,1,0", "scan_rdp,0,1", "scan_ssh,1,0", ""].join("\nshadowserver/");
    assert_eq!(query(&data, feeds), expected.trim_end_matches("shadowserver/"), "what is damaged in itself is kept, as a reject");
    let at = "SELECT CAST(time AS DATE) AS day FROM deliveries WHERE feed = 'shadowserver/scan_ftp'";
    assert_eq!(query(&data, at), "day\n2026-03-01\n", "a file in a zip may say its day");

    let sound = zipped(&folder, "sound.zip", &files[..2]);
    let parsed = run(waglan(&data).args(["parse", "--provider", "shadowserver"]).arg(&sound));
    let (ftp, ssh) = (ftp.lines().count() - 1, ssh.lines().count() - 1);
    assert!(told(&parsed).contains(&format!("{} events of {} rows", ftp + ssh, ftp + ssh)), "{}", told(&parsed));
}

#[test]
fn a_warning_list_marks_events_and_only_what_is_chosen_is_not_counted() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let list = |name: &str, form: &str, entries: &str| {
        let text = format!("{{\"name\": \"{name}\", \"version\": 1, \"type\": \"{form}\", \"list\": [{entries}]}}");
        drop(written(&data, &format!("warnings/{name}/2024-01-01.json"), text));
    };
    list("Resolvers", "string", "\"192.0.2.53\"");
    list("Large sites", "hostname", "\"example.com\"");
    list("Later", "cidr", "\"192.0.2.0/24\"");
    std::fs::rename(data.join("warnings/Later/2024-01-01.json"), data.join("warnings/Later/2027-01-01.json")).expect("writable");
    written(&data, "waglan.toml", "[[suppress]]\nlist = \"Resolvers\"\nkinds = [\"listing\"]\nfeeds = [\"cins/*\"]\n");
    written(&data, "warnings/Later/2024-01-01.json", "{\"name\": \"Later\", \"version\": 1, \"type\": \"cidr\", \"list\": []}");
    let take = |feed: &str, report: &str| {
        let path = written(&folder, "report.txt", report);
        succeed(waglan(&data).args(["ingest", "--feed", feed, "--at", "2026-03-03T06:00:00Z"]).arg(path))
    };
    take("cins/army", "192.0.2.53\n192.0.2.1\n10.1.2.3\n");
    take("openphish/feed", "http://192.0.2.53/login\nhttps://www.example.com/login\nhttp://10.0.0.1/\n");
    let marked = query(&data, "SELECT coalesce(source_url, source_ip) AS asset, warnings, suppressed FROM events ORDER BY asset");
    let expected = "asset,warnings,suppressed\n10.1.2.3,Impossible addresses,Impossible addresses\n192.0.2.1,,\n192.0.2.53,Resolvers,Resolvers\n\
                    http://10.0.0.1/,Impossible addresses,\nhttp://192.0.2.53/login,Resolvers,\n\
                    https://www.example.com/login,Large sites,\n";
    assert_eq!(marked, expected, "a site is told by its URL, which is on no list that suppresses");
    let seen = query(&data, "SELECT asset FROM sightings ORDER BY asset");
    assert_eq!(seen, "asset\n192.0.2.1\nhttp://10.0.0.1/\nhttp://192.0.2.53/login\nhttps://www.example.com/login\n");
    written(&data, "warnings/Bad/2024-01-01.json", "{\"name\": \"Bad\", \"type\": \"cidr\"");
    let refused = run(waglan(&data).arg("doctor"));
    let said = String::from_utf8_lossy(&refused.stdout).into_owned() + &told(&refused);
    assert!(refused.status.code() != Some(0) && said.contains("warnings/Bad/2024-01-01.json"), "{said}");
}

#[test]
fn warning_lists_are_put_in_place_by_a_command() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let list =
        |name: &str| format!("{{\"name\": \"{name}\", \"version\": 1, \"type\": \"cidr\", \"list\": [\"192.0.2.0/24\", \"nothing\"]}}");
    written(&folder, "lists/known-resolvers/list.json", list("Resolvers"));
    written(&folder, "lists/vpn.json", list("VPN"));
    written(&folder, "lists/broken.json", "{\"name\": \"Broken\"");
    let output = run(waglan(&data).args(["warnings", "add"]).arg(folder.path().join("lists")));
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("lists/broken.json is not put in place: ") && said.contains("known-resolvers holds from "), "{said}");
    let listed = succeed(waglan(&data).args(["warnings", "list", "--format", "csv"]));
    let columns = |line: &str| {
        line.split(',').enumerate().filter(|(place, _)| *place != 2).map(|(_, cell)| cell.to_owned()).collect::<Vec<_>>().join(",")
    };
    let lines: Vec<String> = listed.lines().map(columns).collect();
    assert_eq!(
        lines,
        [
            "list,table,matching,entries,unusable",
            "Resolvers,known-resolvers,cidr,1,1",
            "VPN,vpn,cidr,1,1",
            "Impossible addresses,impossible,cidr,16,0"
        ],
        "all but the day from which each holds"
    );
    let path = written(&folder, "report.txt", "192.0.2.53\n");
    succeed(waglan(&data).args(["ingest", "--feed", "cins/army"]).arg(path));
    assert_eq!(value(&data, "SELECT warnings FROM events"), "Resolvers; VPN");
}

/// A list is not taken for another that has nearly its name.
#[test]
fn warning_lists_of_several_names_are_several() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let list = |name: &str| format!("{{\"name\": \"{name}\", \"version\": 1, \"type\": \"cidr\", \"list\": [\"192.0.2.0/24\"]}}");
    for (file, name) in [
        ("lists/dns.google.json", "Google"),
        ("lists/dns.cloudflare.json", "Cloudflare"),
        ("lists/top.1000/list.json", "Top"),
        ("same/a b.json", "A"),
        ("same/a-b.json", "B"),
        ("far/解析器.json", "Resolvers"),
    ] {
        written(&folder, file, list(name));
    }
    let add = |what: &str, more: &[&str]| run(waglan(&data).args(["warnings", "add"]).arg(folder.path().join(what)).args(more));
    let added = add("lists", &[]);
    assert_eq!(added.status.code(), Some(0), "{}", told(&added));
    for (what, expected) in [("same", "a-b.json would both be the list a-b"), ("far", "解析器.json has others: give it one with --name")]
    {
        let refused = add(what, &[]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(told(&refused).contains(expected), "{}", told(&refused));
    }
    assert_eq!(add("far/解析器.json", &["--name", "resolvers"]).status.code(), Some(0));
    let listed = succeed(waglan(&data).args(["warnings", "list", "--format", "csv"]));
    let names: Vec<String> = listed.lines().skip(1).map(|line| line.split(',').take(2).collect::<Vec<_>>().join(" is ")).collect();
    let expected = [
        "Cloudflare is dns-cloudflare",
        "Google is dns-google",
        "Resolvers is resolvers",
        "Top is top-1000",
        "Impossible addresses is impossible",
    ];
    assert_eq!(names, expected);
}

/// Who reads the results may go; that something else broke off is said.
#[test]
fn only_that_nobody_reads_the_results_is_no_failure() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let good: String = (0..5000).map(|number| format!("192.0.{}.{}\n", number / 250, number % 250)).collect();
    let (good, bad) = (written(&folder, "good.txt", good), written(&folder, "bad.txt", "no address\n".repeat(5000)));
    succeed(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", "2026-03-01"]).arg(&good));
    let sql = "SELECT source_ip, warnings FROM events";
    let parse = ["parse", "--feed", "cins/army", "--at", "2026-03-01", good.to_str().expect("text")];
    for arguments in [&parse as &[_], &["query", sql], &["query", "--format", "csv", sql], &["query", "--format", "json", sql]] {
        let mut child = waglan(&data).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), told(&output)), (Some(0), String::new()), "{arguments:?}");
    }

    let pipe = folder.path().join("pipe");
    succeed(Command::new("mkfifo").arg(&pipe));
    let mut command = waglan(&data);
    command.args(["parse", "--feed", "cins/army", "--rejects"]).arg(&pipe).arg(&bad);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(std::fs::File::open(&pipe).expect("it is written to"));
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("error: writing rejects: Broken pipe"), "{}", told(&output));
}

#[test]
fn archives_within_archives_are_as_many_deliveries_as_they_have_files() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let list = |number: u8| format!("192.0.2.{number}\n").into_bytes();
    let bz2 = {
        let mut packed = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
        packed.write_all(&list(2)).and_then(|()| packed.finish()).expect("in memory")
    };
    let inner = std::fs::read(zipped(&folder, "inner.zip", &[("ci-badguys.txt", &list(3)), ("broken.zip", b"PK\x03\x04 no zip")]))
        .expect("written");
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in [("today/ci-badguys.txt", list(1)), ("today/bz2/ci-badguys.txt", bz2), ("inner.zip", inner)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, bytes.as_slice()).expect("in memory");
    }
    let archive = packed(&archive.into_inner().expect("in memory"), Compression::best());
    let path = written(&folder, "all.tar.gz", packed(&archive, Compression::best()));
    let taken = run(waglan(&data).args(["ingest", "--provider", "cins", "--at", "2026-03-03T06:00:00Z"]).arg(&path));
    assert_eq!(taken.status.code(), Some(1), "{}", told(&taken));
    assert!(told(&taken).contains("all.tar.gz!inner.zip!broken.zip: "), "{}", told(&taken));
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY source_ip"), "source_ip\n192.0.2.1\n192.0.2.2\n192.0.2.3\n");
    let within = query(&data, "SELECT split_part(origin, 'all.tar.gz', 2) AS within FROM deliveries ORDER BY within");
    assert_eq!(within, "within\n!ci-badguys.txt\n!ci-badguys.txt\n!inner.zip!ci-badguys.txt\n");
}

#[test]
fn a_column_that_is_lost_or_gained_is_said_once() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let report = |day: &str, header: &str| {
        let name = format!("2026-03-{day}-blocklist-example.csv");
        written(&folder, &name, format!("{header}\n2026-03-{day} 10:00:00,192.0.2.{day},a,b\n"))
    };
    let header = "timestamp,ip,source,mood";
    let days = ["11", "12", "13"].map(|day| report(day, header));
    let ingest = |files: &[PathBuf]| told(&run(waglan(&data).args(["ingest", "--provider", "shadowserver"]).args(files)));
    let warnings = |said: &str| said.matches("the columns are not those of the feed's table: lost ").count();
    assert_eq!(warnings(&ingest(&days[..2])), 1);
    assert_eq!(warnings(&ingest(&days[2..])), 0, "nor by a later command");
    let said = ingest(&[report("14", "timestamp,ip,source,colour")]);
    assert!(warnings(&said) == 1 && said.contains("gained colour"), "another change is said: {said}");
    let names = ["ip_address", "port", "status", "hostname", "as_number", "as_name", "country", "first_seen", "last_online", "family"];
    let row: Vec<String> =
        names.iter().map(|name| format!("\"{name}\": {}", if *name == "ip_address" { "\"192.0.2.1\"" } else { "null" })).collect();
    let document = written(&folder, "list.json", format!("[{{{}}}]", row.join(", ")));
    let said = told(&run(waglan(&data).args(["ingest", "--feed", "abuse-ch/feodotracker", "--at", "2026-03-14"]).arg(&document)));
    assert!(said.contains("abuse-ch/feodotracker: the columns are not those of the feed's table: lost malware; gained family\n"), "{said}");
    assert_eq!(query(&data, "SELECT count(*) AS events FROM events"), "events\n5\n");
}

#[test]
fn a_file_that_nobody_knows_keeps_no_other_out() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let sound = written(&folder, "sound.txt", "http://a.example/1\n");
    let output = run(waglan(&data).args(["ingest", "--feed", "openphish/feed"]).args([
        &folder.path().join("missing.txt"),
        &sound,
        &folder.path().to_path_buf(),
    ]));
    let said = told(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("missing.txt: opening") && said.contains("is not a file") && said.contains("1 new events"), "{said}");
    assert!(said.contains("No table says where addresses are"), "{said}");
    assert_eq!(query(&data, "SELECT count(*) AS events FROM events"), "events\n1\n");
}

#[test]
fn reports_expire_when_all_their_deliveries_have() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let (old, again) = (written(&folder, "old.txt", "http://a.example/1\n"), written(&folder, "again.txt", "http://b.example/2\n"));
    let take = |path: &Path, at: &str| succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", at]).arg(path));
    take(&old, "2025-01-01");
    take(&again, "2025-01-01");
    succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed"]).arg(&again));
    std::fs::write(data.join("waglan.toml"), "[retention.reports]\n\"*\" = 30\n").expect("writable");
    let retained = run(waglan(&data).args(["store", "retain"]));
    let said = told(&retained);
    assert!(said.contains("0 events taken out or shortened, 0 rejects taken out, 0 sightings shortened; 1 kept reports deleted"), "{said}");
    assert_eq!(files_below(&data.join("reports")).len(), 1);
    let reread = run(waglan(&data).args(["reread", "--feed", "openphish/feed"]));
    let said = told(&reread);
    assert!(said.contains("is not kept any more"), "{said}");
    for (wrong, why) in [("memory = 0", "memory = 0: it is at least 64"), ("[retention.fields.\"*\"]\n\"time.source\" = 1", "time_source")]
    {
        std::fs::write(data.join("waglan.toml"), wrong).expect("writable");
        let refused = run(waglan(&data).args(["store", "retain"]));
        let said = told(&refused);
        assert!(refused.status.code() == Some(2) && said.contains(why), "{said}");
    }
}

#[test]
fn the_doctor_knows_what_is_missing_and_what_is_wrong() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    succeed(waglan(&data).args(["demo", "--tables-only"]));
    let doctor = || {
        let output = run(waglan(&data).arg("doctor"));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said) = doctor();
    assert!(code == Some(0) && !said.contains("BAD"), "the scope is a table of the folder: {said}");
    std::fs::remove_dir_all(data.join("scope")).expect("it is there");
    let (code, said) = doctor();
    assert!(code == Some(1) && said.contains("BAD  No scope is set"), "{said}");
    std::fs::write(data.join("waglan.toml"), "[scope]\ncountries = [\"Hongkong\"]\n").expect("writable");
    let (code, said) = doctor();
    assert!(code == Some(1) && said.contains("countries: \"Hongkong\": not a country's two letters"), "{said}");
    std::fs::remove_file(data.join("waglan.toml")).expect("it is there");
    let entry = files_below(&data.join("deliveries/_delta_log")).pop().expect("there is one");
    let in_2100 = std::time::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    std::fs::File::options().append(true).open(entry).and_then(|entry| entry.set_modified(in_2100)).expect("it is ours");
    let (code, said) = doctor();
    assert!(code == Some(1) && said.contains(": one of both clocks is wrong"), "{said}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&data).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else may read it");
    // Before there is any data, the tables of feeds are looked at.
    std::fs::remove_dir_all(&data).expect("ours");
    let own = folder.path().join("own");
    written(&own, "nobody/list.toml", "name = 1");
    let configuration = written(&folder, "waglan.toml", format!("feeds = \"{}\"\n", own.display()));
    let said = run(waglan(&data).arg("doctor").arg("--config").arg(configuration));
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("BAD  the table nobody/list.toml") && said.contains("BAD  the store at"), "{said}");
}

/// Of a person nothing is left after its days, in no table; the most specific rule holds; days of sightings are still counted.
#[test]
fn what_expired_is_in_no_table() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let report = |name: &str, rows: &str| {
        let name = format!("2025-01-01-{name}-example.csv");
        let header = "timestamp,severity,data_sets,password_hash,geo,region,city,account,username,email,domain,url";
        written(&folder, &name, format!("{header}\n{rows}"))
    };
    let leaked =
        report("compromised_account", "2025-01-01 10:00:00,high,,,,,,,,jane.doe@example.org,,\nno time,,,,,,,,,joe@example.org,,\n");
    run(waglan(&data).args(["ingest", "--feed", "shadowserver/compromised_account", "--at", "2025-01-01"]).arg(&leaked));
    let listed = written(&folder, "list.txt", "http://a.example/1\n");
    succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", "2025-01-01"]).arg(&listed));
    assert_eq!(query(&data, "SELECT count(*) AS sightings FROM sightings WHERE asset = 'jane.doe@example.org'"), "sightings\n1\n");
    let rules = "[retention.fields.\"shadowserver/*\"]\n\"source.account\" = 30\n\"extra.email\" = 30\n";
    std::fs::write(data.join("waglan.toml"), rules).expect("writable");
    let said = told(&run(waglan(&data).args(["store", "retain"])));
    assert_eq!(said, "1 events taken out or shortened, 1 rejects taken out, 1 sightings shortened; 0 kept reports deleted\n");
    let account = "SELECT source_account, extra FROM events WHERE feed LIKE 'shadowserver/%'";
    assert_eq!(query(&data, account), "source_account,extra\n,{}\n", "the event stays, without what named a person");
    let rules = "[retention.events]\n\"*\" = 30\n\"openphish/feed\" = 100000\n\"openfish/*\" = 1\n";
    std::fs::write(data.join("waglan.toml"), rules).expect("writable");
    let said = told(&run(waglan(&data).args(["store", "retain"])));
    assert!(said.starts_with("[retention.events] speaks of \"openfish/*\", which is no feed that is known.\n1 events"), "{said}");
    assert_eq!(query(&data, "SELECT feed FROM events"), "feed\nopenphish/feed\n");
    let left = "SELECT feed, count(DISTINCT key) AS things, count(asset) AS named FROM sightings GROUP BY 1 ORDER BY 1";
    assert_eq!(query(&data, left), "feed,things,named\nopenphish/feed,1,1\nshadowserver/compromised_account,1,0\n");
    assert_eq!(query(&data, "SELECT count(*) AS rejects FROM rejects"), "rejects\n0\n");
}

#[test]
fn names_are_taken_apart_in_any_case_and_only_names() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let report = written(&folder, "report.txt", "http://a.example/1\n");
    succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed"]).arg(&report));
    let of = |host: &str| {
        query(&data, &format!("SELECT registrable_domain('{host}') AS a, public_suffix('{host}') AS b, top_level_domain('{host}') AS c"))
    };
    assert_eq!(of("WWW.Example.CO.UK"), "a,b,c\nexample.co.uk,co.uk,uk\n");
    assert_eq!(of("1.2.3.4"), "a,b,c\n,,\n");
    assert_eq!(of("http://www.example.com/"), "a,b,c\n,,\n");
    let idf = run(waglan(&data).args(["query", "--format", "idf", "SELECT * FROM events"]));
    let line: serde_json::Value = serde_json::from_slice(&idf.stdout).expect("one event");
    assert_eq!((&line["feed.name"], &line["source.domain_suffix"]), (&"Community feed".into(), &"example".into()), "{line}");
    let read = written(&folder, "events.json", &idf.stdout);
    let parsed = run(waglan(&data).args(["parse", "--feed", "intelmq/events", "--format", "idf"]).arg(&read));
    let again: serde_json::Value = serde_json::from_slice(&parsed.stdout).expect("one event");
    assert_eq!(again["source.domain_suffix"], line["source.domain_suffix"], "what was written can be read");
    let nothing = run(waglan(&data).args(["query", "--format", "idf", "SELECT 1 AS one"]));
    assert_eq!(nothing.status.code(), Some(2));
    let partly = run(waglan(&data).args(["query", "--format", "idf", "SELECT source_fqdn, count(*) AS times FROM events GROUP BY 1"]));
    assert!(told(&partly).contains("not written, for no event has such a column: times"), "{}", told(&partly));
    let value = |key: &str| query(&data, &format!(r#"SELECT json_text('{{"a":"x, y","b":[1,{{"c":2.50}}],"n":null}}', '{key}') AS value"#));
    assert_eq!(value("a"), "value\n\"x, y\"\n");
    assert_eq!(value("b"), "value\n\"[1,{\"\"c\"\":2.5}]\"\n");
    assert_eq!(value("n"), value("none"));
    assert_eq!(query(&data, "SELECT json_text('no JSON', 'a') IS NULL AS nothing"), "nothing\ntrue\n");
    assert_eq!(query(&data, "SELECT array_agg(source_fqdn) AS hosts, 1 AS one FROM events"), "hosts,one\n\"[\"\"a.example\"\"]\",1\n");
}

#[test]
fn a_table_of_ones_own_is_checked_with_the_sample_beside_it() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let own = data.join("feeds/mycert");
    let table = "format = \"csv\"\nmeans = \"infected-system\"\nkind = \"bot\"\nasset = \"source.ip\"\ndelivers = \"observations\"\ntlp = \"amber\"\n\
        columns = \"seen ip\"\n[rows]\nseen = \"time.source\"\nip = \"source.ip\"\n";
    written(&own, "bots.toml", table);
    written(&own, "bad.toml", "format = \"parchment\"\n");
    let check = || {
        let output = run(waglan(&data).args(["feed", "check", "mycert/bots"]));
        (output.status.code(), told(&output))
    };
    let (_, said) = check();
    assert!(said.contains("it has no sample: put a report") && said.contains("mycert/bad.toml"), "{said}");
    std::fs::remove_file(own.join("bad.toml")).expect("it was there");
    written(&own, "bots.sample", "seen,ip\n2026-03-01 10:00:00,192.0.2.1\n");
    assert_eq!(check().0, Some(0));
    let sample = run(waglan(&data).args(["feed", "sample", "mycert/bots"]));
    assert!(sample.stdout.starts_with(b"seen,ip\n"));
}

#[test]
fn an_impossible_time_stops_nothing() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let report = written(&folder, "1601-01-01-feed.txt", "http://a.example/1\n");
    let output = run(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", "0001-01-01"]).arg(&report));
    let said = told(&output);
    assert!(output.status.code() == Some(2) && said.contains("a time before 1970 or after 2199"), "{said}");
    succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed"]).arg(&report));
    assert_eq!(query(&data, "SELECT count(*) AS sightings FROM sightings"), "sightings\n1\n");
}

#[test]
fn a_person_is_erased_from_every_report() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let name = "jane.doe@example.org";
    let row = |id: &str, value: &str, by: &str| {
        format!(
            "\"{id}\": [{{\"ioc_value\": \"{value}\", \"ioc_type\": \"ip:port\", \"threat_type\": \"botnet_cc\", \"reporter\": \"{by}\"}}]"
        )
    };
    let first = written(&folder, "1.json", format!("{{{}}}", row("1", "192.0.2.1:443", name)));
    let repeat = written(&folder, "2.json", format!("{{{}, {}}}", row("1", "192.0.2.1:443", name), row("2", "192.0.2.2:443", "other")));
    let rejected = written(&folder, "3.json", format!("{{{}, {}}}", row("3", "no address", name), row("4", "192.0.2.4:443", "other")));
    for report in [&first, &repeat, &rejected] {
        run(waglan(&data).args(["ingest", "--feed", "abuse-ch/threatfox", "--at", "2026-03-02"]).arg(report));
    }
    succeed(waglan(&data).args(["store", "erase", "--person", name, "--reason", "on request"]));
    for again in [["rejects", "retry", "--feed", "abuse-ch/threatfox"].as_slice(), &["reread", "--feed", "abuse-ch/threatfox"]] {
        succeed(waglan(&data).args(again));
    }
    for file in files_below(&data.join("reports")) {
        let text = String::from_utf8(std::fs::read(&file).expect("readable")).expect("as it came");
        assert!(!text.contains(name), "it is still in {}", file.display());
    }
    let left = |table: &str, column: &str| query(&data, &format!("SELECT count(*) AS named FROM {table} WHERE {column} LIKE '%{name}%'"));
    assert_eq!([left("events", "extra"), left("rejects", "raw")], ["named\n0\n", "named\n0\n"]);
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), "source_ip\n192.0.2.2\n192.0.2.4\n");
    assert_eq!(query(&data, "SELECT count(*) AS rejects FROM rejects"), "rejects\n0\n");
}

#[test]
fn a_person_is_erased_from_addresses_of_web_pages() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let urls = "http://a.example.net/?u=jane.doe%40example.org\nhttp://b.example.net/?to=http%3A%2F%2Fc.example%2F%3Fu%3DJane.Doe%40example.org%26x\n\
                http://d.example.net/?u=jane.doe%40example.org.example.com\n";
    let list = written(&folder, "feed.txt", urls);
    succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", "2026-03-02"]).arg(list));
    let named = run(waglan(&data).args(["store", "erase", "--person", "jane.doe@example.org", "--reason", "Jane.Doe@example.org asks"]));
    assert_eq!(told(&named), "error: the reason names what is to be erased, and is kept for ever: say it without\n");
    succeed(waglan(&data).args(["store", "erase", "--person", "jane.doe@example.org", "--reason", "on request"]));
    let left = "source_url\nhttp://d.example.net/?u=jane.doe%40example.org.example.com\n";
    assert_eq!(query(&data, "SELECT source_url FROM events"), left);
    assert_eq!(query(&data, "SELECT count(*) AS n FROM sightings"), "n\n1\n");
    succeed(waglan(&data).args(["reread", "--feed", "openphish/feed"]));
    let named = query(&data, "SELECT count(*) AS n FROM events WHERE source_url LIKE '%doe%' AND source_url NOT LIKE '%example.com'");
    assert_eq!(named, "n\n0\n");
}

/// An erased report is in no version of any table; what others said as well stays.
#[test]
fn an_erased_report_is_in_no_version() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let first = written(&folder, "1.txt", "http://both.example/\nhttp://first.example/\n");
    let second = written(&folder, "2.txt", "http://both.example/\nhttp://second.example/\n");
    for report in [&first, &second] {
        succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", "2026-03-02"]).arg(report));
    }
    let report = value(&data, "SELECT DISTINCT report_id FROM events WHERE source_fqdn = 'first.example'");
    let files_of = |table: &str| {
        let of_table = files_below(&data.join(table)).into_iter();
        of_table.filter(|file| file.extension().is_some_and(|kind| kind == "parquet" || kind == "json")).collect::<Vec<PathBuf>>()
    };
    let before: Vec<PathBuf> = ["events", "deliveries", "sightings"].into_iter().flat_map(files_of).collect();
    succeed(waglan(&data).args(["store", "erase", "--report", &report, "--reason", "by order"]));
    assert_eq!(query(&data, "SELECT source_fqdn FROM events ORDER BY 1"), "source_fqdn\nboth.example\nsecond.example\n");
    assert_eq!(query(&data, "SELECT asset FROM sightings ORDER BY 1"), "asset\nhttp://both.example/\nhttp://second.example/\n");
    assert!(!before.is_empty() && before.iter().all(|file| !file.exists()), "no older version can be read");
}

/// What the engine does not count counts too.
#[test]
fn a_query_that_takes_too_much_is_stopped() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    written(&data, "waglan.toml", "[query]\nseconds = 2\nmemory = 64\n");
    let list = written(&folder, "list.txt", "192.0.2.1\n");
    succeed(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", "2026-03-02"]).arg(list));
    let long = "SELECT count(*) FROM generate_series(1, 200000) AS a(x), generate_series(1, 200000) AS b(y) \
                WHERE regexp_like(CAST(x * y AS VARCHAR), '(9[0-8])+7{9}')";
    let table = [
        ("SELECT max(length(repeat(source_ip, 100000000))) FROM events", "more memory than its limit of 64 MiB"),
        (long, "longer than its limit of 2 s"),
    ];
    for (sql, expected) in table {
        let since = std::time::Instant::now();
        let output = run(waglan(&data).args(["query", sql]));
        assert!(output.status.code() == Some(2) && told(&output).contains(expected), "{sql}: {}", told(&output));
        assert!(since.elapsed() < Duration::from_secs(20), "{sql} went on for {} s", since.elapsed().as_secs());
    }
}

/// Packed so that the name cannot be seen, so that it can, and damaged.
#[test]
fn a_packed_report_with_an_erased_person_comes_back_by_no_way() {
    let rows = r#"{"1": [{"ioc_value": "192.0.2.1:443", "ioc_type": "ip:port", "threat_type": "botnet_cc", "reporter": "somebody@example.org"}],
        "2": [{"ioc_value": "192.0.2.2:443", "ioc_type": "ip:port", "threat_type": "botnet_cc", "reporter": "other"}]}"#;
    let (shorter, stored) = (packed(rows.as_bytes(), Compression::best()), packed(rows.as_bytes(), Compression::none()));
    for (name, bytes) in [("1.json.gz", shorter.as_slice()), ("2.json.gz", &stored), ("3.json.gz", &stored[..stored.len() - 4])] {
        let folder = TempDir::new().expect("a folder");
        let data = folder.path().join("data");
        let report = written(&folder, name, bytes);
        let kept = || files_below(&data.join("reports")).len();
        let take = |day: &str| run(waglan(&data).args(["ingest", "--feed", "abuse-ch/threatfox", "--at", day]).arg(&report));
        take("2026-03-02");
        assert_eq!(kept(), 1, "{name}");
        succeed(waglan(&data).args(["store", "erase", "--person", "somebody@example.org", "--reason", "on request"]));
        assert_eq!(kept(), 0, "{name}");
        take("2026-03-02");
        let said = told(&take("2026-03-03"));
        assert!(said.contains("this report was erased, or a person in it: it is not taken in again"), "{name}: {said}");
        assert_eq!(kept(), 0, "{name}: neither the delivery that is known nor a later one brings its bytes back");
        let said = told(&run(waglan(&data).args(["reread", "--feed", "abuse-ch/threatfox"])));
        assert!(said.contains("is not kept any more: the days 2026-03-02 cannot be read again"), "{name}: {said}");
        assert_eq!(query(&data, "SELECT source_ip FROM events"), "source_ip\n192.0.2.2\n", "{name}: the others' events stay");
    }
}

/// Once a report has expired in which a person was made unreadable, it does not come back with them.
#[test]
fn an_expired_report_with_an_erased_person_does_not_come_back() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    written(&data, "waglan.toml", "[retention.reports]\n\"*\" = 10\n");
    let report = written(&folder, "1.txt", "http://a.example/?u=jane@example.org\nno URL, jane@example.org\nhttp://b.example/\n");
    let take = |at: &str| run(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", at]).arg(&report));
    take("2026-03-02");
    succeed(waglan(&data).args(["store", "erase", "--person", "jane@example.org", "--reason", "on request"]));
    assert_eq!(query(&data, "SELECT rows, events, erased FROM deliveries"), "rows,events,erased\n3,1,1\n");
    let again = told(&take("2026-03-03"));
    assert!(again.contains("3 rows, 1 new events, 2 erased before"), "{again}");
    let retained = told(&run(waglan(&data).args(["store", "retain"])));
    assert!(retained.contains("1 kept reports deleted"), "{retained}");
    let refused = told(&take("2026-03-04"));
    assert!(refused.contains("this report was erased, or a person in it: it is not taken in again"), "{refused}");
    assert!(files_below(&data.join("reports")).is_empty());
    assert_eq!(query(&data, "SELECT count(*) AS n FROM rejects"), "n\n0\n");
}

/// What only other reports say stays, also where the erasure is cut short, and what cannot be read again is said.
#[test]
fn an_erasure_that_was_cut_short_is_repeated() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let take = |name: &str, text: &str| {
        let list = written(&folder, name, text);
        succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", "2026-03-02"]).arg(list));
    };
    take("1.txt", "http://both.example/\nhttp://first.example/\n");
    take("2.txt", "http://both.example/\nhttp://second.example/\n");
    let first = value(&data, "SELECT report_id FROM deliveries WHERE origin LIKE '%1.txt'");
    let erase =
        || waglan(&data).args(["store", "erase", "--report", &first, "--reason", "by order"]).stderr(std::process::Stdio::piped()).spawn();
    for step in 0..12 {
        let mut erasing = erase().expect("it starts");
        std::thread::sleep(Duration::from_millis(20 + 10 * step));
        erasing.kill().expect("ours");
        erasing.wait().expect("it ends");
    }
    succeed(waglan(&data).args(["store", "erase", "--report", &first, "--reason", "by order"]));
    let left = "source_fqdn\nboth.example\nsecond.example\n";
    assert_eq!(query(&data, "SELECT source_fqdn FROM events ORDER BY 1"), left);
    assert!(!files_below(&data.join("reports")).iter().any(|file| file.ends_with(&first)));
    let unknown = run(waglan(&data).args(["store", "erase", "--report", &"0".repeat(32), "--reason", "by order"]));
    assert!(unknown.status.code() == Some(2) && told(&unknown).contains("there is no report 0000"), "{}", told(&unknown));

    // Another report of the day is not kept any more.
    take("3.txt", "http://third.example/\n");
    for report in files_below(&data.join("reports")) {
        std::fs::remove_file(report).expect("writable");
    }
    let third = value(&data, "SELECT report_id FROM deliveries WHERE origin LIKE '%3.txt'");
    let lossy = run(waglan(&data).args(["store", "erase", "--report", &third, "--reason", "by order"]));
    let said = told(&lossy);
    assert!(lossy.status.code() == Some(1) && said.contains("is gone too: the report") && said.contains("is not kept any more"), "{said}");
    assert_eq!(query(&data, "SELECT source_fqdn FROM events ORDER BY 1"), left);
    let recorded = query(&data, "SELECT rows, events, erased FROM deliveries ORDER BY time, origin");
    assert_eq!(recorded, "rows,events,erased\n2,0,2\n2,2,0\n1,0,1\n");

    // A feed whose table is gone.
    obs(&data, "");
    take_obs(&folder, &data, "obs.csv", "192.0.2.1,2026-03-01 23:30:00\n");
    std::fs::remove_file(data.join("feeds/example/obs.toml")).expect("ours");
    let of_obs = value(&data, "SELECT report_id FROM deliveries WHERE feed = 'example/obs'");
    let lossy = run(waglan(&data).args(["store", "erase", "--report", &of_obs, "--reason", "by order"]));
    assert!(lossy.status.code() == Some(1) && told(&lossy).contains("there is no feed \"example/obs\""), "{}", told(&lossy));
    assert_eq!(query(&data, "SELECT source_fqdn FROM events ORDER BY 1"), left);
}

/// A kept report that cannot be looked through holds an erasure up, and the erasure is repeated when it is mended.
#[test]
fn an_erasure_of_a_person_is_repeated() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let said_of_two = "http://a.example/?u=jane@example.org\nhttp://b.example/\nhttp://z.example/?u=zoe@example.org\n";
    let list = written(&folder, "1.txt", said_of_two);
    succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", "2026-03-02"]).arg(list));
    let broken = written(&data, "reports/00/00000000000000000000000000000000.zst", "no zst");
    let erase = |person: &str| run(waglan(&data).args(["store", "erase", "--person", person, "--reason", "on request"]));
    for person in ["jane@example.org", "zoe@example.org"] {
        let said = told(&erase(person));
        assert!(said.contains("1 kept reports could not be looked through: 00000000000000000000000000000000"), "{said}");
    }
    std::fs::remove_file(broken).expect("ours");
    for person in ["jane@example.org", "zoe@example.org"] {
        assert_eq!(erase(person).status.code(), Some(0));
    }
    succeed(waglan(&data).args(["reread", "--feed", "openphish/feed"]));
    assert_eq!(query(&data, "SELECT source_fqdn FROM events"), "source_fqdn\nb.example\n", "the report is still kept, and read");

    // Another person, written in a way that cannot be blotted out, in a report that has been blotted for the first.
    let odd = "http://c.example/?u=ann@example.org\nhttp://d.example/?u=b%256Fb@example.org\nhttp://e.example/?u=bob@example.org\n";
    let list = written(&folder, "2.txt", odd);
    succeed(waglan(&data).args(["ingest", "--feed", "openphish/feed", "--at", "2026-03-05"]).arg(list));
    for person in ["ann@example.org", "bob@example.org"] {
        succeed(waglan(&data).args(["store", "erase", "--person", person, "--reason", "on request"]));
        assert!(!data.join("erasing.json").exists());
    }
    succeed(waglan(&data).args(["reread", "--feed", "openphish/feed"]));
    let left = "source_fqdn\nb.example\nd.example\n";
    assert_eq!(query(&data, "SELECT source_fqdn FROM events ORDER BY 1"), left, "each by what is said of it");
}

/// Where an erased person stands in a report in another way than in its event, the report goes, whoever was erased before.
#[test]
fn a_second_person_is_erased_from_a_report_too() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let row = |id: u8, by: &str| {
        format!(
            "\"{id}\": [{{\"ioc_value\": \"192.0.2.{id}:443\", \"ioc_type\": \"ip:port\", \"threat_type\": \"botnet_cc\", \"reporter\": \"{by}\"}}]"
        )
    };
    // `\u0062ob`: no spelling that is looked for.
    let text = format!("{{{}, {}}}", row(1, "ann@example.org"), row(2, "\\u0062ob@example.org"));
    let report = written(&folder, "export.json", text);
    succeed(waglan(&data).args(["ingest", "--feed", "abuse-ch/threatfox", "--at", "2026-03-02"]).arg(report));
    for (person, kept) in [("ann@example.org", 1), ("bob@example.org", 0)] {
        succeed(waglan(&data).args(["store", "erase", "--person", person, "--reason", "on request"]));
        assert_eq!(files_below(&data.join("reports")).len(), kept, "{person}");
    }
    assert_eq!(query(&data, "SELECT count(*) AS events FROM events"), "events\n0\n");
}

/// Killed before the delivery was recorded, and then its report was lost: its events stand in nobody's way.
#[test]
fn events_whose_report_is_gone_hold_nothing_up() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    take_obs(&folder, &data, "killed.csv", "192.0.2.1,2026-03-01 23:30:00\n");
    kill_before_recording(&data);
    for report in files_below(&data.join("reports")) {
        std::fs::remove_file(report).expect("writable");
    }
    take_obs(&folder, &data, "next.csv", "192.0.2.2,2026-03-01 10:00:00\n");
    let recorded = "SELECT count(*) AS deliveries, sum(events) AS events FROM deliveries";
    assert_eq!(query(&data, recorded), "deliveries,events\n2,2\n");
    let said = told(&run(waglan(&data).args(["reread", "--feed", "example/obs"])));
    assert!(said.contains("is not kept any more: the days 2026-03-01 cannot be read again"), "{said}");
    assert!(files_below(&data.join("arrivals")).is_empty());
}

#[test]
fn what_expired_is_not_read_again() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    written(&data, "waglan.toml", "[retention.fields.\"*\"]\n\"extra.who\" = 30\n");
    obs(&data, "");
    let report = written(&folder, "who.csv", "address,seen,who\n192.0.2.1,2026-03-01,joe\nnobody,2026-03-01,joe\n");
    run(waglan(&data).args(["ingest", "--feed", "example/obs", "--at", "2026-03-02"]).arg(report));
    let said = || {
        query(&data, "SELECT (SELECT count(*) FROM events WHERE extra LIKE '%joe%') AS events, (SELECT count(*) FROM rejects) AS rejects")
    };
    assert_eq!(said(), "events,rejects\n1,1\n");
    for command in [["store", "retain"].as_slice(), &["reread", "--feed", "example/obs"]] {
        run(waglan(&data).args(command));
        assert_eq!(said(), "events,rejects\n0,0\n", "after {command:?}");
    }
}

#[test]
fn what_was_erased_comes_back_by_no_way() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let report = folder.path().join("export.json");
    let row = |id: &str, address: &str, by: &str| {
        format!(
            "\"{id}\": [{{\"ioc_value\": \"{address}:443\", \"ioc_type\": \"ip:port\", \"threat_type\": \"botnet_cc\", \"reporter\": \"{by}\"}}]"
        )
    };
    std::fs::write(&report, format!("{{{}, {}}}", row("1", "192.0.2.1", "somebody@example.org"), row("2", "192.0.2.2", "other")))
        .expect("writable");
    let take = || run(waglan(&data).args(["ingest", "--feed", "abuse-ch/threatfox", "--at", "2026-03-02"]).arg(&report));
    take();
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), "source_ip\n192.0.2.1\n192.0.2.2\n");
    succeed(waglan(&data).args(["store", "erase", "--person", "somebody@example.org", "--reason", "on request"]));
    let left = "source_ip\n192.0.2.2\n";
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), left);
    take();
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), left, "a repeated delivery brings nothing back");
    run(waglan(&data).args(["reread", "--feed", "abuse-ch/threatfox"]));
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), left, "nor does reading again");
    assert_eq!(query(&data, "SELECT rows, events, erased FROM deliveries"), "rows,events,erased\n2,1,1\n");
    assert_eq!(query(&data, "SELECT count(*) AS records FROM erasures WHERE what = 'person'"), "records\n1\n", "a record remains");
    let audit = std::fs::read_to_string(data.join("audit.jsonl")).expect("it is there");
    assert!(audit.contains("export.json of abuse-ch/threatfox") && audit.contains("a person: on request"), "{audit}");
    for file in &files_below(&data) {
        let bytes = std::fs::read(file).expect("readable");
        let found = bytes.windows(20).any(|window| window == b"somebody@example.org");
        assert!(!found, "it is still in {}", file.display());
    }
}

#[test]
fn a_table_is_drafted_for_a_delivery_that_nobody_knows() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let report =
        "seen,victim_ip,attacker,bytes\n2026-03-01 08:00:00,198.51.100.7,192.0.2.1,512\n2026-03-01 08:00:01,198.51.100.8,192.0.2.2,90\n";
    let path = written(&folder, "attacks.csv.gz", packed(report.as_bytes(), Compression::best()));
    let drafted = run(waglan(&data).args(["feed", "new", "--save", "example/attacks"]).arg(&path));
    let table = String::from_utf8_lossy(&drafted.stdout).into_owned();
    assert_eq!(drafted.status.code(), Some(0), "{}", told(&drafted));
    assert!(table.contains("victim_ip = \"destination.ip\"\nattacker = \"source.ip\"\n"), "{table}");
    assert_eq!(table.lines().filter(|line| line.contains("# decide")).count(), 3, "{table}");
    assert!(told(&drafted).contains("2 events, 0 rejected"), "{}", told(&drafted));
    assert!(succeed(waglan(&data).args(["feed", "check", "example/attacks"])).contains("1 feeds checked, 0 with something wrong"));
    succeed(waglan(&data).args(["ingest", "--feed", "example/attacks"]).arg(&path));
    assert_eq!(query(&data, "SELECT count(*) AS n FROM events WHERE destination_ip LIKE '198.51.100.%'"), "n\n2\n");
    for (id, why) in
        [("example/attacks", "there is a feed example/attacks already"), ("../x", "is no feed's id"), ("a/b/c", "is no feed's id")]
    {
        let refused = run(waglan(&data).args(["feed", "new", "--save", id]).arg(&path));
        assert!(refused.status.code() == Some(2) && told(&refused).contains(why), "{id}: {}", told(&refused));
    }
}
