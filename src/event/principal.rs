//! Who acts: the effective principal, its kind, and who stands behind an impersonation.

use std::borrow::Cow;

use super::{Event, Slot, json};

/// What a principal is, told by its name as Kubernetes reserves names (`system:…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// A person or anything else that an authenticator outside the cluster names.
    User,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    ServiceAccount,
    /// `system:node:NAME`: a kubelet.
    Node,
    /// A component of the control plane by its own certificate.
    ControlPlane,
    /// `system:anonymous`: let in without credentials.
    Anonymous,
    /// No name: authentication failed.
    Unauthenticated,
}

impl PrincipalKind {
    /// As rules and alerts spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ServiceAccount => "serviceaccount",
            Self::Node => "node",
            Self::ControlPlane => "control-plane",
            Self::Anonymous => "anonymous",
            Self::Unauthenticated => "unauthenticated",
        }
    }

    /// The kind that a user name stands for.
    pub fn of(name: &str) -> Self {
        match name {
            "" => Self::Unauthenticated,
            "system:anonymous" => Self::Anonymous,
            "system:apiserver"
            | "system:kube-controller-manager"
            | "system:kube-scheduler"
            | "system:kube-proxy"
            | "system:cloud-controller-manager" => Self::ControlPlane,
            _ if service_account(name).is_some() => Self::ServiceAccount,
            _ if name.starts_with("system:node:") => Self::Node,
            _ => Self::User,
        }
    }
}

/// Namespace and name of a service account's user name.
pub(super) fn service_account(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    (!namespace.is_empty() && !name.is_empty()).then_some((namespace, name))
}

impl<'b> Event<'b> {
    /// The effective user name: the impersonated one under impersonation, else the caller's.
    /// Empty when authentication failed.
    pub fn principal(&self) -> Cow<'b, str> {
        self.text(Slot::ImpersonatedName)
            .or_else(|| self.text(Slot::UserName))
            .unwrap_or(Cow::Borrowed(""))
    }

    /// The kind of the effective principal.
    pub fn principal_kind(&self) -> PrincipalKind {
        PrincipalKind::of(&self.principal())
    }

    /// The authenticated caller, when it acts as somebody else.
    pub fn impersonator(&self) -> Option<Cow<'b, str>> {
        self.text(Slot::ImpersonatedName)?;
        self.text(Slot::UserName)
    }

    /// The raw list of the effective principal's groups.
    pub(super) fn raw_groups(&self) -> &'b str {
        let slot = if self.slots().raw(Slot::ImpersonatedName).is_empty() {
            Slot::UserGroups
        } else {
            Slot::ImpersonatedGroups
        };
        self.slots().raw(slot)
    }

    /// The effective principal's groups.
    pub fn groups(&self) -> impl Iterator<Item = Cow<'b, str>> {
        json::elements(self.raw_groups()).map(json::unescape)
    }
}
