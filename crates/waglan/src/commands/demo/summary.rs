//! What the demo shows at its end: enough for a newcomer to see what the program does.

use std::fmt::Write as _;

use anyhow::Result;
use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use desk::{Desk, Sql};
use testkit::country;

use super::Taken;
use crate::commands::operator;

/// One part of the summary: a heading, a sentence, and a query whose answer is shown.
struct Part {
    heading: &'static str,
    about: &'static str,
    sql: &'static str,
}

const PARTS: &[Part] = &[
    Part {
        heading: "What came in",
        about: "Each feed is a table in feeds/; a repeated row is one that said what was known.",
        sql: "SELECT feed, count(*) AS deliveries, sum(rows) AS rows, sum(events) AS events, sum(repeats) AS repeated, sum(rejects) AS rejected
              FROM deliveries GROUP BY feed ORDER BY events DESC, feed",
    },
    Part {
        heading: "What could not be read, and why",
        about: "The commonest reasons. Nothing is lost: each row is kept, and can be read again once its feed's table is mended.",
        sql: "SELECT feed, coalesce(\"column\", '') AS \"column\", sort_of_reason(reason) AS reason, count(*) AS rows
              FROM rejects GROUP BY 1, 2, 3 ORDER BY rows DESC, feed, reason LIMIT 8",
    },
    Part {
        heading: "Reports whose columns changed",
        about: "Said once, when it happens; reading goes on.",
        sql: "SELECT feed, drift AS change, count(*) AS deliveries, min(time) AS first FROM deliveries WHERE drift IS NOT NULL GROUP BY 1, 2 ORDER BY first",
    },
    Part {
        heading: "Feeds that fell silent",
        about: "A gap of more than three times the feed's usual one.",
        sql: "WITH gaps AS (
                SELECT feed, time, lead(time) OVER (PARTITION BY feed ORDER BY time) AS next FROM deliveries),
              days AS (
                SELECT feed, time, next, (date_part('epoch', next) - date_part('epoch', time)) / 86400.0 AS days FROM gaps WHERE next IS NOT NULL),
              usual AS (SELECT feed, median(days) AS days FROM days GROUP BY feed)
              SELECT days.feed, date_trunc('day', time) AS last_before, round(days.days, 1) AS days_silent, round(usual.days, 1) AS usual_days
              FROM days JOIN usual ON days.feed = usual.feed WHERE days.days > 3 * usual.days AND days.days > 2 ORDER BY days_silent DESC LIMIT 5",
    },
    Part {
        heading: "Top malware on our machines",
        about: "Distinct addresses in scope, of feeds that see infected machines.",
        sql: "SELECT malware_name AS malware, count(DISTINCT source_ip) AS addresses, count(*) AS events
              FROM events WHERE in_scope AND kind = 'bot' AND suppressed IS NULL AND malware_name IS NOT NULL GROUP BY 1 ORDER BY addresses DESC, malware LIMIT 8",
    },
    Part {
        heading: "Top networks",
        about: "AS numbers by the enrichment tables of each event's own day.",
        sql: "SELECT source_asn AS asn, source_as_name AS name, count(DISTINCT source_ip) AS addresses, count(*) AS events
              FROM events WHERE in_scope AND kind = 'bot' AND suppressed IS NULL AND source_asn IS NOT NULL GROUP BY 1, 2 ORDER BY addresses DESC, asn LIMIT 8",
    },
];

const WEEKS: &str = "SELECT date_trunc('week', time_source) AS week, count(DISTINCT source_ip) AS addresses
    FROM events WHERE in_scope AND kind = 'bot' AND suppressed IS NULL AND classification_type = 'infected-system' GROUP BY 1 ORDER BY 1";

/// What whoever reads the figures must know of them.
const NOTES: Part = Part {
    heading: "What these figures leave out",
    about: "Events on a warning list by which a rule suppresses them: they are kept, and counted nowhere else.",
    sql: "SELECT feed, suppressed AS \"warning list\", count(*) AS events FROM events WHERE suppressed IS NOT NULL
          GROUP BY 1, 2 ORDER BY events DESC, feed, 2",
};

/// The whole summary as text.
pub(super) async fn write(desk: &Desk, taken: &Taken, location: &str) -> Result<String> {
    let mut out = String::new();
    head(&mut out, taken)?;
    for each in PARTS {
        part(&mut out, desk, each).await?;
    }
    writeln!(out, "\nInfected machines by week\n  Distinct addresses in scope that a sinkhole saw.\n")?;
    chart(&mut out, &ask(desk, WEEKS).await?)?;
    part(&mut out, desk, &NOTES).await?;
    next_steps(&mut out, location)?;
    Ok(out)
}

