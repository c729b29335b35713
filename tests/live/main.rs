//! auditwatch behind a real API server: etcd, kube-apiserver, its audit webhook and its audit log.
//!
//! Needs the folder with `etcd` and `kube-apiserver` in `KUBEBUILDER_ASSETS`, as every test with
//! envtest does; says so aloud when it is not given.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and one that cannot start says so"
)]

mod control_plane;
mod recorder;
mod watcher;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use control_plane::ControlPlane;
use recorder::Recorder;
use watcher::Watcher;

/// How long anything that has to happen may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A rule and the principal that it told of.
type Told = (String, String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_is_watched_by_webhook_and_by_file() {
    let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from) else {
        eprintln!(
            "NOT RUN: set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver to watch a real API server"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start().await;
    let watcher = Watcher::start(folder.path(), &recorder);
    let plane = ControlPlane::start(&assets, folder.path(), &watcher).await;
    recorder.clear();

    plane.attack().await;

    let expected: BTreeSet<Told> = [
        ("forbidden-burst", "bob"),
        (
            "impersonation-of-privileged",
            "system:kube-controller-manager",
        ),
        (
            "secrets-read-cluster-wide",
            "system:kube-controller-manager",
        ),
    ]
    .map(|(rule, principal)| (rule.to_owned(), principal.to_owned()))
    .into();
    wait_for("the alerts at the receiver", || {
        expected.is_subset(&recorder.told())
    })
    .await;

    // Both audit backends get every event, so what came by webhook is what stands in the log; once
    // the API server holds nothing back, for it forgets what it has not sent when it is stopped.
    wait_for("every event of the log by webhook", || {
        watcher.received() == lines(plane.log())
    })
    .await;
    assert!(watcher.is_conserved(), "{}", watcher.metrics());
    let replayed = watcher::replay(plane.log());
    assert_eq!(replayed, recorder.all_told(), "replay equals live");
}

/// How many lines a file has.
fn lines(file: &std::path::Path) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    memchr::memchr_iter(b'\n', &bytes).count() as u64
}

/// Polls until it holds.
async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
