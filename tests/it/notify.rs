//! `auditwatch notify`: a receiver is tried before somebody depends on it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::Value;

use super::program::{answer, program};

/// Takes as many bodies as there are statuses (and bodies) to answer with, and gives them back.
fn receiver(
    answers: &'static [(&'static str, &'static str)],
) -> (String, thread::JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "http://{}/hook/CanarySecret9",
        listener.local_addr().unwrap()
    );
    let told = thread::spawn(move || {
        let mut told = Vec::new();
        for (status, body) in answers {
            let mut reader = BufReader::new(listener.accept().unwrap().0);
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim().to_lowercase();
                if let Some(given) = line.strip_prefix("content-length:") {
                    length = given.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            let mut message = vec![0; length];
            reader.read_exact(&mut message).unwrap();
            told.push(serde_json::from_slice(&message).unwrap());
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
        told
    });
    (url, told)
}

#[test]
fn a_receiver_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let (soc, told) = receiver(&[("200 OK", ""), ("200 OK", "thanks")]);
    let (no, refused) = receiver(&[("401 Unauthorized", "no /hook/CanarySecret9 here")]);
    let config = folder.path().join("auditwatch.yml");
    fs::write(
        &config,
        format!(
            "receivers:\n  - {{name: soc, webhook: {{url: '{soc}'}}}}\n  - {{name: siem, webhook: {{url: '{no}'}}}}\n"
        ),
    )
    .unwrap();
    let run = |names: &[&str]| {
        let mut command = program();
        command.args(["notify", "test"]).args(names);
        answer(command.arg("--config").arg(&config), b"")
    };
    let good = run(&["soc"]);
    assert_eq!(
        (good.code, good.stdout.as_str()),
        (
            0,
            "soc (webhook) took the test alert, and that it is over; it answered: 200, then 200 thanks\n"
        ),
        "{}",
        good.stderr
    );
    let told = told.join().unwrap();
    let short: Vec<_> = told
        .iter()
        .map(|alert| (&alert["status"], &alert["rule"]["name"]))
        .collect();
    assert_eq!(
        short,
        [
            (&"firing".into(), &"auditwatch-test".into()),
            (&"resolved".into(), &"auditwatch-test".into())
        ]
    );
    assert_eq!(told[0]["id"], told[1]["id"]);

    let bad = run(&["siem"]);
    assert_eq!(bad.code, 1);
    let said = "siem (webhook) did not take the test alert: ";
    assert!(
        bad.stderr.contains(said) && bad.stderr.contains("401"),
        "{}",
        bad.stderr
    );
    let shown = "; it answered: 401 no [secret] here";
    assert!(bad.stderr.contains(shown), "{}", bad.stderr);
    assert!(!bad.stderr.contains("Canary"), "{}", bad.stderr);
    refused.join().unwrap();

    let unknown = run(&["sock"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown
            .stderr
            .contains("there is no receiver `sock`; did you mean `soc`?")
    );
}

/// What would be sent is printed on stdout and nothing is sent: by the routes and groups of the
/// configuration when there are events, made up when there are none.
#[test]
fn a_message_is_looked_at_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    file(
        "url",
        "https://hooks.slack.com/services/T0/B0/CanarySlackSecret",
    );
    file("key", "CanaryPagerKey");
    let config = file(
        "auditwatch.yml",
        "receivers:
  - {name: soc, slack: {url_file: url}}
  - {name: pager, pagerduty: {routing_key_file: key}, send_resolved: false}
route: {receiver: soc, routes: [{matchers: [severity=critical], receiver: pager}]}
",
    );
    let preview = |receiver: &str, more: &[&str]| {
        let mut command = program();
        command.args(["notify", "preview", "--receiver", receiver, "--config"]);
        let answer = answer(command.arg(&config).args(more), b"");
        for shown in [&answer.stdout, &answer.stderr] {
            assert!(!shown.contains("Canary"), "{shown}");
        }
        answer
    };
    let slack = preview("soc", &[]);
    assert_eq!(
        (slack.code, slack.objects().len()),
        (0, 2),
        "{}",
        slack.stderr
    );
    let title = &slack.objects()[0]["blocks"][0]["text"]["text"];
    assert_eq!(title, "🔴 HIGH: Full power over the cluster granted");
    assert!(
        slack
            .stderr
            .contains("POST https://hooks.slack.com/[secret]\n"),
        "{}",
        slack.stderr
    );
    let pager = preview("pager", &[]);
    assert_eq!(pager.objects().len(), 1);
    assert_eq!(pager.objects()[0]["routing_key"], "[secret]");

    let log = "sample-logs/impersonation-and-escalation.jsonl.gz";
    let some = preview("soc", &["--events", log, "--limit", "1"]);
    assert_eq!(some.objects().len(), 1);
    assert!(
        some.stderr.contains(" more would follow; see --limit"),
        "{}",
        some.stderr
    );
    let quiet = preview("pager", &["--events", "sample-logs/quiet.jsonl.gz"]);
    assert_eq!((quiet.code, quiet.stdout.as_str()), (0, ""));
    assert!(
        quiet.stderr.contains("nothing would be sent to pager"),
        "{}",
        quiet.stderr
    );

    let wrong = preview("sock", &[]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong
            .stderr
            .contains("there is no receiver `sock`; did you mean `soc`?")
    );
    assert_eq!(preview("soc", &["--events", "no-such-file"]).code, 3);
}

/// Listens once and gives the first line that it is sent, having answered that all is well.
fn listen_once() -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
        line
    });
    (port, taken)
}

#[test]
fn proxies_of_the_environment_are_asked() {
    let folder = tempfile::tempdir().unwrap();
    let tell = |url: &str, proxy: u16, not_for: &str| {
        let config = folder.path().join("auditwatch.yml");
        let text =
            format!("receivers: [{{name: r, send_resolved: false, webhook: {{url: '{url}'}}}}]");
        fs::write(&config, text).unwrap();
        let mut command = program();
        command
            .args(["notify", "test", "r", "--config"])
            .arg(&config);
        let proxy = format!("http://127.0.0.1:{proxy}");
        command
            .env("HTTP_PROXY", &proxy)
            .env("HTTPS_PROXY", &proxy)
            .env("NO_PROXY", not_for);
        answer(&mut command, b"")
    };
    let (proxy, asked) = listen_once();
    let told = tell("http://receiver.invalid/hook", proxy, "");
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(
        asked.join().unwrap(),
        "POST http://receiver.invalid/hook HTTP/1.1\r\n"
    );

    // TLS goes through it in a tunnel; this one breaks it off.
    let (proxy, asked) = listen_once();
    let told = tell("https://receiver.invalid/CanaryPath", proxy, "");
    assert_eq!(told.code, 1);
    assert!(!told.stderr.contains("CanaryPath"), "{}", told.stderr);
    assert_eq!(
        asked.join().unwrap(),
        "CONNECT receiver.invalid:443 HTTP/1.1\r\n"
    );

    let (receiver, asked) = listen_once();
    let told = tell(&format!("http://127.0.0.1:{receiver}/hook"), 1, "127.0.0.1");
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(asked.join().unwrap(), "POST /hook HTTP/1.1\r\n");
}
