//! `auditwatch notify`: a receiver is tried before somebody depends on it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::Value;

use super::program::{answer, program};

/// Takes as many bodies as there are statuses to answer with, and gives them back.
fn receiver(answers: &'static [&'static str]) -> (String, thread::JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let told = thread::spawn(move || {
        let mut told = Vec::new();
        for status in answers {
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
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            told.push(serde_json::from_slice(&body).unwrap());
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).unwrap();
        }
        told
    });
    (url, told)
}

#[test]
fn a_receiver_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let (soc, told) = receiver(&["200 OK", "200 OK"]);
    let (no, refused) = receiver(&["401 Unauthorized"]);
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
            "soc (webhook) took the test alert, and that it is over\n"
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
    assert!(!bad.stderr.contains("/hook"), "{}", bad.stderr);
    refused.join().unwrap();

    let unknown = run(&["sock"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown
            .stderr
            .contains("there is no receiver `sock`; did you mean `soc`?")
    );
}
