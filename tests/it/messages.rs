//! Messages under attack, through the built program: whatever a caller of the API server chose,
//! and however much of it, nothing breaks out of any receiver's message.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::program::{Answer, answer, program};

/// Every alert of a log is told; who is told, and how, is all the same to the rule.
const RULE: &str = "
title: Anything
id: 7d1c7d60-4a53-4a0e-9a3b-3d0a8f0a9c01
name: anything
logsource: {product: kubernetes, service: audit}
detection: {selection: {user.username|exists: true}, condition: selection}
level: high
auditwatch:
  summary: '{{ principal }} did {{ verb }} with {{ userAgent }} at {{ requestURI }}'
  respond: ['kubectl get {{ objectRef.resource }} {{ objectRef.name }}']
  contain: ['kubectl delete {{ objectRef.resource }} {{ objectRef.name }}']
";

const RECEIVERS: &str = "
rules: {shipped: false, paths: [rule.yml]}
receivers:
  - {name: slack, slack: {url_file: url}}
  - {name: slack_api, slack: {token_file: key, channel: C0123456789}}
  - {name: teams, teams: {url_file: url}}
  - {name: pagerduty, pagerduty: {routing_key_file: key}}
  - {name: opsgenie, opsgenie: {api_key_file: key}}
  - {name: email, email: {smarthost: 'mail.example.com:587', from: a@example.com, to: [b@example.com]}}
  - {name: alertmanager, alertmanager: {urls: ['http://am.example:9093']}}
  - {name: webhook, webhook: {url_file: url}}
  - {name: cef, syslog: {address: 'siem.example.com:6514', format: cef}}
  - {name: ocsf, syslog: {address: 'siem.example.com:6514', format: ocsf}}
  - {name: log, alert_log: {path: alerts.jsonl}}
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    file("rule.yml", RULE);
    file("auditwatch.yml", RECEIVERS);
    file("url", "https://hooks.example/CanarySecretPath");
    file("key", "CanarySecretKey");
    folder
}

fn event(who: &str, name: &str, agent: &str, second: usize) -> String {
    let time = format!("2026-11-23T11:05:{second:02}.000000Z");
    let event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": format!("{who}{name}"), "stage": "ResponseComplete",
        "requestURI": format!("/api/v1/namespaces/{name}/pods/{name}"), "verb": "get",
        "user": {"username": who, "groups": [who]}, "sourceIPs": [agent], "userAgent": agent,
        "objectRef": {"resource": name, "namespace": name, "name": name},
        "responseStatus": {"code": 200, "message": name},
        "requestReceivedTimestamp": time, "stageTimestamp": time,
    });
    format!("{event}\n")
}

fn preview(folder: &Path, receiver: &str) -> Answer {
    let mut command = program();
    command.current_dir(folder);
    command.args(["notify", "preview", "--config", "auditwatch.yml"]);
    command.args([
        "--events",
        "audit.log",
        "--limit",
        "1000",
        "--receiver",
        receiver,
    ]);
    let answer = answer(&mut command, b"");
    assert_eq!(answer.code, 0, "{receiver}: {}", answer.stderr);
    for shown in [&answer.stdout, &answer.stderr] {
        assert!(!shown.contains("Canary"), "{receiver}: {shown}");
    }
    answer
}

/// Characters that act instead of being seen, but for the line ends that the form itself has.
fn acts(text: &str) -> bool {
    text.chars().any(|c| {
        (c.is_control() && c != '\n' && c != '\r')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    })
}

/// Every text of a JSON value.
fn texts<'v>(value: &'v Value, found: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(all) => all.iter().for_each(|value| texts(value, found)),
        Value::Object(all) => all.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

