//! The JSON form of an alert: one object a line, for files, receivers and scripts.
//!
//! The fields and their order are a contract; a test holds them. Our own additions stand after
//! the contract's last field, so that the order of the others stays.

use std::io;

use serde::{Serialize, Serializer};
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use super::{Alert, Several, SharedOrigin, SharedTarget, contain, is_hidden};
use crate::{
    event::{CredentialFacts, Evidence, Minting, PrincipalFacts},
    units::Time,
};

/// The alert on one line, without the newline. `dropped_before` is how many alerts the receiver
/// missed before this one; it is written when there are any.
///
/// Characters that act on a terminal instead of being seen are written as `\u` escapes, also
/// where JSON would allow them raw, since people look at such lines with `cat`.
pub fn to_json(alert: &Alert, dropped_before: u64) -> String {
    to_visible(&AlertJson::of(alert, dropped_before))
}

/// Anything as JSON on one line, nothing in which acts on a terminal.
pub fn to_visible(value: &impl Serialize) -> String {
    let mut line = Vec::with_capacity(2048);
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Visible);
    // Writing to memory succeeds, and nothing in the tree below can fail to be written.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(line).unwrap_or_default()
}

#[derive(Serialize)]
struct AlertJson<'a> {
    id: &'a str,
    status: &'static str,
    rule: RuleJson<'a>,
    cluster: &'a str,
    principal: Option<PrincipalJson<'a>>,
    credential: Option<CredentialJson<'a>>,
    origin: OriginJson<'a>,
    target: TargetJson<'a>,
    starts_at: Stamp,
    updated_at: Stamp,
    ends_at: Option<Stamp>,
    count: u64,
    why: &'a str,
    evidence: Vec<EvidenceJson<'a>>,
    respond: &'a [String],
    links: &'a [String],
    // Additions; see the top of the file.
    fingerprint: &'a str,
    contain: Vec<String>,
    runbook: Option<&'a str>,
    summary: &'a str,
    last_seen_at: Stamp,
    evicted: bool,
    principals: SeveralJson<'a>,
    origins: SeveralJson<'a>,
    resources: SeveralJson<'a>,
    namespaces: SeveralJson<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_before: u64,
}

#[derive(Serialize)]
struct RuleJson<'a> {
    id: &'a str,
    name: &'a str,
    title: &'a str,
    level: &'static str,
    tags: &'a [String],
}

#[derive(Serialize)]
struct PrincipalJson<'a> {
    name: &'a str,
    kind: &'a str,
    impersonator: Option<&'a str>,
    groups: Vec<&'a str>,
}

#[derive(Serialize)]
struct CredentialJson<'a> {
    id: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    minted: Option<MintingJson<'a>>,
}

/// How a token was made, and the token that was shown for it.
#[derive(Serialize)]
struct MintingJson<'a> {
    by: &'a str,
    at: Stamp,
    from: Option<&'a str>,
    audit_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    earlier: Option<Box<Self>>,
}

#[derive(Serialize)]
struct OriginJson<'a> {
    ip: Option<&'a str>,
    scope: Option<&'a str>,
    client: Option<&'a str>,
    user_agent: Option<&'a str>,
}

#[derive(Serialize)]
struct TargetJson<'a> {
    verb: Option<&'a str>,
    resource: Option<&'a str>,
    subresource: Option<&'a str>,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct EvidenceJson<'a> {
    audit_id: &'a str,
    time: Stamp,
    verb: &'a str,
    uri: &'a str,
    code: Option<u16>,
}

/// The first distinct values and how many there are (64 means 64 or more).
#[derive(Serialize)]
struct SeveralJson<'a> {
    distinct: usize,
    first: Vec<&'a str>,
}

impl<'a> AlertJson<'a> {
    fn of(alert: &'a Alert, dropped_before: u64) -> Self {
        let rule = &alert.rule;
        let shared = &alert.shared;
        Self {
            id: &alert.id,
            status: alert.status.name(),
            rule: RuleJson {
                id: &rule.id,
                name: &rule.name,
                title: &rule.title,
                level: rule.severity.name(),
                tags: &rule.tags,
            },
            cluster: &alert.cluster,
            principal: shared.principal.as_ref().map(PrincipalJson::of),
            credential: shared.credential.as_ref().map(CredentialJson::of),
            origin: OriginJson::of(&shared.origin),
            target: TargetJson::of(&shared.target),
            starts_at: Stamp(alert.starts_at),
            updated_at: Stamp(alert.updated_at),
            ends_at: alert.ends_at.map(Stamp),
            count: alert.count,
            why: &alert.why,
            evidence: alert
                .evidence
                .iter()
                .map(|facts| EvidenceJson::of(&facts.evidence))
                .collect(),
            respond: &alert.respond,
            links: &rule.references,
            fingerprint: &alert.fingerprint,
            contain: contain::commands(alert),
            runbook: rule.runbook.as_deref(),
            summary: &alert.summary,
            last_seen_at: Stamp(alert.last_seen_at),
            evicted: alert.evicted,
            principals: SeveralJson::of(&alert.principals),
            origins: SeveralJson::of(&alert.origins),
            resources: SeveralJson::of(&alert.resources),
            namespaces: SeveralJson::of(&alert.namespaces),
            dropped_before,
        }
    }
}

impl<'a> PrincipalJson<'a> {
    fn of(principal: &'a PrincipalFacts) -> Self {
        Self {
            name: &principal.name,
            kind: principal.kind,
            impersonator: principal.impersonator.as_deref(),
            groups: principal.groups.iter().map(|group| &**group).collect(),
        }
    }
}

