//! What a message about alerts says, in the order in which a reader asks: what happened, who, from
//! where, on what, how much and since when, why it is odd, what was seen, what to run, where to
//! read on. Each receiver shows it in its own form; none decides anew what is said.

use std::fmt::Write as _;

use super::{
    Alert, Status, contain, cut_middle,
    dispatch::{Ack, Labels, Matcher, Notification, Reason},
    telling, visible,
    words::{self, Phrase, Piece},
};
use crate::rule::{Severity, is_plain_link, shell_quoted};

/// How many requests are quoted.
const EVENTS_MAX: usize = 3;
/// How many commands are shown.
const COMMANDS_MAX: usize = 5;
/// The longest command that is shown.
const COMMAND_MAX: usize = 500;
/// How many links are shown.
const LINKS_MAX: usize = 3;
/// The longest value that a stranger chose.
const VALUE_MAX: usize = 200;

/// What commands that change nothing are called.
pub const LOOK: &str = "Look";
/// What to type when it is known.
pub const KNOWN: &str = "If it is known";
/// What commands are called that change the cluster; it says so because they are copied in a hurry.
pub const CONTAIN: &str = "Contain (changes the cluster)";

/// A message, of our words and their values, in sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// One line: how severe, what, who.
    pub headline: Phrase,
    /// In the order of reading.
    pub sections: Vec<Section>,
    /// Where it stands what to do: an address that cannot be read as anything else.
    pub runbook: Option<String>,
    /// Where to read on: the same kind of address.
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
        let (mut runbook, mut links) = (None, Vec::new());
        if let Some(alert) = notification.first() {
            if several {
                sections.push(Section::text("First of them", title(alert)));
            }
            sections.extend(details(alert, notification.acked.get(&alert.id)));
            runbook.clone_from(&alert.rule.runbook);
            links = self::links(alert);
        }
        Self {
            headline: headline(notification),
            sections,
            runbook,
            links,
        }
    }

    /// Where to read, with what it is: the runbook first.
    pub fn reading(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let runbook = self.runbook.iter().map(|link| ("Runbook", link.as_str()));
        runbook.chain(self.links.iter().map(|link| ("Read on", link.as_str())))
    }

    /// As plain text of at most `max` characters; lines in the middle that do not fit are left out.
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
        for (name, link) in self.reading() {
            let _ = writeln!(text, "{name}: {link}");
        }
        cut_lines(text.trim_end(), max)
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
            Piece::Command(text) => cut_command(text, COMMAND_MAX),
        };
        self.0.iter().map(piece).collect()
    }

    /// The same in at most `max` characters: its middle is cut out, but a command is shown whole
    /// or not at all.
    pub fn fitting(&self, max: usize) -> String {
        match self.0.as_slice() {
            [Piece::Command(command)] => cut_command(command, max),
            _ => cut_middle(&self.plain(), max),
        }
    }
}

/// Cuts whole lines out of the middle, so that no half of a command is left to be copied.
pub fn cut_lines(text: &str, max: usize) -> String {
    const MARK: &str = "…";
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let lines: Vec<&str> = text.lines().collect();
    let cost = |line: &str| line.chars().count() + 1;
    let mut left = max.saturating_sub(cost(MARK));
    let (mut head, mut tail) = (0, lines.len());
    // From both ends in turn, for as long as the next one fits.
    while head < tail {
        let is_head = head <= lines.len() - tail;
        let line = if is_head {
            lines[head]
        } else {
            lines[tail - 1]
        };
        let Some(rest) = left.checked_sub(cost(line)) else {
            break;
        };
        left = rest;
        if is_head {
            head += 1;
        } else {
            tail -= 1;
        }
    }
    let kept = [&lines[..head], &[MARK], &lines[tail..]].concat();
    cut_middle(&kept.join("\n"), max)
}

