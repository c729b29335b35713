//! Inhibition: while one alert fires, others that it explains are not told.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::{Labels, Matchers};

/// Alerts that meet `target` are not told while one that meets `source` fires and has the same
/// values of the labels in `equal`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InhibitRule {
    /// Which alerts explain others.
    pub source: Matchers,
    /// Which alerts they explain.
    pub target: Matchers,
    /// Labels on which both must agree; one that neither has counts as agreed.
    pub equal: Vec<Box<str>>,
}

/// The alerts that fire and explain others, by what must be equal.
#[derive(Debug)]
pub(super) struct Inhibitor {
    rules: Vec<(InhibitRule, Sources)>,
}

/// By the values of the labels in `equal`: ids of alerts that fire, and whether each meets the
/// target side too.
type Sources = HashMap<Labels, BTreeMap<Box<str>, bool>>;

impl Inhibitor {
    pub(super) fn new(rules: Vec<InhibitRule>) -> Self {
        Self {
            rules: rules
                .into_iter()
                .map(|rule| (rule, Sources::new()))
                .collect(),
        }
    }

    /// An alert fires, or is over.
    pub(super) fn note(&mut self, id: &str, labels: &Labels, is_firing: bool) {
        for (rule, sources) in &mut self.rules {
            if !rule.source.matches(labels) {
                continue;
            }
            let agreed = labels.only(&rule.equal);
            if is_firing {
                let is_target = rule.target.matches(labels);
                let alerts = sources.entry(agreed).or_default();
                alerts.insert(id.into(), is_target);
            } else if let Some(alerts) = sources.get_mut(&agreed) {
                alerts.remove(id);
                if alerts.is_empty() {
                    sources.remove(&agreed);
                }
            }
        }
    }

    /// The id of an alert that explains one with these labels. Two alerts that meet both sides of
    /// a rule do not hide each other.
    pub(super) fn explains(&self, labels: &Labels) -> Option<&str> {
        self.rules.iter().find_map(|(rule, sources)| {
            if !rule.target.matches(labels) {
                return None;
            }
            let is_two_sided = rule.source.matches(labels);
            let mut alerts = sources.get(&labels.only(&rule.equal))?.iter();
            alerts
                .find(|(_, is_target)| !(is_two_sided && **is_target))
                .map(|(id, _)| &**id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(source: &str, target: &str, equal: &[&str]) -> InhibitRule {
        InhibitRule {
            source: Matchers::parse(source).unwrap(),
            target: Matchers::parse(target).unwrap(),
            equal: equal.iter().map(|name| (*name).into()).collect(),
        }
    }

    fn alert(severity: &str, principal: &str) -> Labels {
        Labels::new([("severity", severity), ("principal", principal)])
    }

    #[test]
    fn hides_what_is_explained_while_it_is() {
        let rules = vec![rule(
            "severity=critical",
            "severity=low",
            &["principal", "nobody_has_it"],
        )];
        let mut inhibitor = Inhibitor::new(rules);
        inhibitor.note("big", &alert("critical", "eve"), true);
        assert_eq!(inhibitor.explains(&alert("low", "eve")), Some("big"));
        assert_eq!(inhibitor.explains(&alert("low", "bob")), None);
        assert_eq!(inhibitor.explains(&alert("critical", "eve")), None);
        inhibitor.note("big", &alert("critical", "eve"), false);
        assert_eq!(inhibitor.explains(&alert("low", "eve")), None);
        assert!(inhibitor.rules[0].1.is_empty(), "nothing is left behind");
    }

    #[test]
    fn two_of_a_kind_do_not_hide_each_other() {
        let mut inhibitor = Inhibitor::new(vec![rule("principal=~.+", "severity=low", &[])]);
        inhibitor.note("a", &alert("low", "eve"), true);
        assert_eq!(inhibitor.explains(&alert("low", "bob")), None);
        inhibitor.note("b", &alert("high", "eve"), true);
        assert_eq!(inhibitor.explains(&alert("low", "bob")), Some("b"));
    }
}
