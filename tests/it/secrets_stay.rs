//! No secret that an audit log holds leaves the process, whatever is shown of the event.

use serde_json::{Value, json};

use crate::program::{answer, program};

/// Made-up secrets, each in a place where audit logs really carry them.
const SECRETS: [&str; 7] = [
    "eyJhbGciOiJSUzI1NiIsImtpZCI6IkFCQyJ9.eyJpc3MiOiJrdWJlIiwic3ViIjoiY2FuYXJ5In0.c2lnbmF0dXJl",
    "CanaryPassw0rd",
    "Q2FuYXJ5LXNlY3JldC12YWx1ZQ==",
    "CanaryPlainValue",
    "CanaryBearer123456",
    "AKIACANARY1234567890",
    "opaque9canary9token",
];

/// An event line: what all have, and what makes this one.
fn event(id: &str, verb: &str, uri: &str, more: &Value) -> String {
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse",
        "auditID": id, "stage": "ResponseComplete", "requestURI": uri, "verb": verb,
        "user": {"username": "mallory", "groups": ["system:authenticated"]},
        "sourceIPs": ["203.0.113.7"], "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-23T11:05:17.800000Z",
        "stageTimestamp": "2026-11-23T11:05:17.835410Z",
    });
    for (key, value) in more.as_object().unwrap() {
        event[key] = value.clone();
    }
    format!("{event}\n")
}

fn target(resource: &str, subresource: &str, name: &str) -> Value {
    let namespace = "kube-system";
    json!({"resource": resource, "subresource": subresource, "namespace": namespace, "name": name})
}

/// A Secret with its data in all three places.
fn secret() -> Value {
    let [_, _, data, plain, ..] = SECRETS;
    let applied = format!("data {data} {plain}");
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": applied});
    json!({
        "kind": "Secret", "apiVersion": "v1", "type": "Opaque",
        "metadata": {"name": "s", "annotations": annotations},
        "data": {"value": data}, "stringData": {"plain": plain},
    })
}

/// Events with a secret in the URI, the user agent, the user's name, bodies and messages.
fn log() -> String {
    let [jwt, password, _, plain, bearer, aws, opaque] = SECRETS;
    let exec = format!(
        "/api/v1/namespaces/kube-system/pods/p/exec?command=curl&command=-H&command=Authorization\
         %3A+Bearer+{bearer}&command=--password%3D{password}&command={jwt}&command={aws}"
    );
    let agent = format!("curl/8 token={plain} Bearer {bearer}");
    let create = format!("/api/v1/namespaces/kube-system/secrets?token={plain}");
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let mint = "/api/v1/namespaces/kube-system/serviceaccounts/x/token";
    let path = format!("/api?access_token={plain}");
    let odd = format!("/api/v1/{jwt}");
    [
        ("exec", "create", &*exec, json!({"objectRef": target("pods", "exec", "p"), "userAgent": agent})),
        ("secret", "create", &create, json!({
            "objectRef": target("secrets", "", "s"), "requestObject": secret(), "responseObject": secret(),
        })),
        ("list", "list", "/api/v1/secrets", json!({
            "user": {"username": jwt}, "userAgent": "kubectl/v1.37", "objectRef": {"resource": "secrets"},
            "responseObject": {"kind": "SecretList", "items": [secret()]},
        })),
        ("review", "create", reviews, json!({
            "objectRef": {"resource": "tokenreviews", "apiGroup": "authentication.k8s.io"},
            "requestObject": {"kind": "TokenReview", "spec": {"token": opaque}},
        })),
        ("minted", "create", mint, json!({
            "objectRef": target("serviceaccounts", "token", "x"),
            "responseObject": {"kind": "TokenRequest", "status": {"token": opaque}},
        })),
        ("refused", "get", &path, json!({
            "user": {}, "userAgent": jwt,
            "responseStatus": {"code": 401, "message": format!("bad token {jwt}")},
        })),
        ("odd", "list", &odd, json!({"objectRef": target(jwt, "", jwt)})),
    ]
    .map(|(id, verb, uri, more)| event(id, verb, uri, &more))
    .concat()
}

/// A rule that fires on each event and names whatever it can of it.
const NOSY: &str = r#"
title: Nosy
name: nosy
logsource: {product: kubernetes, service: audit}
detection:
  body:
    - requestObject.data.value|exists: true
    - requestObject.stringData.plain|contains: Canary
    - requestObject.metadata.annotations.kubectl.kubernetes.io/last-applied-configuration|contains: data
    - requestObject.spec.token|contains: canary
    - responseObject.items.data.value|exists: true
    - responseObject.status.token|contains: canary
  head:
    - exec.command|contains: curl
    - user.username|contains: eyJ
    - userAgent|contains: [eyJ, curl]
    - requestURI|contains: [token, eyJ]
    - objectRef.resource|contains: eyJ
  condition: body or head
level: high
auditwatch:
  summary: "{{ exec.command }} {{ requestURI }} {{ userAgent }} {{ user.username }} {{ objectRef.resource }} {{ responseStatus.message }} {{ requestObject.spec.token }} {{ responseObject.status.token }} {{ responseObject.items.data.value }}"
  respond: ["echo {{ requestObject.data.value }} {{ requestObject.stringData.plain }} {{ requestObject.metadata.annotations.kubectl.kubernetes.io/last-applied-configuration }} {{ exec.command }}"]
"#;

fn holds_no_secret(place: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{place} shows {secret}:\n{text}");
        // Nor half of it: what is cut in the middle keeps its ends.
        assert!(
            !text.contains(&secret[..12.min(secret.len())]),
            "{place}: {secret}:\n{text}"
        );
    }
}

#[test]
fn no_output_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("nosy.yml"), NOSY).unwrap();
    let log = log();
    std::fs::write(folder.path().join("audit.log"), &log).unwrap();
    let run = |args: &[&str]| {
        let answer = answer(program().current_dir(folder.path()).args(args), b"");
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.stderr);
        holds_no_secret("stdout", &answer.stdout);
        holds_no_secret("stderr", &answer.stderr);
        answer.stdout
    };
    for output in ["text", "json"] {
        let found = run(&[
            "replay",
            "--rules",
            "nosy.yml",
            "--output",
            output,
            "audit.log",
        ]);
        assert!(found.contains("nosy"), "{found}");
        assert!(found.contains("[redacted]"), "{found}");
    }
    for id in [
        "exec", "secret", "list", "review", "minted", "refused", "odd",
    ] {
        let found = run(&[
            "explain",
            "nosy",
            "--rules",
            "nosy.yml",
            "--file",
            "audit.log",
            "--audit-id",
            id,
        ]);
        assert!(found.starts_with(&format!("{id} at ")), "{found}");
        assert!(found.contains("yes  nosy"), "{found}");
    }
}

#[test]
fn what_is_no_event_is_shown_without_its_secrets() {
    let torn = log();
    let torn: String = torn.lines().flat_map(|line| ["x", line, "\n"]).collect();
    let answer = answer(program().args(["replay", "-"]), torn.as_bytes());
    assert!(answer.stderr.contains("rejected"), "{}", answer.stderr);
    holds_no_secret("stdout", &answer.stdout);
    holds_no_secret("stderr", &answer.stderr);
}
