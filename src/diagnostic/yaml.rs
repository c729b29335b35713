//! YAML text as a tree whose every node knows its place. The only file that knows the YAML crate.
//!
//! YAML 1.2, several documents a file, anchors and aliases. Bounded: a text has at most
//! [`TEXT_MAX`] bytes, a file [`NODES_MAX`] nodes with aliases counted as often as they are used,
//! and nesting ends at [`DEPTH_MAX`]. A scalar stays text; [`Scalar::resolve`] says what a plain
//! one means. Not here: what keys mean ([`super::Table`]).

use std::{collections::HashMap, sync::Arc};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::{Diagnostic, Problems, SourceFile, Spot};

/// The longest text that is read, in bytes.
pub const TEXT_MAX: usize = 16 << 20;
/// The most nodes in one file.
pub const NODES_MAX: usize = 500_000;
/// The deepest nesting.
pub const DEPTH_MAX: usize = 64;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file it stands in.
    pub file: Arc<SourceFile>,
    /// Its content.
    pub root: Node,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What stands there.
    pub value: Value,
    /// Where.
    pub spot: Spot,
}

/// The three kinds of value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, a number, a truth value or null.
    Scalar(Scalar),
    /// `- …` or `[…]`.
    Sequence(Vec<Node>),
    /// `key: …` or `{…}`, in the order of the file, no key twice.
    Mapping(Vec<Entry>),
}

/// One `key: value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub key_spot: Spot,
    /// The value.
    pub value: Node,
}

/// Text as written, quotes and escapes taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// How it was written.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes; only then can it be more than text.
    Plain,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// `|` or `>`
    Block,
}

/// What a scalar means in YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resolved<'s> {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Another number; never NaN.
    Float(f64),
    /// Anything else.
    Text(&'s str),
}

impl Scalar {
    /// What the scalar means. `yes`, `no`, `on` and `off` are text, as in YAML 1.2.
    pub fn resolve(&self) -> Resolved<'_> {
        let text = self.text.as_str();
        if self.style != Style::Plain {
            return Resolved::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
            "true" | "True" | "TRUE" => return Resolved::Bool(true),
            "false" | "False" | "FALSE" => return Resolved::Bool(false),
            ".inf" | ".Inf" | "+.inf" => return Resolved::Float(f64::INFINITY),
            "-.inf" | "-.Inf" => return Resolved::Float(f64::NEG_INFINITY),
            _ => {}
        }
        if let Some(number) = integer(text) {
            return Resolved::Integer(number);
        }
        let numeric = text.bytes().any(|b| b.is_ascii_digit())
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
        match text.parse() {
            Ok(number) if numeric => Resolved::Float(number),
            _ => Resolved::Text(text),
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return i64::from_str_radix(digits, 16).ok();
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return i64::from_str_radix(digits, 8).ok();
    }
    text.parse().ok()
}

impl Node {
    /// What kind of value it is, in words.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => "empty",
                Resolved::Bool(_) => "a truth value",
                Resolved::Integer(_) | Resolved::Float(_) => "a number",
                Resolved::Text(_) => "text",
            },
        }
    }

    /// The scalar, if it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether nothing stands here: `key:` or `key: null`.
    pub fn is_null(&self) -> bool {
        self.scalar()
            .is_some_and(|scalar| scalar.resolve() == Resolved::Null)
    }

    /// Where the bytes `start..end` of this scalar's text stand in the file: within quotes, over
    /// folded lines, past indentation. The whole node when that cannot be told.
    pub fn spot_of(&self, file: &SourceFile, start: usize, end: usize) -> Spot {
        let found = self.scalar().and_then(|scalar| {
            let source = file.slice(self.spot);
            align(scalar, source, start, end)
        });
        found.map_or(self.spot, |(start, end)| {
            Spot::new(self.spot.start + start, self.spot.start + end)
        })
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::Sequence(items) => items.iter().map(Self::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::Sequence(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            Value::Mapping(entries) => entries
                .iter()
                .map(|entry| entry.value.depth())
                .max()
                .unwrap_or(0),
        }
    }
}

