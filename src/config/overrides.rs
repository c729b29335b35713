//! What flags and environment variables say about settings, before anybody knows if it is right.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use super::names::{self, NAMES, Name};
use crate::diagnostic::{
    Diagnostic, Problems, SourceFile, Spot, nearest,
    yaml::{Entry, Node, Scalar, Style, Value},
};

/// Settings from flags and from the environment. Flags win over variables, whichever is told
/// first.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    given: BTreeMap<&'static str, Given>,
    /// Variables that are no settings.
    unknown: Vec<String>,
    /// Variables whose value is not UTF-8.
    unreadable: Vec<String>,
}

/// The values of one setting and who gave them.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) values: Vec<String>,
    /// Named like the flag or variable, and without text: messages show the name.
    pub(super) file: Arc<SourceFile>,
    is_flag: bool,
}

impl Overrides {
    /// Takes the values of a flag; none means that it was not given.
    ///
    /// `setting` is the setting's place in the file, `flag` what people write.
    #[must_use]
    pub fn flag(
        mut self,
        setting: &'static str,
        flag: &str,
        values: impl IntoIterator<Item = String>,
    ) -> Self {
        let values: Vec<String> = values.into_iter().collect();
        if !values.is_empty() {
            self.given.insert(setting, Given::new(flag, values, true));
        }
        self
    }

    /// Takes the environment's variables that begin with `AUDITWATCH_`. An empty one counts as
    /// not set.
    #[must_use]
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut ours: Vec<(String, OsString)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, value)| name.starts_with(names::PREFIX) && !value.is_empty())
            .collect();
        ours.sort();
        for (variable, value) in ours {
            let Some(name) = NAMES.iter().find(|name| name.variable() == variable) else {
                if !names::is_foreign(&variable) {
                    self.unknown.push(variable);
                }
                continue;
            };
            let Ok(value) = value.into_string() else {
                self.unreadable.push(variable);
                continue;
            };
            if self.given.get(name.path).is_some_and(|given| given.is_flag) {
                continue;
            }
            let values = match name.separator {
                None => vec![value],
                Some(separator) => value
                    .split(separator)
                    .map(|value| value.trim().to_owned())
                    .filter(|value| !value.is_empty())
                    .collect(),
            };
            self.given
                .insert(name.path, Given::new(&variable, values, false));
        }
        self
    }

    pub(super) fn get(&self, setting: &str) -> Option<&Given> {
        debug_assert!(Name::of(setting).is_some(), "{setting} is in the table");
        self.given.get(setting)
    }

    /// Reports the variables that mean nothing.
    pub(super) fn report(&self, problems: &Problems) {
        let known: Vec<String> = NAMES.iter().map(Name::variable).collect();
        for variable in &self.unknown {
            let file = Arc::new(SourceFile::new(variable, ""));
            let message = format!("the environment variable `{variable}` is no setting");
            let near = nearest(variable, known.iter().map(String::as_str));
            problems.add(
                Diagnostic::warning("unknown-variable", &file, Spot::default(), message)
                    .did_you_mean(
                        near,
                        "docs/configuration.md lists all; unset it if it is not ours",
                    ),
            );
        }
        for variable in &self.unreadable {
            let file = Arc::new(SourceFile::new(variable, ""));
            let message = format!("the environment variable `{variable}` is not UTF-8");
            problems.add(Diagnostic::error(
                "wrong-value",
                &file,
                Spot::default(),
                message,
            ));
        }
    }
}

impl Given {
    fn new(name: &str, values: Vec<String>, is_flag: bool) -> Self {
        Self {
            values,
            file: Arc::new(SourceFile::new(name, "")),
            is_flag,
        }
    }

    /// As the file would say it: `key: value`, a list if there is not exactly one value.
    pub(super) fn mapping(&self, key: &str) -> Node {
        let value = match self.values.as_slice() {
            [value] => text(value),
            values => at_nowhere(Value::Sequence(
                values.iter().map(|value| text(value)).collect(),
            )),
        };
        mapping(key, value)
    }
}

/// A plain scalar that stands in no file.
pub(super) fn text(text: &str) -> Node {
    at_nowhere(Value::Scalar(Scalar {
        text: text.to_owned(),
        style: Style::Plain,
    }))
}

/// `key: value` that stands in no file.
pub(super) fn mapping(key: &str, value: Node) -> Node {
    at_nowhere(Value::Mapping(vec![Entry {
        key: key.to_owned(),
        key_spot: Spot::default(),
        value,
    }]))
}

fn at_nowhere(value: Value) -> Node {
    Node {
        value,
        spot: Spot::default(),
    }
}
