//! Cuts a stream of bytes into blocks of whole records, in whatever chunks the bytes come.
//!
//! A stream of lines is cut at line ends only, which costs the reading thread one look for the
//! last line feed of a block; a stream of values is searched for each record's ends.

use std::{
    collections::VecDeque,
    io::{self, Read},
    ops::Deref,
};

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::{
    reject::{Reason, Reject},
    sniff::{Layout, Sniff},
    values::{Chunk, Level, Values},
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The bounds of a [`Framer`], in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much is read at a time. A block is given out when it has half of this, and has more
    /// than this only where a single record is long. At least 2.
    pub block_bytes: usize,
    /// A longer record is one reject; memory stays at about this much. At least 1, below 4 GiB.
    pub record_bytes_max: usize,
}

impl Default for Limits {
    /// 256 KiB, and 48 MiB: an API server that truncates events sends lists of up to 400 times
    /// 100 KiB, which a webhook's journal keeps as one line.
    fn default() -> Self {
        Self {
            block_bytes: 256 << 10,
            record_bytes_max: 48 << 20,
        }
    }
}

/// Where the records lie in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// Each line that is not blank is a record.
    Lines,
    /// Each span (start and end in the block's bytes) is a record.
    Spans(Vec<(u32, u32)>),
}

/// What a block's last record is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing.
    Whole,
    /// Perhaps its end: the stream ended without a line feed.
    Torn,
    /// Its end, and that is counted already.
    Rejected,
}

/// A run of whole records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The bytes that the records lie in.
    pub bytes: Bytes,
    /// Where they lie.
    pub records: Records,
    /// Where `bytes` begins in the (decompressed) stream.
    pub offset: u64,
    /// What had to be left out of the records.
    pub rejects: Vec<Reject>,
    pub(super) end: End,
}

impl Block {
    /// A block of whole lines, cut somewhere else; it begins at `offset` of its stream.
    pub fn of_lines(bytes: Bytes, offset: u64) -> Self {
        Self {
            bytes,
            records: Records::Lines,
            offset,
            rejects: Vec::new(),
            end: End::Whole,
        }
    }

    /// A block of no records, to carry something else along.
    pub fn empty() -> Self {
        Self::of_lines(Bytes::new(), 0)
    }

    /// The position in the stream behind this block.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

#[derive(Debug)]
enum Mode {
    Sniffing(Sniff),
    Lines(Lines),
    Values(Box<Values>),
}

/// The state of a stream of lines.
#[derive(Debug, Default)]
struct Lines {
    /// Where the line begins whose end was not seen: an index into the buffer. NULs at its
    /// beginning do not count.
    tail: usize,
    /// That line was too long; its bytes are dropped up to its end.
    is_skipping: bool,
}

/// Takes a stream in chunks and gives it out in [`Block`]s.
///
/// The same bytes give the same records however they are cut into chunks.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    mode: Mode,
    /// The part of the stream that was not given out.
    buffer: Buffer,
    /// Memory of blocks that are done with.
    spare: Vec<Vec<u8>>,
    /// Where `buffer` begins in the stream.
    base: u64,
    /// How much of `buffer` the mode has seen.
    scanned: usize,
    rejects: Vec<Reject>,
    ready: VecDeque<Block>,
    consumed: u64,
}

impl Framer {
    /// For a stream that is read from its beginning.
    pub fn new(limits: Limits) -> Self {
        Self::starting_at(limits, 0)
    }

    /// For a stream of which the bytes before `offset`, where a record begins, were read before.
    pub fn starting_at(limits: Limits, offset: u64) -> Self {
        Self {
            limits,
            mode: Mode::Sniffing(Sniff::default()),
            buffer: Buffer::default(),
            spare: Vec::new(),
            base: offset,
            scanned: 0,
            rejects: Vec::new(),
            ready: VecDeque::new(),
            consumed: offset,
        }
    }

