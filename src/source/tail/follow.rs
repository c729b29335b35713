//! Follows one path: asks the plan what to do, does it, and gives out blocks and bookmarks.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    book::{Book, Note},
    disk::{Disk, DiskFile, Identity, is_absence},
    held::HeldFile,
    mark::{Mark, Print},
    plan::{Look, Plan, Seen, Step},
    settings::Beginning,
};
use crate::{
    decode::{self, Block, Framer, Limits},
    units::Time,
};

/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// What happened to a followed path; each has a counter, most have a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A file was met for the first time, and is read from here on.
    Opened {
        path: PathBuf,
        offset: u64,
        /// Whether it was rotated away before anybody looked.
        is_rotated: bool,
    },
    /// A file was found again, or a copy of it, and is read on from here.
    Resumed { path: PathBuf, offset: u64 },
    /// A file that is no longer at the path was read to its end and closed.
    Rotated,
    /// The file at the path lost its content, or got another one.
    Truncated,
    /// A file cannot be found again that may have held more than was read.
    Lost {
        /// Up to where it was read.
        offset: u64,
        /// How many bytes were seen in it and not read.
        unread: u64,
        /// When what is missing was written at the earliest.
        since: Time,
    },
}

impl Change {
    pub(super) const NAMES: [&str; 6] = [
        "opened",
        "resumed",
        "rotated",
        "truncated",
        "lost",
        "failed",
    ];

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Resumed { .. } => "resumed",
            Self::Rotated => "rotated",
            Self::Truncated => "truncated",
            Self::Lost { .. } => "lost",
        }
    }
}

/// A block, a bookmark, or a block together with the bookmark of where it ends.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) block: Option<Block>,
    pub(super) note: Option<Note>,
}

/// What came out of looking and reading, in order.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) given: Vec<Given>,
    pub(super) changes: Vec<Change>,
}

