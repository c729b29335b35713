//! Microsoft Teams by a workflow's webhook: an Adaptive Card. Its text stands in text runs, in
//! which Teams reads no formatting, no links and no mentions.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{BuildError, Failure, Preview, Templates, http::Endpoint, template::Texts};
use crate::{
    alert::{
        Status,
        brief::{Brief, Section, cut_lines, mark},
        cut_middle,
        dispatch::Notification,
    },
    rule::Severity,
    units::Secret,
};

/// Teams refuses messages above about 28 KB.
const BYTES_MAX: usize = 24_000;
/// The longest line; halved until the card fits.
const LINE_MAX: usize = 1_000;
const TITLE_MAX: usize = 300;

/// A Teams channel, by the address that its workflow gave.
#[derive(Clone, Debug)]
pub struct Teams {
    endpoint: Endpoint,
    templates: Templates,
}

impl Teams {
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
        self.endpoint.preview(&message(told, &self.templates), &[])
    }

    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        self.endpoint
            .post(message(told, &self.templates), HeaderMap::new())
            .await?
            .verdict()
    }
}

/// The message, with lines as long as fit.
fn message(told: &Notification, templates: &Templates) -> String {
    let texts = templates.render(told);
    let mut line_max = LINE_MAX;
    loop {
        let text = card(told, &texts, line_max).to_string();
        if text.len() <= BYTES_MAX || line_max < 40 {
            return text;
        }
        line_max /= 2;
    }
}

fn card(told: &Notification, texts: &Texts, line_max: usize) -> Value {
    let brief = Brief::of(told);
    let ours = || {
        let sign = mark(told.severity(), told.status());
        format!("{sign} {}", brief.headline.plain())
    };
    let title = texts.title.clone().unwrap_or_else(ours);
    let color = match (told.status(), told.severity()) {
        (Status::Resolved, _) => "Good",
        (_, Severity::High | Severity::Critical) => "Attention",
        (_, Severity::Medium) => "Warning",
        _ => "Accent",
    };
    let mut title = run(&cut_middle(&title, TITLE_MAX.min(line_max)));
    title["weight"] = "Bolder".into();
    title["size"] = "Medium".into();
    title["color"] = color.into();
    let mut body = vec![paragraph(&[title])];
    match &texts.body {
        Some(text) => body.push(paragraph(&[run(&cut_lines(text, line_max * 10))])),
        None => body.extend(
            brief
                .sections
                .iter()
                .map(|section| shown(section, line_max)),
        ),
    }
    let action = |(title, url)| json!({"type": "Action.OpenUrl", "title": title, "url": url});
    let actions: Vec<Value> = brief.reading().map(action).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": {"width": "Full"},
                "body": body,
                "actions": actions,
            },
        }],
    })
}

fn shown(section: &Section, line_max: usize) -> Value {
    let mut runs = Vec::new();
    if !section.name.is_empty() {
        let mut name = run(&format!("{}: ", section.name));
        name["weight"] = "Bolder".into();
        runs.push(name);
    }
    let lines = section.lines.iter();
    let lines: Vec<String> = lines.map(|line| line.fitting(line_max)).collect();
    let lead = if lines.len() > 1 { "\n" } else { "" };
    let mut text = run(&format!("{lead}{}", lines.join("\n")));
    if section.is_code {
        text["fontType"] = "Monospace".into();
    }
    runs.push(text);
    paragraph(&runs)
}

fn paragraph(runs: &[Value]) -> Value {
    json!({"type": "RichTextBlock", "inlines": runs, "spacing": "Small"})
}

fn run(text: &str) -> Value {
    json!({"type": "TextRun", "text": text})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        alert::{Change, samples},
        notify::tests::{Server, answer, hostile, test_client},
    };

    fn texts(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                found.extend(
                    object
                        .get("text")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                );
                object.values().for_each(|value| texts(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| texts(value, found)),
            _ => {}
        }
    }

    #[tokio::test]
    async fn a_card_reads_well() {
        let server = Server::start(vec![answer(202, "")]).await;
        let teams = Teams::new(&test_client(), server.url()).unwrap();
        let told = Notification::single(&"r".into(), &Change::Fired(samples::burst(9)), 0);
        teams.deliver(&told).await.unwrap();
        let body: Value = serde_json::from_str(&server.requests()[0].1).unwrap();
        let mut found = Vec::new();
        texts(&body, &mut found);
        let text = found.concat();
        assert!(text.starts_with("🔴 HIGH: Many requests refused to one principal: system:serviceaccount:shop:web (service account)Who: system"), "{text}");
        assert!(
            text.contains(
                "Why: 9 requests refused within 1m (threshold 3)Seen: \n11:05:00.000 403 get "
            ),
            "{text}"
        );
        let blocks = body["attachments"][0]["content"]["body"]
            .as_array()
            .unwrap();
        assert!(
            blocks.iter().all(|block| block["type"] == "RichTextBlock"),
            "nothing that Teams reads formatting in"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_alert_fits(value in prop_oneof![any::<String>(), "[\u{1b}<at>&\"\n😀*_]{900}"]) {
            let text = message(&hostile(&value), &Templates::default());
            prop_assert!(text.len() <= BYTES_MAX, "{}", text.len());
            let mut found = Vec::new();
            texts(&serde_json::from_str(&text).unwrap(), &mut found);
            let acts = |c: char| c != '\n' && crate::alert::is_hidden(c);
            prop_assert!(!found.iter().any(|text| text.chars().any(acts)));
        }
    }
}