    /// For a stream that is known to be of lines, of which those before `offset` were read before.
    /// Unlike a stream whose layout has to be found out, it gives out its first line as soon as
    /// that is whole, even when it is damaged.
    pub fn of_lines(limits: Limits, offset: u64) -> Self {
        Self {
            mode: Mode::Lines(Lines::default()),
            ..Self::starting_at(limits, offset)
        }
    }

    /// For a stream that is one document or several, and not lines: the elements of an outermost
    /// list pass one by one, even when all stand on a single line.
    pub fn of_documents(limits: Limits) -> Self {
        let values = Values::new(Level::Top, 0, limits.record_bytes_max);
        Self {
            mode: Mode::Values(Box::new(values)),
            ..Self::new(limits)
        }
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(self.limits.block_bytes));
            self.buffer.room(piece.len())[..piece.len()].copy_from_slice(piece);
            self.buffer.held += piece.len();
            self.advance();
            bytes = rest;
        }
    }

    /// Takes the next bytes from a reader, at most [`Limits::block_bytes`], and says how many
    /// there were; 0 at its end.
    ///
    /// # Errors
    /// The reader's.
    pub fn read_from(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        let room = self.buffer.room(self.limits.block_bytes);
        let read = loop {
            match reader.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.held += read.as_ref().map_or(0, |count| *count);
        self.advance();
        read
    }

    /// The next full block, if there is one.
    pub fn next_block(&mut self) -> Option<Block> {
        let block = self.ready.pop_front()?;
        self.consumed = block.end();
        Some(block)
    }

    /// Takes back the bytes of a block that is done with, so that their memory serves for the
    /// next one. Without this all is the same, but each block's memory is asked for, and made
    /// zero, anew.
    pub fn recycle(&mut self, bytes: Bytes) {
        if self.spare.len() < SPARE_MAX && bytes.is_unique() {
            let memory = Vec::from(bytes);
            // One that a single long record made large is not worth keeping.
            if memory.capacity() <= 2 * self.limits.block_bytes {
                self.spare.push(memory);
            }
        }
    }

    /// Makes blocks of all whole records, full or not, for [`next_block`](Self::next_block) to
    /// give out; a record whose end was not seen stays. For live streams that pause.
    pub fn flush(&mut self) {
        let whole = match &self.mode {
            Mode::Sniffing(_) => 0,
            Mode::Lines(lines) => lines.tail,
            Mode::Values(values) => self.index(values.keep_from(self.base + self.scanned as u64)),
        };
        self.cut(whole);
    }

    /// The stream has ended: what is left becomes the last block, its last line a record even
    /// without a line feed.
    pub fn finish(&mut self) {
        self.end_with(End::Torn);
    }

    /// The stream broke off because of damaged compression: one reject that says so, and the
    /// records before it.
    pub fn finish_corrupt(&mut self, error: &io::Error) {
        let offset = self.base + self.buffer.len() as u64;
        let what = error.to_string();
        self.end_with(End::Rejected);
        self.rejects.push(Reject::new(
            Reason::CorruptCompression,
            offset,
            what.as_bytes(),
        ));
        self.cut(self.buffer.len());
    }

    /// The position behind the last record given out; everything before it was given out too.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// How many bytes are held back because their record's end was not seen.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    fn end_with(&mut self, end: End) {
        if matches!(self.mode, Mode::Sniffing(_)) {
            self.mode = Mode::Lines(Lines::default());
            self.advance();
        }
        let chunk = Chunk {
            bytes: &self.buffer,
            base: self.base,
        };
        let is_open = match &mut self.mode {
            Mode::Sniffing(_) => false,
            Mode::Lines(lines) => lines.tail < chunk.bytes.len(),
            Mode::Values(values) => {
                let found = values.records.len();
                values.finish(chunk);
                if end == End::Rejected {
                    values
                        .rejects
                        .retain(|reject| reject.reason != Reason::Torn);
                }
                values.records.len() > found
            }
        };
        let whole = self.buffer.len();
        self.cut(whole);
        if is_open && let Some(last) = self.ready.back_mut() {
            last.end = end;
        }
    }

    fn index(&self, position: u64) -> usize {
        position.saturating_sub(self.base) as usize
    }

    /// Lets the mode see the new bytes and makes blocks of what is full.
    fn advance(&mut self) {
        if let Mode::Sniffing(_) = self.mode {
            self.sniff();
        }
        match &mut self.mode {
            Mode::Sniffing(_) => {}
            Mode::Lines(_) => self.advance_lines(),
            Mode::Values(values) => {
                let chunk = Chunk {
                    bytes: &self.buffer,
                    base: self.base,
                };
                values.scan(chunk, self.base + self.scanned as u64);
                self.scanned = self.buffer.len();
                let end = self.base + self.buffer.len() as u64;
                let whole = (values.keep_from(end) - self.base) as usize;
                if whole >= self.limits.block_bytes / 2 {
                    self.cut(whole);
                }
            }
        }
    }

    fn sniff(&mut self) {
        let Mode::Sniffing(sniff) = &mut self.mode else {
            return;
        };
        if sniff.seen() == 0 {
            let mut blank = 0;
            if self.base == 0 && self.buffer.starts_with(BYTE_ORDER_MARK) {
                blank = BYTE_ORDER_MARK.len();
            } else if self.base == 0 && BYTE_ORDER_MARK.starts_with(&self.buffer) {
                return;
            }
            let rest = &self.buffer[blank..];
            blank += rest
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace() || **byte == 0)
                .count();
            self.buffer.drop_front(blank);
            self.base += blank as u64;
            self.consumed = self.consumed.max(self.base);
        }
        let Limits {
            block_bytes,
            record_bytes_max,
        } = self.limits;
        let Some(layout) = sniff.look(&self.buffer, block_bytes, record_bytes_max) else {
            return;
        };
        self.mode = match layout {
            Layout::Lines => Mode::Lines(Lines::default()),
            Layout::Values => Mode::Values(Box::new(Values::new(
                Level::Top,
                self.base,
                record_bytes_max,
            ))),
        };
    }

    fn advance_lines(&mut self) {
        // A step is never longer than a record may be, so only the line that was begun before a
        // step can be too long.
        let step = self.limits.block_bytes.min(self.limits.record_bytes_max);
        while self.scanned < self.buffer.len() {
            let end = self.buffer.len().min(self.scanned + step);
            self.step_lines(end);
            if let Mode::Lines(lines) = &self.mode
                && lines.tail >= self.limits.block_bytes / 2
            {
                self.cut(lines.tail);
            }
        }
    }

    /// Sees the bytes of a stream of lines from `scanned` up to `end`.
    fn step_lines(&mut self, end: usize) {
        let Mode::Lines(lines) = &mut self.mode else {
            return;
        };
        let window = &self.buffer[self.scanned..end];
        let first = memchr(b'\n', window).map(|found| self.scanned + found);
        let line_end = first.unwrap_or(end);
        if !lines.is_skipping {
            skip_nuls(&self.buffer[..line_end], &mut lines.tail);
        }
        let is_too_long = line_end - lines.tail > self.limits.record_bytes_max;
        if lines.is_skipping || is_too_long {
            self.skip_line(line_end, first.is_some());
            return;
        }
        if let Some(last) = memrchr(b'\n', window) {
            lines.tail = self.scanned + last + 1;
            skip_nuls(&self.buffer[..end], &mut lines.tail);
        }
        self.scanned = end;
    }

    /// Rejects the line that begins at the tail, or drops more of one that was rejected.
    fn skip_line(&mut self, line_end: usize, has_end: bool) {
        let Mode::Lines(lines) = &mut self.mode else {
            return;
        };
        let tail = lines.tail;
        if !std::mem::replace(&mut lines.is_skipping, !has_end) {
            let start = self.base + tail as u64;
            // Not more than what is there at the latest moment of noticing, in any chunks.
            let line = &self.buffer[tail..tail + self.limits.record_bytes_max];
            self.rejects.push(Reject::new(Reason::TooLong, start, line));
            self.cut(tail);
        }
        let dropped = line_end - tail;
        self.buffer.drop_front(dropped);
        self.base += dropped as u64;
        self.scanned = 0;
    }

    /// Makes a block of the first `length` bytes, which end behind a record.
    fn cut(&mut self, length: usize) {
        if let Mode::Values(values) = &mut self.mode {
            self.rejects.append(&mut values.rejects);
        }
        if length == 0 && self.rejects.is_empty() {
            return;
        }
        let next = self.spare.pop().unwrap_or_default();
        let bytes = self
            .buffer
            .split_off_front(length, next, self.limits.block_bytes);
        let offset = self.base;
        self.base += length as u64;
        self.scanned = self.scanned.saturating_sub(length);
        let records = match &mut self.mode {
            Mode::Sniffing(_) => Records::Lines,
            Mode::Lines(lines) => {
                lines.tail = lines.tail.saturating_sub(length);
                Records::Lines
            }
            Mode::Values(values) => {
                let spans = values.records.drain(..);
                let span = |(from, to)| ((from - offset) as u32, (to - offset) as u32);
                Records::Spans(spans.map(span).collect())
            }
        };
        let rejects = std::mem::take(&mut self.rejects);
        let bytes = Bytes::from(bytes);
        self.ready.push_back(Block {
            bytes,
            records,
            offset,
            rejects,
            end: End::Whole,
        });
    }
}

