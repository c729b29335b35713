//! Reads a mapping key by key: typed values, wrong types and unknown keys reported, nothing lost.
//!
//! A reader takes each key that it knows, whether or not it stands there, and ends with
//! [`Table::finish`], which then knows all names that could have been meant. A value of the wrong
//! type is reported and read as absent, so that the reader goes on.

use std::sync::Arc;

use super::{
    Diagnostic, Problems, SourceFile, Spot, nearest,
    yaml::{Document, Entry, Node, Resolved, Scalar, Value},
};
use crate::units::{ByteSize, Span};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spotted<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub spot: Spot,
}

/// A mapping that is being read.
#[derive(Debug)]
pub struct Table<'d> {
    /// The file it stands in.
    pub file: &'d Arc<SourceFile>,
    /// Where problems go.
    pub problems: &'d Problems,
    /// Its place; of the key that holds it, when it is the value of one.
    pub spot: Spot,
    /// What it is, in words, for messages: `a correlation`.
    what: String,
    left: Vec<&'d Entry>,
    known: Vec<&'static str>,
}

impl<'d> Table<'d> {
    /// The root of a document. Not a mapping: reported, and read as empty.
    pub fn root(document: &'d Document, problems: &'d Problems, what: &str) -> Self {
        Self::of(&document.root, &document.file, problems, what)
    }

    /// A node that should be a mapping. Not a mapping: reported, and read as empty.
    pub fn of(
        node: &'d Node,
        file: &'d Arc<SourceFile>,
        problems: &'d Problems,
        what: &str,
    ) -> Self {
        let left = if let Value::Mapping(entries) = &node.value {
            entries.iter().collect()
        } else {
            let message = format!("{what} must be a mapping, not {}", node.kind());
            problems.add(
                Diagnostic::error("wrong-type", file, node.spot, message)
                    .help("write it as `key: value` lines"),
            );
            Vec::new()
        };
        Self {
            file,
            problems,
            spot: node.spot,
            what: what.to_owned(),
            left,
            known: Vec::new(),
        }
    }

    /// Adds an error.
    pub fn error(&self, code: &'static str, spot: Spot, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, self.file, spot, message)
    }

    /// Whether a key stands there and is still to be read.
    pub fn has(&self, key: &str) -> bool {
        self.left.iter().any(|entry| entry.key == key)
    }

    /// The whole entry of a key. What is null counts as given here.
    pub fn entry(&mut self, key: &'static str) -> Option<&'d Entry> {
        self.known.push(key);
        let place = self.left.iter().position(|entry| entry.key == key)?;
        Some(self.left.remove(place))
    }

    /// All entries that are left, for mappings whose keys are names of the user's own.
    pub fn rest(&mut self) -> Vec<&'d Entry> {
        std::mem::take(&mut self.left)
    }

    /// The value of a key; absent when it is null.
    pub fn take(&mut self, key: &'static str) -> Option<&'d Node> {
        self.entry(key)
            .map(|entry| &entry.value)
            .filter(|node| !node.is_null())
    }

    /// Takes keys that may stand there but mean nothing to us.
    pub fn ignore(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.entry(key);
        }
    }

    /// Reports a value of the wrong type.
    pub fn wrong(&self, key: &str, node: &Node, wanted: &str) {
        let kind = node.kind();
        self.problems.add(self.error(
            "wrong-type",
            node.spot,
            format!("`{key}` must be {wanted}, not {kind}"),
        ));
    }

    /// Reports a key that must stand there and does not.
    pub fn missing(&self, key: &str, help: &str) {
        let message = format!("{} needs `{key}`", self.what);
        let start = self.spot.start;
        let text = &self.file.text[start..self.spot.end.max(start)];
        let spot = Spot::new(start, start + text.lines().next().unwrap_or_default().len());
        self.problems
            .add(self.error("missing-key", spot, message).help(help));
    }

