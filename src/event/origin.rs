//! Where a request came from, as far as it can be trusted.

use std::{borrow::Cow, net::IpAddr};

use super::{Event, Slot, json};

/// The user-agent family of a caller who sends no user agent.
pub const NO_CLIENT: &str = "none";

/// What kind of network an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OriginScope {
    /// Reachable from anywhere.
    Public,
    /// RFC 1918, RFC 6598 (carrier-grade NAT) and unique local IPv6.
    Private,
    /// 127.0.0.0/8 and ::1.
    Loopback,
    /// 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// No address, or none that can be read.
    Unknown,
}

impl OriginScope {
    /// As rules and alerts spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Unknown => "unknown",
        }
    }

    /// The scope of an address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [first, second, ..] = v4.octets();
                if v4.is_loopback() {
                    Self::Loopback
                } else if v4.is_link_local() {
                    Self::LinkLocal
                } else if v4.is_private() || (first == 100 && (64..128).contains(&second)) {
                    Self::Private
                } else if v4.is_unspecified() {
                    Self::Unknown
                } else {
                    Self::Public
                }
            }
            IpAddr::V6(v6) => {
                let first = v6.segments()[0];
                if v6.is_loopback() {
                    Self::Loopback
                } else if first & 0xffc0 == 0xfe80 {
                    Self::LinkLocal
                } else if first & 0xfe00 == 0xfc00 {
                    Self::Private
                } else if v6.is_unspecified() {
                    Self::Unknown
                } else {
                    Self::Public
                }
            }
        }
    }
}

impl<'b> Event<'b> {
    /// The address that can be believed. `sourceIPs` is X-Forwarded-For, X-Real-Ip and then the
    /// peer (types.go); callers write the first two as they like, so it is the last, unless that
    /// is a trusted proxy, whose word for the one before it counts.
    pub fn origin_ip(&self) -> Option<Cow<'b, str>> {
        if self.context().trusted_proxies.is_empty() {
            let last = json::elements(self.slots().raw(Slot::SourceIps)).last();
            return last.map(json::unescape);
        }
        self.split_origins().0
    }

    /// The addresses that the caller only claims: all of `sourceIPs` before the believed one.
    pub fn claimed_ips(&self) -> Vec<Cow<'b, str>> {
        self.split_origins().1
    }

    fn split_origins(&self) -> (Option<Cow<'b, str>>, Vec<Cow<'b, str>>) {
        let raw = self.slots().raw(Slot::SourceIps);
        let mut all: Vec<_> = json::elements(raw).map(json::unescape).collect();
        let trusted = &self.context().trusted_proxies;
        let is_trusted = |text: &str| {
            text.parse::<IpAddr>()
                .is_ok_and(|ip| trusted.iter().any(|net| net.contains(&ip.to_canonical())))
        };
        while all.len() > 1 && all.last().is_some_and(|last| is_trusted(last)) {
            all.pop();
        }
        let believed = all.pop();
        (believed, all)
    }

    /// The scope of [`Self::origin_ip`].
    pub fn origin_scope(&self) -> OriginScope {
        let ip = self.origin_ip().and_then(|text| text.parse().ok());
        ip.map_or(OriginScope::Unknown, OriginScope::of)
    }

    /// The user-agent family: what stands before the first slash, space or bracket, at most 64
    /// characters. [`NO_CLIENT`] when there is no such part: every client library of Kubernetes
    /// names itself, so a caller who does not is a hand tool or a script, and rules that ask for
    /// the client must see it. The caller chooses it.
    pub fn client(&self) -> Cow<'b, str> {
        let Some(agent) = self.text(Slot::UserAgent) else {
            return Cow::Borrowed(NO_CLIENT);
        };
        let end = agent
            .char_indices()
            .enumerate()
            .find(|(count, (_, c))| *count == 64 || matches!(c, '/' | ' ' | '('))
            .map_or(agent.len(), |(_, (at, _))| at);
        if end == 0 {
            return Cow::Borrowed(NO_CLIENT);
        }
        match agent {
            Cow::Borrowed(agent) => Cow::Borrowed(&agent[..end]),
            Cow::Owned(mut agent) => {
                agent.truncate(end);
                Cow::Owned(agent)
            }
        }
    }
}
