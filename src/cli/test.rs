//! `auditwatch test`: runs the cases of rules and says which fail and how.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;

use super::{Failure, rule_set};
use crate::{
    alert::Alert,
    config::{case_files, read_layer, read_text, shipped_layer},
    diagnostic::{Problems, SourceFile},
    pipeline::{CaseResult, run_case},
    rule::{Case, Expectation, RuleSet, read_cases},
};

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// Folders or files of rules, with `<rule>.cases.yml` beside them; or single case files.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Run only the cases whose file or name holds this text.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Let only the rules of the given folders alert, not the shipped ones.
    #[arg(long)]
    no_shipped_rules: bool,
}

/// Runs the cases; exit code 1 when one fails.
pub(super) fn run(args: &TestArgs) -> Result<(), Failure> {
    let wrong = |error: crate::config::RuleFilesError| Failure::Wrong(error.to_string());
    let mut layers = Vec::new();
    if !args.no_shipped_rules {
        layers.push(shipped_layer());
    }
    let mut files = Vec::new();
    for path in &args.paths {
        files.extend(case_files(path).map_err(wrong)?);
        if !path.to_string_lossy().contains(".cases.") {
            layers.push(read_layer(path).map_err(wrong)?);
        }
    }
    if files.is_empty() {
        return Err(Failure::Wrong(
            "no case here: cases are in files that end with .cases.yml, beside their rule".into(),
        ));
    }
    let mut rules = rule_set::load(&layers)?.set;
    rules.enable_all();
    let rules = Arc::new(rules);
    let problems = Problems::new();
    let mut cases: Vec<(Arc<SourceFile>, Case)> = Vec::new();
    for path in files {
        let text = read_text(&path).map_err(wrong)?;
        let file = Arc::new(SourceFile::new(path.display().to_string(), text));
        let read = read_cases(&file, &problems);
        cases.extend(read.into_iter().map(|case| (Arc::clone(&file), case)));
    }
    let report = problems.into_report();
    if report.has_errors() {
        return Err(Failure::Wrong(report.to_string()));
    }
    if let Some(only) = &args.only {
        cases.retain(|(file, case)| file.name.contains(only) || case.name.contains(only));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let failed = run_all(&mut out, &rules, &cases)?;
    out.flush()?;
    if cases.is_empty() {
        return Err(Failure::Wrong(
            "no case has that text in its file or name".into(),
        ));
    }
    if failed > 0 {
        return Err(Failure::Failed(String::new()));
    }
    Ok(())
}

/// Runs all; gives the number of failed ones.
fn run_all(
    out: &mut impl Write,
    rules: &Arc<RuleSet>,
    cases: &[(Arc<SourceFile>, Case)],
) -> io::Result<usize> {
    let mut failed = 0;
    for (file, case) in cases {
        let result = run_case(rules, case);
        if !result.is_as_expected() {
            failed += 1;
            write_failure(out, file, case, &result)?;
        }
    }
    writeln!(out, "{} passed, {failed} failed", cases.len() - failed)?;
    Ok(failed)
}

fn write_failure(
    out: &mut impl Write,
    file: &SourceFile,
    case: &Case,
    result: &CaseResult,
) -> io::Result<()> {
    let line = file.line_number(case.spot);
    writeln!(out, "FAILED  {}:{line}  {}", file.name, case.name)?;
    for expectation in &result.missing {
        writeln!(out, "  missing     {}", wanted(expectation))?;
    }
    for &place in &result.surplus {
        writeln!(out, "  unexpected  {}", came(&result.alerts[place]))?;
    }
    let met = (0..result.alerts.len()).filter(|place| !result.surplus.contains(place));
    for place in met {
        writeln!(out, "  as expected {}", came(&result.alerts[place]))?;
    }
    if result.alerts.is_empty() {
        writeln!(
            out,
            "  no alert came at all; `auditwatch explain` says why for one event"
        )?;
    }
    writeln!(out)
}

fn wanted(expectation: &Expectation) -> String {
    let mut parts = vec![
        expectation
            .rule
            .clone()
            .unwrap_or_else(|| "any rule".to_owned()),
    ];
    parts.extend(expectation.level.map(|level| level.to_string()));
    parts.extend(
        expectation
            .principal
            .as_ref()
            .map(|name| format!("principal {name}")),
    );
    parts.extend(expectation.count.map(|count| format!("count {count}")));
    parts.join(", ")
}

fn came(alert: &Alert) -> String {
    let principal = match &alert.shared.principal {
        Some(principal) if principal.name.is_empty() => principal.kind.to_owned(),
        Some(principal) => principal.name.to_string(),
        None => "several principals".to_owned(),
    };
    format!(
        "{}, {}, principal {principal}, count {}: {}",
        alert.rule.name, alert.rule.severity, alert.count, alert.why
    )
}
