//! Live files: follows a growing audit log through rotation, truncation and absence.
//!
//! What to do next is decided by [`Plan`], which sees only what files look like and when, so that
//! a simulation can drive it; `file` makes the system calls; `follow` joins both for one path;
//! `tailer` runs all paths of one source on one thread.

mod check;
mod counts;
mod file;
mod follow;
mod pattern;
mod plan;
mod settings;
mod tailer;
mod watch;

#[cfg(test)]
mod tests;

pub use file::{Fingerprint, Position};
pub use plan::{Holding, Identity, Look, Plan, Seen, Step};
pub use settings::{From, TailSettings};
pub use tailer::Tailer;
