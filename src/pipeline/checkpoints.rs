//! Decides when the state is written, and hands the store what changed.
//!
//! The engine does not wait for the store: what was judged meanwhile comes with the next
//! checkpoint. Only when writing fails it stands still, so that the sources feel it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{Judge, routing::Routing, worker::clock};
use crate::{
    alert::dispatch::Notification,
    notify::Notifier,
    store::{Bookmark, Checkpoint, Ended, Keeper, Note, Then},
};

/// Between two checkpoints lies at least this, and this many times what the last one cost, so that
/// a great state takes about a thirtieth of the time; but never more than the greatest pause.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_COST: u32 = 29;
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// When somebody is to be told, it is this many times the cost.
const URGENT_COST: u32 = 4;
/// Nobody waits longer than this to be told. If the pause is longer, the messages are written
/// without the state; after a crash they are made again then, with the same ids.
const URGENT_MAX: Duration = Duration::from_millis(500);

/// How soon a store that is busy is asked again when somebody is to be told.
const BUSY: Duration = Duration::from_millis(2);

/// How many notifications, or alerts that are over, may wait for a checkpoint before the engine
/// does.
const NOTES_MAX: usize = 10_000;

/// How often a thing that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How long the last checkpoint may take when everything ends.
const LAST_WITHIN: Duration = Duration::from_secs(5);

/// What waits for the next checkpoint.
pub(super) struct Checkpoints {
    keeper: Keeper,
    stop: CancellationToken,
    /// The latest of each source and part.
    bookmarks: BTreeMap<(Arc<str>, Box<str>), Option<String>>,
    notes: Vec<Note>,
    /// Alerts that are over.
    ended: Vec<Ended>,
    /// Called when the next checkpoint is safe.
    answers: Vec<Box<dyn FnOnce() + Send>>,
    /// Whether anything was judged since the last checkpoint.
    is_due: bool,
    started: Instant,
    /// When messages were last written without the state.
    wrote_notes: Instant,
    /// How long it took to gather what the last checkpoint wrote.
    gathering: Duration,
}

impl Checkpoints {
    /// `stop` says that nothing more comes in.
    pub(super) fn new(keeper: Keeper, stop: CancellationToken) -> Self {
        Self {
            keeper,
            stop,
            bookmarks: BTreeMap::new(),
            notes: Vec::new(),
            ended: Vec::new(),
            answers: Vec::new(),
            is_due: false,
            started: Instant::now(),
            wrote_notes: Instant::now(),
            gathering: Duration::ZERO,
        }
    }

    /// Something was judged, and its source would read on there.
    pub(super) fn judged(&mut self, bookmark: Option<Bookmark>) {
        self.is_due = true;
        if let Some(Bookmark {
            source,
            part,
            value,
        }) = bookmark
        {
            self.bookmarks.insert((source, part), value);
        }
    }

    /// Somebody is to be told.
    pub(super) fn tell(&mut self, told: &Notification, notifier: &Notifier) {
        self.is_due = true;
        self.notes.extend(notifier.note(told, clock()));
    }

    /// An alert is over and goes into the history.
    pub(super) fn ended(&mut self, ended: Ended) {
        self.is_due = true;
        self.ended.push(ended);
    }

    /// Somebody waits for what was changed to be safe.
    pub(super) fn answer(&mut self, give: Box<dyn FnOnce() + Send>) {
        self.is_due = true;
        self.answers.push(give);
    }

    /// Whether somebody waits for the next checkpoint.
    fn is_urgent(&self) -> bool {
        !self.notes.is_empty() || !self.answers.is_empty()
    }

    /// How long until something can be written; `None` while there is no hurry.
    pub(super) fn patience(&self) -> Option<Duration> {
        if !self.is_urgent() {
            return None;
        }
        let pause = self.pause().saturating_sub(self.started.elapsed());
        if self.notes.is_empty() {
            return Some(pause.max(BUSY));
        }
        let alone = URGENT_MAX.saturating_sub(self.wrote_notes.elapsed());
        Some(pause.min(alone).max(BUSY))
    }

    fn pause(&self) -> Duration {
        let cost = self.gathering + self.keeper.cost();
        if self.is_urgent() {
            cost * URGENT_COST
        } else {
            (cost * PAUSE_COST).clamp(PAUSE, PAUSE_MAX)
        }
    }

    /// Hands over what changed, when it is time and the store is idle.
    pub(super) fn look(&mut self, judge: &mut Judge, routing: &mut Routing) {
        if !self.is_due || !self.keeper.is_idle() {
            return;
        }
        if self.started.elapsed() >= self.pause() {
            self.hand_over(judge, routing);
        } else if self.are_notes_alone_due() {
            self.wrote_notes = Instant::now();
            let notes = std::mem::take(&mut self.notes);
            self.keeper.commit(Checkpoint {
                notes,
                ..Checkpoint::default()
            });
        }
    }

    fn are_notes_alone_due(&self) -> bool {
        let is_far = self.pause() > URGENT_MAX;
        is_far && !self.notes.is_empty() && self.wrote_notes.elapsed() >= URGENT_MAX
    }

    /// Stands still while the store cannot write, before anything more is judged.
    pub(super) fn hold(&mut self, judge: &mut Judge, routing: &mut Routing) {
        while self.must_wait() && !self.stop.is_cancelled() {
            if self.keeper.is_failing() {
                if !self.notes.is_empty() {
                    self.keeper.hurry(std::mem::take(&mut self.notes));
                }
                self.keeper.wait_while_failing(LOOK);
            } else if self.keeper.wait(LOOK) {
                self.hand_over(judge, routing);
            }
        }
    }

    fn must_wait(&self) -> bool {
        self.keeper.is_failing() || self.notes.len() > NOTES_MAX || self.ended.len() > NOTES_MAX
    }

    fn hand_over(&mut self, judge: &mut Judge, routing: &mut Routing) {
        self.started = Instant::now();
        let mut checkpoint = Checkpoint::default();
        judge.changes(&mut checkpoint.rows);
        routing.changes(&mut checkpoint.rows);
        let bookmarks = std::mem::take(&mut self.bookmarks).into_iter();
        checkpoint.bookmarks = bookmarks
            .map(|((source, part), value)| Bookmark {
                source,
                part,
                value,
            })
            .collect();
        checkpoint.notes = std::mem::take(&mut self.notes);
        checkpoint.ended = std::mem::take(&mut self.ended);
        checkpoint.then = Then(std::mem::take(&mut self.answers));
        self.is_due = false;
        self.gathering = self.started.elapsed();
        self.keeper.commit(checkpoint);
    }

    /// Writes what is left. What cannot be written in time is read and judged again after the
    /// next start.
    pub(super) fn finish(mut self, judge: &mut Judge, routing: &mut Routing) {
        if self.keeper.is_failing() && !self.notes.is_empty() {
            self.keeper.hurry(std::mem::take(&mut self.notes));
        }
        let is_idle = self.keeper.wait(LAST_WITHIN);
        if is_idle && self.is_due {
            self.hand_over(judge, routing);
        }
        if !is_idle || !self.keeper.wait(LAST_WITHIN) {
            tracing::error!(
                "the last state could not be written; what came after the one before is read again at the next start"
            );
        }
    }
}
