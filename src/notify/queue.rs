//! What waits for one receiver, and what goes first when there is too much of it.

use std::collections::VecDeque;

use hashbrown::HashMap;
use tokio::time::Instant;

use crate::alert::dispatch::Notification;

/// A bounded queue. The message being sent stays in it until it is done.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Entry>,
    sending: Option<Entry>,
    /// The newest waiting message about each thing, by its number. Looking for what can be folded
    /// happens on the thread that detects, so it must not cost more than a glance at each entry.
    newest: HashMap<Box<str>, u64>,
    next: u64,
    max: usize,
    /// Messages that were dropped since the receiver last took one.
    missed: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    told: Notification,
    since: Instant,
    number: u64,
    /// Its number in the outbox, when it is in one.
    note: Option<u64>,
}

/// A message that is to be sent now.
#[derive(Clone, Debug)]
pub(super) struct Next {
    /// Says how many messages the receiver missed before it.
    pub(super) told: Notification,
    /// How many of those were dropped by the queue.
    dropped: u64,
    /// Since when it has been waiting.
    pub(super) since: Instant,
    /// Its number in the outbox, when it is in one.
    pub(super) note: Option<u64>,
}

/// What had to happen to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// There was room.
    Enough,
    /// An older update gave way to a newer message about the same; nothing is lost.
    Folded,
    /// The oldest of the least severe was dropped.
    Dropped,
}

