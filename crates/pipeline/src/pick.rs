//! Whose report a file is: as the caller knows, or as its name and its first bytes tell.

use std::io;

use anyhow::{Error, Result, anyhow};
use event::time::{self, Micros};
use feed::catalog::{self, Beginning, Unpicked};
use feed::{Catalog, Feed};

/// How the feed of a report is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// The feed's id.
    Feed(String),
    /// The provider: which of its feeds it is, the report's name and beginning tell.
    Provider(String),
}

impl std::fmt::Display for Of {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Of::Feed(name) | Of::Provider(name) => name,
        })
    }
}

/// A report before it is read: its name, how it begins, and when it came, as far as that is known.
#[derive(Debug)]
pub struct Unread<'r, F> {
    pub name: &'r str,
    pub begins: F,
    pub at: Option<Micros>,
}

/// Whose a report is and when it came: by its name, or where that says nothing by how it begins, or now. The feed is in the
/// version that holds for that time.
pub fn pick<'c, F>(catalog: &'c Catalog, of: &Of, report: Unread<'_, F>, now: Micros) -> Result<(&'c Feed, Micros)>
where
    F: FnOnce() -> io::Result<Vec<u8>>,
{
    let Unread { name, begins, at } = report;
    let beginning = |feed: &Feed| begins().map(|bytes| Beginning::of(feed, bytes.as_slice())).unwrap_or_default();
    let feed = match of {
        Of::Feed(id) => find(catalog, id)?,
        Of::Provider(provider) => catalog.pick(provider, name, beginning).map_err(|why| match why {
            Unpicked::NoSuchProvider => no_such_provider(provider),
            Unpicked::Unknown => anyhow!("no feed of {provider} has files like \"{name}\", by name or header; say which with --feed"),
            Unpicked::Several(ids) => anyhow!("the header of \"{name}\" is that of {}; say which with --feed", ids.join(", ")),
        })?,
    };
    let at = at.or_else(|| stated_time(feed, name)).unwrap_or(now);
    Ok((catalog.feed_at(&feed.id, at).unwrap_or(feed), at))
}

/// That there is such a feed or provider.
pub fn require(catalog: &Catalog, of: &Of) -> Result<()> {
    match of {
        Of::Feed(id) => find(catalog, id).map(|_| ()),
        Of::Provider(provider) if catalog.feeds().any(|feed| feed.provider == *provider) => Ok(()),
        Of::Provider(provider) => Err(no_such_provider(provider)),
    }
}

fn no_such_provider(provider: &str) -> Error {
    anyhow!("there is no provider \"{provider}\"; `waglan feed list` shows all")
}

/// A feed by its id, in its newest version.
pub fn find<'c>(catalog: &'c Catalog, id: &str) -> Result<&'c Feed> {
    catalog.feed(id).ok_or_else(|| match catalog.similar(id).as_slice() {
        [] => anyhow!("there is no feed \"{id}\"; `waglan feed list` shows all"),
        similar => anyhow!("there is no feed \"{id}\"; is it {}?", similar.join(", ")),
    })
}

/// When a report came, if its name says so.
fn stated_time(feed: &Feed, name: &str) -> Option<Micros> {
    let day = catalog::day_of(feed, name)?;
    // The report of a day comes at its end.
    time::parse(&day).ok().map(|midnight| midnight + time::DAY - time::SECOND)
}
