//! Warning lists beside `pymispwarninglists`, which MISP's authors give to whoever has no MISP: both are asked of the same values, most of
//! them made from the lists' entries. What may differ is written down in the script, and told apart from what may not.
//!
//! `WAGLAN_TEST_WARNING_LISTS` names a folder with lists of one's own, for 200,000 values instead of a few thousand.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Command, Stdio};
use std::sync::Arc;

use enrich::warning_lists::{Value, WarningList, WarningLists};
use event::{Field, value};
use ipnet::IpNet;
use serde_json::json;

const SCRIPT: &str = include_str!("warning_lists.py");

/// One of each type, about all that they may be about.
fn our_lists() -> Vec<serde_json::Value> {
    let list = |name: &str, matching: &str, attributes: &[&str], entries: &[&str]| json!({ "name": name, "description": name, "version": 1, "type": matching, "matching_attributes": attributes, "list": entries });
    vec![
        list(
            "addresses",
            "cidr",
            &["ip-src", "ip-dst", "domain|ip", "ip-src|port"],
            &[
                "192.0.2.0/24",
                "192.0.2.128/25",
                "198.51.100.7",
                "198.51.100.8/29",
                "203.0.113.0/25",
                "203.0.113.128/25",
                "10.0.0.1/8",
                "0.0.0.0/8",
                "255.255.255.255",
                "2001:DB8::/32",
                "2001:db9::1",
                "::ffff:10.1.0.0/112",
                "example.com",
            ],
        ),
        list(
            "sites",
            "string",
            &["domain", "hostname", "url"],
            &["example.com", "WWW.Example.org", ".example.net", "bücher.example", "com"],
        ),
        list(
            "pages",
            "string",
            &["url"],
            &["http://Example.com/Login", "https://example.org", "example.com/login", "http://192.0.2.1:8080/"],
        ),
        list("anything", "string", &[], &["192.0.2.1", "2001:DB8::1", "a@Example.com", "example.com", "192.0.2.0/25", "7", "AS64496"]),
        list(
            "names",
            "hostname",
            &["domain", "url", "ip-dst", "email-src"],
            &["example.com", "Example.ORG", "bücher.example", "192.0.2.1", "1"],
        ),
        list("names below", "hostname", &["domain", "url"], &[".example.net", "..dyn.example.com", ".gov", "hk"]),
        list(
            "parts",
            "substring",
            &["domain", "url", "email-dst", "ip-src"],
            &["ample.c", ".Org", "/login", "192.0.2.2", "2001:db8:", "büch"],
        ),
        list("mail", "substring", &["email-src", "domain|ip"], &["@example.com", "example.net", "mail."]),
        list("contacts", "regex", &["email-src", "url"], &[r"/^(noc|abuse)\@.*\..*$/i", r"\.php$", r"/\/login/g"]),
        list("hashes", "string", &["md5", "filename|sha256"], &["D41D8CD98F00B204E9800998ECF8427E", &"ab".repeat(32), &"cd".repeat(20)]),
        list("systems", "string", &["AS"], &["AS64496", "64497", "as64498"]),
        list("nothing that we have", "string", &["phone-number"], &["example.com", "192.0.2.1"]),
    ]
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn word(&mut self, letters: &[u8], length: usize) -> String {
        (0..length).map(|_| char::from(letters[self.below(letters.len())])).collect()
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }

    /// A subject, and what might be a value of it.
    fn candidate(&mut self, lists: &[serde_json::Value]) -> (&'static str, String) {
        let entries = lists[self.below(lists.len())]["list"].as_array().expect("a list");
        if entries.is_empty() || self.below(8) == 0 {
            return self.made_up();
        }
        let entry = entries[self.below(entries.len())].as_str().expect("a text").trim();
        match value::network(entry) {
            Ok(network) => self.near(network),
            Err(_) => self.like(entry),
        }
    }

    fn made_up(&mut self) -> (&'static str, String) {
        let name = |numbers: &mut Numbers| {
            let length = 1 + numbers.below(4);
            let end = numbers.pick(&["com", "org", "example", "co.uk", "edu", "hk", "gov"]);
            format!("{}.{end}", numbers.word(b"abcdexyz-.", length))
        };
        match self.below(6) {
            0 => ("address", Ipv4Addr::from(self.below(1 << 32) as u32).to_string()),
            1 => ("address", Ipv6Addr::from((0x2001 << 112) | self.below(1 << 40) as u128).to_string()),
            2 => ("host", name(self)),
            3 => ("url", format!("http://{}/{}", name(self), self.word(b"ab/.?", 6))),
            4 => ("mail", format!("{}@{}", self.word(b"abcABC", 4), name(self))),
            _ => ("hash", self.word(b"0123456789abcdef", [32, 40, 64][self.0 as usize % 3])),
        }
    }

    /// In the network, around it, and at its borders.
    fn near(&mut self, network: IpNet) -> (&'static str, String) {
        let step = |address: IpAddr, by: i128| match address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address).wrapping_add(by as u32))),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address).wrapping_add(by as u128))),
        };
        let (first, last, inside) = (network.network(), network.broadcast(), self.below(1 << 24) as i128);
        let address = match self.below(6) {
            0 => first,
            1 => last,
            2 => step(first, -1),
            3 => step(last, 1),
            4 => step(first, inside & 0xff),
            _ => step(first, inside),
        };
        match self.below(8) {
            0 => ("network", network.to_string()),
            1 => ("network", network.supernet().unwrap_or(network).to_string()),
            2 => ("network", IpNet::new(address, network.max_prefix_len().min(network.prefix_len() + 3)).expect("a prefix").to_string()),
            3 => ("url", format!("http://{}/", if address.is_ipv6() { format!("[{address}]") } else { address.to_string() })),
            _ => ("address", address.to_string()),
        }
    }

    /// The entry, with something more or less, and where else it may be written.
    fn like(&mut self, entry: &str) -> (&'static str, String) {
        if entry.bytes().all(|byte| byte.is_ascii_hexdigit()) && matches!(entry.len(), 32 | 40 | 64) {
            return ("hash", entry.to_owned());
        }
        if let Ok(number) = value::asn(entry) {
            return ("system", (number + self.below(2) as i64).to_string());
        }
        let name = entry.trim_matches('.');
        let changed = match self.below(9) {
            0 => format!("www.{name}"),
            1 => format!("x{name}"),
            2 => format!("{name}.hk"),
            3 => name.split_once('.').map_or(name, |(_, above)| above).to_owned(),
            4 => name.to_uppercase(),
            5 => format!("a.b.{name}"),
            6 => name.chars().rev().collect(),
            _ => name.to_owned(),
        };
        match self.below(10) {
            0 => ("url", format!("http://{changed}/")),
            1 => ("url", format!("https://{changed}:8443/{}", self.word(b"ab/.", 5))),
            2 => ("url", format!("http://{}/{changed}", self.pick(&["a.example", "192.0.2.1", "[2001:db8::1]", "u@example.com"]))),
            3 => ("url", entry.to_owned()),
            4 => ("mail", format!("{}@{changed}", self.pick(&["a", "noc", "Abuse"]))),
            5 if entry.contains('@') => ("mail", entry.to_owned()),
            _ => ("host", changed),
        }
    }
}

