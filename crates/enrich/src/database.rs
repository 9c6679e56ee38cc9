//! Tables of addresses in the MMDB format: where an address is, and in whose network.
//!
//! The format says how a record is written, not what is in it, and those who make such tables do not agree on
//! that. The layouts understood, by their keys:
//!
//! | layout | place | AS |
//! |---|---|---|
//! | nested | `country.iso_code`, `country.names.en`, `city.names.en`, `subdivisions.0.names.en`, `location.latitude` | `autonomous_system_number`, `autonomous_system_organization`, both perhaps within `traits` |
//! | flat | `country_code` with `country_name` or `country`, or `country` alone for the code; `city`, `region` or `state1`, `latitude` or `lat` | `asn` as `64496` or `"AS64496"`, `as_name` |
//! | holder | none: `country_code` or `country` beside `asn` and `name` or `org`, without `country_name`, is where the AS is registered, not where the address is | `asn`, `name` or `org` |
//!
//! Many addresses share a record, so a record is decoded once, and found again by its offset in the file.

mod walk;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use event::{Field, value};
use ipnet::IpNet;
use maxminddb::{LookupResult, Reader, WithinOptions};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use walk::Walk;

/// What one source knows of an address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub place: Option<Place>,
    pub system: Option<AutonomousSystem>,
}

/// Where an address is, in one source's words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// Two capital letters.
    pub cc: String,
    /// The country's English name.
    pub country: Option<String>,
    /// The largest part of the country that has a name.
    pub region: Option<String>,
    pub city: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct AutonomousSystem {
    pub number: u32,
    pub name: Option<String>,
}

/// A table of addresses, opened.
#[derive(Debug)]
pub(crate) struct Database {
    reader: Reader<Bytes>,
    bytes: Bytes,
    walk: Walk,
    /// Whether its records have places, and whether they have AS numbers.
    pub(crate) has_places: bool,
    pub(crate) has_systems: bool,
    answers: RwLock<HashMap<usize, Arc<Answer>, BuildHasherDefault<KeyHasher>>>,
}

/// At most so many decoded records are kept, which is some tens of megabytes; then they are dropped, all at once.
const MOST_ANSWERS: usize = 1 << 18;

/// So many networks are looked at to understand a layout: some tables start with ranges that nobody owns.
const LOOKED_AT: usize = 10_000;

/// A file's bytes, wherever they are: read, mapped, shared.
#[derive(Clone)]
pub(crate) struct Bytes(pub(crate) Arc<dyn AsRef<[u8]> + Send + Sync>);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes", self.as_ref().len())
    }
}

impl Database {
    /// Fails if the bytes are no such table, or if its records tell neither place nor AS; the error says which.
    pub(crate) fn open(bytes: Bytes) -> Result<Database, String> {
        let wrong = |error| format!("not in the MMDB format: {error}");
        let reader = Reader::from_source(bytes.clone()).map_err(wrong)?;
        let walk = Walk::of(bytes.as_ref(), reader.metadata());
        let mut database = Database { reader, bytes, walk, has_places: false, has_systems: false, answers: RwLock::default() };
        let keys = database.look_at_records()?;
        if database.has_places || database.has_systems {
            return Ok(database);
        }
        let kind = &database.reader.metadata().database_type;
        Err(match keys.is_empty() {
            true => format!("a table of type \"{kind}\" without records"),
            false => format!("a table of type \"{kind}\" with neither country nor AS number: its records have {}", keys.join(", ")),
        })
    }

    /// Learns what the first records have, and hands out the keys of one of them.
    fn look_at_records(&mut self) -> Result<Vec<String>, String> {
        let (mut has_places, mut has_systems, mut keys) = (false, false, Vec::new());
        let networks = self.reader.networks(WithinOptions::default()).map_err(|error| error.to_string())?;
        for found in networks.take(LOOKED_AT) {
            let found = found.map_err(|error| format!("its tree is damaged: {error}"))?;
            if keys.is_empty()
                && let Ok(Some(record)) = found.decode::<BTreeMap<&str, IgnoredAny>>()
            {
                keys = record.into_keys().map(str::to_owned).collect();
            }
            let answer = decode(&found);
            has_places |= answer.place.is_some();
            has_systems |= answer.system.is_some();
            if has_places && has_systems {
                break;
            }
        }
        (self.has_places, self.has_systems) = (has_places, has_systems);
        Ok(keys)
    }

