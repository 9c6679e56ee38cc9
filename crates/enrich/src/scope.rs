//! What is ours to watch: judged on a row's asset field, the one whose owner must look.
//!
//! ```toml
//! countries = ["XA"]                  # ISO 3166
//! tlds      = ["example", "例子"]     # or any longer ending, such as gov.example
//! networks  = ["192.0.2.0/24"]
//! asns      = [64496]
//! ```

use arrow::array::{Array, BooleanArray, Int64Array, StringArray};
use arrow::buffer::BooleanBuffer;
use event::{Field, batch, value};
use ipnet::IpNet;
use serde::Deserialize;

use crate::draft::Draft;
use crate::host::Host;
use crate::prefixes::Prefixes;
use crate::side::SIDES;
use crate::tables::Tables;

#[derive(Clone, Debug, Default)]
pub struct Scope {
    countries: Vec<String>,
    /// In A-labels, with the dot in front.
    endings: Vec<String>,
    networks: Prefixes,
    asns: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct List {
    countries: Vec<String>,
    tlds: Vec<String>,
    networks: Vec<String>,
    asns: Vec<i64>,
}

impl Scope {
    /// Of TOML as it stands in this file's head. The error says what is wrong, and with which entry.
    pub fn parse(text: &str) -> Result<Scope, String> {
        let list: List = toml::from_str(text).map_err(|error| error.to_string())?;
        let network = |text: &String| value::network(text).map_err(|wrong| format!("networks: \"{text}\": {}", wrong.0));
        if let Some(wrong) = list.asns.iter().find(|asn| value::asn(&asn.to_string()).is_err()) {
            return Err(format!("asns: {wrong}: not an AS number"));
        }
        Ok(Scope {
            countries: list
                .countries
                .iter()
                .map(|text| country(text))
                .collect::<Result<_, _>>()
                .map_err(|wrong| format!("countries: {wrong}"))?,
            endings: list.tlds.iter().map(|text| ending(text)).collect::<Result<_, _>>()?,
            networks: Prefixes::of(list.networks.iter().map(network).collect::<Result<_, _>>()?),
            asns: list.asns,
        })
    }

    fn has_name(&self, name: &str) -> bool {
        self.endings.iter().any(|ending| name.ends_with(ending.as_str()))
    }

    fn has_address(&self, country: Option<&str>, asn: Option<i64>, network: Option<IpNet>) -> bool {
        country.is_some_and(|country| self.countries.iter().any(|listed| listed == country))
            || asn.is_some_and(|asn| self.asns.contains(&asn))
            || !self.networks.is_empty() && network.is_some_and(|network| self.networks.find(network).is_some())
    }
}

/// A country's code in capitals.
pub(crate) fn country(text: &str) -> Result<String, String> {
    match text.as_bytes() {
        [one, two] if one.is_ascii_alphabetic() && two.is_ascii_alphabetic() => Ok(text.to_ascii_uppercase()),
        _ => Err(format!("\"{text}\": not a country's two letters")),
    }
}

fn ending(text: &str) -> Result<String, String> {
    let name = text.trim_matches('.');
    let ascii = idna::domain_to_ascii(name).ok().filter(|name| !name.is_empty());
    ascii.map(|name| format!(".{name}")).ok_or_else(|| format!("tlds: \"{text}\": not the end of a host name"))
}

/// Whether each row's asset is in scope. `networks` are the addresses of both sides, as networks.
pub(crate) fn judge(tables: &Tables, draft: &Draft<'_>, networks: &[Vec<Option<IpNet>>; 2]) -> BooleanArray {
    let rows = draft.batch.num_rows();
    let scopes: Vec<&Scope> = tables.scopes().collect();
    let (Some(assets), false) = (batch::text(draft.batch, "asset"), scopes.is_empty()) else {
        return BooleanArray::new(BooleanBuffer::new_unset(rows), None);
    };
    let sides = [0, 1].map(|side| Known::of(side, draft, &networks[side]));
    let mut out = String::new();
    // A feed's rows have one kind of asset, or few.
    let mut last = ("", None);
    let judged = BooleanBuffer::collect_bool(rows, |row| {
        let asset = if assets.is_valid(row) { assets.value(row) } else { "" };
        if asset != last.0 {
            last = (asset, Asset::of(asset));
        }
        last.1.is_some_and(|asset| sides[asset.side].is_in(&scopes, asset.name, row, &mut out))
    });
    BooleanArray::new(judged, None)
}

/// Whom an asset field asks about.
#[derive(Clone, Copy)]
struct Asset {
    /// Its place in [`SIDES`].
    side: usize,
    name: Name,
}

/// The name that belongs to an asset. Reverse DNS is none: whoever has an address writes there what he likes.
#[derive(Clone, Copy)]
enum Name {
    Url,
    Fqdn,
    Mail,
    None,
}

impl Asset {
    fn of(asset: &str) -> Option<Asset> {
        let side = SIDES.iter().position(|side| asset.starts_with(side.prefix))?;
        let is = |field: Field| field.name() == asset;
        let name = match &SIDES[side] {
            fields if is(fields.url) => Name::Url,
            fields if is(fields.fqdn) => Name::Fqdn,
            fields if is(fields.account) => Name::Mail,
            _ => Name::None,
        };
        Some(Asset { side, name })
    }
}

/// What is known of one side.
struct Known<'a> {
    countries: Option<&'a StringArray>,
    asns: Option<&'a Int64Array>,
    networks: &'a [Option<IpNet>],
    urls: Option<&'a StringArray>,
    names: Option<&'a StringArray>,
    accounts: Option<&'a StringArray>,
}

