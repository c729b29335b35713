//! Novelty: which values each key has shown, and whether one is new.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    units::{Span, Time},
    window::{Held, Key, Limits, Owner, Rows, Table, TableStats, Unreadable},
};

/// What novelty means for a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoveltySpec {
    /// How long a key is watched before anything about it can be new.
    pub learn: Span,
    /// How long a value is remembered after it was last seen.
    pub forget: Span,
    /// The most values that are remembered of one key; at least 1.
    pub values_max: usize,
}

/// A value that is new for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Novel {
    /// How long the value was not seen: since it was last seen, or since the key was first seen.
    pub unseen: Span,
    /// Whether it was seen once, before that.
    pub is_return: bool,
}

/// The values of each key. A value is whatever its owner hashed to 64 bits.
///
/// A key is known from its first occurrence; a key that was idle so long that all its values were
/// forgotten, and for another `learn` after that, is learnt anew.
pub struct Novelty {
    spec: NoveltySpec,
    table: Table<Known>,
    evicted_values: u64,
}

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// Event time of the key's earliest occurrence.
    first: Time,
    /// When each value was last seen.
    values: BTreeMap<u64, Time>,
}

impl Held for Known {
    fn held(&self) -> usize {
        self.values.len()
    }
}

impl Novelty {
    /// Nothing is known.
    pub fn new(spec: NoveltySpec, limits: Limits) -> Self {
        Self {
            spec,
            table: Table::new(limits),
            evicted_values: 0,
        }
    }

    /// Notes that `key` showed `value` at `time`, and says whether that is new. What was new once
    /// is known from then on. `horizon` is the earliest event time that is still expected.
    pub fn observe(&mut self, key: Key, value: u64, time: Time, horizon: Time) -> Option<Novel> {
        let Self {
            spec,
            table,
            evicted_values,
        } = self;
        let expired = horizon.minus(spec.forget).minus(spec.learn);
        let new = || Known {
            first: time,
            values: BTreeMap::new(),
        };
        table.update(key, time, expired, new, |known| {
            known.first = known.first.min(time);
            let last = known.values.get(&value).copied();
            let is_known = last.is_some_and(|last| time.since(last) <= spec.forget);
            if last.is_none() && known.values.len() >= spec.values_max.max(1) {
                *evicted_values += known.let_go(time.minus(spec.forget));
            }
            known
                .values
                .insert(value, last.map_or(time, |last| last.max(time)));
            let unseen = time.since(last.unwrap_or(known.first));
            let is_learnt = time.since(known.first) >= spec.learn;
            (is_learnt && !is_known).then_some(Novel {
                unseen,
                is_return: last.is_some(),
            })
        })
    }

    /// Takes back memory of keys that are over at `horizon`, looking at `count` of them.
    pub fn sweep(&mut self, horizon: Time, count: usize) {
        self.table.sweep(
            horizon.minus(self.spec.forget).minus(self.spec.learn),
            count,
        );
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> TableStats {
        self.table.stats()
    }

    /// Adds the rows that changed since this was last called.
    pub fn changes(&mut self, owner: Owner, rows: &mut Rows) {
        self.table.changes(owner, rows);
    }

    /// Takes up what all rows of an owner hold.
    ///
    /// # Errors
    /// When the rows are not what [`changes`](Self::changes) wrote.
    pub fn restore<'a>(
        &mut self,
        owner: Owner,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Unreadable> {
        self.table.restore(owner, rows, &mut |_| {})
    }

    /// Values that went before they were forgotten, because their key had too many.
    pub const fn evicted_values(&self) -> u64 {
        self.evicted_values
    }

    /// Memory of the table and, about, of the values.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.table.stats().held * 24
    }
}

impl Known {
    /// Makes room: all that is forgotten goes, else the longest unseen. Returns how many went that
    /// were not forgotten.
    fn let_go(&mut self, forgotten: Time) -> u64 {
        let before = self.values.len();
        self.values.retain(|_, last| *last >= forgotten);
        if self.values.len() < before {
            return 0;
        }
        let longest = self
            .values
            .iter()
            .min_by_key(|(_, last)| **last)
            .map(|(value, _)| *value);
        if let Some(value) = longest {
            self.values.remove(&value);
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;
    const LIMITS: Limits = Limits {
        keys: 100,
        held: 10_000,
    };

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn spec(values_max: usize) -> NoveltySpec {
        NoveltySpec {
            learn: Span::from_secs(7 * DAY),
            forget: Span::from_secs(30 * DAY),
            values_max,
        }
    }

    fn days(novel: Option<Novel>) -> Option<(i64, bool)> {
        novel.map(|novel| (novel.unseen.micros() / 1_000_000 / DAY, novel.is_return))
    }

    #[test]
    fn new_after_learning_and_again_after_forgetting() {
        let mut novelty = Novelty::new(spec(10), LIMITS);
        let told: Vec<_> = [
            (0, 1),
            (3, 2),
            (8, 1),
            (8, 3),
            (9, 3),
            (34, 2),
            (40, 4),
            (90, 4),
        ]
        .into_iter()
        .map(|(day, value)| {
            let time = at(day * DAY);
            days(novelty.observe(Key(5), value, time, time))
        })
        .collect();
        let expected = [
            None,              // learning
            None,              // learning
            None,              // learnt on day 0
            Some((8, false)),  // new
            None,              // told already
            Some((31, true)),  // forgotten
            Some((40, false)), // new
            None,              // the key itself was away so long that it is learnt anew
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn many_values_push_out_the_longest_unseen() {
        let mut novelty = Novelty::new(spec(3), LIMITS);
        for (hour, value) in [1u64, 2, 3, 1, 4].into_iter().enumerate() {
            novelty.observe(Key(5), value, at(hour as i64 * 3_600), at(0));
        }
        assert_eq!(novelty.evicted_values(), 1);
        let later = at(8 * DAY);
        let new: Vec<bool> = [1, 3, 4]
            .into_iter()
            .map(|value| novelty.observe(Key(5), value, later, at(0)).is_some())
            .collect();
        assert_eq!(new, [false, false, false]);
        assert!(
            novelty.observe(Key(5), 2, later, at(0)).is_some(),
            "the one that went is new"
        );
    }

    proptest! {
        /// Against a list of everything that was ever seen.
        #[test]
        fn agrees_with_a_plain_list(
            seen in prop::collection::vec((0u8..3, 0u64..5, 0i64..4 * DAY), 1..100),
        ) {
            let mut novelty = Novelty::new(spec(10), LIMITS);
            let mut clock = 0;
            let mut plain: Vec<(u8, u64, i64)> = Vec::new();
            for (key, value, step) in seen {
                clock += step;
                let first = plain.iter().find(|(k, _, _)| *k == key).map(|(_, _, time)| *time);
                let last = plain
                    .iter()
                    .rev()
                    .find(|(k, v, _)| (*k, *v) == (key, value))
                    .map(|(_, _, time)| *time);
                let is_new = first.is_some_and(|first| clock - first >= 7 * DAY)
                    && last.is_none_or(|last| clock - last > 30 * DAY);
                // The horizon stays, so no key is over and learnt anew.
                let told = novelty.observe(Key(u128::from(key)), value, at(clock), at(0));
                prop_assert_eq!(told.is_some(), is_new);
                plain.push((key, value, clock));
            }
        }
    }
}
