//! What each modifier and kind of value matches.

use super::*;

/// An event that most lines of the table look at.
const EVENT: &str = "{verb: list, user.username: 'Alice@Acme', responseStatus.code: 403, \
    objectRef: {resource: secrets, namespace: 'kube-system', name: 'x*y'}, \
    sourceIPs: [198.51.100.7, 10.1.2.3], user.groups: [dev, ops], \
    userAgent: 'curl/8 ÄÖ \u{212a}ube', \
    annotations: {num: '17', word: infinity}, requestURI: '/api/v1/x?command=%2Fbin%2Fsh&a=<b>', \
    requestObject: {spec: {replicas: 3, hostNetwork: true, empty: null, list: [1, {a: deep}]}}}";

/// Selections, and whether [`EVENT`] meets them.
const SELECTIONS: &[(bool, &str)] = &[
    // Plain values: any case, whole value, wildcards and their escapes.
    (true, "{verb: LIST}"),
    (false, "{verb: lis}"),
    (true, "{verb: [get, list]}"),
    (true, "{verb: 'l*t'}"),
    (true, "{verb: 'l??t'}"),
    (false, "{verb: 'l?t'}"),
    (true, "{objectRef.name: 'x\\*y'}"),
    (false, "{objectRef.name: 'x\\?y'}"),
    (true, "{verb: '*'}"),
    (false, "{objectRef.subresource: '*'}"),
    (true, "{user.groups: ops}"),
    (
        true,
        "{objectRef.resource: secrets, objectRef.namespace: kube-system}",
    ),
    (
        false,
        "{objectRef.resource: secrets, objectRef.namespace: default}",
    ),
    (true, "[{verb: get}, {verb: list}]"),
    // Parts of text.
    (true, "{userAgent|contains: CURL}"),
    (true, "{userAgent|contains: 'äö kube'}"),
    (true, "{userAgent|contains: ['nope', 'äö']}"),
    (true, "{requestURI|contains: ['%2fbin%2f*h', nope]}"),
    (true, "{user.username|startswith: alice}"),
    (false, "{user.username|startswith: acme}"),
    (true, "{user.username|endswith: '@ACME'}"),
    (true, "{user.groups|contains: op}"),
    (true, "{requestURI|contains|all: [command, bin]}"),
    (false, "{requestURI|contains|all: [command, nope]}"),
    (true, "{user.groups|all: [dev, ops]}"),
    (false, "{user.groups|all: [dev, admin]}"),
    // Case.
    (false, "{user.username|cased: alice@acme}"),
    (true, "{user.username|cased: Alice@Acme}"),
    (true, "{user.username|startswith|cased: Ali}"),
    (false, "{user.username|contains|cased: 'acme'}"),
    // Regular expressions.
    (true, "{user.username|re: '^A.*e$'}"),
    (false, "{user.username|re: '^a'}"),
    (true, "{user.username|re|i: '^a'}"),
    (true, "{user.username|re|i|m|s: ['nope', '^a.+E$']}"),
    // Networks.
    (true, "{sourceIPs|cidr: 10.0.0.0/8}"),
    (true, "{sourceIPs|cidr: [192.0.2.0/24, 198.51.100.7]}"),
    (false, "{sourceIPs|cidr: '2001:db8::/32'}"),
    (false, "{verb|cidr: 10.0.0.0/8}"),
    // Presence.
    (true, "{verb|exists: true}"),
    (true, "{objectRef.subresource|exists: false}"),
    (false, "{objectRef.subresource|exists: true}"),
    (true, "{requestObject.spec.empty|exists: true}"),
    (true, "{objectRef.subresource: null}"),
    (true, "{requestObject.spec.empty: null}"),
    (false, "{verb: null}"),
    (true, "{objectRef.subresource: [null, exec]}"),
    (false, "{objectRef.subresource: ''}"),
    // Numbers and truth values, also as text.
    (true, "{responseStatus.code: 403}"),
    (true, "{responseStatus.code: '403'}"),
    (true, "{responseStatus.code: [401, 403.0]}"),
    (true, "{responseStatus.code|startswith: 4}"),
    (true, "{annotations.num: 17}"),
    (true, "{responseStatus.code|gte: 403}"),
    (false, "{responseStatus.code|gt: 403}"),
    (true, "{responseStatus.code|lt: 404}"),
    (true, "{responseStatus.code|lte: 403}"),
    (true, "{annotations.num|gt: 16.5}"),
    (false, "{verb|gt: 1}"),
    (false, "{annotations.word|gt: 1}"),
    (true, "{requestObject.spec.hostNetwork: true}"),
    (true, "{requestObject.spec.hostNetwork: 'true'}"),
    (false, "{requestObject.spec.hostNetwork: false}"),
    (true, "{requestObject.spec.list: 1}"),
    (true, "{requestObject.spec.list.a: deep}"),
    // Differing.
    (true, "{verb|neq: get}"),
    (false, "{verb|neq: [get, list]}"),
    (true, "{objectRef.subresource|neq: exec}"),
    (true, "{responseStatus.code|neq: 200}"),
    // Other fields.
    (true, "{user.username|fieldref: principal}"),
    (false, "{user.username|fieldref: verb}"),
    (false, "{user.username|fieldref|neq: principal}"),
    (true, "{requestObject.spec.list|fieldref|neq: verb}"),
    (true, "{requestURI|fieldref|contains: objectRef.apiVersion}"),
    (true, "{user.username|fieldref|startswith: user.username}"),
    (false, "{user.username|fieldref|endswith: verb}"),
    (false, "{verb|fieldref: objectRef.subresource}"),
    // Keywords.
    (true, "[CURL, nope]"),
    (true, "'*curl/8*secrets*'"),
    (false, "[nope]"),
    (true, "'a=<b>'"),
    (true, "{'|all': [curl, secrets]}"),
    (false, "{'|all': [curl, nope]}"),
    (true, "{'|re': '\"verb\":\"l'}"),
    // The authorizer's word in the place of a code.
    (true, "{responseStatus.code: FORBID}"),
    (true, "{responseStatus.code: [Denied, 200]}"),
    (false, "{responseStatus.code: ALLOW}"),
    (true, "{responseStatus.code: [ALLOW, 403]}"),
    (true, "{responseStatus.code|neq: allowed}"),
];

