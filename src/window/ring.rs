//! What one key holds: occurrences in the order of event time, and how many there may be.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::Held;
use crate::units::{Span, Time};

/// The greatest least-count that a window can tell. A rule that asks for more never fires, so
/// whoever loads rules refuses it.
pub const THRESHOLD_MAX: u64 = 100_000;

/// However late input may be, a key holds no more occurrences than this, unless the threshold
/// itself needs more.
const CAPACITY_MAX: usize = 4_096;

/// What a window looks for. The same for all keys of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The length of the window; both ends inclusive.
    pub timespan: Span,
    /// The least count that meets the condition, at most [`THRESHOLD_MAX`]; 0 is taken as 1,
    /// because nothing happens on no occurrence.
    pub min: u64,
    /// The greatest count that meets the condition. With it the condition can stop to hold when
    /// more comes, so it is judged at each occurrence over the `timespan` that ends there, and the
    /// order of arrival matters.
    pub max: Option<u64>,
    /// How far behind the newest an occurrence may arrive and still be counted exactly.
    pub lateness: Span,
}

impl Spec {
    pub(super) fn threshold(&self) -> usize {
        self.min.clamp(1, THRESHOLD_MAX + 1) as usize
    }

    /// Occurrences before this can not share a window with anything that is still expected.
    pub(super) fn keep_from(&self, horizon: Time) -> Time {
        horizon.minus(self.timespan)
    }

    /// How many occurrences a key may hold, when `per_window` of them in one timespan decide
    /// everything: twice what thinning can leave over, so that thinning is rare.
    pub(super) fn capacity(&self, per_window: usize) -> usize {
        let windows = self.lateness.micros() / self.timespan.micros().max(1) + 3;
        let exact = per_window
            .saturating_mul(windows as usize)
            .saturating_mul(2);
        exact.min(CAPACITY_MAX.max(per_window.saturating_mul(2)))
    }
}

/// What one insert brought about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// How many occurrences count for the first time; zero when the condition is not met.
    pub counted: usize,
    /// What the condition compares with its bound, in the window that was met: occurrences,
    /// different values or members. At least this many.
    pub within: u64,
    /// Whether `within` is the whole truth: the key was not thinned there.
    pub is_exact: bool,
}

/// One occurrence of a key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Occurrence<T, P> {
    pub time: Time,
    /// What the window tells apart: a value, a member's place, or nothing.
    pub tag: T,
    /// How many occurrences this stands for, after thinning.
    pub weight: u32,
    /// Held until the occurrence counts.
    pub payload: Option<P>,
}

impl<T, P> Occurrence<T, P> {
    pub(super) const fn is_counted(&self) -> bool {
        self.payload.is_none()
    }
}

/// How an occurrence that is not needed goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    /// The one before stands for it.
    Weighted,
    /// Nothing that is told misses it.
    Unmissed,
}

/// What a window holds of a key at a moment, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Occurrences in the timespan that ends at the moment.
    pub count: u64,
    /// What the window tells apart among them, values or places of members, and when each of
    /// these occurred first.
    pub tags: BTreeMap<u64, Time>,
    /// How many are remembered that left the window before the moment.
    pub left: usize,
    /// When the last of these left.
    pub left_at: Option<Time>,
    /// When the oldest that is still in it leaves.
    pub leaves_at: Option<Time>,
}

pub(super) type Occurrences<T, P> = VecDeque<Occurrence<T, P>>;

/// How many occurrences a ring is brought down to once it is full, so that room is made seldom.
pub(super) const fn roomy(capacity: usize) -> usize {
    capacity - capacity / 4
}

/// The occurrences of one key, sorted by time; among equal times in order of arrival.
#[derive(Serialize, Deserialize)]
pub(super) struct Ring<T, P>(pub(super) Occurrences<T, P>);

impl<T, P> Held for Ring<T, P> {
    fn held(&self) -> usize {
        self.0.len()
    }
}

impl<T, P> Ring<T, P> {
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn time(&self, at: usize) -> Time {
        self.0[at].time
    }

    /// The payloads that have not counted.
    pub(super) fn payloads(&mut self) -> impl Iterator<Item = &mut P> {
        self.0
            .iter_mut()
            .filter_map(|occurrence| occurrence.payload.as_mut())
    }

