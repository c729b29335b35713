//! What the store counts.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Result};

use super::{outbox::Count, trouble::Reason};
use crate::telemetry::{self, catalogue};

/// The store's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) seconds: Histogram,
    pub(super) last_success: IntGauge,
    pub(super) rows: IntCounter,
    pub(super) bytes: IntGauge,
    pub(super) forgotten: IntCounter,
    pub(super) purged: IntCounter,
    failed: IntCounterVec,
    outbox: IntGaugeVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(metrics: &telemetry::Metrics) -> Result<Self> {
        let failed = metrics.counters(&catalogue::CHECKPOINTS_FAILED)?;
        for reason in Reason::ALL {
            failed.with_label_values(&[reason.name()]).inc_by(0);
        }
        Ok(Self {
            seconds: metrics.durations(&catalogue::CHECKPOINT_SECONDS)?,
            last_success: metrics.gauge(&catalogue::CHECKPOINT_LAST_SUCCESS)?,
            rows: metrics.counter(&catalogue::CHECKPOINT_ROWS)?,
            bytes: metrics.gauge(&catalogue::STORE_BYTES)?,
            forgotten: metrics.counter(&catalogue::OUTBOX_FORGOTTEN)?,
            purged: metrics.counter(&catalogue::HISTORY_PURGED)?,
            failed,
            outbox: metrics.gauges(&catalogue::OUTBOX_MESSAGES)?,
        })
    }

    pub(super) fn failed(&self, reason: Reason) {
        self.failed.with_label_values(&[reason.name()]).inc();
    }

    /// Shows how many there are; receivers that have none any more show none.
    pub(super) fn outbox(
        &self,
        counts: &[Count],
        receivers: impl Iterator<Item = impl AsRef<str>>,
    ) {
        self.outbox.reset();
        for receiver in receivers {
            for standing in ["waiting", "dead"] {
                let labels = [receiver.as_ref(), standing];
                self.outbox.with_label_values(&labels).set(0);
            }
        }
        for count in counts {
            for (standing, number) in [("waiting", count.waiting), ("dead", count.dead)] {
                let labels = [count.receiver.as_str(), standing];
                self.outbox.with_label_values(&labels).set(number as i64);
            }
        }
    }
}
