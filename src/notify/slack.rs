//! Slack incoming webhooks: an alert, or many, as Block Kit.
//!
//! Slack refuses a message as a whole when one text is too long, and reads links, mentions and
//! formatting out of text. So every value has a length that keeps the sum of all below every
//! limit, values stand in code spans in which nothing is formatted, `&`, `<` and `>` are always
//! escaped, and `verbatim` keeps Slack from making links of what looks like one.

use std::fmt::Write as _;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{BuildError, Failure, Preview, Templates, http::Endpoint};
use crate::{
    alert::{
        Alert, Status,
        brief::{self, Brief, Section, cut_lines, mark},
        cut_middle_by,
        dispatch::{Notification, Reason},
        telling, visible,
        words::{self, Phrase, Piece},
    },
    rule::is_plain_link,
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
const EVIDENCE_MAX: usize = 3;
/// A command; one that is longer was replaced by a note before.
const COMMAND_MAX: usize = 560;
const LINK_MAX: usize = 300;
const LINKS_MAX: usize = 3;
/// One alert in a list of many; ten of them stay below the 3,000 of a section.
const LINE_MAX: usize = 250;
/// What phones show of the message.
const PREVIEW_MAX: usize = 300;

/// A Slack channel, by its incoming webhook.
#[derive(Clone, Debug)]
pub struct Slack {
    endpoint: Endpoint,
    templates: Templates,
}

impl Slack {
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(client: &reqwest::Client, url: Secret) -> Result<Self, BuildError> {
        Ok(Self {
            endpoint: Endpoint::new(client, url)?,
            templates: Templates::default(),
        })
    }

    /// In these words where there are some.
    #[must_use]
    pub fn worded(mut self, templates: Templates) -> Self {
        self.templates = templates;
        self
    }

    pub(super) fn preview(&self, told: &Notification) -> Preview {
        self.endpoint
            .preview(&payload(told, &self.templates).to_string(), &[])
    }

    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let answer = self
            .endpoint
            .post(payload(told, &self.templates).to_string(), HeaderMap::new())
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
            let failure = Failure::permanent(
                super::Reason::ClientError,
                "Slack has no such webhook (no_service)",
                "was it revoked? make a new one and give its URL",
            );
            return Err(failure.answered(answer.shown));
        }
        answer.verdict().map_err(|failure| Failure {
            what: format!("{}{told}", failure.what),
            ..failure
        })?;
        if word == "ok" {
            return Ok(answer.shown);
        }
        let failure = Failure::permanent(
            super::Reason::ClientError,
            format!("it answered {} but not `ok`{told}", answer.status.as_u16()),
            "is this the URL of a Slack incoming webhook, and no proxy's own page in between?",
        );
        Err(failure.answered(answer.shown))
    }
}

/// The message as Slack wants it.
pub(super) fn payload(told: &Notification, templates: &Templates) -> Value {
    let texts = templates.render(told);
    let (headline, preview) = match texts.title {
        Some(title) => (title.clone(), escaped(&title, PREVIEW_MAX)),
        None => (headline(told), preview(told)),
    };
    let mut blocks = vec![header(&headline)];
    if told.missed > 0 {
        let missed = told.missed;
        let (alerts, were) = if missed == 1 {
            ("alert", "was")
        } else {
            ("alerts", "were")
        };
        let text = format!("⚠ {missed} {alerts} {were} dropped before this one");
        blocks.push(context(&[text]));
    }
    match texts.body {
        Some(body) => {
            blocks.push(mrkdwn(&section(body)));
            blocks.extend(told.first().map(|alert| context(&names(alert))));
        }
        None => blocks.extend(own_words(told)),
    }
    json!({
        "text": preview,
        "mrkdwn": false,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": blocks,
    })
}

/// Text of a template that fits into a section: lines in its middle go, and code that lost its end
/// gets one.
fn section(text: String) -> String {
    const MAX: usize = 3_000;
    let mut max = MAX - 4;
    let mut text = text;
    while text.encode_utf16().count() > MAX - 4 {
        text = cut_lines(&text, max);
        max = max * 3 / 4;
    }
    if text.matches("```").count() % 2 == 1 {
        text.push_str("\n```");
    }
    text
}

