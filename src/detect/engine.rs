//! The single owner of all state: admits observations in order and says what they amount to.

use std::sync::Arc;

use super::{
    BaselineView, Detection, Observation, Settings, SourceId, Stats,
    conditions::{Conditions, Match},
    lineage::Lineage,
    requests::{Requests, Seen, Sighting},
    sources::Sources,
    state::horizon,
};
use crate::{
    baseline::{Known, Trust},
    rule::RuleSet,
    units::Time,
    window::Key,
};

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
    pub(super) lineage: Lineage,
    /// Whether all that is seen is normal, because somebody says so.
    is_learning: bool,
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
            lineage: Lineage::default(),
            is_learning: false,
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
        let horizon = horizon(watermark, self.settings.lateness);
        let admission = match sighting {
            Sighting::Repeat => Admission::Duplicate,
            _ if placed.is_late => Admission::Late,
            _ => Admission::Evaluated,
        };
        if let (Some(minted), false) = (&observation.minted, sighting == Sighting::Repeat) {
            self.lineage.remember(minted);
        }
        let told_before = out.len();
        if let (Sighting::New(handle), Some(recording)) = (sighting, &observation.recording) {
            let trust = match self.conditions.is_suspect(&observation.hits) {
                true => Trust::Suspect,
                false if self.is_learning => Trust::Vouched,
                false => Trust::Plain,
            };
            for hit in &observation.hits {
                let met = Match {
                    hit,
                    recording,
                    request: observation.request,
                    time: placed.time,
                    horizon,
                    trust,
                    now,
                };
                let requests = &mut self.requests;
                self.conditions
                    .meet(met, &mut |rule| requests.claim(handle, rule), out);
            }
        }
        self.conditions.miss(horizon, now, out);
        self.tell_lineage(&mut out[told_before..]);
        match admission {
            Admission::Evaluated => self.evaluated += 1,
            Admission::Duplicate => self.duplicate += 1,
            Admission::Late => self.late += 1,
        }
        if (self.evaluated + self.duplicate + self.late).is_multiple_of(SWEEP_EVERY) {
            self.conditions.sweep(horizon);
        }
        admission
    }

    /// Says that nothing stamped before `floor` is expected any more from any source: time passes
    /// although nothing arrives. With `now` also by the clock, and what was heard and is not any
    /// more is told.
    pub fn advance(&mut self, floor: Time, now: Option<Time>, out: &mut Vec<Detection>) {
        self.sources.lift(floor);
        let horizon = horizon(self.sources.watermark(), self.settings.lateness);
        self.conditions.sweep(horizon);
        let told_before = out.len();
        self.conditions.miss(horizon, now, out);
        self.tell_lineage(&mut out[told_before..]);
    }

    /// Nothing more comes, as at the end of an archive: tells of the silences that ended and that
    /// something late might have filled until now.
    pub fn finish(&mut self, out: &mut Vec<Detection>) {
        let told_before = out.len();
        self.conditions.finish(out);
        self.tell_lineage(&mut out[told_before..]);
    }

    /// Adds to detections who minted the credentials that were used.
    fn tell_lineage(&self, detections: &mut [Detection]) {
        for detection in detections {
            self.lineage.tell(detection);
        }
    }

    /// From now on all that is seen is normal and learnt at once, or not any more. What comes with
    /// a request that another rule of weight reports is held even so.
    pub fn learn(&mut self, is_learning: bool) {
        self.is_learning = is_learning;
    }

    /// Somebody says that an alert was no harm: what its rule's baseline, or the baselines of the
    /// rules that its correlation counts, hold back for its key is known from now on. Takes the
    /// rule's id, the alert's cluster and the values of the alert's key, in its order; says how
    /// many values were released, 0 for a rule without baselines.
    pub fn acknowledge(&mut self, rule: &str, cluster: &str, key: &[Box<str>]) -> usize {
        self.conditions.acknowledge(rule, cluster, key)
    }

    /// The novelty baselines of the rules, in their order.
    pub fn baselines(&self) -> impl Iterator<Item = BaselineView<'_>> {
        self.conditions.baselines()
    }

    /// Lets the baseline of the rule with this fingerprint forget the keys of a name, or all of
    /// them; how many those were.
    pub fn forget(&mut self, fingerprint: u64, name: Option<&str>) -> usize {
        self.conditions.forget(fingerprint, name)
    }

    /// Adds to the baseline of the rule with this fingerprint what is known elsewhere of a key
    /// that was last seen at `last`; false when there is no such baseline.
    pub fn take_up(&mut self, fingerprint: u64, key: Key, last: Time, known: Known) -> bool {
        self.conditions.take_up(fingerprint, key, last, known)
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
            mintings_forgotten: self.lineage.forgotten(),
            bytes: self.requests.bytes(),
            ..Stats::default()
        };
        self.conditions.count_into(&mut stats);
        stats
    }
}
