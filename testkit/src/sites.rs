//! Pages that should not be there: on sites that were broken into, on free hosters, under names bought for it.

use std::net::IpAddr;

use crate::chance::Chance;
use crate::country::{Country, INTERNATIONAL_DOMAIN, Network, Purpose, TOP_LEVEL_DOMAIN, Version};
use crate::spells::{self, Spell};

#[derive(Clone, Debug)]
pub(crate) struct Site<'c> {
    pub(crate) spell: Spell,
    /// As people write it: not always in A-labels.
    pub(crate) host: String,
    pub(crate) network: &'c Network,
    pub(crate) address: IpAddr,
}

/// The sites that are up on this day, where `hundredths` of one come up a day and stay so many days, and so many
/// percent are Marisle's.
pub(crate) fn on<'c>(
    country: &'c Country,
    name: &str,
    day: i32,
    hundredths: u64,
    days: u64,
    percent: u64,
) -> impl Iterator<Item = Site<'c>> {
    spells::steady(name, day, hundredths, days).into_iter().map(move |spell| Site::of(spell, country, percent))
}

/// The sites that came up on this day.
pub(crate) fn new_on<'c>(country: &'c Country, name: &str, day: i32, hundredths: u64, percent: u64) -> impl Iterator<Item = Site<'c>> {
    spells::born(name, day, hundredths, 10).map(move |spell| Site::of(spell, country, percent))
}

const WORDS: &[&str] = &[
    "anchor",
    "bakery",
    "beacon",
    "breakwater",
    "cannery",
    "chandler",
    "coast",
    "current",
    "dockside",
    "driftwood",
    "ferry",
    "foghorn",
    "gallery",
    "garden",
    "gull",
    "harbour",
    "island",
    "jetty",
    "keel",
    "lantern",
    "lighthouse",
    "mooring",
    "museum",
    "orchard",
    "pier",
    "pilot",
    "quay",
    "regatta",
    "sailcloth",
    "school",
    "seawall",
    "shipyard",
    "stationery",
    "tide",
    "tower",
    "village",
];
const ABROAD: &[&str] = &["example.com", "example.net", "example.org", "pages.example", "sites.example", "shop.test"];
const INTERNATIONAL: &[&str] = &["商店", "茶館", "學校", "碼頭"];
const PATHS: &[&str] = &[
    "/",
    "/login",
    "/wp-content/uploads/",
    "/wp-includes/css/",
    "/signin/index.php",
    "/secure/verify.html",
    "/.well-known/",
    "/images/",
    "/account/update?step=1",
    "/~user/bank/",
    "/owa/auth.html",
];

impl<'c> Site<'c> {
    fn of(spell: Spell, country: &'c Country, percent: u64) -> Site<'c> {
        let mut chance = spell.chance("site");
        let is_ours = chance.percent(percent);
        // A name of ours may well be hosted abroad, and the other way round.
        let networks = if chance.percent(if is_ours { 85 } else { 6 }) {
            country.networks_for(Purpose::Hosting, Version::V4)
        } else {
            country.networks_abroad(Version::V4).into_iter().filter(|network| network.purpose == Purpose::Hosting).collect()
        };
        let network = chance.pick(&networks);
        Site { spell, host: host(&mut chance, is_ours), network, address: network.address(&mut chance) }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.spell.chance("encrypted").percent(65)
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_encrypted() { "https" } else { "http" }
    }

    pub(crate) fn path(&self) -> &'static str {
        self.spell.chance("path").pick(PATHS)
    }

    /// By name, or one time in ten by address.
    pub(crate) fn url(&self) -> String {
        let mut chance = self.spell.chance("url");
        if chance.percent(10) {
            return format!("http://{}{}", self.address, self.path());
        }
        format!("{}://{}{}", self.scheme(), self.host, self.path())
    }
}

fn host(chance: &mut Chance, is_ours: bool) -> String {
    let number = chance.below(9000);
    if !is_ours {
        return format!("{}-{number}.{}", chance.pick(WORDS), chance.pick(ABROAD));
    }
    if chance.percent(8) {
        return format!("{}{number}.{INTERNATIONAL_DOMAIN}", chance.pick(INTERNATIONAL));
    }
    let name = format!("{}-{}{}", chance.pick(WORDS), chance.pick(WORDS), number % 90);
    let www = if chance.percent(40) { "www." } else { "" };
    format!("{www}{name}.{TOP_LEVEL_DOMAIN}")
}
