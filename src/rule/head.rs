//! What every Sigma document says about itself: title, id, name, level and the rest.

use super::{RuleMeta, Severity, codes};
use crate::diagnostic::{Diagnostic, Spot, Spotted, Table};

/// The words of a document, read and checked.
#[derive(Debug)]
pub(super) struct Head {
    /// Identity and words. The name may still be empty, and the id then is too.
    pub(super) meta: RuleMeta,
    /// Where problems with the whole document are shown: its title, or its first line.
    pub(super) spot: Spot,
    /// Where the id stands, if it has one.
    pub(super) id: Option<Spotted<String>>,
    /// Where the name stands, if it has one.
    pub(super) name: Option<Spotted<String>>,
}

/// Sigma's words for how tried a rule is.
const STATUSES: [(&str, ()); 5] = [
    ("stable", ()),
    ("test", ()),
    ("experimental", ()),
    ("deprecated", ()),
    ("unsupported", ()),
];

/// Keys that Sigma 2.1 or its published rules give to documents and that change nothing here.
const IGNORED: [&str; 12] = [
    "author",
    "date",
    "modified",
    "license",
    "related",
    "fields",
    "scope",
    "taxonomy",
    "sigma-version",
    "regression_tests_path",
    "simulation",
    "logsource",
];

/// Reads the head of a document; keys of its own kind stay for others.
pub(super) fn read(table: &mut Table<'_>) -> Head {
    let title = table.text("title");
    if title
        .as_ref()
        .is_none_or(|title| title.value.trim().is_empty())
    {
        table.missing(
            "title",
            "add `title:` and say in a few words what the rule finds",
        );
    }
    let spot = title
        .as_ref()
        .map_or_else(|| first_line(table), |title| title.spot);
    let id = table.text("id").filter(|id| check_id(table, id));
    let name = table.text("name").filter(|name| check_name(table, name));
    let levels = Severity::ALL.map(|severity| (severity.name(), severity));
    let severity = table
        .word("level", &levels)
        .map_or(Severity::Informational, |l| l.value);
    let status = table.text("status");
    if let Some(status) = &status {
        check_status(table, status);
    }
    let texts = |list: Vec<Spotted<String>>| list.into_iter().map(|text| text.value).collect();
    let meta = RuleMeta {
        id: id
            .as_ref()
            .map(|id| id.value.to_ascii_lowercase())
            .unwrap_or_default(),
        name: name
            .as_ref()
            .map(|name| name.value.clone())
            .unwrap_or_default(),
        title: title
            .map(|title| title.value.trim().to_owned())
            .unwrap_or_default(),
        description: table
            .text("description")
            .map(|d| d.value.trim().to_owned())
            .unwrap_or_default(),
        status: status.map(|status| status.value).unwrap_or_default(),
        severity,
        tags: texts(table.texts("tags")),
        runbook: None,
        references: texts(table.texts("references")),
        false_positives: texts(table.texts("falsepositives")),
    };
    Head {
        meta,
        spot,
        id,
        name,
    }
}

/// Takes the keys that change nothing, so that they are not unknown. Comes after the reader of
/// `logsource`.
pub(super) fn ignore_rest(table: &mut Table<'_>) {
    table.ignore(&IGNORED);
}

fn first_line(table: &Table<'_>) -> Spot {
    let start = table.spot.start;
    let text = table.file.slice(table.spot);
    Spot::new(start, start + text.lines().next().unwrap_or_default().len())
}

fn check_status(table: &Table<'_>, status: &Spotted<String>) {
    if STATUSES.iter().any(|(word, ())| *word == status.value) {
        return;
    }
    let words = STATUSES.map(|(word, ())| word);
    let near = crate::diagnostic::nearest(&status.value, words);
    table.problems.add(
        table
            .error(
                "wrong-value",
                status.spot,
                format!("`status` cannot be `{}`", status.value),
            )
            .did_you_mean(near, format!("write one of {}", words.join(", "))),
    );
}

fn check_id(table: &Table<'_>, id: &Spotted<String>) -> bool {
    let groups: Vec<&str> = id.value.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let hex = groups
        .iter()
        .all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
    if lengths == [8, 4, 4, 4, 12] && hex {
        return true;
    }
    table.problems.add(
        table
            .error(
                codes::BAD_ID,
                id.spot,
                format!("`{}` is not a UUID", id.value),
            )
            .help("make one with `uuidgen`, or leave `id` out and give a `name`"),
    );
    false
}

fn check_name(table: &Table<'_>, name: &Spotted<String>) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.value.is_empty() && name.value.len() <= 100 && name.value.chars().all(plain) {
        return true;
    }
    table.problems.add(
        Diagnostic::error(
            codes::BAD_NAME,
            table.file,
            name.spot,
            "a name holds at most 100 letters, digits, `-`, `_` and `.`",
        )
        .help("write it like `forbidden-burst`; the title may hold anything"),
    );
    false
}
