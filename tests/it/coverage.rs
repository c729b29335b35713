//! Holds `docs/coverage.md`: made of the table `docs/coverage.yml` and of the rules themselves.

use std::{collections::BTreeMap, fmt::Write as _, fs, sync::Arc};

use auditwatch::{
    diagnostic::{Problems, SourceFile, Table, yaml},
    rule::{RuleMeta, RuleSet},
};

use crate::{program::root, rule_cases::shipped};

/// How many rows the table has.
const ROWS: usize = 117;
/// How many of them must be covered.
const COVERED_MIN: usize = 100;

/// One thing that somebody in the field detects, and what we do about it.
struct Row {
    id: i64,
    title: String,
    rules: Vec<String>,
    why_not: Option<String>,
    note: Option<String>,
}

/// A rule that alerts, for people.
struct Told<'s> {
    meta: &'s RuleMeta,
    /// Whether it waits to be named in `rules.enable`.
    off: bool,
}

/// The groups of the table with their rows.
fn table() -> Vec<(String, Vec<Row>)> {
    let path = root().join("docs/coverage.yml");
    let file = Arc::new(SourceFile::new(
        "docs/coverage.yml",
        fs::read_to_string(path).unwrap(),
    ));
    let problems = Problems::new();
    let documents = yaml::parse(&file, &problems);
    let mut top = Table::root(&documents[0], &problems, "the table");
    let mut groups = Vec::new();
    for mut group in top.tables("groups", "a group") {
        let title = group.text("title").unwrap().value;
        let rows = group.tables("rows", "a row");
        groups.push((title, rows.into_iter().map(row).collect()));
        group.finish();
    }
    top.finish();
    let report = problems.into_report();
    assert!(report.is_empty(), "{report}");
    groups
}

fn row(mut table: Table<'_>) -> Row {
    let row = Row {
        id: table.integer("id", 1, ROWS as i64).unwrap().value,
        title: table.text("title").unwrap().value,
        rules: table
            .texts("rules")
            .into_iter()
            .map(|rule| rule.value)
            .collect(),
        why_not: table.text("why_not").map(|text| text.value),
        note: table.text("note").map(|text| text.value),
    };
    table.finish();
    row
}

/// Every rule that alerts, by name.
fn told(set: &RuleSet) -> BTreeMap<&str, Told<'_>> {
    let rules = set
        .rules
        .iter()
        .filter(|rule| rule.reports)
        .map(|rule| (&*rule.meta, rule.extension.off));
    let correlations = set
        .correlations
        .iter()
        .filter(|rule| rule.reports)
        .map(|rule| (&*rule.meta, false));
    rules
        .chain(correlations)
        .map(|(meta, off)| (meta.name.as_str(), Told { meta, off }))
        .collect()
}

/// The techniques of a rule's tags: `T1098.006`.
fn techniques(meta: &RuleMeta) -> impl Iterator<Item = String> {
    meta.tags
        .iter()
        .filter_map(|tag| tag.strip_prefix("attack."))
        .filter(|tag| tag.starts_with('t') && tag[1..].starts_with(|c: char| c.is_ascii_digit()))
        .map(str::to_uppercase)
}

fn document(groups: &[(String, Vec<Row>)], told: &BTreeMap<&str, Told<'_>>) -> String {
    let rows: Vec<&Row> = groups.iter().flat_map(|(_, rows)| rows).collect();
    let covered = rows.iter().filter(|row| !row.rules.is_empty()).count();
    let off = told.values().filter(|rule| rule.off).count();
    let mut text = format!(
        "# What is detected\n\n\
         What others detect in Kubernetes audit logs, in {} rows, and our rules for it: {covered} \
         rows are covered, {} are not and say why. There are {} rules that alert, {off} of them \
         *off* until `rules.enable` names them, because they tell of ordinary work. \
         `auditwatch rules NAME` shows one.\n\n\
         This page is made of `docs/coverage.yml` and the rules; a test keeps it true \
         (`BLESS=1 cargo test --test it coverage` writes it anew).\n",
        rows.len(),
        rows.len() - covered,
        told.len(),
    );
    for (title, rows) in groups {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {title}\n\n| # | what | rules | ATT&CK |\n|---|---|---|---|\n"
        );
        for row in rows {
            let _ = writeln!(text, "{}", line(row, told));
        }
    }
    text.push_str(&beyond(&rows, told));
    text.push_str(&by_technique(told));
    text
}

fn line(row: &Row, told: &BTreeMap<&str, Told<'_>>) -> String {
    let rules: Vec<String> = row
        .rules
        .iter()
        .filter_map(|name| told.get(name.as_str()))
        .map(short)
        .collect();
    let mut techniques: Vec<String> = row
        .rules
        .iter()
        .filter_map(|name| told.get(name.as_str()))
        .flat_map(|rule| techniques(rule.meta))
        .collect();
    techniques.sort();
    techniques.dedup();
    let mut what = rules.join(", ");
    if let Some(why_not) = &row.why_not {
        let _ = write!(what, "None: {why_not}");
    }
    if let Some(note) = &row.note {
        let _ = write!(what, ". {note}");
    }
    format!(
        "| {} | {} | {what} | {} |",
        row.id,
        row.title,
        techniques.join(", ")
    )
}

fn short(rule: &Told<'_>) -> String {
    let off = if rule.off { ", off" } else { "" };
    format!("`{}` ({}{off})", rule.meta.name, rule.meta.severity)
}

/// The rules that no row asks for.
fn beyond(rows: &[&Row], told: &BTreeMap<&str, Told<'_>>) -> String {
    let mut text = String::from(
        "\n## What the others do not have\n\n| rule | level | what |\n|---|---|---|\n",
    );
    let asked = |name: &str| {
        rows.iter()
            .any(|row| row.rules.iter().any(|rule| rule == name))
    };
    for (name, rule) in told.iter().filter(|(name, _)| !asked(name)) {
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} |",
            rule.meta.severity, rule.meta.title
        );
    }
    text
}

fn by_technique(told: &BTreeMap<&str, Told<'_>>) -> String {
    let mut by: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, rule) in told {
        for technique in techniques(rule.meta) {
            by.entry(technique).or_default().push(name);
        }
    }
    let mut text = String::from("\n## By technique\n\n| ATT&CK | rules |\n|---|---|\n");
    for (technique, names) in by {
        let _ = writeln!(text, "| {technique} | {} |", names.join(", "));
    }
    text
}

#[test]
fn each_row_is_decided() {
    let set = shipped();
    let told = told(&set);
    let groups = table();
    let rows: Vec<&Row> = groups.iter().flat_map(|(_, rows)| rows).collect();
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    assert!(ids.iter().copied().eq(1..=ROWS as i64), "{ids:?}");
    for row in &rows {
        let Row { id, title, .. } = row;
        assert_ne!(
            row.rules.is_empty(),
            row.why_not.is_none(),
            "row {id} ({title}) needs rules, or a reason"
        );
        for rule in &row.rules {
            assert!(
                told.contains_key(rule.as_str()),
                "row {id} ({title}): no rule `{rule}` alerts"
            );
        }
    }
    let covered = rows.iter().filter(|row| !row.rules.is_empty()).count();
    assert!(covered >= COVERED_MIN, "{covered} rows are covered");
}

/// `BLESS=1 cargo test --test it coverage` writes the page anew.
#[test]
fn the_page_is_up_to_date() {
    let set = shipped();
    let page = document(&table(), &told(&set));
    let path = root().join("docs/coverage.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/coverage.md is old; run BLESS=1 cargo test --test it coverage"
    );
}
