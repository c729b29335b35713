//! The engine: admits each request once, counts, and says what was detected.

mod detection;

pub use detection::Detection;
