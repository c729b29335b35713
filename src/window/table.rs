//! State by key with a cap: expiry in event time, and the longest idle goes when it is full.

use hashbrown::HashTable;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::persist::{Owner, Rows, Unreadable, read};
use crate::units::Time;

/// A key, hashed by its owner to 128 bits over everything that makes it this key. Two keys are
/// the same when their hashes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u128);

impl Key {
    /// The hash is uniform, so any 64 bits of it serve the table.
    const fn bits(self) -> u64 {
        self.0 as u64
    }
}

/// The caps of one [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most keys; at least 1, at most `u32::MAX`.
    pub keys: usize,
    /// The most items that all keys hold together, as [`Held::held`] tells them.
    pub held: usize,
}

/// State whose size a [`Table`] keeps account of.
pub trait Held {
    /// How many items this holds beside its own fixed size.
    fn held(&self) -> usize;
}

/// What a table holds and what it had to let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Keys held now.
    pub keys: usize,
    /// Items held now by all keys together.
    pub held: usize,
    /// Keys that went because the table was full, not because their time was over.
    pub evicted: u64,
}

/// What became of a state that [`Table::revise`] showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revised {
    /// It is as it was.
    Same,
    /// It is another now.
    Changed,
    /// Its key is to go.
    Removed,
}

/// How many slots each access looks at for expired keys. Two, so that the hand goes round at
/// least twice while as many keys come as there are slots.
const SWEEP: usize = 2;

/// From how many slots the longest idle is chosen when the table is full. Exact order of idleness
/// would cost two cache misses on every access; this costs one line of slots when full.
const CANDIDATES: usize = 16;

struct Slot<S> {
    key: Key,
    /// Greatest event time that touched the key.
    last: Time,
    state: S,
    /// Whether it changed, or came to another place, since the rows were last taken.
    touched: bool,
    /// Whether there is a row of it.
    kept: bool,
}

/// A slot as a row has it.
#[derive(Serialize, Deserialize)]
struct Kept<S> {
    place: u32,
    last: Time,
    state: S,
}

/// State of type `S` for each of many keys.
///
/// A key whose last touch lies before the moment that the caller names as expired is gone, whether
/// or not its memory has been taken back yet. Memory comes back by a hand that moves over the
/// slots a little at each access.
pub struct Table<S> {
    index: HashTable<u32>,
    /// Dense: a removed slot is filled with the last one.
    slots: Vec<Slot<S>>,
    hand: usize,
    limits: Limits,
    held: usize,
    evicted: u64,
    /// Whether anything changed since the rows were last taken.
    changed: bool,
    /// Keys that went although there is a row of them.
    removed: Vec<Key>,
}

