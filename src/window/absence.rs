//! Absence: what was heard steadily and then was not, for too long.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Key, Owner, Rows, Unreadable, persist::read};
use crate::units::{Span, Time};

/// A run of fewer heartbeats says nothing about what comes next.
const HEARD_MIN: u64 = 6;

/// A silence counts when it is at least so many times the usual pause.
const PAUSES_MIN: i64 = 3;

/// How many silences of one key wait for their certainty; the oldest go first.
const HOLES_MAX: usize = 8;

/// How often it is asked again whether an end that nothing explains is a silence.
const ASK_AGAIN: Span = Span::from_secs(10);

/// Watches the heartbeats of few keys, such as the leases that API servers renew.
///
/// A silence is a pause of more than `after` behind a steady run. One that ended is told once the
/// horizon has passed what could still fill it; so heartbeats may arrive in any order within the
/// lateness. One that goes on is told only when something shows that time went on meanwhile:
/// another key of the same group was heard, or the clock of a live source says so. A log that
/// simply ends is no silence.
pub struct Absence<P> {
    after: Span,
    keys_max: usize,
    keys: BTreeMap<Key, Pulse<P>>,
    /// Nothing is to be told before the horizon passes this.
    due: Time,
    changed: BTreeSet<Key>,
    refused: u64,
}

/// Heartbeats without a silence between them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run<P> {
    /// The first of them.
    pub first: Time,
    /// The last of them.
    pub last: Time,
    /// How many there were.
    pub heard: u64,
    /// What came with the last.
    pub payload: P,
}

/// One heartbeat.
pub struct Heartbeat<P> {
    /// Keys of one group live by one clock: those of one cluster.
    pub group: u64,
    /// Event time.
    pub time: Time,
    /// The clock of a live source.
    pub now: Option<Time>,
    /// What is kept of it.
    pub payload: P,
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing<P> {
    /// The heartbeats before it.
    pub run: Run<P>,
    /// The heartbeat that ended it, where one has.
    pub back: Option<(Time, P)>,
    /// Whether it was told before, while it went on.
    pub was_told: bool,
}

#[derive(Serialize, Deserialize)]
struct Pulse<P> {
    group: u64,
    run: Run<P>,
    /// Whether it was told that the run is over.
    is_told: bool,
    holes: Vec<Hole<P>>,
    /// The clock at its latest arrival in this process.
    #[serde(skip)]
    arrived: Option<Time>,
}

/// A silence that ended and is not certain yet.
#[derive(Serialize, Deserialize)]
struct Hole<P> {
    before: Run<P>,
    to: Time,
    back: P,
    was_told: bool,
}

impl<P> Run<P> {
    /// The usual pause between two heartbeats.
    pub fn pause(&self) -> Span {
        let pauses = self.heard.saturating_sub(1).max(1);
        Span::from_micros(self.last.since(self.first).micros() / pauses as i64)
    }

    fn is_steady(&self, after: Span) -> bool {
        self.heard >= HEARD_MIN && self.pause().micros() * PAUSES_MIN <= after.micros()
    }

    /// The earliest moment at which a pause is a silence.
    const fn over(&self, after: Span) -> Time {
        self.last.plus(after)
    }
}

impl<P: Clone> Absence<P> {
    /// Nothing is expected yet. A pause longer than `after` is a silence. At most `keys_max` keys
    /// are watched.
    pub const fn new(after: Span, keys_max: usize) -> Self {
        Self {
            after,
            keys_max,
            keys: BTreeMap::new(),
            due: NEVER,
            changed: BTreeSet::new(),
            refused: 0,
        }
    }

    /// Notes a heartbeat. A key that is new when `keys_max` are watched is refused: letting a
    /// known one go would silence its alarm.
    pub fn seen(&mut self, key: Key, beat: Heartbeat<P>) {
        let after = self.after;
        if !self.keys.contains_key(&key) && self.keys.len() >= self.keys_max {
            self.refused += 1;
            return;
        }
        self.changed.insert(key);
        let Some(pulse) = self.keys.get_mut(&key) else {
            self.due = self.due.min(beat.time.plus(after));
            self.keys.insert(key, Pulse::new(beat));
            return;
        };
        pulse.arrived = beat.now.or(pulse.arrived);
        if beat.time < pulse.run.last {
            pulse.fill(beat, after);
        } else if beat.time <= pulse.run.over(after) {
            pulse.run.last = beat.time;
            pulse.run.heard += 1;
            pulse.run.payload = beat.payload;
        } else {
            self.due = self.due.min(pulse.run.over(after));
            pulse.come_back(beat, after);
        }
    }

    /// When [`advance`](Self::advance) has something to do, at the earliest.
    pub const fn due(&self) -> Time {
        self.due
    }

