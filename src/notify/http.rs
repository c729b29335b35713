//! POST to a receiver whose URL is a secret.

use std::{error::Error, io, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{
    StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect,
};

use rustls_platform_verifier::Verifier;

use super::{Ca, Failure, Preview, Reason};
use crate::{
    alert::{cut_middle, visible},
    units::Secret,
};

/// How many redirects are followed.
const REDIRECTS_MAX: usize = 3;
/// How long a connection may take to be made; the whole attempt has its own limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const ANSWER_MAX: usize = 1_024;
/// How much of an answer is shown to whoever tries a receiver.
const SHOWN_MAX: usize = 300;
/// What stands where a secret was.
const HIDDEN: &str = "[secret]";
/// A piece of a URL that is shorter than this is no secret but a word.
const PIECE_MIN: usize = 8;

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
    trusting(builder(), None)
}

/// The same for a receiver whose certificate is from a private CA.
///
/// # Errors
/// When TLS cannot be set up.
pub fn client_trusting(ca: &Ca) -> Result<reqwest::Client, BuildError> {
    trusting(builder(), Some(ca))
}

/// Makes a client that trusts the system's CAs and this one.
pub(super) fn trusting(
    builder: reqwest::ClientBuilder,
    ca: Option<&Ca>,
) -> Result<reqwest::Client, BuildError> {
    let told = |error: reqwest::Error| BuildError::Client(deepest(&error));
    let certificates = ca.map_or(&[][..], Ca::certificates).iter();
    let certificates = certificates
        .map(|certificate| reqwest::Certificate::from_der(certificate))
        .collect::<Result<Vec<_>, _>>()
        .map_err(told)?;
    let builder = if certificates.is_empty() {
        builder
    } else {
        builder.tls_certs_merge(certificates)
    };
    builder.build().map_err(told)
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

/// TLS for streams that are no HTTP: the same checks, by the CAs of the system and a private one.
pub(super) fn tls(ca: Option<&Ca>) -> Result<Arc<rustls::ClientConfig>, String> {
    let told = |error: rustls::Error| {
        format!("cannot set up TLS: {error}; are the system's CA certificates installed?")
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificates = ca.map_or(&[][..], Ca::certificates).to_vec();
    let verifier =
        Verifier::new_with_extra_roots(certificates, Arc::clone(&provider)).map_err(told)?;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(told)?
        // The name is theirs; this verifier checks as the platform does, and more roots.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(Arc::new(config.with_no_client_auth()))
}

/// Where to POST.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    client: reqwest::Client,
    url: Secret,
    /// Other secrets that a message holds.
    hidden: Vec<Secret>,
}

/// What a receiver answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    retry_after: Option<Duration>,
    /// Its first bytes.
    pub(super) body: String,
    /// Status and body for people: short, on one line, without the secrets that were sent.
    pub(super) shown: String,
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
            hidden: Vec::new(),
        })
    }

    /// With a secret that the message holds, and that an answer could repeat.
    pub(super) fn hiding(mut self, secret: &Secret) -> Self {
        self.hidden.push(secret.clone());
        self
    }

    /// What would be sent, for people: the secrets masked, the headers of the kind of receiver.
    pub(super) fn preview(&self, body: &str, headers: &[&str]) -> Preview {
        let host = Url::parse(self.url.expose()).ok().map(|url| {
            let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
            let rest = if is_bare { "/" } else { "/[secret]" };
            format!("{}{rest}", url.origin().ascii_serialization())
        });
        let mut to = format!("POST {}", host.unwrap_or_default());
        for header in headers {
            to.push('\n');
            to.push_str(header);
        }
        // The address is in no message, and its pieces may be words that are.
        let body = self.hidden.iter().fold(body.to_owned(), |body, secret| {
            body.replace(secret.expose(), HIDDEN)
        });
        Preview { to, body }
    }

    /// Text that may repeat what it was sent, without the secrets. The pieces of the URL are taken
    /// out one by one, since a page may quote any of them.
    fn masked(&self, text: &str) -> String {
        let url = self.url.expose();
        let path = Url::parse(url).ok().map_or(0, |parsed| {
            url.len()
                - url
                    .trim_start_matches(parsed.origin().ascii_serialization().as_str())
                    .len()
        });
        let mut secrets: Vec<&str> = self.hidden.iter().map(Secret::expose).collect();
        if path < url.len() && url[path..].len() > 1 {
            secrets.extend([url, &url[path..]]);
            let pieces = url[path..].split(['/', '?', '&', '=', '#']);
            secrets.extend(pieces.filter(|piece| piece.len() >= PIECE_MIN));
        }
        secrets.retain(|secret| secret.len() >= 2);
        // The longest first, so that no half of one is left.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut text = text.to_owned();
        for secret in secrets {
            text = text.replace(secret, HIDDEN);
        }
        text
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
        let status = response.status();
        // Masked before it is cut, else the ends of a secret would stay.
        let masked = self.masked(&body);
        let line = masked.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = cut_middle(&visible(&line), SHOWN_MAX);
        let shown = format!("{} {line}", status.as_u16()).trim_end().to_owned();
        Ok(Answer {
            status,
            retry_after,
            body,
            shown,
        })
    }
}

impl Answer {
    /// Success and what was answered, or what the status says about the failure.
    pub(super) fn verdict(&self) -> Result<String, Failure> {
        let status = self.status;
        let what = format!("it answered {}", status.as_u16());
        let failure = match status.as_u16() {
            200..=299 => return Ok(self.shown.clone()),
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
            answer: self.shown.clone(),
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

pub(super) fn is_tls(error: &(dyn Error + 'static)) -> bool {
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