/// How many blocks' memory is kept for the next ones.
const SPARE_MAX: usize = 2;

/// Bytes that are held, and behind them room that was made zero once and need not be again.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    held: usize,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.held]
    }
}

impl Buffer {
    /// At least `count` bytes behind those that are held. What is put there is held once `held`
    /// says so.
    fn room(&mut self, count: usize) -> &mut [u8] {
        let needed = self.held + count;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        &mut self.bytes[self.held..needed]
    }

    fn drop_front(&mut self, count: usize) {
        self.bytes.copy_within(count..self.held, 0);
        self.held -= count;
    }

    /// Gives away the first `length` bytes and goes on with the others in `next`, which is memory
    /// with anything in it and soon needs `room` more.
    fn split_off_front(&mut self, length: usize, mut next: Vec<u8>, room: usize) -> Vec<u8> {
        let rest = &self.bytes[length..self.held];
        next.reserve_exact((rest.len() + room).saturating_sub(next.len()));
        if next.len() < rest.len() {
            next.resize(rest.len(), 0);
        }
        next[..rest.len()].copy_from_slice(rest);
        self.held = rest.len();
        let mut bytes = std::mem::replace(&mut self.bytes, next);
        bytes.truncate(length);
        bytes
    }
}

/// Moves an index over NUL bytes: what a log file has at its beginning after it was truncated
/// under its writer.
fn skip_nuls(bytes: &[u8], at: &mut usize) {
    let nuls = bytes
        .get(*at..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| **byte == 0);
    *at += nuls.count();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_serves_again_leaves_nothing_behind() {
        let limits = Limits {
            block_bytes: 64,
            record_bytes_max: 1_000,
        };
        let lines: Vec<String> = (0..200)
            .map(|n| format!("{{\"n\":\"{}\"}}\n", "x".repeat(n * 7 % 90)))
            .collect();
        let text = lines.concat();
        let (mut framer, mut reader) = (Framer::new(limits), text.as_bytes());
        let (mut seen, mut reused) = (Vec::new(), 0);
        let mut is_over = false;
        while !is_over {
            is_over = framer.read_from(&mut reader).unwrap() == 0;
            if is_over {
                framer.finish();
            }
            while let Some(block) = framer.next_block() {
                assert_eq!(block.offset, seen.len() as u64);
                seen.extend_from_slice(&block.bytes);
                framer.recycle(block.bytes);
                reused += framer.spare.len();
            }
        }
        assert_eq!(seen, text.as_bytes());
        assert!(reused > 0);
    }
}
