//! Reads raw JSON text in place: members, elements, strings. No tree, no copy, no recursion.
//!
//! The text has been checked by `decode` before, so what is found here is well formed; on anything
//! else these functions end early and never panic.

use std::borrow::Cow;

/// Where the value that starts at `at` ends (exclusive). Strings, containers and scalars alike.
pub(crate) fn value_end(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    match bytes.get(at) {
        Some(b'"') => string_end(bytes, at),
        Some(b'{' | b'[') => container_end(bytes, at),
        _ => bytes[at.min(bytes.len())..]
            .iter()
            .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
            .map_or(bytes.len(), |found| at + found),
    }
}

fn string_end(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(found) = bytes
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

fn container_end(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0usize;
    let mut at = open;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The first place at or after `at` that is not white space.
pub(crate) fn skip_space(text: &str, at: usize) -> usize {
    text.as_bytes()[at.min(text.len())..]
        .iter()
        .position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t'))
        .map_or(text.len(), |found| at + found)
}

/// The members of a raw object as (raw key, raw value); nothing when the text is no object.
pub(crate) fn members(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut items = Items::open(text, b'{');
    std::iter::from_fn(move || {
        let key = items.next_raw()?;
        items.at = skip_space(text, items.at);
        if text.as_bytes().get(items.at) != Some(&b':') {
            return None;
        }
        items.at = skip_space(text, items.at + 1);
        let end = value_end(text, items.at);
        let value = text.get(items.at..end).filter(|value| !value.is_empty())?;
        items.at = end;
        Some((key, value))
    })
}

/// The elements of a raw array; nothing when the text is no array.
pub(crate) fn elements(text: &str) -> impl Iterator<Item = &str> {
    let mut items = Items::open(text, b'[');
    std::iter::from_fn(move || items.next_raw())
}

/// The raw value of the first member with this key.
pub(crate) fn member<'b>(text: &'b str, key: &str) -> Option<&'b str> {
    members(text)
        .find(|(raw, _)| raw_is(raw, key))
        .map(|(_, value)| value)
}

/// Whether a raw JSON string spells `text`.
pub(crate) fn raw_is(raw: &str, text: &str) -> bool {
    if raw.len() == text.len() + 2 && raw.as_bytes().contains(&b'\\') == text.contains('\\') {
        &raw[1..raw.len() - 1] == text
    } else {
        raw.contains('\\') && unescape(raw) == text
    }
}

struct Items<'b> {
    text: &'b str,
    at: usize,
}

impl<'b> Items<'b> {
    fn open(text: &'b str, bracket: u8) -> Self {
        let at = if text.as_bytes().first() == Some(&bracket) {
            1
        } else {
            text.len()
        };
        Self { text, at }
    }

    /// The next value behind white space and a comma; `None` at the closing bracket.
    fn next_raw(&mut self) -> Option<&'b str> {
        self.at = skip_space(self.text, self.at);
        if self.text.as_bytes().get(self.at) == Some(&b',') {
            self.at = skip_space(self.text, self.at + 1);
        }
        if matches!(self.text.as_bytes().get(self.at), None | Some(b'}' | b']')) {
            return None;
        }
        let end = value_end(self.text, self.at);
        let value = self
            .text
            .get(self.at..end)
            .filter(|value| !value.is_empty())?;
        self.at = end;
        Some(value)
    }
}

/// The text that a raw JSON string stands for. An unpaired surrogate becomes U+FFFD, as Go's
/// decoder does. Anything that is not a string is given back as it is.
pub(crate) fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(inner) = raw
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return Cow::Borrowed(raw);
    };
    let Some(first) = memchr::memchr(b'\\', inner.as_bytes()) else {
        return Cow::Borrowed(inner);
    };
    let mut out = String::with_capacity(inner.len());
    let (plain, mut rest) = inner.split_at(first);
    out.push_str(plain);
    while let Some(escaped) = rest.strip_prefix('\\') {
        rest = push_escape(&mut out, escaped);
        let next = memchr::memchr(b'\\', rest.as_bytes()).unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(next);
        out.push_str(plain);
        rest = tail;
    }
    Cow::Owned(out)
}

/// Appends the character that an escape (behind its backslash) stands for; gives what follows.
fn push_escape<'b>(out: &mut String, escaped: &'b str) -> &'b str {
    let mut chars = escaped.chars();
    match chars.next() {
        Some('n') => out.push('\n'),
        Some('t') => out.push('\t'),
        Some('r') => out.push('\r'),
        Some('b') => out.push('\u{8}'),
        Some('f') => out.push('\u{c}'),
        Some('u') => return push_unicode(out, chars.as_str()),
        Some(same) => out.push(same),
        None => {}
    }
    chars.as_str()
}

fn push_unicode<'b>(out: &mut String, digits: &'b str) -> &'b str {
    let unit = |text: &str| {
        text.get(..4)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
    };
    let Some(first) = unit(digits) else {
        out.push(char::REPLACEMENT_CHARACTER);
        return digits;
    };
    let rest = &digits[4..];
    if (0xD800..0xDC00).contains(&first) {
        let second = rest.strip_prefix("\\u").and_then(unit);
        if let Some(low) = second.filter(|low| (0xDC00..0xE000).contains(low)) {
            let code = 0x10000 + ((first - 0xD800) << 10) + (low - 0xDC00);
            out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            return &rest[6..];
        }
    }
    out.push(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_members_and_elements() {
        let text = r#"{ "a" : [1, {"b":"}]"} , "x"], "c\"d":null,"e":{} }"#;
        let found: Vec<_> = members(text).collect();
        assert_eq!(
            found,
            [
                ("\"a\"", r#"[1, {"b":"}]"} , "x"]"#),
                (r#""c\"d""#, "null"),
                ("\"e\"", "{}")
            ]
        );
        let items: Vec<_> = elements(found[0].1).collect();
        assert_eq!(items, ["1", r#"{"b":"}]"}"#, "\"x\""]);
        assert_eq!(member(text, "c\"d"), Some("null"));
        assert_eq!(
            elements("[ ]").count() + members("{}").count() + members("7").count(),
            0
        );
    }

    #[test]
    fn unescapes_as_go_does() {
        assert_eq!(unescape(r#""a\u0026b\n\u00e9\ud83d\ude00""#), "a&b\né😀");
        assert_eq!(
            unescape(r#""\ud800x\udc00\ud83d\n""#),
            "\u{FFFD}x\u{FFFD}\u{FFFD}\n"
        );
        assert!(matches!(unescape("\"plain\""), Cow::Borrowed("plain")));
    }

    proptest! {
        #[test]
        fn agrees_with_serde_on_strings(text: String) {
            let raw = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(unescape(&raw), text.as_str());
            prop_assert!(raw_is(&raw, &text));
        }

        #[test]
        fn never_panics(text: String) {
            members(&text).count();
            elements(&text).count();
            unescape(&text);
        }

        #[test]
        fn never_panics_on_torn_json(text in r#"[\[\]{},:"\\a1u ]{0,40}"#) {
            for (key, value) in members(&text) { unescape(key); unescape(value); }
            elements(&text).for_each(|value| { unescape(value); });
        }
    }
}
