//! How text is laid out on a terminal: colours, rows with a label, wrapping.

use unicode_width::UnicodeWidthChar;

use super::quoted::quoted;
use crate::{
    alert::{
        visible,
        words::{Phrase, Piece},
    },
    rule::Severity,
};

/// What the terminal can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether colours and bold may be used.
    pub colour: bool,
    /// Columns; taken as at least [`Style::WIDTH_MIN`].
    pub width: usize,
}

impl Default for Style {
    /// Plain, 100 columns: for files and pipes.
    fn default() -> Self {
        Self {
            colour: false,
            width: 100,
        }
    }
}

impl Style {
    /// Below this, lines are left to the terminal to wrap.
    pub const WIDTH_MIN: usize = 60;

    pub(super) fn columns(self) -> usize {
        self.width.max(Self::WIDTH_MIN)
    }

    pub(super) fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// The severity's word, seen from across the room when it is urgent.
    pub(super) fn severity(self, severity: Severity, text: &str) -> String {
        let code = match severity {
            Severity::Critical => "1;97;41",
            Severity::High => "1;31",
            Severity::Medium => "1;33",
            Severity::Low => "36",
            Severity::Informational => "2",
        };
        self.paint(code, text)
    }
}

/// Columns that `text` takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

pub(super) fn char_width(c: char) -> usize {
    c.width().unwrap_or(1)
}

/// Where the text of a row starts.
pub(super) const MARGIN: usize = 10;

/// Adds `label  text`, wrapped, each further line under the text. Values stand out. A value
/// cannot pose as a row of its own: whatever it contains, its lines start at the margin.
pub(super) fn row(out: &mut String, style: Style, label: &str, phrase: &Phrase) {
    let label = format!("  {label:<width$}", width = MARGIN - 2);
    out.push_str(&style.dim(&label));
    let mut column = MARGIN;
    for piece in &phrase.0 {
        let (text, strong) = match piece {
            Piece::Ours(text) => (visible(text), false),
            Piece::Theirs(text) => (quoted(text), true),
            Piece::Command(text) => (visible(text), true),
        };
        for word in text.split_inclusive(' ') {
            place(out, style, &mut column, word, strong);
        }
    }
    end_line(out);
}

/// Adds one word; on a new line when there is no room for it, in parts when no line has room.
fn place(out: &mut String, style: Style, column: &mut usize, word: &str, strong: bool) {
    let columns = style.columns();
    if *column + width(word.trim_end()) > columns && *column > MARGIN {
        end_line(out);
        out.push_str(&" ".repeat(MARGIN));
        *column = MARGIN;
    }
    let mut part = String::new();
    for c in word.chars() {
        if *column + char_width(c) > columns && c != ' ' {
            put(out, style, &part, strong);
            part.clear();
            end_line(out);
            out.push_str(&" ".repeat(MARGIN));
            *column = MARGIN;
        }
        part.push(c);
        *column += char_width(c);
    }
    put(out, style, &part, strong);
}

fn put(out: &mut String, style: Style, text: &str, strong: bool) {
    // A space in bold is no bolder.
    let bare = text.trim_end_matches(' ');
    if strong && !bare.is_empty() {
        out.push_str(&style.bold(bare));
        out.push_str(&text[bare.len()..]);
    } else {
        out.push_str(text);
    }
}

/// Ends a line without blanks at its end.
pub(super) fn end_line(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}
