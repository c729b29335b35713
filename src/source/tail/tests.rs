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
use super::{disk::Local, held::HeldFile};
use crate::{
    decode::Limits,
    source::{Batch, Intake, SourceError, SourceMetrics},
    store::Kept,
    telemetry::{Health, Metrics},
    units::{Span, Time},
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

/// A line as long as an audit event.
fn line(name: &str) -> String {
    format!("{name} {}", "x".repeat(150))
}

fn write(path: &Path, names: &[&str]) {
    let lines: Vec<String> = names.iter().map(|name| line(name) + "\n").collect();
    append(path, &lines.concat());
}

fn gzip(path: &Path) {
    let packed = path.with_file_name(format!(
        "{}.gz",
        path.file_name().unwrap().to_string_lossy()
    ));
    let file = File::create(packed).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(path).unwrap();
}

impl Rig {
    async fn expect_names(&mut self, names: &[&str]) {
        for name in names {
            assert_eq!(self.next().await, line(name));
        }
    }

    /// How often something happened to files.
    fn changes(&self, change: &str) -> u64 {
        let metric = format!("auditwatch_source_file_changes_total{{change=\"{change}\"");
        self.metric(&metric).unwrap() as u64
    }
}

#[tokio::test]
async fn goes_on_after_a_restart_in_files_rotated_and_compressed_meanwhile() {
    let (directory, path) = place();
    let rotated = |name: &str| directory.path().join(name);
    write(&rotated("audit-2026-11-23T10-00-00.000.log"), &["older"]);
    write(&path, &["a1", "a2"]);
    let mut rig = Rig::start(&path, |_| {});
    rig.expect_names(&["a1", "a2"]).await;
    let kept = rig.crash();
    write(&path, &["a3"]);
    let first = rotated("audit-2026-11-23T11-00-00.000.log");
    fs::rename(&path, &first).unwrap();
    gzip(&first);
    write(&path, &["b1"]);
    fs::rename(&path, rotated("audit-2026-11-23T12-00-00.000.log")).unwrap();
    write(&path, &["c1"]);
    let mut rig = Rig::resume(&path, kept, |_| {});
    rig.expect_names(&["a3", "b1", "c1"]).await;
    assert_eq!(rig.changes("resumed"), 1);
    rig.until(|rig| rig.changes("rotated") == 2).await;
    while rig.marks().iter().filter(|mark| mark.done).count() < 2 {
        rig.take().await;
    }
    let mut rig = Rig::resume(&path, rig.crash(), |_| {});
    write(&path, &["c2"]);
    rig.expect_names(&["c2"]).await;
    assert_eq!(rig.changes("lost"), 0);
}

#[tokio::test]
async fn the_rest_of_a_copytruncated_file_is_read_from_its_copy() {
    let (directory, path) = place();
    write(&path, &["a1"]);
    let mut rig = Rig::start(&path, |_| {});
    rig.expect_names(&["a1"]).await;
    let kept = rig.crash();
    write(&path, &["a2"]);
    fs::copy(&path, directory.path().join("audit.log.1")).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    write(&path, &["b1"]);
    let mut rig = Rig::resume(&path, kept, |_| {});
    rig.expect_names(&["a2", "b1"]).await;
    assert_eq!(rig.changes("lost"), 0);
}

#[tokio::test]
async fn says_what_cannot_be_found_any_more() {
    let (_directory, path) = place();
    write(&path, &["a1"]);
    let mut rig = Rig::start(&path, |_| {});
    rig.expect_names(&["a1"]).await;
    let mut kept = rig.crash();
    kept.insert("99".into(), "nonsense".to_owned());
    fs::remove_file(&path).unwrap();
    write(&path, &["b1"]);
    let mut rig = Rig::resume(&path, kept, |_| {});
    assert_eq!(rig.changes("lost"), 1, "the bookmark that cannot be read");
    rig.expect_names(&["b1"]).await;
    rig.until(|rig| rig.changes("lost") == 2).await;
    while rig.marks().len() > 1 {
        rig.take().await;
    }
}

#[tokio::test]
async fn a_writer_that_goes_on_in_a_closed_file_is_heard_at_the_next_rotation() {
    let (directory, path) = place();
    write(&path, &["a1"]);
    let mut rig = Rig::start(&path, |_| {});
    rig.expect_names(&["a1"]).await;
    fs::rename(&path, directory.path().join("audit.log.1")).unwrap();
    write(&path, &["b1"]);
    rig.expect_names(&["b1"]).await;
    rig.until(|rig| rig.changes("rotated") == 1).await;
    write(&directory.path().join("audit.log.1"), &["a2"]);
    fs::rename(
        directory.path().join("audit.log.1"),
        directory.path().join("audit.log.2"),
    )
    .unwrap();
    fs::rename(&path, directory.path().join("audit.log.1")).unwrap();
    write(&path, &["c1"]);
    rig.expect_names(&["a2", "c1"]).await;
}

#[tokio::test]
async fn begins_as_far_back_as_is_wished_also_in_rotated_files() {
    let (directory, path) = place();
    let event = |minute: usize| {
        let stamp = format!("2026-11-23T11:{minute:02}:00.000000Z");
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{minute}","stage":"ResponseComplete","requestURI":"/{}","verb":"get","user":{{"username":"u"}},"requestReceivedTimestamp":"{stamp}","stageTimestamp":"{stamp}"}}"#,
            "x".repeat(minute * 200)
        )
    };
    let text = |minutes: std::ops::Range<usize>| -> String {
        minutes.map(|minute| event(minute) + "\n").collect()
    };
    let first = directory.path().join("audit.log.1");
    append(&first, &text(0..10));
    append(&path, &text(10..60));
    let now = Time::parse("2026-11-23T12:00:00Z").unwrap();
    for back in [1, 3, 10, 45, 50, 53, 59] {
        let first_minute = 60 - back;
        let cutoff = now.minus(Span::parse(&format!("{back}m")).unwrap());
        let mut places = Vec::new();
        gzip_copy(&first);
        for file in ["audit.log.1", "audit.log.1.gz", "audit.log"] {
            let mut file = HeldFile::open_rotated(&Local, &directory.path().join(file)).unwrap();
            places.push(since::place(&mut file, cutoff, Limits::default()).unwrap() as usize);
        }
        let old = text(0..first_minute.min(10)).len();
        let new = text(10..first_minute.max(10)).len();
        assert_eq!(places, [old, old, new], "{back} minutes back");
    }
    // Whoever asks for more than is there gets all: here, stamps are of the future or the past.
    let mut rig = Rig::start(&path, |settings| {
        settings.from = From::Last(Span::parse("3650d").unwrap());
    });
    assert_eq!(rig.next().await, event(0));
    for _ in 1..60 {
        rig.next().await;
    }
    let mut rig = Rig::start(&path, |settings| {
        settings.from = From::Last(Span::from_micros(1));
    });
    rig.until(|rig| rig.health.readiness().0).await;
    append(&path, &(event(3) + "\n"));
    assert_eq!(
        rig.next().await,
        event(3),
        "what comes is read, however old"
    );
}

fn gzip_copy(path: &Path) {
    let plain = fs::read(path).unwrap();
    gzip(path);
    fs::write(path, plain).unwrap();
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
