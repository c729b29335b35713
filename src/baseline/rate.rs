//! Rate: how much each key usually does in a step of time, and whether it does far more.

use serde::{Deserialize, Serialize};

use crate::{
    units::{Span, Time},
    window::{Held, Key, Limits, Owner, Rows, Table, TableStats, Unreadable},
};

/// What far too much means for a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSpec {
    /// The length of a step; at least one microsecond.
    pub every: Span,
    /// How many times the usual is far too much.
    pub factor: f64,
    /// The least count in one step that is told.
    pub min: u64,
}

/// A step in which a key does far more than usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Surge {
    /// How many occurrences are told for the first time: all of the step at first, then each.
    pub counted: u64,
    /// How many the step has so far.
    pub count: u64,
    /// How many a step usually has.
    pub usual: f64,
}

/// Steps that a key is watched before it can surge.
const STEPS_LEARNT: u64 = 12;

/// The mean looks back about a day, so that one step of a day is neither forgotten at once nor
/// kept for weeks.
const MEMORY: Span = Span::from_secs(86_400);

/// A step that surged moves the mean by this much less, and never as far as its whole count:
/// otherwise a patient caller would make its own surge the usual.
const SURGE_WEIGHT: f64 = 0.25;

/// The usual and the present of each key.
///
/// Two steps are open, the newest and the one before, because occurrences arrive out of order; one
/// that is older still is added to the mean where it belongs. What is usual is the mean over all
/// closed steps, empty ones too.
pub struct Rate {
    spec: RateSpec,
    /// The weight of the newest closed step once as many are learnt as the memory is long.
    weight: f64,
    table: Table<Pace>,
}

/// What is known of one key.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Pace {
    /// Number of the newest step that had an occurrence.
    newest: i64,
    /// The two open steps: the newest and the one before.
    open: [Step; 2],
    /// Mean count of the closed steps.
    mean: f64,
    /// How many steps are closed.
    learnt: u64,
}

/// An open step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    /// Occurrences so far.
    count: u64,
    /// Whether it was told.
    surged: bool,
}

impl Held for Pace {
    fn held(&self) -> usize {
        0
    }
}

impl Rate {
    /// Nothing is known.
    pub fn new(spec: RateSpec, limits: Limits) -> Self {
        let steps = MEMORY.micros() / spec.every.micros().max(1);
        let weight = 1.0 / steps.clamp(STEPS_LEARNT as i64, 512) as f64;
        Self {
            spec,
            weight,
            table: Table::new(limits),
        }
    }

    /// Notes one occurrence, and says whether its step is far above the usual. `horizon` is the
    /// earliest event time that is still expected.
    pub fn observe(&mut self, key: Key, time: Time, horizon: Time) -> Option<Surge> {
        let Self {
            spec,
            weight,
            table,
        } = self;
        let step = time.micros().div_euclid(spec.every.micros().max(1));
        let new = || Pace {
            newest: step,
            open: [Step::default(); 2],
            mean: 0.0,
            learnt: 0,
        };
        table.update(key, time, expired(horizon), new, |pace| {
            pace.close_until(step, *weight, spec.factor);
            let Some(open) = usize::try_from(pace.newest - step)
                .ok()
                .and_then(|back| pace.open.get_mut(back))
            else {
                pace.add_to_closed(step, *weight);
                return None;
            };
            open.count += 1;
            let is_far_above = open.count >= spec.min.max(1)
                && open.count as f64 >= spec.factor * pace.mean
                && pace.learnt >= STEPS_LEARNT;
            if !is_far_above {
                return None;
            }
            let counted = if open.surged { 1 } else { open.count };
            open.surged = true;
            Some(Surge {
                counted,
                count: open.count,
                usual: pace.mean,
            })
        })
    }

    /// What is known of a key: how much a step usually has, how many steps of those that are
    /// needed are learnt, and how many the newest step has so far.
    pub fn look(&self, key: Key) -> Option<(f64, u64, u64)> {
        let pace = self.table.get(key, Time::MIN)?;
        Some((pace.mean, pace.learnt.min(STEPS_LEARNT), pace.open[0].count))
    }

