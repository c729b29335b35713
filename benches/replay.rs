//! How fast the steps of a replay are, in events a second: decoding, observing, and the engine.
//!
//! Reads the sample logs into memory and goes through them several times on one thread, each
//! time with an engine that knows nothing yet; the fastest time counts.

#![expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use auditwatch::{
    config::shipped_layer,
    decode::{self, Block, Decoded, Framer, Limits},
    detect::{Engine, Observation, Observer, Settings, SourceId},
    event::{Context, Event},
    rule::RuleSet,
};

/// How often each step is timed.
const ROUNDS: usize = 20;

fn main() -> Result<(), String> {
    let files = read_samples().map_err(|error| format!("sample-logs: {error}"))?;
    let load = RuleSet::load(&[shipped_layer()]).map_err(|error| error.to_string())?;
    let rules = Arc::new(load.set);
    let context = Context::default();

    let mut observations = Vec::new();
    let decode = || -> u64 { files.iter().flatten().map(count).sum() };
    let events = decode();
    tell("decode", events, fastest(|| assert_eq!(decode(), events)));

    let observe = |kept: &mut Vec<Vec<Observation>>| {
        kept.clear();
        let mut observer = Observer::new(Arc::clone(&rules));
        for blocks in &files {
            let mut seen = Vec::new();
            for block in blocks {
                decode::each_event(block, &mut |decoded| {
                    if let Decoded::Event(slots, line) = decoded {
                        seen.push(observer.observe(&Event::new(slots, line, &context)));
                    }
                });
            }
            kept.push(seen);
        }
    };
    let observing = fastest(|| observe(&mut observations));
    tell("decode and observe", events, observing);

    let admitting = fastest(|| {
        let mut engine = Engine::new(Arc::clone(&rules), Settings::default());
        let mut detections = Vec::new();
        for (source, seen) in (0..).zip(&observations) {
            for observation in seen {
                engine.admit(SourceId(source), observation, None, &mut detections);
                detections.clear();
            }
        }
    });
    tell("engine", events, admitting);
    Ok(())
}

/// The blocks of each sample log, in the order of their names.
fn read_samples() -> io::Result<Vec<Vec<Block>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-logs");
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        if name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| blocks(path)).collect()
}

fn blocks(path: &Path) -> io::Result<Vec<Block>> {
    let mut bytes = Vec::new();
    decode::open(File::open(path)?)?.read_to_end(&mut bytes)?;
    let mut framer = Framer::new(Limits::default());
    framer.feed(&bytes);
    framer.finish();
    Ok(std::iter::from_fn(|| framer.next_block()).collect())
}

fn count(block: &Block) -> u64 {
    let mut events = 0;
    decode::each_event(block, &mut |decoded| {
        events += u64::from(matches!(decoded, Decoded::Event(..)));
    });
    events
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..ROUNDS).map(time).min().unwrap_or_default()
}

fn tell(step: &str, events: u64, took: Duration) {
    let rate = events as f64 / took.as_secs_f64().max(1e-9);
    println!("{step:20} {rate:>12.0} events/s ({events} events in {took:.1?})");
}
