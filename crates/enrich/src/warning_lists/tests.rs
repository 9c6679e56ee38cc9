//! What each type of list finds, laid out as list, values and whether they are on it.

use std::sync::Arc;

use event::{Field, value};

use super::*;

fn list(matching: &str, attributes: &str, entries: &[&str]) -> Arc<WarningList> {
    let attributes: Vec<&str> = attributes.split(' ').collect();
    let document =
        serde_json::json!({ "name": "a list", "version": 1, "type": matching, "matching_attributes": attributes, "list": entries });
    Arc::new(WarningList::parse(&document.to_string()).expect("a list"))
}

/// The value of a text, in the form that it has at rest.
fn value<'a>(subject: &str, text: &'a str, out: &'a mut String) -> Value<'a> {
    match subject {
        "address" => Value::Address(value::ip(text).expect("an address")),
        "network" => Value::Network(value::network(text).expect("a network")),
        "host" => Value::Host(value::text(Field::SOURCE_FQDN, text, out).expect("a host name")),
        "url" => Value::Url(value::text(Field::SOURCE_URL, text, out).expect("a URL")),
        "hash" => Value::Hash(text),
        "system" => Value::System(text.parse().expect("a number")),
        "mail" => Value::Mail(text),
        _ => panic!("no subject {subject}"),
    }
}

/// What stands first in a line is the subject, then the value; those that must be found have a `+` between.
#[track_caller]
fn check(list: Arc<WarningList>, lines: &str) {
    assert_eq!(list.unusable, [""; 0]);
    let lists = WarningLists::of(vec![list]).expect("a list");
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let [subject, sign, text] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("subject, sign, value: {line}") };
        let (mut out, mut found) = (String::new(), Vec::new());
        let is_found = !lists.hits(value(subject, text, &mut out), &mut found).is_empty();
        assert_eq!(is_found, sign == "+", "{line}");
    }
}

#[test]
fn a_string_is_the_whole_value() {
    check(
        list(
            "string",
            "domain ip-src url md5 sha256 AS email-src",
            &[
                "example.com",
                ".example.org",
                "WWW.Example.net",
                "bücher.example",
                "192.0.2.1",
                "2001:DB8::1",
                "198.51.100.0/24",
                "http://example.com/A",
                "https://example.net",
                "example.com/login",
                "D41D8CD98F00B204E9800998ECF8427E",
                "AS64496",
                "Someone@Example.com",
            ],
        ),
        "
        host    +  example.com
        host    +  Example.COM
        host    -  www.example.com
        host    -  example.com.hk
        host    -  example.org
        host    -  www.example.org
        host    +  www.example.net
        host    +  bücher.example
        host    +  xn--bcher-kva.example
        address +  192.0.2.1
        address +  ::ffff:192.0.2.1
        address -  192.0.2.11
        address +  2001:db8::1
        address -  198.51.100.1
        network +  198.51.100.0/24
        network -  198.51.100.0/25
        network -  198.51.100.0/23
        url     +  http://example.com/A
        url     -  http://example.com/a
        url     -  http://example.com/login
        url     -  http://example.com/
        url     +  https://example.net/
        url     -  http://example.net/
        hash    +  d41d8cd98f00b204e9800998ecf8427e
        hash    -  d41d8cd98f00b204e9800998ecf8427f
        system  +  64496
        system  -  64497
        mail    +  someone@example.com
        mail    +  Someone@EXAMPLE.com
        mail    -  else@example.com
        ",
    );
}

#[test]
fn a_substring_is_anywhere_in_the_value() {
    check(
        list("substring", "domain ip-src url email-src", &["example.", "/Wp-Login", "192.0.2.5", "bücher", ".invalid", ".invalid"]),
        "
        host    +  example.com
        host    +  myexample.com
        host    +  www.example.co.hk
        host    -  examples.com
        host    +  bücher.com
        host    -  bcher.com
        host    +  a.invalid
        url     +  http://198.51.100.1/wp-login.php
        url     +  http://198.51.100.1/WP-LOGIN
        url     -  http://198.51.100.1/login
        url     +  https://a.invalid/
        address +  192.0.2.5
        address +  192.0.2.51
        address -  192.0.2.1
        network +  192.0.2.52/30
        mail    +  a@EXAMPLE.com
        mail    +  a@bücher.hk
        ",
    );
}

#[test]
fn a_host_name_is_the_host_or_above_it() {
    check(
        list(
            "hostname",
            "domain ip-src url email-src",
            &["example.com", ".example.org", "example.net.", "Bücher.example", "gov", "192.0.2.1", "2.1", "2001:DB8::1"],
        ),
        "
        host    +  example.com
        host    +  www.example.com
        host    +  a.b.example.com
        host    -  myexample.com
        host    -  example.com.hk
        host    -  com.example
        host    -  example.org
        host    +  www.example.org
        host    +  example.net
        host    +  www.bücher.example
        host    +  any.gov
        host    -  gov.hk
        url     +  http://example.com/
        url     +  https://user@www.example.com:8080/a?b
        url     -  http://example.org/
        url     +  http://www.example.org/example.hk
        url     -  http://a.hk/example.com
        url     -  http://example.com@a.hk/
        url     +  http://192.0.2.1/a
        url     -  http://198.51.2.1/
        url     +  http://[2001:db8::1]:80/
        address +  192.0.2.1
        address -  198.51.2.1
        address +  2001:db8::1
        mail    +  a@example.com
        mail    +  a@www.example.com
        mail    -  a@example.org
        mail    -  example.com@a.hk
        ",
    );
}

