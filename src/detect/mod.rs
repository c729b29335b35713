//! The engine: admits each request once, counts, and says what was detected.

mod detection;

pub use detection::Detection;
/// STAND-IN
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceId(pub u16);
