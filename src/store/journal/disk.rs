//! The few file operations that the writer needs: the seam at which tests break the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Where segments are kept.
pub(super) trait Disk: Send {
    /// Makes a file that is not there yet, readable by its owner and group alone: request bodies
    /// hold what people would rather not show.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub(super) trait Output: Send {
    /// Appends some of the bytes, at least one, and says how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Drops everything from `length` on.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The machine's own disk.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
        Ok(Box::new(options.open(path)?))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl Output for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Writes all bytes, in as many steps as the disk likes.
pub(super) fn write_all(output: &mut dyn Output, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The words of the metric `auditwatch_journal_failures_total` for the reasons of a disk.
pub(super) fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero => {
            "no_space"
        }
        io::ErrorKind::ReadOnlyFilesystem => "read_only",
        io::ErrorKind::PermissionDenied => "permission",
        _ => "io",
    }
}

/// What to do about an error of the disk.
pub(super) fn advice(error: &io::Error) -> &'static str {
    match reason(error) {
        "no_space" => "make room on that disk, or lower `retain_bytes` of the journal",
        "read_only" => "the file system is mounted read-only; look into the kernel's log for why",
        "permission" => "let the user that auditwatch runs as write there",
        _ => "look into the kernel's log; the disk may be failing",
    }
}
