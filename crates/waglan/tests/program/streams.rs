//! Streams: whatever breaks on either side, what is acknowledged is stored, and each message is an event once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{query, run, told, value, waglan, written};

/// A port that nobody listens at, for a moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Tries until there is something.
#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A child process that goes with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Looks at every source of a configuration once; says how it ended, and what was said.
fn look(data: &Path, configuration: &str) -> (Option<i32>, String) {
    written(data, "waglan.toml", configuration);
    let output = run(waglan(data).args(["-v", "run", "--once"]));
    (output.status.code(), told(&output))
}

/// The program as a service.
fn serve(data: &Path, configuration: &str) -> Running {
    written(data, "waglan.toml", configuration);
    Running(waglan(data).arg("run").stderr(Stdio::null()).spawn().expect("the program starts"))
}

/// A real server of Redis with a password, that keeps nothing.
struct Redis {
    port: u16,
    _server: Running,
}

impl Redis {
    fn start() -> Redis {
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--requirepass", "hush-hush", "--loglevel", "warning"]).stdin(Stdio::null()).stdout(Stdio::null());
        let server = command.spawn().expect("redis-server is there; `cargo xtask test` installs it");
        let redis = Redis { port, _server: Running(server) };
        wait_for("Redis", || TcpStream::connect(("127.0.0.1", port)).ok());
        redis
    }

    fn queue(&self, name: &str) -> String {
        format!("redis://127.0.0.1:{}/2/{name}", self.port)
    }

    fn source(&self, feed: &str, name: &str) -> String {
        format!(
            "[source.bots]\nfeed = \"{feed}\"\n[source.bots.redis]\nurl = \"{}\"\npassword = \"hush-hush\"\nbatch = {{ messages = 500 }}\n",
            self.queue(name)
        )
    }

    /// Asks by words without spaces or with; says the answer's lines.
    fn ask(&self, commands: &[&[&str]]) -> Vec<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it runs");
        let mut said = String::new();
        for words in [&["AUTH", "hush-hush"][..], &["SELECT", "2"]].iter().chain(commands) {
            said += &format!("*{}\r\n", words.len());
            words.iter().for_each(|word| said += &format!("${}\r\n{word}\r\n", word.len()));
        }
        said += "*1\r\n$4\r\nQUIT\r\n";
        let mut writer = stream.try_clone().expect("a handle");
        std::thread::spawn(move || writer.write_all(said.as_bytes()));
        let mut answers = String::new();
        stream.read_to_string(&mut answers).expect("it answers to the end");
        let lines: Vec<String> = answers.lines().skip(2).map(str::to_owned).collect();
        lines[..lines.len() - 1].to_vec()
    }

    fn length(&self, name: &str) -> usize {
        self.ask(&[&["LLEN", name]])[0].trim_start_matches(':').parse().expect("a number")
    }

    fn push(&self, name: &str, messages: &[String]) {
        let words: Vec<&str> = ["LPUSH", name].into_iter().chain(messages.iter().map(String::as_str)).collect();
        self.ask(&[&words]);
    }
}

/// An event as one of IntelMQ's bots hands it to the next.
fn event(number: usize) -> String {
    let ip = format!("198.{}.{}.{}", 18 + number / 65536, number / 256 % 256, number % 256);
    format!(
        "{{\"__type\": \"Event\", \"classification.type\": \"infected-system\", \"source.ip\": \"{ip}\", \"time.source\": \
         \"2026-03-03T00:00:00+00:00\", \"feed.name\": \"Example\", \"malware.name\": \"conficker\"}}"
    )
}

