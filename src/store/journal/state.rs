//! What the three ends of a journal share, and the end that takes bodies.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
    mpsc::SyncSender,
};

use tokio::sync::oneshot;

use super::{
    entry::Entry,
    segments::{Position, Segments},
};

/// Why the journal did not take an entry. What was refused is not safe, and must be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much waits to be evaluated and committed, or to be written.
    #[error("the journal is full")]
    Full,
    /// The disk does not take it.
    #[error("the journal cannot be written")]
    Broken,
}

/// An entry on its way to the writer, and who waits for it.
pub(super) struct Waiting {
    pub(super) entry: Entry,
    pub(super) answer: oneshot::Sender<Result<(), Refused>>,
}

/// The end that takes entries; cloned for each task that has some.
#[derive(Clone)]
pub struct Journal {
    pub(super) inbox: SyncSender<Waiting>,
    pub(super) shared: Arc<Shared>,
}

impl Journal {
    /// Whether an entry has a chance now: whoever asks first spares reading a body in vain.
    ///
    /// # Errors
    /// Why it has none.
    pub fn is_taking(&self) -> Result<(), Refused> {
        if self.shared.is_broken.load(Ordering::Relaxed) {
            Err(Refused::Broken)
        } else if self.shared.is_full.load(Ordering::Relaxed) {
            Err(Refused::Full)
        } else {
            Ok(())
        }
    }

    /// Returns once the entry is safe on the disk. The pipeline is given it by the journal's
    /// reader, in the order of the journal.
    ///
    /// # Errors
    /// Why it is not safe.
    pub async fn append(&self, entry: Entry) -> Result<(), Refused> {
        let (answer, answered) = oneshot::channel();
        self.inbox
            .try_send(Waiting { entry, answer })
            .map_err(|_| Refused::Full)?;
        // A writer that ended without an answer has written nothing of it.
        answered.await.unwrap_or(Err(Refused::Broken))
    }
}

/// What the ends share.
#[derive(Default)]
pub(super) struct Shared {
    segments: Mutex<Segments>,
    pub(super) is_full: AtomicBool,
    pub(super) is_broken: AtomicBool,
}

impl Shared {
    /// The segments, and how much of each is durable.
    pub(super) fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many durable bytes there are from a position on.
    pub(super) fn bytes_from(&self, at: Position) -> u64 {
        let segments = self.segments();
        let bytes = segments.range(at.segment..).map(|(number, segment)| {
            let skipped = if *number == at.segment { at.offset } else { 0 };
            segment.bytes.saturating_sub(skipped)
        });
        bytes.sum()
    }
}
