//! What the pipeline counts. Numbers that must agree at every scrape are changed together.

use std::sync::Arc;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result};

use super::Judge;
use crate::{
    alert,
    decode::Reason,
    detect::{Admission, Detection, Engine, Stats},
    rule::RuleSet,
    telemetry::{Metrics, catalogue},
    units::Time,
};

/// How many rejects of each reason, in the order of [`Reason::ALL`].
pub(super) type Rejects = [u64; Reason::ALL.len()];

/// What became of one batch.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) evaluated: u64,
    pub(super) duplicate: u64,
    pub(super) late: u64,
    /// Given up, because the time to stop was over.
    pub(super) dropped: u64,
    pub(super) rejects: Rejects,
    /// Stamps of the events that were evaluated.
    pub(super) stamps: Vec<Time>,
}

impl Tally {
    pub(super) fn admitted(&mut self, admission: Admission, stamped: Option<Time>) {
        match admission {
            Admission::Evaluated => {
                self.evaluated += 1;
                self.stamps.extend(stamped);
            }
            Admission::Duplicate => self.duplicate += 1,
            Admission::Late => self.late += 1,
        }
    }
}

/// The pipeline's metrics.
pub(super) struct Counts {
    metrics: Arc<Metrics>,
    received: IntCounter,
    evaluated: IntCounter,
    duplicate: IntCounter,
    late: IntCounter,
    rejected: Vec<IntCounter>,
    dropped: IntCounter,
    clamped: IntCounter,
    uncounted: [IntCounter; 4],
    delay: Histogram,
    detections: IntCounterVec,
    rules: IntGauge,
    alerts: IntGauge,
    alerts_evicted: IntCounter,
    /// Alerts that a terminal which stood still was not shown.
    pub(super) alerts_unseen: IntCounter,
    /// Alerts that no group had room for; notifications count them.
    pub(super) alerts_unlisted: IntCounter,
    baseline_keys: IntGaugeVec,
    baseline_held: IntGaugeVec,
    watermark: IntGauge,
    state_keys: IntGauge,
    state_requests: IntGauge,
    state_bytes: IntGauge,
    evicted: [IntCounter; 5],
    told: Told,
}

/// What the engine and the alerts had counted when it was last told.
#[derive(Default)]
struct Told {
    tables: [u64; 5],
    alerts: u64,
    uncounted: [u64; 4],
    clamped: u64,
}

/// The engine's tables, by the label value of each.
const TABLES: [&str; 5] = ["keys", "values", "requests", "long_requests", "mintings"];

/// Why a match was not counted, by the label value.
const UNCOUNTED: [&str; 4] = ["unkeyed", "combinations", "evidence", "forgotten"];

fn uncounted_of(stats: &Stats) -> [u64; 4] {
    [
        stats.unkeyed,
        stats.combinations_dropped,
        stats.evidence_dropped,
        stats.forgotten,
    ]
}

fn evicted_from(stats: &Stats) -> [u64; 5] {
    [
        stats.keys_evicted,
        stats.values_evicted,
        stats.requests_evicted,
        stats.long_requests_evicted,
        stats.mintings_forgotten,
    ]
}

impl Counts {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Result<Self> {
        let rejected = metrics.counters(&catalogue::EVENTS_REJECTED)?;
        let rejected = Reason::ALL.map(|reason| rejected.with_label_values(&[reason.name()]));
        let dropped = metrics.counters(&catalogue::EVENTS_DROPPED)?;
        let uncounted = metrics.counters(&catalogue::MATCHES_UNCOUNTED)?;
        let alerts = metrics.gauges(&catalogue::ALERTS)?;
        let alerts_dropped = metrics.counters(&catalogue::ALERTS_DROPPED)?;
        let evicted = metrics.counters(&catalogue::STATE_EVICTED)?;
        Ok(Self {
            received: metrics.counter(&catalogue::EVENTS_RECEIVED)?,
            evaluated: metrics.counter(&catalogue::EVENTS_EVALUATED)?,
            duplicate: metrics.counter(&catalogue::EVENTS_DUPLICATE)?,
            late: metrics.counter(&catalogue::EVENTS_LATE)?,
            rejected: rejected.into(),
            // Nothing is dropped to keep up.
            dropped: dropped.with_label_values(&["shutdown"]),
            clamped: metrics.counter(&catalogue::EVENTS_CLAMPED)?,
            uncounted: UNCOUNTED.map(|reason| uncounted.with_label_values(&[reason])),
            delay: metrics.delays(&catalogue::EVENT_DELAY_SECONDS)?,
            detections: metrics.counters(&catalogue::DETECTIONS)?,
            rules: metrics.gauge(&catalogue::RULES)?,
            alerts: alerts.with_label_values(&[alert::Status::Firing.name()]),
            alerts_evicted: alerts_dropped.with_label_values(&["evicted"]),
            alerts_unseen: alerts_dropped.with_label_values(&["terminal"]),
            alerts_unlisted: alerts_dropped.with_label_values(&["unlisted"]),
            baseline_keys: metrics.gauges(&catalogue::BASELINE_KEYS)?,
            baseline_held: metrics.gauges(&catalogue::BASELINE_VALUES_HELD)?,
            watermark: metrics.gauge(&catalogue::WATERMARK_SECONDS)?,
            state_keys: metrics.gauge(&catalogue::STATE_KEYS)?,
            state_requests: metrics.gauge(&catalogue::STATE_REQUESTS)?,
            state_bytes: metrics.gauge(&catalogue::STATE_BYTES)?,
            evicted: TABLES.map(|table| evicted.with_label_values(&[table])),
            told: Told::default(),
            metrics: Arc::clone(metrics),
        })
    }

