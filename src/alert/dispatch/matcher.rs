//! Matchers in Alertmanager's UTF-8 syntax: `severity="critical"`, `namespace!~"kube-.*"`.

use std::{fmt, iter::Peekable, str::Chars};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::Labels;

/// The largest compiled pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// A condition on one label.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: Box<str>,
    value: Box<str>,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equal,
    NotEqual,
    Like(Regex),
    NotLike(Regex),
}

/// Matchers that must all hold; none always hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matchers(Vec<Matcher>);

impl Matcher {
    fn new(name: String, operator: &str, value: String) -> Result<Self, String> {
        let pattern = || {
            // The whole value must match, as everywhere with Prometheus.
            RegexBuilder::new(&format!("^(?s:{value})$"))
                .size_limit(PATTERN_BYTES_MAX)
                .build()
                .map_err(|error| {
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    let told = last.trim_start_matches("error: ");
                    format!("`{value}` is no regular expression: {told}")
                })
        };
        let test = match operator {
            "=" => Test::Equal,
            "!=" => Test::NotEqual,
            "=~" => Test::Like(pattern()?),
            _ => Test::NotLike(pattern()?),
        };
        Ok(Self {
            name: name.into(),
            value: value.into(),
            test,
        })
    }

    /// A matcher of labels that have exactly this value.
    pub fn equal(name: &str, value: &str) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            test: Test::Equal,
        }
    }

    /// Whether the labels meet it. A label that is not there is empty.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name);
        match &self.test {
            Test::Equal => *value == *self.value,
            Test::NotEqual => *value != *self.value,
            Test::Like(pattern) => pattern.is_match(value),
            Test::NotLike(pattern) => !pattern.is_match(value),
        }
    }

    /// The label that it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value or pattern that it compares with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// `=`, `!=`, `=~` or `!~`.
    pub const fn operator(&self) -> &'static str {
        match self.test {
            Test::Equal => "=",
            Test::NotEqual => "!=",
            Test::Like(_) => "=~",
            Test::NotLike(_) => "!~",
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.operator(), &self.value) == (&other.name, other.operator(), &other.value)
    }
}

impl Eq for Matcher {}

impl Matchers {
    /// Reads `a="b"`, `a=b,c!~"d.*"` or the same in braces.
    ///
    /// # Errors
    /// Says what is wrong and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let inner = match (trimmed.strip_prefix('{'), trimmed.strip_suffix('}')) {
            (Some(_), Some(_)) if trimmed.len() > 1 => &trimmed[1..trimmed.len() - 1],
            (None, None) => trimmed,
            _ => return Err(format!("`{text}` has a brace without its partner")),
        };
        let mut reader = Reader {
            rest: inner.chars().peekable(),
            whole: text,
        };
        let mut matchers = Vec::new();
        reader.spaces();
        while reader.rest.peek().is_some() {
            matchers.push(reader.matcher()?);
            reader.spaces();
            match reader.rest.next() {
                None | Some(',') => reader.spaces(),
                Some(other) => return Err(reader.wrong(&format!("`{other}` is out of place"))),
            }
        }
        Ok(Self(matchers))
    }

    /// Reads matchers that are given in their parts: name, operator, value.
    ///
    /// # Errors
    /// Says which pattern cannot be read, or that a name is empty.
    pub fn of_parts(
        parts: impl IntoIterator<Item = (String, &'static str, String)>,
    ) -> Result<Self, String> {
        let matcher = |(name, operator, value): (String, &str, String)| {
            if name.is_empty() {
                return Err("a matcher lacks the name of its label".to_owned());
            }
            Matcher::new(name, operator, value)
        };
        parts
            .into_iter()
            .map(matcher)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Adds others; all must hold.
    pub fn and(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Whether the labels meet all of them.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|matcher| matcher.matches(labels))
    }

    /// Each of them, in the order in which they were written.
    pub fn iter(&self) -> std::slice::Iter<'_, Matcher> {
        self.0.iter()
    }

    /// Whether there are none, so that everything matches.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'m> IntoIterator for &'m Matchers {
    type Item = &'m Matcher;
    type IntoIter = std::slice::Iter<'m, Matcher>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
    whole: &'t str,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> String {
        format!(
            "`{}` is no matcher: {what}; write it like severity=\"high\" or namespace=~\"kube-.*\"",
            self.whole
        )
    }

    fn spaces(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        let name = self.word("a label's name")?;
        self.spaces();
        let operator = match (self.rest.next(), self.rest.peek()) {
            (Some('='), Some('~')) => "=~",
            (Some('='), _) => "=",
            (Some('!'), Some('=')) => "!=",
            (Some('!'), Some('~')) => "!~",
            _ => return Err(self.wrong("one of `=`, `!=`, `=~`, `!~` must follow the name")),
        };
        if operator.len() > 1 {
            self.rest.next();
        }
        self.spaces();
        let value = self.word("a value (`\"\"` for an empty one)")?;
        Matcher::new(name, operator, value).map_err(|what| self.wrong(&what))
    }

    /// A name or value, quoted or not.
    fn word(&mut self, wanted: &str) -> Result<String, String> {
        if self.rest.next_if_eq(&'"').is_some() {
            return self.quoted();
        }
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| !is_reserved(*c)) {
            word.push(c);
        }
        if word.is_empty() {
            return Err(match self.rest.peek().copied() {
                Some(c) => self.wrong(&format!("`{c}` stands where {wanted} should; quote it")),
                None => self.wrong(&format!("it ends before {wanted}")),
            });
        }
        Ok(word)
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                c => text.push(c),
            }
        }
        Err(self.wrong("a quotation mark is missing at the end"))
    }

    fn escaped(&mut self) -> Result<char, String> {
        let digits = match self.rest.next() {
            Some(c @ ('\\' | '"')) => return Ok(c),
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err(self.wrong("an escape must be one of `\\\\`, `\\\"`, `\\n`, `\\t`, `\\r`, `\\x`, `\\u`; double the backslash to have one")),
        };
        let hex: String = self.rest.by_ref().take(digits).collect();
        let code = u32::from_str_radix(&hex, 16)
            .ok()
            .filter(|_| hex.len() == digits);
        code.and_then(char::from_u32)
            .ok_or_else(|| self.wrong("an escape names no character"))
    }
}

