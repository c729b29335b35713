//! The brackets, strings and line ends of a JSON stream, byte by byte, across any chunks.
//!
//! This is not a parser: it sees where values begin and end, not whether they are right.

use memchr::memchr3;

use super::nesting::Nesting;

/// One byte that says something about the stream's structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// `{`
    OpenObject,
    /// `[`
    OpenArray,
    /// `}` or `]` that fits the bracket it closes.
    Close,
    /// `,`
    Comma,
    /// `:`
    Colon,
    /// A line feed outside of strings.
    Newline,
    /// The opening quote of a string.
    TextStart,
    /// The closing quote of a string.
    TextEnd,
    /// The first byte of anything else: a number, a literal, rubbish.
    Scalar,
    /// The first white space behind a scalar.
    Gap,
    /// A bracket that closes nothing, or a line feed inside a string.
    Wrong,
}

/// The scanner's state between two chunks.
#[derive(Clone, Debug, Default)]
pub(super) struct Lexer {
    pub(super) nesting: Nesting,
    in_text: bool,
    escaped: bool,
    in_scalar: bool,
}

impl Lexer {
    /// The next token at or behind `*at`, which is moved to the byte after it (each token is one
    /// byte). `None` when the bytes are used up; the next chunk goes on from there.
    pub(super) fn next(&mut self, bytes: &[u8], at: &mut usize) -> Option<Token> {
        if self.in_text {
            return self.text(bytes, at);
        }
        while let Some(&byte) = bytes.get(*at) {
            *at += 1;
            let was_scalar = std::mem::replace(&mut self.in_scalar, false);
            return Some(match byte {
                b' ' | b'\t' | b'\r' | 0 if was_scalar => Token::Gap,
                b' ' | b'\t' | b'\r' | 0 => continue,
                b'\n' => Token::Newline,
                b',' => Token::Comma,
                b':' => Token::Colon,
                b'"' => {
                    self.in_text = true;
                    Token::TextStart
                }
                b'{' => {
                    self.nesting.push(true);
                    Token::OpenObject
                }
                b'[' => {
                    self.nesting.push(false);
                    Token::OpenArray
                }
                b'}' | b']' if self.nesting.pop(byte == b'}') => Token::Close,
                b'}' | b']' => Token::Wrong,
                _ => {
                    self.in_scalar = true;
                    if was_scalar {
                        continue;
                    }
                    Token::Scalar
                }
            });
        }
        None
    }

    fn text(&mut self, bytes: &[u8], at: &mut usize) -> Option<Token> {
        loop {
            if self.escaped {
                let byte = *bytes.get(*at)?;
                self.escaped = false;
                // An escaped line feed is looked at again below, where it is wrong.
                *at += usize::from(byte != b'\n');
            }
            let rest = bytes.get(*at..)?;
            let Some(found) = memchr3(b'"', b'\\', b'\n', rest) else {
                *at = bytes.len();
                return None;
            };
            *at += found + 1;
            match rest[found] {
                b'\\' => self.escaped = true,
                quote_or_newline => {
                    self.in_text = false;
                    let ends = quote_or_newline == b'"';
                    return Some(if ends { Token::TextEnd } else { Token::Wrong });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Token::{Close, Colon, Comma, Gap, OpenArray, OpenObject, Scalar, TextEnd, TextStart},
        *,
    };

    #[test]
    fn sees_structure_across_any_cut() {
        let text = br#"{"a\"\\b" : [1.5e3 ,true,"\u007b"]}"#;
        let tokens = |cut: usize| {
            let mut lexer = Lexer::default();
            let mut all = Vec::new();
            for chunk in [&text[..cut], &text[cut..]] {
                let mut at = 0;
                while let Some(token) = lexer.next(chunk, &mut at) {
                    all.push(token);
                }
            }
            all
        };
        let whole = vec![
            OpenObject, TextStart, TextEnd, Colon, OpenArray, Scalar, Gap, Comma, Scalar, Comma,
            TextStart, TextEnd, Close, Close,
        ];
        for cut in 0..=text.len() {
            assert_eq!(tokens(cut), whole, "cut at {cut}");
        }
    }

    #[test]
    fn calls_wrong_what_cannot_be() {
        for text in ["]", "{]", "\"a\n", "\"a\\\n"] {
            let (mut lexer, mut at, mut last) = (Lexer::default(), 0, None);
            while let Some(token) = lexer.next(text.as_bytes(), &mut at) {
                last = Some(token);
            }
            assert_eq!(last, Some(Token::Wrong), "{text:?}");
        }
    }
}
