//! The section `rules`, and the rules that it names, read and ready to run.

use super::{
    rule_files::{RuleFilesError, read_layer, shipped_layer},
    section::Section,
    settings::RuleSettings,
};
use crate::{
    diagnostic::Report,
    rule::{Layer, Loaded, Member, RuleSet},
};

/// Why rules could not be loaded. Prints as what to show, several lines maybe.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A folder or file cannot be read.
    #[error(transparent)]
    Files(#[from] RuleFilesError),
    /// Rules are wrong.
    #[error("{0}\nthe rules cannot be loaded")]
    Wrong(Report),
    /// `rules.enable` or `rules.disable` names none of the rules.
    #[error("`rules.{key}`: {problem}")]
    Unknown {
        /// `enable` or `disable`.
        key: &'static str,
        /// Which name, and what to write instead.
        problem: String,
    },
}

impl RuleSettings {
    /// Reads, checks and compiles the rules. May be called again at any time; the rules on disk
    /// may have changed, or be wrong by now.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn load(&self) -> Result<Loaded, RulesError> {
        let mut loaded = RuleSet::load(&self.layers()?).map_err(RulesError::Wrong)?;
        self.switch(&mut loaded.set)?;
        Ok(loaded)
    }

    /// The files that they are read from, the lowest layer first.
    ///
    /// # Errors
    /// When a folder or file cannot be read.
    pub fn layers(&self) -> Result<Vec<Layer>, RuleFilesError> {
        let shipped = self.shipped.then(shipped_layer).map(Ok);
        let own = self.paths.iter().map(|path| read_layer(path));
        shipped.into_iter().chain(own).collect()
    }

    /// A disabled rule still feeds the correlations that count it.
    fn switch(&self, set: &mut RuleSet) -> Result<(), RulesError> {
        for (key, names, on) in [
            ("enable", &self.enable, true),
            ("disable", &self.disable, false),
        ] {
            for name in names {
                if on && name == ALL {
                    set.enable_all();
                    continue;
                }
                let found = set.find(name);
                let member = found.map_err(|problem| RulesError::Unknown { key, problem })?;
                match member {
                    Member::Rule(place) => set.rules[place].reports = on,
                    Member::Correlation(place) => set.correlations[place].reports = on,
                }
            }
        }
        Ok(())
    }
}

/// What `rules.enable` calls all rules that are off by themselves.
const ALL: &str = "all";

pub(super) fn read(mut section: Section<'_>) -> RuleSettings {
    let reading = section.reading;
    let paths: Vec<_> = section
        .texts("paths")
        .into_iter()
        .filter_map(|path| reading.path("paths", path))
        .collect();
    for path in paths.iter().filter(|path| !path.value.exists()) {
        let message = format!("`{}`: no such file or folder", path.value.display());
        let problem = path.place.error("unusable-file", message);
        reading.add(problem.help("name a folder or file of rules"));
    }
    let shipped = section.boolean("shipped");
    let enable = section.texts("enable");
    let disable = section.texts("disable");
    if let Some(shipped) = shipped
        .as_ref()
        .filter(|shipped| !shipped.value && paths.is_empty())
    {
        let problem = shipped
            .place
            .error("contradiction", "this leaves no rule at all");
        reading.add(problem.help("name your own with `rules.paths` or --rules DIR"));
    }
    section.finish();
    RuleSettings {
        paths: paths.into_iter().map(|path| path.value).collect(),
        shipped: shipped.is_none_or(|shipped| shipped.value),
        enable: enable.into_iter().map(|name| name.value).collect(),
        disable: disable.into_iter().map(|name| name.value).collect(),
    }
}
