//! Sigma rules.

mod correlation;
mod extension;
mod meta;

pub use correlation::{Bounds, Correlation, Kind, Member, Source};
pub use extension::{Extension, Novelty, Rate};
pub use meta::{RuleMeta, Severity};
