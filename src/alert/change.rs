//! One alert, as it stood when people were told about it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Several, Shared};
use crate::{
    event::Facts,
    rule::{RuleMeta, Severity},
    units::Time,
};

/// Whether the alert still goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Status {
    /// It goes on, as far as we know.
    Firing,
    /// It was quiet for long enough, or had to make room.
    Resolved,
}

impl Status {
    /// As the JSON form spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// Detections with the same labels, folded. Times are event time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Names this alert for as long as it lives: 32 hex digits, made from the fingerprint and
    /// the moment it first fired at, so that reading the same events again makes the same id.
    pub id: Box<str>,
    /// Names the labels: 32 hex digits. The next alert about the same thing has the same one.
    pub fingerprint: Box<str>,
    /// Firing or resolved.
    pub status: Status,
    /// The rule whose detections these are.
    pub rule: Arc<RuleMeta>,
    /// The cluster that it is about; empty when nobody named it.
    pub cluster: Box<str>,
    /// What the rule groups by: (field, value). Empty for a rule that does not group.
    pub key: Vec<(Arc<str>, Box<str>)>,
    /// What all the evidence has in common.
    pub shared: Shared,
    /// Who was seen acting; `a (by b)` where b impersonated a.
    pub principals: Several,
    /// The addresses that were seen.
    pub origins: Several,
    /// The resources that were acted on, `pods/exec` where there is a subresource.
    pub resources: Several,
    /// The namespaces that were acted in.
    pub namespaces: Several,
    /// Time of the earliest evidence.
    pub starts_at: Time,
    /// Time of the latest evidence.
    pub last_seen_at: Time,
    /// The moment that this version of the alert tells about: the latest evidence when it fires,
    /// later for each update, [`ends_at`](Self::ends_at) or later when it resolves. No two
    /// versions with the same status have the same one.
    pub updated_at: Time,
    /// When it was over: `resolve_after` past the latest evidence, because only then was it known
    /// to be quiet; or the latest evidence itself when [`evicted`](Self::evicted).
    pub ends_at: Option<Time>,
    /// How many requests it is about.
    pub count: u64,
    /// How many of them came since people were last told.
    pub new: u64,
    /// Why it is odd, with numbers; from the latest detection.
    pub why: String,
    /// One sentence from the rule; from the latest detection. May be empty.
    pub summary: String,
    /// Commands for whoever reads it, which change nothing; the distinct ones of all detections, at most
    /// [`Alert::RESPOND_MAX`].
    pub respond: Vec<String>,
    /// The same for commands that change the cluster to stop what goes on. People are shown
    /// [`contain`](super::contain::commands), which has some for rules that have none.
    pub contain: Vec<String>,
    /// Requests in order of time, at most [`QUOTES_MAX`](super::QUOTES_MAX): all, or the first, the
    /// last and the first of each kind.
    pub evidence: Vec<Arc<Facts>>,
    /// There were more than are quoted.
    pub is_thinned: bool,
    /// It was resolved before it was quiet, to make room for others.
    pub evicted: bool,
}

impl Alert {
    /// How many commands are kept.
    pub const RESPOND_MAX: usize = 8;

    /// How urgent it is: its rule's level.
    pub fn severity(&self) -> Severity {
        self.rule.severity
    }
}

/// What happened to an alert, with the whole alert as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// It is new.
    Fired(Arc<Alert>),
    /// It goes on, and something about it is new.
    Updated(Arc<Alert>),
    /// It is over.
    Resolved(Arc<Alert>),
}

impl Change {
    /// The alert as it is now.
    pub fn alert(&self) -> &Arc<Alert> {
        match self {
            Self::Fired(alert) | Self::Updated(alert) | Self::Resolved(alert) => alert,
        }
    }
}
