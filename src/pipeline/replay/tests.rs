//! Tests of replay: how events are spread over files, and by how many threads they are read,
//! makes no difference; everything taken in is counted once.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    decode,
    diagnostic::SourceFile,
    rule::Layer,
    source::archive::{self, Found},
    units::Span,
};

const RULES: &str = "\
title: Refused
name: refused
logsource: {product: kubernetes, service: audit}
detection:
  sel: {responseStatus.code: 403}
  condition: sel
level: low
---
title: Burst of refusals
name: burst
correlation:
  type: event_count
  rules: [refused]
  group-by: [user.username]
  timespan: 10s
  condition: {gte: 4}
level: high
---
title: Secrets read
name: secrets
logsource: {product: kubernetes, service: audit}
detection:
  sel: {objectRef.resource: secrets}
  condition: sel
level: medium
";

fn rules() -> Arc<RuleSet> {
    let file = Arc::new(SourceFile::new("test.yml", RULES));
    let layer = Layer {
        rules: vec![file],
        lists: Vec::new(),
    };
    Arc::new(RuleSet::load(&[layer]).unwrap().set)
}

/// A log of `count` events, one in about 100 ms, written with the disorder of a real one.
fn log(count: u64) -> Vec<String> {
    let start = Time::parse("2026-11-23T11:00:00.000000Z").unwrap();
    let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) % 1000;
    let mut events: Vec<(Time, String)> = (0..count)
        .map(|n| {
            let received = start.plus(Span::from_micros((n * 100_000) as i64));
            let done = received.plus(Span::from_micros((random(n) * 2000) as i64));
            let code = if random(n + 7) < 250 { 403 } else { 200 };
            let resource = if random(n + 99) < 30 {
                "secrets"
            } else {
                "pods"
            };
            let user = random(n + 1000) % 5;
            let event = format!(
                "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\
                 \"auditID\":\"{n}\",\"stage\":\"ResponseComplete\",\"requestURI\":\"/api/v1/x\",\
                 \"verb\":\"get\",\"user\":{{\"username\":\"user-{user}\"}},\
                 \"objectRef\":{{\"resource\":\"{resource}\"}},\
                 \"responseStatus\":{{\"code\":{code}}},\
                 \"requestReceivedTimestamp\":\"{received}\",\"stageTimestamp\":\"{done}\"}}\n"
            );
            (done, event)
        })
        .collect();
    // Written when done, or up to half a second later.
    events.sort_by_key(|(done, event)| {
        done.plus(Span::from_micros(
            (random(event.len() as u64 + done.micros() as u64) * 500) as i64,
        ))
    });
    events.into_iter().map(|(_, event)| event).collect()
}

/// What was found, as it was found.
#[derive(Default)]
struct Heard {
    detections: Vec<Detection>,
    events: usize,
    watermark: Option<Time>,
    /// Cancels the replay after so many events.
    cancel: Option<(usize, Arc<AtomicBool>)>,
    progress: Progress,
}

impl Listener for Heard {
    fn advanced(&mut self, detections: &mut Vec<Detection>, watermark: Time) {
        self.detections.append(detections);
        self.events += 1;
        assert!(
            self.watermark <= Some(watermark),
            "event time does not go back"
        );
        self.watermark = Some(watermark);
        if let Some((after, cancel)) = &self.cancel
            && *after == self.events
        {
            cancel.store(true, Ordering::Relaxed);
        }
    }

    fn progressed(&mut self, progress: &Progress) {
        assert!(self.progress.bytes <= progress.bytes);
        self.progress = *progress;
    }
}

impl Heard {
    /// Every piece of evidence of every detection, in a comparable order.
    fn evidence(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .detections
            .iter()
            .flat_map(|found| {
                let rule = &found.rule.name;
                let ids = found.evidence.iter().map(|facts| &facts.evidence.audit_id);
                ids.map(move |id| format!("{rule} {:?} {id}", found.key))
            })
            .collect();
        all.sort();
        all
    }
}

