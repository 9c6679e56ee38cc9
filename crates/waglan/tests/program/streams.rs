//! Streams: whatever breaks on either side, what is acknowledged is stored, and each message is an event once.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{query, run, told, value, waglan, written};

/// A port that nobody listens at, for a moment.
pub(super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Tries until there is something.
#[track_caller]
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
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
pub(super) struct Running(pub(super) Child);

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
pub(super) fn serve(data: &Path, configuration: &str) -> Running {
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
pub(super) fn event(number: usize) -> String {
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

/// A broker that a test plays: what it hears, frame by frame, and what it says.
struct Broker<S> {
    stream: S,
    heard: Vec<u8>,
}

impl<S: Read + Write> Broker<S> {
    fn new(stream: S) -> Broker<S> {
        Broker { stream, heard: Vec::new() }
    }

    /// The next frame, without what ends it; nothing, if whoever spoke has gone.
    fn hear(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == 0) {
                let frame: Vec<u8> = self.heard.drain(..=end).take(end).collect();
                return Some(String::from_utf8(frame).expect("text").trim_start().to_owned());
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(read) if read > 0 => self.heard.extend_from_slice(&piece[..read]),
                _ => return None,
            }
        }
    }

    fn say(&mut self, frame: &str) {
        // Whoever has enough has gone.
        let _gone = self.stream.write_all(frame.as_bytes()).and_then(|()| self.stream.flush());
    }

    /// Lets somebody in; says what it was told.
    fn greet(&mut self, version: &str) -> String {
        let connect = self.hear().expect("somebody greets");
        self.say(&format!("CONNECTED\nversion:{version}\nheart-beat:100,100\n\n\0\n"));
        let subscribe = self.hear().expect("somebody subscribes");
        self.say("RECEIPT\nreceipt-id:subscribed\n\n\0");
        format!("{connect}\n{subscribe}")
    }

    fn message(&mut self, number: usize, body: &str) {
        self.say(&format!("MESSAGE\nsubscription:0\nmessage-id:a\\c{number}\nack:{number}\ndestination:/x\n\n{body}\0\n"));
    }

    /// Hears until farewell is said; says what was acknowledged.
    fn part(&mut self) -> Vec<String> {
        let mut acknowledged = Vec::new();
        while let Some(frame) = self.hear() {
            match frame.strip_prefix("ACK\n") {
                Some(headers) => acknowledged.push(headers.trim().replace('\n', " ")),
                None => {
                    assert_eq!(frame, "DISCONNECT\nreceipt:farewell\n\n");
                    self.say("\n\nRECEIPT\nreceipt-id:farewell\n\n\0");
                }
            }
        }
        acknowledged
    }
}

/// A broker for one connection after the other; its answer is what `play` says in the end.
fn broker<T: Send + 'static>(plays: Vec<fn(&mut Broker<TcpStream>) -> T>) -> (u16, std::thread::JoinHandle<Vec<T>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let play = move || plays.into_iter().map(|play| play(&mut Broker::new(listener.accept().expect("somebody comes").0))).collect();
    (port, std::thread::spawn(play))
}

fn stomp(port: u16, more: &str) -> String {
    format!(
        "[source.n6]\nfeed = \"cert-pl/n6-stream\"\n[source.n6.stomp]\nurl = \"stomp://127.0.0.1:{port}\"\ndestinations = [\"/exchange/org/x\"]\n{more}\n"
    )
}

/// An event of n6's stream.
fn n6(number: usize) -> String {
    format!(
        "{{\"id\": \"{number:032x}\", \"source\": \"x.y\", \"restriction\": \"need-to-know\", \"confidence\": \"high\", \"category\": \"bots\", \"time\": \
         \"2026-03-03T00:00:00Z\", \"name\": \"conficker\", \"address\": [{{\"ip\": \"198.18.0.{number}\", \"cc\": \"XA\", \"asn\": 64496}}]}}"
    )
}

