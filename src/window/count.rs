//! `event_count`: at least so many occurrences of a key within a timespan.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Key, Limits, Look, Owner, Rows, Spec, Step, Table, TableStats, Unreadable,
    ring::{Goes, Ring},
};
use crate::units::{Span, Time};

/// A key keeps this many occurrences more than decide everything, so that the numbers that people
/// are told stay close to the truth in a long burst.
const TOLD_MIN: usize = 256;

/// Counts occurrences of each key.
///
/// Exact in any order of arrival within the spec's lateness, and after any burst: an occurrence is
/// thinned out only when it has counted and `min` neighbours on either side lie within one
/// timespan, for then any window that holds it holds `min` others too.
pub struct Count<P> {
    spec: Spec,
    capacity: usize,
    table: Table<Ring<(), P>>,
}

impl<P> Count<P> {
    /// An empty window.
    pub fn new(spec: Spec, limits: Limits) -> Self {
        let decisive = match spec.max {
            None => 2 * spec.threshold() + 1,
            Some(max) => max.min(super::THRESHOLD_MAX) as usize + 2,
        };
        Self {
            spec,
            capacity: spec.capacity(decisive) + TOLD_MIN,
            table: Table::new(limits),
        }
    }

    /// Takes in one occurrence. Payloads that count now are appended to `out` in order of time.
    /// `horizon` is the earliest event time that is still expected.
    pub fn insert(
        &mut self,
        key: Key,
        time: Time,
        payload: P,
        horizon: Time,
        out: &mut Vec<P>,
    ) -> Step {
        let Self {
            spec,
            capacity,
            table,
        } = self;
        let keep_from = spec.keep_from(horizon);
        table.update(key, time, keep_from, Ring::new, |ring| {
            ring.prune(keep_from);
            let before = out.len();
            let at = ring.insert(time, (), payload);
            let met = match spec.max {
                None => count_runs(ring, at, spec, out),
                Some(max) => count_trailing(ring, at, spec, max, out),
            };
            let (within, is_exact) = met.map_or((0, true), |end| within(ring, end, spec));
            if ring.len() >= *capacity {
                make_room(ring, spec, *capacity);
            }
            Step {
                counted: out.len() - before,
                within,
                is_exact,
            }
        })
    }

    /// What is held of a key at a moment.
    pub fn look(&self, key: Key, at: Time) -> Look {
        let ring = self.table.get(key, Time::MIN);
        ring.map_or_else(Look::default, |ring| {
            ring.look(at, self.spec.timespan, |()| None)
        })
    }

    /// Takes back memory of keys that are over at `horizon`, looking at `count` of them.
    pub fn sweep(&mut self, horizon: Time, count: usize) {
        self.table.sweep(self.spec.keep_from(horizon), count);
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> TableStats {
        self.table.stats()
    }

    /// Memory of the table, without what the keys hold on the heap.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Adds the rows that changed since this was last called.
    pub fn changes(&mut self, owner: Owner, rows: &mut Rows)
    where
        P: Serialize,
    {
        self.table.changes(owner, rows);
    }

    /// Takes up what all rows of an owner hold; `each` sees every payload first.
    ///
    /// # Errors
    /// When the rows are not what [`changes`](Self::changes) wrote.
    pub fn restore<'a>(
        &mut self,
        owner: Owner,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        each: &mut dyn FnMut(&mut P),
    ) -> Result<(), Unreadable>
    where
        P: DeserializeOwned,
    {
        let each = &mut |ring: &mut Ring<(), P>| ring.payloads().for_each(&mut *each);
        self.table.restore(owner, rows, each)
    }
}

/// Counts every run of `min` neighbours within the timespan that the new occurrence at `at` is
/// part of. Any window that meets the bound is made of such runs, and only runs with the new
/// occurrence are new. Returns the end of the last run that holds.
fn count_runs<P>(
    ring: &mut Ring<(), P>,
    at: usize,
    spec: &Spec,
    out: &mut Vec<P>,
) -> Option<usize> {
    let (n, len) = (spec.threshold(), ring.len());
    if len < n {
        return None;
    }
    let is_within = |ring: &Ring<(), P>, start: usize| {
        ring.time(start + n - 1).since(ring.time(start)) <= spec.timespan
    };
    if at == len - 1 && at > 0 && ring.0[at - 1].is_counted() {
        // The burst goes on: the one before counted as the end of a run, so all between do.
        if !is_within(ring, len - n) {
            return None;
        }
        ring.count(at, len, out);
        return Some(at);
    }
    let mut counted_to = 0;
    let mut met = None;
    for start in (at + 1).saturating_sub(n)..=at.min(len - n) {
        if is_within(ring, start) {
            ring.count(counted_to.max(start), start + n, out);
            counted_to = start + n;
            met = Some(counted_to - 1);
        }
    }
    met
}

/// Judges the timespan that ends with the new occurrence.
fn count_trailing<P>(
    ring: &mut Ring<(), P>,
    at: usize,
    spec: &Spec,
    max: u64,
    out: &mut Vec<P>,
) -> Option<usize> {
    let start = ring.first_from(ring.time(at).minus(spec.timespan));
    let count = (at + 1 - start) as u64;
    if count < spec.min || count > max {
        return None;
    }
    ring.count(start, at + 1, out);
    Some(at)
}

/// How many occurrences the timespan that ends at `end` holds, and whether none was thinned out.
fn within<P>(ring: &Ring<(), P>, end: usize, spec: &Spec) -> (u64, bool) {
    let start = ring.first_from(ring.time(end).minus(spec.timespan));
    let weights = ring
        .0
        .range(start..=end)
        .map(|occurrence| occurrence.weight);
    let sum = weights.map(u64::from).sum();
    (sum, sum == (end + 1 - start) as u64)
}

/// Lets go of what no verdict needs, then of the oldest. Where people may still be told how many
/// there were, no gap grows beyond an eighth of the timespan.
fn make_room<P>(ring: &mut Ring<(), P>, spec: &Spec, capacity: usize) {
    let n = spec.threshold();
    let newest = ring.time(ring.len() - 1);
    let told_from = newest.minus(spec.timespan).minus(spec.timespan);
    let gap = Span::from_micros(spec.timespan.micros() / 8);
    let mut went = spec.max.is_none();
    while went {
        went = ring.thin(capacity, |kept, next, rest| {
            let goes = next.is_counted()
                && kept.len() >= n
                && rest.len() >= n
                && rest[n - 1].time.since(kept[kept.len() - n].time) <= spec.timespan
                && (next.time < told_from || rest[0].time.since(kept[kept.len() - 1].time) <= gap);
            goes.then_some(Goes::Weighted)
        });
    }
    ring.drop_oldest(capacity);
}
