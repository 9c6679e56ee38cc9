//! `cargo xtask fuzz`: what strangers send, made up by libFuzzer, for a while. fuzz/ has the targets.
//!
//! cargo-fuzz would do the same with a nightly compiler and its address sanitizer, which finds what unsafe code breaks: our rooms
//! have none. What tells libFuzzer where an input has led is in every compiler, so the one that builds the program will do.
//!
//! What was found to lead somewhere new is kept in the target folder, where the next run goes on from it; without it a run begins
//! with the feeds' samples. An input that broke something and has been mended stays in fuzz/regressions/TARGET, and is tried first.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context as _, bail};

use crate::{Outcome, cargo};

/// How long each target runs if nobody says, in seconds.
const SECONDS: u64 = 20;

/// What makes each branch tell that it was taken, and each comparison with what: the words of cargo-fuzz.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

struct Asked {
    /// All if there are none.
    targets: Vec<String>,
    seconds: u64,
}

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<Outcome> {
    let Some(asked) = asked(arguments) else {
        return Ok(Outcome::Misused("\"fuzz\" takes names of targets, and --seconds with how long each of them runs.".to_owned()));
    };
    let folder = cargo::target_folder()?.join("fuzz");
    let Some(program) = build(&folder)? else { return Ok(Outcome::Failed) };
    let known = targets(&program)?;
    if let Some(unknown) = asked.targets.iter().find(|name| !known.contains(name)) {
        return Ok(Outcome::Misused(format!("There is no target \"{unknown}\". There are: {}.", known.join(", "))));
    }
    let seeds = folder.join("seeds");
    if seeds.exists() {
        std::fs::remove_dir_all(&seeds).context("taking away the last seeds")?;
    }
    if !Command::new(&program).arg("seeds").arg(&seeds).status()?.success() {
        bail!("no seeds were written");
    }
    let chosen = if asked.targets.is_empty() { known } else { asked.targets };
    let running = Running { program, folder, seconds: asked.seconds };
    Ok(if running.all(&chosen) { Outcome::Done } else { Outcome::Failed })
}

fn asked(arguments: &[String]) -> Option<Asked> {
    let mut asked = Asked { targets: Vec::new(), seconds: SECONDS };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => asked.seconds = arguments.next()?.parse().ok().filter(|seconds| *seconds > 0)?,
            flag if flag.starts_with('-') => return None,
            target => asked.targets.push(target.to_owned()),
        }
    }
    Some(asked)
}

/// The program, if it can be built. It is built for a named machine, so that what runs while building is not told apart.
fn build(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let version = Command::new("rustc").arg("-vV").output().context("asking rustc for this machine's name")?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let machine = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not name this machine")?;
    let mut build = cargo::cargo();
    build.args(["build", "--quiet", "--locked", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", machine, "--target-dir"]);
    build.arg(folder).env("RUSTFLAGS", FLAGS).env_remove("CARGO_ENCODED_RUSTFLAGS");
    let is_built = matches!(cargo::finish(&mut build)?, Outcome::Done);
    Ok(is_built.then(|| folder.join(machine).join("release/fuzz")))
}

fn targets(program: &Path) -> anyhow::Result<Vec<String>> {
    let listed = Command::new(program).output().context("asking for the targets there are")?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().filter_map(|line| Some(line.split_once('\t')?.0.to_owned())).collect())
}

struct Running {
    program: PathBuf,
    folder: PathBuf,
    seconds: u64,
}

impl Running {
    /// As many at a time as there are processors. Whether all have held.
    fn all(&self, targets: &[String]) -> bool {
        let waiting = Mutex::new(targets.iter());
        let next = || waiting.lock().expect("nobody panics with it").next();
        let work = || {
            let mut all_hold = true;
            while let Some(target) = next() {
                match self.one(target) {
                    Ok((holds, told)) => {
                        println!("{target:<14}{told}");
                        all_hold &= holds;
                    }
                    Err(why) => {
                        println!("{target:<14}{why:#}");
                        all_hold = false;
                    }
                }
            }
            all_hold
        };
        let places = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..places).map(|_| scope.spawn(work)).collect();
            // None is left out: each is waited for.
            running.into_iter().map(|one| one.join().expect("it does not panic")).fold(true, |all, one| all & one)
        })
    }

    /// Whether a target held, and what there is to say of it.
    fn one(&self, target: &str) -> anyhow::Result<(bool, String)> {
        let (corpus, crashers) = (self.folder.join("corpus").join(target), self.folder.join("crashers"));
        std::fs::create_dir_all(&corpus)?;
        std::fs::create_dir_all(&crashers)?;
        let log = self.folder.join(format!("{target}.log"));
        let mut command = Command::new(&self.program);
        command.arg(target).arg(&corpus).arg(self.folder.join("seeds").join(target));
        command.args(Some(cargo::root().join("fuzz/regressions").join(target)).filter(|folder| folder.is_dir()));
        command.arg(format!("-max_total_time={}", self.seconds));
        command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        command.arg(format!("-artifact_prefix={}/{target}-", crashers.display()));
        // Telling where it broke takes longer than a timeout; whoever runs it again may ask.
        command.env("RUST_BACKTRACE", "0");
        let file = std::fs::File::create(&log)?;
        let status = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).status().context("running it")?;
        let said = std::fs::read(&log)?;
        let said = String::from_utf8_lossy(&said);
        Ok((status.success(), if status.success() { summary(&said) } else { failure(&said, &self.program, target) }))
    }
}

