//! `auditwatch run` as people start it: what it says when something is wrong, and a whole life
//! from a first line to an orderly end.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is tests, the functions that they share too"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

fn auditwatch(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditwatch"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

/// What a start that cannot succeed says; every one ends with exit code 2 and an empty stdout.
fn refused(folder: &Path, args: &[&str]) -> String {
    refused_with(auditwatch(folder).arg("run").args(args), 2)
}

fn refused_with(command: &mut Command, code: i32) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(code), "{told}");
    assert_eq!(stdout, b"", "{told}");
    told
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("audit.log"), "").unwrap();
    folder
}

#[test]
fn nothing_to_watch_shows_the_ways() {
    let told = refused(folder().path(), &[]);
    for way in [
        "nothing to watch",
        "run --file",
        "run --webhook",
        "--config FILE",
    ] {
        assert!(told.contains(way), "{told}");
    }
}

#[test]
fn each_mistake_is_one_clear_message() {
    let folder = folder();
    fs::write(folder.path().join("broken.crt"), "no certificate").unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    let watch = ["--file", "audit.log", "--admin", "127.0.0.1:0"];
    let hook = ["--webhook", "127.0.0.1:0", "--admin", "off"];
    for (common, more, told) in [
        (
            &watch,
            ["--config", "gone.yml"],
            "gone.yml: no such file or folder",
        ),
        (&watch, ["--webhook", busy.as_str()], "the port is in use"),
        (&watch, ["--webhook", "9443"], "write 0.0.0.0:9443"),
        (
            &watch,
            ["--alert-webhook", "siem.example"],
            "the URL is not usable",
        ),
        (
            &watch,
            ["--slack-url-file", "gone"],
            "the file `gone` does not exist\n  --> --slack-url-file",
        ),
        (
            &watch,
            ["--slack-url-file", "empty"],
            "`empty` is empty; write the secret into it",
        ),
        (
            &watch,
            ["--alert-log", "gone/alerts"],
            "the folder `gone` does not exist",
        ),
        (
            &watch,
            ["--trusted-proxy", "10.0.0.0/99"],
            "neither an address nor a network",
        ),
        (
            &watch,
            ["--rules", "gone"],
            "`gone`: no such file or folder",
        ),
        (&watch, ["--min-level", "hihg"], "did you mean `high`?"),
        (
            &watch,
            ["--threads", "0"],
            "`threads` must be between 1 and 1024\n  --> --threads",
        ),
        (
            &hook,
            ["--tls-cert", "broken.crt"],
            "TLS needs `key_file` (--tls-key) too",
        ),
        (
            &hook,
            ["--token-file", "gone"],
            "cannot use the token file `gone`: the file does not exist",
        ),
        (&hook, ["--token-file", "empty"], "it holds no token"),
    ] {
        let all: Vec<&str> = common.iter().copied().chain(more).collect();
        let answer = refused(folder.path(), &all);
        assert!(answer.contains(told), "{more:?}\n{answer}");
        let problems = answer.lines().filter(|line| line.starts_with("error["));
        assert!(problems.count() <= 1, "{more:?}\n{answer}");
    }
    let tls = ["--tls-cert", "broken.crt", "--tls-key", "broken.crt"];
    let answer = refused(folder.path(), &[&hook[..], &tls].concat());
    assert!(answer.contains("BEGIN CERTIFICATE"), "{answer}");
    let admin = ["--file", "audit.log", "--admin", busy.as_str()];
    let answer = refused(folder.path(), &admin);
    assert!(
        answer.contains("admin endpoint: cannot listen on"),
        "{answer}"
    );
    assert!(answer.contains("--admin off"), "{answer}");
}

#[test]
fn a_log_that_cannot_be_there_is_unreadable_input() {
    let folder = folder();
    let mut command = auditwatch(folder.path());
    command.args(["run", "--file", "gone/audit.log", "--admin", "off"]);
    let told = refused_with(&mut command, 3);
    assert!(told.contains("cannot watch `gone/audit.log`"), "{told}");
}

#[test]
fn three_mistakes_are_told_at_once_with_their_lines() {
    let folder = folder();
    let text = "sources: {files: [audit.log]}\nalerts:\n  resolve_after: 5 minutes\n\
                recievers: []\nengine: {lateness: -1s}\n";
    fs::write(folder.path().join("a.yml"), text).unwrap();
    let told = refused(folder.path(), &["--config", "a.yml"]);
    for place in [
        "a.yml:3:18",
        "a.yml:4:1",
        "a.yml:5:20",
        "did you mean `receivers`?",
        "3 errors",
    ] {
        assert!(told.contains(place), "{told}");
    }
    let checked = auditwatch(folder.path())
        .args(["check", "--config", "a.yml"])
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(checked.stdout).unwrap().trim_end(),
        told.trim_end()
    );
}

