//! Some rooms do no input and output and read no clock: the same report and the same tables give the same events, and bad data
//! can only be data. Their examples and tests may.

use regex::Regex;

use super::{Check, Failure, Tree, failure, line_at, rust};

pub(super) const CHECK: Check =
    Check { name: "pure", about: "event, standards, feed and enrich touch no file, network, environment or clock", run };

const ROOMS: &[&str] = &["event", "standards", "feed", "enrich"];

/// What code would have to say, and what it is.
const TOUCHES: &[(&str, &str)] = &[
    (r"\bstd::fs\b|\bFile::(?:open|create|options)\b|\bOpenOptions\b", "the file system"),
    (r"\bstd::\{[^;]*\bfs\b", "the file system"),
    (r"\b(?:Tcp(?:Stream|Listener)|Udp(?:Socket)|Unix(?:Stream|Listener|Datagram))\b|\bToSocketAddrs\b", "the network"),
    (r"\bstd::env\b|\bstd::\{[^;]*\benv\b", "the environment"),
    (r"\bstd::process\b|\bstd::\{[^;]*\bprocess\b", "other programs"),
    (r"\bSystemTime\b|\bInstant\b|\b(?:Utc|Local)::now\b", "the clock"),
    (r"\btokio::", "a runtime, which is there for input and output"),
];

fn run(tree: &Tree) -> Vec<Failure> {
    let touches: Vec<(Regex, &str)> = TOUCHES.iter().map(|(pattern, what)| (Regex::new(pattern).expect("a pattern"), *what)).collect();
    let mut failures = Vec::new();
    for (path, text) in tree.files(".rs").filter(|(path, _)| is_pure(path)) {
        let code = rust::code(text);
        for (pattern, what) in &touches {
            for found in pattern.find_iter(&code) {
                let word = found.as_str().split_whitespace().collect::<String>();
                let what = format!("`{word}` touches {what}: let the caller do it, and take what comes of it as an argument");
                failures.push(failure(path, line_at(&code, found.start()), what));
            }
        }
    }
    failures
}

fn is_pure(path: &str) -> bool {
    let room = path.strip_prefix("crates/").and_then(|path| path.split_once('/'));
    room.is_some_and(|(room, _)| ROOMS.contains(&room)) && !rust::is_for_tests(path)
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn what_touches_the_world_is_found() {
        let bad = "//! Reads std::fs.
use std::fs::File;
use std::{env, io};
let now = std::time::Instant::now();
let text = \"SystemTime\";
";
        let fine = "use std::net::IpAddr;
use std::io::Read;
#[cfg(test)]
mod tests {
    use std::fs;
}
";
        let files = [
            ("crates/feed/src/bad.rs", bad),
            ("crates/event/src/fine.rs", fine),
            ("crates/feed/tests/feeds.rs", bad),
            ("crates/feed/examples/speed.rs", bad),
            ("crates/store/src/store.rs", bad),
        ];
        let expected = [
            "crates/feed/src/bad.rs:2: `std::fs` touches the file system: let the caller do it, and take what comes of it as an argument",
            "crates/feed/src/bad.rs:3: `std::{env` touches the environment: let the caller do it, and take what comes of it as an argument",
            "crates/feed/src/bad.rs:4: `Instant` touches the clock: let the caller do it, and take what comes of it as an argument",
        ];
        check(&CHECK, &files, &expected);
    }
}
