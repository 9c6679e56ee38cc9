//! Small documents, and the rows that they give, one line each.

use proptest::prelude::*;

use super::*;

fn lines(document: &str, limits: &Limits) -> Vec<String> {
    let read = match read(document, limits) {
        Ok(read) => read,
        Err(wrong) => return vec![format!("refused: {wrong}")],
    };
    let by = |object: usize| {
        let object = &read.objects[object];
        object.name.clone().unwrap_or_else(|| object.kind.clone())
    };
    let mut lines: Vec<String> = read.problems.iter().map(|problem| format!("problem: {}: {}", problem.place, problem.reason)).collect();
    for row in &read.observables {
        let refers_to = row.refers_to.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
        let port = row.port.map(|port| format!(" port {port}")).unwrap_or_default();
        lines.push(
            format!("{}: {} = {}{refers_to}{port} {}", by(row.object), row.path(), row.value, row.protocols.join("/"))
                .trim_end()
                .to_owned(),
        );
    }
    lines.extend(read.unobservables.iter().map(|row| format!("{}: not {}: {}", by(row.object), row.text, row.why)));
    lines
}

#[track_caller]
fn check(document: &str, expected: &[&str]) {
    assert_eq!(lines(document, &Limits::default()), expected);
}

#[track_caller]
fn check_pattern(pattern: &str, expected: &[&str]) {
    let document = serde_json::json!({"type": "indicator", "name": "i", "pattern_type": "stix", "pattern": pattern}).to_string();
    check(&document, expected);
}

#[test]
fn a_pattern_gives_its_values() {
    check_pattern("[ipv4-addr:value = '192.0.2.1']", &["i: ipv4-addr:value = 192.0.2.1"]);
    check_pattern(
        "[url:value IN ('http://a.example/', 'http://b.example/')]",
        &["i: url:value = http://a.example/", "i: url:value = http://b.example/"],
    );
    check_pattern(
        "[file:hashes.'SHA-256' = '00' OR file:hashes.sha1 = '11'] AND [file:name = 'a.exe'] WITHIN 5 SECONDS",
        &["i: file:hashes.'SHA-256' = 00", "i: file:hashes.'SHA-1' = 11", "i: file:name = a.exe"],
    );
    check_pattern("[autonomous-system:number = 64496]", &["i: autonomous-system:number = 64496"]);
    check_pattern("[windows-registry-key:values[0].data = 'x']", &["i: windows-registry-key:values[*].data = x"]);
    check_pattern("[x-crypto-wallet:value = 'abc']", &["i: x-crypto-wallet:value = abc"]);
    check_pattern("[domain-name:resolves_to_refs[*].value = '192.0.2.1']", &["i: domain-name:resolves_to_refs[*].value = 192.0.2.1"]);
}

#[test]
fn an_address_has_the_port_that_is_said_with_it() {
    check_pattern(
        "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 443 AND network-traffic:protocols[*] = 'tcp']",
        &["i: network-traffic:dst_ref.value = 192.0.2.1 (ipv4-addr) port 443 tcp"],
    );
    check_pattern(
        "[(ipv4-addr:value = '192.0.2.1' OR ipv4-addr:value = '192.0.2.2') AND network-traffic:dst_port = 80]",
        &["i: ipv4-addr:value = 192.0.2.1 port 80", "i: ipv4-addr:value = 192.0.2.2 port 80"],
    );
    check_pattern(
        "[network-traffic:src_ref.value = '192.0.2.1' AND network-traffic:dst_port = 80]",
        &["i: network-traffic:src_ref.value = 192.0.2.1", "i: not network-traffic:dst_port = 80: it names no thing by itself"],
    );
    check_pattern(
        "[ipv4-addr:value = '192.0.2.1' AND network-traffic:dst_port IN (80, 81)]",
        &["i: ipv4-addr:value = 192.0.2.1", "i: not network-traffic:dst_port IN (80, 81): it names no thing by itself"],
    );
    check_pattern(
        "[ipv4-addr:value = '192.0.2.1'] AND [network-traffic:dst_port = 80]",
        &["i: ipv4-addr:value = 192.0.2.1", "i: not network-traffic:dst_port = 80: it names no thing by itself"],
    );
}

