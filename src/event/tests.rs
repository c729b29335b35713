//! Tests of the typed view: what is derived from real and crafted events.

use super::*;

/// Fills the slots by the module's own reader; `decode` has the real one.
pub(crate) fn event<'b>(line: &'b str, context: &'b Context) -> Event<'b> {
    let mut slots = Slots::default();
    let top = [
        ("level", Slot::Level),
        ("auditID", Slot::AuditId),
        ("stage", Slot::Stage),
        ("requestURI", Slot::RequestUri),
        ("verb", Slot::Verb),
        ("sourceIPs", Slot::SourceIps),
        ("userAgent", Slot::UserAgent),
        ("requestObject", Slot::RequestObject),
        ("responseObject", Slot::ResponseObject),
        ("requestReceivedTimestamp", Slot::RequestReceived),
        ("stageTimestamp", Slot::StageTimestamp),
        ("annotations", Slot::Annotations),
    ];
    let below = [
        ("user", "username", Slot::UserName),
        ("user", "groups", Slot::UserGroups),
        ("user", "extra", Slot::UserExtra),
        ("impersonatedUser", "username", Slot::ImpersonatedName),
        ("impersonatedUser", "groups", Slot::ImpersonatedGroups),
        ("objectRef", "resource", Slot::Resource),
        ("objectRef", "subresource", Slot::Subresource),
        ("objectRef", "namespace", Slot::Namespace),
        ("objectRef", "name", Slot::Name),
        ("objectRef", "apiGroup", Slot::ApiGroup),
        ("responseStatus", "code", Slot::StatusCode),
        ("responseStatus", "message", Slot::StatusMessage),
    ];
    for (key, slot) in top {
        slots.set(slot, json::member(line, key).unwrap_or_default());
    }
    for (object, key, slot) in below {
        let value = json::member(line, object).and_then(|object| json::member(object, key));
        slots.set(slot, value.unwrap_or_default());
    }
    Event::new(slots, line, context)
}

fn all(event: &Event<'_>, field: &str) -> Vec<String> {
    let mut found = Vec::new();
    event.any(&Field::parse(field).unwrap(), &mut |value| {
        found.extend(value.into_text().map(std::borrow::Cow::into_owned));
        false
    });
    found
}

const EXEC: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"93136e1d","stage":"ResponseStarted","requestURI":"/api/v1/namespaces/shop/pods/api-1/exec?stdout=true\u0026command=cat\u0026command=%2Fvar%2Frun%2Fsecrets","verb":"get","user":{"username":"bob@acme.example","groups":["acme","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["X509SHA256=01516f"]}},"sourceIPs":["10.0.1.10","198.51.100.33"],"userAgent":"kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7","objectRef":{"resource":"pods","namespace":"shop","name":"api-1","apiVersion":"v1","subresource":"exec"},"responseStatus":{"metadata":{},"code":101},"requestReceivedTimestamp":"2026-11-23T11:05:17.835410Z","stageTimestamp":"2026-11-23T11:05:17.879971Z","annotations":{"failed-open.validating.webhook.admission.k8s.io/round_0_index_7":"policy.acme.example","authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding \"x\""}}"#;

#[test]
fn derives_who_what_and_where_from() {
    let context = Context::default();
    let event = event(EXEC, &context);
    for (field, values) in [
        ("principal", &["bob@acme.example"][..]),
        ("principal.kind", &["user"]),
        ("principal.groups", &["acme", "system:authenticated"]),
        ("impersonator", &[]),
        ("origin.ip", &["198.51.100.33"]),
        ("origin.scope", &["public"]),
        ("origin.claimed", &["10.0.1.10"]),
        ("admission.failed_open", &["policy.acme.example"]),
        ("client", &["kubectl"]),
        ("outcome", &["allowed"]),
        ("verb", &["get", "create"]),
        ("credential.id", &["X509SHA256=01516f"]),
        ("credential.kind", &["certificate"]),
        ("exec.command", &["cat /var/run/secrets"]),
        ("path", &["/api/v1/namespaces/shop/pods/api-1/exec"]),
        (
            "annotations.authorization.k8s.io/reason",
            &["RBAC: allowed by ClusterRoleBinding \"x\""],
        ),
        (
            "user.extra.authentication.kubernetes.io/credential-id",
            &["X509SHA256=01516f"],
        ),
        ("apiGroup", &[]),
        ("dryRun", &["false"]),
    ] {
        assert_eq!(all(&event, field), values, "{field}");
    }
    assert!(event.is_long_running());
    assert_eq!(
        event.received().unwrap().to_string(),
        "2026-11-23T11:05:17.835410Z"
    );
}

