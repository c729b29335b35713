//! What a message about alerts says, in the order in which a reader asks: what happened, who, from
//! where, on what, how much and since when, why it is odd, what was seen, what to run, where to
//! read on. Each receiver shows it in its own form; none decides anew what is said.

use std::fmt::Write as _;

use super::{
    Alert, Status, cut_middle,
    dispatch::{Notification, Reason},
    telling, visible,
    words::{self, Phrase, Piece},
};
use crate::rule::Severity;

/// How many requests are quoted.
const EVENTS_MAX: usize = 3;
/// How many commands are shown.
const COMMANDS_MAX: usize = 5;
/// How many links are shown, and how long each may be.
const LINKS_MAX: usize = 3;
const LINK_MAX: usize = 300;
/// The longest value that a stranger chose.
const VALUE_MAX: usize = 200;

/// A message, of our words and their values, in sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// One line: how severe, what, who.
    pub headline: Phrase,
    /// In the order of reading.
    pub sections: Vec<Section>,
    /// Where to read on: addresses that cannot be read as anything else.
    pub links: Vec<String>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The question, in a word; empty for the first sentence.
    pub name: &'static str,
    /// The answer, line by line.
    pub lines: Vec<Phrase>,
    /// Whether it is to be copied or compared, so that every character counts.
    pub is_code: bool,
}

impl Brief {
    /// About one alert or many.
    pub fn of(notification: &Notification) -> Self {
        let mut sections = Vec::new();
        let several = notification.total() > 1;
        if notification.missed > 0 {
            let missed = notification.missed;
            let text = format!(
                "{missed} earlier {} lost on the way: the receiver or its queue could not take more",
                plural(missed, "message was", "messages were")
            );
            sections.push(Section::text("Missed", Phrase::default().ours(text)));
        }
        if several {
            sections.extend(overview(notification));
        }
        let mut links = Vec::new();
        if let Some(alert) = notification.first() {
            if several {
                sections.push(Section::text("First of them", title(alert)));
            }
            sections.extend(details(alert));
            links = self::links(alert);
        }
        Self {
            headline: headline(notification),
            sections,
            links,
        }
    }

    /// As plain text of at most `max` characters; what does not fit is cut out in the middle.
    pub fn text(&self, max: usize) -> String {
        let mut text = String::new();
        for Section { name, lines, .. } in &self.sections {
            let lines: Vec<String> = lines.iter().map(Phrase::plain).collect();
            // Writing to a String succeeds.
            let _ = match (*name, lines.as_slice()) {
                ("", lines) => write!(text, "{}", lines.join("\n")),
                (name, [line]) => write!(text, "{name}: {line}"),
                (name, lines) => write!(text, "{name}:\n  {}", lines.join("\n  ")),
            };
            text.push('\n');
        }
        for link in &self.links {
            let _ = writeln!(text, "Read on: {link}");
        }
        cut_middle(text.trim_end(), max)
    }
}

impl Section {
    fn text(name: &'static str, line: Phrase) -> Self {
        Self {
            name,
            lines: vec![line],
            is_code: false,
        }
    }
}

impl Phrase {
    /// On one line, with what would act on a reader's screen spelled out and long values cut.
    pub fn plain(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Ours(text) => text.clone(),
            Piece::Theirs(text) => cut_middle(&visible(text), VALUE_MAX),
        };
        self.0.iter().map(piece).collect()
    }
}

/// A sign that is seen before anything is read.
pub const fn mark(severity: Severity, status: Status) -> &'static str {
    match (status, severity) {
        (Status::Resolved, _) => "✅",
        (_, Severity::Critical) => "🚨",
        (_, Severity::High) => "🔴",
        (_, Severity::Medium) => "🟠",
        (_, Severity::Low) => "🟡",
        (_, Severity::Informational) => "🔵",
    }
}

/// `HIGH: Many requests refused to one principal: system:serviceaccount:shop:web`, or
/// `HIGH: 12 alerts, 2 critical, 10 high: forbidden-burst`.
fn headline(notification: &Notification) -> Phrase {
    let level = notification.severity().name().to_uppercase();
    let state = match notification.reason {
        Reason::Resolved => ", over",
        Reason::Repeat => ", still goes on",
        Reason::Updated | Reason::Fewer => ", goes on",
        _ if notification.status() == Status::Resolved => ", over already",
        Reason::First | Reason::New | Reason::Digest => "",
    };
    let phrase = Phrase::default().ours(format!("{level}{state}: "));
    match notification.first() {
        Some(alert) if notification.total() == 1 => {
            let phrase = phrase.theirs(alert.rule.title.as_str()).ours(": ");
            phrase.with(words::who(alert))
        }
        first => {
            let total = notification.total();
            let phrase = phrase.ours(format!("{total} alerts"));
            let names = notification.group.get("alertname");
            match first {
                _ if !names.is_empty() => phrase.ours(" of ").theirs(names),
                Some(alert) => phrase.ours(", first ").theirs(alert.rule.title.as_str()),
                None => phrase,
            }
        }
    }
}

