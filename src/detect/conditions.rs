//! What rules need beyond one event: the state of every novelty, rate and correlation, and the
//! detections that come of it.

mod known;
mod persist;
mod silence;

pub use known::BaselineView;
pub(super) use persist::Tokens;

use std::{collections::BTreeMap, sync::Arc};

use smallvec::SmallVec;

use super::{
    Combination, Detection, Hit, Recording, Settings, Stats, Trace,
    plan::{Condition, Feed, Plan, RulePlan},
    state::{Baselines, Counting, Outcome},
    told::{self, Told, Values},
    trace::Callers,
    why,
};
use crate::{
    baseline::{Novel, Shown, Surge, Trust},
    event::Field,
    rule::{self, Correlation, Extras, Kind, Member, Rule, RuleSet, Severity, Source},
    units::{Span, Time},
    window::{Key, Step},
};

/// A request that a rule of this level or above reports is not normal by itself.
const SUSPECT_FROM: Severity = Severity::High;

/// All rules with their state.
pub(super) struct Conditions {
    rules: Arc<RuleSet>,
    plan: Arc<Plan>,
    settings: Settings,
    baselines: Vec<Baselines>,
    windows: Vec<Counting>,
    /// Numbers that stand for rules and correlations as long as their meaning stays.
    tokens: BTreeMap<u64, u32>,
    last_token: u32,
    /// The callers of events whose traces are made here.
    callers: Callers,
    unkeyed: u64,
    combinations_dropped: u64,
    /// The rules that listen for heartbeats.
    listening: Vec<usize>,
    /// Rules whose state went with them, since the rows were last taken.
    gone: Vec<u64>,
}

/// One rule matched one event, and when that was.
#[derive(Clone, Copy)]
pub(super) struct Match<'a> {
    pub hit: &'a Hit,
    pub recording: &'a Recording,
    /// Which request the event is of.
    pub request: u128,
    /// Event time.
    pub time: Time,
    /// The earliest event time that is still expected.
    pub horizon: Time,
    /// Whether baselines may learn from it.
    pub trust: Trust,
    /// The clock of a live source.
    pub now: Option<Time>,
}

/// A match that says something, by itself or because a baseline finds it odd; or the detection of
/// a correlation that another one counts.
#[derive(Clone, Copy)]
pub(super) struct Met<'a> {
    pub hit: &'a Hit,
    /// Which of the hit's combinations: from the first number up to the second.
    pub combinations: (usize, usize),
    /// The event's trace; for a chained correlation that of its member's newest evidence.
    pub trace: &'a Arc<Trace>,
    /// For a chained correlation what its member's step counted; else empty.
    pub step: &'a [Arc<Trace>],
    /// Event time.
    pub time: Time,
    /// The earliest event time that is still expected.
    pub horizon: Time,
}

impl<'a> Met<'a> {
    /// The first of the combinations.
    fn combination(&self) -> &'a Combination {
        self.hit.combination(self.combinations.0)
    }
}

