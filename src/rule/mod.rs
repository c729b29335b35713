//! Sigma rules: read and checked from text, compiled to flat tests, found by an index.
//!
//! [`RuleSet::load`] reads all files and says all that is wrong with them; [`Matcher`] tells which
//! rules an event matches; [`RuleSet::explain`] tells why. Counting is not done here: correlations
//! leave as plain descriptions that `detect` runs.

mod audit_policy;
mod cases;
mod codes;
mod condition;
mod correlate;
mod correlation;
mod detection;
mod document;
mod drafts;
mod explain;
mod extend;
mod extension;
mod field;
mod head;
mod impossible;
mod index;
mod link;
mod load;
mod logic;
mod meta;
mod modifier;
mod operand;
mod pattern;
mod placeholder;
mod predicate;
mod set;
mod shipped;
mod sight;
mod template;

#[cfg(test)]
mod tests;

pub use audit_policy::{AuditPolicy, Decision, group_of};
pub use cases::{Case, Expectation, read_cases};
pub use codes::CODES;
pub use correlation::{Bounds, Correlation, Kind, Member, Source};
pub use explain::Explanation;
pub use extend::is_plain_link;
pub use extension::{Extension, Novelty, Rate, Silence};
pub use index::{Likeness, Matcher};
pub use load::{Layer, Loaded};
pub use meta::{RuleMeta, Severity};
pub use set::{Rule, RuleSet};
pub use shipped::shipped_rules;
pub use sight::{RequestKind, Sight};
pub use template::{Extras, Template, TemplateMistake, quoted as shell_quoted};
