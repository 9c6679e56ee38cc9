//! A week of a CERT's life, rehearsed: seventy feeds on their schedules, from servers that do what servers do, and a mailbox full of
//! reports, while the program is killed again and again. At the end every row that was delivered is an event or a reject, once.
//!
//! The tests rehearse twenty hours of it in two minutes. `cargo xtask bench week` rehearses all of it, in a quarter of an hour.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use event::time::{self, Micros};
use tempfile::TempDir;

use super::mail::{self, attached, mail};
use super::running::{read_request, status};
use super::{query, succeed, value, waglan, written};

/// The rehearsed hours pass so many times as fast.
const SPEED: u32 = 600;
/// When they begin.
const BEGIN: &str = "2026-03-04T00:00:00Z";
const FEEDS: u32 = 70;
const KILLS: u32 = 10;
/// A row of so many has no address.
const BAD: u32 = 37;
const FORMS: [&str; 5] = ["csv", "json", "jsonl", "lines", "xml"];
const DELIVERS: [&str; 3] = ["list", "observations", "additions"];

/// How often a feed is fetched, in rehearsed minutes.
fn every(feed: u32) -> u32 {
    match feed {
        0..10 => 15,
        10..40 => 60,
        40..60 => 240,
        _ => 1440,
    }
}

fn chance(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// What a feed has to say for a while: rows of a window that moves on. While its form is another, its table knows no address.
#[derive(Clone, Copy, Debug)]
struct Content {
    feed: u32,
    first: u32,
    rows: u32,
    is_of_another_form: bool,
}

impl Content {
    fn at(feed: u32, minute: u32, all_minutes: u32) -> Content {
        let version = minute / (every(feed) * (1 + feed % 3));
        let rows = if every(feed) > 1000 { 3000 } else { 20 + (chance(feed) % 200) as u32 };
        let is_of_another_form = feed % 14 == 7 && (all_minutes / 3..all_minutes / 2).contains(&minute);
        Content { feed, first: version * (rows / 4), rows, is_of_another_form }
    }

    fn tokens(self) -> impl Iterator<Item = u32> {
        (self.first..self.first + self.rows).filter(move |row| !self.is_of_another_form && row % BAD != 0)
    }

    fn rejects(self) -> u32 {
        self.rows - self.tokens().count() as u32
    }

    /// The report, in the feed's form.
    fn bytes(self) -> Vec<u8> {
        let address = if self.is_of_another_form { "address" } else { "ip" };
        let begin = time::parse(BEGIN).expect("a time");
        let rows = (self.first..self.first + self.rows).map(|row| {
            let ip = if row % BAD == 0 { "none".to_owned() } else { format!("11.{}.{}.{}", self.feed, row >> 8, row & 255) };
            (row, ip, time::iso(begin - time::DAY + Micros::from(row) * time::SECOND))
        });
        let mut text = String::new();
        match FORMS[(self.feed % 5) as usize] {
            "csv" => {
                text += &format!("token,{address},seen\n");
                rows.for_each(|(row, ip, seen)| text += &format!("{row},{ip},{seen}\n"));
            }
            "json" => {
                let row = |(row, ip, seen)| format!("{{\"token\": {row}, \"{address}\": \"{ip}\", \"seen\": \"{seen}\"}}");
                text = format!("[{}]", rows.map(row).collect::<Vec<_>>().join(",\n"));
            }
            "jsonl" => {
                rows.for_each(|(row, ip, seen)| text += &format!("{{\"token\": {row}, \"{address}\": \"{ip}\", \"seen\": \"{seen}\"}}\n"))
            }
            "lines" => rows.for_each(|(row, ip, seen)| text += &format!("{row} {address}={ip} {seen}\n")),
            _ => {
                let row = |(row, ip, seen)| format!("<row><token>{row}</token><{address}>{ip}</{address}><seen>{seen}</seen></row>\n");
                text = format!("<rows>\n{}</rows>\n", rows.map(row).collect::<String>());
            }
        }
        text.into_bytes()
    }
}

/// A table that reads it.
fn table(feed: u32) -> String {
    let (form, delivers) = (FORMS[(feed % 5) as usize], DELIVERS[(feed % 3) as usize]);
    let of_form = match form {
        "lines" => "[lines]\npattern = '^(?P<token>\\d+) ip=(?P<ip>\\S+) (?P<seen>\\S+)$'\n",
        "xml" => "[xml]\nrows = \"rows.row\"\n",
        _ => "",
    };
    format!(
        "format = \"{form}\"\nmeans = \"c2-server\"\nkind = \"c2\"\nasset = \"source.ip\"\ndelivers = \"{delivers}\"\ntlp = \"clear\"\n{of_form}\
         [rows]\ntoken = \"extra.token\"\nip = \"source.ip\"\nseen = \"{}\"\n",
        if delivers == "list" { "extra.seen" } else { "time.source" }
    )
}

fn name(feed: u32) -> String {
    format!("f{feed:02}")
}

/// What the servers gave away whole: by the report's hash what it is, and when.
#[derive(Debug, Default)]
struct Given {
    contents: HashMap<String, Content>,
    whole: Vec<(String, Instant)>,
    /// How each request ended, counted.
    ends: HashMap<&'static str, u32>,
}

/// All providers' server. Requests are `/fNN`.
struct Servers {
    address: String,
    given: Arc<Mutex<Given>>,
}

impl Servers {
    fn start(minute: impl Fn() -> u32 + Clone + Send + 'static, all_minutes: u32) -> Servers {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let given = Arc::new(Mutex::new(Given::default()));
        let kept = given.clone();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (mut stream, given, minute) = (stream.expect("somebody asks"), kept.clone(), minute.clone());
                // Whoever was killed listens no more.
                std::thread::spawn(move || drop(answer(&mut stream, number, &minute, all_minutes, &given)));
            }
        });
        Servers { address, given }
    }
}

