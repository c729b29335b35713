//! An audit policy, audit.k8s.io/v1 `Policy`, and what it records of a kind of request. As in the
//! API server the first rule that fits a request decides.

use std::sync::Arc;

use super::RequestKind;
use crate::{
    diagnostic::{Problems, SourceFile, Table, yaml},
    event::AuditLevel,
};

/// A policy.
#[derive(Clone, Debug, Default)]
pub struct AuditPolicy {
    rules: Vec<PolicyRule>,
    omits_started: bool,
    omits_complete: bool,
}

#[derive(Clone, Debug)]
struct PolicyRule {
    /// `None` for the policy's own level None.
    level: Option<AuditLevel>,
    verbs: Vec<String>,
    callers: Vec<String>,
    namespaces: Vec<String>,
    resources: Vec<Resources>,
    paths: Vec<String>,
    omits_complete: bool,
}

#[derive(Clone, Debug)]
struct Resources {
    group: String,
    resources: Vec<String>,
    names: bool,
}

/// What a policy does with a kind of request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The level for a caller, namespace and name that no rule singles out; `None` when such
    /// requests are not recorded.
    pub level: Option<AuditLevel>,
    /// For some callers, namespaces, names or paths a rule before decides otherwise: its number,
    /// from 1, whom or what it is about, and its level.
    pub otherwise: Vec<(usize, String, Option<AuditLevel>)>,
}

/// How a rule of a policy fits a kind of request.
enum Fit {
    No,
    Always,
    /// Only for these.
    For(String),
}

impl AuditPolicy {
    /// Reads a policy; problems are added. `None` when there was one.
    pub fn read(file: &Arc<SourceFile>, problems: &Problems) -> Option<Self> {
        let documents = yaml::parse(file, problems);
        let Some(document) = documents.first() else {
            return None;
        };
        let mut table = Table::root(document, problems, "an audit policy");
        table.ignore(&["metadata", "omitManagedFields"]);
        table.word("apiVersion", &[("audit.k8s.io/v1", ())]);
        if table.has("kind") {
            table.word("kind", &[("Policy", ())]);
        } else {
            table.missing("kind", "write `kind: Policy`");
        }
        let stages = stages(&mut table);
        let mut rules = Vec::new();
        for rule in table.tables("rules", "a rule of an audit policy") {
            rules.extend(PolicyRule::read(rule));
        }
        table.finish();
        (problems.errors() == 0).then(|| Self {
            rules,
            omits_started: stages.contains(&STARTED),
            omits_complete: stages.contains(&COMPLETE),
        })
    }

    /// Whether no event of the stage ResponseStarted is recorded: failed logins show at no other.
    pub fn omits_started(&self) -> bool {
        self.omits_started
    }

    /// What is done with a kind of request. A kind without resource is one of paths.
    pub fn decide(&self, kind: &RequestKind) -> Decision {
        let mut decision = Decision::default();
        for (place, rule) in self.rules.iter().enumerate() {
            let level = rule
                .level
                .filter(|_| !self.omits_complete && !rule.omits_complete);
            match rule.fits(kind) {
                Fit::No => {}
                Fit::Always => {
                    decision.level = level;
                    break;
                }
                Fit::For(whom) => decision.otherwise.push((place + 1, whom, level)),
            }
        }
        decision
    }
}

const STARTED: &str = "ResponseStarted";
const COMPLETE: &str = "ResponseComplete";

