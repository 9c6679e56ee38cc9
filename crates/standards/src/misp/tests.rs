//! Small events, and what is read of them, one line each.

use proptest::prelude::*;

use super::*;

fn lines(document: &str, limits: &Limits) -> Vec<String> {
    let read = match read(document, limits) {
        Ok(read) => read,
        Err(wrong) => return vec![format!("refused: {wrong}")],
    };
    let names = |tags: &[Tag<'_>]| tags.iter().map(|tag| tag.name.as_ref()).collect::<Vec<_>>().join(", ");
    let problem = |problem: &Problem<'_>| format!("problem: {}: {}", problem.place, problem.reason);
    let mut lines: Vec<String> = read.problems.iter().map(problem).collect();
    for event in &read.events {
        lines.push(format!("event {} {:?} [{}]", event.uuid, event.info, names(&event.tags)));
        for attribute in event.attributes() {
            lines.push(match &attribute {
                Ok(attribute) => {
                    let parts: Vec<String> = attribute.parts().map(|part| format!("{}: {}", part.kind, part.value)).collect();
                    let object = attribute.object.map(|object| {
                        let relation = attribute.relation.as_deref().unwrap_or_default();
                        format!(" of {}/{relation} [{}]", object.name, names(&object.tags))
                    });
                    format!("  {}{} [{}]", parts.join(", "), object.unwrap_or_default(), names(&attribute.tags))
                }
                Err(wrong) => problem(wrong),
            });
        }
    }
    lines
}

#[track_caller]
fn check(document: &str, expected: &[&str]) {
    assert_eq!(lines(document, &Limits::default()), expected);
}

const EVENT: &str = r##"{"Event": {
    "id": "17", "Attribute": [
        {"uuid": "a-1", "type": "domain", "category": "Network activity", "value": "bad.example", "to_ids": true, "comment": "seen in mail",
         "timestamp": "1700000000", "first_seen": "2023-11-14T00:00:00+00:00", "last_seen": null, "deleted": false, "object_relation": null,
         "Tag": [{"name": "phishing", "colour": "#ff0000"}, {"name": "tlp:green"}]},
        {"type": "ip-dst|port", "value": "192.0.2.1|443"}],
    "Object": [{"name": "file", "uuid": "o-1", "comment": "the loader", "Attribute": [
        {"type": "md5", "object_relation": "md5", "value": "d41d8cd98f00b204e9800998ecf8427e"},
        {"type": "size-in-bytes", "object_relation": "size-in-bytes", "value": 0}]}],
    "ShadowAttribute": [{"type": "domain", "value": "proposed.example"}],
    "RelatedEvent": [{"Event": {"uuid": "other"}}],
    "Galaxy": [{"type": "malpedia", "GalaxyCluster": [
        {"type": "malpedia", "value": "Emotet", "tag_name": "misp-galaxy:malpedia=\"Emotet\""},
        {"value": "QakBot"}]}],
    "Tag": [{"name": "tlp:amber"}, {"name": "misp-galaxy:malpedia=\"Emotet\""}],
    "Org": {"name": "Sharer"}, "Orgc": {"id": "2", "name": "Author"}, "uuid": "e-1", "info": "A made-up case", "date": "2023-11-14",
    "threat_level_id": "2", "analysis": 1, "published": "1", "timestamp": 1700000001}}"##;

#[test]
fn an_event_is_read() {
    let expected = [
        r#"event e-1 "A made-up case" [misp-galaxy:malpedia="Emotet", misp-galaxy:malpedia="QakBot", tlp:amber]"#,
        "  domain: bad.example [phishing, tlp:green]",
        "  ip-dst: 192.0.2.1, port: 443 []",
        "  md5: d41d8cd98f00b204e9800998ecf8427e of file/md5 [] []",
        "  size-in-bytes: 0 of file/size-in-bytes [] []",
    ];
    check(EVENT, &expected);
    let read = read(EVENT, &Limits::default()).expect("an event");
    let event = &read.events[0];
    assert_eq!((event.date.as_ref(), event.organisation.as_ref()), ("2023-11-14", "Author"));
    assert_eq!((event.threat_level, event.analysis, event.published, event.timestamp), (Some(2), Some(1), Some(true), Some(1_700_000_001)));
    let attribute = event.attributes().next().expect("one").expect("a good one");
    assert_eq!((attribute.uuid.as_ref(), attribute.category.as_ref()), ("a-1", "Network activity"));
    assert_eq!((attribute.comment.as_ref(), attribute.timestamp), ("seen in mail", Some(1_700_000_000)));
    assert_eq!((attribute.first_seen.as_deref(), attribute.last_seen.as_deref()), (Some("2023-11-14T00:00:00+00:00"), None));
    assert!(attribute.to_ids && !attribute.deleted && attribute.relation.is_none());
}

