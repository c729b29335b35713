//! No secret that an audit log holds leaves the process, whatever is shown of the event.

use crate::program::{answer, program};

/// Made-up secrets, each in a place where audit logs really carry them.
const SECRETS: [&str; 6] = [
    "eyJhbGciOiJSUzI1NiIsImtpZCI6IkFCQyJ9.eyJpc3MiOiJrdWJlIiwic3ViIjoiY2FuYXJ5In0.c2lnbmF0dXJl",
    "CanaryPassw0rd",
    "Q2FuYXJ5LXNlY3JldC12YWx1ZQ==",
    "CanaryPlainValue",
    "CanaryBearer123456",
    "AKIACANARY1234567890",
];

fn event(id: &str, verb: &str, uri: &str, rest: &str) -> String {
    format!(
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"RequestResponse\",\
         \"auditID\":\"{id}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"{uri}\",\
         \"verb\":\"{verb}\",\"sourceIPs\":[\"203.0.113.7\"],\
         \"requestReceivedTimestamp\":\"2026-11-23T11:05:17.800000Z\",\
         \"stageTimestamp\":\"2026-11-23T11:05:17.835410Z\",{rest}}}\n"
    )
}

/// Events with a secret in the URI, the user agent, the user's name, bodies and annotations.
fn log() -> String {
    let [jwt, password, data, plain, bearer, aws] = SECRETS;
    let user = |name: &str| {
        format!("\"user\":{{\"username\":\"{name}\",\"groups\":[\"system:authenticated\"]}}")
    };
    let ok = "\"responseStatus\":{\"metadata\":{},\"code\":200}";
    let target = |resource: &str, more: &str| {
        format!(
            "\"objectRef\":{{\"resource\":\"{resource}\",\"namespace\":\"kube-system\",\"apiVersion\":\"v1\"{more}}}"
        )
    };
    let exec = format!(
        "/api/v1/namespaces/kube-system/pods/p/exec?command=curl&command=-H&\
         command=Authorization%3A+Bearer+{bearer}&command=--password%3D{password}&command={jwt}&command={aws}"
    );
    let secret = |kind: &str| {
        format!(
            "\"{kind}\":{{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"s\",\
             \"annotations\":{{\"kubernetes.io/service-account.name\":\"x\",\
             \"kubectl.kubernetes.io/last-applied-configuration\":\"data {data} {plain}\"}}}},\
             \"type\":\"kubernetes.io/service-account-token\",\
             \"data\":{{\"value\":\"{data}\"}},\"stringData\":{{\"plain\":\"{plain}\"}}}}"
        )
    };
    let review = format!(
        "\"requestObject\":{{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\
         \"spec\":{{\"token\":\"{jwt}\"}}}}"
    );
    let minted = format!(
        "\"responseObject\":{{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/v1\",\
         \"status\":{{\"token\":\"{jwt}\"}}}}"
    );
    [
        event(
            "exec",
            "create",
            &exec,
            &[
                user("mallory"),
                target("pods", ",\"name\":\"p\",\"subresource\":\"exec\""),
                format!("\"userAgent\":\"curl/8 token={plain} Bearer {bearer}\""),
                ok.to_owned(),
            ]
            .join(","),
        ),
        event(
            "secret",
            "create",
            &format!("/api/v1/namespaces/kube-system/secrets?token={plain}"),
            &[
                user("mallory"),
                target("secrets", ",\"name\":\"s\""),
                secret("requestObject"),
                secret("responseObject"),
                ok.to_owned(),
            ]
            .join(","),
        ),
        event(
            "list",
            "list",
            "/api/v1/secrets",
            &[
                user(jwt),
                "\"objectRef\":{\"resource\":\"secrets\",\"apiVersion\":\"v1\"}".to_owned(),
                secret("responseObject"),
                "\"userAgent\":\"kubectl/v1.37\"".to_owned(),
                ok.to_owned(),
            ]
            .join(","),
        ),
        event(
            "review",
            "create",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            &[
                user("mallory"),
                "\"objectRef\":{\"resource\":\"tokenreviews\",\"apiGroup\":\"authentication.k8s.io\"}".to_owned(),
                review,
                ok.to_owned(),
            ]
            .join(","),
        ),
        event(
            "minted",
            "create",
            "/api/v1/namespaces/kube-system/serviceaccounts/x/token",
            &[
                user("mallory"),
                target("serviceaccounts", ",\"name\":\"x\",\"subresource\":\"token\""),
                minted,
                ok.to_owned(),
            ]
            .join(","),
        ),
        event(
            "refused",
            "get",
            &format!("/api?access_token={plain}"),
            &[
                format!("\"userAgent\":\"{jwt}\""),
                "\"user\":{}".to_owned(),
                format!("\"responseStatus\":{{\"code\":401,\"message\":\"bad token {jwt}\"}}"),
            ]
            .join(","),
        ),
    ]
    .concat()
}

/// A rule that fires on each event and names whatever it can of it.
const NOSY: &str = r#"
title: Nosy
name: nosy
logsource: {product: kubernetes, service: audit}
detection:
  data:
    requestObject.data.value|exists: true
  text:
    requestObject.stringData.plain|contains: Canary
  token:
    requestObject.spec.token|startswith: eyJ
  minted:
    responseObject.status.token|startswith: eyJ
  applied:
    requestObject.metadata.annotations.kubectl.kubernetes.io/last-applied-configuration|contains: data
  command:
    exec.command|contains: curl
  user:
    user.username|contains: eyJ
  agent:
    userAgent|contains: [eyJ, curl]
  uri:
    requestURI|contains: token
  condition: 1 of *
level: high
auditwatch:
  summary: "{{ exec.command }} {{ requestURI }} {{ userAgent }} {{ user.username }} {{ requestObject.data.value }} {{ requestObject.stringData.plain }} {{ requestObject.spec.token }} {{ responseObject.status.token }} {{ responseStatus.message }} {{ requestObject.metadata.annotations.kubectl.kubernetes.io/last-applied-configuration }}"
  respond: ["echo {{ requestObject.stringData.plain }} {{ requestObject.spec.token }} {{ exec.command }}"]
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
    for id in ["exec", "secret", "list", "review", "minted", "refused"] {
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
    let torn: String = log().lines().map(|line| format!("x{line}\n")).collect();
    let answer = answer(program().args(["replay", "-"]), torn.as_bytes());
    assert!(answer.stderr.contains("rejected"), "{}", answer.stderr);
    holds_no_secret("stdout", &answer.stdout);
    holds_no_secret("stderr", &answer.stderr);
}
