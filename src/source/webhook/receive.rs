//! What becomes of a request: who may send, what arrives, when it is acknowledged.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use axum::{
    body::{Body, Bytes, HttpBody as _},
    http::{HeaderMap, HeaderValue, Method, Request, Response, header},
};
use hyper::body::Incoming;
use prometheus::{IntCounter, IntCounterVec};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    answer::Answer,
    body::{BodyMemory, BodyReader, Ready},
    credentials::Credentials,
    settings::WebhookSettings,
};
use crate::{
    source::{Feed, SourceMetrics},
    store::journal::{Entry, Journal},
    units::Time,
};

/// After a refusal this much of the body is still read, so that the client reads the answer
/// instead of a broken connection.
const DRAIN_BYTES_MAX: usize = 4 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// At most one log line about refusals in this time.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The longest cluster name in a path.
const CLUSTER_BYTES_MAX: usize = 63;

/// What takes the requests of one webhook.
pub(super) struct Receiver {
    pub(super) settings: WebhookSettings,
    pub(super) credentials: Credentials,
    target: Target,
    requests: IntCounterVec,
    received_bytes: IntCounter,
    memory: BodyMemory,
    /// When a refusal was last told; strangers must not fill the log.
    told: Mutex<Option<Instant>>,
}

/// Where bodies go.
pub(super) enum Target {
    /// Into the pipeline, while they arrive. What was answered 200 is in memory only.
    Pipeline(Feed),
    /// Into the journal, from which the pipeline reads. What was answered 200 is on the disk.
    Journal(Journal),
}

/// Answers one request, and counts the answer.
pub(super) async fn answer(
    receiver: Arc<Receiver>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let source = receiver.settings.name.as_str();
    let (head, mut body) = request.into_parts();
    let answer = match receiver.admit(&head.method, head.uri.path(), &head.headers) {
        Err(refusal) => refusal,
        Ok(request) => match receiver.take(&request, &mut body).await {
            Ok(()) => Answer::Taken,
            Err(refusal) => refusal,
        },
    };
    let code = answer.status();
    receiver
        .requests
        .with_label_values(&[source, code.as_str()])
        .inc();
    let is_fine = matches!(answer, Answer::Taken | Answer::WhatThisIs);
    if !is_fine && receiver.may_tell() {
        let code = code.as_u16();
        tracing::warn!(source, %peer, code, ?answer, "refused a request; see auditwatch_webhook_requests_total");
    }
    if !matches!(answer, Answer::Taken | Answer::TooSlow | Answer::BrokenOff) {
        drain(&mut body).await;
    }
    Ok(answer.response())
}

/// What is known of a request before its body is read.
struct Admitted {
    cluster: Arc<str>,
    is_gzip: bool,
}

impl Receiver {
    pub(super) fn new(
        settings: WebhookSettings,
        credentials: Credentials,
        target: Target,
        metrics: &SourceMetrics,
    ) -> Self {
        let name = settings.name.as_str();
        for code in Answer::CODES {
            metrics.requests.with_label_values(&[name, code]).inc_by(0);
        }
        Self {
            requests: metrics.requests.clone(),
            received_bytes: metrics.received_bytes.with_label_values(&[name]),
            memory: BodyMemory::new(settings.memory_max.0),
            told: Mutex::new(None),
            credentials,
            target,
            settings,
        }
    }

    fn admit(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Admitted, Answer> {
        match *method {
            Method::POST => {}
            Method::GET | Method::HEAD => return Err(Answer::WhatThisIs),
            _ => return Err(Answer::WrongMethod),
        }
        if !self.is_authorized(headers) {
            return Err(Answer::Unauthorized);
        }
        let cluster = self.cluster(path).ok_or(Answer::NoCluster)?;
        let is_gzip = match headers
            .get(header::CONTENT_ENCODING)
            .map(HeaderValue::as_bytes)
        {
            None | Some(b"identity") => false,
            Some(b"gzip" | b"x-gzip") => true,
            Some(_) => return Err(Answer::WrongEncoding),
        };
        let limit = self.settings.body_max.0;
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(Answer::TooLarge(limit));
        }
        Ok(Admitted { cluster, is_gzip })
    }

