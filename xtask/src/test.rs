//! `cargo xtask test`: from a bare machine with a Rust toolchain to every test run. What is there already is not touched, so
//! that the second time costs nothing.
//!
//! Tests ask for what was prepared by `std::env::var_os`: `WAGLAN_TEST_PYTHON` is a Python with other engines that read our
//! tables as they lie, `WAGLAN_TEST_DOVECOT` a mail server, `WAGLAN_TEST_POSTGRES` the folder of PostgreSQL's programs.

mod python;
mod system;

use crate::{Outcome, cargo};

pub(crate) fn run(arguments: &[String]) -> anyhow::Result<Outcome> {
    let target = cargo::target_folder()?;
    system::prepare()?;
    let python = python::prepare(&target)?;
    let mut tests = cargo::cargo();
    tests.args(["test", "--no-fail-fast"]).args(scope(arguments)).args(arguments).env("WAGLAN_TEST_PYTHON", python);
    tests.envs(system::dovecot().map(|dovecot| ("WAGLAN_TEST_DOVECOT", dovecot)));
    tests.envs(system::postgres().map(|folder| ("WAGLAN_TEST_POSTGRES", folder)));
    let outcome = cargo::finish(&mut tests)?;
    if !system::can_mount() {
        eprintln!("Not tried: a disk that is full or read-only, since this system lets nobody mount a small one.");
    }
    Ok(outcome)
}

/// A Python with other engines in it.
pub(crate) fn python() -> anyhow::Result<std::path::PathBuf> {
    system::prepare()?;
    python::prepare(&cargo::target_folder()?)
}

/// Everything, unless the arguments name packages: cargo would let "everything" win.
fn scope(arguments: &[String]) -> Option<&'static str> {
    let names_packages = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    let for_cargo = arguments.iter().take_while(|argument| *argument != "--");
    (!for_cargo.into_iter().any(names_packages)).then_some("--workspace")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &str, expected: Option<&str>) {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        assert_eq!(scope(&arguments), expected);
    }

    #[test]
    fn named_packages_are_all_that_is_tested() {
        check("", Some("--workspace"));
        check("--release some_test", Some("--workspace"));
        check("-p feed", None);
        check("--package=feed", None);
        check("-- -p", Some("--workspace"));
    }
}
