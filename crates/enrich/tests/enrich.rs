//! Rows as a feed gave them, and the same rows enriched, side by side to be proofread.
//!
//! A row is `field=value | field=value`. Of what comes out, all that is new is shown but `tables`; `- field` is a
//! value that was taken away, `=` a row that stayed as it was.

#[path = "enrich/warning_lists.rs"]
mod warning_lists;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use enrich::mmdb::{self, About, RecordSize};
use enrich::{Dated, Defaults, Part, Tables, can_fill, enrich, enrich_by_day};
use event::batch::{self, Cell};
use event::{Field, Severity, Type, time, value};

const COUNTRIES: &[(&str, &str)] = &[
    ("192.0.2.0/24", r#"country = { iso_code = "HK", names = { en = "Hong Kong" } }"#),
    ("192.0.2.128/25", r#"country = { iso_code = "MO", names = { en = "Macao" } }"#),
    ("2001:db8::/32", r#"country = { iso_code = "HK", names = { en = "Hong Kong" } }"#),
];

const CITIES: &[(&str, &str)] = &[(
    "192.0.2.0/24",
    r#"
    country      = { iso_code = "HK", names = { en = "Hong Kong" } }
    city         = { names = { en = "Central" } }
    location     = { latitude = 22.28, longitude = 114.16 }
    subdivisions = [{ names = { en = "Central and Western" } }]
    "#,
)];

const SYSTEMS: &[(&str, &str)] = &[
    (
        "192.0.2.0/24",
        r#"asn = 64496
                        org = "Example Limited""#,
    ),
    (
        "198.51.100.0/24",
        r#"asn = 64497
                           org = "Other Limited""#,
    ),
    (
        "2001:db8:1::/48",
        r#"asn = 64498
                           org = "Sixth Limited""#,
    ),
];

const LISTED: &str = r#"
    [[network]]
    prefix  = "192.0.2.0/28"
    country = "SG"
    asn     = 64500
    as_name = "Listed Limited"

    [[network]]
    prefix  = "192.0.2.32/28"
    country = "SG"

    [[network]]
    prefix  = "192.0.2.48/28"
    asn     = 64501
"#;

const SCOPE: &str = r#"
    countries = ["HK"]
    tlds      = ["hk", "香港"]
    networks  = ["203.0.113.0/25", "2001:db8:ffff::/48"]
    asns      = [64510]
"#;

fn addresses(name: &str, records: &[(&str, &str)], day: &str) -> Part {
    let record = |(network, toml): &(&str, &str)| (network.parse().expect("a network"), toml.parse().expect("TOML"));
    let records: Vec<_> = records.iter().map(record).collect();
    let build_epoch = (time::parse(day).expect("a day") / time::SECOND) as u64;
    let bytes = mmdb::write(&records, &About { kind: name, build_epoch, record_size: RecordSize::Bits24 });
    Part::addresses(name, bytes).expect("a table")
}

fn day(name: &str) -> i32 {
    time::day(time::parse(name).expect("a day"))
}

/// The tables by a word each.
fn tables(words: &str) -> Tables {
    let part = |word| match word {
        "countries" => addresses("countries", COUNTRIES, "2024-01-01"),
        "cities" => addresses("cities", CITIES, "2024-01-01"),
        "systems" => addresses("systems", SYSTEMS, "2024-01-01"),
        "listed" => Part::networks("listed", 0, LISTED).expect("networks"),
        "scope" => Part::scope("scope", 0, SCOPE).expect("a scope"),
        "aliases" => Part::aliases("aliases", 0, "[families]\nzeus = [\"zbot\", \"wsnpoem\"]").expect("aliases"),
        _ => panic!("no table {word}"),
    };
    Tables::of(words.split_whitespace().map(|word| Arc::new(part(word))).collect())
}

type Row = BTreeMap<String, String>;

fn rows(text: &str) -> Vec<Row> {
    let cell = |cell: &str| {
        let (field, value) = cell.trim().split_once('=').expect("field=value");
        (field.to_owned(), value.to_owned())
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.split(" | ").map(cell).collect()).collect()
}

fn batch_of(rows: &[Row]) -> RecordBatch {
    let names: BTreeSet<&str> = rows.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    let columns = names.into_iter().map(|name| {
        let cells = || rows.iter().map(move |row| row.get(name).map(String::as_str));
        match Field::named(name) {
            Some(field) => (field.column(), column(field, cells())),
            None => (name, Arc::new(StringArray::from_iter(cells())) as ArrayRef),
        }
    });
    batch::from_columns(rows.len(), columns.collect())
}

fn column<'a>(field: Field, cells: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    match field.kind() {
        Type::Asn => Arc::new(Int64Array::from_iter(cells.map(|cell| cell.map(|text| value::asn(text).expect("an AS number"))))),
        Type::Float => Arc::new(Float64Array::from_iter(cells.map(|cell| cell.map(|text| value::float(text).expect("a number"))))),
        Type::Time => {
            let times = cells.map(|cell| cell.map(|text| time::parse(text).expect("a time")));
            Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("UTC"))
        }
        _ => Arc::new(StringArray::from_iter(cells)),
    }
}

