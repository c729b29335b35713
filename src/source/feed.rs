//! The way from the sources to the pipeline: batches, bounded by the bytes that they hold.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use xxhash_rust::xxh3::xxh3_64;

use crate::{decode::Block, detect::SourceId, store::Bookmark};

/// Room is given out in these many bytes.
const ROOM_UNIT: usize = 1024;

/// How many batches may wait, whatever their size.
const BATCHES_MAX: usize = 1024;

/// Whole records of one source, on their way to the workers.
pub struct Batch {
    /// Which source read them.
    pub source: SourceId,
    /// The cluster that the records are from; empty when nobody named it.
    pub cluster: Arc<str>,
    /// The records.
    pub block: Block,
    /// Where to read on after this batch, for sources that can.
    pub position: Option<Bookmark>,
    /// The room that it takes.
    pub room: Room,
}

/// Room in the intake; given back when it is dropped, which is when the engine has done with what
/// took it.
pub struct Room(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The pipeline's end: makes a [`Feed`] for each source.
pub struct Intake {
    sender: mpsc::Sender<Batch>,
    room: Arc<Semaphore>,
    units: u32,
}

/// The end of one stream of records whose order means something.
#[derive(Clone)]
pub struct Feed {
    name: Arc<str>,
    source: SourceId,
    sender: mpsc::Sender<Batch>,
    room: Arc<Semaphore>,
    units: u32,
}

/// The pipeline takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl Intake {
    /// An intake that holds at most about `bytes_max` bytes, from when a source hands them over
    /// until the engine is done with them, and the end at which they come out.
    pub fn new(bytes_max: usize) -> (Self, mpsc::Receiver<Batch>) {
        let units = u32::try_from(bytes_max / ROOM_UNIT)
            .unwrap_or(u32::MAX)
            .max(1);
        let (sender, receiver) = mpsc::channel(BATCHES_MAX);
        let room = Arc::new(Semaphore::new(units as usize));
        let intake = Self {
            sender,
            room,
            units,
        };
        (intake, receiver)
    }

    /// An end for the source of this name, which is unique and the same in every run:
    /// `file:/var/log/kubernetes/audit.log`.
    pub fn feed(&self, name: &str) -> Feed {
        Feed {
            source: SourceId(xxh3_64(name.as_bytes())),
            name: name.into(),
            sender: self.sender.clone(),
            room: Arc::clone(&self.room),
            units: self.units,
        }
    }

    /// A closure that tells how many bytes are on their way, for a gauge.
    pub fn bytes_in_flight(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let (room, units) = (Arc::clone(&self.room), self.units as usize);
        move || units.saturating_sub(room.available_permits()) * ROOM_UNIT
    }
}

impl Feed {
    /// An end for another stream of the same source: a second file has its own order. The name
    /// of the stream within the source is the same in every run.
    pub fn sibling(&self, stream: &str) -> Self {
        let name = format!("{}\n{stream}", self.name);
        Self {
            source: SourceId(xxh3_64(name.as_bytes())),
            ..self.clone()
        }
    }

    /// The name of the source, for its bookmarks.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Hands one block on; waits while there is no room. A block greater than the whole intake
    /// waits until it is alone. Giving up waiting (dropping the future) hands nothing on.
    ///
    /// # Errors
    /// When the pipeline has stopped.
    pub async fn send(
        &self,
        cluster: &Arc<str>,
        block: Block,
        position: Option<Bookmark>,
    ) -> Result<(), Closed> {
        let units = block.bytes.len().div_ceil(ROOM_UNIT).max(1);
        let units = u32::try_from(units).unwrap_or(u32::MAX).min(self.units);
        let room = Arc::clone(&self.room)
            .acquire_many_owned(units)
            .await
            .map_err(|_| Closed)?;
        let slot = self.sender.reserve().await.map_err(|_| Closed)?;
        slot.send(Batch {
            source: self.source,
            cluster: Arc::clone(cluster),
            block,
            position,
            room: Room(room),
        });
        Ok(())
    }
}
