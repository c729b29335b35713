//! Which detections belong to which scenario, and which alerts to none.

use std::collections::BTreeMap;

use super::labels::{Kind, Scenario};
use crate::{
    alert::{self, Alert, Alerts, Change},
    detect::Detection,
    pipeline::replay::Listener,
    rule::Severity,
    units::{Span, Time},
};

/// A rule that saw a scenario.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub(super) rule: String,
    pub(super) severity: Severity,
    /// From the scenario's first request to the one that completed the detection.
    pub(super) after: Span,
}

/// An alert that has no part in any attack.
#[derive(Clone, Debug)]
pub(super) struct Outside {
    pub(super) rule: String,
    pub(super) severity: Severity,
    pub(super) summary: String,
}

/// What came of a labelled log.
#[derive(Debug)]
pub(super) struct Scored {
    /// For each scenario the rules that saw it, soonest first, each once.
    pub(super) hits: Vec<Vec<Hit>>,
    /// All alerts.
    pub(super) alerts: usize,
    /// Those that quote no request of an attack, most severe first.
    pub(super) outside: Vec<Outside>,
}

/// Listens to a replay and keeps the score.
pub(super) struct Scoring<'s> {
    scenarios: &'s [Scenario],
    /// The scenario of an audit id.
    places: BTreeMap<&'s str, usize>,
    hits: Vec<Vec<Hit>>,
    alerts: Alerts,
    changes: Vec<Change>,
    /// By alert id, whether it belongs to an attack, and what it says otherwise.
    told: BTreeMap<Box<str>, Option<Outside>>,
}

impl<'s> Scoring<'s> {
    pub(super) fn new(scenarios: &'s [Scenario]) -> Self {
        let places = scenarios.iter().enumerate().flat_map(|(place, scenario)| {
            let ids = scenario.audit_ids.iter();
            ids.map(move |id| (id.as_str(), place))
        });
        Self {
            scenarios,
            places: places.collect(),
            hits: vec![Vec::new(); scenarios.len()],
            alerts: Alerts::new(alert::Settings::default()),
            changes: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    /// The score at the end of the log.
    pub(super) fn finish(mut self) -> Scored {
        self.alerts.flush(&mut self.changes);
        self.note();
        for alert in self.alerts.firing() {
            self.tell(&alert);
        }
        for hits in &mut self.hits {
            hits.sort_by(|a, b| a.after.cmp(&b.after).then_with(|| a.rule.cmp(&b.rule)));
        }
        let alerts = self.told.len();
        let mut outside: Vec<Outside> = self.told.into_values().flatten().collect();
        outside.sort_by(|a, b| {
            let severity = b.severity.cmp(&a.severity);
            severity.then_with(|| (&a.rule, &a.summary).cmp(&(&b.rule, &b.summary)))
        });
        Scored {
            hits: self.hits,
            alerts,
            outside,
        }
    }

    fn hit(&mut self, detection: &Detection) {
        for facts in &detection.evidence {
            let Some(&place) = self.places.get(&*facts.evidence.audit_id) else {
                continue;
            };
            let started = self.scenarios[place].started;
            let after = detection
                .time()
                .since(started.unwrap_or(facts.evidence.time));
            let hits = &mut self.hits[place];
            let rule = &detection.rule;
            match hits.iter_mut().find(|hit| hit.rule == rule.name) {
                Some(hit) => hit.after = hit.after.min(after),
                None => hits.push(Hit {
                    rule: rule.name.clone(),
                    severity: rule.severity,
                    after,
                }),
            }
        }
    }

    fn note(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            self.tell(change.alert());
        }
    }

    fn tell(&mut self, alert: &Alert) {
        let is_attack = alert.evidence.iter().any(|facts| {
            let place = self.places.get(&*facts.evidence.audit_id);
            place.is_some_and(|&place| self.scenarios[place].kind == Kind::Attack)
        });
        let outside = (!is_attack).then(|| Outside {
            rule: alert.rule.name.clone(),
            severity: alert.severity(),
            summary: alert.summary.clone(),
        });
        self.told.insert(alert.id.clone(), outside);
    }
}

impl Listener for Scoring<'_> {
    fn advanced(&mut self, detections: &mut Vec<Detection>, watermark: Time) {
        for detection in detections.drain(..) {
            self.hit(&detection);
            self.alerts.fold(detection, &mut self.changes);
        }
        self.alerts.tick(watermark, &mut self.changes);
        if !self.changes.is_empty() {
            self.note();
        }
    }
}
