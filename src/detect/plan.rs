//! Which fields of a matching event each rule's conditions need. Observer and engine each make
//! the same plan from the same rule set, so that values can travel without names.

use super::{Combination, Trace, memo::Reach};
use crate::{
    event::{Field, FieldGroup},
    rule::{Correlation, Extension, Kind, Member, RuleSet},
    window::Key,
};

/// The plan of a rule set.
pub(super) struct Plan {
    /// One for each rule.
    pub rules: Vec<RulePlan>,
    /// For each correlation, which correlations count it.
    chained: Vec<Vec<Feed>>,
}

/// What is read from an event that matches one rule.
#[derive(Default)]
pub(super) struct RulePlan {
    /// Fields whose values travel with a hit, because people are shown them and no trace holds
    /// them; each once.
    pub wanted: Vec<Field>,
    /// What becomes a [`Reading`](super::Reading), in that order.
    pub reads: Vec<Read>,
    /// What the readings depend on.
    pub reach: Reach,
    /// Fields of these that an event may have several values of, each once.
    pub several: Vec<Field>,
    /// Whether a match says something only when a baseline finds it odd, or when
    /// no other comes after it.
    pub has_baselines: bool,
    /// The correlations that count the rule itself.
    feeds: Vec<Feed>,
}

/// The fields of one condition's key and counted values.
pub(super) struct Read {
    pub of: Condition,
    pub key: Vec<Field>,
    pub values: Vec<Field>,
    /// Whether an absent counted value is a value too.
    pub takes_absent: bool,
}

/// What a reading is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Novelty,
    Rate,
    Silence,
    Correlation(Feed),
}

/// A place where a correlation takes something in: its number and the number of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Feed {
    pub correlation: usize,
    pub source: usize,
}

impl Plan {
    /// Plans for a rule set; the same set gives the same plan.
    pub(super) fn new(rules: &RuleSet) -> Self {
        let feeds = |member: Member| -> Vec<Feed> {
            let sources = |(correlation, rule): (usize, &Correlation)| {
                let places = 0..rule.sources.len();
                let ours = places.filter(|&source| rule.sources[source].member == member);
                ours.map(move |source| Feed {
                    correlation,
                    source,
                })
                .collect::<Vec<_>>()
            };
            rules
                .correlations
                .iter()
                .enumerate()
                .flat_map(sources)
                .collect()
        };
        let chained: Vec<Vec<Feed>> = (0..rules.correlations.len())
            .map(|at| feeds(Member::Correlation(at)))
            .collect();
        let rule_plan = |at: usize| {
            RulePlan::new(
                rules,
                &rules.rules[at].extension,
                feeds(Member::Rule(at)),
                &chained,
            )
        };
        Self {
            rules: (0..rules.rules.len()).map(rule_plan).collect(),
            chained,
        }
    }

    /// Where the matches of a rule or the detections of a correlation are counted, the earlier
    /// correlation first.
    pub(super) fn feeds(&self, member: Member) -> &[Feed] {
        match member {
            Member::Rule(at) => &self.rules[at].feeds,
            Member::Correlation(at) => &self.chained[at],
        }
    }
}

impl RulePlan {
    fn new(
        rules: &RuleSet,
        extension: &Extension,
        feeds: Vec<Feed>,
        chained: &[Vec<Feed>],
    ) -> Self {
        let mut plan = Self {
            has_baselines: extension.novelty.is_some()
                || extension.rate.is_some()
                || extension.silence.is_some(),
            ..Self::default()
        };
        plan.want_words(extension);
        if let Some(novelty) = &extension.novelty {
            plan.read(Condition::Novelty, &novelty.by, &novelty.of, true);
        }
        if let Some(rate) = &extension.rate {
            plan.read(Condition::Rate, &rate.by, &[], false);
        }
        if let Some(silence) = &extension.silence {
            plan.read(Condition::Silence, &silence.by, &[], false);
        }
        // Each place that an event of this rule can reach, through chains too, once.
        let mut reached = feeds.clone();
        let mut at = 0;
        while let Some(&feed) = reached.get(at) {
            at += 1;
            let correlation = &rules.correlations[feed.correlation];
            let source = &correlation.sources[feed.source];
            plan.want_words(&correlation.extension);
            let values: &[Field] = if correlation.kind == Kind::ValueCount {
                &source.values
            } else {
                &[]
            };
            plan.read(Condition::Correlation(feed), &source.key, values, false);
            for next in &chained[feed.correlation] {
                if !reached.contains(next) {
                    reached.push(*next);
                }
            }
        }
        plan.feeds = feeds;
        plan.reach = plan.reach_of_readings();
        plan
    }

    fn reach_of_readings(&self) -> Reach {
        let mut fields = self
            .reads
            .iter()
            .flat_map(|read| read.key.iter().chain(&read.values))
            .map(Field::group)
            .peekable();
        if !self.several.is_empty() || fields.peek().is_none() {
            return Reach::Other;
        }
        fields.fold(Reach::Who, |reach, group| match group {
            FieldGroup::Who => reach,
            FieldGroup::What if reach != Reach::Other => Reach::WhatAndWho,
            FieldGroup::What | FieldGroup::Free => Reach::Other,
        })
    }

    /// Key and value that a combination has for a condition; `None` when the event lacks one of
    /// them.
    pub(super) fn reading(&self, condition: Condition, of: &Combination) -> Option<(Key, u64)> {
        let place = self.reads.iter().position(|read| read.of == condition)?;
        let reading = of.readings.get(place)?;
        Some((reading.key?, reading.value?))
    }

    fn want_words(&mut self, extension: &Extension) {
        let commands = extension.respond.iter().chain(&extension.contain);
        for template in extension.summary.iter().chain(commands) {
            for field in template.fields() {
                self.want(field);
            }
        }
    }

    fn read(&mut self, of: Condition, key: &[Field], values: &[Field], takes_absent: bool) {
        for field in key {
            self.want(field);
        }
        if takes_absent {
            // These are values that people are told.
            for field in values {
                self.want(field);
            }
        }
        for field in key.iter().chain(values) {
            if field.may_be_several() && !self.several.contains(field) {
                self.several.push(field.clone());
            }
        }
        self.reads.push(Read {
            of,
            key: key.to_vec(),
            values: values.to_vec(),
            takes_absent,
        });
    }

    fn want(&mut self, field: &Field) {
        if !Trace::holds(field.name()) && !self.wanted.contains(field) {
            self.wanted.push(field.clone());
        }
    }
}
