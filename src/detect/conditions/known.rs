//! What the baselines of rules know, for people: names on the way in, views and changes by hand on
//! the way out.

use super::{Conditions, Counting, Match, RulePlan, Values};
use crate::{
    baseline::{Known, Novelty, Rate, Whose},
    detect::trace::Callers,
    event::{Facts, Field, shorten},
    rule::{self, Member, Rule, RuleSet},
    units::Time,
    window::Key,
};

/// What stands for a value that an event does not have.
const ABSENT: &str = "-";

/// The novelty baseline of one rule.
pub struct BaselineView<'e> {
    /// The rule.
    pub rule: &'e Rule,
    /// What it asks.
    pub spec: &'e rule::Novelty,
    /// What it knows.
    pub novelty: &'e Novelty,
}

/// Whose key it is, and what the value at a place among the hit's combinations is.
pub(super) fn names(
    spec: &rule::Novelty,
    plan: &RulePlan,
    found: Match<'_>,
    at: usize,
    callers: &mut Callers,
) -> (Whose, Box<str>) {
    let (hit, trace) = found
        .recording
        .told((found.hit, plan), found.request, callers);
    let values = Values::new(plan, hit.combination(at), &trace);
    let joined = |fields: &[Field]| {
        let shown = fields.iter().map(|field| values.shown(field));
        join(shown.map(|value| value.unwrap_or_else(|| ABSENT.into())))
    };
    let whose = Whose {
        cluster: trace.shown("cluster").unwrap_or_default().into(),
        name: joined(&spec.by),
    };
    (whose, joined(&spec.of))
}

fn join(values: impl Iterator<Item = Box<str>>) -> Box<str> {
    let values: Vec<Box<str>> = values.collect();
    shorten(&values.join(" / "), Facts::TEXT_MAX)
}

impl Conditions {
    /// See [`Engine::acknowledge`](crate::detect::Engine::acknowledge).
    pub(in crate::detect) fn acknowledge(
        &mut self,
        rule: &str,
        cluster: &str,
        key: &[Box<str>],
    ) -> usize {
        let whose = Whose {
            cluster: cluster.into(),
            name: join(key.iter().cloned()),
        };
        let mut count = 0;
        for place in behind(&self.rules, rule) {
            if let Some(novelty) = &mut self.baselines[place].novelty {
                count += novelty.acknowledge(&whose);
            }
        }
        count
    }

    /// The novelty baselines, in the order of the rules.
    pub(in crate::detect) fn baselines(&self) -> impl Iterator<Item = BaselineView<'_>> {
        let places = self.rules.rules.iter().zip(&self.baselines);
        places.filter_map(|(rule, baselines)| {
            Some(BaselineView {
                rule,
                spec: rule.extension.novelty.as_ref()?,
                novelty: baselines.novelty.as_ref()?,
            })
        })
    }

    /// Forgets what the baseline of a rule knows of one name, or of all.
    pub(in crate::detect) fn forget(&mut self, fingerprint: u64, name: Option<&str>) -> usize {
        let novelty = self.novelty_of(fingerprint);
        novelty.map_or(0, |novelty| novelty.forget(name))
    }

    /// Takes up what is known elsewhere of a key of a rule; false when there is no such rule.
    pub(in crate::detect) fn take_up(
        &mut self,
        fingerprint: u64,
        key: Key,
        last: Time,
        known: Known,
    ) -> bool {
        let novelty = self.novelty_of(fingerprint);
        novelty.is_some_and(|novelty| {
            novelty.take_up(key, last, known);
            true
        })
    }

    /// The rules.
    pub(in crate::detect) fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// A rule by its place, and what is read for it.
    pub(in crate::detect) fn rule_and_plan(&self, place: usize) -> Option<(&Rule, &RulePlan)> {
        Some((self.rules.rules.get(place)?, self.plan.rules.get(place)?))
    }

    /// The baselines of the rule at a place.
    pub(in crate::detect) fn baselines_of(
        &self,
        place: usize,
    ) -> (Option<&Novelty>, Option<&Rate>) {
        let baselines = &self.baselines[place];
        (baselines.novelty.as_ref(), baselines.rate.as_ref())
    }

    /// The window of the correlation at a place.
    pub(in crate::detect) fn window(&self, place: usize) -> &Counting {
        &self.windows[place]
    }

    fn novelty_of(&mut self, fingerprint: u64) -> Option<&mut Novelty> {
        let mut places = self.rules.rules.iter();
        let place = places.position(|rule| rule.fingerprint == fingerprint)?;
        self.baselines[place].novelty.as_mut()
    }
}

/// The rule of an id, or the rules that the correlation of that id counts, through others too.
fn behind(rules: &RuleSet, id: &str) -> Vec<usize> {
    if let Some(place) = rules.rules.iter().position(|rule| rule.meta.id == id) {
        return vec![place];
    }
    let mut correlations = rules.correlations.iter();
    let place = correlations.position(|correlation| correlation.meta.id == id);
    place.map_or_else(Vec::new, |place| {
        rules.detections_behind(Member::Correlation(place))
    })
}
