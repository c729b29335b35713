//! What survives the process: where each source reads on, committed together with all else.
//!
//! Not here: what a source reads and how (`source`), who is told (`notify`).

mod bookmark;
pub mod journal;

pub use bookmark::{Bookmark, Commits, Kept};
