//! Moving in from IntelMQ: its configuration, its history, and both beside each other.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{packed, query, run, told, value, waglan, written};

/// A botnet in the form of IntelMQ's own example: two feeds, experts, a file; and beside it what else there is.
const RUNTIME: &str = r#"
global:
  http_timeout_sec: 120
  logging_level: INFO
feodo-collector:
  bot_id: feodo-collector
  enabled: true
  group: Collector
  module: intelmq.bots.collectors.http.collector_http
  name: Feodo
  parameters:
    destination_queues:
      _default: [feodo-parser-queue]
    extract_files: false
    http_password: null
    http_url: https://feodotracker.abuse.ch/downloads/ipblocklist.json
    name: Feodo Tracker
    provider: Abuse.ch
    rate_limit: 86400
  run_mode: continuous
feodo-parser:
  group: Parser
  module: intelmq.bots.parsers.abusech.parser_feodotracker
  parameters:
    destination_queues: {_default: [dedup-queue]}
partner-collector:
  enabled: false
  group: Collector
  module: intelmq.bots.collectors.http.collector_http
  parameters:
    destination_queues: [partner-parser-queue]
    http_url: https://partner.example/{time[%Y%m%d]}/list.csv?apikey=hush-key
    http_url_formatting: {days: -1}
    http_username: cert
    http_password: hush-password
    http_header: {X-Token: hush-token, Accept: text/csv}
    http_verify_cert: false
    name: Bad Hosts
    provider: Partner CERT
    rate_limit: 600
    ssl_client_certificate: /etc/cert.pem
partner-parser:
  group: Parser
  module: intelmq.bots.parsers.generic.parser_csv
  parameters:
    destination_queues: {_default: dedup-queue}
    columns: [time.source, "source.fqdn|source.ip", source.port, classification.type, malware.name, __IGNORE__, extra.note]
    column_regex_search: {malware.name: "^[a-z]+"}
    compose_fields: {source.url: "http://{1}:{2}/"}
    default_url_protocol: https://
    defaults_fields: {protocol.transport: tcp}
    delimiter: ";"
    filter_text: internal
    filter_type: blacklist
    skip_header: 1
    time_format: from_format|%d.%m.%Y %H:%M
    type_translation: '{"bots": "infected-system", "cc": "c2-server"}'
mail-collector:
  group: Collector
  module: intelmq.bots.collectors.mail.collector_mail_attach
  parameters:
    destination_queues: {_default: [reports-queue]}
    mail_host: mail.example.org
    mail_user: reports
    mail_password: hush-mail
    mail_ssl: true
    attach_regex: csv.zip
    sent_from: autoreports@shadowserver.org
    subject_regex: 'Shadowserver .* Report'
    folder: Reports
    extract_files: true
    rate_limit: 300
reports:
  group: Parser
  module: intelmq.bots.parsers.shadowserver.parser
  parameters: {destination_queues: {_default: [dedup-queue]}}
tickets-collector:
  group: Collector
  module: intelmq.bots.collectors.rt.collector_rt
  parameters: {destination_queues: {_default: [reports-queue]}, password: hush-rt}
lonely-collector:
  group: Collector
  module: intelmq.bots.collectors.tcp.collector
  parameters: {destination_queues: {_default: [nowhere-queue]}, ip: 127.0.0.1, port: 5000}
dedup:
  group: Expert
  module: intelmq.bots.experts.deduplicator.expert
  parameters: {destination_queues: {_default: [ours-queue]}, redis_cache_ttl: 86400}
ours:
  group: Expert
  module: intelmq.bots.experts.filter.expert
  parameters: {destination_queues: {_default: [rules-queue]}, filter_key: source.geolocation.cc, filter_value: XM, filter_action: keep}
rules:
  group: Expert
  module: intelmq.bots.experts.sieve.expert
  parameters: {destination_queues: {_default: [file-queue]}, file: /etc/rules.sieve}
file:
  group: Output
  module: intelmq.bots.outputs.file.output
  parameters: {file: /var/events.txt}
own:
  group: Expert
  module: ourcert.bots.special
  parameters: {}
"#;

const CONFIGURATION: &str = r#"
# feodo-collector -> feodo-parser: Abuse.ch, Feodo Tracker
[source.feodo]
feed = "abuse-ch/feodotracker"
every = "1d"
[source.feodo.http]
patience = "2m"

# partner-collector -> partner-parser: Partner CERT, Bad Hosts
# not translated: default_url_protocol = https://: where no scheme is stated, it is http here
# not translated: filter_text: rows with "internal" are kept here; ignore = { COLUMN = "WORD" } leaves some out
# not translated: http_verify_cert = false: who a server is, is always checked; name its authority as ca = "FILE.pem"
# not translated: ssl_client_certificate = /etc/cert.pem: no certificate of our own is shown to web servers
[source.partner]
feed = "partner-cert/bad-hosts"
every = "10m"
off = true
[source.partner.http]
url = "https://partner.example/{yesterday:%Y%m%d}/list.csv?apikey={apikey}"
fill = { apikey = { environment = "PARTNER_COLLECTOR_URL_APIKEY" } }
patience = "2m"
headers = { X-Token = { environment = "PARTNER_COLLECTOR_HTTP_HEADER_X_TOKEN" }, Accept = "text/csv" }
user = "cert"
password = { environment = "PARTNER_COLLECTOR_HTTP_PASSWORD" }

