//! The oracle: rsigma, an independent Sigma engine, judges the same rules and events as ours. Its
//! answers stand in `expected.json`, which `make.sh` writes; where ours differ, `differences.md`
//! says why, and each difference listed there is held too.
//!
//! It is no dev-dependency, because it needs a newer compiler than auditwatch does.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use auditwatch::{
    config::read_layer,
    decode::{Decoded, Framer, Limits, each_event},
    detect::{self, Detection, Engine, Observer, SourceId},
    event::{Context, Event, Slot},
    rule::{Matcher, RuleSet},
};
use flate2::read::GzDecoder;
use serde_json::Value;

/// Rule → what matches it: an event, or an event and a key.
type Answers = BTreeMap<String, BTreeSet<String>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// The crafted events, then the recorded ones, as the oracle got them.
fn events() -> (String, String) {
    let file = fs::File::open(folder().join("events.jsonl.gz")).unwrap();
    let mut recorded = String::new();
    GzDecoder::new(file).read_to_string(&mut recorded).unwrap();
    (read("crafted.jsonl"), recorded)
}

fn rules() -> Arc<RuleSet> {
    let layer = read_layer(&folder().join("rules")).unwrap();
    let loaded = RuleSet::load(&[layer]).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    Arc::new(loaded.set)
}

/// Shows each event with the name that the oracle's answers use: a crafted one's audit id, a
/// recorded one's line.
fn each(visit: &mut dyn FnMut(&str, &Event<'_>)) {
    let (crafted, recorded) = events();
    let context = Context::default();
    let mut framer = Framer::new(Limits::default());
    framer.feed(crafted.as_bytes());
    framer.feed(recorded.as_bytes());
    framer.finish();
    let (mut count, crafted) = (0, crafted.lines().count());
    while let Some(block) = framer.next_block() {
        each_event(&block, &mut |decoded| match decoded {
            Decoded::Event(slots, line) => {
                let event = Event::new(slots, line, &context);
                count += 1;
                if count <= crafted {
                    visit(&event.text(Slot::AuditId).unwrap(), &event);
                } else {
                    visit(&(count - crafted).to_string(), &event);
                }
            }
            Decoded::Reject(reject) => panic!("{reject:?}"),
        });
    }
    assert_eq!(count, crafted + recorded.lines().count());
}

/// What our matcher says of single events, and our engine of several.
fn ours(set: &Arc<RuleSet>) -> Answers {
    let rules = set.rules.iter().map(|rule| &rule.meta);
    let correlations = set.correlations.iter().map(|rule| &rule.meta);
    let mut answers: Answers = rules
        .chain(correlations)
        .map(|meta| (meta.name.clone(), BTreeSet::new()))
        .collect();
    let mut matcher = Matcher::new(Arc::clone(set));
    let mut observer = Observer::new(Arc::clone(set));
    let mut engine = Engine::new(Arc::clone(set), detect::Settings::default());
    let mut found = Vec::new();
    each(&mut |name, event| {
        for &rule in matcher.matches(event) {
            let answer = answers.get_mut(&set.rules[rule].meta.name).unwrap();
            answer.insert(name.to_owned());
        }
        engine.admit(SourceId(0), &observer.observe(event), None, &mut found);
        for detection in found.drain(..) {
            let is_correlation = |name: &str| set.correlations.iter().any(|c| c.meta.name == name);
            if is_correlation(&detection.rule.name) {
                let answer = answers.get_mut(&detection.rule.name).unwrap();
                answer.insert(match key(&detection) {
                    key if key.is_empty() => name.to_owned(),
                    key => format!("{name}: {key}"),
                });
            }
        }
    });
    answers
}

fn key(detection: &Detection) -> String {
    let values: Vec<&str> = detection.key.iter().map(|(_, value)| &**value).collect();
    values.join(", ")
}

fn oracles() -> Answers {
    let answers: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(&read("expected.json")).unwrap();
    let text = |value: Value| match value {
        Value::String(text) => text,
        number => number.to_string(),
    };
    answers
        .into_iter()
        .map(|(rule, events)| (rule, events.into_iter().map(text).collect()))
        .collect()
}

/// The differences that `differences.md` lists: rows `| rule | more | less | reason |`, where
/// `more` is what only ours has and `less` what only the oracle has. A long list is said by its
/// number and its first: `1527, from 3`.
fn listed() -> BTreeMap<String, (String, String)> {
    let text = read("differences.md");
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [rule, more, less, reason] = cells[..] else {
            panic!("four cells: {line}");
        };
        assert!(reason.len() > 20, "a reason: {line}");
        let rule = rule.trim_matches('`').to_owned();
        rows.insert(rule, (more.to_owned(), less.to_owned()));
    }
    rows
}

/// A set as `differences.md` writes it.
fn written(answers: &BTreeSet<&String>) -> String {
    const WHOLE_MAX: usize = 8;
    let line = |answer: &str| {
        answer
            .split(':')
            .next()
            .and_then(|line| line.parse::<u32>().ok())
    };
    let mut all: Vec<&str> = answers.iter().map(|answer| answer.as_str()).collect();
    all.sort_by_key(|answer| line(answer));
    match all.len() {
        0 => "–".to_owned(),
        count if count <= WHOLE_MAX => all.join("; "),
        count => format!("{count}, from {} to {}", all[0], all[count - 1]),
    }
}

#[test]
fn we_agree_with_the_oracle() {
    let (ours, oracles) = (ours(&rules()), oracles());
    let none = BTreeSet::new();
    let mut differences = BTreeMap::new();
    for (rule, our) in &ours {
        let theirs = oracles.get(rule).unwrap_or(&none);
        if our != theirs {
            let more = written(&our.difference(theirs).collect());
            let less = written(&theirs.difference(our).collect());
            differences.insert(rule.clone(), (more, less));
        }
    }
    assert!(oracles.keys().all(|rule| ours.contains_key(rule)));
    let listed = listed();
    for (rule, difference) in &differences {
        let known = listed.get(rule);
        if known != Some(difference) {
            println!("{rule}: {difference:?}, listed {known:?}");
        }
    }
    for rule in listed
        .keys()
        .filter(|rule| !differences.contains_key(*rule))
    {
        println!("{rule}: listed, and there is no difference");
    }
    assert!(
        differences == listed,
        "differences.md and the truth are not the same"
    );
}

#[test]
fn the_oracle_was_asked_much() {
    let (ours, oracles) = (ours(&rules()), oracles());
    let telling = oracles.values().filter(|answers| !answers.is_empty());
    assert!(telling.count() > 100, "most rules match something");
    assert!(ours.len() > 110);
    let mut count = 0;
    each(&mut |_, _| count += 1);
    assert!(count > 1500);
}