impl<'a> Known<'a> {
    fn of(side: usize, draft: &'a Draft<'_>, networks: &'a [Option<IpNet>]) -> Known<'a> {
        let side = &SIDES[side];
        let asns = draft.column(side.asn).map(|array| array.as_any().downcast_ref().expect("the schema says a number"));
        Known {
            countries: draft.text(side.cc),
            asns,
            networks,
            urls: draft.text(side.url),
            names: draft.text(side.fqdn),
            accounts: draft.text(side.account),
        }
    }

    fn is_in(&self, scopes: &[&Scope], name: Name, row: usize, out: &mut String) -> bool {
        let country = cell(self.countries, row);
        let asn = self.asns.filter(|asns| asns.is_valid(row)).map(|asns| asns.value(row));
        let network = self.networks.get(row).copied().flatten();
        let fqdn = || cell(self.names, row);
        let name = match name {
            Name::Url => cell(self.urls, row).map_or_else(fqdn, |url| match Host::of(url, out)? {
                Host::Name(name) => Some(name),
                Host::Address(_) => None,
            }),
            Name::Fqdn => fqdn(),
            Name::Mail => cell(self.accounts, row).and_then(|account| mail_domain(account, out)),
            Name::None => None,
        };
        scopes.iter().any(|scope| scope.has_address(country, asn, network) || name.is_some_and(|name| scope.has_name(name)))
    }
}

fn cell(array: Option<&StringArray>, row: usize) -> Option<&str> {
    array.filter(|array| array.is_valid(row)).map(|array| array.value(row))
}

/// The domain of a mail address, in A-labels.
fn mail_domain<'a>(account: &'a str, out: &'a mut String) -> Option<&'a str> {
    let (_, domain) = account.rsplit_once('@')?;
    value::text(Field::SOURCE_FQDN, domain, out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: bool) {
        let scope = Scope::parse("tlds = [\"hk\", \"香港\", \".gov.example\"]").expect("a scope");
        assert_eq!(scope.has_name(name), expected, "{name}");
    }

    #[test]
    fn names_end_in_whole_labels() {
        check("www.example.hk", true);
        check("example.com.hk", true);
        check("example.xn--j6w193g", true);
        check("www.dept.gov.example", true);
        check("notgov.example", false);
        check("example.ahk", false);
        check("hk.example.com", false);
    }

    #[track_caller]
    fn check_wrong(text: &str, expected: &str) {
        let error = Scope::parse(text).expect_err("a mistake");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        check_wrong("countries = [\"Hong Kong\"]", "countries: \"Hong Kong\": not a country's two letters");
        check_wrong("networks = [\"192.0.2.0/40\"]", "networks: \"192.0.2.0/40\": not a network");
        check_wrong("asns = [0]", "asns: 0: not an AS number");
        check_wrong("tlds = [\".\"]", "tlds: \".\": not the end of a host name");
        check_wrong("country = \"HK\"", "unknown field `country`");
    }
}
