//! The field table: every name that a rule can use, with its type, meaning and the audit level
//! that records it. `auditwatch fields` prints it.

use super::{Slot, certificate::CertificatePart, field::Derived, workload::Workload};

/// What a field's value depends on, so that what was found out for one combination need not be
/// found out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldGroup {
    /// A function of verb, resource, subresource, apiGroup, namespace, code, decision, level and
    /// stage.
    What,
    /// A function of the caller's and the impersonated name, uid, groups and extra, of user agent
    /// and source addresses.
    Who,
    /// Of anything else.
    Free,
}

/// The least audit level that records a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum AuditLevel {
    Metadata,
    Request,
    RequestResponse,
}

impl AuditLevel {
    /// As audit policies spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// How a known field is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Slot(Slot),
    Derived(Derived),
}

impl Access {
    pub(super) fn group(self) -> FieldGroup {
        match self {
            Self::Slot(slot) => match slot {
                Slot::Verb
                | Slot::Resource
                | Slot::Subresource
                | Slot::ApiGroup
                | Slot::Namespace
                | Slot::StatusCode
                | Slot::Level
                | Slot::Stage => FieldGroup::What,
                Slot::UserName
                | Slot::UserGroups
                | Slot::UserUid
                | Slot::UserExtra
                | Slot::ImpersonatedName
                | Slot::ImpersonatedUid
                | Slot::ImpersonatedGroups
                | Slot::ImpersonatedExtra
                | Slot::UserAgent
                | Slot::SourceIps => FieldGroup::Who,
                _ => FieldGroup::Free,
            },
            Self::Derived(derived) => match derived {
                Derived::Outcome | Derived::Verb => FieldGroup::What,
                Derived::Principal
                | Derived::PrincipalKind
                | Derived::PrincipalNamespace
                | Derived::PrincipalName
                | Derived::PrincipalGroups
                | Derived::Impersonator
                | Derived::OriginIp
                | Derived::OriginScope
                | Derived::OriginClaimed
                | Derived::CredentialId
                | Derived::CredentialPod
                | Derived::CredentialPodUid
                | Derived::CredentialNode
                | Derived::Client => FieldGroup::Who,
                _ => FieldGroup::Free,
            },
        }
    }
}

/// One line of the field table.
#[derive(Debug)]
pub struct Entry {
    /// The name that rules use.
    pub name: &'static str,
    /// Other names for it: those that published Sigma rules use.
    pub aliases: &'static [&'static str],
    pub(super) access: Access,
    /// `text`, `number`, `bool`, `list of text`, `object`.
    pub kind: &'static str,
    /// The least audit level that records it.
    pub level: AuditLevel,
    /// What it is, in one sentence.
    pub meaning: &'static str,
}

impl Entry {
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }

    /// Whether the field is a list.
    pub fn is_list(&self) -> bool {
        self.kind == LIST
    }

    /// Whether the field is in the raw event, rather than made from it.
    pub fn is_raw(&self) -> bool {
        matches!(self.access, Access::Slot(_)) || self.name == "verb"
    }
}

const fn raw(
    name: &'static str,
    slot: Slot,
    kind: &'static str,
    level: AuditLevel,
    meaning: &'static str,
) -> Entry {
    Entry {
        name,
        aliases: &[],
        access: Access::Slot(slot),
        kind,
        level,
        meaning,
    }
}

const fn derived(
    name: &'static str,
    aliases: &'static [&'static str],
    derived: Derived,
    kind: &'static str,
    level: AuditLevel,
    meaning: &'static str,
) -> Entry {
    Entry {
        name,
        aliases,
        access: Access::Derived(derived),
        kind,
        level,
        meaning,
    }
}

const TEXT: &str = "text";
const LIST: &str = "list of text";
const META: AuditLevel = AuditLevel::Metadata;
const BODY: AuditLevel = AuditLevel::Request;

