//! Who is on duty hears of trouble once, and once that it is over; and what the program does can be watched by other programs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use event::time::{self, Micros};
use tempfile::TempDir;

use super::mail::certify;
use super::running::{Server, ok, status};
use super::streams::{free_port, wait_for};
use super::{obs, run, succeed, time_of, told, waglan, written};

/// A mail server that wants TLS and a password, and puts what it takes into a mailbox.
struct MailServer {
    server: Child,
    port: u16,
}

const MAIL_SERVER: &str = r#"
import ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import AuthResult, LoginPassword

folder, port = sys.argv[1], int(sys.argv[2])
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
class Known(Mailbox):
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("gone@"):
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

know = lambda server, session, envelope, mechanism, data: AuthResult(success=data == LoginPassword(b"waglan", b"hush-hush"))
controller = Controller(Known(folder + "/mails"), hostname="127.0.0.1", port=port, require_starttls=True, tls_context=tls,
                        authenticator=know, auth_required=True)
controller.start()
print("ready", flush=True)
sys.stdin.read()
"#;

impl MailServer {
    fn start(folder: &Path) -> MailServer {
        certify(folder);
        let port = free_port();
        let python = std::env::var_os("WAGLAN_TEST_PYTHON").expect("`cargo xtask test` prepares a Python with a server, and says where");
        let mut start = Command::new(python);
        start.args(["-c", MAIL_SERVER]).arg(folder).arg(port.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = start.spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("it is piped")).read_line(&mut line).expect("text");
        assert_eq!(line, "ready\n");
        MailServer { server, port }
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.server.kill().and_then(|()| self.server.wait()).expect("a child can be killed");
    }
}

/// The mails that came, without the lines that are never the same, the earliest first.
fn mails(folder: &Path) -> Vec<String> {
    let Ok(files) = std::fs::read_dir(folder.join("mails/new")) else { return Vec::new() };
    let mut mails: Vec<String> =
        files.map(|file| std::fs::read_to_string(file.expect("it is listed").path()).expect("text").replace("\r\n", "\n")).collect();
    mails.sort_by_key(|mail| mail.lines().find_map(|line| line.strip_prefix("As of ").map(str::to_owned)));
    let odd = ["Message-ID: ", "X-Peer: ", "X-MailFrom: ", "X-RcptTo: ", "Content-Transfer-Encoding: ", "MIME-Version: "];
    let told = |mail: &String| mail.lines().filter(|line| !odd.iter().any(|odd| line.starts_with(odd))).collect::<Vec<_>>().join("\n");
    mails.iter().map(told).collect()
}

fn at(text: &str) -> Micros {
    time::parse(text).expect("a time")
}

/// Looks once at this time; exit and what was said.
fn look(data: &Path, now: &str) -> String {
    let clock = format!("0/{}/1e-30", at(now));
    let mut command = waglan(data);
    command.env("NO_PROXY", "127.0.0.1").env("WAGLAN_CLOCK", clock).env("MAIL_PASSWORD", "hush-hush");
    let output = run(command.args(["run", "--once"]));
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    told(&output)
}

fn deliver(folder: &Path, data: &Path, day: &str) {
    let report = written(folder, &format!("{day}.csv"), format!("address,seen\n192.0.2.1,{day} 01:00:00\n"));
    succeed(waglan(data).args(["ingest", "--feed", "example/obs", "--at", day]).arg(report));
}

