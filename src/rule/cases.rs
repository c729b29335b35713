//! Cases: short events and the alerts that must come of them, kept beside each rule.
//!
//! `<rule>.cases.yml` holds `cases:`, a list of `{name, events, expect}`. An event is written as
//! what differs from an ordinary one; [`event`] fills the rest in. This module reads and makes the
//! event lines; whoever owns an engine runs them.

mod event;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::Severity;
use crate::diagnostic::{Problems, SourceFile, Spot, Table, yaml, yaml::Value};

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where its name stands, for reports of failure.
    pub spot: Spot,
    /// Rules that are off by themselves and are on here.
    pub enable: Vec<String>,
    /// Its events in order, each one line of JSON.
    pub lines: Vec<String>,
    /// All alerts that must come, in any order; none when it is empty.
    pub expected: Vec<Expectation>,
}

/// An alert that must come. What is `None` may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Name or id of the rule.
    pub rule: Option<String>,
    /// The effective principal.
    pub principal: Option<String>,
    /// How many requests the alert tells of in the end.
    pub count: Option<u64>,
    /// Its severity.
    pub level: Option<Severity>,
    /// Where it stands, for reports of failure.
    pub spot: Spot,
}

/// The most events that one case may make.
const EVENTS_MAX: usize = 20_000;

/// Reads a file of cases. Wrong ones are reported and left out.
pub fn read_cases(file: &Arc<SourceFile>, problems: &Problems) -> Vec<Case> {
    let mut cases = Vec::new();
    for document in yaml::parse(file, problems) {
        let mut table = Table::root(&document, problems, "a case file");
        if !table.has("cases") {
            table.missing(
                "cases",
                "add `cases:` and below it a list of `{name, events, expect}`",
            );
        }
        for case in read_list(&mut table, file, problems) {
            cases.extend(case);
        }
        table.finish();
    }
    cases
}

fn read_list(
    table: &mut Table<'_>,
    file: &Arc<SourceFile>,
    problems: &Problems,
) -> Vec<Option<Case>> {
    let nodes = table.list("cases").unwrap_or_default();
    nodes
        .iter()
        .enumerate()
        .map(|(number, node)| read_case(Table::of(node, file, problems, "a case"), number))
        .collect()
}

fn read_case(mut table: Table<'_>, number: usize) -> Option<Case> {
    let before = table.problems.errors();
    let name = table.text("name");
    if name.is_none() {
        table.missing("name", "say in a few words what the case shows");
    }
    if !table.has("events") {
        table.missing(
            "events",
            "list the events, each as what differs from an ordinary one",
        );
    }
    let mut lines = Vec::new();
    for (place, node) in table.list("events").unwrap_or_default().iter().enumerate() {
        let left = EVENTS_MAX.saturating_sub(lines.len());
        let id = (number as u64 + 1) << 32 | (place as u64) << 16;
        lines.extend(event::lines(node, table.file, table.problems, id, left));
    }
    let enable = table.texts("enable");
    let expected = read_expected(&mut table);
    let name = name?;
    let sound = table.problems.errors() == before;
    table.finish();
    sound.then_some(Case {
        name: name.value,
        spot: name.spot,
        enable: enable.into_iter().map(|name| name.value).collect(),
        lines,
        expected,
    })
}

fn read_expected(table: &mut Table<'_>) -> Vec<Expectation> {
    let Some(node) = table.take("expect") else {
        table.missing(
            "expect",
            "write `expect: none`, or a list of `{rule, principal, count, level}`",
        );
        return Vec::new();
    };
    match &node.value {
        Value::Scalar(scalar) if scalar.text == "none" => Vec::new(),
        Value::Sequence(nodes) => nodes
            .iter()
            .map(|node| {
                expectation(Table::of(
                    node,
                    table.file,
                    table.problems,
                    "an expected alert",
                ))
            })
            .collect(),
        _ => {
            table.wrong("expect", node, "`none` or a list");
            Vec::new()
        }
    }
}

fn expectation(mut table: Table<'_>) -> Expectation {
    let levels = Severity::ALL.map(|severity| (severity.name(), severity));
    let expectation = Expectation {
        rule: table.text("rule").map(|rule| rule.value),
        principal: table.text("principal").map(|principal| principal.value),
        count: table
            .integer("count", 1, i64::MAX)
            .map(|count| count.value as u64),
        level: table.word("level", &levels).map(|level| level.value),
        spot: table.spot,
    };
    table.finish();
    expectation
}
