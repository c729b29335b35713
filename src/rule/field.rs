//! Fields as rules name them: looking them up, and what to say when there is none of that name.

use std::sync::Arc;

use super::codes;
use crate::{
    diagnostic::{Diagnostic, Problems, SourceFile, Spot, Table, nearest},
    event::{FIELDS, Field},
};

/// The field of this name; what is none is reported.
pub(super) fn look_up(
    name: &str,
    file: &Arc<SourceFile>,
    spot: Spot,
    problems: &Problems,
) -> Option<Field> {
    if let Ok(field) = Field::parse(name) {
        return Some(field);
    }
    problems.add(
        Diagnostic::error(
            codes::UNKNOWN_FIELD,
            file,
            spot,
            format!("there is no field `{name}`"),
        )
        .label("not a field of audit events")
        .did_you_mean(nearest_field(name), "`auditwatch fields` lists them"),
    );
    None
}

/// A key's list of fields.
pub(super) fn list(table: &mut Table<'_>, key: &'static str) -> Vec<Field> {
    let names = table.texts(key);
    let (file, problems) = (table.file, table.problems);
    names
        .iter()
        .filter_map(|name| look_up(&name.value, file, name.spot, problems))
        .collect()
}

/// The field that somebody meant: one of a single word that is spelt alike, else one whose last
/// part it is, else one that is spelt alike as a whole.
pub(super) fn nearest_field(name: &str) -> Option<&'static str> {
    let names = || {
        FIELDS.iter().flat_map(|entry| {
            [entry.name]
                .into_iter()
                .chain(entry.aliases.iter().copied())
        })
    };
    let last = |field: &str| {
        field
            .rsplit('.')
            .next()
            .is_some_and(|last| last.eq_ignore_ascii_case(name))
    };
    nearest(name, names().filter(|field| !field.contains('.')))
        .or_else(|| names().find(|field| last(field)))
        .or_else(|| nearest(name, names()))
}
