//! The moving parts joined: what reads, decodes, counts and tells, from archives or live.

mod cases;
mod judge;
pub mod replay;

pub use cases::{CaseResult, run_case};
pub use judge::Judge;
