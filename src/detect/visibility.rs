//! Which rules are blind: whose data the API server does not record. What is counted here are the
//! kinds of requests that were seen and the audit levels they were recorded at; which rules that
//! leaves blind is only worked out when somebody asks.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    event::{AuditLevel, Event, Slot, Stage},
    rule::{Correlation, Member, RequestKind, RuleSet, Severity, Sight},
};

/// How many kinds of requests are told apart. Callers can make kinds up by asking for resources
/// that do not exist; a cluster with many extensions has about two thousand.
const KINDS_MAX: usize = 8_192;

/// What makes the kind of a request.
const KIND: [Slot; 4] = [
    Slot::Verb,
    Slot::ApiGroup,
    Slot::Resource,
    Slot::Subresource,
];

/// How many of the missing kinds of a rule are named.
const NAMED_MAX: usize = 4;

/// What was seen, and at which levels.
#[derive(Clone, Debug, Default)]
pub struct Visibility {
    /// By a hash of the kind's text as it is in the event.
    kinds: BTreeMap<u64, (RequestKind, [u64; 3])>,
    bytes: Vec<u8>,
    events: u64,
    beyond: u64,
    started: u64,
    /// Ends of requests that have a stage ResponseStarted where the policy shows it.
    long_ended: u64,
}

/// A rule that cannot see all that it asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// The rule's name.
    pub rule: String,
    /// Its level.
    pub severity: Severity,
    /// Whether it sees nothing at all of what it asks about; otherwise some kinds only.
    pub wholly: bool,
    /// Why, with numbers.
    pub why: String,
    /// The kinds that it cannot see, with the least audit level that would show them.
    pub missing: Vec<(RequestKind, AuditLevel)>,
}

impl Blind {
    /// What keeps it from seeing, in one word: `stage` when the stage at which it looks is left
    /// out, `level` when requests are recorded at too low a level.
    pub const fn reason(&self) -> &'static str {
        if self.missing.is_empty() {
            "stage"
        } else {
            "level"
        }
    }

    /// How much it misses, in one word: `blind` or `partly`.
    pub const fn extent(&self) -> &'static str {
        if self.wholly { "blind" } else { "partly" }
    }
}

/// What became of all rules that make alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightedness {
    /// The blind ones, the most severe first, those that are partly blind last.
    pub blind: Vec<Blind>,
    /// How many see all that they ask about.
    pub seeing: usize,
    /// How many ask about nothing that was there: whether they are blind is not known.
    pub unknown: usize,
}

impl Sightedness {
    /// How many rules see nothing of what they ask about.
    pub fn wholly_blind(&self) -> usize {
        self.blind.iter().filter(|blind| blind.wholly).count()
    }
}

/// How requests of a kind are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// How many events a log holds at each level, the least first.
    Counted([u64; 3]),
    /// The level that a policy says; `None` when it records no such request.
    Decided(Option<AuditLevel>),
}

impl Recorded {
    /// Whether some are recorded at a level.
    fn is_at(self, level: AuditLevel) -> bool {
        match self {
            Self::Counted(levels) => levels[level as usize] > 0,
            Self::Decided(decided) => decided == Some(level),
        }
    }

    fn count(self) -> u64 {
        match self {
            Self::Counted(levels) => levels.iter().sum(),
            Self::Decided(_) => 0,
        }
    }
}

/// What opens a stream, and so never has a body.
const STREAMS: [&str; 5] = ["exec", "attach", "portforward", "log", "proxy"];

/// Whether requests of a kind can have a body at all.
fn has_body(kind: &RequestKind) -> bool {
    !["get", "list", "watch"].contains(&&*kind.verb) && !STREAMS.contains(&&*kind.subresource)
}

const LEVELS: [AuditLevel; 3] = [
    AuditLevel::Metadata,
    AuditLevel::Request,
    AuditLevel::RequestResponse,
];

