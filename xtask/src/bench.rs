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
        name: "shapes",
        takes: "[MIB [SHAPE...]]",
        about: "reports of 100 MiB in each shape to rows and to events, beside the fastest parser of each form",
        run: shapes,
    },
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
    Bench {
        name: "memory",
        takes: "[ROWS...]",
        about: "the most memory that reports of 1, 10 and 50 million rows take, or of so many, and a JSON document",
        run: memory,
    },
    Bench {
        name: "week",
        takes: "[HOURS]",
        about: "a week, or so many hours, of seventy feeds and a mailbox at 600 times its speed, killed ten times: what is lost, and memory",
        run: week,
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

fn shapes(arguments: &[String]) -> anyhow::Result<Outcome> {
    example("feed", "shape_speed", arguments)
}

fn enrich(arguments: &[String]) -> anyhow::Result<Outcome> {
    example("enrich", "speed", arguments)
}

fn throughput(arguments: &[String]) -> anyhow::Result<Outcome> {
    script("throughput.py", arguments, &["1000000"])
}

fn query(arguments: &[String]) -> anyhow::Result<Outcome> {
    script("query.py", arguments, &["50000000"])
}

fn memory(arguments: &[String]) -> anyhow::Result<Outcome> {
    script("memory.py", arguments, &["1000000", "10000000", "50000000"])
}

/// The test that rehearses a part of it rehearses all of it.
fn week(arguments: &[String]) -> anyhow::Result<Outcome> {
    let hours = match arguments {
        [] => "168",
        [hours] if hours.parse::<u32>().is_ok_and(|hours| hours > 0) => hours,
        _ => return Ok(Outcome::Misused("\"bench week\" takes a number of hours.".to_owned())),
    };
    // The servers that it needs.
    crate::test::python()?;
    let mut test = cargo::cargo();
    test.args(["test", "--quiet", "--release", "--package", "waglan", "--test", "program", "week::", "--", "--nocapture"]);
    cargo::finish(test.env("WAGLAN_TEST_WEEK_HOURS", hours))
}

/// Builds what is measured, and lets a script run it, beside its peer where it has one: that is a Python package.
fn script(name: &str, arguments: &[String], unless_said: &[&str]) -> anyhow::Result<Outcome> {
    for what in [["waglan", "--bin", "waglan"], ["testkit", "--example", "sinkhole_report"]] {
        let mut build = cargo::cargo();
        build.args(["build", "--quiet", "--release", "--package"]).args(what);
        // Where it fails an older program may lie there, which is not the one to be measured.
        if !matches!(cargo::finish(&mut build)?, Outcome::Done) {
            return Ok(Outcome::Failed);
        }
    }
    let release = cargo::target_folder()?.join("release");
    let mut measure = std::process::Command::new(crate::test::python()?);
    measure.arg(cargo::root().join("xtask/bench").join(name)).arg(&release);
    match arguments {
        [] => measure.args(unless_said),
        said => measure.args(said),
    };
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
