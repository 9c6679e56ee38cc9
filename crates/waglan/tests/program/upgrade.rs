//! What earlier versions of the program have stored, in the hands of this one: a sample of each format stays here for ever.

use std::path::Path;
use std::process::{Command, Stdio};

use flate2::Compression;
use tempfile::TempDir;

use super::running::{Answer, Server, ok, status};
use super::streams::{connect, event, free_port, send, serve, tcp};
use super::{packed, query, run, succeed, told, value, waglan, written};

const SAMPLE: &str = "tests/stores/format-1.tar.gz";

/// A list that is all at one time, and observations with times of their own; tables of one's own, for those that the program has
/// change.
const LIST: &str = "format = \"lines\"\nmeans = \"blacklist\"\nkind = \"listing\"\nasset = \"source.ip\"\ndelivers = \"list\"\ntlp = \"green\"\n\
                    [lines]\npattern = '(?<ip>\\S+)'\n[rows]\nip = \"source.ip\"\n";
const SEEN: &str = "format = \"csv\"\nmeans = \"c2-server\"\nkind = \"c2\"\nasset = \"source.ip\"\ndelivers = \"observations\"\ntlp = \"clear\"\n\
                    [rows]\naddress = \"source.ip\"\nseen = \"time.source\"\naccount = \"source.account\"\n";

/// Sources that are asked through a stand-in for their server.
fn sources(proxy: &str, port: u16) -> String {
    format!(
        "[source.web]\nfeed = \"example/list\"\n[source.web.http]\nurl = \"http://feeds.example/list.txt\"\nproxy = \"{proxy}\"\n\
         [retention.events]\n\"example/old\" = 30\n{}",
        tcp(port, "framing = \"intelmq\"\nbatch = { seconds = 3600 }")
    )
}

fn unchanged(request: &str, _number: usize) -> Answer {
    if request.to_lowercase().contains("if-none-match: \"20\"") { status("304 Not Modified") } else { ok("192.0.2.1\n192.0.2.2\n") }
}