impl<S: Held> Table<S> {
    /// An empty table.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            keys: limits.keys.clamp(1, u32::MAX as usize),
            held: limits.held,
        };
        Self {
            index: HashTable::new(),
            slots: Vec::new(),
            hand: 0,
            limits,
            held: 0,
            evicted: 0,
            changed: false,
            removed: Vec::new(),
        }
    }

    /// Changes the state of `key`, which `new` makes when the key is unknown or was last touched
    /// before `expired`. `time` is the event time of the touch.
    pub fn update<R>(
        &mut self,
        key: Key,
        time: Time,
        expired: Time,
        new: impl FnOnce() -> S,
        change: impl FnOnce(&mut S) -> R,
    ) -> R {
        self.sweep(expired, SWEEP);
        let found = self
            .index
            .find(key.bits(), |&slot| self.slots[slot as usize].key == key);
        let at = match found.copied() {
            Some(slot) => {
                let at = slot as usize;
                if self.slots[at].last < expired {
                    self.held -= self.slots[at].state.held();
                    self.slots[at].state = new();
                    self.slots[at].last = time;
                    self.held += self.slots[at].state.held();
                }
                at
            }
            None => self.insert(key, time, new()),
        };
        let slot = &mut self.slots[at];
        slot.last = slot.last.max(time);
        slot.touched = true;
        self.changed = true;
        let before = slot.state.held();
        let result = change(&mut slot.state);
        self.held = self.held - before + slot.state.held();
        while self.held > self.limits.held && self.slots.len() > 1 {
            self.evict(Some(key));
        }
        result
    }

    /// The state of a key, when there is one that was touched at or after `expired`.
    pub fn get(&self, key: Key, expired: Time) -> Option<&S> {
        let found = self
            .index
            .find(key.bits(), |&slot| self.slots[slot as usize].key == key)?;
        let slot = &self.slots[*found as usize];
        (slot.last >= expired).then_some(&slot.state)
    }

    /// All keys with the event time of their latest touch, in an order that depends on nothing but
    /// the calls that were made.
    pub fn iter(&self) -> impl Iterator<Item = (Key, Time, &S)> {
        self.slots
            .iter()
            .map(|slot| (slot.key, slot.last, &slot.state))
    }

    /// Shows every state to `revise`, which says what becomes of it; how many it changed or
    /// removed. Time does not pass by it.
    pub fn revise(&mut self, mut revise: impl FnMut(&mut S) -> Revised) -> usize {
        let mut count = 0;
        // From the back: what fills the place of a removed slot has been looked at.
        for at in (0..self.slots.len()).rev() {
            let slot = &mut self.slots[at];
            let before = slot.state.held();
            let revised = revise(&mut slot.state);
            self.held = self.held - before + slot.state.held();
            match revised {
                Revised::Same => continue,
                Revised::Changed => slot.touched = true,
                Revised::Removed => self.remove(at),
            }
            self.changed = true;
            count += 1;
        }
        count
    }

    /// Looks at the next `count` slots and takes back those last touched before `expired`.
    pub fn sweep(&mut self, expired: Time, count: usize) {
        self.changed |= !self.slots.is_empty();
        for _ in 0..count.min(self.slots.len()) {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            if self.slots[self.hand].last < expired {
                self.remove(self.hand);
                if self.slots.is_empty() {
                    return;
                }
            } else {
                self.hand += 1;
            }
        }
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> TableStats {
        TableStats {
            keys: self.slots.len(),
            held: self.held,
            evicted: self.evicted,
        }
    }

    /// Memory of the slots and the index, without what the states hold on the heap.
    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<S>>() + self.index.capacity() * 5
    }

    fn insert(&mut self, key: Key, time: Time, state: S) -> usize {
        if self.slots.len() >= self.limits.keys {
            self.evict(None);
        }
        let at = self.slots.len();
        self.held += state.held();
        self.slots.push(Slot {
            key,
            last: time,
            state,
            touched: true,
            kept: false,
        });
        let slots = &self.slots;
        self.index.insert_unique(key.bits(), at as u32, |&slot| {
            slots[slot as usize].key.bits()
        });
        at
    }

    /// Lets the longest idle of the next few slots go; never `spared`.
    fn evict(&mut self, spared: Option<Key>) {
        let len = self.slots.len();
        let candidates = (0..CANDIDATES.min(len)).map(|step| (self.hand + step) % len);
        let oldest = candidates
            .filter(|&at| Some(self.slots[at].key) != spared)
            .min_by_key(|&at| self.slots[at].last);
        if let Some(at) = oldest {
            self.hand = (self.hand + CANDIDATES) % len;
            self.remove(at);
            self.evicted += 1;
        }
    }

    fn remove(&mut self, at: usize) {
        let gone = self.slots.swap_remove(at);
        self.held -= gone.state.held();
        if gone.kept {
            self.removed.push(gone.key);
        }
        if let Ok(entry) = self
            .index
            .find_entry(gone.key.bits(), |&slot| slot as usize == at)
        {
            entry.remove();
        }
        // The former last slot now sits at `at`.
        let old = self.slots.len() as u32;
        if let Some(moved) = self.slots.get_mut(at) {
            moved.touched = true;
            if let Some(slot) = self.index.find_mut(moved.key.bits(), |&slot| slot == old) {
                *slot = at as u32;
            }
        }
    }
}

/// The key of the row that a table has for itself. Nobody hashes to nothing.
const OWN: &[u8] = &[];

impl<S: Held + Serialize> Table<S> {
    /// Adds the rows that changed since this was last called. From then on keys that go are
    /// remembered until the next call, at most as many as there are rows.
    pub fn changes(&mut self, owner: Owner, rows: &mut Rows) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        for key in self.removed.drain(..) {
            rows.remove(owner, &key.0.to_be_bytes());
        }
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if std::mem::take(&mut slot.touched) {
                slot.kept = true;
                let kept = Kept {
                    place: place as u32,
                    last: slot.last,
                    state: &slot.state,
                };
                rows.put(owner, &slot.key.0.to_be_bytes(), &kept);
            }
        }
        rows.put(owner, OWN, &(self.hand as u64));
    }
}

