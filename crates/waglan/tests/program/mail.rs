//! Mails that the program takes in by itself: a real server has them, with everything that people and programs do to mails; and
//! servers that are none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use tempfile::TempDir;

use super::{packed, query, run, told, value, waglan, written};

/// Somebody who owns nothing: the server does not run as root.
const NOBODY: u32 = 65534;

/// Dovecot on this machine, with a mailbox for whoever knows the password.
pub(super) struct Server {
    folder: TempDir,
    /// IMAP, IMAP with TLS, POP3, POP3 with TLS.
    ports: [u16; 4],
    child: Child,
    count: usize,
}

impl Server {
    pub(super) fn start() -> Server {
        let dovecot = std::env::var_os("WAGLAN_TEST_DOVECOT").unwrap_or_else(|| "/usr/sbin/dovecot".into());
        let folder = TempDir::new().expect("a folder");
        let at = folder.path().to_owned();
        certify(&at);
        let free: Vec<TcpListener> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> = free.iter().map(|port| port.local_addr().expect("it is bound").port()).collect();
        drop(free);
        let [imap, imaps, pop3, pop3s] = ports.try_into().expect("four");
        let is_root = std::fs::metadata(&at).expect("it is there").uid() == 0;
        let user = if is_root { "nobody".to_owned() } else { said_by(Command::new("id").arg("-un")) };
        let group = if is_root { "nogroup".to_owned() } else { said_by(Command::new("id").arg("-gn")) };
        let configuration = format!(
            "protocols = imap pop3\nlisten = 127.0.0.1\nlog_path = /dev/stderr\nbase_dir = {at}/run\nstate_dir = {at}/state\n\
             default_internal_user = {user}\ndefault_internal_group = {group}\ndefault_login_user = {user}\nfirst_valid_uid = 1\n\
             mail_location = maildir:{at}/mail\nmail_home = {at}/home\nauth_mechanisms = plain login\nauth_failure_delay = 0\n\
             disable_plaintext_auth = no\nssl = yes\nssl_cert = <{at}/cert.pem\nssl_key = <{at}/key.pem\n\
             passdb {{\n driver = static\n args = password=hush-hush\n}}\nuserdb {{\n driver = static\n args = uid={user} gid={group} home={at}/home\n}}\n\
             service imap-login {{\n chroot =\n inet_listener imap {{\n port = {imap}\n }}\n inet_listener imaps {{\n port = {imaps}\n }}\n}}\n\
             service pop3-login {{\n chroot =\n inet_listener pop3 {{\n port = {pop3}\n }}\n inet_listener pop3s {{\n port = {pop3s}\n }}\n}}\n\
             service anvil {{\n chroot =\n}}\nservice stats {{\n chroot =\n}}\n",
            at = at.display()
        );
        let path = written(&at, "dovecot.conf", configuration);
        for name in ["run", "state", "home", "mail/new", "mail/cur", "mail/tmp"] {
            std::fs::create_dir_all(at.join(name)).expect("writable");
        }
        let mut start = Command::new(dovecot);
        start.arg("-F").arg("-c").arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if is_root {
            let everything =
                ["", "run", "state", "home", "mail", "mail/new", "mail/cur", "mail/tmp", "key.pem", "cert.pem", "dovecot.conf"];
            everything.iter().for_each(|name| chown(at.join(name), Some(NOBODY), Some(NOBODY)).expect("it is root's"));
            start.uid(NOBODY).gid(NOBODY);
        }
        let mut child = start.spawn().expect("`cargo xtask test` installs Dovecot");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut said = String::new();
        while !said.contains("starting up") {
            assert!(log.read_line(&mut said).expect("text") > 0, "the server ended: {said}");
        }
        // It goes on to speak.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Server { folder, ports: [imap, imaps, pop3, pop3s], child, count: 0 }
    }

    fn mails(&self) -> PathBuf {
        self.folder.path().join("mail")
    }

