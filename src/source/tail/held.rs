//! One file that is held open: what it looks like, and its bytes, plain or decompressed.

use std::{
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use super::{
    disk::{Disk, DiskFile, Identity, Looked},
    mark::{Head, Mark, Print},
    plan::Seen,
};
use crate::decode;

/// How far back from the end the start of an unfinished last line is looked for.
const LINE_BACK_MAX: u64 = 32 << 20;

/// A file that is held open.
pub(super) struct HeldFile<F: DiskFile> {
    file: Arc<F>,
    /// What it looked like when it was still what is being read.
    looked: Looked,
    /// How long its first line is, as far as it is there.
    head: usize,
    /// That line's first and last bytes: they stay as long as it is the same file.
    head_first: Vec<u8>,
    head_last: Vec<u8>,
    /// The print of that line, whole or not.
    head_print: Print,
    fingerprint: Print,
    is_fingerprint_whole: bool,
    packed: Option<Packed<F>>,
}

/// A compressed file: it does not change, and is read from front to back.
struct Packed<F: DiskFile> {
    reader: Option<decode::Plain<Sequential<F>>>,
    /// How many decompressed bytes the reader has given.
    at: u64,
    is_over: bool,
}

/// Reads a file from its beginning on.
struct Sequential<F: DiskFile> {
    file: Arc<F>,
    offset: u64,
}

impl<F: DiskFile> Read for Sequential<F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// What a file has to do with a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinship {
    /// It begins with what was read: it is the file or a copy of it.
    Same,
    /// It begins like it, but is shorter than what was read.
    Shorter,
    /// It is another.
    None,
}

impl<F: DiskFile> HeldFile<F> {
    /// Opens a live file: plain, whatever it begins with.
    pub(super) fn open<D: Disk<File = F>>(disk: &D, path: &Path) -> io::Result<Self> {
        // Looked at before it is opened, because opening a pipe would wait for its writer.
        if !disk.look(path)?.is_file {
            return Err(io::Error::other("it is not a regular file"));
        }
        let file = Arc::new(disk.open(path)?);
        let mut held = Self {
            looked: file.look()?,
            file,
            head: 0,
            head_first: Vec::new(),
            head_last: Vec::new(),
            head_print: Print::default(),
            fingerprint: Print::default(),
            is_fingerprint_whole: false,
            packed: None,
        };
        held.renew()?;
        Ok(held)
    }

    /// Opens a rotated file, which may be compressed.
    pub(super) fn open_rotated<D: Disk<File = F>>(disk: &D, path: &Path) -> io::Result<Self> {
        let mut held = Self::open(disk, path)?;
        let mut packed = Packed::new();
        packed.rewind(&held.file)?;
        if packed
            .reader
            .as_ref()
            .is_some_and(decode::Plain::is_compressed)
        {
            let head = Head::read(|into, _| packed.read(into))?;
            held.know(&head);
            held.packed = Some(Packed::new());
        }
        Ok(held)
    }

    /// From now on it is the file that it is now.
    pub(super) fn renew(&mut self) -> io::Result<()> {
        self.looked = self.file.look()?;
        let head = Head::read(|into, offset| self.file.read_at(into, offset))?;
        self.know(&head);
        Ok(())
    }

    fn know(&mut self, head: &Head) {
        self.head = head.len();
        head.first().clone_into(&mut self.head_first);
        head.last().clone_into(&mut self.head_last);
        self.head_print = head.begin(self.head);
        self.fingerprint = head.print();
        self.is_fingerprint_whole = head.is_whole();
    }

    pub(super) fn identity(&self) -> Identity {
        self.looked.identity
    }

    /// What it looked like when it was last the file that is being read.
    pub(super) fn looked(&self) -> Looked {
        self.looked
    }

    pub(super) fn fingerprint(&self) -> Print {
        self.fingerprint
    }

    pub(super) fn is_packed(&self) -> bool {
        self.packed.is_some()
    }

    /// How long it is, and whether it is still what was read: its first bytes, and those before
    /// `offset` that `trail` is of. It was read up to `read`.
    pub(super) fn look(&mut self, trail: Print, offset: u64, read: u64) -> io::Result<Seen> {
        let now = self.file.look()?;
        if let Some(packed) = &self.packed {
            // How long it is, is seen when its end is reached.
            let len = read + u64::from(!packed.is_over);
            return Ok(Seen {
                len,
                rewritten: false,
            });
        }
        let len = now.len;
        let last = (self.head - self.head_last.len()) as u64;
        let mut rewritten = !self.has(&self.head_first, 0)?
            || !self.has(&self.head_last, last)?
            || (len >= offset && !self.trail_is_there(trail, offset)?);
        if !rewritten && len >= read {
            if !self.is_fingerprint_whole && len > self.head as u64 {
                let head = Head::read(|into, offset| self.file.read_at(into, offset))?;
                // Another line can have these bytes in common, but only this one all of them.
                if head.begin(self.head) == self.head_print {
                    self.know(&head);
                } else {
                    rewritten = true;
                }
            }
            if !rewritten {
                self.looked = now;
            }
        }
        Ok(Seen { len, rewritten })
    }