/// Small blocks, so that there are many.
fn options(threads: usize) -> Options {
    let limits = Limits {
        block_bytes: 4096,
        ..Limits::default()
    };
    Options {
        threads,
        limits,
        ..Options::default()
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, content) in files {
            fs::write(folder.0.path().join(name), content).unwrap();
        }
        folder
    }

    fn archives(&self) -> Vec<Archive> {
        let Found { archives, .. } = archive::find(&[PathBuf::from(self.0.path())]).unwrap();
        archives
    }

    fn replay(&self, options: &Options) -> (Heard, Report) {
        self.replay_into(Heard::default(), options)
    }

    fn replay_into(&self, mut heard: Heard, options: &Options) -> (Heard, Report) {
        let rules = rules();
        let mut engine = Engine::new(Arc::clone(&rules), crate::detect::Settings::default());
        let report = replay(self.archives(), &rules, &mut engine, options, &mut heard);
        let counts = &report.counts;
        let parts = counts.evaluated + counts.duplicate + counts.late;
        let sum = parts + counts.rejected_total() + counts.dropped_total();
        assert_eq!(counts.received, sum, "nothing is lost silently");
        assert_eq!(heard.events as u64, parts);
        (heard, report)
    }
}

fn file(lines: &[String]) -> Vec<u8> {
    lines.concat().into_bytes()
}

#[test]
fn threads_make_no_difference() {
    let folder = Folder::new(&[("audit.log", file(&log(600)))]);
    let (one, report) = folder.replay(&options(1));
    assert_eq!(
        (report.counts.received, report.counts.evaluated),
        (600, 600)
    );
    assert!(
        one.detections
            .iter()
            .any(|found| found.rule.name == "burst")
    );
    assert!(
        one.detections
            .iter()
            .any(|found| found.rule.name == "secrets")
    );
    for threads in [2, 3, 8] {
        let (many, same) = folder.replay(&options(threads));
        assert_eq!(many.detections, one.detections, "{threads} threads");
        assert_eq!(same, report);
    }
}

#[test]
fn the_split_into_files_makes_no_difference() {
    let log = log(600);
    let (one, report) = Folder::new(&[("audit.log", file(&log))]).replay(&options(1));
    let rotated: Vec<_> = log.chunks(130).map(file).collect();
    // Names do not tell the order of times.
    let names = ["e", "a", "d", "b", "c"];
    let rotated: Vec<_> = names.into_iter().zip(rotated).collect();
    let dealt = |count: usize| {
        let hand = |n| {
            log.iter()
                .skip(n)
                .step_by(count)
                .cloned()
                .collect::<Vec<_>>()
        };
        (0..count)
            .map(|n| (names[n], file(&hand(n))))
            .collect::<Vec<_>>()
    };
    for files in [rotated, dealt(2), dealt(5)] {
        let folder = Folder::new(&files);
        for threads in [1, 2] {
            let (split, same) = folder.replay(&options(threads));
            assert_eq!(split.evidence(), one.evidence());
            assert_eq!(
                (same.counts, same.span),
                (report.counts.clone(), report.span)
            );
        }
    }
}

#[test]
fn files_that_overlap_are_merged_by_event() {
    let log = log(400);
    let hand = |n| file(&log.iter().skip(n).step_by(2).cloned().collect::<Vec<_>>());
    let folder = Folder::new(&[("a", hand(0)), ("b", hand(1))]);
    let rules = rules();
    // With a lateness below the length of a file, one file after the other would be late.
    let lateness = Span::from_secs(5);
    let settings = crate::detect::Settings {
        lateness,
        ..crate::detect::Settings::default()
    };
    let mut engine = Engine::new(Arc::clone(&rules), settings);
    let mut heard = Heard::default();
    let report = replay(
        folder.archives(),
        &rules,
        &mut engine,
        &options(2),
        &mut heard,
    );
    assert_eq!((report.counts.evaluated, report.counts.late), (400, 0));
}

