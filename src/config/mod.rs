//! What people write to say how auditwatch runs: rule files on disk, settings.

mod rule_files;

pub use rule_files::{
    RuleFilesError, case_files, read_layer, read_layers, read_text, shipped_layer,
};