fn answer(stream: &mut TcpStream, number: usize, minute: &impl Fn() -> u32, all_minutes: u32, given: &Mutex<Given>) -> std::io::Result<()> {
    let request = read_request(stream).to_lowercase();
    let Some(feed) = request.strip_prefix("get /f").and_then(|rest| rest.get(..2)?.parse().ok()) else { return Ok(()) };
    let content = Content::at(feed, minute(), all_minutes);
    let body = content.bytes();
    let report = blake3::hash(&body).to_hex().get(..32).expect("64 signs").to_owned();
    let end = |end: &'static str| *given.lock().expect("nobody panicked").ends.entry(end).or_default() += 1;
    let mut say = |(head, body): (String, &[u8])| {
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())?;
        stream.write_all(body)?;
        stream.flush()
    };
    let refuse = |line: &str| (status(line).0, &b""[..]);
    let ok = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}");
    match chance((feed, number)) % 100 {
        0..4 => {
            end("500");
            return say(refuse("500 Internal Server Error"));
        }
        4..7 => {
            end("503, wait");
            return say(refuse("503 Service Unavailable\r\nRetry-After: 30"));
        }
        7..10 => {
            end("429, wait");
            return say(refuse("429 Too Many Requests\r\nRetry-After: 100"));
        }
        10..13 => {
            end("half a body");
            return say((ok(body.len()), &body[..body.len() / 2]));
        }
        13 => {
            end("silence");
            // Longer than a look may take.
            std::thread::sleep(Duration::from_secs(10));
            return Ok(());
        }
        14..18 => std::thread::sleep(Duration::from_millis(300)),
        _ => {}
    }
    // Some servers know nothing of conditions, and repeat themselves.
    let knows_conditions = feed % 4 != 0;
    if knows_conditions && request.contains(&format!("if-none-match: \"{report}\"")) {
        end("304");
        return say(refuse("304 Not Modified"));
    }
    given.lock().expect("nobody panicked").contents.insert(report.clone(), content);
    let tag = if knows_conditions { format!("\r\nETag: \"{report}\"") } else { String::new() };
    say((ok(body.len()) + &tag, &body))?;
    end("200");
    given.lock().expect("nobody panicked").whole.push((report, Instant::now()));
    Ok(())
}

