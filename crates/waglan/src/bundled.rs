//! Files that are part of the program: feeds' tables and samples, tables for enrichment.

use feed::catalog::File;

include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// The tables of all feeds that the program knows by itself.
pub(crate) fn feeds() -> Vec<File> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    FEEDS
        .iter()
        .filter(|(path, _)| path.ends_with(".toml"))
        .map(|(path, bytes)| File { path: (*path).to_owned(), text: text(bytes) })
        .collect()
}

/// A feed's sample, or its family's.
pub(crate) fn sample(provider: &str, feed: &str) -> Option<&'static [u8]> {
    let find = |path: String| SAMPLES.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes);
    find(format!("{provider}/{feed}.sample"))
}

/// Every sample of a provider.
pub(crate) fn samples_of(provider: &str) -> impl Iterator<Item = &'static [u8]> {
    SAMPLES.iter().filter(move |(name, _)| name.split_once('/').is_some_and(|(folder, _)| folder == provider)).map(|(_, bytes)| *bytes)
}

/// Tables for enrichment.
pub(crate) fn tables() -> desk::Bundled {
    desk::Bundled { malware_aliases: table("malware-aliases.toml"), impossible_addresses: table("impossible-addresses.json") }
}

/// What there is here for each of IntelMQ's bots.
pub(crate) fn intelmq() -> String {
    table("intelmq.toml")
}

fn table(file: &str) -> String {
    let find = TABLES.iter().find(|(name, _)| *name == file);
    String::from_utf8_lossy(find.expect("it is part of the project").1).into_owned()
}
