//! Alarms: what is wrong is told once, and once more when it is over. Whether there is something to tell is the difference between what
//! somebody was told last and what is the case now, so that nothing that could not be sent is lost, and nothing is said twice.

use std::collections::BTreeMap;

use event::time::{self, Micros};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// With what: `feed PROVIDER/FEED`, `source NAME`.
    pub what: String,
    /// In a word, such as `silent`. Another word is news, another reason is not.
    pub state: String,
    pub why: String,
    /// Since when we know.
    pub since: Micros,
}

/// What somebody has to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    pub raised: Vec<Trouble>,
    pub over: Vec<Trouble>,
}

impl News {
    /// What is to tell to somebody who knows of `told`, now that this is wrong; and what he knows of then. What was told and is not
    /// looked at any more is forgotten: nobody knows that it is well.
    pub fn since(told: &[Trouble], wrong: &[Trouble], is_looked_at: impl Fn(&str) -> bool) -> (News, Vec<Trouble>) {
        let known: BTreeMap<&str, &Trouble> = told.iter().map(|trouble| (trouble.what.as_str(), trouble)).collect();
        let knows = |trouble: &Trouble| known.get(trouble.what.as_str()).copied().filter(|known| known.state == trouble.state);
        let raised = wrong.iter().filter(|trouble| knows(trouble).is_none()).cloned().collect();
        let is_over = |known: &&Trouble| !wrong.iter().any(|trouble| trouble.what == known.what);
        let over = told.iter().filter(is_over).filter(|known| is_looked_at(&known.what)).cloned().collect();
        let then = wrong.iter().map(|trouble| knows(trouble).unwrap_or(trouble).clone()).collect();
        (News { raised, over }, then)
    }

    /// A message that tries whether messages arrive.
    pub fn of_a_test(now: Micros) -> News {
        let (what, state) = ("alarms".to_owned(), "tested".to_owned());
        News { raised: vec![Trouble { what, state, why: "somebody tries whether alarms arrive".into(), since: now }], over: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.raised.is_empty() && self.over.is_empty()
    }

    /// One line: of one thing what it is, of several how many.
    pub fn subject(&self) -> String {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for trouble in &self.raised {
            *states.entry(&trouble.state).or_default() += 1;
        }
        let mut said = match self.raised.as_slice() {
            [only] => vec![format!("{} is {}", only.what, only.state)],
            _ => states.into_iter().map(|(state, count)| format!("{count} {state}")).collect(),
        };
        match self.over.as_slice() {
            [] => {}
            [only] => said.push(format!("{} is well again", only.what)),
            several => said.push(format!("{} well again", several.len())),
        }
        said.join(", ")
    }

    /// All of it, for a person.
    pub fn text(&self, now: Micros) -> String {
        let mut lines = Vec::new();
        for Trouble { what, state, why, .. } in &self.raised {
            lines.push(format!("{what} is {state}: {why}\n"));
        }
        for Trouble { what, state, since, .. } in &self.over {
            lines.push(format!("{what} is well again; it was {state} since {}\n", time::iso(*since)));
        }
        lines.push(format!("As of {}. `waglan feed health` shows all feeds.\n", time::iso(now)));
        lines.join("\n")
    }

    /// All of it, for a program. `text` is what chat services show.
    pub fn json(&self, now: Micros) -> Value {
        let list = |troubles: &[Trouble]| -> Vec<Value> {
            let one = |Trouble { what, state, why, since }: &Trouble| json!({ "what": what, "state": state, "why": why, "since": time::iso(*since) });
            troubles.iter().map(one).collect()
        };
        let text = format!("{}\n\n{}", self.subject(), self.text(now));
        json!({ "text": text, "time": time::iso(now), "raised": list(&self.raised), "over": list(&self.over) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(what: &str, state: &str, since: Micros) -> Trouble {
        Trouble { what: what.into(), state: state.into(), why: format!("of {since}"), since }
    }

    #[test]
    fn what_is_wrong_is_told_once_and_once_more_when_it_is_over() {
        let (told, wrong) = (Vec::new(), [trouble("feed a/x", "strange", 1), trouble("feed a/y", "silent", 1)]);
        let since = |told: &[Trouble], wrong: &[Trouble]| News::since(told, wrong, |what| what != "feed b/z");
        let (news, told) = since(&told, &wrong);
        assert_eq!(news.subject(), "1 silent, 1 strange");
        let (news, told) = since(&told, &[trouble("feed a/x", "strange", 2), trouble("feed a/y", "silent", 2)]);
        assert!(news.is_empty(), "{news:?}");
        // It became worse; the other is over.
        let (news, told) = since(&told, &[trouble("feed a/x", "silent", 3)]);
        assert_eq!(news.subject(), "feed a/x is silent, feed a/y is well again");
        assert_eq!(news.over[0].since, 1, "since it was told first");
        let (news, told) = since(&told, &[]);
        assert_eq!(
            news.text(4),
            "feed a/x is well again; it was silent since 1970-01-01T00:00:00.000003Z\n\nAs of 1970-01-01T00:00:00.000004Z. `waglan feed health` shows all feeds.\n"
        );
        assert!(told.is_empty());
        let (news, told) = since(&[trouble("feed b/z", "silent", 1)], &[]);
        assert!(news.is_empty() && told.is_empty(), "nobody waits for it any more, which is not that it is well: {news:?}");
    }
}
