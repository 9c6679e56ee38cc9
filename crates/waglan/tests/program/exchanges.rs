//! Where others hand out what they know by a protocol of its own: MISP, TAXII, an API that wants its requests signed; and standard
//! input. What is new comes in once, whatever breaks in between.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ring::hmac;
use tempfile::TempDir;

use super::running::{Answer, Server, look, ok, status};
use super::{query, run, told, value, waglan, written};

const URLS: &str = "SELECT source_url FROM events ORDER BY 1";

/// An event of MISP with these addresses, as a feed has it.
fn event(number: u32, urls: &[&str]) -> String {
    let attribute = |(place, url): (usize, &&str)| {
        format!(
            r#"{{"uuid": "{number:08}-0000-0000-0001-{place:012}", "type": "url", "category": "Network activity", "value": "{url}",
                "timestamp": "1772450000", "to_ids": true, "comment": "https://posts.example/{number}"}}"#
        )
    };
    let attributes: Vec<String> = urls.iter().enumerate().map(attribute).collect();
    format!(
        r#"{{"Event": {{"uuid": "{}", "info": "Posts", "date": "2026-03-02", "timestamp": "1772450000", "published": true, "analysis": "2",
            "threat_level_id": "4", "Attribute": [{}]}}}}"#,
        uuid(number),
        attributes.join(", ")
    )
}

fn uuid(number: u32) -> String {
    format!("{number:08}-0000-0000-0000-000000000000")
}

/// What a manifest says of events: their numbers and times.
fn manifest(events: &[(u32, u32)]) -> String {
    let events = events.iter().map(|(number, time)| format!(r#""{}": {{"timestamp": "{time}", "info": "Posts"}}"#, uuid(*number)));
    format!("{{{}}}", events.collect::<Vec<_>>().join(", "))
}

/// A list of rows as a query gives it.
fn rows(column: &str, rows: &[&str]) -> String {
    std::iter::once(column).chain(rows.iter().copied()).map(|row| format!("{row}\n")).collect()
}

#[track_caller]
fn well(looked: (Option<i32>, String), expected: &str) -> String {
    let (code, said) = looked;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(expected), "{said}");
    assert!(!said.contains("hush-hush"), "{said}");
    said
}

#[test]
fn of_a_misp_feed_what_is_new_comes_in() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::exact(|request, number| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path {
            // Two events, one of them with no file; then it is there, another is new, and the first was changed.
            "/feed/manifest.json" if number < 6 => ok(&manifest(&[(1, 100), (2, 90)])),
            "/feed/manifest.json" => ok(&manifest(&[(1, 200), (2, 90), (3, 300)])),
            path if number < 6 && path.contains(&uuid(2)) => status("404 Not Found"),
            path if number < 6 && path.contains(&uuid(1)) => ok(&event(1, &["http://one.example/"])),
            path if path.contains(&uuid(1)) => ok(&event(1, &["http://one.example/", "http://one.example/more"])),
            path if path.contains(&uuid(2)) => ok(&event(2, &["http://two.example/"])),
            _ => ok(&event(3, &["http://three.example/"])),
        }
    });
    let configuration = format!(
        "[source.posts]\nfeed = \"tweetfeed/misp\"\n[source.posts.misp]\nfeed = \"{}/feed\"\nuser = \"u\"\npassword = \"hush-hush\"\n",
        server.address
    );
    well(look(&data, &configuration), "an event could not be fetched");
    assert_eq!(query(&data, URLS), rows("source_url", &["http://one.example/"]));
    // Nothing is new, and what was not there is asked for again.
    well(look(&data, &configuration), "404 Not Found");
    assert_eq!(server.asked().len(), 5);
    well(look(&data, &configuration), "source looked at");
    let all = ["http://one.example/", "http://one.example/more", "http://three.example/", "http://two.example/"];
    assert_eq!(query(&data, URLS), rows("source_url", &all));
    assert_eq!(server.asked().len(), 9);
    let origin = value(&data, "SELECT origin FROM deliveries ORDER BY time LIMIT 1");
    assert_eq!(origin, format!("{}/feed/{}.json", server.address, uuid(1)));
    // Whoever dies before it remembers does the same again.
    std::fs::remove_file(data.join("sources/posts.json")).expect("it is remembered");
    well(look(&data, &configuration), "source looked at");
    assert_eq!(query(&data, URLS), rows("source_url", &all));
    assert!(server.asked().iter().all(|request| request.contains("authorization: basic")));
}

