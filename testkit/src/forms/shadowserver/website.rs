//! Web sites that were broken into: few, and most of them for weeks.

use super::{End, Packing, Report, columns, scan};
use crate::calendar;
use crate::forms::csv::{Cell, Csv};
use crate::quarter::{Delivery, Planted, Quarter};
use crate::sites::{self, Site};

/// Its cells in windows-1252, as the provider's page has them.
const WESTERN: &str = "2024-02-27";
/// Nothing arrived but the file's name.
const EMPTY: &str = "2024-03-10";

/// (category, family, tag, detail)
const BREAKS: &[(&str, &str, &str, &str)] = &[
    ("webshell", "", "webshell", "Café menu page with an upload form"),
    ("injected-script", "socgholish", "socgholish", "script in every page"),
    ("phishing-kit", "", "phishing", "réglage d'origine, answers \"login\""),
    ("spam-pages", "", "seo-spam", "1,200 pages of offers"),
    ("exchange", "", "exchange;webshell", ""),
];

pub(in crate::forms) fn deliveries(quarter: &Quarter, day: i32) -> Vec<Delivery> {
    let date = event::time::day_name(day);
    let mut csv = Csv::new([columns::SCAN, columns::WEBSITE].concat());
    let mut rows: Vec<(i64, Site<'_>)> = sites::on(&quarter.country, "broken into", day, 110, 24, 78)
        .map(|site| (site.spell.chance("scan").at(day).below(86_400) as i64, site))
        .collect();
    rows.sort_by_key(|(second, site)| (*second, site.spell.seed));
    rows.iter().for_each(|(second, site)| csv.push(row(site, day, *second)));
    csv.western = date == WESTERN;
    let mut report = Report::of("shadowserver/compromised_website", "compromised_website", day, csv);
    if date == EMPTY {
        report.planted = Planted::default();
        return vec![report.delivery_of(b"")];
    }
    if calendar::weekday(day) == 0 {
        report.packing = Packing::Zip;
    }
    vec![report.delivery()]
}

fn row(site: &Site<'_>, day: i32, second: i64) -> Vec<Cell> {
    let (category, family, tag, detail) = site.spell.chance("break").pick(BREAKS);
    let end = End { network: site.network, address: site.address };
    let service = if site.is_encrypted() { ("tcp", "443") } else { ("tcp", "80") };
    let mut cells = scan(calendar::at(day, second), "critical", &end, service, tag);
    let since = calendar::stamp(calendar::at(site.spell.born, 21_600));
    let told: [Cell; 14] = [
        site.scheme().into(),
        site.path().into(),
        site.host.clone().into(),
        category.into(),
        "Linux".into(),
        since.into(),
        site.spell.chance("server").pick(&["nginx", "Apache/2.4.41 (Ubuntu)", "Example \"Embedded\" Server, 2.1", ""]).into(),
        "".into(),
        "".into(),
        family.into(),
        "compromised".into(),
        "".into(),
        detail.into(),
        "deepwater".into(),
    ];
    cells.extend(told);
    cells
}
