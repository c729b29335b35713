//! What a rule says about itself: identity, severity and the words that alerts carry.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How urgent a rule's alerts are: Sigma's `level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "Sigma's own five words")]
pub enum Severity {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    /// From least to most urgent.
    pub const ALL: [Self; 5] = [
        Self::Informational,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// As rules and alerts spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads Sigma's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|severity| severity.name() == text)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Identity and words of one rule or correlation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleMeta {
    /// Sigma `id` (a UUID); the name when the rule has no id.
    pub id: String,
    /// Sigma `name`, else the file's stem: `forbidden-burst`. Unique; metrics label.
    pub name: String,
    /// Sigma `title`.
    pub title: String,
    /// Sigma `description`; may be empty.
    pub description: String,
    /// Sigma `status` as written; may be empty.
    pub status: String,
    /// Sigma `level`; informational when absent, as Sigma says nothing.
    pub severity: Severity,
    /// Sigma `tags`.
    pub tags: Vec<String>,
    /// `runbook` of the `auditwatch` block: where it stands what to do.
    pub runbook: Option<String>,
    /// Sigma `references`: links for whoever reads the alert.
    pub references: Vec<String>,
    /// Sigma `falsepositives`.
    pub false_positives: Vec<String>,
}
