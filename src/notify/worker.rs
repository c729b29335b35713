//! The task that tells one receiver: one message at a time, again until it arrives.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    DropReason, Failure, Metrics, Reason, Settings,
    metrics::LaneMetrics,
    queue::{Next, Queue, Room},
};
use crate::{
    alert::dispatch::Notification,
    store::{Keeper, Note},
};

/// Brings one message to where it belongs, by one attempt.
pub(super) trait Deliver: Send + Sync + 'static {
    fn deliver(&self, told: &Notification) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// One receiver's queue, shared by those who fill it and the task that empties it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) name: Arc<str>,
    pub(super) integration: &'static str,
    settings: Settings,
    queue: Mutex<Queue>,
    /// Where messages are until the receiver took them; without it they are in the queue alone.
    outbox: Option<Outbox>,
    filled: Notify,
    closing: CancellationToken,
    metrics: LaneMetrics,
}

/// What a lane knows of its receiver's part of the outbox.
#[derive(Debug)]
struct Outbox {
    keeper: Keeper,
    reading: Mutex<Reading>,
}

/// How far the outbox was read into the queue.
#[derive(Debug)]
struct Reading {
    /// Number of the last message that was.
    last: u64,
    /// Whether more wait behind it.
    is_behind: bool,
    /// Whether they were asked for.
    is_asked: bool,
}

/// What names a payload that this version wrote: [`Notification`] in postcard.
const PAYLOAD: u8 = 4;

/// A notification as the outbox holds it.
pub(super) fn payload(told: &Notification) -> Arc<[u8]> {
    // Into a vector nothing but a value without a known length cannot be written.
    postcard::to_extend(told, vec![PAYLOAD])
        .unwrap_or_default()
        .into()
}

/// What a message in the outbox tells; `None` when another version wrote it.
pub fn read_payload(payload: &[u8]) -> Option<Notification> {
    let (&PAYLOAD, told) = payload.split_first()? else {
        return None;
    };
    postcard::from_bytes(told).ok()
}

/// When a message was made, by our own clock that cannot be set.
fn since(note: &Note) -> Instant {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let age = now.unwrap_or_default().as_micros() as i64 - note.made_at.micros();
    let age = Duration::from_micros(age.max(0) as u64);
    let now = Instant::now();
    now.checked_sub(age).unwrap_or(now)
}

impl Lane {
    /// With a keeper, what is told comes from its outbox and not by [`push`](Self::push).
    pub(super) fn new(
        name: Arc<str>,
        integration: &'static str,
        settings: Settings,
        metrics: &Metrics,
        keeper: Option<Keeper>,
    ) -> Self {
        let outbox = keeper.map(|keeper| Outbox {
            keeper,
            reading: Mutex::new(Reading {
                last: 0,
                is_behind: true,
                is_asked: false,
            }),
        });
        Self {
            outbox,
            metrics: metrics.lane(&name, integration),
            name,
            integration,
            settings,
            queue: Mutex::new(Queue::new(settings.queue_max)),
            filled: Notify::new(),
            closing: CancellationToken::new(),
        }
    }

    pub(super) fn push(&self, told: Notification) {
        match self.queue().push(told, Instant::now()) {
            Room::Enough => {}
            Room::Folded => self.metrics.folded.inc(),
            Room::Dropped => self.metrics.dropped(DropReason::QueueFull, 1),
        }
        self.filled.notify_one();
    }

    /// Takes in what is new in the outbox. What does not fit is read from there later.
    pub(super) fn offer(&self, notes: &[Note]) {
        let Some(outbox) = &self.outbox else { return };
        let mut reading = outbox.reading();
        for note in notes {
            if reading.is_behind {
                break;
            }
            if self.take_in(outbox, note) {
                reading.last = note.number;
            } else {
                reading.is_behind = true;
            }
        }
        self.filled.notify_one();
    }