#[test]
fn whoever_is_on_duty_hears_once_and_once_that_it_is_over() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    let server = MailServer::start(folder.path());
    // At first the chat is away.
    let chat = Server::exact(|_, number| if number == 1 { status("503 Service Unavailable") } else { ok("") });
    let configuration = format!(
        "[source.drop]\nfeed = \"example/obs\"\n[source.drop.folder]\npath = {:?}\n\
         [alarms.mail]\nfrom = \"Waglan <waglan@example.org>\"\nto = [\"gone@example.org\", \"duty@example.org\"]\nserver = \"127.0.0.1\"\nport = {}\n\
         user = \"waglan\"\npassword = {{ environment = \"MAIL_PASSWORD\" }}\nca = {:?}\n\
         [alarms.webhook]\nurl = \"{}/hooks/topsecret\"\n",
        folder.path().join("drop"),
        server.port,
        folder.path().join("ca.pem"),
        chat.address,
    );
    std::fs::create_dir(folder.path().join("drop")).expect("a folder");
    written(&data, "waglan.toml", configuration);
    for day in ["2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05"] {
        deliver(folder.path(), &data, day);
    }
    look(&data, "2026-03-06T00:00:00Z");
    assert!(mails(folder.path()).is_empty(), "all is well");
    let said = look(&data, "2026-03-09T00:00:00Z");
    assert!(said.contains("feed example/obs is silent was not told by webhook: the server says 503"), "{said}");
    assert!(said.contains("was not told by mail: gone@example.org: permanent error (550): 5.1.1 nobody of that name"), "{said}");
    let silent = "From: Waglan <waglan@example.org>\nSubject: Waglan: feed example/obs is silent\nDate: Mon, 09 Mar 2026 00:00:00 +0000\n\
                  To: gone@example.org, duty@example.org\nAuto-Submitted: auto-generated\nContent-Type: text/plain; charset=utf-8\n\n\
                  feed example/obs is silent: silent for 4d; usually it comes every 1d\n\n\
                  As of 2026-03-09T00:00:00Z. `waglan feed health` shows all feeds.\n";
    assert_eq!(mails(folder.path()), [silent]);
    look(&data, "2026-03-10T00:00:00Z");
    look(&data, "2026-03-11T00:00:00Z");
    assert_eq!(mails(folder.path()), [silent], "it is told once");
    let standing = succeed(waglan(&data).args(["alarms", "list"]));
    assert_eq!(
        standing,
        "2026-03-09T00:00:00Z by mail: feed example/obs is silent: silent for 4d; usually it comes every 1d\n\
         2026-03-10T00:00:00Z by webhook: feed example/obs is silent: silent for 5d; usually it comes every 1d\n"
    );
    deliver(folder.path(), &data, "2026-03-11");
    look(&data, "2026-03-11T12:00:00Z");
    let over = "From: Waglan <waglan@example.org>\nSubject: Waglan: feed example/obs is well again\n\
                Date: Wed, 11 Mar 2026 12:00:00 +0000\nTo: gone@example.org, duty@example.org\nAuto-Submitted: auto-generated\n\
                Content-Type: text/plain; charset=utf-8\n\n\
                feed example/obs is well again; it was silent since 2026-03-09T00:00:00Z\n\n\
                As of 2026-03-11T12:00:00Z. `waglan feed health` shows all feeds.\n";
    assert_eq!(mails(folder.path()), [silent, over]);
    assert_eq!(succeed(waglan(&data).args(["alarms", "list"])), "");
    let asked = chat.asked();
    let bodies: Vec<&str> = asked.iter().filter_map(|request| request.split_once("\r\n\r\n")).map(|(_, body)| body).collect();
    assert_eq!(bodies.len(), 3, "what was not taken, and then twice");
    let body: serde_json::Value = serde_json::from_str(bodies[2]).expect("JSON");
    assert_eq!(
        body["over"],
        serde_json::json!([{ "what": "feed example/obs", "state": "silent",
        "why": "silent for 5d; usually it comes every 1d", "since": "2026-03-10t00:00:00z" }])
    );
    let shown = succeed(waglan(&data).args(["config", "show"]));
    assert!(!shown.contains("topsecret"), "{shown}");
}

