//! The half of the engine that looks at one event and keeps nothing of it. One for each thread.

use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{
    Hit, Observation, Reading,
    plan::{Plan, Read},
};
use crate::{
    event::{Event, Facts, Stage},
    rule::{Matcher, RuleSet},
    window::Key,
};

/// Says which rules an event matches and what their conditions need of it. Holds memo caches of
/// the matcher, which never change an answer.
pub struct Observer {
    matcher: Matcher,
    plan: Plan,
    bytes: Vec<u8>,
}

/// The values of an event that one hit takes along.
type Values = [Option<String>];

impl Observer {
    /// An observer for a rule set. The engine that takes its observations must have the same set.
    pub fn new(rules: Arc<RuleSet>) -> Self {
        Self {
            plan: Plan::new(&rules),
            matcher: Matcher::new(rules),
            bytes: Vec::new(),
        }
    }

    /// Looks at one event. Rules do not look at stage RequestReceived: nothing is decided yet.
    pub fn observe(&mut self, event: &Event<'_>) -> Observation {
        let stage = event.stage();
        let mut observation = Observation {
            time: event.received(),
            stamped: event.stamped(),
            stage,
            request: event.request_id(),
            is_long_running: event.is_long_running(),
            facts: None,
            hits: Vec::new(),
        };
        if stage == Stage::RequestReceived {
            return observation;
        }
        let matches = self.matcher.matches(event);
        if matches.is_empty() {
            return observation;
        }
        let facts = Facts::of(event);
        for &rule in matches {
            let plan = &self.plan.rules[rule];
            let values: Vec<Option<String>> = plan
                .wanted
                .iter()
                .map(|field| event.first(field).map(std::borrow::Cow::into_owned))
                .collect();
            let read = |read| reading(read, &facts.cluster, &values, &mut self.bytes);
            let readings = plan.reads.iter().map(read).collect();
            let values = values
                .into_iter()
                .map(|value| value.map(String::into_boxed_str))
                .collect();
            observation.hits.push(Hit {
                rule: rule as u32,
                values,
                readings,
            });
        }
        observation.facts = Some(Arc::new(facts));
        observation
    }
}

/// Hashes the key and the counted values of one condition. Principals of two clusters are two, so
/// the cluster is part of each key.
fn reading(read: &Read, cluster: &str, values: &Values, bytes: &mut Vec<u8>) -> Reading {
    bytes.clear();
    write(bytes, Some(cluster));
    let has_key = read
        .key
        .iter()
        .all(|&place| write(bytes, values[place].as_deref()));
    let key = has_key.then(|| Key(xxh3_128(bytes)));
    bytes.clear();
    let mut has_values = true;
    for &place in &read.values {
        has_values &= write(bytes, values[place].as_deref());
    }
    let value = (has_values || read.takes_absent).then(|| xxh3_64(bytes));
    Reading { key, value }
}

/// Writes a value so that no two lists of values give the same bytes; false when it is absent.
fn write(bytes: &mut Vec<u8>, value: Option<&str>) -> bool {
    let length = value.map_or(u64::MAX, |value| value.len() as u64);
    bytes.extend(length.to_le_bytes());
    bytes.extend(value.unwrap_or_default().as_bytes());
    value.is_some()
}
