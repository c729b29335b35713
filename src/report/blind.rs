//! A blind rule as a JSON object, for scripts and the admin endpoint.

use serde_json::{Value, json};

use crate::detect::Blind;

/// One object: the rule, how blind it is and why, and what the audit policy would have to record.
pub fn blind_json(blind: &Blind) -> Value {
    let missing: Vec<Value> = blind
        .missing
        .iter()
        .map(|(kind, level)| {
            json!({
                "verb": kind.verb,
                "group": kind.group,
                "resource": kind.path(),
                "needs": level.name(),
            })
        })
        .collect();
    json!({
        "rule": blind.rule,
        "level": blind.severity.name(),
        "blind": blind.extent(),
        "reason": blind.reason(),
        "why": blind.why,
        "missing": missing,
    })
}
