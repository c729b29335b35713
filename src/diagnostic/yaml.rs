//! YAML text as a tree whose every node knows its place. Only here is the YAML crate known.
//!
//! YAML 1.2, several documents a file, anchors and aliases. Bounded: a text has at most
//! [`TEXT_MAX`] bytes, a file [`NODES_MAX`] nodes with aliases counted as often as they are used,
//! and nesting ends at [`DEPTH_MAX`]. A scalar stays text; [`Scalar::resolve`] says what a plain
//! one means. Not here: what keys mean ([`super::Table`]).

mod build;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use saphyr_parser::Parser;

use build::Builder;

use super::{Diagnostic, Problems, SourceFile, Spot};

/// The longest text that is read, in bytes.
pub const TEXT_MAX: usize = 16 << 20;
/// The most nodes in one file.
pub const NODES_MAX: usize = 500_000;
/// The deepest nesting.
pub const DEPTH_MAX: usize = 64;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file it stands in.
    pub file: Arc<SourceFile>,
    /// Its content.
    pub root: Node,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What stands there.
    pub value: Value,
    /// Where.
    pub spot: Spot,
}

/// The three kinds of value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, a number, a truth value or null.
    Scalar(Scalar),
    /// `- …` or `[…]`.
    Sequence(Vec<Node>),
    /// `key: …` or `{…}`, in the order of the file, no key twice.
    Mapping(Vec<Entry>),
}

/// One `key: value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub key_spot: Spot,
    /// The value.
    pub value: Node,
}

/// Text as written, quotes and escapes taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes; only then can it be more than text.
    Plain,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `|` or `>`
    Block,
}

/// What a scalar means in YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resolved<'s> {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number; never NaN.
    Float(f64),
    /// Anything else.
    Text(&'s str),
}

impl Scalar {
    /// What the scalar means. `yes`, `no`, `on` and `off` are text, as in YAML 1.2.
    pub fn resolve(&self) -> Resolved<'_> {
        let text = self.text.as_str();
        if self.style != Style::Plain {
            return Resolved::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
            "true" | "True" | "TRUE" => return Resolved::Bool(true),
            "false" | "False" | "FALSE" => return Resolved::Bool(false),
            ".inf" | ".Inf" | "+.inf" => return Resolved::Float(f64::INFINITY),
            "-.inf" | "-.Inf" => return Resolved::Float(f64::NEG_INFINITY),
            _ => {}
        }
        if let Some(number) = integer(text) {
            return Resolved::Integer(number);
        }
        let numeric = text.bytes().any(|b| b.is_ascii_digit())
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        match text.parse() {
            Ok(number) if numeric => Resolved::Float(number),
            _ => Resolved::Text(text),
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok();
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i64::from_str_radix(digits, 8).ok();
    }
    text.parse().ok()
}

impl Node {
    /// What kind of value it is, in words.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => "empty",
                Resolved::Bool(_) => "a truth value",
                Resolved::Integer(_) | Resolved::Float(_) => "a number",
                Resolved::Text(_) => "text",
            },
        }
    }

    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether nothing stands here: `key:` or `key: null`.
    pub fn is_null(&self) -> bool {
        self.scalar()
            .is_some_and(|scalar| scalar.resolve() == Resolved::Null)
    }

    /// Where the bytes `start..end` of this scalar's text stand in the file: within quotes, over
    /// folded lines, past indentation. The whole node when that cannot be told.
    pub fn spot_of(&self, file: &SourceFile, start: usize, end: usize) -> Spot {
        let found = self.scalar().and_then(|scalar| {
            let source = file.slice(self.spot);
            align(scalar, source, start, end)
        });
        found.map_or(self.spot, |(start, end)| {
            Spot::new(self.spot.start + start, self.spot.start + end)
        })
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::Sequence(items) => items.iter().map(Self::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::Sequence(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Mapping(entries) => entries
                .iter()
                .map(|entry| entry.value.depth())
                .max()
                .unwrap_or(0),
        }
    }
}

/// Walks a scalar's text and its source side by side; gives the source range of `start..end`.
fn align(scalar: &Scalar, source: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let mut at = usize::from(matches!(scalar.style, Style::Single | Style::Double));
    let mut from = None;
    let mut till = at;
    for (offset, character) in scalar.text.char_indices() {
        if offset >= end {
            break;
        }
        let rest = source.get(at..)?;
        let gap = rest.len() - rest.trim_start().len();
        if character.is_whitespace() {
            if offset == start {
                from = Some(at);
            }
            // A run of white space in the text may be any run of it in the source.
            let more =
                scalar.text[offset + character.len_utf8()..].starts_with(char::is_whitespace);
            at += if more {
                rest.chars().next()?.len_utf8().min(gap)
            } else {
                gap
            };
            till = at;
            continue;
        }
        at += gap;
        if offset == start {
            from = Some(at);
        }
        let found = source.get(at..)?.chars().next()?;
        at += match (scalar.style, found) {
            (Style::Double, '\\') => {
                let escaped = source.get(at + 1..)?.chars().next()?;
                if escaped != character {
                    return None;
                }
                1 + escaped.len_utf8()
            }
            (Style::Single, '\'') => 2,
            _ if found == character => found.len_utf8(),
            _ => return None,
        };
        till = at;
    }
    let from = from.unwrap_or(at);
    (till <= source.len()).then_some((from, till.max(from)))
}

/// Reads all documents of a file. What is wrong goes to `problems`; the documents before a syntax
/// error are still given. Empty documents are left out.
pub fn parse(file: &Arc<SourceFile>, problems: &Problems) -> Vec<Document> {
    if file.text.len() > TEXT_MAX {
        let message = format!(
            "the file has {} bytes, more than {TEXT_MAX}",
            file.text.len()
        );
        problems.add(
            Diagnostic::error("file-too-big", file, Spot::default(), message)
                .help("split it into several files"),
        );
        return Vec::new();
    }
    let mut builder = Builder::new(file, problems);
    let mut parser = Parser::new_from_str(&file.text);
    while let Some(next) = parser.next_event() {
        let going_on = match next {
            Ok((event, span)) => {
                let spot = builder.spot(span.start.index(), span.end.index());
                builder.event(event, spot)
            }
            Err(error) => {
                builder.syntax_error(&error);
                false
            }
        };
        if !going_on {
            break;
        }
    }
    builder.documents
}
