//! Makes the tree of the parser's events: places, anchors, budgets, duplicate keys.

use std::{collections::HashMap, sync::Arc};

use saphyr_parser::{Event, ScalarStyle, ScanError, Tag};

use super::{DEPTH_MAX, Document, Entry, NODES_MAX, Node, Scalar, Style, Value};
use crate::diagnostic::{Diagnostic, Problems, SourceFile, Spot};

/// An open list or mapping.
struct Frame {
    node: Node,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, Spot)>,
}

/// Takes the parser's events and makes documents of them.
pub(super) struct Builder<'p> {
    file: &'p Arc<SourceFile>,
    problems: &'p Problems,
    /// Byte offset of each character; none when all characters are one byte.
    offsets: Option<Vec<u32>>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes_left: usize,
    pub(super) documents: Vec<Document>,
}

impl<'p> Builder<'p> {
    pub(super) fn new(file: &'p Arc<SourceFile>, problems: &'p Problems) -> Self {
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
    pub(super) fn spot(&self, start: usize, end: usize) -> Spot {
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
    pub(super) fn event(&mut self, event: Event<'_>, spot: Spot) -> bool {
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
            let message = "this alias stands for nothing that ends before it in this document";
            self.problems.add(
                self.error("yaml-alias", spot, message)
                    .help("write the value out, or anchor it further up in the same document"),
            );
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

    pub(super) fn syntax_error(&self, error: &ScanError) {
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
