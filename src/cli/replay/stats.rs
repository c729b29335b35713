//! `--stats json`: one line of numbers for scripts and benchmarks.

use std::{fs, time::Duration};

use serde_json::{Map, Value, json};

use super::listener::Shown;
use crate::{detect, pipeline::replay::Report};

/// The line, without its end. received = evaluated + duplicate + rejected + late + dropped.
pub(super) fn line(
    report: &Report,
    shown: &Shown,
    engine: &detect::Stats,
    elapsed: Duration,
) -> String {
    let counts = &report.counts;
    let rejected: Map<String, Value> = counts
        .rejected()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (reason.name().to_owned(), count.into()))
        .collect();
    let dropped: Map<String, Value> = counts
        .dropped()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| (reason.to_owned(), count.into()))
        .collect();
    let rules: Map<String, Value> = shown
        .summary
        .rules()
        .map(|(rule, alerts, requests)| {
            let detections = shown.detections.get(&rule.name).copied().unwrap_or(0);
            let numbers =
                json!({ "alerts": alerts, "requests": requests, "detections": detections });
            (rule.name.clone(), numbers)
        })
        .collect();
    let seconds = elapsed.as_secs_f64();
    json!({
        "received": counts.received,
        "evaluated": counts.evaluated,
        "duplicate": counts.duplicate,
        "rejected": rejected,
        "late": counts.late,
        "dropped": dropped,
        "alerts": shown.summary.alerts(),
        "rules": rules,
        "seconds": (seconds * 1_000.0).round() / 1_000.0,
        "events_per_second": (counts.received as f64 / seconds.max(1e-9)).round(),
        "state": {
            "keys": engine.keys,
            "occurrences": engine.occurrences,
            "requests": engine.requests + engine.long_requests,
            "bytes": engine.bytes,
            "evicted": engine.keys_evicted + engine.values_evicted
                + engine.requests_evicted + engine.long_requests_evicted
                + engine.mintings_forgotten,
        },
        "peak_memory_bytes": peak_memory(),
    })
    .to_string()
}

/// The process' greatest resident size, where the system tells (Linux); null elsewhere.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024)
}
