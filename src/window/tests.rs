//! Each window against a plain reference: all occurrences of a key in a list, every window tried.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{Count, Distinct, Key, Limits, Sequence, Spec};
use crate::units::{Span, Time};

const LIMITS: Limits = Limits {
    keys: 1_000,
    held: 1_000_000,
};

/// One occurrence: key, second, tag. Its payload is its place in the list.
type Occurred = (u8, i64, u16);

fn at(seconds: i64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

fn key(n: u8) -> Key {
    Key(u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

fn spec(timespan: i64, min: u64, max: Option<u64>) -> Spec {
    Spec {
        timespan: Span::from_secs(timespan),
        min,
        max,
        lateness: Span::from_secs(10_000),
    }
}

/// What counts in the end: each occurrence in some stretch of `timespan` whose occurrences of the
/// same key `meet` the condition.
fn plain(
    occurred: &[Occurred],
    timespan: i64,
    meets: impl Fn(&[(usize, Occurred)]) -> bool,
) -> BTreeSet<usize> {
    let mut counted = BTreeSet::new();
    for &(key, start, _) in occurred {
        let mut stretch: Vec<(usize, Occurred)> = occurred
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, (k, t, _))| *k == key && (start..=start + timespan).contains(t))
            .collect();
        stretch.sort_by_key(|(_, (_, t, tag))| (*t, *tag));
        if meets(&stretch) {
            counted.extend(stretch.iter().map(|(place, _)| *place));
        }
    }
    counted
}

/// The members of every chain in the list, found by trying all of them.
fn plain_chains(occurred: &[Occurred], timespan: i64, members: u16) -> BTreeSet<usize> {
    fn extend(
        chain: &mut Vec<usize>,
        occurred: &[Occurred],
        timespan: i64,
        members: u16,
        counted: &mut BTreeSet<usize>,
    ) {
        if chain.len() == usize::from(members) {
            counted.extend(chain.iter().copied());
            return;
        }
        for (place, &(key, time, tag)) in occurred.iter().enumerate() {
            let fits = usize::from(tag) == chain.len()
                && chain.first().is_none_or(|&first| {
                    key == occurred[first].0 && time - occurred[first].1 <= timespan
                })
                && chain.last().is_none_or(|&last| occurred[last].1 <= time);
            if fits {
                chain.push(place);
                extend(chain, occurred, timespan, members, counted);
                chain.pop();
            }
        }
    }
    let mut counted = BTreeSet::new();
    extend(&mut Vec::new(), occurred, timespan, members, &mut counted);
    counted
}

/// Feeds a window and checks on the way that nothing counts twice.
fn feed(
    occurred: &[Occurred],
    mut insert: impl FnMut(Key, Time, u16, usize, &mut Vec<usize>) -> usize,
) -> BTreeSet<usize> {
    let mut counted = BTreeSet::new();
    for (place, &(n, seconds, tag)) in occurred.iter().enumerate() {
        let mut out = Vec::new();
        assert_eq!(insert(key(n), at(seconds), tag, place, &mut out), out.len());
        assert!(
            out.is_sorted_by_key(|&place| occurred[place].1),
            "{out:?} is not in time order"
        );
        for place in out {
            assert!(counted.insert(place), "{place} counted twice");
        }
    }
    counted
}

fn count(occurred: &[Occurred], spec: Spec) -> BTreeSet<usize> {
    let mut window = Count::new(spec, LIMITS);
    feed(occurred, |key, time, _, place, out| {
        window.insert(key, time, place, Time::MIN, out).counted
    })
}

fn distinct(occurred: &[Occurred], spec: Spec) -> BTreeSet<usize> {
    let mut window = Distinct::new(spec, LIMITS);
    feed(occurred, |key, time, tag, place, out| {
        window
            .insert(key, (time, u64::from(tag)), place, Time::MIN, out)
            .counted
    })
}

fn tags(stretch: &[(usize, Occurred)]) -> usize {
    stretch
        .iter()
        .map(|(_, (_, _, tag))| tag)
        .collect::<BTreeSet<_>>()
        .len()
}

fn occurrences(len: usize, seconds: i64, tags: u16) -> impl Strategy<Value = Vec<Occurred>> {
    prop::collection::vec((0u8..2, 0..seconds, 0..tags), 1..len)
}

proptest! {
    #[test]
    fn count_agrees(occurred in occurrences(80, 200, 1), timespan in 0i64..40, min in 1u64..8) {
        let expected = plain(&occurred, timespan, |stretch| stretch.len() as u64 >= min);
        prop_assert_eq!(count(&occurred, spec(timespan, min, None)), expected);
    }

    #[test]
    fn distinct_agrees(occurred in occurrences(100, 200, 6), timespan in 0i64..40, min in 1u64..6) {
        let expected = plain(&occurred, timespan, |stretch| tags(stretch) as u64 >= min);
        prop_assert_eq!(distinct(&occurred, spec(timespan, min, None)), expected);
    }

    #[test]
    fn sequence_agrees(
        occurred in occurrences(28, 60, 3),
        timespan in 0i64..30,
    ) {
        let mut window = Sequence::new(spec(timespan, 1, None), 3, LIMITS);
        let counted = feed(&occurred, |key, time, tag, place, out| {
            window.insert(key, (time, tag), place, Time::MIN, out).counted
        });
        prop_assert_eq!(counted, plain_chains(&occurred, timespan, 3));
    }

    /// What an upper bound says of each occurrence is said of the timespan that ends there.
    #[test]
    fn upper_bounds_judge_what_ends_here(
        occurred in occurrences(60, 100, 6),
        timespan in 1i64..30,
        min in 1u64..4,
        room in 0u64..3,
    ) {
        let mut occurred = occurred;
        occurred.sort_by_key(|(_, time, _)| *time);
        let bounded = spec(timespan, min, Some(min + room));
        let mut by_count = Count::new(bounded, LIMITS);
        let mut by_value = Distinct::new(bounded, LIMITS);
        for (place, &(n, seconds, tag)) in occurred.iter().enumerate() {
            let stretch: Vec<_> = occurred[..=place]
                .iter()
                .filter(|(k, t, _)| *k == n && seconds - t <= timespan)
                .map(|occurrence| (0, *occurrence))
                .collect();
            let meets = |number: usize| (min..=min + room).contains(&(number as u64));
            let step = by_count.insert(key(n), at(seconds), place, Time::MIN, &mut Vec::new());
            prop_assert_eq!(step.counted > 0, meets(stretch.len()));
            let value = u64::from(tag);
            let step =
                by_value.insert(key(n), (at(seconds), value), place, Time::MIN, &mut Vec::new());
            prop_assert_eq!(step.counted > 0, meets(tags(&stretch)));
        }
    }

    /// Aging by a horizon changes nothing for input that is no later than the horizon says.
    #[test]
    fn a_horizon_only_forgets_what_is_over(
        occurred in prop::collection::vec((0u8..2, 0i64..15, 0u16..4), 1..200),
    ) {
        let mut clock = 0;
        let occurred: Vec<Occurred> = occurred
            .into_iter()
            .map(|(n, back, tag)| {
                clock += 2;
                (n, clock - back, tag)
            })
            .collect();
        let mut by_count = Count::new(spec(10, 4, None), LIMITS);
        let mut by_value = Distinct::new(spec(10, 3, None), LIMITS);
        let mut clock = 0;
        let counted = feed(&occurred, |key, time, _, place, out| {
            clock += 2;
            by_count.insert(key, time, place, at(clock - 15), out).counted
        });
        prop_assert_eq!(counted, plain(&occurred, 10, |stretch| stretch.len() >= 4));
        let mut clock = 0;
        let counted = feed(&occurred, |key, time, tag, place, out| {
            clock += 2;
            let at_value = (time, u64::from(tag));
            by_value.insert(key, at_value, place, at(clock - 15), out).counted
        });
        prop_assert_eq!(counted, plain(&occurred, 10, |stretch| tags(stretch) >= 3));
        prop_assert!(by_count.stats().held < 60, "{:?}", by_count.stats());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Long bursts are thinned; still each occurrence in any order counts exactly when it should.
    #[test]
    fn count_agrees_when_thinned(
        occurred in occurrences(700, 120, 1),
        timespan in 3i64..9,
        min in 1u64..4,
    ) {
        let tight = Spec { lateness: Span::from_secs(120), ..spec(timespan, min, None) };
        let expected = plain(&occurred, timespan, |stretch| stretch.len() as u64 >= min);
        prop_assert_eq!(count(&occurred, tight), expected);
    }

    /// Under thinning repeats that have not counted may go, but verdicts stay: whatever counts
    /// should, and each stretch that meets the bound is noticed.
    #[test]
    fn distinct_agrees_when_thinned(
        occurred in occurrences(1_000, 100, 5),
        timespan in 2i64..6,
        min in 2u64..6,
    ) {
        let tight = Spec { lateness: Span::from_secs(100), ..spec(timespan, min, None) };
        let expected = plain(&occurred, timespan, |stretch| tags(stretch) as u64 >= min);
        let counted = distinct(&occurred, tight);
        prop_assert!(counted.is_subset(&expected));
        let seconds = |places: &BTreeSet<usize>| -> BTreeSet<(u8, i64)> {
            places.iter().map(|&place| (occurred[place].0, occurred[place].1)).collect()
        };
        prop_assert_eq!(seconds(&counted), seconds(&expected));
    }
}

#[test]
fn a_long_burst_takes_fixed_memory_and_tells_its_size() {
    let spec = Spec {
        lateness: Span::from_secs(300),
        ..spec(60, 10, None)
    };
    let mut window = Count::new(spec, LIMITS);
    let mut counted = 0;
    for n in 0..100_000i64 {
        let time = Time::from_micros(n * 10_000);
        let horizon = time.minus(Span::from_secs(300));
        let step = window.insert(key(1), time, n, horizon, &mut Vec::new());
        counted += step.counted;
        if n > 50_000 {
            assert!(
                (4_500..=6_001).contains(&step.within) && !step.is_exact,
                "{n}: {step:?}"
            );
        }
    }
    assert_eq!(counted, 100_000);
    assert!(window.stats().held < 800, "{:?}", window.stats());
}

#[test]
fn a_flood_of_first_steps_leaves_the_second() {
    let mut window = Sequence::new(spec(3_600, 1, None), 3, LIMITS);
    let mut insert = |seconds: i64, member: u16| {
        let mut out = Vec::new();
        window.insert(key(1), (at(seconds), member), seconds, Time::MIN, &mut out);
        out
    };
    for seconds in 0..100 {
        assert!(insert(seconds, 0).is_empty());
    }
    assert!(insert(100, 1).is_empty());
    for seconds in 101..1_000 {
        assert!(insert(seconds, 0).is_empty());
    }
    let story = insert(1_000, 2);
    assert!(
        story.contains(&0) && story.contains(&100) && story.contains(&1_000),
        "{story:?}"
    );
}

#[test]
fn the_numbers_that_are_told() {
    let mut window = Distinct::new(spec(60, 3, None), LIMITS);
    let steps: Vec<(usize, u64)> = [7u64, 7, 8, 9, 9, 10]
        .into_iter()
        .enumerate()
        .map(|(second, value)| {
            let time = at(second as i64);
            let step = window.insert(key(1), (time, value), (), Time::MIN, &mut Vec::new());
            (step.counted, step.within)
        })
        .collect();
    assert_eq!(steps, [(0, 0), (0, 0), (0, 0), (4, 3), (1, 3), (1, 4)]);
    let mut by_key: BTreeMap<u8, u64> = BTreeMap::new();
    let mut window = Count::new(spec(10, 2, None), LIMITS);
    for (n, second) in [(1, 0), (2, 0), (1, 5), (2, 11), (1, 14), (1, 14)] {
        let step = window.insert(key(n), at(second), (), Time::MIN, &mut Vec::new());
        by_key.insert(n, step.within);
    }
    assert_eq!(by_key, BTreeMap::from([(1, 3), (2, 0)]));
}

#[test]
fn a_look_says_what_is_in_the_window_and_what_left() {
    let mut window = Count::new(spec(60, 10, None), LIMITS);
    for second in [0, 5, 50, 70, 80] {
        window.insert(key(1), at(second), (), at(0), &mut Vec::new());
    }
    let look = window.look(key(1), at(80));
    assert_eq!((look.count, look.left), (3, 2));
    assert_eq!(
        (look.left_at, look.leaves_at),
        (Some(at(65)), Some(at(110)))
    );
    assert_eq!(
        window.look(key(1), at(4)).count,
        1,
        "what came later does not count"
    );
    assert_eq!(window.look(key(2), at(80)), super::Look::default());
}

#[test]
fn the_chain_that_has_come_furthest() {
    let mut window = Sequence::new(spec(60, 0, None), 4, LIMITS);
    for (second, member) in [(0, 0), (10, 0), (20, 1), (25, 2), (30, 0), (40, 2)] {
        window.insert(key(1), (at(second), member), (), at(0), &mut Vec::new());
    }
    let furthest = |second| {
        let chain = window.furthest(key(1), at(second));
        chain
            .into_iter()
            .map(|time| time.micros() / 1_000_000)
            .collect::<Vec<_>>()
    };
    assert_eq!(furthest(5), [0]);
    assert_eq!(furthest(22), [10, 20]);
    assert_eq!(furthest(60), [10, 20, 40]);
    assert_eq!(furthest(75), [30], "the start of the others has left");
    assert_eq!(furthest(95), [0; 0]);
}
