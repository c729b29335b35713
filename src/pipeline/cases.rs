//! Runs rule cases through the whole pure pipeline: bytes to alerts, as replay would.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::judge::Judge;
use crate::{
    alert::{self, Alert, Change},
    decode::{Decoded, Framer, Limits, each_event},
    detect::{self, Observer, SourceId},
    event::{Context, Event},
    rule::{Case, Expectation, RuleSet},
};

/// What became of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseResult {
    /// All alerts that came, in the order in which they fired, each as it was in the end.
    pub alerts: Vec<Arc<Alert>>,
    /// Expectations that no alert met.
    pub missing: Vec<Expectation>,
    /// Alerts that nobody expected, by their place in `alerts`.
    pub surplus: Vec<usize>,
}

impl CaseResult {
    /// Whether exactly the expected alerts came.
    pub fn is_as_expected(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty()
    }
}

/// Runs one case with a fresh engine. Of rules that are off by themselves (`rules` has them all
/// on), only those count that the case switches on.
pub fn run_case(rules: &Arc<RuleSet>, case: &Case) -> CaseResult {
    let off = |name: &str| {
        let mut rules = rules.rules.iter();
        rules.any(|rule| rule.extension.off && rule.meta.name == name)
    };
    let mut alerts = alerts_of(rules, &case.lines.join("\n"));
    alerts.retain(|alert| !off(&alert.rule.name) || case.enable.contains(&alert.rule.name));
    let mut open: Vec<usize> = (0..alerts.len()).collect();
    let mut missing = Vec::new();
    // The pickiest expectation chooses first, so that a vague one does not take its alert.
    let mut expected: Vec<&Expectation> = case.expected.iter().collect();
    expected.sort_by_key(|expectation| std::cmp::Reverse(pickiness(expectation)));
    for expectation in expected {
        match open
            .iter()
            .position(|&place| meets(&alerts[place], expectation))
        {
            Some(found) => drop(open.remove(found)),
            None => missing.push(expectation.clone()),
        }
    }
    // A misspelt name would make a case that cannot fail.
    let unknown = case.enable.iter().filter(|name| !off(name));
    missing.extend(unknown.map(|name| Expectation {
        rule: Some(format!("{name} (no rule of this name is off by itself)")),
        principal: None,
        count: None,
        level: None,
        spot: case.spot,
    }));
    CaseResult {
        alerts,
        missing,
        surplus: open,
    }
}

/// The alerts that some log text gives, each as it was in the end.
fn alerts_of(rules: &Arc<RuleSet>, text: &str) -> Vec<Arc<Alert>> {
    let mut observer = Observer::new(Arc::clone(rules));
    let mut judge = Judge::new(
        Arc::clone(rules),
        detect::Settings::default(),
        alert::Settings::default(),
    );
    let context = Context::default();
    let mut changes = Vec::new();
    let mut framer = Framer::new(Limits::default());
    framer.feed(&Bytes::copy_from_slice(text.as_bytes()));
    framer.finish();
    while let Some(block) = framer.next_block() {
        each_event(&block, &mut |decoded| {
            if let Decoded::Event(slots, line) = decoded {
                let observation = observer.observe(&Event::new(slots, line, &context));
                judge.take(SourceId(0), &observation, None, &mut |_| {}, &mut changes);
            }
        });
    }
    judge.flush(&mut changes);
    last_of_each(&changes)
}

/// The last state of each alert, in the order in which they fired.
fn last_of_each(changes: &[Change]) -> Vec<Arc<Alert>> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut alerts: Vec<Arc<Alert>> = Vec::new();
    for change in changes {
        let alert = change.alert();
        if let Some(&place) = places.get(&*alert.id) {
            alerts[place] = Arc::clone(alert);
        } else {
            places.insert(&alert.id, alerts.len());
            alerts.push(Arc::clone(alert));
        }
    }
    alerts
}

fn pickiness(expectation: &Expectation) -> usize {
    usize::from(expectation.rule.is_some())
        + usize::from(expectation.principal.is_some())
        + usize::from(expectation.count.is_some())
        + usize::from(expectation.level.is_some())
}

fn meets(alert: &Alert, expected: &Expectation) -> bool {
    let is = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    let rule = expected
        .rule
        .as_deref()
        .is_none_or(|rule| rule == alert.rule.name || rule == alert.rule.id);
    let principal = alert
        .shared
        .principal
        .as_ref()
        .map_or("", |principal| &*principal.name);
    rule && is(&expected.principal, principal)
        && expected.count.is_none_or(|count| count == alert.count)
        && expected
            .level
            .is_none_or(|level| level == alert.rule.severity)
}
