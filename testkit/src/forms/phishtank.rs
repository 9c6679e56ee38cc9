//! PhishTank: all pages that people voted on and that still answer, as a packed CSV; times state their offset.

use crate::calendar;
use crate::chance::Chance;
use crate::forms::csv::{Cell, Csv, Quotes};
use crate::pack;
use crate::quarter::{Delivery, Planted, Quarter};
use crate::sites::{self, Site};

/// From then on the provider's clock is one hour east of UTC.
const SUMMER: &str = "2024-03-10";

const COLUMNS: [&str; 8] = ["phish_id", "url", "phish_detail_url", "submission_time", "verified", "verification_time", "online", "target"];

pub(super) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let mut csv = Csv::new(COLUMNS.to_vec());
    csv.quotes = Quotes::WhereNeeded;
    let summer = day >= calendar::day(SUMMER);
    sites::on(&quarter.country, "voted on", day, 1400, 17, 25).for_each(|site| csv.push(row(&site, i64::from(summer))));
    csv.lines.reverse();
    let planted = Planted { rows: csv.lines.len() as u64, ..Planted::default() };
    vec![Delivery {
        feed: "phishtank/online-valid",
        file_name: "online-valid.csv.gz".to_owned(),
        arrived_at: calendar::at(day, 9 * 3600 + Chance::of("phishtank").at(day).below(900) as i64),
        bytes: pack::gzip("online-valid.csv", &csv.bytes()),
        planted: Some(planted),
    }]
}

fn row(site: &Site<'_>, hours: i64) -> Vec<Cell> {
    let mut chance = site.spell.chance("vote");
    let number = 8_400_000 + chance.below(400_000);
    let submitted = calendar::at(site.spell.born, chance.below(50_000) as i64);
    let verified = submitted + chance.below(20_000) as i64 * event::time::SECOND;
    let url = site.url();
    let query = match (chance.percent(30), url.contains('?')) {
        (true, false) => format!("?u={},{}", chance.below(100), chance.hex(4)),
        _ => String::new(),
    };
    vec![
        number.to_string().into(),
        format!("{url}{query}").into(),
        format!("http://www.phishtank.com/phish_detail.php?phish_id={number}").into(),
        calendar::stamp_east(submitted, hours).into(),
        "yes".into(),
        calendar::stamp_east(verified, hours).into(),
        "yes".into(),
        chance.pick(&["Other", "Other", "Meridian Savings Bank, Ltd", "Harbour Telecom", "Example Pay", "Example Mail \"Plus\""]).into(),
    ]
}
