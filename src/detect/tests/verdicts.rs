//! What each kind of rule says, and in which words.

use super::*;

const REFUSED: &str = "responseStatus.code: 403";

fn told(bench: &mut Bench, lines: &[Line]) -> Vec<Detection> {
    lines.iter().flat_map(|line| bench.admit(line).1).collect()
}

#[test]
fn a_match_alone() {
    let mut bench = Bench::new(&rule(
        "secrets",
        "objectRef.resource: secrets",
        "auditwatch:\n  summary: '{{ principal }} read {{ objectRef.resource }}'\n  respond: ['kubectl auth can-i --list --as={{ principal }}']\n  contain: ['kubectl delete pod {{ credential.pod }}', 'kubectl delete {{ objectRef.resource }} x']",
    ));
    let told = told(&mut bench, &[get("a", "eve smith", "secrets", 200, 1.0)]);
    assert_eq!(short(&told[0]), "secrets [] a");
    assert_eq!(told[0].why, "one such request is enough");
    assert_eq!(told[0].summary, "eve smith read secrets");
    assert_eq!(
        told[0].respond,
        ["kubectl auth can-i --list --as='eve smith'"]
    );
    assert_eq!(
        told[0].contain.len(),
        1,
        "no pod is known: {:?}",
        told[0].contain
    );
    assert!(told[0].contain[0].starts_with("kubectl delete secrets "));
    assert_eq!((told[0].count, told[0].time()), (1, at(1)));
}

#[test]
fn a_burst_and_how_it_goes_on() {
    let text = rule("refused", REFUSED, "")
        + &correlation(
            "burst",
            "refused",
            "type: event_count\n  group-by: [principal, objectRef.namespace]\n  timespan: 1m\n  condition: {gte: 3}",
        )
        .replace("level: high", "level: high\nauditwatch:\n  summary: '{{ principal }}: {{ count }} in {{ timespan }}, {{ threshold }} allowed'");
    let mut bench = Bench::new(&text);
    let lines: Vec<Line> = (0..5)
        .map(|n| get(n, "eve", "pods", 403, 20.0 * f64::from(n)))
        .collect();
    let told = told(&mut bench, &lines);
    let shorts: Vec<String> = told.iter().map(short).collect();
    assert_eq!(
        shorts,
        [
            "burst [eve shop] 0,1,2",
            "burst [eve shop] 3",
            "burst [eve shop] 4"
        ]
    );
    assert_eq!(told[0].why, "3 matching requests within 1m (threshold 3)");
    assert_eq!(told[2].why, "4 matching requests within 1m (threshold 3)");
    assert_eq!(told[2].summary, "eve: 4 in 1m, 3 allowed");
    assert_eq!(told.iter().map(|told| told.count).sum::<u64>(), 5);
    assert_eq!(&*told[0].key[1].0, "objectRef.namespace");
}

#[test]
fn a_large_crossing_keeps_both_ends() {
    let text = rule("refused", REFUSED, "")
        + &correlation(
            "burst",
            "refused",
            "type: event_count\n  group-by: [principal]\n  timespan: 1m\n  condition: {gte: 50}",
        );
    let mut bench = Bench::new(&text);
    let lines: Vec<Line> = (0..50)
        .map(|n| get(n, "eve", "pods", 403, f64::from(n) / 10.0))
        .collect();
    let told = told(&mut bench, &lines);
    assert_eq!(
        (told.len(), told[0].count, told[0].evidence.len()),
        (1, 50, 32)
    );
    assert!(short(&told[0]).ends_with("13,14,15,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49"));
}

#[test]
fn different_values() {
    let text = rule("refused", REFUSED, "")
        + &correlation(
            "sweep",
            "refused",
            "type: value_count\n  group-by: [principal]\n  timespan: 10m\n  condition: {field: objectRef.resource, gte: 3}",
        );
    let mut bench = Bench::new(&text);
    let resources = ["pods", "pods", "secrets", "nodes", "pods"];
    let lines: Vec<Line> = resources
        .iter()
        .enumerate()
        .map(|(n, resource)| get(n, "eve", resource, 403, n as f64))
        .collect();
    let told = told(&mut bench, &lines);
    assert_eq!(short(&told[0]), "sweep [eve] 0,1,2,3");
    assert_eq!(
        told[0].why,
        "3 different values of objectRef.resource within 10m (threshold 3)"
    );
    assert_eq!(short(&told[1]), "sweep [eve] 4");
}

