//! The language of tables, and tables that the program writes itself.

use feed::catalog::{Catalog, File};
use feed::{draft, vendor_schema};

use crate::report;

/// A table, and a report of its feed after a line of dashes.
pub(crate) fn fuzz(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (table, report) = text.split_once("\n----\n").unwrap_or((text, "192.0.2.1\n"));
    // A regular expression may be as costly as its engine allows, and whoever writes tables is not a stranger.
    if table.len() > 4096 {
        return;
    }
    let catalog = Catalog::read(&[File { path: "example/odd.toml".into(), text: table.to_owned() }]);
    assert!(catalog.broken.iter().all(|(path, wrong)| !path.is_empty() && !wrong.is_empty()));
    for feed in catalog.feeds() {
        report::check(feed, report.as_bytes());
    }
    // Written anew it is the same table.
    if let Ok(parsed) = table.parse::<toml::Table>() {
        let text = toml::to_string(&parsed).expect("it was TOML");
        let again = Catalog::read(&[File { path: "example/odd.toml".into(), text }]);
        let versions =
            |catalog: &Catalog| -> Vec<(String, String)> { catalog.feeds().map(|feed| (feed.id.clone(), feed.version.clone())).collect() };
        assert_eq!(versions(&again), versions(&catalog));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let tables = report::files().iter().filter(|file| !file.path.ends_with("provider.toml") && file.text.len() < 4096);
    let seed = |file: &File| {
        let sample = std::fs::read_to_string(format!("{}/../feeds/{}", env!("CARGO_MANIFEST_DIR"), file.path.replace(".toml", ".sample")));
        format!("{}\n----\n{}", file.text, sample.unwrap_or_default()).into_bytes()
    };
    tables.map(seed).collect()
}

/// What is drafted is a table, and reads what it was drafted for.
pub(crate) fn fuzz_draft(input: &[u8]) {
    let begins = input.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default();
    let Ok(drafted) = draft::draft(begins) else { return };
    let catalog = Catalog::read(&[File { path: "new/feed.toml".into(), text: drafted.table.clone() }]);
    // Where no column can be an asset, the draft says so, and asks.
    if drafted.table.contains("no column looks like") {
        return;
    }
    assert!(catalog.broken.is_empty(), "{:?}\n{}", catalog.broken, drafted.table);
    report::check(catalog.feed("new/feed").expect("just made"), begins);
}

/// A document of its reports, of the provider that the first line names.
pub(crate) fn fuzz_schema(input: &[u8]) {
    let Some(place) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (provider, document) = input.split_at(place);
    let provider =
        std::str::from_utf8(provider).ok().filter(|name| report::files().iter().any(|file| file.path.starts_with(&format!("{name}/"))));
    let provider = provider.unwrap_or("shadowserver");
    let Ok(update) = vendor_schema::read(&document[1..], provider, report::files()) else { return };
    let files = [File { path: format!("{provider}/{}.toml", feed::catalog::UPDATED), text: update.text }];
    let catalog = Catalog::read(&files);
    assert_eq!(catalog.broken.iter().filter(|(path, _)| path.contains("updated")).count(), 0, "{:?}\n{}", catalog.broken, files[0].text);
}

pub(crate) fn schema_seeds() -> Vec<Vec<u8>> {
    let columns: &[(&str, &str)] = &[
        ("event_odd", r#"[["time.source","timestamp","add_UTC_to_timestamp"],["source.ip","ip","validate_ip"]]"#),
        ("scan_odd", r#"[["time.source","timestamp","add_UTC_to_timestamp"],["source.fqdn","hostname","validate_fqdn"]]"#),
    ];
    let report = |(name, required): &(&str, &str)| {
        format!(
            "shadowserver\n{{\"_meta\":{{}},\"{name}\":{{\"constant_fields\":{{\"classification.identifier\":\"x\",\"classification.type\":\"scanner\"}},\
             \"feed_name\":\"Odd\",\"file_name\":\"{name}\",\"optional_fields\":[[\"source.asn\",\"asn\",\"invalidate_zero\"],[\"extra.\",\"tag\"]],\
             \"required_fields\":{required}}}}}"
        )
        .into_bytes()
    };
    columns.iter().map(report).collect()
}