/// The configuration: all feeds, and the mailbox.
fn configuration(servers: &Servers, mailbox: &mail::Server) -> String {
    let mut text = "[run]\nat_once = 8\n".to_owned();
    for feed in 0..FEEDS {
        let (name, minutes) = (name(feed), every(feed));
        // A look may take 6 seconds of ours.
        text += &format!(
            "[source.{name}]\nfeed = \"week/{name}\"\nevery = \"{minutes}m\"\nlimit = \"1h\"\n[source.{name}.http]\nurl = \"{}/{name}\"\n",
            servers.address
        );
    }
    text + &mailbox.source("imap", "attachments = '^ci-badguys'").replacen("provider", "every = \"10m\"\nlimit = \"2h\"\nprovider", 1)
}

/// The rehearsed clock: from the real time at which the rehearsal began.
#[derive(Clone, Copy)]
struct Clock {
    began: Instant,
    real: Micros,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the program's clock counts from the real one")]
    fn start() -> Clock {
        let real = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_micros() as Micros;
        Clock { began: Instant::now(), real }
    }

    fn minute(self) -> u32 {
        (self.began.elapsed() * SPEED).as_secs() as u32 / 60
    }

    fn program(self, data: &Path) -> Child {
        let mut command = waglan(data);
        command.env("WAGLAN_CLOCK", format!("{}/{}/{SPEED}", self.real, time::parse(BEGIN).expect("a time")));
        command.env("NO_PROXY", "127.0.0.1").env("MAIL_PASSWORD", "hush-hush").arg("run").stdout(Stdio::null()).stderr(log(data));
        command.spawn().expect("it starts")
    }
}

/// Where the program says what it says, one process after another.
fn log(data: &Path) -> std::fs::File {
    std::fs::File::options().create(true).append(true).open(data.with_extension("log")).expect("writable")
}

/// The process's memory in MiB.
fn memory(program: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    resident.unwrap_or_default() / 1024
}

