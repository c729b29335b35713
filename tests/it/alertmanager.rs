//! The same scripts through a real Alertmanager and through our dispatcher: who was told what, in
//! which order and about when.
//!
//! Alertmanager (`prometheus-alertmanager`, as Debian packages it) runs in real time, ours in
//! simulated time. `ALERTMANAGER_SCRIPTS=200` compares that many random scripts instead of a few;
//! they all run side by side, so it takes no longer. What differs on purpose is listed in
//! [`DIFFERENCES`], with what each of the two tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use auditwatch::{
    alert::{
        Alert, Change, Several, Shared, SharedOrigin, SharedTarget, Status,
        dispatch::{
            Bounds, Dispatcher, GroupBy, InhibitRule, Labels, Matchers, Notification, Plan,
            Repeats, Route, Silence, Style, Telling,
        },
    },
    rule::{RuleMeta, Severity},
    units::{Span, Time},
};
use axum::{Router, extract::State, routing::post};
use serde_json::{Value, json};
use tokio::time::{sleep, sleep_until};

/// Things happen at whole seconds and groups are told at half ones, so that which comes first
/// does not depend on who is quicker.
const GROUP_WAIT: i64 = 1_500;
const GROUP_INTERVAL: i64 = 3_000;
const REPEAT_INTERVAL: i64 = 7_000;
/// How long a script runs, in seconds.
const LENGTH: i64 = 20;
/// How far apart the two may tell the same.
const APART: i64 = 1_000;
/// How late something may be posted before the run does not count.
const LATE: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug)]
enum Does {
    Fires,
    Ends,
    /// From now on until the end, the alert with this label is silenced.
    Silenced,
    Unsilenced,
}
use Does::{Ends, Fires, Silenced, Unsilenced};

/// Second, alert, what happens to it. Alerts named `low…` are hidden while one named `big…` fires.
type Script = Vec<(i64, String, Does)>;

/// What a receiver was told: milliseconds from the start, and the alerts with `+` or `-`.
type Told = Vec<(i64, BTreeSet<String>)>;

fn script(steps: &[(i64, &str, Does)]) -> Script {
    steps
        .iter()
        .map(|(second, name, does)| (*second, (*name).to_owned(), *does))
        .collect()
}

fn same() -> Vec<Script> {
    vec![
        script(&[(0, "a", Fires)]),
        script(&[
            (0, "a", Fires),
            (1, "b", Fires),
            (4, "c", Fires),
            (9, "b", Ends),
            (12, "a", Ends),
            (12, "c", Ends),
        ]),
        script(&[(2, "a", Fires), (6, "a", Ends)]),
        script(&[
            (0, "a", Fires),
            (0, "b", Fires),
            (5, "a", Ends),
            (11, "a", Fires),
        ]),
        // Over and back before anybody was told: it just goes on.
        script(&[
            (0, "a", Fires),
            (0, "b", Fires),
            (5, "a", Ends),
            (6, "a", Fires),
            (15, "b", Ends),
        ]),
        script(&[
            (0, "a", Silenced),
            (0, "a", Fires),
            (0, "b", Fires),
            (8, "a", Unsilenced),
        ]),
        script(&[
            (0, "a", Fires),
            (0, "b", Fires),
            (3, "a", Silenced),
            (3, "c", Fires),
            (9, "a", Unsilenced),
        ]),
        script(&[(0, "a", Fires), (3, "a", Silenced), (9, "a", Unsilenced)]),
        script(&[(0, "big", Fires), (0, "low", Fires), (6, "big", Ends)]),
        script(&[
            (0, "low", Fires),
            (0, "low2", Fires),
            (4, "big", Fires),
            (12, "big", Ends),
        ]),
    ]
}

type Difference = (
    &'static str,
    &'static [(i64, &'static str, Does)],
    &'static str,
    &'static str,
);

/// What is told differently on purpose: why, the script, what Alertmanager tells, what we tell.
const DIFFERENCES: [Difference; 4] = [
    (
        "Alertmanager forgets what was over before it told of it; we tell it, because an attack of a second is one",
        &[(0, "a", Fires), (1, "a", Ends)],
        "",
        "-a",
    ),
    (
        "Alertmanager does not tell that a silenced alert is over; we do, to whoever was told that it goes on",
        &[(0, "a", Fires), (3, "a", Silenced), (6, "a", Ends)],
        "+a",
        "+a; -a",
    ),
    (
        "Alertmanager does not tell that an inhibited alert is over; we do, to whoever was told that it goes on",
        &[
            (0, "low", Fires),
            (3, "big", Fires),
            (6, "low", Ends),
            (9, "big", Ends),
        ],
        "+low; +big; -big",
        "+low; +big; +big -low; -big",
    ),
    (
        "an alert that comes and goes is told by Alertmanager each time; from its third return on we hold it back",
        &[
            (0, "a", Fires),
            (3, "a", Ends),
            (6, "a", Fires),
            (9, "a", Ends),
            (12, "a", Fires),
            (15, "a", Ends),
        ],
        "+a; -a; +a; -a; +a; -a",
        "+a; -a; +a; -a; -a",
    ),
];

