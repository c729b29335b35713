//! Rules that listen: heartbeats that came, and the silences that are told.

use xxhash_rust::xxh3::xxh3_64;

use super::{Conditions, Match, keys};
use crate::{
    detect::{
        Combination, Detection, Readings,
        plan::{Condition, RulePlan},
        state::Heard,
        told::{self, Told, Values},
        why,
    },
    event::Field,
    rule::{Extras, Rule},
    units::{Span, Time},
    window::{Heartbeat, Missing},
};

/// By the clock a live source may be so much later than its events: a webhook's batch that the API
/// server tries again and again.
const PATIENCE: Span = Span::from_secs(300);

impl Conditions {
    /// Notes a heartbeat.
    pub(super) fn hear(&mut self, plan: &RulePlan, found: Match<'_>) {
        let all = (0, found.hit.combinations().count());
        let keys = keys(plan, Condition::Silence, found.hit, all);
        self.unkeyed += u64::from(keys.is_empty());
        let (hit, trace) =
            found
                .recording
                .told((found.hit, plan), found.request, &mut self.callers);
        let cluster = Field::parse("cluster").ok();
        let Some(silence) = &mut self.baselines[found.hit.rule as usize].silence else {
            return;
        };
        for keyed in keys {
            let combination = hit.combination(keyed.values[0].0);
            let values = Values::new(plan, combination, &trace);
            let cluster = cluster.as_ref().and_then(|field| values.shown(field));
            let beat = Heartbeat {
                group: xxh3_64(cluster.unwrap_or_default().as_bytes()),
                time: found.time,
                now: found.now,
                payload: Heard {
                    trace: trace.clone(),
                    values: combination.values.clone(),
                },
            };
            silence.seen(keyed.key, beat);
        }
    }

    /// Tells of the silences that are certain when nothing before `horizon` is expected.
    pub(in crate::detect) fn miss(
        &mut self,
        horizon: Time,
        now: Option<Time>,
        out: &mut Vec<Detection>,
    ) {
        for &place in &self.listening {
            let Some(silence) = &mut self.baselines[place].silence else {
                continue;
            };
            if silence.due() >= horizon {
                continue;
            }
            let mut missing = Vec::new();
            silence.advance(horizon, now.map(|now| (now, PATIENCE)), &mut missing);
            let (rule, plan) = (&self.rules.rules[place], &self.plan.rules[place]);
            out.extend(missing.into_iter().filter_map(|one| tell(rule, plan, one)));
        }
    }

    /// Tells of the silences that ended, when nothing more is to come.
    pub(in crate::detect) fn finish(&mut self, out: &mut Vec<Detection>) {
        for &place in &self.listening {
            let mut missing = Vec::new();
            if let Some(silence) = &mut self.baselines[place].silence {
                silence.finish(&mut missing);
            }
            let (rule, plan) = (&self.rules.rules[place], &self.plan.rules[place]);
            out.extend(missing.into_iter().filter_map(|one| tell(rule, plan, one)));
        }
    }
}

/// The detection of a silence. Its evidence is the last heartbeat before and the first after.
fn tell(rule: &Rule, plan: &RulePlan, missing: Missing<Heard>) -> Option<Detection> {
    let spec = rule.extension.silence.as_ref()?;
    let why = why::silence(&missing, spec.after);
    let last = missing.run.payload;
    let back = missing.back.map(|(_, heard)| heard.trace);
    let before = (!missing.was_told).then(|| last.trace.clone());
    let evidence: Vec<_> = before.into_iter().chain(back).collect();
    let combination = Combination {
        values: last.values,
        readings: Readings::new(),
    };
    let values = Values::new(plan, &combination, &last.trace);
    let told = Told {
        key: values.key(told::names(&spec.by), &spec.by),
        count: evidence.len() as u64,
        evidence,
        extras: Extras {
            count: missing.run.heard,
            timespan: Some(spec.after),
            threshold: None,
        },
        why,
    };
    rule.reports
        .then(|| told::detection(&rule.meta, &rule.extension, values, told))
}