impl<'a> CredentialJson<'a> {
    fn of(credential: &'a CredentialFacts) -> Self {
        Self {
            id: &credential.id,
            kind: credential.kind,
            minted: credential.minted.as_deref().map(MintingJson::of),
        }
    }
}

impl<'a> MintingJson<'a> {
    fn of(minting: &'a Minting) -> Self {
        let earlier = minting.earlier.as_deref();
        Self {
            by: &minting.by,
            at: Stamp(minting.at),
            from: minting.from.as_deref(),
            audit_id: &minting.audit_id,
            earlier: earlier.map(Self::of).map(Box::new),
        }
    }
}

impl<'a> OriginJson<'a> {
    fn of(origin: &'a SharedOrigin) -> Self {
        Self {
            ip: origin.ip.as_deref(),
            scope: origin.scope,
            client: origin.client.as_deref(),
            user_agent: origin.user_agent.as_deref(),
        }
    }
}

impl<'a> TargetJson<'a> {
    fn of(target: &'a SharedTarget) -> Self {
        Self {
            verb: target.verb.as_deref(),
            resource: target.resource.as_deref(),
            subresource: target.subresource.as_deref(),
            namespace: target.namespace.as_deref(),
            name: target.name.as_deref(),
        }
    }
}

impl<'a> EvidenceJson<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        Self {
            audit_id: &evidence.audit_id,
            time: Stamp(evidence.time),
            verb: &evidence.verb,
            uri: &evidence.uri,
            code: evidence.code,
        }
    }
}

impl<'a> SeveralJson<'a> {
    fn of(several: &'a Several) -> Self {
        Self {
            distinct: several.distinct(),
            first: several.first().iter().map(|value| &**value).collect(),
        }
    }
}

/// A moment as RFC 3339 with microseconds.
struct Stamp(Time);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Compact JSON with hidden characters escaped.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in hidden.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + hidden.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        CompactFormatter.write_char_escape(writer, escape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::samples;

    /// The contract, field by field; change it only with all its users.
    #[test]
    fn writes_the_contract() {
        let alert = samples::burst(3);
        let expected = concat!(
            r#"{"id":"ID","status":"firing","rule":{"id":"5c1f0e1e-burst","name":"forbidden-burst","#,
            r#""title":"Many requests refused to one principal","level":"high","tags":["attack.t1613"]},"#,
            r#""cluster":"prod-eu","principal":{"name":"system:serviceaccount:shop:web","#,
            r#""kind":"serviceaccount","impersonator":null,"groups":["system:serviceaccounts","#,
            r#""system:authenticated"]},"credential":{"id":"JTI=7d1e3c52-9f0a-4c0e-8a35-0d1f5a2b9e11","#,
            r#""kind":"token"},"origin":{"ip":"198.51.100.7","scope":"public","client":"kubectl","#,
            r#""user_agent":"kubectl/v1.36.1 (linux/amd64) kubernetes/2c8c4f7"},"#,
            r#""target":{"verb":"get","resource":"secrets","subresource":null,"namespace":"payments","#,
            r#""name":null},"starts_at":"2026-11-23T11:05:00.000250Z","#,
            r#""updated_at":"2026-11-23T11:05:02.000250Z","ends_at":null,"count":3,"#,
            r#""why":"3 requests refused within 1m (threshold 3)","evidence":["#,
            r#"{"audit_id":"00000000-0000-4000-8000-000000000000","time":"2026-11-23T11:05:00.000250Z","#,
            r#""verb":"get","uri":"/api/v1/namespaces/payments/secrets/key-0","code":403},"#,
            r#"{"audit_id":"00000000-0000-4000-8000-000000000001","time":"2026-11-23T11:05:01.000250Z","#,
            r#""verb":"get","uri":"/api/v1/namespaces/payments/secrets/key-1","code":403},"#,
            r#"{"audit_id":"00000000-0000-4000-8000-000000000002","time":"2026-11-23T11:05:02.000250Z","#,
            r#""verb":"get","uri":"/api/v1/namespaces/payments/secrets/key-2","code":403}],"#,
            r#""respond":["kubectl auth can-i --list --as='system:serviceaccount:shop:web'"],"#,
            r#""links":["https://attack.mitre.org/techniques/T1613/"],"fingerprint":"FP","#,
            r#""contain":["kubectl -n shop delete serviceaccount web  # ends all its tokens; make it anew afterwards"],"#,
            r#""runbook":null,"#,
            r#""summary":"","last_seen_at":"2026-11-23T11:05:02.000250Z","evicted":false,"#,
            r#""principals":{"distinct":1,"first":["system:serviceaccount:shop:web"]},"#,
            r#""origins":{"distinct":1,"first":["198.51.100.7"]},"#,
            r#""resources":{"distinct":1,"first":["secrets"]},"#,
            r#""namespaces":{"distinct":1,"first":["payments"]}}"#,
        );
        let line = to_json(&alert, 0);
        let line = line
            .replace(&*alert.id, "ID")
            .replace(&*alert.fingerprint, "FP");
        assert_eq!(line, expected);
        assert!(to_json(&alert, 12).ends_with(r#","dropped_before":12}"#));
    }

    #[test]
    fn hidden_characters_are_escaped_and_survive() {
        let alert = samples::hostile();
        let line = to_json(&alert, 0);
        assert!(!line.chars().any(is_hidden), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        let name = alert
            .shared
            .principal
            .as_ref()
            .map(|principal| &*principal.name);
        assert_eq!(read["principal"]["name"].as_str(), name);
    }
}
