//! Text that a stranger chose, made safe for a terminal.

use std::{borrow::Cow, fmt::Write as _};

use crate::alert::is_hidden;

/// Spells out the characters that would act on a terminal instead of being seen (escapes,
/// newlines, bidi controls, zero-width ones): `\n`, `\x1b`, `\u{202e}`.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // Writing to a String succeeds.
            c if is_hidden(c) && c.is_ascii() => _ = write!(shown, "\\x{:02x}", u32::from(c)),
            c if is_hidden(c) => _ = write!(shown, "\\u{{{:x}}}", u32::from(c)),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same, in quotes when the text could be taken for more than one word of ours.
pub fn quoted(text: &str) -> Cow<'_, str> {
    let shown = visible(text);
    if shown.is_empty()
        || shown.contains([' ', '"', '\'', '(', ')', ';'])
        || shown.contains('\u{a0}')
    {
        return Cow::Owned(format!("\"{}\"", shown.replace('"', "\\\"")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spells_out_what_acts() {
        assert_eq!(visible("system:admin"), "system:admin");
        assert_eq!(
            visible("a\u{1b}[31mb\nc\u{9b}d\u{202e}e"),
            "a\\x1b[31mb\\nc\\u{9b}d\\u{202e}e"
        );
        assert_eq!(quoted("root (user)"), "\"root (user)\"");
        assert_eq!(quoted("say \"hi\""), "\"say \\\"hi\\\"\"");
        assert_eq!(quoted(""), "\"\"");
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(is_hidden));
        }
    }
}
