//! A reject: bytes that could not be read as an audit event, told so that a person can find them.

use std::fmt;

/// Why bytes are no audit event. Closed, so that it can be a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Not JSON: klog lines, other text, broken brackets.
    NotJson,
    /// JSON, but neither an audit event (it has no `auditID` and `stage`) nor a list of them.
    NotAnEvent,
    /// Not UTF-8, which JSON must be.
    NotUtf8,
    /// The beginning of a record whose end was never written, or was overwritten.
    Torn,
    /// Longer than [`Limits::record_bytes_max`](super::Limits).
    TooLong,
    /// An audit event in which a part that says who, what or whether has the wrong JSON type.
    Shape,
    /// The compressed data broke off or is damaged; what came before it was read.
    CorruptCompression,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::NotJson,
        Self::NotAnEvent,
        Self::NotUtf8,
        Self::Torn,
        Self::TooLong,
        Self::Shape,
        Self::CorruptCompression,
    ];

    /// As metrics and reports spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotAnEvent => "not_an_event",
            Self::NotUtf8 => "not_utf8",
            Self::Torn => "torn",
            Self::TooLong => "too_long",
            Self::Shape => "shape",
            Self::CorruptCompression => "corrupt_compression",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One piece of input that was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: Reason,
    /// Where it begins in the decompressed stream, in bytes.
    pub offset: u64,
    /// Its first [`Reject::HEAD_BYTES`] bytes, fit to be shown: control characters escaped, what
    /// looks like a token or encoded secret replaced by `[…]`.
    pub head: String,
}

impl Reject {
    /// How much of the rejected bytes is shown.
    pub const HEAD_BYTES: usize = 200;

    /// A reject of the bytes `what`, of which only the head is kept.
    pub fn new(reason: Reason, offset: u64, what: &[u8]) -> Self {
        let cut = &what[..what.len().min(Self::HEAD_BYTES)];
        // A character that the cut went through is left away instead of shown as damage.
        let cut = match std::str::from_utf8(cut) {
            Err(error) if error.error_len().is_none() => &cut[..error.valid_up_to()],
            _ => cut,
        };
        Self {
            reason,
            offset,
            head: showable(&String::from_utf8_lossy(cut)),
        }
    }
}

/// Escapes control characters and takes out runs that look like encoded secrets.
fn showable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = rest.find(|c: char| !is_token_char(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(run.max(first.len_utf8()));
        if run == 0 {
            if first.is_control() || is_direction_mark(first) {
                shown.extend(first.escape_default());
            } else {
                shown.push(first);
            }
        } else if looks_secret(word) {
            shown.push_str("[…]");
        } else {
            shown.push_str(word);
        }
        rest = after;
    }
    shown
}

/// The alphabets of base64, base64url and JWT.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '_' | '-' | '.' | '=')
}

/// Marks that turn the direction of text, with which a line can be made to read as another one.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Encoded secrets mix upper case, lower case and digits, or are long hexadecimal; paths, names
/// and UUIDs do not.
fn looks_secret(word: &str) -> bool {
    let has = |class: fn(&u8) -> bool| word.bytes().any(|byte| class(&byte));
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase);
    let encoded = mixed && (has(u8::is_ascii_digit) || word.ends_with('='));
    let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    (word.len() >= 16 && encoded) || (word.len() >= 32 && (hex || mixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(what: &[u8]) -> String {
        Reject::new(Reason::NotJson, 0, what).head
    }

    #[test]
    fn shows_what_helps_and_hides_what_is_secret() {
        let uuid =
            "auditID cd1fb46a-8e98-434d-8745-a65dd9eb72f9 /api/v1/namespaces/kube-system/pods";
        assert_eq!(head(uuid.as_bytes()), uuid);
        assert_eq!(head(b"a\tb\x1b[31m\r\n"), "a\\tb\\u{1b}[31m\\r\\n");
        assert_eq!(head("x\u{202e}y".as_bytes()), "x\\u{202e}y");
        assert_eq!(
            head(b"Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln-x \xff"),
            "Bearer […] \u{fffd}"
        );
        assert_eq!(
            head(b"hash 0123456789abcdef0123456789abcdef."),
            "hash 0123456789abcdef0123456789abcdef."
        );
        assert_eq!(head(b"hash 0123456789abcdef0123456789abcdef"), "hash […]");
        assert_eq!(
            head(b"{\"data\":\"c3VwZXItc2VjcmV0LXBhc3N3b3Jk\"}"),
            "{\"data\":\"[…]\"}"
        );
    }

    #[test]
    fn keeps_two_hundred_bytes_and_no_half_character() {
        assert_eq!(head(&[b' '; 500]).len(), 200);
        let text = format!("{}é", "x ".repeat(99) + "x");
        assert_eq!(head(text.as_bytes()), "x ".repeat(99) + "x");
    }
}
