//! The live view of open alerts: one thread writes it, whoever asks reads it.

use std::sync::Arc;

use dashmap::DashMap;

use crate::{
    alert::{Alert, Change},
    rule::Severity,
};

/// The alerts that are open, each as people were last told about it.
#[derive(Debug, Default)]
pub struct LiveAlerts(DashMap<Box<str>, Arc<Alert>>);

impl LiveAlerts {
    /// Takes a change over.
    pub(super) fn apply(&self, change: &Change) {
        let alert = change.alert();
        match change {
            Change::Fired(_) | Change::Updated(_) => {
                self.0.insert(alert.id.clone(), Arc::clone(alert));
            }
            Change::Resolved(_) => {
                self.0.remove(&alert.id);
            }
        }
    }

    /// The open alert of an id.
    pub fn find(&self, id: &str) -> Option<Arc<Alert>> {
        self.0.get(id).map(|entry| Arc::clone(entry.value()))
    }

    /// How many alerts are open.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The open alerts of at least this level: the most severe first, then the latest; at most
    /// `most`.
    pub fn list(&self, level_min: Severity, most: usize) -> Vec<Arc<Alert>> {
        let mut alerts: Vec<Arc<Alert>> = self
            .0
            .iter()
            .map(|entry| Arc::clone(entry.value()))
            .filter(|alert| alert.severity() >= level_min)
            .collect();
        alerts.sort_unstable_by(|one, other| {
            (other.severity(), other.starts_at, &other.id).cmp(&(
                one.severity(),
                one.starts_at,
                &one.id,
            ))
        });
        alerts.truncate(most);
        alerts
    }
}
