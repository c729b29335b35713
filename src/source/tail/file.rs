//! One held file: the system calls that look at it and read it.

use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::plan::{Identity, Seen};

/// How many of a file's first bytes tell it from another on the same inode. The first audit
/// event's id and stage lie within.
const FINGERPRINT_BYTES: usize = 256;

/// How far back from the end the start of an unfinished last line is looked for.
const LINE_BACK_MAX: u64 = 32 << 20;

/// What the first bytes of a file were when it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How many bytes were taken, at most 256.
    pub bytes: u16,
    /// Their hash.
    pub hash: u64,
}

impl Fingerprint {
    fn of(first: &[u8]) -> Self {
        Self {
            bytes: first.len() as u16,
            hash: xxh3_64(first),
        }
    }
}

/// Where reading goes on: enough to find the file again and to see that it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which file.
    pub file: Identity,
    /// What its first bytes were.
    pub fingerprint: Fingerprint,
    /// Up to where its records were handed on.
    pub offset: u64,
}

/// A file that is held open.
pub(super) struct HeldFile {
    file: File,
    identity: Identity,
    fingerprint: Fingerprint,
}

/// Which file `metadata` is of.
pub(super) fn identity(metadata: &Metadata) -> Identity {
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

impl HeldFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Looked at before it is opened, because opening a pipe would wait for its writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut held = Self {
            file,
            identity: identity(&metadata),
            fingerprint: Fingerprint::default(),
        };
        held.take_fingerprint()?;
        Ok(held)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Length, and whether the first bytes are still those that were read.
    pub(super) fn look(&mut self) -> io::Result<Seen> {
        let len = self.file.metadata()?.len();
        let mut first = [0; FINGERPRINT_BYTES];
        let known = usize::from(self.fingerprint.bytes);
        let now = self.first_bytes(&mut first)?;
        let rewritten = now < known || xxh3_64(&first[..known]) != self.fingerprint.hash;
        if !rewritten && now > known {
            self.fingerprint = Fingerprint::of(&first[..now]);
        }
        Ok(Seen {
            len,
            rewritten: rewritten && known > 0,
        })
    }

    /// The file is read from its beginning from now on: its first bytes are what they are now.
    pub(super) fn take_fingerprint(&mut self) -> io::Result<()> {
        let mut first = [0; FINGERPRINT_BYTES];
        let len = self.first_bytes(&mut first)?;
        self.fingerprint = Fingerprint::of(&first[..len]);
        Ok(())
    }

    fn first_bytes(&self, first: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        while len < first.len() {
            match self.file.read_at(&mut first[len..], len as u64)? {
                0 => break,
                read => len += read,
            }
        }
        Ok(len)
    }

    /// Reads what is there at `offset`, at most `buffer.len()` bytes.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Where the file's unfinished last line begins; its end when the last line is whole.
    pub(super) fn end_of_whole_lines(&self) -> io::Result<u64> {
        let len = self.file.metadata()?.len();
        let mut buffer = vec![0; 64 << 10];
        let mut end = len;
        while end > 0 && len - end < LINE_BACK_MAX {
            let start = end.saturating_sub(buffer.len() as u64);
            let piece = &mut buffer[..(end - start) as usize];
            self.file.read_exact_at(piece, start)?;
            if let Some(newline) = memchr::memrchr(b'\n', piece) {
                return Ok(start + newline as u64 + 1);
            }
            end = start;
        }
        Ok(end)
    }
}
