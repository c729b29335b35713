//! Lists of values that users keep beside their rules: `%admins%` in a value with `expand`.

use std::{collections::BTreeMap, sync::Arc};

use crate::diagnostic::{Diagnostic, Problems, SourceFile, yaml};

/// The most values that one `expand` can make.
const EXPANDED_MAX: usize = 100_000;

/// All lists by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    values: BTreeMap<String, Vec<String>>,
}

impl Lists {
    /// Reads list files: each a mapping from names to lists of text. A later file replaces a
    /// list of an earlier one.
    pub(super) fn read<'f>(
        files: impl IntoIterator<Item = &'f Arc<SourceFile>>,
        problems: &Problems,
    ) -> Self {
        let mut lists = Self::default();
        for file in files {
            for document in yaml::parse(file, problems) {
                let yaml::Value::Mapping(entries) = &document.root.value else {
                    let message = "a list file must be a mapping";
                    problems.add(
                        Diagnostic::error("wrong-type", file, document.root.spot, message)
                            .help("write `name: [value, value]`"),
                    );
                    continue;
                };
                for entry in entries {
                    let values = texts(&entry.value, file, problems);
                    lists.values.insert(entry.key.clone(), values);
                }
            }
        }
        lists
    }

    /// The names of all lists.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// All texts that a value with `%name%` in it stands for.
    ///
    /// # Errors
    /// The name that is no list.
    pub(super) fn expand(&self, text: &str) -> Result<Vec<String>, String> {
        let Some((before, name, behind)) = placeholder(text) else {
            return Ok(vec![text.to_owned()]);
        };
        let values = self.values.get(name).ok_or_else(|| name.to_owned())?;
        let tails = self.expand(behind)?;
        let all = values.iter().flat_map(|value| {
            tails
                .iter()
                .map(move |tail| format!("{before}{value}{tail}"))
        });
        Ok(all.take(EXPANDED_MAX).collect())
    }
}

/// The first `%name%` of a text, with what is before and behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let open = text.find('%')?;
    let close = open + 1 + text[open + 1..].find('%')?;
    let name = &text[open + 1..close];
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || !name.chars().all(word) {
        return None;
    }
    Some((&text[..open], name, &text[close + 1..]))
}

fn texts(node: &yaml::Node, file: &Arc<SourceFile>, problems: &Problems) -> Vec<String> {
    let wrong = |node: &yaml::Node| {
        let message = format!("a list holds text, not {}", node.kind());
        problems.add(Diagnostic::error("wrong-type", file, node.spot, message));
    };
    let yaml::Value::Sequence(items) = &node.value else {
        if !node.is_null() {
            wrong(node);
        }
        return Vec::new();
    };
    let mut texts = Vec::new();
    for item in items {
        match item.scalar() {
            Some(scalar) if !item.is_null() => texts.push(scalar.text.clone()),
            _ => wrong(item),
        }
    }
    texts
}