    /// Puts a mail into the mailbox, as it came on 3 March 2026.
    pub(super) fn put(&mut self, mail: impl AsRef<[u8]>) {
        self.count += 1;
        let name = format!("mail/new/{}.M{}.here", 1_772_500_000 + self.count, self.count);
        let path = written(self.folder.path(), &name, mail);
        let came = SystemTime::UNIX_EPOCH + Duration::from_secs(1_772_517_600);
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(came)).expect("writable");
        let owner = std::fs::metadata(self.mails()).expect("it is there");
        chown(&path, Some(owner.uid()), Some(owner.gid())).expect("it is ours");
    }

    /// The flags of each mail in the order in which they were put there; what is not in the folder any more has none.
    fn flags(&self) -> Vec<String> {
        self.flags_in("")
    }

    fn flags_in(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = ["new", "cur"].iter().flat_map(|part| names(&self.mails().join(folder).join(part))).collect();
        names.sort();
        names.iter().map(|name| name.split_once(":2,").map_or("", |(_, flags)| flags).to_owned()).collect()
    }

    /// Takes all flags away, as if nothing had been marked.
    fn forget(&self) {
        let cur = self.mails().join("cur");
        for name in names(&cur) {
            let (plain, _) = name.split_once(":2,").expect("it was seen");
            std::fs::rename(cur.join(&name), cur.join(format!("{plain}:2,"))).expect("writable");
        }
    }

    /// A source of this mailbox.
    pub(super) fn source(&self, kind: &str, more: &str) -> String {
        let port = self.ports[if kind == "imap" { 1 } else { 3 }];
        self.source_at(kind, port, &format!("ca = \"{}/ca.pem\"\n{more}", self.folder.path().display()))
    }

    fn source_at(&self, kind: &str, port: u16, more: &str) -> String {
        source(kind, port, &format!("password = {{ environment = \"MAIL_PASSWORD\" }}\n{more}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has children, and ends them if it is asked to end.
        let _asked = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ended = self.child.wait();
    }
}

fn source(kind: &str, port: u16, more: &str) -> String {
    format!("[source.mail]\nprovider = \"cins\"\n[source.mail.{kind}]\nserver = \"127.0.0.1:{port}\"\nuser = \"reader\"\n{more}\n")
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
}

fn said_by(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", told(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An authority, and a certificate by it for this machine.
pub(super) fn certify(folder: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        said_by(command.current_dir(folder).args(arguments.split(' ')));
    };
    written(folder, "names", "subjectAltName=IP:127.0.0.1\n");
    let new = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {new} -keyout ca-key.pem -out ca.pem -subj /CN=authority -days 3650"));
    openssl(&format!("req {new} -keyout key.pem -out request.pem -subj /CN=server"));
    openssl("x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -out cert.pem -days 3650 -extfile names");
}

/// What a look said, and why it failed, if it did.
struct Look {
    said: String,
    error: Option<String>,
}

fn look(data: &Path, configuration: &str) -> Look {
    look_with(data, configuration, "hush-hush")
}

/// Looks once. Nowhere is a password told.
fn look_with(data: &Path, configuration: &str, password: &str) -> Look {
    written(data, "waglan.toml", configuration);
    let output = run(waglan(data).env("NO_PROXY", "127.0.0.1").env("MAIL_PASSWORD", password).args(["-v", "run", "--once"]));
    let said = told(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let memory = std::fs::read_to_string(data.join("sources/mail.json")).expect("it is remembered");
    assert!(!said.contains(password) && !memory.contains(password), "{said}\n{memory}");
    let memory: serde_json::Value = serde_json::from_str(&memory).expect("JSON");
    Look { said, error: memory["error"].as_str().map(str::to_owned) }
}

#[track_caller]
fn succeed(data: &Path, configuration: &str) -> String {
    let Look { said, error } = look(data, configuration);
    assert_eq!(error, None, "{said}");
    said
}

#[track_caller]
fn fail(look: &Look, expected: &str) {
    let error = look.error.as_deref().unwrap_or("nothing");
    assert!(error.contains(expected), "{error}\n{}", look.said);
}

/// A mail of these parts.
pub(super) fn mail(subject: &str, parts: &[&str]) -> String {
    let parts: String = parts.iter().map(|part| format!("--b0undary\r\n{}\r\n", part.replace('\n', "\r\n"))).collect();
    format!(
        "From: Reports <reports@feeds.example>\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b0undary\"\r\n\r\n\
         {parts}--b0undary--\r\n"
    )
}

/// An attachment with these bytes.
pub(super) fn attached(name: &str, bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let all = [0, 1, 2].map(|at| u32::from(bytes.get(at).copied().unwrap_or_default()));
        let bits = all[0] << 16 | all[1] << 8 | all[2];
        let sign = |at: usize| if at <= bytes.len() { char::from(SIGNS[(bits >> (18 - 6 * at)) as usize & 63]) } else { '=' };
        (0..4).map(sign).collect::<String>()
    };
    let lines: Vec<String> = bytes.chunks(57).map(|line| line.chunks(3).map(group).collect()).collect();
    format!(
        "Content-Type: application/octet-stream; name=\"{name}\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; \
         filename=\"{name}\"\n\n{}\n",
        lines.join("\n")
    )
}

/// A zip of one file, stored.
fn zipped(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("in memory");
    zip.write_all(bytes).expect("in memory");
    zip.finish().expect("in memory").into_inner()
}

/// A web server that says the same to everybody.
fn web_server(body: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("somebody asks");
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                assert!(stream.read(&mut byte).expect("the asker speaks") > 0);
                asked.extend(byte);
            }
            let is_there = String::from_utf8_lossy(&asked).contains("/ci-badguys.txt");
            let leads_on = String::from_utf8_lossy(&asked).contains("/elsewhere");
            let head = match () {
                () if is_there => "200 OK",
                () if leads_on => "302 Found\r\nLocation: http://192.0.2.250/ci-badguys.txt",
                () => "404 Not Found",
            };
            let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).expect("the asker listens");
        }
    });
    port
}

