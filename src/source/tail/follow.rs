//! Follows one path: asks the plan what to do, does it, and gives out blocks.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    file::{HeldFile, Position, identity},
    plan::{Identity, Look, Plan, Step},
    settings::From,
};
use crate::decode::{Block, Framer, Limits};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// What happened to a followed path; each has a counter, most have a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    /// A file that is no longer at the path was read to its end and closed.
    Rotated(Position),
    Truncated,
}

impl Change {
    pub(super) const NAMES: [&str; 4] = ["opened", "rotated", "truncated", "failed"];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Rotated(_) => "rotated",
            Self::Truncated => "truncated",
        }
    }
}

/// What one step gave.
#[derive(Debug)]
pub(super) enum Progress {
    /// Some bytes were read; the blocks are in the output.
    Read(u64),
    /// Something happened to the file; blocks may be in the output.
    Changed(Change),
    /// Nothing to do.
    Idle,
}

/// One path and the files that are held for it.
pub(super) struct Follow {
    path: PathBuf,
    plan: Plan,
    held: VecDeque<Reading>,
    /// Where to begin in the next file that is opened.
    from: From,
    buffer: Vec<u8>,
}

struct Reading {
    file: HeldFile,
    framer: Framer,
}

impl Reading {
    fn position(&self) -> Position {
        Position {
            file: self.file.identity(),
            fingerprint: self.file.fingerprint(),
            offset: self.framer.consumed(),
        }
    }

    /// Gives out the whole records that were read.
    fn give(&mut self, out: &mut Vec<(Block, Option<Position>)>) {
        let before = out.len();
        while let Some(block) = self.framer.next_block() {
            out.push((block, None));
        }
        if let Some((_, position)) = out[before..].last_mut() {
            *position = Some(self.position());
        }
    }
}

impl Follow {
    pub(super) fn new(path: PathBuf, from: From, grace: Duration) -> Self {
        let plan = Plan::new(grace);
        Self {
            path,
            plan,
            held: VecDeque::new(),
            from,
            buffer: Vec::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether no file is open, because none has appeared yet or none can be opened.
    pub(super) fn is_waiting(&self) -> bool {
        self.held.is_empty()
    }

    /// Files that appear from now on are read from their beginning.
    pub(super) fn started(&mut self) {
        self.from = From::Start;
    }

    /// Whether one of the held files is this one.
    pub(super) fn holds(&self, identity: Identity) -> bool {
        self.held
            .iter()
            .any(|reading| reading.file.identity() == identity)
    }

    /// Opens the file at the path if it is a new one, and says how many bytes wait to be read.
    /// Never reads, so it can be called while the pipeline is full.
    pub(super) fn look(&mut self, now: Duration) -> io::Result<(u64, Option<Change>)> {
        let mut look = self.see(now)?;
        let mut change = None;
        if self.plan.next(&look) == Step::Open {
            change = self.open()?;
            look = self.see(now)?;
        }
        let unread = self.plan.held().zip(&look.held);
        Ok((
            unread
                .map(|(held, seen)| seen.len.saturating_sub(held.offset))
                .sum(),
            change,
        ))
    }

    /// Does one thing. The last block that is given out comes with the position to go on from.
    pub(super) fn step(
        &mut self,
        now: Duration,
        out: &mut Vec<(Block, Option<Position>)>,
    ) -> io::Result<Progress> {
        let look = self.see(now)?;
        match self.plan.next(&look) {
            Step::Open => Ok(self.open()?.map_or(Progress::Idle, Progress::Changed)),
            Step::Read(index) => self.read(index, out),
            Step::Restart(index) => self.restart(index, out),
            Step::Close(index) => {
                self.finish(index, out);
                self.plan.closed(index);
                let closed = self.held.remove(index);
                Ok(closed.map_or(Progress::Idle, |reading| {
                    Progress::Changed(Change::Rotated(reading.position()))
                }))
            }
            Step::Wait => Ok(Progress::Idle),
        }
    }

    fn see(&mut self, now: Duration) -> io::Result<Look> {
        let at_path = match std::fs::metadata(&self.path) {
            Ok(metadata) => Some(identity(&metadata)),
            Err(error) if is_absence(&error) => None,
            // What is held can still be read.
            Err(error) => match self.held.back() {
                Some(newest) => Some(newest.file.identity()),
                None => return Err(error),
            },
        };
        let held = self
            .held
            .iter_mut()
            .map(|reading| reading.file.look())
            .collect::<io::Result<_>>()?;
        Ok(Look { at_path, held, now })
    }

    fn open(&mut self) -> io::Result<Option<Change>> {
        let file = match HeldFile::open(&self.path) {
            Ok(file) => file,
            // It was rotated away between the look and now.
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if self.holds(file.identity()) {
            return Ok(None);
        }
        let offset = match self.from {
            From::Start => 0,
            From::End => file.end_of_whole_lines()?,
        };
        self.started();
        self.plan.opened(file.identity(), offset);
        let framer = Framer::starting_at(Limits::default(), offset);
        self.held.push_back(Reading { file, framer });
        Ok(Some(Change::Opened))
    }

    fn read(
        &mut self,
        index: usize,
        out: &mut Vec<(Block, Option<Position>)>,
    ) -> io::Result<Progress> {
        let (Some(offset), Some(reading)) = (
            self.plan.held().nth(index).map(|held| held.offset),
            self.held.get_mut(index),
        ) else {
            return Ok(Progress::Idle);
        };
        self.buffer.resize(READ_BYTES, 0);
        let bytes = reading.file.read(offset, &mut self.buffer)?;
        reading.framer.feed(&self.buffer[..bytes]);
        reading.framer.flush();
        reading.give(out);
        self.plan.read(index, bytes as u64);
        Ok(if bytes == 0 {
            Progress::Idle
        } else {
            Progress::Read(bytes as u64)
        })
    }

    fn restart(
        &mut self,
        index: usize,
        out: &mut Vec<(Block, Option<Position>)>,
    ) -> io::Result<Progress> {
        self.finish(index, out);
        if let Some(reading) = self.held.get_mut(index) {
            reading.file.take_fingerprint()?;
            reading.framer = Framer::new(Limits::default());
        }
        self.plan.restarted(index);
        Ok(Progress::Changed(Change::Truncated))
    }

    /// The last line of a file that ends is a line, with or without a newline.
    fn finish(&mut self, index: usize, out: &mut Vec<(Block, Option<Position>)>) {
        if let Some(reading) = self.held.get_mut(index) {
            reading.framer.finish();
            reading.give(out);
        }
    }
}

/// No file, or no directory on the way to it: something that may appear later.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
