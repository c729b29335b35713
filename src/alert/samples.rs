//! Alerts and detections for the tests of this module and of those that show them.

use std::sync::Arc;

use super::{Alert, Alerts, Change, Settings};
use crate::{
    detect::Detection,
    event::{CredentialFacts, Evidence, Facts, Minting, OriginFacts, PrincipalFacts, TargetFacts},
    rule::{RuleMeta, Severity},
    units::{Span, Time},
};

/// A moment of 2026-11-23, counted from 11:05 UTC.
pub(crate) fn at(seconds: i64) -> Time {
    let noon = Time::parse("2026-11-23T11:05:00.00025Z").unwrap();
    Time::from_micros(noon.micros() + seconds * 1_000_000)
}

/// A refused read of a secret by a stolen service account.
pub(crate) fn facts_at(seconds: i64) -> Arc<Facts> {
    Arc::new(Facts {
        cluster: "prod-eu".into(),
        principal: Arc::new(PrincipalFacts {
            name: "system:serviceaccount:shop:web".into(),
            kind: "serviceaccount",
            impersonator: None,
            groups: vec![
                "system:serviceaccounts".into(),
                "system:authenticated".into(),
            ],
        }),
        credential: Some(Arc::new(CredentialFacts {
            id: "JTI=7d1e3c52-9f0a-4c0e-8a35-0d1f5a2b9e11".into(),
            kind: "token",
            minted: None,
        })),
        origin: Arc::new(OriginFacts {
            ip: Some("198.51.100.7".into()),
            scope: "public",
            client: "kubectl".into(),
            user_agent: "kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7".into(),
        }),
        target: TargetFacts {
            verb: "get".into(),
            resource: Some("secrets".into()),
            subresource: None,
            namespace: Some("payments".into()),
            name: Some(format!("key-{seconds}").into()),
        },
        evidence: Evidence {
            audit_id: format!("00000000-0000-4000-8000-{seconds:012}").into(),
            time: at(seconds),
            verb: "get".into(),
            uri: format!("/api/v1/namespaces/payments/secrets/key-{seconds}").into(),
            code: Some(403),
        },
    })
}

/// A rule of this level.
pub(crate) fn rule(severity: Severity) -> Arc<RuleMeta> {
    Arc::new(RuleMeta {
        id: "5c1f0e1e-burst".into(),
        name: "forbidden-burst".into(),
        title: "Many requests refused to one principal".into(),
        description: String::new(),
        status: "stable".into(),
        severity,
        tags: vec!["attack.t1613".into()],
        runbook: None,
        references: vec!["https://attack.mitre.org/techniques/T1613/".into()],
        false_positives: Vec::new(),
    })
}

/// A detection of the sample rule for one key, with one request a second.
pub(crate) fn detection(principal: &str, seconds: impl IntoIterator<Item = i64>) -> Detection {
    let evidence: Vec<_> = seconds.into_iter().map(facts_at).collect();
    let count = evidence.len() as u64;
    Detection {
        rule: rule(Severity::High),
        key: vec![("principal".into(), principal.into())],
        evidence,
        count,
        why: format!("{count} requests refused within 1m (threshold 3)"),
        summary: String::new(),
        respond: vec![format!("kubectl auth can-i --list --as='{principal}'")],
        contain: Vec::new(),
    }
}

/// A detection of a rule that does not group, about this request.
pub(crate) fn single(facts: Facts) -> Detection {
    let rule = Arc::new(RuleMeta {
        id: "77a0b2d4-admin".into(),
        name: "cluster-admin-binding".into(),
        title: "Somebody was made cluster-admin".into(),
        ..RuleMeta::clone(&rule(Severity::Critical))
    });
    Detection {
        rule,
        key: Vec::new(),
        evidence: vec![Arc::new(facts)],
        count: 1,
        why: "a binding to cluster-admin was created".into(),
        summary: "a new binding makes somebody cluster-admin".into(),
        respond: vec!["kubectl get clusterrolebinding breakglass -o yaml".into()],
        contain: vec!["kubectl delete clusterrolebinding breakglass".into()],
    }
}

/// What one detection makes.
pub(crate) fn fired(detection: Detection) -> Arc<Alert> {
    let mut out = Vec::new();
    Alerts::new(Settings::default()).fold(detection, &mut out);
    Arc::clone(out[0].alert())
}

/// An alert about `requests` refused reads, one a second.
pub(crate) fn burst(requests: i64) -> Arc<Alert> {
    fired(detection("system:serviceaccount:shop:web", 0..requests))
}

/// The same alert after another while and after it is over.
pub(crate) fn burst_changes() -> Vec<Change> {
    let mut out = Vec::new();
    let mut alerts = Alerts::new(Settings::default());
    alerts.fold(detection("system:serviceaccount:shop:web", 0..10), &mut out);
    alerts.fold(
        detection("system:serviceaccount:shop:web", 20..331),
        &mut out,
    );
    alerts.tick(at(331).plus(Span::from_secs(3600)), &mut out);
    out
}

/// An alert of which everything that a caller can choose is chosen to do harm.
pub(crate) fn hostile() -> Arc<Alert> {
    let evil = "<!channel>\u{1b}[2J\u{202e}*x*`y`\n& \u{9b}31m<https://evil.example|click>";
    let mut facts = Facts::clone(&facts_at(0));
    Arc::make_mut(&mut facts.principal).name = evil.into();
    Arc::make_mut(&mut facts.principal).impersonator = Some(evil.into());
    Arc::make_mut(&mut facts.principal).groups = vec![evil.into()];
    facts.credential = Some(Arc::new(CredentialFacts {
        id: evil.into(),
        kind: "other",
        minted: Some(Arc::new(Minting {
            by: evil.into(),
            at: at(-60),
            from: Some(evil.into()),
            audit_id: evil.into(),
            earlier: None,
        })),
    }));
    Arc::make_mut(&mut facts.origin).client = evil.into();
    Arc::make_mut(&mut facts.origin).user_agent = evil.into();
    facts.target.name = Some(evil.into());
    facts.target.namespace = Some(evil.into());
    facts.evidence.uri = evil.into();
    facts.evidence.audit_id = evil.into();
    let mut detection = single(facts);
    detection.summary = format!("{evil} did it");
    detection.why = evil.into();
    detection.respond = vec![format!("kubectl get '{evil}'")];
    detection.contain = vec![format!("kubectl delete '{evil}'")];
    fired(detection)
}

/// Failed logins from many addresses, and some more that went through.
pub(crate) fn spray() -> Arc<Alert> {
    let mut detection = detection("", 0..12);
    detection.key = Vec::new();
    detection.evidence = (0..12)
        .map(|n| {
            let mut facts = Facts::clone(&facts_at(n));
            Arc::make_mut(&mut facts.principal).name = format!("user-{n}@acme.example").into();
            Arc::make_mut(&mut facts.principal).kind = "user";
            facts.credential = None;
            Arc::make_mut(&mut facts.origin).ip = Some(format!("198.51.100.{}", n % 3 + 7).into());
            facts.target.resource = Some(["secrets", "pods", "nodes"][n as usize % 3].into());
            facts.target.namespace = (n % 2 == 0).then(|| format!("team-{n}").into());
            Arc::make_mut(&mut facts.origin).user_agent = format!("python-requests/2.{n}").into();
            Arc::make_mut(&mut facts.origin).client = "python".into();
            Arc::new(facts)
        })
        .collect();
    fired(detection)
}
