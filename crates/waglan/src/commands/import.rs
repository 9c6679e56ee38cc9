//! `waglan import`: moving in from another system.

mod eventdb;
mod intelmq;

use anyhow::Result;
use clap::Subcommand;

use crate::{Ended, Place};

pub(crate) use self::eventdb::Database;

#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    /// IntelMQ's configuration: the same feeds and sources here
    Intelmq(intelmq::Intelmq),
    Eventdb(Box<eventdb::Eventdb>),
}

impl Import {
    pub(crate) async fn run(&self, place: &Place) -> Result<Ended> {
        match self {
            Import::Intelmq(intelmq) => intelmq.run(place),
            Import::Eventdb(eventdb) => eventdb.run(place).await,
        }
    }
}