#[test]
fn several_things_together_and_in_order() {
    let members = rule("probe", REFUSED, "")
        + &rule(
            "grant",
            "verb: create, objectRef.resource: rolebindings",
            "",
        )
        + &rule(
            "use",
            "objectRef.resource: secrets, responseStatus.code: 200",
            "",
        );
    let text = members
        + &correlation(
            "together",
            "probe, grant, use",
            "type: temporal\n  group-by: [principal]\n  timespan: 30m",
        )
        + &correlation(
            "in-order",
            "probe, grant, use",
            "type: temporal_ordered\n  group-by: [principal]\n  timespan: 30m",
        );
    let probe = |at| get("probe", "eve", "pods", 403, at);
    let grant = |at| Line {
        verb: "create",
        ..get("grant", "eve", "rolebindings", 201, at)
    };
    let read = |at| get("use", "eve", "secrets", 200, at);
    let whys = |lines: &[Line]| -> Vec<String> {
        told(&mut Bench::new(&text), lines)
            .into_iter()
            .map(|told| told.why)
            .collect()
    };
    assert_eq!(
        whys(&[probe(0.0), grant(60.0), read(1_800.0)]),
        [
            "probe at 11:00:00, grant at 11:01:00 and use at 11:30:00 (within 30m)",
            "probe at 11:00:00, then grant at 11:01:00, then use at 11:30:00 (within 30m)"
        ]
    );
    assert_eq!(
        whys(&[grant(0.0), probe(60.0), read(90.0)]),
        ["grant at 11:00:00, probe at 11:01:00 and use at 11:01:30 (within 30m)"]
    );
    assert_eq!(
        whys(&[read(90.0), grant(60.0), probe(0.0)]),
        [
            "probe at 11:00:00, grant at 11:01:00 and use at 11:01:30 (within 30m)",
            "probe at 11:00:00, then grant at 11:01:00, then use at 11:01:30 (within 30m)"
        ],
        "arrival does not matter, event time does"
    );
    assert!(whys(&[probe(0.0), grant(60.0), read(1_801.0)]).is_empty());
}

#[test]
fn a_correlation_of_correlations() {
    let text = rule("refused", REFUSED, "")
        + &rule("exec", "objectRef.resource: pods/exec", "")
        + &correlation(
            "burst",
            "refused",
            "type: event_count\n  group-by: [principal]\n  timespan: 1m\n  condition: {gte: 3}",
        )
        + &correlation(
            "burst-then-exec",
            "burst, exec",
            "type: temporal_ordered\n  group-by: [principal]\n  timespan: 10m",
        );
    let text = text.replace("objectRef.resource: pods/exec", "objectRef.resource: nodes");
    let mut bench = Bench::new(&text);
    let mut lines: Vec<Line> = (0..3)
        .map(|n| get(n, "eve", "pods", 403, f64::from(n)))
        .collect();
    lines.push(get("x", "bob", "nodes", 200, 30.0));
    lines.push(get("y", "eve", "nodes", 200, 40.0));
    assert_eq!(
        bench.told(&lines),
        ["burst-then-exec [eve] 0,1,2,y"],
        "`burst` does not report itself, and all that it counted is evidence"
    );
}

#[test]
fn a_request_that_reaches_a_chain_twice_is_told_once() {
    let windows = "group-by: [principal]\n  timespan: 1m";
    let text = rule("refused", REFUSED, "")
        + &correlation(
            "many",
            "refused",
            &format!("type: event_count\n  {windows}\n  condition: {{gte: 4}}"),
        )
        + &correlation(
            "spread",
            "refused",
            &format!(
                "type: value_count\n  {windows}\n  condition: {{field: objectRef.resource, gte: 2}}"
            ),
        )
        + &correlation(
            "spray",
            "many, spread",
            &format!("type: temporal\n  {windows}"),
        );
    let mut bench = Bench::new(&text);
    let lines: Vec<Line> = (0..30)
        .map(|n| {
            let resource = ["pods", "nodes"][n % 2];
            get(n, "eve", resource, 403, n as f64)
        })
        .collect();
    let told = told(&mut bench, &lines);
    assert_eq!(short(&told[0]), "spray [eve] 0,1,2,3");
    let evidence: usize = told.iter().map(|told| told.evidence.len()).sum();
    let count: u64 = told.iter().map(|told| told.count).sum();
    assert_eq!((evidence, count), (30, 30));
}

