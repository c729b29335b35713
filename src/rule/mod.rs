//! Sigma rules.

mod correlation;
mod extension;
mod meta;
mod shipped;
mod template;

pub use correlation::{Bounds, Correlation, Kind, Member, Source};
pub use extension::{Extension, Novelty, Rate};
pub use meta::{RuleMeta, Severity};
pub use shipped::shipped_rules;
pub use template::Template;