    /// Appends the silences that are certain when nothing before `horizon` is expected any more,
    /// the earliest first. With a clock also those of keys from which nothing has arrived by it
    /// for longer than the `patience`.
    pub fn advance(
        &mut self,
        horizon: Time,
        clock: Option<(Time, Span)>,
        out: &mut Vec<Missing<P>>,
    ) {
        let after = self.after;
        let mut furthest: BTreeMap<u64, Time> = BTreeMap::new();
        for pulse in self.keys.values() {
            let last = furthest.entry(pulse.group).or_insert(Time::MIN);
            *last = pulse.run.last.max(*last);
        }
        let from = out.len();
        self.due = NEVER;
        let (due, changed) = (&mut self.due, &mut self.changed);
        self.keys.retain(|key, pulse| {
            let count = out.len();
            pulse.tell_holes(after, horizon, out);
            let over = pulse.run.over(after);
            let mut stays = true;
            if over >= horizon {
                *due = over.min(*due);
            } else if !pulse.run.is_steady(after) {
                stays = !pulse.holes.is_empty();
            } else if !pulse.is_told {
                let went_on = furthest.get(&pulse.group).is_some_and(|last| *last > over);
                if went_on || pulse.is_overdue(clock) {
                    pulse.is_told = true;
                    out.push(Missing {
                        run: pulse.run.clone(),
                        back: None,
                        was_told: false,
                    });
                } else {
                    *due = horizon.plus(ASK_AGAIN).min(*due);
                }
            }
            for hole in &pulse.holes {
                *due = hole.before.over(after).min(*due);
            }
            if !stays || out.len() > count {
                changed.insert(*key);
            }
            stays
        });
        out[from..].sort_by_key(|missing| missing.run.last);
    }

    /// Appends the silences that ended, when nothing more is to come.
    pub fn finish(&mut self, out: &mut Vec<Missing<P>>) {
        let from = out.len();
        for pulse in self.keys.values_mut() {
            pulse.tell_holes(self.after, NEVER, out);
        }
        out[from..].sort_by_key(|missing| missing.run.last);
    }

    /// How many keys are watched.
    pub fn watched(&self) -> usize {
        self.keys.len()
    }

    /// Heartbeats of keys that were not watched, because there were too many.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Adds the rows that changed since this was last called.
    pub fn changes(&mut self, owner: Owner, rows: &mut Rows)
    where
        P: Serialize,
    {
        for key in std::mem::take(&mut self.changed) {
            let name = key.0.to_le_bytes();
            match self.keys.get(&key) {
                Some(pulse) => rows.put(owner, &name, pulse),
                None => rows.remove(owner, &name),
            }
        }
    }

    /// Takes up what all rows of an owner hold.
    ///
    /// # Errors
    /// When the rows are not what [`changes`](Self::changes) wrote.
    pub fn restore<'a>(
        &mut self,
        owner: Owner,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Unreadable>
    where
        P: DeserializeOwned,
    {
        for (name, value) in rows {
            let name = name.try_into().map_err(|_| Unreadable { owner })?;
            self.keys
                .insert(Key(u128::from_le_bytes(name)), read(owner, value)?);
            self.due = Time::MIN;
        }
        Ok(())
    }
}

/// Later than any event.
const NEVER: Time = Time::from_micros(i64::MAX);

impl<P: Clone> Pulse<P> {
    fn new(beat: Heartbeat<P>) -> Self {
        Self {
            group: beat.group,
            run: Run::of(beat.time, beat.payload),
            is_told: false,
            holes: Vec::new(),
            arrived: beat.now,
        }
    }

    /// A heartbeat after a silence.
    fn come_back(&mut self, beat: Heartbeat<P>, after: Span) {
        let run = Run::of(beat.time, beat.payload.clone());
        let before = std::mem::replace(&mut self.run, run);
        let was_told = std::mem::take(&mut self.is_told);
        if before.is_steady(after) {
            if self.holes.len() == HOLES_MAX {
                self.holes.remove(0);
            }
            self.holes.push(Hole {
                before,
                to: beat.time,
                back: beat.payload,
                was_told,
            });
        }
    }

    /// A heartbeat that came late; it may show that there was no silence.
    fn fill(&mut self, beat: Heartbeat<P>, after: Span) {
        let is_in = |hole: &Hole<P>| hole.before.last < beat.time && beat.time < hole.to;
        let Some(place) = self.holes.iter().position(is_in) else {
            return;
        };
        let hole = &mut self.holes[place];
        if beat.time <= hole.before.over(after) {
            hole.before.last = beat.time;
            hole.before.heard += 1;
            hole.before.payload = beat.payload;
        } else {
            hole.to = beat.time;
            hole.back = beat.payload;
        }
        if hole.to <= hole.before.over(after) {
            let hole = self.holes.remove(place);
            if place == self.holes.len() {
                self.run.first = hole.before.first;
                self.run.heard += hole.before.heard;
            }
        }
    }

    fn tell_holes(&mut self, after: Span, horizon: Time, out: &mut Vec<Missing<P>>) {
        let is_certain = |hole: &mut Hole<P>| hole.before.over(after) < horizon;
        out.extend(self.holes.extract_if(.., is_certain).map(|hole| Missing {
            run: hole.before,
            back: Some((hole.to, hole.back)),
            was_told: hole.was_told,
        }));
    }

