//! What an alert tells about an event: who, with what, from where, on what; owned and redacted.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Act, Event, Slot, Word,
    redact::{cut, shorten},
    word::word as known_word,
};
use crate::units::Time;

/// The parts of one audit event that people are shown. Made only for events that matched a rule.
/// What is told of the caller is shared: callers act more than once, and alerts hold many events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The cluster that the event came from; empty when nobody named it.
    pub cluster: Arc<str>,
    /// The identity that the act is attributed to.
    pub principal: Arc<PrincipalFacts>,
    /// The credential that the caller showed, when the API server recorded one.
    pub credential: Option<Arc<CredentialFacts>>,
    /// Where the request came from.
    pub origin: Arc<OriginFacts>,
    /// What was acted on.
    pub target: TargetFacts,
    /// The one event as evidence.
    pub evidence: Evidence,
}

/// The effective principal and, under impersonation, who stands behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PrincipalFacts {
    /// Effective user name; empty for a failed authentication.
    pub name: Box<str>,
    /// `user`, `serviceaccount`, `node`, `control-plane`, `anonymous` or `unauthenticated`.
    #[serde(deserialize_with = "known_word")]
    pub kind: Word,
    /// The authenticated caller under impersonation.
    pub impersonator: Option<Box<str>>,
    /// Effective groups, at most [`Facts::GROUPS_MAX`].
    pub groups: Vec<Box<str>>,
}

/// A credential as the API server names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CredentialFacts {
    /// `JTI=…` of a token or `X509SHA256=…` of a certificate.
    pub id: Box<str>,
    /// `token`, `certificate`, `legacy-token` or `other`.
    #[serde(deserialize_with = "known_word")]
    pub kind: Word,
    /// The request that made it, when it is a token that was seen being made.
    pub minted: Option<Arc<Minting>>,
}

/// The request that made a token (`TokenRequest`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Minting {
    /// The effective principal who asked for it.
    pub by: Box<str>,
    /// Event time.
    pub at: Time,
    /// The address it was asked for from.
    pub from: Option<Box<str>>,
    /// See [`Evidence::audit_id`].
    pub audit_id: Box<str>,
    /// How the token was made that was shown to ask for this one.
    pub earlier: Option<Arc<Self>>,
}

/// Where a request came from, as far as it can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OriginFacts {
    /// The trustworthy address: the last of `sourceIPs`, or as `trusted_proxies` says.
    pub ip: Option<Box<str>>,
    /// `public`, `private`, `loopback`, `link-local` or `unknown`.
    #[serde(deserialize_with = "known_word")]
    pub scope: Word,
    /// User-agent family (`kubectl`, `curl`, `kubelet`, …); the caller chooses it.
    pub client: Box<str>,
    /// The user agent as sent, cut to [`Facts::TEXT_MAX`] characters.
    pub user_agent: Box<str>,
}

/// What was acted on. A field that the request does not have is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the objectRef field of the same name")]
pub struct TargetFacts {
    pub verb: Box<str>,
    pub resource: Option<Box<str>>,
    pub subresource: Option<Box<str>>,
    pub namespace: Option<Box<str>>,
    pub name: Option<Box<str>>,
}

/// One event as an alert quotes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The API server's (or the client's own) id of the request; for searching, not for trust.
    pub audit_id: Box<str>,
    /// Event time.
    pub time: Time,
    /// The verb as recorded.
    pub verb: Box<str>,
    /// Request URI, secrets taken out, cut to [`Facts::TEXT_MAX`] characters.
    pub uri: Box<str>,
    /// HTTP status of the response; `None` when none was recorded.
    pub code: Option<u16>,
}

impl Facts {
    /// The longest text that is kept of a field that the caller of the API server chooses.
    pub const TEXT_MAX: usize = 512;
    /// How many groups are kept.
    pub const GROUPS_MAX: usize = 32;
}

impl Facts {
    /// What the facts about the caller depend on: principal, credential and origin of two events
    /// of one context are the same when these slots and [`Event::credential_kind`] are.
    pub const CALLER: [Slot; 7] = [
        Slot::UserName,
        Slot::UserGroups,
        Slot::UserExtra,
        Slot::ImpersonatedName,
        Slot::ImpersonatedGroups,
        Slot::SourceIps,
        Slot::UserAgent,
    ];

    /// Reads what an alert needs from an event. Names and words that Kubernetes checks are only
    /// cut; free text (the URI and its parts, the user agent, user names of outside
    /// authenticators) is also searched for secrets.
    pub fn of(event: &Event<'_>) -> Self {
        let act = Act::of(event, &mut String::new());
        Self {
            cluster: event.context().cluster.as_str().into(),
            principal: Arc::new(PrincipalFacts::of(event)),
            credential: CredentialFacts::of(event).map(Arc::new),
            origin: Arc::new(OriginFacts::of(event)),
            target: act.target(),
            evidence: act.evidence(),
        }
    }
}

fn word(text: Cow<'_, str>) -> Box<str> {
    cut(text, Facts::TEXT_MAX)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "so that it maps over what `text` gives"
)]
fn free(text: Cow<'_, str>) -> Box<str> {
    shorten(&text, Facts::TEXT_MAX)
}

impl PrincipalFacts {
    /// Who acts in an event.
    pub fn of(event: &Event<'_>) -> Self {
        Self {
            name: free(event.principal()),
            kind: event.principal_kind().name(),
            impersonator: event.impersonator().map(free),
            groups: event.groups().take(Facts::GROUPS_MAX).map(word).collect(),
        }
    }
}

impl CredentialFacts {
    /// The credential of an event's caller.
    pub fn of(event: &Event<'_>) -> Option<Self> {
        event.credential_id().map(|id| Self {
            id: word(id),
            kind: event.credential_kind().unwrap_or("other"),
            minted: None,
        })
    }
}

impl Minting {
    /// How many tokens that were asked for with one another are told of.
    pub const CHAIN_MAX: usize = 4;

    /// What an event says whose request made a token.
    pub fn of(event: &Event<'_>) -> Self {
        Self {
            by: free(event.principal()),
            at: event.received().unwrap_or_default(),
            from: event.origin_ip().map(word),
            audit_id: event.text(Slot::AuditId).map(free).unwrap_or_default(),
            earlier: None,
        }
    }

    /// This as what came before another: all of it, or without its own beginning where the chain
    /// would become too long.
    pub fn earlier(this: &Arc<Self>) -> Option<Arc<Self>> {
        Self::cut(this, Self::CHAIN_MAX - 1)
    }

    fn cut(this: &Arc<Self>, most: usize) -> Option<Arc<Self>> {
        let most = most.checked_sub(1)?;
        let earlier = this.earlier.as_ref();
        let cut = earlier.and_then(|earlier| Self::cut(earlier, most));
        let is_whole = match (earlier, &cut) {
            (Some(earlier), Some(cut)) => Arc::ptr_eq(earlier, cut),
            (earlier, _) => earlier.is_none(),
        };
        if is_whole {
            return Some(Arc::clone(this));
        }
        let mut shorter = Self::clone(this);
        shorter.earlier = cut;
        Some(Arc::new(shorter))
    }
}

impl OriginFacts {
    /// Where an event's request came from.
    pub fn of(event: &Event<'_>) -> Self {
        Self {
            ip: event.origin_ip().map(word),
            scope: event.origin_scope().name(),
            client: free(event.client()),
            user_agent: event.text(Slot::UserAgent).map(free).unwrap_or_default(),
        }
    }
}
