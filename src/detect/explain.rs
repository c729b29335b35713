//! How far an event has brought windows, chains and baselines, for somebody who asks why there is
//! no alert, or why there is one.

use std::fmt::Write as _;

use super::{
    Combination, Engine, Observation,
    conditions::Conditions,
    plan::{Condition, Feed, RulePlan},
    why::{listed, lower, moments},
};
use crate::{
    baseline::{Known, Novelty, Rate},
    rule::{Correlation, Kind, Member, Rule},
    units::Time,
    window::Look,
};

/// How many known values are named.
const NAMED_MAX: usize = 12;

impl Engine {
    /// What the state says right after an observation was admitted: for each key that it counts
    /// for, how far its window or chain has come, or what its baseline knows. Empty when the
    /// observation is counted by nothing of the rule or correlation.
    pub fn explain(&self, member: Member, observation: &Observation) -> Vec<String> {
        let at = observation
            .time
            .or(observation.stamped)
            .unwrap_or(Time::MIN);
        let conditions = &self.conditions;
        let mut told = Vec::new();
        for hit in &observation.hits {
            let place = hit.rule as usize;
            let Some((rule, plan)) = conditions.rule_and_plan(place) else {
                continue;
            };
            for combination in hit.combinations() {
                for line in lines(conditions, member, (place, rule, plan), (combination, at)) {
                    if !told.contains(&line) {
                        told.push(line);
                    }
                }
            }
        }
        told
    }
}

fn lines(
    conditions: &Conditions,
    member: Member,
    (place, rule, plan): (usize, &Rule, &RulePlan),
    (combination, at): (&Combination, Time),
) -> Vec<String> {
    let behind = conditions.rules().detections_behind(member);
    if !behind.contains(&place) {
        return Vec::new();
    }
    let (novelty, rate) = conditions.baselines_of(place);
    let mut told = Vec::new();
    for (read, reading) in plan.reads.iter().zip(&combination.readings) {
        let Some(key) = reading.key else {
            continue;
        };
        match read.of {
            Condition::Novelty => {
                let known = novelty.and_then(|novelty| Some((novelty, novelty.get(key)?)));
                told.extend(
                    known.map(|(novelty, known)| {
                        new_or_not(rule, novelty, known, (reading.value, at))
                    }),
                );
            }
            Condition::Rate => told.extend(rate.and_then(|rate| {
                let spec = rule.extension.rate.as_ref()?;
                let (usual, learnt, count) = rate.look(key)?;
                let learning = if learnt < Rate::STEPS_LEARNT {
                    format!("; still learning, {learnt} of {} steps", Rate::STEPS_LEARNT)
                } else {
                    String::new()
                };
                Some(format!(
                    "{}: {count} requests in this step of {}, usually {usual:.1} (tells from {} \
                     and {} times the usual on){learning}",
                    rule.meta.name, spec.every, spec.min, spec.factor
                ))
            })),
            Condition::Correlation(Feed { correlation, .. })
                if member == Member::Correlation(correlation) =>
            {
                let counted = &conditions.rules().correlations[correlation];
                let window = conditions.window(correlation);
                let line = if counted.kind == Kind::TemporalOrdered {
                    chain(conditions, counted, &window.furthest(key, at))
                } else {
                    so_far(conditions, counted, &window.look(key, at))
                };
                told.push(format!("{}: {line}", counted.meta.name));
            }
            Condition::Silence | Condition::Correlation(_) => {}
        }
    }
    told
}

/// `7 of 10 matching requests within 1m; 3 left the window, the last at 11:04:50`
fn so_far(conditions: &Conditions, rule: &Correlation, look: &Look) -> String {
    let (timespan, least) = (rule.timespan, rule.bounds.min);
    let most = rule
        .bounds
        .max
        .map_or_else(String::new, |max| format!(" to {max}"));
    let mut told = match rule.kind {
        Kind::Temporal => {
            let titles = titles(conditions, rule);
            let is_met = |place: usize| look.tags.contains_key(&(place as u64));
            let (met, open): (Vec<usize>, Vec<usize>) =
                (0..titles.len()).partition(|place| is_met(*place));
            let name = |places: Vec<usize>| {
                let names: Vec<String> = places.iter().map(|at| lower(&titles[*at])).collect();
                listed(&names)
            };
            let waits = if open.is_empty() {
                String::new()
            } else {
                format!("; waits for {}", name(open))
            };
            let count = met.len();
            format!(
                "{count} of {} within {timespan}: {}{waits}",
                titles.len(),
                name(met)
            )
        }
        Kind::ValueCount => format!(
            "{} of {least}{most} different values within {timespan}",
            look.tags.len()
        ),
        _ => format!(
            "{} of {least}{most} matching requests within {timespan}",
            look.count
        ),
    };
    if let Some(left_at) = look.left_at {
        let _ = write!(
            told,
            "; {} left the window, the last at {left_at}",
            look.left
        );
    }
    if let Some(leaves_at) = look.leaves_at {
        let _ = write!(told, "; the oldest leaves at {leaves_at}");
    }
    told
}

/// `step 2 of 4 met: a at 11:05:01, then b at 11:05:07; waits for c until 11:15:01`
fn chain(conditions: &Conditions, rule: &Correlation, times: &[Time]) -> String {
    let titles = titles(conditions, rule);
    let Some(first) = times.first() else {
        return format!("no step of {} met in order", titles.len());
    };
    let steps: Vec<String> = titles
        .iter()
        .zip(moments(times))
        .map(|(title, moment)| format!("{} at {moment}", lower(title)))
        .collect();
    let waits = titles.get(times.len()).map_or_else(
        || "; that is the whole chain".to_owned(),
        |next| {
            let until = first.plus(rule.timespan);
            format!("; waits for {} until {until}", lower(next))
        },
    );
    format!(
        "step {} of {} met: {}{waits}",
        times.len(),
        titles.len(),
        steps.join(", then ")
    )
}

/// `first-session: alice is known since …; known: shop, mail; this one, bank, is held since …`
fn new_or_not(
    rule: &Rule,
    novelty: &Novelty,
    known: &Known,
    (value, at): (Option<u64>, Time),
) -> String {
    let until = novelty.learning_until(known.first);
    let learning = if until > at {
        format!("; learning until {until}, nothing is new before")
    } else {
        String::new()
    };
    let this = value.and_then(|value| known.values.iter().find(|known| known.hash == value));
    let this = this.map_or_else(String::new, |this| match this.held {
        Some(held) => {
            let times = match held.times {
                0 => "not told yet".to_owned(),
                1 => "told once".to_owned(),
                times => format!("told {times} times"),
            };
            format!(
                "; this one, {}, is held since {}, {times}",
                this.name, held.since
            )
        }
        None => format!("; this one, {}, is known", this.name),
    });
    let mut names: Vec<&str> = known
        .values
        .iter()
        .filter(|value| value.held.is_none())
        .map(|value| &*value.name)
        .collect();
    names.sort_unstable();
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.truncate(NAMED_MAX);
    let names = if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(", ")
    };
    format!(
        "{}: {} is known since {}{learning}; known: {names}{more}{this}",
        rule.meta.name, known.whose.name, known.first
    )
}

fn titles(conditions: &Conditions, rule: &Correlation) -> Vec<String> {
    let sources = rule.sources.iter();
    sources
        .map(|source| conditions.rules().member(source.member).title.clone())
        .collect()
}