#[test]
fn what_a_broker_sends_is_acknowledged_once_it_is_stored() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let (port, broker) = broker(vec![
        |broker| {
            let said = broker.greet("1.2");
            (1..=3).for_each(|number| broker.message(number, &n6(number)));
            // It breaks in the middle of a frame.
            broker.say("MESSAGE\nsubscription:0\nmess");
            vec![said]
        },
        |broker| {
            broker.greet("1.2");
            (1..=4).for_each(|number| broker.message(number, &n6(number)));
            broker.message(5, &n6(5).replace(", ", ",\r\n"));
            broker.message(6, "no json");
            broker.message(7, &"x".repeat(5 << 20));
            broker.message(8, &n6(8));
            broker.part()
        },
        |broker| {
            broker.greet("1.1");
            (8..=9).for_each(|number| broker.message(number, &n6(number)));
            broker.part()
        },
    ]);
    let sources =
        |more: &str| stomp(port, &format!("user = \"reader\"\npassword = \"hush-hush\"\nheaders = {{ prefetch-count = \"9\" }}\n{more}"));
    let mut said = String::new();
    for configuration in [sources(""), sources("batch = { messages = 3 }"), sources("ack = \"client\"")] {
        let (code, more) = look(&data, &configuration);
        assert_eq!(code, Some(0), "{more}");
        said += &more;
    }
    let heard = broker.join().expect("it played to the end");
    let greeting = "CONNECT\naccept-version:1.1,1.2\nhost:127.0.0.1\nheart-beat:10000,10000\nlogin:reader\npasscode:hush-hush\n\n\n\
                    SUBSCRIBE\nid:0\ndestination:/exchange/org/x\nack:client-individual\nreceipt:subscribed\nprefetch-count:9\n\n";
    assert_eq!(heard[0], [greeting]);
    assert_eq!(heard[1], (1..=8).map(|number| format!("id:{number}")).collect::<Vec<_>>());
    assert_eq!(heard[2], ["subscription:0 message-id:a\\c9"]);
    let ips: Vec<String> = [1, 2, 3, 4, 5, 8, 9].iter().map(|number| format!("198.18.0.{number}\n")).collect();
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), format!("source_ip\n{}", ips.concat()));
    assert_eq!(value(&data, "SELECT count(*) FROM rejects"), "2");
    assert!(value(&data, "SELECT max(origin) FROM deliveries").starts_with(&format!("stomp://127.0.0.1:{port}/exchange/org/x#20")));
    assert!(said.contains("the broker breaks off") && said.contains("a message is too long") && !said.contains("hush-hush"), "{said}");
}

#[test]
fn a_broker_that_misbehaves_is_left() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    type Play = fn(&mut Broker<TcpStream>);
    let cases: [(Play, &str); 7] = [
        (
            |broker| broker.say("HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\nno\0"),
            "answers with HTTP/1.1 400 Bad Request, where STOMP has CONNECTED",
        ),
        (|broker| broker.say("CONNECTED\nsession:1\n\n\0"), "speaks version 1.0 of STOMP, and not 1.1 or 1.2"),
        (
            |broker| broker.say("ERROR\nmessage:Bad CONNECT\n\nno user reader with hush-hush\u{7}\0"),
            "says: Bad CONNECT no user reader with ***",
        ),
        (|broker| broker.say(&format!("CONNECTED\nversion:{}", "x".repeat(1 << 20))), "sends a line of more than 16384 bytes"),
        (|broker| broker.say(&format!("CONNECTED\n{}", "a:b\n".repeat(10_000))), "sends a frame with more than 128 headers"),
        (
            |broker| {
                broker.greet("1.2");
                broker.say("MESSAGE\nsubscription:0\ncontent-length:99999999999\n\n");
            },
            "sends a message of 99999999999 bytes",
        ),
        (
            |broker| {
                broker.greet("1.2");
                broker.say("MESSAGE\nsubscription:0\n\n{}\0");
            },
            "a message does not say how it is called",
        ),
    ];
    let (plays, expected): (Vec<Play>, Vec<&str>) = cases.into_iter().unzip();
    let (port, broker) = broker(plays);
    for expected in expected {
        let (code, said) = look(&data, &stomp(port, "user = \"reader\"\npassword = \"hush-hush\""));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(expected) && !said.contains("hush-hush"), "{expected}: {said}");
    }
    broker.join().expect("it played to the end");
}

