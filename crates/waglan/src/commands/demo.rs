//! `waglan demo`: a made-up country's quarter, read and shown.

use anyhow::Result;
use clap::Args;

use crate::{Ended, Place};

#[derive(Debug, Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) async fn run(&self, _place: &Place) -> Result<Ended> {
        Ok(Ended::Done)
    }
}
