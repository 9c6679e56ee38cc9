//! The program that runs by itself: what its sources bring is stored once, whatever their servers do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::mail::certify;
use super::streams::{Running, wait_for};
use super::{query, run, told, value, waglan, written};

/// A web server on this machine that answers as the test says, and remembers what it was asked.
pub(super) struct Server {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What it answers to a request: the head's lines, and the body.
pub(super) type Answer = (String, Vec<u8>);

impl Server {
    /// One that reads requests in lower case.
    fn start(answer: impl Fn(&str, usize) -> Answer + Send + 'static) -> Server {
        Server::exact(move |request, number| answer(&request.to_lowercase(), number))
    }

    /// One that reads requests as they are.
    pub(super) fn exact(answer: impl Fn(&str, usize) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let remembered = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("somebody asks");
                let request = read_request(&mut stream);
                let number = {
                    let mut asked = remembered.lock().expect("nobody panicked");
                    asked.push(request.clone());
                    asked.len()
                };
                let (head, body) = answer(&request, number);
                // Whoever has enough goes away.
                let _gone =
                    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Server { address, asked }
    }

    /// The requests until now, in lower case.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").iter().map(|request| request.to_lowercase()).collect()
    }
}

/// A request's head, and its body.
pub(super) fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut piece) = (Vec::new(), [0; 1024]);
    let is_whole = |request: &[u8]| {
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        request.len() - end - 4 >= length
    };
    while !is_whole(&request) {
        match stream.read(&mut piece) {
            Ok(read) if read > 0 => request.extend_from_slice(&piece[..read]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

pub(super) fn ok(body: &str) -> Answer {
    (format!("HTTP/1.1 200 OK\r\nETag: \"{}\"\r\nContent-Length: {}", body.len(), body.len()), body.into())
}

pub(super) fn status(line: &str) -> Answer {
    (format!("HTTP/1.1 {line}\r\nContent-Length: 0"), Vec::new())
}

/// Looks at every source of a configuration once; says how it ended, and what was said.
pub(super) fn look(data: &Path, configuration: &str) -> (Option<i32>, String) {
    written(data, "waglan.toml", configuration);
    let output = run(waglan(data).env("NO_PROXY", "127.0.0.1").env("CINS_KEY", "hush-hush").args(["-v", "run", "--once"]));
    (output.status.code(), told(&output))
}

#[test]
fn what_a_server_has_is_fetched_once_and_delivered_each_time() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(|request, number| match number {
        1 => status("503 Service Unavailable\r\nRetry-After: 0"),
        2 => ("HTTP/1.1 200 OK\r\nContent-Length: 100".to_owned(), b"192.0.2.1\n192.0".to_vec()),
        _ if request.contains("if-none-match: \"20\"") => status("304 Not Modified"),
        _ => ok("192.0.2.1\n192.0.2.2\n"),
    });
    let configuration = format!(
        "[source.cins]\nfeed = \"cins/army\"\n[source.cins.http]\nurl = \"{}/list/{{key}}/ci-badguys.txt\"\nfill = {{ key = {{ environment = \"CINS_KEY\" \
         }} }}\nheaders = {{ Auth-Key = {{ environment = \"CINS_KEY\" }} }}\n",
        server.address
    );
    let mut said = String::new();
    for _ in 0..2 {
        let (code, more) = look(&data, &configuration);
        assert_eq!(code, Some(0), "{more}");
        said += &more;
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 4, "an answer that says to wait, half a body, the whole, and the same again");
    assert!(asked.iter().all(|request| request.contains("auth-key: hush-hush")), "{asked:?}");
    let deliveries = query(&data, "SELECT rows, events, repeats, origin FROM deliveries ORDER BY time");
    let origin = format!("{}/list/key/ci-badguys.txt", server.address);
    assert_eq!(deliveries, format!("rows,events,repeats,origin\n2,2,0,{origin}\n2,0,2,{origin}\n"));
    assert_eq!(value(&data, "SELECT count(*) FROM reports"), "1");
    assert!(!said.contains("hush-hush"), "{said}");
    let memory = std::fs::read_to_string(data.join("sources/cins.json")).expect("it is remembered");
    assert!(!memory.contains("hush-hush"), "{memory}");
}

#[test]
fn a_secret_goes_to_no_other_server() {
    let folder = TempDir::new().expect("a folder");
    let other = Server::start(|_, _| ok("192.0.2.1\n"));
    let to = format!("302 Found\r\nLocation: {}/elsewhere", other.address);
    let server = Server::start(move |_, _| status(&to));
    let configuration = format!(
        "[source.cins]\nfeed = \"cins/army\"\n[source.cins.http]\nurl = \"{}/list\"\nheaders = {{ Auth-Key = \"hush-hush\" }}\nuser = \"u\"\n\
         password = \"hush-hush\"\n",
        server.address
    );
    let (code, said) = look(&folder.path().join("data"), &configuration);
    assert_eq!(code, Some(0), "{said}");
    assert!(server.asked()[0].contains("auth-key: hush-hush") && server.asked()[0].contains("authorization: basic"));
    assert!(!other.asked()[0].contains("auth-key") && !other.asked()[0].contains("authorization"), "{:?}", other.asked());
}

/// A table for documents whose rows are in `data`, and a source of it with these keys.
fn paged(data: &Path, http: &str) -> String {
    let table = "format = \"json\"\nmeans = \"blacklist\"\nkind = \"listing\"\nasset = \"source.ip\"\ndelivers = \"list\"\ntlp = \"green\"\n[json]\nrows = \"data\"\n\
                 [rows]\nip_address = \"source.ip\"\n";
    written(data, "feeds/example/paged.toml", table);
    format!("[source.paged]\nfeed = \"example/paged\"\n[source.paged.http]\n{http}\n")
}

#[test]
fn pages_are_fetched_to_the_last() {
    let cases = [
        ("{ token = { path = \"next\", parameter = \"cursor\" } }", "get /list?limit=1&cursor=2 "),
        ("{ address = \"links.next\" }", "get /two "),
        ("\"link\"", "get /two?x=1 "),
        ("{ number = { parameter = \"page\", from = 1 } }", "get /list?limit=1&page=2 "),
    ];
    for (pages, second) in cases {
        let folder = TempDir::new().expect("a folder");
        let data = folder.path().join("data");
        let server = Server::start(|_, number| {
            let row = |next: &str| format!("{{\"data\": [{{\"ip_address\": \"192.0.2.{number}\"}}]{next}}}");
            match number {
                1 => {
                    let (head, body) = ok(&row(", \"next\": 2, \"links\": {\"next\": \"/two\"}"));
                    (format!("{head}\r\nLink: </list>; rel=\"self\", </two?x=1>; rel=\"next\""), body)
                }
                2 => ok(&row(", \"next\": null, \"links\": {}")),
                // Who counts asks until there is nothing.
                _ => ok("{\"data\": []}"),
            }
        });
        let http = format!("url = \"{}/list?limit=1\"\npages = {pages}", server.address);
        let (code, said) = look(&data, &paged(&data, &http));
        assert_eq!(code, Some(0), "{pages}: {said}");
        assert!(server.asked()[1].starts_with(second), "{pages}: {:?}", server.asked());
        assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY source_ip"), "source_ip\n192.0.2.1\n192.0.2.2\n", "{pages}");
    }
}

/// Answers each connection over TLS, with the certificate in the folder, with one document.
fn serve_over_tls(folder: &Path, body: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    certify(folder);
    let certificate = CertificateDer::from_pem_file(folder.join("cert.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    let settings = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions that there are")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a certificate and its key");
    let settings = Arc::new(settings);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("https://{}", listener.local_addr().expect("it is bound"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let remembered = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(settings.clone()).expect("a connection");
            let mut stream = rustls::StreamOwned::new(connection, stream.expect("somebody comes"));
            let mut request = vec![0; 4096];
            // Whoever does not trust us goes away.
            let Ok(read) = stream.read(&mut request) else { continue };
            remembered.lock().expect("nobody panicked").push(String::from_utf8_lossy(&request[..read]).to_lowercase());
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _gone = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
        }
    });
    (address, asked)
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named_and_a_secret_may_lie_in_a_file() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let (address, asked) = serve_over_tls(folder.path(), "{\"data\": [{\"ip_address\": \"192.0.2.1\"}]}");
    let secret = written(&folder, "secret", "hush-hush\n");
    let http = format!("url = \"{address}/list\"\ntries = 1\nheaders = {{ Auth-Key = {{ file = {secret:?} }} }}");
    let (code, said) = look(&data, &paged(&data, &http));
    assert!(code == Some(0) && said.contains("invalid peer certificate"), "{said}");
    assert!(asked.lock().expect("nobody panicked").is_empty(), "who is not trusted is told nothing");
    let http = format!("{http}\nca = {:?}", folder.path().join("ca.pem"));
    let (code, said) = look(&data, &paged(&data, &http));
    assert_eq!(code, Some(0), "{said}");
    assert!(asked.lock().expect("nobody panicked")[0].contains("auth-key: hush-hush\r\n"));
    assert!(!said.contains("hush-hush"), "{said}");
    assert_eq!(value(&data, "SELECT count(*) FROM events"), "1");
}

#[test]
fn what_is_larger_than_it_may_be_is_not_taken() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    // It does not say how long it is.
    let large = format!("{{\"data\": [], \"more\": \"{}\"}}", "x".repeat(3 << 20));
    let server = Server::start(move |_, _| ("HTTP/1.1 200 OK".to_owned(), large.clone().into_bytes()));
    let http = format!("url = \"{}/list\"\ntries = 1\nmost = 1", server.address);
    let (code, said) = look(&data, &paged(&data, &http));
    assert!(code == Some(0) && said.contains("is larger than 1 MiB"), "{said}");
    assert_eq!(value(&data, "SELECT count(*) FROM deliveries"), "0");
}

#[test]
fn files_in_a_folder_are_taken_in_and_put_aside() {
    let folder = TempDir::new().expect("a folder");
    let (data, drop) = (folder.path().join("data"), folder.path().join("drop"));
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_772_500_000);
    let place = |name: &str, text: &[u8]| {
        let path = written(&drop, name, text);
        std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(old)).expect("writable");
    };
    place("ci-badguys.txt", b"192.0.2.1\nno address\n");
    place("notes.pdf", b"%PDF");
    place("ci-badguys.txt.part", b"192.0.2.2\n");
    written(&drop, "ci-badguys-new.txt", "192.0.2.3\n");
    let configuration = format!("[source.drop]\nprovider = \"cins\"\n[source.drop.folder]\npath = \"{}\"\n", drop.display());
    let (code, said) = look(&data, &configuration);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(query(&data, "SELECT source_ip, time_source FROM events"), "source_ip,time_source\n192.0.2.1,2026-03-03T00:00:00Z\n");
    let there = |name: &str| drop.join(name).exists();
    assert!(there("taken/ci-badguys.txt") && there("refused/notes.pdf") && there("ci-badguys.txt.part") && there("ci-badguys-new.txt"));
}

