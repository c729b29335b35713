//! What each path of the admin endpoint answers.

use axum::{
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};

use super::Shown;
use crate::report::blind_json;

const INDEX: &str = "\
auditwatch

/metrics                    Prometheus metrics
/livez                      200 while the process can go on
/readyz                     200 when every part works; else 503 and which part does not, and why
/api/v1/alerts?level=high   open alerts as JSON, most urgent first; also by state=, filter=, limit=
/api/v1/history?since=24h   alerts that are over as JSON, the latest first; also level=, limit=
/api/v1/silences            silences as JSON, in Alertmanager's form
/api/v1/rules/blind         rules that cannot see what they ask about, as JSON; null in the first minutes
";

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
const METRICS: [(header::HeaderName, &str); 1] = [(
    header::CONTENT_TYPE,
    "text/plain; version=0.0.4; charset=utf-8",
)];

pub(super) async fn index() -> &'static str {
    INDEX
}

pub(super) async fn nothing(uri: Uri) -> Response {
    let told = format!("there is no {}; / lists what there is\n", uri.path());
    (StatusCode::NOT_FOUND, told).into_response()
}

pub(super) async fn metrics(State(shown): State<Shown>) -> Response {
    match shown.metrics.render() {
        Ok(text) => (METRICS, text).into_response(),
        Err(error) => {
            let told = format!("cannot print the metrics: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, told).into_response()
        }
    }
}

pub(super) async fn livez(State(shown): State<Shown>) -> Response {
    match shown.health.failure() {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response(),
    }
}

pub(super) async fn readyz(State(shown): State<Shown>) -> Response {
    let (is_ready, mut told) = shown.health.readiness();
    if let Some(why) = shown.health.failure() {
        told = format!("{told}[-] the process: {why}\n");
    }
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, told).into_response()
}

/// The rules that are blind as a JSON array; null while that is not known.
pub(super) async fn blind(State(shown): State<Shown>) -> Response {
    let Some(sight) = (shown.sight)() else {
        return (JSON, "null\n".to_owned()).into_response();
    };
    let lines: Vec<String> = sight
        .blind
        .iter()
        .map(|blind| blind_json(blind).to_string())
        .collect();
    (JSON, format!("[{}]\n", lines.join(",\n"))).into_response()
}
