//! Sigma rules.

mod meta;

pub use meta::{RuleMeta, Severity};
