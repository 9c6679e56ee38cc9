//! Patterns, and their trees written so that they can be read.

use proptest::prelude::*;

use super::*;

fn shown(observation: &Observation<'_>) -> String {
    match observation {
        Observation::One(comparison) => format!("[{}]", shown_comparison(comparison)),
        Observation::All(parts) => joined(" and ", parts.iter().map(shown)),
        Observation::Any(parts) => joined(" or ", parts.iter().map(shown)),
        Observation::Sequence(parts) => joined(" then ", parts.iter().map(shown)),
        Observation::Qualified(observation, qualifiers) => format!("{} {qualifiers:?}", shown(observation)),
    }
}

fn shown_comparison(comparison: &Comparison<'_>) -> String {
    match comparison {
        Comparison::Test(test) => shown_test(test),
        Comparison::All(parts) => joined(" and ", parts.iter().map(shown_comparison)),
        Comparison::Any(parts) => joined(" or ", parts.iter().map(shown_comparison)),
    }
}

fn shown_test(test: &Test<'_>) -> String {
    let steps: Vec<String> = test
        .path
        .steps
        .iter()
        .map(|step| match step {
            Step::Key(key) => format!("<{key}>"),
            Step::Index(index) => format!("#{index}"),
            Step::Any => "#any".to_owned(),
        })
        .collect();
    let values: Vec<String> =
        test.values.iter().map(|value| format!("{value:?}").replace("Borrowed(", "(").replace("Owned(", "(")).collect();
    let not = if test.negated { "not " } else { "" };
    format!("{}{} {not}{} {}", test.path.object, steps.concat(), test.operator.name(), values.join(" "))
}

fn joined(word: &str, parts: impl Iterator<Item = String>) -> String {
    format!("({})", parts.collect::<Vec<_>>().join(word))
}

#[track_caller]
fn check(pattern: &str, expected: &str) {
    assert_eq!(parse(pattern).map_or_else(|wrong| wrong.to_string(), |observation| shown(&observation)), expected);
}

