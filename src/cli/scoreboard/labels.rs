//! The labels of a log: its scenarios, and which requests are part of which.

use std::{collections::BTreeSet, fs, path::Path};

use serde::Deserialize;

use crate::{cli::Failure, rule::Severity, units::Time};

/// Whether somebody should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// An attack: an alert is due.
    Attack,
    /// It only looks like one: no alert is due.
    Benign,
}

/// One scenario.
#[derive(Debug)]
pub(super) struct Scenario {
    /// Its name.
    pub(super) id: String,
    pub(super) kind: Kind,
    /// An alert of at least this severity is due; `None` when any will do, or none is due.
    pub(super) least_severity: Option<Severity>,
    /// The audit level that it takes to see it; may be empty.
    pub(super) needs_level: String,
    /// When its first request was made, if the labels say.
    pub(super) started: Option<Time>,
    /// The audit ids of its requests.
    pub(super) audit_ids: BTreeSet<String>,
}

#[derive(Deserialize)]
struct File {
    scenarios: Vec<Raw>,
}

/// A scenario as it is written; keys that only people read are passed over.
#[derive(Deserialize)]
struct Raw {
    id: String,
    kind: Kind,
    #[serde(default)]
    least_severity: String,
    #[serde(default)]
    needs_level: String,
    #[serde(default)]
    started: String,
    audit_ids: BTreeSet<String>,
}

/// Reads a file of labels.
///
/// # Errors
/// When it cannot be read or is no such file.
pub(super) fn read(path: &Path) -> Result<Vec<Scenario>, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::Unreadable(format!("{shown}: {error}")))?;
    let file: File = serde_json::from_str(&text).map_err(|error| {
        Failure::Wrong(format!(
            "{shown}: {error}\n  help: write {{\"scenarios\": [{{\"id\": …, \"kind\": \"attack\" or \
             \"benign\", \"least_severity\": …, \"audit_ids\": […]}}]}}"
        ))
    })?;
    file.scenarios
        .into_iter()
        .map(|raw| scenario(raw, &shown.to_string()))
        .collect()
}

fn scenario(raw: Raw, shown: &str) -> Result<Scenario, Failure> {
    let least_severity = match raw.least_severity.as_str() {
        "" | "none" => None,
        word => Some(Severity::parse(word).ok_or_else(|| {
            Failure::Wrong(format!(
                "{shown}: scenario `{}`: `{word}` is no severity\n  help: write informational, \
                 low, medium, high, critical or none",
                raw.id
            ))
        })?),
    };
    Ok(Scenario {
        id: raw.id,
        kind: raw.kind,
        least_severity,
        needs_level: raw.needs_level,
        started: Time::parse(&raw.started),
        audit_ids: raw.audit_ids,
    })
}
