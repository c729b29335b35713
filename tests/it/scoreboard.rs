//! `auditwatch scoreboard` on the sample logs: what is caught stays caught.

use std::fs;

use crate::program::{auditwatch, root};

/// What becomes of each scenario of the sample logs.
const BOARD: &[(&str, &str)] = &[
    ("quiet", "benign-typo"),
    // bob's certificate really is in two places at that time.
    ("touched", "benign-own-exec"),
    ("quiet", "benign-rollout"),
    ("quiet", "benign-expired-token"),
    ("caught", "csr-self-approved-and-used"),
    ("caught", "exec-steals-token"),
    ("caught", "exec-kube-system"),
    ("caught", "forbidden-slow-serviceaccount"),
    ("caught", "probe-grant-use"),
    ("caught", "pod-token-off-home"),
    ("caught", "impersonate-masters"),
    ("caught", "impersonate-denied"),
    ("caught", "node-credential-off-node"),
    ("caught", "pod-token-off-home-quiet"),
    ("caught", "forbidden-burst-user"),
    ("caught", "token-minted-and-used"),
    ("caught", "secrets-dump"),
    ("caught", "secrets-one-by-one"),
    ("caught", "escalation-blocked"),
    ("caught", "rbac-backdoor"),
    ("caught", "anonymous-probe"),
    ("caught", "legacy-token-secret"),
    ("caught", "authentication-spray"),
];

#[test]
fn the_samples_are_caught_and_nothing_else_alerts() {
    let answer = auditwatch(["scoreboard", "sample-logs/labels.json", "sample-logs"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (0, ""));
    let came: Vec<(&str, &str)> = answer
        .stdout
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let mut words = line.split_whitespace();
            let word = words.next().unwrap();
            (word, words.nth(1).unwrap())
        })
        .collect();
    assert_eq!(came, BOARD);
    assert!(answer.stdout.contains("19 of 19 attacks caught"));
    let soon = "exec-steals-token              exec-reads-credentials (high, 0.0s)  exec-reverse-shell (high, 1.0s)";
    assert!(answer.stdout.contains(soon), "{}", answer.stdout);
    let none = ": 0 critical (0.0/h) 0 high (0.0/h) 0 medium (0.0/h) 0 low (0.0/h)";
    assert!(answer.stdout.contains(none), "{}", answer.stdout);
}

#[test]
fn what_is_missed_is_told_by_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let labels = folder.path().join("labels.json");
    let shipped = fs::read_to_string(root().join("sample-logs/labels.json")).unwrap();
    let board = |text: &str| {
        fs::write(&labels, text).unwrap();
        auditwatch(["scoreboard", labels.to_str().unwrap(), "sample-logs"])
    };
    let stricter = board(&shipped.replace("\"medium\"", "\"critical\""));
    assert_eq!(stricter.code, 1);
    assert!(
        stricter
            .stdout
            .contains("MISSED   critical      anonymous-probe")
    );
    let wrong = board(&shipped.replace("\"medium\"", "\"urgent\""));
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("`urgent` is no severity"),
        "{}",
        wrong.stderr
    );
    let none = board("{}");
    assert_eq!(none.code, 2);
    assert!(
        none.stderr.contains("missing field `scenarios`"),
        "{}",
        none.stderr
    );
}
