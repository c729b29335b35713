//! Novelty: which values each key has shown, and whether one is new.
//!
//! What is new is told, and is not learnt by that: it is *held* until somebody acknowledges it, or
//! until it was told several times over as long as a key is learnt. So a caller who goes slow does
//! not teach us. What came with a request that a rule of weight reported is held as well, also
//! while its key is still being learnt.

use serde::{Deserialize, Serialize};

use super::known::{Hold, Known, Value, Whose};
use crate::{
    units::{Span, Time},
    window::{Key, Limits, Owner, Revised, Rows, Table, TableStats, Unreadable},
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

/// One value that a key shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: Key,
    /// The value, as its owner hashed it.
    pub value: u64,
    /// Event time.
    pub time: Time,
    /// The earliest event time that is still expected.
    pub horizon: Time,
    /// Whether to learn from it.
    pub trust: Trust,
}

/// How far what is seen may be taken for normal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// While the key is learnt.
    #[default]
    Plain,
    /// Not by itself: its request was reported for another reason.
    Suspect,
    /// At once: somebody says that all of it is normal.
    Vouched,
}

/// A value that is new for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Novel {
    /// How long the value was not seen: since it was last seen, or since the key was first seen.
    pub unseen: Span,
    /// Whether it was seen once, before that.
    pub is_return: bool,
    /// How long ago it was first held, when it was and nobody has acknowledged it since.
    pub held: Option<Span>,
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

impl Novelty {
    /// Nothing is known.
    pub fn new(spec: NoveltySpec, limits: Limits) -> Self {
        Self {
            spec,
            table: Table::new(limits),
            evicted_values: 0,
        }
    }

    /// Notes that a key shows a value, and says whether that is new. `names` says, for people,
    /// whose key it is and what the value is; it is asked when the value is not remembered.
    pub fn observe(
        &mut self,
        shown: Shown,
        names: impl FnOnce() -> (Whose, Box<str>),
    ) -> Option<Novel> {
        let Self {
            spec,
            table,
            evicted_values,
        } = self;
        let expired = shown.horizon.minus(spec.forget).minus(spec.learn);
        let new = || Known::new(shown.time);
        table.update(shown.key, shown.time, expired, new, |known| {
            known.first = known.first.min(shown.time);
            let is_learnt = shown.time.since(known.first) >= spec.learn;
            if let Ok(place) = known.find(shown.value) {
                return known.values[place].again(shown, spec, is_learnt);
            }
            if known.values.len() >= spec.values_max.max(1) {
                *evicted_values += known.let_go(shown.time.minus(spec.forget));
            }
            let (whose, name) = names();
            if known.values.is_empty() {
                known.whose = whose;
            }
            known.put(Value {
                hash: shown.value,
                name,
                last: shown.time,
                held: held(shown, is_learnt),
            });
            (is_learnt && shown.trust != Trust::Vouched).then_some(Novel {
                unseen: shown.time.since(known.first),
                is_return: false,
                held: None,
            })
        })
    }

    /// Takes what is held of the keys of `whose` for known; how many values that were.
    pub fn acknowledge(&mut self, whose: &Whose) -> usize {
        let mut count = 0;
        self.table.revise(|known| {
            let before = count;
            if known.whose == *whose {
                for value in &mut known.values {
                    count += usize::from(value.held.take().is_some());
                }
            }
            if count > before {
                Revised::Changed
            } else {
                Revised::Same
            }
        });
        count
    }

    /// Forgets the keys that are named so, in whatever cluster, or all; how many those were.
    pub fn forget(&mut self, name: Option<&str>) -> usize {
        self.table.revise(|known| {
            if name.is_none_or(|name| *known.whose.name == *name) {
                Revised::Removed
            } else {
                Revised::Same
            }
        })
    }

