//! The rules that ship inside the binary: the files below `rules/`, put in by `build.rs`.

use crate::diagnostic::SourceFile;

/// Path and text of each shipped rule file, ordered by path.
static FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped_rules.rs"));

/// The shipped rule files.
pub fn shipped_rules() -> Vec<SourceFile> {
    FILES
        .iter()
        .map(|(name, text)| SourceFile::new(*name, *text))
        .collect()
}
