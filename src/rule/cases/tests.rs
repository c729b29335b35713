//! Tests of case files: what is filled in, repeated, and refused.

use super::*;

fn read(text: &str) -> (Vec<Case>, String) {
    let problems = Problems::new();
    let file = Arc::new(SourceFile::new("r.cases.yml", text));
    let cases = read_cases(&file, &problems);
    (cases, problems.into_report().to_string())
}

fn event(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn an_event_is_what_differs() {
    let (cases, report) = read(
        "cases:
  - name: one after the other
    events:
      - {verb: list, objectRef.resource: secrets, at: 1m, repeat: 3, every: 5s, objectRef.namespace: 'ns-{n}'}
      - user: {username: 'system:serviceaccount:ci:runner', extra: {a.b/c: x}}
        responseStatus.code: 403
        annotations: {my.own/key: v}
        requestObject.spec.hostNetwork: true
        sourceIPs: [10.0.0.1]
      - {responseStatus.code: 401, requestURI: /api, userAgent: curl/8.14.1}
    expect: [{rule: a, principal: b, count: 3, level: high}]
  - {name: nothing, events: [{objectRef.namespace: null}], expect: none}
",
    );
    assert_eq!(report, "");
    let lines = &cases[0].lines;
    assert_eq!(
        lines[1],
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"00000000-0000-4000-8000-000100000001","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/ns-2/secrets","verb":"list","user":{"groups":["system:authenticated"],"username":"alice@acme.example"},"sourceIPs":["203.0.113.11"],"userAgent":"kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7","objectRef":{"apiVersion":"v1","namespace":"ns-2","resource":"secrets"},"responseStatus":{"code":200,"metadata":{}},"requestReceivedTimestamp":"2026-01-05T09:01:05.000000Z","stageTimestamp":"2026-01-05T09:01:05.002000Z","annotations":{"authorization.k8s.io/decision":"allow"}}"#
    );
    let refused = event(&lines[3]);
    assert_eq!(
        refused["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    assert_eq!(refused["annotations"]["my.own/key"], "v");
    assert_eq!(refused["user"]["groups"][1], "system:serviceaccounts:ci");
    assert_eq!(refused["user"]["extra"]["a.b/c"][0], "x");
    assert_eq!(
        (
            &refused["level"],
            &refused["requestObject"]["spec"]["hostNetwork"]
        ),
        (&"Request".into(), &true.into())
    );
    let unknown = event(&lines[4]);
    assert_eq!(
        (&unknown["stage"], &unknown["user"]),
        (&"ResponseStarted".into(), &serde_json::json!({}))
    );
    assert!(unknown.get("objectRef").is_none() && unknown["annotations"] == serde_json::json!({}));
    let expected = &cases[0].expected[0];
    assert_eq!(
        (expected.count, expected.level),
        (Some(3), Some(Severity::High))
    );
    assert_eq!(
        event(&cases[1].lines[0])["requestURI"],
        "/api/v1/configmaps"
    );
    assert!(cases[1].expected.is_empty());
}

#[test]
fn audit_ids_and_repeats_are_distinct() {
    let (cases, _) = read(
        "cases: [{name: a, events: [{repeat: 300}, {repeat: 300}], expect: none}, {name: b, events: [{}], expect: none}]",
    );
    let mut ids: Vec<_> = cases
        .iter()
        .flat_map(|case| &case.lines)
        .map(|line| event(line)["auditID"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 601);
}

#[test]
fn says_what_is_wrong() {
    for (text, expected) in [
        ("case: []", "a case file has no key `case`"),
        (
            "cases: [{events: [{}], expect: none}]",
            "a case needs `name`",
        ),
        ("cases: [{name: a, expect: none}]", "a case needs `events`"),
        ("cases: [{name: a, events: [{}]}]", "a case needs `expect`"),
        (
            "cases: [{name: a, events: [{vreb: get}], expect: none}]",
            "error[unknown-field]",
        ),
        (
            "cases: [{name: a, events: [{principal: bob}], expect: none}]",
            "error[bad-case]: `principal` is not written into an event",
        ),
        (
            "cases: [{name: a, events: [{verb: [get]}], expect: none}]",
            "`verb` cannot have a value of this type",
        ),
        (
            "cases: [{name: a, events: [{repeat: 20000}, {repeat: 2}], expect: none}]",
            "at most 20000 events",
        ),
        (
            "cases: [{name: a, events: [{}], expect: some}]",
            "`expect` must be `none` or a list",
        ),
        (
            "cases: [{name: a, events: [{}], expect: [{rul: x}]}]",
            "did you mean `rule`?",
        ),
    ] {
        let (cases, report) = read(text);
        assert!(report.contains(expected), "{text}\n{report}");
        assert!(cases.is_empty(), "{text}");
    }
}