    /// How many steps a key is watched before it can surge.
    pub const STEPS_LEARNT: u64 = STEPS_LEARNT;

    /// Takes back memory of keys that are over at `horizon`, looking at `count` of them.
    pub fn sweep(&mut self, horizon: Time, count: usize) {
        self.table.sweep(expired(horizon), count);
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

    /// Memory of the table.
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }
}

/// A key that was idle for a week has no usual any more.
fn expired(horizon: Time) -> Time {
    horizon.minus(Span::from_secs(7 * MEMORY.micros() / 1_000_000))
}

impl Pace {
    /// Closes steps until `step` is the newest; an earlier `step` changes nothing.
    fn close_until(&mut self, step: i64, weight: f64, factor: f64) {
        if step <= self.newest {
            return;
        }
        let ahead = step - self.newest;
        for _ in 0..ahead.min(2) {
            let [newest, previous] = self.open;
            // The step before the very first never was.
            if self.learnt > 0 || previous != Step::default() {
                self.close(previous, weight, factor);
            }
            self.open = [Step::default(), newest];
        }
        if ahead > 2 {
            self.close_empty((ahead - 2) as u64, weight);
        }
        self.newest = step;
    }

    fn close(&mut self, step: Step, weight: f64, factor: f64) {
        self.learnt += 1;
        let weight = weight.max(1.0 / self.learnt as f64);
        let count = step.count as f64;
        self.mean += if step.surged {
            weight * SURGE_WEIGHT * (count.min(factor * self.mean) - self.mean)
        } else {
            weight * (count - self.mean)
        };
    }

    /// Closes many steps without any occurrence at once.
    fn close_empty(&mut self, mut steps: u64, weight: f64) {
        while steps > 0 && self.learnt as f64 <= 1.0 / weight {
            self.close(Step::default(), weight, 1.0);
            steps -= 1;
        }
        self.learnt += steps;
        self.mean *= power(1.0 - weight, steps);
    }

    /// Adds an occurrence to a step that is closed: the mean is linear, so only the age counts.
    fn add_to_closed(&mut self, step: i64, weight: f64) {
        let age = (self.newest - 2).abs_diff(step);
        if age >= self.learnt {
            return; // Before the key's first step.
        }
        self.mean += if self.learnt as f64 <= 1.0 / weight {
            1.0 / self.learnt as f64
        } else {
            weight * power(1.0 - weight, age)
        };
    }
}