    /// Whether these bytes are there.
    fn has(&self, bytes: &[u8], offset: u64) -> io::Result<bool> {
        let mut there = vec![0; bytes.len()];
        let len = read_full(&*self.file, &mut there, offset)?;
        Ok(there[..len] == *bytes)
    }

    fn trail_is_there(&self, trail: Print, offset: u64) -> io::Result<bool> {
        let bytes = u64::from(trail.bytes);
        if bytes == 0 || bytes > offset {
            return Ok(true);
        }
        let mut before = vec![0; trail.bytes as usize];
        let there = read_full(&*self.file, &mut before, offset - bytes)?;
        Ok(trail.is_of(&before[..there]))
    }

    /// The print of the bytes before an offset that is a line's beginning.
    pub(super) fn trail(&self, offset: u64) -> io::Result<Print> {
        if self.is_packed() {
            return Ok(Print::default());
        }
        let start = offset.saturating_sub(1024);
        let mut before = vec![0; (offset - start) as usize];
        let there = read_full(&*self.file, &mut before, start)?;
        Ok(Print::of_trail(&before[..there]))
    }

    /// The first bytes that are there now, decompressed.
    pub(super) fn head(&self) -> io::Result<Head> {
        if self.packed.is_none() {
            return Head::read(|into, offset| self.file.read_at(into, offset));
        }
        let mut packed = Packed::new();
        packed.rewind(&self.file)?;
        Head::read(|into, _| packed.read(into))
    }

    /// What the file, which begins with `head`, has to do with a mark.
    pub(super) fn kinship(&self, head: &Head, mark: &Mark) -> io::Result<Kinship> {
        let has_trail = || self.trail_is_there(mark.trail, mark.offset);
        let is_blank = head.print().bytes == 0;
        Ok(if mark.fingerprint.bytes == 0 {
            // It had no whole line, or begins with a hole. Its inode alone tells nothing: it may
            // be that of another file by now. But where there is nothing to read, it will do.
            let is_read = mark.done && is_blank && self.looked.len == mark.len;
            let is_kin = (is_read && self.identity() == mark.file)
                || (mark.trail.bytes > 0 && !self.is_packed() && has_trail()?);
            if is_kin { Kinship::Same } else { Kinship::None }
        } else if head.print() != mark.fingerprint {
            Kinship::None
        } else if self.is_packed() {
            Kinship::Same
        } else if self.looked.len < mark.offset {
            Kinship::Shorter
        } else if has_trail()? {
            Kinship::Same
        } else {
            Kinship::None
        })
    }

    /// Reads what is there at `offset`; 0 bytes at the end.
    ///
    /// # Errors
    /// Those of the system, and [`decode::is_corruption`] where compressed data is damaged.
    pub(super) fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let Some(packed) = &mut self.packed else {
            return self.file.read_at(into, offset);
        };
        if packed.reader.is_none() || packed.at > offset {
            packed.rewind(&self.file)?;
        }
        while packed.at < offset && !packed.is_over {
            let most = into.len().min((offset - packed.at) as usize);
            packed.read(&mut into[..most])?;
        }
        // A copy may be shorter than what was read of the file that it is a copy of.
        packed.at = offset;
        packed.read(into)
    }

    /// Where the file's unfinished last line begins; its end when the last line is whole.
    pub(super) fn end_of_whole_lines(&self) -> io::Result<u64> {
        let len = self.looked.len;
        let mut buffer = vec![0; 64 << 10];
        let mut end = len;
        while end > 0 && len - end < LINE_BACK_MAX {
            let start = end.saturating_sub(buffer.len() as u64);
            let piece = &mut buffer[..(end - start) as usize];
            let there = read_full(&*self.file, piece, start)?;
            if let Some(newline) = memchr::memrchr(b'\n', &piece[..there]) {
                return Ok(start + newline as u64 + 1);
            }
            end = start;
        }
        Ok(end)
    }
}

impl<F: DiskFile> Packed<F> {
    fn new() -> Self {
        Self {
            reader: None,
            at: 0,
            is_over: false,
        }
    }

    fn rewind(&mut self, file: &Arc<F>) -> io::Result<()> {
        let file = Arc::clone(file);
        self.reader = Some(decode::open(Sequential { file, offset: 0 })?);
        self.at = 0;
        self.is_over = false;
        Ok(())
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.is_over {
            return Ok(0);
        }
        let read = match &mut self.reader {
            Some(reader) => reader.read(into),
            None => Ok(0),
        };
        match &read {
            Ok(0) => self.is_over = true,
            Ok(count) => self.at += *count as u64,
            Err(error) if decode::is_corruption(error) => self.is_over = true,
            // A reader that met an error is of no use any more.
            Err(_) => self.reader = None,
        }
        read
    }
}

/// Fills the buffer, as far as the file goes.
fn read_full<F: DiskFile>(file: &F, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < into.len() {
        match file.read_at(&mut into[len..], offset + len as u64)? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}