    /// Whether a refusal may be told now: not more often than [`TELL_EVERY`].
    fn may_tell(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if is_due {
            *told = Some(Instant::now());
        }
        is_due
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let in_force = self.credentials.in_force();
        let Some(tokens) = &in_force.tokens else {
            return true;
        };
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return false;
        };
        let value = value.as_bytes();
        let Some((scheme, token)) = value.split_at_checked(b"Bearer ".len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ") && tokens.accepts(token.trim_ascii())
    }

    /// The cluster of a request; `None` when its path must name one and does not.
    fn cluster(&self, path: &str) -> Option<Arc<str>> {
        if !self.settings.cluster_from_path {
            return Some(Arc::clone(&self.settings.cluster));
        }
        let name = path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name =
            !name.is_empty() && name.len() <= CLUSTER_BYTES_MAX && name.bytes().all(is_plain);
        is_name.then(|| Arc::from(name))
    }

    /// Hands a body on while it arrives; returns once all of it is where it belongs. Whatever was handed on before something goes wrong stays
    /// in the pipeline; the client sends the batch again, and each event counts once.
    async fn take(&self, request: &Admitted, body: &mut Incoming) -> Result<(), Answer> {
        let bytes_max = self.settings.body_max.0;
        let mut reader = match &self.target {
            Target::Pipeline(_) => BodyReader::of_blocks(request.is_gzip, bytes_max),
            Target::Journal(journal) => {
                journal.is_taking().map_err(Answer::refused)?;
                BodyReader::of_lines(request.is_gzip, bytes_max)
            }
        };
        let result = self.read(request, body, &mut reader).await;
        self.received_bytes.inc_by(reader.bytes());
        result
    }

    async fn read(
        &self,
        request: &Admitted,
        body: &mut Incoming,
        reader: &mut BodyReader,
    ) -> Result<(), Answer> {
        let deadline = Instant::now() + self.settings.body_timeout;
        let share = timeout(self.settings.patience, self.memory.share()).await;
        let mut share = share.map_err(|_| Answer::Full)??;
        loop {
            let mut bytes = match timeout_at(deadline, next_bytes(body)).await {
                Err(_) => return Err(Answer::TooSlow),
                Ok(Err(_)) => return Err(Answer::BrokenOff),
                Ok(Ok(None)) => break,
                Ok(Ok(Some(bytes))) => bytes,
            };
            while !bytes.is_empty() {
                let piece = bytes.split_to(reader.piece().min(bytes.len()));
                let fed = reader.feed(piece);
                // Even of a body that turns out to be damaged, what was good is handed on.
                self.hand_on(request, reader).await?;
                fed?;
                share.cover(reader.held())?;
            }
        }
        let finished = reader.finish();
        self.hand_on(request, reader).await?;
        finished
    }

    async fn hand_on(&self, request: &Admitted, reader: &mut BodyReader) -> Result<(), Answer> {
        while let Some(ready) = reader.next() {
            match (&self.target, ready) {
                (Target::Pipeline(feed), Ready::Block(block)) => {
                    let sent = feed.send(&request.cluster, block, None);
                    match timeout(self.settings.patience, sent).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) | Err(_) => return Err(Answer::Full),
                    }
                }
                (Target::Journal(journal), Ready::Lines(lines)) => {
                    let entry = Entry::new(&request.cluster, now(), lines);
                    journal.append(entry).await.map_err(Answer::refused)?;
                }
                // A reader makes what its target takes.
                (Target::Pipeline(_), Ready::Lines(_)) | (Target::Journal(_), Ready::Block(_)) => {}
            }
        }
        Ok(())
    }
}

/// The clock's time.
pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::from_micros(since.unwrap_or_default().as_micros() as i64)
}

/// The next data of a body; `None` at its end.
async fn next_bytes(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        match poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
            None => return Ok(None),
            Some(Err(error)) => return Err(error),
            Some(Ok(frame)) => {
                // Trailers say nothing to us.
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

fn drain(body: &mut Incoming) -> impl Future<Output = ()> + '_ {
    let reading = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Ok(Some(bytes)) = next_bytes(body).await
            && left > 0
        {
            left = left.saturating_sub(bytes.len());
        }
    };
    async {
        // Time over is as good as the end.
        let _ = timeout(DRAIN_TIME, reading).await;
    }
}
