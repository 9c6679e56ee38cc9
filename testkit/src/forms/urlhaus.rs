//! URLhaus: the URLs of the last thirty days, newest first, all of them again each time.

use crate::calendar;
use crate::chance::Chance;
use crate::forms::csv::{Cell, Csv};
use crate::quarter::{Delivery, Planted, Quarter};
use crate::sites::{self, Site};

/// How far back an export goes, in days.
const WINDOW: i32 = 30;

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let mut csv = Csv::new(COLUMNS.to_vec());
    csv.end = "\r\n";
    let mut repeats = 0;
    for added in (day - WINDOW + 1..=day).rev() {
        let mut urls: Vec<(i64, Site<'_>)> =
            sites::new_on(&quarter.country, "malware", added, 700, 35).map(|site| (second(&site), site)).collect();
        urls.sort_by_key(|(second, site)| (*second, site.spell.seed));
        urls.iter().enumerate().rev().for_each(|(nth, (second, site))| csv.push(row(site, added, *second, nth, day)));
        // Whoever reads from the quarter's first day on has seen all but this day's.
        if added < day && day > quarter.first {
            repeats += urls.len() as u64;
        }
    }
    let planted = Planted { rows: csv.lines.len() as u64, repeats, ..Planted::default() };
    let mut bytes = preamble(day).into_bytes();
    bytes.extend(csv.body());
    vec![Delivery {
        feed: "abuse-ch/urlhaus",
        file_name: "urlhaus-recent.csv".to_owned(),
        arrived_at: calendar::at(day, 86_400 - 600),
        bytes,
        planted: Some(planted),
    }]
}

const COLUMNS: [&str; 9] = ["id", "dateadded", "url", "url_status", "last_online", "threat", "tags", "urlhaus_link", "reporter"];

fn preamble(day: i32) -> String {
    let updated = calendar::stamp(calendar::at(day, 86_400 - 900));
    [
        "################################################################",
        "# abuse.ch URLhaus Database Dump (CSV - recent URLs only)      #",
        &format!("# Last updated: {updated} (UTC)                      #"),
        "#                                                              #",
        "# Terms Of Use: https://urlhaus.abuse.ch/api/                  #",
        "# For questions please contact urlhaus [at] abuse.ch           #",
        "################################################################",
        "#",
        &format!("# {}", COLUMNS.join(",")),
        "",
    ]
    .join("\r\n")
}

/// What is fetched, and its tags.
const FILES: &[(&str, &str)] = &[
    ("invoice_07.doc", "doc,Emotet"),
    ("Setup%20(x64),final.exe?dl=1", "exe,Lumma"),
    ("update.zip", "None"),
    ("report.js", "js,SocGholish"),
];

fn second(site: &Site<'_>) -> i64 {
    site.spell.chance("added").below(86_000) as i64
}

fn row(site: &Site<'_>, added: i32, second: i64, nth: usize, day: i32) -> Vec<Cell> {
    let mut chance = site.spell.chance("payload");
    let number = 2_700_000 + i64::from(added) * 50 - 980_000 + nth as i64;
    let stamp = calendar::stamp(calendar::at(added, second));
    // Named sites are found with a document, bare addresses with a binary.
    let (url, tags) = if chance.percent(45) {
        let tag = chance.pick(&["32-bit,elf,mips,Mozi", "elf,mirai", "32-bit,arm,elf,gafgyt"]);
        (format!("http://{}:{}/{}", site.address, 30_000 + chance.below(30_000), chance.pick(&["i", "bin.sh", "Mozi.m", "arm7"])), tag)
    } else {
        let (file, tags) = chance.pick(FILES);
        (format!("{}://{}/{}/{file}", site.scheme(), site.host, chance.hex(6)), tags)
    };
    // Tried again every day, and gone in the end: the columns that change.
    let is_online = site.spell.chance("online").at(day).percent(100 - ((day - added) as u64 * 3).min(90));
    let last_online: Cell = if is_online { calendar::stamp(calendar::at(day, 3600)).into() } else { "".into() };
    vec![
        number.to_string().into(),
        if chance.percent(5) { format!("{stamp} UTC").into() } else { stamp.into() },
        url.into(),
        if is_online { "online" } else { "offline" }.into(),
        last_online,
        "malware_download".into(),
        tags.into(),
        format!("https://urlhaus.abuse.ch/url/{number}/").into(),
        Chance::of("reporters")
            .at(chance.below(12) as i64)
            .pick(&["reporter_one", "gull", "night_watch", "Anonymous", "reporter, third"])
            .into(),
    ]
}