/// A command that fits into `max` characters. A part of a command could do something else than the
/// whole, so what is too long is not shown.
pub fn cut_command(command: &str, max: usize) -> String {
    let shown = visible(command);
    if shown.chars().count() <= max {
        return shown.into_owned();
    }
    cut_middle(
        "# too long to be shown here; see `auditwatch alerts show`",
        max,
    )
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
fn details(alert: &Alert, ack: Option<&Ack>) -> Vec<Section> {
    let mut sections = Vec::new();
    if let Some(ack) = ack {
        let time = words::between(ack.at, ack.at);
        let phrase = Phrase::default()
            .theirs(&*ack.by)
            .ours(format!(" at {time}"));
        let phrase = match &*ack.comment {
            "" => phrase,
            comment => phrase.ours(": ").theirs(comment),
        };
        sections.push(Section::text("Acknowledged by", phrase));
    }
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
        for (name, commands) in [(LOOK, &alert.respond), (CONTAIN, &contain::commands(alert))] {
            let commands = commands.iter().take(COMMANDS_MAX);
            let lines: Vec<Phrase> = commands
                .map(|command| Phrase::default().command(command.as_str()))
                .collect();
            if !lines.is_empty() {
                sections.push(Section {
                    name,
                    lines,
                    is_code: true,
                });
            }
        }
    }
    if alert.status == Status::Firing {
        sections.push(Section {
            name: KNOWN,
            lines: known(alert)
                .into_iter()
                .map(|command| Phrase::default().command(command))
                .collect(),
            is_code: true,
        });
    }
    let names = Phrase::default()
        .theirs(alert.rule.name.as_str())
        .ours(format!(", alert {}", alert.id));
    sections.push(Section::text("Rule", names));
    sections
}

/// What to type when somebody knows about it: that one takes care, or that nobody is to be told
/// of the like for a while.
fn known(alert: &Alert) -> [String; 2] {
    let (labels, now) = (Labels::identifying(alert), Labels::of(alert));
    let own = labels.iter().filter(|(name, _)| *name != "severity");
    let who = now.get("principal");
    // Else all that the rule says would be silent.
    let is_missing = labels.get("principal").is_empty() && !who.is_empty();
    let matchers = own.chain(is_missing.then_some(("principal", who)));
    let matcher = |(name, value)| {
        let matcher = Matcher::equal(name, value).to_string();
        format!(" {}", shell_quoted(&matcher))
    };
    let matchers: String = matchers.map(matcher).collect();
    [
        format!("auditwatch alerts ack {} --comment 'I am on it'", alert.id),
        format!("auditwatch silence add{matchers} --duration 2h --comment 'why'"),
    ]
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
    let references = alert.rule.references.iter();
    let usable = references.filter(|link| is_plain_link(link));
    usable.take(LINKS_MAX).cloned().collect()
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
        let expected = r#"Who: system:serviceaccount:shop:web (service account)
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
Look: kubectl auth can-i --list --as='system:serviceaccount:shop:web'
Contain (changes the cluster): kubectl -n shop delete serviceaccount web  # ends all its tokens; make it anew afterwards
If it is known:
  auditwatch alerts ack ID --comment 'I am on it'
  auditwatch silence add 'alertname="forbidden-burst"' 'cluster="prod-eu"' 'principal="system:serviceaccount:shop:web"' --duration 2h --comment 'why'
Rule: forbidden-burst, alert ID
Read on: https://attack.mitre.org/techniques/T1613/"#;
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
    fn no_half_of_a_command_is_shown() {
        let mut alert = Alert::clone(&samples::burst(9));
        alert.contain = vec![format!("kubectl delete pod {}", "x".repeat(COMMAND_MAX))];
        let alert = Arc::new(alert);
        let brief = Brief::of(&single(&Change::Fired(Arc::clone(&alert))));
        let whole = brief.text(10_000);
        assert!(
            whole.contains("cluster): # too long to be shown here; see"),
            "{whole}"
        );
        assert!(!whole.contains("delete pod"), "{whole}");
        for max in [0, 1, 20, 100, 300, 700, 1_000] {
            let text = brief.text(max);
            assert!(text.chars().count() <= max, "{max}: {text}");
            let known: Vec<&str> = whole.lines().collect();
            if max >= 300 {
                let lines = text.lines();
                assert_eq!(
                    lines
                        .filter(|line| !known.contains(line))
                        .collect::<Vec<_>>(),
                    ["…"]
                );
            }
        }
    }

    #[test]
    fn says_who_took_care() {
        let mut told = single(&Change::Fired(samples::burst(9)));
        let ack = Ack {
            by: "alice".into(),
            at: samples::at(60),
            comment: "ticket 4711".into(),
        };
        told.acked.insert(told.alerts[0].id.clone(), ack);
        let text = Brief::of(&told).text(5_000);
        let said = "Acknowledged by: alice at 2026-11-23 11:06:00 UTC: ticket 4711\nWho: ";
        assert!(text.starts_with(said), "{text}");
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
