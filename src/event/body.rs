//! A request or response body, parsed once when a rule first asks and then looked into by path.
//!
//! The parse is a flat list of nodes in the order of the text, each knowing where its subtree
//! ends. It neither copies nor recurses, so a body nested 10,000 deep is like any other.

use std::borrow::Cow;

use super::{
    json::{self, skip_space},
    value::Value,
};

#[derive(Debug)]
struct Node<'b> {
    /// Raw key with quotes; empty in an array and at the root.
    key: &'b str,
    /// Raw text of the value; of containers only the first byte counts until they are closed.
    value: &'b str,
    /// The index behind this node's subtree.
    next: usize,
}

/// The parsed form of one body.
#[derive(Debug, Default)]
pub(crate) struct Body<'b> {
    nodes: Vec<Node<'b>>,
    /// The body is a JSON patch (RFC 6902): an array of operations with paths.
    is_json_patch: bool,
}

impl<'b> Body<'b> {
    /// Parses a raw body. What is not well formed ends the parse early.
    pub(crate) fn parse(text: &'b str) -> Self {
        let mut body = Self::default();
        let bytes = text.as_bytes();
        let mut open: Vec<usize> = Vec::new();
        let mut at = skip_space(text, 0);
        let mut key = "";
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'}' | b']' => {
                    let Some(container) = open.pop() else { break };
                    body.close(text, container, at + 1);
                    at += 1;
                }
                b',' => at += 1,
                _ => {
                    if byte == b'"' && key.is_empty() && body.in_object(&open) {
                        let end = json::value_end(text, at);
                        key = text.get(at..end).unwrap_or_default();
                        at = skip_space(text, end);
                        if bytes.get(at) != Some(&b':') {
                            break;
                        }
                        at += 1;
                    } else {
                        let container = matches!(byte, b'{' | b'[');
                        let end = if container {
                            at + 1
                        } else {
                            json::value_end(text, at)
                        };
                        if end == at {
                            break;
                        }
                        if container {
                            open.push(body.nodes.len());
                        }
                        let value = text.get(at..end).unwrap_or_default();
                        body.nodes.push(Node {
                            key,
                            value,
                            next: body.nodes.len() + 1,
                        });
                        key = "";
                        at = end;
                    }
                }
            }
            at = skip_space(text, at);
        }
        while let Some(container) = open.pop() {
            body.close(text, container, text.len());
        }
        let is_json_patch = body.operations().next().is_some();
        body.is_json_patch = is_json_patch;
        body
    }

    fn in_object(&self, open: &[usize]) -> bool {
        open.last()
            .is_some_and(|&node| self.nodes[node].value.starts_with('{'))
    }

    fn close(&mut self, text: &'b str, container: usize, end: usize) {
        let from = self.nodes[container].value.as_ptr() as usize - text.as_ptr() as usize;
        let next = self.nodes.len();
        let node = &mut self.nodes[container];
        node.value = text.get(from..end).unwrap_or(node.value);
        node.next = next;
    }

    fn children(&self, node: usize) -> impl Iterator<Item = usize> {
        let end = self.nodes.get(node).map_or(0, |parent| parent.next);
        let mut at = node + 1;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let child = at;
            at = self.nodes[child].next.max(child + 1);
            Some(child)
        })
    }

    /// Visits the values at a dotted path. An array on the way means each of its elements; a key
    /// may itself hold dots. A JSON patch is read as the object that it would write.
    pub(crate) fn any(&self, path: &str, visit: &mut dyn FnMut(Value<'b>) -> bool) -> bool {
        if self.nodes.is_empty() {
            return false;
        }
        if self.is_json_patch {
            return self.operations().any(|(pointer, value)| {
                rest_behind(&pointer, path).is_some_and(|rest| self.walk(value, rest, visit))
            });
        }
        self.walk(0, path, visit)
    }

    fn walk<'p>(
        &self,
        from: usize,
        path: &'p str,
        visit: &mut dyn FnMut(Value<'b>) -> bool,
    ) -> bool {
        let mut stack: Vec<(usize, &'p str)> = vec![(from, path)];
        while let Some((at, path)) = stack.pop() {
            let node = &self.nodes[at];
            if path.is_empty() {
                if Value::any(node.value, visit) {
                    return true;
                }
                continue;
            }
            let known = stack.len();
            if node.value.starts_with('[') {
                stack.extend(self.children(at).map(|child| (child, path)));
            } else if node.value.starts_with('{') {
                stack.extend(self.children(at).filter_map(|child| {
                    Some((
                        child,
                        strip_segment(path, &json::unescape(self.nodes[child].key))?,
                    ))
                }));
            }
            stack[known..].reverse();
        }
        false
    }

    /// The (pointer, value node) of each add or replace when the root is a JSON patch.
    fn operations(&self) -> impl Iterator<Item = (Cow<'b, str>, usize)> {
        let is_array = self
            .nodes
            .first()
            .is_some_and(|root| root.value.starts_with('['));
        let child = |of: usize, key: &str| {
            self.children(of)
                .find(|&node| json::raw_is(self.nodes[node].key, key))
        };
        self.children(0)
            .filter(move |_| is_array)
            .filter_map(move |operation| {
                let name = self.nodes[child(operation, "op")?].value;
                let writes = json::raw_is(name, "add") || json::raw_is(name, "replace");
                let pointer = json::unescape(self.nodes[child(operation, "path")?].value);
                writes.then_some((pointer, child(operation, "value")?))
            })
    }
}

/// What is left of `path` behind a key that equals its first segment or segments.
fn strip_segment<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(key)?;
    if rest.is_empty() {
        Some(rest)
    } else {
        rest.strip_prefix('.')
    }
}

