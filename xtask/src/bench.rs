//! `cargo xtask bench`: measurements, run by hand on a quiet machine. Numbers worth keeping go to docs/performance.md, with the
//! machine they were measured on.
//!
//! A new one is a function and a line in [`BENCHES`].

use crate::{Outcome, cargo};

struct Bench {
    name: &'static str,
    /// What may stand after the name.
    takes: &'static str,
    about: &'static str,
    run: fn(&[String]) -> anyhow::Result<Outcome>,
}

const BENCHES: &[Bench] = &[
    Bench { name: "read", takes: "FEED FILE", about: "how long a report takes to become events, without anything else", run: read },
    Bench {
        name: "throughput",
        takes: "[ROWS]",
        about: "a report from file to committed events, beside DuckDB that turns it into Parquet without understanding it",
        run: throughput,
    },
    Bench {
        name: "query",
        takes: "[EVENTS]",
        about: "a quarter's counts over a table of so many events, 50 million if not said, beside DuckDB on the same files",
        run: query,
    },
    Bench { name: "enrich", takes: "[FILE.mmdb...]", about: "what enriching a row costs, over made-up tables or these", run: enrich },
];

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<Outcome> {
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", list());
        return Ok(Outcome::Done);
    };
    match BENCHES.iter().find(|bench| bench.name == name) {
        Some(bench) => (bench.run)(rest),
        None => Ok(Outcome::Misused(format!("There is no bench \"{name}\". There are:\n{}", list().trim_end()))),
    }
}

fn list() -> String {
    BENCHES.iter().map(|bench| format!("cargo xtask bench {} {}\n    {}\n", bench.name, bench.takes, bench.about)).collect()
}

fn read(arguments: &[String]) -> anyhow::Result<Outcome> {
    match arguments {
        [_feed, _file] => example("feed", "read_speed", arguments),
        _ => Ok(Outcome::Misused("\"bench read\" takes a feed and a report's file.".to_owned())),
    }
}

fn enrich(arguments: &[String]) -> anyhow::Result<Outcome> {
    example("enrich", "speed", arguments)
}

fn throughput(arguments: &[String]) -> anyhow::Result<Outcome> {
    beside_peer("throughput.py", arguments.first().map_or("1000000", String::as_str))
}

fn query(arguments: &[String]) -> anyhow::Result<Outcome> {
    beside_peer("query.py", arguments.first().map_or("50000000", String::as_str))
}

/// Builds what is measured, and lets a script run and compare it: the peer is a Python package.
fn beside_peer(script: &str, rows: &str) -> anyhow::Result<Outcome> {
    let mut build = cargo::cargo();
    build.args(["build", "--quiet", "--release", "--package", "waglan", "--bin", "waglan"]);
    cargo::finish(&mut build)?;
    let mut example = cargo::cargo();
    example.args(["build", "--quiet", "--release", "--package", "testkit", "--example", "sinkhole_report"]);
    cargo::finish(&mut example)?;
    let release = cargo::target_folder()?.join("release");
    let mut measure = std::process::Command::new(crate::test::python()?);
    measure.arg(cargo::root().join("xtask/bench").join(script)).arg(&release).arg(rows);
    cargo::finish(&mut measure)
}

/// A crate's own example that measures, as it would be released.
fn example(package: &str, example: &str, arguments: &[String]) -> anyhow::Result<Outcome> {
    let mut command = cargo::cargo();
    command.args(["run", "--quiet", "--release", "--package", package, "--example", example, "--"]).args(arguments);
    cargo::finish(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_bench_is_misuse_and_the_list_is_shown() {
        let Ok(Outcome::Misused(how)) = run(&["raed".to_owned()]) else { panic!("it is not known") };
        assert!(how.contains("raed") && how.contains("cargo xtask bench read FEED FILE"), "{how}");
    }
}
