//! What rules need beyond one event: the state of every novelty, rate and correlation, and the
//! detections that come of it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Detection, Hit, Settings, Stats, Trace,
    plan::{Condition, Feed, Plan, RulePlan},
    told::{self, Told, Values},
    why,
};
use crate::{
    baseline::{Novelty, NoveltySpec, Rate, RateSpec},
    rule::{Correlation, Extras, Kind, Member, Rule, RuleSet},
    units::{Span, Time},
    window::{Count, Distinct, Key, Limits, Sequence, Spec, Step, TableStats},
};

/// An ordinary request is answered, and so written, within this time of its arrival.
const REQUEST_TIME: Span = Span::from_secs(60);

/// How many slots of each table are looked at for expired keys from time to time.
const SWEEP: usize = 64;

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

/// The baselines of one rule.
struct Baselines {
    novelty: Option<Novelty>,
    rate: Option<Rate>,
}

/// The window of one correlation.
enum Window {
    Count(Count<Arc<Trace>>),
    Values(Distinct<Arc<Trace>>),
    Members(Distinct<Arc<Trace>>),
    Sequence(Sequence<Arc<Trace>>),
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

/// The earliest event time that is still expected when all sources have come to `watermark`.
pub(super) fn horizon(watermark: Time, lateness: Span) -> Time {
    watermark.minus(lateness).minus(REQUEST_TIME)
}

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
        for baselines in &mut self.baselines {
            if let Some(novelty) = &mut baselines.novelty {
                novelty.sweep(horizon, SWEEP);
            }
            if let Some(rate) = &mut baselines.rate {
                rate.sweep(horizon, SWEEP);
            }
        }
        for window in &mut self.windows {
            match window {
                Window::Count(window) => window.sweep(horizon, SWEEP),
                Window::Values(window) | Window::Members(window) => window.sweep(horizon, SWEEP),
                Window::Sequence(window) => window.sweep(horizon, SWEEP),
            }
        }
    }

    /// Adds what this holds to the engine's numbers.
    pub(super) fn count_into(&self, stats: &mut Stats) {
        let mut add = |table: TableStats, bytes: usize, values_evicted: u64| {
            stats.keys += table.keys;
            stats.occurrences += table.held;
            stats.keys_evicted += table.evicted;
            stats.values_evicted += values_evicted;
            stats.bytes += bytes;
        };
        for baselines in &self.baselines {
            if let Some(novelty) = &baselines.novelty {
                add(novelty.stats(), novelty.bytes(), novelty.evicted_values());
            }
            if let Some(rate) = &baselines.rate {
                add(rate.stats(), rate.bytes(), 0);
            }
        }
        for window in &self.windows {
            match window {
                Window::Count(window) => add(window.stats(), window.bytes(), 0),
                Window::Values(window) | Window::Members(window) => {
                    add(window.stats(), window.bytes(), 0);
                }
                Window::Sequence(window) => add(window.stats(), window.bytes(), window.thinned()),
            }
        }
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

impl Baselines {
    fn new(rule: &Rule, settings: &Settings) -> Self {
        let limits = limits(settings);
        let novelty = rule.extension.novelty.as_ref().map(|novelty| {
            let (learn, forget) = (novelty.learn, novelty.forget);
            Novelty::new(
                NoveltySpec {
                    learn,
                    forget,
                    values_max: settings.values_max,
                },
                limits,
            )
        });
        let rate = rule.extension.rate.as_ref().map(|rate| {
            Rate::new(
                RateSpec {
                    every: rate.every,
                    factor: rate.factor,
                    min: rate.min,
                },
                limits,
            )
        });
        Self { novelty, rate }
    }
}

impl Window {
    fn new(correlation: &Correlation, settings: &Settings) -> Self {
        let limits = limits(settings);
        let spec = Spec {
            timespan: correlation.timespan,
            min: correlation.bounds.min,
            max: correlation.bounds.max,
            lateness: Span::from_micros(settings.lateness.micros() + REQUEST_TIME.micros()),
        };
        match correlation.kind {
            Kind::EventCount => Self::Count(Count::new(spec, limits)),
            Kind::ValueCount => Self::Values(Distinct::new(spec, limits)),
            Kind::Temporal => Self::Members(Distinct::new(spec, limits)),
            Kind::TemporalOrdered => {
                let members = correlation.sources.len().try_into().unwrap_or(u16::MAX);
                Self::Sequence(Sequence::new(spec, members, limits))
            }
        }
    }

    /// Counts one occurrence that came by the member at `counted.0` with the value `counted.1`.
    fn insert(
        &mut self,
        key: Key,
        (source, value): (usize, u64),
        met: Met<'_>,
        out: &mut Vec<Arc<Trace>>,
    ) -> Step {
        let (time, horizon, trace) = (met.time, met.horizon, Arc::clone(met.trace));
        match self {
            Self::Count(window) => window.insert(key, time, trace, horizon, out),
            Self::Values(window) => window.insert(key, (time, value), trace, horizon, out),
            Self::Members(window) => window.insert(key, (time, source as u64), trace, horizon, out),
            Self::Sequence(window) => {
                window.insert(key, (time, source as u16), trace, horizon, out)
            }
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

const fn limits(settings: &Settings) -> Limits {
    Limits {
        keys: settings.keys_max,
        held: settings.occurrences_max,
    }
}