    /// Whether nothing has arrived for longer than the patience. Before the first arrival in this
    /// process the wait begins now: much may still have to be read.
    fn is_overdue(&mut self, clock: Option<(Time, Span)>) -> bool {
        clock.is_some_and(|(now, patience)| *self.arrived.get_or_insert(now) < now.minus(patience))
    }
}

impl<P> Run<P> {
    const fn of(time: Time, payload: P) -> Self {
        Self {
            first: time,
            last: time,
            heard: 1,
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn absence() -> Absence<i64> {
        Absence::new(Span::from_secs(60), 2)
    }

    fn hear(absence: &mut Absence<i64>, key: u128, seconds: impl Iterator<Item = i64>) {
        for seconds in seconds {
            let beat = Heartbeat {
                group: 0,
                time: at(seconds),
                now: None,
                payload: seconds,
            };
            absence.seen(Key(key), beat);
        }
    }

    type Told = (i64, Option<i64>, u64, bool);

    fn told(missing: Vec<Missing<i64>>) -> Vec<Told> {
        let short = |m: Missing<i64>| {
            let back = m.back.map(|(_, payload)| payload);
            (m.run.payload, back, m.run.heard, m.was_told)
        };
        missing.into_iter().map(short).collect()
    }

    fn missing(absence: &mut Absence<i64>, horizon: i64, now: Option<i64>) -> Vec<Told> {
        let mut out = Vec::new();
        let clock = now.map(|now| (at(now), Span::from_secs(100)));
        absence.advance(at(horizon), clock, &mut out);
        told(out)
    }

    #[test]
    fn a_silence_that_ended_is_told_when_nothing_can_fill_it() {
        let mut absence = absence();
        hear(&mut absence, 1, (0..=100).step_by(10));
        hear(&mut absence, 1, (400..=500).step_by(10));
        assert_eq!(missing(&mut absence, 160, None), []);
        assert_eq!(absence.due(), at(160));
        assert_eq!(
            missing(&mut absence, 161, None),
            [(100, Some(400), 11, false)]
        );
        assert_eq!(missing(&mut absence, 9_000, None), [], "the log ends");
    }

    #[test]
    fn heartbeats_that_come_late_fill_it_in_any_order() {
        let mut late: Vec<i64> = (110..400).step_by(10).collect();
        for _ in 0..late.len() {
            late.rotate_left(7);
            let mut absence = absence();
            hear(&mut absence, 1, (0..=100).step_by(10));
            hear(&mut absence, 1, (400..=500).step_by(10));
            hear(&mut absence, 1, late.iter().copied());
            assert_eq!(missing(&mut absence, 450, None), [], "{late:?}");
        }
    }

    #[test]
    fn what_was_not_steady_or_too_seldom_is_not_missed() {
        let mut absence = absence();
        hear(&mut absence, 1, (0..400).step_by(50));
        hear(&mut absence, 1, (900..1_000).step_by(50));
        hear(&mut absence, 2, (0..40).step_by(10));
        hear(&mut absence, 2, 900..1_000);
        assert_eq!(missing(&mut absence, 950, None), []);
        hear(&mut absence, 3, 0..100);
        assert_eq!(absence.refused(), 100);
    }

    #[test]
    fn one_that_goes_on_needs_another_that_was_heard_or_the_clock() {
        let mut absence = absence();
        hear(&mut absence, 1, (0..=100).step_by(10));
        assert_eq!(missing(&mut absence, 300, None), []);
        hear(&mut absence, 2, (0..=170).step_by(10));
        assert_eq!(missing(&mut absence, 300, None), [(100, None, 11, false)]);
        assert_eq!(missing(&mut absence, 330, Some(5_000)), []);
        assert_eq!(
            missing(&mut absence, 360, Some(5_101)),
            [(170, None, 18, false)]
        );
        hear(&mut absence, 2, 600..=600);
        let mut out = Vec::new();
        absence.finish(&mut out);
        assert_eq!(told(out), [(170, Some(600), 18, true)]);
    }

    #[test]
    fn goes_on_where_its_rows_end() {
        let owner = Owner { kind: 9, of: 1 };
        let (mut rows, mut one, mut other) = (Rows::default(), absence(), absence());
        hear(&mut one, 1, (0..=100).step_by(10));
        one.changes(owner, &mut rows);
        let pairs: Vec<_> = rows
            .iter()
            .map(|row| (row.key, row.value.unwrap()))
            .collect();
        other.restore(owner, pairs.into_iter()).unwrap();
        hear(&mut other, 1, 300..=300);
        assert_eq!(
            missing(&mut other, 400, None),
            [(100, Some(300), 11, false)]
        );
        assert!(
            other
                .restore(owner, [(&b"x"[..], &b""[..])].into_iter())
                .is_err()
        );
    }
}
