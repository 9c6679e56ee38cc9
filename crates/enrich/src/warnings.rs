//! Marks events with the warning lists that they are on, and those that are not counted for it.
//!
//! An event is on a list if one of the values of its asset's side is, or a hash: the host of a URL, the address beside a name. Whether
//! it is counted hangs on its asset alone: that a site is in a cloud says nothing against the site.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, new_null_array};
use arrow::datatypes::{DataType, Int64Type};
use event::{Field, batch};
use ipnet::IpNet;

use crate::draft::Draft;
use crate::side::SIDES;
use crate::tables::Tables;
use crate::warning_lists::{Subject, Value, WarningLists};

/// The columns `warnings` and `suppressed`: the names of lists, with `; ` between them.
pub(crate) fn mark(tables: &Tables, draft: &Draft<'_>, networks: &[Vec<Option<IpNet>>; 2]) -> [ArrayRef; 2] {
    let rows = draft.batch.num_rows();
    let (Some(lists), Some(assets)) = (tables.warning_lists(), batch::text(draft.batch, "asset")) else {
        return [(); 2].map(|()| new_null_array(&DataType::Utf8, rows));
    };
    let mut marks = Marks { lists, assets, rows: BTreeMap::new(), found: Vec::new() };
    for (place, side) in SIDES.iter().enumerate() {
        // What has no side, such as a hash, stands beside the source.
        let of_side = |row: usize| is_destination(assets, row) == (place == 1);
        marks.networks(&networks[place], [side.ip, side.network], of_side);
        marks.texts(draft, side.fqdn, Subject::Host, of_side);
        marks.texts(draft, side.url, Subject::Url, of_side);
        marks.texts(draft, side.account, Subject::Mail, of_side);
        marks.systems(draft, side.asn, of_side);
    }
    for (field, subject) in
        [(Field::MALWARE_HASH_MD5, Subject::Md5), (Field::MALWARE_HASH_SHA1, Subject::Sha1), (Field::MALWARE_HASH_SHA256, Subject::Sha256)]
    {
        marks.texts(draft, field, subject, |_| true);
    }
    marks.columns(tables, draft, rows)
}

/// A text that is a value of this sort.
fn value_of(subject: Subject, text: &str) -> Value<'_> {
    match subject {
        Subject::Url => Value::Url(text),
        Subject::Mail => Value::Mail(text),
        Subject::Md5 | Subject::Sha1 | Subject::Sha256 => Value::Hash(text),
        _ => Value::Host(text),
    }
}

fn is_destination(assets: &StringArray, row: usize) -> bool {
    assets.is_valid(row) && assets.value(row).starts_with(SIDES[1].prefix)
}

struct Marks<'a> {
    lists: &'a WarningLists,
    assets: &'a StringArray,
    /// By row: the lists that it is on, and whether its asset is. Most rows are on none.
    rows: BTreeMap<usize, Vec<(u16, bool)>>,
    found: Vec<u16>,
}

impl Marks<'_> {
    fn ask(&mut self, row: usize, fields: &[Field], value: Value<'_>) {
        let found = self.lists.hits(value, &mut self.found);
        if !found.is_empty() {
            let is_asset = self.assets.is_valid(row) && fields.iter().any(|field| field.name() == self.assets.value(row));
            self.rows.entry(row).or_default().extend(found.iter().map(|list| (*list, is_asset)));
        }
    }

    fn networks(&mut self, networks: &[Option<IpNet>], fields: [Field; 2], of_side: impl Fn(usize) -> bool) {
        if !self.lists.asks_about(Subject::Address) && !self.lists.asks_about(Subject::Network) {
            return;
        }
        for (row, network) in networks.iter().enumerate() {
            let Some(network) = network.filter(|_| of_side(row)) else { continue };
            let is_one = network.prefix_len() == network.max_prefix_len();
            self.ask(row, &fields, if is_one { Value::Address(network.addr()) } else { Value::Network(network) });
        }
    }

    fn texts(&mut self, draft: &Draft<'_>, field: Field, subject: Subject, of_side: impl Fn(usize) -> bool) {
        let Some(texts) = draft.text(field).filter(|_| self.lists.asks_about(subject)) else { return };
        for row in (0..texts.len()).filter(|row| texts.is_valid(*row) && of_side(*row)) {
            self.ask(row, &[field], value_of(subject, texts.value(row)));
        }
    }

    fn systems(&mut self, draft: &Draft<'_>, field: Field, of_side: impl Fn(usize) -> bool) {
        let Some(numbers) = draft.column(field).filter(|_| self.lists.asks_about(Subject::System)) else { return };
        let numbers = numbers.as_primitive::<Int64Type>();
        for row in (0..numbers.len()).filter(|row| numbers.is_valid(*row) && of_side(*row)) {
            if let Ok(number) = u32::try_from(numbers.value(row)) {
                self.ask(row, &[field], Value::System(number));
            }
        }
    }

    fn columns(mut self, tables: &Tables, draft: &Draft<'_>, rows: usize) -> [ArrayRef; 2] {
        let text = |column: &str, row: usize| {
            batch::text(draft.batch, column).filter(|texts| texts.is_valid(row)).map_or("", |texts| texts.value(row))
        };
        let lists = self.lists.lists();
        let (mut warnings, mut suppressed) = (vec![None; rows], vec![None; rows]);
        for (row, found) in &mut self.rows {
            found.sort_unstable();
            let names = |found: &mut dyn Iterator<Item = u16>| {
                let mut names: Vec<&str> = found.map(|list| lists[usize::from(list)].name.as_str()).collect();
                names.dedup();
                (!names.is_empty()).then(|| names.join("; "))
            };
            let (kind, feed) = (text("kind", *row), text("feed", *row));
            let counts_not = |list: u16| tables.suppressions().any(|rules| rules.suppresses(&lists[usize::from(list)].name, kind, feed));
            warnings[*row] = names(&mut found.iter().map(|(list, _)| *list));
            suppressed[*row] = names(&mut found.iter().filter(|(list, is_asset)| *is_asset && counts_not(*list)).map(|(list, _)| *list));
        }
        [Arc::new(StringArray::from(warnings)), Arc::new(StringArray::from(suppressed))]
    }
}