/// Walks a scalar's text and its source side by side; gives the source range of `start..end`.
fn align(scalar: &Scalar, source: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    let mut at = usize::from(matches!(scalar.style, Style::Single | Style::Double));
    let mut from = None;
    let mut till = at;
    for (offset, character) in scalar.text.char_indices() {
        if offset >= end {
            break;
        }
        let rest = &source[at..];
        let gap = rest.len() - rest.trim_start().len();
        if character.is_whitespace() {
            if offset == start {
                from = Some(at);
            }
            // A run of white space in the text may be any run of it in the source.
            let more =
                scalar.text[offset + character.len_utf8()..].starts_with(char::is_whitespace);
            at += if more {
                rest.chars().next()?.len_utf8().min(gap)
            } else {
                gap
            };
            till = at;
            continue;
        }
        at += gap;
        if offset == start {
            from = Some(at);
        }
        let found = source[at..].chars().next()?;
        at += match (scalar.style, found) {
            (Style::Double, '\\') => {
                let escaped = source[at + 1..].chars().next()?;
                if escaped != character {
                    return None;
                }
                1 + escaped.len_utf8()
            }
            (Style::Single, '\'') => 2,
            _ if found == character => found.len_utf8(),
            _ => return None,
        };
        till = at;
    }
    let from = from.unwrap_or(at);
    (till <= source.len()).then_some((from, till.max(from)))
}

/// Reads all documents of a file. What is wrong goes to `problems`; the documents before a syntax
/// error are still given. Empty documents are left out.
pub fn parse(file: &Arc<SourceFile>, problems: &Problems) -> Vec<Document> {
    if file.text.len() > TEXT_MAX {
        let message = format!(
            "the file has {} bytes, more than {TEXT_MAX}",
            file.text.len()
        );
        problems.add(
            Diagnostic::error("file-too-big", file, Spot::default(), message)
                .help("split it into several files"),
        );
        return Vec::new();
    }
    let mut builder = Builder::new(file, problems);
    let mut parser = Parser::new_from_str(&file.text);
    while let Some(next) = parser.next_event() {
        let going_on = match next {
            Ok((event, span)) => {
                let spot = builder.spot(span.start.index(), span.end.index());
                builder.event(event, spot)
            }
            Err(error) => {
                builder.syntax_error(&error);
                false
            }
        };
        if !going_on {
            break;
        }
    }
    builder.documents
}

/// An open list or mapping.
struct Frame {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, Spot)>,
}

struct Builder<'p> {
    file: &'p Arc<SourceFile>,
    problems: &'p Problems,
    /// Byte offset of each character; none when all characters are one byte.
    offsets: Option<Vec<u32>>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes_left: usize,
    documents: Vec<Document>,
}

impl<'p> Builder<'p> {
    fn new(file: &'p Arc<SourceFile>, problems: &'p Problems) -> Self {
        let offsets = (!file.text.is_ascii()).then(|| {
            let starts = file.text.char_indices().map(|(at, _)| at as u32);
            starts.chain([file.text.len() as u32]).collect()
        });
        Self {
            file,
            problems,
            offsets,
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes_left: NODES_MAX,
            documents: Vec::new(),
        }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = match &self.offsets {
            None => character,
            Some(offsets) => offsets
                .get(character)
                .map_or(usize::MAX, |byte| *byte as usize),
        };
        byte.min(self.file.text.len())
    }

    /// The place of a range of characters, white space at its end taken off.
    fn spot(&self, start: usize, end: usize) -> Spot {
        let start = self.byte(start);
        let end = self.byte(end).max(start);
        let text = self.file.text.get(start..end).unwrap_or_default();
        Spot::new(start, start + text.trim_end().len())
    }

    /// The place of a scalar alone, without the anchor or tag before it and the comment behind it
    /// that the parser counts in.
    fn scalar_spot(&self, style: Style, spot: Spot) -> Spot {
        let mut text = self.file.slice(spot);
        while style != Style::Block && text.starts_with(['&', '!']) {
            text = text
                .split_once(char::is_whitespace)
                .map_or("", |(_, rest)| rest)
                .trim_start();
        }
        let start = spot.end - text.len();
        let quote = match style {
            Style::Single => '\'',
            Style::Double => '"',
            Style::Plain | Style::Block => return Spot::new(start, spot.end),
        };
        let mut inner = text.char_indices().skip(1).peekable();
        while let Some((at, found)) = inner.next() {
            if found == '\\' && quote == '"' {
                inner.next();
            } else if found == quote {
                if quote == '"' || inner.peek().is_none_or(|(_, next)| *next != quote) {
                    return Spot::new(start, start + at + 1);
                }
                inner.next();
            }
        }
        Spot::new(start, spot.end)
    }

