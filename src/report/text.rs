//! An alert as text, for somebody who was asleep a minute ago: how bad, what, who, from where,
//! since when, why, the requests themselves, what to do.

use std::sync::Arc;

use super::{
    Style,
    layout::{MARGIN, char_width, end_line, row, width},
    quoted::quoted,
};
use crate::{
    alert::{
        Alert, Change, contain, cut_middle_by, telling, visible,
        words::{self, Phrase, Piece},
    },
    event::Facts,
};

/// How many requests are shown.
const EVIDENCE_MAX: usize = 5;

/// What happened to an alert, ending with an empty line: the whole of a new one, what counts of
/// one that goes on, a few words on one that is over.
pub fn text(change: &Change, style: Style) -> String {
    let mut out = String::with_capacity(2048);
    match change {
        Change::Fired(alert) => whole(&mut out, alert, style),
        Change::Updated(alert) => update(&mut out, alert, style),
        Change::Resolved(alert) => end(&mut out, alert, style),
    }
    out.push('\n');
    out
}

fn whole(out: &mut String, alert: &Alert, style: Style) {
    headline(out, alert, style, "");
    if !alert.summary.is_empty() {
        row(out, style, "", &ours(visible(&alert.summary)));
    }
    deed(out, alert, style);
    if !alert.cluster.is_empty() {
        row(
            out,
            style,
            "cluster",
            &Phrase(vec![Piece::Theirs(alert.cluster.to_string())]),
        );
    }
    evidence(out, alert, style);
    // Whoever copies a command wants it in one piece, so it is not wrapped.
    let shown = |text: &String| visible(text).into_owned();
    labelled(out, style, "look", alert.respond.iter().map(shown));
    // These change the cluster.
    let contain = contain::commands(alert);
    labelled(out, style, "contain", contain.iter().map(shown));
    labelled(out, style, "runbook", alert.rule.runbook.iter().map(shown));
    labelled(out, style, "read", alert.rule.references.iter().map(shown));
    trailer(out, alert, style);
}

fn update(out: &mut String, alert: &Alert, style: Style) {
    headline(out, alert, style, &format!("goes on, {} more", alert.new));
    deed(out, alert, style);
    trailer(out, alert, style);
}

fn end(out: &mut String, alert: &Alert, style: Style) {
    headline(
        out,
        alert,
        style,
        if alert.evicted {
            "no longer watched"
        } else {
            "over"
        },
    );
    let mut phrase = words::who(alert);
    phrase.0.push(Piece::Ours(format!(
        ", {} from {}",
        words::requests(alert.count),
        words::when(alert)
    )));
    if alert.evicted {
        phrase.0.push(Piece::Ours(
            "; it had to make room, too many alerts are open".to_owned(),
        ));
    }
    row(out, style, "", &phrase);
    trailer(out, alert, style);
}

fn headline(out: &mut String, alert: &Alert, style: Style, state: &str) {
    let severity = alert.severity();
    let badge = severity.name().to_uppercase();
    out.push_str(&style.severity(severity, &badge));
    // The longest word, INFORMATIONAL, is wider than the margin.
    out.push_str(&" ".repeat(MARGIN.saturating_sub(badge.len()).max(1)));
    out.push_str(&style.bold(&visible(&alert.rule.title)));
    if !state.is_empty() {
        out.push_str(" (");
        out.push_str(state);
        out.push(')');
    }
    out.push('\n');
}

/// Who did what from where, when and why we think it is odd.
fn deed(out: &mut String, alert: &Alert, style: Style) {
    row(out, style, "who", &words::who(alert));
    if let Some(groups) = words::groups(alert) {
        row(out, style, "groups", &groups);
    }
    row(out, style, "what", &words::what(alert));
    row(out, style, "from", &words::from(alert));
    if let Some(credential) = words::credential(alert) {
        row(out, style, "with", &credential);
    }
    let when = format!("{}, {}", words::when(alert), words::requests(alert.count));
    row(out, style, "when", &ours(when));
    row(out, style, "why", &ours(visible(&alert.why)));
}

fn ours(text: impl Into<String>) -> Phrase {
    Phrase(vec![Piece::Ours(text.into())])
}

fn labelled(out: &mut String, style: Style, label: &str, lines: impl Iterator<Item = String>) {
    for (n, line) in lines.enumerate() {
        let label = if n == 0 { label } else { "" };
        out.push_str(&style.dim(&format!("  {label:<width$}", width = MARGIN - 2)));
        out.push_str(&line);
        end_line(out);
    }
}

