//! How a request ended, told apart as a defender needs it.

use super::{Event, Slot, json};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered with 1xx, 2xx or 3xx.
    Allowed,
    /// 403 by the authorizer: the caller lacks the right.
    Forbidden,
    /// 403 after the authorizer allowed it: admission, Pod Security, the RBAC escalation check,
    /// quota, a namespace that ends.
    Refused,
    /// 401: the credential was no good. Such events have no user and exist at ResponseStarted
    /// only.
    Unauthenticated,
    /// 404.
    NotFound,
    /// Any other code from 400: conflicts, invalid objects, overload, server errors, panics.
    Failed,
    /// No response yet, as at RequestReceived.
    Pending,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Allowed,
        Self::Forbidden,
        Self::Refused,
        Self::Unauthenticated,
        Self::NotFound,
        Self::Failed,
        Self::Pending,
    ];

    /// As rules and alerts spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::Unauthenticated => "unauthenticated",
            Self::NotFound => "not-found",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

/// The annotation that holds the authorizer's word: `allow` or `forbid`.
pub(super) const DECISION: &str = "authorization.k8s.io/decision";

impl Event<'_> {
    /// How the request ended.
    pub fn outcome(&self) -> Outcome {
        match self.code() {
            None => Outcome::Pending,
            Some(401) => Outcome::Unauthenticated,
            Some(403) => {
                let annotations = self.slots().raw(Slot::Annotations);
                let decision = json::member(annotations, DECISION);
                // A denied impersonation is refused before any decision is noted.
                if decision == Some("\"allow\"") {
                    Outcome::Refused
                } else {
                    Outcome::Forbidden
                }
            }
            Some(404) => Outcome::NotFound,
            Some(code) if code >= 400 => Outcome::Failed,
            Some(_) => Outcome::Allowed,
        }
    }
}
