//! The whole story as people live it: an attack in the log, a message, a silence, an
//! acknowledgement, the end; across a kill in between.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{Router, extract::State, routing::post};
use serde_json::{Value, json};

use crate::program::{Answer, answer, program};

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

type Told = Arc<Mutex<Vec<String>>>;

/// Something that takes messages like Slack does, and keeps them.
fn recorder(told: Told) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let keep = |State(told): State<Told>, body: String| async move {
                told.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(body);
                "ok"
            };
            let router = Router::new().route("/hook", post(keep)).with_state(told);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    format!("http://{address}/hook")
}

/// A request for a secret, refused or not.
fn event(number: usize, user: &str) -> String {
    let event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": format!("00000000-0000-4000-8000-{number:012}"), "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/secrets/s", "verb": "get",
        "user": {"username": user, "groups": ["system:authenticated"]},
        "sourceIPs": ["203.0.113.7"], "userAgent": "curl/8", "responseStatus": {"code": 200},
        "objectRef": {"resource": "secrets", "namespace": "shop", "name": "s"},
        "requestReceivedTimestamp": "2026-11-23T11:05:17.800000Z",
        "stageTimestamp": "2026-11-23T11:05:17.835410Z",
    });
    format!("{event}\n")
}

const RULE: &str = "
title: Secret read
name: secret-read
logsource: {product: kubernetes, service: audit}
detection:
  read: {objectRef.resource: secrets, verb: get}
  condition: read
level: high
";

struct Rig {
    folder: tempfile::TempDir,
    told: Told,
    daemon: Option<Child>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let told = Told::default();
        let url = recorder(Arc::clone(&told));
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("rules")).unwrap();
        fs::write(path("rules/secret-read.yml"), RULE).unwrap();
        fs::write(path("audit.log"), "").unwrap();
        fs::write(path("slack-url"), url).unwrap();
        let config = "
