//! What a replay says at its end: what was found, what was read.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use super::{Style, layout::width};
use crate::{
    alert::{Alert, Change, cut_middle_by, visible, words},
    rule::{RuleMeta, Severity},
    units::Time,
};

/// What was read; all numbers are events. `received` is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Everything that was taken in.
    pub received: u64,
    /// Events that rules looked at.
    pub evaluated: u64,
    /// Events seen before.
    pub duplicate: u64,
    /// What was no audit event.
    pub rejected: u64,
    /// Events that came after their windows had closed.
    pub late: u64,
    /// Events that were given up.
    pub dropped: u64,
    /// The earliest and the latest event time.
    pub span: Option<(Time, Time)>,
    /// How long the reading took.
    pub elapsed: Duration,
}

/// Counts alerts as they change. Grows with the number of rules, not of alerts.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    rules: BTreeMap<(Reverse<Severity>, String), Row>,
}

#[derive(Clone, Debug)]
struct Row {
    rule: Arc<RuleMeta>,
    alerts: u64,
    requests: u64,
}

impl Summary {
    /// Counts what happened. Give it every change, or numbers of requests are too small.
    pub fn add(&mut self, change: &Change) {
        let alert: &Alert = change.alert();
        let key = (Reverse(alert.severity()), alert.rule.name.clone());
        let row = self.rules.entry(key).or_insert_with(|| Row {
            rule: Arc::clone(&alert.rule),
            alerts: 0,
            requests: 0,
        });
        row.alerts += u64::from(matches!(change, Change::Fired(_)));
        row.requests = row.requests.saturating_add(alert.new);
    }

    /// How many alerts fired.
    pub fn alerts(&self) -> u64 {
        self.rules.values().map(|row| row.alerts).sum()
    }

    /// The rules that made alerts, most severe first: rule, alerts, requests.
    pub fn rules(&self) -> impl Iterator<Item = (&RuleMeta, u64, u64)> {
        self.rules
            .values()
            .map(|row| (&*row.rule, row.alerts, row.requests))
    }

    /// The most severe level at which an alert fired.
    pub fn worst(&self) -> Option<Severity> {
        self.rules
            .keys()
            .next()
            .map(|(Reverse(severity), _)| *severity)
    }

    /// The summary as text, ending with a newline.
    pub fn text(&self, reading: &Reading, style: Style) -> String {
        let mut out = String::new();
        self.headline(&mut out, style);
        if !self.rules.is_empty() {
            self.table(&mut out, style);
        }
        reading.text(&mut out);
        out
    }

    fn headline(&self, out: &mut String, style: Style) {
        let levels: Vec<String> = Severity::ALL
            .into_iter()
            .rev()
            .filter_map(|severity| {
                let of_level = self
                    .rules
                    .iter()
                    .filter(|((level, _), _)| level.0 == severity);
                let alerts: u64 = of_level.map(|(_, row)| row.alerts).sum();
                let text = format!("{} {severity}", grouped(alerts));
                (alerts > 0).then(|| style.severity(severity, &text))
            })
            .collect();
        let total = self.alerts();
        let head = match total {
            0 => "no alerts".to_owned(),
            1 => "1 alert".to_owned(),
            _ => format!("{} alerts", grouped(total)),
        };
        let colon = if levels.is_empty() { "" } else { ": " };
        let _ = writeln!(out, "{}{colon}{}", style.bold(&head), levels.join(", "));
    }

    fn table(&self, out: &mut String, style: Style) {
        let names = self
            .rules
            .values()
            .map(|row| width(&visible(&row.rule.name)));
        let name_width = names.max().unwrap_or(0).clamp(4, 40);
        let head = format!(
            "  {:<13}  {:<name_width$}  {:>6}  {:>8}  about",
            "level", "rule", "alerts", "requests"
        );
        out.push_str(&style.dim(&head));
        out.push('\n');
        let room = style.columns().saturating_sub(37 + name_width).max(20);
        for row in self.rules.values() {
            let level = format!("{:<13}", row.rule.severity.name());
            let title = visible(&row.rule.title);
            let _ = writeln!(
                out,
                "  {}  {:<name_width$}  {:>6}  {:>8}  {}",
                style.severity(row.rule.severity, &level),
                cut_middle_by(&visible(&row.rule.name), name_width, |_| 1),
                grouped(row.alerts),
                grouped(row.requests),
                cut_middle_by(&title, room, super::layout::char_width),
            );
        }
    }
}

impl Reading {
    fn text(&self, out: &mut String) {
        let events = if self.received == 1 {
            "event"
        } else {
            "events"
        };
        let _ = write!(out, "read {} {events}", grouped(self.received));
        if let Some((from, to)) = self.span {
            let _ = write!(out, " of {}", words::between(from, to));
        }
        let seconds = self.elapsed.as_secs_f64();
        let _ = write!(out, " in {seconds:.1} s");
        if seconds > 0.0 {
            let _ = write!(
                out,
                " ({} events/s)",
                grouped((self.received as f64 / seconds) as u64)
            );
        }
        let parts = [
            (self.duplicate, "seen before"),
            (self.rejected, "no audit event"),
            (self.late, "too late"),
            (self.dropped, "dropped"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{} {what}", grouped(*number)))
            .collect();
        if !parts.is_empty() {
            let _ = write!(out, "; not evaluated: {}", parts.join(", "));
        }
        out.push('\n');
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::samples;

    #[test]
    fn tells_what_was_found_and_read() {
        let mut summary = Summary::default();
        for change in samples::burst_changes() {
            summary.add(&change);
        }
        summary.add(&Change::Fired(samples::hostile()));
        let reading = Reading {
            received: 1_234_567,
            evaluated: 1_234_500,
            rejected: 7,
            duplicate: 60,
            span: Some((samples::at(0), samples::at(330))),
            elapsed: Duration::from_millis(2500),
            ..Reading::default()
        };
        let expected = "\
2 alerts: 1 critical, 1 high
  level          rule                   alerts  requests  about
  critical       cluster-admin-binding       1         1  Somebody was made cluster-admin
  high           forbidden-burst             1       321  Many requests refused to one principal
read 1,234,567 events of 2026-11-23 11:05:00 to 11:10:30 UTC in 2.5 s (493,826 events/s); \
not evaluated: 60 seen before, 7 no audit event
";
        assert_eq!(summary.text(&reading, Style::default()), expected);
        assert_eq!(summary.worst(), Some(Severity::Critical));
        let nothing = Summary::default().text(&Reading::default(), Style::default());
        assert_eq!(nothing, "no alerts\nread 0 events in 0.0 s\n");
    }
}
