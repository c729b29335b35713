//! `auditwatch scoreboard`: replays a labelled log and says which of its attacks were caught, by
//! which rules, how soon, and what alerted without reason.

mod labels;
mod score;

use std::{
    fmt::Write as _,
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;

use self::{
    labels::{Kind, Scenario},
    score::{Scored, Scoring},
};
use super::{Failure, rule_set::RuleArgs};
use crate::{
    alert::visible,
    detect::{self, Engine},
    pipeline::replay::{Options, replay},
    rule::Severity,
    source::archive,
    units::Span,
};

/// Arguments of `scoreboard`.
#[derive(Debug, Args)]
pub(super) struct ScoreboardArgs {
    /// JSON that says which requests of the log are part of which attack.
    labels: PathBuf,
    /// Files, directories or patterns of audit logs, plain or compressed.
    #[arg(required = true, value_name = "FILE|DIR")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    rules: RuleArgs,
}

/// Prints the board; exit code 1 when an attack was missed.
pub(super) fn run(args: &ScoreboardArgs) -> Result<(), Failure> {
    let scenarios = labels::read(&args.labels)?;
    let rules = args.rules.load()?;
    let found = archive::find(&args.inputs).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::Unreadable(texts.join("\n"))
    })?;
    let mut engine = Engine::new(Arc::clone(&rules), detect::Settings::default());
    let mut scoring = Scoring::new(&scenarios);
    let options = Options::default();
    let report = replay(found.archives, &rules, &mut engine, &options, &mut scoring);
    let Some((from, to)) = report.span else {
        return Err(Failure::Unreadable(
            "no audit event could be read from the logs".to_owned(),
        ));
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let scored = scoring.finish();
    let missed = print(&mut out, &scenarios, &scored, to.since(from))?;
    out.flush()?;
    if missed > 0 {
        return Err(Failure::Failed(String::new()));
    }
    Ok(())
}

/// Prints a line a scenario and the sums; gives the number of missed attacks.
fn print(
    out: &mut impl Write,
    scenarios: &[Scenario],
    scored: &Scored,
    span: Span,
) -> io::Result<usize> {
    let width = scenarios.iter().map(|s| s.id.chars().count()).max();
    let width = width.unwrap_or(0);
    let (mut attacks, mut missed) = (0, 0);
    for (scenario, hits) in scenarios.iter().zip(&scored.hits) {
        let best = hits.iter().map(|hit| hit.severity).max();
        let due = scenario.least_severity;
        let word = match scenario.kind {
            Kind::Attack if due.is_none_or(|due| best.is_some_and(|best| best >= due)) => "caught",
            Kind::Attack => "MISSED",
            Kind::Benign if best.is_some() => "touched",
            Kind::Benign => "quiet",
        };
        attacks += usize::from(scenario.kind == Kind::Attack);
        missed += usize::from(word == "MISSED");
        let due = due.map_or("none", Severity::name);
        let mut line = format!("{word:8} {due:13} {:width$}", scenario.id);
        for hit in hits {
            let tenths = hit.after.micros() / 100_000;
            let (whole, tenths) = (tenths / 10, tenths % 10);
            // Writing to a String cannot fail.
            let _ = write!(line, "  {} ({}, {whole}.{tenths}s)", hit.rule, hit.severity);
        }
        if word == "MISSED" && !scenario.needs_level.is_empty() {
            let _ = write!(line, "  needs audit level {}", scenario.needs_level);
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(
        out,
        "\n{} of {attacks} attacks caught at their severity or above; {} alerts",
        attacks - missed,
        scored.alerts
    )?;
    let hours = (span.micros() as f64 / 3_600e6).max(f64::MIN_POSITIVE);
    write!(
        out,
        "alerts without any request of an attack, within {span}:"
    )?;
    for severity in Severity::ALL.iter().rev() {
        let count = scored.outside.iter().filter(|o| o.severity == *severity);
        let count = count.count();
        write!(out, " {count} {severity} ({:.1}/h)", count as f64 / hours)?;
    }
    writeln!(out)?;
    for alert in &scored.outside {
        writeln!(
            out,
            "  {} {}: {}",
            alert.severity,
            alert.rule,
            visible(&alert.summary)
        )?;
    }
    Ok(missed)
}