sources: {files: [audit.log], from: start}
rules: {shipped: false, paths: [rules]}
receivers: [{name: slack, slack: {url_file: slack-url}}]
route: {receiver: slack, group_by: [principal], group_interval: 1s}
state: {dir: state}
admin: {listen: off}
";
        fs::write(path("auditwatch.yml"), config).unwrap();
        let mut rig = Self {
            folder,
            told,
            daemon: None,
        };
        rig.start();
        rig
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&mut self) {
        let daemon = program()
            .arg("run")
            .arg("--config")
            .arg(self.path("auditwatch.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        self.until("the socket answers", |rig| {
            rig.ask(&["silence", "list"]).code == 0
        });
    }

    fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    fn log(&self, lines: &str) {
        let mut options = fs::OpenOptions::new();
        let mut file = options.append(true).open(self.path("audit.log")).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    fn ask(&self, args: &[&str]) -> Answer {
        ask(&self.path("state"), args)
    }

    /// What a command prints that has to work.
    fn done(&self, args: &[&str]) -> String {
        let answer = self.ask(args);
        assert_eq!(answer.code, 0, "{args:?}: {}", answer.stderr);
        answer.stdout.trim().to_owned()
    }

    fn open(&self) -> Vec<Value> {
        let lines = self.done(&["alerts", "list", "--json"]);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn alert_of(&self, user: &str) -> Option<Value> {
        let mut open = self.open().into_iter();
        open.find(|alert| alert["principal"]["name"] == user)
    }

    fn messages(&self) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !is_so(self) {
            let told = self.messages();
            assert!(
                started.elapsed() < PATIENCE,
                "in vain: {what}; told: {told:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn ask(state: &Path, args: &[&str]) -> Answer {
    let mut command = program();
    command
        .args(args)
        .env("AUDITWATCH_STATE", state)
        .env("USER", "eva");
    answer(&mut command, b"")
}

#[test]
fn an_attack_is_told_silenced_acknowledged_and_resolved() {
    let mut rig = Rig::new();
    rig.log(&event(1, "mallory"));
    rig.until("the first message", |rig| rig.messages().len() == 1);
    assert!(rig.messages()[0].contains("mallory"));
    let alert = rig.alert_of("mallory").unwrap();
    assert_eq!(alert["state"], "active");
    let id = alert["id"].as_str().unwrap();

    // What a silence would hide is shown before it does.
    let wish = [
        "silence",
        "add",
        "principal=trudy",
        "--duration",
        "2h",
        "--comment",
        "a drill",
    ];
    let would = rig.done(&[&wish[..], &["--dry-run"]].concat());
    assert!(!would.contains(id), "{would}");
    let silence = rig.done(&wish);
    rig.done(&["alerts", "ack", id, "--comment", "mine"]);

    // What was answered is safe, whatever happens now.
    rig.kill();
    rig.start();
    let listed = rig.done(&["silence", "list"]);
    assert!(
        listed.contains(&silence) && listed.contains("eva"),
        "{listed}"
    );
    rig.log(&event(2, "trudy"));
    rig.until("the silenced alert", |rig| rig.alert_of("trudy").is_some());
    let hidden = rig.alert_of("trudy").unwrap();
    assert_eq!(hidden["silencedBy"], json!([silence]));
    let shown = rig.done(&["alerts", "show", id]);
    assert!(shown.contains("acked by  eva"), "{shown}");
    assert!(shown.contains("mine"), "{shown}");
    assert!(shown.contains("told  slack at"), "{shown}");

    // The end of one is told, and nothing of the other until its silence ends.
    rig.done(&["alerts", "resolve", id]);
    rig.until("that it is over", |rig| {
        rig.messages()
            .iter()
            .any(|text| text.contains("mallory") && text.contains(", over:"))
    });
    assert!(rig.alert_of("mallory").is_none());
    let past = rig.done(&["alerts", "list", "--since", "1h"]);
    assert!(past.contains(id), "{past}");
    let shown = rig.done(&["alerts", "show", id]);
    assert!(
        shown.contains("acked by  eva") && shown.contains("resolved"),
        "{shown}"
    );
    assert!(!rig.messages().iter().any(|text| text.contains("trudy")));
    rig.done(&["silence", "expire", &silence]);
    rig.until("what was hidden", |rig| {
        rig.messages().iter().any(|text| text.contains("trudy"))
    });
    assert_eq!(
        rig.ask(&["silence", "expire", &silence]).code,
        1,
        "it has ended already"
    );
}

#[test]
fn what_people_get_wrong_is_told() {
    let rig = Rig::new();
    let add = ["silence", "add", "--duration", "1h", "--comment", "x"];
    for (args, code, told) in [
        (&["alertname=~.*"][..], 2, "would hide every alert"),
        (
            &["alertname"],
            2,
            "one of `=`, `!=`, `=~`, `!~` must follow",
        ),
        (&["alertname=~("], 2, "no regular expression"),
        (&["a=b", "--until", "noon"], 2, "cannot be used with"),
    ] {
        let answer = rig.ask(&[&add[..], args].concat());
        assert_eq!(answer.code, code, "{args:?}: {}", answer.stderr);
        assert!(answer.stderr.contains(told), "{args:?}: {}", answer.stderr);
    }
    for args in [
        ["silence", "expire", "nobody"],
        ["alerts", "ack", "nobody"],
        ["alerts", "show", "nobody"],
    ] {
        let answer = rig.ask(&args);
        assert_eq!(answer.code, 1, "{args:?}");
        assert_eq!(answer.stderr, "nobody: there is none of this id\n");
    }
    let nowhere = ask(Path::new("/nowhere"), &["alerts", "list"]);
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere
            .stderr
            .contains("no auditwatch answers at /nowhere/admin.sock")
    );

    // What amtool prints is taken over, once.
    let file = rig.path("silences.json");
    let silence = json!({
        "id": "e4b33a3c-5d5e-4bd1-9b3c-111111111111", "status": {"state": "active"},
        "createdBy": "ops", "comment": "upgrade", "updatedAt": "2026-11-01T00:00:00.000Z",
        "startsAt": "2026-11-01T00:00:00.000Z", "endsAt": "2099-01-01T00:00:00.000Z",
        "matchers": [{"name": "namespace", "value": "team-.*", "isRegex": true, "isEqual": true}],
    });
    let mut over = silence.clone();
    over["status"]["state"] = "expired".into();
    fs::write(&file, json!([silence, over]).to_string()).unwrap();
    for _ in 0..2 {
        let taken = rig.done(&["silence", "import", file.to_str().unwrap()]);
        assert_eq!(taken, "1 taken over, 1 had expired");
    }
    let listed = rig.done(&["silence", "list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains(r#"namespace=~"team-.*""#), "{listed}");
}