#[test]
fn first_seen() {
    let text = rule(
        "new-resource",
        "verb: get",
        "auditwatch:\n  novelty: {by: [principal], of: [verb, objectRef.resource], learn: 7d, forget: 30d}",
    );
    let mut bench = Bench::new(&text);
    let day = |day: f64, id: &'static str, resource| get(id, "eve", resource, 200, day * 86_400.0);
    let told = told(
        &mut bench,
        &[
            day(0.0, "a", "pods"),
            day(1.0, "b", "nodes"),
            day(12.0, "c", "secrets"),
            day(12.1, "d", "secrets"),
        ],
    );
    assert_eq!(told.len(), 1);
    assert_eq!(short(&told[0]), "new-resource [eve] c");
    assert_eq!(
        told[0].why,
        "verb get and objectRef.resource secrets were never seen together before with principal \
         eve, known for 12d"
    );
}

#[test]
fn what_was_told_as_new_is_told_again_until_somebody_acknowledges_it() {
    let text = rule(
        "new-resource",
        "verb: get",
        "auditwatch:\n  novelty: {by: [principal, verb], of: [objectRef.resource], learn: 7d, forget: 30d}",
    );
    let mut bench = Bench::new(&text);
    let seen = |bench: &mut Bench, day: f64, resource: &'static str| {
        let id = format!("{day}").leak();
        bench
            .admit(&get(&*id, "eve", resource, 200, day * 86_400.0))
            .1
    };
    assert_eq!(seen(&mut bench, 0.0, "pods").len(), 0);
    let told = seen(&mut bench, 12.0, "secrets");
    assert_eq!(
        seen(&mut bench, 12.5, "secrets").len(),
        0,
        "it was told today"
    );
    let again = seen(&mut bench, 15.0, "secrets");
    assert_eq!(
        again[0].why,
        "objectRef.resource secrets was first seen with principal eve and verb get 3d ago, and \
         not acknowledged since"
    );
    let key: Vec<Box<str>> = told[0].key.iter().map(|(_, value)| value.clone()).collect();
    let id = told[0].rule.id.clone();
    let mut acknowledge = |cluster, key: &[Box<str>]| bench.engine.acknowledge(&id, cluster, key);
    assert_eq!(acknowledge("west", &key), 0, "another cluster");
    assert_eq!(acknowledge("", &key[..1]), 0, "another key");
    assert_eq!(acknowledge("", &key), 1);
    assert_eq!(seen(&mut bench, 20.0, "secrets").len(), 0);
}

#[test]
fn what_another_rule_reports_is_not_learnt() {
    let new = rule(
        "new-resource",
        "verb: get",
        "auditwatch:\n  novelty: {by: [principal], of: [objectRef.resource], learn: 7d, forget: 30d}",
    );
    let secrets = rule("secrets", "objectRef.resource: secrets", "");
    let text = new + &secrets.replace("level: medium", "level: high");
    let mut bench = Bench::new(&text);
    let mut names = |id: &'static str, day: f64, resource: &'static str| {
        let told = bench
            .admit(&get(id, "eve", resource, 200, day * 86_400.0))
            .1;
        let names = told.iter().map(|told| told.rule.name.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("a", 0.0, "pods"), [""; 0]);
    assert_eq!(names("b", 1.0, "secrets"), ["secrets"]);
    assert_eq!(names("c", 8.0, "secrets"), ["new-resource", "secrets"]);
    assert_eq!(names("d", 8.0, "pods"), [""; 0]);
}

/// Of an event that matches only what asks for novelty its text is kept, else its trace: what is
/// told of it is the same.
#[test]
fn what_is_told_does_not_depend_on_what_is_kept() {
    let new_path = rule(
        "new-path",
        "verb: get",
        "auditwatch:\n  summary: '{{ path }} by {{ principal }} over {{ sourceIPs }}'\n  \
         novelty: {by: [principal], of: [path, sourceIPs], learn: 7d, forget: 30d}",
    );
    let plain = rule("plain", "verb: get", "");
    let lines = [(0.0, "pods"), (12.0, "secrets")]
        .map(|(day, resource)| get(resource, "eve", resource, 200, day * 86_400.0));
    let novel = |text: &str, is_text: bool| {
        let mut bench = Bench::new(text);
        for line in &lines {
            let seen = observe(&mut bench.observer, &line.json(), "east");
            let kept = seen[0].recording.as_ref();
            let is_kept = kept.map(|kept| matches!(kept, Recording::Text(..)));
            assert_eq!(is_kept, Some(is_text));
        }
        let mut told = told(&mut bench, &lines);
        told.retain(|told| told.rule.name == "new-path");
        told
    };
    let told = novel(&new_path, true);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].summary.contains("secrets by eve"),
        "{}",
        told[0].summary
    );
    assert_eq!(told, novel(&(new_path.clone() + &plain), false));
}

