//! What is counted about the files of one source.

use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::follow::Change;
use crate::source::SourceMetrics;

/// The metrics of one source's files.
pub(super) struct Counts {
    pub(super) received_bytes: IntCounter,
    pub(super) lag_seconds: IntGauge,
    pub(super) lag_bytes: IntGauge,
    changes: IntCounterVec,
    source: String,
}

impl Counts {
    pub(super) fn new(metrics: &SourceMetrics, source: &str) -> Self {
        for change in Change::NAMES {
            metrics
                .file_changes
                .with_label_values(&[source, change])
                .inc_by(0);
        }
        Self {
            received_bytes: metrics.received_bytes.with_label_values(&[source]),
            lag_seconds: metrics.lag_seconds.with_label_values(&[source]),
            lag_bytes: metrics.lag_bytes.with_label_values(&[source]),
            changes: metrics.file_changes.clone(),
            source: source.to_owned(),
        }
    }

    pub(super) fn change(&self, change: &str) {
        self.changes
            .with_label_values(&[self.source.as_str(), change])
            .inc();
    }
}
