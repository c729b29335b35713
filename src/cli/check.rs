//! `auditwatch check`: says all that is wrong with rules and configuration, without running
//! anything.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::Args;

use super::{Failure, blind};
use crate::{
    alert::dispatch::Route,
    config::{
        ConfigError, Configured, Overrides, RuleFilesError, configure, read_layer, shipped_layer,
    },
    diagnostic::Report,
    rule::{Layer, Loaded, RuleSet},
};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Folders or files of rules, added to the shipped ones; those alone when none is given.
    rules: Vec<PathBuf>,
    /// Check this configuration as well, and with it the rules that it names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say which rules are blind under this audit policy, and what to add to it; exit code 1 when
    /// some see nothing.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Leave the shipped rules out; a configuration says so itself.
    #[arg(long, conflicts_with = "config", requires = "rules")]
    no_shipped_rules: bool,
    /// Count warnings as errors.
    #[arg(long)]
    strict: bool,
}

/// Checks what is named. Problems go to stdout, since they are the result; exit code 1 when there
/// are errors.
pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let wrong = |error: RuleFilesError| Failure::Wrong(error.to_string());
    let Some(path) = &args.config else {
        let shipped = (!args.no_shipped_rules).then(shipped_layer);
        let mut layers: Vec<Layer> = shipped.into_iter().collect();
        for path in &args.rules {
            layers.push(read_layer(path).map_err(wrong)?);
        }
        check_rules(&layers, args.strict)?;
        return sight(args, RuleSet::load(&layers));
    };
    let Configured { settings, warnings } = configuration(path)?;
    let mut out = io::stdout().lock();
    if !warnings.is_empty() {
        writeln!(out, "{warnings}")?;
    }
    let sources = settings.files.len() + usize::from(settings.webhook.is_some());
    let receivers = settings.receivers.len();
    let path = path.display();
    writeln!(out, "{path}: {sources} sources, {receivers} receivers")?;
    for route in &settings.plan.root.routes {
        write_route(&mut out, route, 1)?;
    }
    let mut layers = settings.rules.layers().map_err(wrong)?;
    for path in &args.rules {
        layers.push(read_layer(path).map_err(wrong)?);
    }
    let checked = check_rules(&layers, args.strict);
    if checked.is_ok()
        && let Err(error) = settings.rules.load()
    {
        writeln!(out, "{error}")?;
        return Err(Failure::Failed(String::new()));
    }
    if args.strict && !warnings.is_empty() {
        return Err(Failure::Failed(String::new()));
    }
    checked?;
    drop(out);
    sight(args, RuleSet::load(&layers))
}

/// Says which rules are blind under the audit policy, when one is named.
fn sight(args: &CheckArgs, loaded: Result<Loaded, Report>) -> Result<(), Failure> {
    match (&args.policy, loaded) {
        (Some(policy), Ok(loaded)) => blind::by_policy(&loaded.set, policy),
        // What is wrong with the rules was told when they were checked.
        _ => Ok(()),
    }
}

/// Writes a route and those below it, indented: which alerts it takes, and who is told of them.
fn write_route(out: &mut impl io::Write, route: &Route, depth: usize) -> io::Result<()> {
    let receivers = route.receivers.join(", ");
    let further = if route.continues { ", and on" } else { "" };
    let matchers = &route.matchers;
    writeln!(out, "{:1$}{matchers} → {receivers}{further}", "", 2 * depth)?;
    for below in &route.routes {
        write_route(out, below, depth + 1)?;
    }
    Ok(())
}

/// Reads the configuration as `run` would. That there is no source is fine: flags may name one.
fn configuration(path: &Path) -> Result<Configured, Failure> {
    let overrides = Overrides::default().environment(env::vars_os());
    configure(Some(path), &overrides).or_else(|error| match error {
        ConfigError::Unreadable(_) => Err(Failure::Wrong(error.to_string())),
        ConfigError::Wrong(report) => {
            writeln!(io::stdout().lock(), "{report}")?;
            Err(Failure::Failed(String::new()))
        }
    })
}

fn check_rules(layers: &[Layer], strict: bool) -> Result<(), Failure> {
    let files: usize = layers.iter().map(|layer| layer.rules.len()).sum();
    let (report, counted) = match RuleSet::load(layers) {
        Ok(loaded) => {
            let learn = loaded.set.rules.iter();
            let learn = learn
                .filter(|rule| rule.extension.novelty.is_some())
                .count();
            let rules = loaded.set.rules.len();
            let correlations = loaded.set.correlations.len();
            (
                loaded.warnings,
                format!(
                    "{rules} rules, {learn} of which learn what is normal, and {correlations} correlations"
                ),
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
    if report.has_errors() || (strict && !report.is_empty()) {
        return Err(Failure::Failed(String::new()));
    }
    Ok(())
}
