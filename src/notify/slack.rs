//! Slack incoming webhooks: an alert as Block Kit.
//!
//! Slack refuses a message as a whole when one text is too long, and reads links, mentions and
//! formatting out of text. So every value has a length that keeps the sum of all below every
//! limit, values stand in code spans in which nothing is formatted, `&`, `<` and `>` are always
//! escaped, and `verbatim` keeps Slack from making links of what looks like one.

use std::fmt::Write as _;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{BuildError, Failure, Message, Reason, http::Endpoint};
use crate::{
    alert::{
        Alert, Change, cut_middle_by, telling, visible,
        words::{self, Phrase, Piece},
    },
    rule::Severity,
    units::Secret,
};

/// Slack's limit for a header.
const HEADER_MAX: usize = 150;
/// Sentences: summary and why. Slack would take 3,000.
const SENTENCE_MAX: usize = 600;
/// One value in a field. Slack takes 2,000 for a field, which has at most ten values.
const VALUE_MAX: usize = 120;
const URI_MAX: usize = 200;
/// A request in the list of evidence; a few of them stay below the 3,000 of a section.
const EVIDENCE_MAX: usize = 5;
const COMMAND_MAX: usize = 400;
const COMMANDS_MAX: usize = 5;
const LINK_MAX: usize = 300;
const LINKS_MAX: usize = 3;
/// What phones show of the message.
const PREVIEW_MAX: usize = 300;

/// A Slack channel, by its incoming webhook.
#[derive(Clone, Debug)]
pub struct Slack(Endpoint);

impl Slack {
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(client: &reqwest::Client, url: Secret) -> Result<Self, BuildError> {
        Endpoint::new(client, url).map(Self)
    }

    pub(super) async fn deliver(&self, message: &Message) -> Result<(), Failure> {
        let answer = self
            .0
            .post(payload(message).to_string(), HeaderMap::new())
            .await?;
        let word = answer.body.trim();
        // Slack says what is wrong by a word; anything else may be a page that quotes the URL.
        let known = word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let told = if known && !word.is_empty() {
            format!(" ({word})")
        } else {
            String::new()
        };
        if word == "no_service" {
            return Err(Failure::permanent(
                Reason::ClientError,
                "Slack has no such webhook (no_service)",
                "was it revoked? make a new one and give its URL",
            ));
        }
        answer.verdict().map_err(|failure| Failure {
            what: format!("{}{told}", failure.what),
            ..failure
        })?;
        if word == "ok" {
            return Ok(());
        }
        Err(Failure::permanent(
            Reason::ClientError,
            format!("it answered {} but not `ok`{told}", answer.status.as_u16()),
            "is this the URL of a Slack incoming webhook, and no proxy's own page in between?",
        ))
    }
}

/// The message as Slack wants it.
fn payload(message: &Message) -> Value {
    let alert = message.alert();
    let mut blocks = vec![header(&message.change)];
    if message.dropped > 0 {
        let dropped = message.dropped;
        let (alerts, were) = if dropped == 1 {
            ("alert", "was")
        } else {
            ("alerts", "were")
        };
        let text = format!("⚠ {dropped} {alerts} {were} dropped before this one");
        blocks.push(context(&[text]));
    }
    let fired = matches!(message.change, Change::Fired(_));
    if fired && !alert.summary.is_empty() {
        blocks.push(plain(&sentence(&alert.summary)));
    }
    blocks.push(fields(alert));
    if !matches!(message.change, Change::Resolved(_)) && !alert.why.is_empty() {
        blocks.push(plain(&format!("Why: {}", sentence(&alert.why))));
    }
    if fired {
        blocks.push(mrkdwn(&evidence(alert)));
        blocks.extend(commands(alert).map(|text| mrkdwn(&text)));
    }
    blocks.push(context(&names(alert)));
    json!({
        "text": preview(&message.change),
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": blocks,
    })
}

/// `🔴 HIGH: Many requests refused to one principal`
fn headline(change: &Change) -> String {
    let alert = change.alert();
    let mark = match alert.severity() {
        Severity::Critical => "🚨",
        Severity::High => "🔴",
        Severity::Medium => "🟠",
        Severity::Low => "🟡",
        Severity::Informational => "🔵",
    };
    let level = alert.severity().name().to_uppercase();
    let title = &alert.rule.title;
    match change {
        Change::Fired(_) => format!("{mark} {level}: {title}"),
        Change::Updated(_) => format!("{mark} {level}, goes on: {title}"),
        Change::Resolved(alert) if alert.evicted => format!("💤 {level}, not watched: {title}"),
        Change::Resolved(_) => format!("✅ {level}, over: {title}"),
    }
}

fn header(change: &Change) -> Value {
    let text = escaped(&visible(&headline(change)), HEADER_MAX);
    json!({"type": "header", "text": {"type": "plain_text", "text": text, "emoji": false}})
}