/// Alerts come, go and are silenced as chance has it, but for what is known to differ: each is
/// told of before it ends, none ends while it is silenced, and one goes on all the time, so that
/// the group does not end.
fn random(seed: u64) -> Script {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |below: i64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as i64
    };
    let mut steps = vec![(0, "always".to_owned(), Fires)];
    for name in ["a", "b", "low", "big"] {
        let mut second = draw(6);
        let mut lives = 0;
        while second < LENGTH - 4 && lives < 2 {
            steps.push((second, name.to_owned(), Fires));
            second += 4 + draw(6);
            if draw(4) == 0 {
                steps.push((second, name.to_owned(), Silenced));
                second += 1 + draw(5);
                steps.push((second, name.to_owned(), Unsilenced));
                second += 4;
            }
            // What is inhibited may not end either: `low` goes on.
            if name == "low" || second >= LENGTH - 4 {
                break;
            }
            steps.push((second, name.to_owned(), Ends));
            second += 4 + draw(6);
            lives += 1;
        }
    }
    steps.retain(|(second, ..)| *second < LENGTH);
    steps.sort_by_key(|(second, ..)| *second);
    steps
}

fn severity(name: &str) -> Severity {
    match name {
        name if name.starts_with("low") => Severity::Low,
        name if name.starts_with("big") => Severity::Critical,
        _ => Severity::Medium,
    }
}

/// The alert of a name in a script.
fn alert(script: usize, name: &str, life: u32, status: Status, updated_at: Time) -> Arc<Alert> {
    let rule = RuleMeta {
        id: format!("rule-{script}"),
        name: format!("script{script}"),
        title: String::new(),
        description: String::new(),
        status: String::new(),
        severity: severity(name),
        tags: Vec::new(),
        runbook: None,
        references: Vec::new(),
        false_positives: Vec::new(),
    };
    Arc::new(Alert {
        id: format!("{script}/{name}#{life}").into(),
        fingerprint: format!("{script}/{name}").into(),
        status,
        rule: Arc::new(rule),
        cluster: "test".into(),
        key: vec![("who".into(), name.into())],
        shared: Shared {
            principal: None,
            credential: None,
            origin: SharedOrigin {
                ip: None,
                scope: None,
                client: None,
                user_agent: None,
            },
            target: SharedTarget {
                verb: None,
                resource: None,
                subresource: None,
                namespace: None,
                name: None,
            },
        },
        principals: Several::default(),
        origins: Several::default(),
        resources: Several::default(),
        namespaces: Several::default(),
        starts_at: updated_at,
        last_seen_at: updated_at,
        updated_at,
        ends_at: None,
        count: 1,
        new: 1,
        why: String::new(),
        summary: String::new(),
        respond: Vec::new(),
        contain: Vec::new(),
        evidence: Vec::new(),
        is_thinned: false,
        evicted: false,
    })
}

fn silence_matchers(script: usize, name: &str) -> String {
    format!("alertname=\"script{script}\",who=\"{name}\"")
}

