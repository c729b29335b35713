//! Showing text that a stranger chose: cutting it to a length, spelling out what is not seen.

use std::{borrow::Cow, fmt::Write as _};

/// What stands where something was cut out.
const MARK: char = '…';

/// Cuts `text` to at most `max` characters by taking out its middle.
pub fn cut_middle(text: &str, max: usize) -> String {
    cut_middle_by(text, max, |_| 1)
}

/// Cuts `text` so that the costs of its characters sum up to at most `max`: takes out the middle
/// and puts `…` there. Both ends stay, because names and paths differ at both.
pub fn cut_middle_by(text: &str, max: usize, cost: impl Fn(char) -> usize) -> String {
    if text.chars().map(&cost).sum::<usize>() <= max {
        return text.to_owned();
    }
    let Some(room) = max.checked_sub(cost(MARK)) else {
        return String::new();
    };
    let head = take(text.chars(), room.div_ceil(2), &cost);
    let tail = take(text.chars().rev(), room / 2, &cost);
    let tail: String = tail.chars().rev().collect();
    format!("{head}{MARK}{tail}")
}

fn take(chars: impl Iterator<Item = char>, room: usize, cost: &impl Fn(char) -> usize) -> String {
    let mut left = room;
    chars
        .take_while(|c| match left.checked_sub(cost(*c)) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .collect()
}

/// Whether a character acts on its surroundings instead of being seen: controls (terminal
/// escapes among them), what turns the direction of writing, what has no width, and tags.
/// A stranger's text that contains one is shown with the character spelled out.
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_ends_stay() {
        assert_eq!(
            cut_middle("system:serviceaccount:shop:web", 11),
            "syste…p:web".to_owned()
        );
        assert_eq!(cut_middle("short", 5), "short");
        assert_eq!(cut_middle("longer", 1), "…");
        assert_eq!(cut_middle("longer", 0), "");
    }

    #[test]
    fn spells_out_what_acts() {
        assert_eq!(visible("system:admin"), "system:admin");
        assert_eq!(
            visible("a\u{1b}[31mb\nc\u{9b}d\u{202e}e"),
            "a\\x1b[31mb\\nc\\u{9b}d\\u{202e}e"
        );
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(is_hidden));
        }

        #[test]
        fn never_costs_more(text in any::<String>(), max in 0usize..40) {
            let cost = |c: char| if c == '&' { 5 } else { c.len_utf16() };
            let cut = cut_middle_by(&text, max, cost);
            prop_assert!(cut.chars().map(cost).sum::<usize>() <= max);
        }
    }
}