/// Makes the sample of today's format, as tests/stores/README.md says: once, and never again.
#[test]
#[ignore = "it is run by hand, when there is a new format"]
fn a_sample_of_todays_format_is_made() {
    assert!(!Path::new(SAMPLE).exists(), "a sample is never made anew");
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let program = || {
        let mut command = waglan(&data);
        command.current_dir(&folder).env("USER", "operator");
        command
    };
    for (name, table) in [("list", LIST), ("seen", SEEN), ("old", SEEN)] {
        written(&data, &format!("feeds/example/{name}.toml"), table);
    }
    let server = Server::exact(unchanged);
    let port = free_port();
    written(&data, "waglan.toml", sources(&server.address, port));
    let take = |feed: &str, at: &str, name: &str, text: &str| {
        written(&folder, name, text);
        succeed(program().args(["ingest", "--feed", feed, "--at", at, name]));
    };
    take("example/list", "2024-03-01T06:00:00Z", "list-1.txt", "192.0.2.1\n192.0.2.2\nno address\n192.0.2.3\n");
    take("example/list", "2024-03-02T06:00:00Z", "list-2.txt", "192.0.2.2\n192.0.2.3\n");
    take(
        "example/seen",
        "2024-03-02",
        "seen-1.csv",
        "address,seen,account\n192.0.2.10,2024-03-01 10:00:00,jane@example.org\n192.0.2.11,2024-03-01 11:00:00,\n192.0.2.12,yesterday,\n",
    );
    take(
        "example/seen",
        "2024-03-03",
        "seen-2.csv",
        "address,seen,account\n192.0.2.13,2024-03-02 10:00:00,\n192.0.2.14,2024-03-02 23:59:59,\n",
    );
    take("example/seen", "2024-03-04", "seen-3.csv", "address,seen,account\n192.0.2.66,2024-03-03 10:00:00,\n");
    take("example/old", "2020-01-02", "old.csv", "address,seen,account\n192.0.2.20,2020-01-01 10:00:00,\n");
    succeed(program().args(["store", "compact"]));
    // What was erased is in no version any more.
    succeed(program().args(["store", "erase", "--person", "jane@example.org", "--reason", "on request"]));
    let report = value(&data, "SELECT report_id FROM deliveries WHERE origin = 'seen-3.csv'");
    succeed(program().args(["store", "erase", "--report", &report, "--reason", "a test"]));
    succeed(program().args(["store", "retain"]));
    // The memory of a source, and messages that were answered and are not stored.
    {
        let _service = serve(&data, &sources(&server.address, port));
        let mut stream = connect(port);
        for number in 0..3 {
            assert_eq!(send(&mut stream, event(number).as_bytes()), b"Ok");
        }
        super::streams::wait_for("a look", || data.join("sources/web.json").exists().then_some(()));
        super::streams::wait_for("its end", || {
            let memory = std::fs::read_to_string(data.join("sources/web.json")).ok()?;
            memory.contains("etag").then_some(())
        });
    }
    // A process that was killed before its delivery was stored.
    let rows: String = (0..2000).map(|row| format!("198.51.{}.{},2024-03-05 10:00:00,\n", row / 250, row % 250)).collect();
    written(&folder, "killed.csv", format!("address,seen,account\n{rows}"));
    let mut killed = program();
    killed.args(["ingest", "--feed", "example/seen", "--at", "2024-03-06", "killed.csv"]).stderr(Stdio::null());
    let mut child = killed.spawn().expect("it starts");
    let arrived =
        || std::fs::read_dir(data.join("arrivals")).expect("there").any(|name| name.expect("a name").path().extension().is_some());
    while !arrived() {
        assert!(child.try_wait().expect("a child").is_none(), "it was too fast: once more");
    }
    child.kill().and_then(|()| child.wait()).expect("a child can be killed");
    assert!(arrived(), "it was too fast: once more");
    std::fs::remove_dir_all(data.join("locks")).expect("ours");

    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all(".", &data).expect("readable");
    let packed = packed(&tar.into_inner().expect("in memory"), Compression::best());
    written(".", SAMPLE, packed);
}

/// The sample, unpacked.
fn sample(data: &Path) {
    std::fs::create_dir_all(data).expect("writable");
    assert!(run(Command::new("tar").arg("-xzf").arg(SAMPLE).arg("-C").arg(data)).status.success());
}