#[test]
fn an_event_that_breaks_off_holds_up_no_other() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::exact(|request, number| {
        let whole = event(1, &["http://one.example/"]);
        match request {
            request if request.contains("manifest") => ok(&manifest(&[(1, 1), (2, 2), (3, 3)])),
            // Once with a length, once without.
            request if number == 2 && request.contains(&uuid(1)) => {
                (format!("HTTP/1.1 200 OK\r\nContent-Length: {}", whole.len()), b"{".to_vec())
            }
            request if request.contains(&uuid(1)) => ok(&whole),
            request if number == 3 && request.contains(&uuid(2)) => ("HTTP/1.0 200 OK".to_owned(), whole.as_bytes()[..100].to_vec()),
            request if request.contains(&uuid(2)) => ok(&event(2, &["http://two.example/"])),
            _ => ok(&event(3, &["http://three.example/"])),
        }
    });
    let configuration =
        format!("[source.posts]\nfeed = \"tweetfeed/misp\"\n[source.posts.misp]\nfeed = \"{}/\"\ntries = 1\n", server.address);
    well(look(&data, &configuration), "not every event could be fetched");
    assert_eq!(query(&data, URLS), rows("source_url", &["http://three.example/"]));
    well(look(&data, &configuration), "source looked at");
    assert_eq!(query(&data, URLS), rows("source_url", &["http://one.example/", "http://three.example/", "http://two.example/"]));
}