/// Every field, raw ones first, in the order in which `auditwatch fields` prints them.
pub static FIELDS: &[Entry] = &[
    raw(
        "level",
        Slot::Level,
        TEXT,
        META,
        "Audit level that the event was recorded at.",
    ),
    raw(
        "auditID",
        Slot::AuditId,
        TEXT,
        META,
        "Id of the request; the client may choose it.",
    ),
    raw(
        "stage",
        Slot::Stage,
        TEXT,
        META,
        "ResponseStarted, ResponseComplete or Panic.",
    ),
    raw(
        "requestURI",
        Slot::RequestUri,
        TEXT,
        META,
        "Request URI with its query, as sent.",
    ),
    derived(
        "verb",
        &[],
        Derived::Verb,
        TEXT,
        META,
        "Kubernetes verb, or lower-case HTTP method for paths that are no resource. A WebSocket \
         exec, attach or portforward (recorded as get) reads as create too.",
    ),
    raw(
        "user.username",
        Slot::UserName,
        TEXT,
        META,
        "The authenticated caller, not the impersonated one.",
    ),
    raw("user.uid", Slot::UserUid, TEXT, META, "The caller's uid."),
    raw(
        "user.groups",
        Slot::UserGroups,
        LIST,
        META,
        "The caller's groups.",
    ),
    raw(
        "user.extra",
        Slot::UserExtra,
        "object",
        META,
        "The caller's extra attributes; user.extra.KEY names one.",
    ),
    raw(
        "impersonatedUser.username",
        Slot::ImpersonatedName,
        TEXT,
        META,
        "The identity that the caller acts as.",
    ),
    raw(
        "impersonatedUser.uid",
        Slot::ImpersonatedUid,
        TEXT,
        META,
        "Its uid.",
    ),
    raw(
        "impersonatedUser.groups",
        Slot::ImpersonatedGroups,
        LIST,
        META,
        "Its groups.",
    ),
    raw(
        "impersonatedUser.extra",
        Slot::ImpersonatedExtra,
        "object",
        META,
        "Its extra attributes; impersonatedUser.extra.KEY names one.",
    ),
    raw(
        "authenticationMetadata",
        Slot::AuthenticationMetadata,
        "object",
        META,
        "How the caller was authenticated (Kubernetes 1.36 and later).",
    ),
    raw(
        "sourceIPs",
        Slot::SourceIps,
        LIST,
        META,
        "X-Forwarded-For, X-Real-Ip, then the peer; only the last cannot be forged.",
    ),
    raw(
        "userAgent",
        Slot::UserAgent,
        TEXT,
        META,
        "User agent as the client sent it.",
    ),
    raw(
        "objectRef.resource",
        Slot::Resource,
        TEXT,
        META,
        "Resource, plural: pods, secrets.",
    ),
    raw(
        "objectRef.subresource",
        Slot::Subresource,
        TEXT,
        META,
        "Subresource: exec, token, status.",
    ),
    raw(
        "objectRef.namespace",
        Slot::Namespace,
        TEXT,
        META,
        "Namespace; absent for cluster-wide requests.",
    ),
    raw(
        "objectRef.name",
        Slot::Name,
        TEXT,
        META,
        "Object name; absent for lists and for create with generateName.",
    ),
    Entry {
        name: "objectRef.apiGroup",
        aliases: &["apiGroup"],
        access: Access::Slot(Slot::ApiGroup),
        kind: TEXT,
        level: META,
        meaning: "API group; absent for the core group.",
    },
    raw(
        "objectRef.apiVersion",
        Slot::ObjectApiVersion,
        TEXT,
        META,
        "API version without the group: v1.",
    ),
    raw("objectRef.uid", Slot::Uid, TEXT, META, "Object uid."),
    raw(
        "objectRef.resourceVersion",
        Slot::ResourceVersion,
        TEXT,
        META,
        "Object resource version.",
    ),
    raw(
        "responseStatus.code",
        Slot::StatusCode,
        "number",
        META,
        "HTTP status. The words ALLOW and FORBID compare with the authorization decision.",
    ),
    raw(
        "responseStatus.status",
        Slot::StatusStatus,
        TEXT,
        META,
        "Success or Failure, when the server says so.",
    ),
    raw(
        "responseStatus.reason",
        Slot::StatusReason,
        TEXT,
        META,
        "Reason of a failure: Forbidden, NotFound, AlreadyExists.",
    ),
    raw(
        "responseStatus.message",
        Slot::StatusMessage,
        TEXT,
        META,
        "Message of a failure.",
    ),
    raw(
        "responseStatus.details",
        Slot::StatusDetails,
        "object",
        META,
        "Details of a failure; responseStatus.details.KEY names one.",
    ),
    raw(
        "requestReceivedTimestamp",
        Slot::RequestReceived,
        TEXT,
        META,
        "When the request arrived.",
    ),
    raw(
        "stageTimestamp",
        Slot::StageTimestamp,
        TEXT,
        META,
        "When this stage was reached.",
    ),
    raw(
        "annotations",
        Slot::Annotations,
        "object",
        META,
        "Annotations; annotations.KEY names one: annotations.authorization.k8s.io/reason.",
    ),
    raw(
        "requestObject",
        Slot::RequestObject,
        "object",
        BODY,
        "Request body; requestObject.PATH looks into it, lists meaning each element.",
    ),
    raw(
        "responseObject",
        Slot::ResponseObject,
        "object",
        AuditLevel::RequestResponse,
        "Response body; responseObject.PATH looks into it.",
    ),
    derived(
        "cluster",
        &[],
        Derived::Cluster,
        TEXT,
        META,
        "Name of the cluster, as the source's settings say.",
    ),
    derived(
        "principal",
        &[],
        Derived::Principal,
        TEXT,
        META,
        "Effective identity: the impersonated user, else the caller.",
    ),
    derived(
        "principal.kind",
        &[],
        Derived::PrincipalKind,
        TEXT,
        META,
        "user, serviceaccount, node, control-plane, anonymous or unauthenticated.",
    ),
    derived(
        "principal.namespace",
        &[],
        Derived::PrincipalNamespace,
        TEXT,
        META,
        "Namespace of a service account.",
    ),
    derived(
        "principal.name",
        &[],
        Derived::PrincipalName,
        TEXT,
        META,
        "Name without system:serviceaccount:NAMESPACE: or system:node:.",
    ),
    derived(
        "principal.groups",
        &[],
        Derived::PrincipalGroups,
        LIST,
        META,
        "Groups of the effective identity.",
    ),
    derived(
        "impersonator",
        &[],
        Derived::Impersonator,
        TEXT,
        META,
        "The authenticated caller, when it acts as somebody else.",
    ),
    derived(
        "origin.ip",
        &[],
        Derived::OriginIp,
        TEXT,
        META,
        "The address that can be believed: the last of sourceIPs that is no trusted proxy.",
    ),
    derived(
        "origin.scope",
        &[],
        Derived::OriginScope,
        TEXT,
        META,
        "public, private, loopback, link-local or unknown.",
    ),
    derived(
        "origin.claimed",
        &[],
        Derived::OriginClaimed,
        LIST,
        META,
        "Addresses before the believed one: what X-Forwarded-For claims.",
    ),
    derived(
        "admission.failed_open",
        &[],
        Derived::FailedOpen,
        LIST,
        META,
        "Admission webhooks that did not answer and were gone on without, since they may fail.",
    ),
    derived(
        "client",
        &[],
        Derived::Client,
        TEXT,
        META,
        "User-agent family: kubectl, curl, kubelet; `none` for a caller who sends no user agent.",
    ),
    derived(
        "outcome",
        &[],
        Derived::Outcome,
        TEXT,
        META,
        "allowed, forbidden (403 by the authorizer), refused (403 after the authorizer allowed), \
         unauthenticated (401), not-found, failed or pending.",
    ),
    derived(
        "credential.id",
        &[],
        Derived::CredentialId,
        TEXT,
        META,
        "JTI=… of a token, X509SHA256=… of a certificate (Kubernetes 1.30 and 1.32), or an EKS access key id.",
    ),
    derived(
        "credential.kind",
        &[],
        Derived::CredentialKind,
        TEXT,
        META,
        "token, certificate, legacy-token or other.",
    ),
    derived(
        "credential.pod",
        &[],
        Derived::CredentialPod,
        TEXT,
        META,
        "Pod that a service account token is bound to.",
    ),
    derived(
        "credential.podUid",
        &[],
        Derived::CredentialPodUid,
        TEXT,
        META,
        "Uid of that pod.",
    ),
    derived(
        "credential.node",
        &[],
        Derived::CredentialNode,
        TEXT,
        META,
        "Node that the pod of the token runs on.",
    ),
    derived(
        "credential.issued",
        &[],
        Derived::CredentialIssued,
        TEXT,
        META,
        "Id of the token that this request made.",
    ),
    derived(
        "exec.command",
        &[],
        Derived::ExecCommand,
        TEXT,
        META,
        "Command of an exec, its words joined by spaces, from the URI.",
    ),
    derived(
        "path",
        &[],
        Derived::Path,
        TEXT,
        META,
        "Request URI without its query.",
    ),
    derived(
        "dryRun",
        &[],
        Derived::DryRun,
        "bool",
        META,
        "Whether the request only asks what would happen.",
    ),
    derived(
        "pod.privileged",
        &[],
        Derived::Workload(Workload::Privileged),
        "bool",
        BODY,
        "privileged (on Windows: hostProcess) of any container, also init and ephemeral, in a pod \
         or any workload's template.",
    ),
    derived(
        "pod.allowPrivilegeEscalation",
        &[],
        Derived::Workload(Workload::PrivilegeEscalation),
        "bool",
        BODY,
        "allowPrivilegeEscalation of any container.",
    ),
    derived(
        "pod.capabilities",
        &["capabilities"],
        Derived::Workload(Workload::Capabilities),
        LIST,
        BODY,
        "Capabilities that any container adds.",
    ),
    derived(
        "pod.runAsUser",
        &[],
        Derived::Workload(Workload::RunAsUser),
        "number",
        BODY,
        "runAsUser of the pod or any container.",
    ),
    derived(
        "pod.runAsNonRoot",
        &[],
        Derived::Workload(Workload::RunAsNonRoot),
        "bool",
        BODY,
        "runAsNonRoot of the pod or any container.",
    ),
    derived(
        "pod.hostPath",
        &["hostPath"],
        Derived::Workload(Workload::HostPath),
        LIST,
        BODY,
        "Paths of the node that the pod mounts.",
    ),
    derived(
        "pod.hostNetwork",
        &[],
        Derived::Workload(Workload::HostNetwork),
        "bool",
        BODY,
        "Whether the pod uses the node's network.",
    ),
    derived(
        "pod.hostPID",
        &[],
        Derived::Workload(Workload::HostPid),
        "bool",
        BODY,
        "Whether the pod sees the node's processes.",
    ),
    derived(
        "pod.hostIPC",
        &[],
        Derived::Workload(Workload::HostIpc),
        "bool",
        BODY,
        "Whether the pod uses the node's IPC.",
    ),
    derived(
        "pod.shareProcessNamespace",
        &[],
        Derived::Workload(Workload::ShareProcessNamespace),
        "bool",
        BODY,
        "Whether the containers see each other's processes.",
    ),
    derived(
        "pod.images",
        &[],
        Derived::Workload(Workload::Images),
        LIST,
        BODY,
        "Images of all containers.",
    ),
    derived(
        "pod.containers",
        &[],
        Derived::Workload(Workload::Containers),
        LIST,
        BODY,
        "Names of all containers.",
    ),
    derived(
        "pod.commands",
        &[],
        Derived::Workload(Workload::Commands),
        LIST,
        BODY,
        "Words of command and args of all containers, and of the commands of their hooks and probes.",
    ),
    derived(
        "pod.serviceAccount",
        &[],
        Derived::Workload(Workload::ServiceAccount),
        TEXT,
        BODY,
        "Service account that the pod runs as.",
    ),
    derived(
        "binding.role",
        &[],
        Derived::BindingRole,
        TEXT,
        BODY,
        "Role that a binding grants.",
    ),
    derived(
        "binding.subjects",
        &[],
        Derived::BindingSubjects,
        LIST,
        BODY,
        "Whom a binding grants to: User:NAME, Group:NAME or system:serviceaccount:NAMESPACE:NAME.",
    ),
    derived(
        "role.verbs",
        &[],
        Derived::RoleVerbs,
        LIST,
        BODY,
        "Verbs in a role's rules.",
    ),
    derived(
        "role.resources",
        &[],
        Derived::RoleResources,
        LIST,
        BODY,
        "Resources in a role's rules.",
    ),
    derived(
        "role.grants",
        &[],
        Derived::RoleGrants,
        LIST,
        BODY,
        "What a role's rules allow, verb and resource together: `get secrets`, `create \
         deployments.apps`, `* *.*`, `get /metrics`. Of a patch without whole rules: from the \
         response, when it is recorded.",
    ),
    derived(
        "csr.cn",
        &[],
        Derived::Certificate(CertificatePart::CommonName),
        TEXT,
        BODY,
        "Common name that a certificate signing request asks for.",
    ),
    derived(
        "csr.organization",
        &[],
        Derived::Certificate(CertificatePart::Organization),
        LIST,
        BODY,
        "Organizations that it asks for: the groups.",
    ),
    derived(
        "csr.signer",
        &[],
        Derived::CsrSigner,
        TEXT,
        BODY,
        "Signer that it asks.",
    ),
    derived(
        "csr.usages",
        &[],
        Derived::CsrUsages,
        LIST,
        BODY,
        "Key usages that it asks for.",
    ),
];