/// Certificates of an authority, and of a server and a client that it knows, as files of PEM.
fn certificates(folder: &Path) {
    let key = || rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let own = key();
    written(folder, "ca.pem", parameters.self_signed(&own).expect("a certificate").pem());
    let issuer = rcgen::Issuer::new(parameters, own);
    for (name, usage) in [("server", rcgen::ExtendedKeyUsagePurpose::ServerAuth), ("client", rcgen::ExtendedKeyUsagePurpose::ClientAuth)] {
        let key = key();
        let mut parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        parameters.extended_key_usages.push(usage);
        let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
        written(folder, &format!("{name}.pem"), certificate.pem());
        written(folder, &format!("{name}.key"), key.serialize_pem());
    }
}

#[test]
fn a_broker_is_known_by_its_certificate_and_knows_us_by_ours() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file("ca.pem")).expect("PEM")).expect("an authority");
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().expect("clients are checked");
    let settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(file("server.pem")).expect("PEM")],
            PrivateKeyDer::from_pem_file(file("server.key")).expect("PEM"),
        )
        .expect("a server's settings");
    let settings = std::sync::Arc::new(settings);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(settings.clone()).expect("a connection");
            let mut broker = Broker::new(rustls::StreamOwned::new(connection, stream.expect("somebody comes")));
            if broker.hear().is_none() {
                continue;
            }
            broker.say("CONNECTED\nversion:1.2\n\n\0\n");
            broker.message(1, &n6(1));
            while broker.hear().is_some_and(|frame| !frame.starts_with("DISCONNECT")) {}
            broker.say("RECEIPT\nreceipt-id:farewell\n\n\0");
        }
    });
    let configuration = |tls: &str| stomp(port, tls).replace("stomp://", "stomps://");
    let path = |name: &str| file(name).display().to_string();
    let (_, said) = look(&data, &configuration(""));
    assert!(said.contains("is not what TLS trusts"), "{said}");
    let (_, said) = look(&data, &configuration(&format!("tls = {{ ca = \"{}\" }}", path("ca.pem"))));
    assert!(said.contains("the broker has gone") || said.contains("CertificateRequired"), "{said}");
    let wrong = format!("tls = {{ ca = \"{0}\", certificate = \"{0}\", key = \"{1}\" }}", path("ca.pem"), path("client.key"));
    let (_, said) = look(&data, &configuration(&wrong));
    assert!(said.contains("is not the key of"), "{said}");
    assert_eq!(query(&data, "SELECT count(*) AS n FROM events"), "n\n0\n");
    let tls =
        format!("tls = {{ ca = \"{}\", certificate = \"{}\", key = \"{}\" }}", path("ca.pem"), path("client.pem"), path("client.key"));
    let (code, said) = look(&data, &configuration(&tls));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(query(&data, "SELECT source_ip FROM events"), "source_ip\n198.18.0.1\n", "{said}");
}