# mail-collector -> reports
[source.mail]
provider = "shadowserver"
every = "5m"
[source.mail.imap]
server = "mail.example.org"
user = "reports"
password = { environment = "MAIL_COLLECTOR_MAIL_PASSWORD" }
folder = "Reports"
from = 'autoreports@shadowserver\.org'
subject = "Shadowserver .* Report"
attachments = "csv.zip"

# tickets-collector -> reports
# not translated: a ticket system is not asked here: let the mails go to a mailbox for [source.NAME.imap], or ask the provider for an API; what it brings is read by the feeds of shadowserver

# lonely-collector
# not translated: its messages reach no parser

# What the other bots do:
# dedup: an event is stored once for ever, by what it says; what a feed's table marks as volatile does not count
# file: events are stored by itself; waglan query --format idf "SELECT * FROM events WHERE ..." writes IntelMQ's JSON
# ours: every event is kept; what is ours the scope says, at the end
# rules: not translated: its rules are not read: what they decide goes into the feed's table, [[suppress]], [scope] or a query

[scope]
countries = ["XM"]
"#;

#[test]
fn a_botnet_becomes_sources_and_what_does_not_is_listed() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let runtime = written(&folder, "runtime.yaml", RUNTIME);
    let output = run(waglan(&data).args(["import", "intelmq"]).arg(&runtime));
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    let body = text.find("\n# feodo-collector").and_then(|at| text.get(at..)).unwrap_or_default();
    assert_eq!(body, CONFIGURATION);
    let said = told(&output);
    for lost in [
        "not translated: lonely-collector: its messages go to nowhere-queue, of which no bot reads",
        "not translated: own: it is of your own make, ourcert.bots.special: nobody here knows what it does",
        "not translated: rules: its rules are not read",
        "3 sources, 1 table, 4 secrets; 9 not translated",
    ] {
        assert!(said.contains(lost), "{lost}: {said}");
    }
    assert!(!text.contains("hush") && !said.contains("hush"), "{text}{said}");
    assert!(!data.exists(), "nothing is written that nobody asked for");

    let saved = run(waglan(&data).args(["import", "intelmq", "--save"]).arg(&runtime));
    assert_eq!(saved.status.code(), Some(1), "{}", told(&saved));
    assert!(saved.stdout.is_empty() && !told(&saved).contains("hush"), "{}", told(&saved));
    let secret = data.join("secrets/partner_collector_url_apikey");
    assert_eq!(std::fs::read_to_string(&secret).expect("written"), "hush-key");
    assert_eq!(secret.metadata().expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(data.join("secrets").metadata().expect("there").permissions().mode() & 0o777, 0o700);
    let configuration = std::fs::read_to_string(data.join("conf.d/intelmq.toml")).expect("written");
    assert!(!configuration.contains("hush") && configuration.contains("secrets/mail_collector_mail_password"), "{configuration}");
    let check = run(waglan(&data).args(["config", "check"]));
    assert_eq!((check.status.code(), check.stdout.as_slice()), (Some(0), b"1 files, sound; 2 sources\n".as_slice()), "{}", told(&check));

    // The drafted table reads what the parser read.
    let report = "seen;host;port;type;family;x;note\n01.03.2026 10:05;bad.example.org;8080;cc;emotet-v2;1;a\n01.03.2026 10:06;192.0.2.7;80;bots;mirai;1;\n";
    let report = written(&folder, "list.csv", report);
    let parsed = run(waglan(&data).args(["parse", "--feed", "partner-cert/bad-hosts"]).arg(report));
    assert_eq!(
        String::from_utf8_lossy(&parsed.stdout),
        "2026-03-01T10:05:00Z c2-server c2 extra={\"note\":\"a\"} malware.name=emotet protocol.transport=tcp source.fqdn=bad.example.org \
         source.port=8080 source.url=http://bad.example.org:8080/\n\
         2026-03-01T10:06:00Z infected-system bot malware.name=mirai protocol.transport=tcp source.ip=192.0.2.7 source.port=80 \
         source.url=http://192.0.2.7/\n",
        "{}",
        told(&parsed)
    );

    // The same once more is nobody's obstacle, with the configuration there or moved away.
    for moved_away in [false, true] {
        if moved_away {
            std::fs::remove_file(data.join("conf.d/intelmq.toml")).expect("there");
        }
        let again = run(waglan(&data).args(["import", "intelmq", "--save"]).arg(&runtime));
        assert_eq!(again.status.code(), Some(1), "{}", told(&again));
        assert_eq!(std::fs::read_to_string(data.join("conf.d/intelmq.toml")).expect("written"), configuration);
    }
    // All that is in the way is named before anything is written.
    std::fs::remove_file(data.join("secrets/mail_collector_mail_password")).expect("there");
    std::fs::write(&secret, "another").expect("writable");
    let other = written(&folder, "other.yaml", RUNTIME.replace("rate_limit: 600", "rate_limit: 1200"));
    let again = run(waglan(&data).args(["import", "intelmq", "--save"]).arg(&other));
    let said = told(&again);
    assert!(again.status.code() == Some(2) && said.contains("is there already, and says something else: move it away first"), "{said}");
    assert!(said.contains("secrets/partner_collector_url_apikey, ") && said.contains("conf.d/intelmq.toml"), "{said}");
    assert!(!data.join("secrets/mail_collector_mail_password").exists());
}