#[test]
fn what_is_said_together_is_of_one_group() {
    let document = r#"[{"type": "indicator", "pattern": "[file:name = 'a' AND file:hashes.MD5 = '00' OR file:name = 'b']"},
                       {"type": "indicator", "pattern": "[file:name = 'a']"}]"#;
    let read = read(document, &Limits::default()).expect("a list");
    let groups: Vec<(usize, usize)> = read.observables.iter().map(|row| (row.object, row.group)).collect();
    let [(0, first), (0, second), (0, third), (1, fourth)] = groups[..] else { panic!("{groups:?}") };
    assert!(first == second && second != third && third != fourth && first != fourth);
}

#[test]
fn what_is_no_value_is_said() {
    let negative = [
        "i: not ipv4-addr:value != '192.0.2.1': it says what something is not",
        "i: not url:value NOT IN ('a'): it says what something is not",
    ];
    check_pattern("[ipv4-addr:value != '192.0.2.1'] AND [url:value NOT IN ('a')]", &negative);
    let other = [
        "i: not url:value MATCHES '^a': MATCHES gives no value",
        "i: not ipv4-addr:value ISSUBSET '192.0.2.0/24': ISSUBSET gives no value",
    ];
    check_pattern("[url:value MATCHES '^a' OR ipv4-addr:value ISSUBSET '192.0.2.0/24']", &other);
    check_pattern("[file:name = 'a' AND file:size = 5]", &["i: file:name = a", "i: not file:size = 5: its property names no thing"]);
    check_pattern("[process:pid = 5]", &["i: not process:pid = 5: its property names no thing"]);
    check_pattern("[url:value IN ()]", &["i: not url:value IN (): its property names no thing"]);
    check(
        r#"{"type": "indicator", "name": "i", "pattern": "rule a {}", "pattern_type": "yara"}"#,
        &["i: not rule a {}: the pattern is in \"yara\""],
    );
}