    /// When the table was built, in seconds since 1970.
    pub(crate) fn build_epoch(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// The offset of the record that speaks for all of this network, if there is one.
    pub(crate) fn offset(&self, network: IpNet) -> Option<usize> {
        match network {
            IpNet::V4(network) if network.prefix_len() == 32 => self.walk.offset(self.bytes.as_ref(), network.addr().into()),
            _ => self.find(network)?.offset(),
        }
    }

    fn find(&self, network: IpNet) -> Option<LookupResult<'_, Bytes>> {
        // A table of one IP version has nothing to say about addresses of the other.
        let found = self.reader.lookup(network.network()).ok().filter(LookupResult::has_data)?;
        (network.prefix_len() == network.max_prefix_len() || covers(&found, network)).then_some(found)
    }

    /// What the record at this offset says, which [`Database::offset`] found for the network.
    pub(crate) fn answer(&self, offset: usize, network: IpNet) -> Arc<Answer> {
        let answers = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = answers.get(&offset) {
            return answer.clone();
        }
        drop(answers);
        let answer = Arc::new(self.find(network).map(|found| decode(&found)).unwrap_or_default());
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= MOST_ANSWERS {
            answers.clear();
        }
        answers.insert(offset, answer.clone());
        answer
    }
}

fn covers(found: &LookupResult<'_, Bytes>, network: IpNet) -> bool {
    match (found.network(), network.addr()) {
        (Ok(held), IpAddr::V4(_)) if held.is_ipv6() => true, // The record is above the tree's IPv4 part: it holds all of it.
        (Ok(held), _) => held.prefix() <= network.prefix_len(),
        (Err(_), _) => false,
    }
}

/// A record that cannot be read knows nothing.
fn decode(found: &LookupResult<'_, Bytes>) -> Answer {
    let record = found.decode::<Record<'_>>().ok().flatten().unwrap_or(Record::Other);
    Answer { place: place(&record), system: system(&record) }
}

fn place(record: &Record<'_>) -> Option<Place> {
    let country = record.get("country");
    if matches!(country, Record::Map(_)) {
        return Some(Place {
            cc: code(country.get("iso_code"))?,
            country: text(Field::SOURCE_GEOLOCATION_COUNTRY, country.name()),
            region: text(Field::SOURCE_GEOLOCATION_REGION, record.get("subdivisions").get("0").name()),
            city: text(Field::SOURCE_GEOLOCATION_CITY, record.get("city").name()),
            latitude: record.get("location").get("latitude").number(),
            longitude: record.get("location").get("longitude").number(),
        });
    }
    if states_holder(record) {
        return None;
    }
    Some(Place {
        cc: code(record.get("country_code")).or_else(|| code(country))?,
        country: text(Field::SOURCE_GEOLOCATION_COUNTRY, record.get("country_name"))
            .or_else(|| text(Field::SOURCE_GEOLOCATION_COUNTRY, country).filter(|name| name.len() > 2)),
        region: text(Field::SOURCE_GEOLOCATION_REGION, record.first(&["region", "state1"])),
        city: text(Field::SOURCE_GEOLOCATION_CITY, record.get("city")),
        latitude: record.first(&["latitude", "lat"]).number(),
        longitude: record.first(&["longitude", "lng", "lon"]).number(),
    })
}

/// Whether the record is about the holder of an AS.
fn states_holder(record: &Record<'_>) -> bool {
    record.has("asn") && (record.has("name") || record.has("org")) && !record.has("as_name") && !record.has("country_name")
}

fn system(record: &Record<'_>) -> Option<AutonomousSystem> {
    let record = if record.has("traits") && !record.has("autonomous_system_number") { record.get("traits") } else { record };
    let number = match record.first(&["autonomous_system_number", "asn"]) {
        Record::Text(text) => value::asn(text).ok(),
        Record::Number(number) => value::asn(&number.to_string()).ok(),
        _ => None,
    };
    let name = record.first(&["autonomous_system_organization", "as_name", "name", "org"]);
    Some(AutonomousSystem { number: u32::try_from(number?).ok()?, name: text(Field::SOURCE_AS_NAME, name) })
}

/// A country's code; `ZZ` is how some say that they do not know.
fn code(record: &Record<'_>) -> Option<String> {
    let Record::Text(text) = record else { return None };
    crate::scope::country(text).ok().filter(|code| code != "ZZ")
}

fn text(field: Field, record: &Record<'_>) -> Option<String> {
    let Record::Text(text) = record else { return None };
    let text = Some(text.trim()).filter(|text| !text.is_empty() && *text != "-")?;
    value::text(field, text, &mut String::new()).map(str::to_owned).ok()
}

