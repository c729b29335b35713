//! Where receivers are and what opens them stays in the process: receivers that refuse and quote
//! what they were sent, that are not there, and that speak no TLS, with the log at its most
//! talkative.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::program::{answer, program};

/// Every secret of a receiver holds this.
const CANARY: &str = "CanaryOfAReceiver";
/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

const RECEIVERS: [&str; 10] = [
    "slack",
    "slack-api",
    "teams",
    "pagerduty",
    "opsgenie",
    "email",
    "alertmanager",
    "refused",
    "untrusted",
    "signed",
];

const RULE: &str = "
title: Anything
name: anything
logsource: {product: kubernetes, service: audit}
detection: {selection: {verb: get}, condition: selection}
level: high
";

/// Answers 400 and all that it was sent, head and body.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                let (mut sent, mut length) = (String::new(), 0);
                loop {
                    let mut line = String::new();
                    if !reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                        return;
                    }
                    if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    sent.push_str(&line);
                    if line == "\r\n" {
                        break;
                    }
                }
                let mut body = vec![0; length];
                let _ = reader.read_exact(&mut body);
                sent.push_str(&String::from_utf8_lossy(&body));
                let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length:";
                let _ = write!(&stream, "{head} {}\r\n\r\n{sent}", sent.len());
            });
        }
    });
    port
}

fn config(folder: &Path) {
    let port = echo();
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    write("rule.yml", RULE);
    write(
        "url",
        &format!("http://127.0.0.1:{port}/{CANARY}/T1?sig={CANARY}2"),
    );
    write("refused", &format!("http://127.0.0.1:1/{CANARY}/T2"));
    write(
        "untrusted",
        &format!("https://127.0.0.1:{port}/{CANARY}/T3"),
    );
    write("key", &format!("{CANARY}123456"));
    // In base64, so that the canary is part of the key as it is written.
    write("signing", &format!("whsec_{CANARY}AAAAAAAAAAAAAAAAAAA"));
    write(
        "auditwatch.yml",
        &format!(
            "
sources: {{files: [audit.log], from: start}}
rules: {{shipped: false, paths: [rule.yml]}}
state: {{dir: state}}
admin: {{listen: off}}
log: {{level: trace}}
notify: {{timeout: 5s, backoff_first: 10ms, backoff_max: 50ms}}
receivers:
  - {{name: slack, slack: {{url_file: url}}}}
  - {{name: slack-api, slack: {{token_file: key, channel: C0123456789}}}}
  - {{name: teams, teams: {{url_file: url}}}}
  - {{name: pagerduty, pagerduty: {{routing_key_file: key, url: 'http://127.0.0.1:{port}/v2'}}}}
  - {{name: opsgenie, opsgenie: {{api_key_file: key, url: 'http://127.0.0.1:{port}/v2'}}}}
  - {{name: email, email: {{smarthost: '127.0.0.1:{port}', encryption: tls, from: a@example.com, to: [b@example.com], username: u, password_file: key}}}}
  - {{name: alertmanager, alertmanager: {{urls: ['http://u:{CANARY}9@127.0.0.1:{port}']}}}}
  - {{name: refused, webhook: {{url_file: refused}}}}
  - {{name: untrusted, webhook: {{url_file: untrusted}}}}
  - {{name: signed, webhook: {{url_file: url, signing_key_file: signing}}}}
"
        ),
    );
    let event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "a1",
        "stage": "ResponseComplete", "requestURI": "/api/v1/pods", "verb": "get",
        "user": {"username": "mallory"}, "sourceIPs": ["203.0.113.7"],
        "responseStatus": {"code": 200}, "objectRef": {"resource": "pods"},
        "requestReceivedTimestamp": "2026-11-23T11:05:17.800000Z",
        "stageTimestamp": "2026-11-23T11:05:17.835410Z",
    });
    write("audit.log", &format!("{event}\n"));
}

/// What the daemon's socket answers; nothing while it is not there.
fn get(folder: &Path, path: &str) -> String {
    let mut text = String::new();
    if let Ok(mut socket) = UnixStream::connect(folder.join("state/admin.sock")) {
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        socket.read_to_string(&mut text).unwrap();
    }
    text
}

fn holds_none(place: &str, text: &str) {
    let found = text.lines().find(|line| line.contains(CANARY));
    assert_eq!(found, None, "{place}");
}

/// What waits on the disk is the message, and not how it is sent.
fn the_disk_holds_none(state: &Path) {
    for entry in fs::read_dir(state).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(CANARY), "{}", path.display());
        }
    }
}

#[test]
fn no_secret_of_a_receiver_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    config(folder);
    let run = |args: &[&str]| {
        let mut command = program();
        command.current_dir(folder).args(args);
        let answer = answer(&mut command, b"");
        holds_none(&args.join(" "), &(answer.stdout + &answer.stderr));
        answer.code
    };
    let (check, with) = (["check", "--config"], "auditwatch.yml");
    assert_eq!(run(&[check[0], check[1], with]), 0);
    for name in RECEIVERS {
        assert_eq!(
            run(&["notify", "preview", "--receiver", name, "--config", with]),
            0
        );
        // Slack's own address is not asked.
        if name != "slack-api" {
            assert_eq!(
                run(&["notify", "test", name, "--config", with]),
                1,
                "{name}"
            );
        }
    }

    let log = fs::File::create(folder.join("stderr")).unwrap();
    let mut daemon = program()
        .current_dir(folder)
        // What would go to Slack itself goes nowhere.
        .env("HTTPS_PROXY", "http://127.0.0.1:1")
        .args(["run", "--config", with])
        .stdout(fs::File::create(folder.join("stdout")).unwrap())
        .stderr(Stdio::from(log))
        .spawn()
        .unwrap();
    let start = Instant::now();
    let failed = |metrics: &str, name: &str| {
        let label = format!("receiver=\"{name}\"");
        metrics
            .lines()
            .filter(|line| line.starts_with("auditwatch_notifications_failed_total"))
            .any(|line| line.contains(&label) && !line.ends_with(" 0"))
    };
    loop {
        let metrics = get(folder, "/metrics");
        if RECEIVERS.iter().all(|name| failed(&metrics, name)) {
            break;
        }
        if start.elapsed() > PATIENCE {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
            panic!("not all have failed:\n{metrics}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    for path in [
        "/metrics",
        "/",
        "/readyz",
        "/api/v1/alerts",
        "/api/v1/history",
        "/api/v1/silences",
    ] {
        let text = get(folder, path);
        assert!(!text.is_empty(), "{path}");
        holds_none(path, &text);
    }
    for args in [
        &["alerts", "list", "--state", "state"][..],
        &["outbox", "list", "--state", "state"],
        &["outbox", "list", "--dead", "--state", "state"],
        &["silence", "list", "--state", "state"],
    ] {
        assert_eq!(run(args), 0, "{args:?}");
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let log = fs::read_to_string(folder.join("stderr")).unwrap();
    for name in ["pagerduty", "refused", "untrusted"] {
        assert!(log.contains(name), "the log tells of {name}:\n{log}");
    }
    holds_none("the log", &log);
    holds_none(
        "stdout",
        &fs::read_to_string(folder.join("stdout")).unwrap(),
    );
    the_disk_holds_none(&folder.join("state"));
}