/// What a baseline finds odd about a key, and what the rule says of it.
enum Odd<'r> {
    /// A value that is new, and how many more are.
    Novel(&'r rule::Novelty, Novel, usize),
    /// Far too many requests.
    Surge(&'r rule::Rate, Surge),
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
            callers: Callers::default(),
            unkeyed: 0,
            combinations_dropped: 0,
            listening: Vec::new(),
            gone: Vec::new(),
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
        let mut windows: BTreeMap<u64, Counting> = old_windows
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
        let reaches = reaches(&rules);
        let counted = rules.correlations.iter().zip(reaches);
        for ((correlation, reach), meaning) in counted.zip(new_windows) {
            let kept = windows.remove(&meaning);
            self.windows
                .push(kept.unwrap_or_else(|| Counting::new(correlation, reach, &self.settings)));
        }
        let listens = |(at, rule): (usize, &Rule)| rule.extension.silence.is_some().then_some(at);
        self.listening = rules.rules.iter().enumerate().filter_map(listens).collect();
        self.gone.extend(tokens.into_keys());
        self.plan = Arc::new(Plan::new(&rules));
        self.rules = rules;
    }

    /// Whether a request that these rules matched is reported for a reason of weight other than
    /// that it is new: then baselines should not take it for normal.
    pub(super) fn is_suspect(&self, hits: &[Hit]) -> bool {
        hits.iter().any(|hit| {
            let place = hit.rule as usize;
            let (Some(rule), Some(plan)) =
                (self.rules.rules.get(place), self.plan.rules.get(place))
            else {
                return false;
            };
            rule.reports && !plan.has_baselines && rule.meta.severity >= SUSPECT_FROM
        })
    }

    /// Evaluates one rule that matched an event.
    pub(super) fn meet(
        &mut self,
        found: Match<'_>,
        claim: &mut Claim<'_>,
        out: &mut Vec<Detection>,
    ) {
        let (rules, plans) = (Arc::clone(&self.rules), Arc::clone(&self.plan));
        let hit = found.hit;
        let place = hit.rule as usize;
        let (Some(rule), Some(plan)) = (rules.rules.get(place), plans.rules.get(place)) else {
            return;
        };
        if !claim(self.token(rule.fingerprint)) {
            return;
        }
        self.combinations_dropped += u64::from(hit.dropped);
        if rule.extension.silence.is_some() {
            self.hear(plan, found);
            return;
        }
        let odd = if plan.has_baselines {
            let odd = self.odd_for_its_key(rule, plan, found);
            if odd.is_empty() {
                return;
            }
            odd
        } else {
            Vec::new()
        };
        let (hit, trace) = found
            .recording
            .told((hit, plan), found.request, &mut self.callers);
        let met = Met {
            hit: &hit,
            combinations: (0, hit.combinations().count()),
            trace: &trace,
            step: &[],
            time: found.time,
            horizon: found.horizon,
        };
        if rule.reports && plan.has_baselines {
            out.extend(odd.into_iter().map(|odd| tell_odd(rule, plan, met, odd)));
        } else if rule.reports {
            out.push(tell_match(rule, plan, met));
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
        stats.combinations_dropped += self.combinations_dropped;
    }

    fn token(&self, fingerprint: u64) -> u32 {
        self.tokens.get(&fingerprint).copied().unwrap_or_default()
    }

    /// What is new, and what is far too much, about an event of a rule with baselines; with the
    /// combination that shows it.
    fn odd_for_its_key<'r>(
        &mut self,
        rule: &'r Rule,
        plan: &RulePlan,
        found: Match<'_>,
    ) -> Vec<(usize, Odd<'r>)> {
        let (hit, time, horizon) = (found.hit, found.time, found.horizon);
        let all = (0, hit.combinations().count());
        let mut odd = Vec::new();
        let Self {
            baselines,
            callers,
            unkeyed,
            ..
        } = self;
        let baselines = &mut baselines[hit.rule as usize];
        if let (Some(spec), Some(novelty)) = (&rule.extension.novelty, &mut baselines.novelty) {
            let keys = keys(plan, Condition::Novelty, hit, all);
            *unkeyed += u64::from(keys.is_empty());
            for Keyed { key, values } in keys {
                let novel = |(at, value): (usize, u64)| {
                    let shown = Shown {
                        key,
                        value,
                        time,
                        horizon,
                        trust: found.trust,
                    };
                    let names = || known::names(spec, plan, found, at, callers);
                    Some((at, novelty.observe(shown, names)?))
                };
                // Several new values of one key come with one request, and are told as one.
                let novel: SmallVec<[_; 1]> = values.into_iter().filter_map(novel).collect();
                if let Some(&(at, first)) = novel.first() {
                    odd.push((at, Odd::Novel(spec, first, novel.len() - 1)));
                }
            }
        }
        if let (Some(spec), Some(rate)) = (&rule.extension.rate, &mut baselines.rate) {
            let keys = keys(plan, Condition::Rate, hit, all);
            *unkeyed += u64::from(keys.is_empty());
            for Keyed { key, values } in keys {
                if let Some(surge) = rate.observe(key, time, horizon) {
                    odd.push((values[0].0, Odd::Surge(spec, surge)));
                }
            }
        }
        odd
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
            let keys = keys(
                plan,
                Condition::Correlation(feed),
                met.hit,
                met.combinations,
            );
            self.unkeyed += u64::from(keys.is_empty());
            for Keyed { key, values } in keys {
                let at = values[0].0;
                let met = Met {
                    combinations: (at, at + 1),
                    ..met
                };
                let window = &mut self.windows[feed.correlation];
                let Outcome { step, evidence } = window.insert(key, (feed.source, &values), met);
                let Some(newest) = evidence.last() else {
                    continue;
                };
                if correlation.reports {
                    let told = self.crossing(correlation, (feed, key), met, step, evidence.clone());
                    let values = Values::new(plan, met.combination(), met.trace);
                    out.push(told::detection(
                        &correlation.meta,
                        &correlation.extension,
                        values,
                        told,
                    ));
                }
                let is_this = Arc::ptr_eq(newest, met.trace);
                let chained = Met {
                    trace: newest,
                    step: &evidence,
                    time: if is_this { met.time } else { newest.time() },
                    ..met
                };
                self.feed(Member::Correlation(feed.correlation), chained, claim, out);
            }
        }
    }

    /// What is told of a window whose condition holds.
    fn crossing(
        &self,
        correlation: &Correlation,
        (feed, key): (Feed, Key),
        met: Met<'_>,
        step: Step,
        evidence: Vec<Arc<Trace>>,
    ) -> Told {
        let title = |source: &Source| match source.member {
            Member::Rule(at) => self.rules.rules[at].meta.title.as_str(),
            Member::Correlation(at) => self.rules.correlations[at].meta.title.as_str(),
        };
        let members: Vec<&str> = correlation.sources.iter().map(title).collect();
        let newest = evidence.last().map_or(met.time, |trace| trace.time());
        let steps = self.windows[feed.correlation].steps(key, newest);
        let fields = &correlation.sources[feed.source].key;
        let plan = &self.plan.rules[met.hit.rule as usize];
        Told {
            key: Values::new(plan, met.combination(), met.trace)
                .key(correlation.group_by.iter().cloned(), fields),
            count: evidence.len() as u64,
            evidence,
            extras: Extras {
                count: step.within,
                timespan: Some(correlation.timespan),
                threshold: Some(correlation.bounds.min),
            },
            why: why::correlation(correlation, &members, &steps, step),
        }
    }
}

