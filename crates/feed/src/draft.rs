//! Drafts a table for a delivery that nobody has a table for: which shape it has, and what each column looks like. What a delivery
//! means, a program cannot see: the draft says in place what to decide.

mod columns;
mod form;

use std::fmt::Write as _;

use self::columns::{Column, Role};
use self::form::Form;

/// A table as it could be, in TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub table: String,
}

/// Of how a delivery begins, unpacked; a megabyte tells enough. Fails where nothing in it looks like rows.
pub fn draft(begins: &[u8]) -> Result<Draft, String> {
    let text = crate::shape::text_of(begins.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begins));
    if text.trim().is_empty() {
        return Err("there is nothing in it".into());
    }
    let form = form::of(&text);
    let columns = columns::of(&form, begins);
    if columns.is_empty() && !matches!(form, Form::Misp | Form::Stix | Form::Intelmq) {
        return Err("nothing in it looks like rows".into());
    }
    Ok(Draft { table: written(&form, &columns) })
}

/// The fields that can be an asset, the best first.
const ASSETS: [&str; 8] = [
    "source.url",
    "source.fqdn",
    "source.ip",
    "source.network",
    "source.account",
    "malware.hash.sha256",
    "malware.hash.sha1",
    "malware.hash.md5",
];

fn written(form: &Form, columns: &[Column]) -> String {
    let has = |field: &str| columns.iter().any(|column| column.targets().any(|target| target == field)) || form.always_has(field);
    let all_assets: Vec<String> = ASSETS.iter().filter(|field| has(field)).map(|field| format!("\"{field}\"")).collect();
    // An address beside a name is the better asset: the name may be what somebody typed.
    let assets = match all_assets.as_slice() {
        [] => "[]    # no column looks like an address, a name, a URL, an account or a file's hash".to_owned(),
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    let is_site = has("source.url");
    let has_times = columns.iter().any(|column| column.role == Some(Role::Time));
    let mut table = String::new();
    let mut line = |text: &str| writeln!(table, "{text}").expect("a string");
    line(&format!("format   = \"{}\"", form.name()));
    line(&format!(
        "means    = \"{}\"    # decide: what happened, a type of docs/fields.md",
        if is_site { "undetermined" } else { "blacklist" }
    ));
    line(&format!(
        "kind     = \"{}\"    # decide: bot, c2, site, exposed, victim, resolver, account, inventory, listing",
        if is_site { "site" } else { "listing" }
    ));
    line(&format!(
        "delivers = \"{}\"    # decide: observations, list (all that is bad now), additions, delta, context",
        if has_times { "observations" } else { "list" }
    ));
    line(&format!("asset    = {assets}"));
    line(
        "tlp      = \"amber\"    # who may see it; and may = [\"notify-owner\", \"count\", \"name-source\", \"rows\"], what its terms allow",
    );
    if let Some(names) = columns::header(form, columns) {
        line(&format!("columns  = {names}"));
    }
    let section = match (form, columns) {
        (Form::Lines { .. }, [column]) => {
            let rest = form.section().replace("[lines]\n", "");
            format!("[lines]\npattern = '^(?P<{}>.+)$'\n{rest}", column.name)
        }
        _ => form.section(),
    };
    if !section.is_empty() {
        line(&format!("\n{}", section.trim_end()));
    }
    let rules: Vec<String> = columns.iter().filter_map(Column::rule).collect();
    if *form == Form::Prose {
        line(OF_PROSE.trim_end());
    } else if !rules.is_empty() {
        line("\n[rows]");
        rules.iter().for_each(|rule| line(rule));
    }
    table
}

/// What the indicators of a text are.
const OF_PROSE: &str = r#"
[rows]
context = "event_description.text"

[rows.value]
by      = "type"
ip      = "source.ip"
"ip:port" = ["source.ip | before :", "source.port | after :"]
network = "source.network"
domain  = "source.fqdn"
url     = "source.url"
email   = "source.account"
sha256  = "malware.hash.sha256"
sha1    = "malware.hash.sha1"
md5     = "malware.hash.md5"
otherwise = "extra"
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, File};
    use crate::reading::{Arrival, Reader};
    use crate::shape::Splitter;

    /// The draft, and what it makes of the delivery: so many events and rejects.
    #[track_caller]
    fn check(report: &str, expected: &str, events: usize, rejects: usize) {
        let Draft { table } = draft(report.as_bytes()).expect(report);
        let told: String =
            table.lines().filter(|line| !line.contains("# decide") && !line.contains("tlp ")).map(|line| format!("{line}\n")).collect();
        assert_eq!(told, expected, "{table}");
        let catalog = Catalog::read(&[File { path: "new/feed.toml".into(), text: table.clone() }]);
        assert!(catalog.broken.is_empty(), "{:?}\n{table}", catalog.broken);
        let feed = catalog.feed("new/feed").expect("just made");
        let (mut splitter, mut reader) = (Splitter::new(feed, report.as_bytes()), Reader::new(feed, Arrival { at: 1_772_500_000_000_000 }));
        let mut found = (0, 0);
        while let Some(rows) = splitter.next_rows().expect("in memory") {
            let piece = reader.read(rows);
            found = (found.0 + piece.events.num_rows(), found.1 + piece.rejects.len());
        }
        assert_eq!(found, (events, rejects), "{table}");
    }

    #[test]
    fn an_ordinary_csv_needs_no_more_than_to_be_decided() {
        check(
            "timestamp,src_ip,src_port,dst_ip,dst_port,asn,country,malware,note\n\
             2026-03-01 10:00:00,192.0.2.1,4711,198.51.100.1,80,64496,HK,Conficker,\"a, b\"\n\
             2026-03-01 10:00:05,192.0.2.2,4712,198.51.100.1,443,64497,HK,Mirai,\n",
            "format   = \"csv\"\nasset    = \"source.ip\"\ncolumns  = \"timestamp src_ip src_port dst_ip dst_port asn country malware note\"\n\n[rows]\n\
             timestamp = \"time.source\"\nsrc_ip = \"source.ip\"\nsrc_port = \"source.port\"\ndst_ip = \"destination.ip\"\n\
             dst_port = \"destination.port\"\nasn = \"source.asn\"\ncountry = \"source.geolocation.cc\"\nmalware = \"malware.name\"\n",
            2,
            0,
        );
    }

    #[test]
    fn comments_separators_and_missing_headers_are_seen() {
        check(
            "# a list of today\n# first_seen;url;status\n2026-03-01T10:00:00Z;http://a.example/x;online\n2026-03-01T11:00:00Z;http://b.example/y;offline\n",
            "format   = \"csv\"\nasset    = \"source.url\"\ncolumns  = \"first_seen url status\"\n\n[csv]\nseparator = \";\"\ncomment = \"#\"\nheader = \"commented\"\n\n\
             [rows]\nfirst_seen = \"time.source\"\nurl = \"source.url\"\n",
            2,
            0,
        );
        check(
            "192.0.2.1|22|1772400000\n192.0.2.2|23|1772400060\nbroken|x|y\n",
            "format   = \"csv\"\nasset    = \"source.ip\"\ncolumns  = \"ip port time\"\n\n[csv]\nseparator = \"|\"\nheader = false\n\n\
             [rows]\nip = \"source.ip\"\nport = \"source.port\"\ntime = \"time.source | epoch\"\n",
            2,
            1,
        );
        check(
            "# bad networks\n192.0.2.0/24\n198.51.100.0/24\n",
            "format   = \"lines\"\nasset    = \"source.network\"\n\n[lines]\npattern = '^(?P<network>.+)$'\ncomment = \"#\"\n\n[rows]\nnetwork = \"source.network\"\n",
            2,
            0,
        );
    }

    #[test]
    fn documents_are_looked_into() {
        check(
            r#"{"status": "ok", "data": [{"ip": "192.0.2.1", "seen": "2026-03-01T10:00:00Z", "geo": {"cc": "HK"}}, {"ip": "192.0.2.2", "seen": "2026-03-01T10:00:00Z", "geo": {"cc": "HK"}}]}"#,
            "format   = \"json\"\nasset    = \"source.ip\"\n\n[json]\nrows = \"data\"\n\n[rows]\nip = \"source.ip\"\nseen = \"time.source\"\n\"geo.cc\" = \"source.geolocation.cc\"\n",
            2,
            0,
        );
        check(
            "{\"host\": \"a.example.com\", \"sha256\": \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"}\n{\"host\": \"b.example.com\"}\n",
            "format   = \"jsonl\"\nasset    = [\"source.fqdn\", \"malware.hash.sha256\"]\n\n[rows]\nhost = \"source.fqdn\"\nsha256 = \"malware.hash.sha256\"\n",
            2,
            0,
        );
        check(
            "<?xml version=\"1.0\"?><list><meta>x</meta><entry><url>http://a.example/</url></entry><entry><url>http://b.example/</url></entry></list>",
            "format   = \"xml\"\nasset    = \"source.url\"\n\n[xml]\nrows = \"list.entry\"\n\n[rows]\nurl = \"source.url\"\n",
            2,
            0,
        );
        check(
            "<html><body><table><tr><th>Address</th><th>Seen</th></tr><tr><td>192.0.2.1</td><td>2026-03-01</td></tr></table></body></html>",
            "format   = \"html\"\nasset    = \"source.ip\"\ncolumns  = \"Address Seen\"\n\n[rows]\nAddress = \"source.ip\"\nSeen = \"time.source\"\n",
            1,
            0,
        );
        check(
            "Mar  1 10:00:00 fw: src=192.0.2.1 dpt=22 act=drop\nMar  1 10:00:01 fw: src=192.0.2.2 dpt=23 act=drop\n",
            "format   = \"pairs\"\nasset    = \"source.ip\"\n\n[rows]\nsrc = \"source.ip\"\ndpt = \"destination.port\"\n",
            2,
            0,
        );
    }

    #[test]
    fn in_prose_each_indicator_is_told_by_its_sort() {
        let report = "Dear all, please look at the machine 192.0.2.1 as soon as you can,\nit was told to fetch hxxp://bad[.]example[.]org/x from there.\n";
        let Draft { table } = draft(report.as_bytes()).expect("prose");
        assert!(table.contains("format   = \"prose\"") && table.contains("url     = \"source.url\""), "{table}");
    }

    #[test]
    fn what_looks_like_nothing_is_told() {
        assert_eq!(draft(b" \n"), Err("there is nothing in it".into()));
    }
}