#[test]
fn a_network_has_addresses_and_smaller_networks() {
    check(
        list(
            "cidr",
            "ip-src domain url",
            &[
                "192.0.2.0/25",
                "192.0.2.0/26",
                "192.0.2.128/26",
                "192.0.2.192/26",
                "198.51.100.7",
                "203.0.113.0/255.255.255.128",
                "255.255.255.255",
                "0.0.0.0/31",
                "2001:DB8::/32",
                "2001:db9::1",
                "::ffff:10.0.0.0/104",
                "ffff::/16",
            ],
        ),
        "
        address -  192.0.1.255
        address +  192.0.2.0
        address +  192.0.2.63
        address +  192.0.2.64
        address +  192.0.2.255
        address -  192.0.3.0
        address -  198.51.100.6
        address +  198.51.100.7
        address -  198.51.100.8
        address +  203.0.113.127
        address -  203.0.113.128
        address +  255.255.255.255
        address -  255.255.255.254
        address +  0.0.0.1
        address -  0.0.0.2
        address +  10.1.2.3
        address +  ::ffff:10.1.2.3
        address -  2001:db7:ffff:ffff:ffff:ffff:ffff:ffff
        address +  2001:db8::
        address +  2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
        address -  2001:db9::
        address +  2001:db9::1
        address +  ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
        address -  ::1
        network +  192.0.2.0/25
        network +  192.0.2.32/27
        network +  192.0.2.0/24
        network -  192.0.2.0/23
        network -  192.0.0.0/22
        network +  198.51.100.7/32
        network -  198.51.100.6/31
        network -  0.0.0.0/0
        network +  2001:db8::/33
        network -  2001:db8::/31
        host    -  example.com
        url     -  http://192.0.2.1/
        ",
    );
}

#[test]
fn everything_may_be_listed() {
    check(
        list("cidr", "ip-src", &["0.0.0.0/0", "::/0"]),
        "
        address +  0.0.0.0
        address +  255.255.255.255
        address +  ::
        address +  ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
        network +  0.0.0.0/0
        network +  ::/0
        ",
    );
}

#[test]
fn a_regular_expression_finds_something_in_the_value() {
    check(
        list(
            "regex",
            "domain ip-src url email-src",
            &[r"/^(security|noc|abuse)\@.*\..*$/i", r"^cdn[0-9]+\.", r"/\/login\/$/", "#/a/#i", r"^192\.0\.2\.", "bücher"],
        ),
        "
        mail    +  noc@example.com
        mail    +  NOC@example.com
        mail    -  anoc@example.com
        mail    +  a@bücher.example
        host    +  cdn12.example.com
        host    -  cdn.example.com
        host    -  www.cdn12.example.com
        url     +  http://example.com/login/
        url     -  http://example.com/login
        url     +  http://example.com/A/b
        address +  192.0.2.77
        address -  192.0.20.77
        network +  192.0.2.0/24
        ",
    );
}

#[test]
fn a_list_is_asked_of_what_it_is_about() {
    check(list("string", "domain", &["example.com", "192.0.2.1"]), "host + example.com\naddress - 192.0.2.1\nurl - http://example.com/");
    check(list("hostname", "url", &["example.com"]), "host - example.com\nmail - a@example.com\nurl + http://example.com/");
    check(list("substring", "email-src", &["example"]), "host - example.com\nmail + a@example.com\nurl - http://example.com/");
    check(list("cidr", "domain|ip", &["192.0.2.0/24"]), "address + 192.0.2.1\nnetwork + 192.0.2.0/25");
    check(list("string", "azure-application-id", &["example.com"]), "host - example.com");
    check(list("string", "filename|md5", &["00000000000000000000000000000000"]), "hash + 00000000000000000000000000000000");
    check(list("string", "sha1", &["00000000000000000000000000000000"]), "hash - 00000000000000000000000000000000\nhash - 0");
}

#[test]
fn hits_come_in_the_order_of_lists_and_once() {
    let lists = WarningLists::of(vec![
        list("regex", "domain", &["example", "com"]),
        list("cidr", "ip-src", &["192.0.2.0/24"]),
        list("hostname", "domain", &["com", "example.com", ".example.com"]),
        list("substring", "domain ip-src", &["example", "exam", "192.0.2.1"]),
        list("cidr", "ip-src", &["192.0.2.0/24", "192.0.2.0/25", "192.0.2.0/24"]),
        list("string", "domain", &["www.example.com", "www.example.com", "WWW.example.com"]),
    ])
    .expect("lists");
    let mut found = vec![7];
    assert_eq!(lists.hits(Value::Host("www.example.com"), &mut found), [0, 2, 3, 5]);
    assert_eq!(lists.hits(Value::Address([192, 0, 2, 1].into()), &mut found), [1, 3, 4]);
    assert_eq!(lists.hits(Value::Address([192, 0, 3, 1].into()), &mut found), [0; 0]);
    assert_eq!(lists.hits(Value::Host("a.hk"), &mut found), [0; 0]);
}

#[test]
fn no_lists_find_nothing() {
    let lists = WarningLists::of(Vec::new()).expect("no lists");
    for value in [Value::Address([0, 0, 0, 0].into()), Value::Host("example.com"), Value::Url("http://example.com/"), Value::Hash("")] {
        assert_eq!(lists.hits(value, &mut Vec::new()), [0; 0]);
    }
}

#[test]
fn a_list_that_repeats_itself_is_read_at_once() {
    let repeated = vec!["www.example.com"; 200_000];
    for matching in ["string", "hostname", "substring"] {
        let lists = WarningLists::of(vec![list(matching, "domain", &repeated)]).expect("a list");
        assert_eq!(lists.hits(Value::Host("www.example.com"), &mut Vec::new()), [0]);
    }
}