fn stages(table: &mut Table<'_>) -> Vec<&'static str> {
    const STAGES: [&str; 4] = ["RequestReceived", STARTED, COMPLETE, "Panic"];
    let mut known = Vec::new();
    for stage in table.texts("omitStages") {
        match STAGES.iter().find(|known| **known == stage.value) {
            Some(stage) => known.push(*stage),
            None => {
                let message = format!("there is no stage `{}`", stage.value);
                table.problems.add(
                    table
                        .error("wrong-value", stage.spot, message)
                        .help(format!("write one of {}", STAGES.join(", "))),
                );
            }
        }
    }
    known
}

impl PolicyRule {
    fn read(mut table: Table<'_>) -> Option<Self> {
        if !table.has("level") {
            table.missing("level", "add `level: Metadata`, or another level");
        }
        let level = table.word(
            "level",
            &[
                ("None", None),
                ("Metadata", Some(AuditLevel::Metadata)),
                ("Request", Some(AuditLevel::Request)),
                ("RequestResponse", Some(AuditLevel::RequestResponse)),
            ],
        );
        let omits_complete = stages(&mut table).contains(&COMPLETE);
        table.ignore(&["omitManagedFields"]);
        let mut texts = |key| -> Vec<String> {
            let texts = table.texts(key);
            texts.into_iter().map(|text| text.value).collect()
        };
        let verbs = texts("verbs");
        let mut callers = texts("users");
        callers.extend(texts("userGroups"));
        let namespaces = texts("namespaces");
        let paths = texts("nonResourceURLs");
        let mut resources = Vec::new();
        for mut entry in table.tables("resources", "an entry of `resources`") {
            let group = entry.text("group").map(|group| group.value);
            let names = !entry.texts("resourceNames").is_empty();
            let listed = entry.texts("resources");
            resources.push(Resources {
                group: group.unwrap_or_default(),
                resources: listed.into_iter().map(|text| text.value).collect(),
                names,
            });
            entry.finish();
        }
        table.finish();
        Some(Self {
            level: level?.value,
            verbs,
            callers,
            namespaces,
            resources,
            paths,
            omits_complete,
        })
    }

    fn fits(&self, kind: &RequestKind) -> Fit {
        if !self.verbs.is_empty() && !self.verbs.iter().any(|verb| **verb == *kind.verb) {
            return Fit::No;
        }
        let mut only = Vec::new();
        if !self.callers.is_empty() {
            only.push(self.callers.join(", "));
        }
        let asks_objects = !self.resources.is_empty() || !self.namespaces.is_empty();
        if kind.resource.is_empty() {
            if asks_objects {
                return Fit::No;
            }
            if !self.paths.is_empty() && !self.paths.iter().any(|path| path == "*") {
                only.push(self.paths.join(", "));
            }
        } else if asks_objects {
            let fitting = || self.resources.iter().filter(|entry| entry.fits(kind));
            if !self.resources.is_empty() && fitting().next().is_none() {
                return Fit::No;
            }
            if !self.namespaces.is_empty() {
                only.push(format!("namespaces {}", self.namespaces.join(", ")));
            }
            if !self.resources.is_empty() && fitting().all(|entry| entry.names) {
                only.push("some names".to_owned());
            }
        } else if !self.paths.is_empty() {
            return Fit::No;
        }
        if only.is_empty() {
            Fit::Always
        } else {
            Fit::For(only.join("; "))
        }
    }
}

impl Resources {
    fn fits(&self, kind: &RequestKind) -> bool {
        if self.group != *kind.group {
            return false;
        }
        let path = kind.path();
        self.resources.is_empty()
            || self.resources.iter().any(|listed| {
                *listed == path
                    || listed == "*"
                    || (!kind.subresource.is_empty()
                        && listed.strip_prefix("*/") == Some(&kind.subresource))
                    || listed.strip_suffix("/*") == Some(&kind.resource)
            })
    }
}

/// The API group of a resource that Kubernetes itself has; the core group for what is not known.
pub fn group_of(resource: &str) -> &'static str {
    match resource {
        "deployments" | "daemonsets" | "statefulsets" | "replicasets" | "controllerrevisions" => {
            "apps"
        }
        "jobs" | "cronjobs" => "batch",
        "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings" => {
            "rbac.authorization.k8s.io"
        }
        "certificatesigningrequests" | "clustertrustbundles" | "podcertificaterequests" => {
            "certificates.k8s.io"
        }
        "mutatingwebhookconfigurations"
        | "validatingwebhookconfigurations"
        | "validatingadmissionpolicies"
        | "validatingadmissionpolicybindings"
        | "mutatingadmissionpolicies"
        | "mutatingadmissionpolicybindings" => "admissionregistration.k8s.io",
        "networkpolicies" | "ingresses" | "ingressclasses" => "networking.k8s.io",
        "tokenreviews" | "selfsubjectreviews" => "authentication.k8s.io",
        "subjectaccessreviews"
        | "localsubjectaccessreviews"
        | "selfsubjectaccessreviews"
        | "selfsubjectrulesreviews" => "authorization.k8s.io",
        "customresourcedefinitions" => "apiextensions.k8s.io",
        "apiservices" => "apiregistration.k8s.io",
        "podsecuritypolicies" | "poddisruptionbudgets" => "policy",
        "endpointslices" => "discovery.k8s.io",
        "leases" => "coordination.k8s.io",
        "flowschemas" | "prioritylevelconfigurations" => "flowcontrol.apiserver.k8s.io",
        "priorityclasses" => "scheduling.k8s.io",
        "storageclasses" | "csidrivers" | "volumeattachments" => "storage.k8s.io",
        "runtimeclasses" => "node.k8s.io",
        "horizontalpodautoscalers" => "autoscaling",
        "gateways" | "httproutes" | "grpcroutes" | "tlsroutes" => "gateway.networking.k8s.io",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> AuditPolicy {
        let problems = Problems::new();
        let file = Arc::new(SourceFile::new("policy.yaml", text));
        let policy = AuditPolicy::read(&file, &problems);
        policy.unwrap_or_else(|| panic!("{}", problems.into_report()))
    }

    fn kind(verb: &str, path: &str) -> RequestKind {
        let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
        RequestKind {
            verb: verb.into(),
            group: group_of(resource).into(),
            resource: resource.into(),
            subresource: subresource.into(),
        }
    }

    const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ['system:kube-proxy'], verbs: [watch], resources: [{group: '', resources: [services]}]}
- {level: None, nonResourceURLs: ['/healthz*']}
- {level: Metadata, resources: [{group: '', resources: [secrets, 'serviceaccounts/token']}]}
- {level: RequestResponse, namespaces: [kube-system], verbs: [create]}
- {level: Request, resources: [{group: '', resources: [pods, 'services/*', '*/status']}, {group: rbac.authorization.k8s.io}]}
- {level: None, resources: [{group: '', resources: [events]}]}
- {level: Metadata, nonResourceURLs: ['*']}
";

    #[test]
    fn the_first_rule_that_fits_decides() {
        let policy = policy(POLICY);
        let level = |verb, path| policy.decide(&kind(verb, path)).level;
        assert_eq!(level("get", "secrets"), Some(AuditLevel::Metadata));
        assert_eq!(
            level("create", "serviceaccounts/token"),
            Some(AuditLevel::Metadata)
        );
        assert_eq!(level("create", "pods"), Some(AuditLevel::Request));
        assert_eq!(level("create", "pods/exec"), None);
        assert_eq!(level("patch", "nodes/status"), Some(AuditLevel::Request));
        assert_eq!(level("get", "services/proxy"), Some(AuditLevel::Request));
        assert_eq!(level("bind", "clusterroles"), Some(AuditLevel::Request));
        assert_eq!(level("create", "deployments"), None);
        assert_eq!(level("get", ""), Some(AuditLevel::Metadata));
    }

    #[test]
    fn what_a_rule_says_of_some_only_is_an_exception() {
        let policy = policy(POLICY);
        let pods = policy.decide(&kind("create", "pods")).otherwise;
        let kube_system = "namespaces kube-system".to_owned();
        assert_eq!(pods, [(4, kube_system, Some(AuditLevel::RequestResponse))]);
        let services = policy.decide(&kind("watch", "services")).otherwise;
        assert_eq!(services, [(1, "system:kube-proxy".to_owned(), None)]);
        assert_eq!(policy.decide(&kind("get", "")).otherwise.len(), 1);
    }

    #[test]
    fn mistakes_are_told() {
        for (text, told) in [
            ("kind: Policy\nrules: [{level: Meta}]", "cannot be `Meta`"),
            ("kind: Policy\nrules: [{verbs: [get]}]", "needs `level`"),
            ("kind: Policy\nomitStages: [Nope]", "no stage `Nope`"),
            ("kind: Pod", "cannot be `Pod`"),
            ("kind: Policy\nrulez: []", "no key `rulez`"),
        ] {
            let problems = Problems::new();
            let file = Arc::new(SourceFile::new("policy.yaml", text));
            assert!(AuditPolicy::read(&file, &problems).is_none(), "{text}");
            let report = problems.into_report().to_string();
            assert!(report.contains(told), "{text}: {report}");
        }
    }
}