    /// Whether nothing was thinned out between the oldest and the newest.
    pub(super) fn is_whole(&self) -> bool {
        self.0.iter().all(|occurrence| occurrence.weight == 1)
    }

    /// What lies in the timespan that ends at `at`; `tag` names what the window tells apart.
    pub(super) fn look(&self, at: Time, timespan: Span, tag: impl Fn(&T) -> Option<u64>) -> Look {
        let (from, to) = (self.first_from(at.minus(timespan)), self.first_after(at));
        let leaves = |place: usize| Some(self.0.get(place)?.time.plus(timespan));
        let inside = || self.0.range(from..to.max(from));
        Look {
            count: inside().map(|one| u64::from(one.weight)).sum(),
            tags: inside()
                .rev()
                .filter_map(|one| Some((tag(&one.tag)?, one.time)))
                .collect(),
            left: from,
            left_at: from.checked_sub(1).and_then(leaves),
            leaves_at: if from < to { leaves(from) } else { None },
        }
    }

    /// Lets go of what lies before `from`.
    pub(super) fn prune(&mut self, from: Time) {
        while self.0.front().is_some_and(|oldest| oldest.time < from) {
            self.0.pop_front();
        }
    }

    /// Puts an occurrence in its place and returns that place.
    pub(super) fn insert(&mut self, time: Time, tag: T, payload: P) -> usize {
        let occurrence = Occurrence {
            time,
            tag,
            weight: 1,
            payload: Some(payload),
        };
        if self.0.back().is_none_or(|newest| newest.time <= time) {
            self.0.push_back(occurrence);
            return self.0.len() - 1;
        }
        let at = self.first_after(time);
        self.0.insert(at, occurrence);
        at
    }

    /// The first place whose time is at or after `time`.
    pub(super) fn first_from(&self, time: Time) -> usize {
        self.0.partition_point(|occurrence| occurrence.time < time)
    }

    /// The first place whose time is after `time`.
    pub(super) fn first_after(&self, time: Time) -> usize {
        self.0.partition_point(|occurrence| occurrence.time <= time)
    }

    /// Counts what does not count yet in `from..to`; payloads go to `out` in order of time.
    pub(super) fn count(&mut self, from: usize, to: usize, out: &mut Vec<P>) {
        if from < to {
            out.extend(self.0.range_mut(from..to).filter_map(|o| o.payload.take()));
        }
    }

    /// Takes out, oldest first, occurrences that `redundant` names, given those kept so far and
    /// those that follow; no two neighbours, and not more than a quarter of `capacity` needs. So
    /// what stays is spread evenly and densest at its newest. Where `redundant` asks for it the
    /// weight goes to the one before, so that a sum over the newest occurrences is never too
    /// great. Returns whether anything went.
    pub(super) fn thin(
        &mut self,
        capacity: usize,
        mut redundant: impl FnMut(
            &Occurrences<T, P>,
            &Occurrence<T, P>,
            &Occurrences<T, P>,
        ) -> Option<Goes>,
    ) -> bool {
        let mut surplus = self.0.len().saturating_sub(roomy(capacity));
        let mut rest = std::mem::take(&mut self.0);
        let mut kept: Occurrences<T, P> = VecDeque::with_capacity(rest.len());
        let (mut went, mut just_went) = (false, false);
        while surplus > 0
            && let Some(next) = rest.pop_front()
        {
            let goes = if just_went {
                None
            } else {
                redundant(&kept, &next, &rest)
            };
            just_went = goes.is_some();
            let Some(goes) = goes else {
                kept.push_back(next);
                continue;
            };
            if let (Goes::Weighted, Some(before)) = (goes, kept.back_mut()) {
                before.weight = before.weight.saturating_add(next.weight);
            }
            surplus -= 1;
            went = true;
        }
        kept.append(&mut rest);
        self.0 = kept;
        went
    }

    /// Drops the oldest until a quarter of `capacity` is free.
    pub(super) fn drop_oldest(&mut self, capacity: usize) {
        while self.0.len() > roomy(capacity) {
            self.0.pop_front();
        }
    }
}