/// All that a row holds, by name.
fn row_of(batch: &RecordBatch, row: usize) -> Row {
    let fields = batch::fields(batch).map(|(field, array)| (field.name(), array));
    let house = batch.column_by_name("in_scope").map(|array| ("in_scope", array));
    let shown = |cell| match cell {
        Cell::Text(text) => text.to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Float(number) => number.to_string(),
        Cell::Boolean(yes) => yes.to_string(),
        Cell::Time(time) => time::iso(time),
        Cell::Bytes(_) => unreachable!("no field holds bytes"),
    };
    fields.chain(house).filter_map(|(name, array)| Some((name.to_owned(), shown(batch::cell(array, row)?)))).collect()
}

/// What changed from one row to the other.
fn difference(before: &Row, after: &Row) -> String {
    let gone = before.keys().filter(|name| name.as_str() != "asset" && !after.contains_key(*name)).map(|name| format!("- {name}"));
    let new = after.iter().filter(|(name, value)| {
        let said = before.get(*name).is_some_and(|before| before == *value || name.starts_with("time."));
        !said && (name.as_str(), value.as_str()) != ("in_scope", "false")
    });
    let all: Vec<String> = gone.chain(new.map(|(name, value)| format!("{name}={value}"))).collect();
    if all.is_empty() { "=".to_owned() } else { all.join(" | ") }
}

#[track_caller]
fn check_batch(before: &[Row], after: &RecordBatch, expected: &str) {
    let found: Vec<String> = before.iter().enumerate().map(|(row, before)| difference(before, &row_of(after, row))).collect();
    let expected: Vec<&str> = expected.trim().lines().map(str::trim).collect();
    assert_eq!(found, expected);
    let promised: Vec<Field> = {
        let had: Vec<Field> = batch::fields(&batch_of(before)).map(|(field, _)| field).collect();
        let mut all = [can_fill(&had), had].concat();
        all.sort_unstable();
        all
    };
    assert_eq!(batch::fields(after).map(|(field, _)| field).collect::<Vec<_>>(), promised, "columns are those promised");
    assert_eq!(after.column_by_name("in_scope").map(|array| array.null_count()), Some(0));
}

#[track_caller]
fn check(words: &str, given: &str, expected: &str) {
    let (tables, before) = (tables(words), rows(given));
    let after = enrich(&tables, &Defaults::default(), &batch_of(&before));
    check_batch(&before, &after, expected);
    let names = batch::text(&after, "tables").expect("the tables are named");
    assert!(names.iter().all(|name| name == Some(tables.name())));
}