#[test]
fn a_configuration_is_checked_before_anything_runs() {
    let folder = TempDir::new().expect("a folder");
    let cases = [
        ("", "the configuration names no source"),
        ("collect = [\"cins/arm\"]", "there is no feed \"cins/arm\"; is it cins/army?"),
        ("collect = [\"nobody/*\"]", "there is no provider \"nobody\""),
        ("\n[source.x]\n[source.x.http]\nurl = \"http://127.0.0.1/\"", "data/waglan.toml, line 2: say whose reports these are"),
        (
            "collect = [\"nobody/*\"]\n[source.x.http]\nurl = \"http://127.0.0.1/\"\n\n[source.y]\nfeed = \"cins/arm\"\n[source.y.folder]\npath = \"/tmp\"",
            "data/waglan.toml, line 5: there is no feed \"cins/arm\"; is it cins/army?\ncollect in ",
        ),
        (
            "[source.x]\nfeed = \"cins/army\"\n[source.x.http]\nurl = \"ftp://127.0.0.1/\"",
            "an address that begins with http:// or https://",
        ),
        ("[source.x]\nfeed = \"cins/army\"\n[source.x.http]\nurl = \"http://127.0.0.1/{key}\"", "fill does not say what {key} is"),
        ("[source.x]\nfeed = \"cins/army\"\nevery = \"1 fortnight\"", "\"1 fortnight\" is not a span of time"),
        ("[source.x]\nfeed = \"cins/army\"\n[source.x.pigeon]\nloft = 1", "unknown field `pigeon`"),
        ("[source.x]\nfeed = \"cins/army\"\n[source.x.http]\n[source.x.folder]\npath = \"/tmp\"", "several ways in, folder and http"),
    ];
    for (configuration, expected) in cases {
        let (code, said) = look(&folder.path().join("data"), configuration);
        assert_eq!(code, Some(2), "{configuration}: {said}");
        assert!(said.contains(expected), "{configuration}: {said}");
    }
}

