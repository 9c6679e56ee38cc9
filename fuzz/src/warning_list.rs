//! A warning list, and values held against it.

use std::sync::Arc;

use enrich::warning_lists::{Value, WarningList, WarningLists};
use event::value;

/// A value on the first line, a list in what follows.
pub(crate) fn fuzz(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Some((asked, document)) = text.split_once('\n') else { return };
    let Ok(list) = WarningList::parse(document) else { return };
    assert!(list.len() <= document.len());
    let list = Arc::new(list);
    // Beside itself a list says the same as alone.
    let Ok(alone) = WarningLists::of(vec![list.clone()]) else { return };
    let twice = WarningLists::of(vec![list.clone(), list]).expect("one can be had, and is short");
    let mut values = vec![Value::Host(asked), Value::Url(asked), Value::Hash(asked), Value::Mail(asked)];
    values.extend(value::ip(asked).map(Value::Address));
    values.extend(value::network(asked).map(Value::Network));
    values.extend(value::asn(asked).ok().and_then(|asn| asn.try_into().ok()).map(Value::System));
    for value in values {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let one = alone.hits(value, &mut one).to_vec();
        let two = twice.hits(value, &mut two).to_vec();
        assert!(one.len() <= 1);
        assert_eq!(two, one.iter().flat_map(|_| [0, 1]).collect::<Vec<u16>>());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let list = |asked: &str, matching: &str, entries: &str| {
        format!("{asked}\n{{\"name\":\"a\",\"description\":\"b\",\"version\":1,\"type\":\"{matching}\",\"matching_attributes\":[],\"list\":{entries}}}").into_bytes()
    };
    vec![
        list("192.0.2.1", "cidr", r#"["192.0.2.0/24","2001:db8::/32","198.51.100.1"]"#),
        list("www.example.org", "hostname", r#"["example.org",".example.com"]"#),
        list("http://a.example/b", "substring", r#"["a.example","/b"]"#),
        list("d41d8cd98f00b204e9800998ecf8427e", "string", r#"{"d41d8cd98f00b204e9800998ecf8427e":"of nothing"}"#),
        list("a@b.example", "regex", r#"["/^a@/i","b\\.example$"]"#),
        list("64496", "string", r#"["AS64496",64497]"#),
    ]
}