#[test]
fn what_a_server_says_by_websocket_is_stored() {
    use tungstenite::handshake::server::{ErrorResponse, Request, Response};
    use tungstenite::protocol::frame::coding::CloseCode;
    use tungstenite::protocol::{CloseFrame, Message};

    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        #[expect(clippy::result_large_err, reason = "it is how the crate asks")]
        let mut see = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            asked.push(format!("{} {:?}", request.uri(), request.headers().get("auth-key")));
            Ok(response)
        };
        let next = || listener.accept().expect("somebody comes").0;
        // One that speaks, and ends it.
        let mut socket = tungstenite::accept_hdr(next(), &mut see).expect("WebSocket");
        let mut heard = vec![socket.read().expect("it asks").to_string()];
        for number in [1, 2] {
            socket.send(Message::text(n6(number))).expect("it listens");
            socket.send(Message::Ping(Default::default())).expect("it listens");
        }
        socket.send(Message::text("x".repeat(5 << 20))).expect("it listens");
        socket.send(Message::binary(vec![0x1f, 0x8b, 8])).expect("it listens");
        socket.send(Message::text(n6(3).replace(", ", ",\n"))).expect("it listens");
        heard.push(format!("{:?}", socket.read().expect("it is there")));
        socket.close(Some(CloseFrame { code: CloseCode::Away, reason: "enough\u{7}".into() })).expect("it listens");
        while socket.read().is_ok() {}
        // One that says nothing more, and is left.
        let mut socket = tungstenite::accept(next()).expect("WebSocket");
        heard.push(socket.read().expect("it asks").to_string());
        socket.send(Message::text(n6(4))).expect("it listens");
        heard.push(socket.read().expect("it parts").is_close().to_string());
        // One that lets nobody in, one that speaks nonsense, one whose frame does not fit, and half a frame.
        let refuse = |mut stream: TcpStream, says: &[u8]| {
            let _gone = stream.read(&mut [0; 4096]).and_then(|_| stream.write_all(says));
        };
        refuse(next(), b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        refuse(next(), b"SSH-2.0-OpenSSH_9.2\r\n\r\n");
        for bytes in [&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0][..], &[0x82, 100, 1, 2]] {
            let mut socket = tungstenite::accept(next()).expect("WebSocket");
            let _gone = socket.get_mut().write_all(bytes).and_then(|()| socket.get_mut().flush());
        }
        let bomb = format!("HTTP/1.1 101 Switching Protocols\r\n{}\r\n", "a: b\r\n".repeat(10_000));
        refuse(next(), bomb.as_bytes());
        (asked, heard)
    });
    let configuration = format!(
        "[source.s]\nfeed = \"cert-pl/n6-stream\"\n[source.s.websocket]\nurl = \"ws://127.0.0.1:{port}/stream?key=hush-hush\"\nsend = \"subscribe\"\n\
         headers = {{ Auth-Key = \"hush-hush\" }}\n"
    );
    let expected = [
        "ends it: 1001 enough \"",
        "source looked at",
        "the server says 403 Forbidden",
        "does not speak WebSocket",
        "sends a message of more than 32 MiB",
        "/stream ",
        "does not speak WebSocket",
    ];
    for expected in expected {
        let (code, said) = look(&data, &configuration);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(expected) && !said.contains("hush-hush"), "{expected}: {said}");
    }
    let (asked, heard) = server.join().expect("it played to the end");
    assert_eq!(asked, ["/stream?key=hush-hush Some(\"hush-hush\")"]);
    assert_eq!(heard, ["subscribe", "Pong(b\"\")", "subscribe", "true"]);
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), "source_ip\n198.18.0.1\n198.18.0.2\n198.18.0.3\n198.18.0.4\n");
    assert_eq!(value(&data, "SELECT count(*) FROM rejects"), "2");
}

pub(super) fn tcp(port: u16, more: &str) -> String {
    format!("[source.in]\nfeed = \"intelmq/events\"\n[source.in.tcp]\nlisten = \"127.0.0.1:{port}\"\n{more}\n")
}

pub(super) fn connect(port: u16) -> TcpStream {
    wait_for("somebody who listens", || TcpStream::connect(("127.0.0.1", port)).ok())
}

/// Sends a message as IntelMQ's output does; says what is answered.
pub(super) fn send(stream: &mut TcpStream, message: &[u8]) -> Vec<u8> {
    let mut answer = [0; 2];
    let length = u32::try_from(message.len()).expect("it is short").to_be_bytes();
    let sent = stream.write_all(&[&length, message].concat()).and_then(|()| stream.read_exact(&mut answer));
    if sent.is_ok() { answer.to_vec() } else { Vec::new() }
}