/// A key, and the different values that go with it, each with the first combination that has both.
struct Keyed {
    key: Key,
    values: SmallVec<[(usize, u64); 1]>,
}

/// The detection of a rule of which each match is one.
fn tell_match(rule: &Rule, plan: &RulePlan, met: Met<'_>) -> Detection {
    let told = Told {
        key: Vec::new(),
        evidence: vec![Arc::clone(met.trace)],
        count: 1,
        extras: Extras {
            count: 1,
            ..Extras::default()
        },
        why: why::ONE_IS_ENOUGH.to_owned(),
    };
    let values = Values::new(plan, met.combination(), met.trace);
    told::detection(&rule.meta, &rule.extension, values, told)
}

/// The detection of what a baseline finds odd about the combination at `at`.
fn tell_odd(rule: &Rule, plan: &RulePlan, met: Met<'_>, (at, odd): (usize, Odd<'_>)) -> Detection {
    let values = Values::new(plan, met.hit.combination(at), met.trace);
    let shown = |fields: &[Field]| values.key(told::names(fields), fields);
    let (key, count, extras, why) = match odd {
        Odd::Novel(spec, novel, others) => {
            let (key, what) = (shown(&spec.by), shown(&spec.of));
            let why = why::novelty(novel, &key, &what, others);
            let extras = Extras {
                count: 1,
                ..Extras::default()
            };
            (key, 1, extras, why)
        }
        Odd::Surge(spec, surge) => {
            let extras = Extras {
                count: surge.count,
                timespan: Some(spec.every),
                threshold: Some(spec.min),
            };
            let why = why::rate(&surge, spec);
            (shown(&spec.by), surge.counted, extras, why)
        }
    };
    let told = Told {
        key,
        evidence: vec![Arc::clone(met.trace)],
        count,
        extras,
        why,
    };
    told::detection(&rule.meta, &rule.extension, values, told)
}

/// The different keys that a condition reads from a hit's combinations; none when the event lacks
/// a field.
fn keys(
    plan: &RulePlan,
    condition: Condition,
    hit: &Hit,
    combinations: (usize, usize),
) -> SmallVec<[Keyed; 1]> {
    let mut keys: SmallVec<[Keyed; 1]> = SmallVec::new();
    for at in combinations.0..combinations.1 {
        let Some((key, value)) = plan.reading(condition, hit.combination(at)) else {
            continue;
        };
        match keys.iter_mut().find(|known| known.key == key) {
            Some(known) if known.values.iter().any(|(_, other)| *other == value) => {}
            Some(known) => known.values.push((at, value)),
            None => keys.push(Keyed {
                key,
                values: SmallVec::from_elem((at, value), 1),
            }),
        }
    }
    keys
}

/// How far back the windows of each correlation and of what it counts go.
fn reaches(rules: &RuleSet) -> Vec<Span> {
    let mut reaches: Vec<Span> = Vec::new();
    for correlation in &rules.correlations {
        let reach = |source: &Source| match source.member {
            Member::Rule(_) => None,
            Member::Correlation(at) => reaches.get(at).copied(),
        };
        let longest = correlation.sources.iter().filter_map(reach).max();
        let longest = longest.unwrap_or(Span::ZERO);
        let reach = correlation.timespan.micros() + longest.micros();
        reaches.push(Span::from_micros(reach));
    }
    reaches
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
