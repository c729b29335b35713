//! The answers of the audit webhook: few, short, and counted by status.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};

use crate::store::journal::Refused;

/// What to say to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The whole batch is in the pipeline, or safe in the journal.
    Taken,
    /// Someone looks what this is.
    WhatThisIs,
    /// Not a POST.
    WrongMethod,
    /// The path names no cluster where it must.
    NoCluster,
    /// No token, or a wrong one.
    Unauthorized,
    /// The body is longer than the limit, in bytes.
    TooLarge(u64),
    /// The body's `Content-Encoding` is not known here.
    WrongEncoding,
    /// The body's compression is damaged.
    Damaged,
    /// The body did not come in time.
    TooSlow,
    /// The client went away within the body.
    BrokenOff,
    /// The pipeline or the journal is full, or stopping.
    Full,
    /// The disk does not take the batch.
    NotSafe,
}

impl Answer {
    /// Every status that can be answered; metrics start them at 0.
    pub(super) const CODES: [&str; 9] = [
        "200", "400", "401", "404", "405", "408", "413", "415", "503",
    ];

    /// What to say when the journal does not take a batch.
    pub(super) fn refused(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::Broken => Self::NotSafe,
        }
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Taken | Self::WhatThisIs => StatusCode::OK,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoCluster => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::WrongEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Damaged | Self::BrokenOff => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Full | Self::NotSafe => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Taken => "{}".to_owned(),
            Self::WhatThisIs => {
                "auditwatch: POST audit events here (audit.k8s.io/v1 EventList, as kube-apiserver's \
                 --audit-webhook-config-file sends them)\n"
                    .to_owned()
            }
            Self::WrongMethod => "this endpoint takes Kubernetes audit events by POST\n".to_owned(),
            Self::NoCluster => "the last segment of the path must name the cluster (letters, digits, \
                 `-`, `_`, `.`, at most 63), such as /audit/production\n"
                .to_owned(),
            Self::Unauthorized => {
                "a bearer token is needed, one that the token file of this endpoint holds\n"
                    .to_owned()
            }
            Self::TooLarge(limit) => format!(
                "the body is longer than {limit} bytes; raise body_max, or lower the API server's \
                 --audit-webhook-batch-max-size\n"
            ),
            Self::WrongEncoding => "send the body plain or with Content-Encoding: gzip\n".to_owned(),
            Self::Damaged => "the gzip compression of the body is damaged\n".to_owned(),
            Self::TooSlow => "the body did not arrive in time\n".to_owned(),
            Self::BrokenOff => "the body broke off\n".to_owned(),
            Self::Full => "auditwatch is full, try again\n".to_owned(),
            Self::NotSafe => {
                "auditwatch cannot write its journal, try again; its /readyz says more\n".to_owned()
            }
        }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.text()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        // A success whose content type the API server cannot parse counts as a failure there.
        let content = if *self == Self::Taken {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
        match self {
            Self::Full | Self::NotSafe => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
            }
            Self::WrongMethod => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
