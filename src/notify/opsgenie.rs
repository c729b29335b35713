//! Opsgenie, and Jira Service Management's operations, which took its API over: one alert for each
//! group, made, noted on and closed by its alias.
//!
//! Opsgenie itself is no longer sold and ends in April 2027; with the URL of Jira Service
//! Management and a key of an integration there, this goes on to work.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

use super::{BuildError, Failure, Preview, Templates, http::Endpoint};
use crate::{
    alert::{
        Status,
        brief::{Brief, cut_lines},
        cut_middle,
        dispatch::{Notification, Reason},
    },
    rule::Severity,
    units::Secret,
};

/// Where alerts go unless the configuration says otherwise.
pub const URL: &str = "https://api.opsgenie.com/v2/alerts";
/// The API's limits.
const MESSAGE_MAX: usize = 130;
const DESCRIPTION_MAX: usize = 15_000;
const VALUE_MAX: usize = 512;

/// An Opsgenie integration, by its key.
#[derive(Clone, Debug)]
pub struct Opsgenie {
    client: reqwest::Client,
    url: Secret,
    key: Secret,
    templates: Templates,
}

impl Opsgenie {
    /// # Errors
    /// When the URL or the key cannot be used.
    pub fn new(client: &reqwest::Client, url: Secret, key: Secret) -> Result<Self, BuildError> {
        Endpoint::new(client, url.clone())?;
        if HeaderValue::from_str(key.expose()).is_err() {
            return Err(BuildError::Url(
                "the key has characters that no key has".into(),
            ));
        }
        Ok(Self {
            client: client.clone(),
            url,
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
        let (url, body) = self.request(told);
        Preview {
            to: format!("POST {url}\nauthorization: GenieKey [secret]"),
            body: body.to_string(),
        }
    }

    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let mut headers = HeaderMap::new();
        if let Ok(mut value) = HeaderValue::from_str(&format!("GenieKey {}", self.key.expose())) {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let (url, body) = self.request(told);
        let endpoint = Endpoint::new(&self.client, Secret::new(&url));
        let endpoint = endpoint.map_err(|error| {
            Failure::permanent(
                super::Reason::ClientError,
                error.to_string(),
                "correct the URL",
            )
        })?;
        let endpoint = endpoint.hiding(&self.key);
        endpoint.post(body.to_string(), headers).await?.verdict()
    }

    /// Where it goes, and what.
    fn request(&self, told: &Notification) -> (String, Value) {
        let base = self.url.expose().trim_end_matches('/');
        let alias = &told.group_key;
        match told.status() {
            Status::Firing => (base.to_owned(), alert(told, &self.templates)),
            Status::Resolved => (
                format!("{base}/{alias}/close?identifierType=alias"),
                note(told),
            ),
        }
    }
}

fn alert(told: &Notification, templates: &Templates) -> Value {
    let brief = Brief::of(told);
    let texts = templates.render(told);
    let title = texts.title.unwrap_or_else(|| brief.headline.plain());
    let body = texts.body.map(|body| cut_lines(&body, DESCRIPTION_MAX));
    let priority = match told.severity() {
        Severity::Critical => "P1",
        Severity::High => "P2",
        Severity::Medium => "P3",
        Severity::Low => "P4",
        Severity::Informational => "P5",
    };
    let first = told.first();
    let details: Map<String, Value> = told
        .group
        .iter()
        .map(|(name, value)| {
            (
                name.to_owned(),
                cut_middle(&crate::alert::visible(value), VALUE_MAX).into(),
            )
        })
        .collect();
    json!({
        "message": cut_middle(&title, MESSAGE_MAX),
        "alias": told.group_key,
        "description": body.unwrap_or_else(|| brief.text(DESCRIPTION_MAX)),
        "details": details,
        "entity": first.map_or(String::new(), |alert| cut_middle(&crate::alert::visible(&alert.cluster), VALUE_MAX)),
        "tags": first.map_or(Vec::new(), |alert| alert.rule.tags.iter().take(20).map(|tag| cut_middle(tag, 50)).collect()),
        "source": "auditwatch",
        "priority": priority,
        // What is the same alert in Opsgenie's eyes is only counted; the note says what is new.
        "note": (told.reason != Reason::First).then(|| cut_middle(&title, 1_000)),
    })
}

fn note(told: &Notification) -> Value {
    json!({"source": "auditwatch", "note": Brief::of(told).headline.plain()})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        alert::samples,
        notify::tests::{Server, answer, hostile, test_client},
    };

    #[tokio::test]
    async fn makes_and_closes_by_alias() {
        let server = Server::start(vec![answer(202, "")]).await;
        let ops =
            Opsgenie::new(&test_client(), server.url(), Secret::new("very-secret-key")).unwrap();
        for change in samples::burst_changes() {
            ops.deliver(&Notification::single(&"r".into(), &change, 0))
                .await
                .unwrap();
        }
        let requests = server.requests();
        let bodies: Vec<Value> = requests
            .iter()
            .map(|(_, body)| serde_json::from_str(body).unwrap())
            .collect();
        assert_eq!(requests[0].0["authorization"], "GenieKey very-secret-key");
        assert_eq!(
            bodies[0]["message"],
            "HIGH: Many requests refused to one principal: system:serviceaccount:shop:web (service account)"
        );
        assert_eq!(
            (&bodies[0]["priority"], &bodies[0]["alias"]),
            (&json!("P2"), &bodies[1]["alias"])
        );
        assert_eq!(
            bodies[2]["note"],
            "HIGH, over: Many requests refused to one principal: system:serviceaccount:shop:web (service account)"
        );
        let paths = server.paths();
        assert!(
            paths[2].ends_with("/close?identifierType=alias")
                && paths[2].contains(bodies[0]["alias"].as_str().unwrap()),
            "{paths:?}"
        );
        assert!(!format!("{ops:?}").contains("very-secret"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_alert_fits(value in prop_oneof![any::<String>(), "[\u{1b}<&\"\n😀]{900}"]) {
            let alert = alert(&hostile(&value), &Templates::default());
            let count = |key: &str| alert[key].as_str().unwrap().chars().count();
            prop_assert!((1..=MESSAGE_MAX).contains(&count("message")));
            prop_assert!(count("description") <= DESCRIPTION_MAX && count("entity") <= VALUE_MAX);
            prop_assert!(!alert["message"].as_str().unwrap().chars().any(crate::alert::is_hidden));
        }
    }
}
