//! The half of the engine that looks at one event and keeps nothing of it. One for each thread.

use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{
    Combination, Hit, Minted, Observation, Reading, Readings, Recording, Trace,
    combine::{Choice, Choices},
    memo::{Memo, Place},
    plan::{Plan, Read, RulePlan},
    trace::Callers,
};
use crate::{
    event::{Context, Event, Field, REDACTED, Stage},
    rule::{Matcher, RuleSet},
    window::Key,
};

/// Says which rules an event matches and what their conditions need of it. Holds memo caches,
/// which never change an answer.
pub struct Observer {
    matcher: Matcher,
    plan: Plan,
    callers: Callers,
    memo: Memo,
    /// Where the latest event came from.
    context: Arc<Context>,
    bytes: Vec<u8>,
}

impl Observer {
    /// An observer for a rule set. The engine that takes its observations must have the same set.
    pub fn new(rules: Arc<RuleSet>) -> Self {
        Self {
            plan: Plan::new(&rules),
            matcher: Matcher::new(rules),
            callers: Callers::default(),
            memo: Memo::default(),
            context: Arc::default(),
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
            minted: None,
            recording: None,
            hits: Vec::new(),
        };
        if stage == Stage::RequestReceived {
            return observation;
        }
        observation.minted = Minted::of(event).map(Box::new);
        if self.matcher.matches(event).is_empty() {
            return observation;
        }
        let (matches, likeness) = (self.matcher.matched(), self.matcher.likeness());
        let is_told = event.raw_line().len() > Recording::TEXT_BYTES_MAX
            || matches
                .iter()
                .any(|&rule| !self.plan.rules[rule].has_baselines);
        for &rule in matches {
            let (plan, rule) = (&self.plan.rules[rule], rule as u32);
            let bytes = &mut self.bytes;
            let hit = match Place::of(rule, plan.reach, likeness) {
                Some(place) => Hit {
                    rule,
                    first: Combination {
                        values: values(plan, (event, is_told), &Choice::default()),
                        readings: self.memo.readings(place, &event.context().cluster, || {
                            readings(plan, event, &Choice::default(), bytes)
                        }),
                    },
                    others: Box::default(),
                    dropped: 0,
                },
                None => hit(rule, plan, (event, is_told), bytes),
            };
            observation.hits.push(hit);
        }
        observation.recording = Some(if is_told {
            let trace = Trace::of(event, observation.request, &mut self.callers);
            Recording::Trace(Arc::new(trace))
        } else {
            if *self.context != *event.context() {
                self.context = Arc::new(event.context().clone());
            }
            Recording::Text(event.raw_line().into(), Arc::clone(&self.context))
        });
        observation
    }
}

/// What a rule's conditions need of an event that it matched. The values for people come along
/// when the event `is_told`; reading them is most of the work.
pub(super) fn hit(
    rule: u32,
    plan: &RulePlan,
    (event, is_told): (&Event<'_>, bool),
    bytes: &mut Vec<u8>,
) -> Hit {
    let mut combination = |choice: &Choice<'_>| Combination {
        values: values(plan, (event, is_told), choice),
        readings: readings(plan, event, choice, bytes),
    };
    let mut hit = Hit {
        rule,
        first: combination(&Choice::default()),
        others: Box::default(),
        dropped: 0,
    };
    if !plan.several.is_empty() {
        let choices = Choices::of(&plan.several, event);
        let others = choices.all(Hit::COMBINATIONS_MAX);
        hit.others = others.iter().skip(1).map(combination).collect();
        hit.dropped = choices.beyond(1 + hit.others.len());
    }
    hit
}

/// The values for people; none while the event is not told.
fn values(
    plan: &RulePlan,
    (event, is_told): (&Event<'_>, bool),
    choice: &Choice<'_>,
) -> Box<[Option<Box<str>>]> {
    let value = |field| {
        let value = match choice.of(field) {
            Some(value) => Box::from(value),
            None => event.first(field)?.into_owned().into_boxed_str(),
        };
        Some(if event.is_secret(field) {
            REDACTED.into()
        } else {
            value
        })
    };
    let wanted = if is_told { &*plan.wanted } else { &[] };
    wanted.iter().map(value).collect()
}

fn readings(
    plan: &RulePlan,
    event: &Event<'_>,
    choice: &Choice<'_>,
    bytes: &mut Vec<u8>,
) -> Readings {
    plan.reads
        .iter()
        .map(|read| reading(read, event, choice, bytes))
        .collect()
}

/// Hashes the key and the counted values of one condition. Principals of two clusters are two, so
/// the cluster is part of each key.
fn reading(read: &Read, event: &Event<'_>, choice: &Choice<'_>, bytes: &mut Vec<u8>) -> Reading {
    let write_one = |bytes: &mut Vec<u8>, field| match choice.of(field) {
        Some(value) => write(bytes, Some(value)),
        None => write_first(bytes, event, field),
    };
    bytes.clear();
    write(bytes, Some(&event.context().cluster));
    let has_key = read.key.iter().all(|field| write_one(bytes, field));
    let key = has_key.then(|| Key(xxh3_128(bytes)));
    bytes.clear();
    let mut has_values = true;
    for field in &read.values {
        has_values &= write_one(bytes, field);
    }
    let value = (has_values || read.takes_absent).then(|| xxh3_64(bytes));
    Reading { key, value }
}

/// Writes a field's first value, the one that [`Event::first`] gives, without a copy of its own;
/// false when it is absent.
fn write_first(bytes: &mut Vec<u8>, event: &Event<'_>, field: &Field) -> bool {
    event.any(field, &mut |value| match value.into_text() {
        Some(text) => write(bytes, Some(&text)),
        None => false,
    }) || write(bytes, None)
}

/// Writes a value so that no two lists of values give the same bytes; false when it is absent.
fn write(bytes: &mut Vec<u8>, value: Option<&str>) -> bool {
    let length = value.map_or(u64::MAX, |value| value.len() as u64);
    bytes.extend(length.to_le_bytes());
    bytes.extend(value.unwrap_or_default().as_bytes());
    value.is_some()
}
