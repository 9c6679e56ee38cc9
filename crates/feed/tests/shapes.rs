//! Delimited text as it comes: which cells a report falls into, whatever its writer did to it.

use std::fmt::Write as _;
use std::io::{self, Read};

use feed::catalog::File;
use feed::{Catalog, Splitter};
use proptest::prelude::*;

/// A feed whose form is this.
fn catalog(form: &str) -> Catalog {
    let provider = "name = \"Example\"\ntlp = \"green\"\n";
    let table = format!(
        "name = \"Odd\"\nformat = \"csv\"\nmeans = \"blacklist\"\nkind = \"listing\"\nasset = \"source.ip\"\ndelivers = \"list\"\n\
         {form}\n[rows]\nip = \"source.ip\"\n"
    );
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let catalog = Catalog::read(&[file("example/provider.toml", provider), file("example/odd.toml", &table)]);
    assert!(catalog.broken.is_empty(), "{:?}", catalog.broken);
    catalog
}

/// Rows as `LINE: CELL|CELL`, then rejects as `rejected LINE: REASON`.
fn read(form: &str, report: impl Read) -> String {
    let catalog = catalog(form);
    let mut splitter = Splitter::new(catalog.feed("example/odd").expect("just made"), report);
    let (mut out, mut rejected) = (String::new(), String::new());
    while let Some(rows) = splitter.next_rows().expect("reads from memory") {
        for (row, (line, _)) in rows.lines.iter().enumerate() {
            let cells: Vec<&str> = (0..rows.header.names.len()).map(|column| rows.whole_cell(row, column)).collect();
            writeln!(out, "{line}: {}", cells.join("|")).expect("a string");
        }
        for reject in &rows.rejects {
            writeln!(rejected, "rejected {}: {}", reject.line, reject.reason).expect("a string");
        }
    }
    out + &rejected
}

#[test]
fn a_report_falls_into_its_cells() {
    let unclosed = "rejected 2: a quote is opened and never closed\n";
    // What is odd about it, the form where it is not the usual one, the report, and what it is cut into.
    let cases: [(&str, &str, &[u8], &str); 24] = [
        ("nothing", "", b"ip,port\n192.0.2.1,80\n", "2: 192.0.2.1|80\n"),
        ("no line end at the end", "", b"ip,port\n192.0.2.1,80", "2: 192.0.2.1|80\n"),
        ("no rows", "", b"ip,port\n", ""),
        ("no bytes", "", b"", ""),
        ("a byte order mark", "", b"\xef\xbb\xbfip,port\n192.0.2.1,80\n", "2: 192.0.2.1|80\n"),
        ("UTF-16 with its mark", "", b"\xff\xfei\0p\0\n\0\xe9\0\n\0", "2: \u{e9}\n"),
        ("a line that is not UTF-8", "", b"ip,name\n1,\xe9t\xe9\n2,\xc3\xa9\n", "2: 1|\u{e9}t\u{e9}\n3: 2|\u{e9}\n"),
        ("CRLF", "", b"ip,port\r\n192.0.2.1,80\r\n\"192.0.2.2\",\"81\"\r\n", "2: 192.0.2.1|80\n3: 192.0.2.2|81\n"),
        ("CRLF but for one", "", b"ip,port\r\n192.0.2.1,80\n192.0.2.2,81\r\n", "2: 192.0.2.1|80\n3: 192.0.2.2|81\n"),
        ("a NUL", "", b"ip,port\n192.0\0.2.1,80\n", "2: 192.0\0.2.1|80\n"),
        ("blank lines", "", b"\nip,port\n\n192.0.2.1,80\n\r\n", "4: 192.0.2.1|80\n"),
        ("empty cells", "", b"ip,port\n,\n\"\",\"\"\n", "2: |\n3: |\n"),
        ("white space", "", b"ip,port\n 192.0.2.1 , 80 \n", "2:  192.0.2.1 | 80 \n"),
        ("quotes for nothing", "", b"\"ip\",\"port\"\n\"192.0.2.1\",80\n", "2: 192.0.2.1|80\n"),
        ("a separator within quotes", "", b"ip,name\n1,\"a, b\"\n", "2: 1|a, b\n"),
        ("a line end within quotes", "", b"ip,name\n1,\"a\nb\"\n2,c\n", "2: 1|a\nb\n4: 2|c\n"),
        ("a quote within quotes", "", b"ip,name\n1,\"a \"\"b\"\"\"\n2,\"\"\"\"\n", "2: 1|a \"b\"\n3: 2|\"\n"),
        ("a quote within a cell", "", b"ip,name\n1,5\" disk\n", "2: 1|5\" disk\n"),
        ("something after the quote", "", b"ip,name\n1,\"a\"b\n2,\"a\" \n", "2: 1|ab\n3: 2|a \n"),
        ("a quote that is never closed", "", b"ip,name\n1,\"a\n2,b\n", &format!("3: 2|b\n{unclosed}")),
        (
            "too few cells and too many",
            "",
            b"ip,port\n1\n2,3\n4,5,6\n",
            "3: 2|3\nrejected 2: 1 cell, where the header has 2\nrejected 4: 3 cells, where the header has 2\n",
        ),
        ("a column that comes twice", "", b"ip,ip\n1,2\n", "2: 1|2\n"),
        ("tabs, and quotes that are none", "[csv]\nseparator = \"\\t\"\nquote = \"\"", b"ip\tname\n1\t\"a\n", "2: 1|\"a\n"),
        (
            "comments, the last of them the header, after two lines of no use",
            "[csv]\nseparator = \";\"\ncomment = \"#\"\nheader = \"commented\"\nskip = 2",
            b"<html>\n\"\n# a list\n# ip;port\n192.0.2.1;80\n# 192.0.2.2;81\n192.0.2.3;82\n",
            "5: 192.0.2.1|80\n7: 192.0.2.3|82\n",
        ),
    ];
    for (odd, form, report, expected) in cases {
        assert_eq!(read(form, report), expected, "{odd}");
        assert_eq!(read(form, Drops(report)), expected, "{odd}, a byte at a time");
    }
}