#[test]
fn far_above_its_own_past() {
    let text = rule(
        "surge",
        "verb: get",
        "auditwatch:\n  rate: {by: [principal], every: 5m, factor: 8, min: 20}",
    );
    let mut bench = Bench::new(&text);
    let mut lines: Vec<Line> = (0..60)
        .map(|n| get(n, "eve", "pods", 200, f64::from(n) * 150.0))
        .collect();
    lines.extend((0..30).map(|n| get(1_000 + n, "eve", "pods", 200, 9_000.0 + f64::from(n))));
    let told = told(&mut bench, &lines);
    assert_eq!(told[0].why, "20 requests in 5m, 10 times its usual 2");
    assert_eq!((told[0].count, told.len()), (20, 11));
    assert_eq!(short(&told[0]), "surge [eve] 1019");
}

#[test]
fn a_reload_keeps_the_state_of_what_means_the_same() {
    let burst = |threshold: u32, level: &str| {
        rule("refused", REFUSED, "")
            + &correlation(
                "burst",
                "refused",
                &format!("type: event_count\n  group-by: [principal]\n  timespan: 1m\n  condition: {{gte: {threshold}}}"),
            )
            .replace("level: high", level)
    };
    for (threshold, level, fires) in [
        (3, "level: high", true),
        (3, "level: low", true),
        (2, "level: high", false),
    ] {
        let mut bench = Bench::new(&burst(3, "level: high"));
        let lines: Vec<Line> = (0..2)
            .map(|n| get(n, "eve", "pods", 403, f64::from(n)))
            .collect();
        assert!(bench.told(&lines).is_empty());
        let reloaded = rules(&(rule("other", "verb: list", "") + &burst(threshold, level)));
        bench.observer = Observer::new(Arc::clone(&reloaded));
        bench.engine.replace_rules(reloaded);
        let told = bench.told(&[get(2, "eve", "pods", 403, 2.0)]);
        assert_eq!(!told.is_empty(), fires, "{threshold} {level}");
    }
}

/// What was minted by bob and used by its account says so, in one cluster.
#[test]
fn a_token_is_told_with_who_minted_it() {
    let text = rule("secrets", "objectRef.resource: secrets", "");
    let event = |id: &str, more: &str, resource: &str, at: &str| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{id}","stage":"ResponseComplete","requestURI":"/","verb":"create","sourceIPs":["198.51.100.7"],{more},"objectRef":{{{resource}}},"responseStatus":{{"code":201}},"requestReceivedTimestamp":"2026-11-23T11:0{at}:00.000000Z","stageTimestamp":"2026-11-23T11:0{at}:00.000000Z"}}"#
        )
    };
    let user = |name: &str, token: &str| {
        format!(
            r#""user":{{"username":"{name}","extra":{{"authentication.kubernetes.io/credential-id":["{token}"]}}}}"#
        )
    };
    let mint = |made: &str, by: &str| {
        format!(
            r#"{by},"annotations":{{"authentication.kubernetes.io/issued-credential-id":"{made}"}}"#
        )
    };
    let account = r#""resource":"serviceaccounts","subresource":"token""#;
    let secret = r#""resource":"secrets""#;
    let lines = [
        event(
            "1",
            &mint("JTI=1", &user("bob", "X509SHA256=b")),
            account,
            "1",
        ),
        event("2", &mint("JTI=2", &user("one", "JTI=1")), account, "2"),
        event("3", &user("two", "JTI=2"), secret, "3"),
        event("4", &user("two", "JTI=3"), secret, "4"),
    ];
    let mut bench = Bench::new(&text);
    let mut out = Vec::new();
    for line in &lines {
        let seen = observe(&mut bench.observer, line, "east");
        bench.engine.admit(SOURCE, &seen[0], None, &mut out);
    }
    let elsewhere = observe(&mut bench.observer, &lines[2], "west");
    bench.engine.admit(SOURCE, &elsewhere[0], None, &mut out);
    let minted: Vec<_> = out
        .iter()
        .map(|told| told.evidence[0].credential.as_ref().unwrap().minted.clone())
        .collect();
    let first = minted[0].clone().unwrap();
    assert_eq!(
        (&*first.by, &*first.audit_id, first.at),
        ("one", "2", at(120))
    );
    let earlier = first.earlier.clone().unwrap();
    assert_eq!(
        (&*earlier.by, earlier.from.as_deref()),
        ("bob", Some("198.51.100.7"))
    );
    assert_eq!(minted[1..], [None, None]);
}
