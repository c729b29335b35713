//! Why a message did not arrive, in words for logs and in few values for metrics.

use std::{fmt, time::Duration};

/// Why an attempt failed; a metrics label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The receiver says that the request is wrong (4xx other than those below).
    ClientError,
    /// The receiver has a problem of its own (5xx).
    ServerError,
    /// The receiver wants fewer messages (429).
    RateLimited,
    /// The receiver does not accept our credential (401, 403).
    AuthError,
    /// No answer in time.
    ContextDeadlineExceeded,
    /// The receiver was not reached, TLS among the causes.
    Connection,
    /// A file could not be written.
    WriteError,
}

impl Reason {
    /// All of them, so that metrics start at zero.
    pub const ALL: [Self; 7] = [
        Self::ClientError,
        Self::ServerError,
        Self::RateLimited,
        Self::AuthError,
        Self::ContextDeadlineExceeded,
        Self::Connection,
        Self::WriteError,
    ];

    /// As the metrics spell it; the first six are Alertmanager's words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientError => "clientError",
            Self::ServerError => "serverError",
            Self::RateLimited => "rateLimited",
            Self::AuthError => "authError",
            Self::ContextDeadlineExceeded => "contextDeadlineExceeded",
            Self::Connection => "connection",
            Self::WriteError => "writeError",
        }
    }
}

/// Why a message was given up; a metrics label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full and this was the oldest of the least severe.
    QueueFull,
    /// It got older than `age_max`.
    Expired,
    /// The receiver refused it for good.
    Rejected,
    /// The process had to stop.
    Shutdown,
}

impl DropReason {
    /// All of them, so that metrics start at zero.
    pub const ALL: [Self; 4] = [
        Self::QueueFull,
        Self::Expired,
        Self::Rejected,
        Self::Shutdown,
    ];

    /// As the metrics spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queueFull",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// An attempt that failed. What it displays never holds a URL or what the receiver wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For metrics.
    pub reason: Reason,
    /// Whether trying again cannot help.
    pub permanent: bool,
    /// How long the receiver asked us to wait.
    pub retry_after: Option<Duration>,
    /// What happened.
    pub what: String,
    /// What the operator should look at.
    pub check: &'static str,
    /// The receiver's answer as shown to people, for whoever tries it by
    /// hand; no log has it. Empty when there was none.
    pub answer: String,
}

impl Failure {
    /// A failure that may pass.
    pub fn passing(reason: Reason, what: impl Into<String>, check: &'static str) -> Self {
        Self {
            reason,
            permanent: false,
            retry_after: None,
            what: what.into(),
            check,
            answer: String::new(),
        }
    }

    /// A failure that stays.
    pub fn permanent(reason: Reason, what: impl Into<String>, check: &'static str) -> Self {
        Self {
            permanent: true,
            ..Self::passing(reason, what, check)
        }
    }
}

impl Failure {
    /// With what the receiver answered.
    pub(super) fn answered(self, answer: String) -> Self {
        Self { answer, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.check)
    }
}
