//! Sigma's text values: `*` and `?` as wildcards, `\*`, `\?` and `\\` as themselves.

use regex::escape;

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Piece {
    Text(String),
    /// `?`: exactly one character.
    One,
    /// `*`: any characters, also none.
    Run,
}

/// A text value of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pattern(Vec<Piece>);

/// What is to be found where: the cheapest test that a pattern needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    /// The whole value is this text.
    Whole(String),
    /// The value starts with this text.
    Start(String),
    /// The value ends with this text.
    End(String),
    /// The value contains this text.
    Inside(String),
    /// Anything at all.
    Anything,
    /// Wildcards between texts, as a regular expression over the whole value.
    Mixed(String),
}

impl Pattern {
    /// Reads a value as Sigma writes it. A backslash before anything but `*`, `?` and `\` is
    /// itself.
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces = Self(Vec::new());
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' => match characters.next_if(|next| matches!(next, '*' | '?' | '\\')) {
                    Some(escaped) => pieces.push_character(escaped),
                    None => pieces.push_character('\\'),
                },
                '?' => pieces.0.push(Piece::One),
                '*' => pieces.push_run(),
                other => pieces.push_character(other),
            }
        }
        pieces
    }

    fn push_character(&mut self, character: char) {
        if let Some(Piece::Text(text)) = self.0.last_mut() {
            text.push(character);
        } else {
            self.0.push(Piece::Text(character.to_string()));
        }
    }

    fn push_run(&mut self) {
        if self.0.last() != Some(&Piece::Run) {
            self.0.push(Piece::Run);
        }
    }

    /// The same with a `*` before it and behind it, as `contains` and its like say.
    pub(super) fn widened(mut self, before: bool, behind: bool) -> Self {
        if before && self.0.first() != Some(&Piece::Run) {
            self.0.insert(0, Piece::Run);
        }
        if behind {
            self.push_run();
        }
        self
    }

    /// The text, when it holds no wildcard.
    pub(super) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The cheapest test for it.
    pub(super) fn shape(self) -> Shape {
        use Piece::{Run, Text};
        match self.0.as_slice() {
            [] => Shape::Whole(String::new()),
            [Run] => Shape::Anything,
            [Text(text)] => Shape::Whole(text.clone()),
            [Text(text), Run] => Shape::Start(text.clone()),
            [Run, Text(text)] => Shape::End(text.clone()),
            [Run, Text(text), Run] => Shape::Inside(text.clone()),
            pieces => Shape::Mixed(mixed(pieces)),
        }
    }
}

fn mixed(pieces: &[Piece]) -> String {
    let mut expression = String::from("^");
    for piece in pieces {
        match piece {
            Piece::Text(text) => expression.push_str(&escape(text)),
            Piece::One => expression.push('.'),
            Piece::Run => expression.push_str(".*"),
        }
    }
    expression.push('$');
    expression
}

/// Lower case, character by character, so that case does not count when folded texts are compared.
/// What is folded already is borrowed.
pub(super) fn fold(text: &str) -> std::borrow::Cow<'_, str> {
    if text
        .bytes()
        .all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
    {
        text.into()
    } else if text.is_ascii() {
        text.to_ascii_lowercase().into()
    } else {
        text.chars()
            .flat_map(char::to_lowercase)
            .collect::<String>()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let text = str::to_owned;
        for (written, shape) in [
            ("get", Shape::Whole(text("get"))),
            ("", Shape::Whole(String::new())),
            ("system:*", Shape::Start(text("system:"))),
            ("*-admin", Shape::End(text("-admin"))),
            ("**x*", Shape::Inside(text("x"))),
            ("*", Shape::Anything),
            (r"\*", Shape::Whole(text("*"))),
            (r"a\\*", Shape::Start(text("a\\"))),
            (r"a\\\*", Shape::Whole(text("a\\*"))),
            (r"C:\x\?", Shape::Whole(text(r"C:\x?"))),
            (r"\\", Shape::Whole(text("\\"))),
            ("a?c*.d", Shape::Mixed(text(r"^a.c.*\.d$"))),
        ] {
            assert_eq!(Pattern::parse(written).shape(), shape, "{written}");
        }
        assert_eq!(
            Pattern::parse("x*").widened(true, true).shape(),
            Shape::Inside(text("x"))
        );
        assert_eq!(
            Pattern::parse("x").widened(false, true).shape(),
            Shape::Start(text("x"))
        );
    }

    #[test]
    fn folds_beyond_ascii() {
        for (text, folded) in [
            ("get", "get"),
            ("GET", "get"),
            ("ÄÖ", "äö"),
            ("\u{212a}8s", "k8s"),
        ] {
            assert_eq!(fold(text), folded);
        }
    }
}