/// The names by which the alert and its rule are found again.
fn trailer(out: &mut String, alert: &Alert, style: Style) {
    let names = format!(
        "{:MARGIN$}rule {}, alert {}",
        "",
        visible(&alert.rule.name),
        alert.id
    );
    out.push_str(&style.dim(&names));
    out.push('\n');
}

fn evidence(out: &mut String, alert: &Alert, style: Style) {
    let shown = telling(&alert.evidence, EVIDENCE_MAX);
    let columns = Columns::of(alert, &shown, style);
    let left = alert.count.saturating_sub(shown.len() as u64);
    let mut lines: Vec<String> = shown.iter().map(|facts| columns.line(facts)).collect();
    if left > 0 {
        lines.insert(shown.len().saturating_sub(1), format!("… and {left} more"));
    }
    labelled(out, style, "seen", lines.into_iter());
}

/// Which columns the lines of evidence have, and how wide they are.
struct Columns {
    /// How much of the time is shown.
    time: usize,
    /// Zero where all have the same, which is said above; so are the next two.
    verb: usize,
    principal: usize,
    origin: usize,
    uri: usize,
    audit_id: usize,
}

/// `11:05:00` of an RFC 3339 stamp, and `11:05:00.123`.
const SECONDS: usize = 8;
const MILLISECONDS: usize = 12;
/// The longest IPv6 address.
const ADDRESS_MAX: usize = 39;
/// The start of a UUID finds it in a log.
const AUDIT_ID_SHORT: usize = 13;
const AUDIT_ID_LONG: usize = 36;
const URI_MIN: usize = 48;
const PRINCIPAL_MAX: usize = 24;

impl Columns {
    fn of(alert: &Alert, shown: &[&Arc<Facts>], style: Style) -> Self {
        let widest = |text: fn(&Facts) -> &str, max: usize| {
            shown
                .iter()
                .map(|facts| width(&quoted(text(facts))))
                .max()
                .unwrap_or(0)
                .min(max)
        };
        let column = |differs: bool, text: fn(&Facts) -> &str, max: usize| {
            if differs { widest(text, max) } else { 0 }
        };
        let verb = column(alert.shared.target.verb.is_none(), verb, 16);
        let principal = column(
            alert.principals.distinct() > 1,
            principal_name,
            PRINCIPAL_MAX,
        );
        let origin = column(alert.origins.distinct() > 1, address, ADDRESS_MAX);
        let gaps = |column: usize| if column > 0 { column + 2 } else { 0 };
        let time = if style.columns() < 100 {
            SECONDS
        } else {
            MILLISECONDS
        };
        let before = MARGIN + time + "  403  ".len() + gaps(verb) + gaps(principal) + gaps(origin);
        let room = style.columns().saturating_sub(before + 2);
        let wanted = widest(|facts| &facts.evidence.uri, 512);
        let long = room.saturating_sub(AUDIT_ID_LONG) >= wanted.min(URI_MIN);
        let audit_id = if long { AUDIT_ID_LONG } else { AUDIT_ID_SHORT };
        let uri = room.saturating_sub(audit_id).min(wanted).max(12);
        Self {
            time,
            verb,
            principal,
            origin,
            uri,
            audit_id,
        }
    }

    fn line(&self, facts: &Facts) -> String {
        let seen = &facts.evidence;
        let time = seen.time.to_string();
        let code = seen
            .code
            .map_or("  -".to_owned(), |code| format!("{code:>3}"));
        let mut line = format!(
            "{}  {code}  ",
            time.get(11..11 + self.time).unwrap_or(&time)
        );
        let mut cell = |text: &str, columns: usize| {
            if columns > 0 {
                let text = cut_middle_by(&quoted(text), columns, char_width);
                line.push_str(&text);
                line.push_str(&" ".repeat(columns.saturating_sub(width(&text)) + 2));
            }
        };
        cell(verb(facts), self.verb);
        cell(principal_name(facts), self.principal);
        cell(address(facts), self.origin);
        cell(&seen.uri, self.uri);
        let audit_id = visible(&seen.audit_id);
        if self.audit_id == AUDIT_ID_SHORT {
            let mut columns = 0;
            line.extend(audit_id.chars().take_while(|c| {
                columns += char_width(*c);
                columns <= AUDIT_ID_SHORT
            }));
        } else {
            line.push_str(&cut_middle_by(&audit_id, self.audit_id, char_width));
        }
        line
    }
}

fn principal_name(facts: &Facts) -> &str {
    words::short_name(&facts.principal)
}

fn verb(facts: &Facts) -> &str {
    &facts.evidence.verb
}

fn address(facts: &Facts) -> &str {
    facts.origin.ip.as_deref().unwrap_or("-")
}

#[cfg(test)]
mod tests;
