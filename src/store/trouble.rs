//! Why the state could not be written, in words for people and in few values for metrics; and the
//! seam at which tests make that happen.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{ErrorCode, ffi};

/// Why a write failed; a metrics label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No room on the disk.
    Full,
    /// The disk or the file system failed.
    Io,
    /// Another process holds the file.
    Locked,
    /// We may not write.
    ReadOnly,
    /// The file is damaged.
    Corrupt,
    /// Anything else.
    Other,
}

impl Reason {
    /// All of them, so that metrics start at zero.
    pub const ALL: [Self; 6] = [
        Self::Full,
        Self::Io,
        Self::Locked,
        Self::ReadOnly,
        Self::Corrupt,
        Self::Other,
    ];

    /// As the metrics spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Io => "io",
            Self::Locked => "locked",
            Self::ReadOnly => "read_only",
            Self::Corrupt => "corrupt",
            Self::Other => "other",
        }
    }

    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure) => Self::Io,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
                Self::ReadOnly
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt,
            _ => Self::Other,
        }
    }

    /// What to do about it.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Full => "make room on its disk, it goes on by itself",
            Self::Io => "look at the disk (dmesg); it goes on by itself when writing works again",
            Self::Locked => "another process holds the file: end it, it goes on by itself",
            Self::ReadOnly => {
                "the directory must be on a file system that we may write to; it goes on by itself"
            }
            Self::Corrupt => {
                "the file is damaged: restart auditwatch, it puts the file aside and begins anew"
            }
            Self::Other => "it is tried again",
        }
    }
}

/// What happened and what to do, for `/readyz` and the log.
pub(super) fn explain(error: &rusqlite::Error, file: &Path) -> String {
    let advice = Reason::of(error).advice();
    format!("cannot write {}: {error}; {advice}", file.display())
}

/// Makes writes fail, for tests: a fault stays until it is taken back.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Option<Fault>>>);

/// They are no setting that could differ.
impl PartialEq for Faults {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Faults {}

/// What a disk may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No room, found while writing (ENOSPC).
    Full,
    /// The disk fails while writing (EIO).
    Io,
    /// All is written, but it cannot be made safe (fsync fails).
    Sync,
}

impl Faults {
    /// From now on, or no longer.
    pub fn set(&self, fault: Option<Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn raise(&self, raised: impl Fn(Fault) -> Option<i32>) -> rusqlite::Result<()> {
        let fault = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.and_then(raised) {
            None => Ok(()),
            Some(code) => Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)),
        }
    }

    pub(super) fn writing(&self) -> rusqlite::Result<()> {
        self.raise(|fault| match fault {
            Fault::Full => Some(ffi::SQLITE_FULL),
            Fault::Io => Some(ffi::SQLITE_IOERR_WRITE),
            Fault::Sync => None,
        })
    }

    pub(super) fn committing(&self) -> rusqlite::Result<()> {
        self.raise(|fault| (fault == Fault::Sync).then_some(ffi::SQLITE_IOERR_FSYNC))
    }
}
