//! The task that tells one receiver: one message at a time, again until it arrives.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    DropReason, Failure, Message, Metrics, Reason, Settings,
    metrics::LaneMetrics,
    queue::{Queue, Room},
};
use crate::alert::Change;

/// Brings one message to where it belongs, by one attempt.
pub(super) trait Deliver: Send + Sync + 'static {
    fn deliver(&self, message: &Message) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// One receiver's queue, shared by those who fill it and the task that empties it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: Arc<str>,
    pub(super) integration: &'static str,
    settings: Settings,
    queue: Mutex<Queue>,
    filled: Notify,
    closing: CancellationToken,
    metrics: LaneMetrics,
}

impl Lane {
    pub(super) fn new(
        name: Arc<str>,
        integration: &'static str,
        settings: Settings,
        metrics: &Metrics,
    ) -> Self {
        Self {
            metrics: metrics.lane(&name, integration),
            name,
            integration,
            settings,
            queue: Mutex::new(Queue::new(settings.queue_max)),
            filled: Notify::new(),
            closing: CancellationToken::new(),
        }
    }

    pub(super) fn push(&self, change: Change) {
        match self.queue().push(change, Instant::now()) {
            Room::Enough => {}
            Room::Folded => self.metrics.folded.inc(),
            Room::Dropped => self.metrics.dropped(DropReason::QueueFull, 1),
        }
        self.filled.notify_one();
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// How many wait, and for how long the oldest has.
    pub(super) fn depth(&self) -> (usize, Duration) {
        let queue = self.queue();
        (
            queue.len(),
            queue
                .oldest()
                .map_or(Duration::ZERO, |since| since.elapsed()),
        )
    }

    /// Counts what is left as lost; for when the task has ended.
    pub(super) fn give_up(&self) -> usize {
        let left = self.queue().clear();
        if left > 0 {
            self.metrics.dropped(DropReason::Shutdown, left as u64);
            warn!(
                receiver = &*self.name,
                left, "stopped before these messages could be sent"
            );
        }
        left
    }

    /// The queue holds together whatever panicked while it was locked: each change of it is whole.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message; none when it is closing and nothing is left.
    async fn next(&self) -> Option<(Message, Instant)> {
        loop {
            if let Some(next) = self.queue().take() {
                return Some(next);
            }
            if self.closing.is_cancelled() {
                return None;
            }
            tokio::select! {
                () = self.filled.notified() => {}
                () = self.closing.cancelled() => {}
            }
        }
    }
}

/// Sends until the lane is closed and empty.
pub(super) async fn run<D: Deliver>(lane: Arc<Lane>, deliver: D) {
    let mut worker = Worker {
        lane: &lane,
        failures: 0,
        pause: Duration::ZERO,
    };
    while let Some((message, since)) = lane.next().await {
        worker.send(&deliver, &message, since).await;
    }
}

/// What is known about the receiver. Failures count across messages, since it is mostly the
/// receiver that is at fault: a storm does not hammer one that has just refused.
struct Worker<'a> {
    lane: &'a Lane,
    failures: u32,
    pause: Duration,
}

impl Worker<'_> {
    /// Sends one message, or gives it up.
    async fn send<D: Deliver>(&mut self, deliver: &D, message: &Message, since: Instant) {
        let settings = &self.lane.settings;
        loop {
            if self.failures > 0 && since.elapsed() + self.pause > settings.age_max.to_std() {
                self.give_up(DropReason::Expired, message);
                return;
            }
            self.wait().await;
            self.lane.metrics.attempts.inc();
            let answer = timeout(settings.timeout.to_std(), deliver.deliver(message)).await;
            let Err(failure) = answer.unwrap_or_else(|_| Err(too_slow())) else {
                self.delivered(message);
                return;
            };
            self.failed(&failure);
            if failure.permanent {
                self.give_up(DropReason::Rejected, message);
                return;
            }
        }
    }

    /// Waits as long as was found right after the last failure. When the process stops there is
    /// no time for that: one more attempt, then the usual pauses until the deadline.
    async fn wait(&mut self) {
        let pause = std::mem::take(&mut self.pause);
        if pause.is_zero() {
            return;
        }
        if self.lane.closing.is_cancelled() {
            sleep(pause).await;
        } else {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.lane.closing.cancelled() => {}
            }
        }
    }

    fn delivered(&mut self, message: &Message) {
        self.lane.queue().delivered(message);
        if self.failures > 0 {
            let (receiver, failures) = (&*self.lane.name, self.failures);
            info!(receiver, failures, "the receiver takes messages again");
        }
        self.failures = 0;
    }

    fn failed(&mut self, failure: &Failure) {
        self.lane.metrics.failed(failure.reason);
        self.failures = self.failures.saturating_add(1);
        let Settings {
            backoff_first,
            backoff_max,
            age_max,
            ..
        } = self.lane.settings;
        let doubled = 2u32.saturating_pow(self.failures - 1);
        let longest = backoff_first
            .to_std()
            .saturating_mul(doubled)
            .min(backoff_max.to_std());
        let asked = failure
            .retry_after
            .unwrap_or_default()
            .min(age_max.to_std());
        self.pause = jitter(longest).max(asked);

        let (receiver, integration) = (&*self.lane.name, self.lane.integration);
        let (reason, failures) = (failure.reason.name(), self.failures);
        // The first says it, and every doubling says that it still holds.
        if failures.is_power_of_two() {
            warn!(
                receiver,
                integration, reason, failures, "cannot tell the receiver: {failure}"
            );
        } else {
            debug!(
                receiver,
                integration, reason, failures, "cannot tell the receiver: {failure}"
            );
        }
    }

    fn give_up(&self, reason: DropReason, message: &Message) {
        self.lane.queue().given_up();
        self.lane.metrics.dropped(reason, 1);
        let (alert, rule) = (&*message.alert().id, &*message.alert().rule.name);
        let (receiver, reason) = (&*self.lane.name, reason.name());
        warn!(
            receiver,
            reason, alert, rule, "gave up telling the receiver about this alert"
        );
    }
}

fn too_slow() -> Failure {
    Failure::passing(
        Reason::ContextDeadlineExceeded,
        "no answer in time",
        "is it overloaded, or is a firewall, network policy or proxy in between?",
    )
}

/// Any length from zero to `longest`, so that many who failed together do not retry together.
fn jitter(longest: Duration) -> Duration {
    // The standard library seeds its hash maps from the system; that is random enough here.
    let bits = RandomState::new().build_hasher().finish();
    longest.mul_f64(bits as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests;
