//! The webhook with a journal: what 200 means, what comes out after a restart, what is refused.

use std::{fs, path::PathBuf};

use super::*;
use crate::units::ByteSize;

fn segments(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.join("journal/127.0.0.1_0");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// The audit ids and rejects of everything in the segments, as a replay would read them.
fn archived(folder: &Path) -> (Vec<String>, usize) {
    let (mut all, mut rejects) = (Vec::new(), 0);
    for path in segments(folder) {
        let mut framer = crate::decode::Framer::new(crate::decode::Limits::default());
        framer.feed(&fs::read(path).unwrap());
        framer.finish();
        while let Some(block) = framer.next_block() {
            each_event(&block, &mut |decoded| match decoded {
                Decoded::Event(slots, _) => all.push(slots.raw(Slot::AuditId).replace('"', "")),
                Decoded::Reject(_) => rejects += 1,
            });
        }
    }
    (all, rejects)
}

#[tokio::test]
async fn what_is_answered_is_on_the_disk_and_comes_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::journaled(folder.path(), |_| {}).await;
    assert_eq!(
        rig.post(list(&[event("a"), event("b")])).await,
        StatusCode::OK
    );
    assert_eq!(
        archived(folder.path()),
        (vec!["a".to_owned(), "b".to_owned()], 0)
    );
    let (ids, bookmark) = rig.next().await;
    assert_eq!(ids, ["a", "b"]);
    let bookmark = bookmark.unwrap();
    assert_eq!((&*bookmark.source, &*bookmark.part), ("webhook:test", ""));
    let size = fs::metadata(&segments(folder.path())[0]).unwrap().len();
    let value = format!("{{\"segment\":1,\"offset\":{size}}}");
    assert_eq!(bookmark.value.as_deref(), Some(value.as_str()));
}

#[tokio::test]
async fn what_was_not_committed_comes_out_of_the_next_process_first() {
    let folder = tempfile::tempdir().unwrap();
    let commits = Arc::new(Commits::default());
    let state = || Some((folder.path(), Arc::clone(&commits)));
    let mut rig = Rig::start_with(8 << 20, state(), |_| {}).await.unwrap();
    assert_eq!(rig.post(list(&[event("a")])).await, StatusCode::OK);
    let (_, bookmark) = rig.next().await;
    assert_eq!(rig.post(list(&[event("b")])).await, StatusCode::OK);
    assert_eq!(rig.next().await.0, ["b"]);
    drop(rig.end().await);
    commits.publish(bookmark);
    let mut rig = Rig::start_with(8 << 20, state(), |_| {}).await.unwrap();
    assert_eq!(rig.post(list(&[event("c")])).await, StatusCode::OK);
    assert_eq!(
        (rig.next().await.0, rig.next().await.0),
        (vec!["b".to_owned()], vec!["c".to_owned()])
    );
}

#[tokio::test]
async fn a_stop_hands_on_what_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::journaled(folder.path(), |_| {}).await;
    assert_eq!(rig.post(list(&[event("a")])).await, StatusCode::OK);
    let mut batches = rig.end().await;
    assert_eq!(ids(&batches.recv().await.unwrap()).0, ["a"]);
    assert!(batches.recv().await.is_none());
}

