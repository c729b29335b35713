//! One audit event: the typed view over its slots. Everything is read on demand from the batch.

use std::{borrow::Cow, cell::OnceCell};

use ipnet::IpNet;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

use super::{body::Body, json, slot::Slot, slot::Slots};
use crate::units::Time;

/// What the reader of an event knows about where it came from, beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The name of the cluster; empty when nobody gave one.
    pub cluster: String,
    /// Addresses of proxies and load balancers in front of the API server. When the last of
    /// `sourceIPs` is one of these, the one before it is believed, and so on.
    pub trusted_proxies: Vec<IpNet>,
}

/// Where in the life of its request an event was written: audit.k8s.io/v1 `stage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "Kubernetes' own four words")]
pub enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

/// One audit event, borrowed from the batch that it came in.
#[derive(Debug)]
pub struct Event<'b> {
    slots: Slots<'b>,
    line: &'b str,
    context: &'b Context,
    request: OnceCell<Body<'b>>,
    response: OnceCell<Body<'b>>,
}

impl<'b> Event<'b> {
    /// Looks at the slots of an event. `line` is the event's whole raw JSON text.
    pub fn new(slots: Slots<'b>, line: &'b str, context: &'b Context) -> Self {
        Self {
            slots,
            line,
            context,
            request: OnceCell::new(),
            response: OnceCell::new(),
        }
    }

    /// The raw slots.
    pub fn slots(&self) -> &Slots<'b> {
        &self.slots
    }

    /// The event's whole raw JSON text.
    pub fn raw_line(&self) -> &'b str {
        self.line
    }

    /// Where the event came from.
    pub fn context(&self) -> &'b Context {
        self.context
    }

    /// The text of a string slot, unescaped; `None` when absent.
    pub fn text(&self, slot: Slot) -> Option<Cow<'b, str>> {
        let raw = self.slots.raw(slot);
        (!raw.is_empty()).then(|| json::unescape(raw))
    }

    /// The stage; an unknown word counts as ResponseComplete, so that a new stage of a later
    /// Kubernetes is not lost.
    pub fn stage(&self) -> Stage {
        match self.slots.raw(Slot::Stage) {
            "\"RequestReceived\"" => Stage::RequestReceived,
            "\"ResponseStarted\"" => Stage::ResponseStarted,
            "\"Panic\"" => Stage::Panic,
            _ => Stage::ResponseComplete,
        }
    }

    /// When the request arrived at the API server: the event time of the request, the same at
    /// each of its stages. Falls back to the stage's own stamp.
    pub fn received(&self) -> Option<Time> {
        self.stamp(Slot::RequestReceived)
            .or_else(|| self.stamp(Slot::StageTimestamp))
    }

    /// When this stage was reached; says how far the log has come.
    pub fn stamped(&self) -> Option<Time> {
        self.stamp(Slot::StageTimestamp)
            .or_else(|| self.stamp(Slot::RequestReceived))
    }

    fn stamp(&self, slot: Slot) -> Option<Time> {
        Time::parse(self.slots.raw(slot).trim_matches('"'))
    }

    /// HTTP status of the response; absent before there is one.
    pub fn code(&self) -> Option<u16> {
        self.slots.raw(Slot::StatusCode).parse().ok()
    }

    /// Which request this event belongs to. The client chooses the audit id, so the server's own
    /// stamp, the URI and the caller are part of it; all stages of a request agree on them.
    pub fn request_id(&self) -> u128 {
        // Hashing one run of bytes is several times faster than a hash that is fed in parts.
        let mut bytes: SmallVec<[u8; 512]> = SmallVec::new();
        bytes.extend_from_slice(self.context.cluster.as_bytes());
        for slot in [
            Slot::AuditId,
            Slot::RequestReceived,
            Slot::RequestUri,
            Slot::UserName,
        ] {
            bytes.push(0);
            bytes.extend_from_slice(self.slots.raw(slot).as_bytes());
        }
        xxh3_128(&bytes)
    }

    /// Whether the API server serves such requests for longer than the ordinary minute: watches,
    /// proxies and streams (kube-apiserver's `LongRunningRequestCheck`).
    pub fn is_long_running(&self) -> bool {
        matches!(self.slots.raw(Slot::Verb), "\"watch\"" | "\"proxy\"")
            || matches!(
                self.slots.raw(Slot::Subresource),
                "\"exec\"" | "\"attach\"" | "\"portforward\"" | "\"log\"" | "\"proxy\""
            )
    }

    /// Whether the request asks only what would happen (`dryRun=All`).
    pub fn is_dry_run(&self) -> bool {
        self.slots.raw(Slot::RequestUri).contains("dryRun=All")
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<Cow<'b, str>> {
        json::member(self.slots.raw(Slot::Annotations), key).map(json::unescape)
    }

    /// The first value of a key in the authenticated caller's `user.extra`.
    pub fn extra(&self, key: &str) -> Option<Cow<'b, str>> {
        let values = json::member(self.slots.raw(Slot::UserExtra), key)?;
        json::elements(values).next().map(json::unescape)
    }

    /// The URI without its query.
    pub fn path(&self) -> Option<Cow<'b, str>> {
        let uri = self.text(Slot::RequestUri)?;
        Some(match uri {
            Cow::Borrowed(uri) => Cow::Borrowed(uri.split_once('?').map_or(uri, |(path, _)| path)),
            Cow::Owned(uri) => match uri.split_once('?') {
                Some((path, _)) => Cow::Owned(path.to_owned()),
                None => Cow::Owned(uri),
            },
        })
    }

    pub(super) fn request_body(&self) -> &Body<'b> {
        self.request
            .get_or_init(|| Body::parse(self.slots.raw(Slot::RequestObject)))
    }

    pub(super) fn response_body(&self) -> &Body<'b> {
        self.response
            .get_or_init(|| Body::parse(self.slots.raw(Slot::ResponseObject)))
    }
}
