//! The tailer against real files: each test waits for lines to arrive, never for time to pass.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    source::{Batch, Intake, SourceError, SourceMetrics},
    store::Kept,
    telemetry::{Health, Metrics},
};

/// Long enough for a busy machine; a test that fails takes this long, one that passes does not.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    batches: mpsc::Receiver<Batch>,
    lines: VecDeque<String>,
    /// What would be committed by now.
    kept: Kept,
    metrics: Metrics,
    health: Arc<Health>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn start(path: &Path, change: impl FnOnce(&mut TailSettings)) -> Self {
        Self::try_start(path, Kept::new(), 1 << 20, change).unwrap()
    }

    /// Goes on after a stop or a crash.
    fn resume(path: &Path, kept: Kept, change: impl FnOnce(&mut TailSettings)) -> Self {
        Self::try_start(path, kept, 1 << 20, change).unwrap()
    }

    fn try_start(
        path: &Path,
        kept: Kept,
        room: usize,
        change: impl FnOnce(&mut TailSettings),
    ) -> Result<Self, SourceError> {
        let mut settings = TailSettings::new(path.to_str().unwrap());
        settings.poll = Duration::from_millis(20);
        settings.grace = Duration::from_millis(50);
        change(&mut settings);
        let (intake, batches) = Intake::new(room);
        let metrics = Metrics::new().unwrap();
        let source_metrics = SourceMetrics::new(&metrics).unwrap();
        let health = Arc::new(Health::default());
        let stop = CancellationToken::new();
        let feed = intake.feed("file:test");
        let part = health.part("tail");
        let tailer = Tailer::new(settings, &kept, feed, &source_metrics, part, stop.clone())?;
        let thread = Some(std::thread::spawn(move || tailer.run()));
        Ok(Self {
            batches,
            lines: VecDeque::new(),
            kept,
            metrics,
            health,
            stop,
            thread,
        })
    }

    /// Takes one batch, also one that carries a bookmark alone.
    async fn take(&mut self) {
        let batch = tokio::time::timeout(PATIENCE, self.batches.recv());
        let batch = batch
            .await
            .expect("no line came")
            .expect("the tailer ended");
        let text = String::from_utf8(batch.block.bytes.to_vec()).unwrap();
        self.lines.extend(text.lines().map(str::to_owned));
        let Some(bookmark) = batch.position else {
            return;
        };
        match bookmark.value {
            Some(value) => self.kept.insert(bookmark.part, value),
            None => self.kept.remove(&bookmark.part),
        };
    }

    async fn next(&mut self) -> String {
        while self.lines.is_empty() {
            self.take().await;
        }
        self.lines.pop_front().unwrap()
    }

    /// The marks that would be committed by now, oldest first.
    fn marks(&self) -> Vec<Mark> {
        let marks = self.kept.iter().filter(|(part, _)| !part.is_empty());
        marks
            .map(|(_, value)| serde_json::from_str(value).unwrap())
            .collect()
    }

    /// Stops, and gives what was committed.
    fn crash(mut self) -> Kept {
        std::mem::take(&mut self.kept)
    }

    async fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.next().await, *line);
        }
    }

    async fn until(&self, mut condition: impl FnMut(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("the condition never held");
    }

    fn metric(&self, start: &str) -> Option<f64> {
        let text = self.metrics.render().unwrap();
        text.lines()
            .find(|line| line.starts_with(start))?
            .rsplit(' ')
            .next()?
            .parse()
            .ok()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
        self.batches.close();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    (directory, path)
}

#[tokio::test]
async fn reads_what_is_there_and_what_comes() {
    let (_directory, path) = place();
    append(&path, "one\ntwo\n");
    let mut rig = Rig::start(&path, |_| {});
    rig.expect(&["one", "two"]).await;
    append(&path, "three\n");
    rig.expect(&["three"]).await;
    assert_eq!(rig.marks()[0].offset, 14);
    rig.until(|rig| rig.health.readiness().0).await;
    rig.until(|rig| rig.metric("auditwatch_source_lag_bytes") == Some(0.0))
        .await;
}

#[tokio::test]
async fn from_the_end_skips_what_was_there_but_not_the_line_being_written() {
    let (_directory, path) = place();
    append(&path, "old\nhal");
    let mut rig = Rig::start(&path, |settings| settings.from = From::End);
    rig.until(|rig| rig.health.readiness().0).await;
    append(&path, "f\nnew\n");
    rig.expect(&["half", "new"]).await;
}

#[tokio::test]
async fn waits_for_a_file_and_says_so() {
    let (_directory, path) = place();
    let mut rig = Rig::start(&path, |settings| settings.from = From::End);
    rig.until(|rig| rig.health.readiness().1.contains("waiting for"))
        .await;
    append(&path, "first\n");
    rig.expect(&["first"]).await;
}

#[tokio::test]
async fn a_partial_line_waits_for_its_rest() {
    let (_directory, path) = place();
    append(&path, "one\ntw");
    let mut rig = Rig::start(&path, |_| {});
    rig.expect(&["one"]).await;
    assert_eq!(rig.marks()[0].offset, 4, "the half line is read again");
    append(&path, "o\n");
    rig.expect(&["two"]).await;
}

#[tokio::test]
async fn rotation_by_rename_loses_nothing() {
    let (directory, path) = place();
    append(&path, "a1\n");
    let mut rig = Rig::start(&path, |settings| settings.grace = Duration::from_secs(3600));
    rig.expect(&["a1"]).await;
    let rotated = directory.path().join("audit-2026-11-23T11-05-17.835.log");
    let mut old_writer = OpenOptions::new().append(true).open(&path).unwrap();
    fs::rename(&path, &rotated).unwrap();
    append(&path, "b1\n");
    rig.expect(&["b1"]).await;
    old_writer.write_all(b"a2\n").unwrap();
    rig.expect(&["a2"]).await;
    fs::remove_file(&rotated).unwrap();
    old_writer.write_all(b"a3\n").unwrap();
    rig.expect(&["a3"]).await;
    append(&path, "b2\n");
    rig.expect(&["b2"]).await;
}

#[tokio::test]
async fn the_last_line_of_a_rotated_file_needs_no_newline() {
    let (directory, path) = place();
    append(&path, "a1\na2");
    let mut rig = Rig::start(&path, |_| {});
    rig.expect(&["a1"]).await;
    fs::rename(&path, directory.path().join("audit.log.1")).unwrap();
    append(&path, "b1\n");
    let mut lines = [rig.next().await, rig.next().await];
    lines.sort();
    assert_eq!(lines, ["a2", "b1"]);
    rig.until(|rig| {
        rig.metric("auditwatch_source_file_changes_total{change=\"rotated\"") == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn truncation_starts_over_even_when_the_file_has_grown_past() {
    let (_directory, path) = place();
    append(&path, "one\ntwo\n");
    let mut rig = Rig::start(&path, |_| {});
    rig.expect(&["one", "two"]).await;
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    append(&path, "3\n");
    rig.expect(&["3"]).await;
    fs::write(&path, "a longer beginning than before\nnext\n").unwrap();
    rig.expect(&["a longer beginning than before", "next"])
        .await;
}

#[tokio::test]
async fn a_symlink_is_followed_where_it_points_now() {
    let (directory, path) = place();
    let (first, second) = (
        directory.path().join("first"),
        directory.path().join("second"),
    );
    append(&first, "one\n");
    append(&second, "two\n");
    std::os::unix::fs::symlink(&first, &path).unwrap();
    let mut rig = Rig::start(&path, |_| {});
    rig.expect(&["one"]).await;
    let next = directory.path().join("next");
    std::os::unix::fs::symlink(&second, &next).unwrap();
    fs::rename(&next, &path).unwrap();
    rig.expect(&["two"]).await;
}

#[tokio::test]
async fn a_pattern_takes_newcomers_and_leaves_rotated_names() {
    let (directory, _) = place();
    append(&directory.path().join("a.log"), "a1\n");
    append(
        &directory.path().join("a-2026-11-23T11-05-17.835.log"),
        "rotated\n",
    );
    let mut rig = Rig::start(&directory.path().join("*.log"), |_| {});
    rig.expect(&["a1"]).await;
    append(&directory.path().join("b.log"), "b1\n");
    rig.expect(&["b1"]).await;
    fs::rename(
        directory.path().join("a.log"),
        directory.path().join("a.old.log"),
    )
    .unwrap();
    append(&directory.path().join("a.log"), "a2\n");
    rig.expect(&["a2"]).await;
    append(&directory.path().join("c.log"), "c1\n");
    rig.expect(&["c1"]).await;
}

#[tokio::test]
async fn a_full_pipeline_stops_the_reading_and_hides_no_rotation() {
    let (directory, path) = place();
    append(&path, &format!("{}\n", "a".repeat(4000)));
    // Room for one block alone, and it is not taken out.
    let mut rig = Rig::try_start(&path, Kept::new(), 1024, |_| {}).unwrap();
    while rig.marks().is_empty() {
        rig.take().await;
    }
    rig.until(|rig| rig.batches.len() == 1).await;
    append(&path, "a2\n");
    rig.until(|rig| rig.metric("auditwatch_source_received_bytes") == Some(4004.0))
        .await;
    append(&path, "a3\n");
    rig.until(|rig| rig.metric("auditwatch_source_lag_bytes") == Some(3.0))
        .await;
    for (generation, line) in ["b1\n", "c1\n"].into_iter().enumerate() {
        fs::rename(&path, directory.path().join(format!("gone{generation}"))).unwrap();
        append(&path, line);
        rig.until(|rig| {
            rig.metric("auditwatch_source_lag_bytes") == Some(6.0 + 3.0 * generation as f64)
        })
        .await;
        fs::remove_file(directory.path().join(format!("gone{generation}"))).unwrap();
    }
    assert_eq!(rig.next().await.len(), 4000);
    rig.expect(&["a2", "a3", "b1", "c1"]).await;
}

#[tokio::test]
async fn refuses_what_cannot_be_watched() {
    let (directory, _) = place();
    let name = directory.path().to_str().unwrap().to_owned();
    append(&directory.path().join("plain"), "");
    for (path, says) in [
        (format!("{name}/no/such/audit.log"), "does not exist"),
        (name.clone(), "it is a directory; name the file"),
        (format!("{name}/[.log"), "the pattern is wrong"),
        (format!("{name}/no/*.log"), "does not exist"),
        (format!("{name}/plain/audit.log"), "is not a directory"),
    ] {
        let error = Rig::try_start(Path::new(&path), Kept::new(), 1024, |_| {})
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains(says) && error.contains(&path), "{error}");
    }
}