#[tokio::test]
async fn a_full_pipeline_refuses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::with_room(folder.path(), 1024, |_| {}).await;
    for id in ["a", "b", "c", "d"] {
        assert_eq!(rig.post(list(&[event(id)])).await, StatusCode::OK);
    }
    let mut ids = Vec::new();
    while ids.len() < 4 {
        ids.extend(rig.next().await.0);
    }
    assert_eq!(ids, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn any_body_is_kept_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::journaled(folder.path(), |_| {}).await;
    let pretty = list(&[event("a"), event("b")]).replace(',', ",\n  ");
    assert_eq!(rig.post(pretty).await, StatusCode::OK);
    assert_eq!(rig.post("this is no JSON").await, StatusCode::OK);
    assert_eq!(
        rig.post(list(&[event("c"), "7".to_owned(), event("d")]))
            .await,
        StatusCode::OK
    );
    assert_eq!(rig.post("").await, StatusCode::OK);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(list(&[event("e")]).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let post = |body: Vec<u8>| {
        let request = Client::new().post(&rig.url).body(body);
        status(request.header("Content-Encoding", "gzip"))
    };
    let damaged = packed[..packed.len() - 6].to_vec();
    assert_eq!(post(packed).await, StatusCode::OK);
    assert_eq!(post(damaged).await, StatusCode::BAD_REQUEST);
    let expected: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
    // No JSON, the item that is none, the damage.
    assert_eq!(archived(folder.path()), (expected, 3));
}

#[tokio::test]
async fn long_bodies_need_no_more_memory_than_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::with_room(folder.path(), 64 << 20, |settings| {
        settings.body_max = ByteSize(40 << 20);
        settings.memory_max = ByteSize(20 << 20);
    })
    .await;
    let items: Vec<String> = (0..30_000).map(|n| event(&format!("{n:01000}"))).collect();
    let body = list(&items);
    assert!(body.len() > 32 << 20);
    assert_eq!(rig.post(body).await, StatusCode::OK);
    let mut count = 0;
    while count < items.len() {
        count += rig.next().await.0.len();
    }
    assert_eq!(
        rig.post("x".repeat((40 << 20) + 1)).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn the_cluster_of_a_path_survives() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::journaled(folder.path(), |settings| settings.cluster_from_path = true).await;
    for cluster in ["eu-1", "us-1"] {
        let url = rig.url.replace("/audit", &format!("/audit/{cluster}"));
        let body = list(&[event(cluster)]);
        assert_eq!(
            status(Client::new().post(url).body(body)).await,
            StatusCode::OK
        );
    }
    drop(rig.end().await);
    let mut rig = Rig::journaled(folder.path(), |_| {}).await;
    for cluster in ["eu-1", "us-1"] {
        let batch = rig.batches.recv().await.unwrap();
        assert_eq!(
            (&*batch.cluster, ids(&batch).0),
            (cluster, vec![cluster.to_owned()])
        );
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_said_aloud_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal/127.0.0.1_0");
    let mut rig = Rig::journaled(folder.path(), |_| {}).await;
    // Somebody takes the folder away: no segment can be begun.
    fs::remove_dir(&journal).unwrap();
    let post = || Client::new().post(&rig.url).body(list(&[event("a")]));
    let response = post().send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "3");
    let (is_ready, told) = rig.health.readiness();
    assert!(
        !is_ready && told.contains("cannot write the journal"),
        "{told}"
    );
    assert!(rig.counted("503"));
    fs::create_dir(&journal).unwrap();
    while status(post()).await != StatusCode::OK {}
    assert!(rig.health.readiness().0);
    assert_eq!(rig.next().await.0, ["a"]);
}

#[tokio::test]
async fn slow_clients_hold_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::journaled(folder.path(), |settings| {
        settings.body_timeout = Duration::from_millis(200);
        settings.memory_max = ByteSize(8 << 20);
        settings.connections_max = 40;
    })
    .await;
    let address = rig.url.replace("http://", "").replace("/audit", "");
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nContent-Length: 100000\r\nHost: x\r\n\r\n{\"items\"";
        stream.write_all(head).await.unwrap();
        slow.push(stream);
    }
    assert_eq!(rig.post(list(&[event("a")])).await, StatusCode::OK);
    assert_eq!(rig.next().await.0, ["a"]);
    for mut stream in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    // Nothing of what they sent is in the journal.
    assert_eq!(archived(folder.path()), (vec!["a".to_owned()], 0));
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::journaled(folder.path(), |settings| settings.connections_max = 4).await;
    let address = rig.url.replace("http://", "").replace("/audit", "");
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    let open = "connections{source=\"127.0.0.1:0\"} 4\n";
    while !rig.metrics.render().unwrap().contains(open) {
        tokio::task::yield_now().await;
    }
    let mut refused = TcpStream::connect(&address).await.unwrap();
    assert_eq!(refused.read(&mut [0]).await.unwrap(), 0);
    let counted = "refused_total{reason=\"full\",source=\"127.0.0.1:0\"} 1\n";
    assert!(rig.metrics.render().unwrap().contains(counted));
    drop(idle);
    let send = || {
        Client::new()
            .post(&rig.url)
            .body(list(&[event("a")]))
            .send()
    };
    while send().await.is_err() {}
}

#[tokio::test]
async fn many_clients_at_once_are_all_kept_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::journaled(folder.path(), |_| {}).await;
    let client = Client::new();
    let posts: Vec<_> = (0..64)
        .map(|n| {
            let body = list(&[event(&format!("{n}-1")), event(&format!("{n}-2"))]);
            tokio::spawn(client.post(&rig.url).body(body).send())
        })
        .collect();
    for post in posts {
        assert_eq!(post.await.unwrap().unwrap().status(), StatusCode::OK);
    }
    let mut ids = Vec::new();
    while ids.len() < 128 {
        ids.extend(rig.next().await.0);
    }
    assert_eq!(archived(folder.path()), (ids.clone(), 0));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 128);
}