/// libFuzzer's own sums.
fn summary(said: &str) -> String {
    let sum = |name: &str| said.lines().rev().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim);
    let last = said.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: ")).unwrap_or_default();
    let after = |word: &str| last.split_whitespace().skip_while(|part| *part != word).nth(1).unwrap_or("?").to_owned();
    format!(
        "{:>10} inputs, {:>6} a second, {:>6} branches, {:>5} MiB",
        sum("stat::number_of_executed_units:"),
        sum("stat::average_exec_per_sec:"),
        after("cov:"),
        sum("stat::peak_rss_mb:")
    )
}

/// What broke, and how to see it again.
fn failure(said: &str, program: &Path, target: &str) -> String {
    let from = said.lines().position(|line| line.contains("panicked at") || line.contains("more memory than") || line.contains("ERROR: "));
    let told: Vec<&str> = said.lines().skip(from.unwrap_or_default()).filter(|line| !line.starts_with('#')).take(40).collect();
    let input = said.lines().rev().find_map(|line| line.split_once("Test unit written to ")).map_or("?", |(_, path)| path);
    format!(
        "FAILED\n{}\nAgain: {} {target} {input}\nSmaller: {} {target} -minimize_crash=1 -runs=100000 {input}\n\
         Once it is mended, the input belongs to fuzz/regressions/{target}/, under a name that says what was wrong.",
        told.join("\n"),
        program.display(),
        program.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &[&str], expected: Option<(&[&str], u64)>) {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let found = asked(&arguments).map(|asked| (asked.targets, asked.seconds));
        assert_eq!(found, expected.map(|(targets, seconds)| (targets.iter().map(|target| (*target).to_owned()).collect(), seconds)));
    }

    #[test]
    fn targets_and_a_time_are_taken() {
        check(&[], Some((&[], SECONDS)));
        check(&["csv", "--seconds", "5", "mail"], Some((&["csv", "mail"], 5)));
        check(&["--seconds"], None);
        check(&["--seconds", "0"], None);
        check(&["--second", "5"], None);
    }

    #[test]
    fn sums_are_told_of_a_run_and_what_broke_of_another() {
        let said = "#2\tINITED cov: 12 ft: 13\n#9\tDONE   cov: 120 ft: 200 corp: 9/9b\nstat::number_of_executed_units: 9\nstat::average_exec_per_sec:     3\nstat::peak_rss_mb:  50\n";
        assert_eq!(summary(said), "         9 inputs,      3 a second,    120 branches,    50 MiB");
        let said = "#2\tINITED cov: 12\nthread 'main' panicked at crates/a.rs:1:2:\nindex\n==1== ERROR: libFuzzer: deadly signal\nartifact_prefix='/t/'; Test unit written to /t/crash-1\n";
        let told = failure(said, Path::new("/f"), "csv");
        assert!(told.contains("panicked at crates/a.rs") && told.contains("Again: /f csv /t/crash-1\n"), "{told}");
    }
}