fn addresses(data: &Path) -> Vec<String> {
    query(data, "SELECT source_ip FROM events ORDER BY source_ip").lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn what_mails_bring_is_taken_in_and_marked() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start();
    let web = web_server("192.0.2.7\n");
    let link = |path: &str| format!("Content-Type: text/plain\n\nFetch it: http://127.0.0.1:{web}{path}?token=1, please.\n");
    server.put(mail("plain", &["Content-Type: text/plain\n\nSee there.\n", &attached("ci-badguys.txt", b"192.0.2.1\n")]));
    server.put(mail(
        "quoted",
        &["Content-Type: text/plain; name=ci-badguys.txt\nContent-Transfer-Encoding: quoted-printable\n\n192.0.=\n2.2=0A# =E4\n"],
    ));
    server.put(mail("packed", &[&attached("ci-badguys.txt", &packed(b"192.0.2.3\n", Compression::default()))]));
    server.put(mail("zipped", &[&attached("today.zip", &zipped("ci-badguys.txt", b"192.0.2.4\n"))]));
    let inner = mail("inner", &[&attached("../../etc/ci-badguys.txt", b"192.0.2.5\n")]);
    server.put(mail("forwarded", &[&format!("Content-Type: message/rfc822\n\n{}", inner.replace("b0undary", "other").replace('\r', ""))]));
    // It breaks off.
    server.put("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment; filename=ci-badguys.txt\r\n\r\n192.0.2.6\r\n");
    server.put(mail("linked", &[&link("/ci-badguys.txt")]));
    server.put(mail("nothing", &["Content-Type: text/plain\n\nHappy new year! http://192.0.2.250/\n"]));
    server.put(mail("two of a name", &[&attached("ci-badguys.txt", b"192.0.2.8\n"), &attached("ci-badguys.txt", b"192.0.2.9\n")]));
    server.put(mail("plain", &["Content-Type: text/plain\n\nSee there.\n", &attached("ci-badguys.txt", b"192.0.2.1\n")]));
    let links = format!("attachments = \".\"\nlinks = {{ pattern = 'token|/192', hosts = [\"http://127.0.0.1:{web}\"] }}\n");
    let configuration = server.source("imap", &links);

    let said = succeed(&data, &configuration);
    let expected: Vec<String> = (1..10).map(|last| format!("192.0.2.{last}")).collect();
    assert_eq!(addresses(&data), expected, "{said}");
    assert_eq!(server.flags(), ["S"; 10]);
    assert!(said.contains("a message has nothing that is wanted") && said.contains("a link leads to none of the hosts"), "{said}");
    assert!(!said.contains("token=1"), "{said}");
    let deliveries = query(&data, "SELECT origin, time FROM deliveries ORDER BY origin");
    let origins: Vec<&str> = deliveries.lines().skip(1).collect();
    assert_eq!(origins.len(), 9, "the one that came twice at the same moment is one: {deliveries}");
    let origin = |name: &str| format!("imap://127.0.0.1/INBOX;uid={name},2026-03-03T06:00:00Z");
    for name in ["1/ci-badguys.txt", "4/today.zip!ci-badguys.txt", "5/ci-badguys.txt", "7/ci-badguys.txt", "9/2/ci-badguys.txt"] {
        assert!(origins.contains(&origin(name).as_str()), "{name}: {deliveries}");
    }

    succeed(&data, &configuration);
    assert_eq!(query(&data, "SELECT origin, time FROM deliveries ORDER BY origin"), deliveries, "nothing is new");
}

