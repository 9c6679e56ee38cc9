//! Writes tables of addresses in the MMDB format, version 2.0 (<https://maxmind.github.io/MaxMind-DB/>): for a
//! made-up country, for tests, and for whoever knows its own networks better than any table that can be bought.
//!
//! A file is a binary tree over the bits of an address, then sixteen zeros, then the records, then the table's
//! own description after a mark. Equal records are written once, and texts within them too.

use std::collections::HashMap;

use ipnet::IpNet;
use toml::{Table, Value};

/// What a table says of itself.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Such as `Example-Country`.
    pub kind: &'a str,
    /// When it was built, in seconds since 1970.
    pub build_epoch: u64,
    /// The least that a branch of the tree takes; it takes more where the table is too large for it.
    pub record_size: RecordSize,
}

/// How many bits a branch of the tree takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordSize {
    Bits24 = 24,
    Bits28 = 28,
    Bits32 = 32,
}

const MARK: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// Between the tree and the records.
const ZEROS: usize = 16;

/// The table in which each network has its record; where networks nest, the inner one's holds.
///
/// With IPv4 networks alone it is a table of IPv4, else one of IPv6 that has IPv4 under `::/96`.
///
/// Panics if tree and records together exceed 4 GiB.
pub fn write(records: &[(IpNet, Table)], about: &About<'_>) -> Vec<u8> {
    let ip_version = if records.iter().any(|(network, _)| matches!(network, IpNet::V6(_))) { 6 } else { 4 };
    let mut data = Data::default();
    let mut tree = Tree { nodes: vec![[Branch::Empty; 2]] };
    let mut order: Vec<&(IpNet, Table)> = records.iter().collect();
    order.sort_by_key(|(network, _)| path(*network, ip_version).1);
    for (network, record) in order {
        let (bits, length) = path(*network, ip_version);
        tree.insert(bits, length, data.record(record));
    }
    let tree = tree.depth_first();
    let record_size = tree.record_size(data.bytes.len()).max(about.record_size);
    let mut out = tree.bytes(record_size);
    out.extend([0; ZEROS]);
    out.extend(data.bytes);
    out.extend(MARK);
    out.extend(description(about, ip_version, tree.nodes.len(), record_size));
    out
}

/// The bits of a network from the highest on, and how many of them there are.
fn path(network: IpNet, ip_version: i64) -> (u128, u8) {
    match (network, ip_version) {
        (IpNet::V4(network), 4) => (u128::from(u32::from(network.network())) << 96, network.prefix_len()),
        (IpNet::V4(network), _) => (u32::from(network.network()).into(), network.prefix_len() + 96),
        (IpNet::V6(network), _) => (network.network().into(), network.prefix_len()),
    }
}

fn description(about: &About<'_>, ip_version: i64, nodes: usize, record_size: RecordSize) -> Vec<u8> {
    let mut data = Data { shares_texts: false, ..Data::default() };
    data.head(MAP, 9);
    data.entry("binary_format_major_version", |data| data.unsigned(UINT16, 2));
    data.entry("binary_format_minor_version", |data| data.unsigned(UINT16, 0));
    data.entry("build_epoch", |data| data.unsigned(UINT64, about.build_epoch));
    data.entry("database_type", |data| data.text(about.kind));
    data.entry("description", |data| data.map(&Table::from_iter([("en".to_owned(), Value::from(about.kind))])));
    data.entry("ip_version", |data| data.unsigned(UINT16, ip_version as u64));
    data.entry("languages", |data| data.value(&Value::Array(vec![Value::from("en")])));
    data.entry("node_count", |data| data.unsigned(UINT32, nodes as u64));
    data.entry("record_size", |data| data.unsigned(UINT16, record_size as u64));
    data.bytes
}

/// The tree of bits.
struct Tree {
    nodes: Vec<[Branch; 2]>,
}

#[derive(Clone, Copy)]
enum Branch {
    Empty,
    Node(usize),
    /// An offset among the records.
    Record(usize),
}