/// What is left of `path` behind a JSON pointer (`/spec/containers/0/image`); its array places
/// (`0`, `-`) are not part of a path.
fn rest_behind<'p>(pointer: &str, path: &'p str) -> Option<&'p str> {
    let mut rest = path;
    for segment in pointer
        .split('/')
        .skip(1)
        .filter(|segment| !segment.is_empty())
    {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        match strip_segment(rest, &segment) {
            Some(tail) => rest = tail,
            None if segment == "-" || segment.bytes().all(|b| b.is_ascii_digit()) => {}
            None => return None,
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str, path: &str) -> Vec<String> {
        let mut all = Vec::new();
        Body::parse(body).any(path, &mut |value| {
            all.extend(value.into_text().map(Cow::into_owned));
            false
        });
        all
    }

    #[test]
    fn finds_values_through_arrays_and_dotted_keys() {
        let body = r#"{"spec":{"containers":[{"image":"a","args":["x","y"]},{"image":"b"}],
            "hostNetwork":true,"n":3},"metadata":{"labels":{"app.kubernetes.io/name":"web"}}}"#;
        assert_eq!(found(body, "spec.containers.image"), ["a", "b"]);
        assert_eq!(found(body, "spec.containers.args"), ["x", "y"]);
        assert_eq!(found(body, "spec.hostNetwork"), ["true"]);
        assert_eq!(found(body, "spec.n"), ["3"]);
        assert_eq!(
            found(body, "metadata.labels.app.kubernetes.io/name"),
            ["web"]
        );
        assert_eq!(found(body, "spec.container"), Vec::<String>::new());
        assert_eq!(
            found(body, "spec.containers.image.deeper"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn reads_a_json_patch_as_what_it_writes() {
        let patch = r#"[{"op":"add","path":"/spec/containers/0/securityContext","value":{"privileged":true}},
            {"op":"remove","path":"/spec/hostNetwork"},
            {"op":"replace","path":"/metadata/labels/a~1b.c","value":"v"}]"#;
        assert_eq!(
            found(patch, "spec.containers.securityContext.privileged"),
            ["true"]
        );
        assert_eq!(found(patch, "spec.hostNetwork"), Vec::<String>::new());
        assert_eq!(found(patch, "metadata.labels.a/b.c"), ["v"]);
    }

    #[test]
    fn survives_depth_and_nonsense() {
        let deep = format!("{}1{}", "{\"a\":[".repeat(20_000), "]}".repeat(20_000));
        assert_eq!(found(&deep, "b"), Vec::<String>::new());
        let path = vec!["a"; 20_000].join(".");
        assert_eq!(found(&deep, &path), ["1"]);
        for text in [
            "",
            "{",
            "[",
            "\"skipped\"",
            "{\"a\"",
            "{\"a\":}",
            "]",
            "{,}",
            "nul",
        ] {
            found(text, "a");
        }
    }
}
