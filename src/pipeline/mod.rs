//! The moving parts joined: observations in, changes of alerts out.

mod cases;
mod judge;

pub use cases::{CaseResult, run_case};
pub use judge::Judge;