#[test]
fn a_feed_that_falls_silent_is_told() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let now = event::time::parse("2026-03-20T12:00:00Z").expect("a time");
    for day in 1..=12 {
        let path = written(&folder, "ci-badguys.txt", format!("192.0.2.{day}\n192.0.2.100\n"));
        super::succeed(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", &format!("2026-03-{day:02}T06:00:00Z")]).arg(path));
    }
    let health = |now: i64| {
        // A clock that stands at this moment.
        run(waglan(&data).env("WAGLAN_CLOCK", format!("0/{now}/0.000000000001")).args(["feed", "health", "--format", "csv"]))
    };
    let silent = health(now);
    assert_eq!(silent.status.code(), Some(1));
    let table = String::from_utf8_lossy(&silent.stdout).into_owned();
    assert!(
        table.contains("cins/army,silent,2026-03-12T06:00:00Z,1d,2,1 to 3,0.0,0,12,0,0.0,silent for 8d6h; usually it comes every 1d"),
        "{table}"
    );
    let well = health(event::time::parse("2026-03-12T12:00:00Z").expect("a time"));
    assert_eq!(well.status.code(), Some(0), "{}", String::from_utf8_lossy(&well.stdout));
    let metrics =
        run(waglan(&data).env("WAGLAN_CLOCK", format!("0/{now}/0.000000000001")).args(["feed", "health", "--format", "prometheus"]));
    let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
    assert!(metrics.contains("waglan_feed_silent{feed=\"cins/army\"} 1\n"), "{metrics}");
}