impl Tree {
    /// Comes after all shorter networks, which so fill what it leaves.
    fn insert(&mut self, bits: u128, length: u8, record: usize) {
        let bit = |depth: u8| (bits >> (127 - depth) & 1) as usize;
        let Some(last) = length.checked_sub(1) else {
            self.nodes[0] = [Branch::Record(record); 2];
            return;
        };
        let mut node = 0;
        for depth in 0..last {
            node = match self.nodes[node][bit(depth)] {
                Branch::Node(next) => next,
                outer => {
                    self.nodes.push([outer; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][bit(depth)] = Branch::Node(next);
                    next
                }
            };
        }
        self.nodes[node][bit(last)] = Branch::Record(record);
    }

    /// The same tree with the nodes of one network side by side, so that a look-up touches little memory.
    fn depth_first(&self) -> Tree {
        let mut nodes = Vec::with_capacity(self.nodes.len());
        // What is still to come: a node, and the branch that leads to it.
        let mut coming = vec![(0, None)];
        while let Some((node, from)) = coming.pop() {
            let place = nodes.len();
            if let Some((from, bit)) = from {
                let branches: &mut [Branch; 2] = &mut nodes[from];
                branches[bit] = Branch::Node(place);
            }
            nodes.push(self.nodes[node]);
            for bit in [1, 0] {
                if let Branch::Node(next) = self.nodes[node][bit] {
                    coming.push((next, Some((place, bit))));
                }
            }
        }
        Tree { nodes }
    }

    fn record_size(&self, data: usize) -> RecordSize {
        match (self.nodes.len() + ZEROS + data) as u64 {
            0..0x100_0000 => RecordSize::Bits24,
            0x100_0000..0x1000_0000 => RecordSize::Bits28,
            0x1000_0000..0x1_0000_0000 => RecordSize::Bits32,
            _ => panic!("the format has no branches beyond 32 bits"),
        }
    }

    fn bytes(&self, record_size: RecordSize) -> Vec<u8> {
        let number = |branch: Branch| match branch {
            Branch::Empty => self.nodes.len() as u32,
            Branch::Node(node) => node as u32,
            Branch::Record(offset) => (self.nodes.len() + ZEROS + offset) as u32,
        };
        let mut out = Vec::with_capacity(self.nodes.len() * 8);
        for [left, right] in &self.nodes {
            let (left, right) = (number(*left).to_be_bytes(), number(*right).to_be_bytes());
            match record_size {
                RecordSize::Bits24 => out.extend([left[1], left[2], left[3], right[1], right[2], right[3]]),
                RecordSize::Bits28 => {
                    out.extend([left[1], left[2], left[3], left[0] << 4 | right[0], right[1], right[2], right[3]]);
                }
                RecordSize::Bits32 => out.extend(left.into_iter().chain(right)),
            }
        }
        out
    }
}

const POINTER: u8 = 1;
const TEXT: u8 = 2;
const DOUBLE: u8 = 3;
const UINT16: u8 = 5;
const UINT32: u8 = 6;
const MAP: u8 = 7;
const INT32: u8 = 8;
const UINT64: u8 = 9;
const ARRAY: u8 = 11;
const BOOLEAN: u8 = 14;

/// The records, one after the other.
struct Data {
    bytes: Vec<u8>,
    /// The description has no pointers: readers look into it before they know where records start.
    shares_texts: bool,
    texts: HashMap<String, usize>,
    records: HashMap<String, usize>,
}

impl Default for Data {
    fn default() -> Data {
        Data { bytes: Vec::new(), shares_texts: true, texts: HashMap::new(), records: HashMap::new() }
    }
}

impl Data {
    /// The offset of this record, written if no other was equal.
    fn record(&mut self, record: &Table) -> usize {
        let key = record.to_string();
        if let Some(offset) = self.records.get(&key) {
            return *offset;
        }
        let offset = self.bytes.len();
        self.records.insert(key, offset);
        self.map(record);
        offset
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Integer(number) => match u64::try_from(*number) {
                Ok(number) if number <= u32::MAX.into() => self.unsigned(UINT32, number),
                Ok(number) => self.unsigned(UINT64, number),
                Err(_) => self.negative(*number),
            },
            Value::Float(number) => {
                self.head(DOUBLE, 8);
                self.bytes.extend(number.to_be_bytes());
            }
            Value::Boolean(yes) => self.head(BOOLEAN, usize::from(*yes)),
            Value::Datetime(time) => self.text(&time.to_string()),
            Value::Array(items) => {
                self.head(ARRAY, items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Table(table) => self.map(table),
        }
    }

    fn map(&mut self, table: &Table) {
        self.head(MAP, table.len());
        for (key, value) in table {
            self.entry(key, |data| data.value(value));
        }
    }

    fn entry(&mut self, key: &str, value: impl FnOnce(&mut Data)) {
        self.text(key);
        value(self);
    }

    /// A text, or a pointer to where it was written before if that is shorter.
    fn text(&mut self, text: &str) {
        if let Some(offset) = self.texts.get(text) {
            return self.pointer(*offset);
        }
        if self.shares_texts && text.len() > 4 {
            self.texts.insert(text.to_owned(), self.bytes.len());
        }
        self.head(TEXT, text.len());
        self.bytes.extend(text.as_bytes());
    }

    fn pointer(&mut self, offset: usize) {
        const BASES: [usize; 3] = [0, 1 << 11, (1 << 11) + (1 << 19)];
        let size = BASES.iter().rposition(|base| offset >= *base).expect("the first base is 0");
        let rest = offset - BASES[size];
        if rest >> (11 + 8 * size) != 0 {
            self.bytes.push(POINTER << 5 | 3 << 3);
            self.bytes.extend((offset as u32).to_be_bytes());
            return;
        }
        let bytes = (rest as u32).to_be_bytes();
        self.bytes.push(POINTER << 5 | (size as u8) << 3 | bytes[2 - size]);
        self.bytes.extend(&bytes[3 - size..]);
    }

    /// A number without its leading zeros.
    fn unsigned(&mut self, kind: u8, number: u64) {
        let bytes = number.to_be_bytes();
        let zeros = number.leading_zeros() as usize / 8;
        self.head(kind, 8 - zeros);
        self.bytes.extend(&bytes[zeros..]);
    }

    /// The format has signed numbers of 32 bits only: others become their nearest double.
    fn negative(&mut self, number: i64) {
        match i32::try_from(number) {
            Ok(number) => {
                self.head(INT32, 4);
                self.bytes.extend(number.to_be_bytes());
            }
            Err(_) => self.value(&Value::Float(number as f64)),
        }
    }

    /// The byte or bytes that tell a value's type and size.
    fn head(&mut self, kind: u8, size: usize) {
        let (short, rest) = match size {
            0..29 => (size as u8, 0),
            29..285 => (29, 1),
            285..65_821 => (30, 2),
            _ => (31, 3),
        };
        match kind {
            0..8 => self.bytes.push(kind << 5 | short),
            _ => self.bytes.extend([short, kind - 7]),
        }
        let beyond = [0, 29, 285, 65_821][rest];
        let bytes = (size as u32).wrapping_sub(beyond).to_be_bytes();
        self.bytes.extend(&bytes[4 - rest..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::IpAddr;

    use maxminddb::{Reader, WithinOptions};

    fn about(record_size: RecordSize) -> About<'static> {
        About { kind: "Example-Table", build_epoch: 1_700_000_000, record_size }
    }

    fn reader(records: &[(&str, &str)], record_size: RecordSize) -> Reader<Vec<u8>> {
        let record = |(network, toml): &(&str, &str)| (network.parse().expect("a network"), toml.parse().expect("TOML"));
        let records: Vec<_> = records.iter().map(record).collect();
        let reader = Reader::from_source(write(&records, &about(record_size))).expect("a table");
        reader.verify().expect("a sound table");
        reader
    }

    /// The record of each address, as the reader decodes it.
    #[track_caller]
    fn check(records: &[(&str, &str)], expected: &[(&str, &str)]) {
        for record_size in [RecordSize::Bits24, RecordSize::Bits28, RecordSize::Bits32] {
            let reader = reader(records, record_size);
            assert_eq!(reader.metadata().record_size, record_size as u16);
            for (address, record) in expected {
                let address: IpAddr = address.parse().expect("an address");
                let found = reader.lookup(address).ok().and_then(|found| found.decode::<serde_json::Value>().expect("decodes"));
                assert_eq!(found.map_or("-".into(), |found| found.to_string()), *record, "{address} at {record_size:?}");
            }
        }
    }

    #[test]
    fn the_innermost_network_holds() {
        check(
            &[("192.0.2.64/26", "n = 3"), ("192.0.2.0/24", "n = 1"), ("192.0.2.0/25", "n = 2"), ("192.0.2.65/32", "n = 4")],
            &[
                ("192.0.2.1", r#"{"n":2}"#),
                ("192.0.2.64", r#"{"n":3}"#),
                ("192.0.2.65", r#"{"n":4}"#),
                ("192.0.2.66", r#"{"n":3}"#),
                ("192.0.2.200", r#"{"n":1}"#),
                ("192.0.3.1", "-"),
                ("2001:db8::1", "-"),
            ],
        );
    }

    #[test]
    fn both_ip_versions_in_one_table() {
        check(
            &[("192.0.2.0/24", "n = 4"), ("2001:db8::/32", "n = 6"), ("2001:db8::1/128", "n = 7")],
            &[("192.0.2.1", r#"{"n":4}"#), ("2001:db8::2", r#"{"n":6}"#), ("2001:db8::1", r#"{"n":7}"#), ("::1", "-")],
        );
        check(&[("0.0.0.0/0", "n = 1")], &[("192.0.2.1", r#"{"n":1}"#)]);
        check(&[], &[("192.0.2.1", "-")]);
    }

    #[test]
    fn values_of_every_type() {
        check(
            &[(
                "192.0.2.0/24",
                "big = 5000000000\nfloat = 22.5\nlist = [1, \"two\", []]\nmap = { deep = { text = \"香港\" } }\nnegative = -5\nno = false\nzero = 0",
            )],
            &[(
                "192.0.2.1",
                r#"{"big":5000000000,"float":22.5,"list":[1,"two",[]],"map":{"deep":{"text":"香港"}},"negative":-5,"no":false,"zero":0}"#,
            )],
        );
    }

    #[test]
    fn texts_of_every_size() {
        for size in [0, 1, 28, 29, 30, 284, 285, 286, 65_820, 65_821, 65_822, 100_000] {
            let reader = reader(&[("192.0.2.0/24", &format!("text = \"{}\"", "a".repeat(size)))], RecordSize::Bits24);
            let found = reader.lookup(IpAddr::from([192, 0, 2, 1])).expect("IPv4");
            let found: HashMap<&str, &str> = found.decode().expect("decodes").expect("there");
            assert_eq!(found["text"].len(), size);
        }
    }

    #[test]
    fn what_is_equal_is_written_once() {
        // Enough text that pointers of all three short sizes occur.
        let texts: Vec<String> =
            (0..60_000).map(|number| format!("name = \"number {number:020}\"\nshared = \"number {:020}\"", number / 2)).collect();
        let records: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(number, toml)| {
                (IpNet::new(IpAddr::from((number as u32 + (10 << 24)).to_be_bytes()), 32).expect("32 bits"), toml.parse().expect("TOML"))
            })
            .collect();
        let reader = Reader::from_source(write(&records, &about(RecordSize::Bits24))).expect("a table");
        for number in [0u32, 1, 50, 51, 9_999, 30_000, 59_999] {
            let found = reader.lookup(IpAddr::from((number + (10 << 24)).to_be_bytes())).expect("IPv4");
            let found: HashMap<&str, &str> = found.decode().expect("decodes").expect("there");
            assert_eq!(found["shared"], format!("number {:020}", number / 2));
        }
        let one = write(&records[..1], &about(RecordSize::Bits24));
        let same: Vec<_> = (0..100)
            .map(|number| (IpNet::new(IpAddr::from([192, 0, 2, number * 2]), 32).expect("32 bits"), records[0].1.clone()))
            .collect();
        let reader = Reader::from_source(write(&same, &about(RecordSize::Bits24))).expect("a table");
        let offsets: std::collections::HashSet<_> =
            reader.networks(WithinOptions::default()).expect("a tree").map(|found| found.expect("sound").offset()).collect();
        assert_eq!(offsets.len(), 1);
        assert!(one.len() < 1_000);
    }
}
