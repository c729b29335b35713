//! `auditwatch rules`: which rules there are, and what one of them says.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use clap::{Args, ValueEnum};

use super::{Failure, blind, rule_set::RuleArgs, terminal};
use crate::{
    event::Field,
    rule::{Correlation, Extension, Kind, RuleMeta, RuleSet, Severity},
};

/// Arguments of `rules`.
#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    /// Show all about the rule with this name or id.
    name: Option<String>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// List also the rules that only feed others and make no alerts of their own.
    #[arg(long)]
    all: bool,
    /// Read audit logs and say which rules are blind: which cannot match, because the audit policy
    /// does not record what they need.
    #[arg(long, num_args = 1.., value_name = "FILE|DIR", conflicts_with_all = ["name", "all"])]
    blind: Vec<PathBuf>,
    #[command(flatten)]
    rules: RuleArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A table, or a page, for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One rule or correlation, as far as listing goes.
struct Listed<'s> {
    meta: &'s RuleMeta,
    extension: &'s Extension,
    reports: bool,
    off: bool,
    correlation: Option<&'s Correlation>,
    fields: Vec<&'s str>,
}

/// Prints the rules.
pub(super) fn run(args: &RulesArgs) -> Result<(), Failure> {
    let set = args.rules.load()?;
    if !args.blind.is_empty() {
        return blind::by_logs(&set, &args.blind, matches!(args.output, Output::Json));
    }
    let mut listed = list(&set);
    let mut out = BufWriter::new(io::stdout().lock());
    if let Some(name) = &args.name {
        let member = set.find(name).map_err(Failure::Wrong)?;
        let meta = set.member(member);
        for rule in listed.iter().filter(|rule| rule.meta.id == meta.id) {
            match args.output {
                Output::Text => page(&mut out, &set, rule)?,
                Output::Json => writeln!(out, "{}", json(rule))?,
            }
        }
        return Ok(out.flush()?);
    }
    listed.retain(|rule| args.all || rule.reports || rule.off);
    match args.output {
        Output::Json => listed
            .iter()
            .try_for_each(|rule| writeln!(out, "{}", json(rule)))?,
        Output::Text => table(&mut out, &listed)?,
    }
    out.flush()?;
    if listed.is_empty() {
        terminal::say("no rules");
    }
    Ok(())
}

/// All rules, most severe first, then by name.
fn list(set: &RuleSet) -> Vec<Listed<'_>> {
    let rules = set.rules.iter().map(|rule| Listed {
        meta: &rule.meta,
        extension: &rule.extension,
        reports: rule.reports,
        off: rule.extension.off && !rule.reports,
        correlation: None,
        fields: rule.fields().into_iter().map(Field::name).collect(),
    });
    let correlations = set.correlations.iter().map(|correlation| Listed {
        meta: &correlation.meta,
        extension: &correlation.extension,
        reports: correlation.reports,
        off: false,
        correlation: Some(correlation),
        fields: Vec::new(),
    });
    let mut listed: Vec<_> = rules.chain(correlations).collect();
    listed.sort_by(|a, b| {
        b.meta
            .severity
            .cmp(&a.meta.severity)
            .then_with(|| a.meta.name.cmp(&b.meta.name))
    });
    listed
}