/// What many alerts have in common and how many there are.
fn overview(notification: &Notification) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut sentence = Vec::new();
    if notification.firing.total() > 0 {
        sentence.push(format!("{} go on", notification.firing));
    }
    if notification.resolved.total() > 0 {
        sentence.push(format!("{} are over", notification.resolved));
    }
    let mut text = sentence.join(", ");
    if notification.stands_for > 1 {
        let count = notification.stands_for;
        let _ = write!(
            text,
            "; in place of {count} messages, because there were too many"
        );
    }
    sections.push(Section::text("Alerts", Phrase::default().ours(text)));
    if !notification.group.is_empty() {
        let mut phrase = Phrase::default();
        for (n, (name, value)) in notification.group.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            phrase = phrase.ours(format!("{comma}{name} ")).theirs(value);
        }
        sections.push(Section::text("Group", phrase));
    }
    let principals = &notification.principals;
    if principals.distinct > 1 {
        let mut phrase = Phrase::default();
        for (n, (name, count)) in principals.top.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            phrase = phrase
                .ours(comma)
                .theirs(&**name)
                .ours(format!(" ({count})"));
        }
        let more = principals.distinct.saturating_sub(principals.top.len());
        if more > 0 {
            phrase = phrase.ours(format!(" and {more} more"));
        }
        sections.push(Section::text("Most alerts by", phrase));
    }
    let line = |alert: &std::sync::Arc<Alert>| {
        let over = if alert.status == Status::Resolved {
            "over: "
        } else {
            ""
        };
        let level = alert.severity().name();
        let phrase = Phrase::default().ours(format!("{level}, {over}"));
        let phrase = phrase
            .with(title(alert))
            .ours(", ")
            .with(words::what(alert));
        phrase.ours(format!(", {}", words::requests(alert.count)))
    };
    let mut lines: Vec<Phrase> = notification.alerts.iter().map(line).collect();
    let hidden = notification.hidden();
    if hidden > 0 {
        lines.push(Phrase::default().ours(format!("and {hidden} more like these")));
    }
    sections.push(Section {
        name: "List",
        lines,
        is_code: false,
    });
    sections
}

fn title(alert: &Alert) -> Phrase {
    Phrase::default()
        .theirs(alert.rule.title.as_str())
        .ours(": ")
        .with(words::who(alert))
}

/// All that is told of one alert.
fn details(alert: &Alert) -> Vec<Section> {
    let mut sections = Vec::new();
    if alert.status == Status::Resolved {
        let text = if alert.evicted {
            "no longer watched: there were too many alerts"
        } else {
            "it was quiet for long enough"
        };
        sections.push(Section::text("Over", Phrase::default().ours(text)));
    }
    if !alert.summary.is_empty() {
        sections.push(Section::text(
            "",
            Phrase::default().theirs(alert.summary.as_str()),
        ));
    }
    sections.push(Section::text("Who", words::who(alert)));
    if let Some(credential) = words::credential(alert) {
        sections.push(Section::text("With", credential));
    }
    if let Some(groups) = words::groups(alert) {
        sections.push(Section::text("Groups", groups));
    }
    sections.push(Section::text("From", words::from(alert)));
    let mut what = words::what(alert);
    if !alert.cluster.is_empty() {
        what = what.ours(" of cluster ").theirs(&*alert.cluster);
    }
    sections.push(Section::text("What", what));
    let when = format!("{}, {}", words::requests(alert.count), words::when(alert));
    sections.push(Section::text("When", Phrase::default().ours(when)));
    if !alert.why.is_empty() {
        sections.push(Section::text(
            "Why",
            Phrase::default().theirs(alert.why.as_str()),
        ));
    }
    if alert.status == Status::Firing {
        sections.extend(events(alert));
        let commands = alert.respond.iter().take(COMMANDS_MAX);
        let lines: Vec<Phrase> = commands
            .map(|command| Phrase::default().theirs(command.as_str()))
            .collect();
        if !lines.is_empty() {
            sections.push(Section {
                name: "Run",
                lines,
                is_code: true,
            });
        }
    }
    let names = Phrase::default()
        .theirs(alert.rule.name.as_str())
        .ours(format!(", alert {}", alert.id));
    sections.push(Section::text("Rule", names));
    sections
}

