//! What can be set about a journal.

use std::time::Duration;

use crate::units::{ByteSize, Span};

/// The section `sources.webhook.journal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// A segment that has this many bytes is closed and the next one begun.
    pub segment_bytes: ByteSize,
    /// So is one that is this old.
    pub segment_age: Span,
    /// Segments that were read and committed are kept for this long…
    pub retain_age: Span,
    /// …and as long as all of them together have no more than this many bytes.
    pub retain_bytes: ByteSize,
    /// The most bytes that may wait to be evaluated and committed; beyond that nothing is taken.
    pub backlog_max: ByteSize,
}

impl JournalSettings {
    /// The least that `backlog_max` may be: one long body must fit.
    pub const BACKLOG_LEAST: ByteSize = ByteSize(64 << 20);
}

impl Default for JournalSettings {
    /// A day or a gibibyte of archive, and two gibibytes of backlog: about two million events,
    /// which is eight minutes of the most that one API server sends.
    fn default() -> Self {
        Self {
            segment_bytes: ByteSize(64 << 20),
            segment_age: Span::from_secs(600),
            retain_age: Span::from_secs(86_400),
            retain_bytes: ByteSize(1 << 30),
            backlog_max: ByteSize(2 << 30),
        }
    }
}

/// How often the writer looks after itself: tries a disk that had failed, closes segments, deletes
/// old ones.
pub(super) const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// How many entries may wait for the writer.
pub(super) const WAITING_MAX: usize = 4096;

/// About how many bytes are written before the disk is asked to keep them.
pub(super) const GROUP_BYTES: u64 = 16 << 20;