#[test]
fn texts_borrow_from_the_document() {
    let read = read(EVENT, &Limits::default()).expect("an event");
    let attribute = read.events[0].attributes().next().expect("one").expect("a good one");
    assert!(matches!((&attribute.value, &attribute.tags[0].name), (Cow::Borrowed(_), Cow::Borrowed(_))));
}

#[test]
fn all_forms_of_a_document_are_known() {
    let one = ["event e \"x\" []", "  domain: a.example []"];
    let event = r#"{"uuid": "e", "info": "x", "Attribute": [{"type": "domain", "value": "a.example"}]}"#;
    check(event, &one);
    check(&format!("\u{feff} {event}\n"), &one);
    check(&format!("[{event}]"), &one);
    check(&format!(r#"[{{"Event": {event}}}]"#), &one);
    check(&format!(r#"{{"response": [{{"Event": {event}}}]}}"#), &one);
    check(&format!(r#"{{"response": {{"Event": {event}}}}}"#), &one);
    check(r#"{"response": []}"#, &[]);
    check("[]", &[]);
}

#[test]
fn found_attributes_are_put_together_by_their_events() {
    let document = r#"{"response": {"Attribute": [
        {"type": "domain", "value": "a.example", "Event": {"id": "1", "uuid": "e-1", "info": "first"}},
        {"type": "domain", "value": "b.example", "Event": {"id": "2", "uuid": "e-2", "info": "second"}},
        {"type": "domain", "value": "c.example", "Event": {"id": "1", "uuid": "e-1", "info": "first"}, "Object": {"id": "7"}},
        {"type": "domain", "Event": {"id": "1", "uuid": "e-1", "info": "first"}}]}}"#;
    let expected = [
        r#"event e-1 "first" []"#,
        "  domain: a.example []",
        "  domain: c.example []",
        "problem: response.Attribute[3]: it has no value",
        r#"event e-2 "second" []"#,
        "  domain: b.example []",
    ];
    check(document, &expected);
    let objects = r#"{"response": [{"Object": {"name": "domain-ip", "Event": {"uuid": "e-1", "info": "first"},
                      "Attribute": [{"type": "domain", "value": "a.example"}]}}]}"#;
    check(objects, &[r#"event e-1 "first" []"#, "  domain: a.example of domain-ip/ [] []"]);
}

#[test]
fn a_manifest_has_events_without_attributes() {
    let document = r#"{"5f1c2a3e-0000-4000-8000-000000000001": {"info": "x", "Orgc": {"name": "y"}, "Tag": [{"name": "tlp:clear"}]}}"#;
    check(document, &["event 5f1c2a3e-0000-4000-8000-000000000001 \"x\" [tlp:clear]"]);
    assert_eq!(read(document, &Limits::default()).expect("a manifest").form, Form::Manifest);
    assert_eq!(read(EVENT, &Limits::default()).expect("an event").form, Form::Events);
}

#[test]
fn composite_types_are_two_values() {
    let check = |kind: &str, value: &str, expected: &str| {
        let document = format!(r#"{{"info": "", "Attribute": [{{"type": "{kind}", "value": "{value}"}}]}}"#);
        assert_eq!(lines(&document, &Limits::default())[1].trim_start().trim_end_matches(" []"), expected);
    };
    check("ip-src", "192.0.2.1", "ip-src: 192.0.2.1");
    check("domain|ip", "a.example|2001:db8::1", "domain: a.example, ip: 2001:db8::1");
    check("hostname|port", "a.example|80", "hostname: a.example, port: 80");
    check("filename|sha256", "a|b.exe|00ff", "filename: a|b.exe, sha256: 00ff");
    check("malware-sample", "a.exe|00ff", "filename: a.exe, md5: 00ff");
    check("regkey|value", "HKLM\\\\Run|a|b", "regkey: HKLM\\Run, value: a|b");
    check("yara", "a|b", "yara: a|b");
    let wrong = r#"problem: Attribute[0]: value "192.0.2.1": "ip-dst|port" is two values with "|" between"#;
    check("ip-dst|port", "192.0.2.1", wrong);
}

#[test]
fn tags_say_what_they_are_of() {
    let tag = |name: &'static str| Tag { name: name.into() };
    assert_eq!(tag("misp-galaxy:malpedia=\"Agent Tesla\"").cluster(), Some(("malpedia", "Agent Tesla")));
    assert_eq!(tag("rsit:fraud=\"phishing\"").triple(), Some(("rsit", "fraud", Some("phishing"))));
    assert_eq!(tag("rsit:fraud=\"phishing\"").cluster(), None);
    assert_eq!(tag("tlp:amber+strict").triple(), Some(("tlp", "amber+strict", None)));
    assert_eq!(tag("phishing").triple(), None);
}

#[test]
fn a_bad_part_loses_no_other() {
    let document = r#"{"Event": {"info": "x", "timestamp": "yesterday", "Attribute": [
        17,
        {"type": "domain", "value": NaN},
        {"type": "domain", "value": ["a.example"]},
        {"type": "domain", "value": "a.example", "to_ids": "perhaps"},
        {"type": "domain", "value": "a.example", "timestamp": "yesterday"},
        {"value": "a.example"},
        {"type": "domain", "value": "good.example", "to_ids": 1, "timestamp": 17, "first_seen": "", "x": {"y": [null]}}],
        "Object": ["none", {"name": ["file"], "Attribute": {"0": {"type": "md5", "value": ""}, "2": {"type": "md5", "value": "00ff"}}}]}}"#;
    let expected = [
        "problem: Event.timestamp: not what it should be",
        "problem: Event.Object[0]: not JSON: at byte 0, where \"{\" is expected",
        "problem: Event.Object[1].name: not what it should be",
        "event  \"x\" []",
        "problem: Event.Attribute[0]: not a JSON object",
        "problem: Event.Attribute[1]: not JSON: expected value at line 1 column 29",
        "problem: Event.Attribute[2]: value: not a text",
        "problem: Event.Attribute[3]: to_ids \"perhaps\": neither true nor false",
        "problem: Event.Attribute[4]: timestamp \"yesterday\": not a number of seconds",
        "problem: Event.Attribute[5]: it has no type",
        "  domain: good.example []",
        "problem: Event.Object[1].Attribute[0]: it has no value",
        "  md5: 00ff of / [] []",
    ];
    check(document, &expected);
}

