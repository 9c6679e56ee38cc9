//! A Python with other engines that read our tables (Delta Lake's own binding, DuckDB, ClickHouse, Arrow), with a server that speaks S3,
//! with OASIS's own server of TAXII, and with one of mail. It lies in the folder that cargo builds in, and goes with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::system;

/// Every package with its version, those that others ask for too, so that a test means the same next year.
const PACKAGES: &[&str] = &[
    "chdb-core==26.9.0",
    "deltalake==1.6.6",
    "duckdb==2.0.0",
    "pyarrow==26.0.1",
    "pymispwarninglists==1.7.0",
    // For deltalake:
    "arro3-core==0.9.1",
    "deprecated==1.3.1",
    "typing-extensions==4.16.0",
    "wrapt==2.5.2",
    "medallion==3.0.0",
    // A mail server, and for it:
    "aiosmtpd==1.4.6",
    "atpublic==9.0.0",
    "attrs==26.1.0",
    // For medallion, with flask and six below:
    "flask-httpauth==4.8.1",
    "pytz==2026.6",
    "moto==5.2.5",
    // For moto's S3:
    "blinker==1.9.0",
    "boto3==1.44.5",
    "botocore==1.44.5",
    "certifi==2026.10.18",
    "cffi==2.1.1",
    "charset-normalizer==3.5.2",
    "click==8.5.1",
    "cryptography==50.0.2",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "idna==3.20",
    "itsdangerous==2.2.0",
    "jinja2==3.1.6",
    "jmespath==1.1.0",
    "markupsafe==3.0.4",
    "py-partiql-parser==0.6.3",
    "pycparser==3.12",
    "python-dateutil==2.9.0.post0",
    "pyyaml==6.0.3",
    "requests==2.34.2",
    "responses==0.26.3",
    "s3transfer==0.19.3",
    "six==1.17.0",
    "urllib3==2.8.0",
    "werkzeug==3.1.9",
    "xmltodict==1.0.4",
];

/// The program, with the packages; made if it is not there, or is of other versions.
pub(super) fn prepare(target: &Path) -> anyhow::Result<PathBuf> {
    let folder = target.join("test-python");
    let (python, stamp) = (folder.join("bin/python"), folder.join("packages"));
    let packages = PACKAGES.join("\n");
    let is_made = std::fs::read_to_string(&stamp).is_ok_and(|made| made == packages);
    if is_made && python.exists() {
        return Ok(python);
    }
    eprintln!("Preparing Python for the tests, once: {}", PACKAGES.join(" "));
    make(&folder, &python).with_context(|| format!("preparing Python in {}", folder.display()))?;
    // Last, so that what was interrupted is made anew.
    std::fs::write(&stamp, packages)?;
    Ok(python)
}

fn make(folder: &Path, python: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let system = system::python().context("there is no Python that can make virtual environments")?;
    finish(Command::new(system).args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
    finish(pip.args(["--only-binary", ":all:", "--no-deps"]).args(PACKAGES))
}

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok(())
}