/// As events have it, if it is a value.
fn at_rest(subject: &str, text: &str) -> Option<String> {
    let field = match subject {
        "address" => Field::SOURCE_IP,
        "network" => Field::SOURCE_NETWORK,
        "host" => Field::SOURCE_FQDN,
        "url" => Field::SOURCE_URL,
        "mail" => Field::SOURCE_ACCOUNT,
        _ => return Some(text.to_lowercase()),
    };
    let mut out = String::new();
    value::text(field, text, &mut out).ok().filter(|text| !text.contains(['\t', '\n'])).map(str::to_owned)
}

fn parsed<'a>(subject: &str, text: &'a str) -> Value<'a> {
    match subject {
        "address" => Value::Address(value::ip(text).expect("an address")),
        "network" => Value::Network(value::network(text).expect("a network")),
        "host" => Value::Host(text),
        "url" => Value::Url(text),
        "mail" => Value::Mail(text),
        "system" => Value::System(text.parse().expect("a number")),
        _ => Value::Hash(text),
    }
}

/// The lists, and what we find, a line for each value.
fn asked(documents: &[serde_json::Value], values: usize) -> String {
    let list = |document: &serde_json::Value| Arc::new(WarningList::parse(&document.to_string()).expect("a list"));
    let lists = WarningLists::of(documents.iter().map(list).collect()).expect("lists");
    let mut out = serde_json::to_string(documents).expect("JSON") + "\n";
    let (mut numbers, mut found, mut count) = (Numbers(0x5eed), Vec::new(), 0);
    while count < values {
        let (subject, text) = numbers.candidate(documents);
        let Some(text) = at_rest(subject, &text) else { continue };
        write!(out, "{subject}\t{text}\t").expect("text can always be written to");
        for list in lists.hits(parsed(subject, &text), &mut found) {
            write!(out, "{list} ").expect("text can always be written to");
        }
        out.push('\n');
        count += 1;
    }
    out
}

fn lists_of(folder: &std::ffi::OsStr) -> Vec<serde_json::Value> {
    let entries = std::fs::read_dir(folder).expect("a folder of lists");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension().is_some()).collect();
    paths.sort();
    paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")).collect()
}

#[test]
fn warning_lists_find_what_their_authors_find() {
    let python =
        std::env::var_os("WAGLAN_TEST_PYTHON").expect("`cargo xtask test` prepares a Python with pymispwarninglists, and says where");
    let folder = std::env::var_os("WAGLAN_TEST_WARNING_LISTS");
    let asked = match &folder {
        Some(folder) => asked(&lists_of(folder), 200_000),
        None => asked(&our_lists(), 5_000),
    };
    let mut script = Command::new(python);
    script.args(["-c", SCRIPT]).env("PYTHONUTF8", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut script = script.spawn().expect("Python");
    // A script that fails does not read to the end, and says better what is wrong.
    let written = script.stdin.take().expect("it is piped").write_all(asked.as_bytes());
    let output = script.wait_with_output().expect("the script ends");
    let [unexplained, counts] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("UTF-8"));
    assert!(written.is_ok() && output.status.success() && unexplained.trim().is_empty(), "{unexplained}\n{counts}");
    if folder.is_some() {
        std::io::stderr().write_all(counts.as_bytes()).expect("standard error");
    }
}
