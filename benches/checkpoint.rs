//! What keeping state costs: the same log through the whole daemon without and with a state
//! folder, 100,000 keys alive all the time; and how soon it is ready again with all of them.
//!
//! Both are measured in turn in one run. On a machine that does other things as well the ratio of
//! processor times says more than that of the clock's.

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

const EVENTS: usize = 4_000_000;
const CALLERS: usize = 100_000;
const ROUNDS: usize = 2;

/// What each caller reads is learnt, and one request in twenty is refused and counted; no
/// condition is ever met.
const RULES: &str = "
title: Reads something new
name: reads-new
logsource: {product: kubernetes, service: audit}
detection: {selection: {verb: get}, condition: selection}
auditwatch:
  novelty: {by: [user.username], of: [objectRef.resource], learn: 7d, forget: 30d}
---
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
  timespan: 5m
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
    let mut least = [(f64::MAX, f64::MAX); 2];
    for round in 0..ROUNDS {
        for (least, dir) in least.iter_mut().zip([None, Some(state.as_path())]) {
            if state.exists() {
                fs::remove_dir_all(&state)?;
            }
            let (took, busy) = runtime.block_on(read(&log, dir))?;
            *least = (took.min(least.0), busy.min(least.1));
            let what = if dir.is_some() { "with" } else { "without" };
            let per_second = EVENTS as f64 / took;
            println!(
                "round {round}, {what} state: {per_second:.0} events/s, {busy:.2} s of processor"
            );
        }
    }
    let [without, with] = least;
    let (clock, processor) = (without.0 / with.0, without.1 / with.1);
    println!("with state: {clock:.3} of the throughput, {processor:.3} by processor time");
    runtime.block_on(restart(&log, &state))
}

/// How soon it is ready with all that was kept.
async fn restart(log: &Path, state: &Path) -> Result<(), Failed> {
    let size = fs::metadata(state.join("state.db"))?.len() >> 20;
    let (started, busy) = (Instant::now(), processor());
    let app = App::start(settings(log, Some(state))).await?;
    while !app.health().readiness().0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (seconds, busy) = (started.elapsed().as_secs_f64(), processor() - busy);
    println!(
        "ready {seconds:.3} s after a restart with {CALLERS} keys and more ({size} MiB), {busy:.3} s of processor"
    );
    app.stop(Duration::from_secs(60)).await;
    Ok(())
}

/// Seconds of processor that this process has used.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks = |at: usize| -> f64 {
        let field = after_name.split(' ').nth(at);
        field
            .and_then(|field| field.parse().ok())
            .unwrap_or_default()
    };
    (ticks(11) + ticks(12)) / 100.0
}

/// Reads the log to its end; how many seconds that took by the clock and of processor.
async fn read(log: &Path, state: Option<&Path>) -> Result<(f64, f64), Failed> {
    let app = App::start(settings(log, state)).await?;
    let (started, busy) = (Instant::now(), processor());
    while count(&app)? < EVENTS {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = started.elapsed().as_secs_f64();
    let busy = processor() - busy;
    app.stop(Duration::from_secs(60)).await;
    Ok((took, busy))
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

/// A log in which all callers read in turn; 1,000 a second.
fn write_log(path: &Path) -> Result<(), Failed> {
    let mut out = BufWriter::new(File::create(path)?);
    let start = Time::parse("2026-11-23T11:00:00Z").unwrap_or_default();
    for n in 0..EVENTS {
        let time = Time::from_micros(start.micros() + n as i64 * 1_000);
        // A stride that has no part in common with the number of callers.
        let caller = n * 7_919 % CALLERS;
        let code = if n % 20 == 0 { 403 } else { 200 };
        writeln!(
            out,
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{n:08x}-1111-2222-3333-444444444444","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets/{n}","verb":"get","user":{{"username":"caller-{caller}","groups":["system:authenticated"]}},"sourceIPs":["198.51.100.7"],"userAgent":"kubectl/v1.34.0","objectRef":{{"resource":"secrets","namespace":"shop","name":"{n}","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"code":{code}}},"requestReceivedTimestamp":"{time}","stageTimestamp":"{time}"}}"#
        )?;
    }
    Ok(out.flush()?)
}