impl<S: Held + DeserializeOwned> Table<S> {
    /// Takes up the state that all rows of an owner hold, in an empty table. `each` sees every
    /// state first.
    ///
    /// # Errors
    /// When the rows are not what [`changes`](Self::changes) wrote; the table is of no use then.
    pub fn restore<'a>(
        &mut self,
        owner: Owner,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        each: &mut dyn FnMut(&mut S),
    ) -> Result<(), Unreadable> {
        let mut slots: Vec<(u32, Slot<S>)> = Vec::new();
        for (key, value) in rows {
            if key == OWN {
                self.hand = read::<u64>(owner, value)? as usize;
                continue;
            }
            let key = key.try_into().map_err(|_| Unreadable { owner })?;
            let Kept {
                place,
                last,
                mut state,
            } = read::<Kept<S>>(owner, value)?;
            each(&mut state);
            let key = Key(u128::from_be_bytes(key));
            let slot = Slot {
                key,
                last,
                state,
                touched: false,
                kept: true,
            };
            slots.push((place, slot));
        }
        slots.sort_unstable_by_key(|(place, _)| *place);
        let is_dense = (0..).zip(&slots).all(|(at, (place, _))| at == *place);
        if !is_dense {
            return Err(Unreadable { owner });
        }
        self.slots = slots.into_iter().map(|(_, slot)| slot).collect();
        self.held = self.slots.iter().map(|slot| slot.state.held()).sum();
        let slots = &self.slots;
        let hash = |&slot: &u32| slots[slot as usize].key.bits();
        self.index = HashTable::with_capacity(slots.len());
        for at in 0..slots.len() as u32 {
            self.index.insert_unique(hash(&at), at, hash);
        }
        // The caps may have been lowered since.
        while self.slots.len() > self.limits.keys
            || self.held > self.limits.held && self.slots.len() > 1
        {
            self.evict(None);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Held for Vec<u8> {
        fn held(&self) -> usize {
            self.len()
        }
    }

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn key(n: u64) -> Key {
        Key(u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
    }

    fn push(table: &mut Table<Vec<u8>>, n: u64, seconds: i64, expired: i64) -> usize {
        table.update(key(n), at(seconds), at(expired), Vec::new, |state| {
            state.push(1);
            state.len()
        })
    }

    proptest! {
        /// Any mix of keys, times and expiry gives the states that a plain map gives.
        #[test]
        fn agrees_with_a_plain_map(touches in prop::collection::vec((0u64..20, 0i64..50), 1..300)) {
            let mut table = Table::new(Limits { keys: 100, held: 10_000 });
            let mut plain: BTreeMap<u64, (i64, usize)> = BTreeMap::new();
            let mut clock = 0;
            for (n, step) in touches {
                clock += step / 5;
                let expired = clock - 20;
                let entry = plain.entry(n).or_insert((clock, 0));
                if entry.0 < expired {
                    *entry = (clock, 0);
                }
                *entry = (clock, entry.1 + 1);
                prop_assert_eq!(push(&mut table, n, clock, expired), entry.1);
                let stats = table.stats();
                prop_assert_eq!(stats.held, table.slots.iter().map(|slot| slot.state.len()).sum::<usize>());
                prop_assert_eq!(stats.keys, table.index.len());
            }
        }
    }

    #[test]
    fn expired_keys_give_their_memory_back() {
        let mut table = Table::new(Limits {
            keys: 1_000,
            held: 100_000,
        });
        for n in 0..1_000 {
            push(&mut table, n, 0, -10);
        }
        for _ in 0..600 {
            push(&mut table, 5_000, 100, 90);
        }
        assert_eq!(
            table.stats(),
            TableStats {
                keys: 1,
                held: 600,
                evicted: 0
            }
        );
        assert!(table.get(key(7), at(90)).is_none() && table.get(key(5_000), at(90)).is_some());
    }

    #[test]
    fn a_full_table_lets_idle_keys_go() {
        let mut table = Table::new(Limits {
            keys: 64,
            held: 100_000,
        });
        for seconds in 0..10_000 {
            push(&mut table, 0, seconds, -1);
            push(&mut table, 1 + seconds as u64, seconds, -1);
        }
        assert_eq!(table.stats().keys, 64);
        assert_eq!(table.stats().evicted, 10_001 - 64);
        assert_eq!(
            push(&mut table, 0, 10_000, -1),
            10_001,
            "the busy key was never let go"
        );
    }

    #[test]
    fn many_items_let_idle_keys_go_too() {
        let mut table = Table::new(Limits {
            keys: 64,
            held: 100,
        });
        for seconds in 0..50 {
            push(&mut table, 1, seconds, -1);
        }
        for seconds in 50..150 {
            push(&mut table, 2, seconds, -1);
        }
        assert_eq!(
            table.stats(),
            TableStats {
                keys: 1,
                held: 100,
                evicted: 1
            }
        );
        push(&mut table, 2, 150, -1);
        assert_eq!(
            table.stats().held,
            101,
            "one key alone stays whole: its own spec bounds it"
        );
    }
}
