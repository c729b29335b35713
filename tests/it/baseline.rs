//! `auditwatch baseline`: what old logs teach, carried from one state to another.

use std::{fs, path::Path};

use super::program::{Answer, auditwatch};

const DAY: i64 = 86_400;

/// A session of a person in a namespace, `seconds` after the start of November 2026.
fn session(id: usize, user: &str, namespace: &str, seconds: i64) -> String {
    let (day, rest) = (1 + seconds / DAY, seconds % DAY);
    let time = format!(
        "2026-11-{day:02}T{:02}:{:02}:{:02}.000000Z",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    );
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{id}","stage":"ResponseStarted","requestURI":"/api/v1/namespaces/{namespace}/pods/web/exec?command=ls","verb":"create","user":{{"username":"{user}","groups":["system:authenticated"]}},"sourceIPs":["10.0.0.9"],"userAgent":"kubectl/v1.31.0","objectRef":{{"resource":"pods","namespace":"{namespace}","name":"web","apiVersion":"v1","subresource":"exec"}},"responseStatus":{{"code":101}},"requestReceivedTimestamp":"{time}","stageTimestamp":"{time}"}}
"#
    )
}

fn baseline(action: &str, rest: &[&str], state: &Path) -> Answer {
    let place = ["--state", state.to_str().unwrap()];
    auditwatch(["baseline", action].iter().chain(rest).chain(&place))
}

#[test]
fn old_logs_teach_and_what_they_taught_can_be_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let old = path("old.jsonl");
    let lines: Vec<String> = (0..12)
        .map(|day| session(day, "alice", ["shop", "mail"][day % 2], day as i64 * DAY))
        .collect();
    fs::write(&old, lines.concat()).unwrap();

    let (one, two) = (path("one"), path("two"));
    let old = old.to_str().unwrap();
    let learnt = baseline("learn", &[old, "--cluster", "east"], &one);
    assert_eq!(learnt.code, 0, "{}", learnt.stderr);
    assert!(
        learnt.stdout.starts_with("learnt from 12 events"),
        "{}",
        learnt.stdout
    );
    let shown = baseline("show", &["first-session", "--principal", "alice"], &one);
    assert!(
        shown
            .stdout
            .contains("alice, known since 2026-11-01T00:00:00"),
        "{}",
        shown.stdout
    );
    for namespace in ["shop", "mail"] {
        assert!(shown.stdout.contains(namespace), "{}", shown.stdout);
    }

    let exported = baseline("export", &[], &one);
    let file = path("east.json");
    fs::write(&file, &exported.stdout).unwrap();
    let file = file.to_str().unwrap();
    let taken = baseline("import", &[file, "--cluster", "east"], &two);
    assert_eq!(taken.code, 0, "{}", taken.stderr);
    assert_eq!(baseline("export", &[], &two).stdout, exported.stdout);

    for (change, part) in [
        (r#""auditwatch_baselines": 1"#, "its version is 7"),
        (r#""meaning": ""#, "means something else here"),
        (r#""id": ""#, "is not here"),
    ] {
        let wrong = path("wrong.json");
        let with = change.replace('1', "7").replace(": \"", ": \"0");
        fs::write(&wrong, exported.stdout.replace(change, &with)).unwrap();
        let refused = baseline("import", &[wrong.to_str().unwrap()], &two);
        assert_eq!(refused.code, 2, "{change}");
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("nothing was taken"),
            "{}",
            refused.stderr
        );
    }
    let refused = baseline("import", &[file, "--cluster", "west"], &two);
    assert!(
        refused.stderr.contains("of cluster `east`, not `west`"),
        "{}",
        refused.stderr
    );

    let name = ["--rule", "first-session", "--principal", "alice"];
    assert_eq!(baseline("forget", &name, &two).stdout, "forgot 1 key\n");
    let nobody = baseline("forget", &name, &two);
    assert_eq!(nobody.code, 1);
    assert!(
        nobody.stderr.contains("knows nothing of `alice`"),
        "{}",
        nobody.stderr
    );
    let gone = baseline("show", &[], &path("gone"));
    assert_eq!(gone.code, 3);
    assert!(gone.stderr.contains("there is none") && !path("gone").exists());
}

#[test]
fn explain_says_what_a_baseline_knows_by_then() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let lines = [
        session(1, "alice", "shop", 0),
        session(2, "alice", "mail", 2 * DAY),
        session(3, "alice", "bank", 9 * DAY),
    ];
    fs::write(&log, lines.concat()).unwrap();
    let explain = |id: &str| {
        let log = log.to_str().unwrap();
        let answer = auditwatch(["explain", "first-session", "--file", log, "--audit-id", id]);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        answer.stdout
    };
    let early = explain("2");
    let learning =
        "learning until 2026-11-08T00:00:00.000000Z, nothing is new before; known: mail, shop";
    assert!(early.contains(learning), "{early}");
    let late = explain("3");
    assert!(
        late.contains("known: mail, shop; this one, bank, is held since"),
        "{late}"
    );
    assert!(
        late.contains("first-session alerts: objectRef.namespace bank was never"),
        "{late}"
    );
    let log = log.to_str().unwrap();
    let alerts = auditwatch(["replay", log, "--output", "json"]).objects();
    let id = alerts[0]["id"].as_str().unwrap();
    let answer = auditwatch(["explain", id, "--file", log]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let way = format!("auditwatch explain first-session --file {log} --audit-id 3");
    assert!(answer.stdout.contains(&way), "{}", answer.stdout);
    let other = auditwatch(["explain", id, "--file", log, "--cluster", "west"]);
    assert_eq!(other.code, 1);
    assert!(
        other.stderr.contains("is --cluster the name"),
        "{}",
        other.stderr
    );
    let which = auditwatch(["explain", "first-session", "--file", log]);
    assert_eq!(which.code, 2);
    assert!(which.stderr.contains("--audit-id"), "{}", which.stderr);
}
