//! IntelMQ's files: `runtime.yaml` of 3.x, `runtime.conf` and `pipeline.conf` of before, within limits.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

/// A configuration is no longer than this, in bytes.
pub const MOST_BYTES: usize = 4 << 20;
/// So many values within values.
const MOST_DEPTH: usize = 32;
/// Values of all sorts, those that aliases repeat too.
const MOST_VALUES: usize = 200_000;
const MOST_BOTS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Botnet {
    pub(super) bots: Vec<Bot>,
    /// Bots whose messages go to queues that nobody reads.
    pub(super) loose: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Bot {
    pub(super) id: String,
    /// Without `intelmq.bots.` before it.
    pub(super) module: String,
    pub(super) enabled: bool,
    run_mode: String,
    /// Its own.
    pub(super) parameters: Map<String, Value>,
    /// Those of all bots, under its own.
    pub(super) global: Rc<Map<String, Value>>,
    /// The queues that its messages go to.
    to: BTreeSet<String>,
    queue: String,
}

impl Bot {
    /// What a parameter says, if anything.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        let said = self.parameters.get(name).or_else(|| self.global.get(name))?;
        (!matches!(said, Value::Null) && said.as_str() != Some("")).then_some(said)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            _ => None,
        }
    }

    /// Truth as IntelMQ's people write it, in quotes too.
    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(truth) => Some(*truth),
            Value::String(text) => match text.to_lowercase().as_str() {
                "true" | "yes" | "1" => Some(true),
                "false" | "no" | "0" => Some(false),
                _ => None,
            },
            Value::Number(number) => number.as_i64().map(|number| number != 0),
            _ => None,
        }
    }

    /// `PROVIDER/NAME`, as its events say it.
    pub(super) fn name(&self) -> Option<String> {
        Some(format!("{}/{}", self.text("provider")?, self.text("name")?))
    }

    pub(super) fn is_continuous(&self) -> bool {
        self.run_mode != "scheduled"
    }

    /// All that tells one collector from another.
    pub(super) fn words(&self) -> String {
        let said: Vec<String> =
            self.parameters.iter().filter(|(name, _)| *name != "destination_queues").map(|(_, value)| super::told(value)).collect();
        format!("{} {}", self.module, said.join(" "))
    }
}

impl Botnet {
    pub(super) fn of(&self, kind: &str) -> impl Iterator<Item = &Bot> {
        let kind = format!("{kind}.");
        self.bots.iter().filter(move |bot| bot.module.starts_with(&kind))
    }

    /// The parsers that a collector's messages reach, over whatever lies between.
    pub(super) fn parsers_of(&self, collector: &Bot) -> Vec<&Bot> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut waiting: Vec<&str> = collector.to.iter().map(String::as_str).collect();
        while let Some(queue) = waiting.pop() {
            if !seen.insert(queue) {
                continue;
            }
            for bot in self.bots.iter().filter(|bot| bot.queue == queue) {
                match bot.module.starts_with("parsers.") {
                    true => found.push(bot),
                    false => waiting.extend(bot.to.iter().map(String::as_str)),
                }
            }
        }
        found.sort_by(|one, other| one.id.cmp(&other.id));
        found
    }
}

pub(super) fn botnet(runtime: &str, pipeline: Option<&str>) -> Result<Botnet> {
    let Value::Object(all) = document(runtime).context("the runtime configuration")? else {
        bail!("the runtime configuration is no table of bots: give IntelMQ's runtime.yaml (or runtime.conf)");
    };
    let pipeline = match pipeline.map(document).transpose().context("the pipeline configuration")? {
        Some(Value::Object(pipeline)) => pipeline,
        Some(_) => bail!("the pipeline configuration is no table of bots"),
        None => Map::new(),
    };
    let table = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
    let global = Rc::new(table(all.get("global")));
    if all.len() > MOST_BOTS {
        bail!("there are {} bots in it, and {MOST_BOTS} at most are read", all.len());
    }
    let mut botnet = Botnet::default();
    for (id, value) in all.iter().filter(|(id, _)| *id != "global") {
        let Value::Object(said) = value else { bail!("\"{id}\" is no bot: it has no parameters") };
        let text = |key: &str| said.get(key).and_then(Value::as_str);
        let module = text("module").ok_or_else(|| anyhow!("the bot \"{id}\" says no module: is this IntelMQ's runtime.yaml?"))?;
        // The key is decoration where the bot says its name.
        let id = text("bot_id").unwrap_or(id).to_owned();
        let parameters = table(said.get("parameters"));
        let queues = pipeline.get(&id).and_then(Value::as_object);
        let goes = [
            said.get("destination_queues"),
            parameters.get("destination_queues"),
            queues.and_then(|queues| queues.get("destination-queues")),
        ];
        let mut to = BTreeSet::new();
        goes.into_iter().flatten().for_each(|value| queue_names(value, &mut to));
        let reads = queues.and_then(|queues| queues.get("source-queue")).or_else(|| parameters.get("source_queue"));
        let queue = reads.and_then(Value::as_str).map_or_else(|| format!("{id}-queue"), str::to_owned);
        botnet.bots.push(Bot {
            module: module.strip_prefix("intelmq.bots.").unwrap_or(module).to_owned(),
            enabled: said.get("enabled").and_then(Value::as_bool).unwrap_or(true),
            run_mode: text("run_mode").unwrap_or("continuous").to_owned(),
            parameters,
            global: Rc::clone(&global),
            to,
            queue,
            id,
        });
    }
    let read: BTreeMap<&str, ()> = botnet.bots.iter().map(|bot| (bot.queue.as_str(), ())).collect();
    let loose = botnet.bots.iter().flat_map(|bot| bot.to.iter().map(move |queue| (bot.id.clone(), queue.clone())));
    botnet.loose = loose.filter(|(_, queue)| !read.contains_key(queue.as_str())).collect();
    Ok(botnet)
}

