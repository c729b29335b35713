//! The state of one rule's baselines and of one correlation's window, made as the rule says.

mod persist;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Settings, Stats, Trace, conditions::Met, once::Once};
use crate::{
    baseline::{Novelty, NoveltySpec, Rate, RateSpec},
    rule::{Correlation, Kind, Rule},
    units::{Span, Time},
    window::{Absence, Count, Distinct, Key, Limits, Look, Sequence, Spec, Step, TableStats},
};

/// An ordinary request is answered, and so written, within this time of its arrival.
const REQUEST_TIME: Span = Span::from_secs(60);

/// How many requests of one step of a member a chained correlation takes as evidence.
const STEP_MAX: usize = 1_024;

/// How many keys one rule listens for. Who is heard are machines, and those are few.
const HEARD_KEYS_MAX: usize = 1_024;

/// How many slots of each table are looked at for expired keys from time to time.
const SWEEP: usize = 64;

/// The earliest event time that is still expected when all sources have come to `watermark`.
pub(super) fn horizon(watermark: Time, lateness: Span) -> Time {
    watermark.minus(lateness).minus(REQUEST_TIME)
}

/// The baselines of one rule.
pub(super) struct Baselines {
    pub novelty: Option<Novelty>,
    pub rate: Option<Rate>,
    pub silence: Option<Absence<Heard>>,
}

/// What is kept of a heartbeat, so that its end can be told.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Heard {
    pub trace: Arc<Trace>,
    /// The values that came with its hit.
    pub values: Box<[Option<Box<str>>]>,
}

/// The state of one correlation.
pub(super) struct Counting {
    window: Window,
    /// There when one request can come to the window more than once.
    once: Option<Once>,
    evidence_dropped: u64,
}

/// The window of one correlation.
enum Window {
    Count(Count<Brought>),
    Values(Distinct<Brought>),
    Members(Distinct<Brought>),
    Sequence(Sequence<Brought>),
}

/// The evidence that one occurrence brings.
#[derive(Clone, Serialize, Deserialize)]
enum Brought {
    Request(Arc<Trace>),
    /// What counted with one step of a chained correlation.
    Step(Box<Evidence>),
}

/// Requests, oldest first.
#[derive(Clone, Serialize, Deserialize)]
struct Evidence(Vec<Arc<Trace>>);

/// What one insert brought about.
pub(super) struct Outcome {
    /// What the condition compares with its bound.
    pub step: Step,
    /// Requests that count for the first time for their key, oldest first.
    pub evidence: Vec<Arc<Trace>>,
}

impl Baselines {
    pub(super) fn new(rule: &Rule, settings: &Settings) -> Self {
        let limits = limits(settings);
        let novelty = rule.extension.novelty.as_ref().map(|novelty| {
            let (learn, forget) = (novelty.learn, novelty.forget);
            Novelty::new(
                NoveltySpec {
                    learn,
                    forget,
                    values_max: settings.values_max,
                },
                limits,
            )
        });
        let rate = rule.extension.rate.as_ref().map(|rate| {
            Rate::new(
                RateSpec {
                    every: rate.every,
                    factor: rate.factor,
                    min: rate.min,
                },
                limits,
            )
        });
        let silence = rule.extension.silence.as_ref();
        let silence = silence.map(|silence| Absence::new(silence.after, HEARD_KEYS_MAX));
        Self {
            novelty,
            rate,
            silence,
        }
    }

    /// Takes back some memory of keys that are over at `horizon`.
    pub(super) fn sweep(&mut self, horizon: Time) {
        if let Some(novelty) = &mut self.novelty {
            novelty.sweep(horizon, SWEEP);
        }
        if let Some(rate) = &mut self.rate {
            rate.sweep(horizon, SWEEP);
        }
    }

    /// Adds what this holds to the engine's numbers.
    pub(super) fn count_into(&self, stats: &mut Stats) {
        if let Some(novelty) = &self.novelty {
            add(stats, novelty.stats(), novelty.bytes());
            stats.values_evicted += novelty.evicted_values();
        }
        if let Some(rate) = &self.rate {
            add(stats, rate.stats(), rate.bytes());
        }
        if let Some(silence) = &self.silence {
            stats.keys += silence.watched();
            stats.keys_evicted += silence.refused();
        }
    }
}

impl Counting {
    /// `reach` is how far back the windows of the correlation and of what it counts go.
    pub(super) fn new(correlation: &Correlation, reach: Span, settings: &Settings) -> Self {
        Self {
            window: Window::new(correlation, settings),
            once: Once::of(correlation, reach, settings),
            evidence_dropped: 0,
        }
    }

    /// Counts one occurrence for `key` that came by the member at `source`, once for each of
    /// `values`, which have the combination that they are of in front, and tells what counts for the first time.
    pub(super) fn insert(
        &mut self,
        key: Key,
        (source, values): (usize, &[(usize, u64)]),
        met: Met<'_>,
    ) -> Outcome {
        let mut step = Step::default();
        let mut brought = Vec::new();
        for &(_, value) in values {
            let payload = self.payload(met);
            let one = self
                .window
                .insert(key, (source, value), met, payload, &mut brought);
            if one.counted > 0 {
                step = one;
            }
        }
        let mut evidence = Vec::with_capacity(brought.len());
        let mut is_sorted = true;
        for brought in brought {
            match brought {
                Brought::Request(trace) => evidence.push(trace),
                Brought::Step(step) => {
                    evidence.extend(step.0);
                    is_sorted = false;
                }
            }
        }
        if !is_sorted {
            evidence.sort_by_key(|trace| trace.time());
        }
        if let Some(once) = &mut self.once {
            evidence.retain(|trace| once.is_first(key, trace, met));
        }
        Outcome { step, evidence }
    }

