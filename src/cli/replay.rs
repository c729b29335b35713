//! `auditwatch replay`: reads archives through the same engine as live and shows the alerts.

mod listener;
mod stats;

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    mem::ManuallyDrop,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use clap::{Args, ValueEnum};
use ipnet::IpNet;

pub(super) use self::listener::Learning;
use self::listener::Showing;
use super::{Failure, rule_set::RuleArgs, terminal};
use crate::{
    detect::{self, Engine},
    event::Context,
    pipeline::replay::{Options, RejectSample, Report, replay},
    report::{Reading, Style},
    rule::{RuleSet, Severity},
    source::archive::{self, Archive, Problem},
    units::Time,
};

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Files, directories or patterns of audit logs, plain or compressed; `-` is stdin.
    #[arg(required = true, value_name = "FILE|DIR")]
    inputs: Vec<PathBuf>,
    /// How to print the alerts.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Show only alerts of at least this level.
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, default_value = "informational")]
    min_level: Severity,
    /// Only requests received at this moment or later (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<Time>,
    /// Only requests received before this moment (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<Time>,
    /// Read this first, to learn what is normal; gives no alerts. Can be given several times.
    #[arg(long, value_name = "FILE|DIR")]
    learn: Vec<PathBuf>,
    /// Exit with 1 when there is an alert of at least this level.
    #[arg(long, value_name = "LEVEL", value_parser = parse_level)]
    fail_on: Option<Severity>,
    /// How many threads decode and match; one each core by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Print one line of numbers to stderr at the end.
    #[arg(long, value_enum, value_name = "FORMAT")]
    stats: Option<StatsFormat>,
    /// The name of the cluster that the logs come from.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    cluster: String,
    /// Address or network of a proxy before the API server, whose word for the caller's address
    /// counts. Can be given several times.
    #[arg(long, value_name = "CIDR", value_parser = parse_net)]
    trusted_proxy: Vec<IpNet>,
    #[command(flatten)]
    rules: RuleArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people: each alert once, as it was in the end, and a summary on stderr.
    Text,
    /// One object a line: each alert when it fires, changes and resolves.
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StatsFormat {
    /// One JSON object.
    Json,
}

fn parse_level(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Severity::ALL.iter().map(|level| level.name()).collect();
        format!("write one of {}", names.join(", "))
    })
}

fn parse_time(text: &str) -> Result<Time, String> {
    Time::parse(text).ok_or_else(|| "write it like 2026-11-23T11:05:00Z".to_owned())
}

pub(super) fn parse_net(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse().map(|ip: std::net::IpAddr| IpNet::from(ip)))
        .map_err(|_| "write an address or a network, like 10.0.0.0/8".to_owned())
}

/// Replays.
pub(super) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from >= to
    {
        return Err(Failure::Wrong(format!(
            "nothing lies between --from {from} and --to {to}; give --from the earlier one"
        )));
    }
    let rules = args.rules.load()?;
    let learned = find(&args.learn)?;
    let archives = find(&args.inputs)?;
    let options = args.options();
    end_on_interrupt(&options.cancel);
    // The process is about to end when it is done with the engine; taking its many small pieces
    // apart before would only take time.
    let mut engine =
        ManuallyDrop::new(Engine::new(Arc::clone(&rules), detect::Settings::default()));
    if !learned.is_empty() {
        let learning = Options {
            from: None,
            to: None,
            ..options.clone()
        };
        engine.learn(true);
        let report = replay(learned, &rules, &mut engine, &learning, &mut Learning);
        engine.learn(false);
        tell_problems(&report);
    }
    show(args, archives, &rules, &mut engine, &options)
}

impl ReplayArgs {
    fn options(&self) -> Options {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Options {
            threads: self.threads.map_or(cores, usize::from),
            from: self.from,
            to: self.to,
            context: Arc::new(Context {
                cluster: self.cluster.clone(),
                trusted_proxies: self.trusted_proxy.clone(),
            }),
            ..Options::default()
        }
    }
}

