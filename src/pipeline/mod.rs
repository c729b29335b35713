//! The moving parts joined: observations in, changes of alerts out.
//!
//! [`Judge`] is what live and replay share. [`App`] is the daemon: sources, workers, the judge's
//! thread, receivers.

mod app;
mod bench;
mod cases;
mod checkpoints;
mod console;
mod counts;
mod dispatch;
mod judge;
mod keeping;
mod live;
mod opening;
mod orders;
mod reload;
pub mod replay;
mod routing;
mod settings;
mod sight;
mod threads;
mod worker;

#[cfg(test)]
mod tests;

pub use app::{App, StartError, Stopped};
pub use cases::{CaseResult, run_case};
pub use judge::Judge;
pub use live::LiveAlerts;
pub use orders::{Asked, Orders, Refusal, Reply, Wish};
pub use settings::{Console, Form, ReadRules, RuleFiles, Settings};
pub use sight::LiveSight;
pub use worker::clock;