#[test]
fn each_modifier() {
    let line = event(EVENT);
    for &(wanted, written) in SELECTIONS {
        assert_eq!(
            matches(&Arc::new(selection(written)), &line),
            wanted,
            "{written}"
        );
    }
}

#[test]
fn raw_json_is_searched_as_go_writes_it() {
    let set = Arc::new(selection("'a&b'"));
    let line = event("{requestURI: '/x?a&b'}");
    assert!(matches(&set, &line));
    assert!(matches(&set, &line.replace('&', "\\u0026")));
}

#[test]
fn long_lists_stay_exact() {
    let values: Vec<String> = (0..100).map(|n| format!("Name-{n}")).collect();
    let set = Arc::new(selection(&format!(
        "{{objectRef.name: [{}]}}",
        values.join(", ")
    )));
    assert!(matches(&set, &event("{objectRef.name: nAME-73}")));
    assert!(!matches(&set, &event("{objectRef.name: name-7x}")));
    assert_eq!(set.predicates.len(), 1);
}

#[test]
fn placeholders_stand_for_lists() {
    let files = [
        (
            "lists/people.yml",
            "admins: [alice, 'bob*']\nhosts: [a, b]\n",
        ),
        (
            "r.yml",
            &rule("  s: {user.username|expand: ['%admins%@%hosts%', eve]}\n  condition: s\n"),
        ),
    ];
    let set = Arc::new(load(&files).unwrap().set);
    for (name, wanted) in [
        ("Alice@A", true),
        ("bobby@b", true),
        ("eve", true),
        ("alice@c", false),
        ("alice", false),
    ] {
        let line = event(&format!("{{user.username: '{name}'}}"));
        assert_eq!(matches(&set, &line), wanted, "{name}");
    }
    // A later layer's list of the same name takes its place.
    let later = layer(&[("lists/own.yml", "admins: [carol]\n")]);
    let set = Arc::new(RuleSet::load(&[layer(&files), later]).unwrap().set);
    assert!(matches(&set, &event("{user.username: carol@a}")));
    assert!(!matches(&set, &event("{user.username: alice@a}")));
}

#[test]
fn equal_tests_are_one() {
    let rules = [
        "{verb: [get, List]}",
        "{verb: [list, get, GET]}",
        "{verb: 'get'}",
    ]
    .map(|s| rule(&format!("  s: {s}\n  condition: s\n")));
    let files: Vec<_> = ["a.yml", "b.yml", "c.yml"]
        .into_iter()
        .zip(rules.iter().map(String::as_str))
        .collect();
    let set = load(&files).unwrap().set;
    assert_eq!((set.rules.len(), set.predicates.len()), (3, 2));
}

#[test]
fn shapes_of_published_rules() {
    let text = rule(
        "  selection_status:
    responseStatus.code: 'ALLOW'
  selection_uri:
    requestURI|contains:
      - '/bin/sh' # plain
      - '%2fbin%2fsh'
  selection_agent:
    userAgent|contains: 'hunter'
  condition: selection_status and 1 of selection_*
level: medium
falsepositives:
  - Unknown
related:
  - id: 6ad91e31-53df-4826-bd27-0166171c8040
    type: similar
date: 2026-01-01
",
    );
    let set = Arc::new(load(&[("r.yml", &text)]).unwrap().set);
    assert_eq!(set.rules[0].meta.severity, Severity::Medium);
    assert!(matches(
        &set,
        &event("{requestURI: '/x?command=%2Fbin%2Fsh'}")
    ));
    assert!(matches(&set, &event("{userAgent: kube-hunter}")));
    assert!(!matches(
        &set,
        &event("{userAgent: kube-hunter, responseStatus.code: 403}")
    ));
    for alias in ["hostPath: '*'", "capabilities: '*'", "apiGroup: apps"] {
        selection(&format!("{{{alias}}}"));
    }
}

#[test]
fn explains_itself() {
    let text = rule(
        "  s:
    verb: [list, watch]
    objectRef.resource: secrets
  filter:
    - {user.username: bob, verb: list}
    - user.groups|contains: dev
  condition: s and not filter
",
    );
    let set = load(&[("quiet.yml", &text)]).unwrap().set;
    each(&event(EVENT), &mut |event| {
        let explanation = RuleSet::explain(set.rule("quiet").unwrap(), event);
        assert_eq!(
            explanation.to_string(),
            "no   quiet
no     condition: s and not filter
yes      s
yes        verb: ['list', 'watch']    (the event has list)
yes        objectRef.resource: 'secrets'    (the event has secrets)
yes      filter
yes        one of
no           all of
no             user.username: 'bob'    (the event has Alice@Acme)
yes            verb: 'list'    (the event has list)
yes          all of
yes            user.groups|contains: 'dev'    (the event has dev, ops)
"
        );
    });
}

#[test]
fn explanations_keep_secrets() {
    let set = selection("{requestObject.data.password: '*'}");
    let line = event("{objectRef.resource: secrets, requestObject.data.password: aHVudGVyMg==}");
    each(&line, &mut |event| {
        let text = RuleSet::explain(&set.rules[0], event).to_string();
        assert!(
            text.starts_with("yes") && !text.contains("aHVudGVyMg"),
            "{text}"
        );
    });
}
