// by hand only
use feed::{Arrival, Catalog, Reader, Splitter, catalog::File};
fn main() {
    let read = |name: &str| std::fs::read_to_string(format!("/work/main/feeds/shadowserver/{name}")).unwrap();
    let provider = File { path: "shadowserver/provider.toml".into(), text: read("provider.toml") };
    let reports = File { path: "shadowserver/reports.toml".into(), text: read("reports.toml") };
    let doc = std::fs::read("/work/shared/data/shadowserver/intelmq.json").unwrap();
    let update = feed::vendor_schema::read(&doc, "shadowserver", std::slice::from_ref(&provider)).unwrap();
    let updated = File { path: "shadowserver/updated.toml".into(), text: update.text };
    let ours = Catalog::read(&[provider.clone(), reports]);
    let theirs = Catalog::read(&[provider, updated]);
    eprintln!("broken {:?} {:?}; {} {}", ours.broken, theirs.broken, ours.feeds().count(), theirs.feeds().count());
    let sample = read("reports.sample");
    for (which, catalog) in [("ours", &ours), ("theirs", &theirs)] {
        let mut out = String::new();
        for part in sample.split("==> ").skip(1) {
            let (name, report) = part.split_once(" <==\n").unwrap();
            let Ok(feed) = catalog.pick("shadowserver", name, |_| None) else {
                out += &format!("{}\n", serde_json::json!({"file": name, "none": true}));
                continue;
            };
            let mut splitter = Splitter::new(feed, report.as_bytes());
            let mut reader = Reader::new(feed, Arrival { at: event::time::parse("2026-03-03 06:00:00").unwrap() });
            while let Some(rows) = splitter.next_rows().unwrap() {
                let piece = reader.read(rows);
                for row in 0..piece.events.num_rows() {
                    let one = piece.events.slice(row, 1);
                    let mut text = String::new();
                    feed::intelmq::write(Some(feed), &one, &mut text);
                    let line = one.column_by_name("line").unwrap();
                    let line = line.as_any().downcast_ref::<arrow::array::Int64Array>().unwrap().value(0);
                    out += &format!("{{\"file\":{name:?},\"id\":{:?},\"line\":{line},\"event\":{}}}\n", feed.id, text.trim());
                }
                for r in &piece.rejects {
                    out += &format!("{}\n", serde_json::json!({"file": name, "id": feed.id, "line": r.line, "reject": r.reason}));
                }
            }
            let drift = splitter.header().map(|h| feed::Drift::of(feed, &h)).unwrap_or_default();
            if !drift.is_none() {
                out += &format!("{}\n", serde_json::json!({"file": name, "line": 0, "drift": drift.to_string()}));
            }
        }
        std::fs::write(format!("/tmp/vendor_{which}.jsonl"), out).unwrap();
    }
}
