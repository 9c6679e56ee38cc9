//! Cargo, called from within a command that cargo runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::Context as _;

use crate::Outcome;

/// The folder of the checkout that cargo runs this in. Not of the one it was built in: two checkouts may share what they build.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let xtask = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("run by cargo");
        xtask.parent().expect("xtask/ lies in the checkout").to_owned()
    });
    &ROOT
}

/// Cargo, to be run in the checkout.
///
/// The outer `cargo run` describes xtask in the environment. Build scripts that watch those variables would take it for a
/// change, and heavy crates be built again at every turn between `cargo test` and `cargo xtask test`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_about_a_package) {
            command.env_remove(name);
        }
    }
    command
}

fn is_about_a_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|start| variable.starts_with(start))
}

/// Runs to the end, speaking for itself.
pub(crate) fn finish(command: &mut Command) -> anyhow::Result<Outcome> {
    let status = command.status().with_context(|| format!("running {}", command.get_program().display()))?;
    Ok(if status.success() { Outcome::Done } else { Outcome::Failed })
}

/// The folder that cargo builds in, wherever it was told to.
pub(crate) fn target_folder() -> anyhow::Result<PathBuf> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output().context("running cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("reading the output of cargo metadata")?;
    let folder = metadata.get("target_directory").and_then(serde_json::Value::as_str);
    Ok(PathBuf::from(folder.context("cargo metadata names no target directory")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_describes_a_package_is_left_out() {
        let is = |variable| is_about_a_package(variable);
        assert!(is("CARGO_PKG_NAME") && is("CARGO_MANIFEST_DIR"));
        assert!(!is("CARGO_TARGET_DIR") && !is("CARGO_HOME") && !is("PATH"));
    }
}
