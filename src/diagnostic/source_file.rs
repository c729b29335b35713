//! A file that somebody wrote, and places in it.

use std::fmt;

/// A file's name, as people know it, and its whole text.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The path or whatever else names it (`built-in rules`, `--trusted-proxy`).
    pub name: String,
    /// The text. Empty for what is no file: then diagnostics show the name alone.
    pub text: String,
}

/// A range of bytes in a file's text, end excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
}

impl Spot {
    /// The range `start..end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }
}

/// A line of a file and where in it a spot begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// From 1.
    pub(super) number: usize,
    /// From 1, in characters.
    pub(super) column: usize,
    /// The line without its end.
    pub(super) text: &'t str,
    /// How many characters of the spot lie on this line; at least 1.
    pub(super) width: usize,
}

impl SourceFile {
    /// Puts name and text together. A byte order mark is not part of the text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Self {
            name: name.into(),
            text,
        }
    }

    /// The file's name without directories and ending: `rules/probe.yml` → `probe`.
    pub fn stem(&self) -> &str {
        let base = self.name.rsplit(['/', '\\']).next().unwrap_or(&self.name);
        base.split_once('.').map_or(base, |(stem, _)| stem)
    }

    /// The text of a spot; empty when the spot is not in the text.
    pub fn slice(&self, spot: Spot) -> &str {
        self.text.get(spot.start..spot.end).unwrap_or_default()
    }

    /// The line number (from 1) of a spot.
    pub fn line_number(&self, spot: Spot) -> usize {
        self.line(spot).number
    }

    pub(super) fn line(&self, spot: Spot) -> Line<'_> {
        let mut start = spot.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |at| start + at);
        let end = spot.end.clamp(start, line_end);
        let width = self
            .text
            .get(start..end)
            .map_or(1, |text| text.trim_end().chars().count());
        Line {
            number: before.matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            text: self.text[line_start..line_end].trim_end_matches('\r'),
            width: width.max(1),
        }
    }
}

impl fmt::Debug for SourceFile {
    /// The name alone: a whole text would drown everything else.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceFile({:?})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_lines_and_columns_in_characters() {
        let file = SourceFile::new("x", "a: 1\nключ: два  \r\nlast");
        let start = file.text.find("два").unwrap();
        let line = file.line(Spot::new(start, start + "два  ".len()));
        assert_eq!(
            line,
            Line {
                number: 2,
                column: 7,
                text: "ключ: два  ",
                width: 3
            }
        );
        assert_eq!(file.line(Spot::new(999, 1_000)).number, 3);
        assert_eq!(file.line(Spot::new(start + 1, start + 2)).column, 7);
    }

    #[test]
    fn knows_its_stem() {
        for (name, stem) in [
            ("rules/a/b.yml", "b"),
            ("b.cases.yml", "b"),
            ("b", "b"),
            ("", ""),
        ] {
            assert_eq!(SourceFile::new(name, "").stem(), stem);
        }
    }
}
