//! `auditwatch fields`: the field table.

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};

use super::{Failure, terminal};
use crate::{
    diagnostic::nearest,
    event::{Entry, FIELDS},
};

/// Arguments of `fields`.
#[derive(Debug, Args)]
pub(super) struct FieldsArgs {
    /// Show only the fields whose name or meaning holds this text.
    filter: Option<String>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A table for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Prints the table.
pub(super) fn run(args: &FieldsArgs) -> Result<(), Failure> {
    let wanted = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let shown: Vec<&Entry> = FIELDS
        .iter()
        .filter(|entry| {
            entry.name.to_lowercase().contains(&wanted)
                || entry.meaning.to_lowercase().contains(&wanted)
                || entry
                    .aliases
                    .iter()
                    .any(|alias| alias.to_lowercase().contains(&wanted))
        })
        .collect();
    if shown.is_empty() {
        let near = nearest(&wanted, FIELDS.iter().map(|entry| entry.name));
        let hint = near.map_or_else(
            || "`auditwatch fields` without a word lists all".to_owned(),
            |name| format!("did you mean `{name}`?"),
        );
        return Err(Failure::Failed(format!(
            "no field has `{wanted}` in its name or meaning; {hint}"
        )));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Output::Json => shown
            .iter()
            .try_for_each(|entry| write_json(&mut out, entry))?,
        Output::Text => write_table(&mut out, &shown, terminal::width())?,
    }
    Ok(out.flush()?)
}

fn write_json(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let line = serde_json::json!({
        "name": entry.name,
        "aliases": entry.aliases,
        "type": entry.kind,
        "level": entry.level.name(),
        "derived": !entry.is_raw(),
        "meaning": entry.meaning,
    });
    writeln!(out, "{line}")
}

fn write_table(out: &mut impl Write, shown: &[&Entry], width: usize) -> io::Result<()> {
    let name_width = shown
        .iter()
        .map(|entry| entry.name.len())
        .max()
        .unwrap_or(0)
        .max(5);
    let (kind_width, level_width) = (12, 15);
    let indent = name_width + kind_width + level_width + 6;
    writeln!(
        out,
        "{:name_width$}  {:kind_width$}  {:level_width$}  MEANING",
        "FIELD", "TYPE", "AUDIT LEVEL"
    )?;
    for entry in shown {
        let mut meaning = entry.meaning.to_owned();
        if !entry.aliases.is_empty() {
            meaning = format!("{meaning} Also called {}.", entry.aliases.join(", "));
        }
        let lines = wrap(&meaning, width.saturating_sub(indent).max(30));
        for (number, line) in lines.iter().enumerate() {
            if number == 0 {
                let (name, kind, level) = (entry.name, entry.kind, entry.level.name());
                writeln!(
                    out,
                    "{name:name_width$}  {kind:kind_width$}  {level:level_width$}  {line}"
                )?;
            } else {
                writeln!(out, "{:indent$}{line}", "")?;
            }
        }
    }
    Ok(())
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_at_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible", 4), ["incomprehensible"]);
    }

    #[test]
    fn every_name_is_in_the_table_once() {
        let mut names: Vec<_> = FIELDS
            .iter()
            .flat_map(|entry| entry.aliases.iter().chain([&entry.name]))
            .collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