#[test]
fn nothing_secret_of_a_botnet_is_shown() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let collector = |name: &str, module: &str, parser: &str, parameters: &str| {
        format!(
            "{name}:\n  module: intelmq.bots.collectors.{module}\n  parameters: {{destination_queues: [{name}-parser-queue], {parameters}}}\n\
             {name}-parser:\n  module: intelmq.bots.parsers.{parser}\n  parameters: {{}}\n"
        )
    };
    let http = "http.collector_http";
    let long = "hush0123456789hush0123456789";
    let runtime: String = [
        collector("a-b", http, "vxvault.parser", &format!("http_url: 'https://user:hush1@x@one.example/{long}/x?key=hush2'")),
        collector("a_b", http, "vxvault.parser", "http_url: 'https://hush3@two.example/list', http_header: {X-Feed: hush01234567890123456789}"),
        collector("c", http, "abusech.parser_feodotracker", "http_url: 'https://user:hush5@three.example/x?token=hush6'"),
        collector("d", http, "vxvault.parser", "http_url: 'user:hush7@four.example'"),
        collector("e", http, "vxvault.parser", "http_url: 'https://user:hu/sh8@five.example/hush8'"),
        collector("f", http, "vxvault.parser", "http_url: 'https://six.example/x', other: {inner: hush9}, more: [hush10], text: '{\"a\": \"hush11\"}'"),
        collector("g", http, "vxvault.parser", "http_url: 'https://six.example/y', back: 'https://user:hush12@x.example/?a=hush13'"),
        collector(
            "h",
            "mail.collector_mail_url",
            "vxvault.parser",
            "mail_host: m.example, mail_user: u, mail_password: hush14, url_regex: 'https://seven.example/.*', http_header: {Authorization: hush15}",
        ),
        collector("i", http, "alienvault.parser_otx", "http_url: 'https://user:hush16@nobody.example/x?apikey=hush17'"),
        collector("k-", http, "vxvault.parser", "http_url: 'https://eight.example/x?key=hush18'"),
        collector("k_", http, "vxvault.parser", "http_url: 'https://eight.example/y?key=hush19'"),
        collector("own", http, "generic.parser_csv", "http_url: 'https://nine.example/x'").replace(
            "parameters: {}",
            "parameters: {columns: [source.ip], defaults_fields: {feed.url: 'https://nine.example/?a=hush20'}, compose_fields: {source.url: 'http://x/hush21'}}",
        ),
    ]
    .concat();
    let runtime = written(&folder, "runtime.yaml", runtime);
    let output = run(waglan(&data).args(["import", "intelmq"]).arg(&runtime));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), told(&output));
    assert!(output.status.code() == Some(1) && !text.contains("hush") && !text.contains("sh8"), "{text}");
    for expected in [
        "headers = { Authorization = { environment = \"A_B_HTTP_URL_LOGIN\" }, X-Feed = { environment = \"A_B_HTTP_HEADER_X_FEED\" } }",
        "parameter other = {inner} has no counterpart here",
        "parameter more = a list of 1 has no counterpart here",
        "parameter back = https://x.example/?... has no counterpart here",
        "defaults_fields: feed.url has an address with a login or a query",
        "environment = \"K__URL_KEY\"",
        "environment = \"K__URL_KEY_2\"",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    // Each secret has a file of its own.
    run(waglan(&data).args(["import", "intelmq", "--save"]).arg(&runtime));
    let secret = |name: &str| std::fs::read_to_string(data.join("secrets").join(name)).unwrap_or_default();
    assert_eq!(
        ["a_b_url_key", "a_b_url_key_2", "a_b_http_url_password", "a_b_http_url_login", "k__url_key", "k__url_key_2"].map(secret),
        ["hush2", long, "hush1@x", "Basic aHVzaDM6", "hush18", "hush19"]
    );
}

#[test]
fn a_botnet_of_before_version_3_and_what_is_none() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let runtime = written(
        &folder,
        "runtime.conf",
        r#"{"urls-collector": {"group": "Collector", "module": "intelmq.bots.collectors.http.collector_http", "name": "x", "description": "",
            "parameters": {"http_url": "http://vxvault.net/URL_List.php", "rate_limit": 3600}},
           "urls-parser": {"group": "Parser", "module": "intelmq.bots.parsers.vxvault.parser", "parameters": {}}}"#,
    );
    let pipeline = written(
        &folder,
        "pipeline.conf",
        r#"{"urls-collector": {"destination-queues": ["urls-parser-queue"]}, "urls-parser": {"source-queue": "urls-parser-queue"}}"#,
    );
    let output = run(waglan(&data).args(["import", "intelmq"]).arg(&runtime).arg("--pipeline").arg(&pipeline));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(0) && text.contains("feed = \"vxvault/urls\"\nevery = \"1h\""), "{text}{}", told(&output));

    let wrong = |text: &str, expected: &str| {
        let path = written(&folder, "wrong.yaml", text);
        let output = run(waglan(&data).args(["import", "intelmq"]).arg(path));
        assert!(output.status.code() == Some(2) && told(&output).contains(expected), "{}", told(&output));
    };
    wrong("- a\n", "the runtime configuration is no table of bots");
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (one, other) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        bomb += &format!("{other}: &{other} [{}]\n", vec![format!("*{one}"); 9].join(", "));
    }
    wrong(&bomb, "it cannot be read");
}