#[test]
fn all_forms_of_a_document_are_known() {
    let one = r#"{"type": "url", "id": "url--1", "value": "http://a.example/"}"#;
    let row = ["url: url:value = http://a.example/"];
    check(one, &row);
    check(&format!("\u{feff}[{one}]"), &row);
    check(&format!(r#"{{"type": "bundle", "id": "bundle--1", "objects": [{one}]}}"#), &row);
    check(&format!(r#"{{"more": true, "next": "abc", "objects": [{one}]}}"#), &row);
    for empty in ["{}", "[]", r#"{"more": false}"#, r#"{"type": "bundle"}"#] {
        check(empty, &[]);
    }
    let envelope = read(r#"{"more": true, "next": 17}"#, &Limits::default()).expect("an envelope");
    assert_eq!(envelope.form, Form::Envelope { more: true, next: Some("17".to_owned()) });
}

#[test]
fn observed_data_gives_what_was_seen() {
    let older = r#"{"type": "observed-data", "id": "observed-data--1", "number_observed": 2, "objects": {
        "0": {"type": "ipv4-addr", "value": "192.0.2.1"},
        "1": {"type": "domain-name", "value": "a.example", "resolves_to_refs": ["0"]},
        "2": {"type": "network-traffic", "src_ref": "3", "dst_ref": "0", "src_port": 1024, "dst_port": 443, "protocols": ["ipv4", "tcp"]},
        "3": {"type": "ipv6-addr", "value": "2001:db8::1"},
        "4": {"type": "file", "name": "a.exe", "hashes": {"MD5": "00", "SHA-256": "11"}},
        "5": {"type": "process", "pid": 17},
        "6": {"type": "network-traffic", "dst_ref": "7"},
        "7": {"type": "network-traffic", "dst_ref": "0", "dst_port": 80}}}"#;
    let rows = [
        "observed-data: domain-name:value = a.example",
        "observed-data: network-traffic:src_ref.value = 2001:db8::1 (ipv6-addr) port 1024 ipv4/tcp",
        "observed-data: network-traffic:dst_ref.value = 192.0.2.1 (ipv4-addr) port 443 ipv4/tcp",
        "observed-data: file:hashes.MD5 = 00",
        "observed-data: file:hashes.'SHA-256' = 11",
        "observed-data: file:name = a.exe",
        "observed-data: network-traffic:dst_ref.value = 192.0.2.1 (ipv4-addr) port 80",
        "observed-data: not process : its property names no thing",
        "observed-data: not network-traffic : its property names no thing",
    ];
    check(older, &rows);
    let newer = r#"[{"type": "observed-data", "id": "observed-data--1", "object_refs": ["domain-name--1", "url--9"]},
                    {"type": "domain-name", "id": "domain-name--1", "value": "a.example"},
                    {"type": "domain-name", "id": "domain-name--2", "value": "b.example"}]"#;
    let rows = [
        "observed-data: domain-name:value = a.example",
        "domain-name: domain-name:value = b.example",
        "observed-data: not url--9: what it speaks of is not in the document",
    ];
    check(newer, &rows);
}

const BUNDLE: &str = r#"{"type": "bundle", "id": "bundle--1", "objects": [
    {"type": "identity", "id": "identity--1", "name": "A made-up team"},
    {"type": "marking-definition", "id": "marking-definition--own", "definition_type": "tlp", "definition": {"tlp": "amber"}},
    {"type": "marking-definition", "id": "marking-definition--words", "definition_type": "statement", "definition": {"statement": "Copyright"}},
    {"type": "indicator", "spec_version": "2.1", "id": "indicator--1", "name": "i", "description": "d", "created": "2023-11-14T00:00:00Z",
     "modified": "2023-11-15T00:00:00Z", "valid_from": "2023-11-14T00:00:00Z", "valid_until": "2024-11-14T00:00:00Z", "confidence": 85,
     "labels": ["l"], "indicator_types": ["malicious-activity"], "created_by_ref": "identity--1",
     "kill_chain_phases": [{"kill_chain_name": "k", "phase_name": "p"}],
     "object_marking_refs": ["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", "marking-definition--own", "marking-definition--words"],
     "external_references": [{"source_name": "blog", "url": "https://blog.example/"}, {"source_name": "cve", "external_id": "CVE-2023-12345"}],
     "pattern": "[domain-name:value = 'a.example']", "pattern_type": "stix"},
    {"type": "malware", "id": "malware--1", "name": "Loader"},
    {"type": "vulnerability", "id": "vulnerability--1", "name": "CVE-2023-23456"},
    {"type": "relationship", "relationship_type": "indicates", "source_ref": "indicator--1", "target_ref": "malware--1"},
    {"type": "relationship", "relationship_type": "indicates", "source_ref": "indicator--1", "target_ref": "threat-actor--elsewhere"},
    {"type": "relationship", "relationship_type": "related-to", "source_ref": "indicator--1", "target_ref": "vulnerability--1"},
    {"type": "relationship", "relationship_type": "based-on", "source_ref": "indicator--1", "target_ref": "domain-name--1"},
    {"type": "relationship", "relationship_type": "communicates-with", "source_ref": "malware--1", "target_ref": "domain-name--1"},
    {"type": "domain-name", "id": "domain-name--1", "value": "a.example"},
    {"type": "sighting", "id": "sighting--1", "sighting_of_ref": "indicator--1", "first_seen": "2023-11-16T00:00:00Z", "count": 3}]}"#;

#[test]
fn a_row_knows_what_is_said_of_its_object() {
    let read = read(BUNDLE, &Limits::default()).expect("a bundle");
    assert_eq!(read.problems, []);
    let about = |object: &Object| {
        let shown = |about: &About| format!("{} {} {}", about.relation, about.kind, about.what.name.as_deref().unwrap_or(&about.what.id));
        object.about.iter().map(shown).collect::<Vec<_>>()
    };
    let [indicator, sighting, alone] = &read.objects[..] else { panic!("{:?}", read.objects) };
    let expected = Object {
        kind: "indicator".into(),
        id: "indicator--1".into(),
        name: Some("i".into()),
        description: Some("d".into()),
        created: Some("2023-11-14T00:00:00Z".into()),
        modified: Some("2023-11-15T00:00:00Z".into()),
        valid_from: Some("2023-11-14T00:00:00Z".into()),
        valid_until: Some("2024-11-14T00:00:00Z".into()),
        confidence: Some(85),
        labels: vec!["l".into()],
        indicator_types: vec!["malicious-activity".into()],
        kill_chain_phases: vec![KillChainPhase { chain: "k".into(), phase: "p".into() }],
        created_by: Some(Reference { id: "identity--1".into(), name: Some("A made-up team".into()) }),
        tlp: Some("amber"),
        other_markings: vec!["marking-definition--words".into()],
        about: indicator.about.clone(),
        urls: vec!["https://blog.example/".into()],
        cves: vec!["CVE-2023-12345".into(), "CVE-2023-23456".into()],
        ..Object::default()
    };
    assert_eq!(*indicator, expected);
    let names = ["indicates malware Loader", "indicates threat-actor threat-actor--elsewhere", "related-to vulnerability CVE-2023-23456"];
    assert_eq!(about(indicator), names);
    assert_eq!(about(alone)[3..], ["communicates-with malware Loader"]);
    assert_eq!(about(sighting), names);
    assert_eq!(
        (sighting.kind.as_str(), sighting.first_observed.as_deref(), sighting.count),
        ("sighting", Some("2023-11-16T00:00:00Z"), Some(3))
    );
    let rows =
        ["i: domain-name:value = a.example", "sighting: domain-name:value = a.example", "domain-name: domain-name:value = a.example"];
    check(BUNDLE, &rows);
}

