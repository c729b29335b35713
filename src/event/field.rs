//! The fields that rules can name: parsing a name, and reading its values from an event.

use std::{borrow::Cow, sync::Arc};

use super::{
    Event, Slot,
    certificate::CertificatePart,
    credential, json,
    principal::service_account,
    table::{Access, AuditLevel, Entry, FIELDS, FieldGroup},
    value::Value,
    workload::Workload,
};
use crate::diagnostic::nearest;

/// A field of an audit event that a rule can name: a place in the raw event or a derived value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    name: Arc<str>,
    access: FieldAccess,
    group: FieldGroup,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum FieldAccess {
    Known(Access),
    /// A dotted path below a slot that holds an object.
    Below(Slot, Arc<str>),
}

/// A name that is no field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The field whose name is nearest, when one is near.
    pub nearest: Option<String>,
}

/// A value that no slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Derived {
    Principal,
    PrincipalKind,
    PrincipalNamespace,
    PrincipalName,
    PrincipalGroups,
    Impersonator,
    OriginIp,
    OriginScope,
    OriginClaimed,
    FailedOpen,
    Client,
    Outcome,
    CredentialId,
    CredentialKind,
    CredentialPod,
    CredentialPodUid,
    CredentialNode,
    CredentialIssued,
    ExecCommand,
    Path,
    DryRun,
    Cluster,
    BindingRole,
    BindingSubjects,
    RoleVerbs,
    RoleResources,
    RoleGrants,
    CsrSigner,
    CsrUsages,
    Verb,
    Workload(Workload),
    Certificate(CertificatePart),
}

/// Slots that hold objects whose insides can be named, by the prefix that names them.
const BELOW: [(&str, Slot); 7] = [
    ("annotations.", Slot::Annotations),
    ("user.extra.", Slot::UserExtra),
    ("impersonatedUser.extra.", Slot::ImpersonatedExtra),
    ("requestObject.", Slot::RequestObject),
    ("responseObject.", Slot::ResponseObject),
    ("responseStatus.details.", Slot::StatusDetails),
    ("authenticationMetadata.", Slot::AuthenticationMetadata),
];

impl Field {
    /// The field of this name, or the one that an alias stands for.
    ///
    /// # Errors
    /// When there is no such field; names the nearest one.
    pub fn parse(name: &str) -> Result<Self, UnknownField> {
        if let Some(entry) = FIELDS.iter().find(|entry| entry.is_called(name)) {
            return Ok(Self {
                name: Arc::from(entry.name),
                access: FieldAccess::Known(entry.access),
                group: entry.access.group(),
            });
        }
        for (prefix, slot) in BELOW {
            if let Some(path) = name.strip_prefix(prefix).filter(|path| !path.is_empty()) {
                return Ok(Self {
                    name: Arc::from(name),
                    access: FieldAccess::Below(slot, Arc::from(path)),
                    group: Access::Slot(slot).group(),
                });
            }
        }
        let names = FIELDS.iter().map(|entry| entry.name);
        Err(UnknownField {
            nearest: nearest(name, names).map(str::to_owned),
        })
    }

    /// The name as the field table has it, or the whole dotted path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the field's value depends on.
    pub fn group(&self) -> FieldGroup {
        self.group
    }

    /// The line of the field table that describes it; `None` for a path inside a body or map.
    pub fn entry(&self) -> Option<&'static Entry> {
        FIELDS.iter().find(|entry| entry.name == &*self.name)
    }

    /// Whether an event may have several values of it: a list, or anything in a body. A verb that
    /// reads as two words is still one.
    pub fn may_be_several(&self) -> bool {
        self.entry().is_none_or(Entry::is_list)
    }

    /// The least audit level that records it.
    pub fn level(&self) -> AuditLevel {
        match self.slot() {
            Some(Slot::RequestObject) => AuditLevel::Request,
            Some(Slot::ResponseObject) => AuditLevel::RequestResponse,
            _ => self
                .entry()
                .map_or(AuditLevel::Metadata, |entry| entry.level),
        }
    }

    /// The part of an event that it is read from as it stands there; `None` for what is derived.
    pub fn slot(&self) -> Option<Slot> {
        match self.access {
            FieldAccess::Known(Access::Slot(slot)) | FieldAccess::Below(slot, _) => Some(slot),
            FieldAccess::Known(Access::Derived(_)) => None,
        }
    }
}