fn preview(change: &Change) -> String {
    let who: String = words::who(change.alert())
        .0
        .iter()
        .map(|piece| match piece {
            Piece::Ours(text) | Piece::Theirs(text) => visible(text),
        })
        .collect();
    escaped(
        &format!("{}: {who}", visible(&headline(change))),
        PREVIEW_MAX,
    )
}

/// Who, from where, what, when, in two columns.
fn fields(alert: &Alert) -> Value {
    let mut all = vec![
        ("Who", phrase(&words::who(alert))),
        ("From", phrase(&words::from(alert))),
    ];
    all.push(("What", phrase(&words::what(alert))));
    let when = format!("{}\n{}", words::when(alert), words::requests(alert.count));
    all.push(("When", when));
    if let Some(credential) = words::credential(alert) {
        all.push(("With", phrase(&credential)));
    }
    if let Some(groups) = words::groups(alert) {
        all.push(("Groups", phrase(&groups)));
    }
    if !alert.cluster.is_empty() {
        all.push(("Cluster", code(&alert.cluster, VALUE_MAX)));
    }
    let field = |(name, text): &(&str, String)| json!({"type": "mrkdwn", "text": format!("*{name}*\n{text}"), "verbatim": true});
    json!({"type": "section", "fields": all.iter().map(field).collect::<Vec<_>>()})
}

fn evidence(alert: &Alert) -> String {
    let shown = telling(&alert.evidence, EVIDENCE_MAX);
    let mut text = "*Seen*\n```".to_owned();
    for facts in &shown {
        let seen = &facts.evidence;
        let time = seen.time.to_string();
        let time = time.get(11..23).unwrap_or(&time);
        let code = seen.code.map_or("-".to_owned(), |code| code.to_string());
        let verb = unticked(&seen.verb, 20);
        let (uri, id) = (unticked(&seen.uri, URI_MAX), unticked(&seen.audit_id, 40));
        // Writing to a String succeeds.
        let _ = writeln!(text, "{time} {code} {verb} {uri}\n  audit ID {id}");
    }
    text.push_str("```");
    let left = alert.count.saturating_sub(shown.len() as u64);
    if left > 0 {
        let _ = write!(text, "\n… and {left} more");
    }
    text
}

fn commands(alert: &Alert) -> Option<String> {
    let commands = alert.respond.iter().take(COMMANDS_MAX);
    let lines: Vec<String> = commands
        .map(|command| unticked(command, COMMAND_MAX))
        .collect();
    (!lines.is_empty()).then(|| format!("*Do*\n```{}```", lines.join("\n")))
}

/// Links, and the names by which the alert and its rule are found again.
fn names(alert: &Alert) -> Vec<String> {
    // References come from rule files; still only what cannot be read as something else.
    let usable = |link: &&String| {
        let web = link.starts_with("https://") || link.starts_with("http://");
        web && link.len() <= LINK_MAX
            && link
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"<>|`&".contains(&b))
    };
    let links = alert.rule.references.iter().filter(usable).take(LINKS_MAX);
    let mut texts: Vec<String> = links.map(|link| format!("<{link}>")).collect();
    texts.push(format!("rule {}", code(&alert.rule.name, VALUE_MAX)));
    texts.push(format!("alert `{}`", alert.id));
    texts
}

fn context(texts: &[String]) -> Value {
    let element = |text: &String| json!({"type": "mrkdwn", "text": text, "verbatim": true});
    json!({"type": "context", "elements": texts.iter().map(element).collect::<Vec<_>>()})
}

fn mrkdwn(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

fn plain(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "plain_text", "text": text, "emoji": false}})
}

fn sentence(text: &str) -> String {
    escaped(&visible(text), SENTENCE_MAX)
}

/// Our words as they are, their values as code.
fn phrase(phrase: &Phrase) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Ours(text) => escaped(text, SENTENCE_MAX),
        Piece::Theirs(text) => code(text, VALUE_MAX),
    };
    phrase.0.iter().map(piece).collect()
}

/// A code span around a value.
fn code(text: &str, max: usize) -> String {
    match unticked(text, max) {
        text if text.is_empty() => "(empty)".to_owned(),
        text => format!("`{text}`"),
    }
}

/// Text that cannot end the code that it stands in.
fn unticked(text: &str, max: usize) -> String {
    escaped(&visible(text).replace('`', "ˋ"), max)
}

/// At most `max` characters as Slack counts them, with the three that Slack reads escaped.
fn escaped(text: &str, max: usize) -> String {
    let cost = |c: char| escape(c).map_or(c.len_utf16(), str::len);
    let mut out = String::new();
    for c in cut_middle_by(text, max, cost).chars() {
        match escape(c) {
            Some(entity) => out.push_str(entity),
            None => out.push(c),
        }
    }
    out
}

const fn escape(c: char) -> Option<&'static str> {
    match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
