//! The journal on disks that fail and under crashes, against what was answered.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::{
    disk::{Disk, Output, RealDisk},
    entry::Entry,
    open::open_on,
    segments,
    state::Waiting,
    *,
};
use crate::{
    store::{Bookmark, Commits},
    telemetry::{Health, Metrics},
    units::{ByteSize, Span, Time},
};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EROFS: i32 = 30;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Faults {
    /// So many more bytes are taken, then there is no room.
    room: Option<u64>,
    /// At most so many bytes are taken at a time.
    step: Option<usize>,
    create: Option<i32>,
    write: Option<i32>,
    sync: Option<i32>,
    sync_folder: Option<i32>,
    truncate: Option<i32>,
}

/// A disk that fails as it is told. What was not synced is lost in a crash, or some of it.
#[derive(Clone, Default)]
struct BadDisk {
    faults: Arc<Mutex<Faults>>,
    syncs: Arc<Mutex<usize>>,
}

struct BadFile {
    file: File,
    disk: BadDisk,
}

fn fail(code: Option<i32>) -> io::Result<()> {
    code.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
}

impl BadDisk {
    fn set(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }

    fn now(&self) -> Faults {
        *self.faults.lock().unwrap()
    }
}

impl Disk for BadDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        fail(self.now().create)?;
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)?;
        let disk = self.clone();
        Ok(Box::new(BadFile { file, disk }))
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        fail(self.now().sync_folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

impl Output for BadFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut faults = self.disk.faults.lock().unwrap();
        fail(faults.write)?;
        let mut most = bytes.len().min(faults.step.unwrap_or(usize::MAX));
        if let Some(room) = &mut faults.room {
            most = most.min(*room as usize);
            *room -= most as u64;
            if most == 0 {
                return Err(io::Error::from_raw_os_error(ENOSPC));
            }
        }
        self.file.write_all(&bytes[..most])?;
        Ok(most)
    }

    fn sync(&mut self) -> io::Result<()> {
        fail(self.disk.now().sync)?;
        *self.disk.syncs.lock().unwrap() += 1;
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        fail(self.disk.now().truncate)?;
        self.file.set_len(length)
    }
}

const SOURCE: &str = "webhook:test";

/// A journal whose writer does its work when it is told to.
struct Rig {
    folder: Arc<tempfile::TempDir>,
    disk: BadDisk,
    settings: JournalSettings,
    commits: Arc<Commits>,
    health: Arc<Health>,
    metrics: Metrics,
    ends: Ends,
}

impl Rig {
    fn new(settings: JournalSettings) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Self::open(folder, BadDisk::default(), settings, Arc::default())
    }

    fn open(
        folder: Arc<tempfile::TempDir>,
        disk: BadDisk,
        settings: JournalSettings,
        commits: Arc<Commits>,
    ) -> Self {
        let (health, metrics) = (Arc::new(Health::default()), Metrics::new().unwrap());
        let counts = JournalMetrics::new(&metrics).unwrap().of("test");
        let kept = commits.watch(SOURCE);
        let part = health.part("journal");
        let on = Box::new(disk.clone());
        let ends = open_on(on, folder.path(), settings.clone(), kept, counts, part).unwrap();
        Self {
            folder,
            disk,
            settings,
            commits,
            health,
            metrics,
            ends,
        }
    }

    /// The process dies and another one starts.
    fn crash(self) -> Self {
        let Self {
            folder,
            disk,
            settings,
            commits,
            ..
        } = self;
        Self::open(folder, disk, settings, commits)
    }

    fn send(&self, text: &str) -> oneshot::Receiver<Result<(), Refused>> {
        let (answer, answered) = oneshot::channel();
        let entry = entry("c", text);
        let sent = self.ends.journal.inbox.try_send(Waiting { entry, answer });
        assert!(sent.is_ok());
        answered
    }

    /// One turn of the writer, without waiting.
    fn turn(&mut self) {
        let writer = &mut self.ends.writer;
        if let Ok(first) = writer.inbox.try_recv() {
            writer.commit(first);
        }
    }

    fn append(&mut self, text: &str) -> Result<(), Refused> {
        let mut answered = self.send(text);
        self.turn();
        answered.try_recv().unwrap()
    }

    /// The lines that come out, without the head lines, and where each stretch ends.
    fn read(&mut self) -> (Vec<String>, Vec<Position>) {
        let (mut lines, mut ends) = (Vec::new(), Vec::new());
        while let Some(stretch) = self.ends.reader.next_stretch().unwrap() {
            if !stretch.is_damaged {
                assert_eq!(&*stretch.cluster, "c");
                lines.extend(texts(&stretch));
            }
            ends.push(stretch.end);
        }
        (lines, ends)
    }

    fn commit_at(&self, position: Position) {
        self.commits.publish([Bookmark {
            source: SOURCE.into(),
            part: "".into(),
            value: Some(position.to_json()),
        }]);
    }

    fn files(&self) -> Vec<u64> {
        segments::list(self.folder.path())
            .unwrap()
            .into_keys()
            .collect()
    }

    fn path(&self, number: u64) -> PathBuf {
        segments::path(self.folder.path(), number)
    }

    fn counted(&self, line: &str) -> bool {
        self.metrics.render().unwrap().contains(line)
    }
}

