//! Reads all files into one rule set, or says all that is wrong with them.

use std::sync::Arc;

use super::{
    RuleSet,
    document::{self, Draft},
    drafts::Drafts,
    link,
    placeholder::Lists,
};
use crate::diagnostic::{Problems, Report, SourceFile, yaml};

/// Rule and list files that belong together: the shipped ones, or a directory of the user's.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// Rules, correlations and filters; the order of files is the order of rules.
    pub rules: Vec<Arc<SourceFile>>,
    /// Lists for placeholders.
    pub lists: Vec<Arc<SourceFile>>,
}

/// What a load gives when no file has an error.
#[derive(Debug)]
pub struct Loaded {
    /// The rules.
    pub set: RuleSet,
    /// What somebody should look at all the same.
    pub warnings: Report,
}

impl Layer {
    /// Sorts files by what they are: those in a folder `lists` are lists, `*.cases.yml` are left
    /// out, all others are rules. The order stays.
    pub fn new(files: impl IntoIterator<Item = SourceFile>) -> Self {
        let mut layer = Self::default();
        for file in files {
            let folder = file.name.rsplit(['/', '\\']).nth(1);
            if folder == Some("lists") {
                layer.lists.push(Arc::new(file));
            } else if !file.name.ends_with(".cases.yml") && !file.name.ends_with(".cases.yaml") {
                layer.rules.push(Arc::new(file));
            }
        }
        layer
    }
}

impl RuleSet {
    /// Reads all files of all layers. A rule of a later layer replaces one of an earlier layer
    /// with the same id (or, without ids, name), and a list one of the same name.
    ///
    /// # Errors
    /// All problems of all files, when one of them is an error.
    pub fn load(layers: &[Layer]) -> Result<Loaded, Report> {
        let problems = Problems::new();
        let lists = Lists::read(layers.iter().flat_map(|layer| &layer.lists), &problems);
        let mut drafts = Drafts::default();
        for layer in layers {
            let read = layer
                .rules
                .iter()
                .map(|file| read_file(file, &lists, &problems))
                .collect();
            drafts.add_layer(read, &problems);
        }
        let set = link::link(&drafts, &problems);
        let report = problems.into_report();
        if report.has_errors() {
            Err(report)
        } else {
            Ok(Loaded {
                set,
                warnings: report,
            })
        }
    }
}

fn read_file(file: &Arc<SourceFile>, lists: &Lists, problems: &Problems) -> Vec<Draft> {
    let documents = yaml::parse(file, problems);
    let mut drafts: Vec<Draft> = documents
        .iter()
        .filter_map(|document| document::read(document, lists, problems))
        .collect();
    let nameless = drafts
        .iter()
        .filter(|draft| draft.head.name.is_none())
        .count();
    for draft in &mut drafts {
        if draft.head.name.is_none() {
            draft.head.meta.name = if nameless == 1 {
                slug(file.stem())
            } else {
                slug(&draft.head.meta.title)
            };
        }
    }
    drafts
}

/// Letters and digits of a text, words joined by `-`.
fn slug(text: &str) -> String {
    const SLUG_MAX: usize = 80;
    let mut slug = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '.') {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(SLUG_MAX);
    slug.trim_end_matches('-').to_owned()
}
