//! Decodes and matches: the work on a batch that needs no state, on as many threads as wished.
//!
//! Work goes to the workers in turn and comes back in the same turn, so the order of batches
//! stays without any sorting.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError},
    },
    time::SystemTime,
};

use ipnet::IpNet;

use super::{counts::Rejects, orders::Order, sight::Seen};
use crate::{
    decode::{Decoded, Reason, Reject, each_event},
    detect::{Observation, Observer, SourceId, Visibility},
    event::{Context, Event},
    rule::RuleSet,
    source::{Batch, Room},
    store::Bookmark,
    units::Time,
};

/// What a worker is given.
pub(super) enum Work {
    /// Records to look at.
    Batch(Batch),
    /// From now on these rules. Every worker is given them, one after the other.
    Rules(Arc<RuleSet>),
    /// An order on its way to the engine.
    Order(Order),
    /// Nothing; passes time on to whoever waits behind.
    Tick,
}

/// What comes out for it.
pub(super) enum Outcome {
    /// What was seen in a batch.
    Observed(Observed),
    /// The rules that the worker has taken on.
    Rules(Arc<RuleSet>),
    /// An order.
    Order(Order),
    /// Time has passed.
    Tick,
}

/// What was seen in one batch.
pub(super) struct Observed {
    pub(super) source: SourceId,
    pub(super) observations: Vec<Observation>,
    pub(super) rejects: Rejects,
    /// The first reject, to tell people about.
    pub(super) reject: Option<Reject>,
    /// Where its source would go on.
    pub(super) position: Option<Bookmark>,
    /// The room that the batch takes until its observations were judged.
    pub(super) room: Room,
}

/// Works until there is no more to do or nobody to do it for.
pub(super) fn work(
    inbox: &Receiver<Work>,
    outbox: &SyncSender<Outcome>,
    sight: &SyncSender<Seen>,
    (rules, trusted_proxies): (Arc<RuleSet>, Vec<IpNet>),
) {
    let mut observer = Observer::new(rules);
    let mut seen = Visibility::default();
    let mut context = Context {
        cluster: String::new(),
        trusted_proxies,
    };
    for work in inbox {
        let outcome = match work {
            Work::Batch(batch) => {
                if context.cluster != *batch.cluster {
                    (*batch.cluster).clone_into(&mut context.cluster);
                }
                Outcome::Observed(observe(batch, &mut observer, &mut seen, &context))
            }
            Work::Rules(rules) => {
                observer = Observer::new(Arc::clone(&rules));
                // Whether that thread is there or not is nothing to stop for.
                let _ = sight.send(Seen::Rules(Arc::clone(&rules)));
                Outcome::Rules(rules)
            }
            Work::Order(order) => Outcome::Order(order),
            Work::Tick => {
                seen = hand_on(seen, sight);
                Outcome::Tick
            }
        };
        if outbox.send(outcome).is_err() {
            return;
        }
    }
}

/// Says what was seen; what there is no room for is said the next time.
fn hand_on(seen: Visibility, sight: &SyncSender<Seen>) -> Visibility {
    if seen.events() == 0 {
        return seen;
    }
    match sight.try_send(Seen::Requests(seen)) {
        Err(TrySendError::Full(Seen::Requests(seen))) => seen,
        _ => Visibility::default(),
    }
}

fn observe(
    batch: Batch,
    observer: &mut Observer,
    seen: &mut Visibility,
    context: &Context,
) -> Observed {
    let mut observations = Vec::new();
    let mut rejects = [0; Reason::ALL.len()];
    let mut first = None;
    each_event(&batch.block, &mut |decoded| match decoded {
        Decoded::Event(slots, line) => {
            let event = Event::new(slots, line, context);
            seen.see(&event);
            observations.push(observer.observe(&event));
        }
        Decoded::Reject(reject) => {
            rejects[reject.reason as usize] += 1;
            first.get_or_insert(reject);
        }
    });
    Observed {
        source: batch.source,
        observations,
        rejects,
        reject: first,
        position: batch.position,
        room: batch.room,
    }
}

/// The wall clock.
pub fn clock() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::from_micros(since.unwrap_or_default().as_micros() as i64)
}