#[test]
fn place_and_as_of_an_address() {
    check(
        "countries systems",
        "
        source.ip=192.0.2.1
        source.ip=192.0.2.200
        source.ip=198.51.100.1
        source.ip=203.0.113.1
        source.ip=2001:db8:1::1
        source.ip=2001:db8:2::1
        ",
        "
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=HK | source.geolocation.country=Hong Kong
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=MO | source.geolocation.country=Macao
        source.as_name=Other Limited | source.asn=64497
        =
        source.as_name=Sixth Limited | source.asn=64498 | source.geolocation.cc=HK | source.geolocation.country=Hong Kong
        source.geolocation.cc=HK | source.geolocation.country=Hong Kong
        ",
    );
}

#[test]
fn both_sides_alike() {
    check(
        "countries",
        "source.ip=192.0.2.1 | destination.ip=192.0.2.200",
        "destination.geolocation.cc=MO | destination.geolocation.country=Macao | source.geolocation.cc=HK | source.geolocation.country=Hong Kong",
    );
}

#[test]
fn the_table_wins_and_what_the_feed_said_is_kept() {
    check(
        "countries systems",
        r#"
        source.ip=192.0.2.1 | source.geolocation.cc=US
        source.ip=192.0.2.1 | source.geolocation.cc=HK
        source.ip=192.0.2.1 | source.asn=64999 | source.as_name=EXAMPLE "AS" | extra={"tag":"x"}
        source.ip=203.0.113.1 | source.geolocation.cc=US | source.asn=64999 | extra={"tag":"x"}
        "#,
        r#"
        extra={"stated.source.geolocation.cc":"US"} | source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=HK | source.geolocation.country=Hong Kong
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.country=Hong Kong
        extra={"tag":"x","stated.source.asn":64999,"stated.source.as_name":"EXAMPLE \"AS\""} | source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=HK | source.geolocation.country=Hong Kong
        =
        "#,
    );
}

#[test]
fn a_feeds_city_never_stands_beside_a_tables_country() {
    check(
        "countries",
        "source.ip=192.0.2.1 | source.geolocation.cc=HK | source.geolocation.city=Kowloon | source.geolocation.state=KLN | source.geolocation.latitude=22.5",
        r#"- source.geolocation.city | - source.geolocation.latitude | - source.geolocation.state | extra={"stated.source.geolocation.state":"KLN","stated.source.geolocation.city":"Kowloon","stated.source.geolocation.latitude":22.5} | source.geolocation.country=Hong Kong"#,
    );
    check(
        "cities countries",
        "source.ip=192.0.2.1 | source.geolocation.city=Kowloon",
        r#"extra={"stated.source.geolocation.city":"Kowloon"} | source.geolocation.cc=HK | source.geolocation.city=Central | source.geolocation.country=Hong Kong | source.geolocation.latitude=22.28 | source.geolocation.longitude=114.16 | source.geolocation.region=Central and Western"#,
    );
}

#[test]
fn the_first_table_that_knows_a_place_gives_all_of_it() {
    check(
        "cities countries",
        "
        source.ip=192.0.2.200
        source.ip=2001:db8::1
        ",
        "
        source.geolocation.cc=HK | source.geolocation.city=Central | source.geolocation.country=Hong Kong | source.geolocation.latitude=22.28 | source.geolocation.longitude=114.16 | source.geolocation.region=Central and Western
        source.geolocation.cc=HK | source.geolocation.country=Hong Kong
        ",
    );
}

#[test]
fn a_listed_network_wins_over_table_and_feed() {
    check(
        "cities systems listed",
        "
        source.ip=192.0.2.1  | source.geolocation.cc=US
        source.ip=192.0.2.33 | source.geolocation.cc=US
        source.ip=192.0.2.49 | source.geolocation.cc=US
        source.ip=192.0.2.65
        ",
        r#"
        extra={"stated.source.geolocation.cc":"US"} | source.as_name=Listed Limited | source.asn=64500 | source.geolocation.cc=SG
        extra={"stated.source.geolocation.cc":"US"} | source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=SG
        extra={"stated.source.geolocation.cc":"US"} | source.asn=64501 | source.geolocation.cc=HK | source.geolocation.city=Central | source.geolocation.country=Hong Kong | source.geolocation.latitude=22.28 | source.geolocation.longitude=114.16 | source.geolocation.region=Central and Western
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=HK | source.geolocation.city=Central | source.geolocation.country=Hong Kong | source.geolocation.latitude=22.28 | source.geolocation.longitude=114.16 | source.geolocation.region=Central and Western
        "#,
    );
}

