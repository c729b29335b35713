//! What survives the process: one SQLite file in which each transaction commits where the sources
//! read on, the state of engine and alerts, and the outbox, together.
//!
//! [`Store`] opens the directory and gives what was kept; [`Keeper`] is its thread, which takes
//! one [`Checkpoint`] at a time. Beside it the [`journal`] of a webhook. Not here: what a source reads (`source`), what state is
//! (`detect`, `alert`), how a receiver is told (`notify`).

mod bookmark;
mod checkpoint;
mod database;
mod history;
pub mod journal;
mod keeper;
mod keeping;
mod metrics;
mod open;
mod outbox;
#[cfg(test)]
mod tests;
mod trouble;

pub use bookmark::{Bookmark, Commits, Kept};
pub use checkpoint::{Checkpoint, Note, Then};
pub use database::{Loaded, OpenError};
pub use history::{Ended, History, Retention};
pub use keeper::{Deliver, Delivery, Keeper};
pub use keeping::Keeping;
pub use metrics::Metrics;
pub use open::{Settings, Store};
pub use outbox::{Count, Entry, Outbox, Which};
pub use trouble::{Fault, Faults, Reason};