#[test]
fn what_was_stored_and_not_marked_is_known() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start();
    server.put(mail("one", &[&attached("ci-badguys.txt", b"192.0.2.1\n")]));
    server.put(mail("two", &[&attached("ci-badguys.txt", b"192.0.2.2\n")]));
    let configuration = server.source("imap", "");
    succeed(&data, &configuration);
    let all = "SELECT origin, rows, events, repeats, time FROM deliveries ORDER BY origin";
    let before = query(&data, all);
    // As after a process that died between the two.
    server.forget();
    std::fs::remove_file(data.join("sources/mail.json")).expect("it is there");
    succeed(&data, &configuration);
    assert_eq!((server.flags(), query(&data, all)), (vec!["S".to_owned(); 2], before.clone()));
    // As on a server that keeps no flags.
    server.forget();
    let said = succeed(&data, &configuration);
    assert_eq!((server.flags(), query(&data, all)), (vec![String::new(); 2], before), "{said}");
}

#[test]
fn a_message_that_is_refused_is_flagged_and_the_others_are_taken() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start();
    server.put(mail("notes", &[&attached("notes.pdf", b"%PDF"), &attached("ci-badguys.txt", b"192.0.2.1\n")]));
    server.put(mail("list", &[&attached("ci-badguys.txt", b"192.0.2.2\n")]));
    server.put(format!("Subject: {}\r\n\r\nx", "x".repeat(300_000)));
    let failed = look(&data, &server.source("imap", ""));
    fail(&failed, "2 messages were not taken, the first of which: imap://127.0.0.1/INBOX;uid=1 was not taken, and is flagged: ");
    assert_eq!(addresses(&data), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(server.flags(), ["FS", "S", "FS"]);
    succeed(&data, &server.source("imap", ""));
    // A link to what is not there any more is refused too; one to a server that is not there is asked for again.
    let web = web_server("");
    server.put(mail("gone", &[&format!("\nhttp://127.0.0.1:{web}/gone\n")]));
    server.put(mail("down", &["\nhttp://127.0.0.1:1/ci-badguys.txt\n"]));
    let links =
        format!("links = {{ pattern = '.', hosts = [\"http://127.0.0.1:{web}\", \"http://127.0.0.1:1\"], http = {{ tries = 1 }} }}");
    let failed = look(&data, &server.source("imap", &links));
    fail(&failed, &format!("http://127.0.0.1:{web}/... cannot be fetched: the server says 404 Not Found"));
    assert_eq!(server.flags(), ["FS", "S", "FS", "FS", ""]);
    // Who may be asked does not say who else may be.
    server.put(mail("elsewhere", &[&format!("\nhttp://127.0.0.1:{web}/elsewhere\n")]));
    let failed = look(&data, &server.source("imap", &format!("subject = 'elsewhere'\n{links}")));
    fail(&failed, &format!("http://127.0.0.1:{web}/... leads to http://192.0.2.250, which is none of the hosts"));
    assert_eq!(server.flags(), ["FS", "S", "FS", "FS", "", ""]);
}

