//! Silences: who asked for quiet about what, from when until when, and why.

use serde::{Deserialize, Serialize};

use super::{Labels, Matchers};
use crate::units::{Span, Time};

/// Where a silence is in its life, in Alertmanager's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It holds.
    Active,
    /// It will hold.
    Pending,
    /// It held.
    Expired,
}

impl Phase {
    /// As JSON spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Expired => "expired",
        }
    }
}

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
    /// For how long one that has expired can still be looked up.
    pub const KEPT: Span = Span::from_secs(5 * 24 * 3600);
    /// How many there are at most, the expired ones among them.
    pub const SILENCES_MAX: usize = 2_000;

    /// Where it is in its life.
    pub fn phase(&self, now: Time) -> Phase {
        if now >= self.ends_at {
            Phase::Expired
        } else if now < self.starts_at {
            Phase::Pending
        } else {
            Phase::Active
        }
    }

    /// Whether it holds at this moment.
    pub fn is_active(&self, now: Time) -> bool {
        self.phase(now) == Phase::Active
    }

    /// Whether it would hide any alert at all: matchers that even an alert without labels meets
    /// name nothing.
    pub fn is_boundless(&self) -> bool {
        self.matchers.matches(&Labels::default())
    }
}
