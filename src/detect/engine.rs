//! The single owner of all state: admits observations in order and says what they amount to.

use std::sync::Arc;

use super::{
    Detection, Observation, Settings, SourceId, Stats,
    conditions::{Conditions, Match},
    requests::{Requests, Seen, Sighting},
    sources::Sources,
    state::horizon,
};
use crate::{rule::RuleSet, units::Time};

/// What became of an observation. Each becomes exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Admission {
    /// Taken in; the rules that may count its request have looked at it.
    Evaluated,
    /// The same stage of the same request was taken in before.
    Duplicate,
    /// Further behind its source than the allowed lateness. Rules have looked at it all the same;
    /// windows count it as far as their state still reaches.
    Late,
}

/// How often expired state is looked for beside the looking that each access does.
const SWEEP_EVERY: u64 = 4_096;

/// The engine. Deterministic: the same rules, settings and calls in the same order give the same
/// detections in the same order.
pub struct Engine {
    settings: Settings,
    pub(super) sources: Sources,
    pub(super) requests: Requests,
    pub(super) conditions: Conditions,
    pub(super) evaluated: u64,
    pub(super) duplicate: u64,
    pub(super) late: u64,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new(rules: Arc<RuleSet>, settings: Settings) -> Self {
        Self {
            settings,
            sources: Sources::new(&settings),
            requests: Requests::new(&settings),
            conditions: Conditions::new(rules, settings),
            evaluated: 0,
            duplicate: 0,
            late: 0,
        }
    }

    /// Takes in one observation of `source`; detections are appended to `out`. With `now`, stamps
    /// from the future are set back to it; a replay gives none. The observation must come from an
    /// [`Observer`](super::Observer) with the engine's rule set.
    pub fn admit(
        &mut self,
        source: SourceId,
        observation: &Observation,
        now: Option<Time>,
        out: &mut Vec<Detection>,
    ) -> Admission {
        let placed = self.sources.place(source, observation, now);
        let watermark = self.sources.watermark();
        let seen = Seen {
            request: observation.request,
            stage: observation.stage,
            is_long_running: observation.is_long_running,
            time: placed.time,
            stamped: placed.stamped,
            start_was_shown: placed.start_was_shown,
        };
        let sighting = self.requests.see(&seen, watermark);
        let admission = match sighting {
            Sighting::Repeat => Admission::Duplicate,
            _ if placed.is_late => Admission::Late,
            _ => Admission::Evaluated,
        };
        if let (Sighting::New(handle), Some(recording)) = (sighting, &observation.recording) {
            let horizon = horizon(watermark, self.settings.lateness);
            for hit in &observation.hits {
                let met = Match {
                    hit,
                    recording,
                    request: observation.request,
                    time: placed.time,
                    horizon,
                };
                let requests = &mut self.requests;
                self.conditions
                    .meet(met, &mut |rule| requests.claim(handle, rule), out);
            }
        }
        match admission {
            Admission::Evaluated => self.evaluated += 1,
            Admission::Duplicate => self.duplicate += 1,
            Admission::Late => self.late += 1,
        }
        if (self.evaluated + self.duplicate + self.late).is_multiple_of(SWEEP_EVERY) {
            self.conditions
                .sweep(horizon(watermark, self.settings.lateness));
        }
        admission
    }

    /// Says that nothing stamped before `floor` is expected any more from any source: time passes
    /// although nothing arrives.
    pub fn advance(&mut self, floor: Time) {
        self.sources.lift(floor);
        self.conditions
            .sweep(horizon(self.sources.watermark(), self.settings.lateness));
    }

    /// How far all active sources have come in event time; [`Time::MIN`] before the first event.
    pub fn watermark(&self) -> Time {
        self.sources.watermark()
    }

    /// Takes on another rule set. Rules and correlations whose meaning is unchanged keep their
    /// state. Observations made with the former set must have been admitted before.
    pub fn replace_rules(&mut self, rules: Arc<RuleSet>) {
        self.conditions.replace(rules);
    }

    /// What the engine holds and what became of the observations.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            evaluated: self.evaluated,
            duplicate: self.duplicate,
            late: self.late,
            clamped: self.sources.clamped(),
            forgotten: self.requests.forgotten(),
            requests: self.requests.len(),
            requests_evicted: self.requests.evicted(),
            long_requests: self.requests.long_len(),
            long_requests_evicted: self.requests.long_evicted(),
            sources: self.sources.len(),
            bytes: self.requests.bytes(),
            ..Stats::default()
        };
        self.conditions.count_into(&mut stats);
        stats
    }
}