fn entry(cluster: &str, text: &str) -> Entry {
    Entry::new(
        cluster,
        Time::from_micros(1),
        vec![Bytes::from(format!("\"{text}\"\n"))],
    )
}

fn texts(stretch: &Stretch) -> Vec<String> {
    let lines = stretch.bytes.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned());
    let bodies = lines.filter(|line| !line.is_empty() && !line.contains("\"journal\""));
    bodies
        .map(|line| line.trim_matches('"').to_owned())
        .collect()
}

#[test]
fn bodies_that_wait_are_made_durable_together_and_come_out_in_order() {
    let mut rig = Rig::new(JournalSettings::default());
    let answers: Vec<_> = ["a", "b", "c"].map(|text| rig.send(text)).into();
    assert!(
        rig.read().0.is_empty(),
        "what is not durable is not given out"
    );
    rig.turn();
    for mut answer in answers {
        assert_eq!(answer.try_recv(), Ok(Ok(())));
    }
    assert_eq!(*rig.disk.syncs.lock().unwrap(), 1);
    assert_eq!(rig.read().0, ["a", "b", "c"]);
    assert!(rig.counted("auditwatch_journal_group_bodies_sum 3\n"));
}

#[test]
fn a_new_process_reads_on_where_the_last_one_was_committed() {
    let mut rig = Rig::new(JournalSettings::default());
    rig.append("a").unwrap();
    let (_, ends) = rig.read();
    rig.append("b").unwrap();
    rig.commit_at(ends[0]);
    let mut rig = rig.crash();
    assert_eq!(rig.read().0, ["b"]);
    rig.append("c").unwrap();
    let mut rig = rig.crash();
    assert_eq!(
        (rig.read().0, rig.files()),
        (vec!["b".to_owned(), "c".to_owned()], vec![1, 2])
    );
}

#[test]
fn without_a_bookmark_all_of_it_is_read() {
    let mut rig = Rig::new(JournalSettings::default());
    rig.append("a").unwrap();
    rig.append("b").unwrap();
    let rig = rig.crash();
    let mut rig = rig.crash();
    assert_eq!(rig.read().0, ["a", "b"]);
}

#[test]
fn a_bookmark_that_is_ahead_of_the_files_is_never_gone_back_behind() {
    let rig = Rig::new(JournalSettings::default());
    rig.commit_at(Position {
        segment: 7,
        offset: 100,
    });
    let mut rig = rig.crash();
    rig.append("a").unwrap();
    assert_eq!((rig.read().0, rig.files()), (vec!["a".to_owned()], vec![8]));
}

#[test]
fn clusters_are_not_mixed() {
    let mut rig = Rig::new(JournalSettings::default());
    for cluster in ["eu", "eu", "us", ""] {
        let (answer, _answered) = oneshot::channel();
        let entry = entry(cluster, "x");
        assert!(
            rig.ends
                .journal
                .inbox
                .try_send(Waiting { entry, answer })
                .is_ok()
        );
    }
    rig.turn();
    let stretches: Vec<_> =
        std::iter::from_fn(|| rig.ends.reader.next_stretch().unwrap()).collect();
    let found: Vec<_> = stretches
        .iter()
        .map(|stretch| (&*stretch.cluster, texts(stretch).len()))
        .collect();
    assert_eq!(found, [("eu", 2), ("us", 1), ("", 1)]);
}