/// Events of three feeds, as IntelMQ's file output writes them.
const HISTORY: &str = r#"{"classification.taxonomy": "malicious-code", "classification.type": "infected-system", "extra.tag": "mirai", "feed.name": "Sinkhole", "feed.provider": "Example", "malware.name": "mirai", "raw": "MTkyLjAuMi41LG1pcmFp", "source.ip": "192.0.2.5", "time.observation": "2023-06-01T12:00:05+00:00", "time.source": "2023-06-01T11:58:00+00:00"}
{"classification.taxonomy": "fraud", "classification.type": "phishing", "feed.name": "Phish", "feed.provider": "Example", "source.url": "https://login.example.com/a?b=c", "time.observation": "2023-06-01T12:00:06+00:00", "time.source": "2023-06-01T10:00:00+00:00"}
{"classification.taxonomy": "vulnerable", "classification.type": "vulnerable-system", "extra": {"version": "4.0.1", "tags": ["a", "b"]}, "feed.name": "Scan", "feed.provider": "Other", "source.ip": "2001:db8::9", "source.port": 27017, "time.observation": "2024-06-01T12:00:07+00:00"}
"#;

#[test]
fn a_history_of_several_feeds_keeps_whose_its_events_were() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let path = written(&folder, "events.txt.gz", packed(HISTORY.as_bytes(), flate2::Compression::default()));
    let ingested = run(waglan(&data).args(["ingest", "--feed", "intelmq/history"]).arg(&path));
    assert!(told(&ingested).contains("intelmq/history: 3 rows, 3 new events"), "{}", told(&ingested));
    assert_eq!(
        query(
            &data,
            "SELECT feed_provider, feed_name, date_trunc('minute', time_source) AS seen, classification_type AS type, extra \
             FROM events ORDER BY time_source"
        ),
        "feed_provider,feed_name,seen,type,extra\n\
         Example,Phish,2023-06-01T10:00:00Z,phishing,\n\
         Example,Sinkhole,2023-06-01T11:58:00Z,infected-system,\"{\"\"tag\"\":\"\"mirai\"\"}\"\n\
         Other,Scan,2024-06-01T12:00:00Z,vulnerable-system,\"{\"\"tags\"\":[\"\"a\"\",\"\"b\"\"],\"\"version\"\":\"\"4.0.1\"\"}\"\n"
    );
    // The row as it came stays in the report.
    let report = value(&data, "SELECT report_id FROM deliveries");
    assert_eq!(report.len(), 32);
    let more = format!(
        "{HISTORY}{}",
        r#"{"classification.type": "spam", "feed.name": "Spam", "source.ip": "192.0.2.6", "time.source": "2023-07-01T00:00:00+00:00"}"#
    );
    let again = run(waglan(&data).args(["ingest", "--feed", "intelmq/history"]).arg(written(&folder, "more.txt", more)));
    assert!(told(&again).contains("intelmq/history: 4 rows, 1 new events, 3 repeated"), "{}", told(&again));
    assert_eq!(value(&data, "SELECT count(*) FROM events"), "4");
}

/// A real server of PostgreSQL, for nobody but this test.
struct Postgres {
    folder: TempDir,
    port: u16,
    programs: PathBuf,
    server: Child,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Fast: children go with their parent when it is told to stop.
        let _gone = self.as_its_user("pg_ctl").args(["stop", "-m", "immediate", "-D"]).arg(self.folder.path().join("data")).output();
        let _gone = self.server.kill();
        let _gone = self.server.wait();
    }
}

/// A command as an unprivileged user: the server refuses to run as the system's own.
fn unprivileged(program: &Path) -> Command {
    let is_root = std::fs::metadata("/proc/self").expect("Linux").uid() == 0;
    if !is_root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command
}

impl Postgres {
    fn start() -> Postgres {
        Postgres::start_with(None)
    }

