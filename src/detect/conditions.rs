//! What rules need beyond one event: the state of every novelty, rate and correlation, and the
//! detections that come of it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Detection, Hit, Settings, Stats, Trace,
    plan::{Condition, Feed, Plan, RulePlan},
    state::{Baselines, Window},
    told::{self, Told, Values},
    why,
};
use crate::{
    rule::{Correlation, Extras, Kind, Member, Rule, RuleSet},
    units::Time,
    window::Step,
};

/// All rules with their state.
pub(super) struct Conditions {
    rules: Arc<RuleSet>,
    plan: Arc<Plan>,
    settings: Settings,
    baselines: Vec<Baselines>,
    windows: Vec<Window>,
    /// Numbers that stand for rules and correlations as long as their meaning stays.
    tokens: BTreeMap<u64, u32>,
    last_token: u32,
    unkeyed: u64,
}

/// One rule matched one event, and when that was.
#[derive(Clone, Copy)]
pub(super) struct Met<'a> {
    pub hit: &'a Hit,
    /// The event's trace; for a chained correlation that of its member's newest evidence.
    pub trace: &'a Arc<Trace>,
    /// Event time.
    pub time: Time,
    /// The earliest event time that is still expected.
    pub horizon: Time,
}

/// Where a rule or correlation notes that it counts the request at hand; false when it did before.
pub(super) type Claim<'a> = dyn FnMut(u32) -> bool + 'a;

impl Conditions {
    pub(super) fn new(rules: Arc<RuleSet>, settings: Settings) -> Self {
        let mut conditions = Self {
            rules: Arc::default(),
            plan: Arc::new(Plan::new(&RuleSet::default())),
            settings,
            baselines: Vec::new(),
            windows: Vec::new(),
            tokens: BTreeMap::new(),
            last_token: 0,
            unkeyed: 0,
        };
        conditions.replace(rules);
        conditions
    }

    /// Takes on another rule set. What means the same keeps its state.
    pub(super) fn replace(&mut self, rules: Arc<RuleSet>) {
        let (old_rules, old_windows) = meanings(&self.rules);
        let mut baselines: BTreeMap<u64, Baselines> = old_rules
            .into_iter()
            .zip(self.baselines.drain(..))
            .collect();
        let mut windows: BTreeMap<u64, Window> = old_windows
            .into_iter()
            .zip(self.windows.drain(..))
            .collect();
        let mut tokens = std::mem::take(&mut self.tokens);
        let mut token = |meaning: &u64| {
            let known = tokens.remove(meaning);
            let token = known.unwrap_or_else(|| {
                self.last_token = self.last_token.wrapping_add(1);
                self.last_token
            });
            self.tokens.insert(*meaning, token);
        };
        let (new_rules, new_windows) = meanings(&rules);
        new_rules.iter().chain(&new_windows).for_each(&mut token);
        for (rule, meaning) in rules.rules.iter().zip(new_rules) {
            let kept = baselines.remove(&meaning);
            self.baselines
                .push(kept.unwrap_or_else(|| Baselines::new(rule, &self.settings)));
        }
        for (correlation, meaning) in rules.correlations.iter().zip(new_windows) {
            let kept = windows.remove(&meaning);
            self.windows
                .push(kept.unwrap_or_else(|| Window::new(correlation, &self.settings)));
        }
        self.plan = Arc::new(Plan::new(&rules));
        self.rules = rules;
    }

    /// Evaluates one rule that matched an event.
    pub(super) fn meet(&mut self, met: Met<'_>, claim: &mut Claim<'_>, out: &mut Vec<Detection>) {
        let (rules, plans) = (Arc::clone(&self.rules), Arc::clone(&self.plan));
        let place = met.hit.rule as usize;
        let (Some(rule), Some(plan)) = (rules.rules.get(place), plans.rules.get(place)) else {
            return;
        };
        if !claim(self.token(rule.fingerprint)) {
            return;
        }
        let told = if rule.extension.novelty.is_some() || rule.extension.rate.is_some() {
            self.odd_for_its_key(rule, plan, met)
        } else {
            vec![Told {
                key: Vec::new(),
                evidence: vec![Arc::clone(met.trace)],
                count: 1,
                extras: Extras {
                    count: 1,
                    ..Extras::default()
                },
                why: why::ONE_IS_ENOUGH.to_owned(),
            }]
        };
        if told.is_empty() {
            return;
        }
        if rule.reports {
            let values = Values::new(plan, met.hit, met.trace);
            out.extend(
                told.into_iter()
                    .map(|told| told::detection(&rule.meta, &rule.extension, values, told)),
            );
        }
        self.feed(Member::Rule(place), met, claim, out);
    }

    pub(super) fn sweep(&mut self, horizon: Time) {
        self.baselines
            .iter_mut()
            .for_each(|baselines| baselines.sweep(horizon));
        self.windows
            .iter_mut()
            .for_each(|window| window.sweep(horizon));
    }

    /// Adds what this holds to the engine's numbers.
    pub(super) fn count_into(&self, stats: &mut Stats) {
        self.baselines
            .iter()
            .for_each(|baselines| baselines.count_into(stats));
        self.windows
            .iter()
            .for_each(|window| window.count_into(stats));
        stats.unkeyed += self.unkeyed;
    }