#[test]
fn a_line_of_20_megabytes_costs_itself_and_no_other() {
    for (long, reason) in [(b'x', "the row is longer than 4 MiB"), (b'"', "the row is longer than 4 MiB")] {
        let mut report = b"ip,name\n1,a\n2,".to_vec();
        report.resize(20 << 20, long);
        report.extend(b"\n3,b\n");
        assert_eq!(read("", report.as_slice()), format!("2: 1|a\n4: 3|b\nrejected 3: {reason}\n"), "of {}", char::from(long));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever cells hold, what was written by the rules is read as it was: in one piece, and over the edges of blocks.
    #[test]
    fn what_was_written_is_read(
        rows in prop::collection::vec(prop::collection::vec(("[a-c\",;\r\n#é ]{0,12}", any::<bool>()), 3), 1..40),
        times in prop_oneof![Just(1_usize), Just(30_000)],
    ) {
        let (mut report, mut expected, mut line) = ("x,y,z\n".to_owned(), String::new(), 2);
        for row in rows.iter().cycle().take(rows.len() * times.div_ceil(rows.len())) {
            let none = row.iter().all(|(cell, _)| cell.is_empty());
            let written = |(cell, quoted): &(String, bool)| {
                let must = none || cell.contains([',', '"', '\n', '\r']);
                if *quoted || must { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.clone() }
            };
            let cells: Vec<String> = row.iter().map(written).collect();
            report += &(cells.join(",") + "\n");
            let cells: Vec<&str> = row.iter().map(|(cell, _)| cell.as_str()).collect();
            writeln!(expected, "{line}: {}", cells.join("|")).expect("a string");
            line += 1 + cells.concat().matches('\n').count();
        }
        prop_assert!(read("", report.as_bytes()) == expected, "{report:.400}");
    }
}

/// Hands out a byte at a time, as a slow connection may.
struct Drops<'b>(&'b [u8]);

impl Read for Drops<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1);
        self.0.read(&mut buffer[..length])
    }
}
