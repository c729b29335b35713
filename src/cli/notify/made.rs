//! Alerts made on the spot, as the pipeline makes them: by rules and events.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    alert::{self, Alert, Change, Status},
    cli::Failure,
    decode::{Decoded, Framer, Limits, each_event},
    detect::{self, Observer, SourceId},
    diagnostic::SourceFile,
    event::{Context, Event},
    pipeline::{Judge, clock},
    rule::{Layer, RuleSet, shipped_rules},
};

/// What the test alert is made of.
const RULE: &str = "
title: Test of auditwatch, nothing happened
id: 5d1c1a56-3f3e-4a3e-9f0a-6f1b8a7c2e11
name: auditwatch-test
description: Somebody ran `auditwatch notify test`. There is nothing to do.
logsource: {product: kubernetes, service: audit}
detection: {selection: {objectRef.name: auditwatch-test}, condition: selection}
level: low
auditwatch:
  summary: This is a test of auditwatch. Nothing happened, and there is nothing to do.
";

/// A service account that makes another one cluster-admin, from the internet.
const SAMPLE: &str = include_str!("sample.jsonl");

fn event(stamp: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"auditwatch-test-{stamp}","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/default/configmaps/auditwatch-test","verb":"get","user":{{"username":"auditwatch-test"}},"sourceIPs":["192.0.2.1"],"userAgent":"auditwatch/{}","objectRef":{{"resource":"configmaps","namespace":"default","name":"auditwatch-test","apiVersion":"v1"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"{stamp}","stageTimestamp":"{stamp}"}}"#,
        env!("CARGO_PKG_VERSION")
    )
}

/// An alert that says that it is a test.
pub(super) fn test_alert() -> Result<Arc<Alert>, Failure> {
    let rules = [SourceFile::new("auditwatch-test.yml", RULE)];
    made("", rules, &event(&clock().to_string()))
}

/// An alert as an attack makes it, by a rule that is shipped.
pub(super) fn sample() -> Result<Arc<Alert>, Failure> {
    made("prod-eu", shipped_rules(), SAMPLE)
}

/// The most severe alert that comes of these lines.
fn made(
    cluster: &str,
    rules: impl IntoIterator<Item = SourceFile>,
    lines: &str,
) -> Result<Arc<Alert>, Failure> {
    let loaded =
        RuleSet::load(&[Layer::new(rules)]).map_err(|report| Failure::Wrong(report.to_string()))?;
    let rules = Arc::new(loaded.set);
    let mut observer = Observer::new(Arc::clone(&rules));
    let mut judge = Judge::new(
        rules,
        detect::Settings::default(),
        alert::Settings::default(),
    );
    let context = Context {
        cluster: cluster.to_owned(),
        ..Context::default()
    };
    let mut changes = Vec::new();
    let mut framer = Framer::new(Limits::default());
    framer.feed(&Bytes::copy_from_slice(lines.as_bytes()));
    framer.finish();
    while let Some(block) = framer.next_block() {
        each_event(&block, &mut |decoded| {
            if let Decoded::Event(slots, line) = decoded {
                let observation = observer.observe(&Event::new(slots, line, &context));
                judge.take(SourceId(0), &observation, None, &mut |_| {}, &mut changes);
            }
        });
    }
    let alerts = changes.iter().map(Change::alert);
    let worst = alerts.max_by_key(|alert| alert.severity());
    worst
        .cloned()
        .ok_or_else(|| Failure::Failed("no rule sees the event that is made up".to_owned()))
}

/// That it fires and, where that is told, that it is over.
pub(super) fn life(alert: &Arc<Alert>, is_over_told: bool) -> Vec<Change> {
    let mut changes = vec![Change::Fired(Arc::clone(alert))];
    if is_over_told {
        let mut over = Alert::clone(alert);
        over.status = Status::Resolved;
        over.ends_at = Some(over.last_seen_at);
        changes.push(Change::Resolved(Arc::new(over)));
    }
    changes
}
