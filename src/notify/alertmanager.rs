//! Alertmanager's API v2: alerts are posted when they fire, again before they expire, and when
//! they are over. Alertmanager routes and tells them.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{BuildError, Failure, Preview, http::Endpoint};
use crate::{
    alert::{
        Alert, Change, Status,
        brief::Brief,
        dispatch::{Labels, Notification},
        to_visible,
    },
    units::{Secret, Span, Time},
};

/// How often alerts that go on are posted again.
pub const RESEND: Span = Span::from_secs(5 * 60);
/// How long an alert stands in Alertmanager unless it is posted again: two may get lost.
const EXPIRES_AFTER: Span = Span::from_secs(16 * 60);
/// The longest description.
const DESCRIPTION_MAX: usize = 4_000;

/// One Alertmanager, or all of a cluster: each gets everything, they agree among themselves.
#[derive(Clone, Debug)]
pub struct Alertmanager(Vec<Endpoint>);

impl Alertmanager {
    /// By the addresses of their web interfaces.
    ///
    /// # Errors
    /// When a URL cannot be used.
    pub fn new(client: &reqwest::Client, urls: &[Secret]) -> Result<Self, BuildError> {
        let api = |url: &Secret| {
            let base = url.expose().trim_end_matches('/');
            Endpoint::new(client, Secret::new(&format!("{base}/api/v2/alerts")))
        };
        urls.iter().map(api).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn preview(&self, told: &Notification) -> Vec<Preview> {
        let body = body(told);
        let each = self.0.iter();
        each.map(|endpoint| endpoint.preview(&body, &[])).collect()
    }

    /// Succeeds when one of them has it; the first failure tells why none has.
    pub(super) async fn deliver(&self, told: &Notification) -> Result<String, Failure> {
        let body = body(told);
        let mut outcome: Option<Result<String, Failure>> = None;
        for endpoint in &self.0 {
            let answer = match endpoint.post(body.clone(), HeaderMap::new()).await {
                Ok(answer) => answer.verdict(),
                Err(failure) => Err(failure),
            };
            if !matches!(outcome, Some(Ok(_))) && (answer.is_ok() || outcome.is_none()) {
                outcome = Some(answer);
            }
        }
        outcome.unwrap_or(Ok(String::new()))
    }
}

fn body(told: &Notification) -> String {
    let now = Time::from_micros(chrono::Utc::now().timestamp_micros());
    let alerts: Vec<Value> = told.alerts.iter().map(|alert| posted(alert, now)).collect();
    // Labels stand for themselves, so what acts on a terminal is escaped and not spelled out.
    to_visible(&alerts)
}

/// An alert as Alertmanager takes it.
fn posted(alert: &std::sync::Arc<Alert>, now: Time) -> Value {
    let ends_at = match alert.status {
        Status::Firing => now.plus(EXPIRES_AFTER),
        // In the future it would still fire, and before its start it would be refused.
        Status::Resolved => alert.ends_at.unwrap_or(now).min(now).max(alert.starts_at),
    };
    let labels = Labels::identifying(alert);
    let labels: serde_json::Map<String, Value> = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .chain([("source".to_owned(), "auditwatch".into())])
        .collect();
    let change = Change::Updated(std::sync::Arc::clone(alert));
    let brief = Brief::of(&Notification::single(&"".into(), &change, 0));
    let link = brief.reading().map(|(_, link)| link).next();
    json!({
        "labels": labels,
        "annotations": {
            "summary": alert.rule.title,
            "description": brief.text(DESCRIPTION_MAX),
            "why": alert.why,
            "requests": alert.count.to_string(),
            "alert_id": alert.id,
            "runbook_url": link.unwrap_or_default(),
        },
        "startsAt": alert.starts_at.to_string(),
        "endsAt": ends_at.to_string(),
        "generatorURL": link.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests;
