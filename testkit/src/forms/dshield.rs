//! DShield's block list: the twenty networks of 256 addresses that attacked most, tab-separated under a long preface.

use std::fmt::Write as _;

use event::time;

use crate::calendar;
use crate::country::Version;
use crate::quarter::{Delivery, Planted, Quarter};
use crate::spells;

const LENGTH: usize = 20;

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let mut ranking: Vec<(u64, u32, &str, &str, &str)> = Vec::new();
    for spell in spells::steady("attackers", day, 400, 9) {
        let mut chance = spell.chance("network");
        let networks = if chance.percent(12) {
            quarter.country.networks_for(crate::country::Purpose::Hosting, Version::V4)
        } else {
            quarter.country.networks_abroad(Version::V4)
        };
        let network = chance.pick(&networks);
        let std::net::IpAddr::V4(address) = network.address(&mut chance) else { continue };
        let start = address.to_bits() & !255;
        if !ranking.iter().any(|(_, other, ..)| *other == start) {
            let targets = 300 + chance.at(day).below(9000);
            ranking.push((targets, start, network.system.name, network.place.country, network.system.domain));
        }
    }
    ranking.sort_unstable_by(|one, other| other.cmp(one));
    ranking.truncate(LENGTH);
    let mut text = preface(day);
    for (targets, start, name, country, domain) in &ranking {
        let (first, last) = (std::net::Ipv4Addr::from_bits(*start), std::net::Ipv4Addr::from_bits(*start | 255));
        writeln!(text, "{first}\t{last}\t24\t{targets}\t{}\t{country}\tabuse@{domain}", name.to_uppercase())
            .expect("a string takes any text");
    }
    vec![Delivery {
        feed: "dshield/block",
        file_name: "block.txt".to_owned(),
        arrived_at: calendar::at(day, 12 * 3600 + 30),
        bytes: text.into_bytes(),
        planted: Some(Planted { rows: ranking.len() as u64, ..Planted::default() }),
    }]
}

fn preface(day: i32) -> String {
    let updated = calendar::stamp(calendar::at(day, 12 * 3600)).replace(' ', "T");
    let year = time::day_name(day).chars().take(4).collect::<String>();
    format!(
        "#\n#   DShield.org Recommended Block List\n#    (c) {year} DShield.org\n#   some rights reserved. Details http://creativecommons.org/licenses/by-nc-sa/2.5/\n\
         #   use on your own risk. No warranties implied.\n#   primary URL: http://feeds.dshield.org/block.txt\n#\n#    updated: {updated}\n#\n\
         #    This list summarizes the top 20 attacking class C (/24) subnets\n#   over the last three days. The number of 'attacks' indicates the\n\
         #   number of targets reporting scans from this subnet.\n#\n#    Columns (tab delimited):\n#\n#    (1) start of netblock\n#    (2) end of netblock\n\
         #    (3) subnet (/24 for class C)\n#    (4) number of targets scanned\n#    (5) name of Network\n#    (6) Country\n#    (7) contact email address\n#\n\
         Start\tEnd\tNetmask\tAttacks\tName\tCountry\temail\n"
    )
}
