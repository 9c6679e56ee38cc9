//! What the tests need of the system beyond Rust, and how to get it on Debian.
//!
//! A C compiler is not in the list: without one this program would not have been built.

use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// A thing that tests start, and the packages that bring it.
struct Need {
    what: &'static str,
    packages: &'static [&'static str],
    is_there: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need { what: "Python 3 that can make virtual environments", packages: &["python3", "python3-venv"], is_there: || python().is_some() },
    Need { what: "a server of Redis", packages: &["redis-server"], is_there: || works("redis-server", &["--version"]) },
    Need {
        what: "a mail server, Dovecot 2.3",
        packages: &["dovecot-imapd", "dovecot-pop3d"],
        is_there: || dovecot().is_some() && has_protocols(),
    },
    Need { what: "a server of PostgreSQL", packages: &["postgresql"], is_there: || postgres().is_some() },
    Need { what: "openssl, which makes certificates", packages: &["openssl"], is_there: || works("openssl", &["version"]) },
];

/// A mail server: on Debian it is not in everybody's path.
pub(super) fn dovecot() -> Option<&'static str> {
    ["dovecot", "/usr/sbin/dovecot"].into_iter().find(|dovecot| works(dovecot, &["--version"]))
}

/// The folder of PostgreSQL's programs: on Debian one for each version, and in nobody's path.
pub(super) fn postgres() -> Option<std::path::PathBuf> {
    let has_server = |folder: &std::path::PathBuf| folder.join("initdb").is_file() && folder.join("psql").is_file();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut folders: Vec<_> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).filter(has_server).collect();
    folders.sort();
    folders.pop().or_else(|| Some(std::path::PathBuf::from("/usr/bin")).filter(has_server))
}

/// The protocols come in packages of their own, and are asked for by what these bring.
fn has_protocols() -> bool {
    ["/usr/lib/dovecot", "/usr/libexec/dovecot"]
        .iter()
        .map(std::path::Path::new)
        .any(|folder| folder.join("imap").exists() && folder.join("pop3").exists())
}

/// A Python that can make virtual environments: the first in the path may be one that cannot.
pub(super) fn python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"].into_iter().find(|python| works(python, &["-c", "import ensurepip, venv"]))
}

/// Installs what is missing, or says exactly what a person has to install.
pub(super) fn prepare() -> anyhow::Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    install(&packages)?;
    match self::missing().as_slice() {
        [] => Ok(()),
        [need, ..] => bail!("{} is still missing after its packages were installed: {}", need.what, need.packages.join(" ")),
    }
}

/// Whether a test may mount a small disk, to fill it.
pub(super) fn can_mount() -> bool {
    works("unshare", &["--map-root-user", "--mount", "true"])
}

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| !(need.is_there)()).collect()
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    let by_hand = format!("the tests need packages of the system; install them and run this again: apt-get install {}", packages.join(" "));
    if !works("apt-get", &["--version"]) {
        bail!("{by_hand} (or what your system calls them)");
    }
    let before: &[&str] = if is_root() {
        &[]
    } else if works("sudo", &["-n", "true"]) {
        &["sudo", "-n"]
    } else {
        bail!("{by_hand}");
    };
    eprintln!("Installing for the tests: {}", packages.join(" "));
    // A bare machine has no lists yet. Old lists may do where new ones cannot be had, so this may fail.
    if apt(before, &["update", "--quiet"]).is_err() {
        eprintln!("The lists of packages could not be renewed; trying with those that are there.");
    }
    apt(before, &[&["install", "--quiet", "--yes", "--no-install-recommends"], packages].concat()).context(by_hand)
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn apt(before: &[&str], arguments: &[&str]) -> anyhow::Result<()> {
    let words = [before, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat();
    let (program, rest) = words.split_first().expect("there is apt-get at least");
    let status = Command::new(program).args(rest).stdin(Stdio::null()).status().context("running apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed", arguments.join(" "));
    }
    Ok(())
}

/// Whether the program is there and ends well.
fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