#[test]
fn segments_are_deleted_once_committed_and_past_their_retention() {
    let mut rig = Rig::new(JournalSettings {
        segment_bytes: ByteSize(1),
        retain_bytes: ByteSize(500),
        ..JournalSettings::default()
    });
    for text in ["a", "b", "c", "d", "e"] {
        rig.append(text).unwrap();
    }
    let (_, ends) = rig.read();
    let one = ends[0].offset;
    assert!(
        one * 2 < 500 && one * 3 > 500,
        "two of them may stay: {one}"
    );
    rig.ends.writer.upkeep();
    assert_eq!(rig.files(), [1, 2, 3, 4, 5], "nothing is committed");
    rig.commit_at(ends[2]);
    rig.ends.writer.upkeep();
    assert_eq!(rig.files(), [2, 3, 4, 5]);
    assert!(rig.counted("auditwatch_journal_segments{source=\"test\"} 4\n"));
    let backlog = format!(
        "auditwatch_journal_backlog_bytes{{source=\"test\"}} {}\n",
        2 * one
    );
    assert!(rig.counted(&backlog));
    rig.settings.retain_age = Span::ZERO;
    let mut rig = rig.crash();
    rig.ends.writer.upkeep();
    assert_eq!(rig.files(), [4, 5]);
}

#[test]
fn a_full_backlog_is_refused_until_it_is_committed() {
    let mut rig = Rig::new(JournalSettings {
        backlog_max: ByteSize(500),
        ..JournalSettings::default()
    });
    rig.append("a").unwrap();
    rig.append("b").unwrap();
    assert_eq!(rig.append("c"), Err(Refused::Full));
    assert_eq!(rig.ends.journal.is_taking(), Err(Refused::Full));
    let (is_ready, told) = rig.health.readiness();
    assert!(
        !is_ready && told.contains("`backlog_max` is 500 B"),
        "{told}"
    );
    assert!(
        rig.counted("auditwatch_journal_failures_total{reason=\"backlog\",source=\"test\"} 1\n")
    );
    let (lines, ends) = rig.read();
    assert_eq!(lines, ["a", "b"]);
    rig.commit_at(ends[0]);
    rig.ends.writer.upkeep();
    assert!(rig.health.readiness().0);
    rig.append("c").unwrap();
}

#[test]
fn each_fault_refuses_says_why_and_heals_without_a_restart() {
    let none = Faults::default();
    for (faults, reason, advice) in [
        (
            Faults {
                room: Some(100),
                ..none
            },
            "no_space",
            "make room",
        ),
        (
            Faults {
                room: Some(100),
                truncate: Some(EIO),
                ..none
            },
            "no_space",
            "make room",
        ),
        (
            Faults {
                write: Some(EIO),
                ..none
            },
            "io",
            "may be failing",
        ),
        (
            Faults {
                sync: Some(EIO),
                ..none
            },
            "io",
            "may be failing",
        ),
        (
            Faults {
                sync: Some(EIO),
                truncate: Some(EIO),
                ..none
            },
            "io",
            "may be failing",
        ),
        (
            Faults {
                sync: Some(ENOSPC),
                ..none
            },
            "no_space",
            "make room",
        ),
        (
            Faults {
                write: Some(EROFS),
                ..none
            },
            "read_only",
            "mounted read-only",
        ),
    ] {
        let mut rig = Rig::new(JournalSettings::default());
        rig.append("a").unwrap();
        rig.disk.set(faults);
        assert_eq!(rig.append("b"), Err(Refused::Broken), "{faults:?}");
        assert_eq!(rig.ends.journal.is_taking(), Err(Refused::Broken));
        assert_eq!(
            rig.append("c"),
            Err(Refused::Broken),
            "and does not try each time"
        );
        rig.ends.writer.upkeep();
        let (is_ready, told) = rig.health.readiness();
        assert!(!is_ready && told.contains(advice), "{told}");
        let counted = format!("failures_total{{reason=\"{reason}\",source=\"test\"}} 2\n");
        assert!(rig.counted(&counted), "{counted}");
        assert_eq!(rig.read().0, ["a"], "{faults:?}");
        rig.disk.set(none);
        rig.ends.writer.upkeep();
        assert!(rig.health.readiness().0, "{faults:?}");
        rig.append("d").unwrap();
        assert_eq!(rig.read().0, ["d"]);
        assert_eq!(rig.files(), [1, 2], "what failed is not written to again");
        let mut rig = rig.crash();
        let read = rig.read().0;
        // What was refused may have stayed; it is never torn, and never out of order.
        assert!(
            read == ["a", "d"] || read == ["a", "b", "d"],
            "{faults:?}: {read:?}"
        );
    }
}

