//! The promises of the architecture, on real logs: the same bytes give the same alerts however
//! they are read, and everything that is taken in is accounted for.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use auditwatch::{
    alert::{self, Alert, Alerts, Change},
    config::shipped_layer,
    decode::Limits,
    detect::{self, Detection, Engine},
    pipeline::replay::{Counts, Listener, Options, replay},
    rule::RuleSet,
    source::archive,
    units::Time,
};
use flate2::{Compression, write::GzEncoder};

use crate::program::{answer, program, sample};

/// Two that have alerts of many rules between them, with windows over one and several events.
const SAMPLES: [&str; 2] = [
    "finding-out-what-is-open.jsonl.gz",
    "impersonation-and-escalation.jsonl.gz",
];

/// What a replay found: the detections as they came, and the alerts as they were in the end.
#[derive(Default)]
struct Found {
    detections: Vec<Detection>,
    alerts: Vec<Arc<Alert>>,
    counts: Counts,
}

struct Listening {
    found: Found,
    alerts: Alerts,
    changes: Vec<Change>,
}

impl Listener for Listening {
    fn advanced(&mut self, detections: &mut Vec<Detection>, watermark: Time) {
        for detection in detections.drain(..) {
            self.found.detections.push(detection.clone());
            self.alerts.fold(detection, &mut self.changes);
        }
        self.alerts.tick(watermark, &mut self.changes);
    }
}

fn rules() -> Arc<RuleSet> {
    let loaded = RuleSet::load(&[shipped_layer()]).unwrap_or_else(|report| panic!("{report}"));
    Arc::new(loaded.set)
}

fn options(threads: usize, block_bytes: usize) -> Options {
    Options {
        threads,
        limits: Limits {
            block_bytes,
            ..Limits::default()
        },
        ..Options::default()
    }
}

fn read(folder: &Path, rules: &Arc<RuleSet>, options: &Options) -> Found {
    let archives = archive::find(&[PathBuf::from(folder)]).unwrap().archives;
    let mut engine = Engine::new(Arc::clone(rules), detect::Settings::default());
    let mut listening = Listening {
        found: Found::default(),
        alerts: Alerts::new(alert::Settings::default()),
        changes: Vec::new(),
    };
    let report = replay(archives, rules, &mut engine, options, &mut listening);
    assert_eq!(report.problems, []);
    listening.alerts.flush(&mut listening.changes);
    let mut last = BTreeMap::new();
    for change in &listening.changes {
        let alert = Arc::clone(change.alert());
        last.insert(alert.id.to_string(), alert);
    }
    Found {
        alerts: last.into_values().collect(),
        counts: report.counts,
        ..listening.found
    }
}

