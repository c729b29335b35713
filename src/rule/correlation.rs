//! The compiled form of a Sigma correlation: what it counts, by what, within which time.

use std::sync::Arc;

use super::{Extension, RuleMeta};
use crate::{event::Field, units::Span};

/// Points into a [`RuleSet`](super::RuleSet): the thing whose matches or detections are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A detection rule, by its place in `RuleSet::rules`.
    Rule(usize),
    /// Another correlation, by its place in `RuleSet::correlations`; always an earlier one, so
    /// that a chain has no cycle.
    Correlation(usize),
}

/// One rule that a correlation refers to, and how the key is read from its events.
#[derive(Clone, Debug)]
pub struct Source {
    /// What is counted.
    pub member: Member,
    /// One field for each name in [`Correlation::group_by`], aliases resolved for this member.
    pub key: Vec<Field>,
    /// The fields whose values are counted (`value_count`); empty for the other kinds.
    pub values: Vec<Field>,
}

/// The kinds of correlation of Sigma 2.1 that count occurrences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `event_count`: requests.
    EventCount,
    /// `value_count`: distinct values of a field.
    ValueCount,
    /// `temporal`: how many of the members occurred, in any order.
    Temporal,
    /// `temporal_ordered`: all members occurred, in the listed order.
    TemporalOrdered,
}

/// Which counts meet the condition; both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least count.
    pub min: u64,
    /// The greatest count, when the condition has an upper end.
    pub max: Option<u64>,
}

/// A correlation rule, ready to run.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// Identity and words.
    pub meta: Arc<RuleMeta>,
    /// What is counted and how.
    pub kind: Kind,
    /// The members in the rule's order.
    pub sources: Vec<Source>,
    /// The names in `group-by`, as written; they name the key in alerts.
    pub group_by: Vec<Arc<str>>,
    /// The length of the sliding window; inclusive at both ends.
    pub timespan: Span,
    /// Which counts meet the condition.
    pub bounds: Bounds,
    /// Whether it makes detections of its own: false where another correlation refers to it and
    /// does not say `generate: true`.
    pub reports: bool,
    /// Our own block.
    pub extension: Extension,
    /// Hash of the rule's meaning; a reload keeps the state of rules whose hash stays.
    pub fingerprint: u64,
}