/// Nothing where there is nothing to show.
async fn part(out: &mut String, desk: &Desk, part: &Part) -> Result<()> {
    let batches = ask(desk, part.sql).await?;
    if batches.iter().any(|batch| batch.num_rows() > 0) {
        writeln!(out, "\n{}\n  {}\n", part.heading, part.about)?;
        table(out, &batches)?;
    }
    Ok(())
}

async fn ask(desk: &Desk, sql: &str) -> Result<Vec<RecordBatch>> {
    Ok(desk::collect(desk.query(&operator(), &Sql { text: sql, rows: None }).await?).await?.0)
}

fn head(out: &mut String, taken: &Taken) -> Result<()> {
    writeln!(
        out,
        "\n{} in the first quarter of 2024. The country is made up; one of its feeds is real ({}).",
        country::NAME,
        testkit::REAL_FEED
    )?;
    if taken.deliveries > 0 {
        let rate = taken.rows as f64 / taken.seconds.max(0.001);
        writeln!(
            out,
            "{} deliveries, {} rows, in {:.1} s: {} rows a second.",
            taken.deliveries,
            grouped(taken.rows),
            taken.seconds,
            grouped(rate as u64)
        )?;
    }
    if taken.known > 0 {
        writeln!(out, "{} deliveries were in the store already: nothing was done with them.", taken.known)?;
    }
    Ok(())
}

fn next_steps(out: &mut String, location: &str) -> Result<()> {
    writeln!(out, "\nTry\n")?;
    let queries = [
        "SELECT * FROM feeds LIMIT 20",
        "SELECT source_ip, min(time_source), max(time_source), count(*) FROM events WHERE malware_name = 'mirai' GROUP BY 1 ORDER BY 4 DESC LIMIT 10",
        "SELECT registrable_domain(source_fqdn) AS domain, count(*) FROM events WHERE kind = 'site' GROUP BY 1 ORDER BY 2 DESC LIMIT 10",
        "SELECT count(*) FROM events WHERE in_network(source_ip, '198.18.0.0/16')",
    ];
    for query in queries {
        writeln!(out, "  waglan query --data {location} \"{query}\"")?;
    }
    writeln!(out, "  waglan rejects list --data {location}")?;
    writeln!(out, "  waglan feed list")?;
    Ok(())
}

/// Columns side by side, numbers to the right.
fn table(out: &mut String, batches: &[RecordBatch]) -> Result<()> {
    let Some(first) = batches.first() else { return Ok(()) };
    let schema = first.schema();
    let mut rows: Vec<Vec<String>> = vec![schema.fields().iter().map(|field| field.name().replace('_', " ")).collect()];
    let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%d")).with_timestamp_tz_format(Some("%Y-%m-%d"));
    for batch in batches {
        let formatters =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = |(formatter, column): (&ArrayFormatter<'_>, &std::sync::Arc<dyn Array>)| {
                let text = formatter.value(row).to_string();
                if column.data_type().is_integer() { text.parse().map(grouped).unwrap_or(text) } else { text }
            };
            let mut cells: Vec<String> = formatters.iter().zip(batch.columns()).map(cell).collect();
            if let Ok(asn) = schema.index_of("asn") {
                // A number that is a name.
                cells[asn] = formatters[asn].value(row).to_string();
            }
            rows.push(cells);
        }
    }
    let widths: Vec<usize> =
        (0..schema.fields().len()).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in rows {
        out.push(' ');
        for (place, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[place] - cell.chars().count());
            match schema.field(place).data_type().is_numeric() && schema.field(place).name() != "asn" {
                true => write!(out, " {padding}{cell} ")?,
                false => write!(out, " {cell}{padding} ")?,
            }
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    Ok(())
}

/// One bar a week.
fn chart(out: &mut String, batches: &[RecordBatch]) -> Result<()> {
    const WIDTH: u64 = 50;
    let options = FormatOptions::default().with_timestamp_tz_format(Some("%Y-%m-%d")).with_timestamp_format(Some("%Y-%m-%d"));
    let mut weeks: Vec<(String, u64)> = Vec::new();
    for batch in batches {
        let week = ArrayFormatter::try_new(batch.column(0).as_ref(), &options)?;
        let count = ArrayFormatter::try_new(batch.column(1).as_ref(), &options)?;
        weeks.extend((0..batch.num_rows()).map(|row| (week.value(row).to_string(), count.value(row).to_string().parse().unwrap_or(0))));
    }
    let most = weeks.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    for (week, count) in weeks {
        let eighths = count * WIDTH * 8 / most;
        let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][(eighths % 8) as usize];
        writeln!(out, "  {week}  {}{part} {}", "█".repeat((eighths / 8) as usize), grouped(count))?;
    }
    Ok(())
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
