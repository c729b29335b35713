//! One open archive: blocks to be decoded, and what the workers made of them.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, Read},
    rc::Rc,
};

use super::workers::Batch;
use crate::{
    decode::{self, Block, Framer, Limits, Plain},
    detect::Observation,
    source::archive::{Archive, Problem},
    units::Time,
};

/// An archive being read.
pub(super) struct Input {
    archive: Archive,
    /// `None` once it was read to its end, or could not be read on.
    reader: Option<Plain<Counting>>,
    bytes: Rc<Cell<u64>>,
    framer: Framer,
    /// How many blocks the workers have of it.
    submitted: usize,
    batches: VecDeque<Batch>,
    /// What is left of the batch being taken in.
    current: std::vec::IntoIter<Observation>,
    /// The stamp of the event taken last; an event without a stamp stands where that one did.
    last: Time,
    problem: Option<Problem>,
}

impl Input {
    /// Opens an archive.
    pub(super) fn open(archive: Archive, limits: Limits) -> Result<Self, Problem> {
        let bytes = Rc::new(Cell::new(0));
        let counting = Counting {
            reader: archive.open()?,
            bytes: Rc::clone(&bytes),
        };
        let reader =
            decode::open(counting).map_err(|error| Problem::unreadable(&archive.name(), &error))?;
        Ok(Self {
            archive,
            reader: Some(reader),
            bytes,
            framer: Framer::new(limits),
            submitted: 0,
            batches: VecDeque::new(),
            current: Vec::new().into_iter(),
            last: Time::MIN,
            problem: None,
        })
    }

    pub(super) fn name(&self) -> String {
        self.archive.name()
    }

    /// Bytes read so far, as they lie on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Why it could not be read to its end, once.
    pub(super) fn take_problem(&mut self) -> Option<Problem> {
        self.problem.take()
    }

    /// The next block; `None` at the end.
    pub(super) fn read_block(&mut self) -> Option<Block> {
        loop {
            if let Some(block) = self.framer.next_block() {
                self.submitted += 1;
                return Some(block);
            }
            let reader = self.reader.as_mut()?;
            match self.framer.read_from(reader) {
                Ok(0) => self.framer.finish(),
                Ok(_) => continue,
                Err(error) if decode::is_corruption(&error) => self.framer.finish_corrupt(&error),
                Err(error) => {
                    self.problem = Some(Problem::unreadable(&self.archive.name(), &error));
                    self.framer.finish();
                }
            }
            self.reader = None;
        }
    }

    /// How many blocks of it are with the workers, or ready.
    pub(super) fn ahead(&self) -> usize {
        self.submitted + self.batches.len()
    }

    /// Takes what a worker made of one of its blocks; they come in the order of the blocks.
    pub(super) fn receive(&mut self, mut batch: Batch) {
        self.submitted -= 1;
        self.framer.recycle(std::mem::take(&mut batch.bytes));
        self.batches.push_back(batch);
    }

    pub(super) fn has_batch(&self) -> bool {
        !self.batches.is_empty()
    }

    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        self.batches.pop_front()
    }

    /// Nothing more will come.
    pub(super) fn is_ended(&self) -> bool {
        self.reader.is_none() && self.ahead() == 0
    }

    /// Begins to take in a batch, after the one before was taken in to its end.
    pub(super) fn begin(&mut self, batch: Batch) {
        self.current = batch.observations.into_iter();
    }

    /// The stamp of the next event of the current batch; `None` when that was taken in.
    pub(super) fn head(&self) -> Option<Time> {
        let next = self.current.as_slice().first()?;
        Some(next.stamped.unwrap_or(self.last))
    }

    /// The next event of the current batch.
    pub(super) fn take(&mut self) -> Option<Observation> {
        let observation = self.current.next()?;
        self.last = observation.stamped.unwrap_or(self.last);
        Some(observation)
    }
}

/// Counts what is read of a file.
struct Counting {
    reader: Box<dyn Read + Send>,
    bytes: Rc<Cell<u64>>,
}

impl Read for Counting {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(into)?;
        self.bytes.set(self.bytes.get() + count as u64);
        Ok(count)
    }
}