#[test]
fn a_caller_who_names_no_client_is_seen_as_one_that_does_not() {
    let context = Context::default();
    for (line, client) in [
        ("{}", "none"),
        (r#"{"userAgent":null}"#, "none"),
        (r#"{"userAgent":""}"#, "none"),
        (r#"{"userAgent":"/v1 (linux)"}"#, "none"),
        (r#"{"userAgent":"curl"}"#, "curl"),
    ] {
        assert_eq!(all(&event(line, &context), "client"), [client], "{line}");
    }
}

#[test]
fn believes_the_address_before_a_trusted_proxy() {
    let context = Context {
        trusted_proxies: vec!["198.51.100.0/24".parse().unwrap()],
        ..Context::default()
    };
    assert_eq!(
        event(EXEC, &context).origin_ip().as_deref(),
        Some("10.0.1.10")
    );
}

#[test]
fn tells_outcomes_apart() {
    let context = Context::default();
    for (status, annotations, outcome) in [
        (
            r#"{"code":403}"#,
            r#"{"authorization.k8s.io/decision":"forbid"}"#,
            Outcome::Forbidden,
        ),
        (
            r#"{"code":403}"#,
            r#"{"authorization.k8s.io/decision":"allow"}"#,
            Outcome::Refused,
        ),
        (r#"{"code":403}"#, "{}", Outcome::Forbidden),
        (r#"{"code":401}"#, "{}", Outcome::Unauthenticated),
        (r#"{"code":404}"#, "{}", Outcome::NotFound),
        (r#"{"code":409}"#, "{}", Outcome::Failed),
        (r#"{"code":201}"#, "{}", Outcome::Allowed),
        ("{}", "{}", Outcome::Pending),
    ] {
        let line = format!(r#"{{"responseStatus":{status},"annotations":{annotations}}}"#);
        assert_eq!(event(&line, &context).outcome(), outcome, "{line}");
    }
}

#[test]
fn knows_principals_by_their_reserved_names() {
    for (name, kind) in [
        ("", PrincipalKind::Unauthenticated),
        ("system:anonymous", PrincipalKind::Anonymous),
        (
            "system:serviceaccount:shop:web",
            PrincipalKind::ServiceAccount,
        ),
        ("system:serviceaccount:shop", PrincipalKind::User),
        ("system:node:node-a", PrincipalKind::Node),
        ("system:kube-scheduler", PrincipalKind::ControlPlane),
        ("system:masters-of-disguise", PrincipalKind::User),
    ] {
        assert_eq!(PrincipalKind::of(name), kind, "{name}");
    }
    let context = Context::default();
    let line = r#"{"user":{"username":"bob"},"impersonatedUser":{"username":"system:serviceaccount:a:b","groups":["g"]}}"#;
    let event = event(line, &context);
    assert_eq!(all(&event, "principal"), ["system:serviceaccount:a:b"]);
    assert_eq!(all(&event, "principal.namespace"), ["a"]);
    assert_eq!(all(&event, "principal.name"), ["b"]);
    assert_eq!(all(&event, "principal.groups"), ["g"]);
    assert_eq!(all(&event, "impersonator"), ["bob"]);
}

#[test]
fn finds_the_pod_template_wherever_it_sits() {
    let context = Context::default();
    let spec = r#"{"hostPID":true,"volumes":[{"hostPath":{"path":"/"}}],"initContainers":[{"image":"i","securityContext":{"privileged":true,"capabilities":{"add":["SYS_ADMIN"]}}}],"containers":[{"image":"c","command":["sh","-c"],"args":["id"]}]}"#;
    for (resource, group, body) in [
        ("pods", "", format!(r#"{{"spec":{spec}}}"#)),
        (
            "daemonsets",
            "apps",
            format!(r#"{{"spec":{{"template":{{"spec":{spec}}}}}}}"#),
        ),
        (
            "cronjobs",
            "batch",
            format!(r#"{{"spec":{{"jobTemplate":{{"spec":{{"template":{{"spec":{spec}}}}}}}}}}}"#),
        ),
        (
            "deployments",
            "apps",
            format!(r#"[{{"op":"replace","path":"/spec/template/spec","value":{spec}}}]"#),
        ),
    ] {
        let line = format!(
            r#"{{"objectRef":{{"resource":"{resource}","apiGroup":"{group}"}},"requestObject":{body}}}"#
        );
        let event = event(&line, &context);
        assert_eq!(all(&event, "pod.privileged"), ["true"], "{resource}");
        assert_eq!(all(&event, "hostPath"), ["/"], "{resource}");
        assert_eq!(all(&event, "capabilities"), ["SYS_ADMIN"], "{resource}");
        assert_eq!(all(&event, "pod.images"), ["c", "i"], "{resource}");
        assert_eq!(
            all(&event, "pod.commands"),
            ["sh", "-c", "id"],
            "{resource}"
        );
        assert_eq!(all(&event, "pod.hostPID"), ["true"], "{resource}");
    }
}

#[test]
fn reads_grants() {
    let context = Context::default();
    let line = r#"{"objectRef":{"resource":"clusterrolebindings","apiGroup":"rbac.authorization.k8s.io"},"requestObject":{"roleRef":{"name":"cluster-admin"},"subjects":[{"kind":"ServiceAccount","namespace":"a","name":"b"},{"kind":"Group","name":"system:masters"}]}}"#;
    let binding = event(line, &context);
    assert_eq!(all(&binding, "binding.role"), ["cluster-admin"]);
    let line = r#"{"objectRef":{"resource":"rolebindings"},"requestObject":[{"op":"add","path":"/subjects/-","value":{"kind":"User","name":"eve"}}],"responseObject":{"roleRef":{"name":"admin"}}}"#;
    let patched = event(line, &context);
    assert_eq!(all(&patched, "binding.role"), ["admin"]);
    assert_eq!(all(&patched, "binding.subjects"), ["User:eve"]);
    assert_eq!(
        all(&binding, "binding.subjects"),
        ["system:serviceaccount:a:b", "Group:system:masters"]
    );
    let line = r#"{"objectRef":{"resource":"roles"},"requestObject":{"rules":[{"verbs":["get","*"],"resources":["pods"]}]}}"#;
    let role = event(line, &context);
    assert_eq!(all(&role, "role.verbs"), ["get", "*"]);
    assert_eq!(all(&role, "binding.role"), Vec::<String>::new());
}

#[test]
fn reads_what_a_role_grants() {
    let context = Context::default();
    let grants = |line: &str| all(&event(line, &context), "role.grants");
    let rules = r#"[{"verbs":["get","list"],"apiGroups":["","apps"],"resources":["pods/log"]},{"verbs":["*"],"apiGroups":["*"],"resources":["leases"]},{"verbs":["get"],"nonResourceURLs":["/metrics"]},{"verbs":["get"]}]"#;
    let body =
        format!(r#"{{"objectRef":{{"resource":"roles"}},"requestObject":{{"rules":{rules}}}}}"#);
    let told = [
        "get pods/log",
        "list pods/log",
        "get pods/log.apps",
        "list pods/log.apps",
        "* leases.*",
        "get /metrics",
    ];
    assert_eq!(grants(&body), told);
    let answered = format!(
        r#"{{"objectRef":{{"resource":"roles"}},"requestObject":[{{"op":"add","path":"/rules/0/verbs/-","value":"*"}}],"responseObject":{{"rules":{rules}}}}}"#
    );
    assert_eq!(grants(&answered), told);
    let added = r#"{"objectRef":{"resource":"roles"},"requestObject":[{"op":"add","path":"/rules/-","value":{"verbs":["get"],"apiGroups":[""],"resources":["secrets"]}}]}"#;
    assert_eq!(grants(added), ["get secrets"]);
    assert!(grants(&body.replace("roles", "pods")).is_empty());
}

#[test]
fn a_role_without_end_is_not_spelt_out() {
    let context = Context::default();
    let many: Vec<String> = (0..3_000).map(|n| format!("\"r{n}\"")).collect();
    let many = many.join(",");
    let line = format!(
        r#"{{"objectRef":{{"resource":"clusterroles"}},"requestObject":{{"rules":[{{"verbs":[{many}],"apiGroups":[{many}],"resources":[{many}]}}]}}}}"#
    );
    let told = all(&event(&line, &context), "role.grants");
    assert_eq!(told.len(), 8_193);
    assert_eq!(told[8_192], "too many to tell");
}

#[test]
fn reads_the_subject_of_a_signing_request() {
    // CN=system:kube-controller-manager, made by a lab cluster's user for its own key.
    let request = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIbE1JR0xBZ0VBTUNreEp6QWxCZ05WQkFNTUhuTjVjM1JsYlRwcmRXSmxMV052Ym5SeWIyeHNaWEl0YldGdQpZV2RsY2pCWk1CTUdCeXFHU000OUFnRUdDQ3FHU000OUF3RUhBMElBQkVjemRXbVhBTHZlbk50N2JyUUZCTTlSCkJnS2kvT1k5QnQvN3N4U1M1MHVXdFdNeEhOS3BGU25UMXp5bE84dm11bUgwd2tuazAyM0Fwcks4SHNNSWJseWcKQURBS0JnZ3Foa2pPUFFRREFnTkpBREJHQWlFQXpWZlpkVGdEbW5LLzRQMlJ1dGUrWTgybU1qZkdKcmxFejRESQpoUW1JRm44Q0lRQ0xKVGVrVW1ZbElUdmluOGVLaXB4WkxHZ0J5WXE3OUQzUW12MmxQbU1xSHc9PQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    let line = format!(
        r#"{{"objectRef":{{"resource":"certificatesigningrequests"}},"requestObject":{{"spec":{{"request":"{request}","signerName":"kubernetes.io/kube-apiserver-client"}}}}}}"#
    );
    let context = Context::default();
    let event = event(&line, &context);
    assert_eq!(all(&event, "csr.cn"), ["system:kube-controller-manager"]);
    assert_eq!(all(&event, "csr.organization"), Vec::<String>::new());
    assert_eq!(
        all(&event, "csr.signer"),
        ["kubernetes.io/kube-apiserver-client"]
    );
}

#[test]
fn facts_hold_no_secret_and_are_bounded() {
    let context = Context::default();
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrIn0.c2ln";
    let line = EXEC
        .replace(
            "command=cat",
            &format!("command=curl&command=-H&command=Bearer%20{token}"),
        )
        .replace("kubectl/v1.36.1", &"k".repeat(5_000));
    let facts = Facts::of(&event(&line, &context));
    assert!(
        !format!("{facts:?}").contains("eyJhbGciOiJSUzI1NiJ9"),
        "{facts:?}"
    );
    assert!(facts.origin.user_agent.chars().count() <= Facts::TEXT_MAX);
    assert_eq!(facts.evidence.code, Some(101));
}

#[test]
fn same_request_at_each_stage() {
    let context = Context::default();
    let complete = EXEC
        .replace("ResponseStarted", "ResponseComplete")
        .replace("17.879971Z", "18.383784Z");
    assert_eq!(
        event(EXEC, &context).request_id(),
        event(&complete, &context).request_id()
    );
    let other = EXEC.replace("17.835410Z", "17.835411Z");
    assert_ne!(
        event(EXEC, &context).request_id(),
        event(&other, &context).request_id()
    );
}

#[test]
fn unknown_fields_name_the_nearest() {
    let unknown = Field::parse("objectRef.resorce").unwrap_err();
    assert_eq!(unknown.nearest.as_deref(), Some("objectRef.resource"));
    assert!(Field::parse("requestObject.").is_err());
    assert_eq!(
        Field::parse("apiGroup").unwrap().name(),
        "objectRef.apiGroup"
    );
}