    /// Takes over what became of a batch, all at once, and empties the tally.
    pub(super) fn batch(&mut self, tally: &mut Tally, now: Time) {
        let delay = self.delay.local();
        for stamped in tally.stamps.drain(..) {
            delay.observe(now.since(stamped).to_std().as_secs_f64());
        }
        self.metrics.together(|| {
            delay.flush();
            self.evaluated.inc_by(tally.evaluated);
            self.duplicate.inc_by(tally.duplicate);
            self.late.inc_by(tally.late);
            let mut rejected = 0;
            for (counter, rejects) in self.rejected.iter().zip(tally.rejects) {
                counter.inc_by(rejects);
                rejected += rejects;
            }
            self.received
                .inc_by(tally.evaluated + tally.duplicate + tally.late + tally.dropped + rejected);
            self.dropped.inc_by(tally.dropped);
        });
        *tally = Tally {
            stamps: std::mem::take(&mut tally.stamps),
            ..Tally::default()
        };
    }

    pub(super) fn detection(&self, detection: &Detection) {
        let level = detection.rule.severity.name();
        self.detections
            .with_label_values(&[detection.rule.name.as_str(), level])
            .inc();
    }

    /// Starts the counters of a new rule set. Those of rules that are gone stay as they are.
    pub(super) fn rules(&self, set: &RuleSet) {
        let reporting = set.rules.iter().filter(|rule| rule.reports);
        let correlations = set
            .correlations
            .iter()
            .filter(|correlation| correlation.reports);
        let metas = reporting
            .map(|rule| &rule.meta)
            .chain(correlations.map(|correlation| &correlation.meta));
        for meta in metas {
            let labels = [meta.name.as_str(), meta.severity.name()];
            self.detections.with_label_values(&labels).inc_by(0);
        }
        self.rules
            .set((set.rules.len() + set.correlations.len()) as i64);
    }

    /// Shows how far the baselines have learnt. Looks at every key, so not to be done often.
    pub(super) fn baselines(&self, engine: &Engine) {
        // Rules may have gone.
        self.baseline_keys.reset();
        self.baseline_held.reset();
        for view in engine.baselines() {
            let progress = view.novelty.progress(engine.watermark());
            let rule = view.rule.meta.name.as_str();
            for (standing, count) in [("learning", progress.learning), ("learnt", progress.learnt)]
            {
                let gauge = self.baseline_keys.with_label_values(&[rule, standing]);
                gauge.set(count as i64);
            }
            let held = self.baseline_held.with_label_values(&[rule]);
            held.set(progress.held as i64);
        }
    }

    /// Shows what the judge holds.
    pub(super) fn state(&mut self, judge: &Judge) {
        let stats = judge.engine().stats();
        self.state_keys.set(stats.keys as i64);
        self.state_requests
            .set((stats.requests + stats.long_requests) as i64);
        self.state_bytes.set(stats.bytes as i64);
        self.alerts.set(judge.alerts().open() as i64);
        let tables = evicted_from(&stats);
        for (counter, (now, told)) in self
            .evicted
            .iter()
            .zip(tables.into_iter().zip(self.told.tables))
        {
            counter.inc_by(now.saturating_sub(told));
        }
        let alerts = judge.alerts().counts().evicted;
        self.alerts_evicted
            .inc_by(alerts.saturating_sub(self.told.alerts));
        let uncounted = uncounted_of(&stats);
        let told = uncounted.into_iter().zip(self.told.uncounted);
        for (counter, (now, told)) in self.uncounted.iter().zip(told) {
            counter.inc_by(now.saturating_sub(told));
        }
        let clamped = stats.clamped;
        self.clamped
            .inc_by(clamped.saturating_sub(self.told.clamped));
        self.told = Told {
            tables,
            alerts,
            uncounted,
            clamped,
        };
        let watermark = judge.engine().watermark();
        if watermark > Time::MIN {
            self.watermark.set(watermark.micros() / 1_000_000);
        }
    }
}