/// What must be quoted, as Alertmanager has it.
fn is_reserved(c: char) -> bool {
    c.is_whitespace() || "{}!=~,\\\"'`".contains(c)
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() || self.name.chars().any(is_reserved) {
            quote(f, &self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        f.write_str(self.operator())?;
        quote(f, &self.value)
    }
}

fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c if crate::alert::is_hidden(c) && u32::from(c) < 0x1_0000 => {
                write!(f, "\\u{:04x}", u32::from(c))?;
            }
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl fmt::Display for Matchers {
    /// `{a="b",c!~"d.*"}`, which [`Matchers::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (n, matcher) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{matcher}")?;
        }
        f.write_str("}")
    }
}

impl Serialize for Matchers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matchers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> Labels {
        Labels::new([
            ("alertname", "burst"),
            ("namespace", "kube-system"),
            ("café ☕", "a,\"b\"\n"),
        ])
    }

    #[test]
    fn reads_what_alertmanager_reads() {
        for (text, expected) in [
            ("", true),
            ("{}", true),
            ("alertname=burst", true),
            ("alertname = \"burst\"", true),
            ("{alertname=burst,}", true),
            ("{ alertname=\"burst\" , namespace=~kube-.* }", true),
            ("alertname!=burst", false),
            ("namespace=~\"kube\"", false),
            ("namespace=~\"kube|kube-.*\"", true),
            ("namespace!~\"kube-.*\"", false),
            ("missing=\"\"", true),
            ("missing!=\"\"", false),
            ("missing=~\".+\"", false),
            ("\"café ☕\"=\"a,\\\"b\\\"\\n\"", true),
            ("\"caf\\u00e9 ☕\"=~\"a,.b.(?:.|\\n)\"", true),
        ] {
            let matchers = Matchers::parse(text).unwrap();
            assert_eq!(matchers.matches(&labels()), expected, "{text}");
            assert_eq!(
                Matchers::parse(&matchers.to_string()).as_ref(),
                Ok(&matchers),
                "{text}"
            );
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, told) in [
            ("alertname", "must follow the name"),
            ("=x", "`=` stands where a label's name should"),
            ("a=", "it ends before a value"),
            ("a=b c=d", "`c` is out of place"),
            ("a=~\"(\"", "is no regular expression: unclosed group"),
            ("{a=b", "a brace without its partner"),
            ("a=\"b", "a quotation mark is missing"),
            ("a=\"\\d\"", "double the backslash"),
            ("a==b", "`=` stands where a value"),
        ] {
            let error = Matchers::parse(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    proptest! {
        /// Whatever names and values hold, printing and reading gives the same matcher back.
        #[test]
        fn prints_what_it_reads(name in any::<String>(), value in any::<String>(), operator in 0usize..2) {
            let operator = ["=", "!="][operator];
            let matcher = Matcher::new(name, operator, value).unwrap();
            let printed = matcher.to_string();
            prop_assert_eq!(Matchers::parse(&printed), Ok(Matchers(vec![matcher])), "{}", printed);
        }

        #[test]
        fn never_panics(text in "[a-z=!~\"\\\\{},xu0-9 ]{0,20}") {
            let _ = Matchers::parse(&text);
        }
    }
}
