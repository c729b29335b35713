//! What is committed together.

use std::{fmt, sync::Arc};

use super::{Bookmark, Ended};
use crate::{units::Time, window::Rows};

/// One consistent moment: where the sources read on, the state that follows from all before, and
/// who is to be told because of it.
#[derive(Debug, Default)]
pub struct Checkpoint {
    /// The latest of each source and part since the last checkpoint.
    pub bookmarks: Vec<Bookmark>,
    /// The state that changed since the last checkpoint.
    pub rows: Rows,
    /// Notifications that came since the last checkpoint, in their order.
    pub notes: Vec<Note>,
    /// Alerts that ended since the last checkpoint.
    pub ended: Vec<Ended>,
    /// What is to happen once all of this is safe.
    pub then: Then,
}

/// Called, on the store's thread, once a checkpoint is safe; they must not wait.
#[derive(Default)]
pub struct Then(pub Vec<Box<dyn FnOnce() + Send>>);

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Then({})", self.0.len())
    }
}

/// One message to one receiver, as the outbox holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its number in the outbox, which says the order too; 0 until it is handed to the store.
    pub number: u64,
    /// Names the message, the same in every attempt and every run. The outbox takes the same
    /// message to the same receiver once.
    pub id: Box<str>,
    /// Who is told, by the name in the configuration.
    pub receiver: Arc<str>,
    /// What it is about: messages about the same thing stay in order.
    pub about: Box<str>,
    /// How urgent, 0 the least: what goes first when there are too many.
    pub level: u8,
    /// Whether a newer message about the same thing makes it needless.
    pub is_update: bool,
    /// When it was made, by the clock.
    pub made_at: Time,
    /// The message, as its owner writes it.
    pub payload: Arc<[u8]>,
}