/// One name, several, or several for each path.
fn queue_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => names.extend(text.split_whitespace().map(str::to_owned)),
        Value::Array(list) => list.iter().for_each(|value| queue_names(value, names)),
        Value::Object(paths) => paths.values().for_each(|value| queue_names(value, names)),
        _ => {}
    }
}

/// YAML or JSON. What means to be much larger than it looks is refused.
fn document(text: &str) -> Result<Value> {
    if text.len() > MOST_BYTES {
        bail!("it is longer than {} MiB", MOST_BYTES >> 20);
    }
    if text.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MOST_DEPTH,
            max_nodes: MOST_VALUES,
            max_events: 2 * MOST_VALUES,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MOST_VALUES,
            max_replay_stack_depth: MOST_DEPTH,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|wrong| anyhow!("it cannot be read: {}", super::one_line(&wrong.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:#}", botnet(text, None).expect_err("refused"))
    }

    #[test]
    fn what_is_larger_than_it_looks_is_refused() {
        let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
        for (one, other) in "abcdefgh".chars().zip("bcdefghi".chars()) {
            bomb += &format!("{other}: &{other} [*{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}, *{one}]\n");
        }
        assert!(refused(&bomb).contains("cannot be read"), "{}", refused(&bomb));
        let deep = format!("a: {}1{}\n", "[".repeat(5_000), "]".repeat(5_000));
        assert!(refused(&deep).contains("cannot be read"));
        let deep: String = (0..5_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(refused(&deep).contains("longer than") || refused(&deep).contains("cannot be read"));
        assert!(refused(&" ".repeat(MOST_BYTES + 1)).contains("longer than 4 MiB"));
        let json = format!("{{\"a\": {}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(refused(&json).contains("cannot be read"));
    }

    #[test]
    fn what_is_no_botnet_is_told() {
        assert_eq!(refused("- a\n- b\n"), "the runtime configuration is no table of bots: give IntelMQ's runtime.yaml (or runtime.conf)");
        assert_eq!(refused("a: 1\n"), "\"a\" is no bot: it has no parameters");
        assert_eq!(refused("a: {b: 1}\n"), "the bot \"a\" says no module: is this IntelMQ's runtime.yaml?");
        assert!(refused("a: [\n").contains("cannot be read"));
    }

    #[test]
    fn messages_go_by_queues_of_either_form() {
        let runtime = r#"{"c": {"module": "intelmq.bots.collectors.http.collector_http", "parameters": {}},
            "p": {"module": "intelmq.bots.parsers.generic.parser_csv"}, "e": {"module": "intelmq.bots.experts.wait.expert"}}"#;
        let pipeline = r#"{"c": {"destination-queues": ["e-queue", "nowhere"]}, "e": {"source-queue": "e-queue", "destination-queues": {"_default": "odd"}},
            "p": {"source-queue": "odd"}}"#;
        let botnet = botnet(runtime, Some(pipeline)).expect("sound");
        let collector = botnet.of("collectors").next().expect("one");
        assert_eq!(botnet.parsers_of(collector).iter().map(|bot| bot.id.as_str()).collect::<Vec<_>>(), ["p"]);
        assert_eq!(botnet.loose, [("c".to_owned(), "nowhere".to_owned())]);
    }
}