#[test]
fn a_queue_loses_nothing_when_the_program_is_killed() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let redis = Redis::start();
    redis.push("in", &(0..5000).map(event).collect::<Vec<_>>());
    for least in [1, 1500, 3000] {
        let mut program = serve(&data, &redis.source("intelmq/events", "in"));
        // In the middle of it: some are stored, some are on the way, some were not taken.
        wait_for("some of the queue", || (redis.length("in") + redis.length("in-internal") <= 5000 - least).then_some(()));
        program.0.kill().expect("it runs");
        drop(program);
    }
    assert!(redis.length("in") + redis.length("in-internal") > 0, "it was killed before the end");
    let (code, said) = look(&data, &redis.source("intelmq/events", "in"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((redis.length("in"), redis.length("in-internal"), redis.length("in-refused")), (0, 0, 0));
    assert_eq!(query(&data, "SELECT count(*) AS n, count(DISTINCT source_ip) AS ips FROM events"), "n,ips\n5000,5000\n");
    assert_eq!(value(&data, "SELECT count(*) FROM rejects"), "0");
    assert!(value(&data, "SELECT min(origin) FROM deliveries").starts_with(&format!("{}#20", redis.queue("in"))));
    assert!(!said.contains("hush-hush"), "{said}");
}

#[test]
fn odd_messages_of_a_queue_cost_themselves() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let redis = Redis::start();
    let long = format!("{{\"__type\": \"Event\", \"event_description.text\": \"{}\"}}", "x".repeat(2 << 20));
    let tar = format!("{{{}ustar{}}}", " ".repeat(256), " ".repeat(512));
    let messages = [tar, event(1).replace(", ", ",\n"), "no\njson".to_owned(), "\u{1f}\u{8b}\u{8}".to_owned(), long, event(2), event(1)];
    redis.push("in", &messages);
    let configuration = redis.source("intelmq/events", "in") + "most = 1\n";
    let (code, said) = look(&data, &configuration);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), "source_ip\n198.18.0.1\n198.18.0.2\n");
    assert_eq!(value(&data, "SELECT repeats FROM deliveries"), "1");
    assert_eq!((redis.length("in"), redis.length("in-internal"), redis.length("in-refused")), (0, 0, 1), "{said}");
    assert!(said.contains("a message is too long"), "{said}");
    assert_eq!(value(&data, "SELECT count(*) FROM rejects"), "4");
}

#[test]
fn a_report_in_a_queue_is_a_delivery() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let redis = Redis::start();
    let report = |raw: &str| format!("{{\"__type\": \"Report\", \"raw\": \"{raw}\", \"time.observation\": \"2026-03-03T06:00:00+00:00\"}}");
    // Two lists, and a zip that breaks off.
    redis.push("in", &[report("MTkyLjAuMi4xCjE5Mi4wLjIuMgo="), report("UEsDBAAAAAA="), report("MTkyLjAuMi4zCg==")]);
    let (code, said) = look(&data, &redis.source("cins/army", "in"));
    assert_eq!(code, Some(0), "{said}");
    let expected =
        "source_ip,time_source\n192.0.2.1,2026-03-03T00:00:00Z\n192.0.2.2,2026-03-03T00:00:00Z\n192.0.2.3,2026-03-03T00:00:00Z\n";
    assert_eq!(query(&data, "SELECT source_ip, time_source FROM events ORDER BY 1"), expected, "{said}");
    assert_eq!((redis.length("in"), redis.length("in-internal"), redis.length("in-refused")), (0, 0, 1), "{said}");
}

#[test]
fn events_go_into_a_queue_and_come_back() {
    let folder = TempDir::new().expect("a folder");
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let redis = Redis::start();
    redis.push("in", &(0..1200).map(event).collect::<Vec<_>>());
    look(&data, &redis.source("intelmq/events", "in"));
    let password = written(&folder, "password", "hush-hush\n");
    let mut push = waglan(&data);
    push.args(["query", "--format", "idf", "--to", &redis.queue("out"), "--password-file"]).arg(&password).arg("SELECT * FROM events");
    let output = run(&mut push);
    assert_eq!((output.status.code(), told(&output).trim(), output.stdout.len()), (Some(0), "1200 events in the queue", 0));
    let message = &redis.ask(&[&["LINDEX", "out", "-1"]])[1];
    assert!(message.starts_with("{\"__type\":\"Event\",\"") && message.contains("\"source.ip\":\"198."), "{message}");
    let (code, said) = look(&other, &redis.source("intelmq/events", "out"));
    assert_eq!(code, Some(0), "{said}");
    let all = "SELECT source_ip, time_source, classification_type, malware_name FROM events ORDER BY 1";
    assert_eq!(query(&data, all), query(&other, all));
    assert_eq!(redis.length("out"), 0);

    let refused = |arguments: &[&str], expected: &str| {
        let output = run(waglan(&data).arg("query").args(arguments).arg("SELECT * FROM events"));
        assert_eq!(output.status.code(), Some(2));
        assert!(told(&output).contains(expected) && !told(&output).contains("hush-hush"), "{}", told(&output));
    };
    refused(&["--to", &redis.queue("out")], "a queue takes IntelMQ's events: --format idf");
    refused(&["--format", "idf", "--to", "redis://u:hush-hush@localhost/2/q"], "a password does not stand in the address");
    refused(&["--format", "idf", "--to", &redis.queue("out")], "NOAUTH");
    let wrong = written(&folder, "wrong", "hush-hush-hush");
    refused(
        &["--format", "idf", "--to", &redis.queue("out"), "--password-file", &wrong.display().to_string()],
        "refuses the password: WRONGPASS",
    );
}
