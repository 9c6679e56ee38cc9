//! Prints the rows of documents, to be read by a person.
//!
//! `cargo run --release -p standards --example inspect misp|stix [--time] FILE...`, with only the time it takes if so asked.
#![expect(clippy::print_stdout, reason = "it exists to print")]

use std::time::{Duration, Instant};

use standards::{Problem, misp, stix};

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_timed = arguments.iter().any(|argument| argument == "--time");
    arguments.retain(|argument| argument != "--time");
    let Some((standard, paths)) = arguments.split_first() else { return println!("inspect misp|stix [--time] FILE...") };
    for path in paths {
        let document = std::fs::read_to_string(path).expect("a file of text");
        println!("== {path}");
        let result = match standard.as_str() {
            _ if is_timed => time(standard, &document),
            "misp" => print_misp(&document),
            _ => print_stix(&document),
        };
        if let Err(wrong) = result {
            println!("REFUSED {wrong}");
        }
    }
}

fn time(standard: &str, document: &str) -> Result<(), String> {
    let mut best = Duration::MAX;
    let mut counts = (0, 0);
    for _ in 0..3 {
        let start = Instant::now();
        counts = match standard {
            "misp" => {
                let read = misp::read(document, &misp::Limits::default())?;
                let rows = read.events.iter().flat_map(misp::Event::attributes);
                let bad = rows.filter(Result::is_err).count();
                (read.events.iter().map(misp::Event::attribute_count).sum(), bad + read.problems.len())
            }
            _ => {
                let read = stix::read(document, &stix::Limits::default())?;
                (read.observables.len(), read.problems.len())
            }
        };
        best = best.min(start.elapsed());
    }
    let speed = document.len() as f64 / 1e6 / best.as_secs_f64();
    println!("{} bytes, {} rows, {} problems, {:.1} ms, {speed:.0} MB/s", document.len(), counts.0, counts.1, best.as_secs_f64() * 1e3);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    Ok(())
}

fn print_misp(document: &str) -> Result<(), String> {
    let read = misp::read(document, &misp::Limits::default())?;
    println!("{:?}, {} events", read.form, read.events.len());
    read.problems.iter().for_each(print_problem);
    for event in &read.events {
        let tags: Vec<&str> = event.tags.iter().map(|tag| tag.name.as_ref()).collect();
        println!("{} {:?} of {} by {:?}, {tags:?}", event.uuid, event.info, event.date, event.organisation);
        println!(
            "  threat level {:?}, analysis {:?}, published {:?}, timestamp {:?}, {} objects, {} attributes",
            event.threat_level,
            event.analysis,
            event.published,
            event.timestamp,
            event.objects.len(),
            event.attribute_count()
        );
        for attribute in event.attributes() {
            match attribute {
                Ok(attribute) => print_attribute(&attribute),
                Err(problem) => print_problem(&problem),
            }
        }
    }
    Ok(())
}

fn print_attribute(attribute: &misp::Attribute<'_>) {
    let parts: Vec<String> = attribute.parts().map(|part| format!("{} {}", part.kind, part.value)).collect();
    let tags: Vec<&str> = attribute.tags.iter().map(|tag| tag.name.as_ref()).collect();
    let object = attribute.object.map(|object| format!("{}/{}", object.name, attribute.relation.as_deref().unwrap_or_default()));
    let flags = format!("{}{}", if attribute.to_ids { "ids" } else { "-" }, if attribute.deleted { " deleted" } else { "" });
    println!("  {parts:?} {flags} {:?} {tags:?} {object:?} {:?} {:?}", attribute.timestamp, attribute.category, attribute.comment);
}

fn print_stix(document: &str) -> Result<(), String> {
    let read = stix::read(document, &stix::Limits::default())?;
    println!("{:?}, {:?}", read.form, read.types);
    read.problems.iter().for_each(print_problem);
    for row in &read.observables {
        let end = [row.refers_to.clone(), row.port.map(|port| port.to_string())].into_iter().flatten();
        println!("  #{} {} {:?} {:?} {:?}", row.group, row.path(), row.value, end.collect::<Vec<_>>(), row.protocols);
        println!("      {:?}", read.objects[row.object]);
    }
    for row in &read.unobservables {
        println!("  not an observable: {:?}, {} ({})", row.text, row.why, read.objects[row.object].id);
    }
    Ok(())
}

fn print_problem(problem: &Problem<'_>) {
    let raw: String = problem.raw.chars().take(100).collect();
    println!("  PROBLEM {}: {} in {raw:?}", problem.place, problem.reason);
}
