//! Reports as they come: which cells one falls into, whatever its writer did to it.

use std::fmt::Write as _;
use std::io::{self, Read};

use feed::catalog::File;
use feed::{Catalog, Splitter};
use proptest::prelude::*;

/// A feed whose form is this; delimited text where it does not say.
fn catalog(form: &str) -> Catalog {
    let catalog = any_catalog(form);
    assert!(catalog.broken.is_empty(), "{:?}", catalog.broken);
    catalog
}

fn any_catalog(form: &str) -> Catalog {
    let provider = "name = \"Example\"\ntlp = \"green\"\n";
    // The section that comes first is the form's.
    let format = form.lines().find_map(|line| line.strip_prefix('[')?.strip_suffix(']')).unwrap_or("csv");
    let table = format!(
        "name = \"Odd\"\nformat = \"{format}\"\nmeans = \"blacklist\"\nkind = \"listing\"\nasset = \"source.ip\"\ndelivers = \"list\"\n\
         {form}\n[rows]\nip = \"source.ip\"\n"
    );
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    Catalog::read(&[file("example/provider.toml", provider), file("example/odd.toml", &table)])
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
    let no_header = "the header should stand here, and none of the feed's columns does";
    // What is odd about it, the form where it is not the usual one, the report, and what it is cut into.
    let cases: [(&str, &str, &[u8], &str); 31] = [
        ("nothing", "", b"ip,port\n192.0.2.1,80\n", "2: 192.0.2.1|80\n"),
        ("no line end at the end", "", b"ip,port\n192.0.2.1,80", "2: 192.0.2.1|80\n"),
        ("no rows", "", b"ip,port\n", ""),
        ("no bytes", "", b"", ""),
        ("a byte order mark", "", b"\xef\xbb\xbfip,port\n192.0.2.1,80\n", "2: 192.0.2.1|80\n"),
        ("UTF-16 with its mark", "", b"\xff\xfei\0p\0\n\0\xe9\0\n\0", "2: \u{e9}\n"),
        ("a line that is not UTF-8", "", b"ip,name\n1,\xe9t\xe9\n2,\xc3\xa9\n", "2: 1|\u{e9}t\u{e9}\n3: 2|\u{e9}\n"),
        ("CRLF", "", b"ip,port\r\n192.0.2.1,80\r\n\"192.0.2.2\",\"81\"\r\n", "2: 192.0.2.1|80\n3: 192.0.2.2|81\n"),
        ("CR alone", "", b"ip,port\r192.0.2.1,80\r192.0.2.2,81", "2: 192.0.2.1|80\n3: 192.0.2.2|81\n"),
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
        ("a quote that the next row's closes", "", b"ip,name\n1,\"a\n2,\"b\"\n3,\"c\"\n", &format!("3: 2|b\n4: 3|c\n{unclosed}")),
        ("UTF-16 without its mark", "", b"i\0p\0\n\x001\09\x002\0.\x000\0\n\0", "2: 192.0\n"),
        (
            "too few cells and too many",
            "",
            b"ip,port\n1\n2,3\n4,5,6\n",
            "3: 2|3\nrejected 2: 1 cell, where the header has 2\nrejected 4: 3 cells, where the header has 2\n",
        ),
        ("a column that comes twice", "", b"ip,ip\n1,2\n", "2: 1|2\n"),
        ("tabs, and quotes that are none", "[csv]\nseparator = \"\\t\"\nquote = \"\"", b"ip\tname\n1\t\"a\n", "2: 1|\"a\n"),
        (
            "separators of several characters, and what begins like one",
            "[csv]\nseparator = \"||\"",
            b"ip||name||note\n192.0.2.1||a|b||\n\"192.0.2.2\"||\"c||\"\"d\"\"\"||e|\r\n",
            "2: 192.0.2.1|a|b|\n3: 192.0.2.2|c||\"d\"|e|\n",
        ),
        ("a separator beyond ASCII", "[csv]\nseparator = \"\u{a7}\"", "ip\u{a7}name\n1\u{a7}\u{a9}\n".as_bytes(), "2: 1|\u{a9}\n"),
        ("a page of an error", "", b"<html><body>502 Bad Gateway</body></html>", &format!("rejected 1: {no_header}\n")),
        ("a title, and then the header", "", b"The list,of today\nip,port\n1,2\n", &format!("3: 1|2\nrejected 1: {no_header}\n")),
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
fn lines_that_say_nothing_are_passed_over() {
    let form = "[lines]\npattern = '^(?P<ip>\\S+) (?P<port>\\d+)$'\ncomment = \"#\"\nskip = '^(--|Dear)'\n";
    let report = "Dear all,\n# none\n--\n192.0.2.1 80\n\n192.0.2.2\n";
    assert_eq!(read(form, report.as_bytes()), "4: 192.0.2.1|80\nrejected 6: the line does not match the table's pattern\n");
}

#[test]
fn a_form_that_cannot_be_is_refused() {
    for form in ["separator = \"\\n\"", "separator = \";\"\nquote = \";\"", "quote = \"\\n\""] {
        let broken = any_catalog(&format!("[csv]\n{form}")).broken;
        assert!(format!("{broken:?}").contains("separator, quote and line end must differ"), "{form}: {broken:?}");
    }
}

#[test]
fn a_constant_fills_every_row_there_is() {
    let form = "always = { \"destination.port\" = \"443\", \"protocol.application\" = \"https\" }";
    // A report, and how many events and rejects are in it.
    for (report, expected) in [("ip,port\n192.0.2.1,80\n192.0.2.2,81\n", (2, 0)), ("ip,port\n1\n2\n", (0, 2))] {
        let catalog = catalog(form);
        let feed = catalog.feed("example/odd").expect("just made");
        let rows = Splitter::new(feed, report.as_bytes()).next_rows().expect("reads from memory").expect("has rows");
        let piece = feed::Reader::new(feed, feed::Arrival { at: 1_772_500_000_000_000 }).read(rows);
        assert_eq!((piece.events.num_rows(), piece.rejects.len()), expected);
        let port = piece.events.column_by_name("destination_port").expect("the feed has it");
        assert_eq!((port.len(), port.null_count()), (expected.0, 0));
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

#[test]
fn a_document_falls_into_its_rows() {
    let (deep, long) = ("[".repeat(200), format!("{{\"1\": {{\"ip\": \"{}\"}}, \"2\": {{\"ip\": \"b\"}}}}", "x".repeat(5 << 20)));
    let broken = |line: u64, why: &str| format!("rejected {line}: from here on the document is not JSON: {why}\n");
    let none = "rejected 1: the row is no JSON object\nrejected 2: the row is no JSON object\nrejected 3: the row is no JSON object\n";
    let wrong = "rejected 2: the row is not JSON: expected value at line 1 column 8\n";
    let nowhere = "rejected 1: there are no rows where the feed's table says\n";
    // What is odd about it, the path to the rows, the document, and what it is cut into.
    let cases: [(&str, &str, &str, &str); 28] = [
        ("nothing", "", r#"[{"ip": "192.0.2.1", "port": 80}, {"ip": "192.0.2.2"}]"#, "1: 192.0.2.1|80\n2: 192.0.2.2|\n"),
        ("one row and no list", "", r#"{"ip": "192.0.2.1"}"#, "1: 192.0.2.1\n"),
        ("white space and a byte order mark", "", "\u{feff}\r\n [ \t{\"ip\" :\"a\"} \n , {\"ip\": \"b\"}]\n\n", "1: a\n2: b\n"),
        ("no bytes", "", "", ""),
        ("nothing but null", "", " null ", ""),
        ("nothing but a number", "", "12", "rejected 1: the row is no JSON object\n"),
        ("an empty list", "data", r#"{"data": [], "next": {}}"#, ""),
        ("rows under names", "a.b", r#"{"x": [{"ip": "no"}], "a": {"c": "}]", "b": [{"ip": "a"}]}, "y": 1}"#, "1: a\n"),
        ("lists on the way", "a.b", r#"[{"a": [{"b": {"ip": "a"}}, {"b": [{"ip": "b"}, {"ip": "c"}]}]}, 7]"#, "1: a\n2: b\n3: c\n"),
        ("rows under keys", "*.*", r#"{"7": {"x\n": {"ip": "a"}}, "8": {}, "9": [{"ip": "b"}]}"#, "1: 7|x\n|a\n2: 9||b\n"),
        ("lists within a row", "", r#"[{"ip": [1, 2], "of": {"ip": "a, b", "x": null}}]"#, "1: [1,2]|a, b|\n"),
        ("rows that are none", "", r#"[1, null, [], {"ip": "a"}]"#, &format!("4: a\n{none}")),
        ("a row that is broken", "", r#"[{"ip": "a"}, {"ip": b}, {"ip": "c"}]"#, &format!("1: a\n3: c\n{wrong}")),
        ("quotes and brackets within text", "", r#"[{"ip": "\"]}\\", "x": "{"}, {"ip": "\u00e9"}]"#, "1: \"]}\\|{\n2: \u{e9}|\n"),
        ("no end", "", r#"[{"ip": "a"}, {"ip": "b"#, &format!("1: a\n{}", broken(2, "it ends too early"))),
        ("no end of the list", "", r#"[{"ip": "a"}"#, &format!("1: a\n{}", broken(2, "it ends too early"))),
        ("no comma", "", r#"[{"ip": "a"} {"ip": "b"}]"#, &format!("1: a\n{}", broken(2, "a comma or an end is missing"))),
        ("the wrong end", "a", r#"{"a": [{"ip": "a"}}"#, &format!("1: a\n{}", broken(2, "what is opened and what is closed differ"))),
        ("more than one document", "", "{\"ip\": \"a\"}\n{\"ip\": \"b\"}", &format!("1: a\n{}", broken(2, "something follows its end"))),
        ("an answer that is none", "data.*", "Forbidden", &broken(1, "a value is none")),
        ("a page", "", "<html><body>Forbidden</body></html>", "rejected 1: the row is not JSON: expected value at line 1 column 1\n"),
        ("nothing where rows should be", "data.*", r#"{"data": false, "next": null, "text": "}"}"#, ""),
        ("no rows", "*.*", "{}", ""),
        ("rows that are none", "*.*", r#"{"1": [], "count": 0}"#, ""),
        ("an error for rows", "data.*", r#"{"query_status": "unknown_auth_key"}"#, nowhere),
        ("an error for lists of rows", "*.*", r#"{"error": "Unknown Auth-Key"}"#, nowhere),
        ("depth", "a", &deep, &broken(1, "lists and objects lie too deep in each other")),
        ("a row of 5 megabytes", "*", &long, "2: 2|b\nrejected 1: the row is longer than 4 MiB\n"),
    ];
    for (odd, path, document, expected) in cases {
        let form = format!("[json]\nrows = \"{path}\"\n");
        assert_eq!(read(&form, document.as_bytes()), expected, "{odd}");
        if document.len() < 1000 {
            assert_eq!(read(&form, Drops(document.as_bytes())), expected, "{odd}, a byte at a time");
        }
    }
}

#[test]
fn a_row_falls_into_as_many_as_its_list_has() {
    let long = format!(r#"{{"id": "{}", "of": [{}1]}}"#, "x".repeat(2 << 20), "1,".repeat(200));
    let many = format!(r#"{{"id": 7, "of": [{}1]}}"#, "1,".repeat(3000));
    let rejected = "rejected 1: of has 201 elements, too many for a row so long\n";
    let cases: [(&str, &str, &str, &str); 9] = [
        ("a list of objects", "of", r#"{"id": 7, "of": [{"ip": "a", "asn": 1}, {"ip": "b"}]}"#, "1: 7|a|1\n1: 7|b|\n"),
        ("names", "of", r#"{"of": ["a", "b"], "id": 7}"#, "1: 7|a\n1: 7|b\n"),
        ("one object and no list", "of", r#"{"id": 7, "of": {"ip": "a"}}"#, "1: 7|a\n"),
        ("an empty list, and none", "of", "{\"id\": 7, \"of\": []}\n{\"id\": 8}\n", "1: 7|[]\n2: 8|\n"),
        ("a list further down", "x.of", r#"{"x": {"of": [1, 2], "n": 3}}"#, "1: 3|1\n1: 3|2\n"),
        ("a list in a list's row", "of", r#"[{"of": [1, [2, 3]]}, {"of": [4]}]"#, "1: 1\n1: [2,3]\n1: 4\n"),
        ("a scalar on the way", "x.of", r#"{"x": 7}"#, "1: 7\n"),
        ("far too much", "of", &long, rejected),
        ("more than a block", "of", &many, &"1: 7|1\n".repeat(3001)),
    ];
    for (odd, each, report, expected) in cases {
        assert_eq!(read(&format!("[jsonl]\neach = \"{each}\"\n"), report.as_bytes()), expected, "{odd}, a line");
        if !report.contains('\n') && !report.starts_with('[') {
            assert_eq!(read(&format!("[json]\neach = \"{each}\"\n"), report.as_bytes()), expected, "{odd}, a document");
        }
    }
    let plain = r#"{"md5": ["a", "b"], "sha1": ["c"], "ip": "d"}"#;
    assert_eq!(read("[json]\nrows = \"*.*\"\nplain = true\n", plain.as_bytes()), "1: md5|a\n2: md5|b\n3: sha1|c\n");
    let under_keys = r#"{"a": {"of": [1, 2]}, "b": {"of": [3]}}"#;
    assert_eq!(read("[json]\nrows = \"*\"\neach = \"of\"\n", under_keys.as_bytes()), "1: a|1\n1: a|2\n2: b|3\n");
}

#[test]
fn xml_falls_into_its_rows() {
    let not_xml = |line: u64, why: &str| format!("rejected {line}: from here on the document is not XML: {why}\n");
    let long = format!("<l><i>a</i><i>{}</i><i>c</i></l>", "x".repeat(5 << 20));
    let wide = format!("<l><i>{}</i><i><a>1</a></i></l>", (0..3000).map(|name| format!("<n{name}/>")).collect::<String>());
    let deep = "<l>".repeat(200);
    let laughs = "<!DOCTYPE l [<!ENTITY a \"haha\"><!ENTITY b \"&a;&a;\">]>\n<l><i><ip>&b;</ip></i></l>";
    let cases: [(&str, &str, &str, &str); 19] = [
        (
            "nothing",
            "l.i",
            "<?xml version=\"1.0\"?>\n<l>\n<i><ip>192.0.2.1</ip><port>80</port></i>\n<i><ip>192.0.2.2</ip></i></l>\n",
            "3: 192.0.2.1|80\n4: 192.0.2.2|\n",
        ),
        ("attributes, and text of the row", "l.i", "<l><i id='7' xmlns:x=\"y\">192.0.2.1</i><i id='8'/></l>", "1: 7|192.0.2.1\n1: 8|\n"),
        ("attributes further down", "l.i", "<l><i><ip v='4'>a</ip><ip v='6'>b</ip></i></l>", "1: 4|a|6|b\n"),
        ("elements in elements", "l.i", "<l><i><of><ip>a</ip><n/></of></i></l>", "1: a|\n"),
        ("entities and CDATA", "l.i", "<l><i><ip>a&amp;b &#x41;&lt;<![CDATA[<c>&amp;]]></ip></i></l>", "1: a&b A<<c>&amp;\n"),
        ("an entity of its own", "l.i", laughs, "2: &b;\n"),
        ("a lone ampersand", "l.i", "<l><i><ip>a & b</ip></i></l>", "1: a & b\n"),
        ("a prefix", "l.i", "<x:l xmlns:x='y'><x:i><x:ip>a</x:ip></x:i></x:l>", "1: a\n"),
        ("any name on the way", "l.*.i", "<l><a><i>1</i></a><b><i>2</i><i>3</i></b></l>", "1: 1\n1: 2\n1: 3\n"),
        ("comments within", "l.i", "<l><!-- <i>no</i> --><i>a<!-- b -->c</i></l>", "1: ac\n"),
        ("marks of UTF-8", "l.i", "\u{feff}<?xml version=\"1.0\"?>\u{feff}\n<l>\u{feff}<i>\u{feff}a</i>\n<i>b</i></l>", "2: a\n3: b\n"),
        ("no rows", "l.i", "<l/>", ""),
        ("an error for rows", "l.i", "<error>\nkey missing</error>", "rejected 1: there are no rows where the feed's table says\n"),
        ("a page", "l.i", "<html><br><p></html>", &not_xml(1, "\"p\" is open, and \"html\" ends")),
        ("no XML", "l.i", "ip,port\n1,2\n", &not_xml(2, "there is text where an element should begin")),
        ("no end", "l.i", "<l><i>a</i>\n<i><ip>b", &format!("1: a\n{}", not_xml(2, "it ends too early: \"ip\" is open"))),
        ("depth", "l.i", &deep, &not_xml(1, "elements lie too deep in each other")),
        (
            "a row of 5 megabytes",
            "l.i",
            &long,
            "1: a\nrejected 1: the row is longer than 4 MiB, and the document cannot be read beyond it\n",
        ),
        ("a row of 3000 elements", "l.i", &wide, "1: 1\nrejected 1: the row has more than 2048 values\n"),
    ];
    for (odd, path, document, expected) in cases {
        let form = format!("[xml]\nrows = \"{path}\"\n");
        let found = read(&form, document.as_bytes());
        // Of a wide row that is none, the names are nobody's columns.
        assert_eq!(found.replace("|||", ""), expected, "{odd}");
        if document.len() < 1000 {
            assert_eq!(read(&form, Drops(document.as_bytes())), expected, "{odd}, a byte at a time");
        }
    }
    let windows = b"<?xml version=\"1.0\" encoding=\"windows-1251\"?><l><i>\xcf</i></l>";
    assert_eq!(read("[xml]\nrows = \"l.i\"\n", windows.as_slice()), "1: \u{41f}\n");
    let mut halved: Vec<u8> = "\u{feff}<l><i>a</i></l>x".encode_utf16().flat_map(u16::to_le_bytes).collect();
    halved.pop();
    let expected = "1: a\n".to_owned() + &not_xml(1, "there is text where an element should begin");
    assert_eq!(read("[xml]\nrows = \"l.i\"\n", halved.as_slice()), expected);
    assert_eq!(read("[xml]\nrows = \"l.i\"\n", Drops(&halved)), expected);
}

#[test]
fn a_page_falls_into_the_rows_of_its_tables() {
    let plain = "<table><tr><th>ip<th>port</tr>\n<tr><td> 192.0.2.1 <td>80</table>";
    let none = "rejected 1: there is no table with the feed's columns on the page\n";
    let cases: [(&str, &str, &str, &str); 14] = [
        ("nothing is closed", "", plain, "2: 192.0.2.1|80\n"),
        ("cells that are headers", "", "<table><tr><td>ip</td><td></td></tr><tr><td>a</td><td>b</td></tr></table>", "1: a|b\n"),
        (
            "markup, entities, white space",
            "",
            "<table><tr><th>ip<tr><td>\n <b>a</b>&amp;<i>b</i>\n c<br>d<script>no</script></table>",
            "1: a&b c d\n",
        ),
        ("another table before it", "", &format!("<table><tr><td>menu</table>{plain}"), "2: 192.0.2.1|80\n"),
        ("the second table, whatever its header", "table = 2", "<table><tr><th>ip<tr><td>a</table><table><tr><th>x<tr><td>b</table>", none),
        ("no header", "header = false", "<table><tr><td>a<td>b</table>", "1: a|b\n"),
        ("links", "links = true", "<table><tr><th>ip<tr><td><a href='/x?a=1&amp;b=2'>a</a></table>", "1: a|/x?a=1&b=2\n"),
        ("a table within a cell", "", "<table><tr><th>ip<tr><td>a<table><tr><th>x<tr><td>y</table> b</table>", "1: a b\n"),
        ("cells over several columns", "", "<table><tr><th>ip<th>x<th>y<tr><td colspan=2>a<td>b</table>", "1: a|b\n"),
        ("too many cells", "", "<table><tr><th>ip<tr><td>a<td>b</table>", "rejected 1: 2 cells, where the header has 1\n"),
        ("a header that comes again", "", "<table><tr><th>ip<tr><td>a<tr><th>ip<tr><td>b</table>", "1: a\n1: b\n"),
        ("a field", "", "<table><tr><th>ip<tr><td><input type=text value='192.0.2.1'></table>", "1: 192.0.2.1\n"),
        ("no rows", "", "<table><tr><th>ip</table>", ""),
        ("no table", "", "<h1>502 Bad Gateway</h1>", none),
    ];
    for (odd, form, page, expected) in cases {
        // A key of the table, and so before its sections.
        let columns = if form.starts_with("header") { "columns = \"ip port\"\n" } else { "" };
        let form = format!("{columns}[html]\n{form}\n");
        let found = read(&form, page.as_bytes());
        assert_eq!(found, expected, "{odd}");
        assert_eq!(read(&form, Drops(page.as_bytes())), expected, "{odd}, a byte at a time");
    }
}

/// Every row with names of its own: a table of them all would be a million columns wide.
#[test]
fn rows_that_have_no_names_in_common_take_no_room_for_those_they_lack() {
    let row = |row: usize| format!("{{{}}}", (0..40).map(|key| format!("\"{row}_{key}\": 1")).collect::<Vec<_>>().join(", "));
    let rows: Vec<String> = (0..25_000).map(row).collect();
    let list = format!("[{}]", rows.join(", "));
    for (form, report) in [("[json]\n", &list), ("[jsonl]\n", &rows.join("\n"))] {
        let catalog = catalog(form);
        let mut splitter = Splitter::new(catalog.feed("example/odd").expect("just made"), report.as_bytes());
        let mut seen = 0;
        while let Some(rows) = splitter.next_rows().expect("reads from memory") {
            assert!(rows.cells.len() < 4 << 20, "{} cells", rows.cells.len());
            seen += rows.lines.len();
        }
        assert_eq!(seen, 25_000);
    }
    let wide = format!("{{{}}}\n{{\"ip\": \"a\"}}\n", (0..5000).map(|key| format!("\"{key}\": 1")).collect::<Vec<_>>().join(", "));
    assert_eq!(read("[jsonl]\n", wide.as_bytes()), "2: a\nrejected 1: the row has more than 2048 values\n");
    let long =
        format!("{{\"{}\": {{{}}}}}\n", "x".repeat(2000), (0..1000).map(|key| format!("\"{key}\": 1")).collect::<Vec<_>>().join(", "));
    assert_eq!(read("[jsonl]\n", long.as_bytes()), "rejected 1: the names in the row are longer than 1 MiB\n");
    let one_line = format!("[{}]", rows[..2000].join(", "));
    assert_eq!(read("[jsonl]\n", one_line.as_bytes()).lines().count(), 2000);
}

/// Two bytes each, of which every one is a reject.
#[test]
fn a_million_rows_that_are_none_are_not_held_at_once() {
    let report = format!("[{}1]", "1,".repeat(1_000_000));
    for form in ["[json]\n", "[jsonl]\n"] {
        let catalog = catalog(form);
        let mut splitter = Splitter::new(catalog.feed("example/odd").expect("just made"), report.as_bytes());
        let mut seen = 0;
        while let Some(rows) = splitter.next_rows().expect("reads from memory") {
            assert!(rows.rejects.len() <= 1024, "{} rejects", rows.rejects.len());
            seen += rows.rejects.len();
        }
        assert_eq!(seen, 1_000_001);
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
        let (mut report, mut expected, mut line) = ("ip,y,z\n".to_owned(), String::new(), 2);
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
