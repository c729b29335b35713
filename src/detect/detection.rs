//! A detection: a rule's full condition met, with the evidence that met it.

use std::sync::Arc;

use crate::{event::Facts, rule::RuleMeta, units::Time};

/// One step of a rule being met. The first for a key crosses the rule's threshold; while the
/// burst lasts each further contributing event makes another, and `alert` folds them.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// The rule whose condition is met.
    pub rule: Arc<RuleMeta>,
    /// What the rule groups by, in the rule's order: (field, value). Empty for a rule that does
    /// not group.
    pub key: Vec<(Arc<str>, Box<str>)>,
    /// Requests that count for the first time with this detection, in event-time order; at least
    /// one. At a crossing these are all that the window holds.
    pub evidence: Vec<Arc<Facts>>,
    /// How many requests count for the first time: `evidence.len()`, or more where the window
    /// keeps only the last few.
    pub count: u64,
    /// Why it is odd, with numbers: `37 requests refused within 1m (threshold 10)`.
    pub why: String,
    /// The rule's `auditwatch.summary` filled in; empty when it has none.
    pub summary: String,
    /// The rule's `auditwatch.respond` commands filled in.
    pub respond: Vec<String>,
    /// The rule's `auditwatch.contain` commands filled in.
    pub contain: Vec<String>,
}

impl Detection {
    /// Event time of the newest evidence.
    pub fn time(&self) -> Time {
        self.evidence
            .iter()
            .map(|facts| facts.evidence.time)
            .max()
            .unwrap_or(Time::MIN)
    }
}
