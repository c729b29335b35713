//! `temporal_ordered`: all members occur in their order within a timespan.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    Key, Limits, Owner, Rows, Spec, Step, Table, TableStats, Unreadable,
    ring::{Occurrence, Ring},
};
use crate::units::Time;

/// How many occurrences of one member a key holds.
const PER_MEMBER: usize = 64;

/// Looks for chains: an occurrence of each member, in the members' order of time (equal times are
/// in order), the last no later than a timespan after the first.
///
/// An occurrence counts when it is part of any chain. Arrival may be in any order. When a key has
/// more than 64 occurrences of one member, those between two others of the same member
/// go first, because a chain seldom needs them, then its oldest; other members are not touched, so
/// a flood of first steps does not wash away the second.
pub struct Sequence<P> {
    spec: Spec,
    members: u16,
    table: Table<Ring<u16, P>>,
    bounds: Vec<Chain>,
    chain: Vec<Time>,
    thinned: u64,
}

/// The tightest chain through one occurrence.
#[derive(Clone, Copy)]
struct Chain {
    /// The latest start of a chain from the first member up to this occurrence.
    start: Option<Time>,
    /// The earliest end of a chain from this occurrence to the last member.
    end: Option<Time>,
}

impl<P> Sequence<P> {
    /// An empty window for chains of `members` members. `spec.min` and `spec.max` do not matter: a
    /// chain has all its members.
    pub fn new(spec: Spec, members: u16, limits: Limits) -> Self {
        Self {
            spec,
            members: members.max(1),
            table: Table::new(limits),
            bounds: Vec::new(),
            chain: Vec::new(),
            thinned: 0,
        }
    }

    /// Takes in one occurrence of the member at place `at.1`. Payloads that count now are appended
    /// to `out` in order of time. `horizon` is the earliest event time that is still expected.
    pub fn insert(
        &mut self,
        key: Key,
        at: (Time, u16),
        payload: P,
        horizon: Time,
        out: &mut Vec<P>,
    ) -> Step {
        let Self {
            spec,
            members,
            table,
            bounds,
            chain,
            thinned,
        } = self;
        let keep_from = spec.keep_from(horizon);
        let (time, member) = at;
        table.update(key, time, keep_from, Ring::new, |ring| {
            ring.prune(keep_from);
            let before = out.len();
            place(ring, time, member, payload);
            count_chains(ring, time, spec, *members, bounds, out);
            let counted = out.len() - before;
            if counted > 0 {
                tightest(ring, (time, member), *members, chain);
            }
            *thinned += thin(ring, member);
            let within = if counted > 0 { u64::from(*members) } else { 0 };
            Step {
                counted,
                within,
                is_exact: true,
            }
        })
    }

    /// When the members occurred, in their order, in the tightest chain through the newest insert
    /// after which something counted.
    pub fn chain(&self) -> &[Time] {
        &self.chain
    }

    /// When the members occurred in the chain that has come furthest by a moment and can still be
    /// completed then; of several the one that began last.
    pub fn furthest(&self, key: Key, at: Time) -> Vec<Time> {
        let Some(ring) = self.table.get(key, Time::MIN) else {
            return Vec::new();
        };
        let from = ring.first_from(at.minus(self.spec.timespan));
        let to = ring.first_after(at).max(from);
        let mut chains: Vec<Vec<Time>> = vec![Vec::new(); usize::from(self.members)];
        for occurrence in ring.0.range(from..to) {
            let member = usize::from(occurrence.tag);
            let before = match member.checked_sub(1) {
                None => Some(Vec::new()),
                Some(previous) => chains
                    .get(previous)
                    .filter(|chain| !chain.is_empty())
                    .cloned(),
            };
            if let (Some(mut chain), Some(place)) = (before, chains.get_mut(member)) {
                chain.push(occurrence.time);
                // The later its start, the longer it can wait.
                if place.first() <= chain.first() {
                    *place = chain;
                }
            }
        }
        chains
            .into_iter()
            .rfind(|chain| !chain.is_empty())
            .unwrap_or_default()
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
        let each = &mut |ring: &mut Ring<u16, P>| ring.payloads().for_each(&mut *each);
        self.table.restore(owner, rows, each)
    }