    /// All that is known, with the event time at which each key was last seen.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Time, &Known)> {
        self.table.iter()
    }

    /// What is known of a key.
    pub fn get(&self, key: Key) -> Option<&Known> {
        self.table.get(key, Time::MIN)
    }

    /// Takes up what was known elsewhere of a key that was last seen at `last`. What is known here
    /// stays; of what both know the later counts, and what is known in one place is not held.
    pub fn take_up(&mut self, key: Key, last: Time, other: Known) {
        let values_max = self.spec.values_max.max(1);
        let new = || Known::new(other.first);
        let (first, whose, values) = (other.first, other.whose.clone(), other.values);
        self.table.update(key, last, Time::MIN, new, |known| {
            known.first = known.first.min(first);
            known.whose = whose;
            for value in values {
                match known.find(value.hash) {
                    Ok(place) => known.values[place].join(&value),
                    Err(_) if known.values.len() < values_max => known.put(value),
                    Err(_) => {}
                }
            }
        });
    }

    /// Until when a key that was first seen at `first` is learnt.
    pub fn learning_until(&self, first: Time) -> Time {
        first.plus(self.spec.learn)
    }

    /// How many keys are still learnt at a moment of event time, how many are past that, and how
    /// many values are held. Looks at every key.
    pub fn progress(&self, at: Time) -> Progress {
        let mut progress = Progress::default();
        for (_, _, known) in self.table.iter() {
            if self.learning_until(known.first) > at {
                progress.learning += 1;
            } else {
                progress.learnt += 1;
            }
            progress.held += known
                .values
                .iter()
                .filter(|value| value.held.is_some())
                .count();
        }
        progress
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

    /// Memory of the table and, about, of the values and their names.
    pub fn bytes(&self) -> usize {
        self.table.bytes() + self.table.stats().held * (size_of::<Value>() + 32)
    }
}

/// How far the keys of a baseline are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Keys that are still learnt: nothing about them is new.
    pub learning: usize,
    /// Keys that are past that.
    pub learnt: usize,
    /// Values that were told and are neither acknowledged nor aged.
    pub held: usize,
}

/// Whether a value that is seen for the first time is held.
fn held(shown: Shown, is_learnt: bool) -> Option<Hold> {
    match shown.trust {
        Trust::Vouched => None,
        _ if is_learnt => Some(Hold::told(shown.time)),
        Trust::Suspect => Some(Hold::silent(shown.time)),
        Trust::Plain => None,
    }
}

impl Value {
    /// The value is shown once more.
    fn again(&mut self, shown: Shown, spec: &NoveltySpec, is_learnt: bool) -> Option<Novel> {
        let unseen = shown.time.since(self.last);
        self.last = self.last.max(shown.time);
        if shown.trust == Trust::Vouched {
            self.held = None;
            return None;
        }
        if unseen > spec.forget {
            self.held = held(shown, is_learnt);
            return is_learnt.then_some(Novel {
                unseen,
                is_return: true,
                held: None,
            });
        }
        let hold = self.held.as_mut().filter(|_| is_learnt)?;
        if !hold.is_due(shown.time) {
            return None;
        }
        let since = hold.since;
        hold.tell(shown.time);
        if hold.is_aged(shown.time, spec.learn) {
            self.held = None;
        }
        Some(Novel {
            unseen,
            is_return: false,
            held: Some(shown.time.since(since)),
        })
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

    fn observe(novelty: &mut Novelty, key: u128, value: u64, time: Time) -> Option<Novel> {
        show(novelty, key, value, time, Trust::Plain)
    }

    fn show(
        novelty: &mut Novelty,
        key: u128,
        value: u64,
        time: Time,
        trust: Trust,
    ) -> Option<Novel> {
        let shown = Shown {
            key: Key(key),
            value,
            time,
            horizon: at(0),
            trust,
        };
        novelty.observe(shown, || (whose(), "a value".into()))
    }

    fn whose() -> Whose {
        Whose {
            cluster: "east".into(),
            name: "alice".into(),
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
            let shown = Shown {
                key: Key(5),
                value,
                time,
                horizon: time,
                trust: Trust::Plain,
            };
            days(novelty.observe(shown, || (whose(), "a value".into())))
        })
        .collect();
        let expected = [
            None,              // learning
            None,              // learning
            None,              // learnt on day 0
            Some((8, false)),  // new
            Some((1, false)),  // told a day ago, and nobody acknowledged it
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
            observe(&mut novelty, 5, value, at(hour as i64 * 3_600));
        }
        assert_eq!(novelty.evicted_values(), 1);
        let later = at(8 * DAY);
        let new: Vec<bool> = [1, 3, 4]
            .into_iter()
            .map(|value| observe(&mut novelty, 5, value, later).is_some())
            .collect();
        assert_eq!(new, [false, false, false]);
        assert!(
            observe(&mut novelty, 5, 2, later).is_some(),
            "the one that went is new"
        );
    }

