//! Moving in from IntelMQ: its configuration.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::{run, told, waglan, written};

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

    let again = run(waglan(&data).args(["import", "intelmq", "--save"]).arg(&runtime));
    assert!(
        again.status.code() == Some(2) && told(&again).contains("intelmq.toml is there already: move it away first"),
        "{}",
        told(&again)
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
