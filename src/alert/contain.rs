//! Commands that stop whoever acts: those of the rule, or what can be done about the caller.

use super::{Alert, is_hidden};
use crate::rule::{Severity, shell_quoted};

/// The commands to show. A rule of high or critical level that brings none gets what ends, or
/// leads to, the rights of the one who acted, when it was one and `kubectl` can do that: nobody
/// can take a certificate or a token of an identity provider back.
pub fn commands(alert: &Alert) -> Vec<String> {
    if !alert.contain.is_empty() || alert.severity() < Severity::High {
        return alert.contain.clone();
    }
    let Some(principal) = &alert.shared.principal else {
        return Vec::new();
    };
    if alert.principals.distinct() > 1 {
        return Vec::new();
    }
    // Who impersonated is who acted.
    let real = principal.impersonator.as_ref().unwrap_or(&principal.name);
    by_caller(real).into_iter().collect()
}

fn by_caller(name: &str) -> Option<String> {
    if let Some(account) = name.strip_prefix("system:serviceaccount:") {
        let (namespace, account) = account.split_once(':')?;
        let plain = is_object_name(namespace) && is_object_name(account);
        if is_of_the_platform(namespace) {
            return plain.then(|| {
                format!(
                    "kubectl get rolebindings,clusterrolebindings -A -o wide | grep -F -- {namespace}/{account}  # take it out of what it should not have; the cluster may need the account itself"
                )
            });
        }
        return plain.then(|| {
            format!(
                "kubectl -n {namespace} delete serviceaccount {account}  # ends all its tokens; make it anew afterwards"
            )
        });
    }
    if let Some(node) = name.strip_prefix("system:node:") {
        return is_object_name(node)
            .then(|| format!("kubectl cordon {node}  # then take the machine off the network"));
    }
    if name.is_empty() || name.starts_with("system:") || name.chars().any(is_hidden) {
        return None;
    }
    let quoted = shell_quoted(name);
    Some(format!(
        "kubectl get rolebindings,clusterrolebindings -A -o wide | grep -F -- {quoted}  # delete these, and lock the user where it logs in"
    ))
}

/// Whether what runs in a namespace is needed by everybody else, as its name goes: without its
/// service account DNS, networking or admission could stop for the whole cluster.
fn is_of_the_platform(namespace: &str) -> bool {
    ["kube-", "openshift-"]
        .iter()
        .any(|start| namespace.starts_with(start))
        || namespace.ends_with("-system")
}

/// Whether Kubernetes would take it for the name of a namespace, a service account or a node; what
/// is none must not get into a command that deletes.
fn is_object_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let outer = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    name.len() <= 253
        && bytes.iter().all(|b| inner(*b))
        && outer(bytes.first())
        && outer(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::samples;

    #[test]
    fn fits_the_caller() {
        for (name, expected) in [
            (
                "system:serviceaccount:shop:web",
                "kubectl -n shop delete serviceaccount web  # ends all its tokens; make it anew afterwards",
            ),
            (
                "system:serviceaccount:kube-system:coredns",
                "kubectl get rolebindings,clusterrolebindings -A -o wide | grep -F -- kube-system/coredns  # take it out of what it should not have; the cluster may need the account itself",
            ),
            (
                "system:node:worker-2",
                "kubectl cordon worker-2  # then take the machine off the network",
            ),
            (
                "o'neil@acme.example",
                r"kubectl get rolebindings,clusterrolebindings -A -o wide | grep -F -- 'o'\''neil@acme.example'  # delete these, and lock the user where it logs in",
            ),
        ] {
            assert_eq!(by_caller(name).as_deref(), Some(expected));
        }
        for name in [
            "",
            "system:anonymous",
            "system:kube-scheduler",
            "system:serviceaccount:--all:web",
            "system:serviceaccount:shop:--all",
            "system:serviceaccount:shop:web;reboot",
            "system:serviceaccount:kube-system:web;reboot",
            "system:serviceaccount:shop",
            "system:node:--all",
            "ali\u{200b}ce",
            "a\nb",
        ] {
            assert_eq!(by_caller(name), None, "{name}");
        }
    }

    #[test]
    fn the_rules_own_come_first_and_only_severe_rules_get_more() {
        let mut alert = Alert::clone(&samples::burst(3));
        assert_eq!(commands(&alert).len(), 1);
        alert.contain = vec!["kubectl delete pod x".to_owned()];
        assert_eq!(commands(&alert), alert.contain);
        alert.contain.clear();
        alert.rule = samples::rule(Severity::Medium);
        assert_eq!(commands(&alert), Vec::<String>::new());
        assert_eq!(
            commands(&samples::spray()),
            Vec::<String>::new(),
            "several acted"
        );
    }

    /// Whom somebody acted as did nothing.
    #[test]
    fn the_impersonator_is_the_one_who_acted() {
        let mut alert = Alert::clone(&samples::burst(1));
        let principal = alert.shared.principal.as_mut().unwrap();
        principal.impersonator = Some("system:node:worker-2".into());
        assert!(commands(&alert)[0].starts_with("kubectl cordon worker-2"));
    }
}
