//! What the caller showed: the id and kind of its credential, and where it is bound.

use std::borrow::Cow;

use super::{Event, Slot};

/// `user.extra` keys that authenticators write (KEP-4193; x509.go since 1.32).
pub(super) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";
pub(super) const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
pub(super) const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
pub(super) const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// Annotation of a TokenRequest: the id of the token that it made.
pub(super) const ISSUED_ID: &str = "authentication.kubernetes.io/issued-credential-id";
/// Annotation of a request with a service-account token from a Secret.
const LEGACY_TOKEN: &str = "authentication.k8s.io/legacy-token";
/// `user.extra` key of EKS for IAM credentials.
const ACCESS_KEY: &str = "accessKeyId";

impl<'b> Event<'b> {
    /// `JTI=…`, `X509SHA256=…`, or an EKS access key id; `None` where the API server names none.
    pub fn credential_id(&self) -> Option<Cow<'b, str>> {
        if self.slots().raw(Slot::UserExtra).is_empty() {
            return None;
        }
        self.extra(CREDENTIAL_ID).or_else(|| self.extra(ACCESS_KEY))
    }

    /// The id of the token that a `TokenRequest` made, in the form of [`Event::credential_id`].
    pub fn issued_credential(&self) -> Option<Cow<'b, str>> {
        self.annotation(ISSUED_ID)
    }

    /// `token`, `certificate`, `legacy-token` or `other`; `None` where nothing tells.
    pub fn credential_kind(&self) -> Option<&'static str> {
        if self.annotation(LEGACY_TOKEN).is_some() {
            return Some("legacy-token");
        }
        let id = self.credential_id()?;
        Some(if id.starts_with("JTI=") {
            "token"
        } else if id.starts_with("X509SHA256=") {
            "certificate"
        } else {
            "other"
        })
    }
}
