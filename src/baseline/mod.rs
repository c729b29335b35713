//! What is normal for a key, and what is not: novelty (a value never seen before) and rate (far
//! more than ever before).
//!
//! Both learn in event time from what they are fed, and both are bounded: so many keys, so many
//! values a key, and a counter for what had to go. State is plain data.
//!
//! What was told is not learnt by being told. It is held until
//! [`Engine::acknowledge`](crate::detect::Engine::acknowledge) is called with the rule's id, the
//! cluster and the key of its alert, or until it has aged: see [`Novelty`].
//!
//! Not here: which rule feeds a baseline, and what a key or a value is made of.

mod known;
mod novelty;
mod rate;

pub use known::{Hold, Known, Value, Whose};
pub use novelty::{Novel, Novelty, NoveltySpec, Progress, Shown, Trust};
pub use rate::{Rate, RateSpec, Surge};