#[test]
fn everything_is_counted_once() {
    let mut lines = log(100);
    lines.insert(50, "klog text\n".to_owned());
    lines.insert(60, lines[10].clone());
    lines.push(lines[20][..90].to_owned());
    let (_, report) = Folder::new(&[("audit.log", file(&lines))]).replay(&options(2));
    let counts = &report.counts;
    assert_eq!(
        (counts.received, counts.evaluated, counts.duplicate),
        (103, 100, 1)
    );
    let rejected: Vec<_> = counts.rejected().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        rejected,
        [(decode::Reason::NotJson, 1), (decode::Reason::Torn, 1)]
    );
    let sample = &report.samples[0];
    assert_eq!(sample.reject.head, "klog text");
    assert!(sample.archive.ends_with("audit.log"));
    let before = lines[..50].concat().len() as u64;
    assert_eq!(sample.reject.offset, before);
}

#[test]
fn a_time_range_leaves_the_rest_out() {
    let folder = Folder::new(&[("audit.log", file(&log(100)))]);
    let at = |second| Time::parse(&format!("2026-11-23T11:00:0{second}.000000Z"));
    let range = Options {
        from: at(2),
        to: at(5),
        ..options(2)
    };
    let (_, report) = folder.replay(&range);
    assert_eq!(
        (report.counts.evaluated, report.counts.outside_range),
        (30, 70)
    );
    let last = at(5).unwrap().minus(Span::from_micros(100_000));
    assert_eq!(report.span, Some((at(2).unwrap(), last)));
}

#[test]
fn a_cancelled_replay_tells_what_it_has() {
    let folder = Folder::new(&[("audit.log", file(&log(2000)))]);
    for threads in [1, 3] {
        let options = options(threads);
        let cancel = Some((500, Arc::clone(&options.cancel)));
        let (heard, report) = folder.replay_into(
            Heard {
                cancel,
                ..Heard::default()
            },
            &options,
        );
        assert!(report.is_cancelled);
        assert!((500..600).contains(&heard.events), "{}", heard.events);
        assert!(!heard.detections.is_empty());
    }
}

#[test]
fn damage_costs_only_what_is_damaged() {
    let log = log(3000);
    let mut packed = zstd::encode_all(&file(&log[..1500])[..], 1).unwrap();
    packed.truncate(packed.len() / 2);
    let folder = Folder::new(&[
        ("a.zst", packed),
        ("b", file(&log[1500..])),
        ("c", Vec::new()),
    ]);
    let mut archives = folder.archives();
    let (_, report) = folder.replay(&options(2));
    let corrupt = decode::Reason::CorruptCompression;
    assert_eq!(
        report
            .counts
            .rejected()
            .find(|(reason, _)| *reason == corrupt),
        Some((corrupt, 1))
    );
    assert!(report.counts.evaluated > 1500);
    // A file that is gone when its turn comes.
    fs::remove_file(folder.0.path().join("b")).unwrap();
    let rules = rules();
    let mut engine = Engine::new(Arc::clone(&rules), crate::detect::Settings::default());
    let mut heard = Heard::default();
    archives.reverse();
    let report = replay(archives, &rules, &mut engine, &options(2), &mut heard);
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].to_string().contains("no such file"));
    assert!(report.counts.evaluated > 0);
}

#[test]
fn progress_ends_at_the_whole() {
    let content = file(&log(300));
    let packed = zstd::encode_all(&content[..], 1).unwrap();
    let total = (content.len() + packed.len()) as u64;
    let folder = Folder::new(&[("a", content), ("b.zst", packed)]);
    let (heard, report) = folder.replay(&options(2));
    let received = report.counts.received;
    assert_eq!(
        heard.progress,
        Progress {
            bytes: total,
            total: Some(total),
            received
        }
    );
    assert_eq!(report.counts.duplicate, 300);
}
