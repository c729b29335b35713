//! What is measured about delivery. Labels are names from the configuration and closed enums.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus::{
    GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{DropReason, Reason, worker::Lane};

/// The metrics of all receivers.
#[derive(Clone, Debug)]
pub struct Metrics {
    attempts: IntCounterVec,
    failed: IntCounterVec,
    dropped: IntCounterVec,
    folded: IntCounterVec,
    lanes: Lanes,
}

/// Those of one receiver.
#[derive(Debug)]
pub(super) struct LaneMetrics {
    pub(super) attempts: IntCounter,
    pub(super) folded: IntCounter,
    failed: Vec<IntCounter>,
    dropped: Vec<IntCounter>,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When the registry has metrics of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let metrics = Self {
            attempts: counter(
                "auditwatch_notifications_total",
                "Attempts to deliver a notification.",
                &["receiver", "integration"],
            )?,
            failed: counter(
                "auditwatch_notifications_failed_total",
                "Attempts to deliver a notification that failed.",
                &["receiver", "integration", "reason"],
            )?,
            dropped: counter(
                "auditwatch_notifications_dropped_total",
                "Notifications that were given up.",
                &["receiver", "integration", "reason"],
            )?,
            folded: counter(
                "auditwatch_notifications_folded_total",
                "Updates that gave way to a newer notification about the same.",
                &["receiver", "integration"],
            )?,
            lanes: Lanes::new()?,
        };
        registry.register(Box::new(metrics.lanes.clone()))?;
        Ok(metrics)
    }

    /// The counters of one receiver, all at zero.
    pub(super) fn lane(&self, receiver: &str, integration: &str) -> LaneMetrics {
        let reason = |counter: &IntCounterVec, name: &str| {
            counter.with_label_values(&[receiver, integration, name])
        };
        let failed = Reason::ALL.map(|kind| reason(&self.failed, kind.name()));
        let dropped = DropReason::ALL.map(|kind| reason(&self.dropped, kind.name()));
        LaneMetrics {
            attempts: self.attempts.with_label_values(&[receiver, integration]),
            folded: self.folded.with_label_values(&[receiver, integration]),
            failed: failed.into(),
            dropped: dropped.into(),
        }
    }

    /// Shows the receiver's queue for as long as the receiver is there.
    pub(super) fn watch(&self, lane: &Arc<Lane>) {
        let mut lanes = self
            .lanes
            .watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(Arc::downgrade(lane));
    }
}

impl LaneMetrics {
    pub(super) fn failed(&self, reason: Reason) {
        self.failed[reason as usize].inc();
    }

    pub(super) fn dropped(&self, reason: DropReason, messages: u64) {
        self.dropped[reason as usize].inc_by(messages);
    }
}

/// The state of the queues, looked at when somebody asks for it.
#[derive(Clone, Debug)]
struct Lanes {
    watched: Arc<Mutex<Vec<Weak<Lane>>>>,
    waiting: IntGaugeVec,
    oldest: GaugeVec,
}

impl Lanes {
    fn new() -> prometheus::Result<Self> {
        let labels = ["receiver", "integration"];
        let waiting = Opts::new(
            "auditwatch_notifications_waiting",
            "Notifications that wait for their receiver.",
        );
        let oldest = Opts::new(
            "auditwatch_notifications_oldest_age_seconds",
            "How long the oldest notification has been waiting for its receiver.",
        );
        Ok(Self {
            watched: Arc::default(),
            waiting: IntGaugeVec::new(waiting, &labels)?,
            oldest: GaugeVec::new(oldest, &labels)?,
        })
    }
}

impl Collector for Lanes {
    fn desc(&self) -> Vec<&Desc> {
        let mut all = self.waiting.desc();
        all.extend(self.oldest.desc());
        all
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.waiting.reset();
        self.oldest.reset();
        let watched = self
            .watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for lane in watched.iter().filter_map(Weak::upgrade) {
            let (waiting, age) = lane.depth();
            let labels = [&*lane.name, lane.integration];
            self.waiting.with_label_values(&labels).set(waiting as i64);
            self.oldest
                .with_label_values(&labels)
                .set(age.as_secs_f64());
        }
        let mut all = self.waiting.collect();
        all.extend(self.oldest.collect());
        all
    }
}
