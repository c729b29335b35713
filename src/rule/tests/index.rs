//! The index gives what plain evaluation gives, for any rules, in any order of events.

use proptest::prelude::*;

use super::*;

/// Events of a real API server, cut down to what tells them apart.
const REAL: &str = include_str!("real.jsonl");

/// Items that real events meet or miss, over all kinds of fields.
const ITEMS: [&str; 27] = [
    "verb: [get, list]",
    "verb: create",
    "verb|startswith: 'w'",
    "objectRef.resource: [secrets, pods, configmaps]",
    "objectRef.resource|contains: 'role'",
    "objectRef.subresource: null",
    "objectRef.subresource: exec",
    "objectRef.apiGroup|endswith: k8s.io",
    "objectRef.namespace: [kube-system, shop, null]",
    "responseStatus.code: 403",
    "responseStatus.code|gte: 400",
    "outcome: [forbidden, allowed]",
    "user.username|startswith: 'system:'",
    "user.username|re: '[a-z]+@acme'",
    "principal.kind: serviceaccount",
    "user.groups: 'system:authenticated'",
    "userAgent|contains: [kubectl, kubelet, curl]",
    "sourceIPs|cidr: 10.0.0.0/8",
    "origin.scope: public",
    "requestURI|contains: ['limit=', 'command']",
    "objectRef.name|exists: true",
    "annotations.authorization.k8s.io/decision: forbid",
    "user.username|fieldref: principal",
    "credential.pod|exists: true",
    "user.extra.authentication.kubernetes.io/node-name|startswith: node-",
    "credential.kind: token",
    "requestObject.spec.containers.image: '*'",
];

const CONDITIONS: [&str; 8] = [
    "s and t",
    "s or t",
    "s and not t",
    "not s and not t",
    "not (s and t)",
    "1 of them",
    "all of them",
    "(s or not t) and (t or not s)",
];

fn rule_text() -> impl Strategy<Value = String> {
    let items = || {
        prop::sample::subsequence(ITEMS.to_vec(), 1..4)
            .prop_map(|items| format!("{{{}}}", items.join(", ")))
    };
    let selection =
        || prop::collection::vec(items(), 1..3).prop_map(|maps| format!("[{}]", maps.join(", ")));
    (
        selection(),
        selection(),
        prop::sample::select(CONDITIONS.to_vec()),
    )
        .prop_map(|(s, t, condition)| {
            rule(&format!("  s: {s}\n  t: {t}\n  condition: {condition}\n"))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn indexed_is_plain(texts in prop::collection::vec(rule_text(), 1..12), shift in 0usize..50) {
        let named: Vec<_> = texts.iter().enumerate().map(|(n, text)| (format!("r{n}.yml"), text)).collect();
        let files: Vec<_> = named.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        // Some combinations can never hold and are refused; the others make the set.
        let sound: Vec<_> = files.into_iter().filter(|file| load(&[*file]).is_ok()).collect();
        let set = Arc::new(load(&sound).unwrap().set);
        let mut matcher = Matcher::new(Arc::clone(&set));
        let mut lines: Vec<&str> = REAL.lines().collect();
        let length = lines.len();
        lines.rotate_left(shift % length);
        for _ in 0..2 {
            each(&lines.join("\n"), &mut |event| {
                assert_eq!(matcher.matches(event), plainly(&set, event));
            });
        }
    }
}

#[test]
fn what_is_remembered_is_bounded() {
    let set = Arc::new(selection(
        "{objectRef.namespace|startswith: ns-, user.username|endswith: '7'}",
    ));
    let mut matcher = Matcher::new(Arc::clone(&set));
    let mut found = 0;
    let patch = "{repeat: 10000, objectRef.namespace: 'ns-{n}', user.username: 'user-{n}'}";
    each(&event(patch), &mut |event| {
        found += matcher.matches(event).len();
    });
    assert_eq!(found, 1_000);
    let long = "x".repeat(5_000);
    assert!(matches(
        &set,
        &event(&format!(
            "{{objectRef.namespace: ns-{long}, user.username: {long}7}}"
        ))
    ));
    assert!(!matches(
        &set,
        &event(&format!(
            "{{objectRef.namespace: ns-{long}, user.username: {long}8}}"
        ))
    ));
}

#[test]
fn raw_bytes_that_look_alike_are_told_apart() {
    let set = Arc::new(selection(
        "{objectRef.resource: a, objectRef.subresource: b}",
    ));
    let mut matcher = Matcher::new(Arc::clone(&set));
    for (patch, wanted) in [
        ("{objectRef.resource: a, objectRef.subresource: b}", 1),
        ("{objectRef.resource: ab, objectRef.subresource: null}", 0),
        ("{objectRef.resource: null, objectRef.subresource: ab}", 0),
        ("{objectRef.resource: a, objectRef.subresource: b}", 1),
    ] {
        each(&event(patch), &mut |event| {
            assert_eq!(matcher.matches(event).len(), wanted, "{patch}");
        });
    }
}

#[test]
fn trusted_proxies_are_part_of_who() {
    let set = Arc::new(selection("{origin.ip: 198.51.100.7, objectRef.name: null}"));
    let mut matcher = Matcher::new(set);
    let line = event("{sourceIPs: [198.51.100.7, 10.0.0.1]}");
    let proxied = Context {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..Context::default()
    };
    let plain = Context::default();
    for (context, wanted) in [(&plain, 0), (&proxied, 1), (&plain, 0)] {
        each_event(&blocks(&line)[0], &mut |decoded| {
            if let Decoded::Event(slots, line) = decoded {
                assert_eq!(
                    matcher.matches(&Event::new(slots, line, context)).len(),
                    wanted
                );
            }
        });
    }
}
