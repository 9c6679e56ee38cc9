//! Listed networks: what somebody who knows says of a network, against every table and feed. Addresses lent
//! abroad, a university's own AS, ranges that change hands every day.
//!
//! ```toml
//! [[network]]
//! prefix  = "192.0.2.0/24"
//! country = "XA"                # the place, whole: city and coordinates are empty
//! asn     = 64496               # the AS, whole
//! as_name = "Example Network"
//! flags   = ["dynamic"]
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use event::{Field, value};
use ipnet::IpNet;
use serde::Deserialize;

use crate::database::{Answer, AutonomousSystem, Place};
use crate::prefixes::Prefixes;

/// One listed network. What it does not state, the tables do.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Network {
    #[serde(deserialize_with = "prefix")]
    pub prefix: IpNet,
    pub country: Option<String>,
    pub asn: Option<u32>,
    pub as_name: Option<String>,
    /// Whatever else is to be known of it, such as `dynamic` or `shared`.
    #[serde(default)]
    pub flags: Vec<String>,
}

fn prefix<'de, D: serde::Deserializer<'de>>(given: D) -> Result<IpNet, D::Error> {
    let text = String::deserialize(given)?;
    value::network(&text).map_err(|wrong| serde::de::Error::custom(format!("\"{text}\": {}", wrong.0)))
}

#[derive(Clone, Debug, Default)]
pub struct Networks {
    networks: Vec<Network>,
    answers: Vec<Arc<Answer>>,
    prefixes: Prefixes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    network: Vec<Network>,
}

impl Networks {
    /// Of TOML as it stands in this file's head. The error says what is wrong, and with which network.
    pub fn parse(text: &str) -> Result<Networks, String> {
        let list: List = toml::from_str(text).map_err(|error| error.to_string())?;
        Networks::of(list.network)
    }

    /// Fails if a network is listed twice, has an AS name without its number, or a country that is no code.
    pub fn of(mut networks: Vec<Network>) -> Result<Networks, String> {
        let mut prefixes: Vec<IpNet> = networks.iter().map(|network| network.prefix).collect();
        prefixes.sort_unstable();
        if let Some(twice) = prefixes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("{} is listed twice", twice[0]));
        }
        networks.iter_mut().try_for_each(check)?;
        let answers = networks.iter().map(|network| Arc::new(answer(network))).collect();
        let prefixes = Prefixes::of(networks.iter().map(|network| network.prefix).collect());
        Ok(Networks { networks, answers, prefixes })
    }

    /// The most specific listed network that holds the address.
    pub fn find(&self, address: IpAddr) -> Option<&Network> {
        self.place(address.into()).map(|place| &self.networks[place])
    }

    pub(crate) fn place(&self, network: IpNet) -> Option<usize> {
        self.prefixes.find(network)
    }

    pub(crate) fn answer(&self, place: usize) -> Arc<Answer> {
        self.answers[place].clone()
    }
}

fn check(network: &mut Network) -> Result<(), String> {
    if let Some(country) = &mut network.country {
        *country = crate::scope::country(country).map_err(|wrong| format!("{}: {wrong}", network.prefix))?;
    }
    if network.as_name.is_some() && network.asn.is_none() {
        return Err(format!("{}: an AS name needs its number, `asn`", network.prefix));
    }
    if let Some(name) = &network.as_name {
        let wrong = |wrong: value::Wrong| format!("{}: as_name: {}", network.prefix, wrong.0);
        value::text(Field::SOURCE_AS_NAME, name, &mut String::new()).map_err(wrong)?;
    }
    Ok(())
}

fn answer(network: &Network) -> Answer {
    Answer {
        place: network.country.clone().map(|cc| Place { cc, ..Place::default() }),
        system: network.asn.map(|number| AutonomousSystem { number, name: network.as_name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_and_found() {
        let networks = Networks::parse(
            r#"
            [[network]]
            prefix  = "192.0.2.0/24"
            country = "hk"
            [[network]]
            prefix  = "192.0.2.128/25"
            asn     = 64496
            as_name = "Example Network"
            flags   = ["dynamic", "shared"]
            "#,
        )
        .expect("a list");
        let found = |address: &str| networks.find(address.parse().expect("an address"));
        assert_eq!(found("192.0.2.1").and_then(|network| network.country.as_deref()), Some("HK"));
        assert_eq!(found("192.0.2.129").map(|network| network.flags.len()), Some(2));
        assert_eq!(found("198.51.100.1"), None);
    }

    #[track_caller]
    fn check_wrong(text: &str, expected: &str) {
        let error = Networks::parse(text).expect_err("a mistake");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        check_wrong("[[network]]\nprefix = \"192.0.2.0/33\"", "\"192.0.2.0/33\": not a network");
        check_wrong("[[network]]\nprefix = \"192.0.2.0/24\"\ncity = \"x\"", "unknown field `city`");
        check_wrong("[[network]]\nprefix = \"192.0.2.0/24\"\ncountry = \"Hong Kong\"", "\"Hong Kong\": not a country's two letters");
        check_wrong("[[network]]\nprefix = \"192.0.2.0/24\"\nas_name = \"x\"", "192.0.2.0/24: an AS name needs its number");
        check_wrong("[[network]]\nprefix = \"192.0.2.1/24\"\n[[network]]\nprefix = \"192.0.2.0/24\"", "192.0.2.0/24 is listed twice");
    }
}