#[test]
fn a_store_of_format_1_is_read_and_gone_on_with() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    sample(&data);
    let server = Server::exact(unchanged);
    written(&data, "waglan.toml", sources(&server.address, free_port()));

    // As it is, without the right to write.
    let doctor = String::from_utf8(run(waglan(&data).arg("doctor")).stdout).expect("text");
    assert!(doctor.contains("ok   events can be queried") && doctor.contains("killed.csv of example/seen"), "{doctor}");
    let by_feed = "SELECT feed, CAST(time_source AS DATE) AS day, count(*) AS n FROM events WHERE feed <> 'example/seen' OR time_source < \
                   '2024-03-05' GROUP BY 1, 2 ORDER BY 1, 2";
    let listed_today = value(&data, "SELECT max(CAST(time_source AS DATE)) FROM events");
    let mut expected = "feed,day,n\nexample/list,2024-03-01,3\nexample/list,2024-03-02,2\n".to_owned();
    expected += &format!("example/list,{listed_today},2\nexample/seen,2024-03-01,1\nexample/seen,2024-03-02,2\n");
    assert_eq!(query(&data, by_feed), expected);
    assert_eq!(
        query(&data, "SELECT feed, line, raw FROM rejects ORDER BY 1"),
        "feed,line,raw\nexample/list,3,no address\nexample/seen,4,\"192.0.2.12,yesterday,\"\n"
    );
    assert_eq!(
        query(&data, "SELECT what, count(*) AS n FROM erasures GROUP BY 1 ORDER BY 1"),
        "what,n\nevent,1\nperson,1\nreport,1\nwords,1\n"
    );
    assert_eq!(value(&data, "SELECT count(*) FROM sightings WHERE feed = 'example/list' AND day < '2024-04-01'"), "5");
    let origins = "SELECT origin, events, erased FROM deliveries WHERE time < '2024-04-01' ORDER BY time";
    let deliveries = "origin,events,erased\nold.csv,1,0\nlist-1.txt,3,0\nseen-1.csv,1,1\nlist-2.txt,2,0\nseen-2.csv,2,0\nseen-3.csv,0,1\n";
    assert_eq!(query(&data, origins), deliveries);

    // What a killed process left is taken up, messages that were answered are stored, a server that has nothing new says so.
    let looked = run(waglan(&data).args(["run", "--once"]));
    assert_eq!(looked.status.code(), Some(0), "{}", told(&looked));
    assert_eq!(value(&data, "SELECT count(*) FROM events WHERE time_source = '2024-03-05T10:00:00Z'"), "2000");
    assert_eq!(query(&data, "SELECT origin, events FROM deliveries WHERE origin = 'killed.csv'"), "origin,events\nkilled.csv,2000\n");
    assert_eq!(value(&data, "SELECT count(*) FROM events WHERE feed = 'intelmq/events'"), "3");
    assert_eq!(server.asked().len(), 1);
    assert!(server.asked()[0].contains("if-none-match"), "what the source remembered was read");

    // The same again is known, what was erased stays so, what is new is added, and all of it can be read again.
    let take = |feed: &str, at: &str, name: &str, text: &str| {
        let path = written(&folder, name, text);
        told(&run(waglan(&data).args(["ingest", "--feed", feed, "--at", at]).arg(path)))
    };
    let again = take("example/list", "2024-03-02T06:00:00Z", "list-2.txt", "192.0.2.2\n192.0.2.3\n");
    assert!(again.contains("is in the store already"), "{again}");
    let erased = take("example/seen", "2024-03-07", "seen-3.csv", "address,seen,account\n192.0.2.66,2024-03-03 10:00:00,\n");
    assert!(erased.contains("this report was erased"), "{erased}");
    let old = take("example/old", "2020-01-03", "old-2.csv", "address,seen,account\n192.0.2.21,2020-01-01 10:00:00,\n");
    assert!(old.contains("1 rows"), "{old}");
    let new = take("example/list", "2024-03-02T18:00:00Z", "list-3.txt", "192.0.2.3\n192.0.2.4\n");
    assert!(new.contains("2 rows, 1 new events, 1 repeated"), "{new}");
    let contents = || {
        let sql = ["SELECT hex(id), feed, source_ip FROM events ORDER BY 1", "SELECT feed, line, raw FROM rejects ORDER BY 1"];
        sql.map(|sql| query(&data, sql)).concat()
    };
    succeed(waglan(&data).args(["store", "retain"]));
    let before = contents();
    succeed(waglan(&data).args(["reread", "--feed", "example/list"]));
    succeed(waglan(&data).args(["reread", "--feed", "example/seen"]));
    for chore in ["compact", "retain", "vacuum"] {
        succeed(waglan(&data).args(["store", chore]));
    }
    assert_eq!(contents(), before);
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    sample(&data);
    written(&data, "format", "waglan store 2\n");
    let list = written(&folder, "list.txt", "192.0.2.1\n");
    for command in [waglan(&data).args(["query", "SELECT 1"]), waglan(&data).args(["ingest", "--feed", "example/list"]).arg(list)] {
        let refused = run(command);
        assert_eq!(refused.status.code(), Some(2));
        let expected = "its format is 2, and this program knows formats up to 1: use the version of Waglan that wrote it, or a later one";
        assert!(told(&refused).contains(expected), "{}", told(&refused));
    }
    assert!(run(waglan(&data).arg("doctor")).stdout.starts_with(b"ok"), "the configuration can be read");
}
