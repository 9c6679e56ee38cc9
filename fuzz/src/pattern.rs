//! STIX patterns: what is read, written by the grammar, is read as the same.

use std::fmt::Write as _;

use standards::stix::pattern::{Comparison, Literal, Observation, Path, Qualifier, Step, Test, parse};

pub(crate) fn fuzz(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(observation) = parse(text) else { return };
    let written = written(&observation);
    let again = parse(&written).unwrap_or_else(|wrong| panic!("{wrong}: {written}"));
    assert_eq!(self::written(&again), written);
}

fn joined(word: &str, parts: impl Iterator<Item = String>) -> String {
    format!("({})", parts.collect::<Vec<_>>().join(word))
}

fn written(observation: &Observation<'_>) -> String {
    match observation {
        Observation::One(comparison) => format!("[{}]", written_comparison(comparison)),
        Observation::All(parts) => joined(" AND ", parts.iter().map(written)),
        Observation::Any(parts) => joined(" OR ", parts.iter().map(written)),
        Observation::Sequence(parts) => joined(" FOLLOWEDBY ", parts.iter().map(written)),
        Observation::Qualified(observation, qualifiers) => {
            let mut text = format!("({})", written(observation));
            for qualifier in qualifiers {
                match qualifier {
                    Qualifier::WithinSeconds(number) => write!(text, " WITHIN {number} SECONDS"),
                    Qualifier::Repeats(number) => write!(text, " REPEATS {number} TIMES"),
                    Qualifier::Between { start, stop } => write!(text, " START t'{start}' STOP t'{stop}'"),
                }
                .expect("a string");
            }
            text
        }
    }
}

fn written_comparison(comparison: &Comparison<'_>) -> String {
    match comparison {
        Comparison::Test(test) => written_test(test),
        Comparison::All(parts) => joined(" AND ", parts.iter().map(written_comparison)),
        Comparison::Any(parts) => joined(" OR ", parts.iter().map(written_comparison)),
    }
}

fn written_test(Test { path, negated, operator, values, .. }: &Test<'_>) -> String {
    let path = written_path(path);
    let not = if *negated { "NOT " } else { "" };
    let values: Vec<String> = values.iter().map(literal).collect();
    match (operator.name(), values.as_slice()) {
        ("EXISTS", _) => format!("{not}EXISTS {path}"),
        ("IN", values) => format!("{path} {not}IN ({})", values.join(", ")),
        (name, values) => format!("{path} {not}{name} {}", values.join(", ")),
    }
}

fn written_path(Path { object, steps }: &Path<'_>) -> String {
    let mut path = format!("{object}:");
    for (place, step) in steps.iter().enumerate() {
        match step {
            Step::Key(key) => path += &format!("{}{}", if place == 0 { "" } else { "." }, quoted(key)),
            Step::Index(index) => path += &format!("[{index}]"),
            Step::Any => path += "[*]",
        }
    }
    path
}

fn literal(literal: &Literal<'_>) -> String {
    match literal {
        Literal::Text(text) => quoted(text),
        Literal::Number(number) => (*number).to_owned(),
        Literal::Bool(yes) => yes.to_string(),
        Literal::Time(time) => format!("t'{time}'"),
        Literal::Hex(digits) => format!("h'{digits}'"),
        Literal::Base64(text) => format!("b'{text}'"),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const PATTERNS: &[&str] = &[
        "[ipv4-addr:value = '192.0.2.1']",
        "[file:hashes.'SHA-256' = 'aec0' AND file:size > 17] OR [url:value LIKE 'http://%.example/_']",
        "([a:b = 1] FOLLOWEDBY [c:d IN ('x', 'y', 3)]) WITHIN 300 SECONDS REPEATS 5 TIMES",
        "[x:y.z[*].w[3] NOT MATCHES '^a.*\\\\.b$'] START t'2026-01-01T00:00:00Z' STOP t'2026-02-01T00:00:00Z'",
        "[x:y = h'00ff' OR x:y = b'AAAA' OR x:y = t'2023-11-14T00:00:00.5Z' OR x:y != true]",
        "[NOT x:y ISSUBSET '198.51.100.0/24' AND (x:z ISSUPERSET '10.0.0.0/8' OR EXISTS x:q)]",
        "[file:hashes.SHA-256 = 'C:\\Windows' and x:y in ()]",
    ];
    PATTERNS.iter().map(|text| text.as_bytes().to_vec()).collect()
}
