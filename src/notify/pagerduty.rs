//! PagerDuty's Events API v2: an incident for each group, triggered, updated and resolved.

use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::{BuildError, Failure, Preview, Templates, http::Endpoint};
use crate::{
    alert::{
        Status,
        brief::{Brief, cut_lines},
        cut_middle,
        dispatch::Notification,
        words::Phrase,
    },
    rule::Severity,
    units::Secret,
};

/// Where events go unless the configuration says otherwise (the EU has another one).
pub const URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// PagerDuty's limit for a summary.
const SUMMARY_MAX: usize = 1_024;
/// One answer in the details. PagerDuty refuses events above 512 KB.
const DETAIL_MAX: usize = 4_000;
/// All of a template's text.
const BODY_MAX: usize = 20_000;

/// A PagerDuty service, by its integration's key.
#[derive(Clone, Debug)]
pub struct PagerDuty {
    endpoint: Endpoint,
    key: Secret,
    templates: Templates,
}

impl PagerDuty {
    /// # Errors
    /// When the URL cannot be used.
    pub fn new(client: &reqwest::Client, url: Secret, key: Secret) -> Result<Self, BuildError> {
        let endpoint = Endpoint::new(client, url)?.hiding(&key);
        Ok(Self {
            endpoint,
            key,
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
            .preview(&event(told, &self.key, &self.templates).to_string(), &[])
    }

    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let event = event(told, &self.key, &self.templates).to_string();
        self.endpoint.post(event, HeaderMap::new()).await?.verdict()
    }
}

fn event(told: &Notification, key: &Secret, templates: &Templates) -> Value {
    // The group's key is 32 hex digits; PagerDuty folds what has the same one into one incident.
    let mut event = json!({
        "routing_key": key.expose(),
        "event_action": "resolve",
        "dedup_key": told.group_key,
    });
    if told.status() == Status::Resolved {
        return event;
    }
    let brief = Brief::of(told);
    let texts = templates.render(told);
    let title = texts.title.unwrap_or_else(|| brief.headline.plain());
    let first = told.first();
    let severity = match told.severity() {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Informational => "info",
    };
    let cluster = first.map_or("", |alert| &*alert.cluster);
    event["event_action"] = "trigger".into();
    event["payload"] = json!({
        "summary": cut_middle(&title, SUMMARY_MAX),
        "severity": severity,
        "source": if cluster.is_empty() { "auditwatch".to_owned() } else { cut_middle(cluster, 255) },
        "timestamp": told.at.to_string(),
        "component": "kube-apiserver",
        "class": first.map_or("", |alert| alert.rule.name.as_str()),
        "custom_details": match texts.body {
            Some(body) => json!({"Summary": cut_lines(&body, BODY_MAX)}),
            None => details(&brief).into(),
        },
    });
    let link = |(text, href)| json!({"href": href, "text": text});
    event["links"] = brief.reading().map(link).collect();
    event["client"] = "auditwatch".into();
    event
}

/// The answers by their questions.
fn details(brief: &Brief) -> Map<String, Value> {
    let text = |lines: &[Phrase]| {
        let lines: Vec<String> = lines.iter().map(Phrase::plain).collect();
        cut_middle(&lines.join("\n"), DETAIL_MAX)
    };
    let sections = brief.sections.iter();
    sections
        .map(|section| {
            let name = if section.name.is_empty() {
                "Summary"
            } else {
                section.name
            };
            (name.to_owned(), text(&section.lines).into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        alert::{Change, samples},
        notify::{
            Reason,
            tests::{Server, answer, test_client},
        },
    };

    fn told(change: &Change) -> Notification {
        Notification::single(&"r".into(), change, 0)
    }

    #[tokio::test]
    async fn triggers_updates_and_resolves_one_incident() {
        let server = Server::start(vec![answer(202, r#"{"status":"success"}"#)]).await;
        let pager =
            PagerDuty::new(&test_client(), server.url(), Secret::new("very-secret-key")).unwrap();
        for change in samples::burst_changes() {
            pager.deliver(&told(&change)).await.unwrap();
        }
        let bodies: Vec<Value> = server
            .requests()
            .iter()
            .map(|(_, body)| serde_json::from_str(body).unwrap())
            .collect();
        let actions: Vec<_> = bodies
            .iter()
            .map(|body| body["event_action"].as_str().unwrap())
            .collect();
        assert_eq!(actions, ["trigger", "trigger", "resolve"]);
        assert!(
            bodies
                .iter()
                .all(|body| body["dedup_key"] == bodies[0]["dedup_key"]
                    && body["routing_key"] == "very-secret-key")
        );
        let payload = &bodies[0]["payload"];
        assert_eq!(
            payload["summary"],
            "HIGH: Many requests refused to one principal: system:serviceaccount:shop:web (service account)"
        );
        assert_eq!(
            (&payload["severity"], &payload["source"]),
            (&json!("error"), &json!("prod-eu"))
        );
        assert_eq!(
            payload["custom_details"]["Why"],
            "10 requests refused within 1m (threshold 3)"
        );
        assert_eq!(
            bodies[0]["links"][0]["href"],
            "https://attack.mitre.org/techniques/T1613/"
        );
        assert!(!format!("{pager:?}").contains("very-secret"));
    }

    #[tokio::test]
    async fn refused_for_good_or_for_now() {
        for (status, reason, permanent) in [
            (400, Reason::ClientError, true),
            (429, Reason::RateLimited, false),
            (503, Reason::ServerError, false),
        ] {
            let server = Server::start(vec![answer(status, "very-secret-key")]).await;
            let pager =
                PagerDuty::new(&test_client(), server.url(), Secret::new("very-secret-key"))
                    .unwrap();
            let failure = pager
                .deliver(&told(&Change::Fired(samples::burst(3))))
                .await
                .unwrap_err();
            assert_eq!((failure.reason, failure.permanent), (reason, permanent));
            assert!(!failure.to_string().contains("very-secret"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Whatever a caller chose, an event is within PagerDuty's limits and shows nothing raw.
        #[test]
        fn any_alert_fits(value in prop_oneof![any::<String>(), "[\u{1b}<&\"\n😀]{900}"]) {
            let told = crate::notify::tests::hostile(&value);
            let event = event(&told, &Secret::new("k"), &Templates::default());
            let summary = event["payload"]["summary"].as_str().unwrap();
            prop_assert!((1..=SUMMARY_MAX).contains(&summary.chars().count()));
            prop_assert!(event.to_string().len() < 512_000);
            prop_assert!(!summary.chars().any(crate::alert::is_hidden));
        }
    }
}
