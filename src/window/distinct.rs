//! `value_count` and `temporal`: at least so many different values of a key within a timespan.
//! For `temporal` the value is the place of the member that occurred.

use hashbrown::HashTable;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Key, Limits, Look, Owner, Rows, Spec, Step, Table, TableStats, Unreadable,
    ring::{Goes, Ring, roomy},
};
use crate::units::Time;

/// A key keeps at least this many occurrences, though fewer would decide everything: repeats that
/// have not counted are evidence, should the bound be met.
const REPEATS_MIN: usize = 64;

/// Counts different values of each key. A value is whatever its owner hashed to 64 bits.
///
/// Whether and when the bound is met is exact in any order of arrival within the spec's lateness.
/// So is the set of what counts, until a key holds more occurrences than the spec allows: then
/// repeats of a value between two others of it within one timespan go first, which changes no
/// verdict.
pub struct Distinct<P> {
    spec: Spec,
    capacity: usize,
    table: Table<Ring<u64, P>>,
    tally: Tally,
}

impl<P> Distinct<P> {
    /// An empty window.
    pub fn new(spec: Spec, limits: Limits) -> Self {
        let values = match spec.max {
            None => spec.threshold(),
            Some(max) => max.min(super::THRESHOLD_MAX) as usize + 1,
        };
        let capacity = spec.capacity(4 * values + 1).max(REPEATS_MIN);
        Self {
            spec,
            capacity,
            table: Table::new(limits),
            tally: Tally::default(),
        }
    }

    /// Takes in one occurrence of `value`. Payloads that count now are appended to `out` in order
    /// of time. `horizon` is the earliest event time that is still expected.
    pub fn insert(
        &mut self,
        key: Key,
        at: (Time, u64),
        payload: P,
        horizon: Time,
        out: &mut Vec<P>,
    ) -> Step {
        let Self {
            spec,
            capacity,
            table,
            tally,
        } = self;
        let keep_from = spec.keep_from(horizon);
        let (time, value) = at;
        table.update(key, time, keep_from, Ring::new, |ring| {
            ring.prune(keep_from);
            let before = out.len();
            let at = ring.insert(time, value, payload);
            let most = match spec.max {
                None => count_windows(ring, at, spec, tally, out),
                Some(max) => count_trailing(ring, at, spec, max, tally, out),
            };
            if ring.len() > roomy(*capacity) {
                drop_repeat(ring, at, spec);
            }
            if ring.len() >= *capacity {
                make_room(ring, spec, *capacity);
            }
            let counted = out.len() - before;
            Step {
                counted,
                within: most,
                is_exact: ring.is_whole(),
            }
        })
    }

