//! What people write to say how auditwatch runs: one YAML document, flags, environment variables,
//! and rule files on disk.
//!
//! [`configure`] gives [`Settings`] that cannot be wrong, or says all that is wrong at once. Not
//! here: anything that runs (`pipeline`, `server`).

mod address;
mod limits;
mod load;
mod mask;
mod names;
mod overrides;
mod receivers;
mod routes;
mod rule_files;
mod rules;
mod section;
mod settings;
mod sources;
mod targets;
mod templates;
mod webhook;

#[cfg(test)]
mod tests;

pub use load::{ADMIN_DEFAULT, ConfigError, Configured, configure};
pub use names::settings_table;
pub use overrides::Overrides;
pub use rule_files::{RuleFilesError, case_files, read_layer, read_text, shipped_layer};
pub use rules::RulesError;
pub use settings::{ReceiverSettings, ReceiverTarget, RuleSettings, Settings};
