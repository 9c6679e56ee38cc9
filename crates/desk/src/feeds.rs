//! The feeds that are known, as a table that SQL and lists can read.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use feed::table::KindRule;
use feed::{Catalog, Feed};

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
