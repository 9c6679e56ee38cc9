//! `waglan import`: moving in from another system.

mod intelmq;

use anyhow::Result;
use clap::Subcommand;

use crate::{Ended, Place};

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// IntelMQ's configuration: the same feeds and sources here
    Intelmq(intelmq::Intelmq),
}

impl Import {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        match self {
            Import::Intelmq(intelmq) => intelmq.run(place),
        }
    }
}
