//! Puts a condition that was met into a detection: key, evidence, words.

use std::sync::Arc;

use super::{Combination, Detection, Trace, plan::RulePlan};
use crate::{
    event::{Facts, Field, shorten},
    rule::{Extension, Extras, RuleMeta},
};

/// How much evidence one step of a detection keeps: the first half and the last half.
const EVIDENCE_MAX: usize = 32;

/// What can be told of an event: the values of fields that its trace holds or its hit brought, one
/// of each.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    trace: &'a Trace,
    fields: &'a [Field],
    travelled: &'a [Option<Box<str>>],
}

/// A condition that was met.
pub(super) struct Told {
    /// Names and values of the key.
    pub key: Vec<(Arc<str>, Box<str>)>,
    /// What counts for the first time, oldest first.
    pub evidence: Vec<Arc<Trace>>,
    /// How many count for the first time, when `evidence` has not all of them.
    pub count: u64,
    /// Numbers for the rule's words.
    pub extras: Extras,
    /// Why it is odd.
    pub why: String,
}

impl<'a> Values<'a> {
    pub(super) fn new(plan: &'a RulePlan, of: &'a Combination, trace: &'a Trace) -> Self {
        Self {
            trace,
            fields: &plan.wanted,
            travelled: &of.values,
        }
    }

    /// The value of a field as people may see it.
    pub(super) fn shown(&self, field: &Field) -> Option<Box<str>> {
        if Trace::holds(field.name()) {
            return self.trace.shown(field.name()).map(Box::from);
        }
        let place = self.fields.iter().position(|wanted| wanted == field)?;
        let value = self.travelled.get(place)?.as_deref()?;
        Some(shorten(value, Facts::TEXT_MAX))
    }

    /// A key for people: its names and the values of its fields.
    pub(super) fn key(
        &self,
        names: impl Iterator<Item = Arc<str>>,
        fields: &[Field],
    ) -> Vec<(Arc<str>, Box<str>)> {
        names
            .zip(
                fields
                    .iter()
                    .map(|field| self.shown(field).unwrap_or_default()),
            )
            .collect()
    }
}

/// The names of fields, as keys show them.
pub(super) fn names(fields: &[Field]) -> impl Iterator<Item = Arc<str>> {
    fields.iter().map(|field| Arc::from(field.name()))
}

/// The detection of a rule.
pub(super) fn detection(
    rule: &Arc<RuleMeta>,
    extension: &Extension,
    values: Values<'_>,
    told: Told,
) -> Detection {
    let look_up = |field: &Field| values.shown(field).map(String::from);
    let fill = |template: &crate::rule::Template| template.fill(&look_up, &told.extras);
    let shell = |template: &crate::rule::Template| template.fill_shell(&look_up, &told.extras);
    // A command that changes something is shown only when all that it names is known.
    let is_known =
        |template: &&crate::rule::Template| template.fields().all(|field| look_up(field).is_some());
    let contain = extension.contain.iter().filter(is_known);
    Detection {
        rule: Arc::clone(rule),
        summary: extension.summary.as_ref().map(fill).unwrap_or_default(),
        respond: extension.respond.iter().map(shell).collect(),
        contain: contain.map(shell).collect(),
        key: told.key,
        count: told.count.max(told.evidence.len() as u64),
        evidence: ends(told.evidence),
        why: told.why,
    }
}

/// The first half and the last half of what is allowed.
fn ends(mut evidence: Vec<Arc<Trace>>) -> Vec<Arc<Facts>> {
    if evidence.len() > EVIDENCE_MAX {
        evidence.drain(EVIDENCE_MAX / 2..evidence.len() - EVIDENCE_MAX / 2);
    }
    evidence
        .iter()
        .map(|trace| Arc::new(trace.facts()))
        .collect()
}