/// What our dispatcher tells.
fn ours(number: usize, script: &Script) -> Told {
    let start = Time::parse("2026-11-23T12:00:00Z").unwrap();
    let at = |millis: i64| start.plus(Span::from_micros(millis * 1_000));
    let root = Route {
        receivers: vec!["r".into()],
        group_by: GroupBy::Labels(vec!["alertname".into()]),
        group_wait: Span::from_micros(GROUP_WAIT * 1_000),
        group_interval: Span::from_micros(GROUP_INTERVAL * 1_000),
        repeat_interval: Span::from_micros(REPEAT_INTERVAL * 1_000),
        at_once: None,
        ..Route::default()
    };
    let inhibit = InhibitRule {
        source: Matchers::parse("severity=critical").unwrap(),
        target: Matchers::parse("severity=low").unwrap(),
        equal: vec!["alertname".into()],
    };
    let telling = Telling {
        name: "r".into(),
        style: Style::Digest { shown: 1_000 },
        send_resolved: true,
        send_updates: false,
        repeats: Repeats::AsRouted,
        rate: None,
    };
    let mut dispatcher = Dispatcher::new(Plan {
        root,
        inhibit_rules: vec![inhibit],
        receivers: vec![telling],
        bounds: Bounds::default(),
    });
    let mut told: Vec<Notification> = Vec::new();
    let mut lives = BTreeMap::<&str, u32>::new();
    let pass = |dispatcher: &mut Dispatcher, until: Time, told: &mut Vec<Notification>| {
        while let Some(wake) = dispatcher.next_wake().filter(|wake| *wake <= until) {
            dispatcher.advance(wake, told);
        }
    };
    for (second, name, does) in script {
        let now = at(second * 1_000);
        pass(&mut dispatcher, now, &mut told);
        let life = lives.entry(name).or_default();
        let silence = |ends_at| Silence {
            id: name.as_str().into(),
            matchers: Matchers::parse(&silence_matchers(number, name)).unwrap(),
            starts_at: now,
            ends_at,
            created_by: "test".into(),
            comment: "".into(),
        };
        match does {
            Fires => {
                *life += 1;
                let alert = alert(number, name, *life, Status::Firing, now);
                dispatcher.on_change(&Change::Fired(alert), now);
            }
            Ends => {
                let alert = alert(number, name, *life, Status::Resolved, now);
                dispatcher.on_change(&Change::Resolved(alert), now);
            }
            Silenced => dispatcher.silence(silence(at(1_000_000))),
            Unsilenced => dispatcher.silence(silence(now)),
        }
    }
    pass(&mut dispatcher, at(LENGTH * 1_000), &mut told);
    let one = |told: &Notification| {
        let names = told
            .alerts
            .iter()
            .map(|alert| sign(&alert.key[0].1, alert.status == Status::Firing));
        ((told.at.micros() - start.micros()) / 1_000, names.collect())
    };
    told.iter().map(one).collect()
}

fn sign(name: &str, is_firing: bool) -> String {
    format!("{}{name}", if is_firing { '+' } else { '-' })
}

