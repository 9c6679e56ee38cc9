//! Cells and times: what is read is canonical, and read again it is itself.

use event::{Field, Type, time, value};

/// The first byte chooses a field, the rest is a cell.
pub(crate) fn fuzz(input: &[u8]) {
    let Some((choice, cell)) = input.split_first() else { return };
    let Ok(cell) = std::str::from_utf8(cell) else { return };
    let fields: Vec<Field> = Field::all().filter(|field| is_text(*field)).collect();
    let field = fields[usize::from(*choice) % fields.len()];
    if let Ok(canonical) = value::text(field, cell, &mut String::new()) {
        assert!(canonical.len() <= value::LONGEST_TEXT);
        assert_eq!(value::text(field, canonical, &mut String::new()), Ok(canonical), "{}", field.name());
        // What is told canonical at a glance is so when it is looked at closely.
        assert_eq!(value::made_canonical(field, canonical, &mut String::new()), Ok(canonical), "{}", field.name());
        if field.kind() == Type::Url {
            let host = value::url_host(canonical).expect("a URL has a host");
            assert!(!host.is_empty(), "{canonical}");
        }
    }
    if value::is_canonical(field, cell.as_bytes()) && !cell.is_empty() {
        assert_eq!(value::made_canonical(field, cell, &mut String::new()), Ok(cell), "{}", field.name());
    }
    if let Ok(address) = value::ip(cell) {
        assert_eq!(value::ip(&address.to_string()), Ok(address));
    }
    if let Ok(network) = value::network(cell) {
        assert_eq!(value::network(&network.to_string()), Ok(network));
    }
    if let Ok(asn) = value::asn(cell) {
        assert_eq!(value::asn(&asn.to_string()), Ok(asn));
    }
    if let Ok(number) = value::integer(cell) {
        assert_eq!(value::integer(&number.to_string()), Ok(number));
    }
    let (_, _, _, _) = (value::port(cell), value::float(cell), value::percent(cell), value::boolean(cell));
    assert!(value::refang(cell).len() <= cell.len());
}

fn is_text(field: Field) -> bool {
    !matches!(field.kind(), Type::Integer | Type::Float | Type::Percent | Type::Boolean | Type::Asn | Type::Port | Type::Time)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const CELLS: &[&str] = &[
        "192.0.2.1",
        "192[.]0[.]2[.]1",
        "2001:db8::1",
        "::ffff:192.0.2.1",
        "192.0.2.0/24",
        "hxxp://Example[.]org:80/a%20b?c=d#e",
        "https://user:word@xn--fiqs8s.example/..//",
        "例.example",
        "WWW.Example.ORG.",
        "AS64496",
        "d41d8cd98f00b204e9800998ecf8427e",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "a@b.example",
        "tcp",
        "infected-system",
        "TLP:AMBER+STRICT",
        "{\"a\":[1,2.5,null,\"\\u00e9\"]}",
        "123e4567-e89b-12d3-a456-426614174000",
    ];
    (0..=u8::try_from(Field::all().count()).unwrap_or(u8::MAX))
        .zip(CELLS.iter().cycle())
        .map(|(choice, cell)| [&[choice], cell.as_bytes()].concat())
        .chain(CELLS.iter().flat_map(|cell| (0..64).step_by(7).map(move |choice| [&[choice], cell.as_bytes()].concat())))
        .collect()
}

/// Times in every form, spans and offsets.
pub(crate) fn fuzz_time(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (format, text) = text.split_once('\n').unwrap_or(("%Y-%m-%d %H:%M:%S", text));
    for at in
        [time::parse(text), time::parse_at(text, 28_800), time::epoch(text), time::with_format(text, format, -3600)].into_iter().flatten()
    {
        assert_eq!(time::parse(&time::iso(at)), Ok(at), "{}", time::iso(at));
        assert!(time::iso(at).starts_with(&time::day_name(time::day(at))));
        assert!(time::day_name(time::day(at)).starts_with(&time::month_name(time::day(at))));
    }
    if let Ok(span) = time::span(text) {
        assert_eq!(time::span(&time::span_text(span)), Ok(span));
    }
    if let Ok(offset) = time::offset(text) {
        assert!(offset.abs() <= 15 * 3600);
    }
}

pub(crate) fn time_seeds() -> Vec<Vec<u8>> {
    const TIMES: &[&str] = &[
        "2026-03-01 10:00:00",
        "2026-03-01T10:00:00.123456Z",
        "2026-03-01T10:00:00+08:00",
        "1772517600",
        "1772517600.5",
        "1772517600000",
        "Sun, 01 Mar 2026 10:00:00 +0000",
        "01/Mar/2026:10:00:00 +0100",
        "20260301",
        "March 1, 2026",
        "%d/%m/%Y %H.%M\n01/03/2026 10.00",
        "1d2h3m4s",
        "+08:00",
        "-0330",
    ];
    TIMES.iter().map(|text| text.as_bytes().to_vec()).collect()
}