#[test]
fn a_segment_that_cannot_be_begun_is_tried_again() {
    for faults in [
        Faults {
            create: Some(EROFS),
            ..Faults::default()
        },
        Faults {
            sync_folder: Some(EIO),
            ..Faults::default()
        },
    ] {
        let mut rig = Rig::new(JournalSettings::default());
        rig.disk.set(faults);
        assert_eq!(rig.append("a"), Err(Refused::Broken));
        assert!(rig.files().is_empty());
        rig.disk.set(Faults::default());
        rig.ends.writer.upkeep();
        rig.append("b").unwrap();
        assert_eq!(rig.read().0, ["b"]);
    }
}

#[test]
fn short_writes_are_no_failure() {
    let mut rig = Rig::new(JournalSettings::default());
    rig.disk.set(Faults {
        step: Some(7),
        ..Faults::default()
    });
    rig.append(&"x".repeat(1000)).unwrap();
    assert_eq!(rig.read().0, ["x".repeat(1000)]);
}

#[test]
fn damage_costs_its_neighbours_nothing() {
    let mut rig = Rig::new(JournalSettings::default());
    for text in ["a", "bbbbbbbb", "c"] {
        rig.append(text).unwrap();
    }
    let path = rig.path(1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("bbbbbbbb", "bbbbxbbb")).unwrap();
    let mut read = Vec::new();
    while let Some(stretch) = rig.ends.reader.next_stretch().unwrap() {
        read.push((texts(&stretch), stretch.is_damaged));
    }
    let damaged = vec!["bbbbxbbb".to_owned()];
    assert_eq!(
        read,
        [
            (vec!["a".to_owned()], false),
            (damaged, true),
            (vec!["c".to_owned()], false)
        ]
    );
    assert!(!rig.counted("journal_damaged_bytes_total{source=\"test\"} 0\n"));
}

#[test]
fn damage_is_not_taken_for_what_a_crash_has_torn() {
    let mut rig = Rig::new(JournalSettings::default());
    rig.append("a").unwrap();
    rig.append("bbbbbbbb").unwrap();
    let path = rig.path(1);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("bbbbbbbb", "bbbbxbbb")).unwrap();
    let rig = rig.crash();
    assert_eq!(fs::metadata(&path).unwrap().len(), text.len() as u64);
    // Half of an entry, on the other hand, goes.
    fs::write(&path, text + "{\"kind\":\"EventL").unwrap();
    let mut rig = rig.crash();
    assert_eq!(rig.read().0, ["a", "bbbbbbbb"]);
    assert!(!fs::read_to_string(&path).unwrap().ends_with("EventL"));
}

#[test]
fn a_segment_that_somebody_deleted_is_passed_over() {
    let mut rig = Rig::new(JournalSettings {
        segment_bytes: ByteSize(1),
        ..JournalSettings::default()
    });
    for text in ["a", "b", "c"] {
        rig.append(text).unwrap();
    }
    fs::remove_file(rig.path(2)).unwrap();
    assert_eq!(rig.read().0, ["a", "c"]);
}