    fn token(&self, fingerprint: u64) -> u32 {
        self.tokens.get(&fingerprint).copied().unwrap_or_default()
    }

    /// What is new, and what is far too much, about an event of a rule with baselines.
    fn odd_for_its_key(&mut self, rule: &Rule, plan: &RulePlan, met: Met<'_>) -> Vec<Told> {
        let values = Values::new(plan, met.hit, met.trace);
        let baselines = &mut self.baselines[met.hit.rule as usize];
        let evidence = || vec![Arc::clone(met.trace)];
        let mut all = Vec::new();
        if let (Some(spec), Some(novelty)) = (&rule.extension.novelty, &mut baselines.novelty) {
            if let Some((key, value)) = plan.reading(Condition::Novelty, met.hit) {
                let novel = novelty.observe(key, value, met.time, met.horizon);
                all.extend(novel.map(|novel| {
                    let key = values.key(told::names(&spec.by), &spec.by);
                    let what = values.key(told::names(&spec.of), &spec.of);
                    let why = why::novelty(novel, &key, &what);
                    let extras = Extras {
                        count: 1,
                        ..Extras::default()
                    };
                    Told {
                        key,
                        evidence: evidence(),
                        count: 1,
                        extras,
                        why,
                    }
                }));
            } else {
                self.unkeyed += 1;
            }
        }
        if let (Some(spec), Some(rate)) = (&rule.extension.rate, &mut baselines.rate) {
            if let Some((key, _)) = plan.reading(Condition::Rate, met.hit) {
                let surge = rate.observe(key, met.time, met.horizon);
                all.extend(surge.map(|surge| Told {
                    key: values.key(told::names(&spec.by), &spec.by),
                    evidence: evidence(),
                    count: surge.counted,
                    extras: Extras {
                        count: surge.count,
                        timespan: Some(spec.every),
                        threshold: Some(spec.min),
                    },
                    why: why::rate(&surge, spec),
                }));
            } else {
                self.unkeyed += 1;
            }
        }
        all
    }

    /// Lets the correlations count a match of a rule, or a detection of a correlation; and theirs
    /// in turn.
    fn feed(
        &mut self,
        member: Member,
        met: Met<'_>,
        claim: &mut Claim<'_>,
        out: &mut Vec<Detection>,
    ) {
        let (rules, plans) = (Arc::clone(&self.rules), Arc::clone(&self.plan));
        for &feed in plans.feeds(member) {
            let correlation = &rules.correlations[feed.correlation];
            // Several members may match one request, and it still is one request.
            let counts_requests = correlation.kind == Kind::EventCount
                && correlation.sources.len() > 1
                && matches!(member, Member::Rule(_));
            if counts_requests && !claim(self.token(correlation.fingerprint)) {
                continue;
            }
            let plan = &plans.rules[met.hit.rule as usize];
            let Some((key, value)) = plan.reading(Condition::Correlation(feed), met.hit) else {
                self.unkeyed += 1;
                continue;
            };
            let mut evidence = Vec::new();
            let window = &mut self.windows[feed.correlation];
            let step = window.insert(key, (feed.source, value), met, &mut evidence);
            let Some(newest) = evidence.last().map(Arc::clone) else {
                continue;
            };
            if correlation.reports {
                let told = self.crossing(correlation, feed, plan, met, (step, evidence));
                let values = Values::new(plan, met.hit, met.trace);
                out.push(told::detection(
                    &correlation.meta,
                    &correlation.extension,
                    values,
                    told,
                ));
            }
            let is_this = Arc::ptr_eq(&newest, met.trace);
            let time = if is_this { met.time } else { newest.time() };
            let chained = Met {
                trace: &newest,
                time,
                ..met
            };
            self.feed(Member::Correlation(feed.correlation), chained, claim, out);
        }
    }

    /// What is told of a window whose condition holds.
    fn crossing(
        &self,
        correlation: &Correlation,
        feed: Feed,
        plan: &RulePlan,
        met: Met<'_>,
        (step, mut evidence): (Step, Vec<Arc<Trace>>),
    ) -> Told {
        // One event may match several members.
        evidence.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let members: Vec<&str> = correlation
            .sources
            .iter()
            .map(|source| match source.member {
                Member::Rule(at) => self.rules.rules[at].meta.name.as_str(),
                Member::Correlation(at) => self.rules.correlations[at].meta.name.as_str(),
            })
            .collect();
        let fields = &correlation.sources[feed.source].key;
        Told {
            key: Values::new(plan, met.hit, met.trace)
                .key(correlation.group_by.iter().cloned(), fields),
            count: evidence.len() as u64,
            evidence,
            extras: Extras {
                count: step.within,
                timespan: Some(correlation.timespan),
                threshold: Some(correlation.bounds.min),
            },
            why: why::correlation(correlation, &members, step),
        }
    }
}

/// The fingerprints of the rules and of the correlations.
fn meanings(rules: &RuleSet) -> (Vec<u64>, Vec<u64>) {
    (
        rules.rules.iter().map(|rule| rule.fingerprint).collect(),
        rules
            .correlations
            .iter()
            .map(|correlation| correlation.fingerprint)
            .collect(),
    )
}
