//! Deals work out to the workers in turn: batches as they arrive, new rules, orders, the passing of time.

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{orders::Order, worker::Work};
use crate::{rule::RuleSet, source::Batch};

/// How often time passes on when nothing arrives, and how often gauges are set.
const TICK: Duration = Duration::from_secs(1);

/// Deals out until the sources have ended, on a thread of its own.
pub(super) fn dispatch(
    mut batches: mpsc::Receiver<Batch>,
    mut rules: mpsc::Receiver<Arc<RuleSet>>,
    mut orders: mpsc::Receiver<Order>,
    workers: &[SyncSender<Work>],
    runtime: &Handle,
) {
    let mut ticks = {
        let _entered = runtime.enter();
        interval(TICK)
    };
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0;
    loop {
        let work = runtime.block_on(async {
            tokio::select! {
                biased;
                Some(rules) = rules.recv() => Some(Work::Rules(rules)),
                Some(order) = orders.recv() => Some(Work::Order(order)),
                _ = ticks.tick() => Some(Work::Tick),
                batch = batches.recv() => batch.map(Work::Batch),
            }
        });
        // New rules go once round, so that every worker has them before the next batch.
        let round = match work {
            None => return,
            Some(Work::Rules(rules)) => workers
                .iter()
                .map(|_| Work::Rules(Arc::clone(&rules)))
                .collect(),
            Some(work) => vec![work],
        };
        for work in round {
            if workers[turn].send(work).is_err() {
                return;
            }
            turn = (turn + 1) % workers.len();
        }
    }
}
