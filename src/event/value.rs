//! One value of a field, as rules compare it.

use std::borrow::Cow;

use super::json;

/// A JSON scalar, or the raw text of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'e> {
    /// A string, unescaped.
    Text(Cow<'e, str>),
    /// A number as it is written.
    Number(&'e str),
    /// A boolean.
    Bool(bool),
    /// An explicit null.
    Null,
    /// The raw JSON text of an object.
    Object(&'e str),
}

impl<'e> Value<'e> {
    /// Visits what a raw JSON value holds: each element of an array (also of arrays within), else
    /// the value itself. True as soon as the visitor says true.
    pub(crate) fn any(raw: &'e str, visit: &mut dyn FnMut(Value<'e>) -> bool) -> bool {
        match raw.as_bytes().first() {
            None => false,
            Some(b'[') => {
                // A stack instead of recursion, because the nesting is the caller's choice.
                let mut stack = vec![raw];
                while let Some(raw) = stack.pop() {
                    if raw.starts_with('[') {
                        let from = stack.len();
                        stack.extend(json::elements(raw));
                        stack[from..].reverse();
                    } else if visit(Self::scalar(raw)) {
                        return true;
                    }
                }
                false
            }
            Some(_) => visit(Self::scalar(raw)),
        }
    }

    fn scalar(raw: &'e str) -> Self {
        match raw.as_bytes().first() {
            Some(b'"') => Self::Text(json::unescape(raw)),
            Some(b'{') => Self::Object(raw),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') | None => Self::Null,
            Some(_) => Self::Number(raw),
        }
    }

    /// A text that is already known.
    pub(crate) fn text(text: impl Into<Cow<'e, str>>) -> Self {
        Self::Text(text.into())
    }

    /// The value as text, as keys and messages show it. `None` for null.
    pub fn into_text(self) -> Option<Cow<'e, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(raw) | Self::Object(raw) => Some(Cow::Borrowed(raw)),
            Self::Bool(flag) => Some(Cow::Borrowed(if flag { "true" } else { "false" })),
            Self::Null => None,
        }
    }
}