#[test]
fn a_source_that_fails_raises_an_alarm_and_outputs_can_be_tried() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let chat = Server::exact(|_, _| ok(""));
    let gone = Server::exact(|_, _| status("404 Not Found"));
    let configuration = format!(
        "[source.cins]\nfeed = \"cins/army\"\n[source.cins.http]\nurl = \"{}/list\"\n[alarms.webhook]\nurl = \"{}/hook\"\n",
        gone.address, chat.address
    );
    written(&data, "waglan.toml", configuration);
    let mut tried = waglan(&data);
    assert_eq!(succeed(tried.env("NO_PROXY", "127.0.0.1").args(["alarms", "test"])), "webhook: taken\n");
    for time in ["2026-03-01T00:00:00Z", "2026-03-01T00:10:00Z"] {
        look(&data, time);
        assert_eq!(chat.asked().len(), 1, "once or twice is the internet");
    }
    let said = look(&data, "2026-03-01T00:20:00Z");
    let asked = chat.asked();
    assert_eq!(asked.len(), 2, "{said}");
    assert!(asked[1].contains("source cins is failing") && asked[1].contains("404 not found"), "{asked:?}");
    // An output that cannot work silences no other, and is told before anything runs if that can be seen.
    let more = "[alarms.mail]\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\nserver = \"127.0.0.1\"\nsecurity = \"none\"\nuser = \"a\"\n\
                password = { environment = \"NOT_SET\" }\n";
    written(&data, "waglan.toml", format!("[alarms.webhook]\nurl = \"{}/hook\"\n{more}", chat.address));
    let output = run(waglan(&data).env("NO_PROXY", "127.0.0.1").args(["alarms", "test"]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "webhook: taken\n");
    let said = told(&output);
    assert!(said.starts_with("mail: not taken: [alarms.mail] in the configuration: the environment has no NOT_SET"), "{said}");
    written(&data, "waglan.toml", "[alarms.webhook]\nurl = \"chat.example.org/hook\"\n");
    let said = told(&run(waglan(&data).args(["config", "check"])));
    let place = |line: u32| format!("in {}, line {line}", data.join("waglan.toml").display());
    assert_eq!(said, format!("error: [alarms.webhook] {}: the address to tell begins with http:// or https://\n", place(1)));
    written(&data, "waglan.toml", "[alarms.mail]\nfrom = \"nobody\"\nto = []\nserver = \"mail.example.org\"\n");
    let said = told(&run(waglan(&data).args(["config", "check"])));
    assert_eq!(said, format!("error: [alarms.mail] {}: nobody is named in \"to\"\n", place(1)));
    written(
        &data,
        "waglan.toml",
        "[alarms.mail]\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]\nserver = \"mail.example.org\"\nsecurity = \"none\"\n",
    );
    let said = told(&run(waglan(&data).args(["config", "check"])));
    let refused = "security = \"none\" is for a server on this machine alone: mail.example.org is another";
    assert_eq!(said, format!("error: [alarms.mail] {}: {refused}\n", place(1)));
}

#[test]
fn metrics_are_there_over_http_while_it_runs() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    deliver(folder.path(), &data, "2026-03-01");
    let port = free_port();
    std::fs::create_dir(folder.path().join("drop")).expect("a folder");
    let drop = folder.path().join("drop");
    let configuration =
        format!("[run]\nmetrics = \"127.0.0.1:{port}\"\n[source.drop]\nfeed = \"example/obs\"\n[source.drop.folder]\npath = {drop:?}\n");
    written(&data, "waglan.toml", configuration);
    let mut command = waglan(&data);
    command.env("WAGLAN_CLOCK", format!("0/{}/1e-30", at("2026-03-02T00:00:00Z"))).arg("run").stderr(Stdio::null());
    let _running = super::streams::Running(command.spawn().expect("it starts"));
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok().map(|_| answer)
    };
    let answer = wait_for("metrics", || ask("/metrics"));
    assert!(answer.contains("content-type: text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("waglan_feed_rows{feed=\"example/obs\"} 1\n"), "{answer}");
    assert!(answer.contains("waglan_source_failures{source=\"drop\"} 0\n"), "{answer}");
    assert!(ask("/events").expect("it answers").starts_with("HTTP/1.1 404"), "nothing else is there");
}

/// What OpenTelemetry's collectors are sent is a document of protocol buffers, in which texts stand as they are.
#[test]
fn traces_go_where_the_environment_says() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    obs(&data, "");
    let collector = Server::exact(|_, _| ok(""));
    let report = written(folder.path(), "day.csv", "address,seen\n192.0.2.1,2026-03-01 01:00:00\n");
    let mut command = waglan(&data);
    command.env("NO_PROXY", "127.0.0.1").env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address);
    succeed(command.args(["ingest", "--feed", "example/obs", "--at", "2026-03-01"]).arg(report));
    let sent = collector.asked().concat();
    assert!(sent.starts_with("post /v1/traces http/1.1"), "{sent}");
    for said in ["service.name", "waglan", "ingest", "read_arrival", "commit", "example/obs"] {
        assert!(sent.contains(said), "{said} is missing in {sent}");
    }
    // One that is away, or never answers, holds nothing up for long.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("it has one");
    let called = std::thread::spawn(move || silent.accept().expect("the program connects"));
    let query = |endpoint: &str| {
        let mut command = waglan(&data);
        command.env("NO_PROXY", "127.0.0.1").env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        time_of(command.args(["query", "SELECT 1"]))
    };
    let alone = query("");
    for endpoint in [format!("http://127.0.0.1:{}", free_port()), format!("http://{address}")] {
        let waited = query(&endpoint);
        assert!(waited < 2 * alone + Duration::from_secs(3), "{waited:?} with {endpoint}, and {alone:?} without");
    }
    let (mut stream, _) = called.join().expect("somebody came");
    let mut begins = [0; 4];
    stream.read_exact(&mut begins).expect("it asked");
    assert_eq!(begins, *b"POST");
}