#[test]
fn what_is_none_is_refused() {
    check("", &["refused: not JSON: it ends at byte 0, where \"{\" is expected"]);
    check("<html>", &["refused: not JSON: at byte 0, where \"{\" is expected"]);
    check(
        r#"{"message": "Forbidden"}"#,
        &[r#"refused: the document is no MISP event: it has no "Event", "Attribute", "Object" or "response""#],
    );
    check(r#"{"Event": {"info": "x""#, &["refused: not JSON: it ends at byte 22, where a closing bracket is expected"]);
    check("[{}, 1]", &["problem: [0]: neither an event nor an attribute", "problem: [1]: not JSON: at byte 0, where \"{\" is expected"]);
}

#[test]
fn there_are_limits() {
    let limits = Limits { bytes: 200, events: 2, attributes: 2 };
    let check = |document: &str, expected: &str| assert_eq!(lines(document, &limits)[0], expected);
    check(&" ".repeat(201), "refused: the document has 201 bytes, and 200 are read at most: split it");
    check(r#"[{"info": 1}, {"info": 2}, {"info": 3}]"#, "refused: a list of more than 2 elements");
    let two = r#"{"info": "", "Attribute": [{}, {}]}"#;
    check(&format!("[{two}, {two}]"), "refused: the document has more than 2 attributes: split it");
    check(r#"{"info": "", "Attribute": [{}, {}, {}]}"#, "problem: Attribute: a list of more than 2 elements");
    // What is passed over may be as deep as it likes, what is read may not.
    let deep = |name: &str| {
        format!(
            r#"{{"info": "x", "Attribute": [{{"type": "md5", "value": "0", "{name}": {}{}}}]}}"#,
            "[".repeat(50_000),
            "]".repeat(50_000)
        )
    };
    let read = lines(&deep("x"), &Limits::default());
    assert_eq!(read[1], "problem: Attribute[0]: not JSON: recursion limit exceeded at line 1 column 162");
}

/// Reads all that can be read: it must come to an end.
fn read_all(document: &str) {
    lines(document, &Limits::default());
}

#[test]
fn a_document_that_breaks_off_is_no_disaster() {
    (0..EVENT.len()).filter_map(|end| EVENT.get(..end)).for_each(read_all);
}

proptest! {
    #[test]
    fn no_change_is_a_disaster(places in prop::collection::vec((0..EVENT.len(), any::<char>()), 1..8)) {
        let mut document = EVENT.to_owned();
        for (place, c) in places {
            if document.is_char_boundary(place) && document.is_char_boundary(place + 1) {
                document.replace_range(place..=place, c.encode_utf8(&mut [0; 4]));
            }
        }
        read_all(&document);
    }

    #[test]
    fn no_pieces_put_together_are_a_disaster(pieces in prop::collection::vec("[\\[\\]{},:\"\\\\ 0a]|\"Event\":|\"Attribute\":\\[|\"response\":|\"Tag\":|\"type\":\"a\\|b\"", 0..40)) {
        read_all(&pieces.concat());
    }
}
