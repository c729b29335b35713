//! What every source counts.

use prometheus::{IntCounterVec, IntGaugeVec, Result};

use crate::telemetry::{Metrics, catalogue};

/// Metrics of all sources; each takes the values of its own name.
#[derive(Clone)]
pub struct SourceMetrics {
    pub(super) received_bytes: IntCounterVec,
    pub(super) lag_seconds: IntGaugeVec,
    pub(super) lag_bytes: IntGaugeVec,
    pub(super) file_changes: IntCounterVec,
    pub(super) requests: IntCounterVec,
    pub(super) connections: IntGaugeVec,
    pub(super) connections_refused: IntCounterVec,
}

impl SourceMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(metrics: &Metrics) -> Result<Self> {
        Ok(Self {
            received_bytes: metrics.counters(&catalogue::SOURCE_RECEIVED_BYTES)?,
            lag_seconds: metrics.gauges(&catalogue::SOURCE_LAG_SECONDS)?,
            lag_bytes: metrics.gauges(&catalogue::SOURCE_LAG_BYTES)?,
            file_changes: metrics.counters(&catalogue::SOURCE_FILE_CHANGES)?,
            requests: metrics.counters(&catalogue::WEBHOOK_REQUESTS)?,
            connections: metrics.gauges(&catalogue::WEBHOOK_CONNECTIONS)?,
            connections_refused: metrics.counters(&catalogue::WEBHOOK_CONNECTIONS_REFUSED)?,
        })
    }
}