/// A record, less what no layout needs: the names of a country in eight languages, postcodes, time zones.
#[derive(Debug)]
enum Record<'a> {
    Text(&'a str),
    Number(f64),
    Map(Vec<(&'a str, Record<'a>)>),
    List(Vec<Record<'a>>),
    Other,
}

const NEEDED: &[&str] = &[
    "as_name",
    "asn",
    "autonomous_system_number",
    "autonomous_system_organization",
    "city",
    "country",
    "country_code",
    "country_name",
    "en",
    "iso_code",
    "lat",
    "latitude",
    "lng",
    "location",
    "lon",
    "longitude",
    "name",
    "names",
    "org",
    "region",
    "state1",
    "subdivisions",
    "traits",
];

impl<'a> Record<'a> {
    /// What stands under the key, or in a list at the number.
    fn get(&self, key: &str) -> &Record<'a> {
        let found = match self {
            Record::Map(entries) => entries.iter().find(|(name, _)| *name == key).map(|(_, value)| value),
            Record::List(items) => key.parse().ok().and_then(|place: usize| items.get(place)),
            _ => None,
        };
        found.unwrap_or(&Record::Other)
    }

    fn has(&self, key: &str) -> bool {
        !matches!(self.get(key), Record::Other)
    }

    /// What stands under the first of these keys that says anything: some write an empty text for nothing.
    fn first(&self, keys: &[&str]) -> &Record<'a> {
        let says = |record: &&Record<'_>| !matches!(record, Record::Other | Record::Text(""));
        keys.iter().map(|key| self.get(key)).find(says).unwrap_or(&Record::Other)
    }

    /// The English name.
    fn name(&self) -> &Record<'a> {
        self.get("names").get("en")
    }

    fn number(&self) -> Option<f64> {
        match self {
            Record::Number(number) => Some(*number).filter(|number| number.is_finite()),
            Record::Text(text) => value::float(text).ok(),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(given: D) -> Result<Record<'de>, D::Error> {
        given.deserialize_any(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Record<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Record<'de>, E> {
        Ok(Record::Text(text))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Record<'de>, E> {
        Ok(Record::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Record<'de>, E> {
        Ok(Record::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Record<'de>, E> {
        Ok(Record::Number(number as f64))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Record<'de>, E> {
        Ok(Record::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Record<'de>, E> {
        Ok(Record::Other)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Record<'de>, E> {
        Ok(Record::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Record<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Record::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record<'de>, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<&str>()? {
            if NEEDED.contains(&key) {
                entries.push((key, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Record::Map(entries))
    }
}

/// For keys that are small numbers of our own making: multiplying spreads them well enough, at a fifth of the
/// default's cost.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are single numbers")
    }

    fn write_usize(&mut self, key: usize) {
        let product = (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mmdb::{self, About, RecordSize};

    fn written(records: &[(&str, &str)]) -> Vec<u8> {
        let record = |(network, toml): &(&str, &str)| (network.parse().expect("a network"), toml.parse().expect("TOML"));
        let records: Vec<_> = records.iter().map(record).collect();
        mmdb::write(&records, &About { kind: "Test", build_epoch: 1_700_000_000, record_size: RecordSize::Bits24 })
    }

    /// Place and AS of 192.0.2.1, where the table holds one record for its network.
    #[track_caller]
    fn check(record: &str, place: &str, system: &str) {
        let database = Database::open(Bytes(Arc::new(written(&[("192.0.2.0/24", record)])))).expect("a layout that is understood");
        let network = "192.0.2.1/32".parse().expect("a network");
        let offset = database.offset(network).expect("a record");
        let answer = database.answer(offset, network);
        let word = |word: &Option<String>| word.clone().unwrap_or_default();
        let found = answer.place.as_ref().map(|place| {
            let degrees = |degrees: Option<f64>| degrees.map(|degrees| degrees.to_string()).unwrap_or_default();
            [
                place.cc.clone(),
                word(&place.country),
                word(&place.region),
                word(&place.city),
                degrees(place.latitude),
                degrees(place.longitude),
            ]
            .join("|")
        });
        assert_eq!(found.unwrap_or_default(), place, "place of {record}");
        let found = answer.system.as_ref().map(|system| format!("{} {}", system.number, word(&system.name)));
        assert_eq!(found.as_deref().map_or("", str::trim_end), system, "AS of {record}");
    }

    #[test]
    fn nested_layouts() {
        check(
            r#"
            continent    = { code = "AS", names = { en = "Asia" } }
            country      = { iso_code = "HK", geoname_id = 1819730, is_in_european_union = false, names = { en = "Hong Kong", zh-CN = "香港" } }
            city         = { names = { de = "Hongkong", en = "Central" } }
            location     = { latitude = 22.28, longitude = 114.16, time_zone = "Asia/Hong_Kong" }
            subdivisions = [{ names = { en = "Central and Western" } }, { names = { en = "Smaller" } }]
            "#,
            "HK|Hong Kong|Central and Western|Central|22.28|114.16",
            "",
        );
        check("autonomous_system_number = 64496\nautonomous_system_organization = \"Example Ltd\"", "", "64496 Example Ltd");
        check(
            r#"
            country = { iso_code = "HK", names = { en = "Hong Kong" } }
            traits  = { autonomous_system_number = 64496, autonomous_system_organization = "Example Ltd", isp = "Example" }
            "#,
            "HK|Hong Kong||||",
            "64496 Example Ltd",
        );
    }

    #[test]
    fn flat_layouts() {
        check(
            r#"
            asn = "AS64496"
            as_name = "Example Ltd"
            as_domain = "example.com"
            continent = "Asia"
            continent_code = "AS"
            country = "Hong Kong"
            country_code = "HK"
            "#,
            "HK|Hong Kong||||",
            "64496 Example Ltd",
        );
        check(
            r#"
            asn = "AS64496"
            as_name = "Example Ltd"
            country = "HK"
            country_name = "Hong Kong"
            "#,
            "HK|Hong Kong||||",
            "64496 Example Ltd",
        );
        check(
            "city = \"Central\"\ncountry = \"HK\"\nlat = \"22.28\"\nlng = \"114.16\"\nregion = \"Hong Kong\"",
            "HK||Hong Kong|Central|22.28|114.16",
            "",
        );
        check("continent_code = \"AS\"\ncountry_code = \"HK\"\ncountry_name = \"Hong Kong\"", "HK|Hong Kong||||", "");
        check("country_code = \"HK\"", "HK|||||", "");
        check(
            "city = \"Central\"\ncountry_code = \"HK\"\nlatitude = 22\nlongitude = 114.16\nstate1 = \"Hong Kong\"",
            "HK||Hong Kong|Central|22|114.16",
            "",
        );
    }

    #[test]
    fn an_as_holder_is_registered_somewhere_which_is_no_place() {
        check(
            "asn = \"64496\"\ncountry_code = \"US\"\ndomain = \"example.com\"\nname = \"EXAMPLE-AS\"\norg = \"Example Ltd\"",
            "",
            "64496 EXAMPLE-AS",
        );
        check("asn = 64496\ncountry_code = \"US\"\norg = \"Example Ltd\"", "", "64496 Example Ltd");
        check("asn = \"AS64496\"\ncountry = \"US\"\nname = \"Example Ltd\"\ntype = \"isp\"", "", "64496 Example Ltd");
    }

    #[test]
    fn a_record_with_a_countrys_name_is_a_place_whoever_holds_it() {
        check(
            "asn = 64496\ncountry_code = \"HK\"\ncountry_name = \"Hong Kong\"\nname = \"EXAMPLE-AS\"",
            "HK|Hong Kong||||",
            "64496 EXAMPLE-AS",
        );
    }

    #[test]
    fn nothing_is_made_of_words_for_nothing() {
        check("asn = \"\"\nas_name = \"\"\ncountry_code = \"HK\"\ncity = \"-\"\nlatitude = \"\"", "HK|||||", "");
        check("asn = \"AS64496\"\nas_name = \"\"\ncountry_code = \"ZZ\"", "", "64496");
        check("asn = 4200000000\ncountry = { names = { en = \"Hong Kong\" } }", "", "4200000000");
    }

    #[track_caller]
    fn check_wrong(bytes: Vec<u8>, expected: &str) {
        let error = Database::open(Bytes(Arc::new(bytes))).expect_err("no layout that is understood");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_not_understood_is_told() {
        check_wrong(b"not a table".to_vec(), "not in the MMDB format");
        check_wrong(written(&[]), "a table of type \"Test\" without records");
        check_wrong(
            written(&[("192.0.2.0/24", "is_anonymous = true\nis_hosting = true")]),
            "a table of type \"Test\" with neither country nor AS number: its records have is_anonymous, is_hosting",
        );
    }

    #[track_caller]
    fn check_found(records: &[&str], asked: &str, expected: bool) {
        let records: Vec<_> = records.iter().map(|network| (*network, "country_code = \"HK\"")).collect();
        let database = Database::open(Bytes(Arc::new(written(&records)))).expect("a table");
        assert_eq!(database.offset(asked.parse().expect("a network")).is_some(), expected, "{asked} in {records:?}");
    }

    #[test]
    fn a_record_speaks_for_networks_that_it_holds_whole() {
        check_found(&["192.0.2.0/24"], "192.0.2.0/25", true);
        check_found(&["192.0.2.0/24"], "192.0.2.0/24", true);
        check_found(&["192.0.2.0/24"], "192.0.2.0/23", false);
        check_found(&["192.0.2.0/24"], "2001:db8::1/128", false);
        check_found(&["192.0.2.0/24", "2001:db8::/32"], "2001:db8::1/128", true);
        check_found(&["192.0.2.0/24", "2001:db8::/32"], "192.0.2.0/25", true);
        check_found(&["192.0.2.0/24", "2001:db8::/32"], "192.0.2.0/23", false);
    }
}