/// Reads the archives and shows what comes of them.
fn show(
    args: &ReplayArgs,
    archives: Vec<Archive>,
    rules: &Arc<RuleSet>,
    engine: &mut Engine,
    options: &Options,
) -> Result<(), Failure> {
    let style = Style {
        colour: terminal::colour_on_stdout(),
        width: terminal::width(),
    };
    let started = Instant::now();
    let out = BufWriter::new(io::stdout().lock());
    let mut showing = Showing::new(out, args.output == Output::Json, args.min_level, style);
    showing.cancel_on_error(Arc::clone(&options.cancel));
    let report = replay(archives, rules, engine, options, &mut showing);
    let shown = showing.finish()?;
    let elapsed = started.elapsed();
    tell_problems(&report);
    if report.is_cancelled {
        terminal::say("interrupted: this is what was found until then");
    }
    if args.output == Output::Text {
        let reading = reading(&report, elapsed);
        let colour = io::stderr().is_terminal() && style.colour;
        terminal::say(&shown.summary.text(&reading, Style { colour, ..style }));
    }
    if args.stats.is_some() {
        terminal::say(&stats::line(&report, &shown, &engine.stats(), elapsed));
    }
    if report.counts.received == 0 && !report.problems.is_empty() {
        return Err(Failure::Unreadable("nothing could be read".to_owned()));
    }
    match (args.fail_on, shown.summary.worst()) {
        (Some(limit), Some(worst)) if worst >= limit => Err(Failure::Failed(format!(
            "there are alerts of level {limit} or above (--fail-on {limit})"
        ))),
        _ => Ok(()),
    }
}

fn reading(report: &Report, elapsed: std::time::Duration) -> Reading {
    let counts = &report.counts;
    Reading {
        received: counts.received,
        evaluated: counts.evaluated,
        duplicate: counts.duplicate,
        rejected: counts.rejected_total(),
        late: counts.late,
        dropped: counts.dropped_total(),
        span: report.span,
        elapsed,
    }
}

pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<Archive>, Failure> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let found = archive::find(paths).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::Unreadable(texts.join("\n"))
    })?;
    tell_left_out(&found.skipped);
    Ok(found.archives)
}

/// Says on stderr, in one line, which files in directories are no audit logs.
fn tell_left_out(skipped: &[Problem]) {
    const NAMED: usize = 3;
    if skipped.is_empty() {
        return;
    }
    let named: Vec<&str> = skipped
        .iter()
        .take(NAMED)
        .map(|problem| problem.input.as_str())
        .collect();
    let more = match skipped.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    terminal::say(&format!(
        "left out, no audit log: {}{more}",
        named.join(", ")
    ));
}

/// Says on stderr what could not be read, with a few examples of each kind.
pub(super) fn tell_problems(report: &Report) {
    for problem in &report.problems {
        terminal::say(&problem.to_string());
    }
    for (reason, count) in report.counts.rejected().filter(|(_, count)| *count > 0) {
        let requests = if count == 1 {
            "1 record was"
        } else {
            "records were"
        };
        let head = if count == 1 {
            requests.to_owned()
        } else {
            format!("{count} {requests}")
        };
        terminal::say(&format!("{head} rejected: {}", reason.name()));
        let samples = report
            .samples
            .iter()
            .filter(|sample| sample.reject.reason == reason);
        for RejectSample { archive, reject } in samples {
            terminal::say(&format!(
                "  {archive}, byte {}: {}",
                reject.offset, reject.head
            ));
        }
    }
}

/// The first Ctrl-C ends the replay and shows what there is, a second one ends the process.
fn end_on_interrupt(cancel: &Arc<AtomicBool>) {
    let cancel = Arc::clone(cancel);
    // Without a watcher Ctrl-C just ends the process, which is no reason not to replay.
    drop(
        thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let Ok(runtime) = runtime else { return };
                runtime.block_on(async {
                    while tokio::signal::ctrl_c().await.is_ok() {
                        if cancel.swap(true, Ordering::Relaxed) {
                            #[expect(clippy::exit, reason = "asked twice to end at once")]
                            std::process::exit(130);
                        }
                    }
                });
            }),
    );
    drop(io::stderr().flush());
}
