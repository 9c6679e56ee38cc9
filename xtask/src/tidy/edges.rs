//! Which room may use which. A crate boundary is the only one that the compiler keeps, so the edges between crates are the
//! architecture: the table here, the map in ARCHITECTURE.md and the manifests say the same.

use std::collections::BTreeSet;

use super::manifest::{Manifest, manifests};
use super::{Check, Failure, Tree, failure};

pub(super) const CHECK: Check = Check { name: "edges", about: "a room uses only those that it may, as ARCHITECTURE.md draws them", run };

/// A room, and those that it may use.
///
/// Waglan's commands reach what is stored only through desk, where permission and audit are. Feed keeps nothing, so that they
/// may read a report with it; testkit is for the demo.
const MAY_USE: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("standards", &[]),
    ("feed", &["event", "standards"]),
    ("enrich", &["event"]),
    ("store", &["event"]),
    ("pipeline", &["event", "feed", "enrich", "store"]),
    ("notify", &["event"]),
    ("desk", &["event", "feed", "enrich", "store", "pipeline", "notify"]),
    ("web", &["desk"]),
    ("waglan", &["event", "feed", "desk", "web", "testkit"]),
    ("testkit", &["event", "enrich"]),
    // Of pipeline it takes single files, which need nothing of the store.
    ("fuzz", &["event", "standards", "feed", "enrich"]),
    ("xtask", &[]),
];

/// Tests anywhere may live in the made-up country.
const FOR_ALL_TESTS: &str = "testkit";

/// A room whose tests may use another, which it may not use itself.
const TESTS_MAY_USE: &[(&str, &str)] = &[
    // The made-up reports are in the feeds' real forms: they can be read.
    ("testkit", "feed"),
];

const MAP: &str = "ARCHITECTURE.md";
/// Stands before the map, a fenced block of lines such as `event -> feed enrich store`: the arrow goes as data does, from
/// what is used to its users. Who stands further along may use all that leads there.
const MARK: &str = "<!-- edges -->";

/// From a room to one that uses it.
type Edge<'t> = (&'t str, &'t str);

fn run(tree: &Tree) -> Vec<Failure> {
    let (manifests, mut failures) = manifests(tree);
    manifests.iter().for_each(|manifest| check_manifest(manifest, &manifests, &mut failures));
    match tree.text(MAP).and_then(map) {
        Some((start, lines)) => check_map(start, &lines, &manifests, &mut failures),
        None => failures.push(failure(MAP, 1, format!("there is no map of the rooms: put a fenced block of edges after a line {MARK}"))),
    }
    failures
}

fn check_manifest(manifest: &Manifest<'_>, all: &[Manifest<'_>], failures: &mut Vec<Failure>) {
    let Some((_, may_use)) = MAY_USE.iter().find(|(room, _)| *room == manifest.name) else {
        let what = format!("\"{}\" is a new room: give it a line in xtask/src/tidy/edges.rs and in {MAP}", manifest.name);
        return failures.push(failure(manifest.path, 1, what));
    };
    for dependency in manifest.dependencies.iter().filter(|dependency| all.iter().any(|one| one.name == dependency.name)) {
        let in_tests = dependency.name == FOR_ALL_TESTS || TESTS_MAY_USE.contains(&(manifest.name, &dependency.name));
        let may = may_use.contains(&dependency.name.as_str()) || dependency.is_dev && in_tests;
        if !may {
            let what = format!("{} may not use {}: ask a room between them, or move the code", manifest.name, dependency.name);
            failures.push(failure(manifest.path, dependency.line, what));
        }
    }
}

/// The map's first line and its lines.
fn map(text: &str) -> Option<(usize, Vec<&str>)> {
    let mut lines = text.lines().enumerate().skip_while(|(_, line)| line.trim() != MARK).skip(1);
    let (fence, _) = lines.find(|(_, line)| !line.trim().is_empty()).filter(|(_, line)| line.starts_with("```"))?;
    let drawn = lines.map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
    Some((fence + 2, drawn))
}