#[test]
fn messages_are_chosen_and_put_where_they_are_to_go() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start();
    server.put(mail("Täglicher Bericht", &[&attached("ci-badguys.txt", b"192.0.2.1\n")]));
    server.put(mail("Bericht", &[&attached("ci-badguys.txt", b"192.0.2.2\n")]).replace("reports@feeds.example", "x@evil.example"));
    server.put(mail("=?utf-8?q?T=C3=A4glicher?= Bericht", &[&attached("ci-badguys.txt", b"192.0.2.3\n")]));
    let choice = "from = '@feeds\\.example$'\nsubject = '^T.glicher Bericht$'\n";
    succeed(&data, &server.source("imap", &format!("{choice}after = \"move:Taken Über\"\nmost_messages = 1\n")));
    assert_eq!(addresses(&data), ["192.0.2.1"]);
    assert_eq!((server.flags(), server.flags_in(".Taken &ANw-ber")), (vec![String::new(); 2], vec!["S".to_owned()]));
    succeed(&data, &server.source("imap", &format!("{choice}after = \"delete\"\n")));
    assert_eq!(addresses(&data), ["192.0.2.1", "192.0.2.3"]);
    assert_eq!(server.flags(), [""], "whose it is not leaves it as it is");
    // By another choice it is looked at.
    succeed(&data, &server.source("imap", "from = 'evil'\nafter = \"keep\"\n"));
    assert_eq!((addresses(&data).len(), server.flags()), (3, vec![String::new()]));
    // What is there, seen or not; the body of prose.
    server.put("Subject: list\r\nContent-Transfer-Encoding: base64\r\n\r\nMTkyLjAuMi40Cg==\r\n");
    let body = server
        .source("imap", "subject = '^list$'\nbody = true\nmessages = \"all\"\n")
        .replace("provider = \"cins\"", "feed = \"cins/army\"");
    succeed(&data, &body);
    assert_eq!((addresses(&data).len(), server.flags()), (4, vec![String::new(), "S".to_owned()]));
    succeed(&data, &body);
    assert_eq!(value(&data, "SELECT count(*) FROM deliveries"), "4");
}

#[test]
fn a_line_is_secret_or_said_to_be_none() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start();
    let list = mail("list", &[&attached("ci-badguys.txt", b"192.0.2.1\n")]);
    server.put(format!("Date: Tue, 3 Mar 2026 06:00:00 +0000\r\n{list}"));
    let ca = format!("ca = \"{}/ca.pem\"\n", server.folder.path().display());
    let [imap, imaps, pop3, pop3s] = server.ports;
    for (kind, port) in [("imap", imaps), ("pop3", pop3s)] {
        fail(
            &look(&data, &server.source_at(kind, port, "")),
            "127.0.0.1 offers no TLS that is trusted here (ca): invalid peer certificate",
        );
    }
    for (kind, port) in [("imap", imap), ("pop3", pop3)] {
        fail(&look(&data, &server.source_at(kind, port, "tls = \"starttls\"\n")), "offers no TLS that is trusted here");
        fail(&look(&data, &server.source_at(kind, port, &ca)), "offers no TLS that is trusted here");
        for tls in [format!("{ca}tls = \"starttls\"\n"), "tls = \"none\"\n".to_owned()] {
            succeed(&data, &server.source_at(kind, port, &tls));
        }
    }
    assert_eq!(addresses(&data), ["192.0.2.1"]);
}

#[test]
fn a_wrong_password_is_said_and_not_told() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start();
    let expected = "127.0.0.1 does not let \"reader\" in with this password: ";
    for kind in ["imap", "pop3"] {
        fail(&look_with(&data, &server.source(kind, ""), "tell-nobody"), expected);
    }
    let text = server.source("imap", "").replace("{ environment = \"MAIL_PASSWORD\" }", "\"tell-nobody\"");
    fail(&look_with(&data, &text, "tell-nobody"), expected);
    fail(&look(&data, &server.source("imap", "folder = \"Nowhere\"\n")), "the folder \"Nowhere\" cannot be opened: ");
}

