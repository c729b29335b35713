//! The file system as the tailer uses it: a seam, so that a simulation can stand in for it.

use std::{
    ffi::OsString,
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::pattern;
use crate::units::Time;

/// Which file this is, while it exists: an inode is used again once nobody holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// What a file looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) identity: Identity,
    /// Length in bytes.
    pub(super) len: u64,
    /// When it was last written.
    pub(super) modified: Time,
    /// Whether it is a regular file.
    pub(super) is_file: bool,
}

/// A file system. Every call may fail as the system's does.
pub(super) trait Disk: Clone {
    /// An open file.
    type File: DiskFile;

    /// What is at a path, through symbolic links.
    fn look(&self, path: &Path) -> io::Result<Looked>;

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// The names in a directory, in no order.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Where a path leads when symbolic links are followed.
    fn target(&self, path: &Path) -> io::Result<PathBuf>;

    /// The live files that match a pattern now, sorted.
    fn matches(&self, pattern: &str) -> Vec<PathBuf>;
}

/// An open file: stays readable when it is renamed or removed.
pub(super) trait DiskFile {
    /// What it looks like now.
    fn look(&self) -> io::Result<Looked>;

    /// Reads what is there at `offset`; 0 bytes at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local;

impl Disk for Local {
    type File = File;

    fn look(&self, path: &Path) -> io::Result<Looked> {
        Ok(looked(&std::fs::metadata(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn target(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn matches(&self, pattern: &str) -> Vec<PathBuf> {
        pattern::matches(pattern)
    }
}

impl DiskFile for File {
    fn look(&self) -> io::Result<Looked> {
        Ok(looked(&self.metadata()?))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match FileExt::read_at(self, into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

fn looked(metadata: &Metadata) -> Looked {
    Looked {
        identity: Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
        },
        len: metadata.len(),
        modified: Time::from_micros(metadata.mtime() * 1_000_000 + metadata.mtime_nsec() / 1_000),
        is_file: metadata.is_file(),
    }
}

/// No file, or no directory on the way to it: something that may appear later.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
