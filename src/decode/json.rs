//! A cursor over one JSON text: strict RFC 8259 grammar, positions in bytes, no recursion.
//!
//! It steps over values without reading them, so that a value's raw text can be kept as a slice.
//! Written by hand because slices need positions, which serde's visitors do not have;
//! the tests hold it to what `serde_json` accepts.

use wide::u8x16;

use super::nesting::Nesting;

/// Where a text stopped being JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault;

/// A place in a text, between two values.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'b> {
    text: &'b str,
    at: usize,
}

/// How many bytes of a string are looked at together.
const LANES: usize = 16;

/// The bytes of a string at which reading must stop: quote, backslash, control characters. One
/// bit each, the first byte lowest.
fn stops(bytes: [u8; LANES]) -> u32 {
    let bytes = u8x16::new(bytes);
    let is = |byte: u8| bytes.simd_eq(u8x16::splat(byte));
    let is_control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
    (is(b'"') | is(b'\\') | is_control).to_bitmask()
}

impl<'b> Cursor<'b> {
    pub(super) fn new(text: &'b str, at: usize) -> Self {
        Self { text, at }
    }

    /// The position, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text from a position up to here. Positions are always at ASCII bytes.
    pub(super) fn since(&self, start: usize) -> &'b str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The next byte that is not white space; `None` at the end.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Steps over `byte` when it comes next.
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let comes = self.peek() == Some(byte);
        self.at += usize::from(comes);
        comes
    }

    /// Steps over an object's key and its colon and gives the key's raw text without quotes, and
    /// whether it has escapes.
    pub(super) fn key(&mut self) -> Result<(&'b str, bool), Fault> {
        if self.peek() != Some(b'"') {
            return Err(Fault);
        }
        let start = self.at + 1;
        let has_escapes = self.string()?;
        let key = self.text.get(start..self.at - 1).unwrap_or_default();
        if self.eat(b':') {
            Ok((key, has_escapes))
        } else {
            Err(Fault)
        }
    }

    /// Steps over one value of any kind and depth and gives its raw text.
    pub(super) fn value(&mut self) -> Result<&'b str, Fault> {
        self.peek();
        let start = self.at;
        let mut open = Nesting::default();
        loop {
            let opened = match self.peek().ok_or(Fault)? {
                b'"' => self.string().map(|_| false)?,
                b'{' => self.open(&mut open, true),
                b'[' => self.open(&mut open, false),
                b'-' | b'0'..=b'9' => self.number().map(|()| false)?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => return Err(Fault),
            };
            let mut first = opened;
            // Closes what ends here and goes on to the next value.
            loop {
                let Some(is_object) = open.innermost_is_object() else {
                    return Ok(self.since(start));
                };
                let closing = if is_object { b'}' } else { b']' };
                if self.eat(closing) {
                    open.pop(is_object);
                    first = false;
                    continue;
                }
                if !first && !self.eat(b',') {
                    return Err(Fault);
                }
                if is_object {
                    self.key()?;
                }
                break;
            }
        }
    }

    fn open(&mut self, open: &mut Nesting, is_object: bool) -> bool {
        self.at += 1;
        open.push(is_object);
        true
    }

    /// Steps over a string; the cursor is at its opening quote. A string without its closing one
    /// takes the cursor to the end. Says whether there are escapes in it.
    fn string(&mut self) -> Result<bool, Fault> {
        let bytes = self.text.as_bytes();
        let mut has_escapes = false;
        let mut at = self.at + 1;
        loop {
            while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
                let stops = stops(*chunk);
                if stops != 0 {
                    at += stops.trailing_zeros() as usize;
                    break;
                }
                at += LANES;
            }
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    at = escape(bytes, at)?;
                }
                Some(0..0x20) => return Err(Fault),
                None => {
                    self.at = at;
                    return Err(Fault);
                }
                Some(_) => at += 1,
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _sign = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(Fault) }
    }

    fn literal(&mut self, word: &[u8]) -> Result<bool, Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(Fault);
        }
        self.at += word.len();
        Ok(false)
    }

    /// Like [`eat`](Self::eat), but white space does not count.
    fn skip(&mut self, byte: u8) -> bool {
        let comes = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(comes);
        comes
    }
}

/// Steps over an escape sequence. Surrogates are not paired here: a value is kept as it stands,
/// and unescaping, which happens when it is read, replaces what is no character.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match bytes.get(at + 2..at + 6) {
            Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => Ok(at + 6),
            _ => Err(Fault),
        },
        _ => Err(Fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    fn steps_over(text: &str) -> bool {
        let mut cursor = Cursor::new(text, 0);
        cursor
            .value()
            .is_ok_and(|raw| raw == text.trim_matches([' ', '\n', '\r', '\t']))
            && cursor.peek().is_none()
    }

    #[test]
    fn accepts_what_serde_json_accepts() {
        for text in [
            "null",
            "true",
            "false",
            "tru",
            "truex",
            "0",
            "-0",
            "01",
            "-",
            "1.",
            ".5",
            "1.5e+3",
            "1e",
            "1e999",
            "\"\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\\x\"",
            "\"a\tb\"",
            "\"é\"",
            "\"1234567\\\"89\"",
            "[]",
            "[ ]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":[{\"b\":{}},[]]}",
            "[}",
            "{]",
            "[1]]",
            "",
            " 1 ",
            "{\"a\":}",
            "{\"a\" : \"b\" , \"a\":null}",
            "[[[[1]]]]",
            "[\"a\":1]",
        ] {
            let oracle = serde_json::from_str::<&RawValue>(text).is_ok();
            assert_eq!(steps_over(text), oracle, "{text}");
        }
    }

    #[test]
    fn goes_as_deep_as_the_text() {
        let (opening, closing) = ("[{\"a\":".repeat(100_000), "}]".repeat(100_000));
        assert!(steps_over(&format!("{opening}1{closing}")));
        assert!(!steps_over(&opening));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn agrees_with_serde_json(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"k\":", "\"text\"", "\"with \\\" and \\\\\"", "12",
                "-1.5", "null", "true", " ", "\n", "\"", "\\", "\u{1}", "\"long string of text\"",
            ]), 0..12),
        ) {
            let text = pieces.concat();
            let oracle = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert_eq!(steps_over(&text), oracle, "{}", text);
        }

        #[test]
        fn finds_the_end_of_any_string(inner in "[ -~é\\u{0}-\\u{1f}]{0,40}") {
            let text = serde_json::to_string(&inner).unwrap();
            prop_assert!(steps_over(&text), "{}", text);
            let unescaped = format!("\"{inner}\"");
            let oracle = serde_json::from_str::<&RawValue>(&unescaped).is_ok();
            prop_assert_eq!(steps_over(&unescaped), oracle, "{}", unescaped);
        }
    }
}
