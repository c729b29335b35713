//! POST to a receiver whose URL is a secret.

use std::{error::Error, io, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect,
};

use rustls_platform_verifier::BuilderVerifierExt;

use super::{Failure, Reason};
use crate::units::Secret;

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 3;
/// How long a connection may take to be made; the whole attempt has its own limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const ANSWER_MAX: usize = 1_024;

/// What is wrong with a receiver before anything was sent. Never holds the URL.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BuildError {
    /// The URL cannot be used.
    #[error("the URL is not usable: {0}; write the whole of it, like https://host.example/path")]
    Url(String),
    /// No client could be made, which mostly means TLS.
    #[error("cannot set up outgoing HTTP: {0}; are the system's CA certificates installed?")]
    Client(String),
}

/// The HTTP client for all receivers: proxies from the environment, the system's CAs, redirects
/// only to the same place.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client() -> Result<reqwest::Client, BuildError> {
    builder()
        .build()
        .map_err(|error| BuildError::Client(deepest(&error)))
}

pub(super) fn builder() -> reqwest::ClientBuilder {
    // A redirected POST stays a POST only under 307 and 308, and the body is for nobody else.
    let policy = redirect::Policy::custom(|attempt| {
        let kept = [
            StatusCode::TEMPORARY_REDIRECT,
            StatusCode::PERMANENT_REDIRECT,
        ];
        let same_place = attempt
            .previous()
            .last()
            .is_some_and(|from| from.origin() == attempt.url().origin());
        if kept.contains(&attempt.status())
            && same_place
            && attempt.previous().len() <= REDIRECTS_MAX
        {
            attempt.follow()
        } else {
            attempt.stop()
        }
    });
    reqwest::Client::builder()
        .redirect(policy)
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("auditwatch/", env!("CARGO_PKG_VERSION")))
}

/// TLS for streams that are no HTTP: the same checks, by the CAs of the system.
pub(super) fn tls() -> Result<Arc<rustls::ClientConfig>, String> {
    let told = |error: rustls::Error| {
        format!("cannot set up TLS: {error}; are the system's CA certificates installed?")
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(told)?;
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Where to POST.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    client: reqwest::Client,
    url: Secret,
}

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    retry_after: Option<Duration>,
    /// Its first bytes.
    pub(super) body: String,
}

impl Endpoint {
    pub(super) fn new(client: &reqwest::Client, url: Secret) -> Result<Self, BuildError> {
        let parsed =
            Url::parse(url.expose()).map_err(|error| BuildError::Url(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(BuildError::Url(
                "it starts neither with https:// nor with http://".into(),
            ));
        }
        Ok(Self {
            client: client.clone(),
            url,
        })
    }

    /// Sends JSON and waits for the answer; the caller limits the time.
    pub(super) async fn post(&self, body: String, headers: HeaderMap) -> Result<Answer, Failure> {
        self.ask(body, headers, ANSWER_MAX).await
    }

    /// As [`post`](Self::post), for an answer of which `answer_max` bytes are worth reading.
    pub(super) async fn ask(
        &self,
        body: String,
        headers: HeaderMap,
        answer_max: usize,
    ) -> Result<Answer, Failure> {
        let request = self.client.post(self.url.expose()).headers(headers);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let mut response = request
            .send()
            .await
            .map_err(|error| not_sent(&error.without_url()))?;
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while body.len() < answer_max {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    body.extend_from_slice(&chunk[..chunk.len().min(answer_max - body.len())]);
                }
                // The status is there, and a body cut short says no more than none.
                Ok(None) | Err(_) => break,
            }
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer {
            status: response.status(),
            retry_after,
            body,
        })
    }
}

impl Answer {
    /// Success, or what the status says about the failure.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let status = self.status;
        let what = format!("it answered {}", status.as_u16());
        let failure = match status.as_u16() {
            200..=299 => return Ok(()),
            300..=399 => Failure::permanent(
                Reason::ClientError,
                format!("{what}, a redirect that is not followed"),
                "give the address that it redirects to, if that is to be trusted",
            ),
            401 | 403 => Failure::permanent(
                Reason::AuthError,
                what,
                "is the credential, or the secret part of the URL, still valid?",
            ),
            404 | 410 => Failure::permanent(
                Reason::ClientError,
                what,
                "is the URL right, and was the webhook not revoked?",
            ),
            429 => Failure::passing(
                Reason::RateLimited,
                what,
                "it wants fewer messages; who else writes there?",
            ),
            408 | 425 => Failure::passing(Reason::ServerError, what, "is it overloaded?"),
            400..=499 => Failure::permanent(
                Reason::ClientError,
                what,
                "is this URL meant for this kind of receiver?",
            ),
            _ => Failure::passing(
                Reason::ServerError,
                what,
                "look into the receiver's own logs",
            ),
        };
        Err(Failure {
            retry_after: self.retry_after,
            ..failure
        })
    }
}

fn not_sent(error: &reqwest::Error) -> Failure {
    let what = deepest(error);
    if is_tls(error) {
        return Failure::passing(
            Reason::Connection,
            format!("no TLS connection: {what}"),
            "is its certificate from a CA that this machine trusts, and for this host name?",
        );
    }
    if error.is_timeout() {
        return Failure::passing(
            Reason::ContextDeadlineExceeded,
            "no connection in time",
            "is a firewall, network policy or proxy in between?",
        );
    }
    if error.is_connect() {
        return Failure::passing(
            Reason::Connection,
            format!("no connection: {what}"),
            "is the host right, does its name resolve here, is it up, is a proxy needed?",
        );
    }
    Failure::passing(
        Reason::Connection,
        format!("the connection broke: {what}"),
        "did the receiver, or a proxy in between, close it?",
    )
}

/// The cause at the bottom, which is the one that says something.
fn deepest(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    if error.is::<rustls::Error>() {
        return true;
    }
    // An io::Error hands out the source of what it wraps, not what it wraps.
    if let Some(inner) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        return is_tls(inner);
    }
    error.source().is_some_and(is_tls)
}

/// `Retry-After` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?;
    until.signed_duration_since(Utc::now()).to_std().ok()
}