    /// Occurrences that were let go because a key had too many of one member, before they counted
    /// or grew old.
    pub const fn thinned(&self) -> u64 {
        self.thinned
    }
}

/// Sorted by time and, where times are equal, by member: a chain may use both.
fn place<P>(ring: &mut Ring<u16, P>, time: Time, member: u16, payload: P) {
    let at = ring
        .0
        .partition_point(|other| (other.time, other.tag) <= (time, member));
    let occurrence = Occurrence {
        time,
        tag: member,
        weight: 1,
        payload: Some(payload),
    };
    ring.0.insert(at, occurrence);
}

/// Counts what is part of a chain. Only occurrences within a timespan of the new one can have
/// become part of a new chain, and all of that chain lies there too.
fn count_chains<P>(
    ring: &mut Ring<u16, P>,
    time: Time,
    spec: &Spec,
    members: u16,
    bounds: &mut Vec<Chain>,
    out: &mut Vec<P>,
) {
    let from = ring.first_from(time.minus(spec.timespan));
    let to = ring.first_after(time.plus(spec.timespan));
    let last = members - 1;
    bounds.clear();
    let mut latest: Vec<Option<Time>> = vec![None; usize::from(members)];
    for occurrence in ring.0.range(from..to) {
        let member = usize::from(occurrence.tag);
        let start = match member.checked_sub(1) {
            None => Some(occurrence.time),
            Some(previous) => latest.get(previous).copied().flatten(),
        };
        if let Some(latest) = latest.get_mut(member) {
            *latest = start.max(*latest);
        }
        bounds.push(Chain { start, end: None });
    }
    let mut earliest: Vec<Option<Time>> = vec![None; usize::from(members)];
    for (occurrence, chain) in ring.0.range(from..to).zip(bounds.iter_mut()).rev() {
        let member = usize::from(occurrence.tag);
        chain.end = if occurrence.tag == last {
            Some(occurrence.time)
        } else {
            earliest.get(member + 1).copied().flatten()
        };
        if let (Some(earliest), Some(end)) = (earliest.get_mut(member), chain.end) {
            *earliest = Some(earliest.map_or(end, |known| known.min(end)));
        }
    }
    for (occurrence, chain) in ring.0.range_mut(from..to).zip(bounds) {
        if let Chain {
            start: Some(start),
            end: Some(end),
        } = chain
            && end.since(*start) <= spec.timespan
        {
            out.extend(occurrence.payload.take());
        }
    }
}

/// Finds the tightest chain through the occurrence that was just placed: the latest of each member
/// before, the earliest of each member after.
fn tightest<P>(ring: &Ring<u16, P>, at: (Time, u16), members: u16, chain: &mut Vec<Time>) {
    let after = ring
        .0
        .partition_point(|other| (other.time, other.tag) <= at);
    let tags = |occurrence: &Occurrence<u16, P>| (occurrence.tag, occurrence.time);
    chain.clear();
    chain.push(at.0);
    let mut before = ring.0.range(..after).rev().map(tags);
    for member in (0..at.1).rev() {
        chain.extend(before.find(|(tag, _)| *tag == member).map(|(_, time)| time));
    }
    chain.reverse();
    let mut behind = ring.0.range(after..).map(tags);
    for member in at.1 + 1..members {
        chain.extend(behind.find(|(tag, _)| *tag == member).map(|(_, time)| time));
    }
}

/// Keeps each member within its share of the ring; returns how many uncounted ones went.
fn thin<P>(ring: &mut Ring<u16, P>, member: u16) -> u64 {
    let is_ours = |ring: &Ring<u16, P>, at: usize| ring.0[at].tag == member;
    let ours: Vec<usize> = (0..ring.len()).filter(|&at| is_ours(ring, at)).collect();
    let (true, Some(&oldest)) = (ours.len() > PER_MEMBER, ours.first()) else {
        return 0;
    };
    let is_between = |&at: &usize| {
        at > 0 && at + 1 < ring.len() && is_ours(ring, at - 1) && is_ours(ring, at + 1)
    };
    let goes = ours.iter().copied().find(is_between).unwrap_or(oldest);
    let gone = ring.0.remove(goes);
    u64::from(gone.is_some_and(|gone| !gone.is_counted()))
}