impl Event<'_> {
    /// Visits the values of a field: each element of a list, nothing when it is absent. True as
    /// soon as the visitor says true.
    pub fn any(&self, field: &Field, visit: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        match &field.access {
            FieldAccess::Known(Access::Slot(slot)) => Value::any(self.slots().raw(*slot), visit),
            FieldAccess::Known(Access::Derived(derived)) => self.any_derived(*derived, visit),
            FieldAccess::Below(Slot::RequestObject, path) => self.request_body().any(path, visit),
            FieldAccess::Below(Slot::ResponseObject, path) => self.response_body().any(path, visit),
            FieldAccess::Below(slot, path) => {
                // Keys of these maps hold dots themselves, and their values hold no objects that
                // rules look into, so a path is one key.
                json::member(self.slots().raw(*slot), path)
                    .is_some_and(|raw| Value::any(raw, visit))
            }
        }
    }

    /// The first value of a field as text; `None` when it is absent or null.
    pub fn first(&self, field: &Field) -> Option<Cow<'_, str>> {
        let mut found = None;
        self.any(field, &mut |value| {
            found = value.into_text().map(Cow::into_owned);
            found.is_some()
        });
        found.map(Cow::Owned)
    }

    fn any_derived(&self, derived: Derived, visit: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        match derived {
            Derived::Principal => present(Some(self.principal()), visit),
            Derived::PrincipalKind => visit(Value::text(self.principal_kind().name())),
            Derived::PrincipalNamespace => {
                service_account(&self.principal()).is_some_and(|(ns, _)| visit(Value::text(ns)))
            }
            Derived::PrincipalName => {
                let principal = self.principal();
                let name = service_account(&principal)
                    .map(|(_, name)| name)
                    .or_else(|| principal.strip_prefix("system:node:"))
                    .unwrap_or(&principal);
                !name.is_empty() && visit(Value::text(name))
            }
            Derived::PrincipalGroups => Value::any(self.raw_groups(), visit),
            Derived::Impersonator => present(self.impersonator(), visit),
            Derived::OriginIp => present(self.origin_ip(), visit),
            Derived::OriginScope => visit(Value::text(self.origin_scope().name())),
            Derived::OriginClaimed => self
                .claimed_ips()
                .into_iter()
                .any(|ip| visit(Value::Text(ip))),
            Derived::FailedOpen => json::members(self.slots().raw(Slot::Annotations))
                .filter(|(key, _)| json::unescape(key).starts_with(FAILED_OPEN))
                .any(|(_, webhook)| Value::any(webhook, visit)),
            Derived::Client => present(Some(self.client()), visit),
            Derived::Outcome => visit(Value::text(self.outcome().name())),
            Derived::CredentialId => present(self.credential_id(), visit),
            Derived::CredentialKind => present(self.credential_kind().map(Cow::Borrowed), visit),
            Derived::CredentialPod => present(self.extra(credential::POD_NAME), visit),
            Derived::CredentialPodUid => present(self.extra(credential::POD_UID), visit),
            Derived::CredentialNode => present(self.extra(credential::NODE_NAME), visit),
            Derived::CredentialIssued => present(self.annotation(credential::ISSUED_ID), visit),
            Derived::ExecCommand => present(self.exec_command().map(Cow::Owned), visit),
            Derived::Path => present(self.path(), visit),
            Derived::DryRun => visit(Value::Bool(self.is_dry_run())),
            Derived::Cluster => {
                present(Some(Cow::Borrowed(self.context().cluster.as_str())), visit)
            }
            Derived::Verb => self.any_verb(visit),
            Derived::BindingRole
            | Derived::BindingSubjects
            | Derived::RoleVerbs
            | Derived::RoleResources
            | Derived::RoleGrants
            | Derived::CsrSigner
            | Derived::CsrUsages => self.any_in_body(derived, visit),
            Derived::Workload(part) => self.workload(part, visit),
            Derived::Certificate(part) => self.certificate(part, visit),
        }
    }

    /// The verb. A stream opened over a WebSocket (kubectl's way since 1.31) is recorded as get,
    /// one opened over SPDY as create; both do the same and the authorizer asks for create, so
    /// such a get reads as both.
    fn any_verb(&self, visit: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        let raw = self.slots().raw(Slot::Verb);
        let streams = matches!(
            self.slots().raw(Slot::Subresource),
            "\"exec\"" | "\"attach\"" | "\"portforward\""
        );
        Value::any(raw, visit) || (streams && raw == "\"get\"" && visit(Value::text("create")))
    }

    fn any_in_body(&self, derived: Derived, visit: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        let (resources, path): (&[&str], &str) = match derived {
            Derived::BindingRole => (&BINDINGS, "roleRef.name"),
            Derived::BindingSubjects => (&BINDINGS, "subjects"),
            Derived::RoleVerbs => (&ROLES, "rules.verbs"),
            Derived::RoleResources => (&ROLES, "rules.resources"),
            Derived::RoleGrants => (&ROLES, "rules"),
            Derived::CsrUsages => (&REQUESTS, "spec.usages"),
            _ => (&REQUESTS, "spec.signerName"),
        };
        if !resources.contains(&self.slots().raw(Slot::Resource)) {
            return false;
        }
        match derived {
            Derived::RoleGrants => return self.grants(visit),
            // A patch of the subjects does not name the role; the answer does, if it is recorded.
            Derived::BindingRole => {
                let mut seen = false;
                let found = self.request_body().any(path, &mut |value| {
                    seen = true;
                    visit(value)
                });
                return found || !seen && self.response_body().any(path, visit);
            }
            Derived::BindingSubjects => {}
            _ => return self.request_body().any(path, visit),
        }
        self.request_body().any(path, &mut |value| match value {
            Value::Object(raw) => visit(Value::text(binding_subject(raw))),
            _ => false,
        })
    }
}

/// How the keys begin under which an API server notes a webhook that it went on without; the rest
/// is a running number (apiserver/pkg/admission/plugin/webhook, since 1.22).
const FAILED_OPEN: &str = "failed-open.";
const BINDINGS: [&str; 2] = ["\"rolebindings\"", "\"clusterrolebindings\""];
const ROLES: [&str; 2] = ["\"roles\"", "\"clusterroles\""];
const REQUESTS: [&str; 1] = ["\"certificatesigningrequests\""];

/// A binding's subject as one word: `User:alice`, `Group:system:masters`, and a service account
/// by its user name, so that it compares with `principal`.
fn binding_subject(raw: &str) -> String {
    let part = |key| {
        json::member(raw, key)
            .map(json::unescape)
            .unwrap_or_default()
    };
    if part("kind") == "ServiceAccount" {
        format!(
            "system:serviceaccount:{}:{}",
            part("namespace"),
            part("name")
        )
    } else {
        format!("{}:{}", part("kind"), part("name"))
    }
}

fn present(text: Option<Cow<'_, str>>, visit: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
    text.filter(|text| !text.is_empty())
        .is_some_and(|text| visit(Value::Text(text)))
}
