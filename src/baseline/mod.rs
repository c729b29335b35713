//! What is normal for a key, and what is not: novelty (a value never seen before) and rate (far
//! more than ever before).
//!
//! Both learn in event time from what they are fed, and both are bounded: so many keys, so many
//! values a key, and a counter for what had to go. State is plain data.
//!
//! Not here: which rule feeds a baseline, and what a key or a value is made of.

mod novelty;
mod rate;

pub use novelty::{Novel, Novelty, NoveltySpec};
pub use rate::{Rate, RateSpec, Surge};
