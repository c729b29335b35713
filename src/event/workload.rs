//! What a workload asks for, wherever its pod template sits.

use super::{Event, Slot, json, value::Value};

/// Where the pod spec sits in the body of each kind that has one.
fn template_paths(resource: &str, api_group: &str) -> &'static [&'static str] {
    match (resource, api_group) {
        ("pods", "") => &["spec"],
        ("podtemplates", "") => &["template.spec"],
        ("cronjobs", "batch") => &["spec.jobTemplate.spec.template.spec"],
        ("replicationcontrollers", "")
        | ("deployments" | "daemonsets" | "statefulsets" | "replicasets", _)
        | ("jobs", "batch") => &["spec.template.spec"],
        _ => &[],
    }
}

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// A container that runs on its Windows node as a process of it.
const HOST_PROCESS: &str = "securityContext.windowsOptions.hostProcess";

/// Where a container's commands stand.
const COMMANDS: [&str; 7] = [
    "command",
    "args",
    "lifecycle.postStart.exec.command",
    "lifecycle.preStop.exec.command",
    "livenessProbe.exec.command",
    "readinessProbe.exec.command",
    "startupProbe.exec.command",
];

/// A property of a pod template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Workload {
    Privileged,
    PrivilegeEscalation,
    Capabilities,
    RunAsUser,
    RunAsNonRoot,
    HostPath,
    HostNetwork,
    HostPid,
    HostIpc,
    ShareProcessNamespace,
    Images,
    Commands,
    ServiceAccount,
    Containers,
}

impl Event<'_> {
    /// Visits a property's values over the template and all its containers.
    pub(super) fn workload(
        &self,
        part: Workload,
        visit: &mut dyn FnMut(Value<'_>) -> bool,
    ) -> bool {
        if self.slots().raw(Slot::RequestObject).is_empty() {
            return false;
        }
        let resource = json::unescape(self.slots().raw(Slot::Resource));
        let group = json::unescape(self.slots().raw(Slot::ApiGroup));
        let body = self.request_body();
        template_paths(&resource, &group).iter().any(|spec| {
            let mut at = |path: &str| body.any(&format!("{spec}.{path}"), visit);
            match part {
                Workload::HostPath => at("volumes.hostPath.path"),
                Workload::HostNetwork => at("hostNetwork"),
                Workload::HostPid => at("hostPID"),
                Workload::HostIpc => at("hostIPC"),
                Workload::ShareProcessNamespace => at("shareProcessNamespace"),
                Workload::ServiceAccount => at("serviceAccountName") || at("serviceAccount"),
                Workload::RunAsUser => {
                    at("securityContext.runAsUser")
                        || in_containers(&mut at, &["securityContext.runAsUser"])
                }
                Workload::RunAsNonRoot => {
                    at("securityContext.runAsNonRoot")
                        || in_containers(&mut at, &["securityContext.runAsNonRoot"])
                }
                Workload::Privileged => {
                    in_containers(&mut at, &["securityContext.privileged", HOST_PROCESS])
                        || at(HOST_PROCESS)
                }
                Workload::PrivilegeEscalation => {
                    in_containers(&mut at, &["securityContext.allowPrivilegeEscalation"])
                }
                Workload::Capabilities => {
                    in_containers(&mut at, &["securityContext.capabilities.add"])
                }
                Workload::Images => in_containers(&mut at, &["image"]),
                Workload::Containers => in_containers(&mut at, &["name"]),
                Workload::Commands => in_containers(&mut at, &COMMANDS),
            }
        })
    }
}

fn in_containers(at: &mut impl FnMut(&str) -> bool, paths: &[&str]) -> bool {
    CONTAINERS
        .iter()
        .any(|list| paths.iter().any(|path| at(&format!("{list}.{path}"))))
}