#[test]
fn a_pop3_server_is_asked_for_what_is_new() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let mut server = Server::start();
    server.put(mail("list", &[&attached("ci-badguys.txt", b"192.0.2.1\n")]));
    // Without a date: it comes with the same time again, even where the program died.
    server.put(mail("dots", &["Content-Disposition: attachment; filename=ci-badguys.txt\n\n..\n192.0.2.2\n.\n# end\n"]));
    server.put(format!("Date: Tue, 3 Mar 2026 05:00:00 +0000\r\n{}", mail("dated", &[&attached("ci-badguys.txt", b"192.0.2.3\n")])));
    server.put(mail("notes", &[&attached("notes.pdf", b"%PDF")]));
    let failed = look(&data, &server.source("pop3", ""));
    fail(&failed, "was not taken, and stays on the server: ");
    assert_eq!(addresses(&data), ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    assert_eq!(query(&data, "SELECT DISTINCT time FROM deliveries WHERE time < '2026-03-04'"), "time\n2026-03-03T05:00:00Z\n");
    succeed(&data, &server.source("pop3", ""));
    assert_eq!(value(&data, "SELECT count(*) FROM deliveries"), "3");
    server.put(mail("list", &[&attached("ci-badguys.txt", b"192.0.2.4\n")]));
    server.put(mail("other", &[&attached("ci-badguys.txt", b"192.0.2.5\n")]));
    succeed(&data, &server.source("pop3", "after = \"delete\"\nsubject = 'list'\n"));
    assert_eq!((addresses(&data).len(), value(&data, "SELECT count(*) FROM deliveries")), (4, "4".to_owned()));
    assert_eq!(server.flags().len(), 4, "both lists are gone, and were taken once; what was not chosen stays");
    succeed(&data, &server.source("pop3", "after = \"delete\"\nsubject = 'dots'\n"));
    assert_eq!((addresses(&data).len(), server.flags().len()), (4, 3));
    assert_eq!(value(&data, "SELECT count(*) FROM deliveries"), "4");
}

/// A server on this machine that says a greeting, then to each line it is told the next of these.
fn fake(answers: &'static [&'static str]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _gone = speak(stream.expect("somebody asks"), answers);
        }
    });
    port
}

fn speak(mut stream: TcpStream, answers: &[&str]) -> std::io::Result<()> {
    let mut heard = BufReader::new(stream.try_clone()?);
    for answer in answers {
        let (text, count) = answer.split_once("×").map_or((*answer, 1), |(text, count)| (text, count.parse().expect("a number")));
        stream.write_all(text.repeat(count).as_bytes())?;
        if heard.read_line(&mut String::new())? == 0 {
            return Ok(());
        }
    }
    // It says nothing more, and does not hang up.
    while heard.read(&mut [0; 64])? > 0 {}
    Ok(())
}