/// The requests that tell most.
fn events(alert: &Alert) -> Option<Section> {
    let shown = telling(&alert.evidence, EVENTS_MAX);
    let line = |facts: &&std::sync::Arc<crate::event::Facts>| {
        let seen = &facts.evidence;
        let time = seen.time.to_string();
        let time = time.get(11..23).unwrap_or(&time).to_owned();
        let code = seen.code.map_or("-".to_owned(), |code| code.to_string());
        let phrase = Phrase::default()
            .ours(format!("{time} {code} "))
            .theirs(&*seen.verb)
            .ours(" ");
        phrase
            .theirs(&*seen.uri)
            .ours(" audit ID ")
            .theirs(&*seen.audit_id)
    };
    let mut lines: Vec<Phrase> = shown.iter().map(line).collect();
    let left = alert.count.saturating_sub(shown.len() as u64);
    if left > 0 {
        lines.push(Phrase::default().ours(format!("and {left} more")));
    }
    (!shown.is_empty()).then_some(Section {
        name: "Seen",
        lines,
        is_code: true,
    })
}

/// References of the rule that are plain web addresses.
fn links(alert: &Alert) -> Vec<String> {
    let usable = |link: &&String| {
        let web = link.starts_with("https://") || link.starts_with("http://");
        web && link.len() <= LINK_MAX
            && link
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"<>|`\"'()[]\\{}".contains(&b))
    };
    alert
        .rule
        .references
        .iter()
        .filter(usable)
        .take(LINKS_MAX)
        .cloned()
        .collect()
}

fn plural<'w>(count: u64, one: &'w str, many: &'w str) -> &'w str {
    if count == 1 { one } else { many }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alert::{Change, samples};

    fn single(change: &Change) -> Notification {
        Notification::single(&"r".into(), change, 0)
    }

    #[test]
    fn answers_in_the_order_of_asking() {
        let brief = Brief::of(&single(&Change::Fired(samples::burst(9))));
        assert_eq!(
            brief.headline.plain(),
            "HIGH: Many requests refused to one principal: system:serviceaccount:shop:web (service account)"
        );
        let text = brief.text(5_000);
        let id = &samples::burst(9).id;
        let expected = "\
Who: system:serviceaccount:shop:web (service account)
With: token JTI=7d1e3c52-9f0a-4c0e-8a35-0d1f5a2b9e11
From: 198.51.100.7 (public) with kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7
What: get secrets in namespace payments of cluster prod-eu
When: 9 requests, 2026-11-23 11:05:00 to 11:05:08 UTC
Why: 9 requests refused within 1m (threshold 3)
Seen:
  11:05:00.000 403 get /api/v1/namespaces/payments/secrets/key-0 audit ID 00000000-0000-4000-8000-000000000000
  11:05:01.000 403 get /api/v1/namespaces/payments/secrets/key-1 audit ID 00000000-0000-4000-8000-000000000001
  11:05:08.000 403 get /api/v1/namespaces/payments/secrets/key-8 audit ID 00000000-0000-4000-8000-000000000008
  and 6 more
Run: kubectl auth can-i --list --as='system:serviceaccount:shop:web'
Rule: forbidden-burst, alert ID
Read on: https://attack.mitre.org/techniques/T1613/";
        assert_eq!(text.replace(&**id, "ID"), expected);
    }

    #[test]
    fn many_alerts_begin_with_the_count() {
        let mut many = single(&Change::Fired(samples::burst(9)));
        for _ in 0..38 {
            many.firing.add(Severity::Low);
        }
        many.resolved.add(Severity::High);
        many.alerts.push(samples::spray());
        many.principals.top = vec![("eve".into(), 30), ("bob".into(), 8)];
        many.principals.distinct = 11;
        many.stands_for = 7;
        many.missed = 2;
        let brief = Brief::of(&many);
        assert_eq!(
            brief.headline.plain(),
            "HIGH: 40 alerts, first Many requests refused to one principal"
        );
        let text = brief.text(20_000);
        let start = "\
Missed: 2 earlier messages were lost on the way: the receiver or its queue could not take more
Alerts: 1 high, 38 low go on, 1 high are over; in place of 7 messages, because there were too many
Most alerts by: eve (30), bob (8) and 9 more
List:
  high, Many requests refused to one principal: system:serviceaccount:shop:web (service account), get secrets in namespace payments, 9 requests
";
        assert!(text.starts_with(start), "{text}");
        assert!(
            text.contains("\n  and 38 more like these\nFirst of them: Many"),
            "{text}"
        );
    }

    #[test]
    fn strangers_text_stays_on_its_line() {
        let hostile = samples::hostile();
        let brief = Brief::of(&single(&Change::Fired(Arc::clone(&hostile))));
        let calm = Brief::of(&single(&Change::Fired(samples::fired(samples::single(
            crate::event::Facts::clone(&samples::facts_at(0)),
        )))));
        let lines = |brief: &Brief| brief.text(100_000).lines().count();
        assert!(!brief.text(100_000).contains('\u{1b}'));
        assert!(
            lines(&brief) <= lines(&calm) + 1,
            "a group is shown, nothing else"
        );
    }
}
