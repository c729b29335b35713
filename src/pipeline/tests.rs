//! The whole app in this process: bytes in at a file or socket, alerts out at a receiver.

mod kept;

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::post};
use serde_json::Value;
use tokio::{net::TcpListener, sync::mpsc};

use super::*;
use crate::{
    alert::{
        self,
        dispatch::{Bounds, GroupBy, Plan, Repeats, Route, Style, Telling},
    },
    detect,
    diagnostic::SourceFile,
    notify::{self, Integration, Receiver, Webhook},
    rule::{Layer, RuleSet, Severity},
    source::{tail::TailSettings, webhook::WebhookSettings},
    store,
    units::{Secret, Span},
};

/// Long enough for a busy machine; a test that fails takes this long, one that passes does not.
const PATIENCE: Duration = Duration::from_secs(30);

const RULES: &str = "
title: A secret was read
name: secret-read
level: high
logsource: {product: kubernetes, service: audit}
detection: {selection: {verb: get, objectRef.resource: secrets}, condition: selection}
---
title: Many pods deleted
name: pod-deleted
logsource: {product: kubernetes, service: audit}
detection: {selection: {verb: delete, objectRef.resource: pods}, condition: selection}
---
title: Burst of deletions
name: deletion-burst
level: medium
correlation:
  type: event_count
  rules: [pod-deleted]
  group-by: [user.username]
  timespan: 5m
  condition: {gte: 3}
";

/// A receiver that keeps what it is told.
struct Collector {
    url: String,
    told: mpsc::UnboundedReceiver<Value>,
}

impl Collector {
    async fn start() -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let take = move |body: String| async move {
            sender.send(serde_json::from_str(&body).unwrap()).unwrap();
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, Router::new().route("/", post(take))).into_future());
        Self { url, told }
    }

    fn receiver(&self) -> Receiver {
        let client = notify::client().unwrap();
        let webhook = Webhook::new(&client, Secret::new(&self.url)).unwrap();
        Receiver {
            name: Arc::from("collector"),
            integration: Integration::Webhook(webhook),
        }
    }

    /// Adds it to those who are told of every change at once.
    fn join(&self, settings: &mut Settings) {
        settings.receivers.push(self.receiver());
        settings.plan = plan("collector", Style::Each { at_most: 1 }, Span::ZERO);
    }

    async fn next(&mut self) -> Value {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        told.expect("no alert came").expect("the collector ended")
    }
}

/// One receiver is told of everything: each alert by itself, or all as one group.
fn plan(receiver: &str, style: Style, group_wait: Span) -> Plan {
    Plan {
        root: Route {
            receivers: vec![receiver.into()],
            group_by: match style {
                Style::Each { .. } => GroupBy::Alert,
                Style::Digest { .. } => GroupBy::Labels(Vec::new()),
            },
            group_wait,
            group_interval: group_wait,
            repeat_interval: group_wait,
            at_once: None,
            ..Route::default()
        },
        inhibit_rules: Vec::new(),
        receivers: vec![Telling {
            name: receiver.into(),
            style,
            send_resolved: true,
            send_updates: true,
            repeats: Repeats::Never,
            rate: None,
        }],
        bounds: Bounds::default(),
    }
}

/// A folder with a log file and a rule file.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.rules()).unwrap();
        fs::write(place.rules().join("rules.yml"), RULES).unwrap();
        place
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    fn rules(&self) -> PathBuf {
        self.folder.path().join("rules")
    }

    fn append(&self, text: &str) {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.log())
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn settings(&self) -> Settings {
        let rules = self.rules();
        let read = move || {
            let path = rules.join("rules.yml");
            let name = path.display().to_string();
            let text = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
            let layer = Layer::new([SourceFile::new(name, text)]);
            RuleSet::load(&[layer]).map_err(|report| report.to_string())
        };
        let mut file = TailSettings::new(self.log().to_str().unwrap());
        file.name = "log".to_owned();
        file.cluster = Arc::from("testing");
        file.poll = Duration::from_millis(20);
        Settings {
            files: vec![file],
            webhooks: Vec::new(),
            trusted_proxies: Vec::new(),
            rules: RuleFiles {
                read: Box::new(read),
                paths: vec![self.rules()],
            },
            engine: detect::Settings::default(),
            alerts: alert::Settings::default(),
            receivers: Vec::new(),
            plan: plan("nobody", Style::Each { at_most: 1 }, Span::ZERO),
            delivery: notify::Settings::default(),
            console: None,
            threads: NonZeroUsize::new(2).unwrap(),
            queue_max: Settings::QUEUE,
            state: None,
        }
    }
}

