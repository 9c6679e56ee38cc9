//! ThreatFox: the indicators of the last 48 hours, as JSON under their numbers; some are defanged.

use crate::calendar;
use crate::country::{Country, Purpose, Version};
use crate::quarter::{Delivery, Planted, Quarter};
use crate::sites::{self, Site};

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let indicators = |on: i32| -> Vec<String> {
        let sites = sites::new_on(&quarter.country, "indicators", on, 2200, 30).enumerate();
        sites.map(|(nth, site)| entry(&quarter.country, &site, on, nth, day)).collect()
    };
    let (today, yesterday) = (indicators(day), indicators(day - 1));
    let repeats = if day > quarter.first { yesterday.len() as u64 } else { 0 };
    let planted = Planted { rows: (today.len() + yesterday.len()) as u64, repeats, ..Planted::default() };
    let entries: Vec<String> = today.into_iter().rev().chain(yesterday.into_iter().rev()).collect();
    vec![Delivery {
        feed: "abuse-ch/threatfox",
        file_name: "threatfox-recent.json".to_owned(),
        arrived_at: calendar::at(day, 86_400 - 300),
        bytes: format!("{{\n{}\n}}\n", entries.join(",\n")).into_bytes(),
        planted: Some(planted),
    }]
}

/// (identifier, printed name, other names)
const FAMILIES: &[(&str, &str, &str)] = &[
    ("win.cobalt_strike", "Cobalt Strike", "\"Agentemis,BEACON,CobaltStrike,cobeacon\""),
    ("win.andromeda", "Gamarue", "\"Andromeda\""),
    ("win.qakbot", "Pinkslipbot", "\"Qbot,QakBot\""),
    ("win.asyncrat", "AsyncRAT", "null"),
    ("win.remcos", "Remcos", "\"RemcosRAT,Remvio,Socmer\""),
    ("elf.bashlite", "Bashlite", "\"Gafgyt,gayfgt,lizkebab,qbot,torlus\""),
    ("unknown", "Unknown malware", "null"),
];

fn entry(country: &Country, site: &Site<'_>, added: i32, nth: usize, day: i32) -> String {
    let mut chance = site.spell.chance("indicator");
    let (value, kind, threat) = indicator(country, site, chance.below(100));
    let (id, name, others) = chance.pick(FAMILIES);
    let number = 1_220_000 + i64::from(added) * 60 - 1_180_000 + nth as i64;
    let seen = calendar::stamp(calendar::at(added, (nth as i64 + 1) * 2400));
    // What reporters add later.
    let confidence = if day > added { 100 } else { 75 };
    let last_seen = if day > added { format!("\"{}\"", calendar::stamp(calendar::at(day, 3600))) } else { "null".to_owned() };
    format!(
        r#"    "{number}": [
        {{
            "ioc_value": "{value}",
            "ioc_type": "{kind}",
            "threat_type": "{threat}",
            "malware": "{id}",
            "malware_alias": {others},
            "malware_printable": "{name}",
            "first_seen_utc": "{seen}",
            "last_seen_utc": {last_seen},
            "confidence_level": {confidence},
            "is_compromised": {},
            "reference": null,
            "tags": "{}",
            "anonymous": "0",
            "reporter": "{}"
        }}
    ]"#,
        chance.percent(20),
        name.replace(' ', ""),
        chance.pick(&["gull", "night_watch", "foghorn"]),
    )
}

fn indicator(country: &Country, site: &Site<'_>, share: u64) -> (String, &'static str, &'static str) {
    let mut chance = site.spell.chance("value");
    let port = chance.pick(&[443, 8443, 4444, 80, 2404, 6606]);
    match share {
        0..40 => (format!("{}:{port}", site.address), "ip:port", "botnet_cc"),
        40..45 => (format!("{}:{port}", site.address.to_string().replace('.', "[.]")), "ip:port", "botnet_cc"),
        45..50 => {
            let network = chance.pick(&country.networks_for(Purpose::Hosting, Version::V6));
            (format!("[{}]:{port}", network.address(&mut chance)), "ip:port", "botnet_cc")
        }
        50..65 => (site.host.clone(), "domain", "botnet_cc"),
        65..85 => (format!("{}://{}/{}.bin", site.scheme(), site.host, chance.hex(8)), "url", "payload_delivery"),
        85..90 => (chance.hex(32), "md5_hash", "payload"),
        _ => (chance.hex(64), "sha256_hash", "payload"),
    }
}
