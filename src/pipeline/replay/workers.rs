//! Decoding and matching of blocks, on the calling thread or on others, with the same result.

use std::{
    collections::VecDeque,
    panic,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use bytes::Bytes;

use super::{Options, counts::SAMPLES_MAX};
use crate::{
    decode::{self, Block, Decoded, Reason, Reject},
    detect::{Observation, Observer},
    event::{Context, Event},
    rule::RuleSet,
    units::Time,
};

/// What a block turned out to hold.
pub(super) struct Batch {
    /// Its events, in their order.
    pub(super) observations: Vec<Observation>,
    /// Rejects by reason, in the order of [`Reason::ALL`].
    pub(super) rejected: [u64; Reason::ALL.len()],
    /// The first rejects of each reason.
    pub(super) rejects: Vec<Reject>,
    /// Events outside of the time range that was asked for.
    pub(super) outside_range: u64,
    /// The block's bytes, whose memory can serve again.
    pub(super) bytes: Bytes,
}

/// Turns blocks into batches. Batches depend on nothing but their block.
pub(super) struct Decoder {
    observer: Observer,
    context: Arc<Context>,
    from: Option<Time>,
    to: Option<Time>,
}

impl Decoder {
    pub(super) fn new(rules: Arc<RuleSet>, options: &Options) -> Self {
        Self {
            observer: Observer::new(rules),
            context: Arc::clone(&options.context),
            from: options.from,
            to: options.to,
        }
    }

    fn batch(&mut self, block: Block) -> Batch {
        let mut batch = Batch {
            observations: Vec::with_capacity(block.bytes.len() / 1024),
            rejected: [0; _],
            rejects: Vec::new(),
            outside_range: 0,
            bytes: Bytes::new(),
        };
        let context = Arc::clone(&self.context);
        decode::each_event(&block, &mut |decoded| match decoded {
            Decoded::Event(slots, raw) => {
                let event = Event::new(slots, raw, &context);
                if self.is_wanted(&event) {
                    batch.observations.push(self.observer.observe(&event));
                } else {
                    batch.outside_range += 1;
                }
            }
            Decoded::Reject(reject) => {
                let count = &mut batch.rejected[reject.reason as usize];
                *count += 1;
                if *count <= SAMPLES_MAX as u64 {
                    batch.rejects.push(reject);
                }
            }
        });
        batch.bytes = block.bytes;
        batch
    }

    /// Whether the event lies in the time range. One without a time does: it cannot be said.
    fn is_wanted(&self, event: &Event<'_>) -> bool {
        if self.from.is_none() && self.to.is_none() {
            return true;
        }
        event.received().is_none_or(|time| {
            self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
        })
    }
}

/// How many blocks a worker has before it, so that it need not wait for the next one.
const BLOCKS_EACH: usize = 3;
/// No more blocks are read ahead when those under way have this many bytes: blocks are much
/// larger than usual where single records are.
const AHEAD_BYTES_MAX: usize = 16 << 20;

/// Workers that take blocks in turn. Batches come back in the order in which blocks went in.
pub(super) struct Workers {
    /// The archive that each block under way belongs to, and its bytes; oldest first.
    owners: VecDeque<(usize, usize)>,
    /// Bytes of the blocks under way.
    bytes: usize,
    crew: Crew,
}

enum Crew {
    /// The calling thread itself, and the batches that were not received yet.
    Alone(Box<Decoder>, VecDeque<Batch>),
    Threads {
        threads: Vec<Worker>,
        /// How many blocks went in and came back since the beginning; modulo the number of
        /// threads that is whose turn it is.
        submitted: usize,
        received: usize,
    },
}

struct Worker {
    /// `None` when no more blocks will come.
    blocks: Option<Sender<Block>>,
    batches: Receiver<Batch>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads; with 1 the calling thread does the work.
    pub(super) fn new(count: usize, decoder: impl Fn() -> Decoder) -> Self {
        let crew = if count <= 1 {
            Crew::Alone(Box::new(decoder()), VecDeque::new())
        } else {
            let threads = (0..count).map(|_| Worker::start(decoder())).collect();
            Crew::Threads {
                threads,
                submitted: 0,
                received: 0,
            }
        };
        Self {
            owners: VecDeque::new(),
            bytes: 0,
            crew,
        }
    }

    /// How many blocks keep everybody busy.
    pub(super) fn capacity(&self) -> usize {
        match &self.crew {
            Crew::Alone(..) => 1,
            Crew::Threads { threads, .. } => threads.len() * BLOCKS_EACH,
        }
    }

    /// Whether more may be read ahead.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < AHEAD_BYTES_MAX
    }

    /// Gives the next worker a block of the archive `owner`.
    pub(super) fn submit(&mut self, owner: usize, block: Block) {
        self.owners.push_back((owner, block.bytes.len()));
        self.bytes += block.bytes.len();
        match &mut self.crew {
            Crew::Alone(decoder, batches) => batches.push_back(decoder.batch(block)),
            Crew::Threads {
                threads, submitted, ..
            } => {
                let turn = *submitted % threads.len();
                *submitted += 1;
                threads[turn].submit(block);
            }
        }
    }

    /// Waits for the oldest block under way; `None` when there is none.
    pub(super) fn receive(&mut self) -> Option<(usize, Batch)> {
        let (owner, bytes) = self.owners.pop_front()?;
        self.bytes -= bytes;
        let batch = match &mut self.crew {
            Crew::Alone(_, batches) => batches.pop_front()?,
            Crew::Threads {
                threads, received, ..
            } => {
                let turn = *received % threads.len();
                *received += 1;
                threads[turn].receive()?
            }
        };
        Some((owner, batch))
    }
}

impl Worker {
    fn start(mut decoder: Decoder) -> Self {
        let (blocks, inbox) = channel::<Block>();
        let (outbox, batches) = channel();
        let thread = std::thread::spawn(move || {
            for block in inbox {
                // Nobody listens any more when the replay was cancelled.
                if outbox.send(decoder.batch(block)).is_err() {
                    break;
                }
            }
        });
        Self {
            blocks: Some(blocks),
            batches,
            thread: Some(thread),
        }
    }

    fn submit(&mut self, block: Block) {
        let is_sent = self
            .blocks
            .as_ref()
            .is_some_and(|blocks| blocks.send(block).is_ok());
        if !is_sent {
            self.fail();
        }
    }

    fn receive(&mut self) -> Option<Batch> {
        let batch = self.batches.recv().ok();
        if batch.is_none() {
            self.fail();
        }
        batch
    }

    /// A worker ends before its channels only by a panic, which goes on here.
    fn fail(&mut self) {
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            panic::resume_unwind(panic);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.blocks = None;
        if let Some(thread) = self.thread.take() {
            // A panic that nobody received is one of a replay that failed already.
            let _ = thread.join();
        }
    }
}