#[test]
fn a_server_that_is_none_costs_a_look_and_nothing_else() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    const GREETED: &str = "* OK hello\r\n";
    const ABLE: &str = "* CAPABILITY IMAP4rev1\r\nw1 OK\r\n";
    const LET_IN: &str = "w2 OK\r\n";
    let cases: &[(&str, &'static [&'static str], &str)] = &[
        ("imap", &[""], "127.0.0.1 does not answer in time"),
        ("imap", &["HTTP/1.1 400 Bad Request\r\n\r\n"], "does not greet as an IMAP server does: "),
        ("imap", &["* PREAUTH come in\r\n"], "does not greet as an IMAP server does: PREAUTH"),
        ("imap", &["* BYE full\r\n"], "does not greet as an IMAP server does: BYE full"),
        ("imap", &["x×20000000"], "says a line of more than 16 MiB"),
        ("imap", &[GREETED, "* (×1000000", ""], "does not answer in time"),
        ("imap", &[GREETED, "garbage\r\n"], "does not speak IMAP: garbage"),
        ("imap", &[GREETED, "* x {999999999999}\r\n"], "says more than anybody asked for"),
        ("imap", &[GREETED, "* x {99999999999999999999999}\r\n"], "says more than anybody asked for"),
        ("imap", &[GREETED, "* OK on and on\r\n×6000000"], "says more than anybody asked for"),
        ("imap", &[GREETED, "w1 BAD\r\n"], "does not say what it can: BAD"),
        ("imap", &[GREETED, "* CAPABILITY LOGINDISABLED\r\nw1 OK\r\n"], "takes no password on this line"),
        ("imap", &[GREETED, ABLE, "w2 NO hush-hush is wrong\r\n"], "in with this password: NO *** is wrong"),
        ("imap", &[GREETED, ABLE, LET_IN, "w3 OK\r\n", "w4 OK\r\n"], "does not say for how long the numbers of messages hold"),
        ("pop3", &[""], "127.0.0.1 does not answer in time"),
        ("pop3", &["* OK hello\r\n"], "does not speak POP3: * OK hello"),
        ("pop3", &["+OK\r\n", "+OK\r\n", "-ERR hush-hush?\r\n"], "in with this password: -ERR ***?"),
        ("pop3", &["+OK\r\n", "+OK\r\n", "+OK\r\n", "-ERR\r\n"], "gives messages no names that stay (UIDL)"),
        ("pop3", &["+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n1 a\r\n.\r\n", "+OK 1 10\r\n", "+OK\r\n"], "does not answer in time"),
        (
            "pop3",
            &["+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n1 a\r\n.\r\n", "+OK 1 10\r\n", "+OK\r\nx\r\n×1500000"],
            "says more than anybody asked for",
        ),
    ];
    for (kind, answers, expected) in cases {
        let port = fake(answers);
        let settings = "tls = \"none\"\npassword = { environment = \"MAIL_PASSWORD\" }\npatience = \"1s\"\nmost = 1\n";
        fail(&look(&data, &source(kind, port, settings)), expected);
    }
    // Nobody sends a password where a secret line was asked for.
    let port = fake(&[GREETED, ABLE]);
    let settings = "tls = \"starttls\"\npassword = { environment = \"MAIL_PASSWORD\" }\n";
    fail(&look(&data, &source("imap", port, settings)), "does not offer STARTTLS: the password is not sent");
    // What is said before the secret begins, as if it came after.
    let port = fake(&[GREETED, "* CAPABILITY STARTTLS\r\nw1 OK\r\n", "w2 OK\r\nw3 OK let in\r\n"]);
    fail(&look(&data, &source("imap", port, settings)), "says more than it was asked before TLS");
}

#[test]
fn settings_of_mailboxes_are_checked() {
    let folder = TempDir::new().expect("a folder");
    let cases = [
        ("imap", "server = \"a b\"", "server: \"a b\" is no server"),
        ("imap", "server = \"mail.example:x\"", "server: \"mail.example:x\" is no server"),
        ("imap", "after = \"move:\"", "a message is \"seen\", \"move:FOLDER\", \"delete\" or \"keep\""),
        ("imap", "folder = \"x\"\nafter = \"move:x\"", "the messages are in \"x\" already"),
        ("imap", "from = '('", "from: regex parse error"),
        ("imap", "links = { pattern = '.', hosts = [] }", "say which hosts may be asked"),
        ("imap", "links = { pattern = '.', hosts = [\"http://x/y\"] }", "\"http://x/y\" is no host"),
        ("imap", "links = { pattern = '.', hosts = [\"x\"], http = { url = \"http://x\" } }", "unknown field `url`"),
        ("imap", "links = { pattern = '.', hosts = [\"x\"], http = { user = \"u\" } }", "links.http: a user needs a password"),
        ("imap", "tls = \"perhaps\"", "unknown variant `perhaps`"),
        ("imap", "colour = 1", "unknown field `colour`"),
        ("pop3", "folder = \"INBOX\"", "a POP3 server has neither folders nor marks"),
        ("pop3", "after = \"seen\"", "on a POP3 server a message is deleted or kept"),
    ];
    for (kind, settings, expected) in cases {
        let server = if settings.starts_with("server") { "" } else { "server = \"mail.example\"" };
        let configuration =
            format!("[source.mail]\nprovider = \"cins\"\n[source.mail.{kind}]\n{server}\nuser = \"u\"\npassword = \"p\"\n{settings}\n");
        let data = folder.path().join("data");
        written(&data, "waglan.toml", &configuration);
        let output = run(waglan(&data).args(["run", "--once"]));
        assert_eq!(output.status.code(), Some(2), "{configuration}: {}", told(&output));
        assert!(told(&output).contains(expected), "{configuration}: {}", told(&output));
    }
}