    /// Takes in what was asked for, and whether that is all there is.
    pub(super) fn refill(&self, notes: &[Note], is_all: bool) {
        let Some(outbox) = &self.outbox else { return };
        let mut reading = outbox.reading();
        (reading.is_asked, reading.is_behind) = (false, !is_all);
        for note in notes {
            if !self.take_in(outbox, note) {
                reading.is_behind = true;
                break;
            }
            reading.last = note.number;
        }
        self.filled.notify_one();
    }

    /// Whether there was room for it, or no need of it.
    fn take_in(&self, outbox: &Outbox, note: &Note) -> bool {
        if let Some(told) = read_payload(&note.payload) {
            return self.queue().take_in(note.number, told, since(note));
        }
        warn!(
            receiver = &*self.name,
            number = note.number,
            "a message in the outbox is of another version of auditwatch and cannot be sent"
        );
        self.metrics.dropped(DropReason::Rejected, 1);
        outbox.keeper.dead(note.number, "unreadable");
        true
    }

    /// Forgets a message that is not in the outbox any more.
    pub(super) fn forget(&self, note: u64) {
        self.queue().forget(note);
    }

    /// A message went because the outbox was full.
    pub(super) fn lost(&self, note: u64) {
        let mut queue = self.queue();
        queue.forget(note);
        queue.missed();
        self.metrics.dropped(DropReason::QueueFull, 1);
    }

    /// Asks for more of the outbox when the queue is half empty.
    fn read_on(&self) {
        let Some(outbox) = &self.outbox else { return };
        let mut reading = outbox.reading();
        let room = self.queue().room();
        if reading.is_behind && !reading.is_asked && room >= self.settings.queue_max.div_ceil(2) {
            reading.is_asked = true;
            outbox.keeper.more(&self.name, reading.last, room);
        }
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// Whether messages survive the process.
    pub(super) fn is_kept(&self) -> bool {
        self.outbox.is_some()
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

    /// Counts what is left as lost, unless the outbox has it; for when the task has ended.
    pub(super) fn give_up(&self) -> usize {
        let left = self.queue().clear();
        if left > 0 && self.outbox.is_none() {
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
    async fn next(&self) -> Option<Next> {
        loop {
            self.read_on();
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
    while let Some(next) = lane.next().await {
        if !worker.send(&deliver, &next).await {
            return;
        }
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
    /// Sends one message, or gives it up; false when it stays in the outbox for the next start.
    async fn send<D: Deliver>(&mut self, deliver: &D, next: &Next) -> bool {
        let Next { told, since, .. } = next;
        let settings = &self.lane.settings;
        loop {
            if self.failures > 0 && since.elapsed() + self.pause > settings.age_max.to_std() {
                self.give_up(DropReason::Expired, next);
                return true;
            }
            self.wait().await;
            self.lane.metrics.attempts.inc();
            let answer = timeout(settings.timeout.to_std(), deliver.deliver(told)).await;
            let Err(failure) = answer.unwrap_or_else(|_| Err(too_slow())) else {
                self.delivered(next);
                return true;
            };
            self.failed(&failure);
            if failure.permanent {
                self.give_up(DropReason::Rejected, next);
                return true;
            }
            if self.lane.is_kept() && self.lane.closing.is_cancelled() {
                return false;
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

    fn delivered(&mut self, next: &Next) {
        self.lane.queue().delivered(next);
        if let (Some(outbox), Some(note)) = (&self.lane.outbox, next.note) {
            outbox.keeper.taken(note);
        }
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

    fn give_up(&self, reason: DropReason, next: &Next) {
        self.lane.queue().given_up();
        if let (Some(outbox), Some(note)) = (&self.lane.outbox, next.note) {
            outbox.keeper.dead(note, reason.name());
        }
        self.lane.metrics.dropped(reason, 1);
        let Notification {
            alerts, group_key, ..
        } = &next.told;
        let rule = alerts.first().map(|alert| &*alert.rule.name);
        let (alert, group) = (alerts.first().map(|alert| &*alert.id), &**group_key);
        let alerts = next.told.total();
        let (receiver, reason) = (&*self.lane.name, reason.name());
        warn!(
            receiver,
            reason, alert, rule, group, alerts, "gave up telling the receiver about this"
        );
    }
}

impl Outbox {
    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn too_slow() -> Failure {
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
