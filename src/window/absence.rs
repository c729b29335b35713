//! Absence: a key that used to be seen and has not been for too long.

use std::collections::{BTreeMap, BTreeSet};

use super::Key;
use crate::units::{Span, Time};

/// Watches the heartbeats of few keys: those that an operator names or that each API server has.
///
/// Event time alone decides: a key is missing when the watermark has passed its last heartbeat by
/// more than the span, for then no heartbeat in between can still come. It is told once and again
/// only after it came back.
pub struct Absence<P> {
    span: Span,
    keys_max: usize,
    keys: BTreeMap<Key, Heartbeat<P>>,
    /// Keys that are not missing, by their last heartbeat.
    due: BTreeSet<(Time, Key)>,
    refused: u64,
}

struct Heartbeat<P> {
    last: Time,
    payload: P,
}

/// A key that went missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing<P> {
    /// The key.
    pub key: Key,
    /// Its last heartbeat.
    pub last: Time,
    /// The payload of that heartbeat.
    pub payload: P,
}

impl<P: Clone> Absence<P> {
    /// Nothing is expected yet. A key is missing after `span` without a heartbeat. At most
    /// `keys_max` keys are watched.
    pub const fn new(span: Span, keys_max: usize) -> Self {
        Self {
            span,
            keys_max,
            keys: BTreeMap::new(),
            due: BTreeSet::new(),
            refused: 0,
        }
    }

    /// Notes a heartbeat. A key that is new when `keys_max` are watched is refused: letting a
    /// known one go would silence its alarm.
    pub fn seen(&mut self, key: Key, time: Time, payload: P) {
        let is_full = self.keys.len() >= self.keys_max;
        match self.keys.get_mut(&key) {
            Some(heartbeat) if time <= heartbeat.last => {}
            Some(heartbeat) => {
                self.due.remove(&(heartbeat.last, key));
                self.due.insert((time, key));
                *heartbeat = Heartbeat {
                    last: time,
                    payload,
                };
            }
            None if is_full => self.refused += 1,
            None => {
                self.due.insert((time, key));
                self.keys.insert(
                    key,
                    Heartbeat {
                        last: time,
                        payload,
                    },
                );
            }
        }
    }

    /// Appends the keys that are missing as of `watermark`, the longest missing first.
    pub fn advance(&mut self, watermark: Time, out: &mut Vec<Missing<P>>) {
        while let Some(&(last, key)) = self.due.first()
            && last.plus(self.span) < watermark
        {
            self.due.pop_first();
            if let Some(heartbeat) = self.keys.get(&key) {
                out.push(Missing {
                    key,
                    last,
                    payload: heartbeat.payload.clone(),
                });
            }
        }
    }

    /// Heartbeats of keys that were not watched, because there were too many.
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn missing(absence: &mut Absence<&'static str>, seconds: i64) -> Vec<(u128, &'static str)> {
        let mut out = Vec::new();
        absence.advance(at(seconds), &mut out);
        out.into_iter()
            .map(|missing| (missing.key.0, missing.payload))
            .collect()
    }

    #[test]
    fn told_once_and_again_after_it_came_back() {
        let mut absence = Absence::new(Span::from_secs(60), 2);
        absence.seen(Key(1), at(0), "one");
        absence.seen(Key(2), at(10), "two");
        absence.seen(Key(3), at(10), "refused");
        assert!(
            missing(&mut absence, 60).is_empty(),
            "exactly the span is still in time"
        );
        assert_eq!(missing(&mut absence, 61), [(1, "one")]);
        assert_eq!(missing(&mut absence, 100), [(2, "two")]);
        assert!(missing(&mut absence, 9_000).is_empty());
        absence.seen(Key(1), at(9_000), "back");
        absence.seen(Key(1), at(5), "older, so it changes nothing");
        assert_eq!(missing(&mut absence, 9_061), [(1, "back")]);
        assert_eq!(absence.refused(), 1);
    }
}