#[test]
fn the_example_of_a_configuration_is_sound_and_shows_no_secret() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let example = std::fs::read_to_string("../../deploy/hong-kong.toml").expect("it is part of the project");
    // What is off, since it needs a contract, would work.
    written(
        &data,
        "waglan.toml",
        example.lines().filter(|line| !line.starts_with("off ")).map(|line| format!("{line}\n")).collect::<String>(),
    );
    written(
        &data,
        "conf.d/own.toml",
        "collect = [\"cert-pl/warning-list\"]\n[source.x]\nfeed = \"cins/army\"\n[source.x.http]\nfill = { a = \"hush\" }\n",
    );
    let checked = run(waglan(&data).args(["config", "check"]));
    assert_eq!(checked.status.code(), Some(0), "{}", told(&checked));
    let shown = String::from_utf8_lossy(&run(waglan(&data).args(["config", "show"])).stdout).into_owned();
    assert!(shown.contains("conf.d/own.toml") && shown.contains("\"cert-pl/warning-list\"") && !shown.contains("hush"), "{shown}");
    written(&data, "conf.d/slip.toml", "[run]\nat_onze = 3\n");
    let slip = run(waglan(&data).args(["config", "check"]));
    assert!(slip.status.code() == Some(2) && told(&slip).contains("conf.d/slip.toml") && told(&slip).contains("line 2"), "{}", told(&slip));
}

