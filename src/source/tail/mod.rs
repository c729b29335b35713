//! Live files: follows a growing audit log through rotation, truncation and absence.
//!
//! What to do next is decided by [`Plan`], which sees only what files look like and when, so that
//! a simulation can drive it; `file` makes the system calls; `follow` joins both for one path;
//! `tailer` runs all paths of one source on one thread.

mod beside;
mod book;
mod check;
mod choice;
mod counts;
mod disk;
mod files;
mod follow;
mod held;
mod mark;
mod pattern;
mod plan;
mod resume;
mod rotated;
mod settings;
mod since;
mod tailer;
mod watch;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use disk::Identity;
pub use mark::{Mark, Print};
pub use plan::{Holding, Look, Plan, Seen, Step};
pub use settings::{From, TailSettings};
pub use tailer::Tailer;
