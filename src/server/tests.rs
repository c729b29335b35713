//! The admin endpoint over a real socket.

use std::sync::Arc;

use reqwest::{Client, StatusCode};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    alert::{Alert, dispatch::Standing, samples},
    pipeline::{Reply, Wish},
    rule::Severity,
    source::SourceError,
    telemetry::{Health, Metrics, catalogue},
};

struct Rig {
    url: String,
    shown: Shown,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn start() -> Self {
        let open: Vec<Arc<Alert>> = vec![samples::burst(3)];
        let shown = Shown {
            metrics: Arc::new(Metrics::new().unwrap()),
            health: Arc::new(Health::default()),
            ask: Arc::new(move |wish| {
                let Wish::Alerts(asked) = wish else {
                    return Box::pin(async { Ok(Reply::Silences(Vec::new())) });
                };
                let open = open.iter();
                let wanted = open.filter(|alert| alert.severity() >= asked.level_min);
                let found = wanted.map(|alert| (Arc::clone(alert), Standing::default()));
                let found = found.take(asked.limit).collect();
                Box::pin(async { Ok(Reply::Alerts(found)) })
            }),
            sight: Arc::new(|| None),
            history: None,
            clock: || samples::at(0),
        };
        let stop = CancellationToken::new();
        let admin = Admin::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", admin.address());
        let task = tokio::spawn(admin.run(shown.clone(), stop.clone()));
        Self {
            url,
            shown,
            stop,
            task,
        }
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = Client::new().get(format!("{}{path}", self.url)).send();
        let response = response.await.unwrap();
        (response.status(), response.text().await.unwrap())
    }
}

#[tokio::test]
async fn health_names_the_part_that_is_not_ready() {
    let rig = Rig::start().await;
    let part = rig.shown.health.part("file a.log");
    part.not_ready("is waiting for the file to appear");
    let (status, told) = rig.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(told, "[-] file a.log: is waiting for the file to appear\n");
    assert_eq!(rig.get("/livez").await, (StatusCode::OK, "ok\n".to_owned()));
    part.ready();
    let ready = (StatusCode::OK, "[+] file a.log: ready\n".to_owned());
    assert_eq!(rig.get("/readyz").await, ready);
    rig.shown.health.fail("the engine has stopped");
    let (status, told) = rig.get("/livez").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(told, "the engine has stopped\n");
    assert!(
        rig.get("/readyz")
            .await
            .1
            .contains("[-] the process: the engine has stopped")
    );
}

#[tokio::test]
async fn serves_metrics_and_an_index_of_what_there_is() {
    let rig = Rig::start().await;
    let received = rig.shown.metrics.counter(&catalogue::EVENTS_RECEIVED);
    received.unwrap().inc_by(7);
    let (status, text) = rig.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        text.contains("\nauditwatch_events_received_total 7\n"),
        "{text}"
    );
    let (_, index) = rig.get("/").await;
    let paths = index.lines().filter_map(|line| line.split(' ').next());
    for path in paths.filter(|path| path.starts_with('/')) {
        assert_eq!(rig.get(path).await.0, StatusCode::OK, "{path}");
    }
    let (status, told) = rig.get("/metric").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(told, "there is no /metric; / lists what there is\n");
    let posted = Client::new().post(format!("{}/metrics", rig.url)).send();
    assert_eq!(
        posted.await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn alerts_are_the_contract_and_can_be_filtered() {
    let rig = Rig::start().await;
    let response = Client::new()
        .get(format!("{}/api/v1/alerts", rig.url))
        .send();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let alerts: serde_json::Value = response.json().await.unwrap();
    let open = samples::burst(3);
    let expected = crate::alert::to_json(&open, 0);
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(alerts[0][key], *value, "{key}");
    }
    assert_eq!(alerts[0]["state"], "active");
    let above = Severity::ALL
        .into_iter()
        .find(|level| *level > open.severity());
    let above = above.expect("the sample is not critical").name();
    let (_, none) = rig
        .get(&format!("/api/v1/alerts?level={above}&limit=5"))
        .await;
    assert_eq!(none, "[]\n");
    for (query, told) in [
        (
            "level=loud",
            "`level` must be one of informational, low, medium, high, critical",
        ),
        ("limit=0", "`limit` must be between 1 and 1000"),
        (
            "severity=high",
            "only `level`, `limit`, `filter` and `state` can be asked for",
        ),
    ] {
        let answer = rig.get(&format!("/api/v1/alerts?{query}")).await;
        let told = serde_json::json!({"error": told}).to_string() + "\n";
        assert_eq!(answer, (StatusCode::BAD_REQUEST, told));
    }
}

#[tokio::test]
async fn nothing_can_be_changed_over_the_network() {
    let rig = Rig::start().await;
    let posts = ["alerts/x/ack", "alerts/x/resolve", "silences"];
    for path in posts {
        let url = format!("{}/api/v1/{path}", rig.url);
        let answer = Client::new().post(url).body("{}").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let url = format!("{}/api/v1/silence/x", rig.url);
    let answer = Client::new().delete(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(answer.text().await.unwrap().contains("admin.sock"));
}

#[tokio::test]
async fn answers_no_web_page_whose_name_points_here() {
    let rig = Rig::start().await;
    for (host, status) in [
        ("evil.example", StatusCode::MISDIRECTED_REQUEST),
        ("evil.example:9646", StatusCode::MISDIRECTED_REQUEST),
        ("localhost:9646", StatusCode::OK),
        ("[::1]:9646", StatusCode::OK),
        ("10.0.0.1", StatusCode::OK),
    ] {
        let request = Client::new().get(&rig.url).header("host", host);
        assert_eq!(request.send().await.unwrap().status(), status, "{host}");
    }
}

#[tokio::test]
async fn a_busy_port_is_told_and_a_stop_ends_it() {
    let rig = Rig::start().await;
    let listen = rig.url.trim_start_matches("http://");
    let busy = Admin::bind(listen).await;
    let Err(SourceError::Listen { problem, .. }) = busy else {
        panic!("the port is taken");
    };
    assert!(problem.contains("the port is in use"), "{problem}");
    rig.stop.cancel();
    rig.task.await.unwrap();
}
