//! What keeping state costs: the same log through the whole daemon without and with a state
//! folder, 100,000 keys alive all the time; and how soon it is ready again with all of them.
//!
//! Both are measured in turn in one run; the ratio of the fastest times is what counts.

#![expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    num::NonZeroUsize,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use auditwatch::{
    alert::{
        self,
        dispatch::{Bounds, Plan, Route},
    },
    detect,
    diagnostic::SourceFile,
    notify,
    pipeline::{App, RuleFiles, Settings},
    rule::{Layer, RuleSet},
    source::tail::{From, TailSettings},
    store,
    units::Time,
};

const EVENTS: usize = 3_000_000;
const CALLERS: usize = 100_000;
const ROUNDS: usize = 3;

/// Every event is counted for its caller; no condition is ever met.
const RULES: &str = "
title: Refused
name: refused
logsource: {product: kubernetes, service: audit}
detection: {selection: {responseStatus.code: 403}, condition: selection}
---
title: Refused often
name: refused-often
correlation:
  type: event_count
  rules: [refused]
  group-by: [user.username]
  timespan: 30s
  condition: {gte: 20}
level: low
";

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("audit.log");
    write_log(&log)?;
    let state = folder.path().join("state");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut fastest = [Duration::MAX; 2];
    for round in 0..ROUNDS {
        for (fastest, dir) in fastest.iter_mut().zip([None, Some(state.as_path())]) {
            if state.exists() {
                fs::remove_dir_all(&state)?;
            }
            let (took, _) = runtime.block_on(read(&log, dir))?;
            *fastest = took.min(*fastest);
            let what = if dir.is_some() { "with" } else { "without" };
            let per_second = EVENTS as f64 / took.as_secs_f64();
            println!("round {round}, {what} state: {per_second:.0} events/s");
        }
    }
    let [without, with] = fastest;
    let ratio = without.as_secs_f64() / with.as_secs_f64();
    println!("with state it has {ratio:.3} of the throughput without");

    let size = fs::metadata(state.join("state.db"))?.len();
    let (_, ready) = runtime.block_on(read(&log, Some(&state)))?;
    let (seconds, size) = (ready.as_secs_f64(), size >> 20);
    println!("ready {seconds:.3} s after a restart with {CALLERS} keys ({size} MiB)");
    Ok(())
}

/// Reads the log to its end; how long that took from when all was ready, and how long it took to
/// be ready.
async fn read(log: &Path, state: Option<&Path>) -> Result<(Duration, Duration), Failed> {
    let started = Instant::now();
    let app = App::start(settings(log, state)).await?;
    while !app.health().readiness().0 {
        thread::sleep(Duration::from_millis(1));
    }
    let (ready, started) = (started.elapsed(), Instant::now());
    let is_new = state.is_none_or(|_| ready < Duration::from_millis(100));
    while is_new && count(&app)? < EVENTS {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = started.elapsed();
    app.stop(Duration::from_secs(60)).await;
    Ok((took, ready))
}

fn count(app: &App) -> Result<usize, Failed> {
    let text = app.metrics().render()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("auditwatch_events_evaluated_total "));
    Ok(line.unwrap_or("0").parse()?)
}

fn settings(log: &Path, state: Option<&Path>) -> Settings {
    let mut file = TailSettings::new(&log.to_string_lossy());
    file.from = From::Start;
    let read = || {
        let layer = Layer::new([SourceFile::new("bench.yml", RULES)]);
        RuleSet::load(&[layer]).map_err(|report| report.to_string())
    };
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Settings {
        files: vec![file],
        webhooks: Vec::new(),
        trusted_proxies: Vec::new(),
        rules: RuleFiles {
            read: Box::new(read),
            paths: Vec::new(),
        },
        engine: detect::Settings {
            requests_max: 1 << 20,
            ..detect::Settings::default()
        },
        alerts: alert::Settings::default(),
        receivers: Vec::new(),
        plan: Plan {
            root: Route::default(),
            inhibit_rules: Vec::new(),
            receivers: Vec::new(),
            bounds: Bounds::default(),
        },
        delivery: notify::Settings::default(),
        console: None,
        threads,
        queue_max: Settings::QUEUE,
        state: state.map(store::Settings::new),
    }
}

/// A log in which each caller is refused again and again, all of them in turn; 20,000 a second.
fn write_log(path: &Path) -> Result<(), Failed> {
    let mut out = BufWriter::new(File::create(path)?);
    let start = Time::parse("2026-11-23T11:00:00Z").unwrap_or_default();
    for n in 0..EVENTS {
        let time = Time::from_micros(start.micros() + n as i64 * 50);
        // A stride that has no part in common with the number of callers.
        let caller = n * 7_919 % CALLERS;
        writeln!(
            out,
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{n:08x}-1111-2222-3333-444444444444","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets/{n}","verb":"get","user":{{"username":"caller-{caller}","groups":["system:authenticated"]}},"sourceIPs":["198.51.100.7"],"userAgent":"kubectl/v1.34.0","objectRef":{{"resource":"secrets","namespace":"shop","name":"{n}","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"status":"Failure","code":403}},"requestReceivedTimestamp":"{time}","stageTimestamp":"{time}"}}"#
        )?;
    }
    Ok(out.flush()?)
}