    /// With a certificate and its key, if it is to speak TLS.
    fn start_with(tls: Option<(String, String)>) -> Postgres {
        let programs = PathBuf::from(std::env::var_os("WAGLAN_TEST_POSTGRES").unwrap_or_else(|| "/usr/lib/postgresql/15/bin".into()));
        let folder = TempDir::new().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("writable");
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).expect("ours");
        if std::fs::metadata("/proc/self").expect("Linux").uid() == 0 {
            std::os::unix::fs::chown(&data, Some(65534), Some(65534)).expect("root may");
        }
        let password = written(&folder, "password", "hush-hush");
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o644)).expect("ours");
        let mut command = unprivileged(&programs.join("initdb"));
        command
            .args(["-U", "cert", "-A", "scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C", "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(&data);
        let made = command.current_dir("/").output().expect("PostgreSQL is there; `cargo xtask test` installs it");
        assert!(made.status.success(), "{}", told(&made));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
        let mut command = unprivileged(&programs.join("postgres"));
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=off", "-c", "unix_socket_directories=", "-D"]).arg(&data);
        if let Some((certificate, key)) = tls {
            for (name, text) in [("server.crt", certificate), ("server.key", key)] {
                let path = data.join(name);
                std::fs::write(&path, text).expect("writable");
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("ours");
                let owner = data.metadata().expect("there");
                std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).expect("root may, or it is ours");
            }
            command.args(["-c", "ssl=on"]);
        }
        let server = command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let postgres = Postgres { folder, port, programs, server };
        let until = Instant::now() + Duration::from_secs(60);
        while !postgres.sql_as("postgres", "SELECT 1").status.success() {
            assert!(Instant::now() < until, "PostgreSQL does not come");
            std::thread::sleep(Duration::from_millis(50));
        }
        let _open = TcpStream::connect(("127.0.0.1", postgres.port)).expect("it listens");
        postgres
    }

    fn as_its_user(&self, program: &str) -> Command {
        let mut command = unprivileged(&self.programs.join(program));
        command.current_dir("/");
        command
    }

    fn sql_as(&self, database: &str, sql: &str) -> std::process::Output {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "cert", "-v", "ON_ERROR_STOP=1", "-qAt", "-c", sql, database]);
        command.env("PGPASSWORD", "hush-hush").stdin(Stdio::null()).output().expect("psql is there")
    }

    #[track_caller]
    fn sql(&self, sql: &str) {
        let output = self.sql_as("postgres", sql);
        assert!(output.status.success(), "{}", told(&output));
    }

    fn import(&self, data: &Path) -> Command {
        let mut command = waglan(data);
        command.args(["import", "eventdb", "--url", &format!("postgresql://cert@127.0.0.1:{}/postgres", self.port), "--password-file"]);
        command.arg(self.folder.path().join("password"));
        command
    }
}

/// In the image of IntelMQ's: a column for each field that is used here, by its types; and rows as its output writes them.
const TABLE: &str = r#"
CREATE TYPE severity_enum AS ENUM ('critical', 'high', 'medium', 'low', 'info', 'undefined');
CREATE TABLE events (
    "id" BIGSERIAL UNIQUE PRIMARY KEY, "classification.identifier" text, "classification.taxonomy" varchar(100),
    "classification.type" text, "destination.ip" inet, "extra" jsonb, "feed.accuracy" real, "feed.name" text,
    "feed.provider" text, "malware.name" text, "severity" severity_enum, "source.allocated" timestamp with time zone,
    "source.asn" integer, "source.geolocation.latitude" real, "source.ip" inet, "source.network" inet, "source.port" integer,
    "source.tor_node" boolean, "source.url" text, "time.observation" timestamp with time zone, "time.source" timestamp with time zone
);
CREATE TABLE raws (event_id bigint PRIMARY KEY, raw text);
INSERT INTO events ("classification.type", "classification.taxonomy", "feed.provider", "feed.name", "feed.accuracy", "source.ip", "source.network",
    "source.port", "source.asn", "source.geolocation.latitude", "source.tor_node", "source.allocated", "severity", "extra", "time.source", "time.observation")
  SELECT 'infected-system', 'malicious-code', 'Example', CASE WHEN n % 2 = 0 THEN 'Even' ELSE 'Odd' END, 100, ('192.0.' || n / 256 || '.' || n % 256)::inet,
    '192.0.0.0/16', 1000 + n, 64496, 22.3, false, '2001-01-01 00:00+00', 'high', json_build_object('number', n, 'deep', json_build_object('a', 'b')),
    timestamptz '2024-05-01 08:00+08' + n * interval '1 hour', timestamptz '2024-05-01 00:00:05+00' + n * interval '1 hour'
  FROM generate_series(0, 999) n;
INSERT INTO raws SELECT id, encode(convert_to('row ' || id, 'UTF8'), 'base64') FROM events;
"#;

