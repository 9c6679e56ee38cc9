//! Machines that something is wrong with, for a while: where they are, when they are on, and whose address they have.

use std::net::IpAddr;

use crate::calendar;
use crate::chance::Chance;
use crate::country::{Country, Network, Purpose, Version};
use crate::spells::Spell;

/// Where machines of a kind are, in percent; the rest are abroad.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) homes: u64,
    pub(crate) mobile: u64,
    pub(crate) offices: u64,
    pub(crate) hosting: u64,
}

impl Spread {
    fn network<'c>(&self, country: &'c Country, version: Version, chance: &mut Chance) -> &'c Network {
        let mut left = chance.below(100);
        let shares = [
            (Purpose::Homes, self.homes),
            (Purpose::Mobile, self.mobile),
            (Purpose::Offices, self.offices),
            (Purpose::Hosting, self.hosting),
        ];
        for (purpose, share) in shares {
            if left < share {
                return chance.pick(&country.networks_for(purpose, version));
            }
            left -= share;
        }
        chance.pick(&country.networks_abroad(version))
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine<'c> {
    pub(crate) spell: Spell,
    pub(crate) network: &'c Network,
}

impl<'c> Machine<'c> {
    pub(crate) fn of(spell: Spell, country: &'c Country, spread: &Spread, version: Version) -> Machine<'c> {
        Machine { spell, network: spread.network(country, version, &mut spell.chance("network")) }
    }

    /// Its address for the `nth` connection of a day: the same for ever, the same all day, or any of the carrier's.
    pub(crate) fn address(&self, day: i32, nth: u32) -> IpAddr {
        let chance = self.spell.chance("address");
        self.network.address(&mut match self.network.purpose {
            Purpose::Offices | Purpose::Hosting => chance,
            Purpose::Homes => chance.at(day),
            Purpose::Mobile => chance.at(day).at(nth),
        })
    }

    /// Whether anybody switched it on: offices are empty at weekends, homes are not.
    pub(crate) fn is_awake(&self, day: i32) -> bool {
        let percent = match (self.network.purpose, calendar::is_weekend(day)) {
            (Purpose::Offices, false) => 90,
            (Purpose::Offices, true) => 22,
            (Purpose::Homes, false) => 68,
            (Purpose::Homes, true) => 74,
            (Purpose::Mobile, _) => 70,
            (Purpose::Hosting, _) => 96,
        };
        self.spell.chance("awake").at(day).percent(percent)
    }

    /// A second of the day at which it is busy: office hours, evenings, any time.
    pub(crate) fn second(&self, day: i32, nth: u32) -> i64 {
        let mut chance = self.spell.chance("second").at(day).at(nth);
        let (from, length) = match self.network.purpose {
            Purpose::Offices => (7 * 3600, 12 * 3600),
            Purpose::Homes if chance.percent(60) => (16 * 3600, 8 * 3600),
            _ => (0, 86_400),
        };
        from + chance.below(length) as i64
    }
}

/// The reverse name of an address, as its network's owner makes them.
pub(crate) fn reverse_name(network: &Network, address: IpAddr) -> String {
    let dashed: String = address.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let word = match network.purpose {
        Purpose::Homes => "customer",
        Purpose::Mobile => "mobile",
        Purpose::Offices => "office",
        Purpose::Hosting => "server",
    };
    format!("{word}-{}.{}", dashed.trim_matches('-'), network.system.domain)
}