    #[test]
    fn what_was_told_is_held_until_acknowledged() {
        let mut novelty = Novelty::new(spec(10), LIMITS);
        observe(&mut novelty, 5, 1, at(0));
        let told: Vec<i64> = (8..60)
            .filter(|day| observe(&mut novelty, 5, 9, at(day * DAY)).is_some())
            .collect();
        assert_eq!(told, [8, 9, 11, 15], "told four times over seven days");
        observe(&mut novelty, 5, 1, at(59 * DAY));
        assert!(observe(&mut novelty, 5, 7, at(60 * DAY)).is_some());
        assert_eq!(novelty.progress(at(60 * DAY)).held, 2);
        assert_eq!(novelty.acknowledge(&whose()), 2);
        assert!(observe(&mut novelty, 5, 7, at(62 * DAY)).is_none());
    }

    #[test]
    fn what_came_with_another_alert_is_not_learnt() {
        let mut novelty = Novelty::new(spec(10), LIMITS);
        assert!(show(&mut novelty, 5, 1, at(0), Trust::Suspect).is_none());
        observe(&mut novelty, 5, 2, at(0));
        assert!(observe(&mut novelty, 5, 2, at(8 * DAY)).is_none());
        let novel = observe(&mut novelty, 5, 1, at(8 * DAY)).unwrap();
        assert_eq!(novel.held, Some(Span::from_secs(8 * DAY)));
        assert!(show(&mut novelty, 5, 3, at(9 * DAY), Trust::Vouched).is_none());
        assert!(observe(&mut novelty, 5, 3, at(20 * DAY)).is_none());
    }

    #[test]
    fn what_was_known_elsewhere_is_known() {
        let mut old = Novelty::new(spec(10), LIMITS);
        observe(&mut old, 5, 1, at(0));
        observe(&mut old, 5, 2, at(DAY));
        let mut new = Novelty::new(spec(10), LIMITS);
        for (key, last, known) in old.iter() {
            new.take_up(key, last, known.clone());
        }
        assert!(observe(&mut new, 5, 1, at(9 * DAY)).is_none());
        assert!(observe(&mut new, 5, 3, at(9 * DAY)).is_some());
        assert_eq!((new.forget(Some("bob")), new.forget(Some("alice"))), (0, 1));
        assert_eq!(new.stats().held, 0);
    }

    proptest! {
        /// However slowly a value comes, nobody teaches it silently: between two that are not told
        /// and not learnt there is never more than the pause since it was last told, and before it
        /// is learnt it was told three times over the time that a key is learnt.
        #[test]
        fn a_slow_caller_does_not_teach(steps in prop::collection::vec(1i64..20 * DAY, 1..60)) {
            let mut novelty = Novelty::new(spec(10), LIMITS);
            observe(&mut novelty, 5, 1, at(0));
            let mut clock = 8 * DAY;
            let mut told: Vec<i64> = Vec::new();
            for step in steps {
                clock += step;
                if observe(&mut novelty, 5, 9, at(clock)).is_some() {
                    told.push(clock);
                    continue;
                }
                let (Some(&first), Some(&last)) = (told.first(), told.last()) else {
                    panic!("the first one must be told");
                };
                let is_learnt = told.len() >= 3 && last - first >= 7 * DAY;
                let pause = DAY << (told.len() - 1);
                prop_assert!(is_learnt || clock - last < pause, "{told:?} {clock}");
            }
        }

        /// Against a list of everything that was ever seen.
        #[test]
        fn first_times_agree_with_a_plain_list(
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
                let told = observe(&mut novelty, u128::from(key), value, at(clock));
                let is_first = told.is_some_and(|novel| novel.held.is_none());
                prop_assert_eq!(is_first, is_new);
                plain.push((key, value, clock));
            }
        }
    }
}
