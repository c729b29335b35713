//! A disk that is really full: the webhook says so, loses nothing that it has acknowledged, and
//! goes on when there is room again, without a restart.
//!
//! The test starts itself once more in a namespace of its own, where it may mount a small tmpfs.
//! Where that is not allowed it says that it was skipped.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, and one that is skipped says so"
)]

use std::{env, fs, path::Path, process::Command, sync::Arc};

use auditwatch::{
    decode::{Decoded, each_event},
    event::Slot,
    source::{
        Intake, SourceMetrics,
        webhook::{Journals, Webhook, WebhookSettings},
    },
    store::journal::JournalMetrics,
    telemetry::{Health, Metrics},
};
use reqwest::{Client, Response};
use tokio_util::sync::CancellationToken;

/// Names the full disk to the second process.
const DISK: &str = "AUDITWATCH_TEST_FULL_DISK";

/// What the shell says when there can be no namespace or tmpfs.
const SKIPPED: i32 = 77;

#[test]
fn a_full_disk_loses_nothing_and_heals() {
    if let Some(disk) = env::var_os(DISK) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(fill_and_heal(Path::new(&disk)));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size=4m tmpfs \"$0\" || exit {SKIPPED}; exec \"$@\"");
    let name = "a_full_disk_loses_nothing_and_heals";
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DISK, folder.path());
    let status = command.status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        // 1 is unshare's own: no namespaces for us.
        Ok(Some(SKIPPED | 1)) | Err(_) => {
            eprintln!("SKIPPED {name}: no tmpfs can be mounted here");
        }
        Ok(code) => panic!("ended with {code:?}"),
    }
}

fn event(id: usize) -> String {
    let filling = "x".repeat(200_000);
    format!(
        r#"{{"level":"Metadata","auditID":"{id}","stage":"ResponseComplete","requestURI":"/{filling}","verb":"get","stageTimestamp":"2026-11-23T11:05:17.835410Z"}}"#
    )
}

async fn post(url: &str, id: usize) -> Response {
    let body = format!(r#"{{"kind":"EventList","items":[{}]}}"#, event(id));
    Client::new().post(url).body(body).send().await.unwrap()
}

async fn fill_and_heal(disk: &Path) {
    fs::write(disk.join("filler"), vec![0; 3 << 20]).unwrap();
    let (intake, mut batches) = Intake::new(64 << 20);
    let metrics = Metrics::new().unwrap();
    let health = Arc::new(Health::default());
    let journal_metrics = JournalMetrics::new(&metrics).unwrap();
    let mut journals = Journals::new(&disk.join("state"), Arc::default(), journal_metrics);
    let (settings, feed) = (WebhookSettings::new("127.0.0.1:0"), intake.feed("webhook"));
    let journal = journals.open(&settings, feed.name(), &health).unwrap();
    let (source_metrics, stop) = (
        SourceMetrics::new(&metrics).unwrap(),
        CancellationToken::new(),
    );
    let part = health.part("webhook");
    let webhook = Webhook::bind(
        settings,
        feed,
        &source_metrics,
        part,
        stop.clone(),
        Some(journal),
    );
    let webhook = webhook.await.unwrap();
    let url = format!("http://{}/", webhook.address());
    let running = tokio::spawn(webhook.run());

    let mut acknowledged = Vec::new();
    let mut id = 0;
    let refusal = loop {
        let answer = post(&url, id).await;
        if answer.status() != 200 {
            break answer;
        }
        acknowledged.push(id.to_string());
        id += 1;
    };
    assert!(acknowledged.len() > 2, "some fit: {acknowledged:?}");
    assert_eq!(
        (refusal.status().as_u16(), &refusal.headers()["retry-after"]),
        (503, &"3".parse().unwrap())
    );
    let (is_ready, told) = health.readiness();
    assert!(
        !is_ready && told.contains("No space left on device") && told.contains("make room"),
        "{told}"
    );
    let text = metrics.render().unwrap();
    assert!(
        !text.contains("reason=\"no_space\",source=\"127.0.0.1:0\"} 0\n"),
        "{text}"
    );

    fs::remove_file(disk.join("filler")).unwrap();
    while post(&url, id).await.status() != 200 {}
    acknowledged.push(id.to_string());
    assert!(health.readiness().0, "{}", health.readiness().1);

    stop.cancel();
    running.await.unwrap();
    drop(intake);
    let mut evaluated = Vec::new();
    while let Some(batch) = batches.recv().await {
        each_event(&batch.block, &mut |decoded| match decoded {
            Decoded::Event(slots, _) => evaluated.push(slots.raw(Slot::AuditId).replace('"', "")),
            Decoded::Reject(reject) => panic!("{reject:?}"),
        });
    }
    assert_eq!(evaluated, acknowledged);
}