#[test]
fn a_missing_table_leaves_its_fields_empty_and_says_so() {
    check("countries", "source.ip=192.0.2.1 | source.asn=64999", "source.geolocation.cc=HK | source.geolocation.country=Hong Kong");
    check("", "source.ip=192.0.2.1 | source.url=http://192.0.2.1/ | malware.name=zbot", "=");
    let missing = |words| {
        tables(words).missing().iter().map(|sentence| sentence.split(':').next().unwrap_or_default()).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(missing("countries systems aliases scope"), "");
    assert_eq!(missing("countries scope"), "No table says whose networks addresses are in; No table of malware names");
    assert_eq!(
        missing(""),
        "No table says where addresses are; No table says whose networks addresses are in; No table of malware names; No scope is set"
    );
}

#[test]
fn a_network_is_placed_where_one_record_holds_all_of_it() {
    check(
        "countries systems",
        "
        source.network=192.0.2.128/26
        source.network=192.0.2.0/24
        source.network=192.0.0.0/16
        source.network=192.0.0.0/16 | source.ip=192.0.2.1
        ",
        "
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=MO | source.geolocation.country=Macao
        source.as_name=Example Limited | source.asn=64496
        =
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=HK | source.geolocation.country=Hong Kong
        ",
    );
}

#[test]
fn a_url_tells_host_name_or_address() {
    check(
        "countries",
        "
        source.url=http://www.example.com.hk/login
        source.url=http://192.0.2.1:8080/bin
        source.url=http://[2001:db8::1]/bin
        source.url=http://www.example.com/ | source.fqdn=other.example.net | source.ip=192.0.2.200
        source.fqdn=user.github.io
        source.fqdn=www.xn--mxtq1m.xn--j6w193g | source.domain_suffix=hk
        destination.url=http://example.org/
        ",
        r#"
        source.domain_suffix=com.hk | source.fqdn=www.example.com.hk
        source.geolocation.cc=HK | source.geolocation.country=Hong Kong | source.ip=192.0.2.1
        source.geolocation.cc=HK | source.geolocation.country=Hong Kong | source.ip=2001:db8::1
        source.domain_suffix=net | source.geolocation.cc=MO | source.geolocation.country=Macao
        source.domain_suffix=github.io
        extra={"stated.source.domain_suffix":"hk"} | source.domain_suffix=xn--mxtq1m.xn--j6w193g
        destination.domain_suffix=org | destination.fqdn=example.org
        "#,
    );
}

#[test]
fn malware_has_one_name() {
    check(
        "aliases",
        "
        malware.name=zbot
        malware.name=zeus
        malware.name=unheard of
        source.ip=192.0.2.1
        ",
        r#"
        extra={"stated.malware.name":"zbot"} | malware.name=zeus
        =
        =
        =
        "#,
    );
}

#[test]
fn severity_is_the_feeds_where_a_row_has_none() {
    let before = rows(
        "
        source.asn=64496
        source.asn=64497 | severity=low
        ",
    );
    let defaults = Defaults { severity: Some(Severity::High) };
    check_batch(&before, &enrich(&Tables::default(), &defaults, &batch_of(&before)), "severity=high\n=");
}

/// Assets and whether they are ours.
#[track_caller]
fn check_scope(expected: &[(&str, bool)]) {
    for (row, in_scope) in expected {
        let after = enrich(&tables("countries systems scope"), &Defaults::default(), &batch_of(&rows(row)));
        assert_eq!(row_of(&after, 0).get("in_scope").map(String::as_str), Some(if *in_scope { "true" } else { "false" }), "{row}");
    }
}

#[test]
fn scope_is_judged_on_the_asset() {
    check_scope(&[
        // By country, the table's against the feed's.
        ("asset=source.ip | source.ip=192.0.2.1", true),
        ("asset=source.ip | source.ip=192.0.2.200", false),
        ("asset=source.ip | source.ip=192.0.2.200 | source.geolocation.cc=HK", false),
        ("asset=source.ip | source.ip=198.51.100.1 | source.geolocation.cc=HK", true),
        ("asset=source.ip | source.ip=2001:db8:2::1", true),
        // By the side that the asset is on.
        ("asset=destination.ip | source.ip=192.0.2.1 | destination.ip=192.0.2.200", false),
        ("asset=destination.ip | source.ip=192.0.2.200 | destination.ip=192.0.2.1", true),
        // By name, with the dot that makes it a top-level domain.
        ("asset=source.url | source.url=http://www.example.com.hk/", true),
        ("asset=source.url | source.url=http://www.xn--mxtq1m.xn--j6w193g/", true),
        ("asset=source.url | source.url=http://www.example.com/hk?x.hk", false),
        ("asset=source.url | source.url=http://www.examplehk/", false),
        ("asset=source.url | source.url=http://www.example.com/ | source.fqdn=www.example.hk", false),
        ("asset=source.url | source.url=http://192.0.2.1/", true),
        ("asset=source.url | source.fqdn=www.example.hk", true),
        ("asset=source.fqdn | source.fqdn=www.example.hk", true),
        ("asset=source.fqdn | source.fqdn=www.example.com | source.ip=192.0.2.1", true),
        // An address is where it is, whatever names point to it.
        ("asset=source.ip | source.ip=192.0.2.200 | source.fqdn=www.example.hk | source.reverse_dns=a.example.hk", false),
        // By the domain of a mail address.
        ("asset=source.account | source.account=someone@Example.HK", true),
        ("asset=source.account | source.account=someone@政府.香港", true),
        ("asset=source.account | source.account=someone@example.com", false),
        ("asset=source.account | source.account=someone.hk", false),
        // By listed network and AS number.
        ("asset=source.ip | source.ip=203.0.113.1", true),
        ("asset=source.ip | source.ip=203.0.113.129", false),
        ("asset=source.ip | source.ip=2001:db8:ffff::1", true),
        ("asset=source.network | source.network=203.0.113.0/26", true),
        ("asset=source.network | source.network=203.0.113.0/24", false),
        ("asset=source.asn | source.asn=64510", true),
        ("asset=source.asn | source.asn=64511", false),
        ("asset=source.ip | source.ip=203.0.113.200 | source.asn=64510", true),
        ("asset=source.ip | source.ip=198.51.100.1 | source.asn=64510", false),
        // What has no side, or says nothing, is nobody's.
        ("asset=malware.hash.sha256 | source.ip=192.0.2.1", false),
        ("source.ip=192.0.2.1", false),
    ]);
}

#[test]
fn tables_in_force_on_the_events_day() {
    let dated = || {
        Dated::of(vec![
            addresses("places", &[("192.0.2.0/24", "country_code = \"GB\"")], "1997-01-01"),
            addresses("places", &[("192.0.2.0/24", "country_code = \"HK\"")], "1997-07-01"),
            addresses("systems", SYSTEMS, "1997-08-01"),
            Part::scope("scope", 0, SCOPE).expect("a scope"),
        ])
    };
    let before = rows(
        "
        source.ip=192.0.2.1 | time.source=1997-07-02
        source.ip=192.0.2.1 | time.source=1997-06-30 23:59:59
        source.ip=192.0.2.1 | time.source=1990-01-01
        source.ip=192.0.2.1 | time.source=1997-07-01
        source.ip=192.0.2.1 | time.source=2024-01-01 | source.geolocation.cc=MO
        ",
    );
    let after = enrich_by_day(&dated(), &Defaults::default(), &batch_of(&before));
    check_batch(
        &before,
        &after,
        r#"
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=HK
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=GB
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=GB
        source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=HK
        extra={"stated.source.geolocation.cc":"MO"} | source.as_name=Example Limited | source.asn=64496 | source.geolocation.cc=HK
        "#,
    );
    let names: Vec<_> = batch::text(&after, "tables").expect("the tables are named").iter().flatten().collect();
    assert_eq!((names[0] == names[3], names[1] == names[2], names[0] == names[1]), (true, true, false));
    for name in names {
        assert_eq!(dated().named(name).map(Tables::name), Some(name));
    }
}

#[test]
fn a_set_is_named_by_its_tables() {
    let name = |words: &str| tables(words).name().to_owned();
    assert_eq!(name("countries systems scope"), name("scope countries systems"));
    assert_ne!(name("countries systems"), name("systems countries"), "the first that knows is asked first");
    assert_ne!(name("countries"), name("cities"));
    assert_eq!(name("").len(), 32);
    let tables = tables("scope countries");
    let parts: Vec<_> = tables.parts().iter().map(|part| (part.kind.name(), part.name.as_str(), part.day, part.hash.len())).collect();
    assert_eq!(parts, [("addresses", "countries", day("2024-01-01"), 32), ("scope", "scope", 0, 32)]);
}

#[test]
fn a_feeds_columns_decide_what_comes_out() {
    let names = |fields: &[Field]| can_fill(fields).iter().map(|field| field.name()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&[Field::SOURCE_ASN, Field::SEVERITY]), "extra");
    assert_eq!(names(&[Field::TIME_SOURCE]), "severity");
    assert_eq!(names(&[Field::DESTINATION_FQDN]), "destination.domain_suffix severity");
    assert_eq!(
        names(&[Field::SOURCE_URL]),
        "severity source.as_name source.asn source.domain_suffix source.fqdn source.geolocation.cc source.geolocation.city \
         source.geolocation.country source.geolocation.latitude source.geolocation.longitude source.geolocation.region source.ip"
    );
    assert_eq!(
        names(&[Field::SOURCE_IP, Field::SOURCE_GEOLOCATION_CITY]),
        "extra severity source.as_name source.asn source.geolocation.cc source.geolocation.country \
         source.geolocation.latitude source.geolocation.longitude source.geolocation.region"
    );
}