#[test]
fn nothing_breaks_out_of_a_message() {
    let folder = folder();
    let long = format!("<!channel>{}@everyone", "x".repeat(300_000));
    let hostile = [
        "<!channel> <@U0123> <#C0123|x>",
        "@everyone @here <at>all</at>",
        "[click](https://evil.example) *b* _i_ ~s~ `c` ```d```",
        "<script>alert(1)</script><img src=x onerror=alert(1)>&\"'",
        "a\r\nBcc: evil@evil.example\r\n\r\n.\r\nDATA",
        "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m",
        "{{ principal }} {% for x in y %} ${HOME} $(reboot)",
        "\u{202e}txt.exe\u{200b}\u{2066}",
        "|cs1=x src=6.6.6.6 \\ ]",
        "--all",
        &long,
    ];
    let lines: String = hostile
        .iter()
        .map(|text| event(text, text, text, 0))
        .collect();
    fs::write(folder.path().join("audit.log"), lines).unwrap();
    for receiver in [
        "slack",
        "slack_api",
        "teams",
        "pagerduty",
        "opsgenie",
        "alertmanager",
        "webhook",
        "log",
    ] {
        let told = preview(folder.path(), receiver);
        assert!(!acts(&told.stdout), "{receiver}: {:?}", told.stdout);
        let messages = told.objects_or_lists();
        assert!(!messages.is_empty(), "{receiver}");
        for message in &messages {
            let size = message.to_string().len();
            assert!(size < 100_000, "{receiver}: {size}");
            let mut found = Vec::new();
            texts(message, &mut found);
            let people = !matches!(receiver, "webhook" | "log" | "alertmanager");
            for text in found.iter().filter(|_| people) {
                assert!(!acts(text), "{receiver}: {text:?}");
                let is_slack = receiver.starts_with("slack");
                let mention = ["<!", "<@", "<#"].iter().any(|start| text.contains(start));
                assert!(!(is_slack && mention), "{text}");
                assert!(
                    !text.contains("\nkubectl delete --all"),
                    "{receiver}: {text}"
                );
            }
        }
    }
    let mail = preview(folder.path(), "email").stdout;
    assert!(!acts(&mail), "{mail:?}");
    assert!(
        !mail
            .lines()
            .any(|line| line.starts_with("Bcc:") || line == "DATA"),
        "{mail}"
    );
    // Plain text may hold what looks like HTML; HTML may not hold it as such.
    let whole = mail.replace("\r\n", "\n").replace("=\n", "");
    let pages = whole.split("Content-Type: text/html").skip(1);
    let pages: Vec<&str> = pages.filter_map(|page| page.split("\n--").next()).collect();
    assert!(!pages.is_empty(), "{mail}");
    for page in pages {
        assert!(
            page.contains("&lt;script&gt;") || !page.contains("script"),
            "{page}"
        );
        assert!(
            !page.contains("<script") && !page.contains("<img"),
            "{page}"
        );
    }
    for receiver in ["cef", "ocsf"] {
        let told = preview(folder.path(), receiver).stdout;
        assert!(!acts(&told), "{told:?}");
        for line in told.lines() {
            // Length, priority and header in front, and nothing that looks like another message.
            let (length, rest) = line.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), rest.len(), "{line}");
            assert!(
                rest.starts_with('<') && rest.contains(" - auditwatch - "),
                "{line}"
            );
            assert!(rest.len() < 100_000);
        }
    }
}

/// A thousand alerts in a minute are a handful of messages for people, in which each is counted.
#[test]
fn a_storm_is_a_handful_of_messages() {
    let folder = folder();
    let lines: String = (0..1_000)
        .map(|n| {
            event(
                &format!("user-{n}@acme.example"),
                "pods",
                "curl/8",
                n * 59 / 1_000,
            )
        })
        .collect();
    fs::write(folder.path().join("audit.log"), lines).unwrap();
    let slack = preview(folder.path(), "slack").objects_or_lists();
    assert!((1..=10).contains(&slack.len()), "{} messages", slack.len());
    let last = slack.last().unwrap().to_string();
    assert!(last.contains("1000 alerts of anything"), "{last}");
    assert!(
        last.contains("1000 high go on") && last.contains("and 990 more like these"),
        "{last}"
    );
    let log = preview(folder.path(), "log").objects_or_lists();
    assert_eq!(log.len(), 1_000, "machines are told each");
}
