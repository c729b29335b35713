//! Sigma rules.

mod correlation;
mod extension;
mod meta;
mod template;

pub use correlation::{Bounds, Correlation, Kind, Member, Source};
pub use extension::{Extension, Novelty, Rate};
pub use meta::{RuleMeta, Severity};
pub use template::Template;
