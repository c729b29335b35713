//! What novelty knows of one key: its values by their hash, with names for people, and which of
//! them are held.

use serde::{Deserialize, Serialize};

use crate::{
    units::{Span, Time},
    window::Held,
};

/// Whose key it is, for people and for finding it again: the values that make the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whose {
    /// The cluster, empty where it has no name.
    pub cluster: Box<str>,
    /// The values of the key's fields, as people may see them, joined by ` / `.
    pub name: Box<str>,
}

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Whose it is.
    pub whose: Whose,
    /// Event time of the key's earliest occurrence.
    pub first: Time,
    /// The values, in the order of their hashes.
    pub values: Vec<Value>,
}

/// A value that a key has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// What it is known by.
    pub hash: u64,
    /// What it is, for people.
    pub name: Box<str>,
    /// When it was last seen.
    pub last: Time,
    /// There while it is not taken for normal.
    pub held: Option<Hold>,
}

/// A value that is not taken for normal yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub since: Time,
    /// When it was last told; the same as `since` when it was not.
    told: Time,
    /// How often it was told.
    pub times: u8,
}

/// A value that is held is told again after a day, then after two, four and so on, so that it is
/// neither learnt silently nor a nuisance.
const TELL_AGAIN: Span = Span::from_secs(86_400);

/// How often a value must have been told before it can age.
const TOLD_MIN: u8 = 3;

impl Hold {
    /// It was told at this moment.
    pub(super) const fn told(time: Time) -> Self {
        Self {
            since: time,
            told: time,
            times: 1,
        }
    }

    /// It is held from this moment on and nobody was told.
    pub(super) const fn silent(time: Time) -> Self {
        Self {
            since: time,
            told: time,
            times: 0,
        }
    }

    /// Whether an occurrence at this moment is to be told.
    pub(super) fn is_due(&self, time: Time) -> bool {
        let Some(doublings) = self.times.checked_sub(1) else {
            return true;
        };
        let pause = TELL_AGAIN.micros() << doublings.min(8);
        time.since(self.told) >= Span::from_micros(pause)
    }

    pub(super) fn tell(&mut self, time: Time) {
        self.told = self.told.max(time);
        self.times = self.times.saturating_add(1);
    }

    /// Whether it was told often enough, over as long as a key is learnt.
    pub(super) fn is_aged(&self, time: Time, learn: Span) -> bool {
        self.times >= TOLD_MIN && time.since(self.since) >= learn
    }
}

impl Held for Known {
    fn held(&self) -> usize {
        self.values.len()
    }
}

impl Known {
    /// A key that has shown nothing yet.
    pub(super) fn new(first: Time) -> Self {
        Self {
            whose: Whose::default(),
            first,
            values: Vec::new(),
        }
    }

    /// A key that was first seen then and whose values are [added](Self::add).
    pub fn named(whose: Whose, first: Time) -> Self {
        Self {
            whose,
            ..Self::new(first)
        }
    }

    /// Adds a value that was known elsewhere, and since when it was held there.
    pub fn add(&mut self, hash: u64, name: &str, last: Time, held: Option<Time>) {
        let value = Value {
            hash,
            name: name.into(),
            last,
            held: held.map(Hold::silent),
        };
        match self.find(hash) {
            Ok(place) => self.values[place].join(&value),
            Err(_) => self.put(value),
        }
    }

    /// The place of a value, or the place where it belongs.
    pub(super) fn find(&self, hash: u64) -> Result<usize, usize> {
        self.values.binary_search_by_key(&hash, |value| value.hash)
    }

    /// Puts a value that is not there in its place. Most keys show one value, so room is made for
    /// no more than there are.
    pub(super) fn put(&mut self, value: Value) {
        let (Ok(place) | Err(place)) = self.find(value.hash);
        if self.values.len() < 4 {
            self.values.reserve_exact(1);
        }
        self.values.insert(place, value);
    }

    /// Makes room: all that is forgotten goes, else the longest unseen. Returns how many went that
    /// were not forgotten.
    pub(super) fn let_go(&mut self, forgotten: Time) -> u64 {
        let before = self.values.len();
        self.values.retain(|value| value.last >= forgotten);
        if self.values.len() < before {
            return 0;
        }
        let longest = (0..before).min_by_key(|&place| self.values[place].last);
        if let Some(place) = longest {
            self.values.remove(place);
        }
        1
    }
}

impl Value {
    /// Takes over what is known of the same value elsewhere.
    pub(super) fn join(&mut self, other: &Self) {
        self.last = self.last.max(other.last);
        if other.held.is_none() {
            self.held = None;
        }
    }
}
