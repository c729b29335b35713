//! `auditwatch check`: says all that is wrong with rules, without running anything.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::Args;

use super::Failure;
use crate::{
    config::{read_layer, shipped_layer},
    rule::RuleSet,
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Folders or files of rules; the shipped rules when none is given.
    rules: Vec<PathBuf>,
    /// Count warnings as errors.
    #[arg(long)]
    strict: bool,
}

/// Checks rules. Problems go to stdout, since they are the result; exit code 1 when there are
/// errors.
pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let mut layers = vec![shipped_layer()];
    for path in &args.rules {
        layers.push(read_layer(path).map_err(|error| Failure::Wrong(error.to_string()))?);
    }
    let files: usize = layers.iter().map(|layer| layer.rules.len()).sum();
    let (report, counted) = match RuleSet::load(&layers) {
        Ok(loaded) => {
            let rules = loaded.set.rules.len();
            let correlations = loaded.set.correlations.len();
            (
                loaded.warnings,
                format!("{rules} rules and {correlations} correlations"),
            )
        }
        Err(report) => (report, "nothing can be loaded".to_owned()),
    };
    let mut out = io::stdout().lock();
    if !report.is_empty() {
        writeln!(out, "{report}")?;
    }
    writeln!(
        out,
        "{files} files: {counted}; {} errors, {} warnings",
        report.errors(),
        report.warnings()
    )?;
    if report.has_errors() || (args.strict && !report.is_empty()) {
        return Err(Failure::Failed(String::new()));
    }
    Ok(())
}
