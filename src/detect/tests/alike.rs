//! What an observer remembers changes no answer: real events, each looked at by an observer that
//! has seen all before it and by one that has seen none.

use super::*;
use crate::rule::shipped_rules;

/// Requests of pods, people and controllers.
const LOG: &str = include_str!("../../rule/tests/real.jsonl");
/// A new observer plans anew, which takes a while.
const EVERY: usize = 4;

#[test]
fn what_an_observer_saw_before_changes_nothing() {
    let layer = Layer::new(shipped_rules());
    let rules = Arc::new(RuleSet::load(&[layer]).unwrap().set);
    let mut experienced = Observer::new(Arc::clone(&rules));
    let (mut hits, mut looked_at) = (0, 0);
    // At the second time all is remembered; at the third it happens in another cluster.
    let three_times = ["east", "east", "west"]
        .into_iter()
        .flat_map(|cluster| LOG.lines().map(move |line| (cluster, line)));
    for (at, (cluster, line)) in three_times.enumerate() {
        let seen = observe(&mut experienced, line, cluster);
        if at % EVERY == 0 {
            let mut fresh = Observer::new(Arc::clone(&rules));
            let expected = observe(&mut fresh, line, cluster);
            assert_eq!(
                format!("{:?}", seen[0].hits),
                format!("{:?}", expected[0].hits),
                "{line}"
            );
            hits += expected[0].hits.len();
            looked_at += 1;
        }
    }
    assert!(hits > looked_at / 4, "{hits} hits of {looked_at} events");
}