impl Queue {
    pub(super) fn new(max: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            sending: None,
            newest: HashMap::new(),
            next: 0,
            max: max.max(1),
            missed: 0,
        }
    }

    pub(super) fn push(&mut self, told: Notification, since: Instant) -> Room {
        self.append(told, since, None);
        if self.waiting.len() <= self.max {
            return Room::Enough;
        }
        if let Some(place) = self.superseded() {
            self.remove(place);
            return Room::Folded;
        }
        let severities = self.waiting.iter().map(|entry| entry.told.severity());
        if let Some((place, _)) = severities.enumerate().min_by_key(|(_, severity)| *severity) {
            self.remove(place);
        }
        self.missed += 1;
        Room::Dropped
    }

    fn append(&mut self, told: Notification, since: Instant, note: Option<u64>) {
        let number = self.next;
        self.next += 1;
        self.newest.insert(told.about().into(), number);
        self.waiting.push_back(Entry {
            told,
            since,
            number,
            note,
        });
    }

    /// Takes a message of the outbox in, or leaves it there when the queue is full; whether it did.
    pub(super) fn take_in(&mut self, note: u64, told: Notification, since: Instant) -> bool {
        let has_room = self.waiting.len() < self.max;
        if has_room {
            self.append(told, since, Some(note));
        }
        has_room
    }

    /// How many more messages may wait.
    pub(super) fn room(&self) -> usize {
        self.max - self.waiting.len().min(self.max)
    }

    /// Takes a message of the outbox out, unless it is being sent; whether it was there.
    pub(super) fn forget(&mut self, note: u64) -> bool {
        let place = self
            .waiting
            .iter()
            .position(|entry| entry.note == Some(note));
        place.and_then(|place| self.remove(place)).is_some()
    }

    /// Notes that the receiver was not told of something that was not in the queue.
    pub(super) fn missed(&mut self) {
        self.missed += 1;
    }

    /// The oldest update about whose matter there is a newer message.
    fn superseded(&self) -> Option<usize> {
        self.waiting.iter().position(|entry| {
            entry.told.is_update() && self.newest.get(entry.told.about()) > Some(&entry.number)
        })
    }

    fn remove(&mut self, place: usize) -> Option<Entry> {
        let entry = self.waiting.remove(place)?;
        let about = entry.told.about();
        if self.newest.get(about) == Some(&entry.number) {
            self.newest.remove(about);
        }
        Some(entry)
    }

    /// The next message; [`delivered`](Self::delivered) or [`given_up`](Self::given_up) must
    /// follow.
    pub(super) fn take(&mut self) -> Option<Next> {
        let entry = self.remove(0)?;
        let dropped = self.missed;
        let mut told = entry.told.clone();
        told.missed += dropped;
        let (since, note) = (entry.since, entry.note);
        self.sending = Some(entry);
        Some(Next {
            told,
            dropped,
            since,
            note,
        })
    }

    /// The message was taken by the receiver, which now knows what it missed.
    pub(super) fn delivered(&mut self, next: &Next) {
        self.sending = None;
        self.missed = self.missed.saturating_sub(next.dropped);
    }

    /// The message was given up.
    pub(super) fn given_up(&mut self) {
        self.sending = None;
        self.missed += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.sending.is_some())
    }

    /// Since when the oldest has been waiting.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.sending
            .iter()
            .chain(&self.waiting)
            .map(|entry| entry.since)
            .min()
    }

    /// Forgets everything and says how many that were.
    pub(super) fn clear(&mut self) -> usize {
        let left = self.len();
        self.waiting.clear();
        self.newest.clear();
        self.sending = None;
        left
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        alert::{Alert, Change, samples},
        rule::Severity,
    };

    fn alert(id: &str, severity: Severity) -> Arc<Alert> {
        let alert = Alert::clone(&samples::burst(1));
        Arc::new(Alert {
            id: id.into(),
            rule: samples::rule(severity),
            ..alert
        })
    }

    fn told(change: &Change) -> Notification {
        Notification::single(&"r".into(), change, 0)
    }

    fn ids(queue: &Queue) -> String {
        queue
            .waiting
            .iter()
            .map(|entry| &*entry.told.alerts[0].id)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn folds_updates_before_it_drops() {
        let mut queue = Queue::new(3);
        let now = Instant::now();
        let push = |queue: &mut Queue, change| queue.push(told(&change), now);
        let (a, b) = (alert("a", Severity::Low), alert("b", Severity::High));
        assert_eq!(
            push(&mut queue, Change::Updated(Arc::clone(&a))),
            Room::Enough
        );
        assert_eq!(push(&mut queue, Change::Fired(b)), Room::Enough);
        assert_eq!(
            push(&mut queue, Change::Updated(Arc::clone(&a))),
            Room::Enough
        );
        assert_eq!(
            push(&mut queue, Change::Resolved(Arc::clone(&a))),
            Room::Folded
        );
        assert_eq!(ids(&queue), "b a a");
        assert_eq!(
            push(&mut queue, Change::Fired(alert("c", Severity::Medium))),
            Room::Folded
        );
        assert_eq!(ids(&queue), "b a c");
        assert_eq!(
            push(&mut queue, Change::Fired(alert("d", Severity::Medium))),
            Room::Dropped
        );
        assert_eq!(ids(&queue), "b c d");
        assert_eq!(
            push(&mut queue, Change::Fired(alert("e", Severity::Medium))),
            Room::Dropped
        );
        assert_eq!(ids(&queue), "b d e", "the oldest of the least severe");
        assert_eq!(
            push(&mut queue, Change::Fired(alert("f", Severity::Low))),
            Room::Dropped
        );
        assert_eq!(ids(&queue), "b d e", "the new one can be the least");
        assert_eq!(queue.newest.len(), 3, "nothing is left behind in the index");
    }

    #[test]
    fn tells_what_was_missed_until_it_is_known() {
        let mut queue = Queue::new(1);
        let now = Instant::now();
        for id in ["a", "b", "c"] {
            queue.push(told(&Change::Fired(alert(id, Severity::High))), now);
        }
        let next = queue.take().unwrap();
        assert_eq!(
            (next.told.missed, queue.len(), queue.oldest()),
            (2, 1, Some(now))
        );
        queue.given_up();
        for id in ["d", "e"] {
            queue.push(told(&Change::Fired(alert(id, Severity::High))), now);
        }
        let next = queue.take().unwrap();
        assert_eq!(next.told.missed, 4);
        queue.push(told(&Change::Fired(alert("f", Severity::High))), now);
        queue.push(told(&Change::Fired(alert("g", Severity::High))), now);
        queue.delivered(&next);
        assert_eq!(queue.take().unwrap().told.missed, 1, "dropped meanwhile");
    }
}