/// A MISP server's answer to a search: 403 to a wrong key, one event a page, and a page that is too large where it holds two.
fn misp_server(request: &str) -> Answer {
    if !request.contains("authorization: hush-hush") {
        return status("403 Forbidden");
    }
    let is = |word: &str| request.contains(word);
    match request {
        _ if !is("\"published\":true") || !is("\"returnFormat\":\"json\"") || !request.starts_with("POST /misp/events/restSearch ") => {
            status("400 Bad Request")
        }
        _ if is("\"limit\":2") => ("HTTP/1.1 200 OK\r\nContent-Length: 2000000".to_owned(), Vec::new()),
        _ if is("\"timestamp\":") && is("\"page\":1,") => ok(&format!(r#"{{"response": [{}]}}"#, event(3, &["http://three.example/"]))),
        _ if is("\"timestamp\":") => ok(r#"{"response": []}"#),
        _ if is("\"page\":1,") => ok(&format!(r#"{{"response": [{}]}}"#, event(1, &["http://one.example/"]))),
        _ if is("\"page\":2,") => ok(&format!(r#"{{"response": [{}]}}"#, event(2, &["http://two.example/"]))),
        _ => ok(r#"{"response": []}"#),
    }
}

#[test]
fn a_misp_server_is_searched_page_by_page() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::exact(|request, _| misp_server(request));
    let configuration = |key: &str| {
        format!(
            "[source.misp]\nfeed = \"misp/events\"\n[source.misp.misp]\nserver = \"{}/misp/\"\nkey = \"{key}\"\nlimit = 2\nmost = 1\n\
             filter = {{ published = true, tags = [\"tlp:clear\"] }}\n",
            server.address
        )
    };
    let said = well(look(&data, &configuration("wrong")), "403 Forbidden; is the key or password right?");
    assert!(!said.contains("wrong"), "{said}");
    well(look(&data, &configuration("hush-hush")), "source looked at");
    assert_eq!(query(&data, URLS), rows("source_url", &["http://one.example/", "http://two.example/"]));
    well(look(&data, &configuration("hush-hush")), "source looked at");
    let all = ["http://one.example/", "http://three.example/", "http://two.example/"];
    assert_eq!(query(&data, URLS), rows("source_url", &all));
    let memory = std::fs::read_to_string(data.join("sources/misp.json")).expect("it is remembered");
    assert!(memory.contains("since") && !memory.contains("hush-hush"), "{memory}");
    std::fs::remove_file(data.join("sources/misp.json")).expect("it is remembered");
    well(look(&data, &configuration("hush-hush")), "source looked at");
    assert_eq!(query(&data, URLS), rows("source_url", &all));
}

/// An indicator for an address.
fn indicator(number: u32, url: &str) -> String {
    format!(
        r#"{{"type": "indicator", "spec_version": "2.1", "id": "indicator--{number:08}-0000-4000-8000-000000000000", "created": "2026-03-02T10:00:00.000Z",
            "modified": "2026-03-02T10:00:00.000Z", "labels": ["phishing"], "name": "{url}", "pattern": "[url:value = '{url}']",
            "pattern_type": "stix", "valid_from": "2026-03-02T10:00:00.000Z"}}"#
    )
}

fn envelope(rest: &str, objects: &[String], added_last: &str) -> Answer {
    let (head, body) = ok(&format!(r#"{{{rest}"objects": [{}]}}"#, objects.join(", ")));
    (format!("{head}\r\nX-TAXII-Date-Added-Last: {added_last}"), body)
}

#[test]
fn a_collection_goes_on_where_it_broke_off() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let page = |number: u32| [indicator(number, &format!("http://{number}.example/"))];
    let server = Server::exact(move |request, number| match request {
        request
            if !request.contains("accept: application/taxii+json;version=2.1") || !request.contains("authorization: Bearer hush-hush") =>
        {
            status("401 Unauthorized")
        }
        // A list that is shortened with every answer: the word for the next page is the same, and the page is not said twice.
        request if request.contains("next=a") && number == 2 => {
            envelope(r#""more": true, "next": "a", "#, &page(2), "2026-03-02T13:00:00Z")
        }
        request if request.contains("next=a") && number == 3 => {
            ("HTTP/1.1 200 OK\r\nContent-Length: 500".to_owned(), b"{\"objects\": [".to_vec())
        }
        // Of what was added after the first page.
        request if request.contains("added_after=2026-03-02T12%3A00%3A00.000001Z") => {
            envelope("", &[page(2), page(3)].concat(), "2026-03-02T13:00:00.5Z")
        }
        request if request.contains("added_after=2026-03-02T13%3A00%3A00.5Z") && number == 5 => ok("{}"),
        request if request.contains("added_after=2026-03-02T13%3A00%3A00.5Z") => envelope("", &page(4), "2026-03-03T12:00:00Z"),
        _ => envelope(r#""more": true, "next": "a", "#, &page(1), "2026-03-02T12:00:00.000001Z"),
    });
    let configuration = |token: &str| {
        format!(
            "[source.posts]\nfeed = \"tweetfeed/taxii\"\n[source.posts.taxii]\ncollection = \"{}/root/collections/c1/\"\ntoken = \"{token}\"\nlimit = 10\n",
            server.address
        )
    };
    well(look(&data, &configuration("hush-hush")), "breaks off before its end");
    assert_eq!(server.asked().len(), 3, "it is not tried again");
    assert_eq!(query(&data, URLS), rows("source_url", &["http://1.example/", "http://2.example/"]));
    // Of the second page's moment there may be more.
    well(look(&data, &configuration("hush-hush")), "source looked at");
    assert!(server.asked()[3].starts_with("get /root/collections/c1/objects/?limit=10&added_after=2026-03-02t12%3a00%3a00.000001z "));
    assert_eq!(query(&data, URLS), rows("source_url", &["http://1.example/", "http://2.example/", "http://3.example/"]));
    well(look(&data, &configuration("hush-hush")), "source looked at");
    assert_eq!(value(&data, "SELECT count(*) FROM deliveries"), "3", "nothing is new");
    well(look(&data, &configuration("hush-hush")), "source looked at");
    let all = ["http://1.example/", "http://2.example/", "http://3.example/", "http://4.example/"];
    assert_eq!(query(&data, URLS), rows("source_url", &all));
    let memory = std::fs::read_to_string(data.join("sources/posts.json")).expect("it is remembered");
    assert!(memory.contains("2026-03-03T12:00:00Z") && !memory.contains("hush-hush"), "{memory}");
    well(look(&data, &configuration("wrong")), "401 Unauthorized; is the key or password right?");
}

/// OASIS's own server, with one collection in memory; it ends with this.
struct Medallion {
    server: Child,
    address: String,
}

impl Medallion {
    fn start(folder: &Path, objects: &[String]) -> Medallion {
        let identifier = |number: usize| format!("indicator--{:08}-0000-4000-8000-000000000000", number + 1);
        // All were added at once, as they are where somebody publishes a bundle: pages do not end where a moment does.
        let manifest = (0..objects.len()).map(|number| {
            format!(
                r#"{{"id": "{}", "date_added": "2026-03-02T11:00:00.123456Z", "version": "2026-03-02T10:00:00.000Z",
                    "media_type": "application/stix+json;version=2.1"}}"#,
                identifier(number)
            )
        });
        let collection = format!(
            r#"{{"id": "91a7b528-80eb-42ed-a74d-c6fbd5a26116", "title": "Posts", "can_read": true, "can_write": true,
                "media_types": ["application/stix+json;version=2.1"], "objects": [{}], "manifest": [{}]}}"#,
            objects.join(", "),
            manifest.collect::<Vec<_>>().join(", ")
        );
        let content = format!(
            r#"{{"/discovery": {{"title": "Here", "default": "/root/", "api_roots": ["/root/"]}},
                "root": {{"information": {{"title": "Root", "versions": ["application/taxii+json;version=2.1"], "max_content_length": 100000}},
                "status": [], "collections": [{collection}]}}}}"#
        );
        let content = written(folder, "content.json", content);
        let configuration = format!(
            r#"{{"backend": {{"module": "medallion.backends.memory_backend", "module_class": "MemoryBackend", "filename": {content:?}}},
                "users": {{"reader": "hush-hush"}}, "taxii": {{"max_page_size": 100}}}}"#
        );
        let configuration = written(folder, "medallion.json", configuration);
        let python = std::env::var_os("WAGLAN_TEST_PYTHON").expect("`cargo xtask test` prepares a Python with a server, and says where");
        let mut start = Command::new(python);
        start.args(["-m", "medallion.scripts.run", "--port", "0"]).arg(configuration).env("PYTHONUNBUFFERED", "1");
        let mut server = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut said = BufReader::new(server.stderr.take().expect("it is piped"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(said.read_line(&mut line).expect("text") > 0, "the server ended");
            if let Some(at) = line.find("http://") {
                break line.get(at..).unwrap_or_default().trim().to_owned();
            }
        };
        // It tells of every request, and would wait for somebody to read it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Medallion { server, address }
    }

    /// Puts an object into the collection, as a publisher does.
    fn add(&self, object: &str) {
        let body = format!(r#"{{"objects": [{object}]}}"#);
        let host = self.address.strip_prefix("http://").expect("it is one");
        let mut stream = TcpStream::connect(host).expect("it listens");
        // reader:hush-hush
        let request = format!(
            "POST /root/collections/91a7b528-80eb-42ed-a74d-c6fbd5a26116/objects/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic \
             cmVhZGVyOmh1c2gtaHVzaA==\r\nAccept: application/taxii+json;version=2.1\r\nContent-Type: application/taxii+json;version=2.1\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    }
}

impl Drop for Medallion {
    fn drop(&mut self) {
        self.server.kill().and_then(|()| self.server.wait()).expect("a child can be killed");
    }
}

#[test]
fn a_collection_of_a_real_taxii_server_comes_in() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let objects: Vec<String> = (1..=25).map(|number| indicator(number, &format!("http://{number}.example/"))).collect();
    let server = Medallion::start(folder.path(), &objects);
    let configuration = |title: &str, password: &str| {
        format!(
            "[source.posts]\nfeed = \"tweetfeed/taxii\"\n[source.posts.taxii]\ndiscovery = \"{}/taxii2/\"\ncollection = \"{title}\"\n\
             user = \"reader\"\npassword = \"{password}\"\nlimit = 10\nmatch = {{ type = \"indicator\" }}\n",
            server.address
        )
    };
    well(look(&data, &configuration("Posts", "wrong")), "401 Unauthorized; is the key or password right?");
    well(look(&data, &configuration("Prose", "hush-hush")), r#"has no collection \"Prose\"; it has Posts"#);
    let counted = || query(&data, "SELECT count(*) AS events, count(DISTINCT source_url) AS urls FROM events");
    for _ in 0..2 {
        well(look(&data, &configuration("Posts", "hush-hush")), "source looked at");
        assert_eq!(counted(), "events,urls\n25,25\n");
        assert_eq!(value(&data, "SELECT count(*) FROM deliveries"), "3", "pages of ten, and no empty one");
    }
    server.add(&indicator(26, "http://26.example/"));
    well(look(&data, &configuration("Posts", "hush-hush")), "source looked at");
    assert_eq!(counted(), "events,urls\n26,26\n");
    assert_eq!(value(&data, "SELECT count(*) FROM deliveries"), "4");
    std::fs::remove_file(data.join("sources/posts.json")).expect("it is remembered");
    well(look(&data, &configuration("Posts", "hush-hush")), "source looked at");
    assert_eq!(counted(), "events,urls\n26,26\n");
}

/// An API that wants its requests signed, and hands out reports to whoever knows their ids.
fn signing_server(request: &str, number: usize) -> Answer {
    let (head, body) = request.split_once("\r\n\r\n").expect("a request");
    let csv =
        |ip: &str| format!("\"timestamp\",\"ip\",\"port\",\"protocol\",\"tag\"\n\"2026-03-01 10:00:00\",\"{ip}\",\"22\",\"tcp\",\"ssh\"\n");
    let download = head.split(' ').nth(1).and_then(|path| path.strip_prefix("/download/"));
    match download {
        Some("idA_1-x") => return ok(&csv("192.0.2.1")),
        Some("idB") if number < 8 => return status("500 Internal Server Error"),
        Some("idB") => return ok(&csv("192.0.2.2")),
        Some("idC") => return ok(&csv("192.0.2.3")),
        Some(_) => return status("404 Not Found"),
        None => {}
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"hush-hush");
    let signed: String = hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if !head.starts_with("POST /api2/reports/list ") || !head.contains(&format!("hmac2: {signed}")) {
        return status("401 Unauthorized");
    }
    if !body.contains("\"apikey\":\"key-hush-hush\"") {
        return ok("{\"error\": \"no such key: key-of-nobody\"}");
    }
    assert!(body.contains("\"reports\":[\"example\"]") && body.contains("\"date\":\"2026-02-28:2026-03-03\""), "{body}");
    let report = |id: &str, kind: &str| {
        format!(
            r#"{{"id": "{id}", "file": "2026-03-02-{kind}-example-geo.csv", "report": "example", "type": "{kind}", "timestamp": "2026-03-02 00:00:00"}}"#
        )
    };
    let mut reports = vec![report("idA_1-x", "scan_ssh"), report("idB", "scan_telnet"), report("idD", "scan_dns")];
    if number > 7 {
        reports.push(report("idC", "scan_ssh"));
    }
    ok(&format!("[{}]", reports.join(", ")))
}

#[test]
fn reports_that_are_listed_are_downloaded_once() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::exact(signing_server);
    let configuration = |key: &str, secret: &str| {
        format!(
            "[source.reports]\nprovider = \"shadowserver\"\n[source.reports.report_api]\nurl = \"{0}/api2\"\ndownloads = \"{0}/download/\"\n\
             key = \"{key}\"\nsecret = \"{secret}\"\nreports = [\"example\"]\ntypes = [\"scan_ssh\", \"scan_telnet\"]\ntries = 1\n",
            server.address
        )
    };
    // The third of March, and the clock stands nearly still.
    let look = |configuration: &str| {
        written(&data, "waglan.toml", configuration);
        let mut command = waglan(&data);
        command.env("NO_PROXY", "127.0.0.1").env("WAGLAN_CLOCK", "1772500000000000/1772500000000000/0.000001");
        let output = run(command.args(["-v", "run", "--once"]));
        (output.status.code(), told(&output))
    };
    let said = well(look(&configuration("key-hush-hush", "wrong")), "401 Unauthorized; is the key or password right?");
    assert!(!said.contains("wrong"), "{said}");
    let said = well(look(&configuration("key-of-nobody", "hush-hush")), "no such key: ***");
    assert!(!said.contains("idA"), "{said}");
    let said = well(look(&configuration("key-hush-hush", "hush-hush")), "not every report could be fetched");
    assert!(!said.contains("idB"), "whoever knows the id may read it: {said}");
    let reports = "SELECT feed, time, rows FROM deliveries ORDER BY feed, rows, time";
    assert_eq!(query(&data, reports), "feed,time,rows\nshadowserver/scan_ssh,2026-03-02T23:59:59Z,1\n");
    // The third look: another has come, of the same name as one that is there, and what failed is tried again.
    well(look(&configuration("key-hush-hush", "hush-hush")), "source could not be looked at");
    well(look(&configuration("key-hush-hush", "hush-hush")), "source looked at");
    let ips = || query(&data, "SELECT source_ip FROM events ORDER BY 1");
    assert_eq!(ips(), rows("source_ip", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
    let asked = server.asked();
    assert_eq!(asked.iter().filter(|request| request.contains("/download/ida_1-x")).count(), 1, "{asked:?}");
    let memory = std::fs::read_to_string(data.join("sources/reports.json")).expect("it is remembered");
    assert!(!memory.contains("idA") && !memory.contains("hush"), "{memory}");
    std::fs::remove_file(data.join("sources/reports.json")).expect("it is remembered");
    well(look(&configuration("key-hush-hush", "hush-hush")), "source looked at");
    assert_eq!(ips(), rows("source_ip", &["192.0.2.1", "192.0.2.2", "192.0.2.3"]));
    assert_eq!(value(&data, "SELECT count(*) FROM deliveries"), "3", "of the same day by its name, the same delivery");
}

/// A program that is given this on standard input.
fn given(command: &mut Command, input: &[u8]) -> (Option<i32>, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("it is piped").write_all(input).expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    (output.status.code(), told(&output))
}

#[test]
fn standard_input_comes_in_whole_or_by_lines() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let listen = |settings: &str, input: &str| {
        let configuration = format!("[source.pipe]\nfeed = \"cins/army\"\n[source.pipe.stdin]\n{settings}\n");
        written(&data, "waglan.toml", configuration);
        given(waglan(&data).args(["-v", "run", "--once"]), input.as_bytes())
    };
    well(listen("name = \"ci-badguys.txt\"", "192.0.2.1\n192.0.2.2\n"), "source looked at");
    well(listen("lines = true\nbatch = 2", "192.0.2.3\n192.0.2.4\n192.0.2.5\n192.0.2.6\n192.0.2.7"), "source looked at");
    well(listen("", ""), "source looked at");
    let deliveries = "SELECT origin, rows FROM deliveries ORDER BY time, rows DESC, origin";
    let expected = "origin,rows\nci-badguys.txt,2\nstandard input,2\nstandard input,2\nstandard input,1\n";
    assert_eq!(query(&data, deliveries), expected);
    assert_eq!(value(&data, "SELECT count(DISTINCT source_ip) FROM events"), "7");
    let (code, said) = listen("batch = 2", "");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("batch and within are for lines = true"), "{said}");
}

#[test]
fn lines_are_stored_as_they_come_and_when_it_is_told_to_stop() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let configuration = "[source.pipe]\nfeed = \"cins/army\"\n[source.pipe.stdin]\nlines = true\nbatch = 2\nwithin = \"1h\"\n";
    written(&data, "waglan.toml", configuration);
    let mut command = waglan(&data);
    let mut child = command.args(["-v", "run"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("it is piped");
    let mut said = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    pipe.write_all(b"192.0.2.1\n192.0.2.2\n192.0.2.3\n192.0").expect("it listens");
    let stored = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("report stored") || line.contains("2 rows")));
    assert!(stored.is_some(), "the first two are stored while it waits for more");
    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("there is kill");
    assert!(ended.success());
    said.for_each(drop);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    assert_eq!(query(&data, "SELECT source_ip FROM events ORDER BY 1"), "source_ip\n192.0.2.1\n192.0.2.2\n192.0.2.3\n");
}

#[test]
fn standard_input_is_handed_in_by_name() {
    let folder = TempDir::new().expect("a folder");
    let data = folder.path().join("data");
    let csv = b"\"timestamp\",\"ip\",\"port\",\"protocol\",\"tag\"\n\"2026-03-01 10:00:00\",\"192.0.2.1\",\"22\",\"tcp\",\"ssh\"\n";
    let ingest = |arguments: &[&str]| given(waglan(&data).args(["ingest", "--provider", "shadowserver"]).args(arguments), csv);
    let (code, said) = ingest(&["--name", "2026-03-02-scan_ssh-example-geo.csv", "-"]);
    assert_eq!(code, Some(0), "{said}");
    let deliveries = query(&data, "SELECT feed, time, origin FROM deliveries");
    assert_eq!(deliveries, "feed,time,origin\nshadowserver/scan_ssh,2026-03-02T23:59:59Z,2026-03-02-scan_ssh-example-geo.csv\n");
    for (arguments, expected) in [(&["-", "-"], "give - once"), (&["--name=x.csv", "x.csv"], "give - as a delivery as well")] {
        let (code, said) = ingest(arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_slip_in_the_settings_is_said_before_anything_runs() {
    let folder = TempDir::new().expect("a folder");
    let cases = [
        ("misp", "", "say feed = \"https://...\", a folder with a manifest.json, or server"),
        ("misp", "server = \"https://127.0.0.1\"", "a server wants a key"),
        ("misp", "server = \"https://127.0.0.1\"\nkey = \"k\"\nfilter = { page = 2 }", "filter: page is said by the source itself"),
        ("misp", "feed = \"https://127.0.0.1\"\nkey = \"k\"", "a feed that wants a key takes headers"),
        ("misp", "feed = \"https://127.0.0.1\"\nloft = 1", "unknown field `loft`"),
        ("taxii", "collection = \"Posts\"", "its title needs discovery"),
        ("taxii", "collection = \"https://127.0.0.1/c/\"\nuser = \"u\"", "a user needs a password"),
        ("report_api", "key = \"k\"", "say url = \"https://.../\", the API's address"),
        ("report_api", "url = \"https://127.0.0.1\"\nkey = \"k\"", "it wants a secret to sign with"),
        ("stdin", "name = \"a/b\"", "name is a file's name, without a path"),
    ];
    for (section, settings, expected) in cases {
        let configuration = format!("[source.x]\nfeed = \"misp/events\"\n[source.x.{section}]\n{settings}\n");
        let (code, said) = look(&folder.path().join("data"), &configuration);
        assert_eq!(code, Some(2), "{configuration}: {said}");
        assert!(said.contains(expected), "{configuration}: {said}");
    }
}
