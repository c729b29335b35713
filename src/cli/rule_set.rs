//! How the commands load rules: the shipped ones and `--rules`, or say all that is wrong.

use std::{path::PathBuf, sync::Arc};

use clap::Args;

use super::{Failure, terminal};
use crate::{
    config::{RuleSettings, RulesError},
    rule::{Layer, Loaded, RuleSet},
};

/// Which rules a command works with.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct RuleArgs {
    /// A folder or file of rules, added to the shipped ones; a rule with the id of a shipped one
    /// replaces it. Can be given several times.
    #[arg(
        long,
        value_name = "DIR|FILE",
        env = "AUDITWATCH_RULES",
        value_delimiter = ':'
    )]
    pub(super) rules: Vec<PathBuf>,
    /// Leave the shipped rules out.
    #[arg(long)]
    pub(super) no_shipped_rules: bool,
    /// Switch on a rule that is off by itself, by its name or id; `all` for every one. Can be
    /// given several times.
    #[arg(
        long,
        value_name = "RULE",
        env = "AUDITWATCH_ENABLE",
        value_delimiter = ','
    )]
    pub(super) enable: Vec<String>,
}

impl RuleArgs {
    /// Loads the rules; warnings go to stderr.
    pub(super) fn load(&self) -> Result<Arc<RuleSet>, Failure> {
        if self.no_shipped_rules && self.rules.is_empty() {
            let help = "--no-shipped-rules leaves no rule at all; name your own with --rules DIR";
            return Err(Failure::Wrong(help.to_owned()));
        }
        let settings = RuleSettings {
            paths: self.rules.clone(),
            shipped: !self.no_shipped_rules,
            enable: self.enable.clone(),
            disable: Vec::new(),
        };
        let wrong = |error: RulesError| Failure::Wrong(error.to_string());
        let Loaded { set, warnings } = settings.load().map_err(wrong)?;
        if !warnings.is_empty() {
            terminal::say(&warnings.to_string());
        }
        Ok(Arc::new(set))
    }
}

/// Loads layers of rules; all problems become one failure.
pub(super) fn load(layers: &[Layer]) -> Result<Loaded, Failure> {
    RuleSet::load(layers)
        .map_err(|report| Failure::Wrong(format!("{report}\nthe rules cannot be loaded")))
}
