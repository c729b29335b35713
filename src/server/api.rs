//! What the API answers: alerts and silences, to look at and to change.

use axum::{
    Extension,
    extract::{Path, Query, State, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Shown, wire};
use crate::{
    alert::{
        dispatch::{Matchers, Silence, Standing},
        with_standing,
    },
    pipeline::{Asked, Refusal, Reply, Wish},
    rule::Severity,
    store::History,
    units::{Span, Time},
};

/// How many alerts one answer holds at most.
const ALERTS_MAX: usize = 1_000;

const JSON: [(header::HeaderName, HeaderValue); 1] = [(
    header::CONTENT_TYPE,
    HeaderValue::from_static("application/json"),
)];

/// Who is on the other end; for the log.
#[derive(Clone, Debug)]
pub(super) struct Peer(pub(super) String);

type Answer = Result<Response, Told>;

/// What is answered when something cannot be done.
pub(super) struct Told(StatusCode, String);

impl IntoResponse for Told {
    fn into_response(self) -> Response {
        let body = json!({"error": self.1});
        (self.0, JSON, format!("{body}\n")).into_response()
    }
}

type Body<T> = Result<axum::Json<T>, JsonRejection>;

fn told(status: StatusCode, error: impl std::fmt::Display) -> Told {
    Told(status, error.to_string())
}

fn wrong(error: impl std::fmt::Display) -> Told {
    told(StatusCode::BAD_REQUEST, error)
}

fn answer(body: &Value) -> Response {
    (JSON, format!("{body}\n")).into_response()
}

async fn ask(shown: &Shown, wish: Wish) -> Result<Reply, Told> {
    (shown.ask)(wish).await.map_err(refused)
}

fn refused(refusal: Refusal) -> Told {
    let status = match refusal {
        Refusal::Unknown => StatusCode::NOT_FOUND,
        Refusal::Full | Refusal::Expired => StatusCode::CONFLICT,
        Refusal::Busy | Refusal::Stopping => StatusCode::SERVICE_UNAVAILABLE,
    };
    told(status, refusal)
}

fn body<T>(body: Body<T>) -> Result<T, Told> {
    match body {
        Ok(axum::Json(body)) => Ok(body),
        Err(rejection) => Err(told(rejection.status(), rejection.body_text())),
    }
}

/// The open alerts as a JSON array of the contract's objects.
pub(super) async fn alerts(
    State(shown): State<Shown>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Answer {
    let asked = wanted(&asked).map_err(wrong)?;
    let Reply::Alerts(alerts) = ask(&shown, Wish::Alerts(asked)).await? else {
        return Ok(answer(&json!([])));
    };
    let lines: Vec<String> = alerts
        .iter()
        .map(|(alert, standing)| with_standing(alert, standing))
        .collect();
    Ok((JSON, format!("[{}]\n", lines.join(",\n"))).into_response())
}

/// One alert.
pub(super) async fn alert(State(shown): State<Shown>, Path(id): Path<String>) -> Answer {
    let found = match (shown.ask)(Wish::Alert(id.as_str().into())).await {
        Ok(Reply::Alerts(alerts)) => alerts
            .first()
            .map(|(alert, standing)| with_standing(alert, standing)),
        Ok(_) => None,
        Err(Refusal::Unknown) => {
            let found = past(&shown, move |history| history.find(&id)).await?;
            found.flatten()
        }
        Err(refusal) => return Err(refused(refusal)),
    };
    let found = found.ok_or_else(|| refused(Refusal::Unknown))?;
    Ok((JSON, found + "\n").into_response())
}

/// Alerts that are over, the latest first.
pub(super) async fn history(
    State(shown): State<Shown>,
    Query(asked): Query<Vec<(String, String)>>,
) -> Answer {
    let mut since = Time::MIN;
    let mut rest = Vec::new();
    for (key, value) in asked {
        if key == "since" {
            let span = Span::parse(&value).map_err(|told| wrong(format!("`since`: {told}")))?;
            since = (shown.clock)().minus(span);
        } else if key == "level" || key == "limit" {
            rest.push((key, value));
        } else {
            return Err(wrong("only `since`, `level` and `limit` can be asked for"));
        }
    }
    let Asked {
        level_min, limit, ..
    } = wanted(&rest).map_err(wrong)?;
    let lines = past(&shown, move |history| {
        history.list(since, level_min as u8, limit)
    });
    let lines = lines.await?.unwrap_or_default();
    Ok((JSON, format!("[{}]\n", lines.join(",\n"))).into_response())
}

/// Reads the history, where there is one, beside the threads that must not wait.
async fn past<T: Send + 'static>(
    shown: &Shown,
    read: impl FnOnce(History) -> Result<T, String> + Send + 'static,
) -> Result<Option<T>, Told> {
    let Some(dir) = shown.history.clone() else {
        return Ok(None);
    };
    let read = spawn_blocking(move || History::open(&dir).and_then(read)).await;
    let read = read.map_err(|error| error.to_string()).flatten();
    read.map(Some)
        .map_err(|error| told(StatusCode::SERVICE_UNAVAILABLE, error))
}

/// Somebody takes care of an alert.
pub(super) async fn ack(
    State(shown): State<Shown>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(id): Path<String>,
    given: Body<wire::AckBody>,
) -> Answer {
    let ack = body(given)?.read((shown.clock)()).map_err(wrong)?;
    let by = ack.by.clone();
    ask(&shown, Wish::Ack(id.as_str().into(), ack)).await?;
    tracing::info!(peer, %by, alert = id, "an alert was acknowledged");
    Ok(answer(&json!({"id": id, "acked": {"by": by}})))
}

/// An alert is over.
pub(super) async fn resolve(
    State(shown): State<Shown>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(id): Path<String>,
    given: Body<wire::ResolveBody>,
) -> Answer {
    let by = wire::said("author", &body(given)?.author).map_err(wrong)?;
    ask(&shown, Wish::Resolve(id.as_str().into())).await?;
    tracing::info!(peer, %by, alert = id, "an alert was resolved by hand");
    Ok(answer(&json!({"id": id, "status": "resolved"})))
}

/// All silences.
pub(super) async fn silences(State(shown): State<Shown>) -> Answer {
    let Reply::Silences(silences) = ask(&shown, Wish::Silences).await? else {
        return Ok(answer(&json!([])));
    };
    let all = silences.iter();
    let all: Vec<Value> = all
        .map(|(silence, phase)| wire::silence(silence, *phase))
        .collect();
    Ok(answer(&json!(all)))
}

/// A new silence, or another version of one.
pub(super) async fn silence(
    State(shown): State<Shown>,
    Extension(Peer(peer)): Extension<Peer>,
    given: Body<wire::SilenceBody>,
) -> Answer {
    let silence = body(given)?.read((shown.clock)(), new_id).map_err(wrong)?;
    let Silence {
        id,
        matchers,
        ends_at,
        created_by,
        comment,
        ..
    } = silence.clone();
    ask(&shown, Wish::Silence(silence)).await?;
    tracing::info!(peer, by = %created_by, silence = %id, %matchers, until = %ends_at, %comment, "a silence was made");
    Ok(answer(&json!({"silenceID": id})))
}

/// A silence ends now.
pub(super) async fn expire(
    State(shown): State<Shown>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(id): Path<String>,
) -> Answer {
    ask(&shown, Wish::Expire(id.as_str().into())).await?;
    tracing::info!(peer, silence = id, "a silence was ended");
    Ok(answer(&json!({})))
}

/// What a change is answered that does not come through the local socket.
pub(super) async fn only_local() -> Answer {
    let why = "nothing can be changed over the network; use the socket admin.sock in the directory \
               of the state, as `auditwatch silence` and `auditwatch alerts` do";
    Err(told(StatusCode::FORBIDDEN, why))
}

/// An id like Alertmanager's.
fn new_id() -> String {
    let mut bytes = [0; 16];
    // Without random numbers of its own no TLS would work either; ids are told apart by the store.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// Which alerts a query asks for.
fn wanted(asked: &[(String, String)]) -> Result<Asked, String> {
    let mut wanted = Asked {
        matchers: Matchers::default(),
        level_min: Severity::Informational,
        states: Vec::new(),
        limit: ALERTS_MAX,
    };
    for (key, value) in asked {
        match key.as_str() {
            "level" => {
                wanted.level_min = Severity::parse(value).ok_or_else(|| {
                    let words = Severity::ALL.map(Severity::name).join(", ");
                    format!("`level` must be one of {words}")
                })?;
            }
            "limit" => {
                wanted.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=ALERTS_MAX).contains(limit))
                    .ok_or_else(|| format!("`limit` must be between 1 and {ALERTS_MAX}"))?;
            }
            "filter" => wanted.matchers.and(Matchers::parse(value)?),
            "state" => {
                let known = Standing::STATES.into_iter().find(|state| state == value);
                wanted.states.push(known.ok_or_else(|| {
                    format!("`state` must be one of {}", Standing::STATES.join(", "))
                })?);
            }
            _ => {
                return Err(
                    "only `level`, `limit`, `filter` and `state` can be asked for".to_owned(),
                );
            }
        }
    }
    Ok(wanted)
}
