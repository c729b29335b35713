//! Silences: who asked for quiet about what, from when until when, and why.

use serde::{Deserialize, Serialize};

use super::{Labels, Matchers};
use crate::units::Time;

/// Quiet about the alerts that its matchers match, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Unique; messages about a hidden alert name it.
    pub id: Box<str>,
    /// Which alerts it hides. Empty would hide all and is refused where silences are made.
    pub matchers: Matchers,
    /// From this moment on.
    pub starts_at: Time,
    /// Until this moment, which is not within it.
    pub ends_at: Time,
    /// Who made it.
    pub created_by: Box<str>,
    /// Why.
    pub comment: Box<str>,
}

impl Silence {
    /// Whether it holds at this moment.
    pub fn is_active(&self, now: Time) -> bool {
        self.starts_at <= now && now < self.ends_at
    }

    /// Whether it hides an alert with these labels at this moment.
    pub fn hides(&self, labels: &Labels, now: Time) -> bool {
        self.is_active(now) && self.matchers.matches(labels)
    }
}
