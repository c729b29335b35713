//! The admin endpoint's socket, its routes, and whom it answers.

use std::{net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use hyper_util::service::TowerToHyperService;
use prometheus::{IntCounter, IntGauge};
use tokio_util::sync::CancellationToken;

use super::{
    answers,
    api::{self, Peer},
};
use crate::{
    detect::Sightedness,
    pipeline::{Refusal, Reply, Wish},
    source::{
        SourceError,
        webhook::{AcceptLimits, Listening, accept, bind},
    },
    telemetry::{Health, Metrics},
    units::Time,
};

/// Scrapers and probes need a handful.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the engine for something; gives its answer.
pub type Ask =
    Arc<dyn Fn(Wish) -> Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send>> + Send + Sync>;

/// What the endpoint shows.
#[derive(Clone)]
pub struct Shown {
    /// Served at `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Served at `/livez` and `/readyz`.
    pub health: Arc<Health>,
    /// Asks the engine.
    pub ask: Ask,
    /// Where the history is; nowhere when nothing is kept.
    pub history: Option<PathBuf>,
    /// The clock.
    pub clock: fn() -> Time,
    /// Gives which rules are blind; `None` until enough was read to say.
    pub sight: Arc<dyn Fn() -> Option<Arc<Sightedness>> + Send + Sync>,
}

/// The endpoint with its socket open.
pub struct Admin {
    listening: Listening,
    address: SocketAddr,
}

impl Admin {
    /// Opens the socket. Port 0 takes a free one.
    ///
    /// # Errors
    /// [`SourceError::Listen`], with what to do.
    pub async fn bind(listen: &str) -> Result<Self, SourceError> {
        let listener = bind(listen).await?;
        let address = listener.local_addr().map_err(|error| SourceError::Listen {
            listen: listen.to_owned(),
            problem: error.to_string(),
        })?;
        // These are counted for the webhook, where strangers connect; here nobody asks.
        let count = |name: &str| IntCounter::new(name, name);
        let unusable = |error: prometheus::Error| SourceError::Listen {
            listen: listen.to_owned(),
            problem: error.to_string(),
        };
        let listening = Listening {
            listener,
            limits: AcceptLimits {
                connections_max: CONNECTIONS_MAX,
                head_timeout: HEAD_TIMEOUT,
            },
            connections: IntGauge::new("open", "open").map_err(unusable)?,
            refused_full: count("full").map_err(unusable)?,
            refused_tls: count("tls").map_err(unusable)?,
        };
        Ok(Self { listening, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until it is stopped.
    pub async fn run(self, shown: Shown, stop: CancellationToken) {
        let router = router(shown, self.address.ip().is_loopback());
        let service = |_| TowerToHyperService::new(router.clone());
        accept(self.listening, || None, service, stop).await;
    }
}

/// The greatest body of a request.
const BODY_MAX: usize = 64 << 10;

/// The routes of the local socket, for one connection: those that all have, and changes.
pub(super) fn local(shown: Shown, peer: String) -> Router {
    paths()
        .route("/api/v1/alerts/{id}/ack", post(api::ack))
        .route("/api/v1/alerts/{id}/resolve", post(api::resolve))
        .route("/api/v1/silences", post(api::silence))
        .route("/api/v1/silence/{id}", delete(api::expire))
        .layer(Extension(Peer(peer)))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(shown)
        .layer(middleware::map_response(keep_private))
}

/// What can be looked at.
fn paths() -> Router<Shown> {
    Router::new()
        .route("/", get(answers::index))
        .route("/metrics", get(answers::metrics))
        .route("/livez", get(answers::livez))
        .route("/readyz", get(answers::readyz))
        .route("/api/v1/alerts", get(api::alerts))
        .route("/api/v1/alerts/{id}", get(api::alert))
        .route("/api/v1/history", get(api::history))
        .route("/api/v1/silences", get(api::silences))
        .route("/api/v1/rules/blind", get(answers::blind))
        .fallback(answers::nothing)
}

fn router(shown: Shown, is_local: bool) -> Router {
    let router = paths()
        .route("/api/v1/alerts/{id}/ack", post(api::only_local))
        .route("/api/v1/alerts/{id}/resolve", post(api::only_local))
        .route("/api/v1/silences", post(api::only_local))
        .route("/api/v1/silence/{id}", delete(api::only_local))
        .with_state(shown)
        .layer(middleware::map_response(keep_private));
    if is_local {
        router.layer(middleware::from_fn(only_for_us))
    } else {
        router
    }
}

/// What is shown is true for a moment and nobody else's business.
async fn keep_private(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// A web page whose name an attacker points to 127.0.0.1 could read everything here through the
/// browser of whoever visits it; but then the request carries that page's name. Served on this
/// machine alone, the endpoint answers only to names of this machine.
async fn only_for_us(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().authority().map(Authority::as_str));
    if host.is_none_or(names_this_machine) {
        return next.run(request).await;
    }
    let told = "this endpoint answers to localhost and addresses only\n";
    (StatusCode::MISDIRECTED_REQUEST, told).into_response()
}

/// `localhost` or an address, with or without a port.
fn names_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok()
}