    fn error(&self, code: &'static str, spot: Spot, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, self.file, spot, message)
    }

    /// Takes one event; false when reading should end.
    fn event(&mut self, event: Event<'_>, spot: Spot) -> bool {
        match event {
            Event::DocumentStart(_) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    ScalarStyle::Plain if is_text_tag(tag.as_deref()) => Style::Block,
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let spot = self.scalar_spot(style, spot);
                let value = Value::Scalar(Scalar {
                    text: text.into_owned(),
                    style,
                });
                return self.tag(tag.as_deref(), spot)
                    && self.place(Node { value, spot }, anchor, 1);
            }
            Event::SequenceStart(anchor, tag) => {
                return self.tag(tag.as_deref(), spot)
                    && self.open(
                        Node {
                            value: Value::Sequence(Vec::new()),
                            spot,
                        },
                        anchor,
                    );
            }
            Event::MappingStart(anchor, tag) => {
                return self.tag(tag.as_deref(), spot)
                    && self.open(
                        Node {
                            value: Value::Mapping(Vec::new()),
                            spot,
                        },
                        anchor,
                    );
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(frame) = self.stack.pop() {
                    let node = self.close(frame.node, spot);
                    return self.place(node, frame.anchor, 0);
                }
            }
            Event::Alias(anchor) => return self.alias(anchor, spot),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Nothing => {}
        }
        true
    }

    /// Only the core schema's own tags are known.
    fn tag(&self, tag: Option<&Tag>, spot: Spot) -> bool {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else {
            return true;
        };
        self.problems.add(
            self.error(
                "yaml-tag",
                spot,
                format!("the tag `{tag}` has no meaning here"),
            )
            .help("leave the tag out, or quote the text if it is meant to start with `!`"),
        );
        true
    }

    fn open(&mut self, node: Node, anchor: usize) -> bool {
        if self.stack.len() >= DEPTH_MAX {
            return self.too_deep(node.spot);
        }
        if !self.spend(1, node.spot) {
            return false;
        }
        self.stack.push(Frame {
            node,
            anchor,
            key: None,
        });
        true
    }

    fn too_deep(&self, spot: Spot) -> bool {
        let message = format!("lists and mappings are nested more than {DEPTH_MAX} deep");
        self.problems
            .add(self.error("yaml-too-deep", spot, message));
        false
    }

    fn spend(&mut self, nodes: usize, spot: Spot) -> bool {
        if let Some(left) = self.nodes_left.checked_sub(nodes) {
            self.nodes_left = left;
            return true;
        }
        let message = format!("the file has more than {NODES_MAX} values, aliases counted in full");
        self.problems.add(
            self.error("yaml-too-many", spot, message)
                .help("split the file"),
        );
        false
    }

    /// Gives a finished list or mapping its whole place: up to its bracket, or its last child.
    fn close(&self, mut node: Node, end: Spot) -> Node {
        let last = match &node.value {
            Value::Sequence(items) => items.last().map(|item| item.spot.end),
            Value::Mapping(entries) => entries
                .last()
                .map(|entry| entry.value.spot.end.max(entry.key_spot.end)),
            Value::Scalar(_) => None,
        };
        let flow = self.file.text[node.spot.start..].starts_with(['[', '{']);
        node.spot.end = match last {
            Some(last) if !flow => last.max(node.spot.end),
            _ => end.end.max(node.spot.end),
        };
        node
    }

    fn alias(&mut self, anchor: usize, spot: Spot) -> bool {
        let Some(node) = self.anchors.get(&anchor) else {
            self.problems
                .add(self.error("yaml-alias", spot, "an alias inside its own anchor"));
            return false;
        };
        let (size, depth) = (node.size(), node.depth());
        let node = Node {
            value: node.value.clone(),
            spot,
        };
        if self.stack.len() + depth > DEPTH_MAX {
            return self.too_deep(spot);
        }
        self.place(node, 0, size)
    }

    /// Puts a finished node where it belongs. `cost`: how many nodes it adds to the budget.
    fn place(&mut self, node: Node, anchor: usize, cost: usize) -> bool {
        if !self.spend(cost, node.spot) {
            return false;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(mut frame) = self.stack.pop() else {
            if !node.is_null() {
                self.documents.push(Document {
                    file: Arc::clone(self.file),
                    root: node,
                });
            }
            return true;
        };
        match &mut frame.node.value {
            Value::Sequence(items) => items.push(node),
            Value::Mapping(entries) => match frame.key.take() {
                Some((key, key_spot)) => self.entry(entries, key, key_spot, node),
                None => frame.key = Some(self.key(node)),
            },
            Value::Scalar(_) => {}
        }
        self.stack.push(frame);
        true
    }

    fn key(&self, node: Node) -> (String, Spot) {
        if let Value::Scalar(scalar) = node.value {
            return (scalar.text, node.spot);
        }
        self.problems.add(
            self.error("yaml-key", node.spot, "a key must be text")
                .help("quote it if it is meant to begin with `[` or `{`"),
        );
        (String::new(), node.spot)
    }

    fn entry(&self, entries: &mut Vec<Entry>, key: String, key_spot: Spot, mut value: Node) {
        if value.spot.start >= value.spot.end {
            value.spot = key_spot;
        }
        let first = entries.iter().find(|entry| entry.key == key);
        if let Some(first) = first {
            let line = self.file.line_number(first.key_spot);
            self.problems.add(
                self.error(
                    "duplicate-key",
                    key_spot,
                    format!("`{key}` stands here twice"),
                )
                .label(format!("first on line {line}"))
                .help("join the two, or write them as a list"),
            );
        } else {
            entries.push(Entry {
                key,
                key_spot,
                value,
            });
        }
    }

    fn syntax_error(&self, error: &ScanError) {
        let start = self.byte(error.marker().index());
        let next = self.file.text[start..]
            .chars()
            .next()
            .map_or(0, char::len_utf8);
        let info = error.info();
        let problem = self.error(
            "yaml-syntax",
            Spot::new(start, start + next),
            "this is not YAML",
        );
        let help = if info.contains("tab") {
            "indent with spaces, not with tabs"
        } else if info.contains("anchor or alias") || info.contains("unknown anchor") {
            "a value that begins with `*` or `&` needs quotes"
        } else if info.contains("mapping values") || info.contains("illegal placement of ':'") {
            "a value that holds `: ` needs quotes; a new key needs its own line and the same indentation as its neighbours"
        } else if info.contains("end of stream") || info.contains("unexpected eof") {
            "a quote or bracket that was opened is never closed"
        } else if info.contains("unknown escape") {
            "within double quotes a backslash is written twice; single quotes take it as it is"
        } else if info.contains("expected key")
            || info.contains("'-' indicator")
            || info.contains("indentation")
        {
            "check the indentation of this line and the one before"
        } else {
            "quote a value that begins with one of @ ` % ! { [ or holds ` #`"
        };
        self.problems.add(problem.label(info).help(help));
    }
}

