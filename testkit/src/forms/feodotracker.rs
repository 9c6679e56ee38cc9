//! Feodo Tracker's list of command-and-control servers: JSON, short, unchanged from Friday to Sunday, and empty on
//! one day.

use std::fmt::Write as _;

use crate::calendar;
use crate::chance::Chance;
use crate::country::{Country, Purpose, Version};
use crate::machines::reverse_name;
use crate::quarter::{Delivery, Planted, Quarter};
use crate::spells::{self, Spell};

/// Nothing is listed, and that is an answer.
const EMPTY: &str = "2024-03-05";

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let edition = day - (calendar::weekday(day) - 4).max(0);
    let servers = if event::time::day_name(day) == EMPTY { Vec::new() } else { spells::steady("command and control", edition, 110, 26) };
    let objects: Vec<String> = servers.iter().map(|spell| object(&quarter.country, spell, edition)).collect();
    let planted = Planted { rows: objects.len() as u64, unchanged: edition < day && edition >= quarter.first, ..Planted::default() };
    let text = if objects.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", objects.join(",\n")) };
    vec![Delivery {
        feed: "abuse-ch/feodotracker",
        file_name: "ipblocklist.json".to_owned(),
        arrived_at: calendar::at(day, 5 * 3600 + Chance::of("feodo").at(day).below(600) as i64),
        bytes: text.into_bytes(),
        planted: Some(planted),
    }]
}

const FAMILIES: &[(&str, u16)] =
    &[("Pikabot", 2078), ("QakBot", 443), ("QakBot", 995), ("Emotet", 8080), ("Dridex", 443), ("BumbleBee", 443)];

fn object(country: &Country, spell: &Spell, edition: i32) -> String {
    let mut chance = spell.chance("server");
    let networks =
        if chance.percent(40) { country.networks_for(Purpose::Hosting, Version::V4) } else { country.networks_abroad(Version::V4) };
    let network = chance.pick(&networks);
    let address = network.address(&mut chance);
    let (family, port) = chance.pick(FAMILIES);
    let name = if chance.percent(60) { format!("\"{}\"", reverse_name(network, address)) } else { "null".to_owned() };
    let first_seen = calendar::stamp(calendar::at(spell.born, 3600 + chance.below(80_000) as i64));
    let last_online = event::time::day_name(edition - 1);
    let lines = [
        format!("\"ip_address\": \"{address}\""),
        format!("\"port\": {port}"),
        format!("\"status\": \"{}\"", if chance.at(edition).percent(70) { "online" } else { "offline" }),
        format!("\"hostname\": {name}"),
        format!("\"as_number\": {}", network.system.number),
        format!("\"as_name\": \"{}\"", network.system.name.to_uppercase()),
        format!("\"country\": \"{}\"", network.place.country),
        format!("\"first_seen\": \"{first_seen}\""),
        format!("\"last_online\": \"{last_online}\""),
        format!("\"malware\": \"{family}\""),
    ];
    let mut text = String::from("    {\n");
    for (place, line) in lines.iter().enumerate() {
        let comma = if place + 1 < lines.len() { "," } else { "" };
        writeln!(text, "        {line}{comma}").expect("a string takes any text");
    }
    text + "    }"
}
