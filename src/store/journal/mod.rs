//! The journal: accepted bodies on the disk before they are acknowledged, in the order in which
//! they are evaluated. It is the queue between a webhook and the pipeline, what a crash cannot
//! take, and for a while an archive.
//!
//! A folder of *segments*, `000000000001.jsonl` and on. A segment is JSON lines, of entries: a
//! head line, which is an empty `EventList` with a member `journal` (when the body came, of which
//! cluster, how many bytes follow, their hash), then the body's lines as they came. So each
//! segment is an audit log by itself, which `auditwatch replay` reads like any other.
//!
//! [`open()`] gives three ends. A [`Journal`] takes entries from any number of tasks. The [`Writer`]
//! is one thread: all entries that wait are written together, one `fdatasync`, then all are
//! answered. The [`Reader`] follows what is durable, beginning where the last run was committed,
//! so recovery and daily work are the same code and the order is the journal's own.
//!
//! An entry that was not answered may still be found after a crash, and is read then: whoever got
//! no answer sends it again, and each event counts once.

mod disk;
mod entry;
mod metrics;
mod open;
mod reader;
mod segments;
mod settings;
mod state;
mod writer;

#[cfg(test)]
mod tests;

pub use entry::Entry;
pub use metrics::JournalMetrics;
pub use open::{Ends, OpenError, open};
pub use reader::{Reader, Stretch};
pub use segments::Position;
pub use settings::JournalSettings;
pub use state::{Journal, Refused};
pub use writer::Writer;
