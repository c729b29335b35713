//! The state of one rule's baselines and of one correlation's window, made as the rule says.

use std::sync::Arc;

use super::{Settings, Stats, Trace, conditions::Met};
use crate::{
    baseline::{Novelty, NoveltySpec, Rate, RateSpec},
    rule::{Correlation, Kind, Rule},
    units::{Span, Time},
    window::{Count, Distinct, Key, Limits, Sequence, Spec, Step, TableStats},
};

/// An ordinary request is answered, and so written, within this time of its arrival.
const REQUEST_TIME: Span = Span::from_secs(60);

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
}

/// The window of one correlation.
pub(super) enum Window {
    Count(Count<Arc<Trace>>),
    Values(Distinct<Arc<Trace>>),
    Members(Distinct<Arc<Trace>>),
    Sequence(Sequence<Arc<Trace>>),
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
        Self { novelty, rate }
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
    }
}

impl Window {
    pub(super) fn new(correlation: &Correlation, settings: &Settings) -> Self {
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

    /// Counts one occurrence that came by the member at `counted.0` with the value `counted.1`.
    pub(super) fn insert(
        &mut self,
        key: Key,
        (source, value): (usize, u64),
        met: Met<'_>,
        out: &mut Vec<Arc<Trace>>,
    ) -> Step {
        let (time, horizon, trace) = (met.time, met.horizon, Arc::clone(met.trace));
        match self {
            Self::Count(window) => window.insert(key, time, trace, horizon, out),
            Self::Values(window) => window.insert(key, (time, value), trace, horizon, out),
            Self::Members(window) => window.insert(key, (time, source as u64), trace, horizon, out),
            Self::Sequence(window) => {
                window.insert(key, (time, source as u16), trace, horizon, out)
            }
        }
    }

    /// Takes back some memory of keys that are over at `horizon`.
    pub(super) fn sweep(&mut self, horizon: Time) {
        match self {
            Self::Count(window) => window.sweep(horizon, SWEEP),
            Self::Values(window) | Self::Members(window) => window.sweep(horizon, SWEEP),
            Self::Sequence(window) => window.sweep(horizon, SWEEP),
        }
    }

    /// Adds what this holds to the engine's numbers.
    pub(super) fn count_into(&self, stats: &mut Stats) {
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