/// By multiplication alone, because the standard library's powers may differ in their last bit
/// from machine to machine, and a replay must not.
fn power(base: f64, exponent: u64) -> f64 {
    let (mut result, mut square, mut rest) = (1.0, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            result *= square;
        }
        square *= square;
        rest >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        keys: 100,
        held: 10_000,
    };
    const SPEC: RateSpec = RateSpec {
        every: Span::from_secs(300),
        factor: 8.0,
        min: 20,
    };

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn observe(rate: &mut Rate, seconds: i64) -> Option<Surge> {
        rate.observe(Key(1), at(seconds), Time::MIN)
    }

    /// `counts[n]` occurrences in step n; the last surge of each step.
    fn surges(rate: &mut Rate, counts: &[u64]) -> Vec<Option<Surge>> {
        let step = |(n, count): (usize, &u64)| {
            let times = (0..*count).map(|i| n as i64 * 300 + i as i64 % 300);
            times.fold(None, |_, seconds| observe(rate, seconds))
        };
        counts.iter().enumerate().map(step).collect()
    }

    #[test]
    fn tells_a_surge_after_learning() {
        let mut rate = Rate::new(SPEC, LIMITS);
        let mut counts = vec![0; 16];
        (counts[0], counts[1], counts[14], counts[15]) = (24, 200, 300, 120);
        let told = surges(&mut rate, &counts);
        assert!(
            told[..14].iter().all(Option::is_none),
            "a young key has no usual yet"
        );
        let usual = told[14].unwrap().usual;
        assert!((usual - 224.0 / 13.0).abs() < 1e-9, "{usual}");
        assert_eq!(
            told[14],
            Some(Surge {
                counted: 1,
                count: 300,
                usual
            })
        );
        assert_eq!(told[15], None, "120 is not 8 times the usual");
    }

    #[test]
    fn the_first_telling_counts_the_whole_step() {
        let mut rate = Rate::new(SPEC, LIMITS);
        surges(&mut rate, &[2; 15]);
        let told: Vec<u64> = (0..25)
            .filter_map(|i| observe(&mut rate, 15 * 300 + i))
            .map(|surge| surge.counted)
            .collect();
        assert_eq!(told, [20, 1, 1, 1, 1, 1]);
    }

    #[test]
    fn a_surge_is_hardly_learnt() {
        let mut rate = Rate::new(SPEC, LIMITS);
        let mut counts = vec![10; 40];
        counts.extend([1_000; 30]);
        let told = surges(&mut rate, &counts);
        assert!(
            told[40..].iter().all(Option::is_some),
            "two hours of it are not usual yet"
        );
    }

    #[test]
    fn disorder_at_the_edge_of_a_step_changes_nothing() {
        let mut rate = Rate::new(SPEC, LIMITS);
        surges(&mut rate, &[2; 15]);
        assert_eq!(observe(&mut rate, 16 * 300), None, "one overtakes");
        let told = (0..25)
            .filter_map(|i| observe(&mut rate, 15 * 300 + i))
            .count();
        assert_eq!(told, 6);
    }

    /// What is usual before `step`, worked out from the whole past.
    fn plain_usual(past: &BTreeMap<i64, (u64, bool)>, step: i64) -> (u64, f64) {
        let Some((&first, _)) = past.first_key_value() else {
            return (0, 0.0);
        };
        let (mut learnt, mut mean) = (0u64, 0.0f64);
        for closed in first..step - 1 {
            let (count, surged) = past.get(&closed).copied().unwrap_or_default();
            learnt += 1;
            let weight = f64::max(1.0 / 288.0, 1.0 / learnt as f64);
            let learned = if surged {
                (8.0 * mean).min(count as f64)
            } else {
                count as f64
            };
            mean += weight * if surged { 0.25 } else { 1.0 } * (learned - mean);
        }
        (learnt, mean)
    }

    proptest! {
        #[test]
        fn agrees_with_the_whole_past(
            steps in prop::collection::vec((1i64..4, 1u64..6, prop::bool::weighted(0.1)), 1..400),
        ) {
            let mut rate = Rate::new(SPEC, LIMITS);
            let mut past: BTreeMap<i64, (u64, bool)> = BTreeMap::new();
            let mut step = 0;
            for (ahead, count, many) in steps {
                step += ahead;
                let (learnt, usual) = plain_usual(&past, step);
                for n in 1..=if many { count * 40 } else { count } {
                    let surges = n >= 20 && learnt >= 12 && n as f64 >= 8.0 * usual;
                    let told = observe(&mut rate, step * 300);
                    prop_assert_eq!(told.is_some(), surges);
                    if let Some(told) = told {
                        prop_assert!((told.usual - usual).abs() < 1e-6, "{told:?} {usual}");
                    }
                    let so_far = past.entry(step).or_default();
                    *so_far = (n, so_far.1 || surges);
                }
            }
        }

        /// Late occurrences end where they belong in the mean.
        #[test]
        fn late_ones_are_learnt_too(late in prop::collection::vec(0i64..20, 0..30)) {
            let mut in_order = Rate::new(SPEC, LIMITS);
            let mut disordered = Rate::new(SPEC, LIMITS);
            let mut counts = [3u64; 20];
            surges(&mut disordered, &counts);
            for step in late {
                counts[step as usize] += 1;
                observe(&mut disordered, step * 300);
            }
            surges(&mut in_order, &counts);
            let usual = |rate: &mut Rate| (0..400).find_map(|_| observe(rate, 30 * 300)).unwrap().usual;
            let (one, other) = (usual(&mut in_order), usual(&mut disordered));
            prop_assert!((one - other).abs() < 1e-6, "{one} {other}");
        }
    }
}