#[test]
fn check_reads_the_rules_that_a_configuration_names() {
    let folder = folder();
    fs::write(folder.path().join("own.yml"), "title: x\n").unwrap();
    fs::write(
        folder.path().join("a.yml"),
        "rules: {disable: [no-such-rule]}\n",
    )
    .unwrap();
    fs::write(folder.path().join("b.yml"), "rules: {paths: [own.yml]}\n").unwrap();
    fs::write(folder.path().join("c.yml"), "cluster: c\n").unwrap();
    for (file, code, told) in [
        ("a.yml", 1, "there is no rule `no-such-rule`"),
        ("b.yml", 1, "own.yml:1:1"),
        ("c.yml", 0, "c.yml: 0 sources, 0 receivers"),
        ("gone.yml", 2, ""),
    ] {
        let checked = auditwatch(folder.path())
            .args(["check", "--config", file])
            .output()
            .unwrap();
        let text = String::from_utf8(checked.stdout).unwrap();
        assert_eq!(checked.status.code(), Some(code), "{text}");
        assert!(text.contains(told), "{text}");
    }
}

/// A daemon that is killed when a test fails.
struct Daemon {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Daemon {
    fn start(command: &mut Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    /// The first line on stderr with these words.
    fn told(&mut self, words: &str) -> String {
        let mut all = String::new();
        for line in self.stderr.by_ref().lines() {
            let line = line.unwrap();
            if line.contains(words) {
                return line;
            }
            all += &(line + "\n");
        }
        panic!("it never said `{words}`, but\n{all}");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An exec into a pod of a namespace that only Kubernetes' own parts should work in.
const EXEC: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"6a5f8d6c-5b32-4a9b-9d54-0d5f5b9f8a01","stage":"ResponseStarted","requestURI":"/api/v1/namespaces/kube-system/pods/etcd-0/exec?command=sh&stdin=true&tty=true","verb":"create","user":{"username":"mallory","groups":["system:authenticated"]},"sourceIPs":["203.0.113.7"],"userAgent":"kubectl/v1.31.0","objectRef":{"resource":"pods","namespace":"kube-system","name":"etcd-0","apiVersion":"v1","subresource":"exec"},"responseStatus":{"metadata":{},"code":101},"requestReceivedTimestamp":"2026-11-23T11:05:17.800000Z","stageTimestamp":"2026-11-23T11:05:17.835410Z"}"#;

fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_watches_tells_reloads_and_ends() {
    let folder = folder();
    let configuration = "sources: {files: [audit.log]}\nadmin: {listen: '127.0.0.1:0'}\n\
                         receivers: [{alert_log: {path: alerts.jsonl}}]\n";
    fs::write(folder.path().join("a.yml"), configuration).unwrap();
    let mut command = auditwatch(folder.path());
    command
        .args(["run", "--config", "a.yml", "--output", "json"])
        .env("AUDITWATCH_CLUSTER", "prod")
        .env("AUDITWATCH_TREADS", "1");
    let mut daemon = Daemon::start(&mut command);
    daemon.told("did you mean `AUDITWATCH_THREADS`?");
    let started = daemon.told("watching ");
    assert!(
        started
            .starts_with("watching audit.log; alerts on stdout, alerts.jsonl; metrics on http://"),
        "{started}"
    );
    let (_, address) = started.rsplit_once("http://").unwrap();
    let (address, rest) = address.split_once("/metrics").unwrap();
    assert!(rest.contains("there is no --state DIR"), "{started}");

    fs::write(folder.path().join("audit.log"), format!("{EXEC}\n")).unwrap();
    let mut stdout = BufReader::new(daemon.child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(
        line.contains(r#""cluster":"prod""#) && line.contains("mallory"),
        "{line}"
    );

    assert!(get(address, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(address, "/api/v1/alerts").contains("mallory"));
    assert!(get(address, "/metrics").contains("auditwatch_events_evaluated_total 1\n"));

    fs::write(folder.path().join("a.yml"), "rulse: {}\n").unwrap();
    daemon.signal("-HUP");
    daemon.told("did you mean `rules`?");
    assert!(get(address, "/metrics").contains("auditwatch_config_last_reload_successful 0\n"));
    fs::write(
        folder.path().join("a.yml"),
        format!("{configuration}threads: 3\n"),
    )
    .unwrap();
    daemon.signal("-HUP");
    daemon.told("changed beyond the rules");
    assert!(get(address, "/metrics").contains("auditwatch_config_last_reload_successful 1\n"));

    daemon.signal("-TERM");
    daemon.told("stopping");
    assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
    let log = fs::read_to_string(folder.path().join("alerts.jsonl")).unwrap();
    assert!(log.contains("mallory"), "{log}");
}
