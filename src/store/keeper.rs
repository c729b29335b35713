//! The handle of the running store: what others ask of its thread, and what they see of it.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    time::{Duration, SystemTime},
};

use super::{Checkpoint, Commits, Note, outbox::Settled};
use crate::units::Time;

/// What the receivers' side is handed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Messages that came in, in their order.
    New(Vec<Note>),
    /// The answer to [`Keeper::more`]: the next messages that wait, all of them or the first few.
    More {
        /// For whom.
        receiver: Arc<str>,
        /// The next, in their order.
        notes: Vec<Note>,
        /// Whether no further ones wait behind these.
        is_all: bool,
    },
    /// The operator wants these not to be sent.
    Forget(Vec<u64>),
    /// Receiver and number of messages that went because the outbox was full.
    Dropped(Vec<(Arc<str>, u64)>),
}

/// Takes what is handed on; called on the store's thread, so it must not wait.
pub type Deliver = Box<dyn FnMut(Delivery) + Send>;

/// The handle of the running store.
#[derive(Clone, Debug)]
pub struct Keeper {
    pub(super) commands: Sender<Command>,
    pub(super) shared: Arc<Shared>,
    pub(super) commits: Arc<Commits>,
}

/// A wish for the next messages of a receiver.
pub(super) struct Wanted {
    pub(super) receiver: Arc<str>,
    pub(super) after: u64,
    pub(super) at_most: usize,
}

/// What the thread is told.
pub(super) enum Command {
    Commit(Checkpoint),
    Hurry(Vec<Note>),
    Settled(Settled),
    More(Wanted),
    Stop,
}

/// What both sides see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    standing: Mutex<Standing>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Standing {
    /// A checkpoint is being written.
    pub(super) busy: bool,
    /// Writing fails.
    pub(super) failing: bool,
    /// How long the last checkpoint took to write.
    pub(super) cost: Duration,
    pub(super) ended: bool,
}

impl Shared {
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Standing) -> R) -> R {
        let result = change(&mut self.standing());
        self.changed.notify_all();
        result
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is so, at most `within`; whether it is.
    fn wait(&self, within: Duration, is_so: impl Fn(&Standing) -> bool) -> bool {
        let standing = self.standing();
        let waited = self
            .changed
            .wait_timeout_while(standing, within, |standing| !is_so(standing));
        let (standing, _) = waited.unwrap_or_else(PoisonError::into_inner);
        is_so(&standing)
    }
}

impl Keeper {
    /// What is safe of each source.
    pub fn commits(&self) -> &Arc<Commits> {
        &self.commits
    }

    /// Whether it would take a checkpoint.
    pub fn is_idle(&self) -> bool {
        !self.shared.standing().busy
    }

    /// Whether the last attempt to write failed.
    pub fn is_failing(&self) -> bool {
        self.shared.standing().failing
    }

    /// How long the last checkpoint took to write.
    pub fn cost(&self) -> Duration {
        self.shared.standing().cost
    }

    /// Has a checkpoint written. Only when it [is idle](Self::is_idle).
    pub fn commit(&self, checkpoint: Checkpoint) {
        self.shared.change(|standing| standing.busy = true);
        // A thread that has ended wrote its last; nobody waits for more.
        if self.commands.send(Command::Commit(checkpoint)).is_err() {
            self.shared.change(|standing| standing.busy = false);
        }
    }

    /// Hands notifications on at once, because writing fails and the next checkpoint may be long
    /// in coming; they are written with the one at hand.
    pub fn hurry(&self, notes: Vec<Note>) {
        self.send(Command::Hurry(notes));
    }

    /// Waits until writing works again, at most `within`.
    pub fn wait_while_failing(&self, within: Duration) {
        self.shared.wait(within, |standing| !standing.failing);
    }

    /// Waits until the checkpoint at hand is safe; false when that took longer than `within`.
    pub fn wait(&self, within: Duration) -> bool {
        self.shared.wait(within, |standing| !standing.busy)
    }

    /// A receiver took a message.
    pub fn taken(&self, number: u64) {
        self.send(Command::Settled(Settled::Taken(number)));
    }

    /// A message is given up and becomes a dead letter.
    pub fn dead(&self, number: u64, reason: &'static str) {
        self.send(Command::Settled(Settled::Dead(number, reason, now())));
    }

    /// Asks for the next messages of a receiver after one; a [`Delivery::More`] answers.
    pub fn more(&self, receiver: &Arc<str>, after: u64, at_most: usize) {
        self.send(Command::More(Wanted {
            receiver: Arc::clone(receiver),
            after,
            at_most,
        }));
    }

    /// Writes what is left and ends; false when that took longer than `within`.
    pub fn stop(&self, within: Duration) -> bool {
        self.send(Command::Stop);
        self.shared.wait(within, |standing| standing.ended)
    }

    fn send(&self, command: Command) {
        // When the thread has ended there is no file to write it to; it is sent again then.
        let _ = self.commands.send(command);
    }
}

/// The clock.
pub(super) fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::from_micros(since.unwrap_or_default().as_micros() as i64)
}