impl Visibility {
    /// Takes an event in.
    pub fn see(&mut self, event: &Event<'_>) {
        let stage = event.stage();
        if stage == Stage::RequestReceived {
            return;
        }
        let level = match event.slots().raw(Slot::Level) {
            "\"Request\"" => 1,
            "\"RequestResponse\"" => 2,
            _ => 0,
        };
        self.events += 1;
        if stage == Stage::ResponseStarted {
            self.started += 1;
        } else if event.is_long_running() {
            self.long_ended += 1;
        }
        self.bytes.clear();
        for slot in KIND {
            self.bytes.extend(event.slots().raw(slot).as_bytes());
            self.bytes.push(0);
        }
        let hash = xxh3_64(&self.bytes);
        if let Some((_, levels)) = self.kinds.get_mut(&hash) {
            levels[level] += 1;
        } else if self.kinds.len() < KINDS_MAX {
            let [verb, group, resource, subresource] =
                KIND.map(|slot| event.text(slot).unwrap_or_default().into());
            let kind = RequestKind {
                verb,
                group,
                resource,
                subresource,
            };
            let mut levels = [0; 3];
            levels[level] = 1;
            self.kinds.insert(hash, (kind, levels));
        } else {
            self.beyond += 1;
        }
    }

    /// Adds what was seen elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (hash, (kind, levels)) in &other.kinds {
            if let Some((_, ours)) = self.kinds.get_mut(hash) {
                for (our, their) in ours.iter_mut().zip(levels) {
                    *our += their;
                }
            } else if self.kinds.len() < KINDS_MAX {
                self.kinds.insert(*hash, (kind.clone(), *levels));
            } else {
                self.beyond += levels.iter().sum::<u64>();
            }
        }
        self.events += other.events;
        self.beyond += other.beyond;
        self.started += other.started;
        self.long_ended += other.long_ended;
    }

    /// How many events were taken in.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many of these were of kinds beyond those that are told apart.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Which rules are blind by what was seen. The stage ResponseStarted is taken to be left out
    /// when none of many requests that have one showed it.
    pub fn judge(&self, set: &RuleSet) -> Sightedness {
        let mut kinds: Vec<(RequestKind, Recorded)> = self
            .kinds
            .values()
            .map(|(kind, levels)| (kind.clone(), Recorded::Counted(*levels)))
            .collect();
        kinds.sort_by(|(one, _), (other, _)| one.cmp(other));
        let no_start = (self.started == 0 && self.long_ended > 0).then(|| {
            format!(
                "the stage ResponseStarted is left out: none of {} watches and sessions showed it, \
                 and failed logins are recorded at no other",
                self.long_ended
            )
        });
        judge(set, &|_| kinds.clone(), no_start.as_deref())
    }
}

/// What one detection rule can see.
enum View {
    Unknown,
    Seeing,
    Partly(String, Vec<(RequestKind, AuditLevel)>),
    Blind(String, Vec<(RequestKind, AuditLevel)>),
}

/// Which rules are blind when requests are recorded so; `kinds` gives for the place of a rule the
/// kinds to look at. `no_start` says why the stage ResponseStarted is not there, when it is not.
pub fn judge(
    set: &RuleSet,
    kinds: &dyn Fn(usize) -> Vec<(RequestKind, Recorded)>,
    no_start: Option<&str>,
) -> Sightedness {
    let views: Vec<View> = (0..set.rules.len())
        .map(|rule| match no_start {
            Some(why) if set.needs_started(rule) => View::Blind(why.to_owned(), Vec::new()),
            _ if !set.rules[rule].runs() => View::Unknown,
            _ => view(set, rule, &kinds(rule)),
        })
        .collect();
    let mut sum = Sightedness::default();
    for (rule, view) in set.rules.iter().zip(&views) {
        if !rule.reports {
            continue;
        }
        let (wholly, why, missing) = match view {
            View::Unknown => {
                sum.unknown += 1;
                continue;
            }
            View::Seeing => {
                sum.seeing += 1;
                continue;
            }
            View::Partly(why, missing) => (false, why, missing),
            View::Blind(why, missing) => (true, why, missing),
        };
        sum.blind.push(Blind {
            rule: rule.meta.name.clone(),
            severity: rule.meta.severity,
            wholly,
            why: why.clone(),
            missing: missing.clone(),
        });
    }
    for correlation in set.correlations.iter().filter(|c| c.reports) {
        let met =
            |out: &dyn Fn(&View) -> bool| set.can_be_met(correlation, &|rule| out(&views[rule]));
        if met(&|view| matches!(view, View::Blind(..) | View::Unknown)) {
            sum.seeing += 1;
        } else if met(&|view| matches!(view, View::Blind(..))) {
            sum.unknown += 1;
        } else {
            sum.blind.push(Blind {
                rule: correlation.meta.name.clone(),
                severity: correlation.meta.severity,
                wholly: true,
                why: blind_members(set, correlation, &views),
                missing: missing_of(set, correlation, &views),
            });
        }
    }
    sum.blind.sort_by(|one, other| {
        (other.wholly, other.severity, &one.rule).cmp(&(one.wholly, one.severity, &other.rule))
    });
    sum
}

