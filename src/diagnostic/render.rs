//! Problems as text: the sentence, the place, the line with carets, the help. No colour.

use std::fmt::{self, Write};

use super::{Diagnostic, Level, Report};

/// How many characters of a source line are shown; longer ones are cut around the place.
const LINE_MAX: usize = 120;

pub(super) fn diagnostic(problem: &Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let level = match problem.level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    writeln!(
        f,
        "{level}[{}]: {}",
        problem.code,
        visible(&problem.message)
    )?;
    if problem.file.text.is_empty() {
        writeln!(f, "  --> {}", problem.file.name)?;
    } else {
        source(problem, f)?;
    }
    if let Some(help) = &problem.help {
        writeln!(f, "  = help: {}", visible(help))?;
    }
    Ok(())
}

fn source(problem: &Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let line = problem.file.line(problem.spot);
    let number = line.number.to_string();
    let margin = " ".repeat(number.len());
    let (shown, column) = cut(line.text, line.column);
    let width = line.width.min(LINE_MAX.saturating_sub(column - 1)).max(1);
    writeln!(
        f,
        "{margin}--> {}:{}:{}",
        problem.file.name, line.number, line.column
    )?;
    writeln!(f, "{margin} |")?;
    writeln!(f, "{number} | {}", visible(&shown))?;
    let mark = format!(
        "{}{} {}",
        " ".repeat(column - 1),
        "^".repeat(width),
        problem.label
    );
    writeln!(f, "{margin} | {}", visible(mark.trim_end()))
}

/// The part of a line that is shown, and the column of the place in it.
fn cut(text: &str, column: usize) -> (String, usize) {
    let length = text.chars().count();
    if length <= LINE_MAX {
        return (text.to_owned(), column);
    }
    let skipped = (column - 1)
        .saturating_sub(LINE_MAX / 3)
        .min(length - LINE_MAX);
    let mut shown: String = text.chars().skip(skipped).take(LINE_MAX).collect();
    if skipped + LINE_MAX < length {
        shown.push('…');
    }
    (shown, column - skipped)
}

/// Tabs take one column, so that carets stand right, and control characters cannot act on the
/// terminal.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => out.push(' '),
            c if c.is_control() || is_bidi_control(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(super) fn report(report: &Report, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for problem in report {
        diagnostic(problem, f)?;
        f.write_char('\n')?;
    }
    let shown = report.iter().len();
    let all = report.errors() + report.warnings();
    if all > shown {
        writeln!(f, "… and {} more", all - shown)?;
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (report.errors(), report.warnings()) {
        (0, 0) => Ok(()),
        (0, warnings) => writeln!(f, "{}", count(warnings, "warning")),
        (errors, 0) => writeln!(f, "{}", count(errors, "error")),
        (errors, warnings) => {
            writeln!(
                f,
                "{}, {}",
                count(errors, "error"),
                count(warnings, "warning")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Problems, SourceFile, Spot};
    use super::*;

    #[test]
    fn shows_place_line_and_help() {
        let file = Arc::new(SourceFile::new("rules/a.yml", "title: x\n\tvreb: get\n"));
        let problems = Problems::new();
        problems.add(
            Diagnostic::error("unknown-field", &file, Spot::new(10, 14), "no field `vreb`")
                .label("not a field of audit events")
                .did_you_mean(Some("verb"), ""),
        );
        problems.add(Diagnostic::warning(
            "w",
            &file,
            Spot::new(0, 5),
            "first in place",
        ));
        let text = problems.into_report().to_string();
        assert_eq!(
            text,
            "warning[w]: first in place
 --> rules/a.yml:1:1
  |
1 | title: x
  | ^^^^^

error[unknown-field]: no field `vreb`
 --> rules/a.yml:2:2
  |
2 |  vreb: get
  |  ^^^^ not a field of audit events
  = help: did you mean `verb`?

1 error, 1 warning
"
        );
    }

    #[test]
    fn what_is_no_file_shows_its_name() {
        let file = Arc::new(SourceFile::new("--trusted-proxy", ""));
        let text = Diagnostic::error("cidr", &file, Spot::default(), "bad").to_string();
        assert_eq!(text, "error[cidr]: bad\n  --> --trusted-proxy\n");
    }

    #[test]
    fn cuts_long_lines_and_disarms_control_characters() {
        let file = Arc::new(SourceFile::new(
            "x",
            format!("{}\u{1b}[2Jz{}", "a".repeat(500), "b".repeat(500)),
        ));
        let text = Diagnostic::error("c", &file, Spot::new(504, 505), "m").to_string();
        assert!(
            !text.contains('\u{1b}') && text.contains("\u{fffd}[2Jzb"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() < 130),
            "{text}"
        );
        let lines: Vec<&str> = text.lines().collect();
        let at = |line: &str, c: char| line.chars().position(|found| found == c);
        assert_eq!(at(lines[3], 'z'), at(lines[4], '^'));
    }

    #[test]
    fn counts_what_it_does_not_keep() {
        let file = Arc::new(SourceFile::new("x", "text"));
        let problems = Problems::new();
        for _ in 0..Report::KEPT_MAX + 7 {
            problems.add(Diagnostic::error("c", &file, Spot::default(), "m"));
        }
        let text = problems.into_report().to_string();
        assert!(
            text.ends_with("… and 7 more\n507 errors\n"),
            "{}",
            &text[text.len() - 60..]
        );
    }
}
