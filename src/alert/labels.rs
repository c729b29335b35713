//! What identifies an alert: the labels of a detection, and the hashes made of them.

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_128;

use crate::{detect::Detection, event::Facts, units::Time};

/// The labels of a detection as one text in which no value can pose as another.
///
/// A rule that groups: rule, cluster and its key. One that does not: rule, cluster, effective
/// principal and namespace; and the address, when nobody proved who it was. Alerts are found by
/// this text and not by its hash, since callers of the API server choose most of it and could
/// look for two that collide.
pub(super) fn of(detection: &Detection, facts: &Facts) -> String {
    let mut text = String::new();
    let mut put = |value: &str| {
        // The length in front keeps "a","bc" apart from "ab","c". Writing to a String succeeds.
        let _ = write!(text, "{}:{value}", value.len());
    };
    put(&detection.rule.id);
    put(&facts.cluster);
    for (field, value) in &detection.key {
        put(field);
        put(value);
    }
    if detection.key.is_empty() {
        put(&facts.principal.name);
        put(facts.target.namespace.as_deref().unwrap_or_default());
        if matches!(facts.principal.kind, "anonymous" | "unauthenticated") {
            put(facts.origin.ip.as_deref().unwrap_or_default());
        }
    }
    text
}

/// 32 hex digits that stand for the labels.
pub(super) fn fingerprint(labels: &str) -> Box<str> {
    format!("{:032x}", xxh3_128(labels.as_bytes())).into()
}

/// 32 hex digits that stand for one life of an alert with these labels.
pub(super) fn id(labels: &str, starts_at: Time) -> Box<str> {
    let text = format!("{}@{labels}", starts_at.micros());
    format!("{:032x}", xxh3_128(text.as_bytes())).into()
}
