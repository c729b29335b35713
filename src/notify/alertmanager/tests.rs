//! What Alertmanager is sent, and that a real one takes it.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    alert::samples,
    notify::{
        Reason,
        tests::{Server, answer, test_client},
    },
};

fn told(change: &Change) -> Notification {
    Notification::single(&"r".into(), change, 0)
}

#[tokio::test]
async fn every_peer_is_told_and_one_is_enough() {
    let (dead, live) = (
        Server::start(vec![answer(500, "")]).await,
        Server::start(vec![answer(200, "")]).await,
    );
    let change = Change::Fired(samples::burst(9));
    let both = Alertmanager::new(&test_client(), &[dead.url(), live.url()]).unwrap();
    both.deliver(&told(&change)).await.unwrap();
    assert_eq!((dead.requests().len(), live.requests().len()), (1, 1));
    let body: Value = serde_json::from_str(&live.requests()[0].1).unwrap();
    let expected = json!({
        "alertname": "forbidden-burst", "severity": "high", "cluster": "prod-eu",
        "principal": "system:serviceaccount:shop:web", "source": "auditwatch",
    });
    assert_eq!(
        body[0]["labels"], expected,
        "what identifies it, and nothing that changes"
    );
    assert_eq!(
        body[0]["annotations"]["why"],
        "9 requests refused within 1m (threshold 3)"
    );
    let alone = Alertmanager::new(&test_client(), &[dead.url()]).unwrap();
    let failure = alone.deliver(&told(&change)).await.unwrap_err();
    assert_eq!(
        (failure.reason, failure.permanent),
        (Reason::ServerError, false)
    );
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_real_one_takes_what_fires_and_what_is_over() {
    let program = "/usr/bin/prometheus-alertmanager";
    if !Path::new(program).exists() {
        eprintln!("prometheus-alertmanager is not installed: posting to it is not tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yml");
    std::fs::write(
        &file,
        "route: {receiver: none}\nreceivers: [{name: none}]\n",
    )
    .unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let child = Command::new(program)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.path={}", folder.path().display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--cluster.listen-address=", "--log.level=error"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    let url = format!("http://127.0.0.1:{port}");
    let real = Alertmanager::new(&test_client(), &[Secret::new(&url)]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let hostile = Change::Fired(samples::hostile());
    while real.deliver(&told(&hostile)).await.is_err() {
        assert!(
            Instant::now() < deadline,
            "Alertmanager does not take the alert"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let changes = samples::burst_changes();
    real.deliver(&told(&changes[1])).await.unwrap();
    let open = async || -> Vec<String> {
        let answer = test_client()
            .get(format!("{url}/api/v2/alerts"))
            .send()
            .await
            .unwrap();
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = body.as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    };
    assert_eq!(open().await, ["cluster-admin-binding", "forbidden-burst"]);
    let mut over = Alert::clone(changes[2].alert());
    over.ends_at = Some(Time::from_micros(
        chrono::Utc::now().timestamp_micros() + 60_000_000,
    ));
    real.deliver(&told(&Change::Resolved(std::sync::Arc::new(over))))
        .await
        .unwrap();
    while open().await != ["cluster-admin-binding"] {
        assert!(Instant::now() < deadline, "what is over is still open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
