//! Reads one section of the file, with what flags and variables say laid over it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::overrides::{Given, Overrides};
use crate::{
    diagnostic::{
        Diagnostic, Problems, SourceFile, Spot, Spotted, Table,
        yaml::{Node, Value},
    },
    units::{ByteSize, Span},
};

/// Stands for a section that the file does not have.
static NOTHING: Node = Node {
    value: Value::Mapping(Vec::new()),
    spot: Spot::new(0, 0),
};

/// What all readers of one configuration need.
#[derive(Debug)]
pub(super) struct Reading<'d> {
    /// The file, as messages may show it.
    pub(super) file: Arc<SourceFile>,
    /// The folder that relative paths of the file start from.
    pub(super) folder: &'d Path,
    pub(super) overrides: &'d Overrides,
    pub(super) problems: &'d Problems,
}

/// A setting's value and who gave it.
#[derive(Clone, Debug)]
pub(super) struct Setting<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// Where in the file, or which flag or variable.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: Arc<SourceFile>,
    pub(super) spot: Spot,
}

impl<T> Setting<T> {
    pub(super) fn new(file: &Arc<SourceFile>, spotted: Spotted<T>) -> Self {
        let place = Place {
            file: Arc::clone(file),
            spot: spotted.spot,
        };
        Self {
            value: spotted.value,
            place,
        }
    }
}

impl Place {
    /// An error here; the caller adds it to the problems.
    pub(super) fn error(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, &self.file, self.spot, message)
    }
}

impl Reading<'_> {
    pub(super) fn add(&self, problem: Diagnostic) {
        self.problems.add(problem);
    }

    /// A path: one in the file starts from the file's folder, others from where we are.
    pub(super) fn path(&self, key: &str, text: Setting<String>) -> Option<Setting<PathBuf>> {
        let Setting { value, place } = text;
        let wrong = |message: String, help: &str| {
            self.add(place.error("wrong-value", message).help(help));
        };
        if value.trim().is_empty() {
            wrong(
                format!("`{key}` is empty"),
                "write the path of a file or folder",
            );
            return None;
        }
        if value.contains("://") {
            // Not repeated in the message: URLs of receivers are secrets.
            let help = "write the URL into a file that only auditwatch can read, and give its path";
            wrong(format!("`{key}` must be a path, not a URL"), help);
            return None;
        }
        if value == "~" || value.starts_with("~/") {
            let help = "only a shell knows `~`; write the whole path";
            wrong(format!("`{key}`: `{value}` begins with `~`"), help);
            return None;
        }
        let value = if Arc::ptr_eq(&place.file, &self.file) {
            self.folder.join(value)
        } else {
            PathBuf::from(value)
        };
        Some(Setting { value, place })
    }
}

/// A mapping of the file, and the overrides of the settings in it.
#[derive(Debug)]
pub(super) struct Section<'d> {
    pub(super) table: Table<'d>,
    pub(super) reading: &'d Reading<'d>,
    /// Whether the file has it.
    pub(super) is_given: bool,
    path: String,
}

impl<'d> Section<'d> {
    /// The whole file; `None` when there is none or it is empty.
    pub(super) fn root(root: Option<&'d Node>, reading: &'d Reading<'d>) -> Self {
        let what = "the configuration";
        Self {
            table: Table::of(
                root.unwrap_or(&NOTHING),
                &reading.file,
                reading.problems,
                what,
            ),
            reading,
            is_given: root.is_some(),
            path: String::new(),
        }
    }

    /// A section below this one; settings of one that is not there may still be overridden.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'d> {
        let what = format!("`{key}`");
        let table = self.table.table(key, &what);
        Section {
            is_given: table.is_some(),
            table: table.unwrap_or_else(|| {
                Table::of(&NOTHING, &self.reading.file, self.reading.problems, &what)
            }),
            reading: self.reading,
            path: self.path_of(key) + ".",
        }
    }

    /// The place of the section's key.
    pub(super) fn place(&self) -> Place {
        Place {
            file: Arc::clone(self.table.file),
            spot: self.table.spot,
        }
    }

    /// Reports the keys that nobody took.
    pub(super) fn finish(self) {
        self.table.finish();
    }

    fn path_of(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// What flags or variables say about a setting of this section.
    pub(super) fn given(&self, key: &str) -> Option<&'d Given> {
        self.reading.overrides.get(&self.path_of(key))
    }

    /// Reads a setting from wherever it is given. The file's own value is read in any case, so
    /// that what is wrong with it is told.
    fn read<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&mut Table<'_>) -> Option<Spotted<T>>,
    ) -> Option<Setting<T>> {
        let own = read(&mut self.table).map(|value| Setting::new(self.table.file, value));
        let Some(given) = self.given(key) else {
            return own;
        };
        let node = given.mapping(key);
        let mut table = Table::of(&node, &given.file, self.reading.problems, &given.file.name);
        read(&mut table).map(|value| Setting::new(&given.file, value))
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Setting<String>> {
        self.read(key, |table| table.text(key))
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Setting<bool>> {
        self.read(key, |table| table.boolean(key))
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<Setting<T>> {
        self.read(key, |table| table.word(key, words))
    }

    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Setting<T>> {
        self.read(key, |table| table.parsed(key, &read))
    }

    pub(super) fn path(&mut self, key: &'static str) -> Option<Setting<PathBuf>> {
        let text = self.text(key)?;
        self.reading.path(key, text)
    }

    /// A list of text, all of it from the same place.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<Setting<String>> {
        let own = self.table.texts(key);
        let Some(given) = self.given(key) else {
            let file = self.table.file;
            return own
                .into_iter()
                .map(|text| Setting::new(file, text))
                .collect();
        };
        let node = given.mapping(key);
        let mut table = Table::of(&node, &given.file, self.reading.problems, &given.file.name);
        let texts = table.texts(key).into_iter();
        texts.map(|text| Setting::new(&given.file, text)).collect()
    }

    /// Changes `value` when the setting is given: a whole number from `least`.
    pub(super) fn count(&mut self, key: &'static str, value: &mut usize, least: i64, most: i64) {
        let given = self.read(key, |table| table.integer(key, least, most));
        // Within bounds that fit.
        if let Some(given) = given {
            *value = usize::try_from(given.value).unwrap_or(*value);
        }
    }

    /// Changes `value` when the setting is given: a length of time within bounds.
    pub(super) fn span(&mut self, key: &'static str, value: &mut Span, least: Span, most: Span) {
        let read = |text: &str| {
            let span = Span::parse(text)?;
            if span < least || span > most {
                return Err(format!("`{text}` is not between {least} and {most}"));
            }
            Ok(span)
        };
        if let Some(given) = self.parsed(key, read) {
            *value = given.value;
        }
    }

    /// Changes `value` when the setting is given: a number of bytes within bounds.
    pub(super) fn bytes(
        &mut self,
        key: &'static str,
        value: &mut ByteSize,
        least: ByteSize,
        most: ByteSize,
    ) {
        let read = |text: &str| {
            let size = ByteSize::parse(text)?;
            if size < least || size > most {
                return Err(format!("`{text}` is not between {least} and {most}"));
            }
            Ok(size)
        };
        if let Some(given) = self.parsed(key, read) {
            *value = given.value;
        }
    }
}
