//! What nobody may read in a log, a list of processes or a message: keys and passwords. The configuration names where one is; it is
//! read where it is used, so that a new one holds from the next use on, and is never shown.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "text, { environment = \"NAME\" } or { file = \"PATH\" }")]
pub enum Secret {
    /// As the configuration has it.
    Text(String),
    /// In a variable of the environment.
    Environment { environment: String },
    /// In a file, without the white space at its end.
    File { file: PathBuf },
}

impl Secret {
    pub fn reveal(&self) -> Result<String> {
        match self {
            Secret::Text(text) => Ok(text.clone()),
            #[expect(clippy::disallowed_methods, reason = "a secret is read where it is used, and is nowhere else")]
            Secret::Environment { environment } => {
                std::env::var(environment).map_err(|_| anyhow!("the environment has no {environment}, which holds a secret"))
            }
            Secret::File { file } => {
                let text = std::fs::read_to_string(file).with_context(|| format!("reading the secret in {}", file.display()))?;
                Ok(text.trim_end().to_owned())
            }
        }
    }

    /// What may be shown of it: where it is.
    pub fn place(&self) -> String {
        match self {
            Secret::Text(_) => "***".to_owned(),
            Secret::Environment { environment } => format!("environment {environment}"),
            Secret::File { file } => format!("file {}", file.display()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.place())
    }
}
