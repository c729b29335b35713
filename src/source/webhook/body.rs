//! One request's body: decompressed, measured and cut into blocks while it arrives.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;

use super::answer::Answer;
use crate::decode::{Block, Framer, Limits};

/// How much compressed input is taken at once; its output is at most a thousand times that.
const INFLATE_BYTES: usize = 16 << 10;

/// A body that is arriving.
pub(super) struct BodyReader {
    framer: Framer,
    inflate: Option<MultiGzDecoder<Vec<u8>>>,
    bytes: u64,
    bytes_max: u64,
}

impl BodyReader {
    pub(super) fn new(is_gzip: bool, bytes_max: u64) -> Self {
        Self {
            framer: Framer::of_documents(Limits::default()),
            inflate: is_gzip.then(|| MultiGzDecoder::new(Vec::new())),
            bytes: 0,
            bytes_max,
        }
    }

    /// How long the body was so far, after decompression.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes some bytes of the body.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Answer> {
        let Some(mut inflate) = self.inflate.take() else {
            return self.take(bytes);
        };
        for piece in bytes.chunks(INFLATE_BYTES) {
            inflate
                .write_all(piece)
                .map_err(|error| self.damaged(&error))?;
            let plain = std::mem::take(inflate.get_mut());
            self.take(&plain)?;
        }
        self.inflate = Some(inflate);
        Ok(())
    }

    /// The body has ended.
    pub(super) fn finish(&mut self) -> Result<(), Answer> {
        if let Some(mut inflate) = self.inflate.take() {
            inflate.try_finish().map_err(|error| self.damaged(&error))?;
            let plain = std::mem::take(inflate.get_mut());
            self.take(&plain)?;
        }
        self.framer.finish();
        Ok(())
    }

    /// The next records to hand on.
    pub(super) fn next_block(&mut self) -> Option<Block> {
        self.framer.next_block()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Answer> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(Answer::TooLarge(self.bytes_max));
        }
        self.framer.feed(bytes);
        Ok(())
    }

    /// What came out before the damage is handed on, the damage is one reject.
    fn damaged(&mut self, error: &std::io::Error) -> Answer {
        self.framer.finish_corrupt(error);
        Answer::Damaged
    }
}
