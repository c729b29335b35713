//! Takes secrets out of text before anybody is shown it.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex, RegexSet};

use super::{Event, Field, Slot};

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Shapes of secrets. The first group, when there is one, is kept: it says what was there.
const PATTERNS: [&str; 7] = [
    // A JSON Web Token: header and payload in base64url, `{"` first, so `eyJ`.
    r"()eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,2}",
    // A header or parameter that carries one.
    r"(?i)(\b(?:bearer|basic)(?:\s+|\+|%20))[A-Za-z0-9+/=._~%-]{6,}",
    r"(?i)((?:passw(?:or)?d|passphrase|secret|token|api_?-?key|access_?-?key|credential|authorization|private_?-?key)[A-Za-z0-9_-]*(?:=|%3[dD]|:\s?|%3[aA]))[^&\s;,]+",
    r"(?i)((?:--?(?:password|token|secret|api-key))(?:\s+|\+|%20|&command=))[^&\s]+",
    // AWS access keys, PEM blocks, GitHub and Slack tokens.
    r"()\b(?:AKIA|ASIA)[A-Z0-9]{12,}",
    r"()-----BEGIN[A-Z +]*PRIVATE KEY[\s\S]*",
    r"()\b(?:gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,})",
];

static SHAPES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    PATTERNS
        .iter()
        .filter_map(|pattern| Regex::new(pattern).ok())
        .collect()
});

/// All shapes at once: most text has none of them, and one look tells.
static ANY_SHAPE: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(PATTERNS).ok());

/// Whether nothing in the text looks like a secret.
pub(super) fn is_clean(text: &str) -> bool {
    ANY_SHAPE
        .as_ref()
        .is_some_and(|shapes| !shapes.is_match(text))
}

/// The text with everything that looks like a secret replaced by [`REDACTED`].
pub fn redact(text: &str) -> Cow<'_, str> {
    if is_clean(text) {
        return Cow::Borrowed(text);
    }
    let mut clean = Cow::Borrowed(text);
    for shape in SHAPES.iter() {
        let replaced = shape.replace_all(&clean, |found: &Captures<'_>| {
            format!(
                "{}{REDACTED}",
                found.get(1).map_or("", |kept| kept.as_str())
            )
        });
        if let Cow::Owned(replaced) = replaced {
            clean = Cow::Owned(replaced);
        }
    }
    clean
}

impl Event<'_> {
    /// Whether a field looks into that part of a body which is secret whatever it looks like: of
    /// a Secret all but its type and metadata, of requests for tokens and of their reviews the
    /// token. Such values are matched and counted, and never shown.
    pub fn is_secret(&self, field: &Field) -> bool {
        let Some((_, path)) = field
            .name()
            .split_once('.')
            .filter(|(body, _)| matches!(*body, "requestObject" | "responseObject"))
        else {
            return false;
        };
        let is = |slot, name| self.text(slot).as_deref() == Some(name);
        if is(Slot::Resource, "secrets") {
            let is_plain = matches!(path, "type" | "kind" | "apiVersion")
                || path.starts_with("metadata.") && !path.contains("last-applied-configuration");
            return !is_plain;
        }
        let has_token = is(Slot::Subresource, "token") || is(Slot::Resource, "tokenreviews");
        has_token && path.rsplit('.').next() == Some("token")
    }
}

/// The text redacted and cut in the middle to at most `max` characters.
pub fn shorten(text: &str, max: usize) -> Box<str> {
    cut(redact(text), max)
}

/// The text cut in the middle to at most `max` characters, for what cannot hold a secret.
pub(super) fn cut(text: Cow<'_, str>, max: usize) -> Box<str> {
    if text.len() <= max {
        return text.into();
    }
    let count = text.chars().count();
    if count <= max {
        return text.into();
    }
    let head = max / 2;
    let tail = max - head - 1;
    let mut short: String = text.chars().take(head).collect();
    short.push('…');
    short.extend(text.chars().skip(count - tail));
    short.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_secrets_out() {
        for (text, clean) in [
            (
                "/exec?command=curl&command=-H&command=Authorization%3A+Bearer+abcdef123456",
                "/exec?command=curl&command=-H&command=Authorization%3A[redacted]",
            ),
            ("token=abc123&watch=true", "token=[redacted]&watch=true"),
            (
                "mysql -u root --password hunter2 -h db",
                "mysql -u root --password [redacted] -h db",
            ),
            (
                "x eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrIn0.sig y",
                "x [redacted] y",
            ),
            ("AWS AKIAIOSFODNN7EXAMPLE", "AWS [redacted]"),
        ] {
            let found = redact(text);
            assert!(
                !found.contains("abcdef123456") && !found.contains("hunter2"),
                "{found}"
            );
            assert_eq!(found, clean);
        }
    }

    #[test]
    fn leaves_ordinary_requests_alone() {
        for text in [
            "/api/v1/namespaces/shop/secrets/db-token-x7x9z",
            "/api/v1/namespaces/kube-system/serviceaccounts/default/token",
            "/api/v1/secrets?limit=500&watch=true",
            "/apis/apps/v1/namespaces/payments-prod/deployments/checkout-tokenizer/scale",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn knows_where_bodies_keep_secrets() {
        use crate::event::{Context, Slots};

        let context = Context::default();
        let is_secret = |resource: &str, subresource: &str, field: &str| {
            let mut slots = Slots::default();
            slots.set(Slot::Resource, resource);
            slots.set(Slot::Subresource, subresource);
            Event::new(slots, "{}", &context).is_secret(&Field::parse(field).unwrap())
        };
        let applied =
            "requestObject.metadata.annotations.kubectl.kubernetes.io/last-applied-configuration";
        for (resource, subresource, field, expected) in [
            (r#""secrets""#, "", "requestObject.data.password", true),
            (r#""secrets""#, "", "requestObject.value", true),
            (r#""secrets""#, "", "responseObject.items.data.x", true),
            (r#""secrets""#, "", applied, true),
            (r#""secrets""#, "", "requestObject.metadata.name", false),
            (r#""secrets""#, "", "requestObject.type", false),
            (r#""secrets""#, "", "objectRef.name", false),
            (r#""configmaps""#, "", "requestObject.data.password", false),
            (
                r#""serviceaccounts""#,
                r#""token""#,
                "responseObject.status.token",
                true,
            ),
            (
                r#""serviceaccounts""#,
                r#""token""#,
                "requestObject.spec.audiences",
                false,
            ),
            (r#""tokenreviews""#, "", "requestObject.spec.token", true),
        ] {
            let found = is_secret(resource, subresource, field);
            assert_eq!(found, expected, "{resource} {field}");
        }
    }

    #[test]
    fn every_pattern_compiles() {
        assert_eq!(SHAPES.len(), PATTERNS.len());
        assert!(ANY_SHAPE.is_some());
    }

    #[test]
    fn cuts_in_the_middle() {
        assert_eq!(&*shorten("abcdefghij", 5), "ab…ij");
        assert_eq!(&*shorten("abc", 5), "abc");
    }
}