fn view(set: &RuleSet, rule: usize, kinds: &[(RequestKind, Recorded)]) -> View {
    let (mut asked, mut seen) = (0u64, 0u64);
    let mut missing: Vec<(RequestKind, AuditLevel)> = Vec::new();
    let mut told: Vec<(u64, String)> = Vec::new();
    let mut left_out = BTreeSet::new();
    for (kind, recorded) in kinds {
        let needed = match set.sight(rule, kind, AuditLevel::Metadata) {
            Sight::Unasked => continue,
            Sight::Unseen(_) if !has_body(kind) => continue,
            Sight::Unseen(level) => level,
            Sight::Seen => AuditLevel::Metadata,
        };
        asked += 1;
        let best = LEVELS
            .into_iter()
            .rev()
            .find(|level| recorded.is_at(*level));
        let told_of = match best {
            Some(level) if level >= needed => {
                seen += 1;
                continue;
            }
            Some(level) => {
                left_out.extend(set.left_out(rule, level));
                format!("{} {} at {}", kind.verb, kind.path(), level.name())
            }
            None => format!("{} {} not recorded", kind.verb, kind.path()),
        };
        missing.push((kind.clone(), needed));
        told.push((recorded.count(), told_of));
    }
    if asked == 0 {
        return View::Unknown;
    }
    if missing.is_empty() {
        return View::Seeing;
    }
    let why = tell(&left_out, told);
    if seen == 0 {
        View::Blind(why, missing)
    } else {
        View::Partly(why, missing)
    }
}

/// `needs role.grants; 27 × create clusterroles at Metadata, …`
fn tell(left_out: &BTreeSet<&str>, mut told: Vec<(u64, String)>) -> String {
    told.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let more = told.len().saturating_sub(NAMED_MAX);
    let named: Vec<String> = told
        .iter()
        .take(NAMED_MAX)
        .map(|(count, text)| match count {
            0 => text.clone(),
            _ => format!("{count} × {text}"),
        })
        .collect();
    let needs = if left_out.is_empty() {
        String::new()
    } else {
        let fields: Vec<&str> = left_out.iter().copied().collect();
        format!("needs {}; ", fields.join(", "))
    };
    let rest = if more > 0 {
        format!(" and {more} kinds more")
    } else {
        String::new()
    };
    format!("{needs}{}{rest}", named.join(", "))
}

fn blind_members(set: &RuleSet, correlation: &Correlation, views: &[View]) -> String {
    let told: Vec<String> = members(set, correlation)
        .into_iter()
        .filter_map(|rule| match &views[rule] {
            View::Blind(why, _) => Some(format!("{}: {why}", set.rules[rule].meta.name)),
            _ => None,
        })
        .collect();
    told.join("; ")
}