/// Lets so much time pass; says the most memory that was seen.
fn pass(program: &mut Child, real: Duration, data: &Path) -> u64 {
    let until = Instant::now() + real;
    let mut most = 0;
    while Instant::now() < until {
        let said = || std::fs::read_to_string(data.with_extension("log")).unwrap_or_default();
        assert!(program.try_wait().expect("a child").is_none(), "the program ended by itself: {}", said());
        most = most.max(memory(program));
        std::thread::sleep(Duration::from_millis(100));
    }
    most
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the bench says how many hours")]
#[expect(clippy::print_stdout, reason = "what the bench has found")]
fn a_week_of_everything_and_nothing_is_lost_or_twice() {
    let hours: u32 = std::env::var("WAGLAN_TEST_WEEK_HOURS").ok().and_then(|hours| hours.parse().ok()).unwrap_or(20);
    let mails = 2000 * hours / 168;
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    for feed in 0..FEEDS {
        written(&data, &format!("feeds/week/{}.toml", name(feed)), table(feed));
    }
    let mut mailbox = mail::Server::start();
    for number in 0..mails {
        let bad = if number % 10 == 0 { "no address\n" } else { "" };
        let report = format!("12.0.{}.{}\n12.1.{0}.{1}\n{bad}", number >> 8, number & 255);
        mailbox.put(mail("your daily report", &[&attached("ci-badguys.txt", report.as_bytes())]));
    }
    let clock = Clock::start();
    let servers = Servers::start(move || clock.minute(), hours * 60);
    written(&data, "waglan.toml", configuration(&servers, &mailbox));
    let real = Duration::from_secs(u64::from(hours) * 3600) / SPEED;
    let (mut kills, mut memories) = (Vec::new(), Vec::new());
    let mut program = clock.program(&data);
    for _ in 0..KILLS {
        memories.push(pass(&mut program, real / (2 * KILLS), &data));
        program.kill().and_then(|()| program.wait()).expect("a child can be killed");
        kills.push(Instant::now());
        program = clock.program(&data);
    }
    // The last one lives half of the time: what it holds must not grow with it.
    let lived: Vec<u64> = (0..5).map(|_| pass(&mut program, real / 10, &data)).collect();
    let told = Command::new("kill").arg(program.id().to_string()).status().expect("kill is there");
    assert!(told.success());
    assert!(program.wait().expect("a child").success(), "it stops by itself when it is told to");
    let given = servers.given.lock().expect("nobody panicked");

    // Every delivery is one of what was given, and every row of it was an event, a repeat or a reject.
    let deliveries =
        query(&data, "SELECT feed, time, report_id, rows, events, repeats, rejects FROM deliveries WHERE feed LIKE 'week/%' ORDER BY time");
    let (mut expected, mut delivered, mut rejects) = (HashSet::new(), HashSet::new(), 0);
    for line in deliveries.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [feed, time, report, rows, events, repeats, rejected] = cells[..] else { panic!("{line}") };
        let content = given.contents.get(report).unwrap_or_else(|| panic!("nobody gave {line}"));
        let number = |text: &str| text.parse::<u32>().expect("a number");
        assert_eq!(feed, format!("week/{}", name(content.feed)));
        assert_eq!((number(rows), number(rejected)), (content.rows, content.rejects()), "{line}");
        assert_eq!(number(events) + number(repeats), content.rows - content.rejects(), "{line}");
        let day = if content.feed.is_multiple_of(3) { time.get(..10).expect("a day").to_owned() } else { String::new() };
        expected.extend(content.tokens().map(|token| (content.feed, token, day.clone())));
        delivered.insert(report.to_owned());
        rejects += content.rejects();
    }
    // Every such row is there once.
    let events = query(
        &data,
        "SELECT feed, json_text(extra, 'token') AS token, CAST(time_source AS date) AS day FROM events WHERE feed LIKE 'week/%'",
    );
    let mut found = HashSet::new();
    for line in events.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let feed: u32 = cells[0].strip_prefix("week/f").and_then(|feed| feed.parse().ok()).expect("a feed");
        let day = if feed.is_multiple_of(3) { cells[2].to_owned() } else { String::new() };
        assert!(found.insert((feed, cells[1].parse().expect("a token"), day)), "twice: {line}");
    }
    assert_eq!(found.len(), expected.len());
    assert!(found == expected, "events of other rows than were delivered");
    assert_eq!(value(&data, "SELECT count(*) FROM rejects WHERE feed LIKE 'week/%'"), rejects.to_string());
    assert_eq!(value(&data, "SELECT count(*) - count(DISTINCT id) FROM events"), "0");
    // What a server gave whole and was not stored was in the hands of a process that was killed.
    for (report, when) in given.whole.iter().filter(|(report, _)| !delivered.contains(report)) {
        let is_killed = kills
            .iter()
            .any(|kill| *kill + Duration::from_millis(200) > *when && kill.saturating_duration_since(*when) < Duration::from_secs(5));
        assert!(is_killed, "{report} was given, {:?}, and is lost", given.contents[report]);
    }
    // No mail is lost, whoever was killed.
    assert_eq!(value(&data, "SELECT count(*) FROM events WHERE feed = 'cins/army'"), (2 * mails).to_string());
    assert_eq!(value(&data, "SELECT count(DISTINCT source_ip) FROM events WHERE feed = 'cins/army'"), (2 * mails).to_string());
    assert_eq!(value(&data, "SELECT count(DISTINCT report_id) FROM rejects WHERE feed = 'cins/army'"), mails.div_ceil(10).to_string());
    succeed(waglan(&data).args(["store", "vacuum"]));
    println!(
        "{hours} hours: {} requests {:?}, {} deliveries, {} events, {rejects} rejects, {mails} mails; most memory in MiB between kills {memories:?}, and in each fifth of the \
         last half {lived:?}",
        given.ends.values().sum::<u32>(),
        given.ends,
        deliveries.lines().count() - 1,
        found.len(),
    );
    assert!(lived[4] <= lived[1] * 5 / 4 + 32, "memory grows: {lived:?}");
}