#[test]
fn sighted_observed_data_is_about_what_was_sighted() {
    let document = r#"[{"type": "observed-data", "id": "observed-data--1", "object_refs": ["url--1"]}, {"type": "url", "id": "url--1", "value": "u"},
        {"type": "campaign", "id": "campaign--1", "name": "C"},
        {"type": "sighting", "id": "sighting--1", "sighting_of_ref": "campaign--1", "observed_data_refs": ["observed-data--1"]}]"#;
    check(document, &["observed-data: url:value = u"]);
    let read = read(document, &Limits::default()).expect("a list");
    let what = Reference { id: "campaign--1".into(), name: Some("C".into()) };
    assert_eq!(read.objects[0].about, [About { relation: "sighting-of".into(), kind: "campaign".into(), what }]);
}

#[test]
fn markings_are_labels() {
    let extension = r#""extensions": {"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d": {"extension_type": "property-extension", "tlp_2_0": "amber+strict"}}"#;
    let tlp = |definition: &str, refs: &str| {
        let document =
            format!(r#"[{{"type": "marking-definition", "id": "m--1", {definition}}}, {{"type": "url", "value": "u", {refs}}}]"#);
        read(&document, &Limits::default()).expect("a list").objects[0].tlp
    };
    let own = r#""object_marking_refs": ["m--1"]"#;
    assert_eq!(tlp(extension, own), Some("amber+strict"));
    assert_eq!(tlp(r#""definition_type": "tlp", "definition": {"tlp": "white"}"#, own), Some("clear"));
    assert_eq!(tlp(r#""name": "TLP:GREEN""#, own), Some("green"));
    assert_eq!(tlp(r#""definition_type": "statement", "definition": {"statement": "TLP:RED"}"#, own), Some("red"));
    assert_eq!(tlp(r#""name": "Copyright""#, own), None);
    assert_eq!(
        tlp(r#""name": "x""#, r#""object_marking_refs": ["marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"]"#),
        Some("red")
    );
    // Part of it may be seen by fewer, and which part a row is cannot be told.
    assert_eq!(
        tlp(
            r#""name": "TLP:AMBER""#,
            r#""object_marking_refs": ["marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"],
        "granular_markings": [{"marking_ref": "m--1", "selectors": ["value"]}]"#
        ),
        Some("amber")
    );
}

#[test]
fn a_bad_object_loses_no_other() {
    let document = r#"{"type": "bundle", "objects": [17, {"id": "x"}, {"type": "url", "value": nan},
        {"type": "indicator", "name": "no"},
        {"type": "indicator", "name": "bad", "pattern": "[url:value = ]"},
        {"type": "observed-data", "name": "o"},
        {"type": "indicator", "name": "i", "confidence": "high", "pattern": "[url:value = 'u']"}]}"#;
    let expected = [
        "problem: objects[0]: not a JSON object",
        "problem: objects[1]: it has no type",
        "problem: objects[2]: not JSON: expected ident at line 1 column 27",
        "problem: objects[3]: it has no pattern",
        "problem: objects[4]: pattern \"[url:value = ]\": after 13 characters of the pattern, a value (a text stands in quotes) is expected",
        "problem: objects[5]: it has neither \"object_refs\" nor \"objects\"",
        "problem: objects[6]: confidence \"high\": not a number from 0 to 100",
        "i: url:value = u",
    ];
    check(document, &expected);
}

#[test]
fn what_is_none_is_refused() {
    check("<html>", &["refused: not JSON: at byte 0, where \"{\" is expected"]);
    check(
        r#"{"title": "Unauthorized", "http_status": "401"}"#,
        &["refused: the document is no STIX, but an answer that says \"Unauthorized\""],
    );
    check(r#"{"Event": {}}"#, &["refused: the document is no STIX: it has neither a \"type\" nor \"objects\""]);
    check(r#"{"objects": [{"type": "url""#, &["refused: not JSON: it ends at byte 27, where a closing bracket is expected"]);
}

#[test]
fn there_are_limits() {
    let limits = Limits { bytes: 400, objects: 2, rows: 2, about: 1 };
    let check = |document: &str, expected: &str| assert_eq!(lines(document, &limits)[0], expected);
    check(&" ".repeat(401), "refused: the document has 401 bytes, and 400 are read at most: ask for smaller pages");
    check("[1, 2, 3]", "refused: a list of more than 2 elements");
    let full = "problem: : it says more than 2 things, or the same again and again: the rest is not read";
    check(r#"{"type": "indicator", "pattern": "[url:value IN ('a', 'b', 'c')]"}"#, full);
}

/// Objects that all speak of all others must not take forever.
#[test]
fn a_knot_is_no_disaster() {
    let mut objects: Vec<String> = Vec::new();
    for n in 0..2_000 {
        objects.push(format!(r#"{{"type": "url", "id": "url--{n}", "value": "{n}"}}"#));
        objects.push(format!(r#"{{"type": "malware", "id": "malware--{n}"}}"#));
        objects.push(format!(
            r#"{{"type": "relationship", "relationship_type": "indicates", "source_ref": "indicator--1", "target_ref": "malware--{n}"}}"#
        ));
        objects.push(format!(
            r#"{{"type": "relationship", "relationship_type": "based-on", "source_ref": "indicator--1", "target_ref": "url--{n}"}}"#
        ));
        objects.push(
            r#"{"type": "relationship", "relationship_type": "based-on", "source_ref": "indicator--1", "target_ref": "url--1"}"#.to_owned(),
        );
        objects.push(r#"{"type": "sighting", "sighting_of_ref": "indicator--1"}"#.to_owned());
    }
    let pattern = "OR url:value MATCHES 'a'".repeat(10_000);
    objects.push(format!(r#"{{"type": "indicator", "id": "indicator--1", "pattern": "[url:value = 'a' {pattern}]"}}"#));
    let document = format!("[{}]", objects.join(","));
    let read = read(&document, &Limits { bytes: 4 << 20, ..Limits::default() }).expect("a list");
    assert!(read.objects.iter().all(|object| object.about.len() <= Limits::default().about));
    assert_eq!(read.problems.len(), 1);
}

#[test]
fn a_document_that_breaks_off_is_no_disaster() {
    for document in (0..BUNDLE.len()).filter_map(|end| BUNDLE.get(..end)) {
        lines(document, &Limits::default());
    }
}

proptest! {
    #[test]
    fn no_change_is_a_disaster(places in prop::collection::vec((0..BUNDLE.len(), any::<char>()), 1..8)) {
        let mut document = BUNDLE.to_owned();
        for (place, c) in places {
            if document.is_char_boundary(place) && document.is_char_boundary(place + 1) {
                document.replace_range(place..=place, c.encode_utf8(&mut [0; 4]));
            }
        }
        lines(&document, &Limits::default());
    }

    #[test]
    fn no_knot_is_a_disaster(links in prop::collection::vec((0..6usize, 0..6usize), 0..20)) {
        const KINDS: [&str; 6] = ["network-traffic", "domain-name", "observed-data", "sighting", "relationship", "email-message"];
        let objects = links.iter().map(|(from, to)| serde_json::json!({
            "type": KINDS[*from],
            "id": format!("x--{from}"), "value": "v", "dst_ref": format!("x--{to}"), "src_ref": format!("x--{from}"),
            "resolves_to_refs": [format!("x--{to}")], "to_refs": [format!("x--{to}")], "object_refs": [format!("x--{to}"), format!("x--{from}")],
            "sighting_of_ref": format!("x--{to}"), "source_ref": format!("x--{from}"), "target_ref": format!("x--{to}"), "relationship_type": "based-on",
        }));
        lines(&serde_json::Value::Array(objects.collect()).to_string(), &Limits::default());
    }
}