#[test]
fn a_segment_is_an_audit_log_by_itself() {
    let mut rig = Rig::new(JournalSettings::default());
    rig.append("a").unwrap();
    let text = fs::read_to_string(rig.path(1)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let head: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((lines[1], lines.len()), ("\"a\"", 2));
    assert_eq!(
        (&head["kind"], &head["items"]),
        (&"EventList".into(), &serde_json::json!([]))
    );
    assert_eq!(head["journal"]["received"], "1970-01-01T00:00:00.000001Z");
    let block = crate::decode::Block::of_lines(lines[0].to_owned().into(), 0);
    crate::decode::each_event(&block, &mut |decoded| panic!("{decoded:?}"));
}

/// One thing that happens to a journal.
#[derive(Clone, Debug)]
enum Step {
    /// So many bodies of this size come at once.
    Send(usize, usize),
    Fault(Faults),
    Heal,
    Upkeep,
    /// The pipeline reads everything and commits a part of it.
    Commit(usize),
    /// The process dies.
    Crash,
    /// The machine dies in the middle of a write: the newest segment has this behind its end.
    PowerCut(Vec<u8>, usize),
}

fn a_step() -> impl Strategy<Value = Step> {
    let none = Faults::default();
    prop_oneof![
        6 => (1usize..4, 1usize..300).prop_map(|(count, size)| Step::Send(count, size)),
        1 => (0u64..600).prop_map(move |room| Step::Fault(Faults { room: Some(room), ..none })),
        1 => (1usize..50).prop_map(move |step| Step::Fault(Faults { step: Some(step), ..none })),
        1 => (0u64..600).prop_map(move |room| {
            Step::Fault(Faults { room: Some(room), truncate: Some(EIO), ..none })
        }),
        1 => Just(Step::Fault(Faults { sync: Some(EIO), truncate: Some(EIO), ..none })),
        1 => Just(Step::Fault(Faults { create: Some(EIO), ..none })),
        3 => Just(Step::Heal),
        3 => Just(Step::Upkeep),
        3 => (0usize..10).prop_map(Step::Commit),
        1 => Just(Step::Crash),
        1 => (prop::collection::vec(any::<u8>(), 0..40), 0usize..400)
            .prop_map(|(rubbish, cut)| Step::PowerCut(rubbish, cut)),
    ]
}

/// What must be true: what was answered and not committed is read, in order.
#[derive(Default)]
struct Model {
    /// The bodies that were sent, in order, and whether they were taken.
    sent: Vec<(String, bool)>,
    /// How many of the taken ones are committed.
    committed: usize,
}

impl Model {
    fn check(&self, read: &[String]) -> Result<(), TestCaseError> {
        let taken = self
            .sent
            .iter()
            .filter(|(_, taken)| *taken)
            .map(|(text, _)| text);
        let taken: Vec<&String> = taken.skip(self.committed).collect();
        let answered: Vec<&String> = read
            .iter()
            .filter(|text| {
                self.sent
                    .iter()
                    .any(|(sent, taken)| sent == *text && *taken)
            })
            .collect();
        prop_assert_eq!(
            answered,
            taken,
            "what was answered and not committed, in order"
        );
        let order = read
            .iter()
            .map(|text| self.sent.iter().position(|(sent, _)| sent == text));
        prop_assert!(
            order.clone().all(|at| at.is_some()),
            "what was never sent: {:?}",
            read
        );
        prop_assert!(
            order.is_sorted_by(|one, other| one < other),
            "out of order: {:?}",
            read
        );
        Ok(())
    }
}

fn power_cut(rig: Rig, rubbish: &[u8], cut: usize, torn: &str) -> Rig {
    let newest = rig.files().pop();
    if let Some(newest) = newest {
        let mut behind = entry("c", torn).head;
        behind.extend_from_slice(format!("\"{torn}\"\n").as_bytes());
        // Never all of it: a whole one might as well have been answered.
        behind.truncate(cut % behind.len());
        behind.extend_from_slice(rubbish);
        let mut file = OpenOptions::new()
            .append(true)
            .open(rig.path(newest))
            .unwrap();
        file.write_all(&behind).unwrap();
    }
    rig.crash()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_was_answered_is_read_whatever_happens(steps in prop::collection::vec(a_step(), 1..40)) {
        let settings = JournalSettings {
            segment_bytes: ByteSize(700),
            retain_bytes: ByteSize(1000),
            backlog_max: ByteSize(5000),
            ..JournalSettings::default()
        };
        let (mut rig, mut model) = (Rig::new(settings), Model::default());
        let mut next = 0;
        for step in steps {
            match step {
                Step::Send(count, size) => {
                    let texts: Vec<String> = (0..count).map(|_| {
                        next += 1;
                        format!("{next:04}{}", "x".repeat(size))
                    }).collect();
                    let answers: Vec<_> = texts.iter().map(|text| rig.send(text)).collect();
                    rig.turn();
                    for (text, mut answer) in texts.into_iter().zip(answers) {
                        model.sent.push((text, answer.try_recv().unwrap().is_ok()));
                    }
                }
                Step::Fault(faults) => rig.disk.set(faults),
                Step::Heal => rig.disk.set(Faults::default()),
                Step::Upkeep => rig.ends.writer.upkeep(),
                Step::Commit(stretches) => {
                    rig = rig.crash();
                    let mut read = Vec::new();
                    while read.len() < stretches && let Some(stretch) = rig.ends.reader.next_stretch().unwrap() {
                        let of_taken = |text: &String| model.sent.iter().any(|(sent, taken)| sent == text && *taken);
                        model.committed += texts(&stretch).iter().filter(|text| of_taken(text)).count();
                        read.push(stretch.end);
                    }
                    if let Some(end) = read.pop() {
                        rig.commit_at(end);
                    }
                    rig.ends.writer.upkeep();
                }
                Step::Crash => rig = rig.crash(),
                Step::PowerCut(rubbish, cut) => rig = power_cut(rig, &rubbish, cut, "torn"),
            }
        }
        rig.disk.set(Faults::default());
        rig = rig.crash();
        model.check(&rig.read().0)?;
    }
}
