//! The made-up country of Marisle: its networks, its neighbours, and the enrichment tables that know them.
//!
//! Its code is one that no country may have (ISO 3166-1 leaves XA to XZ to users), its AS numbers are those of
//! documentation (RFC 5398), its addresses are routed nowhere: 198.18.0.0/15 (RFC 2544), 240.0.0.0/4 (RFC 1112)
//! and 2001:db8::/32 (RFC 3849). Its top-level domains are delegated to nobody.

mod atlas;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use enrich::Part;
use enrich::mmdb::{self, About, RecordSize};
use event::time;
use ipnet::IpNet;
use toml::{Table, Value};

use crate::calendar;
use crate::chance::Chance;

pub use atlas::{Place, System};

pub const NAME: &str = "Marisle";
pub const CODE: &str = "XM";
pub const TOP_LEVEL_DOMAIN: &str = "xm";
/// "Lighthouse".
pub const INTERNATIONAL_DOMAIN: &str = "燈塔";

/// A range of its addresses that nobody has in the real world.
pub const RESERVED: &str = "240.0.0.0/4";

/// The days from which the two sets of tables hold.
pub const TABLE_DAYS: [&str; 2] = ["2024-01-01", "2024-02-15"];

/// What a network is for: it decides how long an address means the same machine, and when people are at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Homes,
    Mobile,
    Offices,
    Hosting,
}

impl Purpose {
    /// Whether the next day's customer is another one: `static`, `dynamic`, or `shared` by many at a time.
    pub fn addressing(self) -> &'static str {
        match self {
            Purpose::Homes => "dynamic",
            Purpose::Mobile => "shared",
            Purpose::Offices | Purpose::Hosting => "static",
        }
    }
}

#[derive(Debug)]
pub struct Network {
    pub prefix: IpNet,
    /// Whose it is on the quarter's first day.
    pub system: &'static System,
    /// Whose it is from the second tables on.
    pub moved_to: Option<&'static System>,
    pub purpose: Purpose,
    pub place: &'static Place,
}

impl Network {
    /// Whether it lies in Marisle, as far as the tables of addresses know.
    pub fn is_ours(&self) -> bool {
        self.place.country == CODE
    }

    fn system_on(&self, day: i32) -> &'static System {
        self.moved_to.filter(|_| day >= calendar::day(TABLE_DAYS[1])).unwrap_or(self.system)
    }

    /// Any of its addresses, less its first and last.
    pub(crate) fn address(&self, chance: &mut Chance) -> IpAddr {
        match self.prefix {
            IpNet::V4(prefix) => {
                let size = 1 << (32 - prefix.prefix_len());
                Ipv4Addr::from_bits(u32::from(prefix.network()) + 1 + chance.below(size - 2) as u32).into()
            }
            // One of 65,536 networks of a customer's, and a machine in it.
            IpNet::V6(prefix) => {
                let customer = u128::from(chance.below(1 << 16)) << 64;
                Ipv6Addr::from_bits(u128::from(prefix.network()) | customer | u128::from(chance.draw())).into()
            }
        }
    }
}

/// The country, its neighbours, and the rest of the world as far as it is needed.
#[derive(Debug)]
pub struct Country {
    pub networks: Vec<Network>,
}

impl Country {
    /// Marisle.
    pub fn made_up() -> Country {
        Country { networks: atlas::networks() }
    }

    /// The tables of that day: of the two sets, the one in force. The first counts for all days before too.
    pub fn tables(&self, day: i32) -> Tables {
        let [first, second] = TABLE_DAYS.map(calendar::day);
        let day = if day < second { first } else { second };
        Tables {
            day,
            places: self.write(day, "Marisle-City", |network| network.place.record()),
            systems: self.write(day, "Marisle-ASN", |network| network.system_on(day).record()),
            networks: self.listed(),
            scope: SCOPE.to_owned(),
            aliases: ALIASES.to_owned(),
        }
    }

    /// Both sets, the earlier first.
    pub fn dated_tables(&self) -> [Tables; 2] {
        TABLE_DAYS.map(|day| self.tables(calendar::day(day)))
    }

    fn write(&self, day: i32, kind: &str, record: impl Fn(&Network) -> Table) -> Vec<u8> {
        let records: Vec<(IpNet, Table)> = self.networks.iter().map(|network| (network.prefix, record(network))).collect();
        let build_epoch = i64::from(day) * time::DAY / time::SECOND;
        mmdb::write(&records, &About { kind, build_epoch: build_epoch as u64, record_size: RecordSize::Bits24 })
    }

    /// How long an address of each network means the same customer, and what the tables have wrong.
    fn listed(&self) -> String {
        let mut text = String::from(LISTED);
        let is_listed = |network: &&Network| LISTED.contains(&format!("\"{}\"", network.prefix));
        for network in self.networks.iter().filter(|network| network.is_ours() && !is_listed(network)) {
            let flag = network.purpose.addressing();
            writeln!(text, "\n[[network]]\nprefix = \"{}\"\nflags  = [\"{flag}\"]", network.prefix).expect("a string takes any text");
        }
        text
    }

    pub(crate) fn networks_for(&self, purpose: Purpose, version: Version) -> Vec<&Network> {
        let fits = |network: &&Network| network.is_ours() && network.purpose == purpose && version.has(network);
        self.networks.iter().filter(fits).collect()
    }

