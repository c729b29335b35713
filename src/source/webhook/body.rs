//! One request's body: decompressed, measured and made into blocks or lines while it arrives,
//! within the memory that all bodies share.

use std::{io::Write as _, sync::Arc};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{answer::Answer, lines::Lines, settings::WebhookSettings};
use crate::decode::{Block, Framer, Limits};

/// How much of a plain body is taken at once, and how much of a compressed one, whose output is
/// at most a thousand times that.
const PLAIN_PIECE: usize = 256 << 10;
const GZIP_PIECE: usize = 4 << 10;

/// Memory is given out in these many bytes.
const MEMORY_UNIT: u64 = 1024;

/// A body that is arriving.
pub(super) struct BodyReader {
    inflate: Option<MultiGzDecoder<Vec<u8>>>,
    shape: Shape,
    bytes: u64,
    bytes_max: u64,
}

/// What a body is made into.
enum Shape {
    /// Blocks for the pipeline.
    Blocks(Framer),
    /// Lines for the journal.
    Lines(Lines),
}

/// A part of a body that is to be handed on.
pub(super) enum Ready {
    /// Records, for the pipeline.
    Block(Block),
    /// Whole lines, in pieces, for the journal.
    Lines(Vec<Bytes>),
}

impl BodyReader {
    /// For a body that goes into the pipeline while it arrives.
    pub(super) fn of_blocks(is_gzip: bool, bytes_max: u64) -> Self {
        let framer = Framer::of_documents(Limits::default());
        Self::new(Shape::Blocks(framer), is_gzip, bytes_max)
    }

    /// For a body that goes into the journal.
    pub(super) fn of_lines(is_gzip: bool, bytes_max: u64) -> Self {
        Self::new(Shape::Lines(Lines::default()), is_gzip, bytes_max)
    }

    fn new(shape: Shape, is_gzip: bool, bytes_max: u64) -> Self {
        Self {
            inflate: is_gzip.then(|| MultiGzDecoder::new(Vec::new())),
            shape,
            bytes: 0,
            bytes_max,
        }
    }

    /// How long the body was so far, after decompression.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How much of the body may be given to [`feed`](Self::feed) at once.
    pub(super) fn piece(&self) -> usize {
        if self.inflate.is_some() {
            GZIP_PIECE
        } else {
            PLAIN_PIECE
        }
    }

    /// How many bytes are held.
    pub(super) fn held(&self) -> u64 {
        match &self.shape {
            Shape::Blocks(framer) => framer.held() as u64,
            Shape::Lines(lines) => lines.held(),
        }
    }

    /// Takes some bytes of the body.
    pub(super) fn feed(&mut self, piece: Bytes) -> Result<(), Answer> {
        let Some(mut inflate) = self.inflate.take() else {
            return self.take(piece);
        };
        inflate
            .write_all(&piece)
            .map_err(|error| self.damaged(&error))?;
        let plain = std::mem::take(inflate.get_mut());
        self.inflate = Some(inflate);
        self.take(plain.into())
    }

    /// The body has ended.
    pub(super) fn finish(&mut self) -> Result<(), Answer> {
        if let Some(mut inflate) = self.inflate.take() {
            inflate.try_finish().map_err(|error| self.damaged(&error))?;
            let plain = std::mem::take(inflate.get_mut());
            self.take(plain.into())?;
        }
        match &mut self.shape {
            Shape::Blocks(framer) => framer.finish(),
            Shape::Lines(lines) => lines.finish(),
        }
        Ok(())
    }

    /// The next part to hand on.
    pub(super) fn next(&mut self) -> Option<Ready> {
        match &mut self.shape {
            Shape::Blocks(framer) => framer.next_block().map(Ready::Block),
            Shape::Lines(lines) => lines.next().map(Ready::Lines),
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Answer> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(Answer::TooLarge(self.bytes_max));
        }
        match &mut self.shape {
            Shape::Blocks(framer) => framer.feed(&bytes),
            Shape::Lines(lines) => lines.feed(bytes),
        }
        Ok(())
    }

    /// What came out before the damage is handed on, the damage is one reject.
    fn damaged(&mut self, error: &std::io::Error) -> Answer {
        match &mut self.shape {
            Shape::Blocks(framer) => framer.finish_corrupt(error),
            Shape::Lines(lines) => lines.finish_corrupt(error),
        }
        Answer::Damaged
    }
}

/// The memory of all bodies that are arriving at one webhook.
pub(super) struct BodyMemory(Arc<Semaphore>);

/// What one body has of it.
pub(super) struct BodyShare {
    memory: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
}

const fn units(bytes: u64) -> u32 {
    let units = bytes.div_ceil(MEMORY_UNIT);
    if units > u32::MAX as u64 {
        u32::MAX
    } else {
        units as u32
    }
}

impl BodyMemory {
    pub(super) fn new(bytes: u64) -> Self {
        let units = units(bytes.max(WebhookSettings::BODY_MEMORY.0));
        Self(Arc::new(Semaphore::new(units as usize)))
    }

    /// The share to begin with; waits until there is one.
    pub(super) async fn share(&self) -> Result<BodyShare, Answer> {
        let memory = Arc::clone(&self.0);
        let least = units(WebhookSettings::BODY_MEMORY.0);
        let permit = Arc::clone(&memory).acquire_many_owned(least).await;
        let permit = permit.map_err(|_| Answer::Full)?;
        Ok(BodyShare { memory, permit })
    }
}

impl BodyShare {
    /// Makes the share as large as what is held. Does not wait for more: bodies that wait for one
    /// another while they hold some would wait for ever.
    pub(super) fn cover(&mut self, held: u64) -> Result<(), Answer> {
        let wanted = units(held.max(WebhookSettings::BODY_MEMORY.0)) as usize;
        let has = self.permit.num_permits();
        if wanted > has {
            let more = (wanted - has) as u32;
            let more = Arc::clone(&self.memory).try_acquire_many_owned(more);
            self.permit.merge(more.map_err(|_| Answer::Full)?);
        } else {
            drop(self.permit.split(has - wanted));
        }
        Ok(())
    }
}