#[test]
fn an_event_database_is_taken_in_report_by_report_and_goes_on_where_it_was() {
    let postgres = Postgres::start();
    postgres.sql(TABLE);
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let imported = run(postgres.import(&data).args(["--rows", "300", "--until", "2024-06-01"]));
    assert_eq!(imported.status.code(), Some(0), "{}", told(&imported));
    assert!(told(&imported).ends_with("744 rows in 3 reports, up to the event 744\n"), "{}", told(&imported));
    assert_eq!(
        query(
            &data,
            "SELECT feed_name, count(*) AS events, min(time_source) AS first, max(source_port) AS port, min(severity) AS severity, \
             min(source_network) AS network, min(source_allocated) AS allocated FROM events GROUP BY 1 ORDER BY 1"
        ),
        "feed_name,events,first,port,severity,network,allocated\n\
         Even,372,2024-05-01T00:00:00Z,1742,high,192.0.0.0/16,2001-01-01T00:00:00Z\n\
         Odd,372,2024-05-01T01:00:00Z,1743,high,192.0.0.0/16,2001-01-01T00:00:00Z\n"
    );
    assert_eq!(
        value(&data, "SELECT extra FROM events WHERE source_port = 1000"),
        "\"{\"\"deep.a\"\":\"\"b\"\",\"\"eventdb_id\"\":1,\"\"number\"\":0}\""
    );
    let names = query(&data, "SELECT origin, rows FROM deliveries ORDER BY time");
    assert!(names.contains("-events-1-300.jsonl,300\n") && names.contains("-events-601-744.jsonl,144\n"), "{names}");

    // The same once more adds nothing; all of it the rest, and what is written later comes with the next.
    let again = run(postgres.import(&data).args(["--rows", "300", "--until", "2024-06-01"]));
    assert!(told(&again).ends_with("0 rows in 0 reports (744 in 3 in all), up to the event 744\n"), "{}", told(&again));
    let all = run(postgres.import(&data).args(["--rows", "300"]));
    assert!(told(&all).ends_with("1000 rows in 4 reports, up to the event 1000\n"), "{}", told(&all));
    assert_eq!(value(&data, "SELECT count(*) FROM events"), "1000");
    postgres.sql(r#"INSERT INTO events ("classification.type", "source.ip", "time.source") VALUES ('spam', '198.51.100.1', '2025-01-01')"#);
    assert_eq!(run(&mut postgres.import(&data)).status.code(), Some(0));
    assert_eq!(value(&data, "SELECT count(*) FROM events"), "1001");

    let refused = |arguments: &[&str], expected: &str| {
        let output = run(waglan(&data).args(["import", "eventdb", "--url"]).args(arguments));
        assert!(output.status.code() == Some(2) && told(&output).contains(expected), "{}", told(&output));
    };
    refused(&["postgresql://cert:hush@127.0.0.1/x"], "a password does not stand in the address");
    refused(&["mysql://cert@127.0.0.1/x"], "none of PostgreSQL");
    refused(&["postgresql://cert@127.0.0.1/x?sslmode=require", "--ca", "ca.pem"], "--ca would do nothing: say sslmode=verify-full");
    // A server that speaks no TLS is none that an authority vouches for.
    let authority = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made").cert.pem();
    let authority = written(&folder, "ca.pem", authority);
    let plain = run(postgres.import(&data).arg("--ca").arg(authority));
    assert!(plain.status.code() == Some(2) && told(&plain).contains("TLS"), "{}", told(&plain));
    let missing = run(postgres.import(&data).args(["--table", "nothing"]));
    assert!(
        missing.status.code() == Some(2) && told(&missing).contains("there is no table \"nothing\": --table says which"),
        "{}",
        told(&missing)
    );
}

#[test]
fn a_database_is_asked_who_it_is_where_an_authority_is_named() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let authority = |name: &str| {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        let own = parameters.self_signed(&key).expect("signed").pem();
        (written(&folder, name, own), rcgen::Issuer::new(parameters, key))
    };
    let ((ours, issuer), (others, _)) = (authority("ours.pem"), authority("others.pem"));
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let certificate = parameters.signed_by(&key, &issuer).expect("signed").pem();
    let postgres = Postgres::start_with(Some((certificate, key.serialize_pem())));
    postgres.sql(TABLE);
    let imported = run(postgres.import(&data).arg("--ca").arg(&ours));
    assert!(told(&imported).ends_with("1000 rows in 1 reports, up to the event 1000\n"), "{}", told(&imported));
    let refused = run(postgres.import(&data).arg("--again").arg("--ca").arg(&others));
    assert!(refused.status.code() == Some(2) && told(&refused).contains("certificate"), "{}", told(&refused));
}

#[test]
fn rows_that_are_committed_late_are_taken_in() {
    let postgres = Postgres::start();
    postgres.sql(TABLE);
    postgres.sql("CREATE TABLE late AS SELECT * FROM events WHERE id IN (100, 600); DELETE FROM events WHERE id IN (100, 600)");
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let import = |rows: &str, expected: &str, events: &str| {
        let imported = run(postgres.import(&data).args(["--rows", rows]));
        assert_eq!(imported.status.code(), Some(0), "{}", told(&imported));
        assert!(told(&imported).ends_with(expected), "{}", told(&imported));
        assert_eq!(value(&data, "SELECT count(*) FROM events"), events);
    };
    import("300", "998 rows in 4 reports, up to the event 1000\n", "998");
    import("300", "0 rows in 0 reports (998 in 4 in all), up to the event 1000\n", "998");
    postgres.sql("INSERT INTO events SELECT * FROM late WHERE id = 600");
    // From the one that came late on, fewer than there are behind it together, and then more.
    import("300", "401 rows in 2 reports (1399 in 6 in all), up to the event 1000\n", "999");
    postgres.sql("INSERT INTO events SELECT * FROM late WHERE id = 100");
    import("5000", "901 rows in 1 reports (2300 in 7 in all), up to the event 1000\n", "1000");
    import("5000", "0 rows in 0 reports (2300 in 7 in all), up to the event 1000\n", "1000");
}

#[test]
fn an_event_without_a_time_that_can_be_is_one_however_it_is_read() {
    let postgres = Postgres::start();
    postgres.sql(TABLE);
    postgres.sql("UPDATE events SET \"time.source\" = '1970-01-01' WHERE id % 10 = 0");
    postgres.sql("UPDATE events SET \"time.source\" = NULL WHERE id % 10 = 1");
    postgres.sql("UPDATE events SET \"time.source\" = \"time.observation\" + interval '3 days' WHERE id % 10 = 2");
    let folder = TempDir::new().expect("a folder");
    for feed in ["intelmq/history", "intelmq/events"] {
        let data = folder.path().join(feed.replace('/', "-"));
        for rows in ["1000", "70"] {
            let imported = run(postgres.import(&data).args(["--again", "--rows", rows, "--feed", feed]));
            assert_eq!(imported.status.code(), Some(0), "{}", told(&imported));
            assert_eq!(value(&data, "SELECT count(*) FROM events"), "1000", "{feed}, {rows} rows");
        }
        assert_eq!(
            value(&data, "SELECT extra FROM events WHERE source_port = 1004"),
            "\"{\"\"deep.a\"\":\"\"b\"\",\"\"eventdb_id\"\":5,\"\"number\"\":4}\""
        );
    }
}

