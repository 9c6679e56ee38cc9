//! The feeds that are known: as a table that SQL and lists can read, and brought up to date by a provider's own document.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use event::time::Micros;
use feed::table::KindRule;
use feed::{Catalog, Feed, catalog, vendor_schema};

use crate::actor::{Action, Actor};
use crate::desk::Desk;
use crate::tables::write_whole;

/// What a provider's document of its reports came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatedFeeds {
    /// How many report types the document has.
    pub all: usize,
    /// Those that no table had.
    pub new: Vec<String>,
    /// Those that have columns which their tables do not know, and these columns.
    pub extended: Vec<(String, Vec<String>)>,
    /// Those of which no sound table can be made, and why.
    pub refused: Vec<(String, String)>,
    pub path: PathBuf,
}

impl Desk {
    /// Writes tables of what a provider's document knows and the other tables do not. A desk that is opened from now on
    /// has them.
    pub fn update_feeds(&self, actor: &Actor, provider: &str, document: &[u8], now: Micros) -> Result<UpdatedFeeds> {
        actor.require(Action::ChangeTables)?;
        let folder = self.tables_folder()?;
        let update = vendor_schema::read(document, provider, &self.feed_files).map_err(|wrong| anyhow!(wrong))?;
        let vendor_schema::Update { all, new, extended, refused, text } = update;
        let subject = format!("feeds of {provider}: {} new, {} with new columns", new.len(), extended.len());
        self.audit.write(actor, Action::ChangeTables, &subject, now)?;
        let path = folder.join("feeds").join(provider).join(format!("{}.toml", catalog::UPDATED));
        write_whole(&path, text.as_bytes())?;
        Ok(UpdatedFeeds { all, new, extended, refused, path })
    }
}

/// One row a feed, in the order of ids.
pub fn feeds_batch(catalog: &Catalog) -> RecordBatch {
    let feeds: Vec<&Feed> = catalog.feeds().collect();
    let text =
        |value: &dyn Fn(&Feed) -> Option<String>| -> ArrayRef { Arc::new(feeds.iter().map(|feed| value(feed)).collect::<StringArray>()) };
    let columns: [(&str, ArrayRef); 14] = [
        ("id", text(&|feed| Some(feed.id.clone()))),
        ("provider", text(&|feed| Some(feed.provider.clone()))),
        ("name", text(&|feed| Some(format!("{} {}", feed.provider_name, feed.name)))),
        ("kind", text(&|feed| Some(kind(feed)))),
        ("delivers", text(&|feed| Some(feed.delivers.name().to_owned()))),
        ("means", text(&|feed| feed.means.map(|means| means.name.to_owned()))),
        ("asset", text(&|feed| Some(feed.asset.iter().map(|field| field.name()).collect::<Vec<_>>().join(" ")))),
        ("severity", text(&|feed| feed.severity.map(|severity| severity.name().to_owned()))),
        ("tlp", text(&|feed| Some(feed.tlp.name().to_owned()))),
        ("may", text(&|feed| Some(feed.may.iter().map(|may| may.name()).collect::<Vec<_>>().join(" ")))),
        ("every", text(&|feed| feed.every.clone())),
        ("home", text(&|feed| feed.home.clone())),
        ("retired", text(&|feed| feed.retired.clone())),
        ("table_version", text(&|feed| Some(feed.version.clone()))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .expect("all columns have a row for each feed")
}

fn kind(feed: &Feed) -> String {
    match &feed.kind {
        KindRule::Always(kind) => kind.name().to_owned(),
        KindRule::By { kinds, otherwise, .. } => {
            let mut names: Vec<&str> = kinds.iter().map(|(_, kind)| *kind).chain(*otherwise).map(event::Kind::name).collect();
            names.sort_unstable();
            names.dedup();
            names.join(" ")
        }
    }
}
