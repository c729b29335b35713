//! All documents by id and name: duplicates, overrides, and what a reference means.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    codes,
    document::{Body, Draft},
};
use crate::diagnostic::{Diagnostic, Problems, SourceFile, Spotted, nearest};

/// All documents, by id and name.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    /// In the order of layers, files and documents.
    pub(super) all: Vec<Draft>,
    /// Ids and names → place in `all`.
    places: BTreeMap<String, usize>,
}

impl Drafts {
    /// Adds the documents of a layer's files.
    pub(super) fn add_layer(&mut self, files: Vec<Vec<Draft>>, problems: &Problems) {
        let mut added: Vec<Draft> = Vec::new();
        for mut draft in files.into_iter().flatten() {
            self.replace(&mut draft);
            added.push(draft);
        }
        self.all.append(&mut added);
        self.places.clear();
        for place in 0..self.all.len() {
            self.register(place, problems);
        }
    }

    /// Takes out the draft of an earlier layer that this one replaces, and inherits its name.
    fn replace(&mut self, draft: &mut Draft) {
        let meta = &mut draft.head.meta;
        let key = if meta.id.is_empty() {
            meta.name.clone()
        } else {
            meta.id.clone()
        };
        let Some(place) = self.places.get(&key).copied() else {
            return;
        };
        // Several documents may name the same one; the second is a duplicate of the first.
        let old = self
            .all
            .get_mut(place)
            .filter(|old| !matches!(old.body, Body::Replaced));
        if let Some(old) = old {
            if draft.head.name.is_none() {
                meta.name.clone_from(&old.head.meta.name);
            }
            old.body = Body::Replaced;
        }
    }

    fn register(&mut self, place: usize, problems: &Problems) {
        let draft = &mut self.all[place];
        if matches!(draft.body, Body::Replaced) {
            return;
        }
        let meta = &mut draft.head.meta;
        if meta.id.is_empty() {
            meta.id.clone_from(&meta.name);
        }
        let mut keys = vec![("id", meta.id.clone())];
        if meta.name != meta.id {
            keys.push(("name", meta.name.clone()));
        }
        for (what, key) in keys {
            if let Some(&first) = self.places.get(&key) {
                self.duplicate(what, &key, place, first, problems);
            } else {
                self.places.insert(key, place);
            }
        }
    }

    fn duplicate(&self, what: &str, key: &str, place: usize, first: usize, problems: &Problems) {
        let (draft, first) = (&self.all[place], &self.all[first]);
        let spot = match what {
            "id" => draft.head.id.as_ref().map(|id| id.spot),
            _ => draft.head.name.as_ref().map(|name| name.spot),
        };
        let line = first.file.line_number(first.head.spot);
        let help = if spot.is_some() {
            format!("give it another {what}")
        } else {
            "give it a `name:`; without one it is called after its file".to_owned()
        };
        problems.add(
            Diagnostic::error(
                codes::DUPLICATE_RULE,
                &draft.file,
                spot.unwrap_or(draft.head.spot),
                format!("there is another rule `{key}`"),
            )
            .label(format!("first in {}:{line}", first.file.name))
            .help(help),
        );
    }

    /// The place of the rule that a reference means; unknown ones are reported.
    pub(super) fn find(
        &self,
        reference: &Spotted<String>,
        file: &Arc<SourceFile>,
        problems: &Problems,
    ) -> Option<usize> {
        let found = self.places.get(&reference.value);
        if let Some(place) =
            found.or_else(|| self.places.get(&reference.value.to_ascii_lowercase()))
        {
            return Some(*place);
        }
        let names = self.all.iter().map(|draft| draft.head.meta.name.as_str());
        problems.add(
            Diagnostic::error(
                codes::UNKNOWN_RULE,
                file,
                reference.spot,
                format!("there is no rule `{}`", reference.value),
            )
            .did_you_mean(
                nearest(&reference.value, names),
                "write a rule's `name` or `id`",
            ),
        );
        None
    }
}
