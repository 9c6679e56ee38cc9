//! Names of feeds: `PROVIDER/FEED`.

/// Whether a name means the feed: its own, or its provider's with `/*`.
pub fn means_feed(name: &str, feed: &str) -> bool {
    match name.strip_suffix("/*") {
        Some(provider) => feed.strip_prefix(provider).is_some_and(|rest| rest.starts_with('/')),
        None => name == feed,
    }
}
