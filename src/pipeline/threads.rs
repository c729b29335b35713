//! The threads between the sources and the receivers: dispatcher, workers, the engine's own.

use std::{
    io,
    sync::{Arc, mpsc::sync_channel},
    thread,
};

use ipnet::IpNet;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{
    bench::Bench,
    dispatch::dispatch,
    orders::Order,
    sight::{SEEN_MAX, Sight},
    worker::work,
};
use crate::{notify::Notifier, rule::RuleSet, source::Batch, telemetry::Health};

/// How many batches a worker holds on either side of its work.
const WORKER_QUEUE: usize = 2;

/// What is needed to start the threads between the sources and the receivers.
pub(super) struct Threads {
    pub(super) workers: usize,
    pub(super) rules: Arc<RuleSet>,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) sight: Sight,
    pub(super) shows: TaskTracker,
    pub(super) health: Arc<Health>,
    pub(super) stop: CancellationToken,
    pub(super) failed: CancellationToken,
}

impl Threads {
    pub(super) fn spawn(
        self,
        bench: Bench,
        batches: mpsc::Receiver<Batch>,
        new_rules: mpsc::Receiver<Arc<RuleSet>>,
        orders: mpsc::Receiver<Order>,
    ) -> io::Result<oneshot::Receiver<Notifier>> {
        let (to_sight, seen) = sync_channel(SEEN_MAX);
        let sight = self.sight;
        spawn("sight", self.shows.token(), move || sight.watch(&seen))?;
        let (mut to_workers, mut from_workers) = (Vec::new(), Vec::new());
        for _ in 0..self.workers {
            let (to_worker, inbox) = sync_channel(WORKER_QUEUE);
            let (outbox, from_worker) = sync_channel(WORKER_QUEUE);
            let (rules, proxies) = (Arc::clone(&self.rules), self.trusted_proxies.clone());
            let sight = to_sight.clone();
            spawn("worker", self.shows.token(), move || {
                work(&inbox, &outbox, &sight, (rules, proxies));
            })?;
            to_workers.push(to_worker);
            from_workers.push(from_worker);
        }
        drop(to_sight);
        let runtime = Handle::current();
        spawn("dispatch", self.shows.token(), move || {
            dispatch(batches, new_rules, orders, &to_workers, &runtime);
        })?;
        let part = self.health.part("engine");
        part.ready();
        let (ended, notifier) = oneshot::channel();
        let Self {
            health,
            stop,
            failed,
            shows,
            ..
        } = self;
        let alarm = Alarm {
            health,
            stop,
            failed,
        };
        spawn("engine", shows.token(), move || {
            // Whatever ends this thread, a panic too, is noticed.
            let _alarm = alarm;
            // Nobody waits for it any more when the stop took too long.
            let _ = ended.send(bench.sit(&from_workers));
        })?;
        Ok(notifier)
    }
}

/// Rings when the engine's thread ends although nobody asked for it.
struct Alarm {
    health: Arc<Health>,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            tracing::error!("the pipeline has broken down");
            self.health.fail("the pipeline has broken down");
            self.failed.cancel();
        }
    }
}

/// Starts a named thread that `token` is held for.
pub(super) fn spawn(
    name: &str,
    token: TaskTrackerToken,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            work();
            drop(token);
        })
        .map(drop)
}
