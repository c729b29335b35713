//! The labels by which alerts are routed, grouped, silenced and inhibited.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::alert::Alert;

/// Names and values, each name once, sorted by name. A label that is not there counts as empty,
/// and an empty value as not there, as with Alertmanager.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Of these pairs; of several with one name the last counts, empty values are left out.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let sorted: BTreeMap<Box<str>, Box<str>> = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let kept = sorted.into_iter().filter(|(_, value)| !value.is_empty());
        Self(kept.collect())
    }

    /// The labels that an alert has now. Those that identify it are always there; namespace, verb
    /// and the like only while all requests agree on them. Whoever routes keeps the labels that
    /// an alert fired with.
    pub fn of(alert: &Alert) -> Self {
        let shared = &alert.shared;
        let principal = shared.principal.as_ref();
        let text = |value: Option<&Box<str>>| value.cloned().unwrap_or_default();
        let resource = match (&shared.target.resource, &shared.target.subresource) {
            (Some(resource), Some(sub)) => format!("{resource}/{sub}").into(),
            (resource, _) => text(resource.as_ref()),
        };
        let key = alert
            .key
            .iter()
            .map(|(field, value)| (label_name(field), value.clone()));
        let shared: [(&str, Box<str>); 8] = [
            (
                "principal",
                principal.map(|p| p.name.clone()).unwrap_or_default(),
            ),
            ("principal_kind", principal.map_or("", |p| p.kind).into()),
            (
                "impersonator",
                principal
                    .and_then(|p| p.impersonator.clone())
                    .unwrap_or_default(),
            ),
            ("namespace", text(shared.target.namespace.as_ref())),
            ("verb", text(shared.target.verb.as_ref())),
            ("resource", resource),
            ("origin_ip", text(shared.origin.ip.as_ref())),
            (
                "origin_scope",
                shared.origin.scope.unwrap_or_default().into(),
            ),
        ];
        let ours: [(&str, Box<str>); 3] = [
            ("alertname", alert.rule.name.as_str().into()),
            ("severity", alert.severity().name().into()),
            ("cluster", alert.cluster.clone()),
        ];
        let named = |(name, value): (&str, Box<str>)| (name.into(), value);
        // What the rule groups by stands above what the requests share, and nothing poses as ours.
        Self::new(
            shared
                .into_iter()
                .map(named)
                .chain(key)
                .chain(ours.into_iter().map(named)),
        )
    }

    /// The labels that identify an alert for as long as it lives, and no others.
    pub fn identifying(alert: &Alert) -> Self {
        let all = Self::of(alert);
        let mut names: Vec<Box<str>> = ["alertname", "severity", "cluster"].map(Into::into).into();
        if alert.key.is_empty() {
            // Of rules that do not group: effective principal, namespace, and the address of those
            // who did not prove who they are.
            names.extend(["principal", "principal_kind", "namespace"].map(Into::into));
            if matches!(all.get("principal_kind"), "anonymous" | "unauthenticated") {
                names.push("origin_ip".into());
            }
        }
        names.extend(alert.key.iter().map(|(field, _)| label_name(field)));
        all.only(&names)
    }

    /// The value of a label; empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.0
            .binary_search_by(|(own, _)| (**own).cmp(name))
            .map_or("", |place| &self.0[place].1)
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Only those with these names.
    pub(super) fn only(&self, names: &[Box<str>]) -> Self {
        Self::new(names.iter().map(|name| (name.clone(), self.get(name))))
    }
}

/// A field's name as a label's: what is no letter, digit or `_` becomes `_`.
fn label_name(field: &str) -> Box<str> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    field.chars().map(plain).collect::<String>().into()
}

impl fmt::Display for Labels {
    /// `{alertname="forbidden-burst", cluster="prod"}`, values quoted so that none can pose as
    /// another label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, (name, value)) in self.iter().enumerate() {
            let comma = if n > 0 { ", " } else { "" };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::samples;

    #[test]
    fn an_alert_has_the_labels_that_people_route_by() {
        let labels = Labels::of(&samples::burst(3));
        let expected = r#"{alertname="forbidden-burst", cluster="prod-eu", namespace="payments", origin_ip="198.51.100.7", origin_scope="public", principal="system:serviceaccount:shop:web", principal_kind="serviceaccount", resource="secrets", severity="high", verb="get"}"#;
        assert_eq!(labels.to_string(), expected);
        assert_eq!((labels.get("verb"), labels.get("nothing")), ("get", ""));
    }

    #[test]
    fn a_key_cannot_pose_as_the_severity() {
        let mut detection = samples::detection("x", 0..1);
        detection.key = vec![
            ("severity".into(), "low".into()),
            ("objectRef.apiGroup".into(), "apps".into()),
        ];
        let labels = Labels::of(&samples::fired(detection));
        assert_eq!(labels.get("severity"), "high");
        assert_eq!(labels.get("objectRef_apiGroup"), "apps");
    }
}