/// A running Alertmanager, ended when it is let go.
struct Running {
    child: Child,
    api: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Running {
    /// `None` when it is not installed.
    async fn start(webhook: &str) -> Option<Self> {
        let program = [
            "/usr/bin/prometheus-alertmanager",
            "/usr/bin/alertmanager",
            "/usr/local/bin/alertmanager",
        ]
        .into_iter()
        .find(|path| Path::new(path).exists())?;
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "route": {
                "receiver": "r",
                "group_by": ["alertname"],
                "group_wait": format!("{GROUP_WAIT}ms"),
                "group_interval": format!("{GROUP_INTERVAL}ms"),
                "repeat_interval": format!("{REPEAT_INTERVAL}ms"),
            },
            "inhibit_rules": [{
                "source_matchers": ["severity=critical"],
                "target_matchers": ["severity=low"],
                "equal": ["alertname"],
            }],
            "receivers": [{"name": "r", "webhook_configs": [{"url": webhook, "send_resolved": true, "max_alerts": 0}]}],
        });
        let file = folder.path().join("alertmanager.yml");
        std::fs::write(&file, config.to_string()).unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .arg(format!("--web.listen-address={listen}"))
            .args(["--cluster.listen-address=", "--log.level=error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self {
            child,
            api: format!("http://{listen}"),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            _folder: folder,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let ready = running
                .client
                .get(format!("{}/-/ready", running.api))
                .send()
                .await;
            if ready.is_ok_and(|answer| answer.status().is_success()) {
                return Some(running);
            }
            assert!(Instant::now() < deadline, "Alertmanager does not get ready");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn post(&self, path: &str, body: &Value) -> String {
        let url = format!("{}/api/v2/{path}", self.api);
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{body}: {status} {text}");
        text
    }

    async fn end_silence(&self, id: &str) {
        let url = format!("{}/api/v2/silence/{id}", self.api);
        assert!(
            self.client
                .delete(url)
                .send()
                .await
                .unwrap()
                .status()
                .is_success()
        );
    }
}

/// What webhooks brought: when, and the body.
type Brought = Arc<Mutex<Vec<(Instant, Value)>>>;

async fn record(State(brought): State<Brought>, body: String) {
    let body = serde_json::from_str(&body).unwrap();
    brought.lock().unwrap().push((Instant::now(), body));
}

fn stamp(moment: SystemTime) -> String {
    let micros = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_micros();
    Time::from_micros(micros as i64).to_string()
}

/// What Alertmanager tells of all scripts, side by side; `None` when this machine was too slow.
async fn theirs(
    running: &Running,
    brought: &Brought,
    run: usize,
    scripts: &[Script],
) -> Option<Vec<Told>> {
    let start = Instant::now() + Duration::from_millis(500);
    let far = stamp(SystemTime::now() + Duration::from_secs(3_600));
    let number = |script: usize| run * 10_000 + script;
    let mut silences = BTreeMap::<(usize, &str), String>::new();
    for second in 0..LENGTH {
        sleep_until((start + Duration::from_secs(second as u64)).into()).await;
        let now = stamp(SystemTime::now());
        let mut alerts = Vec::new();
        for (script, steps) in scripts.iter().enumerate() {
            for (_, name, does) in steps.iter().filter(|step| step.0 == second) {
                let labels: BTreeMap<String, String> =
                    Labels::of(&alert(number(script), name, 0, Status::Firing, Time::MIN))
                        .iter()
                        .map(|(name, value)| (name.to_owned(), value.to_owned()))
                        .collect();
                match does {
                    Fires => alerts.push(json!({"labels": labels, "startsAt": now, "endsAt": far})),
                    Ends => alerts.push(json!({"labels": labels, "endsAt": now})),
                    Silenced => {
                        let matcher = |name: &str, value: &str| json!({"name": name, "value": value, "isRegex": false, "isEqual": true});
                        let matchers = [
                            matcher("alertname", &format!("script{}", number(script))),
                            matcher("who", name),
                        ];
                        let body = json!({"matchers": matchers, "startsAt": now, "endsAt": far, "createdBy": "test", "comment": "test"});
                        let answer: Value =
                            serde_json::from_str(&running.post("silences", &body).await).unwrap();
                        silences.insert(
                            (script, name),
                            answer["silenceID"].as_str().unwrap().to_owned(),
                        );
                    }
                    Unsilenced => {
                        let id = &silences[&(script, name.as_str())];
                        running.end_silence(id).await;
                    }
                }
            }
        }
        if !alerts.is_empty() {
            running.post("alerts", &Value::from(alerts)).await;
        }
        if start.elapsed() > Duration::from_secs(second as u64) + LATE {
            return None;
        }
    }
    sleep_until((start + Duration::from_secs(LENGTH as u64)).into()).await;
    let mut told = vec![Told::new(); scripts.len()];
    for (moment, body) in brought.lock().unwrap().iter() {
        let name = body["groupLabels"]["alertname"].as_str().unwrap();
        let name: usize = name.strip_prefix("script").unwrap().parse().unwrap();
        if name / 10_000 != run {
            continue;
        }
        let alerts = body["alerts"].as_array().unwrap().iter();
        let signed = alerts.map(|alert| {
            sign(
                alert["labels"]["who"].as_str().unwrap(),
                alert["status"] == "firing",
            )
        });
        let millis = moment.saturating_duration_since(start).as_millis() as i64;
        told[name % 10_000].push((millis, signed.collect()));
    }
    Some(told)
}

fn shown(told: &Told) -> String {
    let one =
        |(_, names): &(i64, BTreeSet<String>)| names.iter().cloned().collect::<Vec<_>>().join(" ");
    told.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_what_alertmanager_tells_when_it_does() {
    let brought = Brought::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let webhook = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new()
        .route("/", post(record))
        .with_state(Arc::clone(&brought));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let Some(running) = Running::start(&webhook).await else {
        eprintln!("prometheus-alertmanager is not installed: routing is not compared with it");
        return;
    };
    let count = std::env::var("ALERTMANAGER_SCRIPTS")
        .ok()
        .and_then(|text| text.parse().ok());
    let mut scripts = same();
    scripts.extend((1..=count.unwrap_or(20)).map(random));
    let alike = scripts.len();
    scripts.extend(DIFFERENCES.iter().map(|(_, steps, ..)| script(steps)));

    let mut told = None;
    for run in 0..4 {
        told = theirs(&running, &brought, run, &scripts).await;
        if told.is_some() {
            break;
        }
        eprintln!("this machine was too slow for run {run}; once more");
    }
    let Some(told) = told else {
        eprintln!("this machine is too slow: routing is not compared with Alertmanager");
        return;
    };
    let mut wrong = Vec::new();
    let mut notifications = 0;
    for (number, (steps, theirs)) in scripts.iter().zip(&told).take(alike).enumerate() {
        let ours = ours(number, steps);
        let is_near = ours
            .iter()
            .zip(theirs)
            .all(|(a, b)| (a.0 - b.0).abs() <= APART);
        if shown(&ours) != shown(theirs) || !is_near {
            wrong.push(format!("{steps:?}\n  theirs {theirs:?}\n  ours   {ours:?}"));
        }
        notifications += theirs.len();
    }
    for (number, (why, steps, expected, own)) in DIFFERENCES.iter().enumerate() {
        let theirs = &told[alike + number];
        let ours = ours(number, &script(steps));
        if (shown(theirs).as_str(), shown(&ours).as_str()) != (*expected, *own) {
            wrong.push(format!("{why}\n  theirs {theirs:?}\n  ours   {ours:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        scripts.len(),
        wrong.join("\n")
    );
    println!(
        "{alike} scripts and {notifications} notifications alike; {} known differences",
        DIFFERENCES.len()
    );
}