fn table(out: &mut impl Write, listed: &[Listed<'_>]) -> io::Result<()> {
    let width = listed
        .iter()
        .map(|rule| rule.meta.name.chars().count())
        .max()
        .unwrap_or(0);
    for rule in listed {
        let off = if rule.off { " (off)" } else { "" };
        writeln!(
            out,
            "{:13}  {:width$}  {}{off}",
            rule.meta.severity, rule.meta.name, rule.meta.title
        )?;
    }
    let counts = Severity::ALL.iter().rev().filter_map(|severity| {
        let count = listed
            .iter()
            .filter(|rule| rule.meta.severity == *severity)
            .count();
        (count > 0).then(|| format!("{count} {severity}"))
    });
    let off = listed.iter().filter(|rule| rule.off).count();
    writeln!(
        out,
        "\n{} rules: {}{}",
        listed.len(),
        counts.collect::<Vec<_>>().join(", "),
        if off > 0 {
            format!("; {off} off until `rules.enable` names them")
        } else {
            String::new()
        }
    )
}

fn page(out: &mut impl Write, set: &RuleSet, rule: &Listed<'_>) -> io::Result<()> {
    let meta = rule.meta;
    writeln!(out, "{}  ({})\n{}\n", meta.title, meta.severity, meta.name)?;
    if !meta.description.is_empty() {
        writeln!(out, "{}\n", meta.description.trim())?;
    }
    writeln!(out, "id               {}", meta.id)?;
    if !meta.status.is_empty() {
        writeln!(out, "status           {}", meta.status)?;
    }
    if !meta.tags.is_empty() {
        writeln!(out, "tags             {}", meta.tags.join(", "))?;
    }
    if let Some(correlation) = rule.correlation {
        writeln!(out, "counts           {}", counted(set, correlation))?;
    }
    if !rule.fields.is_empty() {
        writeln!(out, "reads            {}", rule.fields.join(", "))?;
    }
    if let Some(novelty) = &rule.extension.novelty {
        let names = |fields: &[Field]| {
            fields
                .iter()
                .map(Field::name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        writeln!(
            out,
            "learns           {} of each {}: silent until it is known for {}, forgets after {}",
            names(&novelty.of),
            names(&novelty.by),
            novelty.learn,
            novelty.forget
        )?;
    }
    if let Some(silence) = &rule.extension.silence {
        let by: Vec<&str> = silence.by.iter().map(Field::name).collect();
        writeln!(
            out,
            "listens          for each {}: tells when it was heard steadily and then not for {}",
            by.join(", "),
            silence.after
        )?;
    }
    if rule.off {
        writeln!(
            out,
            "alerts           none until `rules.enable` names it, or --enable"
        )?;
    } else if !rule.reports {
        writeln!(
            out,
            "alerts           none of its own: it feeds other rules"
        )?;
    }
    for (name, items) in [
        ("false positives", &meta.false_positives),
        ("references", &meta.references),
    ] {
        for (number, item) in items.iter().enumerate() {
            writeln!(out, "{:16} {item}", if number == 0 { name } else { "" })?;
        }
    }
    let extension = &rule.extension;
    for (name, commands) in [
        ("respond", &extension.respond),
        ("contain", &extension.contain),
    ] {
        for (number, command) in commands.iter().enumerate() {
            writeln!(out, "{:16} {command}", if number == 0 { name } else { "" })?;
        }
    }
    if let Some(runbook) = &meta.runbook {
        writeln!(out, "{:16} {runbook}", "runbook")?;
    }
    Ok(())
}

fn counted(set: &RuleSet, correlation: &Correlation) -> String {
    let members: Vec<&str> = correlation
        .sources
        .iter()
        .map(|source| set.member(source.member).name.as_str())
        .collect();
    let what = match correlation.kind {
        Kind::EventCount => "requests of",
        Kind::ValueCount => "different values in",
        Kind::Temporal => "any order of",
        Kind::TemporalOrdered => "in this order",
    };
    let by = match correlation.group_by.join(", ") {
        by if by.is_empty() => String::new(),
        by => format!(" by {by}"),
    };
    let least = correlation.bounds.min;
    format!(
        "{what} {}{by}, at least {least} within {}",
        members.join(", "),
        correlation.timespan
    )
}

fn json(rule: &Listed<'_>) -> serde_json::Value {
    serde_json::json!({
        "id": rule.meta.id,
        "name": rule.meta.name,
        "title": rule.meta.title,
        "level": rule.meta.severity.name(),
        "status": rule.meta.status,
        "tags": rule.meta.tags,
        "description": rule.meta.description,
        "falsepositives": rule.meta.false_positives,
        "references": rule.meta.references,
        "kind": if rule.correlation.is_some() { "correlation" } else { "detection" },
        "alerts": rule.reports,
        "fields": rule.fields,
    })
}