#[test]
fn an_empty_batch_has_the_same_columns() {
    let empty = batch::from_columns(
        0,
        vec![
            ("source_ip", new_null_array(&batch::arrow_type(Type::Ip), 0)),
            ("time_source", new_null_array(&batch::arrow_type(Type::Time), 0)),
        ],
    );
    let full = batch_of(&rows("source.ip=192.0.2.1 | time.source=2024-01-01"));
    let dated = Dated::of(vec![addresses("countries", COUNTRIES, "2024-01-01")]);
    let [empty, full] = [empty, full].map(|batch| enrich_by_day(&dated, &Defaults::default(), &batch));
    assert_eq!(empty.schema(), full.schema());
    assert_eq!(enrich(&Tables::default(), &Defaults::default(), &batch::from_columns(2, vec![])).num_rows(), 2);
}

#[test]
fn doing_it_again_changes_nothing() {
    let tables = tables("cities systems listed aliases scope");
    let batch = batch_of(&rows(
        r#"
        source.ip=192.0.2.1 | source.geolocation.cc=US | source.asn=64999 | malware.name=zbot | extra={"tag":"x"}
        source.url=http://www.example.com.hk/ | source.domain_suffix=hk | asset=source.url
        "#,
    ));
    let once = enrich(&tables, &Defaults { severity: Some(Severity::Low) }, &batch);
    assert_eq!(enrich(&tables, &Defaults::default(), &once), once);
}

#[test]
fn a_table_that_is_not_understood_is_named() {
    let error = Part::addresses("bad", b"nothing".to_vec()).expect_err("no table");
    assert!(error.starts_with("the table \"bad\" is not in the MMDB format"), "{error}");
    let error = Part::scope("ours", 0, "countries = [\"Hong Kong\"]").expect_err("no scope");
    assert_eq!(error, "the table \"ours\" of scope: countries: \"Hong Kong\": not a country's two letters");
}
