//! The project's chores: what is too long for one command line, and must be done alike by everybody.
//!
//! A new one is a file beside this and a line in [`CHORES`], from which the help is printed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it speaks to the person who runs it")]

mod bench;
mod bless;
mod cargo;
mod fuzz;
mod test;
mod tidy;

use std::process::ExitCode;

/// What came of a chore, as an exit code tells it.
enum Outcome {
    /// 0
    Done,
    /// 1: a check failed, and has said so.
    Failed,
    /// 2: the command was used wrongly, and this is how.
    Misused(String),
}

struct Chore {
    name: &'static str,
    /// What may stand after the name.
    takes: &'static str,
    about: &'static str,
    run: fn(&[String]) -> anyhow::Result<Outcome>,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "test",
        takes: "[ARGUMENT...]",
        about: "prepare this machine and run every test; arguments go to `cargo test`",
        run: test::run,
    },
    Chore {
        name: "tidy",
        takes: "[CHECK...]",
        about: "check what a program can check: edges, owners, names, links, feeds",
        run: tidy::run,
    },
    Chore {
        name: "fuzz",
        takes: "[TARGET...] [--seconds N]",
        about: "let libFuzzer make up reports, tables, mails and values, 20 seconds for each target",
        run: fuzz::run,
    },
    Chore { name: "bless", takes: "", about: "write anew what tests expect; then read the diff", run: bless::run },
    Chore { name: "bench", takes: "[BENCH [ARGUMENT...]]", about: "measure; without a name, say what can be measured", run: bench::run },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        print!("{}", help());
        return ExitCode::SUCCESS;
    };
    match run(name, rest) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(Outcome::Misused(how)) => {
            eprintln!("{how}\n\n{}", help());
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("cargo xtask {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, arguments: &[String]) -> anyhow::Result<Outcome> {
    if matches!(name, "help" | "--help" | "-h") {
        print!("{}", help());
        return Ok(Outcome::Done);
    }
    match CHORES.iter().find(|chore| chore.name == name) {
        Some(chore) => (chore.run)(arguments),
        None => Ok(Outcome::Misused(format!("There is no \"{name}\"."))),
    }
}

fn help() -> String {
    let usages: Vec<String> =
        CHORES.iter().map(|chore| format!("cargo xtask {} {}", chore.name, chore.takes).trim_end().to_owned()).collect();
    let width = usages.iter().map(String::len).max().unwrap_or_default();
    CHORES.iter().zip(&usages).map(|(chore, usage)| format!("{usage:width$}  {}\n", chore.about)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_has_a_line_for_each_chore() {
        assert_eq!(help().lines().count(), CHORES.len());
        assert!(help().lines().all(|line| line.starts_with("cargo xtask ")), "{}", help());
    }

    #[test]
    fn an_unknown_chore_is_misuse() {
        assert!(matches!(run("tidyy", &[]), Ok(Outcome::Misused(how)) if how.contains("tidyy")));
    }
}
