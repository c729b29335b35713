//! Holds the shipped rules to the house's standard: cases that fire and cases that stay quiet,
//! and all that whoever gets the alert needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use auditwatch::{
    config::{case_files, read_text, shipped_layer},
    diagnostic::{Problems, SourceFile},
    pipeline::run_case,
    rule::{Case, Extension, RuleMeta, RuleSet, read_cases},
};

use crate::program::root;

/// The shipped rules, with those on that are off by themselves.
pub(crate) fn shipped() -> Arc<RuleSet> {
    let loaded = RuleSet::load(&[shipped_layer()]).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let mut set = loaded.set;
    set.enable_all();
    Arc::new(set)
}

/// Every case, by the path of its file.
fn cases() -> BTreeMap<String, Vec<Case>> {
    let problems = Problems::new();
    let files = case_files(&root().join("rules")).unwrap();
    let read = |path: &std::path::PathBuf| {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let file = Arc::new(SourceFile::new(name.clone(), read_text(path).unwrap()));
        (name, read_cases(&file, &problems))
    };
    let cases = files.iter().map(read).collect();
    let report = problems.into_report();
    assert!(report.is_empty(), "{report}");
    cases
}

/// What makes alerts: the rule's words, our block, and the file that it is in.
fn alerting(set: &RuleSet) -> Vec<(&RuleMeta, &Extension)> {
    let rules = set.rules.iter().filter(|rule| rule.reports);
    let correlations = set.correlations.iter().filter(|rule| rule.reports);
    rules
        .map(|rule| (&*rule.meta, &rule.extension))
        .chain(correlations.map(|rule| (&*rule.meta, &rule.extension)))
        .collect()
}

#[test]
fn every_case_comes_out_as_written() {
    let set = shipped();
    let mut wrong = Vec::new();
    for (file, cases) in cases() {
        for case in cases {
            let result = run_case(&set, &case);
            if !result.is_as_expected() {
                wrong.push(format!("{file}: {}: {result:#?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_that_alerts_has_a_case_that_fires() {
    let set = shipped();
    let expected: BTreeSet<String> = cases()
        .into_values()
        .flatten()
        .flat_map(|case| case.expected)
        .filter_map(|expectation| expectation.rule)
        .collect();
    let without: Vec<&str> = alerting(&set)
        .iter()
        .map(|(meta, _)| meta.name.as_str())
        .filter(|name| !expected.contains(*name))
        .collect();
    assert!(without.is_empty(), "no case expects {without:?}");
}

#[test]
fn every_file_of_rules_has_a_case_that_stays_quiet() {
    let cases = cases();
    for file in shipped_layer().rules {
        let beside = file.name.replace(".yml", ".cases.yml");
        let cases = cases
            .get(&beside)
            .unwrap_or_else(|| panic!("{beside} is missing"));
        let is_quiet = cases.iter().any(|case| case.expected.is_empty());
        assert!(is_quiet, "{beside}: each case expects an alert");
    }
}

#[test]
fn every_rule_that_alerts_says_what_people_need() {
    let set = shipped();
    for (meta, extension) in alerting(&set) {
        let name = &meta.name;
        assert!(
            meta.tags.iter().any(|tag| tag.starts_with("attack.t")),
            "{name}: no technique among its tags"
        );
        assert!(extension.summary.is_some(), "{name}: no summary");
        assert!(!extension.respond.is_empty(), "{name}: nothing to do");
        assert!(
            !meta.false_positives.is_empty(),
            "{name}: no falsepositives"
        );
        assert!(!meta.references.is_empty(), "{name}: no references");
        assert!(!meta.description.is_empty(), "{name}: no description");
    }
    assert!(alerting(&set).len() >= 18, "the shipped rules are there");
}

#[test]
fn ids_and_names_are_unique() {
    let set = shipped();
    let rules = set.rules.iter().map(|rule| &rule.meta);
    let all: Vec<&Arc<RuleMeta>> = rules
        .chain(set.correlations.iter().map(|rule| &rule.meta))
        .collect();
    let ids: BTreeSet<&str> = all.iter().map(|meta| meta.id.as_str()).collect();
    let names: BTreeSet<&str> = all.iter().map(|meta| meta.name.as_str()).collect();
    assert_eq!((ids.len(), names.len()), (all.len(), all.len()));
    for meta in all {
        let is_uuid = meta.id.len() == 36 && meta.id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        assert!(is_uuid, "{}: its id `{}` is no UUID", meta.name, meta.id);
    }
}