impl Out {
    /// Takes the bookmarks that no block carries.
    pub(super) fn notes(&mut self, book: &mut Book) {
        self.given.extend(book.take_notes().map(|note| Given {
            block: None,
            note: Some(note),
        }));
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Some bytes were read.
    Read(u64),
    /// Something happened to the files.
    Changed,
    /// Nothing to do.
    Idle,
}

/// One path and the files that are held for it.
pub(super) struct Follow<D: Disk> {
    pub(super) disk: D,
    pub(super) path: PathBuf,
    /// The path as it stands in bookmarks.
    pub(super) name: String,
    pub(super) plan: Plan,
    /// Oldest first, as in the plan.
    pub(super) held: Vec<Reading<D::File>>,
    /// Contents of which there may be more, in files that have yet to be found again.
    pub(super) missing: Vec<Missing>,
    /// Where to begin in a file that was never met.
    pub(super) from: Beginning,
    /// Whether the files beside the path have been looked at once.
    pub(super) is_settled: bool,
    /// What was at the path when it was last looked at.
    pub(super) at_path: Option<Identity>,
    /// Contents whose first line was seen long after their file was opened, and when that was:
    /// the file may have had others before, of which there are copies.
    pub(super) doubtful: BTreeMap<u64, Time>,
    /// When to look beside the path for what is missing.
    pub(super) look_beside_at: Duration,
    /// Since when, and how often, looks beside the path have been disturbed.
    pub(super) disturbed: Option<(Duration, u32)>,
    pub(super) limits: Limits,
    buffer: Vec<u8>,
}

/// A file that is being read.
pub(super) struct Reading<F: DiskFile> {
    pub(super) file: HeldFile<F>,
    pub(super) framer: Framer,
    pub(super) serial: u64,
}

/// A content whose file has to be found again.
pub(super) struct Missing {
    pub(super) serial: u64,
    /// What was read and is not yet a whole line, when it was read by this process.
    pub(super) framer: Option<Framer>,
    /// Since when it has been looked for in vain.
    pub(super) since: Option<Duration>,
}

impl<D: Disk> Follow<D> {
    /// Follows a path; what the book knows of its files is to be found again first.
    pub(super) fn new(
        disk: D,
        path: PathBuf,
        from: Beginning,
        grace: Duration,
        limits: Limits,
        book: &Book,
    ) -> Self {
        let name = path.to_string_lossy().into_owned();
        let missing = book
            .of(&name)
            .filter(|(_, mark)| !mark.done)
            .map(|(serial, _)| Missing {
                serial,
                framer: None,
                since: None,
            })
            .collect();
        Self {
            disk,
            path,
            name,
            plan: Plan::new(grace),
            held: Vec::new(),
            missing,
            from,
            is_settled: false,
            at_path: None,
            doubtful: BTreeMap::new(),
            look_beside_at: Duration::ZERO,
            disturbed: None,
            limits,
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

    /// Whether there is nothing to be read or found again.
    pub(super) fn is_over(&self) -> bool {
        self.held.is_empty() && self.missing.is_empty()
    }

    /// Files that appear from now on are read from their beginning.
    pub(super) fn started(&mut self) {
        self.from = Beginning::Start;
    }

    /// Whether one of the held files is this one.
    pub(super) fn holds(&self, identity: Identity) -> bool {
        self.serial_of(identity).is_some()
    }

    /// The mark of the held file that is this one.
    pub(super) fn serial_of(&self, identity: Identity) -> Option<u64> {
        let mut held = self.held.iter();
        let reading = held.find(|reading| reading.file.identity() == identity)?;
        Some(reading.serial)
    }

    /// Settles which files are which, and says how many bytes wait to be read.
    /// Never reads, so it can be called while the pipeline is full.
    pub(super) fn look(
        &mut self,
        now: Duration,
        book: &mut Book,
        out: &mut Out,
    ) -> io::Result<u64> {
        let mut look = self.see(now, book)?;
        match self.plan.next(&look) {
            Step::Open => self.open(now, book, out)?,
            Step::Restart(index) => self.restart(index, now, book, out)?,
            _ => return Ok(self.unread(&look)),
        }
        look = self.see(now, book)?;
        Ok(self.unread(&look))
    }

    /// How many bytes there are that were not read.
    fn unread(&self, look: &Look) -> u64 {
        let unread = self.plan.held().zip(&look.held);
        unread
            .map(|(held, seen)| seen.len.saturating_sub(held.offset))
            .sum()
    }

    /// Does one thing. Each block that is given out comes with the bookmark of its end.
    pub(super) fn step(
        &mut self,
        now: Duration,
        book: &mut Book,
        out: &mut Out,
    ) -> io::Result<Progress> {
        let look = self.see(now, book)?;
        let step = self.plan.next(&look);
        let is_open = matches!(step, Step::Open | Step::Restart(_));
        if !is_open && self.is_to_look_beside(now) {
            let changes = out.changes.len();
            self.take_in(now, None, book, out)?;
            if out.changes.len() > changes {
                return Ok(Progress::Changed);
            }
        }
        if let Step::Read(index) | Step::Close(index) = step
            && self.is_doubtful(index)
        {
            // What may have come before it is looked for first.
            return Ok(Progress::Idle);
        }
        match step {
            Step::Open => {
                let changes = out.changes.len();
                self.open(now, book, out)?;
                Ok(if out.changes.len() > changes {
                    Progress::Changed
                } else {
                    Progress::Idle
                })
            }
            Step::Read(index) => self.read(index, book, out),
            Step::Restart(index) => {
                self.restart(index, now, book, out)?;
                Ok(Progress::Changed)
            }
            Step::Close(index) => {
                self.close(index, book, out);
                Ok(Progress::Changed)
            }
            Step::Wait => Ok(Progress::Idle),
        }
    }

    fn is_doubtful(&self, index: usize) -> bool {
        let reading = self.held.get(index);
        reading.is_some_and(|reading| self.doubtful.contains_key(&reading.serial))
    }

    fn see(&mut self, now: Duration, book: &mut Book) -> io::Result<Look> {
        let at_path = match self.disk.look(&self.path) {
            Ok(looked) => Some(looked.identity),
            Err(error) if is_absence(&error) => None,
            // What is held can still be read.
            Err(error) => match self.held.last() {
                Some(newest) => Some(newest.file.identity()),
                None => return Err(error),
            },
        };
        self.at_path = at_path;
        let mut held = Vec::with_capacity(self.held.len());
        for (reading, holding) in self.held.iter_mut().zip(self.plan.held()) {
            let mark = book.get(reading.serial);
            let blank_since = mark
                .filter(|mark| mark.is_blank())
                .map(|mark| mark.modified);
            let (trail, offset) =
                mark.map_or((Print::default(), 0), |mark| (mark.trail, mark.offset));
            let seen = match reading.file.look(trail, offset, holding.offset) {
                // A server has removed it under its readers.
                Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => Seen {
                    len: 0,
                    rewritten: true,
                },
                seen => seen?,
            };
            if let Some(since) = blank_since
                && !seen.rewritten
                && reading.file.fingerprint().bytes > 0
            {
                // Only now can it be told from others.
                self.doubtful.insert(reading.serial, since);
                reading.note(book, |_| {});
                self.is_settled = false;
                self.look_beside_at = now;
            }
            held.push(seen);
        }
        Ok(Look { at_path, held, now })
    }

    fn open(&mut self, now: Duration, book: &mut Book, out: &mut Out) -> io::Result<()> {
        match HeldFile::open(&self.disk, &self.path) {
            Ok(file) if self.holds(file.identity()) => Ok(()),
            Ok(file) => self.take_in(now, Some(file), book, out),
            // It was rotated away between the look and now.
            Err(error) if is_absence(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, index: usize, book: &mut Book, out: &mut Out) -> io::Result<Progress> {
        let (Some(offset), Some(reading)) = (
            self.plan.held().nth(index).map(|held| held.offset),
            self.held.get_mut(index),
        ) else {
            return Ok(Progress::Idle);
        };
        self.buffer
            .resize(READ_BYTES.min(self.limits.block_bytes), 0);
        let bytes = match reading.file.read(offset, &mut self.buffer) {
            Ok(bytes) => bytes,
            Err(error) if reading.file.is_packed() && decode::is_corruption(&error) => {
                reading.framer.finish_corrupt(&error);
                reading.give(book, out);
                return Ok(Progress::Changed);
            }
            Err(error) => return Err(error),
        };
        reading.framer.feed(&self.buffer[..bytes]);
        reading.framer.flush();
        reading.give(book, out);
        self.plan.read(index, bytes as u64);
        Ok(if bytes == 0 {
            Progress::Idle
        } else {
            Progress::Read(bytes as u64)
        })
    }

    /// The file has another content now. Of the old one there may be a copy that has more.
    fn restart(
        &mut self,
        index: usize,
        now: Duration,
        book: &mut Book,
        out: &mut Out,
    ) -> io::Result<()> {
        // What is at the path decides whose copies lie beside it: a guess will not do here.
        self.at_path = match self.disk.look(&self.path) {
            Ok(looked) => Some(looked.identity),
            Err(error) if is_absence(&error) => None,
            Err(error) => return Err(error),
        };
        let mut reading = self.held.remove(index);
        self.plan.closed(index);
        let looked = reading.file.looked();
        reading.note(book, |mark| mark.len = looked.len);
        book.keep(reading.serial);
        out.changes.push(Change::Truncated);
        self.missing.push(Missing {
            serial: reading.serial,
            framer: Some(reading.framer),
            since: None,
        });
        reading.file.renew()?;
        // A copy beside may be of the file that is at the path by now.
        let is_elsewhere = self.at_path != Some(reading.file.identity());
        if is_elsewhere && self.at_path.is_some_and(|identity| !self.holds(identity)) {
            self.open(now, book, out)?;
        }
        if self.holds(reading.file.identity()) {
            return Ok(());
        }
        self.take_in(now, Some(reading.file), book, out)
    }

    fn close(&mut self, index: usize, book: &mut Book, out: &mut Out) {
        let mut reading = self.held.remove(index);
        self.plan.closed(index);
        // The last line of a file that ends is a line, with or without a newline.
        reading.framer.finish();
        reading.give(book, out);
        book.done(reading.serial, |_| {});
        out.changes.push(Change::Rotated);
    }
}

impl<F: DiskFile> Reading<F> {
    /// Gives out the whole records that were read.
    pub(super) fn give(&mut self, book: &mut Book, out: &mut Out) {
        out.notes(book);
        while let Some(block) = self.framer.next_block() {
            let offset = self.framer.consumed();
            let trail = Print::of_trail(&block.bytes);
            let note = self.note(book, |mark| {
                mark.offset = offset;
                mark.trail = trail;
            });
            out.given.push(Given {
                block: Some(block),
                note,
            });
        }
    }

    /// Writes into the book what the file looks like.
    fn note(&self, book: &mut Book, change: impl FnOnce(&mut Mark)) -> Option<Note> {
        let (looked, fingerprint) = (self.file.looked(), self.file.fingerprint());
        let is_packed = self.file.is_packed();
        book.change(self.serial, |mark| {
            if !is_packed {
                mark.file = looked.identity;
                mark.len = looked.len;
            }
            if fingerprint.bytes > 0 {
                mark.fingerprint = fingerprint;
            }
            // Until its content is known, it stays marked with when the file was met.
            if !is_packed && !mark.is_blank() {
                mark.modified = looked.modified;
            }
            change(mark);
        })
    }
}