    pub(crate) fn networks_abroad(&self, version: Version) -> Vec<&Network> {
        self.networks.iter().filter(|network| !network.is_ours() && version.has(network)).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

impl Version {
    fn has(self, network: &Network) -> bool {
        matches!((self, network.prefix), (Version::V4, IpNet::V4(_)) | (Version::V6, IpNet::V6(_)))
    }
}

impl Place {
    /// As databases of cities have it.
    fn record(&self) -> Table {
        let named = |name: &str| table([("names", table([("en", name.into())]).into())]);
        let mut country = named(self.country_name);
        country.insert("iso_code".to_owned(), self.country.into());
        table([
            ("country", country.into()),
            ("city", named(self.city).into()),
            ("location", table([("latitude", self.latitude.into()), ("longitude", self.longitude.into())]).into()),
            ("subdivisions", Value::Array(vec![named(self.region).into()])),
        ])
    }
}

impl System {
    fn record(&self) -> Table {
        table([("autonomous_system_number", i64::from(self.number).into()), ("autonomous_system_organization", self.name.into())])
    }
}

fn table<const LENGTH: usize>(entries: [(&str, Value); LENGTH]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What enriches the events of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// From this day on they hold, in days since 1970.
    pub day: i32,
    /// Countries and cities of addresses, in the MaxMind DB format.
    pub places: Vec<u8>,
    /// AS numbers of addresses, in the same format.
    pub systems: Vec<u8>,
    /// Listed networks, as [`enrich::Networks::parse`] reads them.
    pub networks: String,
    /// As [`enrich::Scope::parse`] reads it.
    pub scope: String,
    /// As [`enrich::Aliases::parse`] reads them.
    pub aliases: String,
}

impl Tables {
    /// The same, read.
    pub fn parts(&self) -> Vec<Part> {
        let read = |part: Result<Part, String>| part.expect("the tests have read it");
        vec![
            read(Part::networks("marisle-networks", self.day, &self.networks)),
            read(Part::addresses("marisle-places", self.places.clone())),
            read(Part::addresses("marisle-systems", self.systems.clone())),
            read(Part::aliases("marisle-aliases", self.day, &self.aliases)),
            read(Part::scope("marisle-scope", self.day, &self.scope)),
        ]
    }
}

const LISTED: &str = r#"# Lent to a carrier across the sound; the tables still have it at home.
[[network]]
prefix  = "198.18.176.0/20"
country = "XO"
flags   = ["static"]

# The embassy's line in Tarnwold.
[[network]]
prefix  = "241.0.77.0/24"
country = "XM"
asn     = 64500
as_name = "Government of Marisle"
flags   = ["static"]
"#;

const SCOPE: &str = r#"countries = ["XM"]
tlds      = ["xm", "燈塔"]
# An exchange point whose addresses no table places.
networks  = ["198.19.255.0/24", "2001:db8:ff00::/40"]
# The cloud's machines abroad are its customers' from here.
asns      = [64505]
"#;

const ALIASES: &str = r#"[families]
andromeda = ["gamarue"]
conficker = ["downadup", "kido"]
gafgyt    = ["bashlite"]
qakbot    = ["qbot", "pinkslipbot"]
zeus      = ["zbot"]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    use enrich::Dated;

    /// Place and AS of an address on a day, and the flags of its listed network.
    #[track_caller]
    fn check(address: &str, day: &str, expected: &str) {
        let country = Country::made_up();
        let dated = Dated::of(country.dated_tables().iter().flat_map(Tables::parts));
        let tables = dated.on(calendar::day(day));
        let address = address.parse().expect("an address");
        let answer = tables.answer(address);
        let place = answer.place.map_or("-".into(), |place| format!("{} {}", place.cc, place.city.unwrap_or_default()));
        let system = answer.system.map_or("-".into(), |system| format!("{} {}", system.number, system.name.unwrap_or_default()));
        let flags = tables.listed(address).map_or(String::new(), |network| network.flags.join(" "));
        assert_eq!(format!("{place} | {system} | {flags}"), expected, "{address} on {day}");
    }

    #[test]
    fn addresses_have_a_place_and_an_owner() {
        check("240.16.3.4", "2024-01-10", "XM Harbour Town | 64496 Harbour Telecom | dynamic");
        check("240.24.1.1", "2024-01-10", "XM Harbour Town | 64497 Lanternline Mobile | shared");
        check("198.18.5.6", "2024-01-10", "XM Northlight | 64498 Northlight University | static");
        check("2001:db8:1000::1", "2024-01-10", "XM Harbour Town | 64496 Harbour Telecom | dynamic");
        check("241.0.1.1", "2024-01-10", "XT Pinecrest | 65536 Tarnwold Telecom | ");
        check("241.0.77.1", "2024-01-10", "XM  | 64500 Government of Marisle | static");
        check("198.18.176.1", "2024-01-10", "XO  | 64499 Eastquay Hosting | static");
        check("203.0.113.9", "2024-01-10", "XW Open Water | 65551 Deepwater Sinkhole Research | ");
        check("192.0.2.1", "2024-01-10", "- | - | ");
    }

    #[test]
    fn a_network_moves_in_the_middle_of_the_quarter() {
        check("240.34.0.1", "2023-12-01", "XM Saltmarsh | 64506 Tidal Fibre | dynamic");
        check("240.34.0.1", "2024-02-14", "XM Saltmarsh | 64506 Tidal Fibre | dynamic");
        check("240.34.0.1", "2024-02-15", "XM Saltmarsh | 64496 Harbour Telecom | dynamic");
    }

    #[test]
    fn both_top_level_domains_can_be_names() {
        for name in ["northlight.xm", "北光大學.燈塔"] {
            let mut out = String::new();
            let ascii = event::value::text(event::Field::SOURCE_FQDN, name, &mut out).expect("a host name");
            assert!([".xm", ".xn--oms350d"].iter().any(|end| ascii.ends_with(end)), "{ascii}");
        }
    }
}
