//! Tells from its first line whether a stream keeps one JSON text a line.

use super::lexer::{Lexer, Token};

/// How records lie in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Each line is one JSON text (or rubbish).
    Lines,
    /// Values go over many lines, or several stand on one.
    Values,
}

/// The state of the look at the first line.
#[derive(Debug, Default)]
pub(super) struct Sniff {
    lexer: Lexer,
    /// How many bytes were looked at.
    at: usize,
    /// The first value has ended on the first line.
    is_balanced: bool,
    /// The first line ended with its brackets open.
    is_open_at_end: bool,
}

impl Sniff {
    /// How many bytes were looked at.
    pub(super) fn seen(&self) -> usize {
        self.at
    }

    /// Looks at what is there of the stream, which must begin with its first byte that is neither
    /// white space nor NUL. `None`: not enough was seen yet. An array whose first line is longer
    /// than `array_line_max`, and an object whose first line is longer than `object_line_max`,
    /// are streams of values.
    pub(super) fn look(
        &mut self,
        bytes: &[u8],
        array_line_max: usize,
        object_line_max: usize,
    ) -> Option<Layout> {
        let line_max = match bytes.first()? {
            b'[' => array_line_max,
            b'{' => object_line_max,
            _ => return Some(Layout::Lines),
        };
        while self.at < bytes.len() {
            if self.is_open_at_end {
                let byte = bytes[self.at];
                if !byte.is_ascii_whitespace() && byte != 0 {
                    // One object after the other: the first line was torn. Otherwise its
                    // value goes on here.
                    let is_object = byte == b'{';
                    return Some(if is_object {
                        Layout::Lines
                    } else {
                        Layout::Values
                    });
                }
                self.at += 1;
            } else if let Some(token) = self
                .lexer
                .next(&bytes[..bytes.len().min(line_max)], &mut self.at)
            {
                if let Some(layout) = self.token(token, &bytes[..self.at]) {
                    return Some(layout);
                }
            } else if self.at >= line_max {
                return Some(Layout::Values);
            }
        }
        None
    }

    fn token(&mut self, token: Token, seen: &[u8]) -> Option<Layout> {
        let is_closed = self.lexer.nesting.depth() == 0;
        match token {
            Token::Newline if self.is_balanced => Some(Layout::Lines),
            Token::Newline if seen.first() == Some(&b'[') || opens_items(seen) => {
                Some(Layout::Values)
            }
            Token::Newline => {
                self.is_open_at_end = true;
                None
            }
            // A line that goes wrong was torn, or is no JSON at all.
            Token::Wrong => Some(Layout::Lines),
            Token::OpenObject | Token::OpenArray if self.is_balanced => Some(Layout::Values),
            _ if self.is_balanced => Some(Layout::Lines),
            Token::Close if is_closed => {
                self.is_balanced = true;
                None
            }
            _ => None,
        }
    }
}

/// Whether a line ends with `"items":[`: a list with one item on each following line.
fn opens_items(line: &[u8]) -> bool {
    let before = |line: &[u8], byte: u8| -> Option<usize> {
        let trimmed = line.trim_ascii_end();
        (trimmed.last() == Some(&byte)).then(|| trimmed.len() - 1)
    };
    before(line, b'[')
        .and_then(|end| before(&line[..end], b':'))
        .is_some_and(|end| line[..end].trim_ascii_end().ends_with(b"\"items\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_lines_from_values() {
        for (text, layout) in [
            ("{\"a\":1}\n{\"a\":2}\n", Some(Layout::Lines)),
            ("{\"a\":1}  \r\n", Some(Layout::Lines)),
            ("[{\"a\":1}]\n", Some(Layout::Lines)),
            ("{\"a\":1}{\"a\":2}", Some(Layout::Values)),
            ("{\"a\":1} {\"a\":2}\n", Some(Layout::Values)),
            ("{\"a\":1} rubbish\n", Some(Layout::Lines)),
            ("[\n  {\"a\":1}\n]", Some(Layout::Values)),
            ("[{\"a\":1},\n", Some(Layout::Values)),
            ("{\n  \"a\": 1\n}\n", Some(Layout::Values)),
            (
                "{\"kind\":\"EventList\",\"items\" : [ \n{}",
                Some(Layout::Values),
            ),
            // A torn first line, with whole ones behind it.
            ("{\"a\":{\"b\":\n\n{\"a\":2}\n", Some(Layout::Lines)),
            ("{\"a\":\"b\n{\"a\":2}\n", Some(Layout::Lines)),
            (
                "I1123 11:05:17 httplog.go:132] \"HTTP\"\n",
                Some(Layout::Lines),
            ),
            ("\u{1}\u{2}", Some(Layout::Lines)),
            ("{\"a\":1}", None),
            ("{\"a\":", None),
            ("{\"a\":\n  \n", None),
            ("", None),
        ] {
            let mut whole = Sniff::default();
            assert_eq!(whole.look(text.as_bytes(), 99, 99), layout, "{text:?}");
            let mut bytewise = Sniff::default();
            let found =
                (0..=text.len()).find_map(|end| bytewise.look(&text.as_bytes()[..end], 99, 99));
            assert_eq!(found, layout, "byte by byte: {text:?}");
        }
    }

    #[test]
    fn a_first_line_without_end_is_a_stream_of_values() {
        for (text, max) in [
            ("[{\"a\":1},{\"a\":2},", 12),
            ("{\"items\":[{\"a\":1},{", 15),
        ] {
            for size in [1, max - 1, max + 1, text.len()] {
                let look = Sniff::default().look(&text.as_bytes()[..size], 12, 15);
                assert_eq!(look.is_some(), size > max, "{size}");
            }
        }
    }
}