fn check_map(start: usize, lines: &[&str], manifests: &[Manifest<'_>], failures: &mut Vec<Failure>) {
    let built: BTreeSet<Edge<'_>> =
        manifests.iter().flat_map(edges).filter(|(used, _)| manifests.iter().any(|one| one.name == *used)).collect();
    let mut drawn = BTreeSet::new();
    for (place, line) in lines.iter().enumerate() {
        for edge @ (used, user) in edges_of_line(line) {
            drawn.insert(edge);
            if !built.contains(&edge) {
                failures.push(failure(MAP, start + place, format!("{user} does not use {used}: take the arrow away")));
            }
        }
    }
    for (used, user) in built.iter().filter(|(used, user)| !leads(&drawn, used, user)) {
        failures.push(failure(MAP, start, format!("{user} uses {used}, and no arrows lead there from it: draw them")));
    }
}

/// The manifest's edges but those for tests.
fn edges<'m>(manifest: &'m Manifest<'m>) -> impl Iterator<Item = Edge<'m>> {
    manifest.dependencies.iter().filter(|dependency| !dependency.is_dev).map(|dependency| (dependency.name.as_str(), manifest.name))
}

/// `a b -> c d -> e`: every one on an arrow's left to every one on its right.
fn edges_of_line(line: &str) -> Vec<Edge<'_>> {
    let groups: Vec<Vec<&str>> = line.split("->").map(|group| group.split([' ', ',']).filter(|name| !name.is_empty()).collect()).collect();
    let pairs = groups.iter().zip(groups.iter().skip(1));
    pairs.flat_map(|(left, right)| left.iter().flat_map(move |used| right.iter().map(move |user| (*used, *user)))).collect()
}

/// Whether the arrows lead from one room to the other.
fn leads(drawn: &BTreeSet<Edge<'_>>, from: &str, to: &str) -> bool {
    let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(room) = left.pop() {
        if room == to {
            return true;
        }
        left.extend(drawn.iter().filter(|(used, user)| *used == room && reached.insert(*user)).map(|(_, user)| *user));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    const EVENT: (&str, &str) = ("crates/event/Cargo.toml", "[dependencies]\narrow = \"1\"\n");
    const FEED: (&str, &str) =
        ("crates/feed/Cargo.toml", "[dependencies]\nevent.workspace = true\n[dev-dependencies]\ntestkit.workspace = true\n");
    const PIPELINE: (&str, &str) = ("crates/pipeline/Cargo.toml", "[dependencies]\nevent.workspace = true\nfeed.workspace = true\n");
    const TESTKIT: (&str, &str) = ("testkit/Cargo.toml", "[dependencies]\nevent.workspace = true\n");

    #[test]
    fn what_is_drawn_and_allowed_is_fine() {
        let drawn = "# Rooms\n\n<!-- edges -->\n\n```text\nevent -> feed testkit\nfeed -> pipeline\n```\n";
        check(&CHECK, &[EVENT, FEED, PIPELINE, TESTKIT, (MAP, drawn)], &[]);
    }

    #[test]
    fn siblings_do_not_know_each_other_and_new_rooms_are_named() {
        let feed = ("crates/feed/Cargo.toml", "[dependencies]\nevent.workspace = true\npipeline.workspace = true\n");
        let drawn = "<!-- edges -->\n```\nevent -> feed, pipeline\npipeline -> feed\nfeed -> pipeline\n```\n";
        let expected = [
            "crates/attic/Cargo.toml:1: \"attic\" is a new room: give it a line in xtask/src/tidy/edges.rs and in ARCHITECTURE.md",
            "crates/feed/Cargo.toml:3: feed may not use pipeline: ask a room between them, or move the code",
        ];
        check(&CHECK, &[EVENT, feed, PIPELINE, ("crates/attic/Cargo.toml", ""), (MAP, drawn)], &expected);
    }

    #[test]
    fn the_map_is_the_territory() {
        let drawn = "<!-- edges -->\n```\nevent -> feed -> store\nevent -> testkit\n```\n";
        let expected = [
            "ARCHITECTURE.md:3: pipeline uses event, and no arrows lead there from it: draw them",
            "ARCHITECTURE.md:3: pipeline uses feed, and no arrows lead there from it: draw them",
            "ARCHITECTURE.md:3: store does not use feed: take the arrow away",
        ];
        check(&CHECK, &[EVENT, FEED, PIPELINE, TESTKIT, (MAP, drawn)], &expected);
        let none = "ARCHITECTURE.md:1: there is no map of the rooms: put a fenced block of edges after a line <!-- edges -->";
        check(&CHECK, &[EVENT], &[none]);
    }
}