#[test]
fn a_row_that_cannot_be_read_is_a_reject_and_the_import_goes_on() {
    let postgres = Postgres::start();
    postgres.sql(TABLE);
    let deep = format!("{}1{}", "{\"a\":".repeat(140), "}".repeat(140));
    postgres.sql(&format!("UPDATE events SET extra = '{deep}' WHERE id = 3"));
    postgres.sql("UPDATE events SET extra = '{\"big\": 1e400}' WHERE id = 5");
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let imported = run(postgres.import(&data).args(["--rows", "300"]));
    assert_eq!(imported.status.code(), Some(1), "{}", told(&imported));
    assert!(told(&imported).ends_with("1000 rows in 4 reports, up to the event 1000\n"), "{}", told(&imported));
    assert_eq!(query(&data, "SELECT count(*) AS events, (SELECT count(*) FROM rejects) AS rejects FROM events"), "events,rejects\n998,2\n");
}

#[test]
fn an_import_that_is_killed_goes_on_and_counts_nothing_twice() {
    let postgres = Postgres::start();
    postgres.sql(TABLE);
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let reports = || -> u64 {
        let files = std::fs::read_dir(data.join("imports")).into_iter().flatten().flatten();
        let texts = files.filter(|file| file.path().extension().is_some_and(|ending| ending == "json"));
        let counts = texts.filter_map(|file| {
            let said: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
            said["reports"].as_u64()
        });
        counts.sum()
    };
    for _ in 0..3 {
        let before = reports();
        let mut child = postgres.import(&data).args(["--rows", "50"]).stderr(Stdio::null()).spawn().expect("it starts");
        let until = Instant::now() + Duration::from_secs(60);
        while reports() == before {
            assert!(Instant::now() < until, "nothing is taken in");
            std::thread::sleep(Duration::from_millis(1));
        }
        let _gone = child.kill();
        let _gone = child.wait();
        assert!(reports() < 20, "it was killed on its way");
    }
    let imported = run(postgres.import(&data).args(["--rows", "50"]));
    assert_eq!(imported.status.code(), Some(0), "{}", told(&imported));
    assert_eq!(value(&data, "SELECT count(*) FROM events"), "1000");
    assert_eq!(value(&data, "SELECT CAST(sum(events) AS BIGINT) FROM deliveries"), "1000");
}