/// A folder with a log in some files, named so that their names do not tell their order.
fn spread(files: &[Vec<u8>]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, bytes) in files.iter().enumerate() {
        let name = format!("{}-audit.log", (number * 7 + 3) % 10);
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn bytes(lines: &[String]) -> Vec<u8> {
    lines.concat().into_bytes()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Every piece of evidence of every detection, and every alert, without the order of arrival.
fn unordered(found: &Found) -> (Vec<String>, Vec<String>) {
    let mut evidence: Vec<String> = Vec::new();
    for detection in &found.detections {
        let rule = &detection.rule.name;
        for facts in &detection.evidence {
            let id = &facts.evidence.audit_id;
            evidence.push(format!("{rule} {:?} {id}", detection.key));
        }
    }
    evidence.sort();
    let alerts = found.alerts.iter();
    (
        evidence,
        alerts.map(|alert| alert::to_json(alert, 0)).collect(),
    )
}

#[test]
fn threads_and_blocks_make_no_difference() {
    let rules = rules();
    for name in SAMPLES {
        let folder = spread(&[bytes(&sample(name))]);
        let first = read(folder.path(), &rules, &options(1, 256 << 10));
        assert!(first.alerts.len() > 5);
        for (threads, block_bytes) in [(2, 256 << 10), (4, 16 << 10), (1, 1), (2, 5000)] {
            let again = read(folder.path(), &rules, &options(threads, block_bytes));
            assert_eq!(
                again.detections, first.detections,
                "{threads}, {block_bytes}"
            );
            assert_eq!(again.alerts, first.alerts, "{threads}, {block_bytes}");
            assert_eq!(again.counts, first.counts);
        }
    }
}

#[test]
fn compression_makes_no_difference() {
    let rules = rules();
    for name in SAMPLES {
        let lines = sample(name);
        let (head, tail) = lines.split_at(lines.len() / 3);
        let first = read(
            spread(&[bytes(&lines)]).path(),
            &rules,
            &options(1, 256 << 10),
        );
        let members = [gzipped(&bytes(head)), gzipped(&bytes(tail))].concat();
        let zstd = zstd::encode_all(&bytes(&lines)[..], 1).unwrap();
        for packed in [gzipped(&bytes(&lines)), members, zstd] {
            let again = read(spread(&[packed]).path(), &rules, &options(2, 64 << 10));
            assert_eq!(again.detections, first.detections);
            assert_eq!(again.alerts, first.alerts);
        }
    }
}

#[test]
fn the_split_into_files_makes_no_difference() {
    let rules = rules();
    for name in SAMPLES {
        let lines = sample(name);
        let first = read(
            spread(&[bytes(&lines)]).path(),
            &rules,
            &options(1, 256 << 10),
        );
        let dealt = |count: usize| -> Vec<Vec<u8>> {
            let hand = |n| {
                lines
                    .iter()
                    .skip(n)
                    .step_by(count)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            (0..count).map(|n| bytes(&hand(n))).collect()
        };
        let rotated = |count: usize| -> Vec<Vec<u8>> {
            let chunks = lines.chunks(lines.len() / count + 1);
            chunks.map(bytes).collect()
        };
        for files in [rotated(2), rotated(7), dealt(2), dealt(5)] {
            let count = files.len();
            let again = read(spread(&files).path(), &rules, &options(2, 64 << 10));
            assert_eq!(unordered(&again), unordered(&first), "{count} files");
            assert_eq!(again.counts, first.counts);
        }
    }
}

#[test]
fn stdin_gives_what_a_file_gives() {
    let name = SAMPLES[1];
    let log = bytes(&sample(name));
    let args = ["replay", "--output", "json"];
    let file = answer(program().args(args).arg(format!("sample-logs/{name}")), b"");
    assert!(file.objects().len() > 10, "{}", file.stdout);
    for piped in [log.clone(), gzipped(&log)] {
        let stdin = answer(program().args(args).arg("-"), &piped);
        assert_eq!((stdin.code, stdin.stderr.as_str()), (0, ""));
        assert_eq!(stdin.stdout, file.stdout);
    }
}

/// The sum of a number, or of the numbers of a map.
fn total(value: &serde_json::Value) -> u64 {
    match value.as_object() {
        Some(map) => map.values().map(total).sum(),
        None => value.as_u64().unwrap(),
    }
}

#[test]
fn nothing_is_lost_silently() {
    let clean = sample(SAMPLES[1]);
    let count = clean.len() as u64;
    let mut dirty = clean.clone();
    // A line of the API server's own log, one that was written twice, one cut by a full disk in
    // the midst of the file, an event of another API, a list instead of an event, blank lines.
    dirty.insert(
        10,
        "I1123 11:05:17.800000       1 trace.go:236] \"Trace\"\n".to_owned(),
    );
    dirty.insert(20, dirty[5].clone());
    dirty.insert(30, format!("{}\n", &dirty[31][..300]));
    dirty.insert(
        40,
        "{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"type\":\"Warning\"}\n".to_owned(),
    );
    dirty.insert(50, "\n\r\n".to_owned());
    let last = dirty.pop().unwrap();
    dirty.push(last[..last.len() / 2].to_owned());

    let run = |log: &[String], more: &[&str]| {
        let args = ["replay", "--output", "json", "--stats", "json", "-"];
        let answer = answer(program().args(args).args(more), &bytes(log));
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        let stats = answer.stats();
        let parts = ["evaluated", "duplicate", "rejected", "late", "dropped"];
        let sum: u64 = parts.iter().map(|part| total(&stats[part])).sum();
        assert_eq!(stats["received"].as_u64(), Some(sum), "{stats}");
        stats
    };
    let stats = run(&clean, &[]);
    assert_eq!(
        (total(&stats["received"]), total(&stats["evaluated"])),
        (count, count)
    );

    let stats = run(&dirty, &[]);
    assert_eq!(total(&stats["received"]), count + 4, "{stats}");
    assert_eq!(total(&stats["duplicate"]), 1, "{stats}");
    assert_eq!(total(&stats["rejected"]), 4, "{stats}");
    assert_eq!(total(&stats["rejected"]["torn"]), 1, "{stats}");

    let stats = run(&dirty, &["--from", "2026-11-23T11:07:00Z"]);
    assert_eq!(total(&stats["received"]), count + 4, "{stats}");
    assert!(total(&stats["dropped"]["outside_range"]) > 100, "{stats}");
}
