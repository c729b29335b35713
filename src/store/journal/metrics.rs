//! What a journal counts.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result};

use crate::telemetry::{Metrics, catalogue};

/// Seconds that the disk takes to keep a group of bodies.
const SYNC_BUCKETS: [f64; 12] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0,
];
/// Bodies that are written together.
const GROUP_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 512.0, 4096.0];

/// The reasons for which a journal takes nothing: the disk's, and its own backlog.
const REASONS: [&str; 5] = ["backlog", "io", "no_space", "permission", "read_only"];

/// Metrics of all journals; each takes the values of its own webhook.
#[derive(Clone)]
pub struct JournalMetrics {
    written_bytes: IntCounterVec,
    sync_seconds: Histogram,
    group_bodies: Histogram,
    segments: IntGaugeVec,
    bytes: IntGaugeVec,
    backlog_bytes: IntGaugeVec,
    backlog_seconds: IntGaugeVec,
    failures: IntCounterVec,
    damaged_bytes: IntCounterVec,
}

impl JournalMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self> {
        Ok(Self {
            written_bytes: metrics.counters(&catalogue::JOURNAL_WRITTEN_BYTES)?,
            sync_seconds: metrics.histogram(&catalogue::JOURNAL_SYNC_SECONDS, &SYNC_BUCKETS)?,
            group_bodies: metrics.histogram(&catalogue::JOURNAL_GROUP_BODIES, &GROUP_BUCKETS)?,
            segments: metrics.gauges(&catalogue::JOURNAL_SEGMENTS)?,
            bytes: metrics.gauges(&catalogue::JOURNAL_BYTES)?,
            backlog_bytes: metrics.gauges(&catalogue::JOURNAL_BACKLOG_BYTES)?,
            backlog_seconds: metrics.gauges(&catalogue::JOURNAL_BACKLOG_SECONDS)?,
            failures: metrics.counters(&catalogue::JOURNAL_FAILURES)?,
            damaged_bytes: metrics.counters(&catalogue::JOURNAL_DAMAGED_BYTES)?,
        })
    }

    /// Those of one journal.
    pub(super) fn of(&self, source: &str) -> Counts {
        let name = &[source];
        for reason in REASONS {
            let labels = &[source, reason];
            self.failures.with_label_values(labels).inc_by(0);
        }
        Counts {
            written_bytes: self.written_bytes.with_label_values(name),
            sync_seconds: self.sync_seconds.clone(),
            group_bodies: self.group_bodies.clone(),
            segments: self.segments.with_label_values(name),
            bytes: self.bytes.with_label_values(name),
            backlog_bytes: self.backlog_bytes.with_label_values(name),
            backlog_seconds: self.backlog_seconds.with_label_values(name),
            damaged_bytes: self.damaged_bytes.with_label_values(name),
            failures: self.failures.clone(),
            source: source.to_owned(),
        }
    }
}

/// Metrics of one journal.
#[derive(Clone)]
pub(super) struct Counts {
    pub(super) written_bytes: IntCounter,
    pub(super) sync_seconds: Histogram,
    pub(super) group_bodies: Histogram,
    pub(super) segments: IntGauge,
    pub(super) bytes: IntGauge,
    pub(super) backlog_bytes: IntGauge,
    pub(super) backlog_seconds: IntGauge,
    pub(super) damaged_bytes: IntCounter,
    failures: IntCounterVec,
    source: String,
}

impl Counts {
    /// Bodies that were refused, for one of the reasons.
    pub(super) fn refused(&self, reason: &'static str, bodies: usize) {
        let labels = &[self.source.as_str(), reason];
        self.failures
            .with_label_values(labels)
            .inc_by(bodies as u64);
    }
}