/// Its entries say when they were first seen, long before the list came.
#[test]
fn a_list_in_a_database_is_compared_by_the_day_on_which_it_came() {
    let postgres = Postgres::start();
    postgres.sql(TABLE);
    postgres.sql(
        "DELETE FROM events; INSERT INTO events (\"classification.type\", \"feed.provider\", \"feed.name\", \"source.ip\", \"time.source\", \
         \"time.observation\") SELECT 'blacklist', 'CINS Army', 'CINS Army List', ('192.0.2.' || n)::inet, '2025-01-01', \
         timestamptz '2026-03-01 06:10+00' + n * interval '1 day' FROM generate_series(1, 4) n",
    );
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    for day in 1..=4 {
        let list = written(&folder, "ci-badguys.txt", format!("192.0.2.{day}\n"));
        run(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", &format!("2026-03-{:02}T05:00:00Z", day + 1)]).arg(list));
    }
    let url = format!("postgresql://cert@127.0.0.1:{}/postgres", postgres.port);
    let mut compare = waglan(&data);
    compare.args(["compare", "--format", "csv", "--since", "2026-03-03T08:00:00Z", "--until", "2026-03-04T03:00:00Z", "--url", &url]);
    let output = run(compare.args(["--password-variable", "SECRET"]).env("SECRET", "hush-hush"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", told(&output));
    for expected in ["events,events there,2,", "events,events here,2,", "events,differing,2,", "day of the list,time.source,2,true,"] {
        assert!(said.contains(&format!("cins/army,{expected}")), "{said}");
    }
}

/// What IntelMQ would have made of the list of one day below, but for what it got otherwise.
const THERE: &str = r#"{"feed.provider": "CINS Army", "feed.name": "CINS Army List", "classification.type": "blacklist", "classification.taxonomy": "other", "source.ip": "192.0.2.1", "time.source": "2026-03-03T06:00:10+00:00", "time.observation": "2026-03-03T06:00:10+00:00", "raw": "eA=="}
{"feed.provider": "CINS Army", "feed.name": "CINS Army List", "classification.type": "blacklist", "classification.taxonomy": "other", "source.ip": "192.0.2.1", "time.source": "2026-03-03T12:00:10+00:00", "time.observation": "2026-03-03T12:00:10+00:00"}
{"feed.provider": "CINS Army", "feed.name": "CINS Army List", "classification.type": "blacklist", "classification.taxonomy": "other", "source.ip": "192.0.2.2", "source.geolocation.cc": "XM", "time.source": "2026-03-03T06:00:10+00:00", "time.observation": "2026-03-03T06:00:10+00:00"}
{"feed.provider": "CINS Army", "feed.name": "CINS Army List", "classification.type": "blacklist", "classification.taxonomy": "other", "source.ip": "198.51.100.77", "time.source": "2026-03-03T06:00:10+00:00", "time.observation": "2026-03-03T06:00:10+00:00"}
{"feed.provider": "Partner", "feed.name": "Unknown", "classification.type": "spam", "source.ip": "203.0.113.9", "time.source": "2026-03-03T06:00:10+00:00", "time.observation": "2026-03-03T06:00:10+00:00"}
no event
"#;

#[test]
fn beside_intelmq_each_difference_has_its_cause() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let list = written(&folder, "ci-badguys.txt", "192.0.2.1\n192.0.2.2\n192.0.2.3\n192.0.2.300\n");
    run(waglan(&data).args(["ingest", "--feed", "cins/army", "--at", "2026-03-03T06:00:00Z"]).arg(&list));
    let there = written(&folder, "events.txt.gz", packed(THERE.as_bytes(), flate2::Compression::default()));
    let compare = |arguments: &[&str]| run(waglan(&data).args(["compare", "--format", "csv"]).arg(&there).args(arguments));

    let output = compare(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let counts = |feed: &str| -> Vec<String> {
        let rows = said.lines().filter(|line| line.starts_with(&format!("{feed},events,")));
        rows.map(|line| line.split(',').skip(2).take(2).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(counts("cins/army"), ["events there 4", "events here 3", "same 0", "differing 2", "only there 2", "only here 1"], "{said}");
    for expected in [
        "cins/army,only there,,1,false,2026-03-03T06:00:10Z blacklist source.ip=198.51.100.77,",
        "cins/army,only here,,1,false,,2026-03-03T00:00:00Z blacklist source.ip=192.0.2.3",
        "cins/army,day of the list,time.source,2,true,2026-03-03T06:00:10Z,2026-03-03T00:00:00Z",
        "cins/army,once a day here,,1,true,",
        "cins/army,enrichment,source.geolocation.cc,1,true,XM,",
        "Partner/Unknown,no feed here,,1,false,2026-03-03T06:00:10Z spam source.ip=203.0.113.9,",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    assert!(
        told(&output).contains("1 lines are no events") && told(&output).contains("3 differences are not explained"),
        "{}",
        told(&output)
    );

    let unknown = written(&folder, "unknown.toml", "\"Partner/Unknown\" = \"partner/unknow\"\n");
    let output = compare(&["--map", &unknown.display().to_string()]);
    assert!(output.status.code() == Some(2) && told(&output).contains("there is no such feed"), "{}", told(&output));

    // What somebody says of a feed holds; a feed may be left out.
    let map = written(&folder, "map.toml", "\"Partner/Unknown\" = \"-\"\n");
    let output = compare(&["--map", &map.display().to_string()]);
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains("Partner/Unknown") && told(&output).contains("2 differences are not explained")
    );
}

#[test]
fn what_both_say_is_the_same_in_any_spelling() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let both = r#""feed.provider": "Example", "feed.name": "Test", "time.source": "2026-03-03T06:00:00+00:00""#;
    let pair = |there: &str, here: &str| {
        let there = written(&folder, "there.json", format!("{{{both}, {there}}}\n"));
        let here = written(&folder, "here.json", format!("{{{both}, {here}}}\n"));
        let output = run(waglan(&data).args(["compare", "--format", "csv", "--with"]).arg(here).arg(there));
        let differences: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .skip(1)
            .filter(|line| !line.contains(",events,"))
            .map(|line| line.trim_start_matches("Example/Test,").to_owned())
            .collect();
        (output.status.code(), differences.join("\n"))
    };
    let check = |there: &str, here: &str, code: i32, expected: &str| {
        assert_eq!(pair(there, here), (Some(code), expected.to_owned()));
    };
    check(r#""source.ip": "192.0.2.1""#, r#""source.ip": "192.0.2.1""#, 0, "");
    check(
        r#""source.url": "hxxp://Bad.example/x""#,
        r#""source.url": "http://bad.example/x", "source.fqdn": "bad.example""#,
        0,
        "spelling,source.url,1,true,hxxp://Bad.example/x,http://bad.example/x\nout of the URL,source.fqdn,1,true,,bad.example",
    );
    check(
        r#""source.ip": "192.0.2.1", "classification.type": "c&c""#,
        r#""source.ip": "192.0.2.1", "classification.type": "c2-server", "severity": "high""#,
        0,
        "type renamed,classification.type,1,true,c&c,c2-server\nby the table,severity,1,true,,high",
    );
    check(
        r#""source.ip": "192.0.2.1", "malware.name": "heodo", "source.port": 99999"#,
        r#""source.ip": "192.0.2.1", "malware.name": "emotet", "extra.port": "99999""#,
        0,
        "family's name,malware.name,1,true,heodo,emotet\nkept in extra,source.port,1,true,99999,\nmore in extra here,extra.port,1,true,,99999",
    );
    check(
        r#""source.ip": "192.0.2.1", "status": "up""#,
        r#""source.ip": "192.0.2.1", "status": "down""#,
        1,
        "differs,status,1,false,up,down",
    );
    check(
        r#""source.ip": "192.0.2.1""#,
        r#""source.ip": "192.0.2.2""#,
        1,
        "only here,,1,false,,2026-03-03T06:00:00Z  source.ip=192.0.2.2\nno feed here,,1,false,2026-03-03T06:00:00Z  source.ip=192.0.2.1,",
    );
}
