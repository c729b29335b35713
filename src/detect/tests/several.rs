//! Fields with several values: each counts, for its key and as a value.

use super::*;

/// A binding of these accounts of namespace `shop`, or another request that names groups.
fn json(id: &str, user: &str, code: u16, at_seconds: i64, accounts: &[&str]) -> String {
    let subject =
        |name: &&str| format!(r#"{{"kind":"ServiceAccount","name":"{name}","namespace":"shop"}}"#);
    let subjects: Vec<String> = accounts.iter().map(subject).collect();
    let resource = if accounts.is_empty() {
        "secrets"
    } else {
        "rolebindings"
    };
    let verb = if accounts.is_empty() { "get" } else { "create" };
    let stamp = at(at_seconds);
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"{id}","stage":"ResponseComplete","requestURI":"/{resource}/{id}","verb":"{verb}","user":{{"username":"{user}"}},"sourceIPs":["10.0.0.9"],"userAgent":"curl/8","objectRef":{{"resource":"{resource}","namespace":"shop"}},"responseStatus":{{"code":{code}}},"requestObject":{{"subjects":[{}]}},"requestReceivedTimestamp":"{stamp}","stageTimestamp":"{stamp}"}}"#,
        subjects.join(",")
    )
}

impl Bench {
    fn told_json(&mut self, lines: &[String]) -> Vec<Detection> {
        let mut out = Vec::new();
        for line in lines {
            for observation in observe(&mut self.observer, line, "") {
                self.engine.admit(SOURCE, &observation, None, &mut out);
            }
        }
        out
    }
}

fn shorts(told: &[Detection]) -> Vec<String> {
    told.iter().map(short).collect()
}

fn chain() -> String {
    rule("probe", "responseStatus.code: 403", "")
        + &rule("grant", "objectRef.resource: rolebindings", "")
        + &rule(
            "use",
            "objectRef.resource: secrets, responseStatus.code: 200",
            "",
        )
        + &correlation(
            "escalation",
            "probe, grant, use",
            "type: temporal_ordered\n  group-by: [account]\n  timespan: 1h\n  aliases:\n    account: {probe: principal, grant: binding.subjects, use: principal}",
        )
}

#[test]
fn a_chain_is_found_whichever_account_the_binding_names() {
    let api = "system:serviceaccount:shop:api";
    let probe = json("probe", api, 403, 0, &[]);
    let used = json("use", api, 200, 20, &[]);
    for accounts in [
        &["api", "web", "job"],
        &["web", "api", "job"],
        &["web", "job", "api"],
    ] {
        let grant = json("grant", "bob", 201, 10, accounts);
        let expected = format!("escalation [{api}] probe,grant,use");
        for lines in [
            [probe.clone(), grant.clone(), used.clone()],
            [used.clone(), probe.clone(), grant.clone()],
        ] {
            let told = Bench::new(&chain()).told_json(&lines);
            assert_eq!(
                shorts(&told),
                std::slice::from_ref(&expected),
                "{accounts:?}"
            );
        }
    }
    let other = json("grant", "bob", 201, 10, &["web", "job"]);
    assert_eq!(Bench::new(&chain()).told_json(&[probe, other, used]), []);
}

#[test]
fn combinations_have_a_cap_and_what_is_beyond_is_counted() {
    let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::new(&chain());
    bench.told_json(&[json("grant", "bob", 201, 10, &names)]);
    let stats = bench.engine.stats();
    assert_eq!((stats.keys, stats.combinations_dropped), (16, 4));
}

#[test]
fn each_value_is_counted_and_the_request_once() {
    let text = rule("grant", "objectRef.resource: rolebindings", "")
        + &correlation(
            "generous",
            "grant",
            "type: value_count\n  group-by: [principal]\n  timespan: 1h\n  condition: {field: binding.subjects, gte: 4}",
        );
    let mut bench = Bench::new(&text);
    let told = bench.told_json(&[
        json("a", "bob", 201, 0, &["x", "y", "x"]),
        json("b", "bob", 201, 1, &["y", "z"]),
        json("c", "bob", 201, 2, &["z", "u", "v"]),
    ]);
    assert_eq!(shorts(&told), ["generous [bob] a,b,c"]);
    assert_eq!(
        (told[0].count, told[0].why.as_str()),
        (
            3,
            "5 different values of binding.subjects within 1h (threshold 4)"
        )
    );
}

#[test]
fn novelty_looks_at_each_value() {
    let text = rule(
        "new-grantee",
        "objectRef.resource: rolebindings",
        "auditwatch:\n  novelty: {by: [principal], of: [binding.subjects], learn: 1d, forget: 30d}",
    );
    let day = 86_400;
    let mut bench = Bench::new(&text);
    let told = bench.told_json(&[
        json("a", "bob", 201, 0, &["x", "y"]),
        json("b", "bob", 201, 2 * day, &["y", "x"]),
        json("c", "bob", 201, 3 * day, &["x", "z", "y", "u"]),
    ]);
    assert_eq!(shorts(&told), ["new-grantee [bob] c"]);
    assert_eq!(
        told[0].why,
        "binding.subjects system:serviceaccount:shop:z was never seen before with principal bob, \
         known for 3d; 1 more such in the same request"
    );
}

#[test]
fn a_rate_is_kept_for_each_value_of_its_key() {
    let text = rule(
        "surge",
        "objectRef.resource: rolebindings",
        "auditwatch:\n  rate: {by: [binding.subjects], every: 5m, factor: 8, min: 20}",
    );
    let mut bench = Bench::new(&text);
    let mut lines: Vec<String> = (0..60)
        .map(|n| json(&n.to_string(), "bob", 201, n * 150, &["x", "y"]))
        .collect();
    lines.extend((0..20).map(|n| json(&format!("s{n}"), "bob", 201, 9_000 + n, &["x", "y"])));
    let told = bench.told_json(&lines);
    let keys: Vec<&str> = told.iter().map(|told| &*told.key[0].1).collect();
    assert_eq!(
        keys,
        [
            "system:serviceaccount:shop:x",
            "system:serviceaccount:shop:y"
        ]
    );
}
