//! What an observer saw in one event: all that the engine needs of it, without the event's bytes.

use std::{borrow::Cow, sync::Arc};

use smallvec::SmallVec;

use super::{Minted, Trace, observer, plan::RulePlan, trace::Callers};
use crate::{
    decode,
    event::{Context, Event, Stage},
    units::Time,
    window::Key,
};

/// One event as the engine takes it in. Without hits it owns nothing on the heap.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Event time: when the API server received the request, the same at all its stages.
    pub time: Option<Time>,
    /// When this stage was reached. Says how far the source has come.
    pub stamped: Option<Time>,
    /// Where in the life of the request the event was written.
    pub stage: Stage,
    /// Which request it is.
    pub request: u128,
    /// Whether such requests may last longer than the ordinary minute.
    pub is_long_running: bool,
    /// The token that the request made.
    pub minted: Option<Box<Minted>>,
    /// What is kept of the event for people; there when a rule matched.
    pub recording: Option<Recording>,
    /// The rules that matched, in the order of the rule set.
    pub hits: Vec<Hit>,
}

/// What is kept of an event that matched, so that people can be told of it.
#[derive(Clone, Debug)]
pub enum Recording {
    /// What they may be shown.
    Trace(Arc<Trace>),
    /// The event's JSON text and where it came from. Most events that match match only what asks
    /// for novelty, and turn out to be known: then a trace would have been made for nothing.
    Text(Box<str>, Arc<Context>),
}

impl Recording {
    /// A longer text is not kept: its trace is smaller.
    pub(super) const TEXT_BYTES_MAX: usize = 8 << 10;

    /// What people may be shown of the event, which is of the request `request`, and the hit of
    /// `plan`'s rule with all its values.
    pub(super) fn told<'h>(
        &self,
        (hit, plan): (&'h Hit, &RulePlan),
        request: u128,
        callers: &mut Callers,
    ) -> (Cow<'h, Hit>, Arc<Trace>) {
        match self {
            Self::Trace(trace) => (Cow::Borrowed(hit), Arc::clone(trace)),
            Self::Text(text, context) => {
                let slots = decode::event(text).unwrap_or_default();
                let event = Event::new(slots, text, context);
                let hit = observer::hit(hit.rule, plan, (&event, true), &mut Vec::new());
                let trace = Trace::of(&event, request, callers);
                (Cow::Owned(hit), Arc::new(trace))
            }
        }
    }
}

/// One rule matched the event.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The rule's place in the rule set.
    pub rule: u32,
    /// What is read from the event where each field has one value; the first of those that have
    /// several.
    pub first: Combination,
    /// The same for further combinations of the values of fields that have several; mostly none.
    pub others: Box<[Combination]>,
    /// How many combinations there were beyond the cap.
    pub dropped: u32,
}

impl Hit {
    /// How many combinations a hit has at most.
    pub const COMBINATIONS_MAX: usize = 16;

    /// All combinations, the first one first.
    pub fn combinations(&self) -> impl Iterator<Item = &Combination> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The combination at a place; the first for a place that is none.
    pub fn combination(&self, at: usize) -> &Combination {
        at.checked_sub(1)
            .and_then(|at| self.others.get(at))
            .unwrap_or(&self.first)
    }
}

/// What is read from an event with one value of each field.
#[derive(Clone, Debug)]
pub struct Combination {
    /// The values of the fields that the rule's words need and a trace does not hold, in the order
    /// of the plan that observer and engine share; raw, so nothing for people's eyes yet. None when
    /// the recording is the event's text, which has them.
    pub values: Box<[Option<Box<str>>]>,
    /// For each of the rule's conditions over several events, what they count.
    pub readings: Readings,
}

/// What a rule's conditions read, in the order of the plan.
pub type Readings = SmallVec<[Reading; 1]>;

/// What one condition reads from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The key; `None` when the event lacks a field of it, and then it does not count.
    pub key: Option<Key>,
    /// The counted value; `None` when the event lacks a field of it.
    pub value: Option<u64>,
}