    /// Text. A plain number or truth value is taken as it is written.
    pub fn text(&mut self, key: &'static str) -> Option<Spotted<String>> {
        let node = self.take(key)?;
        self.text_of(key, node)
    }

    fn text_of(&self, key: &str, node: &Node) -> Option<Spotted<String>> {
        let Some(scalar) = node.scalar() else {
            self.wrong(key, node, "text");
            return None;
        };
        Some(Spotted {
            value: scalar.text.clone(),
            spot: node.spot,
        })
    }

    /// Text of one's own form: `read` says what is wrong with it.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Spotted<T>> {
        let text = self.text(key)?;
        match read(&text.value) {
            Ok(value) => Some(Spotted {
                value,
                spot: text.spot,
            }),
            Err(message) => {
                self.problems.add(self.error(
                    "wrong-value",
                    text.spot,
                    format!("`{key}`: {message}"),
                ));
                None
            }
        }
    }

    /// A length of time: `5m`.
    pub fn span(&mut self, key: &'static str) -> Option<Spotted<Span>> {
        self.parsed(key, Span::parse)
    }

    /// A number of bytes: `64MiB`.
    pub fn byte_size(&mut self, key: &'static str) -> Option<Spotted<ByteSize>> {
        self.parsed(key, ByteSize::parse)
    }

    /// A whole number between `least` and `most`.
    pub fn integer(&mut self, key: &'static str, least: i64, most: i64) -> Option<Spotted<i64>> {
        let node = self.take(key)?;
        let Some(Resolved::Integer(value)) = node.scalar().map(Scalar::resolve) else {
            self.wrong(key, node, "a whole number");
            return None;
        };
        if value < least || value > most {
            let message = format!("`{key}` must be between {least} and {most}");
            self.problems
                .add(self.error("wrong-value", node.spot, message));
            return None;
        }
        Some(Spotted {
            value,
            spot: node.spot,
        })
    }

    /// Any finite number.
    pub fn number(&mut self, key: &'static str) -> Option<Spotted<f64>> {
        let node = self.take(key)?;
        let value = match node.scalar().map(Scalar::resolve) {
            Some(Resolved::Integer(value)) => value as f64,
            Some(Resolved::Float(value)) if value.is_finite() => value,
            _ => {
                self.wrong(key, node, "a number");
                return None;
            }
        };
        Some(Spotted {
            value,
            spot: node.spot,
        })
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str) -> Option<Spotted<bool>> {
        let node = self.take(key)?;
        if let Some(Resolved::Bool(value)) = node.scalar().map(Scalar::resolve) {
            return Some(Spotted {
                value,
                spot: node.spot,
            });
        }
        self.wrong(key, node, "true or false");
        None
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<Spotted<T>> {
        let text = self.text(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(Spotted {
                value: *value,
                spot: text.spot,
            });
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("`{key}` cannot be `{}`", text.value);
        let near = nearest(&text.value, names.iter().copied());
        self.problems.add(
            self.error("wrong-value", text.spot, message)
                .did_you_mean(near, format!("write one of {}", names.join(", "))),
        );
        None
    }

    /// A list of text; a single text stands for a list of one. Absent: empty.
    pub fn texts(&mut self, key: &'static str) -> Vec<Spotted<String>> {
        match self.take(key) {
            None => Vec::new(),
            Some(node) => match &node.value {
                Value::Sequence(items) => items
                    .iter()
                    .filter_map(|item| self.text_of(key, item))
                    .collect(),
                _ => self.text_of(key, node).into_iter().collect(),
            },
        }
    }

    /// A list; absent when the key is. A single value that is no list is reported.
    pub fn list(&mut self, key: &'static str) -> Option<&'d [Node]> {
        let node = self.take(key)?;
        if let Value::Sequence(items) = &node.value {
            return Some(items);
        }
        self.wrong(key, node, "a list");
        None
    }

    /// A mapping below this one. `what` names it in messages.
    pub fn table(&mut self, key: &'static str, what: &str) -> Option<Table<'d>> {
        let entry = self.entry(key).filter(|entry| !entry.value.is_null())?;
        let mut table = Self::of(&entry.value, self.file, self.problems, what);
        table.spot = entry.key_spot;
        Some(table)
    }

    /// A list of mappings below this one. `what` names each in messages.
    pub fn tables(&mut self, key: &'static str, what: &str) -> Vec<Table<'d>> {
        let items = self.list(key).unwrap_or_default();
        items
            .iter()
            .map(|item| Self::of(item, self.file, self.problems, what))
            .collect()
    }

    /// Reports each key that nobody took, with the nearest one that could have been meant.
    pub fn finish(self) {
        for entry in &self.left {
            let message = format!("{} has no key `{}`", self.what, entry.key);
            let near = nearest(&entry.key, self.known.iter().copied());
            let mut known = self.known.clone();
            known.sort_unstable();
            known.dedup();
            self.problems.add(
                self.error("unknown-key", entry.key_spot, message)
                    .did_you_mean(near, format!("it may have {}", known.join(", "))),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    fn report(text: &str, read: impl FnOnce(&mut Table<'_>)) -> String {
        let problems = Problems::new();
        let file = Arc::new(SourceFile::new("c.yml", text));
        let documents = yaml::parse(&file, &problems);
        let mut table = Table::root(&documents[0], &problems, "the configuration");
        read(&mut table);
        table.finish();
        problems.into_report().to_string()
    }

    #[test]
    fn reads_typed_values() {
        let text = "name: x\ncount: 3\non: true\nfor: 5m\nsize: 1KiB\nlist: [a, 7]\none: z\nratio: 1.5\nmode: b\nsub: {k: v}\nsubs: [{k: v}]\nnone:\n";
        let report = report(text, |table| {
            assert_eq!(table.text("name").unwrap().value, "x");
            assert_eq!(table.integer("count", 1, 5).unwrap().value, 3);
            assert!(table.boolean("on").unwrap().value);
            assert_eq!(table.span("for").unwrap().value, Span::from_secs(300));
            assert_eq!(table.byte_size("size").unwrap().value, ByteSize(1024));
            let list: Vec<_> = table.texts("list").into_iter().map(|t| t.value).collect();
            assert_eq!(list, ["a", "7"]);
            assert_eq!(table.texts("one").len(), 1);
            assert!((table.number("ratio").unwrap().value - 1.5).abs() < 1e-9);
            assert_eq!(table.word("mode", &[("a", 1), ("b", 2)]).unwrap().value, 2);
            assert_eq!(
                table.table("sub", "sub").unwrap().text("k").unwrap().value,
                "v"
            );
            assert_eq!(table.tables("subs", "a sub").len(), 1);
            assert!(table.text("none").is_none());
        });
        assert_eq!(report, "");
    }

    #[test]
    fn tells_all_problems_at_once() {
        let text = "count: many\nlimit: 9\non: 1\nfor: 5\nmode: bb\nlst: []\nname: [x]\nsub: 4\n";
        let report = report(text, |table| {
            table.integer("count", 1, 5);
            table.integer("limit", 1, 5);
            table.boolean("on");
            table.span("for");
            table.word("mode", &[("aaa", 1), ("bbb", 2)]);
            table.texts("list");
            table.text("name");
            table.table("sub", "`sub`");
            table.missing("id", "give it one");
        });
        for expected in [
            "`count` must be a whole number, not text",
            "`limit` must be between 1 and 5",
            "`on` must be true or false, not a number",
            "`for`: `5` is not a length of time; write it like",
            "`mode` cannot be `bb`",
            "did you mean `bbb`?",
            "the configuration has no key `lst`",
            "did you mean `list`?",
            "`name` must be text, not a list",
            "`sub` must be a mapping, not a number",
            "the configuration needs `id`",
        ] {
            assert!(report.contains(expected), "{expected}\n{report}");
        }
        assert!(report.ends_with("\n9 errors\n"), "{report}");
    }
}