#[test]
fn values_have_types() {
    check("[ipv4-addr:value = '192.0.2.1']", r#"[ipv4-addr<value> = Text("192.0.2.1")]"#);
    check("[file:size==+17]", r#"[file<size> = Number("17")]"#);
    check("[x:y != -0.5]", r#"[x<y> != Number("-0.5")]"#);
    check("[x:y <> true]", r#"[x<y> != Bool(true)]"#);
    check("[x:y >= t'2023-11-14T00:00:00.5Z']", r#"[x<y> >= Time("2023-11-14T00:00:00.5Z")]"#);
    check("[x:y = h'00ff']", r#"[x<y> = Hex("00ff")]"#);
    check("[x:y = b'AAAA']", r#"[x<y> = Base64("AAAA")]"#);
    check("[x:y IN ('a', 'b',3)]", r#"[x<y> IN Text("a") Text("b") Number("3")]"#);
    check("[x:y NOT IN ()]", "[x<y> not IN ]");
}

#[test]
fn operators_are_words_and_signs() {
    check("[url:value LIKE 'http://%']", r#"[url<value> LIKE Text("http://%")]"#);
    check("[url:value NOT MATCHES '^a$']", r#"[url<value> not MATCHES Text("^a$")]"#);
    check("[ipv4-addr:value ISSUBSET '192.0.2.0/24']", r#"[ipv4-addr<value> ISSUBSET Text("192.0.2.0/24")]"#);
    check("[ipv4-addr:value ISSUPERSET '192.0.2.0/24']", r#"[ipv4-addr<value> ISSUPERSET Text("192.0.2.0/24")]"#);
    check("[x:y < 1 OR x:y <= 1 OR x:y > 1]", r#"[(x<y> < Number("1") or x<y> <= Number("1") or x<y> > Number("1"))]"#);
    check("[EXISTS x:y]", "[x<y> EXISTS ]");
}

#[test]
fn paths_go_into_lists_and_quotes() {
    check("[file:hashes.'SHA-256' = 'a']", r#"[file<hashes><SHA-256> = Text("a")]"#);
    check("[file:hashes.SHA-256 = 'a']", r#"[file<hashes><SHA-256> = Text("a")]"#);
    check("[x:'a\\'b'[0].c[*] = 'a']", r#"[x<a'b>#0<c>#any = Text("a")]"#);
    check("[x : a . b [ -1 ] = 'a']", r#"[x<a><b>#-1 = Text("a")]"#);
}

#[test]
fn and_binds_before_or_and_brackets_before_both() {
    check("[a:b=1 OR a:c=2 AND a:d=3]", r#"[(a<b> = Number("1") or (a<c> = Number("2") and a<d> = Number("3")))]"#);
    check("[(a:b=1 OR a:c=2) AND a:d=3]", r#"[((a<b> = Number("1") or a<c> = Number("2")) and a<d> = Number("3"))]"#);
    check(
        "[a:b=1] FOLLOWEDBY [a:c=2] OR [a:d=3] AND [a:e=4]",
        r#"([a<b> = Number("1")] then ([a<c> = Number("2")] or ([a<d> = Number("3")] and [a<e> = Number("4")])))"#,
    );
    check("([a:b=1] OR [a:c=2]) AND [a:d=3]", r#"(([a<b> = Number("1")] or [a<c> = Number("2")]) and [a<d> = Number("3")])"#);
}

#[test]
fn qualifiers_belong_to_what_stands_before_them() {
    check("[a:b=1] AND [a:c=2] WITHIN 0.5 SECONDS", r#"([a<b> = Number("1")] and [a<c> = Number("2")] [WithinSeconds("0.5")])"#);
    check("([a:b=1]) REPEATS 5 TIMES WITHIN 60 SECONDS", r#"[a<b> = Number("1")] [Repeats("5"), WithinSeconds("60")]"#);
    check(
        "[a:b=1] START t'2023-11-14T00:00:00Z' STOP '2023-11-15T00:00:00Z'",
        r#"[a<b> = Number("1")] [Between { start: "2023-11-14T00:00:00Z", stop: "2023-11-15T00:00:00Z" }]"#,
    );
}

#[test]
fn only_quotes_and_backslashes_are_escaped() {
    check(r"[a:b='it\'s']", r#"[a<b> = Text("it's")]"#);
    check(r"[a:b='C:\\dir\\']", r#"[a<b> = Text("C:\\dir\\")]"#);
    check(r"[a:b='C:\Windows\n']", r#"[a<b> = Text("C:\\Windows\\n")]"#);
    check("[a:b='']", r#"[a<b> = Text("")]"#);
    check("[a:b='香港']", r#"[a<b> = Text("香港")]"#);
}

#[test]
fn spaces_and_comments_are_passed_over() {
    check("/* a */ [ a:b // ]\n = 'c' ] // end", r#"[a<b> = Text("c")]"#);
    check("\u{a0}[a:b='/* no */ // no']", r#"[a<b> = Text("/* no */ // no")]"#);
    check("[a:b='1'and a:or='2']", r#"[(a<b> = Text("1") and a<or> = Text("2"))]"#);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    check("", "after 0 characters of the pattern, \"[\" or \"(\" is expected");
    check("香 [a:b=1]", "after 0 characters of the pattern, \"[\" or \"(\" is expected");
    check("[]", "after 1 characters of the pattern, the type of an object, and \":\" is expected");
    check("[a=1]", "after 2 characters of the pattern, \":\" is expected");
    check("[a:b]", "after 4 characters of the pattern, a comparison's operator is expected");
    check("[a:b = 香]", "after 7 characters of the pattern, a value (a text stands in quotes) is expected");
    check("[a:b = 'c]", "after 7 characters of the pattern, the quote that ends this text is expected");
    check("[a:b = 'c'", "after 10 characters of the pattern, an operator or \"]\" is expected");
    check("[a:b = 'c'] x", "after 12 characters of the pattern, an operator, a qualifier or the end is expected");
    check("[a:b = 'c'] WITHIN -5 SECONDS", "after 18 characters of the pattern, a number that is not negative is expected");
    check("[a:b = 'c'] REPEATS 5 SECONDS", "after 22 characters of the pattern, \"TIMES\" is expected");
    check("[a:b = t'2023-13-14T00:00:00Z']", "after 7 characters of the pattern, a time: t'2016-06-01T01:30:00Z' is expected");
    check("[a:b = 007]", "after 7 characters of the pattern, a value (a text stands in quotes) is expected");
    check("[a:b LIKE 5]", "after 10 characters of the pattern, a text in quotes is expected");
}

#[test]
fn brackets_are_not_endless() {
    let deep = |depth: usize| format!("[{}a:b=1{}]", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&deep(DEEPEST - 1)).is_ok());
    check(&deep(DEEPEST), "after 65 characters of the pattern, an end of opening brackets (64 at most) is expected");
    assert!(parse(&"(".repeat(1_000_000)).is_err());
    assert!(parse(&format!("[a:b IN ({}1)]", "1,".repeat(MOST))).is_err());
}

proptest! {
    #[test]
    fn no_text_is_a_disaster(pieces in prop::collection::vec("[\\[\\]()'\\\\.:=<>*,a1 t]|AND|OR|NOT|IN|LIKE|WITHIN|START|a:b=|'c'|/\\*|//|香", 0..60)) {
        let text = pieces.concat();
        let _parsed = parse(&text);
        let _parsed = parse(&format!("[a:b={text}"));
    }
}