fn missing_of(
    set: &RuleSet,
    correlation: &Correlation,
    views: &[View],
) -> Vec<(RequestKind, AuditLevel)> {
    let mut missing: Vec<(RequestKind, AuditLevel)> = members(set, correlation)
        .into_iter()
        .filter_map(|rule| match &views[rule] {
            View::Blind(_, missing) => Some(missing.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

/// The detection rules that a correlation counts in the end, each once.
fn members(set: &RuleSet, correlation: &Correlation) -> BTreeSet<usize> {
    let mut rules = BTreeSet::new();
    for source in &correlation.sources {
        match source.member {
            Member::Rule(rule) => {
                rules.insert(rule);
            }
            Member::Correlation(place) => rules.extend(members(set, &set.correlations[place])),
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        decode,
        diagnostic::SourceFile,
        event::Context,
        rule::{Layer, RuleSet},
    };

    fn rules() -> RuleSet {
        let text = "
title: Privileged pod
name: privileged-pod
logsource: {product: kubernetes, service: audit}
detection:
  s: {verb: [create, update], objectRef.resource: [pods, deployments], pod.privileged: true}
  condition: s
level: high
---
title: Secret read
name: secret-read
logsource: {product: kubernetes, service: audit}
detection:
  s: {verb: get, objectRef.resource: secrets}
  condition: s
level: low
---
title: Failed login
name: failed-login
logsource: {product: kubernetes, service: audit}
detection:
  s: {outcome: unauthenticated}
  condition: s
level: informational
---
title: Failed logins
name: failed-logins
correlation:
  type: event_count
  rules: [failed-login]
  group-by: [origin.ip]
  timespan: 1m
  condition: {gte: 5}
level: medium
";
        let layer = Layer {
            rules: vec![Arc::new(SourceFile::new("r.yml", text))],
            ..Layer::default()
        };
        RuleSet::load(&[layer])
            .unwrap_or_else(|report| panic!("{report}"))
            .set
    }

    fn see(seen: &mut Visibility, verb: &str, resource: &str, level: &str, stage: &str) {
        let line = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"{level}","auditID":"1","stage":"{stage}","requestURI":"/","verb":"{verb}","objectRef":{{"resource":"{resource}"}}}}"#
        );
        let context = Context::default();
        seen.see(&Event::new(decode::event(&line).unwrap(), &line, &context));
    }

    fn told(sight: &Sightedness) -> Vec<(&str, bool, &str)> {
        let blind = sight.blind.iter();
        blind.map(|b| (&*b.rule, b.wholly, &*b.why)).collect()
    }

    #[test]
    fn a_rule_over_a_body_is_blind_where_only_metadata_is_recorded() {
        let set = rules();
        let mut seen = Visibility::default();
        for _ in 0..3 {
            see(&mut seen, "create", "pods", "Metadata", "ResponseComplete");
        }
        see(&mut seen, "get", "secrets", "Metadata", "ResponseComplete");
        let sight = seen.judge(&set);
        let why = "needs pod.privileged; 3 × create pods at Metadata";
        assert_eq!(told(&sight), [("privileged-pod", true, why)]);
        assert_eq!((sight.seeing, sight.unknown), (2, 0));
        see(
            &mut seen,
            "update",
            "deployments",
            "Request",
            "ResponseComplete",
        );
        assert_eq!(told(&seen.judge(&set)), [("privileged-pod", false, why)]);
        see(
            &mut seen,
            "create",
            "pods",
            "RequestResponse",
            "ResponseComplete",
        );
        assert_eq!(told(&seen.judge(&set)), []);
    }

    #[test]
    fn without_the_stage_of_failed_logins_what_counts_them_is_blind() {
        let set = rules();
        let mut seen = Visibility::default();
        see(&mut seen, "watch", "pods", "Metadata", "ResponseComplete");
        let sight = seen.judge(&set);
        assert_eq!(sight.blind[0].rule, "failed-logins");
        assert!(
            sight.blind[0].why.contains("none of 1 watches"),
            "{sight:?}"
        );
        see(&mut seen, "watch", "pods", "Metadata", "ResponseStarted");
        assert_eq!(told(&seen.judge(&set)), []);
    }

    #[test]
    fn made_up_kinds_do_not_fill_the_memory() {
        let mut seen = Visibility::default();
        for number in 0..KINDS_MAX + 5 {
            see(
                &mut seen,
                "get",
                &format!("x{number}"),
                "Metadata",
                "ResponseComplete",
            );
        }
        assert_eq!((seen.kinds.len(), seen.beyond()), (KINDS_MAX, 5));
    }
}