/// A service manager: what the program says to it, and when.
struct Manager {
    heard: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Manager {
    fn listen(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).expect("a free name");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let remembered = heard.clone();
        std::thread::spawn(move || {
            let mut said = [0; 1024];
            while let Ok(length) = socket.recv(&mut said) {
                let said = String::from_utf8_lossy(&said[..length]).into_owned();
                remembered.lock().expect("nobody panicked").push((Instant::now(), said));
            }
        });
        Manager { heard }
    }

    /// When it said so, each time.
    fn times(&self, what: &str) -> Vec<Instant> {
        let heard = self.heard.lock().expect("nobody panicked");
        heard.iter().filter(|(_, said)| said.starts_with(what)).map(|(when, _)| *when).collect()
    }
}

fn signal(running: &Running, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &running.0.id().to_string()]).status().expect("there is a kill");
    assert!(sent.success());
}

#[test]
fn a_service_manager_hears_that_it_is_ready_alive_reloading_and_stopping() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    // Long enough to be read that somebody who waits would take the program for dead.
    let list: String = (0..400_000u32).map(|number| format!("{}\n", Ipv4Addr::from(0xC612_0000 + number))).collect();
    let server = Server::start(move |_, _| ok(&list));
    let source = |name: &str| format!("[source.{name}]\nfeed = \"cins/army\"\n[source.{name}.http]\nurl = \"{}/{name}\"\n", server.address);
    written(&data, "waglan.toml", source("one"));
    let manager = Manager::listen(&folder.path().join("notify"));
    let mut command = waglan(&data);
    command.env("NO_PROXY", "127.0.0.1").env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "200000");
    let mut running = Running(command.arg("run").stderr(Stdio::null()).spawn().expect("it starts"));
    let fetched = |name: &str| {
        std::fs::read_to_string(data.join(format!("sources/{name}.json"))).ok().filter(|memory| memory.contains("\"last_success\": 1"))
    };
    wait_for("the first list", || fetched("one"));
    let alive = manager.times("WATCHDOG=1");
    let longest = alive.windows(2).map(|pair| pair[1] - pair[0]).max().expect("it is alive");
    let took = value(&data, "SELECT took_ms FROM deliveries").parse().map(Duration::from_millis).expect("a number");
    assert!(longest < took, "it is told apart from the dead while it reads: {longest:?} of {took:?}");

    written(&data, "waglan.toml", source("one") + &source("two"));
    signal(&running, "HUP");
    wait_for("the second source", || fetched("two"));
    assert_eq!(manager.times("RELOADING=1\nMONOTONIC_USEC=").len(), 1);
    assert_eq!(manager.times("READY=1").len(), 2);
    // What is not sound changes nothing.
    written(&data, "waglan.toml", "");
    signal(&running, "HUP");
    wait_for("the end of reloading", || (manager.times("READY=1").len() == 3).then_some(()));
    signal(&running, "TERM");
    assert!(running.0.wait().expect("a child").success());
    assert_eq!(manager.times("STOPPING=1").len(), 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a rehearsal's clock begins now")]
fn who_hangs_holds_nobody_up() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("it is bound");
    let server = Server::start(|_, _| ok("192.0.2.1\n"));
    let hanging: String = (0..6)
        .map(|number| format!("[source.hangs{number}]\nfeed = \"cins/army\"\n[source.hangs{number}.http]\nurl = \"http://{address}/\"\n"))
        .collect();
    let well = format!("[source.well]\nfeed = \"cins/army\"\n[source.well.http]\nurl = \"{}/\"\n", server.address);
    written(&data, "waglan.toml", format!("[run]\nat_once = 2\n{hanging}{well}"));
    let mut command = waglan(&data);
    // An hour in a minute.
    let real = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros();
    command.env("NO_PROXY", "127.0.0.1").env("WAGLAN_CLOCK", format!("{real}/1772517600000000/60"));
    let _running = Running(command.arg("run").stderr(Stdio::null()).spawn().expect("it starts"));
    wait_for("the one that answers", || (!server.asked().is_empty()).then_some(()));
    let gave_up = std::fs::read_dir(data.join("sources"))
        .map_or(0, |files| files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("hangs")).count());
    assert_eq!(gave_up, 0, "it did not wait until the others were given up");
    drop(silent);
}