#[test]
fn what_was_answered_is_not_lost_when_the_program_is_killed() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let port = free_port();
    let configuration = tcp(port, "framing = \"intelmq\"");
    let program = serve(&data, &configuration);
    let (mut one, mut other) = (connect(port), connect(port));
    for number in 0..50 {
        assert_eq!(send(&mut one, event(number).as_bytes()), b"Ok");
        assert_eq!(send(&mut other, event(50 + number).as_bytes()), b"Ok");
    }
    assert_eq!(send(&mut one, &vec![b'x'; 5 << 20]), b"Ok", "it would send it for ever");
    assert_eq!(send(&mut other, b"\x1f\x8b\x08"), b"Ok");
    // Half a message.
    one.write_all(&[0, 0, 0, 9, b'{']).expect("it listens");
    drop(program);
    assert_eq!(value(&data, "SELECT count(*) FROM events"), "0", "they were waiting to be enough");
    let (code, said) = look(&data, &configuration);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(query(&data, "SELECT count(*) AS n, count(DISTINCT source_ip) AS ips FROM events"), "n,ips\n100,100\n");
    assert_eq!(value(&data, "SELECT count(*) FROM rejects"), "1");
    assert_eq!(std::fs::read_dir(data.join("sources/in.d")).expect("a folder").count(), 0, "nothing is left");
}

#[test]
fn lines_of_several_clients_are_stored_whatever_others_send() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let port = free_port();
    let mut program = serve(&data, &tcp(port, "patience = \"1s\"\nconnections = 3"));
    let (mut one, mut endless, mut slow) = (connect(port), connect(port), connect(port));
    one.write_all(format!("{}\n{}\r\n\n", event(0), event(1)).as_bytes()).expect("it listens");
    // There is no place for one more.
    assert_eq!(connect(port).read(&mut [0; 1]).unwrap_or_default(), 0);
    slow.write_all(b"{\"source").expect("it listens");
    let piece = vec![b'x'; 1 << 20];
    assert!((0..200).any(|_| endless.write_all(&piece).is_err()), "a line without an end is not read for ever");
    assert_eq!(slow.read(&mut [0; 1]).unwrap_or_default(), 0, "it is let go");
    // And there is place again.
    wait_for("a place", || {
        let mut again = connect(port);
        let sent = again.write_all(format!("{}\n\u{1f}\u{8b}\n{{\"source.ip\": \"198.", event(2)).as_bytes());
        again.set_read_timeout(Some(Duration::from_millis(200))).expect("it is connected");
        sent.ok().and_then(|()| (again.read(&mut [0; 1]).is_err()).then_some(()))
    });
    // Told to stop, it hands over what it has.
    let stop = run(Command::new("kill").arg(program.0.id().to_string()));
    assert!(stop.status.success());
    wait_for("its end", || program.0.try_wait().expect("it runs"));
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), "source_ip\n198.18.0.0\n198.18.0.1\n198.18.0.2\n");

    let _program = serve(&data, &tcp(port, "framing = \"intelmq\"\nallow = [\"192.0.2.0/24\"]"));
    assert_eq!(send(&mut connect(port), event(3).as_bytes()), b"", "it is not allowed");
}

#[test]
fn streams_are_checked_before_anything_runs() {
    let folder = TempDir::new().expect("a folder");
    let cases = [
        (stomp(1, "").replace("stomp://", "http://"), "the address begins with stomp:// or stomps://"),
        (stomp(1, "tls = {}"), "tls is for addresses that begin with stomps://"),
        (stomp(1, "").replace("n6-stream", "warning-list"), "a stream's messages become lines"),
        (stomp(1, "").replace("\"/exchange/org/x\"", ""), "say what to listen to"),
        (stomp(1, "headers = { ack = \"auto\" }"), "the header ack is not for you to say"),
        (stomp(1, "batch = { messages = 0 }"), "a batch has a message and a MiB at least"),
        (tcp(1, "allow = [\"here\"]"), "\"here\" is no network, such as 192.0.2.0/24"),
        (tcp(1, "").replace("tcp", "redis").replace("listen", "url"), "a queue is redis://HOST:PORT/DATABASE/QUEUE"),
        (tcp(1, "").replace("tcp", "websocket").replace("listen", "url"), "the address is no address"),
    ];
    for (configuration, expected) in cases {
        let (code, said) = look(&folder.path().join("data"), &configuration);
        assert_eq!(code, Some(2), "{configuration}: {said}");
        assert!(said.contains(expected), "{configuration}: {said}");
    }
}