    /// What is held of a key at a moment.
    pub fn look(&self, key: Key, at: Time) -> Look {
        let ring = self.table.get(key, Time::MIN);
        ring.map_or_else(Look::default, |ring| {
            ring.look(at, self.spec.timespan, |value| Some(*value))
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
        let each = &mut |ring: &mut Ring<u64, P>| ring.payloads().for_each(&mut *each);
        self.table.restore(owner, rows, each)
    }
}

/// Counts every window that meets the bound and holds the new occurrence at `at`; no other window
/// is new. Returns the most values that one of them has, 0 when none meets the bound.
fn count_windows<P>(
    ring: &mut Ring<u64, P>,
    at: usize,
    spec: &Spec,
    tally: &mut Tally,
    out: &mut Vec<P>,
) -> u64 {
    let start = ring.first_from(ring.time(at).minus(spec.timespan));
    if is_more_of_the_same(ring, at, start) {
        return 0;
    }
    let (mut end, mut counted_to, mut most) = (start, start, 0);
    tally.clear();
    for first in start..=at {
        let last_time = ring.time(first).plus(spec.timespan);
        while end < ring.len() && ring.time(end) <= last_time {
            tally.add(ring.0[end].tag);
            end += 1;
        }
        if tally.distinct() >= spec.threshold() {
            ring.count(counted_to.max(first), end, out);
            counted_to = end;
            most = most.max(tally.distinct());
        }
        if end == ring.len() {
            break; // The windows that start later hold nothing that this one does not.
        }
        tally.remove(ring.0[first].tag);
    }
    most as u64
}

/// Whether the newest occurrence shows a value that its timespan has already, while the one before
/// it does not count: then the timespan that ends here has no more values than the one that ended
/// there, which had too few. Most occurrences are such, and told at once.
fn is_more_of_the_same<P>(ring: &Ring<u64, P>, at: usize, start: usize) -> bool {
    let value = ring.0[at].tag;
    at + 1 == ring.len()
        && at > start
        && !ring.0[at - 1].is_counted()
        && ring
            .0
            .range(start..at)
            .rev()
            .any(|earlier| earlier.tag == value)
}

/// Judges the timespan that ends with the new occurrence.
fn count_trailing<P>(
    ring: &mut Ring<u64, P>,
    at: usize,
    spec: &Spec,
    max: u64,
    tally: &mut Tally,
    out: &mut Vec<P>,
) -> u64 {
    let start = ring.first_from(ring.time(at).minus(spec.timespan));
    tally.clear();
    ring.0
        .range(start..=at)
        .for_each(|occurrence| tally.add(occurrence.tag));
    let distinct = tally.distinct() as u64;
    if distinct < spec.min || distinct > max {
        return 0;
    }
    ring.count(start, at + 1, out);
    distinct
}

/// Lets go of the occurrence before the newest when it only repeats the one before it and is
/// repeated: the usual case of what [`make_room`] would find later, at much less cost.
fn drop_repeat<P>(ring: &mut Ring<u64, P>, at: usize, spec: &Spec) {
    if at + 1 != ring.len() || at < 2 {
        return;
    }
    let [before, middle, newest] = [&ring.0[at - 2], &ring.0[at - 1], &ring.0[at]];
    let is_repeat = before.tag == newest.tag && middle.tag == newest.tag;
    if is_repeat && newest.time.since(before.time) <= spec.timespan {
        ring.0.remove(at - 1);
    }
}

/// Makes room without changing any verdict as long as that is possible: first what has counted,
/// then repeats that have not, in the end the oldest.
fn make_room<P>(ring: &mut Ring<u64, P>, spec: &Spec, capacity: usize) {
    while thin(ring, spec, capacity, Thinning::Counted) {}
    while thin(ring, spec, capacity, Thinning::Repeats) {}
    ring.drop_oldest(capacity);
}

/// Which occurrences may go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thinning {
    Counted,
    Repeats,
}

/// One pass of [`Ring::thin`]. Redundant is a value between two others of it within one timespan:
/// each window that holds it holds one of those. So is what has counted between two stretches
/// within one timespan that each show enough values.
fn thin<P>(ring: &mut Ring<u64, P>, spec: &Spec, capacity: usize, which: Thinning) -> bool {
    let following = Following::of(ring, spec.threshold());
    let mut shown = Tally::default();
    let (mut shown_from, mut shown_to) = (0, 0);
    let total = ring.len();
    ring.thin(capacity, |kept, next, rest| {
        while shown_to < kept.len() {
            shown.add_at(kept[shown_to].tag, kept[shown_to].time);
            shown_to += 1;
        }
        // The shortest tail of what is kept that still shows enough values.
        while shown_from < shown_to
            && (shown.distinct() > spec.threshold() || shown.count(kept[shown_from].tag) > 1)
        {
            shown.remove(kept[shown_from].tag);
            shown_from += 1;
        }
        let here = total - rest.len() - 1;
        let fits = |before: Time, after: Option<Time>| {
            after.is_some_and(|after| after.since(before) <= spec.timespan)
        };
        let is_repeat = fits(shown.last_time(next.tag), following.same[here]);
        let is_surplus = || {
            spec.max.is_none()
                && shown.distinct() >= spec.threshold()
                && fits(kept[shown_from].time, following.enough[here])
        };
        match which {
            Thinning::Repeats => is_repeat.then_some(Goes::Unmissed),
            Thinning::Counted if !next.is_counted() => None,
            Thinning::Counted if is_repeat => Some(Goes::Unmissed),
            Thinning::Counted => is_surplus().then_some(Goes::Weighted),
        }
    })
}

/// For each place of a ring, what comes after it.
struct Following {
    /// The next time of the same value.
    same: Vec<Option<Time>>,
    /// The time by which the threshold's number of different values has followed.
    enough: Vec<Option<Time>>,
}

impl Following {
    fn of<P>(ring: &Ring<u64, P>, threshold: usize) -> Self {
        let len = ring.len();
        let (mut same, mut enough) = (vec![None; len], vec![None; len]);
        let mut next = Tally::default();
        for at in (0..len).rev() {
            same[at] = next.time_of(ring.0[at].tag);
            next.add_at(ring.0[at].tag, ring.time(at));
        }
        let (mut tally, mut end) = (Tally::default(), 1);
        for (at, enough) in enough.iter_mut().enumerate() {
            while end < len && tally.distinct() < threshold {
                tally.add(ring.0[end].tag);
                end += 1;
            }
            if tally.distinct() >= threshold {
                *enough = Some(ring.time(end - 1));
            }
            if at + 1 < end {
                tally.remove(ring.0[at + 1].tag);
            }
        }
        Self { same, enough }
    }
}

/// How often each value was seen, and when last.
#[derive(Default)]
struct Tally {
    seen: HashTable<(u64, u32, Time)>,
    distinct: usize,
}

impl Tally {
    fn clear(&mut self) {
        self.seen.clear();
        self.distinct = 0;
    }

    const fn distinct(&self) -> usize {
        self.distinct
    }

    fn add(&mut self, value: u64) {
        self.add_at(value, Time::MIN);
    }

    fn add_at(&mut self, value: u64, time: Time) {
        let entry = self
            .seen
            .entry(spread(value), |seen| seen.0 == value, |seen| spread(seen.0));
        let seen = entry.or_insert((value, 0, time)).into_mut();
        self.distinct += usize::from(seen.1 == 0);
        seen.1 += 1;
        seen.2 = time;
    }

    fn remove(&mut self, value: u64) {
        if let Some(seen) = self.seen.find_mut(spread(value), |seen| seen.0 == value) {
            seen.1 -= 1;
            self.distinct -= usize::from(seen.1 == 0);
        }
    }

    fn count(&self, value: u64) -> u32 {
        self.seen
            .find(spread(value), |seen| seen.0 == value)
            .map_or(0, |seen| seen.1)
    }

    fn time_of(&self, value: u64) -> Option<Time> {
        self.seen
            .find(spread(value), |seen| seen.0 == value)
            .map(|seen| seen.2)
    }

    /// When the value was last added; long ago when never, which no timespan reaches.
    fn last_time(&self, value: u64) -> Time {
        self.time_of(value).unwrap_or(Time::MIN)
    }
}

/// Member places are small numbers, and a table wants all its hash's bits used.
const fn spread(value: u64) -> u64 {
    (value ^ (value >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
