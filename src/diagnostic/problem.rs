//! One problem with its place, and the collection of all problems of all files.

use std::{cell::RefCell, fmt, sync::Arc};

use super::{SourceFile, Spot, render};

/// Whether a problem stops the file from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The file cannot be used as it is.
    Error,
    /// The file is used; somebody should look.
    Warning,
}

/// One problem: what, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A short stable name for the kind of problem: `unknown-field`.
    pub code: &'static str,
    /// Error or warning.
    pub level: Level,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// The file it is in.
    pub file: Arc<SourceFile>,
    /// Where in the file.
    pub spot: Spot,
    /// What stands under the carets; may be empty.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error with neither label nor help yet.
    pub fn error(
        code: &'static str,
        file: &Arc<SourceFile>,
        spot: Spot,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            level: Level::Error,
            message: message.into(),
            file: Arc::clone(file),
            spot,
            label: String::new(),
            help: None,
        }
    }

    /// A warning with neither label nor help yet.
    pub fn warning(
        code: &'static str,
        file: &Arc<SourceFile>,
        spot: Spot,
        message: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Warning,
            ..Self::error(code, file, spot, message)
        }
    }

    /// Adds what stands under the carets.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the help `did you mean …?` when there is a name to offer, else `otherwise`.
    #[must_use]
    pub fn did_you_mean(self, name: Option<&str>, otherwise: impl Into<String>) -> Self {
        match name {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self.help(otherwise),
        }
    }
}

impl fmt::Display for Diagnostic {
    /// As `check` prints it, several lines with a line end at the last, no colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render::diagnostic(self, f)
    }
}

/// Takes in problems while files are read. Shared by reference among all readers of one load.
#[derive(Debug, Default)]
pub struct Problems {
    found: RefCell<Report>,
}

impl Problems {
    /// Nothing found yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. Beyond [`Report::KEPT_MAX`] they are only counted.
    pub fn add(&self, diagnostic: Diagnostic) {
        let mut report = self.found.borrow_mut();
        match diagnostic.level {
            Level::Error => report.errors += 1,
            Level::Warning => report.warnings += 1,
        }
        if report.kept.len() < Report::KEPT_MAX {
            report.kept.push(diagnostic);
        }
    }

    /// How many errors were found so far. A reader compares before and after to know whether its
    /// own part is sound.
    pub fn errors(&self) -> usize {
        self.found.borrow().errors
    }

    /// All that was found, in the order of files as they were first met, then of places.
    pub fn into_report(self) -> Report {
        let mut report = self.found.into_inner();
        let mut names: Vec<String> = Vec::new();
        for diagnostic in &report.kept {
            if !names.contains(&diagnostic.file.name) {
                names.push(diagnostic.file.name.clone());
            }
        }
        report.kept.sort_by_key(|diagnostic| {
            (
                names.iter().position(|name| *name == diagnostic.file.name),
                diagnostic.spot,
            )
        });
        report
    }
}

/// All problems of all files, sorted. Prints as [`Diagnostic`]s one after the other and a closing
/// line that counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    kept: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Report {
    /// How many problems are kept; the rest is counted. More would help nobody.
    pub const KEPT_MAX: usize = 500;

    /// Each problem.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.kept.iter()
    }

    /// Whether a file cannot be used.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether there is neither error nor warning.
    pub fn is_empty(&self) -> bool {
        self.errors == 0 && self.warnings == 0
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.warnings
    }
}

impl<'r> IntoIterator for &'r Report {
    type Item = &'r Diagnostic;
    type IntoIter = std::slice::Iter<'r, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        render::report(self, f)
    }
}

impl std::error::Error for Report {}