fn is_text_tag(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Vec<Document>, String) {
        let problems = Problems::new();
        let file = Arc::new(SourceFile::new("f.yml", text));
        let documents = parse(&file, &problems);
        (documents, problems.into_report().to_string())
    }

    /// The tree in one line, each scalar with the source text of its spot.
    fn outline(file: &SourceFile, node: &Node) -> String {
        match &node.value {
            Value::Scalar(scalar) => format!("{:?}@{:?}", scalar.text, file.slice(node.spot)),
            Value::Sequence(items) => {
                let items: Vec<_> = items.iter().map(|item| outline(file, item)).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Mapping(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|e| format!("{}={}", file.slice(e.key_spot), outline(file, &e.value)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn nodes_know_their_places() {
        let text = "# ключ\na: 'x ''y'  # c\nb:\n  - \"q\\n\"\n  - plain text # c\nc: {d: [1, 2]}\ne:\nf: |\n  one\n  two\ng: &x z\nh: *x\n";
        let (documents, report) = read(text);
        assert_eq!(report, "");
        let document = &documents[0];
        assert_eq!(
            outline(&document.file, &document.root),
            r#"{a="x 'y"@"'x ''y'" b=["q\n"@"\"q\\n\"" "plain text"@"plain text"] c={d=["1"@"1" "2"@"2"]} e=""@"e" f="one\ntwo\n"@"one\n  two" g="z"@"z" h="z"@"*x"}"#
        );
        let Value::Mapping(entries) = &document.root.value else {
            panic!()
        };
        assert_eq!(document.file.slice(entries[2].value.spot), "{d: [1, 2]}");
        assert_eq!(
            document.file.slice(entries[1].value.spot),
            "- \"q\\n\"\n  - plain text"
        );
    }

    #[test]
    fn finds_parts_of_scalars() {
        let text = "- sel and (nope\n    or x)\n- 'it''s nope'\n- \"a \\\"nope\\\"\"\n- |\n    first\n    then nope\n- >\n    first\n    then nope\n- \"\\u00e9 nope\"\n";
        let (documents, _) = read(text);
        let Value::Sequence(items) = &documents[0].root.value else {
            panic!()
        };
        for (place, item) in items.iter().enumerate() {
            let start = item.scalar().unwrap().text.find("nope").unwrap();
            let spot = item.spot_of(&documents[0].file, start, start + 4);
            let found = documents[0].file.slice(spot);
            // What an escape makes of the text before it is not followed; the node stands in.
            assert_eq!(
                found,
                if place == 5 {
                    "\"\\u00e9 nope\""
                } else {
                    "nope"
                },
                "{place}"
            );
        }
        let last = items[0].scalar().unwrap().text.len();
        assert_eq!(
            documents[0]
                .file
                .slice(items[0].spot_of(&documents[0].file, last - 2, last)),
            "x)"
        );
    }

    #[test]
    fn several_documents_and_empty_ones() {
        let (documents, report) = read("a: 1\n---\n---\nb: 2\n...\n# end\n");
        assert_eq!((documents.len(), report.as_str()), (2, ""));
    }

    #[test]
    fn core_schema() {
        for (text, resolved) in [
            ("null", Resolved::Null),
            ("~", Resolved::Null),
            ("true", Resolved::Bool(true)),
            ("yes", Resolved::Text("yes")),
            ("-12", Resolved::Integer(-12)),
            ("0x1f", Resolved::Integer(31)),
            ("1.5e3", Resolved::Float(1500.0)),
            ("1.2.3.4", Resolved::Text("1.2.3.4")),
            ("inf", Resolved::Text("inf")),
            ("NaN", Resolved::Text("NaN")),
            ("", Resolved::Null),
        ] {
            let scalar = |style| Scalar {
                text: text.to_owned(),
                style,
            };
            assert_eq!(scalar(Style::Plain).resolve(), resolved, "{text}");
            assert_eq!(scalar(Style::Single).resolve(), Resolved::Text(text));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, expected) in [
            (
                "a: 1\nb: 2\na: 3\n",
                "error[duplicate-key]: `a` stands here twice\n --> f.yml:3:1\n  |\n3 | a: 3\n  | ^ first on line 1\n",
            ),
            (
                "a: *nope*\n",
                "error[yaml-syntax]: this is not YAML\n --> f.yml:1:4\n",
            ),
            ("a: b: c\n", "a value that holds `: ` needs quotes"),
            ("a:\n\tb: 1\n", "indent with spaces, not with tabs"),
            ("a: 'x\n", "never closed"),
            ("a: !py/object x\n", "error[yaml-tag]"),
            ("? [a]\n: b\n", "error[yaml-key]"),
            ("a: &x [*x]\n", "error[yaml-alias]"),
        ] {
            let (_, report) = read(text);
            assert!(report.contains(expected), "{text}\n{report}");
        }
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x]\n".to_owned();
        for level in 1..30 {
            bomb += &format!(
                "a{level}: &a{level} [{}]\n",
                format!("*a{},", level - 1).repeat(9)
            );
        }
        let (_, report) = read(&bomb);
        assert!(report.contains("error[yaml-too-many]"), "{report}");
        for deep in [
            "[".repeat(100_000),
            "- ".repeat(100_000),
            "{a: ".repeat(100),
        ] {
            let (_, report) = read(&deep);
            assert!(report.contains("error[yaml-"), "{report}");
        }
        let (_, report) = read(&"x".repeat(TEXT_MAX + 1));
        assert!(report.contains("error[file-too-big]"), "{report}");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-\\[\\]{}:,#&*!|>'\"%@`?~ \\t\\n\\r\\\\a0é\u{feff}\u{85}\u{2028}]{0,60}") {
            read(&text);
        }

        #[test]
        fn any_text_is_found_again(text in "[a-z0-9 :#'\"\\\\é]{1,20}") {
            let quoted = format!("k: ['{}']", text.replace('\'', "''"));
            let (documents, report) = read(&quoted);
            prop_assert_eq!(report, "");
            let Value::Mapping(entries) = &documents[0].root.value else { panic!() };
            let Value::Sequence(items) = &entries[0].value.value else { panic!() };
            prop_assert_eq!(&items[0].scalar().unwrap().text, &text);
        }
    }
}