    /// Which members occurred, by their places, and when, in the order of time: in the tightest
    /// chain through the newest insert, or in the timespan that ends at a moment. Empty for what
    /// does not tell members apart.
    pub(super) fn steps(&self, key: Key, at: Time) -> Vec<(usize, Time)> {
        match &self.window {
            Window::Sequence(window) => window.chain().iter().copied().enumerate().collect(),
            Window::Members(window) => {
                let tags = window.look(key, at).tags.into_iter();
                let mut steps: Vec<_> = tags.map(|(tag, time)| (tag as usize, time)).collect();
                steps.sort_by_key(|(place, time)| (*time, *place));
                steps
            }
            Window::Count(_) | Window::Values(_) => Vec::new(),
        }
    }

    /// What the window holds of a key at a moment.
    pub(super) fn look(&self, key: Key, at: Time) -> Look {
        match &self.window {
            Window::Count(window) => window.look(key, at),
            Window::Values(window) | Window::Members(window) => window.look(key, at),
            Window::Sequence(_) => Look::default(),
        }
    }

    /// How far the members have come in their order by a moment; empty for what has no order.
    pub(super) fn furthest(&self, key: Key, at: Time) -> Vec<Time> {
        match &self.window {
            Window::Sequence(window) => window.furthest(key, at),
            _ => Vec::new(),
        }
    }

    /// Takes back some memory of keys that are over at `horizon`.
    pub(super) fn sweep(&mut self, horizon: Time) {
        self.window.sweep(horizon);
        if let Some(once) = &mut self.once {
            once.sweep(horizon, SWEEP);
        }
    }

    /// Adds what this holds to the engine's numbers.
    pub(super) fn count_into(&self, stats: &mut Stats) {
        self.window.count_into(stats);
        if let Some(once) = &self.once {
            once.count_into(stats);
        }
        stats.evidence_dropped += self.evidence_dropped;
    }

    /// What an occurrence brings; of a step with very many requests the newest.
    fn payload(&mut self, met: Met<'_>) -> Brought {
        if met.step.len() < 2 {
            return Brought::Request(Arc::clone(met.trace));
        }
        let beyond = met.step.len().saturating_sub(STEP_MAX);
        self.evidence_dropped += beyond as u64;
        Brought::Step(Box::new(Evidence(met.step[beyond..].to_vec())))
    }
}

impl Window {
    fn new(correlation: &Correlation, settings: &Settings) -> Self {
        let limits = limits(settings);
        let spec = Spec {
            timespan: correlation.timespan,
            min: correlation.bounds.min,
            max: correlation.bounds.max,
            lateness: Span::from_micros(settings.lateness.micros() + REQUEST_TIME.micros()),
        };
        match correlation.kind {
            Kind::EventCount => Self::Count(Count::new(spec, limits)),
            Kind::ValueCount => Self::Values(Distinct::new(spec, limits)),
            Kind::Temporal => Self::Members(Distinct::new(spec, limits)),
            Kind::TemporalOrdered => {
                let members = correlation.sources.len().try_into().unwrap_or(u16::MAX);
                Self::Sequence(Sequence::new(spec, members, limits))
            }
        }
    }

    /// Counts one occurrence that came by the member at `source` with the value `value`.
    fn insert(
        &mut self,
        key: Key,
        (source, value): (usize, u64),
        met: Met<'_>,
        brought: Brought,
        out: &mut Vec<Brought>,
    ) -> Step {
        let (time, horizon) = (met.time, met.horizon);
        match self {
            Self::Count(window) => window.insert(key, time, brought, horizon, out),
            Self::Values(window) => window.insert(key, (time, value), brought, horizon, out),
            Self::Members(window) => {
                window.insert(key, (time, source as u64), brought, horizon, out)
            }
            Self::Sequence(window) => {
                window.insert(key, (time, source as u16), brought, horizon, out)
            }
        }
    }

    fn sweep(&mut self, horizon: Time) {
        match self {
            Self::Count(window) => window.sweep(horizon, SWEEP),
            Self::Values(window) | Self::Members(window) => window.sweep(horizon, SWEEP),
            Self::Sequence(window) => window.sweep(horizon, SWEEP),
        }
    }

    fn count_into(&self, stats: &mut Stats) {
        match self {
            Self::Count(window) => add(stats, window.stats(), window.bytes()),
            Self::Values(window) | Self::Members(window) => {
                add(stats, window.stats(), window.bytes());
            }
            Self::Sequence(window) => {
                add(stats, window.stats(), window.bytes());
                stats.values_evicted += window.thinned();
            }
        }
    }
}

const fn add(stats: &mut Stats, table: TableStats, bytes: usize) {
    stats.keys += table.keys;
    stats.occurrences += table.held;
    stats.keys_evicted += table.evicted;
    stats.bytes += bytes;
}

const fn limits(settings: &Settings) -> Limits {
    Limits {
        keys: settings.keys_max,
        held: settings.occurrences_max,
    }
}