/// Request number `n` of the test.
fn line(n: usize, verb: &str, resource: &str) -> String {
    format!(
        concat!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","#,
            r#""auditID":"{n}","stage":"ResponseComplete","requestURI":"/api/v1/{resource}/{n}","#,
            r#""verb":"{verb}","user":{{"username":"mallory"}},"sourceIPs":["198.51.100.7"],"#,
            r#""objectRef":{{"resource":"{resource}","namespace":"shop","name":"x{n}"}},"#,
            r#""responseStatus":{{"code":200}},"#,
            r#""requestReceivedTimestamp":"2026-11-23T11:05:{second:02}.000000Z","#,
            r#""stageTimestamp":"2026-11-23T11:05:{second:02}.100000Z"}}"#,
            "\n"
        ),
        n = n,
        verb = verb,
        resource = resource,
        second = n % 60
    )
}

fn metric(app: &App, start: &str) -> f64 {
    let text = app.metrics().render().unwrap();
    let line = text.lines().find(|line| line.starts_with(start));
    let line = line.unwrap_or_else(|| panic!("no {start} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The conservation law holds at every scrape.
fn received(app: &App) -> f64 {
    let text = app.metrics().render().unwrap();
    let sum = |start: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    };
    let parts = ["evaluated", "duplicate", "rejected", "late", "dropped"];
    let parts: f64 = parts
        .iter()
        .map(|part| sum(&format!("auditwatch_events_{part}_total")))
        .sum();
    let received = sum("auditwatch_events_received_total");
    assert!(
        (received - parts).abs() < 0.5,
        "{received} is not {parts}\n{text}"
    );
    received
}

async fn until(app: &App, mut condition: impl FnMut(&App) -> bool) {
    let wait = async {
        while !condition(app) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let held = tokio::time::timeout(PATIENCE, wait).await;
    assert!(
        held.is_ok(),
        "never held:\n{}",
        app.metrics().render().unwrap()
    );
}

async fn stop(app: App) {
    received(&app);
    let stopped = app.stop(PATIENCE).await;
    assert!(
        stopped.drained && stopped.undelivered.is_empty(),
        "{stopped:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_in_a_file_becomes_an_alert_at_the_receiver() {
    let place = Place::new();
    let mut collector = Collector::start().await;
    let mut settings = place.settings();
    collector.join(&mut settings);
    place.append(&line(1, "get", "pods"));
    let app = App::start(settings).await.unwrap();
    until(&app, |app| {
        app.health().readiness().0 && received(app) > 0.5
    })
    .await;
    place.append(&line(2, "get", "secrets"));
    let told = collector.next().await;
    assert_eq!(told["status"], "firing");
    assert_eq!(told["rule"]["name"], "secret-read");
    assert_eq!(told["cluster"], "testing");
    assert_eq!(told["principal"]["name"], "mallory");
    assert_eq!(app.live().list(Severity::Informational, 9).len(), 1);
    assert!(app.live().list(Severity::Critical, 9).is_empty());
    for n in 10..13 {
        place.append(&line(n, "delete", "pods"));
    }
    let told = collector.next().await;
    assert_eq!(told["rule"]["name"], "deletion-burst");
    assert_eq!(told["count"], 3);
    stop(app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_accounted_for() {
    let place = Place::new();
    for n in 0..5_000 {
        place.append(&line(n, "get", "pods"));
        if n % 10 == 0 {
            place.append("this is no event\n\n");
            place.append(&line(n, "get", "pods"));
        }
    }
    let app = App::start(place.settings()).await.unwrap();
    until(&app, |app| received(app) > 5_999.5).await;
    assert_eq!(
        metric(&app, "auditwatch_events_evaluated_total").round() as u64,
        5_000
    );
    assert_eq!(
        metric(&app, "auditwatch_events_duplicate_total").round() as u64,
        500
    );
    assert_eq!(
        metric(
            &app,
            "auditwatch_events_rejected_total{reason=\"not_json\"}"
        )
        .round() as u64,
        500
    );
    assert_eq!(
        metric(&app, "auditwatch_event_delay_seconds_count").round() as u64,
        5_000
    );
    until(&app, |app| {
        metric(app, "auditwatch_queue_bytes{queue=\"intake\"}") < 0.5
    })
    .await;
    let detections = "auditwatch_detections_total{level=\"high\",rule=\"secret-read\"}";
    assert!(metric(&app, detections) < 0.5, "there from the start");
    stop(app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_posted_batch_is_judged_even_when_the_stop_comes_at_once() {
    let place = Place::new();
    let mut collector = Collector::start().await;
    let mut settings = place.settings();
    settings.files.clear();
    settings.webhooks.push(WebhookSettings::new("127.0.0.1:0"));
    collector.join(&mut settings);
    let app = App::start(settings).await.unwrap();
    let items: Vec<String> = (1..400).map(|n| line(n, "get", "secrets")).collect();
    let body = format!("{{\"kind\":\"EventList\",\"items\":[{}]}}", items.join(","));
    let url = format!("http://{}/audit", app.webhooks()[0]);
    let response = reqwest::Client::new()
        .post(url)
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let metrics = Arc::clone(app.metrics());
    stop(app).await;
    let text = metrics.render().unwrap();
    assert!(
        text.contains("auditwatch_events_evaluated_total 399\n"),
        "{text}"
    );
    let mut last = collector.next().await;
    while let Ok(told) = collector.told.try_recv() {
        last = told;
    }
    assert_eq!(last["count"], 399, "what was new at the end is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_rules_are_refused_whole_and_right_ones_keep_the_state() {
    let place = Place::new();
    let mut collector = Collector::start().await;
    let mut settings = place.settings();
    collector.join(&mut settings);
    // The folder is not watched here; only a request reloads.
    settings.rules.paths.clear();
    let app = App::start(settings).await.unwrap();
    assert_eq!(
        metric(&app, "auditwatch_config_last_reload_successful").round() as u64,
        1
    );
    place.append(&line(1, "delete", "pods"));
    place.append(&line(2, "delete", "pods"));
    until(&app, |app| received(app) > 1.5).await;
    let file = place.rules().join("rules.yml");
    fs::write(
        &file,
        RULES.replace("objectRef.resource: pods", "objectRef.resuorce: pods"),
    )
    .unwrap();
    let error = app.reload().await.unwrap_err();
    assert!(
        error.contains("rules.yml") && error.contains("objectRef.resource"),
        "{error}"
    );
    assert_eq!(
        metric(&app, "auditwatch_config_last_reload_successful").round() as u64,
        0
    );
    assert_eq!(metric(&app, "auditwatch_rules").round() as u64, 3);
    let more = "---\ntitle: Another\nname: another\nlogsource: {product: kubernetes}\n\
                detection: {selection: {verb: list}, condition: selection}\n";
    fs::write(&file, format!("{RULES}{more}")).unwrap();
    assert_eq!(app.reload().await, Ok(4));
    until(&app, |app| metric(app, "auditwatch_rules") > 3.5).await;
    assert_eq!(
        metric(&app, "auditwatch_config_last_reload_successful").round() as u64,
        1
    );
    place.append(&line(3, "list", "pods"));
    assert_eq!(collector.next().await["rule"]["name"], "another");
    place.append(&line(4, "delete", "pods"));
    let told = collector.next().await;
    assert_eq!(told["rule"]["name"], "deletion-burst");
    assert_eq!(told["count"], 3, "the two from before the reload count");
    stop(app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_folder_reloads_and_a_vanished_one_changes_nothing() {
    let place = Place::new();
    let app = App::start(place.settings()).await.unwrap();
    let file = place.rules().join("rules.yml");
    let first = RULES.split("---").next().unwrap();
    fs::write(&file, first).unwrap();
    until(&app, |app| metric(app, "auditwatch_rules") < 1.5).await;
    fs::rename(place.rules(), place.folder.path().join("gone")).unwrap();
    until(&app, |app| {
        metric(app, "auditwatch_config_last_reload_successful") < 0.5
    })
    .await;
    place.append(&line(1, "get", "secrets"));
    until(&app, |app| app.live().len() == 1).await;
    fs::rename(place.folder.path().join("gone"), place.rules()).unwrap();
    until(&app, |app| {
        metric(app, "auditwatch_config_last_reload_successful") > 0.5
    })
    .await;
    stop(app).await;
}

/// A writer into a text that the test can read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_console_shows_what_is_severe_enough() {
    let place = Place::new();
    let shown = Shared::default();
    let mut settings = place.settings();
    settings.console = Some(Console {
        out: Box::new(shown.clone()),
        form: Form::Json,
        level_min: Severity::High,
    });
    for n in 0..3 {
        place.append(&line(n, "delete", "pods"));
    }
    place.append(&line(3, "get", "secrets"));
    let app = App::start(settings).await.unwrap();
    until(&app, |app| app.live().len() == 2).await;
    stop(app).await;
    let text = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("secret-read"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_console_is_noticed_and_stops_nothing() {
    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let place = Place::new();
    let mut settings = place.settings();
    settings.console = Some(Console {
        out: Box::new(Closed),
        form: Form::Json,
        level_min: Severity::Informational,
    });
    place.append(&line(1, "get", "secrets"));
    let app = App::start(settings).await.unwrap();
    tokio::time::timeout(PATIENCE, app.console_closed())
        .await
        .unwrap();
    place.append(&line(2, "get", "pods"));
    until(&app, |app| received(app) > 1.5).await;
    stop(app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_everything_that_cannot_start() {
    let place = Place::new();
    let mut settings = place.settings();
    settings.files[0].path = "/no/such/folder/audit.log".to_owned();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    settings.webhooks.push(WebhookSettings::new(&address));
    let error = App::start(settings).await.err().unwrap().to_string();
    assert!(error.contains("/no/such/folder/audit.log"), "{error}");
    assert!(
        error.contains(&address) && error.contains("in use"),
        "{error}"
    );
    fs::write(place.rules().join("rules.yml"), "title: no detection\n").unwrap();
    let error = App::start(place.settings())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("rules.yml:1"), "{error}");
    assert!(Path::new(&place.rules()).is_dir());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_in_the_catalogue() {
    let place = Place::new();
    // Not every rule learns, and what baselines know is told by rule.
    let learns = "\nauditwatch:\n  novelty: {by: [principal], of: [verb]}\n";
    let first = RULES.split("---").next().unwrap();
    fs::write(
        place.rules().join("rules.yml"),
        first.trim_end().to_owned() + learns,
    )
    .unwrap();
    let collector = Collector::start().await;
    let mut settings = place.settings();
    collector.join(&mut settings);
    settings.webhooks.push(WebhookSettings::new("127.0.0.1:0"));
    settings.state = Some(store::Settings::new(place.folder.path().join("state")));
    let app = App::start(settings).await.unwrap();
    until(&app, |app| {
        app.health().readiness().1.contains("waiting for")
    })
    .await;
    // Some are written by a thread that has just begun.
    until(&app, |app| {
        app.metrics().render().unwrap();
        let families = app.metrics().registry().gather();
        let is_shown = |name| families.iter().any(|family| family.name() == name);
        let mut all = crate::telemetry::catalogue::ALL.iter();
        all.all(|metric| is_shown(metric.name))
    })
    .await;
    for family in app.metrics().registry().gather() {
        let name = family.name().to_owned();
        if name.starts_with("process_") {
            continue;
        }
        let known = crate::telemetry::catalogue::ALL
            .iter()
            .find(|metric| metric.name == name);
        let known = known.unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!(family.help(), known.help, "{name}");
        assert_eq!(
            format!("{:?}", family.get_field_type()).to_lowercase(),
            known.kind.name(),
            "{name}"
        );
        let mut labels = known.labels.to_vec();
        labels.sort_unstable();
        for metric in family.get_metric() {
            let found: Vec<&str> = metric
                .get_label()
                .iter()
                .map(prometheus::proto::LabelPair::name)
                .collect();
            assert_eq!(found, labels, "{name}");
        }
    }
    stop(app).await;
}

/// The API server sends a batch again when an answer was lost: whatever it does, each event counts
/// once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_sent_again_counts_once() {
    for has_state in [false, true] {
        let place = Place::new();
        let mut settings = place.settings();
        settings.files.clear();
        settings.webhooks.push(WebhookSettings::new("127.0.0.1:0"));
        settings.state = has_state.then(|| store::Settings::new(place.folder.path().join("state")));
        let app = App::start(settings).await.unwrap();
        let url = format!("http://{}/", app.webhooks()[0]);
        let items = [line(1, "get", "secrets"), line(2, "get", "secrets")];
        let body = format!(
            "{{\"kind\":\"EventList\",\"items\":[{}]}}",
            items.map(|item| item.trim().to_owned()).join(",")
        );
        for _ in 0..3 {
            let sent = reqwest::Client::new()
                .post(&url)
                .body(body.clone())
                .send()
                .await;
            assert_eq!(sent.unwrap().status(), 200);
        }
        let shows = |name: &str, count: u64| format!("auditwatch_events_{name}_total {count}\n");
        until(&app, |app| {
            app.metrics()
                .render()
                .unwrap()
                .contains(&shows("received", 6))
        })
        .await;
        let text = app.metrics().render().unwrap();
        assert!(
            text.contains(&shows("evaluated", 2)) && text.contains(&shows("duplicate", 4)),
            "{text}"
        );
        stop(app).await;
    }
}

/// What happened while people were still waiting for more of a group is told together, also when
/// the daemon ends or begins anew in between, and also when it is over by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_told_together_whatever_happens_to_the_daemon() {
    for has_state in [false, true] {
        let place = Place::new();
        let mut collector = Collector::start().await;
        let settings = |group_wait: i64| {
            let mut settings = place.settings();
            collector.join(&mut settings);
            let people = Style::Digest { shown: 10 };
            settings.plan = plan("collector", people, Span::from_secs(group_wait));
            let dir = place.folder.path().join("state");
            settings.state = has_state.then(|| store::Settings::new(dir));
            settings
        };
        let (first, second) = (settings(3_600), settings(1));
        let app = App::start(first).await.unwrap();
        place.append(&line(1, "get", "secrets"));
        for n in 2..5 {
            place.append(&line(n, "delete", "pods"));
        }
        until(&app, |app| app.live().len() == 2).await;
        // Long after, so that the one of Mallory's that does not go on is over.
        place.append(&line(5, "get", "secrets").replace("T11:", "T15:"));
        place.append(&line(6, "get", "pods").replace("T11:", "T15:"));
        until(&app, |app| {
            let live = app.live().list(Severity::Informational, 9);
            live.len() == 1 && live[0].starts_at.to_string().contains("T15:")
        })
        .await;
        stop(app).await;
        let after = if has_state {
            assert!(collector.told.try_recv().is_err(), "told before its time");
            Some(App::start(second).await.unwrap())
        } else {
            None
        };
        let told = collector.next().await;
        let told = told.as_array().unwrap();
        let mut seen: Vec<_> = told
            .iter()
            .map(|alert| (alert["rule"]["name"].as_str(), alert["status"].as_str()))
            .collect();
        seen.sort_unstable();
        let expected = [("deletion-burst", "resolved"), ("secret-read", "firing")];
        assert_eq!(
            seen,
            expected.map(|(name, status)| (Some(name), Some(status)))
        );
        if let Some(app) = after {
            let made =
                "auditwatch_notifications_made_total{reason=\"first\",receiver=\"collector\"}";
            assert_eq!(metric(&app, made).round() as u64, 1);
            stop(app).await;
        }
    }
}