/// What there is below the headline unless a template says it.
fn own_words(told: &Notification) -> Vec<Value> {
    let mut blocks = Vec::new();
    let is_one = told.total() <= 1;
    if !is_one {
        blocks.extend(overview(told));
    }
    if let Some(alert) = told.first() {
        let is_new = !matches!(
            told.reason,
            Reason::Updated | Reason::Repeat | Reason::Resolved
        );
        if is_new && !alert.summary.is_empty() {
            blocks.push(plain(&sentence(&alert.summary)));
        }
        if let Some(ack) = told.acked.get(&alert.id) {
            let (by, at) = (code(&ack.by, VALUE_MAX), words::between(ack.at, ack.at));
            let comment = match &*ack.comment {
                "" => String::new(),
                comment => format!(": {}", code(comment, VALUE_MAX)),
            };
            blocks.push(mrkdwn(&format!("*Acknowledged* by {by} at {at}{comment}")));
        }
        blocks.push(fields(alert));
        if alert.status == Status::Firing && !alert.why.is_empty() {
            blocks.push(plain(&format!("Why: {}", sentence(&alert.why))));
        }
        if is_new {
            blocks.push(mrkdwn(&evidence(alert)));
            // A message about many is long enough without.
            let commands = Brief::of(told).sections;
            let commands = commands.iter().filter(|_| is_one);
            blocks.extend(commands.filter_map(self::commands));
        }
        if let Some(runbook) = &alert.rule.runbook {
            // No button: Slack puts a warning beside a button that no server answers for.
            blocks.push(mrkdwn(&format!(
                "📖 *<{}|Runbook>*",
                escaped(runbook, LINK_MAX)
            )));
        }
        blocks.push(context(&names(alert)));
    }
    blocks
}

/// How many there are, who acts, and a line for each that is shown. In plain text nothing is read
/// as formatting.
fn overview(told: &Notification) -> Vec<Value> {
    let sections = Brief::of(told).sections;
    let end = sections
        .iter()
        .position(|section| section.name == "First of them");
    let shown = sections
        .iter()
        .take(end.unwrap_or(0))
        .filter(|section| section.name != "Missed");
    let text = |section: &Section| {
        let lines = section
            .lines
            .iter()
            .map(|line| escaped(&line.plain(), LINE_MAX));
        let lines: Vec<String> = lines.collect();
        plain(&format!("{}: {}", section.name, lines.join("\n")))
    };
    let mut blocks: Vec<Value> = shown.map(text).collect();
    blocks.push(json!({"type": "divider"}));
    blocks
}

/// `🔴 HIGH: Many requests refused to one principal`
fn headline(told: &Notification) -> String {
    let sign = mark(told.severity(), told.status());
    let level = told.severity().name().to_uppercase();
    let Some(alert) = told.first().filter(|_| told.total() <= 1) else {
        return format!("{sign} {}", Brief::of(told).headline.plain());
    };
    let title = &alert.rule.title;
    match (alert.status, told.reason) {
        (Status::Resolved, _) if alert.evicted => format!("💤 {level}, not watched: {title}"),
        (Status::Resolved, _) => format!("{sign} {level}, over: {title}"),
        (_, Reason::Updated | Reason::Repeat) => format!("{sign} {level}, goes on: {title}"),
        _ => format!("{sign} {level}: {title}"),
    }
}

fn header(headline: &str) -> Value {
    let text = escaped(&visible(headline), HEADER_MAX);
    json!({"type": "header", "text": {"type": "plain_text", "text": text, "emoji": false}})
}

fn preview(told: &Notification) -> String {
    let headline = headline(told);
    let text = match told.first().filter(|_| told.total() <= 1) {
        Some(alert) => format!("{}: {}", visible(&headline), words::who(alert).plain()),
        None => visible(&headline).into_owned(),
    };
    escaped(&text, PREVIEW_MAX)
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

/// Commands in a block that can be copied from, with what they do.
fn commands(section: &Section) -> Option<Value> {
    let title = match section.name {
        brief::LOOK => "*Look*",
        brief::CONTAIN => "*Contain* ⚠ changes the cluster",
        brief::KNOWN => "*If it is known*",
        _ => return None,
    };
    let lines = section.lines.iter();
    let lines: Vec<String> = lines
        .map(|line| match unticked(&line.plain(), COMMAND_MAX) {
            // Half a command could do something else than the whole.
            cut if cut.contains('…') => "# too long; see auditwatch alerts show".to_owned(),
            whole => whole,
        })
        .collect();
    Some(mrkdwn(&format!("{title}\n```{}```", lines.join("\n"))))
}

/// Links, and the names by which the alert and its rule are found again.
fn names(alert: &Alert) -> Vec<String> {
    let references = alert.rule.references.iter();
    let usable = references.filter(|link| is_plain_link(link) && !link.contains('&'));
    let links = usable.take(LINKS_MAX);
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
        Piece::Theirs(text) | Piece::Command(text) => code(text, VALUE_MAX),
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
